"""How precisely a device can compute."""

import torch

__all__ = ["widest"]


def widest(device: torch.device) -> torch.dtype:
    """float64, but float32 on Apple's accelerator, which has nothing wider."""
    return torch.float32 if device.type == "mps" else torch.float64
