"""Checks of numbers that users pass to operations."""

import numbers

import torch
from torch import Tensor

__all__ = ["check_unit_interval"]

# Finite differences around 0 and 1 must be possible; anything further out is a mistake.
_TOLERANCE = 1e-4


def check_unit_interval(value: float | Tensor, what: str) -> None:
    """Refuse numbers outside [0, 1]. Tensors on an accelerator pass unseen: looking at them would stall it."""
    if isinstance(value, Tensor):
        if value.device.type != "cpu" or value.numel() == 0 or torch.compiler.is_compiling():
            return
        low, high = (float(v) for v in torch.aminmax(value.detach()))
    elif isinstance(value, numbers.Real):
        low = high = float(value)
    else:
        raise TypeError(f"{what} must be a number or a tensor, got {value!r} of type {type(value).__name__}")
    if not (low >= -_TOLERANCE and high <= 1.0 + _TOLERANCE):
        raise ValueError(f"{what} must lie in [0, 1], got {high if high > 1.0 or high != high else low:g}")
