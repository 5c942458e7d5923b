"""What each operation does to the signal and to the loss, at full strength and at the strength that was learned."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from torch import Tensor

from eegaug._precision import widest
from eegaug.augnet.layers import AugmentationLayer, as_batch

__all__ = ["measure_effects", "measure_full_changes"]


@torch.no_grad()
def measure_full_changes(
    layers: Sequence[AugmentationLayer], batches: Iterable[Tensor], generator: torch.Generator | None = None
) -> None:
    r"""Measure how far each operation at full strength changes windows, and note it in ``layer.full_changes``.

    The relative change is :math:`c_q = \sqrt{\sum \| T_q(x; 1) - x \|^2 / \sum \| x \|^2}` over all windows, each
    channel less its mean: with an offset, which the network may not even see, a change of sign would outweigh all else.
    Of an operation that is applied with a probability it is that at even odds.

    Parameters
    ----------
    layers : sequence of AugmentationLayer
    batches : iterable of Tensor
        Windows of shape (batch, channels, times), where the layers are.
    generator : torch.Generator | None
        Of the draws.

    Raises
    ------
    ValueError
        Where there are no windows, or where one or an operation at full strength is not finite.
    """
    sums = [torch.zeros(len(layer.operations), dtype=torch.float64) for layer in layers]
    power, n = 0.0, 0
    for X in batches:
        windows = as_batch(X)
        windows = windows - windows.mean(-1, keepdim=True)
        power += _power(windows)
        n += len(windows)
        for layer, total in zip(layers, sums, strict=True):
            for q, share, changed in _one_by_one(layer, windows, torch.ones_like(layer.strengths), generator):
                total[q] += share * _distance(changed, windows)
    if not n:
        raise ValueError(
            "There are no windows to measure the change of the signal on, which the penalty 'change' rewards; does the "
            "iterator drop a last, smaller batch?"
        )
    if not math.isfinite(power):
        raise ValueError(
            "Among the windows on which the change of the signal is measured are some that are not finite."
        )
    for layer, total in zip(layers, sums, strict=True):
        if bad := [
            op.name for op, change in zip(layer.operations, total.tolist(), strict=True) if not math.isfinite(change)
        ]:
            raise ValueError(
                f"{bad[0]} at full strength makes windows that are not finite, so that the penalty 'change' does not "
                "know how far it changes them; use another penalty_kind, or a smaller range."
            )
        layer.full_changes.copy_(_relative(total, power))


@torch.no_grad()
def measure_effects(
    layers: Sequence[AugmentationLayer],
    batches: Iterable[tuple[Tensor, Tensor]],
    loss: Callable[[Tensor, Tensor], Tensor],
    generator: torch.Generator | None = None,
) -> None:
    r"""Measure each operation by itself on windows, and note it in ``layer.effects``.

    With :math:`T_q(x; \mu_q)` at the learned strength; of an operation that is applied with a probability, what it does
    to a window times this probability:

    * signal change: :math:`\sqrt{\sum \| T_q(x) - x \|^2 / \sum \| x - \bar x \|^2}` over all windows, 0 for an
      operation that leaves them as they are. An operation may be allowed in full and change next to nothing: then it
      says little about what the network may ignore.
    * loss rise: loss of the transformed windows minus that of the windows as they are; what the range costs.

    Parameters
    ----------
    layers : sequence of AugmentationLayer
    batches : iterable of (windows, labels)
        Windows of shape (batch, channels, times), where the layers are.
    loss : callable
        ``loss(windows, labels)``: the mean over the batch, as a number in a tensor.
    generator : torch.Generator | None
        Of the draws.
    """
    sums = [torch.zeros(2, len(layer.operations), dtype=torch.float64) for layer in layers]
    power, n = 0.0, 0
    for X, y in batches:
        windows = as_batch(X)
        power += _power(windows)
        before = float(loss(X, y))
        n += len(X)
        for layer, total in zip(layers, sums, strict=True):
            for q, share, changed in _one_by_one(layer, windows, layer.strengths, generator):
                total[0, q] += share * _distance(changed, windows)
                total[1, q] += share * (float(loss(changed.reshape(X.shape), y)) - before) * len(X)
    for layer, total in zip(layers, sums, strict=True):
        layer.effects.copy_(torch.stack([_relative(total[0], power), total[1] / max(n, 1)]))


def _one_by_one(
    layer: AugmentationLayer, windows: Tensor, strengths: Tensor, generator: torch.Generator | None
) -> Iterator[tuple[int, float, Tensor]]:
    """Of each operation: its number, how often it is applied, and the windows that it was applied to."""
    for q, op in enumerate(layer.operations):
        noise = op.draw(*windows.shape, generator=generator, device=windows.device)
        share = 1.0 if op.has_magnitude else float(strengths[q]) / 2
        yield q, share, op.apply(windows, strengths[q] if op.has_magnitude else None, noise)


def _power(windows: Tensor) -> float:
    return _distance(windows, windows.mean(-1, keepdim=True))


def _distance(a: Tensor, b: Tensor) -> float:
    return float((a - b).to(widest(a.device)).square().sum())


def _relative(total: Tensor, power: float) -> Tensor:
    return (total / max(power, torch.finfo(torch.float64).tiny)).sqrt()
