"""Probabilities of the five stages, and how far a model's copies disagree on them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from eegaug._hooks import evaluating
from eegaug.data.stages import STAGES, parse_stage

__all__ = ["copy_disagreement", "predict_stages", "stage_codes"]


def stage_codes(classes: Any) -> list[int]:
    """Stage of each class of a model, whatever its labels.

    Raises
    ------
    ValueError
        If a class is no sleep stage, or two are the same.

    Examples
    --------
    >>> stage_codes(["N2", "REM", "W"]), stage_codes([0, 1, 2, 3, 4])
    ([2, 4, 0], [0, 1, 2, 3, 4])
    """
    codes = [parse_stage(label, numbers="aasm") for label in np.asarray(classes).tolist()]
    for label, code in zip(classes, codes, strict=True):
        if code is None or code < 0:
            raise ValueError(f"the model's class {label!r} is no sleep stage: it cannot stage a night.")
    if len(set(codes)) < len(codes):
        raise ValueError(f"several of the model's classes are the same stage: {list(classes)}.")
    return codes


def predict_stages(model: Any, X: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Probabilities of the stages.

    Parameters
    ----------
    model : classifier
        Fitted, with ``predict_proba`` and ``classes_``.
    X : array, shape (n_windows, n_channels, n_times)
        In the order of the night: a network of sequences gets them in sequences of the length it was trained on, which
        overlap by half; its probabilities are averaged.

    Returns
    -------
    probabilities : float64 array, shape (n_windows, 5)
        0 for stages that the model does not know.
    disagreement : array, shape (n_windows,) | None
        See :func:`copy_disagreement`; None for a model that is not averaged over copies.

    Raises
    ------
    ValueError
        If a class of the model is no stage, its probabilities are nan, or the night is shorter than its sequences.
    """
    codes = stage_codes(model.classes_)
    length = getattr(getattr(model, "signal_", None), "n_windows", None)
    starts = None if length is None else _starts(len(X), length)
    given = X if starts is None else np.stack([X[s : s + length] for s in starts])
    copies = _copies(model, given)
    found = model.predict_proba(given) if copies is None else _aggregated(model, copies)
    found = _per_window(np.asarray(found, dtype=np.float64), starts, len(X))
    if not np.isfinite(found).all():
        raise ValueError("the model's probabilities are not numbers: were its weights, after training?")
    probabilities = np.zeros((len(X), len(STAGES)))
    probabilities[:, codes] = found / found.sum(1, keepdims=True)
    if copies is None:
        return probabilities, None
    each = torch.softmax(copies.double(), dim=2).numpy()
    return probabilities, copy_disagreement(np.stack([_per_window(one, starts, len(X)) for one in each]))


def _starts(n: int, length: int) -> list[int]:
    """First windows of the sequences of a night: each begins half a sequence after the one before, the last fits in.

    So every window but the first and last few stands once away from the edges of a sequence, where it has context.
    """
    if n < length:
        raise ValueError(f"it has {n} epochs, and the model takes sequences of {length}.")
    return sorted({*range(0, n - length + 1, max(1, length // 2)), n - length})


def _per_window(probabilities: np.ndarray, starts: list[int] | None, n: int) -> np.ndarray:
    """Of sequences, (n_sequences, n_classes, length), to windows, (n, n_classes): the mean where sequences overlap."""
    if starts is None:
        return probabilities
    total, count = np.zeros((n, probabilities.shape[1])), np.zeros((n, 1))
    for start, one in zip(starts, probabilities, strict=True):
        total[start : start + one.shape[1]] += one.T
        count[start : start + one.shape[1]] += 1
    return total / count


def copy_disagreement(probabilities: Any) -> np.ndarray:
    r"""How far copies disagree about each window, from 0 (all say the same) to 1 (all name other stages, for certain).

    The Jensen-Shannon distance of their distributions: the square root of the entropy of the mean less the mean of the
    entropies, divided by the most that can be with so many copies and stages. It is the part of the uncertainty that
    stems from the transformations the model was made invariant to; a window that is as ambiguous to every copy has none
    of it.

    Parameters
    ----------
    probabilities : array, shape (n_copies, n_windows, n_stages)
        Each row sums to 1.

    Returns
    -------
    array, shape (n_windows,)

    References
    ----------
    Lin (1991), Divergence measures based on the Shannon entropy, IEEE Trans. Inf. Theory 37(1), equation 5.1. Endres
    and Schindelin (2003), A new metric for probability distributions, IEEE Trans. Inf. Theory 49(7): its square root.

    Examples
    --------
    >>> copy_disagreement([[[1, 0]], [[0, 1]]]).tolist(), copy_disagreement([[[0.5, 0.5]], [[0.5, 0.5]]]).tolist()
    ([1.0], [0.0])
    """
    p = np.asarray(probabilities, dtype=np.float64)
    most = np.log(min(p.shape[0], p.shape[2]))
    if most == 0:
        raise ValueError("disagreement takes at least two copies and two stages.")
    return np.sqrt(np.clip((_entropy(p.mean(0)) - _entropy(p).mean(0)) / most, 0.0, 1.0))


def _entropy(p: np.ndarray) -> np.ndarray:
    return -(p * np.log(np.where(p > 0, p, 1.0))).sum(-1)


def _copies(model: Any, X: np.ndarray) -> torch.Tensor | None:
    """Logits of each copy, (n_copies, n_windows, n_classes), of sequences (…, length); None where there is none."""
    if getattr(model, "n_copies", 0) < 2 or not hasattr(model.module_, "copies"):
        return None
    module = model.module_
    module.set_prediction(model.n_copies, model.aggregate)
    parts = []
    with evaluating(module), torch.inference_mode():
        for batch, _ in model.get_iterator(model.get_dataset(X), training=False):
            parts.append(torch.stack(list(module.copies(batch.to(model.device)))).cpu())
    return torch.cat(parts, dim=1)


def _aggregated(model: Any, copies: torch.Tensor) -> np.ndarray:
    from eegaug.augnet.model import aggregate_copies

    return torch.softmax(aggregate_copies(iter(copies), model.aggregate), dim=1).numpy()
