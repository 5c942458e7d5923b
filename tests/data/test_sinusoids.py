"""Sinusoids: frequencies, phases, reproducibility."""

from __future__ import annotations

import numpy as np
import pytest

from eegaug.data import make_sinusoids


def spectrum(X):
    """Frequency and phase of the largest coefficient, in Hz and rad."""
    F = np.fft.rfft(X[:, 0])
    peak = np.abs(F).argmax(1)
    return peak / 10, F, peak


def test_frequencies_are_within_half_a_hertz_of_the_class():
    X, y = make_sinusoids(100, random_state=0)
    assert X.shape == (400, 1, 1000) and X.dtype == np.float32
    assert np.bincount(y).tolist() == [100] * 4
    f, _, _ = spectrum(X)
    off = f - 2 * (y + 1)
    assert np.abs(off).max() <= 0.55
    assert off.std() == pytest.approx(1 / 12**0.5, abs=0.05)
    assert X.std() == pytest.approx((0.5 + 0.25) ** 0.5, abs=0.01)


def test_phase_of_the_papers_code_gives_the_class_away():
    whole = {"frequencies_hz": (2.0, 8.0), "jitter_hz": 0.0, "noise": 0.0, "random_state": 0}
    for phase, widths in (("uniform", (1.0, 1.0)), ("paper_code", (1.0, 0.25))):
        X, y = make_sinusoids(500, phase=phase, **whole)
        _, F, peak = spectrum(X)
        turn = np.angle(F[np.arange(len(F)), peak] * 1j) % (2 * np.pi)
        for label, width in enumerate(widths):
            assert turn[y == label].max() == pytest.approx(2 * np.pi * width, rel=0.02)
            assert turn[y == label].mean() == pytest.approx(np.pi * width, rel=0.1)


def test_seed():
    X, _ = make_sinusoids(3, random_state=1)
    assert np.array_equal(X, make_sinusoids(3, random_state=1)[0])
    assert not np.array_equal(X, make_sinusoids(3, random_state=2)[0])


def test_what_is_wrong_is_named():
    with pytest.raises(ValueError, match="phase is 'leaky'"):
        make_sinusoids(3, phase="leaky")
    with pytest.raises(ValueError, match="n_per_class is 0"):
        make_sinusoids(0)
    for wrong in (
        {"n_per_class": 1.5},
        {"sfreq": -100},
        {"duration_s": 0.001},
        {"jitter_hz": -1},
        {"noise": np.nan},
    ):
        (name, value), *_ = wrong.items()
        with pytest.raises(ValueError, match=f"{name} is {value}"):
            make_sinusoids(**{"n_per_class": 2} | wrong)
    with pytest.raises(ValueError, match="a frequency is 60; it lies between 0 and 50 Hz"):
        make_sinusoids(2, frequencies_hz=(2, 60))
