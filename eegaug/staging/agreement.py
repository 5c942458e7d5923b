"""How far a model and a scorer agree on a night."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from eegaug.comparison.scores import stage_confusion, stage_scores
from eegaug.data.stages import STAGES, UNSCORED

__all__ = ["Agreement", "agreement"]


@dataclass(frozen=True)
class Agreement:
    """Agreement on the epochs that have a stage by the scorer."""

    scored: np.ndarray
    """The scorer's stages, -1 where there is none; one per epoch of the night."""
    scores: dict[str, float]
    """accuracy, kappa, balanced_accuracy, macro_f1, and f1_W … f1_REM."""
    confusion: pd.DataFrame
    """Epochs: rows the scorer's stage, columns the model's."""
    n_epochs: int

    def __repr__(self) -> str:
        return f"<Agreement on {self.n_epochs} epochs: kappa {self.scores['kappa']:.3f}>"


def agreement(scored: Any, predicted: Any) -> Agreement:
    """Compare a model's stages with a scorer's.

    Parameters
    ----------
    scored, predicted : array-like of int, shape (n_epochs,)
        As in :data:`eegaug.data.STAGES`; -1 in `scored` is an epoch that does not count.

    Returns
    -------
    Agreement

    Raises
    ------
    ValueError
        If no epoch is scored, the lengths differ, or a number is no stage.

    Examples
    --------
    >>> agreement([0, 0, 2, 2, -1], [0, 0, 2, 0, 4]).scores["accuracy"]
    0.75
    """
    scored, predicted = np.asarray(scored), np.asarray(predicted)
    if scored.shape != predicted.shape:
        raise ValueError(f"the scorer has {len(scored)} epochs, the night has {len(predicted)}.")
    if strange := sorted(set(scored.tolist()) - set(range(UNSCORED, len(STAGES))), key=str):
        raise ValueError(f"the scorer's stages hold {strange[0]!r}; they are 0 to 4 (REM), and -1 for none.")
    scored = scored.astype(np.int64)
    known = scored >= 0
    if not known.any():
        raise ValueError("the reference scores no epoch of this night.")
    scores = stage_scores(scored[known], predicted[known])
    confusion = stage_confusion(scored[known], predicted[known])
    return Agreement(
        scored=scored,
        scores={"accuracy": float((scored == predicted)[known].mean()), **scores},
        confusion=pd.DataFrame(
            confusion, index=pd.Index(STAGES, name="scored"), columns=pd.Index(STAGES, name="predicted")
        ),
        n_epochs=int(known.sum()),
    )
