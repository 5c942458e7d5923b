"""What users pass to operations: checks, and one shape for all."""

from __future__ import annotations

import numbers
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from eegaug.functional.sampling import transformed

if TYPE_CHECKING:
    from eegaug.operations.base import Operation

__all__ = ["as_windows", "check_unit_interval", "fit_noise", "per_window"]

# Finite differences around 0 and 1 must be possible; anything further out is a mistake.
_TOLERANCE = 1e-4


def check_unit_interval(value: float | Tensor, what: str) -> None:
    """Refuse numbers outside [0, 1]. Tensors on an accelerator, or under torch.func, pass unseen.

    Looking at them would stall the accelerator; torch.func may not let them be looked at.
    """
    if isinstance(value, Tensor):
        if value.device.type != "cpu" or value.numel() == 0 or torch.compiler.is_compiling() or transformed():
            return
        low, high = (float(v) for v in torch.aminmax(value.detach()))
    elif isinstance(value, numbers.Real):
        low = high = float(value)
    else:
        raise TypeError(f"{what} must be a number or a tensor, got {value!r} of type {type(value).__name__}")
    if not (low >= -_TOLERANCE and high <= 1.0 + _TOLERANCE):
        words = f"{what} must lie in [0, 1], got {high if high > 1.0 or high != high else low:g}"
        if high != high and isinstance(value, Tensor):
            words += ": what is learned is nan after a training that has diverged; lower its learning rate"
        raise ValueError(words)


def as_windows(op: Operation, X: Tensor) -> tuple[Tensor, int]:
    """`X` as (windows, channels, times), and the number of windows of each example."""
    if not isinstance(X, Tensor):
        raise TypeError(f"{op.name}: X must be a torch.Tensor, got {type(X).__name__}; use torch.as_tensor(X)")
    if not X.dtype.is_floating_point:
        raise TypeError(f"{op.name}: X must be floating point, got {X.dtype}; use X.float()")
    if X.ndim not in (2, 3, 4):
        raise ValueError(
            f"{op.name}: X must have shape (channels, times), (batch, channels, times) or "
            f"(batch, windows, channels, times), got {tuple(X.shape)}"
        )
    n_channels = X.shape[-2]
    if op.ch_names is not None and n_channels != len(op.ch_names):
        raise ValueError(
            f"{op.name} was built for the {len(op.ch_names)} channels {list(op.ch_names)}, "
            f"got X with {n_channels} channels"
        )
    return X.reshape(-1, *X.shape[-2:]) if X.ndim != 3 else X, X.shape[1] if X.ndim == 4 else 1


def per_window(op: Operation, value: float | Tensor, work: Tensor, repeats: int, what: str) -> Tensor:
    """One number, or one per example, as a tensor of shape (1,) or (windows,)."""
    n = work.shape[0]
    if not isinstance(value, Tensor):
        return torch.full((1,), float(value), dtype=work.dtype, device=work.device)
    value = value.to(device=work.device, dtype=work.dtype).reshape(-1)
    if value.shape[0] in (1, n):
        return value
    if value.shape[0] * repeats == n:
        return value.repeat_interleave(repeats)
    raise ValueError(f"{op.name}: {what} must be one number or one for each of {n} windows, got {value.shape[0]}")


def fit_noise(op: Operation, noise: Mapping[str, Tensor], work: Tensor, repeats: int) -> dict[str, Tensor]:
    """Draws with a first dimension of 1 or of the number of windows, where the signal is and as it is."""
    n = work.shape[0]
    expected = op.noise_shapes(n, *work.shape[1:])
    fitted = {}
    for key, shape in expected.items():
        if key not in noise:
            raise ValueError(f"{op.name}: noise lacks {key!r}; draw it with draw({', '.join(map(str, work.shape))})")
        if noise[key].shape[1:] != shape[1:]:
            raise ValueError(
                f"{op.name}: noise {key!r} must have shape {shape} (or 1 in front), got {tuple(noise[key].shape)}"
            )
    for key, value in noise.items():
        value = value.to(device=work.device, dtype=work.dtype if value.is_floating_point() else None)
        if value.shape[0] not in (1, n):
            if value.shape[0] * repeats != n:
                raise ValueError(f"{op.name}: noise {key!r} is for {value.shape[0]} windows, X has {n}")
            value = value.repeat_interleave(repeats, 0)
        fitted[key] = value
    return fitted
