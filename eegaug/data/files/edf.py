"""EDF, EDF+ and BDF files: what is in them, and stretches of their signal in µV."""

from __future__ import annotations

import datetime
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from eegaug.data.channels import Pick, eeg_channels
from eegaug.data.files.continuous import Annotations, Continuous, channels_of, derived, is_trigger
from eegaug.data.files.with_mne import read_microvolts

__all__ = ["TO_UV", "EdfHeader", "begins_elsewhere", "open_edf", "read_edf", "read_edf_annotations", "read_edf_header"]

# Factor to µV by physical dimension; bytes of "µ" differ with the recorder's code page (Latin-1, UTF-8, Shift-JIS).
TO_UV = {
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

    def began(self) -> datetime.datetime | None:
        """Date and time, ``dd.mm.yyhh.mm.ss`` in the header; years from 85 on are of the last century."""
        try:
            return datetime.datetime.strptime(self.start, "%d.%m.%y%H.%M.%S").replace(
                year=(1900 if int(self.start[6:8]) >= 85 else 2000) + int(self.start[6:8])
            )
        except ValueError:
            return None

    def voltages(self) -> list[str]:
        """Names of the channels that hold a voltage (or do not say what they hold)."""
        return [
            name
            for name, unit in zip(self.labels, self.units, strict=True)
            if unit.lower() in TO_UV or not unit.strip()
        ]

    def left_out(self) -> str:
        """Words about EEG channels whose unit is no voltage, to go behind those about channels that are missing."""
        usable = self.voltages()
        units = zip(self.labels, self.units, strict=True)
        odd = [f"{name!r} in {unit!r}" for name, unit in units if name not in usable and eeg_channels([name])]
        return f"; {', '.join(odd)} cannot be read: the unit is no voltage" if odd else ""


def open_edf(path: Path) -> Continuous:
    """Open an EDF or BDF file, see :func:`read_edf_header`."""
    header = read_edf_header(path)
    usable = header.voltages()
    where = [header.labels.index(name) for name in usable]

    def read(picks: Sequence[Pick], start_s: float, stop_s: float) -> list[tuple[np.ndarray, float]]:
        moved = [Pick(where[p.plus], None if p.minus is None else where[p.minus]) for p in picks]
        return read_edf(header, moved, start_s, stop_s)

    return Continuous(
        name=path.stem,
        ch_names=usable,
        duration_s=header.duration_s,
        read=read,
        annotations=lambda: read_edf_annotations(header),
        start=header.began(),
        unitless=tuple(name for name, unit in zip(header.labels, header.units, strict=True) if not unit.strip()),
        left_out=header.left_out(),
    )


def begins_elsewhere(hypnogram: Path, start: datetime.datetime | None) -> bool:
    """Whether the header of a hypnogram in EDF names another start than that of its recording."""
    if start is None or hypnogram.suffix.lower() not in (".edf", ".bdf"):
        return False
    began = read_edf_header(hypnogram).began()
    # The header has whole seconds.
    return began is not None and abs((began - start).total_seconds()) >= 1


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
        kinds = {2: (".edf", ".rec"), 3: (".bdf",)}[sample_bytes]
        if path.suffix.lower() not in kinds:
            raise ValueError(f"its content is that of a {kinds[0]} file (samples of {sample_bytes} bytes): rename it")
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
        _refuse_gaps(header, record_s)
    return header


def _refuse_gaps(header: EdfHeader, record_s: float) -> None:
    """Raise where the data records of a file that may have been interrupted do not follow one another."""
    n_records = header.records[1]
    first, last = (_annotation_bytes(header, 0, slice(k, k + 1)) for k in (0, n_records - 1))
    stamps = [re.match(rb"[+-]\d+(\.\d*)?", t) for t in (first, last)]
    if None in stamps:
        raise ValueError("EDF+D whose data records do not say when they begin")
    times = [float(stamp[0]) for stamp in stamps]
    gap = times[1] - times[0] - (n_records - 1) * record_s
    if abs(gap) > 0.01:
        raise ValueError(f"EDF+D with gaps ({gap:g} s in all): export it as continuous EDF+")


def _annotation_bytes(header: EdfHeader, signal: int, records: slice = slice(None)) -> bytes:
    at, n_records, size = header.records
    stored = np.memmap(header.path, dtype=np.uint8, mode="r", offset=at, shape=(n_records, size))
    start, n = header.annotations[signal]
    return stored[records, start : start + n].tobytes()


def read_edf_annotations(header: EdfHeader) -> Annotations:
    """Annotations of an EDF+ or BDF+ file, those outside its signal included, numbers without a duration left out.

    MNE drops what lies outside the signal without a word, and given a path it searches the samples for annotations as
    well. Numbers at points in time are those of triggers.

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
                if not float(match[2] or 0) and is_trigger(_decoded(one)):
                    continue
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

    used = channels_of(picks)
    for i in used:
        if header.raw_labels.count(header.raw_labels[i]) > 1:
            raise ValueError(
                f"channel {header.labels[i]!r} is there {header.raw_labels.count(header.raw_labels[i])} times"
            )
        if header.sfreqs[i] <= 0:
            raise ValueError(f"channel {header.labels[i]!r} has no samples")
    signals: dict[int, np.ndarray] = {}
    # Each rate by itself: MNE would bring all channels that are read together to the highest rate among them.
    groups = [[i for i in used if header.sfreqs[i] == rate] for rate in sorted({header.sfreqs[i] for i in used})]
    renamed = header.path.suffix.lower() == ".rec"
    for group in [[i] for i in used] if renamed else groups:
        rate = header.sfreqs[group[0]]
        # MNE looks at the annotations, too, which need not be UTF-8; in Latin-1 every byte is a letter.
        more = {"stim_channel": False, "encoding": "latin1", "verbose": "error"}
        more["include"] = [header.raw_labels[i] for i in group]
        if renamed:  # by another name MNE takes a file that is open only, and reads all of what is asked for
            with open(header.path, "rb") as file:
                raw = mne.io.read_raw_edf(file, preload=True, **more)
        else:
            reader = mne.io.read_raw_bdf if header.path.suffix.lower() == ".bdf" else mne.io.read_raw_edf
            raw = reader(header.path, **more)
        # By number: a channel may be called as MNE calls a kind of channel, such as "eeg".
        picked = [raw.ch_names.index(header.raw_labels[i]) for i in group]
        for i, x in zip(group, read_microvolts(raw, picked, start_s, stop_s, rate), strict=True):
            unit = header.raw_units[i]
            read_as = 1.0 if unit in _MNE_MICRO else 1e3 if unit == "mV" else 1e6
            x *= np.float32(TO_UV.get(header.units[i].lower(), 1.0) / read_as)
            signals[i] = x
        raw.close()
    return derived({i: (x, header.sfreqs[i]) for i, x in signals.items()}, picks, header.labels)
