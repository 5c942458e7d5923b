"""A layer's weighted sum of operations, evaluated as one operation.

Nearly every operation is linear in the signal, so that their weighted sum is one mixing of channels, one filter, one
modulation and one gain, whatever their number. The weights are folded into these before the signal is touched. The
backward pass is written out: it needs the gradient to each of these few only, and of every operation the slope of its
coefficients in the magnitude, so that autograd records nothing of the many small steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from eegaug.augnet.together import decisions, held, rotations
from eegaug.functional.sensors import full_precision
from eegaug.functional.signal_sum import Derived, SignalSum, SumGradient

if TYPE_CHECKING:
    from eegaug.augnet.layers import AugmentationLayer, TrainingDraw
    from eegaug.operations import Operation

__all__ = ["fused_sum"]


def fused_sum(layer: AugmentationLayer, X: Tensor, draws: dict[int, TrainingDraw]) -> Tensor:
    """Weighted sum of a layer's operations: the same value and gradients as ``layer.weighted_sum``.

    One product of matrices for all sensors operations, and one forward and at most two inverse FFTs for all others.
    Operations that have no linear form are added one by one.

    Parameters
    ----------
    layer : AugmentationLayer
    X : Tensor, shape (batch, channels, times)
    draws : dict
        Randomness of each operation to be computed, from ``layer.draw``.

    Returns
    -------
    Tensor
        Shape and dtype of `X`. A second derivative goes through the operations one by one.
    """
    work = X if X.dtype in (torch.float32, torch.float64) else X.float()
    weights, total, linear = layer.weights, None, {}
    for q, draw in draws.items():
        if layer.operations[q].linear_form is not None:
            linear[q] = draw
            continue
        term = layer.apply_operation(q, work, held(layer.strengths[q]), draw.noise, draw.u) * weights[q]
        total = term if total is None else total + term
    if linear:
        weights, strengths = weights.to(work.dtype), layer.strengths.to(work.dtype)
        fused = _LinearSum.apply(work, weights, strengths, layer, linear)
        total = fused if total is None else total + fused
    return total.to(X.dtype)


class _LinearSum(torch.autograd.Function):
    """Weighted sum of operations that have a linear form, see :class:`SignalSum`."""

    @staticmethod
    def forward(
        ctx: Any,
        X: Tensor,
        weights: Tensor,
        strengths: Tensor,
        layer: AugmentationLayer,
        draws: dict[int, TrainingDraw],
    ) -> Tensor:
        with full_precision(X):
            # Coefficients are not saved for autograd but kept as they are: without its bookkeeping they take less time.
            with torch.inference_mode():
                # Held in [0, 1], whatever the optimiser's last step has made of them; their gradient as they are.
                terms = _Terms(X, weights, strengths.clamp(0.0, 1.0), layer.operations, draws)
            total, known = terms.sum.evaluate(X)
        ctx.save_for_backward(X, weights, strengths, *(tensor for piece in known for tensor in piece))
        ctx.terms, ctx.layer, ctx.draws = terms, layer, draws
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        X, weights, strengths, *known = ctx.saved_tensors
        if torch.is_grad_enabled():  # the gradient is to be differentiated once more: one operation after the other
            # Views: of a layer that is used twice, X depends on its strengths too, which is not for this sum to say.
            inputs = X, weights, strengths = [tensor.view_as(tensor) for tensor in (X, weights, strengths)]
            wanted = [tensor for tensor, needed in zip(inputs, ctx.needs_input_grad, strict=False) if needed]
            total = ctx.layer.sum_of(X, weights.unbind(), held(strengths).unbind(), ctx.draws)
            found = iter(torch.autograd.grad(total, wanted, grad, create_graph=True, allow_unused=True))
            return *(next(found) if needed else None for needed in ctx.needs_input_grad[:3]), None, None
        gradient = _Gradient(ctx.terms, grad, X, Derived.each(known))
        to_weights = to_strengths = None
        if ctx.needs_input_grad[1] or ctx.needs_input_grad[2]:
            of_weights = [weights.new_zeros(())] * len(weights)
            of_strengths = list(of_weights)
            with full_precision(X):
                for part in ctx.terms.parts:
                    of_weights[part.q], of_strengths[part.q] = gradient.of(part)
            to_weights = torch.stack(of_weights)
            to_strengths = torch.stack(of_strengths).mul_(weights)
        to_X = gradient.of_signal() if ctx.needs_input_grad[0] else None
        return to_X, to_weights, to_strengths, None, None


class _Part(NamedTuple):
    """One operation of the sum: its coefficients, and what their slope in the magnitude is computed from."""

    q: int
    op: Operation
    strength: Tensor
    noise: dict[str, Tensor]
    value: Any
    slope: Any = None  # in the magnitude, where known; without a magnitude: of being applied


class _Terms:
    """Operations of a sum, and the coefficients that they add up to.

    Gains are kept by what they depend on (nothing or the window, or the time), since small tensors are added faster.
    """

    def __init__(
        self,
        X: Tensor,
        weights: Tensor,
        strengths: Tensor,
        operations: Sequence[Operation],
        draws: dict[int, TrainingDraw],
    ):
        self.n, self.n_channels, self.n_times = X.shape
        self.dtype = X.dtype
        self.parts: list[_Part] = []
        self.sum = SignalSum()
        self.level: Tensor | None = None
        self.mixings: Any = []  # weight, matrices and their slope of each operation; in the end one tensor
        weights, strengths = weights.unsqueeze(1).unbind(), strengths.unsqueeze(1).unbind()
        noises = {q: self._in_dtype(draw.noise) for q, draw in draws.items()}
        us = {q: draw.u if draw.u is None else draw.u.to(self.dtype) for q, draw in draws.items()}
        self.decided = decisions(operations, strengths, us, noises)
        self.rotated = rotations(operations, strengths, noises)
        for q, noise in noises.items():
            self._add(q, operations[q], weights[q], strengths[q], noise)
        self._complete()

    def _in_dtype(self, noise: dict[str, Tensor]) -> dict[str, Tensor]:
        if all(value.dtype == self.dtype or not value.is_floating_point() for value in noise.values()):
            return noise
        # A slope that is not written out is found by autograd, which takes no tensor made under inference_mode.
        with torch.inference_mode(False):
            return {key: value.to(self.dtype) if value.is_floating_point() else value for key, value in noise.items()}

    def _add(self, q: int, op: Operation, weight: Tensor, strength: Tensor, noise: dict[str, Tensor]) -> None:
        """One more operation."""
        value = slope = None
        if op.linear_form in ("gain", "spectrum", "modulation"):
            if op.has_magnitude:
                value, slope = op.product_and_slope(strength, noise, self.n_channels, self.n_times)
            else:
                value = op.linear_value(None, noise, self.n_channels, self.n_times)
        if not op.has_magnitude:
            applied, slope = (tensor[:, :, None] for tensor in self.decided[q])
            if value is not None:  # what it does where it is applied; where not, the signal stays
                value, slope = _where_applied(value, applied, slope, 0.0 if op.linear_form == "spectrum" else 1.0)
        match op.linear_form:
            case "reverse":
                value, flip = applied, weight * applied
                self.sum.flip = _plus(self.sum.flip, flip)
                self.level = _plus(self.level, weight - flip)
            case "gain":
                self.sum.gain = _plus(self.sum.gain, weight, value)
            case "noise":
                self.level = _plus(self.level, weight)
                value = None if op.has_magnitude else applied
                share = strength if value is None else value
                self.sum.noises.append((noise["noise"], weight * (share * op.max_strength)))
            case "spectrum":
                self.level = _plus(self.level, weight)
                self.sum.response = _plus(self.sum.response, weight, value)
            case "modulation":
                self.sum.gain = _plus(self.sum.gain, weight, value[0])
                self.sum.quadrature = _plus(self.sum.quadrature, -weight, value[1])
            case "mixing":
                if op.mixing_of_waves is not None:
                    value, slope = self.rotated[q]
                elif op.mixing_of_members is not None:
                    value, slope = op.mixing_of_members(*self.decided[q], noise)
                elif op.has_magnitude:
                    value, slope = op.mixing_and_slope(strength, noise, self.n_channels)
                else:
                    same = op.same_channels(self.n_channels, applied)
                    away = op.fixed_mixing(noise, self.n_channels, applied) - same
                    value, slope = torch.addcmul(same, applied, away), slope * away
                self.mixings.append((weight, value, slope))
                value, slope = len(self.mixings) - 1, None
            case _:
                raise ValueError(f"{op.name} has the unknown linear form {op.linear_form!r}")
        self.parts.append(_Part(q, op, strength, noise, value, slope))

    def _complete(self) -> None:
        """Make the coefficients, when all operations have been added."""
        if self.level is not None:
            self.sum.gain = _plus(self.sum.gain, self.level.reshape(-1, 1, 1))
        if self.mixings:
            # All in one tensor, for one product here and one in the backward pass.
            weights, values, slopes = zip(*self.mixings, strict=True)
            alike = (m if len(m) == self.n else m.expand(self.n, -1, -1) for m in (*values, *slopes))
            self.mixings = torch.stack(list(alike)).flatten(1)
            matrix = torch.cat(weights) @ self.mixings[: len(weights)]
            self.sum.matrix = matrix.view(self.n, self.n_channels, self.n_channels)


class _Gradient(SumGradient):
    """Gradients to the weights and strengths of the operations of a sum."""

    def __init__(self, parts: _Terms, *known: Any):
        super().__init__(parts.sum, *known)
        self.parts = parts

    @cached_property
    def level(self) -> Tensor:
        if self.terms.gain.shape[-1] == 1:
            return (self.grad * self.X).sum((1, 2), keepdim=True)
        return self.gain.sum(2, keepdim=True)

    @cached_property
    def level_sum(self) -> Tensor:
        return self.level.sum()

    @cached_property
    def mixings(self) -> list[Tensor]:
        """To the weights, then to the strengths, of the operations that mix channels."""
        return (self.parts.mixings @ self.matrix.view(-1)).unbind()

    def of(self, part: _Part) -> tuple[Tensor, Tensor]:
        """Gradient to an operation's weight, and to its strength per weight."""
        form, parts = part.op.linear_form, self.parts
        if form == "reverse":
            change = self.flip - self.level
            return torch.addcmul(self.level, part.value, change).sum(), (part.slope * change).sum()
        if form == "noise" and part.value is not None:
            slope = (self.grad * part.noise["noise"]).sum((1, 2), keepdim=True) * part.op.max_strength
            return self.level_sum + (part.value * slope).sum(), (part.slope * slope).sum()
        if form == "noise":
            slope = _dot(self.grad, part.noise["noise"]) * part.op.max_strength
            return self.level_sum + part.strength[0] * slope, slope
        if form == "mixing":
            return self.mixings[part.value], self.mixings[part.value + len(self.mixings) // 2]
        slope = part.slope
        if slope is None:
            slope = part.op.linear_slope(part.value, part.strength, part.noise, parts.n_channels, parts.n_times)
        if form == "modulation":
            return tuple(_dot(self.gain, cos) - _dot(self.quadrature, sin) for cos, sin in (part.value, slope))
        if form == "spectrum":
            return self.level_sum + _real_product(self.response, part.value), _real_product(self.response, slope)
        return _dot(self.gain, part.value), _dot(self.gain, slope)


def _where_applied(value: Any, applied: Tensor, slope: Tensor, identity: float) -> tuple[Any, Any]:
    """Coefficients of an operation for windows that it is applied to or not, and their slope in the strength."""
    if isinstance(value, tuple):  # what multiplies the signal, and what its Hilbert transform
        away = value[0] - identity, value[1]
        return (identity + applied * away[0], applied * away[1]), (slope * away[0], slope * away[1])
    away = value - identity
    return identity + applied * away, slope * away


def _plus(total: Tensor | None, term: Tensor, factor: Tensor | None = None) -> Tensor:
    """A sum with one more term, or product of two."""
    if factor is not None:
        term = term * factor
    return term if total is None else total + term


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Sum of a product; in one pass where both are of one shape."""
    return torch.dot(a.reshape(-1), b.reshape(-1)) if a.shape == b.shape else (a * b).sum()


def _real_product(of: Tensor, value: Tensor) -> Tensor:
    """Gradient to a factor of a response, from the gradient to the response."""
    if value.is_complex():
        return _dot(torch.view_as_real(of), torch.view_as_real(value))
    return (of.real * value).sum()
