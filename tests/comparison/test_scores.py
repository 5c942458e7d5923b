"""Scores against scikit-learn's, and what happens to stages that are not there."""

import numpy as np
import pytest
from sklearn import metrics

from eegaug.comparison import recording_table, stage_confusion, stage_scores


def test_agrees_with_scikit_learn():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 5, 400)
    predicted = np.where(rng.random(400) < 0.6, y, rng.integers(0, 5, 400))
    scores = stage_scores(y, predicted)
    assert scores["balanced_accuracy"] == pytest.approx(metrics.balanced_accuracy_score(y, predicted))
    assert scores["kappa"] == pytest.approx(metrics.cohen_kappa_score(y, predicted))
    assert scores["macro_f1"] == pytest.approx(metrics.f1_score(y, predicted, average="macro"))
    by_stage = metrics.f1_score(y, predicted, average=None)
    assert [scores[f"f1_{s}"] for s in ("W", "N1", "N2", "N3", "REM")] == pytest.approx(by_stage.tolist())
    np.testing.assert_array_equal(stage_confusion(y, predicted), metrics.confusion_matrix(y, predicted))


def test_means_are_over_the_stages_that_were_scored():
    scores = stage_scores([0, 0, 2, 2], [0, 0, 2, 4])
    assert scores["balanced_accuracy"] == 0.75
    assert scores["macro_f1"] == pytest.approx((1 + 2 / 3) / 2)
    assert scores["f1_REM"] == 0 and np.isnan(scores["f1_N1"])


def test_one_and_the_same_stage_has_no_kappa():
    scores = stage_scores([2, 2], [2, 2])
    assert np.isnan(scores["kappa"]) and scores["balanced_accuracy"] == 1


def test_refuses_nothing_and_lists_of_different_length():
    with pytest.raises(ValueError, match="no window"):
        stage_scores([], [])
    with pytest.raises(ValueError, match=r"\(2,\) and \(1,\)"):
        stage_scores([0, 1], [0])


def test_each_recording_by_itself():
    table = recording_table(["b", "b", "a", "b"], ["1", "1", "1", "2"], [0, 1, 2, 3], [0, 0, 2, 3])
    assert table[["subject", "night", "windows"]].to_numpy().tolist() == [["b", "1", 2], ["a", "1", 1], ["b", "2", 1]]
    assert table["balanced_accuracy"].tolist() == [0.5, 1.0, 1.0]


def test_classes_that_are_no_stages_count_whatever_their_number():
    names = [f"gesture{i}" for i in range(10)]
    y, predicted = np.repeat(np.arange(10), 4), np.repeat([0, 1, 2, 3, 4, 5, 6, 7, 9, 9], 4)
    scores = stage_scores(y, predicted, names)
    assert list(scores)[3:] == [f"f1_{name}" for name in names]
    assert (scores["balanced_accuracy"], scores["f1_gesture8"]) == (0.9, 0.0)
    assert scores["kappa"] == pytest.approx(metrics.cohen_kappa_score(y, predicted))
    table = recording_table(["a"] * 40, ["1"] * 40, y, predicted, names)
    assert table["balanced_accuracy"].tolist() == [0.9]
