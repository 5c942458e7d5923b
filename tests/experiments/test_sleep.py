"""Experiments on nights."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest

from eegaug.data import STAGES, simulate_nights
from eegaug.experiments import Settings, get_experiment, sleep, stage_policies
from eegaug.experiments.noise_and_fractions import share_of_windows, with_wrong_labels

TINY = {"n_subjects": 3, "n_windows": 40, "ch_names": ("F3", "F4", "O1", "O2"), "sfreq": 50.0, "h_freq": 20.0}


def planned(name, **keep):
    """Entries of the quick plan on tiny nights, of one seed, with one epoch."""
    plan = get_experiment(name).plan(Settings(quick=True, data_args=TINY))
    chosen = [entry for entry in plan if all(entry[key] in values for key, values in keep.items())]
    return [entry | {"epochs": 1} for entry in chosen]


def made(name, entries):
    """Tables of runs, as the frame makes them."""
    tables: dict[str, list] = {}
    for entry in entries:
        result = get_experiment(name).run(**entry)
        own = {key: value for key, value in entry.items() if not isinstance(value, dict)}
        for table, rows in (result if "runs" in result else {"runs": [result]}).items():
            tables.setdefault(table, []).extend(own | row for row in rows)
    return {table: pd.DataFrame(rows) for table, rows in tables.items()}


def test_subjects_train_or_test():
    tested = set()
    for entry in sleep.night_plan(Settings(seeds=3, data_args=TINY | {"random_state": 0})):
        train, test = sleep.train_and_test(entry["source"], entry["seed"])
        assert not set(train.subjects) & set(test.subjects)
        assert len(set(train.subjects)) == 2
        tested |= set(test.subjects)
    assert len(tested) == 3


def test_each_seed_has_subjects_of_its_own():
    sources = [entry["source"]["data_args"]["random_state"] for entry in sleep.night_plan(Settings(seeds=3))]
    assert sources == [1, 2, 3]
    others = sleep.night_plan(Settings(seeds=2, data="nights/"))
    assert [entry["source"]["data_args"] for entry in others] == [{}, {}]


def test_a_part_of_recordings(tmp_path):
    nights = simulate_nights(**TINY | {"n_subjects": 4}, random_state=0)
    for night in nights.datasets:
        subject = night.description["subject"]
        where = tmp_path / f"{subject}.npz"
        np.savez(where, X=night.read(), y=night.y, ch_names=night.ch_names, sfreq=night.sfreq)
    part = sleep.part_of(nights, n_subjects=3, n_windows=14)
    assert sorted(set(part.subjects)) == sorted(set(nights.subjects))[:3]
    assert np.array_equal(part.datasets[1].onset_s, nights.datasets[1].onset_s[::3])  # 0, 3, 6, ... 39
    assert np.array_equal(part.datasets[1].read(), nights.datasets[1].read(np.arange(0, 40, 3)))
    assert np.array_equal(part.datasets[1].y, nights.datasets[1].y[::3])
    assert len(sleep.part_of(nights, n_windows=1000)) == len(sleep.part_of(nights)) == 160
    settings = {"sfreq": 50, "h_freq": 20, "store": str(tmp_path / "store"), "n_subjects": 3, "n_windows": 14}
    source = {"data": str(tmp_path), "root": None, "data_args": settings}
    train, test = sleep.train_and_test(source, seed=0)
    assert sorted({*train.subjects, *test.subjects}) == sorted(set(nights.subjects))[:3]
    assert (len(train), len(test)) == (28, 14)
    (quick,) = sleep.night_plan(Settings(quick=True, data="nights/"))
    assert quick["source"]["data_args"] == {"n_subjects": 6, "n_windows": 60}
    (asked,) = sleep.night_plan(Settings(seeds=1, data="nights/", data_args={"n_windows": 14}))
    assert asked["source"]["data_args"] == {"n_windows": 14}


def test_wrong_labels():
    y = np.arange(1000) % 5
    wrong = with_wrong_labels(y, 0.2, seed=0)
    assert (wrong != y).sum() == 200
    assert set(wrong) == set(range(5))
    assert (with_wrong_labels(y, 0.2, seed=0) == wrong).all()
    # Every other class is as likely.
    jumps = np.bincount((wrong - y)[wrong != y] % 5, minlength=5)
    assert jumps[0] == 0 and (np.abs(jumps[1:] - 50) < 25).all()


def test_with_four_in_five_wrong_labels_of_five_stages_say_nothing():
    y = np.arange(50_000) % 5
    wrong = with_wrong_labels(y, 0.8, seed=0)
    shares = np.histogram2d(y, wrong, bins=5)[0] / 10_000
    np.testing.assert_allclose(shares, 0.2, atol=0.02)
    assert "At 80 % labels of five stages say nothing" in get_experiment("label-noise").note


def test_wrong_labels_are_stages_that_there_are():
    y = np.array([0, 2, 3, 4])[np.arange(1000) % 4]  # nobody was in N1
    wrong = with_wrong_labels(y, 0.4, seed=0)
    assert (wrong != y).sum() == 400 and set(wrong) == set(y)
    for stage in (0, 2, 3, 4):
        others, counts = np.unique(wrong[(wrong != y) & (y == stage)], return_counts=True)
        assert others.tolist() == [s for s in (0, 2, 3, 4) if s != stage] and (np.abs(counts - 33) < 20).all()


def test_share_of_windows():
    y, subjects = np.repeat([0, 1, 2], [60, 30, 3]), np.zeros(93, dtype=int)
    rows = share_of_windows(y, subjects, 0.1, seed=0)
    assert np.bincount(y[rows]).tolist() == [6, 3, 1]
    assert (share_of_windows(y, subjects, 1.0, seed=0) == np.arange(93)).all()


def test_transfer():
    tables = made("transfer", planned("transfer", trained_on=("frequency shift, noise",)))
    frozen = tables["frozen"]
    assert frozen["tested_on"].iloc[0] == "original"
    assert set(frozen[frozen["seen"]]["tested_on"]) == {"frequency_shift", "gaussian_noise"}
    assert frozen[frozen["tested_on"] != "original"]["kl"].gt(0).all()
    experiment = get_experiment("transfer")
    table = experiment.table(tables)
    plain, with_loss = tables["runs"]["unseen"]
    assert table["unseen"].tolist() == [f"{plain:.3f}"]
    assert table["unseen: with the loss"].tolist() == [f"{with_loss - plain:+.3f}"]
    heat, bars = experiment.figure(tables).axes
    assert heat.images[0].get_array().shape == (1, frozen["tested_on"].nunique())
    assert len(bars.patches) == 2


@pytest.mark.parametrize(("name", "what", "level"), [("label-noise", "wrong", 0.5), ("fractions", "share", 0.3)])
def test_label_noise_and_fractions(name, what, level):
    tables = made(name, planned(name, **{what: (level,)}))
    runs = tables["runs"]
    assert runs["arm"].tolist() == ["none", "variants", "ait"]
    assert runs["balanced_accuracy"].between(0, 1).all()
    experiment = get_experiment(name)
    table = experiment.table(tables)
    none, variants, ait = runs["balanced_accuracy"]
    assert table["no augmentation"].tolist() == [f"{none:.3f}"]
    assert table["the loss adds"].tolist() == [f"{ait - variants:+.3f}"]
    assert len(experiment.figure(tables).axes[0].containers) == 3
    if name == "fractions":
        assert runs["n_windows"].iloc[0] < 40


def test_a_seed_that_failed_in_one_arm_leaves_its_difference_out():
    rows = [
        {"wrong": 0.5, "arm": arm, "seed": seed, "balanced_accuracy": score + seed / 10, "seconds": 1.0}
        for arm, score in (("none", 0.4), ("variants", 0.5), ("ait", 0.6))
        for seed in (0, 1)
    ]
    adds = [
        get_experiment("label-noise").table({"runs": pd.DataFrame(rows[:n])})["the loss adds"][0] for n in (6, 5, 4)
    ]
    assert adds == ["+0.100 ± 0.000", "+0.100", ""]


def test_stage_policies():
    entries = [entry | {"steps": 1} for entry in planned("stage-policies", objective=("joint",))]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        tables = made("stage-policies", entries)
    assert not [w for w in caught if "nearly even weights" in str(w.message)]
    pairs = tables["pairs"]
    assert set(pairs["operation"]) <= set(stage_policies.OPERATIONS)
    assert set(pairs["stage"]) <= set(STAGES)
    experiment = get_experiment("stage-policies")
    table = experiment.table(tables)
    assert set(table["stage"]) == set(pairs["stage"])
    first = table.iloc[0]["1."]
    assert "+" in first and "(" in first
    assert experiment.figure(tables).axes[0].get_title(loc="left") == "objective: joint"


def pairs_of(seed, stage, **weights):
    """Rows of pairs, named "a_b", in the order of their rank."""
    own = {"objective": "joint", "seed": seed, "stage": stage, "probability": 0.5, "magnitude": 0.5}
    return [
        {**own, "rank": rank, "weight": weight, "place": place, "operation": operation}
        for rank, (pair, weight) in enumerate(weights.items(), 1)
        for place, operation in enumerate(pair.split("_"), 1)
    ]


def test_a_pair_counts_in_the_seeds_where_it_is_among_the_five():
    rows = [*pairs_of(0, "N2", a_b=0.9, e_f=0.05), *pairs_of(1, "N2", c_d=0.3, e_f=0.07), *pairs_of(0, "N3", c_d=0.2)]
    runs = pd.DataFrame([{"objective": "joint", "balanced_accuracy": 0.5, "seconds": 1.0}] * 2)
    tables = {"pairs": pd.DataFrame(rows), "runs": runs}
    first = stage_policies.table(tables).iloc[0]
    assert first[["1.", "2.", "3."]].tolist() == [
        "a + b (0.90, 1 of 2)",
        "c + d (0.30, 1 of 2)",
        "e + f (0.06, 2 of 2)",
    ]
    drawn = stage_policies.figure(tables).axes[0].images[0].get_array()
    # Rows a + b, c + d, e + f; columns N2, N3. What is in nobody's five is not 0.
    np.testing.assert_allclose(drawn.filled(np.nan), [[0.9, np.nan], [0.3, 0.2], [0.06, np.nan]])


def test_every_experiment_has_a_plan_and_a_note():
    for name in ("transfer", "label-noise", "fractions", "stage-policies"):
        experiment = get_experiment(name)
        assert experiment.name == name
        assert len(experiment.plan(Settings())) > len(experiment.plan(Settings(quick=True))) > 0
        assert len(experiment.note) > 100
