"""What an augmentation network does to the windows of each class, on average."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from scipy.spatial.distance import jensenshannon
from torch import Tensor, nn

from eegaug._hooks import evaluating
from eegaug._precision import widest
from eegaug.operations import Operation

__all__ = ["ClassMeans", "class_distances", "class_means", "top_pairs"]


class ClassMeans(NamedTuple):
    """Means of a network's policies over the windows of each class.

    Parameters
    ----------
    probabilities, magnitudes : array of shape (n_classes, n_pairs, 2)
    weights : array of shape (n_classes, n_pairs)
        Each row sums to 1; NaN for classes without a window.
    """

    probabilities: np.ndarray
    magnitudes: np.ndarray
    weights: np.ndarray


@torch.no_grad()
def class_means(network: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], n_classes: int) -> ClassMeans:
    """Average what a network says of windows over the windows of each class.

    Parameters
    ----------
    network : torch.nn.Module
        Gives a :class:`eegaug.policies.network.PairPolicy`; put into evaluation mode for this.
    batches : iterable of (X, y)
        Labels are 0 to n_classes - 1.
    n_classes : int

    Returns
    -------
    ClassMeans
    """
    sums, counts = None, 0
    with evaluating(network):
        for X, y in batches:
            probabilities, magnitudes, log_weights = network(X)
            member = torch.nn.functional.one_hot(y, n_classes).T.to(widest(y.device))
            terms = [probabilities, magnitudes, log_weights.exp()]
            totals = [torch.tensordot(member, term.to(member.dtype), 1) for term in terms]
            sums = totals if sums is None else [a + b for a, b in zip(sums, totals, strict=True)]
            counts = counts + member.sum(1)
    return ClassMeans(*((total / counts.reshape(-1, *[1] * (total.ndim - 1))).cpu().numpy() for total in sums))


def top_pairs(
    means: ClassMeans, operations: Sequence[Operation], pairs: Tensor, classes: Sequence[Any], n: int = 5
) -> pd.DataFrame:
    """The pairs that are drawn most often for each class.

    Parameters
    ----------
    means : ClassMeans
    operations : sequence of Operation
    pairs : Tensor of int64, shape (n_pairs, 2)
    classes : sequence
        Labels.
    n : int
        Pairs of each class.

    Returns
    -------
    DataFrame
        A row for each operation of each pair: ``class``, ``rank`` (1 is drawn most), ``weight`` of the pair,
        ``place`` of the operation in it (1 or 2), ``operation``, and mean ``probability``, ``magnitude`` and
        ``strength`` in ``unit`` (NaN and "" without a magnitude).
    """
    rows = []
    for c, label in enumerate(classes):
        order = np.argsort(-means.weights[c], kind="stable")[:n]
        for rank, s in enumerate(order, start=1):
            for place, number in enumerate(pairs[s].tolist()):
                op = operations[number]
                magnitude = float(means.magnitudes[c, s, place]) if op.has_magnitude else float("nan")
                rows.append(
                    {
                        "class": label,
                        "rank": rank,
                        "weight": float(means.weights[c, s]),
                        "place": place + 1,
                        "operation": op.name,
                        "probability": float(means.probabilities[c, s, place]),
                        "magnitude": magnitude,
                        "strength": float(op.physical(magnitude)),
                        "unit": op.unit if op.has_magnitude else "",
                    }
                )
    return pd.DataFrame(rows)


def class_distances(means: ClassMeans, classes: Sequence[Any]) -> pd.DataFrame:
    """Jensen-Shannon distance of each two classes' mean weights, from 0 (alike) to 1 (nothing in common)."""
    weights = means.weights
    table = np.array([[jensenshannon(a, b, base=2) for b in weights] for a in weights])
    return pd.DataFrame(np.nan_to_num(table), classes, classes)  # of equal weights it may be the root of -1e-17
