"""Recordings as files: what is in them, and stretches of their signal in µV."""

from __future__ import annotations

import os
import re
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eegaug.data.channels import Pick, eeg_channels

__all__ = ["EdfHeader", "NpzNight", "read_edf", "read_edf_annotations", "read_edf_header", "read_npz"]

# Factor to µV by physical dimension; bytes of "µ" differ with the recorder's code page (Latin-1, UTF-8, Shift-JIS).
_TO_UV = {
    "uv": 1.0,
    "µv": 1.0,
    "μv": 1.0,
    "â\xb5v": 1.0,
    "î¼v": 1.0,
    "\x83\xcav": 1.0,
    "\x83\xeav": 1.0,
    "uvolt": 1.0,
    "uvolts": 1.0,
    "microv": 1.0,
    "microvol": 1.0,  # eight letters are all there is room for
    "mv": 1e3,
    "mvolt": 1e3,
    "mvolts": 1e3,
    "millivol": 1e3,
    "v": 1e6,
    "volt": 1e6,
    "volts": 1e6,
    "nv": 1e-3,
}
_MNE_MICRO = ("\u03bcV", "\u00b5V", "\x83\xcaV", "uV")
_STRETCH = 2**19
_ANNOTATION = re.compile(rb"([+-]\d+(?:\.\d*)?)(?:\x15(\d+(?:\.\d*)?))?\x14([^\x00]*)\x14\x00")
_ANNOTATIONS = ("EDF Annotations", "BDF Annotations")


@dataclass(frozen=True)
class EdfHeader:
    """Header of an EDF, EDF+ or BDF file; lists are per signal, annotation signals left out."""

    path: Path
    labels: tuple[str, ...]
    """Channel names, with non-ASCII letters put right."""
    raw_labels: tuple[str, ...]
    """The names as MNE reads them."""
    units: tuple[str, ...]
    raw_units: tuple[str, ...]
    """The units as MNE reads them."""
    sfreqs: tuple[float, ...]
    duration_s: float
    start: str
    """Date and time as the header writes them."""
    annotations: tuple[tuple[int, int], ...]
    """Where annotation signals lie in a data record: offset and length in bytes."""
    records: tuple[int, int, int]
    """Offset of the first data record, number of records, bytes in each."""

    def voltages(self) -> list[str]:
        """Names of the channels that hold a voltage (or do not say what they hold)."""
        return [
            name
            for name, unit in zip(self.labels, self.units, strict=True)
            if unit.lower() in _TO_UV or not unit.strip()
        ]

    def left_out(self) -> str:
        """Words about EEG channels whose unit is no voltage, to go behind those about channels that are missing."""
        usable = self.voltages()
        units = zip(self.labels, self.units, strict=True)
        odd = [f"{name!r} in {unit!r}" for name, unit in units if name not in usable and eeg_channels([name])]
        return f"; {', '.join(odd)} cannot be read: the unit is no voltage" if odd else ""


def read_edf_header(path: str | os.PathLike) -> EdfHeader:
    """Read the header of an EDF, EDF+ or BDF file and check that the file is whole.

    Raises
    ------
    ValueError
        If the file is no EDF, is shorter than its header promises, or has gaps (EDF+D).
    """
    path = Path(path)
    size = path.stat().st_size
    with open(path, "rb") as f:
        head = f.read(256)
        if len(head) < 256 or head[:8].rstrip(b" \x00") not in (b"0", b"\xffBIOSEMI"):
            raise ValueError(f"no EDF or BDF file ({size} bytes, begins with {head[:8]!r})")
        sample_bytes = 3 if head[:1] == b"\xff" else 2
        if (kind := ".bdf" if sample_bytes == 3 else ".edf") != path.suffix.lower():
            raise ValueError(f"its content is that of a {kind} file (samples of {sample_bytes} bytes): rename it")
        main = head.decode("latin-1")
        try:
            header_bytes, n_records = int(_filled(main[184:192])), int(_filled(main[236:244]))
            record_s, n_signals = float(_filled(main[244:252]).replace(",", ".")), int(_filled(main[252:256]))
        except ValueError as err:
            raise ValueError(f"damaged EDF header: {err}") from err
        fields = f.read(256 * n_signals)
        if len(fields) < 256 * n_signals or header_bytes != 256 * (n_signals + 1):
            raise ValueError(f"truncated EDF: {size} bytes, its header alone has {256 * (n_signals + 1)}")

        def column(offset: int, width: int) -> list[str]:
            at = range(offset * n_signals, (offset + width) * n_signals, width)
            return [fields[i : i + width].strip().decode("latin-1") for i in at]

        raw_labels, raw_units = column(0, 16), column(96, 8)
        names, units = ([_filled(text) for text in texts] for texts in (raw_labels, raw_units))
        try:
            samples = [int(_filled(s)) for s in column(216, 8)]
        except ValueError as err:
            raise ValueError(f"damaged EDF header: {err}") from err
        record_bytes = sum(samples) * sample_bytes
        there = (size - header_bytes) // record_bytes if record_bytes else 0
        if n_records < 0:  # a recording that was not closed properly: what is there counts
            n_records = there
        if there < n_records or n_records == 0:
            raise ValueError(f"truncated EDF: {there} of {n_records} data records are there ({size} bytes)")
    annotations = tuple(
        (sample_bytes * sum(samples[:i]), sample_bytes * samples[i])
        for i, name in enumerate(names)
        if name in _ANNOTATIONS
    )
    keep = [i for i, name in enumerate(names) if name not in _ANNOTATIONS]
    if keep and record_s <= 0:
        raise ValueError(f"damaged EDF header: data records of {record_s:g} s")
    header = EdfHeader(
        path=path,
        labels=tuple(_repaired(names[i]) for i in keep),
        raw_labels=tuple(raw_labels[i] for i in keep),
        units=tuple(units[i] for i in keep),
        raw_units=tuple(raw_units[i] for i in keep),
        sfreqs=tuple(samples[i] / record_s for i in keep),
        duration_s=n_records * record_s,
        start=main[168:184],
        annotations=annotations,
        records=(header_bytes, n_records, record_bytes),
    )
    if head[192:197] in (b"EDF+D", b"BDF+D") and annotations and keep:  # without signals there is nothing to interrupt
        first, last = (_annotation_bytes(header, 0, slice(k, k + 1)) for k in (0, n_records - 1))
        stamps = [re.match(rb"[+-]\d+(\.\d*)?", t) for t in (first, last)]
        if None in stamps:
            raise ValueError("EDF+D whose data records do not say when they begin")
        times = [float(stamp[0]) for stamp in stamps]
        gap = times[1] - times[0] - (n_records - 1) * record_s
        if abs(gap) > 0.01:
            raise ValueError(f"EDF+D with gaps ({gap:g} s in all): export it as continuous EDF+")
    return header


def _annotation_bytes(header: EdfHeader, signal: int, records: slice = slice(None)) -> bytes:
    at, n_records, size = header.records
    stored = np.memmap(header.path, dtype=np.uint8, mode="r", offset=at, shape=(n_records, size))
    start, n = header.annotations[signal]
    return stored[records, start : start + n].tobytes()


def read_edf_annotations(header: EdfHeader) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Annotations of an EDF+ or BDF+ file, those outside its signal included.

    MNE drops what lies outside the signal without a word, and given a path it searches the samples for annotations as
    well.

    Returns
    -------
    onset_s, duration_s : array
        Seconds from the first sample; a duration that is not given is NaN.
    text : list of str
    """
    onset, duration, text, first = [], [], [], 0.0
    for k in range(len(header.annotations)):
        for i, match in enumerate(_ANNOTATION.finditer(_annotation_bytes(header, k))):
            texts = match[3].split(b"\x14")
            if k == i == 0 and not texts[0]:
                first = float(match[1])  # the fraction of a second at which the first sample was taken
            for one in filter(None, texts):
                onset.append(float(match[1]))
                duration.append(float(match[2]) if match[2] else np.nan)
                text.append(_decoded(one))
    return np.array(onset) - first, np.array(duration), text


def _decoded(text: bytes) -> str:
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError:
        return text.decode("latin-1")


def _filled(text: str) -> str:
    """A field of the header up to the zeros with which some recorders fill it."""
    return text.split("\x00")[0].strip(" ")


def _repaired(label: str) -> str:
    """A Latin-1 reading of a UTF-8 label, put right."""
    return _decoded(label.encode("latin-1"))


def read_edf(header: EdfHeader, picks: Sequence[Pick], start_s: float, stop_s: float) -> list[tuple[np.ndarray, float]]:
    """A stretch of some channels in µV.

    Parameters
    ----------
    header : EdfHeader
        Of the file.
    picks : sequence of Pick
        Channels, as places in ``header.labels``.
    start_s, stop_s : float
        Stretch in seconds; `stop_s` may lie behind the end.

    Returns
    -------
    list of (signal, sfreq), one per pick
        Signal of shape (n_samples,) at the channel's own rate in Hz; its first sample is the first at or after
        `start_s`.

    Raises
    ------
    ValueError
        If a channel's name is there twice, a channel has no samples, or channels to be subtracted differ in rate.
    """
    import mne

    used = sorted({i for pick in picks for i in pick if i is not None})
    for i in used:
        if header.raw_labels.count(header.raw_labels[i]) > 1:
            raise ValueError(
                f"channel {header.labels[i]!r} is there {header.raw_labels.count(header.raw_labels[i])} times"
            )
        if header.sfreqs[i] <= 0:
            raise ValueError(f"channel {header.labels[i]!r} has no samples")
    signals: dict[int, np.ndarray] = {}
    # Each rate by itself: MNE would bring all channels that are read together to the highest rate among them.
    for rate in sorted({header.sfreqs[i] for i in used}):
        group = [i for i in used if header.sfreqs[i] == rate]
        reader = mne.io.read_raw_bdf if header.path.suffix.lower() == ".bdf" else mne.io.read_raw_edf
        # MNE looks at the annotations, too, which need not be UTF-8; in Latin-1 every byte is a letter.
        more = {"stim_channel": False, "encoding": "latin1", "verbose": "error"}
        raw = reader(header.path, include=[header.raw_labels[i] for i in group], **more)
        start, stop = round(start_s * rate), min(raw.n_times, round(stop_s * rate))
        # By number: a channel may be called as MNE calls a kind of channel, such as "eeg".
        picked = [raw.ch_names.index(header.raw_labels[i]) for i in group]
        data = np.empty((len(group), max(0, stop - start)), dtype=np.float32)
        # In stretches: MNE hands out float64, which for a night of many channels would fill the memory of a laptop.
        for at in range(start, stop, _STRETCH):
            end = min(stop, at + _STRETCH)
            data[:, at - start : end - start] = raw.get_data(picks=picked, start=at, stop=end) * 1e6
        for i, x in zip(group, data, strict=True):
            unit = header.raw_units[i]
            read_as = 1.0 if unit in _MNE_MICRO else 1e3 if unit == "mV" else 1e6
            signals[i] = x * np.float32(_TO_UV.get(header.units[i].lower(), 1.0) / read_as)
        raw.close()
    out = []
    for plus, minus in picks:
        if minus is not None and header.sfreqs[plus] != header.sfreqs[minus]:
            raise ValueError(f"channels {header.labels[plus]!r} and {header.labels[minus]!r} differ in sampling rate")
        out.append((signals[plus] if minus is None else signals[plus] - signals[minus], header.sfreqs[plus]))
    return out


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
        False leaves ``X`` empty: what the file says about itself is read in no time.

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
                seen = ", ".join(f.files[:6]) + (f" and {len(f.files) - 6} more" if len(f.files) > 6 else "")
                raise ValueError(f"no array {', '.join(missing)} in it, only {seen}")
            rest = {k: f[k] for k in f.files if k != "X"}
            X = f["X"] if signal else None
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, KeyError) as err:
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
    if X is None:
        X = np.empty((0, len(ch_names), 0), np.float32)
        n = 0 if y is None else len(y)
    else:
        n = len(X)
        if X.ndim != 3 or X.shape[1] != len(ch_names):
            raise ValueError(
                f"X has shape {X.shape}; (epochs, {len(ch_names)}, times) is due for channels {list(ch_names)}"
            )
        if y is not None and len(y) != n:
            raise ValueError(f"{n} epochs and {len(y)} labels")
        scale = np.asarray(rest.get("scale", 1.0), dtype=np.float32).reshape(-1)
        if scale.size not in (1, len(ch_names)):
            raise ValueError(f"scale has {scale.size} values for {len(ch_names)} channels")
        X = X.astype(np.float32) * scale[:, None]
    if y is not None and not np.isin(y, range(-1, 5)).all():
        raise ValueError(f"y holds {sorted(set(y.tolist()) - set(range(-1, 5)))}; stages are 0 to 4 and -1 for none")
    index = np.asarray(rest["epoch_index"]).reshape(-1) if "epoch_index" in rest else np.arange(n)
    if signal and len(index) != n:
        raise ValueError(f"{n} epochs and {len(index)} places in epoch_index")
    return NpzNight(
        X=X,
        y=y,
        ch_names=ch_names,
        sfreq=sfreq,
        subject=str(_one_of(rest["subject"].astype(str), "subject")) if "subject" in rest else None,
        night=_one_of(rest["night"], "night") if "night" in rest else None,
        onset_s=index * (X.shape[2] / sfreq),
    )


def _one_of(values: np.ndarray, what: str) -> Any:
    """The one value of what may be an array with a value for each epoch."""
    found = np.unique(values).tolist()
    if len(found) != 1:
        few = ", ".join(map(str, found[:5]))
        raise ValueError(f"{what} holds {len(found)} different values ({few}); a file is one night")
    return found[0]
