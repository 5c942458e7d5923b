"""A continuous recording of any kind: its channels, and how stretches of them are read."""

from __future__ import annotations

import contextlib
import datetime
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from eegaug.data.channels import Pick

__all__ = [
    "FORMS",
    "Annotations",
    "Continuous",
    "channels_of",
    "derived",
    "files_of",
    "is_trigger",
    "open_recording",
    "read_by",
]

FORMS = (".edf", ".bdf", ".rec", ".vhdr", ".set", ".fif", ".gdf", ".cnt", ".h5", ".hea")
"""How names of continuous recordings end, in lower case; the likelier original goes first."""

_BESIDE = {".vhdr": (".eeg", ".vmrk"), ".set": (".fdt",), ".hea": (".mat", ".dat", ".arousal", ".st", ".hypn")}
"""Files of a recording beside the one that is named."""

_NAMED = {
    ".vhdr": re.compile(r"(?m)^(?:Data|Marker)File=([^/\\\n]+?)\s*$"),
    ".hea": re.compile(r"(?m)^([^#\s/]\S*\.(?:dat|mat))\s"),
}
"""Where a header names such files, which may be called otherwise."""

Annotations = tuple[np.ndarray, np.ndarray, list[str]]
"""Onsets and durations in seconds from the first sample, NaN for a duration that is not given, and texts."""


@dataclass
class Continuous:
    """What there is to know of a continuous recording before its signal is read."""

    name: str
    ch_names: list[str]
    """Channels that hold a voltage, or do not say what they hold."""
    duration_s: float
    read: Callable[[Sequence[Pick], float, float], list[tuple[np.ndarray, float]]]
    """``read(picks, start_s, stop_s)`` gives signal in µV and rate in Hz for each pick among `ch_names`; the first
    sample is the first at or after `start_s`, and `stop_s` may lie behind the end."""
    annotations: Callable[[], Annotations]
    start: datetime.datetime | None = None
    """When it began, by its own clock."""
    places: dict[str, np.ndarray] = field(default_factory=dict)
    """Positions of channels on the head, in metres."""
    unitless: tuple[str, ...] = ()
    """Channels that do not say what they hold."""
    left_out: str = ""
    """What is said of channels that cannot serve, where one is missing."""


def files_of(path: Path) -> list[Path]:
    """A recording's file and those that belong to it and are there."""
    kind = path.suffix.lower()
    beside = [path.with_suffix(other) for other in _BESIDE.get(kind, ())]
    if kind in _NAMED:
        names = _NAMED[kind].findall(path.read_text(encoding="utf-8", errors="replace"))
        beside += [path.with_name(name) for name in dict.fromkeys(names)]
    return [path, *(one for one in dict.fromkeys(beside) if one.is_file())]


@contextlib.contextmanager
def read_by(reader: str) -> Iterator[None]:
    """Make a ValueError of what a reader raises, which may be anything where a file is damaged; OSErrors stay."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        raise ValueError(f"{reader} cannot read it ({str(error) or type(error).__name__})") from error


def channels_of(picks: Sequence[Pick]) -> list[int]:
    """The channels of a file that picks are made of, each once, in the file's order."""
    return sorted({i for pick in picks for i in pick if i is not None})


def derived(
    signals: Mapping[int, tuple[np.ndarray, float]], picks: Sequence[Pick], names: Sequence[str]
) -> list[tuple[np.ndarray, float]]:
    """Channels that were asked for, some of them differences, of the signals of a file and their rates in Hz.

    Raises
    ------
    ValueError
        If channels to be subtracted differ in rate.
    """
    out = []
    for plus, minus in picks:
        x, rate = signals[plus]
        if minus is not None:
            other, other_rate = signals[minus]
            if other_rate != rate:
                raise ValueError(f"channels {names[plus]!r} and {names[minus]!r} differ in sampling rate")
            x = x - other
        out.append((x, rate))
    return out


def is_trigger(text: str) -> bool:
    """Whether an annotation is a bare number, as those of triggers are, of which a 2 is no stage."""
    return re.fullmatch(r"\s*[+-]?\d+(\.\d*)?\s*", text) is not None


def open_recording(path: str | os.PathLike) -> Continuous:
    """Open a continuous recording: EDF and BDF, PhysioNet's records, the Dreem Open Datasets, else what MNE reads.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    Continuous

    Raises
    ------
    ValueError
        If the file cannot be read as what its name says it is.
    """
    path = Path(path)
    match path.suffix.lower():
        case ".edf" | ".bdf" | ".rec":
            from eegaug.data.files.edf import open_edf

            return open_edf(path)
        case ".h5":
            from eegaug.data.files.dreem import open_dreem

            return open_dreem(path)
        case ".hea":
            from eegaug.data.files.physionet import open_wfdb

            return open_wfdb(path)
        case _:
            from eegaug.data.files.with_mne import open_with_mne

            return open_with_mne(path)
