"""Records in PhysioNet's WFDB format, such as those of the PhysioNet/CinC Challenge 2018 (Ghassemi et al. 2018)."""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from eegaug.data.channels import Pick
from eegaug.data.files.continuous import Annotations, Continuous, channels_of, derived, read_by
from eegaug.data.files.edf import TO_UV
from eegaug.data.stages import parse_stage

__all__ = ["open_wfdb"]

# Annotators of stages: of the Challenge, of the MIT-BIH Polysomnographic Database, of SHHS at PhysioNet.
_ANNOTATORS = ("arousal", "st", "hypn")


def open_wfdb(path: Path) -> Continuous:
    """Open a record by its header (``.hea``).

    Raises
    ------
    ValueError
        If it is none, is of several segments, or has no signals.
    """
    import wfdb

    record = str(path.with_suffix(""))
    with read_by("wfdb"), _without_warnings():
        header = wfdb.rdheader(record)
    if isinstance(header, wfdb.MultiRecord):
        raise ValueError(f"a record of {header.n_seg} segments: name one of them")
    if not header.n_sig or not header.sig_len or not header.units:
        raise ValueError("a record without signals")
    frames_per_s = float(header.fs)
    usable = [i for i, unit in enumerate(header.units) if unit.lower() in TO_UV]
    names = [header.sig_name[i] for i in usable]

    def read(picks: Sequence[Pick], start_s: float, stop_s: float) -> list[tuple[np.ndarray, float]]:
        used = channels_of(picks)
        first, last = math.floor(start_s * frames_per_s), min(header.sig_len, math.ceil(stop_s * frames_per_s))
        # Not smoothed: a frame may hold several samples of some signals, of which wfdb would hand out the mean.
        options = {"channels": [usable[i] for i in used], "return_res": 32, "smooth_frames": False}
        with _without_warnings():
            parts = wfdb.rdrecord(record, first, last, **options).e_p_signal
        row = {}
        for i, part in zip(used, parts, strict=True):
            n = header.samps_per_frame[usable[i]]
            rate = n * frames_per_s
            kept = part[round(start_s * rate) - n * first : round(stop_s * rate) - n * first]
            row[i] = np.float32(TO_UV[header.units[usable[i]].lower()]) * kept, rate
        return derived(row, picks, names)

    return Continuous(
        name=path.stem,
        ch_names=names,
        duration_s=header.sig_len / frames_per_s,
        read=read,
        annotations=lambda: _annotations(record, header.sig_len, frames_per_s),
        start=header.base_datetime,
    )


@contextlib.contextmanager
def _without_warnings() -> Iterator[None]:
    """What wfdb does, and pandas warns of, users cannot change."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _annotations(record: str, n_times: int, rate: float) -> Annotations:
    """Stages, which have no durations; what else happened stands among them."""
    import wfdb

    there = [annotator for annotator in _ANNOTATORS if Path(f"{record}.{annotator}").is_file()]
    if not there:
        return np.empty(0), np.empty(0), []
    with read_by("wfdb"), _without_warnings():
        found = wfdb.rdann(record, there[0])
    # "2 HA": stage 2 with a hypopnea and an arousal.
    words = [(note.strip("\x00 ").split() or [""])[0] for note in found.aux_note]
    if len(words) != len(found.sample):
        raise ValueError(f"its file of annotations {there[0]!r} is damaged")
    stages = [i for i, word in enumerate(words) if parse_stage(word) is not None]
    # At sample 0 nothing can be written: what begins there stands at 1.
    onset = np.array([0 if found.sample[i] == 1 else found.sample[i] for i in stages], dtype=float)
    duration = np.full(len(onset), np.nan)
    duration[-1:] = n_times - onset[-1:]
    return onset / rate, duration / rate, [words[i] for i in stages]
