"""From one recording on disk to its windows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from eegaug.data._problems import refuse_not_finite
from eegaug.data._remembered import remembered
from eegaug.data.channels import pick_channels
from eegaug.data.discover import Found
from eegaug.data.files.continuous import Continuous, open_recording
from eegaug.data.files.edf import begins_elsewhere
from eegaug.data.files.npz import NpzNight, read_npz
from eegaug.data.preprocessing import (
    FLAT_UV,
    Preprocessing,
    cut_windows,
    filter_and_resample,
    keep_around_sleep,
    standardise,
)
from eegaug.data.scorings.hypnogram import Hypnogram, ScoredWindows
from eegaug.data.scorings.reading import read_hypnogram
from eegaug.data.stages import UNSCORED

__all__ = ["Contents", "Reading", "Windows", "convert", "look", "names_in_files", "scored_windows", "windows_at"]

_SLOW = (".set", ".fif", ".gdf", ".cnt", ".vhdr")
"""Forms that MNE opens: in tens of milliseconds, or by reading all of the file."""

PAD_S = 30.0
"""Least signal read before the first and after the last window, so that the filter's edges stay outside them."""


@dataclass(frozen=True)
class Reading:
    """How recordings are read, beside the preprocessing."""

    labels: str = "required"
    epoch_20s: str = "refuse"
    stage_numbers: str = "auto"
    channels: dict[str, list[str]] = field(default_factory=dict)
    """What channels may be called in the files."""

    def __post_init__(self) -> None:
        for name, allowed in (
            ("labels", ("required", "optional", "ignore")),
            ("epoch_20s", ("refuse", "reepoch")),
            ("stage_numbers", ("auto", "r&k", "aasm")),
        ):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name}={getattr(self, name)!r} is not known: use one of {allowed}.")


def names_in_files(channels: Mapping[str, str | Sequence[str]] | None) -> dict[str, list[str]]:
    """What channels may be called in the files, each as a list.

    Raises
    ------
    TypeError
        If it is no mapping from names to names.
    """
    if channels is None:
        return {}
    if not isinstance(channels, Mapping):
        raise TypeError(
            f"channels={channels!r} has to say what each is called in the files; a list of them is ch_names."
        )
    names = {name: [given] if isinstance(given, str) else list(given) for name, given in channels.items()}
    if wrong := [name for name, given in names.items() if not all(isinstance(one, str) for one in [name, *given])]:
        raise TypeError(f"channels says {channels[wrong[0]]!r} of {wrong[0]!r}: names are text")
    return names


@dataclass
class Windows:
    """Windows of one recording, and what was left out."""

    X: np.ndarray
    y: np.ndarray
    onset_s: np.ndarray
    problems: list[dict] = field(default_factory=list)
    n_wake_trimmed: int = 0


class Contents(NamedTuple):
    """What a recording's file says about itself."""

    ch_names: list[str]
    """Channels that could be EEG."""
    left_out: str = ""
    """What is said of channels that cannot serve, where one is missing."""
    subject: str | None = None
    night: int | str | None = None


def look(found: Found) -> Contents:
    """What a recording's file says about itself; its signal is not read."""
    if found.path.suffix.lower() == ".npz":
        night = read_npz(found.path, signal=False)
        return Contents(list(night.ch_names), subject=night.subject, night=night.night)
    if found.path.suffix.lower() in _SLOW:
        return Contents(*remembered(found.path, lambda: _names_in(found.path)))
    return Contents(*_names_in(found.path))


def _names_in(path: Path) -> list[Any]:
    recording = open_recording(path)
    return [recording.ch_names, recording.left_out]


def convert(found: Found, preprocessing: Preprocessing, reading: Reading) -> Windows:
    """Read one recording and its hypnogram and make its windows.

    Parameters
    ----------
    found : Found
        Files.
    preprocessing : Preprocessing
        With ``ch_names`` set.
    reading : Reading
        Labels or not, and how.

    Returns
    -------
    Windows

    Raises
    ------
    ValueError, OSError
        If the recording cannot be used; the message says why.
    """
    report: list[tuple[str, str, int]] = []
    make = _from_npz if found.path.suffix.lower() == ".npz" else _from_continuous
    windows = make(found, preprocessing, reading, report)
    spread = windows.X.std(axis=-1)
    for name, most in zip(preprocessing.ch_names, spread.max(axis=0), strict=True):
        _refuse_flat(most, name, "a standard deviation of at most", "in every window")
    flat = int((spread < FLAT_UV).any(axis=1).sum())
    if flat:
        report.append(("note", "a channel is flat in some windows; it is 0 there once standardised", flat))
    if (windows.y >= 0).any() and not (windows.y > 0).any():
        report.append(("note", "no sleep in it: wakefulness was not trimmed", len(windows.y)))
    windows.X = standardise(windows.X, preprocessing.standardise)
    windows.problems = [
        {"recording": found.name, "kind": kind, "reason": reason, "n_windows": n} for kind, reason, n in report
    ]
    return windows


def scored_windows(
    found: Found, p: Preprocessing, reading: Reading, report: list[tuple[str, str, int]]
) -> tuple[float, np.ndarray]:
    """Hours of a recording, and stages of the windows that would be made of it; its signal is not read.

    Parameters
    ----------
    found : Found
        Files.
    p : Preprocessing
        How windows are made.
    reading : Reading
        Labels or not, and how.
    report : list of (kind, reason, number of windows)
        What is said of them is added.

    Returns
    -------
    hours : float
    y : array, shape (n_windows,)
        -1 where a window has no stage.

    Raises
    ------
    ValueError, OSError
        If the recording cannot be used; the message says why.
    """
    if found.path.suffix.lower() == ".npz":
        night = _npz_night(found, p, signal=False)
        _, y, _, _ = _chosen(night, night.onset_s, p, reading, report)
        return len(night.index) * p.window_s / 3600, y
    recording = open_recording(found.path)
    scored = _scoring(found, recording, p, reading, report) or _unscored(recording, p)
    return recording.duration_s / 3600, _select(scored.onset_s, scored.y, p)[1]


def _select(
    onset_s: np.ndarray, y: np.ndarray, preprocessing: Preprocessing
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    keep = keep_around_sleep(y, onset_s, preprocessing.window_s, preprocessing.wake_margin_min)
    return onset_s[keep], y[keep], keep


def _refuse_flat(spread: float, name: str, what: str = "a range of", where: str = "throughout") -> None:
    if spread >= FLAT_UV:
        return
    if spread == 0:
        raise ValueError(f"channel {name!r} is flat (constant) {where}")
    raise ValueError(
        f"channel {name!r} is flat {where}, with {what} {spread:.1g} µV; if it is in volts, give µV (in an npz file, "
        "scale=1e6 makes them)"
    )


def _from_continuous(found: Found, p: Preprocessing, reading: Reading, report: list) -> Windows:
    recording = open_recording(found.path)
    picks = pick_channels(recording.ch_names, p.ch_names, reading.channels)
    if unknown := [recording.ch_names[q.plus] for q in picks if recording.ch_names[q.plus] in recording.unitless]:
        report.append(("note", f"channel {', '.join(unknown)} has no unit: taken as µV", 0))
    scored = _scoring(found, recording, p, reading, report) or _unscored(recording, p)
    onset_s, y, keep = _select(scored.onset_s, scored.y, p)
    X = windows_at(lambda start_s, stop_s: recording.read(picks, start_s, stop_s), onset_s, p)
    return Windows(X, y, onset_s, n_wake_trimmed=int((~keep).sum()))


def _unscored(recording: Continuous, p: Preprocessing) -> ScoredWindows:
    """Windows of a recording without labels."""
    n = int(recording.duration_s / p.window_s + 1e-6)
    if n == 0:
        raise ValueError(f"{recording.duration_s:g} s long, shorter than one window of {p.window_s:g} s")
    return ScoredWindows(np.arange(n) * p.window_s, np.full(n, UNSCORED))


def windows_at(
    read: Callable[[float, float], list[tuple[np.ndarray, float]]], onset_s: np.ndarray, p: Preprocessing
) -> np.ndarray:
    """Windows of a continuous recording, filtered and resampled but not standardised.

    Parameters
    ----------
    read : callable
        ``read(start_s, stop_s)`` gives signal in µV and rate in Hz for each channel, see
        :class:`eegaug.data.files.continuous.Continuous`.
    onset_s : array, shape (n_windows,)
        Seconds, in order.
    p : Preprocessing
        With ``ch_names`` set.

    Returns
    -------
    float32 array, shape (n_windows, n_channels, n_times)

    Raises
    ------
    ValueError
        If a channel has a NaN or infinite sample or is constant throughout; it is named.
    """
    # MNE's filter is 3.3 periods of its lower edge long.
    pad_s = PAD_S if p.l_freq is None else max(PAD_S, 2 / p.l_freq)
    start_s = float(np.floor(max(0.0, onset_s[0] - pad_s)))
    X = np.empty((len(onset_s), len(p.ch_names), p.n_times), dtype=np.float32)
    for k, (signal, sfreq) in enumerate(read(start_s, onset_s[-1] + p.window_s + pad_s)):
        if not np.isfinite(signal.sum()):
            at = start_s + int(np.flatnonzero(~np.isfinite(signal))[0]) / sfreq
            window = int(np.searchsorted(onset_s, at, side="right")) - 1
            raise ValueError(f"channel {p.ch_names[k]!r} is NaN or infinite at {at:g} s (window {window})")
        if signal.size:
            _refuse_flat(np.ptp(signal), p.ch_names[k])
        # The first sample read is not exactly at start_s where the rate is no integer.
        first_s = round(start_s * sfreq) / sfreq
        filtered, rate = filter_and_resample(signal[None], sfreq, p)
        X[:, k] = cut_windows(filtered, rate, onset_s - first_s, p.n_times)[:, 0]
    return X


def _scoring(
    found: Found, recording: Continuous, p: Preprocessing, reading: Reading, report: list
) -> ScoredWindows | None:
    """Scored windows of a recording, None where it has no labels and needs none."""
    if reading.labels == "ignore":
        return None
    try:
        hypnogram = _hypnogram(found, recording, p, reading, report)
        scored = hypnogram.windows(p.window_s, recording.duration_s, reading.epoch_20s)
    except ValueError as err:
        where = f"hypnogram {found.hypnogram.name}: " if found.hypnogram else ""
        if reading.labels == "optional":
            if found.hypnogram or found.problem:
                report.append(("note", f"read without labels: {where}{err}", 0))
            return None
        raise ValueError(f"{where}{err}") from err
    report.extend(("note", note, 0) for note in hypnogram.notes)
    if scored.n_unscored:
        report.append(("dropped", "movement or unknown", scored.n_unscored))
    if scored.n_outside:
        report.append(("dropped", "scored outside the recording", scored.n_outside))
    if scored.n_edge:
        report.append(("dropped", "no signal beside short pages at the recording's ends", scored.n_edge))
    if scored.n_partial:
        report.append(("dropped", "ends of stages that do not last a whole number of windows", scored.n_partial))
    if scored.n_missing:
        few = scored.n_missing * p.window_s <= 0.02 * recording.duration_s
        reason = "not scored" if few else "the hypnogram does not cover the whole recording"
        report.append(("dropped", reason, scored.n_missing))
    return scored


def _hypnogram(found: Found, recording: Continuous, p: Preprocessing, reading: Reading, report: list) -> Hypnogram:
    if found.problem:
        raise ValueError(found.problem)
    if found.hypnogram is not None:
        if begins_elsewhere(found.hypnogram, recording.start):
            note = "its hypnogram's header has another start time: stages were counted from the recording's start"
            report.append(("note", note, 0))
        hypnogram = read_hypnogram(found.hypnogram, numbers=reading.stage_numbers)
        return hypnogram.since(recording.start, recording.duration_s).lasting(recording.duration_s, p.window_s)
    annotations = recording.annotations()
    if annotations[2]:
        try:
            return Hypnogram.from_labels(*annotations, reading.stage_numbers)
        except ValueError as err:
            raise ValueError(f"no hypnogram beside it, and in the file itself: {err}") from err
    raise ValueError(
        "no hypnogram beside it (same name with .csv, .tsv, .txt, .xml, .rml, .annot, .eannot, -Hypnogram.edf or BIDS "
        "events.tsv) and none in it"
    )


def _npz_night(found: Found, p: Preprocessing, signal: bool = True) -> NpzNight:
    night = read_npz(found.path, signal)
    if abs(night.X.shape[2] / night.sfreq - p.window_s) > 1 / night.sfreq:
        raise ValueError(f"its epochs are {night.X.shape[2] / night.sfreq:g} s, windows are {p.window_s:g} s")
    return night


def _from_npz(found: Found, p: Preprocessing, reading: Reading, report: list) -> Windows:
    night = _npz_night(found, p)
    n = len(night.X)
    onset_s, y, wanted, n_wake_trimmed = _chosen(night, night.onset_s, p, reading, report)
    # Differences of channels are taken before anything else, as in EDF.
    picks = pick_channels(night.ch_names, p.ch_names, reading.channels)
    X = np.stack([night.X[:, a] - (0 if b is None else night.X[:, b]) for a, b in picks], axis=1)
    refuse_not_finite(X, p.ch_names, found.name)
    for k, name in enumerate(p.ch_names):
        _refuse_flat(np.ptp(X[:, k]), name)
    out = np.empty((len(wanted), len(picks), p.n_times), dtype=np.float32)
    # Epochs that follow one another are one signal to filter; others are filtered by themselves.
    breaks = np.flatnonzero(np.abs(np.diff(night.onset_s) - p.window_s) > 1 / night.sfreq) + 1
    for run in np.split(np.arange(n), breaks):
        rows = np.flatnonzero((wanted >= run[0]) & (wanted <= run[-1]))
        if len(rows):
            signal = X[run].transpose(1, 0, 2).reshape(len(picks), -1)
            filtered, rate = filter_and_resample(signal, night.sfreq, p)
            start_s = (wanted[rows] - run[0]) * (X.shape[2] / night.sfreq)
            out[rows] = cut_windows(filtered, rate, start_s, p.n_times)
    return Windows(out, y, onset_s, n_wake_trimmed=n_wake_trimmed)


def _chosen(
    night: NpzNight, onset_s: np.ndarray, p: Preprocessing, reading: Reading, report: list
) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """Onsets and stages of the epochs that become windows, which they are, and how many of wakefulness were trimmed."""
    n = len(onset_s)
    if reading.labels == "ignore" or (night.y is None and reading.labels == "optional"):
        y = np.full(n, UNSCORED)
    elif night.y is None:
        raise ValueError("no labels: the array y is missing")
    else:
        y = night.y
    unlabelled = reading.labels != "required" and not (y >= 0).any()
    scored = np.ones(n, dtype=bool) if unlabelled else y != UNSCORED
    if not scored.any():
        raise ValueError("no epoch has a stage")
    if not scored.all():
        report.append(("dropped", "movement or unknown", int((~scored).sum())))
    # Epochs far apart were chosen one by one: there is no night to trim.
    span = (np.ptp(onset_s) / p.window_s + 1) if n else 0
    chosen = p if n > span / 2 else p.model_copy(update={"wake_margin_min": None})
    onset_s, y, keep = _select(onset_s[scored], y[scored], chosen)
    return onset_s, y, np.flatnonzero(scored)[keep], int((~keep).sum())
