import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eegaug.data import Split, load_splits, save_splits, simulate_nights, subject_folds

NAMES = [f"s{i:02d}" for i in range(62)]


@pytest.mark.parametrize("n", [60, 61, 62])
def test_mass_folds_are_those_of_the_paper(n):
    folds = subject_folds(NAMES[:n])
    assert [(len(f.train), len(f.valid), len(f.test)) for f in folds] == [(24, 24, 12)] * 5
    assert len(set(itertools.chain.from_iterable(f.test for f in folds))) == 60


@given(n=st.integers(3, 40), n_folds=st.integers(1, 8), seed=st.integers(0, 99))
def test_folds_are_disjoint_and_test_on_everyone_at_most_once(n, n_folds, seed):
    if n_folds > n:
        with pytest.raises(ValueError, match="folds cannot be made"):
            subject_folds(NAMES[:n], n_folds, random_state=seed)
        return
    folds = subject_folds(NAMES[:n], n_folds, random_state=seed)
    assert len(folds) == n_folds
    for f in folds:
        sides = [set(f.train), set(f.valid), set(f.test)]
        assert sum(map(len, sides)) == len(set.union(*sides)) == n
        assert all(sides)
    tested = [s for f in folds for s in f.test]
    assert len(tested) == len(set(tested))


def test_folds_depend_on_the_seed_alone():
    assert subject_folds(NAMES[:20], random_state=3) == subject_folds(NAMES[:20], random_state=3)
    assert subject_folds(NAMES[:20], random_state=3) != subject_folds(NAMES[:20], random_state=4)
    # One name per window, in the order they come, is the same as the names.
    assert subject_folds([s for s in NAMES[:20] for _ in range(7)], random_state=3) == subject_folds(
        NAMES[:20], random_state=3
    )


@pytest.mark.parametrize(
    ("n", "n_folds", "sizes"), [(78, 5, (47, 16, 15)), (10, 5, (6, 2, 2)), (10, 1, (6, 2, 2)), (3, 3, (1, 1, 1))]
)
def test_sizes_by_default(n, n_folds, sizes):
    f = subject_folds([f"s{i}" for i in range(n)], n_folds)[-1]
    assert (len(f.train), len(f.valid), len(f.test)) == sizes


def test_sizes_that_were_asked_for():
    f = subject_folds(NAMES[:10], n_folds=2, n_train=2, n_valid=1, n_test=3)[1]
    assert (len(f.train), len(f.valid), len(f.test)) == (2, 1, 3)
    f = subject_folds(NAMES[:10], n_folds=1, n_test=0, n_valid=2)[0]
    assert (len(f.train), len(f.valid), len(f.test)) == (8, 2, 0)
    f = subject_folds(NAMES[:10], n_folds=1, n_train=3, n_test=2)[0]
    assert (len(f.train), len(f.valid), len(f.test)) == (3, 5, 2)


@pytest.mark.parametrize(
    ("n", "options", "message"),
    [
        (2, {}, r"2 subject\(s\) \['s00', 's01'\] cannot be split"),
        (
            10,
            {"n_train": 8, "n_valid": 2, "n_test": 2},
            "8 subjects to train, 2 to validate and 2 to test.*there are 10",
        ),
        (10, {"n_folds": 5, "n_test": 3}, "5 folds that each test on 3 others need 15 subjects; there are 10"),
        (10, {"n_test": 10, "n_folds": 1}, "there are 10"),
        (10, {"n_folds": 0}, "n_folds=0"),
        (10, {"n_train": -1}, "n_train=-1"),
        (4, {"n_folds": 5}, "5 folds cannot be made of 4 subjects.*ask for 4 folds or fewer"),
    ],
)
def test_impossible_requests_are_refused(n, options, message):
    with pytest.raises(ValueError, match=message):
        subject_folds(NAMES[:n], **options)


def test_subject_on_two_sides_is_named():
    with pytest.raises(ValueError, match="Subject 'b' is in train and in test"):
        Split(train=["a", "b"], valid=["c"], test=["b"])
    with pytest.raises(ValueError, match="Subject 'a' is in train and in train"):
        Split(train=["a", "a"])
    with pytest.raises(ValueError, match="at least one subject to train on"):
        Split(train=[], test=["a"])


@given(a=st.floats(0.01, 1), b=st.floats(0.01, 1), seed=st.integers(0, 99))
def test_fractions_are_nested(a, b, seed):
    split = Split(train=NAMES[:24], valid=NAMES[24:30], test=NAMES[30:])
    small, large = (split.fraction(f, seed) for f in sorted((a, b)))
    assert set(small.train) <= set(large.train) <= set(split.train)
    assert len(small.train) == max(1, round(min(a, b) * 24))
    assert (small.valid, small.test) == (split.valid, split.test)


def test_fraction_out_of_range_is_refused():
    split = Split(train=["a", "b"])
    assert split.fraction(1.0) == split
    for wrong in (0, 1.1, -0.5):
        with pytest.raises(ValueError, match=rf"fraction={wrong}"):
            split.fraction(wrong)


def test_splits_are_saved_and_read(tmp_path):
    folds = subject_folds(NAMES[:12], n_folds=3)
    save_splits(folds, tmp_path / "splits.json")
    assert load_splits(tmp_path / "splits.json") == folds


def test_splits_that_were_tampered_with_are_refused(tmp_path):
    path = tmp_path / "splits.json"
    save_splits([Split(train=["a", "b"], test=["c"])], path)
    content = json.loads(path.read_text())
    content["splits"][0]["test"] = ["a"]
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match="Subject 'a' is in train and in test"):
        load_splits(path)
    path.write_text("[1]")
    with pytest.raises(ValueError, match="not a file of splits"):
        load_splits(path)
    path.write_text('{"format": "eegaug-splits", "version": 1}')
    with pytest.raises(ValueError, match="has no list of splits"):
        load_splits(path)
    path.write_text("{")
    with pytest.raises(ValueError, match="is no JSON file"):
        load_splits(path)
    with pytest.raises(FileNotFoundError):
        load_splits(tmp_path / "nowhere.json")


@pytest.mark.parametrize("name", ["n_folds", "n_train", "n_valid", "n_test"])
def test_numbers_of_subjects_are_whole(name):
    for wrong in (0.2, 2.0, float("nan"), "2"):
        with pytest.raises(ValueError, match=f"{name} is {wrong!r}; it is a whole number of subjects or folds"):
            subject_folds(list("abcdef"), **{"n_folds": 3} | {name: wrong})


@pytest.mark.parametrize("given", [lambda nights: nights, lambda nights: list(nights), lambda nights: nights.datasets])
def test_what_is_no_name_of_a_subject_is_refused(given):
    nights = simulate_nights(3, n_windows=6, sfreq=50, h_freq=20, random_state=0)
    with pytest.raises(TypeError, match=r"names of subjects are due: of nights these are nights.subjects"):
        subject_folds(given(nights), n_folds=3)
    assert subject_folds(nights.subjects, n_folds=3) == subject_folds(["sim-001", "sim-002", "sim-003"], n_folds=3)


def test_splits_are_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "splits.json"
    save_splits([Split(train=["a"], test=["b"])], path)

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.replace", killed)
    with pytest.raises(KeyboardInterrupt):
        save_splits([Split(train=["b"], test=["a"])], path)
    assert load_splits(path) == [Split(train=["a"], test=["b"])] and list(tmp_path.iterdir()) == [path]
