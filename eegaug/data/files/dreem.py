"""Nights of the Dreem Open Datasets, DOD-H and DOD-O (Guillot et al. 2020, IEEE TNSRE 28): one HDF5 file each.

Signals are in groups by kind, such as ``signals/eeg/C3_M2``, in µV; a description in JSON says their rates. The
``hypnogram`` has one stage of the AASM manual for each 30 s, as five scorers agreed on.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from eegaug.data.channels import Pick
from eegaug.data.files.continuous import Annotations, Continuous, channels_of, derived, read_by
from eegaug.data.stages import STAGES

__all__ = ["open_dreem"]

_PAGE_S = 30.0
_KINDS = ("signals/eeg", "signals/eog", "signals/emg")


def open_dreem(path: Path) -> Continuous:
    """Open a night of the Dreem Open Datasets.

    Raises
    ------
    ValueError
        If the file is none, or does not say how its signals were sampled.
    """
    import h5py

    try:
        with h5py.File(path, "r") as f:
            signals = {f"{kind}/{name}": len(f[kind][name]) for kind in _KINDS if kind in f for name in f[kind]}
            if not signals:
                raise ValueError(f"no night of the Dreem Open Datasets: it has no signals/eeg, only {list(f)[:8]}")
            described = {one["path"]: one for one in json.loads(f.attrs.get("description", "[]"))}
            began = f.attrs.get("start_time")
    except (OSError, RuntimeError, KeyError) as error:  # HDF5 raises all of them
        if not path.is_file():
            raise
        raise ValueError(f"no HDF5 file, or a damaged one ({error})") from error
    if unknown := [name for name in signals if not float(described.get(name, {}).get("fs", 0)) > 0]:
        raise ValueError(f"its description does not say at which rate {unknown[0]} was sampled")
    names = [place.rsplit("/", 1)[1] for place in signals]
    places, rates = list(signals), [float(described[name]["fs"]) for name in signals]
    duration_s = min(n / rate for n, rate in zip(signals.values(), rates, strict=True))

    def read(picks: Sequence[Pick], start_s: float, stop_s: float) -> list[tuple[np.ndarray, float]]:
        signals = {}
        with h5py.File(path, "r") as f:
            for i in channels_of(picks):
                part = slice(round(start_s * rates[i]), round(stop_s * rates[i]))
                signals[i] = f[places[i]][part].astype(np.float32), rates[i]
        return derived(signals, picks, names)

    def annotations() -> Annotations:
        with read_by("HDF5"), h5py.File(path, "r") as f:
            codes = f["hypnogram"][:].astype(int) if "hypnogram" in f else np.empty(0, int)
        text = [STAGES[code] if code in range(5) else "?" for code in codes.tolist()]
        return _PAGE_S * np.arange(len(codes)), np.full(len(codes), _PAGE_S), text

    return Continuous(
        name=path.stem,
        ch_names=names,
        duration_s=duration_s,
        read=read,
        annotations=annotations,
        start=None if began is None else _time(float(began)),
    )


def _time(seconds: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).replace(tzinfo=None)
