"""Windows of many nights on disk, read one batch at a time.

A store is a folder: ``store.json`` (channels, sampling rate, preprocessing, order of the nights, what was skipped), and
for each night a raw little-endian float32 file ``*.f32`` of shape (windows, channels, times) with a small ``*.json``
beside it. Windows are fetched with positioned reads into fresh memory, never by memory mapping: pages of a mapped file
count as memory of the process, so a training run over mapped nights grows with their number. The folder holds no code.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eegaug._validation import check_number, check_sfreq, ordered_names
from eegaug._warning import warn
from eegaug.data._open_files import FILES
from eegaug.data._problems import refuse_not_finite
from eegaug.data.atomic import is_readable, plain, read_json, remove_leftovers, write_atomically, write_json
from eegaug.data.nights import NightDataset, Nights
from eegaug.data.stages import stages_of_windows

__all__ = ["NightWriter", "open_store"]

FORMAT, VERSION = "eegaug-store", 2


def _night_stem(recording: str) -> str:
    slug = re.sub(r"[^A-Za-z0-9._-]+", "_", recording)[-60:].strip("._") or "night"
    return f"{slug}-{hashlib.sha1(recording.encode()).hexdigest()[:8]}"


def _entries(store_dir: Path) -> list[Path]:
    """Files of the nights; on drives of other systems macOS puts a ``._`` file beside each."""
    return sorted(p for p in store_dir.glob("*.json") if p.name != "store.json" and not p.name.startswith("."))


class NightWriter:
    """Write nights into a store folder, one at a time; a build that was killed goes on where it stopped.

    Parameters
    ----------
    store_dir : path-like
        The folder; made if it does not exist. A store that is already there must have been made with the same channels,
        sampling rate, window and preprocessing.
    ch_names : sequence of str
        Channels, in order.
    sfreq : float
        Sampling rate in Hz.
    window_s : float
        Window length in seconds.
    preprocessing : dict | Preprocessing | None
        How the windows were made; kept in the store and handed on in ``Nights.preprocessing``.
    allow_flat : bool
        Accept a channel that is constant through a whole night. Off for recordings (it is a lost electrode); on for
        simulated nights in which a lost channel is meant.

    Raises
    ------
    ValueError
        If the folder holds a store made otherwise (the error says what differs).

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     writer = NightWriter(folder, ["C3", "C4"], sfreq=100, window_s=30, preprocessing={})
    ...     X = np.random.default_rng(0).standard_normal((4, 2, 3000)).astype("float32")
    ...     writer.add(X, [0, 1, 2, 3], subject="s1", night=1)
    ...     nights = writer.close()
    ...     len(nights), nights.y.tolist()
    (4, [0, 1, 2, 3])
    """

    def __init__(
        self,
        store_dir: str | os.PathLike,
        ch_names: Sequence[str],
        sfreq: float,
        window_s: float,
        preprocessing: Any = None,
        *,
        allow_flat: bool = False,
    ):
        check_sfreq(sfreq)
        check_number("window_s", window_s, lambda s: 1 <= s * sfreq < float("inf"), "it is at least one sample long")
        if hasattr(preprocessing, "model_dump"):
            preprocessing = preprocessing.model_dump()
        self.store_dir = Path(store_dir)
        self.allow_flat = allow_flat
        self.header = plain(
            {
                "format": FORMAT,
                "version": VERSION,
                "ch_names": list(ordered_names(ch_names)),
                "sfreq": float(sfreq),
                "window_s": float(window_s),
                "n_times": round(float(sfreq) * float(window_s)),
                "preprocessing": dict(preprocessing or {}),
            }
        )
        self.problems: list[dict] = []
        self._order: list[str] = []
        self._known: set[str] = set()
        index = self.store_dir / "store.json"
        if index.exists():
            self._check_same(read_json(index))
            FILES.close_in(self.store_dir)  # nights may be written anew by other processes
            remove_leftovers(self.store_dir)
            self._known = {read_json(path)["recording"] for path in _entries(self.store_dir)}
        else:
            write_json(index, {**self.header, "complete": False})

    def _check_same(self, old: dict) -> None:
        if old.get("format") != FORMAT or old.get("version") != VERSION:
            raise ValueError(
                f"{self.store_dir} holds a {old.get('format')!r} of version {old.get('version')!r}, not version "
                f"{VERSION} of {FORMAT!r}: choose another store folder."
            )
        was, now = (
            {k: h.get(k) for k in ("ch_names", "sfreq", "window_s", "n_times")}
            | {f"preprocessing {k}": v for k, v in h["preprocessing"].items()}
            for h in (old, self.header)
        )
        differs = [f"{k} was {was.get(k)!r}, now {now.get(k)!r}" for k in was | now if was.get(k) != now.get(k)]
        if differs:
            raise ValueError(
                f"The store {self.store_dir} was made otherwise: {'; '.join(differs)}. "
                "Choose another store folder, or delete this one to build it again."
            )

    def _entry(self, recording: str) -> Path:
        return self.store_dir / f"{_night_stem(recording)}.json"

    def has(self, recording: str, source: Any = None, **known: Any) -> bool:
        """Whether the night is already stored; then it is kept.

        Parameters
        ----------
        recording : str
            Its name.
        source : object, optional
            What it has to be made from.
        **known
            What else has to be the same: ``subject``, ``night``.
        """
        if recording not in self._known:
            return False
        entry = read_json(self._entry(recording))
        try:
            _check_size(self.store_dir / entry["signal"], entry, self.header)
        except (FileNotFoundError, ValueError):
            return False
        if source is not None and entry.get("source") != plain(source):
            return False
        if any(entry.get(name) != plain(value) for name, value in known.items()):
            return False
        if recording not in self._order:
            self._order.append(recording)
        return True

    def write(
        self,
        X: np.ndarray,
        y: Sequence[int],
        *,
        subject: str,
        night: int | str = 1,
        recording: str | None = None,
        onset_s: Sequence[float] | None = None,
        source: Any = None,
        problems: Iterable[dict] = (),
        **description: Any,
    ) -> str:
        """Write one night's files and return its recording name; safe to call from several processes.

        The night joins the store with `add`, or with `has` from the process that holds the writer.
        """
        recording = str(recording if recording is not None else f"{subject}-{night}")
        X = np.ascontiguousarray(X, dtype="<f4")
        self._check(X, y, recording)
        if onset_s is not None and len(onset_s) != len(X):
            raise ValueError(f"Recording {recording!r} has {len(X)} windows and {len(onset_s)} onsets.")
        # Named after its content: labels never meet another signal, and processes that write the same night agree.
        signal = f"{_night_stem(recording)}-{hashlib.blake2b(X, digest_size=6).hexdigest()}.f32"
        entry = {
            "recording": recording,
            "signal": signal,
            "subject": str(subject),
            "night": night,
            "n_windows": len(X),
            "y": stages_of_windows(y, f"Recording {recording!r}, ").tolist(),
            "onset_s": None if onset_s is None else np.asarray(onset_s, float).round(6).tolist(),
            "source": source,
            "problems": list(problems),
            "description": description,
        }
        index = self._entry(recording)
        before = read_json(index)["signal"] if index.exists() else signal
        FILES.close_in(self.store_dir)
        write_atomically(self.store_dir / signal, X)
        write_json(index, entry)
        if before != signal:
            with contextlib.suppress(PermissionError):  # another process reads it, on Windows
                (self.store_dir / before).unlink(missing_ok=True)
        return recording

    def add(self, X: np.ndarray, y: Sequence[int], *, subject: str, night: int | str = 1, **options: Any) -> None:
        """Store one night.

        Parameters
        ----------
        X : array, shape (n_windows, n_channels, n_times)
            Windows, kept as float32.
        y : sequence of int
            Stage of each window (0 to 4), -1 where there is none.
        subject : str
            Whose night it is; splits are made over this name.
        night : int | str
            Which night of that subject.
        recording : str, optional
            Name of the recording, one of a kind in the store ("subject-night" if not given).
        onset_s : sequence of float, optional
            Start of each window in seconds from the start of the recording.
        source : object, optional
            Anything JSON can hold that says what the night was made from; see `has`.
        problems : iterable of dict, optional
            What was dropped from this night; see `Nights`.
        **description
            More about the night (age, file, ...), kept in the datasets' description.

        Raises
        ------
        ValueError
            If a sample is not finite, a channel is constant, a stage is none, or shapes do not fit (the recording,
            window and channel are named), or if a night of this name has been stored before by this writer.
        """
        name = options.get("recording") or f"{subject}-{night}"
        if name in self._order:
            raise ValueError(
                f"Recording {name!r} has been stored already: tell nights apart by night=… or recording=…."
            )
        recording = self.write(X, y, subject=subject, night=night, **options)
        self._known.add(recording)
        if recording not in self._order:
            self._order.append(recording)

    def adopt(self, recording: str) -> None:
        """Take in a night that another process wrote with `write`."""
        if not self._entry(recording).exists():
            raise FileNotFoundError(f"Recording {recording!r} is not in the store {self.store_dir}.")
        self._known.add(recording)
        self.has(recording)

    def _check(self, X: np.ndarray, y: Sequence[int], recording: str) -> None:
        shape = (len(self.header["ch_names"]), self.header["n_times"])
        if X.ndim != 3 or X.shape[1:] != shape:
            raise ValueError(
                f"Recording {recording!r} has shape {X.shape}; the store holds (windows, {shape[0]}, {shape[1]}) for "
                f"channels {self.header['ch_names']} at {self.header['sfreq']:g} Hz and windows of "
                f"{self.header['window_s']:g} s."
            )
        if len(X) == 0:
            raise ValueError(f"Recording {recording!r} has no window.")
        if len(y) != len(X):
            raise ValueError(f"Recording {recording!r} has {len(X)} windows and {len(y)} labels.")
        refuse_not_finite(X, self.header["ch_names"], recording)
        flat = X.max(axis=(0, 2)) == X.min(axis=(0, 2))
        if flat.any() and not self.allow_flat:
            names = [c for c, f in zip(self.header["ch_names"], flat, strict=True) if f]
            raise ValueError(f"Recording {recording!r}: channel {', '.join(names)} is flat (constant) throughout.")

    def close(self, recordings: Iterable[str] | None = None, *, truth: Any = None, source: Any = None) -> Nights:
        """Finish the store and open it.

        Parameters
        ----------
        recordings : iterable of str, optional
            Order of the nights (those added or found, in that order, if not given).
        truth : dict, optional
            What was planted in simulated nights; must be plain data.
        source : object, optional
            What the whole store was made from.

        Returns
        -------
        Nights

        Raises
        ------
        ValueError
            If the store holds no night.
        """
        order = list(recordings) if recordings is not None else self._order or sorted(self._known)
        if not order:
            raise ValueError(f"No night was stored in {self.store_dir}.")
        problems = self.problems + [p for r in order for p in read_json(self._entry(r))["problems"]]
        more = {"complete": True, "source": source, "nights": order, "problems": problems, "truth": truth}
        header = plain({**self.header, **more})
        write_json(self.store_dir / "store.json", header)
        # Not read again: another process may have chosen other nights of the folder since.
        return opened(self.store_dir, header)


def _check_size(signal: Path, entry: dict, header: dict) -> None:
    """Raise if a night's signal file is gone or has another size than its entry says."""
    if not signal.exists():
        raise FileNotFoundError(f"{signal} is gone from the store: delete the folder and build it again.")
    size, want = signal.stat().st_size, entry["n_windows"] * len(header["ch_names"]) * header["n_times"] * 4
    if size != want:
        raise ValueError(f"{signal} has {size} bytes where {want} are due: delete the store folder and build it again.")


def remove_damaged(store_dir: Path) -> None:
    """Remove what cannot be read of a store that can be made again: the other nights stay."""
    FILES.close_in(store_dir)
    if not is_readable(store_dir / "store.json"):
        shutil.rmtree(store_dir)
        return
    for path in store_dir.glob("*.json"):
        if not is_readable(path):
            path.unlink()


def open_store(store_dir: str | os.PathLike) -> Nights:
    """Open a store of nights for reading; no signal is read yet.

    Parameters
    ----------
    store_dir : path-like
        A folder that `NightWriter` made.

    Returns
    -------
    Nights

    Raises
    ------
    FileNotFoundError
        If there is no store, or a night's file is gone.
    ValueError
        If a file is damaged.
    """
    store_dir = Path(store_dir)
    index = store_dir / "store.json"
    if not index.exists():
        raise FileNotFoundError(f"{store_dir} holds no store.json: it is not a store of nights.")
    return opened(store_dir, read_json(index))


def opened(store_dir: Path, header: dict) -> Nights:
    """The nights that the content of a ``store.json`` names."""
    index = store_dir / "store.json"
    if header.get("format") != FORMAT or header.get("version") != VERSION:
        raise ValueError(
            f"{index} is {header.get('format')!r} version {header.get('version')!r}, not {FORMAT!r} {VERSION}."
        )
    if header.get("complete"):
        paths = [store_dir / f"{_night_stem(r)}.json" for r in header["nights"]]
    else:
        paths = _entries(store_dir)
        warn(f"The store {store_dir} was not finished: {len(paths)} nights are there so far.")
        if not paths:
            raise ValueError(f"The store {store_dir} was not finished and holds no night yet.")
    datasets = []
    for path in paths:
        if not path.exists():
            raise FileNotFoundError(f"{path} is gone from the store: delete the folder and build it again.")
        night = read_json(path)
        signal = store_dir / night["signal"]
        _check_size(signal, night, header)
        datasets.append(
            NightDataset(
                signal,
                night["y"],
                ch_names=header["ch_names"],
                sfreq=header["sfreq"],
                n_times=header["n_times"],
                subject=night["subject"],
                night=night["night"],
                onset_s=night["onset_s"],
                recording=night["recording"],
                **night["description"],
            )
        )
        FILES.forget(datasets[-1].path)
    return Nights(
        datasets,
        preprocessing=header["preprocessing"],
        truth=header.get("truth"),
        problems=header.get("problems") or (),
    )
