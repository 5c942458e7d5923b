"""A layer's weighted sum of operations, evaluated as one operation.

Nearly every operation is linear in the signal, so that their weighted sum is one mixing of channels, one filter, one
modulation and one gain, whatever their number. The weights are folded into these before the signal is touched. The
backward pass is written out: it needs the gradient to each of these few only, and of every operation the slope of its
coefficients in the magnitude, so that autograd records nothing of the many small steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from eegaug.functional.sampling import bernoulli_and_slope
from eegaug.functional.sensors import full_precision

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
        Shape and dtype of `X`. Its gradient can be taken once, not twice.
    """
    work = X if X.dtype in (torch.float32, torch.float64) else X.float()
    weights, total, linear = layer.weights, None, {}
    for q, draw in draws.items():
        if layer.operations[q].linear_form is not None:
            linear[q] = draw
            continue
        term = layer.apply_operation(q, work, layer.strengths[q], draw.noise, draw.u) * weights[q]
        total = term if total is None else total + term
    if linear:
        weights, strengths = weights.to(work.dtype), layer.strengths.to(work.dtype)
        fused = _LinearSum.apply(work, weights, strengths, layer.operations, linear)
        total = fused if total is None else total + fused
    return total.to(X.dtype)


class _LinearSum(torch.autograd.Function):
    """Weighted sum of operations that have a linear form, see :class:`_Terms`."""

    @staticmethod
    def forward(
        ctx: Any,
        X: Tensor,
        weights: Tensor,
        strengths: Tensor,
        operations: Sequence[Operation],
        draws: dict[int, TrainingDraw],
    ) -> Tensor:
        terms = _Terms(X)
        weight, strength = weights.split(1), strengths.split(1)
        with full_precision(X):
            for q, draw in draws.items():
                terms.add(q, operations[q], weight[q], strength[q], draw)
            total, spectrum, turned = terms.evaluate(X)
        ctx.save_for_backward(X, weights, spectrum, turned)
        ctx.terms = terms
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        X, weights, spectrum, turned = ctx.saved_tensors
        gradient = _Gradient(ctx.terms, grad, X, spectrum, turned)
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
    slope: Tensor | None = None  # of operations that are applied with a probability: of being applied


class _Terms:
    """``gain * X + flip * reversed(X) + quadrature * hilbert(X) + filtered(X, response) + matrix @ X + scale * noise``.

    Gains are kept by what they depend on (nothing or the window, or the time), since small tensors are added faster.
    """

    def __init__(self, X: Tensor):
        self.n, self.n_channels, self.n_times = X.shape
        self.dtype = X.dtype
        self.parts: list[_Part] = []
        self.level = self.gain = self.flip = self.quadrature = self.response = self.matrix = None
        self.noises: list[tuple[Tensor, Tensor]] = []
        self.mixings: list[tuple[Tensor, Tensor, Tensor]] = []  # weight, matrices, their slope

    def add(self, q: int, op: Operation, weight: Tensor, strength: Tensor, draw: TrainingDraw) -> None:
        """One more operation."""
        noise = {key: value.to(self.dtype) for key, value in draw.noise.items()}
        value = slope = None
        if op.linear_form in ("gain", "spectrum", "modulation"):
            value = op.linear_value(strength if op.has_magnitude else None, noise, self.n_channels, self.n_times)
        if not op.has_magnitude:
            applied, slope = bernoulli_and_slope(strength / 2, draw.u.to(self.dtype))
            applied, slope = applied[:, None, None], slope[:, None, None] / 2
        match op.linear_form:
            case "reverse":
                value, flip = applied, weight * applied
                self.flip = _plus(self.flip, flip)
                self.level = _plus(self.level, weight - flip)
            case "gain":
                self.gain = _plus(self.gain, weight, value)
            case "noise":
                self.level = _plus(self.level, weight)
                self.noises.append((noise["noise"], weight * (strength * op.max_strength)))
            case "spectrum":
                self.level = _plus(self.level, weight)
                self.response = _plus(self.response, weight, value)
            case "modulation":
                self.gain = _plus(self.gain, weight, value[0])
                self.quadrature = _plus(self.quadrature, -weight, value[1])
            case "mixing":
                if op.has_magnitude:
                    value, slope = op.mixing_and_slope(strength, noise, self.n_channels)
                else:
                    same, away = _away_from_identity(op, self.n_channels, self.dtype, applied.device)
                    value, slope = torch.addcmul(same, applied, away), slope * away
                self.mixings.append((weight, value, slope))
                value, slope = len(self.mixings) - 1, None
            case _:
                raise ValueError(f"{op.name} has the unknown linear form {op.linear_form!r}")
        self.parts.append(_Part(q, op, strength, noise, value, slope))

    def evaluate(self, X: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """The sum, and the signal's spectrum and Hilbert transform where they were needed."""
        if self.level is not None:
            self.gain = self.level.reshape(-1, 1, 1) if self.gain is None else self.gain + self.level.reshape(-1, 1, 1)
        total = spectrum = turned = scratch = None
        if self.quadrature is not None or self.response is not None:
            spectrum = torch.fft.rfft(X)
        if self.response is not None:
            scratch = spectrum * self.response
            total = torch.fft.irfft(scratch, n=self.n_times)
        if self.mixings:
            # All in one tensor, for one product here and one in the backward pass.
            weights, values, slopes = zip(*self.mixings, strict=True)
            self.mixings = torch.stack([m.expand(self.n, -1, -1) for m in (*values, *slopes)]).flatten(1)
            matrix = torch.cat(weights) @ self.mixings[: len(weights)]
            self.matrix = matrix.view(self.n, self.n_channels, self.n_channels)
            total = _plus(total, self._mixed(self.matrix, X))
        if self.gain is not None:
            total = X * self.gain if total is None else total.addcmul_(X, self.gain)
        if self.quadrature is not None:
            turned = torch.mul(spectrum, _quarter_turn(self.n_times, X.dtype, X.device), out=scratch)
            turned = torch.fft.irfft(turned, n=self.n_times)
            total.addcmul_(turned, self.quadrature)
        if self.flip is not None:
            total.addcmul_(X.flip(-1), self.flip)
        for noise, scale in self.noises:
            total.addcmul_(noise, scale)
        return total, spectrum, turned

    def _mixed(self, matrix: Tensor, X: Tensor) -> Tensor:
        with full_precision(X):
            return torch.bmm(matrix.expand(self.n, -1, -1), X)


class _Gradient:
    """The gradient to each coefficient of a sum, each computed once and only if it is asked for."""

    def __init__(self, terms: _Terms, grad: Tensor, X: Tensor, spectrum: Tensor | None, turned: Tensor | None):
        self.terms, self.grad, self.X, self.spectrum, self.turned = terms, grad, X, spectrum, turned

    @cached_property
    def gain(self) -> Tensor:
        return (self.grad * self.X).sum(1, keepdim=True)

    @cached_property
    def level(self) -> Tensor:
        if self.terms.gain.shape[-1] == 1:
            return (self.grad * self.X).sum((1, 2), keepdim=True)
        return self.gain.sum(2, keepdim=True)

    @cached_property
    def level_sum(self) -> Tensor:
        return self.level.sum()

    @cached_property
    def flip(self) -> Tensor:
        return self.X.flip(-1).mul_(self.grad).sum((1, 2), keepdim=True)

    @cached_property
    def quadrature(self) -> Tensor:
        return (self.grad * self.turned).sum(1, keepdim=True)

    @cached_property
    def backwards(self) -> Tensor:
        """Spectrum of the gradient."""
        return torch.fft.rfft(self.grad)

    @cached_property
    def response(self) -> Tensor:
        product = torch.conj_physical(self.backwards).mul_(self.spectrum)
        if self.terms.response.shape[1] == 1:
            product = product.sum(1, keepdim=True)
        return product * _multiplicity(self.terms.n_times, self.X.dtype, self.X.device)

    @cached_property
    def mixings(self) -> list[Tensor]:
        """To the weights, then to the strengths, of the operations that mix channels."""
        matrix = torch.bmm(self.grad, self.X.transpose(1, 2))
        return (self.terms.mixings @ matrix.view(-1)).unbind()

    def of(self, part: _Part) -> tuple[Tensor, Tensor]:
        """Gradient to an operation's weight, and to its strength per weight."""
        form, terms = part.op.linear_form, self.terms
        if form == "reverse":
            change = self.flip - self.level
            return torch.addcmul(self.level, part.value, change).sum(), (part.slope * change).sum()
        if form == "noise":
            slope = torch.dot(self.grad.reshape(-1), part.noise["noise"].reshape(-1)) * part.op.max_strength
            return self.level_sum + part.strength[0] * slope, slope
        if form == "mixing":
            return self.mixings[part.value], self.mixings[part.value + len(self.mixings) // 2]
        slope = part.op.linear_slope(part.value, part.strength, part.noise, terms.n_channels, terms.n_times)
        if form == "modulation":
            return tuple((self.gain * cos).sum() - (self.quadrature * sin).sum() for cos, sin in (part.value, slope))
        if form == "spectrum":
            value, slope = _real_product(self.response, part.value), _real_product(self.response, slope)
            return self.level_sum + value, slope
        return (self.gain * part.value).sum(), (self.gain * slope).sum()

    def of_signal(self) -> Tensor:
        terms, grad, total, spectrum = self.terms, self.grad, None, None
        if terms.response is not None:
            spectrum = self.backwards.mul_(terms.response.conj())  # it has served
        if terms.quadrature is not None:
            turned = torch.fft.rfft(grad * terms.quadrature)
            turned.mul_(_quarter_turn(terms.n_times, grad.dtype, grad.device).conj())
            spectrum = turned if spectrum is None else spectrum.add_(turned)
        if spectrum is not None:
            total = torch.fft.irfft(spectrum, n=terms.n_times)
        if terms.matrix is not None:
            total = _plus(total, terms._mixed(terms.matrix.transpose(1, 2), grad))
        if terms.gain is not None:
            total = grad * terms.gain if total is None else total.addcmul_(grad, terms.gain)
        if terms.flip is not None:
            total.addcmul_(grad.flip(-1), terms.flip)
        return total


def _plus(total: Tensor | None, term: Tensor, factor: Tensor | None = None) -> Tensor:
    """A sum with one more term, or product of two."""
    if factor is not None:
        term = term * factor
    return term if total is None else total + term


def _real_product(of: Tensor, value: Tensor) -> Tensor:
    return (of * value).sum().real if value.is_complex() else (of.real * value).sum()


def _away_from_identity(
    op: Operation, n_channels: int, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor]:
    """The identity, and how far an operation without a magnitude is from it."""

    def make() -> tuple[Tensor, Tensor]:
        same = torch.eye(n_channels, dtype=torch.float64)
        return same, op.mixing_matrix(None, {}, n_channels).cpu().double() - same

    return op._constant(f"away {n_channels}", torch.empty(0, dtype=dtype, device=device), make)


@lru_cache(maxsize=32)
def _quarter_turn(n_times: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """What turns a spectrum by -90 degrees, without what has no phase: DC and, of an even length, Nyquist."""
    with torch.inference_mode(False), torch.no_grad():
        turn = torch.full((n_times // 2 + 1,), -1j, dtype=dtype.to_complex(), device=device)
        turn[0] = 0.0
        if n_times % 2 == 0:
            turn[-1] = 0.0
    return turn


@lru_cache(maxsize=32)
def _multiplicity(n_times: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """How often each coefficient of a half spectrum stands in the full one, over its length."""
    with torch.inference_mode(False), torch.no_grad():
        times = torch.full((n_times // 2 + 1,), 2.0 / n_times, dtype=dtype, device=device)
        times[0] /= 2.0
        if n_times % 2 == 0:
            times[-1] /= 2.0
    return times
