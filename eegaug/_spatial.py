"""Convolutions over all channels of a window, computed as products of matrices.

Sleep stagers begin with one. The gradient to its input, which learned augmentation needs and plain training does not,
takes oneDNN much longer than the convolution itself; as a product of matrices it takes no longer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

__all__ = ["spatial_products"]


def spatial_products() -> AbstractContextManager:
    """Context in which convolutions of (batch, 1, channels, times) over all channels are products of matrices.

    Results are the same up to rounding; networks are neither changed nor copied. Without effect on accelerators, whose
    libraries do well, and while a network is compiled.

    Examples
    --------
    >>> import torch
    >>> conv, X = torch.nn.Conv2d(1, 4, (6, 1)), torch.randn(2, 1, 6, 100)
    >>> with spatial_products():
    ...     Y = conv(X)
    >>> torch.allclose(Y, conv(X), atol=1e-5)
    True
    """
    return nullcontext() if torch.compiler.is_compiling() else _SpatialProducts()


class _SpatialProducts(TorchFunctionMode):
    def __torch_function__(
        self, func: Callable, types: Iterable[type], args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        product = _product(*args, **kwargs) if func is torch.conv2d else None
        return func(*args, **kwargs) if product is None else product


def _product(
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
