"""Nights of epochs in ``.npz`` files."""

from __future__ import annotations

import os
import tokenize
import zipfile
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from eegaug._words import some_of

__all__ = ["NpzNight", "read_npz"]


@dataclass(frozen=True)
class NpzNight:
    """Epochs of one night in an ``.npz`` file."""

    X: np.ndarray
    """µV, float32, (n_epochs, n_channels, n_times)."""
    y: np.ndarray | None
    ch_names: tuple[str, ...]
    sfreq: float
    subject: str | None
    night: int | str | None
    index: np.ndarray
    """Place of each epoch in the night."""
    onset_s: np.ndarray
    """Start of each epoch in seconds; epochs that follow one another without a gap are one stretch of signal."""


def read_npz(path: str | os.PathLike, signal: bool = True) -> NpzNight:
    """Read a night from an ``.npz`` file (nothing pickled is loaded).

    Parameters
    ----------
    path : path-like
        ``X`` (n_epochs, n_channels, n_times), with ``scale`` (n_channels,) where ``X * scale`` is in µV; ``ch_names``,
        ``sfreq`` in Hz; optionally ``y`` (n_epochs,) with 0 to 4 and -1 for none, ``subject``, ``night`` and
        ``epoch_index`` (place of each epoch in the night).
    signal : bool
        False reads only the shape of ``X``, whose values are then 0.

    Raises
    ------
    ValueError
        If an array is missing or has the wrong shape; it is named.
    """
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            raise ValueError("a single array, not an npz file of several")
        with loaded as f:
            if missing := [k for k in ("X", "ch_names", "sfreq") if k not in f.files]:
                raise ValueError(f"no array {', '.join(missing)} in it, only {some_of(f.files, 6)}")
            rest = {k: f[k] for k in f.files if k != "X"}
            X = f["X"] if signal else np.broadcast_to(np.float32(0), _shape(path))
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, KeyError, SyntaxError, tokenize.TokenError) as err:
        raise ValueError(f"unreadable npz file ({err})") from err
    ch_names = tuple(str(c) for c in np.atleast_1d(rest["ch_names"]))
    sfreq = float(_one_of(rest["sfreq"], "sfreq"))
    if not 0 < sfreq < np.inf:
        raise ValueError(f"sfreq is {sfreq:g} Hz; it has to be above 0")
    y = None if "y" not in rest else np.asarray(rest["y"])
    if y is not None:
        if y.dtype.kind not in "iuf" or not np.isfinite(y).all():
            raise ValueError("y holds what is no number; stages are 0 to 4 and -1 for none")
        y = y.astype(np.int64).reshape(-1)
    if X.ndim != 3 or X.shape[1] != len(ch_names):
        raise ValueError(
            f"X has shape {X.shape}; (epochs, {len(ch_names)}, times) is due for channels {list(ch_names)}"
        )
    n = len(X)
    if y is not None and len(y) != n:
        raise ValueError(f"{n} epochs and {len(y)} labels")
    scale = np.asarray(rest.get("scale", 1.0), dtype=np.float32).reshape(-1)
    if scale.size not in (1, len(ch_names)):
        raise ValueError(f"scale has {scale.size} values for {len(ch_names)} channels")
    if signal:
        X = X.astype(np.float32) * scale[:, None]
    if y is not None and not np.isin(y, range(-1, 5)).all():
        raise ValueError(f"y holds {sorted(set(y.tolist()) - set(range(-1, 5)))}; stages are 0 to 4 and -1 for none")
    index = np.asarray(rest["epoch_index"]).reshape(-1) if "epoch_index" in rest else np.arange(n)
    if len(index) != n:
        raise ValueError(f"{n} epochs and {len(index)} places in epoch_index")
    return NpzNight(
        X=X,
        y=y,
        ch_names=ch_names,
        sfreq=sfreq,
        subject=str(_one_of(rest["subject"].astype(str), "subject")) if "subject" in rest else None,
        night=_one_of(rest["night"], "night") if "night" in rest else None,
        index=index,
        onset_s=index * (X.shape[2] / sfreq),
    )


def _shape(path: str | os.PathLike) -> tuple[int, ...]:
    """Shape of ``X``, of which only the header is read."""
    with zipfile.ZipFile(path) as archive, archive.open("X.npy") as f:
        version = np.lib.format.read_magic(f)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        return read(f)[0]


def _one_of(values: np.ndarray, what: str) -> Any:
    """The one value of what may be an array with a value for each epoch."""
    found = np.unique(values).tolist()
    if len(found) != 1:
        few = ", ".join(map(str, found[:5]))
        raise ValueError(f"{what} holds {len(found)} different values ({few}); a file is one night")
    return found[0]
