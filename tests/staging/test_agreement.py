"""Agreement of a model and a scorer, counted by hand."""

import pytest

from eegaug.staging import agreement


def test_counts_epochs_that_are_scored():
    found = agreement([0, 0, 0, 2, -1], [0, 2, 2, 2, 4])
    assert found.scored.tolist() == [0, 0, 0, 2, -1] and found.n_epochs == 4
    # Rows are the scorer's stages, columns the model's.
    assert found.confusion.loc["W"].to_dict() == {"W": 1, "N1": 0, "N2": 2, "N3": 0, "REM": 0}
    assert found.confusion.loc["N2"].to_dict() == {"W": 0, "N1": 0, "N2": 1, "N3": 0, "REM": 0}
    assert found.confusion.to_numpy().sum() == 4
    assert (found.confusion.index.name, found.confusion.columns.name) == ("scored", "predicted")
    scores = {name: found.scores[name] for name in ("accuracy", "kappa", "balanced_accuracy", "f1_W", "f1_N2")}
    # By chance they agree on 3/4 · 1/4 + 1/4 · 3/4 of the epochs.
    expected = {"accuracy": 0.5, "kappa": (0.5 - 0.375) / 0.625, "balanced_accuracy": (1 / 3 + 1) / 2}
    assert scores == pytest.approx(expected | {"f1_W": 0.5, "f1_N2": 0.5})


def test_numbers_that_are_no_stages_are_named():
    with pytest.raises(ValueError, match="the scorer's stages hold 5; they are 0 to 4"):
        agreement([7, 5, 0], [0, 0, 0])
    with pytest.raises(ValueError, match="hold 'N1'"):
        agreement(["W", "N1"], [0, 1])
    with pytest.raises(ValueError, match="the scorer has 2 epochs, the night has 3"):
        agreement([0, 0], [0, 0, 0])
    with pytest.raises(ValueError, match="scores no epoch"):
        agreement([-1, -1], [0, 0])
