"""How a training is scored on windows that are held out, and when it stops: the same in searches and comparisons."""

from __future__ import annotations

from typing import Any

from skorch.callbacks import EarlyStopping, EpochScoring

__all__ = ["SCORE", "early_stopping", "validation_score"]

#: Column of the history.
SCORE = "valid_balanced_accuracy"


def validation_score() -> EpochScoring:
    """Writes the balanced accuracy on the held-out windows into the history."""
    return EpochScoring("balanced_accuracy", lower_is_better=False, on_train=False, name=SCORE)


def early_stopping(patience: int) -> EarlyStopping:
    """Stops when the score has not risen for so many epochs, and gives back the best network."""
    # threshold 0: "best" is then the highest score, the first one where several are equal.
    return EarlyStopping(SCORE, patience=patience, threshold=0, lower_is_better=False, load_best=True, sink=_silent)


def _silent(*args: Any, **kwargs: Any) -> None:
    """Say nothing."""
