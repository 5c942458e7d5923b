"""Weighted sums of operations whose weights and magnitudes differ between the windows of a batch.

As in :mod:`eegaug.augnet.fused`, the weights are folded into one mixing of channels, one filter, one modulation and one
gain before the signal is touched. Here every one of them is differentiable by itself, so that weights, magnitudes and
decisions may come from anywhere: a softmax, a straight-through choice, a network.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from eegaug.functional.signal_sum import Derived, SignalSum, SumGradient

if TYPE_CHECKING:
    from eegaug.operations import Operation

__all__ = ["Term", "combination"]


class Term(NamedTuple):
    """An operation in a weighted sum.

    Parameters
    ----------
    operation : Operation
    weight : Tensor, shape (), (1,) or (batch,)
    magnitude : Tensor of shape (1,) or (batch,), or None
        None for operations without a magnitude.
    noise : dict of Tensor
        From the operation's ``draw``.
    """

    operation: Operation
    weight: Tensor
    magnitude: Tensor | None
    noise: dict[str, Tensor]


def combination(X: Tensor, terms: Iterable[Term], identity: Tensor | None = None) -> Tensor:
    """Weighted sum of operations on a batch, with weights and magnitudes for the whole batch or for each window.

    One product of matrices for all sensors operations, and one forward and at most two inverse FFTs for all others.
    Operations that have no linear form are added one by one.

    Parameters
    ----------
    X : Tensor, shape (batch, channels, times)
    terms : iterable of Term
        Their tensors are differentiable; where a weight is exactly zero, the operation leaves no trace.
    identity : Tensor of shape (), (1,) or (batch,), or None
        Weight of `X` itself.

    Returns
    -------
    Tensor
        Shape and dtype of `X`. Its gradient can be taken once, not twice.
    """
    work = X.to(_working_dtype(X))
    n_channels, n_times = work.shape[1:]
    # Gains by what they depend on (nothing, the window, the time), since small tensors are added much faster.
    level = gain = flip = quadrature = response = matrix = other = None
    noises: list[tuple[Tensor, Tensor]] = []
    for op, weight, magnitude, noise in terms:
        form = op.linear_form
        wide = weight.reshape(-1, 1, 1)
        if form is None:
            other = _plus(other, op.apply(work, magnitude, noise) * wide)
            continue
        noise = {key: value.to(work.dtype) if value.is_floating_point() else value for key, value in noise.items()}
        if form == "reverse":
            flip = _plus(flip, wide)
        elif form == "gain":
            gain = _plus(gain, wide * op.time_gain(magnitude, noise, n_times))
        elif form == "noise":
            level = _plus(level, weight)
            share = weight if magnitude is None else weight * magnitude
            noises.append((noise["noise"], share.reshape(-1, 1, 1) * op.max_strength))
        elif form == "spectrum":
            level = _plus(level, weight)
            response = _plus(response, wide * op.spectral_change(magnitude, noise, n_times))
        elif form == "modulation":
            cos, sin = op.modulation(magnitude, noise, n_times)
            gain = _plus(gain, wide * cos)
            quadrature = _plus(quadrature, -wide * sin)
        elif form == "mixing":
            if op.has_magnitude:
                mixing = op.mixing_matrix(magnitude, noise, n_channels).to(work)
            else:
                mixing = op.fixed_mixing(noise, n_channels, work)
            matrix = _plus(matrix, wide * mixing)
        else:
            raise ValueError(f"{op.name} has the unknown linear form {form!r}")
    along_time = any(part is not None for part in (level, gain, flip))
    if identity is not None:
        if matrix is None or along_time:
            level, along_time = _plus(level, identity), True
        else:
            eye = torch.eye(n_channels, dtype=work.dtype, device=work.device)
            matrix = matrix + identity.reshape(-1, 1, 1) * eye
    if level is not None:
        gain = _plus(gain, level.reshape(-1, 1, 1))
    if matrix is None and not along_time:
        if other is None:
            raise ValueError("a weighted sum needs one operation or more.")
        return other.to(X.dtype)
    noise, scale = _one_noise(noises)
    total = _DifferentiableSum.apply(work, gain, flip, quadrature, response, matrix, noise, scale)
    return _plus(other, total).to(X.dtype)


def _working_dtype(X: Tensor) -> torch.dtype:
    return X.dtype if X.dtype in (torch.float32, torch.float64) else torch.float32


def _plus(total: Tensor | None, term: Tensor) -> Tensor:
    return term if total is None else total + term


def _one_noise(noises: list[tuple[Tensor, Tensor]]) -> tuple[Tensor | None, Tensor | None]:
    """Noise and its gain; of several noise operations the sum, with a gain of one."""
    if not noises:
        return None, None
    if len(noises) == 1:
        return noises[0]
    total = sum(noise * gain for noise, gain in noises)
    return total, total.new_ones(1, 1, 1)


class _DifferentiableSum(torch.autograd.Function):
    """A :class:`SignalSum` whose coefficients are differentiable one by one."""

    @staticmethod
    def forward(
        ctx: Any,
        X: Tensor,
        gain: Tensor | None,
        flip: Tensor | None,
        quadrature: Tensor | None,
        response: Tensor | None,
        matrix: Tensor | None,
        noise: Tensor | None,
        scale: Tensor | None,
    ) -> Tensor:
        noises = [] if noise is None else [(noise, scale)]
        total, known = SignalSum(gain, flip, quadrature, response, matrix, noises).evaluate(X)
        derived = (tensor for piece in known for tensor in piece)
        ctx.save_for_backward(X, gain, flip, quadrature, response, matrix, noise, scale, *derived)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        X, gain, flip, quadrature, response, matrix, noise, scale, *known = ctx.saved_tensors
        terms = SignalSum(gain, flip, quadrature, response, matrix)
        gradient = SumGradient(terms, grad, X, Derived.each(known))
        need_X, *need = ctx.needs_input_grad
        found: list[Tensor | None] = []
        for name, needed in zip(("gain", "flip", "quadrature", "response", "matrix"), need, strict=False):
            of = None
            if needed:
                value = getattr(terms, name)
                of = getattr(gradient, name)
                if not value.is_complex():
                    of = of.real
                of = of.sum_to_size(value.shape)
            found.append(of)
        need_noise, need_scale = need[-2:]
        found.append((grad * scale).sum_to_size(noise.shape) if need_noise else None)
        found.append((grad * noise).sum_to_size(scale.shape) if need_scale else None)
        return gradient.of_signal() if need_X else None, *found
