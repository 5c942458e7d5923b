"""The sentence that a comparison ends with, where runs are missing."""

from pathlib import Path

import pandas as pd
import pytest

from eegaug.comparison import Comparison


def comparison(**scores):
    """A comparison of runs: method → (fold, seed) → score."""
    rows = [
        {"method": method, "fold": fold, "seed": seed, "fraction": 1.0, "test_balanced_accuracy": score}
        for method, runs in scores.items()
        for (fold, seed), score in runs.items()
    ]
    table = pd.DataFrame(rows).assign(test_kappa=0.5, train_seconds=1.0)
    return Comparison(table, *[pd.DataFrame()] * 3, {}, Path("out"))


NONE = {(0, 0): 0.5, (1, 0): 0.5, (2, 0): 0.5}


def test_only_folds_that_both_have_tell_them_apart():
    found = comparison(none={(0, 0): 0.5}, fixed={(0, 0): 0.6, (1, 0): 0.62, (2, 0): 0.7})
    assert found.sentence() == (
        "On these nights, fixed reached a median test balanced accuracy of 0.620, against 0.500 without augmentation "
        "(not all methods have finished all folds); one fold cannot tell whether the difference of +0.100 is more than "
        "chance."
    )
    row = found.summary().set_index("method").loc["fixed"]
    assert (row["folds"], row["folds_paired"], row["folds_gained"]) == (3, 1, 1)
    found = comparison(none=NONE, fixed={(0, 0): 0.6, (1, 0): 0.5})
    assert "+0.050 (higher in 1 of 2 folds), is no more than its own spread" in found.sentence()


@pytest.mark.parametrize("runs", [{(1, 0): 0.6, (2, 0): 0.7}, {(0, 1): 0.6, (0, 2): 0.7}], ids=["folds", "seeds"])
def test_nothing_is_said_of_a_difference_that_no_pair_of_runs_shows(runs):
    found = comparison(none={(0, 0): 0.5}, fixed=runs)
    assert found.sentence().endswith(
        "both have no run of one fold and seed, so nothing can be said of their difference."
    )
    # Of several methods it is told of one that can be compared.
    found = comparison(none={(0, 0): 0.5}, augnet=runs, fixed={(0, 0): 0.4})
    assert found.sentence().startswith("On these nights, fixed reached") and "-0.100" in found.sentence()


def test_a_loss_may_be_more_than_chance_too():
    found = comparison(none=NONE, fixed={(0, 0): 0.4, (1, 0): 0.41, (2, 0): 0.42})
    assert found.sentence().endswith(
        "the mean difference to no augmentation, -0.090 (higher in 0 of 3 folds), is more than its own spread between "
        "folds (SD 0.010), though so few folds prove little."
    )


@pytest.mark.parametrize(("score", "learned"), [(0.52, False), (0.56, True)])
def test_guessing_is_that_of_as_many_classes_as_there_are(score, learned):
    found = comparison(none={(0, 0): 0.5}, fixed={(0, 0): score})
    found.settings = {"data": {"classes": ["rest", "seizure"]}}
    untold = (
        "On these recordings, no method learned to tell the classes apart (best median test balanced accuracy 0.520, "
        "guessing 0.500), so there is nothing to compare: train longer, or on more recordings."
    )
    assert ("fixed reached" in found.sentence()) if learned else (found.sentence() == untold)
