"""Nights as braindecode datasets: one `NightDataset` per night, `Nights` for all of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence, Set
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from braindecode.datasets import BaseConcatDataset
from braindecode.datasets.base import RecordDataset

from eegaug._validation import check_sfreq, ordered_names
from eegaug._words import counted, some_of
from eegaug.data._open_files import FILES
from eegaug.data.stages import STAGES, stages_of_windows

__all__ = ["NightDataset", "Nights"]


class NightDataset(RecordDataset):
    """The windows of one night, on disk or in memory.

    Parameters
    ----------
    signal : path-like | array, shape (n_windows, n_channels, n_times)
        A raw little-endian float32 file, or the windows themselves.
    y : sequence of int
        Stage of each window, 0 to 4 (`STAGES`); -1 where there is none. With `classes`, number or name of its class.
    ch_names : sequence of str
        Channels, in order.
    sfreq : float
        Sampling rate in Hz.
    n_times : int, optional
        Samples per window; needed for a file.
    subject : str
        Whose night it is.
    night : int | str
        Which night of the subject.
    onset_s : sequence of float, optional
        Start of each window in seconds from the start of the recording; one window after the other if not given.
    classes : sequence of str, optional
        Names of the classes, in order, where they are no sleep stages: ``["left_hand", "right_hand"]``.
    transform : callable, optional
        Applied to a window's samples when it is fetched.
    **description
        More about the night.

    Notes
    -----
    ``night[i]`` is ``(X, y, crop)``: float32 samples (channels, times), an int, and ``[0, start, stop]``, the window's
    first and last sample plus one in the recording at the stored rate. Files are opened when they are first read, in
    each process by itself: the dataset can be pickled and used with forked and spawned workers.

    Examples
    --------
    >>> import numpy as np
    >>> night = NightDataset(np.zeros((3, 2, 100), "float32"), [0, 1, 2], ch_names=["C3", "C4"], sfreq=100, subject="a")
    >>> X, y, crop = night[1]
    >>> X.shape, y, crop
    ((2, 100), 1, [0, 100, 200])
    """

    targets_from = "metadata"  # braindecode's estimators ask
    classes: tuple[str, ...] = STAGES

    def __init__(
        self,
        signal: str | os.PathLike | np.ndarray,
        y: Sequence[int],
        *,
        ch_names: Sequence[str],
        sfreq: float,
        n_times: int | None = None,
        subject: str = "",
        night: int | str = 1,
        onset_s: Sequence[float] | None = None,
        classes: Sequence[str] | None = None,
        transform: Callable | None = None,
        **description: Any,
    ):
        super().__init__({"subject": str(subject), "night": night, **description}, transform)
        if classes is not None:
            self.classes = tuple(classes)
            names = all(isinstance(name, str) for name in self.classes)
            if isinstance(classes, (str, Set)) or not names or len(set(self.classes)) < len(self.classes):
                raise ValueError(f"classes is {classes!r}; it is a list of different names, in order.")
        self.y = stages_of_windows(y, classes=self.classes)
        self.ch_names = list(ordered_names(ch_names))
        check_sfreq(sfreq)
        self.sfreq = float(sfreq)
        self.path: str | None = None
        self._X: np.ndarray | None = None
        if isinstance(signal, (str, os.PathLike)):
            if n_times is None:
                raise ValueError(f"n_times is needed to read {signal}.")
            self.path, self.n_times = str(Path(signal).absolute()), int(n_times)
        else:
            self._X = np.ascontiguousarray(signal, dtype=np.float32)
            if self._X.ndim != 3 or self._X.shape[:2] != (len(self.y), len(self.ch_names)):
                raise ValueError(
                    f"The signal of {self.name!r} has shape {self._X.shape}; {len(self.y)} labels and "
                    f"{len(self.ch_names)} channels call for ({len(self.y)}, {len(self.ch_names)}, times)."
                )
            self.n_times = self._X.shape[2]
        step = self.n_times / self.sfreq
        self.onset_s = np.arange(len(self.y)) * step if onset_s is None else np.asarray(onset_s, dtype=float)
        if self.onset_s.shape != self.y.shape:
            raise ValueError(f"{self.name!r} has {len(self.y)} labels and {self.onset_s.size} onsets.")

    @property
    def name(self) -> str:
        """Name of the recording."""
        return str(self.description.get("recording", f"{self.description['subject']}-{self.description['night']}"))

    def __len__(self) -> int:
        return len(self.y)

    def read(self, indices: Sequence[int] | slice | None = None) -> np.ndarray:
        """Samples of some windows (all if None): a new float32 array (n, channels, times)."""
        where = np.arange(len(self))[slice(None) if indices is None else indices].reshape(-1)
        if self._X is not None:
            return self._X[where]
        out = np.empty((len(where), len(self.ch_names), self.n_times), dtype="<f4")
        size = out[:1].nbytes
        # Windows that follow one another are one read: prediction goes through a night in order.
        for run in np.split(np.arange(len(where)), np.flatnonzero(np.diff(where) != 1) + 1):
            if len(run):
                FILES.read_into(self.path, out[run[0] : run[-1] + 1], int(where[run[0]]) * size)
        return out

    def crop(self, index: int) -> list[int]:
        """``[0, start, stop]`` of a window, in samples of the recording at the stored rate."""
        start = round(float(self.onset_s[index]) * self.sfreq)
        return [0, start, start + self.n_times]

    def __getitem__(self, index: int) -> tuple[np.ndarray, int, list[int]]:
        index = int(index)
        if not -len(self) <= index < len(self):
            raise IndexError(f"window {index} of {self.name!r}, which has {len(self)}")
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[tuple[np.ndarray, int, list[int]]]:
        X = self.read(indices)
        apply = self.transform or (lambda x: x)
        return [(apply(x), int(self.y[i]), self.crop(i)) for x, i in zip(X, indices, strict=True)]

    @property
    def metadata(self) -> pd.DataFrame:
        """One row per window, with braindecode's column names."""
        start = np.round(self.onset_s * self.sfreq).astype(np.int64)
        columns = {
            "i_window_in_trial": 0,
            "i_start_in_trial": start,
            "i_stop_in_trial": start + self.n_times,
            "target": self.y,
            "onset_s": self.onset_s,
        }
        return pd.DataFrame(columns)

    def __repr__(self) -> str:
        return (
            f"<NightDataset {self.name!r}: {len(self)} windows of {self.n_times / self.sfreq:g} s, "
            f"{len(self.ch_names)} channels "
            f"at {self.sfreq:g} Hz, {'on disk' if self.path else 'in memory'}>"
        )

    def _repr_html_(self) -> str:
        return f"<code>{repr(self)[1:-1]}</code>"


class Nights(BaseConcatDataset):
    """Nights of several subjects, all with the same channels, rate, window and classes: a braindecode dataset.

    Parameters
    ----------
    datasets : sequence of NightDataset | Nights
        The nights.
    preprocessing : dict, optional
        How the windows were made.
    truth : object, optional
        What was planted in simulated nights, None for recordings.
    problems : sequence of dict, optional
        What was skipped or dropped when the nights were read: ``recording``, ``kind`` ("skipped": the whole recording,
        "dropped": some of its windows, "note"), ``reason``, ``n_windows``.
    target_transform : callable, optional
        Applied to targets when windows are fetched.

    Raises
    ------
    ValueError
        If there is no night, or the nights differ in channels, sampling rate, window or classes (the error says how).

    Examples
    --------
    >>> import numpy as np
    >>> one = NightDataset(np.ones((2, 1, 100), "float32"), [0, 2], ch_names=["C3"], sfreq=100, subject="a")
    >>> two = NightDataset(np.ones((1, 1, 100), "float32"), [4], ch_names=["C3"], sfreq=100, subject="b")
    >>> nights = Nights([one, two])
    >>> nights.y.tolist(), nights.subjects.tolist()
    ([0, 2, 4], ['a', 'a', 'b'])
    >>> nights.select(subjects=["b"]).y.tolist()
    [4]
    """

    def __init__(
        self,
        datasets: Sequence[NightDataset],
        preprocessing: dict | None = None,
        truth: Any = None,
        problems: Iterable[dict] = (),
        target_transform: Callable | None = None,
    ):
        datasets = list(datasets)
        if not datasets:
            raise ValueError("There is no night.")
        super().__init__(datasets, target_transform=target_transform)
        first = self.datasets[0]
        for night in self.datasets[1:]:
            for what in ("ch_names", "sfreq", "n_times", "classes"):
                was, now = getattr(first, what), getattr(night, what)
                if was != now:
                    raise ValueError(f"Night {night.name!r} has {what} {now}, night {first.name!r} has {was}.")
        self.preprocessing = dict(preprocessing or {})
        self.truth = truth
        self.problems = list(problems)

    @property
    def ch_names(self) -> list[str]:
        """Channels, in order."""
        return list(self.datasets[0].ch_names)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes: the sleep stages, where nothing else was said."""
        return self.datasets[0].classes

    @property
    def sfreq(self) -> float:
        """Sampling rate in Hz."""
        return self.datasets[0].sfreq

    @property
    def n_times(self) -> int:
        """Samples per window."""
        return self.datasets[0].n_times

    @property
    def window_s(self) -> float:
        """Window length in seconds."""
        return self.n_times / self.sfreq

    @property
    def y(self) -> np.ndarray:
        """Stages of all windows as int64; no signal is read."""
        y = np.concatenate([night.y for night in self.datasets])
        if self.target_transform is not None:
            y = np.asarray([self.target_transform(v) for v in y])
        return y

    @property
    def subjects(self) -> np.ndarray:
        """Subject of every window."""
        names = [str(night.description["subject"]) for night in self.datasets]
        return np.repeat(np.asarray(names), [len(night) for night in self.datasets])

    @property
    def description(self) -> pd.DataFrame:
        """One row per night."""
        return pd.DataFrame([dict(night.description) for night in self.datasets])

    def _like(self, datasets: Sequence[NightDataset]) -> Nights:
        return type(self)(datasets, self.preprocessing, self.truth, self.problems, self.target_transform)

    def select(self, subjects: Iterable[str] | str | None = None, *, recordings: Iterable[str] | None = None) -> Nights:
        """Nights of some subjects (or some recordings), in the order they have here.

        Raises
        ------
        ValueError
            If a name is not here.
        """
        keep = self.datasets
        for what, wanted, name_of in (
            ("subject", subjects, lambda night: str(night.description["subject"])),
            ("recording", recordings, lambda night: night.name),
        ):
            if wanted is None:
                continue
            wanted = [wanted] if isinstance(wanted, str) else [str(w) for w in wanted]
            here = {name_of(night) for night in self.datasets}
            if missing := [w for w in wanted if w not in here]:
                raise ValueError(f"No {what} {', '.join(map(repr, missing))} among {sorted(here)}.")
            chosen = set(wanted)
            keep = [night for night in keep if name_of(night) in chosen]
        return self._like(keep)

    def read(self, indices: Sequence[int] | None = None) -> np.ndarray:
        """Samples of some windows (all if None; a mask will do) as float32 (n, channels, times), without transforms."""
        where = np.arange(len(self)) if indices is None else self._checked(indices)
        out = np.empty((len(where), len(self.ch_names), self.n_times), dtype=np.float32)
        for k, rows, local in self._by_night(where):
            out[rows] = self.datasets[k].read(local)
        return out

    def as_arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """All windows in memory: X float32 (n, channels, times), y int64, subject names."""
        return self.read(), self.y, self.subjects

    def _checked(self, indices: Sequence[int]) -> np.ndarray:
        where = np.asarray(indices)
        if where.dtype == bool:
            if where.shape != (len(self),):
                raise IndexError(f"a mask of shape {where.shape} for {len(self)} windows.")
            where = np.flatnonzero(where)
        where = where.astype(np.int64).reshape(-1)
        if where.size and not (-len(self) <= where.min() and where.max() < len(self)):
            raise IndexError(f"windows {where.min()} to {where.max()} were asked for; there are {len(self)}.")
        return where % len(self)

    def _by_night(self, where: np.ndarray) -> Iterable[tuple[int, np.ndarray, np.ndarray]]:
        ends = np.asarray(self.cumulative_sizes)
        which = np.searchsorted(ends, where, side="right")
        order = np.argsort(which, kind="stable")
        for rows in np.split(order, np.flatnonzero(np.diff(which[order])) + 1):
            if len(rows):
                k = int(which[rows[0]])
                yield k, rows, where[rows] - (ends[k - 1] if k else 0)

    def __getitems__(self, indices: Sequence[int]) -> list[tuple[np.ndarray, Any, list[int]]]:
        where = np.asarray(indices, dtype=np.int64)
        if where.ndim == 2:  # what a sampler of sequences asks for
            return [self[one] for one in where]
        where = self._checked(where)
        items: list[Any] = [None] * len(where)
        for k, rows, local in self._by_night(where):
            for row, item in zip(rows, self.datasets[k].__getitems__(local.tolist()), strict=True):
                items[row] = item
        if self.target_transform is not None:
            items = [(X, self.target_transform(y), *rest) for X, y, *rest in items]
        return items

    def get_metadata(self) -> pd.DataFrame:
        """One row per window: place in the recording, target, and the night's description."""
        return pd.concat([night.metadata.assign(**dict(night.description)) for night in self.datasets])

    def split(self, by=None, **kwargs) -> dict[str, Nights]:
        """Braindecode's ``split``, e.g. ``nights.split("subject")``; the parts are `Nights`."""
        return {name: self._like(part.datasets) for name, part in super().split(by, **kwargs).items()}

    def __repr__(self) -> str:
        y = np.concatenate([night.y for night in self.datasets])
        counts = ", ".join(f"{name} {int((y == k).sum())}" for k, name in enumerate(self.classes))
        if (y < 0).any():
            counts += f", without {'stage' if self.classes == STAGES else 'class'} {int((y < 0).sum())}"
        return (
            f"<Nights: {counted(len(self.datasets), 'night')} of {counted(len(set(self.subjects)), 'subject')}, "
            f"{len(self)} windows of {self.window_s:g} s ({counts})\n"
            f"  channels {some_of(self.ch_names, 8)} at {self.sfreq:g} Hz>"
        )

    def _repr_html_(self) -> str:
        return f"<pre>{repr(self)[1:-1]}</pre>"
