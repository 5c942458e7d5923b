"""What each operation does at the strength that was learned: to the signal, and to the loss."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from eegaug._precision import widest
from eegaug.augnet.layers import AugmentationLayer, as_batch

__all__ = ["measure_effects"]


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
    power = n = 0
    for X, y in batches:
        windows, wide = as_batch(X), widest(X.device)
        power += float((windows - windows.mean(-1, keepdim=True)).to(wide).square().sum())
        before = float(loss(X, y))
        n += len(X)
        for layer, total in zip(layers, sums, strict=True):
            for q, op in enumerate(layer.operations):
                noise = op.draw(*windows.shape, generator=generator, device=X.device)
                changed = op.apply(windows, layer.strengths[q] if op.has_magnitude else None, noise)
                share = 1.0 if op.has_magnitude else float(layer.strengths[q]) / 2
                total[0, q] += share * float((changed - windows).to(wide).square().sum())
                total[1, q] += share * (float(loss(changed.reshape(X.shape), y)) - before) * len(X)
    for layer, total in zip(layers, sums, strict=True):
        change = (total[0] / max(power, torch.finfo(torch.float64).tiny)).sqrt()
        layer.effects.copy_(torch.stack([change, total[1] / max(n, 1)]))
