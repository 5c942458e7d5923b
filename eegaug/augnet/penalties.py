"""What keeps augmentation from being unlearned: norms that reward strength."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real
from typing import Any

import torch
from torch import Tensor

__all__ = ["PENALTIES", "augmentation_norm", "norm_of_layers"]

#: Kinds of :func:`augmentation_norm`.
PENALTIES = ("selective", "change", "magnitude", "mean", "log", "none")
# Below this the logarithm of a strength goes on as a straight line, so that its derivative stays finite at 0.
_FLOOR = 1e-3


def augmentation_norm(
    weights: Sequence[Tensor],
    strengths: Sequence[Tensor],
    kind: str = "selective",
    reduction: str = "global",
    limit: float | None = None,
    by_chance: Sequence[Sequence[bool]] | None = None,
    changes: Sequence[Tensor] | None = None,
) -> Tensor:
    r"""Norm of what augmentation does; training maximises it against the cross-entropy.

    Cross-entropy alone prefers no augmentation, so that AugNet minimises :math:`\mathrm{CE} - \lambda N`. With
    :math:`N = \| w \odot \mu \|_2`, the derivatives are
    :math:`\partial N / \partial \mu_q = w_q^2 \mu_q / N`, a constant push on the magnitude of a selected operation, and
    :math:`\partial N / \partial w'_q = w_q (w_q \mu_q^2 - N^2) / (T_w N)`, positive only where
    :math:`w_q \mu_q^2 > N^2`: the strongest operation takes all the weight. Where all strengths are 0 the norm has no
    derivative, and gives 0.

    What wins is thus whatever may grow without harm, and nothing grows more freely than what hardly changes a window: a
    rotation by 30 degrees moves it by a twelfth or a quarter of its size, noise at full strength by a fifth. "change"
    rewards strength in units of what is done to the signal instead, :math:`N = \| w \odot \mu \odot c \|_2` with
    :math:`c_q` the relative change of a window at full strength
    (:func:`eegaug.augnet.effects.measure_full_changes`), which is at most about 1.4.

    Two kinds are for layers that apply one operation to each window. "mean" is :math:`\sum_q w_q \mu_q`, what is drawn
    on average: a strength stops where the loss of its own windows rises by :math:`\lambda` per unit of strength, so
    that the result depends on what strength 1 is taken to be. "log" is :math:`\sum_q w_q \log \mu_q`: up to a
    constant, the entropy of the transformation that is drawn, since that of a uniform draw over :math:`\pm s` is
    :math:`\log 2s`. A strength stops where

    .. math:: \mu \, \frac{\partial \mathrm{CE}_q}{\partial \mu} = \lambda,

    that is where going 1 % further costs :math:`0.01 \lambda` nats, in whatever unit it is measured and wherever its
    range ends.

    What is applied with a probability :math:`p = \mu / 2` has no unit to be freed from. There "log" puts
    :math:`2 p (1 - \log p)` in the place of :math:`\log \mu`, whose derivative in :math:`\mu` is the surprise
    :math:`-\log p` of being applied. With :math:`\Delta` the mean loss of a window when the operation is applied minus
    when it is not, a probability stops at

    .. math:: p = \min(\tfrac12, e^{-\Delta / 2 \lambda}),

    even odds for what costs less than :math:`1.4 \lambda` nats, and next to nothing for what destroys the label.

    Parameters
    ----------
    weights, strengths : sequences over layers of Tensors of shape (n_operations,)
        Weights that sum to 1, and strengths in [0, 1]; normalised, not in physical units.
    kind : {"selective", "change", "magnitude", "mean", "log", "none"}
        The norm of weight times strength, of that times the change of the signal, of the strengths alone (which also
        rewards operations that are not used), the mean strength or its mean logarithm, or nothing.
    reduction : {"global", "per_layer"}
        One norm over all layers, or the sum of one norm per layer; "mean" and "log" are sums over layers.
    limit : float | None
        The safe variant: 0, without a gradient, while any strength is at least `limit`, so that nothing pushes them
        on once one has come so far. None: always rewarded.
    by_chance : sequence over layers of sequences of bool, optional
        For "log": which strengths are twice a probability. None: none of them.
    changes : sequence over layers of Tensors of shape (n_operations,), optional
        For "change": :math:`c`. None: 1 for all.

    Returns
    -------
    Tensor
        A number, differentiable in both.

    Raises
    ------
    ValueError
        For an unknown kind or reduction, or a limit that is not in (0, 1].

    References
    ----------
    Rommel et al. (2022), Deep invariant networks with differentiable augmentation layers, NeurIPS, equation 6;
    "magnitude" and its safe variant are those of Augerino, Benton et al. (2020), Learning invariances in neural
    networks, NeurIPS; see :func:`eegaug.augnet.augerino_layers`.

    Examples
    --------
    >>> import torch
    >>> augmentation_norm([torch.tensor([0.5, 0.5])], [torch.tensor([0.6, 0.8])]).item()
    0.5
    """
    if kind not in PENALTIES:
        raise ValueError(f"penalty kind {kind!r}; use one of {', '.join(PENALTIES)}.")
    if reduction not in ("global", "per_layer"):
        raise ValueError(f"reduction {reduction!r}; use 'global' or 'per_layer'.")
    if limit is not None and not (isinstance(limit, Real) and 0 < limit <= 1):
        raise ValueError(f"penalty limit {limit!r}; it lies in (0, 1].")
    if kind == "none":
        return strengths[0].new_zeros(())
    if kind in ("mean", "log"):
        values = strengths
        if kind == "log":
            by_chance = [[False] * len(s) for s in strengths] if by_chance is None else by_chance
            values = [_log(s, c) for s, c in zip(strengths, by_chance, strict=True)]
        norm = torch.cat([w * value for w, value in zip(weights, values, strict=True)]).sum()
        return _limited(norm, strengths, limit)
    if kind in ("selective", "change"):
        parts = [w * s for w, s in zip(weights, strengths, strict=True)]
        if kind == "change" and changes is not None:
            parts = [part * c for part, c in zip(parts, changes, strict=True)]
    else:
        parts = list(strengths)
    if reduction == "global":
        norm = torch.linalg.vector_norm(torch.cat(parts))
    else:
        norm = torch.stack([torch.linalg.vector_norm(part) for part in parts]).sum()
    return _limited(norm, strengths, limit)


def norm_of_layers(layers: Sequence[Any], kind: str, reduction: str, limit: float | None = None) -> Tensor:
    """:func:`augmentation_norm` of augmentation layers."""
    weights, strengths = [layer.weights for layer in layers], [layer.strengths for layer in layers]
    by_chance, changes = [layer.by_chance for layer in layers], [layer.full_changes for layer in layers]
    return augmentation_norm(weights, strengths, kind, reduction, limit, by_chance, changes)


def _limited(norm: Tensor, strengths: Sequence[Tensor], limit: float | None) -> Tensor:
    # A product, and no question asked of the tensor: an accelerator need not be waited for.
    return norm if limit is None else norm * (torch.cat(list(strengths)).detach().max() < limit)


def _log(strength: Tensor, by_chance: Sequence[bool]) -> Tensor:
    held = strength.clamp(min=_FLOOR)
    log, beyond = held.log(), strength - held
    logs = log + beyond / _FLOOR
    if not any(by_chance):
        return logs
    chances = held * (1.0 + math.log(2.0) - log) + beyond * (math.log(2.0) - math.log(_FLOOR))
    # Chosen one by one on the host: a mask would have to be brought to where the strengths are.
    return torch.stack([c if chance else s for s, c, chance in zip(logs, chances, by_chance, strict=True)])
