"""A network and windows small enough to train in a blink."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

SFREQ = 50.0
CHANNELS = ["F3", "F4", "C3", "C4"]


class SmallNet(nn.Module):
    """Band powers by a learned filter bank, then a linear layer."""

    def __init__(self, n_chans: int, n_outputs: int, n_filters: int = 4, drop_prob: float = 0.0):
        super().__init__()
        self.conv = nn.Conv1d(n_chans, n_filters, 15)
        self.drop = nn.Dropout(drop_prob)
        self.final_layer = nn.Linear(n_filters, n_outputs)

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        return self.final_layer(self.drop(self.conv(X).square().mean(-1).add(1e-3).log()))


def tones(n: int = 48, n_channels: int = 4, n_times: int = 100, n_classes: int = 3, seed: int = 0):
    """Windows with a tone of 4, 8 or 12 Hz in noise, float32 (n, n_channels, n_times), and which tone it is."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % n_classes
    t = np.arange(n_times) / SFREQ
    phase = rng.uniform(0, 2 * np.pi, (n, n_channels, 1))
    X = np.sin(2 * np.pi * 4 * (y[:, None, None] + 1) * t + phase) + 0.5 * rng.standard_normal((n, n_channels, n_times))
    return X.astype("float32"), y
