"""Convolutions on a CPU, and their gradients, in less time than oneDNN takes.

Sleep stagers begin with a convolution over all channels, which is a product of matrices, and go on with long kernels
along time. Gradients to their input, which learned augmentation needs and plain training does not, take oneDNN much
longer than the convolution itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from eegaug._convolution_gradients import How, convolution_gradients, convolve, gains, usual_gradients
from eegaug.functional.sampling import differentiated_forwards, transformed

__all__ = ["arguments", "product_over_channels", "quick_convolutions"]

_N_DIMS = {torch.conv1d: 1, torch.conv2d: 2, torch.conv3d: 3}
_DEFAULTS = {"bias": None, "stride": 1, "padding": 0, "dilation": 1, "groups": 1}


def quick_convolutions() -> AbstractContextManager:
    """Context in which convolutions over all channels are products of matrices, and so are gradients that gain by it.

    Results are the same up to rounding; networks are neither changed nor copied. Without effect on accelerators, whose
    libraries do well, and while a network is compiled.

    Examples
    --------
    >>> import torch
    >>> conv, X = torch.nn.Conv2d(1, 4, (6, 1)), torch.randn(2, 1, 6, 100)
    >>> with quick_convolutions():
    ...     Y = conv(X)
    >>> torch.allclose(Y, conv(X), atol=1e-5)
    True
    """
    return nullcontext() if torch.compiler.is_compiling() else _QuickConvolutions()


class _QuickConvolutions(TorchFunctionMode):
    def __torch_function__(
        self, func: Callable, types: Iterable[type], args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        # Whatever a network computes comes by here. A part of it may be compiled by itself.
        if func not in _N_DIMS or torch.compiler.is_compiling():
            return func(*args, **kwargs)
        if func is torch.conv2d and (product := product_over_channels(*args, **kwargs)) is not None:
            return product
        given = arguments(func, args, kwargs)
        if given is not None and _is_quicker(*given):
            return _Convolution.apply(*given)
        return func(*args, **kwargs)


def arguments(func: Callable, args: tuple, kwargs: dict[str, Any]) -> tuple[Tensor, Tensor, Tensor | None, How] | None:
    """Signal, weight, bias and settings of a convolution of a batch, whose padding is given in numbers; else None."""
    if func not in _N_DIMS:
        return None
    given = _DEFAULTS | dict(zip(("input", "weight", *_DEFAULTS), args, strict=False)) | kwargs
    n_dims, X = _N_DIMS[func], given["input"]
    if isinstance(given["padding"], str) or X.ndim != n_dims + 2:
        return None
    stride, padding, dilation = (_each(given[name], n_dims) for name in ("stride", "padding", "dilation"))
    return X, given["weight"], given["bias"], (stride, padding, dilation, given["groups"])


def _each(value: Any, n_dims: int) -> list[int]:
    values = [value] if isinstance(value, int) else list(value)
    return values * n_dims if len(values) == 1 else values


def _is_quicker(X: Tensor, weight: Tensor, bias: Tensor | None, how: How) -> bool:
    if not torch.is_grad_enabled() or transformed() or differentiated_forwards():
        return False
    if not any(one.requires_grad and quick for one, quick in zip((X, weight), gains(X, weight, how), strict=True)):
        return False
    return not torch.is_autocast_enabled("cpu")  # which convolves in another dtype


class _Convolution(torch.autograd.Function):
    """A convolution as it is, whose gradients are computed by products of matrices."""

    @staticmethod
    def forward(ctx: Any, X: Tensor, weight: Tensor, bias: Tensor | None, how: How) -> Tensor:
        ctx.save_for_backward(X, weight)
        ctx.how = how
        return convolve(X, weight, bias, how)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        gradients = usual_gradients if torch.is_grad_enabled() else convolution_gradients  # differentiable or quick
        return *gradients(grad, *ctx.saved_tensors, ctx.how, ctx.needs_input_grad[:3]), None


def product_over_channels(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor | None:
    """The convolution as a product, or None if it is not one over all channels."""
    over_channels = (
        input.device.type == "cpu"
        and input.ndim == 4
        and input.shape[1] == groups == 1
        and weight.shape[2:] == (input.shape[2], 1)
        and padding in (0, (0, 0), [0, 0], "valid")
        and (stride if isinstance(stride, int) else stride[-1]) == 1
        and (dilation if isinstance(dilation, int) else dilation[0]) == 1
    )
    if not over_channels:
        return None
    matrix, X = weight[:, 0, :, 0].expand(len(input), -1, -1), input[:, 0]
    out = torch.bmm(matrix, X) if bias is None else torch.baddbmm(bias[None, :, None], matrix, X)
    return out.unsqueeze(2)
