"""Gradients of convolutions on a CPU, for networks whose layers have few channels and long kernels.

oneDNN, which PyTorch asks for them, works on many channels at a time. For a first layer, which sees one, its gradients
take two to twenty times as long as products of matrices.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

__all__ = ["How", "convolution_gradients", "convolve", "gains", "usual_gradients"]

#: Stride, padding, dilation, groups.
How = tuple[list[int], list[int], list[int], int]

# Where products of matrices gain, as `benchmarks/training.py` and single layers of braindecode's networks showed.
_FEW_CHANNELS = 8
_LONG, _LONGEST = 24, 128
# Samples of a gradient that are multiplied together with all samples that they meet, and bytes of such products.
_BLOCK = 16
_PIECE = 2**20


def gains(X: Tensor, weight: Tensor, how: How) -> tuple[bool, bool]:
    """Whether the gradients of a convolution, to the signal and to the weights, are quicker by products of matrices."""
    stride, padding, dilation, groups = how
    usual = X.device.type == "cpu" and X.dtype in (torch.float32, torch.float64) and X.ndim in (3, 4)
    if not usual or X.numel() == 0 or groups != 1 or set(dilation) != {1}:
        return False, False
    n_out, n_in, *kernel = weight.shape
    along_time = len(kernel) == 1 or (kernel[0] == stride[0] == 1 and padding[0] == 0)
    to_signal = n_in <= _FEW_CHANNELS or weight[0, 0].numel() >= _LONG
    to_weight = along_time and stride[-1] == 1 and max(_LONG, n_out) <= kernel[-1] <= _LONGEST
    return to_signal, to_weight


def convolution_gradients(
    grad: Tensor, X: Tensor, weight: Tensor, how: How, wanted: Sequence[bool]
) -> tuple[Tensor | None, ...]:
    """Gradients to signal, weight and bias of a convolution; None for those that are not wanted.

    Parameters
    ----------
    grad : Tensor
        Gradient to its output.
    X, weight : Tensor
        With one, two or three dimensions behind batch and channels.
    how : tuple
        Stride, padding and dilation for each dimension, and the number of groups.
    wanted : sequence of bool
        For signal, weight and bias.
    """
    found: list[Tensor | None] = [None, None, None]
    left = list(wanted)
    to_signal, to_weight = gains(X, weight, how)
    if to_signal and wanted[0]:
        found[0], left[0] = _to_signal(grad, X, weight, how), False
    if to_weight and wanted[1]:
        found[1], left[1] = _to_weight(grad, X, weight, how[1][-1]), False
        if wanted[2]:
            found[2], left[2] = grad.flatten(2).sum((0, 2)), False
    if any(left):
        others = usual_gradients(grad, X, weight, how, left)
        found = [other if one is None else one for one, other in zip(found, others, strict=True)]
    return tuple(found)


def usual_gradients(
    grad: Tensor, X: Tensor, weight: Tensor, how: How, wanted: Sequence[bool]
) -> tuple[Tensor | None, ...]:
    """As :func:`convolution_gradients`, by PyTorch's own ways; differentiable."""
    *sizes, groups = how
    zeros = [0] * len(sizes[0])
    return torch.ops.aten.convolution_backward(
        grad, X, weight, [weight.shape[0]], *sizes, False, zeros, groups, list(wanted)
    )


def convolve(X: Tensor, weight: Tensor, bias: Tensor | None, how: How) -> Tensor:
    """The convolution itself."""
    *sizes, groups = how
    return torch.ops.aten.convolution(X, weight, bias, *sizes, False, [0] * len(sizes[0]), groups)


def _in_two_dimensions(*tensors: Tensor) -> list[Tensor]:
    return [one.unsqueeze(2) if one.ndim == 3 else one for one in tensors]


def _to_signal(grad: Tensor, X: Tensor, weight: Tensor, how: How) -> Tensor:
    """As PyTorch does it without oneDNN: a product of matrices, whose columns are added up where they overlap."""
    stride, padding = ([neutral, *one][-2:] for neutral, one in zip((1, 0), how, strict=False))
    grad, wide, weight = _in_two_dimensions(grad, X, weight)
    kernel = list(weight.shape[2:])
    found = torch.ops.aten._slow_conv2d_backward(grad, wide, weight, kernel, stride, padding, [True, False, False])
    return found[0].view_as(X)


def _to_weight(grad: Tensor, X: Tensor, weight: Tensor, padding: int) -> Tensor:
    r"""For a kernel along time, the last dimension: :math:`\sum_t g_f(t)\, x_c(t + j)` for each place :math:`j`.

    Blocks of the gradient are multiplied with all samples that they meet, :math:`g_f(t + a)\, x_c(t + b)` summed over
    blocks; then those with the same :math:`j = b - a` are added up.
    """
    grad, X = _in_two_dimensions(grad, X)
    n_in, height, n_times = X.shape[1:]
    n_out, n_after, length = grad.shape[1], grad.shape[3], weight.shape[-1]
    n_blocks = -(-n_after // _BLOCK)
    n_met = _BLOCK + length - 1
    ends = padding, n_blocks * _BLOCK + length - 1 - n_times - padding
    bytes_each = grad.element_size() * height * (n_out * n_after + n_in * n_blocks * n_met)
    at_once = max(1, _PIECE // bytes_each)
    products = grad.new_zeros(n_out, _BLOCK, n_in * n_met)
    for of, one in zip(grad.split(at_once), X.split(at_once), strict=True):
        blocks = grad.new_zeros(n_out, len(one), height, n_blocks * _BLOCK)
        blocks[..., :n_after] = of.transpose(0, 1)
        met = pad(one, ends).unfold(-1, n_met, _BLOCK).permute(0, 2, 3, 1, 4).reshape(1, -1, n_in * n_met)
        products.baddbmm_(blocks.view(n_out, -1, _BLOCK).transpose(1, 2), met.expand(n_out, -1, -1))
    of_out, of_block, _ = products.stride()
    same_place = products.as_strided((n_out, n_in, length, _BLOCK), (of_out, n_met, 1, of_block + 1))
    return same_place.sum(-1).view_as(weight)
