"""How well predicted stages agree with the scored ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from eegaug.data import STAGES

__all__ = ["recording_table", "stage_confusion", "stage_scores", "subject_table"]


def stage_confusion(y_true: Any, y_pred: Any, n_stages: int = len(STAGES)) -> np.ndarray:
    """Confusion matrix, rows the scored stage, columns the predicted one.

    Parameters
    ----------
    y_true, y_pred : array-like of int, (n_windows,)
        Stages as in :data:`eegaug.data.STAGES`.
    n_stages : int

    Returns
    -------
    ndarray of int, (n_stages, n_stages)

    Examples
    --------
    >>> stage_confusion([0, 0, 1], [0, 1, 1], n_stages=2).tolist()
    [[1, 1], [0, 1]]
    """
    pairs = np.stack([np.asarray(y_true, dtype=np.int64), np.asarray(y_pred, dtype=np.int64)])
    # Counted by hand: scikit-learn's checks take a hundred times as long, for each subject of each run.
    true, predicted = pairs[:, ((pairs >= 0) & (pairs < n_stages)).all(axis=0)]
    return np.bincount(n_stages * true + predicted, minlength=n_stages**2).reshape(n_stages, n_stages)


def stage_scores(y_true: Any, y_pred: Any, classes: Sequence[str] = STAGES) -> dict[str, float]:
    """Balanced accuracy, Cohen's kappa, macro F1 and the F1 of each stage.

    A stage that nobody scored and nobody predicted has no F1 (nan); macro F1 and balanced accuracy are means over the
    stages that the scorer used.

    Parameters
    ----------
    y_true, y_pred : array-like of int, (n_windows,)
    classes : sequence of str
        Names of the stages, or of the classes that stand in their place.

    Returns
    -------
    dict
        ``balanced_accuracy``, ``kappa``, ``macro_f1``, ``f1_W`` … ``f1_REM``.

    Examples
    --------
    >>> scores = stage_scores([0, 0, 2, 2], [0, 0, 2, 0])
    >>> round(scores["balanced_accuracy"], 3), round(scores["kappa"], 3), round(scores["f1_W"], 3)
    (0.75, 0.5, 0.8)
    """
    y_true, y_pred = np.asarray(y_true), np.asarray(y_pred)
    if y_true.shape != y_pred.shape or y_true.ndim != 1:
        raise ValueError(f"y_true and y_pred must be two lists of one length, got {y_true.shape} and {y_pred.shape}")
    if not len(y_true):
        raise ValueError("there is no window to score")
    confusion = stage_confusion(y_true, y_pred, len(classes)).astype(float)
    hits, scored, predicted = np.diag(confusion), confusion.sum(1), confusion.sum(0)
    present = scored > 0
    with np.errstate(invalid="ignore", divide="ignore"):
        f1 = np.where(scored + predicted > 0, 2 * hits / (scored + predicted), np.nan)
        recall = hits / scored
    total = confusion.sum()
    chance = float(scored @ predicted) / total**2
    agreement = float(hits.sum() / total)
    # Both used one and the same stage only: agreement is complete and kappa, 0/0, says nothing.
    kappa = (agreement - chance) / (1 - chance) if chance < 1 else float("nan")
    scores = {
        "balanced_accuracy": float(recall[present].mean()),
        "kappa": float(kappa),
        "macro_f1": float(f1[present].mean()),
    }
    return {**scores, **{f"f1_{stage}": float(value) for stage, value in zip(classes, f1, strict=True)}}


def subject_table(nights: Any, y_pred: Any) -> Any:
    """Scores of each subject by itself.

    Parameters
    ----------
    nights : Nights
        With stages.
    y_pred : array-like of int, (n_windows,)
        Predicted stages of all of its windows.

    Returns
    -------
    DataFrame
        One row per subject: subject, windows and the scores of :func:`stage_scores`.
    """
    import pandas as pd

    windows = pd.DataFrame({"subject": nights.subjects, "y_true": np.asarray(nights.y), "y_pred": np.asarray(y_pred)})
    rows = []
    for subject, part in windows.groupby("subject", sort=False):
        scores = stage_scores(part["y_true"], part["y_pred"], nights.classes)
        rows.append({"subject": subject, "windows": len(part), **scores})
    return pd.DataFrame(rows)


def recording_table(
    subjects: Sequence[Any], nights: Sequence[Any], y_true: Any, y_pred: Any, classes: Sequence[str] = STAGES
) -> Any:
    """Scores of each recording by itself.

    Parameters
    ----------
    subjects, nights : sequence, (n_windows,)
        Whose window it is, and of which night.
    y_true, y_pred : array-like of int, (n_windows,)
    classes : sequence of str
        As of :func:`stage_scores`.

    Returns
    -------
    DataFrame
        One row per recording: subject, night, windows and the scores of :func:`stage_scores`.
    """
    import pandas as pd

    windows = pd.DataFrame(
        {"subject": list(subjects), "night": list(nights), "y_true": np.asarray(y_true), "y_pred": np.asarray(y_pred)}
    )
    rows = []
    for (subject, night), part in windows.groupby(["subject", "night"], sort=False):
        scores = stage_scores(part["y_true"], part["y_pred"], classes)
        rows.append({"subject": subject, "night": night, "windows": len(part), **scores})
    return pd.DataFrame(rows)
