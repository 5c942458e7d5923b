"""Windows whose class is the width of a bump, which points up in some subjects and down in others."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from eegaug import StagingClassifier

SFREQ, CHANNELS = 50.0, ["C3", "C4"]


class BumpNet(nn.Module):
    """Finds the best match of a few templates: what points the other way, it does not see."""

    def __init__(self, n_chans: int, n_outputs: int, n_filters: int = 6):
        super().__init__()
        self.conv = nn.Conv1d(n_chans, n_filters, 11)
        self.final_layer = nn.Linear(n_filters, n_outputs)

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        return self.final_layer(torch.relu(self.conv(X)).amax(-1))


def bumps(n_train: int = 64, n_valid: int = 32, n_times: int = 64, seed: int = 0):
    """Windows, labels and subjects: those of subject 1 are upside down."""
    rng = np.random.default_rng(seed)
    n = n_train + n_valid
    y, subjects = np.arange(n) % 2, (np.arange(n) >= n_train).astype(int)
    centre = rng.uniform(15, n_times - 15, (n, 1))
    bump = 3 * np.exp(-(((np.arange(n_times) - centre) / np.where(y, 5.0, 1.5)[:, None]) ** 2) / 2)
    X = bump[:, None] + 0.4 * rng.standard_normal((n, 2, n_times))
    return (X * (1 - 2 * subjects)[:, None, None]).astype("float32"), y, subjects


def estimator(module=BumpNet, **settings):
    settings = {"lr": 0.01, "max_epochs": 1, "random_state": 0, "verbose": 0} | settings
    return StagingClassifier(module, sfreq=SFREQ, ch_names=CHANNELS, **settings)
