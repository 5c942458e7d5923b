"""Small EDF files with signals and stages that a test knows."""

from pathlib import Path

import numpy as np
from edfio import Edf, EdfAnnotation, EdfSignal


def sine(freq_hz, duration_s, sfreq=100.0, amplitude_uv=50.0, phase=0.0):
    """A sine, as the file's own clock sees it."""
    t = np.arange(round(duration_s * sfreq)) / sfreq
    return amplitude_uv * np.sin(2 * np.pi * freq_hz * t + phase)


def write_edf(path, channels=None, sfreq=100.0, stages=(), unit="uV", record_s=1.0):
    """Write an EDF+ file.

    ``channels``: label -> array, or (array, rate); ``stages``: (onset in s, duration in s, label).
    """
    signals = []
    for label, x in (channels or {}).items():
        x, rate = x if isinstance(x, tuple) else (x, sfreq)
        top = max(1.0, float(np.abs(x).max()) * 1.01)
        signals.append(EdfSignal(x, rate, label=label, physical_dimension=unit, physical_range=(-top, top)))
    notes = [EdfAnnotation(onset, duration, text) for onset, duration, text in stages]
    more = {"data_record_duration": record_s} if signals else {}
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Edf(signals, annotations=notes or None, **more).write(path)
    return Path(path)


def pages(labels, page_s=30.0, start_s=0.0, prefix="Sleep stage "):
    """Stages as (onset, duration, label), one page each."""
    return [(start_s + i * page_s, page_s, f"{prefix}{label}") for i, label in enumerate(labels)]


def noise(duration_s, sfreq=100.0, seed=0, sd_uv=20.0):
    """White noise in µV."""
    return np.random.default_rng(seed).normal(scale=sd_uv, size=round(duration_s * sfreq))
