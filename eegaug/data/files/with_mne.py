"""Recordings that MNE reads: FIF, BrainVision, EEGLAB and others, and those in memory."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eegaug.data.channels import Pick
from eegaug.data.files.continuous import Annotations, Continuous, channels_of, derived, is_trigger, read_by

__all__ = ["open_raw", "open_with_mne", "read_microvolts"]

_STRETCH = 2**19


def open_with_mne(path: Path) -> Continuous:
    """Open a file with MNE's reader for its kind.

    Raises
    ------
    ValueError
        If it has none, or that cannot read the file.
    """
    import mne

    with read_by("MNE"):
        raw = mne.io.read_raw(path, verbose="error")
    return open_raw(raw, path.stem)


def open_raw(raw: Any, name: str | None = None) -> Continuous:
    """A recording in MNE.

    Parameters
    ----------
    raw : mne.io.BaseRaw
        In volts, as MNE holds them.
    name : str, optional
        By default that of its file.
    """
    import mne

    if name is None:
        file = next((f for f in raw.filenames if f is not None), None)
        name = Path(file).stem if file is not None else "recording"
    data = mne.pick_types(raw.info, eeg=True, eog=True, emg=True, misc=True, seeg=True, ecog=True, exclude=())
    names = [raw.ch_names[i] for i in data]
    sfreq = float(raw.info["sfreq"])

    def read(picks: Sequence[Pick], start_s: float, stop_s: float) -> list[tuple[np.ndarray, float]]:
        used = channels_of(picks)
        signals = read_microvolts(raw, [data[i] for i in used], start_s, stop_s, sfreq)
        return derived({i: (x, sfreq) for i, x in zip(used, signals, strict=True)}, picks, names)

    date = raw.info["meas_date"]
    return Continuous(
        name=name,
        ch_names=names,
        duration_s=raw.n_times / sfreq,
        read=read,
        annotations=lambda: _annotations(raw),
        # A recording that was cropped keeps the date of its first sample before that.
        start=None if date is None else date.replace(tzinfo=None) + datetime.timedelta(seconds=float(raw.first_time)),
        places={
            ch["ch_name"]: ch["loc"][:3]
            for ch in (raw.info["chs"][i] for i in data)
            if np.isfinite(ch["loc"][:3]).all() and np.any(ch["loc"][:3] != 0)
        },
    )


def read_microvolts(raw: Any, picks: Sequence[int], start_s: float, stop_s: float, sfreq: float) -> np.ndarray:
    """A stretch of channels of a recording in MNE, which takes them for volts, by number: float32 (channels, times)."""
    start, stop = round(start_s * sfreq), min(raw.n_times, round(stop_s * sfreq))
    signals = np.empty((len(picks), max(0, stop - start)), dtype=np.float32)
    # In stretches: MNE hands out float64, which for a night of many channels would fill the memory of a laptop.
    for at in range(start, stop, _STRETCH):
        end = min(stop, at + _STRETCH)
        signals[:, at - start : end - start] = raw.get_data(picks=picks, start=at, stop=end, verbose="error") * 1e6
    return signals


def _annotations(raw: Any) -> Annotations:
    """Annotations without those of triggers."""
    marks = raw.annotations
    # Of a recording that was cropped, onsets count from its first sample before that.
    onset = marks.onset - raw.first_time
    # BrainVision's markers of an observer.
    text = [str(one).removeprefix("Comment/") for one in marks.description]
    kept = [i for i, one in enumerate(text) if not is_trigger(one)]
    return onset[kept], marks.duration[kept], [text[i] for i in kept]
