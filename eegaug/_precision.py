"""How precisely a device can compute."""

import torch

__all__ = ["widest"]

# Kinds of devices with nothing wider than float32: Apple's.
_NARROW = {"mps"}


def widest(device: torch.device) -> torch.dtype:
    """float64, where the device has it."""
    return torch.float32 if device.type in _NARROW else torch.float64
