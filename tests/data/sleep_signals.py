"""Simulated nights in microvolts and their spectra, for the tests of the simulator."""

from __future__ import annotations

import numpy as np

from eegaug.data.planted import Planted
from eegaug.data.simulated import simulate_nights

SIX = ("F3", "F4", "C3", "C4", "O1", "O2")


def simulate(*args, **options):
    """Microvolts, nothing planted, clear-cut stages, unless told otherwise."""
    default = {"standardise": None, "planted": Planted.none(), "ambiguity": 0.0, "random_state": 0}
    return simulate_nights(*args, **(default | options))


def spectra(X, sfreq=100.0):
    """Frequencies and power spectral density in µV²/Hz."""
    n = X.shape[-1]
    taper = np.hanning(n)
    P = np.abs(np.fft.rfft(X * taper)) ** 2 * 2 / (sfreq * (taper**2).sum())
    return np.fft.rfftfreq(n, 1 / sfreq), P
