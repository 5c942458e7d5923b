"""Augerino for EEG: one width for each operation, nothing to choose between them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from eegaug.augnet.module import AugmentationModule

__all__ = ["augerino_layers"]


def augerino_layers(
    operations: str | Iterable[Any] = "all",
    *,
    sfreq: float | None = None,
    ch_names: Sequence[str] | None = None,
    positions: Any = None,
) -> list[list[Any]]:
    """Layers with which AugNet becomes Augerino: every operation in a layer of its own.

    Augerino learns one width for each generator of a group of transformations and applies all of them to every example.
    There is no such group for EEG: here each operation is applied after the other, and its strength is its width. A
    layer of one operation has a weight of 1, so that only strengths are learned. Train them with
    ``penalty_kind="magnitude"``, and for the safe variant with ``penalty_limit=1.0`` too.

    Parameters
    ----------
    operations : {"time-frequency", "sensors", "all"} | iterable of str, Operation or subclass
        As for one :class:`eegaug.AugmentationLayer`; operations of a named group that mean nothing on the montage are
        left out with a warning. They are applied in this order.
    sfreq, ch_names, positions
        As for :class:`eegaug.AugmentationLayer`; needed for named groups.

    Returns
    -------
    list of lists of one operation
        For the ``layers`` of :class:`eegaug.AugNetClassifier`.

    References
    ----------
    Benton, Finzi, Izmailov and Wilson (2020), Learning invariances in neural networks, NeurIPS. What differs: strengths
    lie in [0, 1] and are projected there instead of going through a softplus.

    Examples
    --------
    >>> from eegaug import AugNetClassifier
    >>> layers = augerino_layers(["frequency_shift", "gaussian_noise"])
    >>> layers
    [['frequency_shift'], ['gaussian_noise']]
    >>> clf = AugNetClassifier(layers=layers, penalty_kind="magnitude", penalty=0.05, sfreq=100)
    """
    if isinstance(operations, str):
        (layer,) = AugmentationModule([operations], sfreq=sfreq, ch_names=ch_names, positions=positions).layers
        return [[operation.name] for operation in layer.operations]
    return [[operation] for operation in operations]
