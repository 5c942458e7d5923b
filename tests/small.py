"""A network and windows small enough to train in a blink."""

from __future__ import annotations

import warnings

import mne
import numpy as np
import torch
from braindecode.datasets import create_from_X_y
from torch import nn

from eegaug import StagingClassifier
from eegaug.data import NightDataset, Nights

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


X, Y = tones()
NAMES = np.array(["N2", "REM", "W"])


def staging(module=SmallNet, **settings):
    settings = {"max_epochs": 2, "lr": 0.01, "random_state": 0, "verbose": 0} | settings
    return StagingClassifier(module, **{"sfreq": SFREQ, "ch_names": CHANNELS} | settings)


def nights(X=X, y=Y, n=3, ch_names=CHANNELS, sfreq=SFREQ, **more):
    parts = [NightDataset(X[i::n], y[i::n], ch_names=ch_names, sfreq=sfreq, subject=f"s{i}", night=1) for i in range(n)]
    return Nights(parts, **more)


def epochs(X=X, y=Y, ch_names=CHANNELS, sfreq=SFREQ):
    info = mne.create_info(ch_names, sfreq, "eeg")
    events = np.column_stack([np.arange(len(y)), np.zeros(len(y), int), y])
    return mne.EpochsArray(X * 1e-6, info, events, verbose="error")


def windows_dataset(X=X, y=Y):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # braindecode's function calls another with an old argument
        return create_from_X_y(X, y, drop_last_window=False, sfreq=SFREQ, ch_names=CHANNELS)


def global_random_states():
    """States of torch's and NumPy's global generators, to see that they are left alone."""
    legacy = np.random.get_state()[1]  # noqa: NPY002 - the global state is what is looked at
    return [torch.random.get_rng_state(), torch.from_numpy(legacy.copy())]
