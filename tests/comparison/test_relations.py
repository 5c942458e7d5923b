"""What holds whatever the scores are: who is tested, the order of the work and the place of windows decide none."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from eegaug import compare
from eegaug.data import NightDataset, Nights, NightWriter, Split

SPLIT = Split(train=["s0", "s1"], valid=["s2"], test=["s3"])
SEARCH = {"max_steps": 2, "retrain_every": 1}
OPTIONS = {
    "augnet-single": {"layers": [["frequency_shift", "sign_flip"]]},
    "fast-autoaugment": SEARCH | {"n_folds": 2},
    "cadda": SEARCH | {"warm_start": 0},
}
METHODS = ["none", "trivial-augment", "multi-ait", *OPTIONS]


@pytest.fixture(scope="module")
def parts():
    """Nights of four subjects: tones in noise, a frequency for each stage."""
    rng = np.random.default_rng(0)
    y, t = np.arange(20) % 5, np.arange(200) / 50.0
    nights = []
    for subject in range(4):
        phase = rng.uniform(0, 2 * np.pi, (20, 4, 1))
        X = np.sin(6 * np.pi * (y[:, None, None] + 1) * t + phase) + 0.5 * rng.standard_normal((20, 4, 200))
        nights.append(_night(X, y, f"s{subject}"))
    return nights


def _night(X, y, subject, number=1):
    return NightDataset(X, y, ch_names=["F3", "F4", "C3", "C4"], sfreq=50.0, subject=subject, night=number)


def _compared(out, parts, methods=METHODS, **settings):
    settings = {"folds": [SPLIT], "max_epochs": 2, "lr": 3e-3, "method_options": OPTIONS, "verbose": False} | settings
    result = compare(methods, Nights(parts), out=out, **settings)
    assert not len(result.failed), result.failed["error"].tolist()
    return result


def _without(table, *columns):
    """A table without times, without places, and without the columns that begin so."""
    other = ("fold", "policy", "checksums", *columns)
    kept = [name for name in table if "seconds" not in name and not name.startswith(other)]
    return table[kept].reset_index(drop=True)


def _assert_same(a, b, *columns):
    for one, other in ((a.table, b.table), (a.curves, b.curves), (a.invariances, b.invariances)):
        one, other = _without(one, *columns), _without(other, *columns)
        assert one[sorted(one)].equals(other[sorted(other)])
    policies = [{key[0]: policy for key, policy in result.policies.items()} for result in (a, b)]
    assert policies[0] == policies[1]


@pytest.fixture(scope="module")
def whole(parts, tmp_path_factory):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a search of two steps is undecided
        return _compared(tmp_path_factory.mktemp("whole"), parts)


@pytest.mark.filterwarnings("ignore")
def test_who_is_tested_has_no_part_in_searches_training_and_stopping(parts, whole, tmp_path):
    rng = np.random.default_rng(1)
    stranger = _night(3 * rng.standard_normal((12, 4, 200)), rng.integers(0, 5, 12), "s3")
    other = _compared(tmp_path, [*parts[:3], stranger])
    assert (other.table["test_windows"] == 12).all() and not whole.subjects.equals(other.subjects)
    _assert_same(whole, other, "test_")


@pytest.mark.filterwarnings("ignore")
def test_neither_order_nor_company_nor_a_budget_that_is_not_reached_changes_a_run(parts, whole, tmp_path):
    folds = [Split(train=["s3", "s0"], valid=["s1"], test=["s2"]), SPLIT]
    other = _compared(tmp_path, parts, ["cadda", "none"], folds=folds, seeds=[1, 0], budget="1h")
    for method in ("none", "cadda"):
        wanted = {"method": method, "seed": 0, "test_subjects": "s3"}
        one, same = (
            _without(result.table[(result.table[list(wanted)] == wanted).all(axis=1)]) for result in (whole, other)
        )
        assert len(one) == 1 and one[sorted(same)].astype(object).equals(same[sorted(same)].astype(object))


@pytest.mark.filterwarnings("ignore")
def test_nights_on_disk_or_in_pieces_give_the_same_scores(parts, whole, tmp_path):
    writer = NightWriter(tmp_path / "store", parts[0].ch_names, 50.0, 4.0, {})
    for night in parts:
        X, y, subject = night.read(), night.y, night.description["subject"]
        writer.add(X[:7], y[:7], subject=subject, night=1)
        writer.add(X[7:], y[7:], subject=subject, night=2)
    _assert_same(whole, _compared(tmp_path / "out", writer.close().datasets))
