import pickle
import tracemalloc

import numpy as np
import pytest
from braindecode.datasets import BaseConcatDataset
from braindecode.datautil.util import infer_signal_properties
from torch.utils.data import Subset

from eegaug.data import STAGES, NightDataset, Nights

CHANNELS = ["C3", "C4"]


def night(subject="a", n=4, seed=0, **options):
    X = np.random.default_rng(seed).standard_normal((n, 2, 50)).astype("float32")
    options = {"ch_names": CHANNELS, "sfreq": 10.0, "subject": subject, **options}
    return NightDataset(X, np.arange(n) % 5, **options)


def test_item_is_what_braindecode_expects():
    one = night(onset_s=[0.0, 5.0, 20.0, 25.0])
    X, y, crop = one[2]
    assert X.dtype == np.float32 and X.shape == (2, 50)
    assert (y, type(y), crop) == (2, int, [0, 200, 250])
    assert one[-1][1] == 3
    with pytest.raises(IndexError, match="window 4 of 'a-1', which has 4"):
        one[4]


def test_nights_index_like_their_parts():
    nights = Nights([night("a", 3, seed=1), night("b", 4, seed=2), night("a", 2, seed=3, night=2)])
    assert isinstance(nights, BaseConcatDataset) and len(nights) == 9
    everything = np.concatenate([d.read() for d in nights.datasets])
    order = [8, 0, 3, 3, -1, 5, 4]
    items = nights.__getitems__(order)
    for i, (X, y, crop) in zip(order, items, strict=True):
        np.testing.assert_array_equal(X, everything[i])
        single = nights[i]
        np.testing.assert_array_equal(single[0], X)
        assert (y, crop) == (single[1], single[2]) and y == nights.y[i]
    np.testing.assert_array_equal(nights.read(order), everything[order])
    with pytest.raises(IndexError, match="there are 9"):
        nights.__getitems__([9])
    # torch's Subset, which skorch's splits use, takes the batched way too.
    np.testing.assert_array_equal(Subset(nights, [7, 2]).__getitems__([1, 0])[0][0], everything[2])


def test_targets_subjects_arrays_and_metadata_agree():
    nights = Nights([night("a", 3), night("b", 4)], preprocessing={"sfreq": 10.0})
    X, y, subjects = nights.as_arrays()
    assert X.shape == (7, 2, 50) and X.dtype == np.float32 and y.dtype == np.int64
    assert subjects.tolist() == ["a"] * 3 + ["b"] * 4
    table = nights.get_metadata()
    assert table["target"].tolist() == y.tolist() == [0, 1, 2, 0, 1, 2, 3]
    assert table["subject"].tolist() == subjects.tolist()
    assert table["i_start_in_trial"].tolist()[:3] == [0, 50, 100]
    assert nights.description["subject"].tolist() == ["a", "b"]
    assert (nights.ch_names, nights.sfreq, nights.window_s) == (CHANNELS, 10.0, 5.0)
    assert "2 nights of 2 subjects, 7 windows of 5 s (W 2, N1 2, N2 2, N3 1, REM 0)" in repr(nights)


def test_select_and_split_give_nights_and_name_what_is_missing():
    nights = Nights([night("a"), night("b"), night("a", night=2)], preprocessing={"k": 1}, truth={"t": 2})
    chosen = nights.select(subjects=["a"])
    assert isinstance(chosen, Nights) and len(chosen.datasets) == 2
    assert (chosen.preprocessing, chosen.truth) == ({"k": 1}, {"t": 2})
    assert [d.name for d in nights.select(recordings="a-2").datasets] == ["a-2"]
    assert {k: len(v.datasets) for k, v in nights.split("subject").items()} == {"a": 2, "b": 1}
    with pytest.raises(ValueError, match=r"No subject 'c' among \['a', 'b'\]"):
        nights.select(subjects=["a", "c"])


def test_transforms_are_applied_when_windows_are_fetched():
    nights = Nights([night("a"), night("b")], target_transform=lambda y: y + 10)
    before = nights.read([5])[0]
    nights.transform = lambda X: 2 * X
    X, y, _ = nights[5]
    np.testing.assert_array_equal(X, 2 * before)
    assert y == 11 and nights.y[5] == 11 and nights.__getitems__([5])[0][1] == 11


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"ch_names": ["C4", "C3"]}, r"Night 'b-1' has ch_names \['C4', 'C3'\], night 'a-1' has \['C3', 'C4'\]"),
        ({"sfreq": 20.0}, "Night 'b-1' has sfreq 20.0, night 'a-1' has 10.0"),
    ],
)
def test_nights_that_differ_are_refused(other, message):
    with pytest.raises(ValueError, match=message):
        Nights([night("a"), night("b", **other)])


def test_no_night_and_wrong_shapes_are_refused():
    with pytest.raises(ValueError, match="There is no night"):
        Nights([])
    with pytest.raises(ValueError, match=r"'a-1' has shape \(3, 2, 50\); 2 labels and 2 channels"):
        NightDataset(np.zeros((3, 2, 50)), [0, 1], ch_names=CHANNELS, sfreq=10, subject="a")
    with pytest.raises(ValueError, match="3 labels and 2 onsets"):
        NightDataset(np.zeros((3, 2, 50)), [0, 1, 2], ch_names=CHANNELS, sfreq=10, subject="a", onset_s=[0, 1])


def test_nights_in_memory_can_be_pickled():
    nights = Nights([night("a"), night("b")], truth={"x": [1, 2]}, problems=[{"recording": "c", "kind": "skipped"}])
    again = pickle.loads(pickle.dumps(nights))
    np.testing.assert_array_equal(again.read(), nights.read())
    assert (again.truth, again.problems) == (nights.truth, nights.problems)


def test_braindecode_reads_off_what_a_network_needs():
    nights = Nights([night("a", 5), night("b", 5)])
    found = infer_signal_properties(nights, None, "classification")
    assert found == {"n_times": 50, "n_chans": 2, "n_outputs": 5}


def test_files_are_found_from_another_folder(tmp_path, monkeypatch):
    X = np.random.default_rng(0).standard_normal((2, 2, 50)).astype("<f4")
    (tmp_path / "a.f32").write_bytes(X.tobytes())
    monkeypatch.chdir(tmp_path)
    stored = NightDataset("a.f32", [0, 1], ch_names=CHANNELS, sfreq=10.0, n_times=50)
    monkeypatch.chdir("/")
    np.testing.assert_array_equal(stored.read(), X)


def test_all_windows_are_read_into_their_places():
    parts = [night(f"s{i}", 40, seed=i, night=1) for i in range(20)]
    nights = Nights(parts)
    tracemalloc.start()
    X, _, _ = nights.as_arrays()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert X.nbytes < peak < 1.4 * X.nbytes  # with one night at a time
    np.testing.assert_array_equal(X, np.concatenate([part.read() for part in parts]))
    order = np.random.default_rng(0).permutation(len(nights))
    np.testing.assert_array_equal(nights.read(order), X[order])
    assert nights.read([]).shape == (0, 2, 50) and nights.__getitems__([]) == []


def test_a_mask_picks_windows():
    nights = Nights([night("a", 3, seed=1), night("b", 4, seed=2)])
    mask = nights.y == 2
    np.testing.assert_array_equal(nights.read(mask), nights.read()[mask])
    np.testing.assert_array_equal(nights.datasets[0].read(mask[:3]), nights.read()[:3][mask[:3]])
    with pytest.raises(IndexError, match="mask of shape"):
        nights.read(mask[:3])


def test_classes_of_ones_own_are_numbers_or_names():
    about = {"ch_names": ["C3"], "sfreq": 10, "classes": ["left", "right"]}
    X = np.zeros((3, 1, 10), "float32")
    named = NightDataset(X, ["right", "left", "right"], subject="a", **about)
    assert named.y.tolist() == [1, 0, 1] and named.y.dtype == np.int64
    both = Nights([named, NightDataset(X, [0, -1, 1], subject="b", **about)])
    assert both.classes == ("left", "right") and "(left 2, right 3, without class 1)" in repr(both)
    assert both.select("b").classes == ("left", "right")
    assert NightDataset(X, [0, 2, 4], ch_names=["C3"], sfreq=10).classes == STAGES
    with pytest.raises(ValueError, match=r"window 1 has the class 'up'; classes are 0=left 1=right, and -1 none"):
        NightDataset(X, ["left", "up", "left"], **about)
    with pytest.raises(ValueError, match=r"window 2 has the class 2; classes are 0=left 1=right"):
        NightDataset(X, [0, 1, 2], **about)
    for wrong in (["a", "a"], "ab", {"a", "b"}, [0, 1]):
        with pytest.raises(ValueError, match=r"classes is .*; it is a list of different names, in order"):
            NightDataset(X, [0, 0, 0], **(about | {"classes": wrong}))
    with pytest.raises(ValueError, match=r"has classes \('W', .*, night '.*' has \('left', 'right'\)"):
        Nights([named, NightDataset(X, [0, 1, 1], ch_names=["C3"], sfreq=10, subject="c")])
