"""From whatever holds a night to the windows that a model takes."""

from __future__ import annotations

import datetime
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from eegaug.data.convert import Reading, convert, windows_at
from eegaug.data.discover import Found
from eegaug.data.files.continuous import Continuous, open_recording
from eegaug.data.files.npz import read_npz
from eegaug.data.files.with_mne import open_raw
from eegaug.data.nights import NightDataset, Nights
from eegaug.data.preprocessing import FLAT_UV, Preprocessing, standardise
from eegaug.data.scorings.hypnogram import Hypnogram
from eegaug.data.scorings.pairing import as_text
from eegaug.data.stages import UNSCORED
from eegaug.staging.channels import match_channels

__all__ = ["Prepared", "prepare", "reference_stages"]

#: Standard deviation of EEG in µV that is believed without a remark.
_PLAUSIBLE_UV = (0.5, 1000.0)


@dataclass
class Prepared:
    """Windows of one night, ready for a model, and what has to be told about them."""

    name: str
    X: np.ndarray
    """Standardised as the model asks, float32 (n_windows, n_channels, n_times)."""
    onset_s: np.ndarray
    window_s: float
    channels: pd.DataFrame
    """Columns model, recording, how."""
    power: np.ndarray
    """Power spectral density of each window, float32 (n_windows, n_channels, n_freqs)."""
    freqs_hz: np.ndarray
    start: datetime.datetime | None = None
    """When the recording began, by its own clock."""
    scored: np.ndarray | None = None
    """Stages that the source itself holds, -1 for none."""
    lights_s: tuple[float | None, float | None] = (None, None)
    """When lights went off and on, in seconds, by the recording's annotations."""
    notes: list[str] = field(default_factory=list)


def prepare(
    source: Any,
    preprocessing: Preprocessing,
    channels: Sequence[str] | Mapping[str, str] | None = None,
    reference: Hypnogram | None = None,
) -> Prepared:
    """Make a model's windows of a night.

    Parameters
    ----------
    source : path-like | mne.io.BaseRaw | NightDataset
        A file as `load_recordings` reads, or another that MNE reads; a recording in MNE, in volts; or a night of
        windows that were prepared for this model already.
    preprocessing : Preprocessing
        The model's, with ``ch_names`` set.
    channels
        See :func:`eegaug.staging.channels.match_channels`.
    reference : Hypnogram, optional
        A scoring; windows are then aligned with its pages.

    Returns
    -------
    Prepared

    Raises
    ------
    ValueError, TypeError, OSError
        If the night cannot serve the model; the message says why.
    """
    import mne

    if isinstance(source, NightDataset):
        if channels is not None:
            raise ValueError("channels are of recordings; a night of windows has those of the model already.")
        return _from_night(source, preprocessing)
    if isinstance(source, mne.io.BaseRaw):
        return _from_continuous(open_raw(source), preprocessing, channels, reference)
    if not isinstance(source, (str, os.PathLike)):
        one = ": pass one of its nights, such as nights.datasets[0]" if isinstance(source, Nights) else ""
        raise TypeError(f"a night is a file, an mne Raw or a NightDataset, not a {type(source).__name__}{one}.")
    path = Path(source)
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}.")
    if path.suffix.lower() == ".npz":
        return _from_npz(path, preprocessing, channels)
    return _from_continuous(open_recording(path), preprocessing, channels, reference)


# Sources -------------------------------------------------------------------------------------------------------------


def _lights(onset_s: Sequence[float], text: Sequence[str]) -> tuple[float | None, float | None]:
    """When lights went off for the first time, and on for the last time after that."""
    off = [s for s, t in zip(onset_s, text, strict=True) if re.search(r"\blights?[\W_]*(off|out)\b", t, re.IGNORECASE)]
    on = [s for s, t in zip(onset_s, text, strict=True) if re.search(r"\blights?[\W_]*on\b", t, re.IGNORECASE)]
    first = float(min(off)) if off else None
    later = [s for s in on if first is None or s > first]
    return first, float(max(later)) if later else None


def _from_continuous(
    recording: Continuous,
    p: Preprocessing,
    channels: Sequence[str] | Mapping[str, str] | None,
    reference: Hypnogram | None,
) -> Prepared:
    try:
        picks, table = match_channels(recording.ch_names, p.ch_names, channels, recording.places)
    except ValueError as error:
        raise ValueError(f"{error}{recording.left_out}") from error
    notes: list[str] = []
    first_s = 0.0
    reference = None if reference is None else reference.since(recording.start, recording.duration_s)
    scored = None if reference is None else reference.stage != UNSCORED
    if scored is not None and scored.any():
        # What nobody scored before the first page may last any time.
        page_s = reference.page_s()
        step = page_s if 0 < page_s < p.window_s and p.window_s % page_s == 0 else p.window_s
        first_s = float(reference.onset_s[scored][0] % step)
        first_s = 0.0 if min(first_s, step - first_s) < 0.01 else first_s
    n = int((recording.duration_s - first_s) / p.window_s + 1e-6)
    if n < 1:
        raise ValueError(f"{recording.duration_s:g} s long, shorter than one window of {p.window_s:g} s")
    onset_s = first_s + np.arange(n) * p.window_s
    if first_s:
        notes.append(f"epochs begin at {first_s:g} s, as the scorer's")
    left = recording.duration_s - onset_s[-1] - p.window_s
    if left > 0.5:
        notes.append(f"the last {left:.3g} s are less than an epoch and were left out")
    used = {recording.ch_names[i] for pick in picks for i in pick if i is not None}
    if unitless := sorted(used & set(recording.unitless)):
        notes.append(f"channel {', '.join(unitless)} has no unit: taken as µV")
    X = windows_at(lambda start_s, stop_s: recording.read(picks, start_s, stop_s), onset_s, p)
    when, _, text = recording.annotations()
    more = {"start": recording.start, "lights_s": _lights(when, text)}
    return _finished(as_text(recording.name), X, onset_s, p, table, notes, **more)


def _from_npz(path: Path, p: Preprocessing, channels: Sequence[str] | Mapping[str, str] | None) -> Prepared:
    header = read_npz(path, signal=False)
    picks, table = match_channels(header.ch_names, p.ch_names, channels)
    names = [
        header.ch_names[q.plus] if q.minus is None else f"{header.ch_names[q.plus]}-{header.ch_names[q.minus]}"
        for q in picks
    ]
    raw = p.model_copy(update={"ch_names": tuple(names), "standardise": None})
    windows = convert(Found(path.stem, path, None, path.stem, 1), raw, Reading(labels="ignore"))
    scored = header.y if header.y is not None and (header.y >= 0).any() else None
    return _finished(as_text(path.stem), windows.X, windows.onset_s, p, table, [], scored=scored)


def _from_night(night: NightDataset, p: Preprocessing) -> Prepared:
    if tuple(night.ch_names) != tuple(p.ch_names) or (night.sfreq, night.n_times) != (p.sfreq, p.n_times):
        raise ValueError(
            f"the night has channels {', '.join(night.ch_names)} in windows of {night.n_times} samples at "
            f"{night.sfreq:g} Hz; the model needs {', '.join(p.ch_names)}, {p.n_times} samples at {p.sfreq:g} Hz"
        )
    table = pd.DataFrame({"model": list(p.ch_names), "recording": list(night.ch_names), "how": "same name"})
    scored = night.y.copy() if (night.y >= 0).any() else None
    ready = p.model_copy(update={"standardise": None})
    unit = "µV²/Hz" if p.standardise is None else "1/Hz, of standardised windows"
    return _finished(night.name, night.read(), night.onset_s, ready, table, [], scored=scored, unit=unit)


def _finished(
    name: str,
    X: np.ndarray,
    onset_s: np.ndarray,
    p: Preprocessing,
    table: pd.DataFrame,
    notes: list[str],
    *,
    unit: str = "µV²/Hz",
    scored: np.ndarray | None = None,
    start: datetime.datetime | None = None,
    lights_s: tuple[float | None, float | None] = (None, None),
) -> Prepared:
    """Put the windows in order, look at them while they are in µV, then standardise them."""
    onset_s = np.asarray(onset_s, dtype=float)
    order = np.argsort(onset_s, kind="stable")
    if (np.diff(order) != 1).any():  # epochs that were chosen one by one
        X, onset_s = X[order], onset_s[order]
        scored = None if scored is None else scored[order]
    sd = X.std(axis=-1)
    flat = sd < FLAT_UV
    for k, channel in enumerate(table["recording"]):
        if flat[:, k].any():
            notes.append(f"channel {channel} is flat in {int(flat[:, k].sum())} of {len(X)} epochs")
        # Where all is flat, that may be for its unit.
        typical = float(np.median(sd[~flat[:, k], k] if not flat[:, k].all() else sd[:, k]))
        if unit == "µV²/Hz" and not _PLAUSIBLE_UV[0] <= typical <= _PLAUSIBLE_UV[1]:
            notes.append(f"channel {channel} has a standard deviation of {typical:.3g} µV: is its unit right?")
    freqs_hz, power = _spectra(X, p)
    if p.standardise == "recording":
        notes.append("standardised over the whole recording; the model's nights were over the hours around sleep")
    return Prepared(
        name=name,
        X=standardise(X, p.standardise),
        onset_s=onset_s,
        window_s=p.window_s,
        channels=table,
        power=power,
        freqs_hz=freqs_hz,
        start=start,
        scored=scored,
        lights_s=lights_s,
        notes=notes,
    )


def _spectra(X: np.ndarray, p: Preprocessing) -> tuple[np.ndarray, np.ndarray]:
    """Power spectral density of each window by Welch's method, within the band that the filter left."""
    from scipy.signal import welch

    length = min(X.shape[2], round(4 * p.sfreq))
    parts = []
    for at in range(0, len(X), 64):  # a whole night of segments would be larger than the night
        freqs, part = welch(X[at : at + 64], p.sfreq, window="hann", nperseg=length, detrend="constant")
        parts.append(part.astype(np.float32))
    top = min(p.h_freq or np.inf, 0.45 * p.sfreq)
    keep = (freqs > 0) & (freqs <= top)
    return freqs[keep], np.concatenate(parts)[..., keep]


def reference_stages(hypnogram: Hypnogram, onset_s: np.ndarray, window_s: float) -> np.ndarray:
    """Stage of each window by a scorer: that of the page in which the window's middle lies, -1 where there is none."""
    middle = onset_s + window_s / 2
    at = np.searchsorted(hypnogram.onset_s, middle, side="right") - 1
    inside = (at >= 0) & (middle < (hypnogram.onset_s + hypnogram.duration_s)[at])
    return np.where(inside, hypnogram.stage[at], UNSCORED).astype(np.int64)
