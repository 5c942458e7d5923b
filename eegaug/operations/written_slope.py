"""Operations with a backward pass that is written out, from the slope of their coefficients in the magnitude.

The gradient to the magnitude is the product of the gradient that comes in with the signal under these slopes, which is
about as much work as the operation itself. Autograd would compute gradients to all coefficients first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from eegaug.functional.sampling import transformed
from eegaug.functional.signal_sum import Derived, SignalSum, SumGradient

if TYPE_CHECKING:
    from eegaug.operations.base import Operation

__all__ = ["apply_with_slope"]


def apply_with_slope(op: Operation, X: Tensor, magnitude: Tensor, noise: dict[str, Tensor]) -> Tensor:
    """``op.transform(X, magnitude, noise)`` of an operation with a linear form, quickly differentiable.

    Parameters
    ----------
    op : Operation
        Whose :meth:`~eegaug.operations.Operation.product_and_slope` is known.
    X : Tensor, shape (batch, channels, times)
    magnitude : Tensor, shape (batch,) or (1,)
    noise : dict of Tensor

    Returns
    -------
    Tensor, shape (batch, channels, times)
        Differentiable once by the slopes; a second derivative goes through ``op.transform``.
    """
    if transformed():
        return op.transform(X, magnitude, noise)
    return _Product.apply(X, magnitude, op, noise)


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, X: Tensor, magnitude: Tensor, op: Operation, noise: dict[str, Tensor]) -> Tensor:
        value, slope = op.product_and_slope(magnitude, noise, *X.shape[1:])
        total, known = _terms(op.product_form, value, 1.0).evaluate(X, keep=any(ctx.needs_input_grad))
        ctx.op, ctx.noise, ctx.value, ctx.slope = op, noise, value, slope
        saved = X, magnitude, *(tensor for piece in known for tensor in piece)
        ctx.save_for_backward(*saved)
        ctx.save_for_forward(*saved)
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        X, magnitude, *known = ctx.saved_tensors
        to_X = to_magnitude = None
        if torch.is_grad_enabled():  # the gradient is to be differentiated once more
            inputs = [tensor for tensor, needed in zip((X, magnitude), ctx.needs_input_grad, strict=False) if needed]
            output = ctx.op.transform(X, magnitude, ctx.noise)
            found = iter(torch.autograd.grad(output, inputs, grad, create_graph=True))
            return *(next(found) if needed else None for needed in ctx.needs_input_grad[:2]), None, None
        value, slope = _coefficients(ctx)
        if ctx.needs_input_grad[1]:
            to_magnitude = slope.product(X, grad, Derived.each(known), each=len(magnitude) > 1)
        if ctx.needs_input_grad[0]:
            to_X = SumGradient(value, grad, X, Derived.each(known)).of_signal()
        return to_X, to_magnitude, None, None

    @staticmethod
    def jvp(ctx: Any, X_t: Tensor | None, magnitude_t: Tensor | None, *_: Any) -> Tensor:
        X, _, *known = ctx.saved_tensors
        value, slope = _coefficients(ctx)
        total = torch.zeros_like(X)
        if magnitude_t is not None:
            total = total + slope.evaluate(X, Derived.each(known))[0] * magnitude_t[:, None, None]
        if X_t is not None:
            total = total + value.evaluate(X_t)[0]
        return total


def _terms(form: str, value: Any, level: float) -> SignalSum:
    """A linear form with these coefficients; what the signal itself is multiplied by beside a change of spectrum."""
    match form:
        case "gain":
            return SignalSum(gain=value)
        case "spectrum":
            real = value.real if value.is_complex() else value
            return SignalSum(gain=real.new_full((1, 1, 1), level) if level else None, response=value)
        case "modulation":
            return SignalSum(gain=value[0], quadrature=-value[1])
        case "mixing":
            return SignalSum(matrix=value)
    raise ValueError(f"unknown linear form {form!r}")


def _coefficients(ctx: Any) -> tuple[SignalSum, SignalSum]:
    """What the operation does to a signal, and the slope of that in the magnitude."""
    X, magnitude = ctx.saved_tensors[:2]
    form, slope = ctx.op.product_form, ctx.slope
    if slope is None:
        slope = ctx.op.linear_slope(ctx.value, magnitude, ctx.noise, *X.shape[1:])
    return _terms(form, ctx.value, 1.0), _terms(form, slope, 0.0)
