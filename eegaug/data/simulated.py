"""Simulated nights of sleep with planted, known variation between subjects."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path

import numpy as np

from eegaug._progress import track
from eegaug._random import RandomState, resolve_seed
from eegaug.data._sleep_model import draw_hypnogram, draw_log_powers, draw_sleeper, passband, synthesise
from eegaug.data.atomic import read_json
from eegaug.data.nights import NightDataset, Nights
from eegaug.data.planted import Draw, Planted, lost_channels
from eegaug.data.preprocessing import Preprocessing, standardise
from eegaug.data.store import NightWriter, open_store
from eegaug.montage import electrode_positions, symmetry_permutation

__all__ = ["Planted", "simulate_nights"]

#: Names of the random streams; a subject's streams depend on the seed and the subject alone.
_PLANTED, _SLEEPER, _LOST, _STAGES, _POWERS, _SIGNAL, _LOCAL, _LOST_NOISE = range(8)


def simulate_nights(
    n_subjects: int = 10,
    nights_per_subject: int = 1,
    *,
    hours: float = 8.0,
    n_windows: int | None = None,
    ch_names: Sequence[str] = ("F3", "F4", "C3", "C4", "O1", "O2"),
    positions: Mapping[str, Sequence[float]] | np.ndarray | None = None,
    sfreq: float = 100.0,
    window_s: float = 30.0,
    l_freq: float = 0.3,
    h_freq: float | None = 30.0,
    standardise: str | None = "window",
    planted: Planted | None = None,
    ambiguity: float = 0.05,
    random_state: RandomState = None,
    store: str | os.PathLike | None = None,
    verbose: bool = False,
) -> Nights:
    """Simulate nights of sleep EEG with stages, calibrated on real sleep, with known variation between subjects.

    Hypnograms are a semi-Markov chain that depends on the time of night; band powers have the means by stage, the
    spread between subjects and nights, and the drift within a night, of Sleep-EDF (``calibration.json`` has the
    numbers, their source and its licence). The signal is a 1/f background plus transients of the stage (alpha rhythm,
    vertex waves, spindles, K-complexes, slow waves, sawtooth waves, eye movements): samples of a smooth field on the
    head that is left-right symmetric in law.

    Parameters
    ----------
    n_subjects, nights_per_subject : int
        How many. A subject's nights do not depend on how many subjects there are.
    hours : float
        Length of a night, wake before and after sleep included.
    n_windows : int | None
        Keep this many windows of each night, in the night's proportions of the stages and spread over the whole night;
        None keeps all.
    ch_names : sequence of str
        Any electrodes of the 10-05 system, or any names with `positions`. The same field is read whatever the channels.
    positions : mapping | array (n_channels, 3), optional
        Positions of electrodes that are not in the 10-05 system.
    sfreq : float
        Sampling rate in Hz.
    window_s : float
        Window length in seconds.
    l_freq, h_freq : float
        Band of the recording in Hz. None for `h_freq`: up to half the sampling rate.
    standardise : {"window", "recording"} | None
        As in `Preprocessing`; None gives microvolts.
    planted : Planted | None
        What varies between subjects; None is ``Planted()``, moderate ranges of everything.
    ambiguity : float
        Fraction of windows that show transients of a stage that scorers confuse with theirs. 0 makes staging easy.
    random_state : int | RandomState | Generator | None
        The same seed gives the same nights.
    store : path-like | None
        Folder to keep the nights in: one night is in memory at a time, and a simulation that was killed goes on where
        it stopped. None keeps the nights in memory.
    verbose : bool
        Show progress.

    Returns
    -------
    Nights
        ``.truth`` holds what was planted, as plain data: ``planted`` (the ranges), ``operations`` (the ranges as
        strengths of operations, see `planted_table`), ``subjects`` (each subject's draws) and ``recordings`` (lost
        channels).

    Raises
    ------
    ValueError
        A number out of range, a channel without position, a store that holds other nights.

    Notes
    -----
    "Anterior" and "posterior" band powers are those of Fpz-Cz and Pz-Oz; in between, the logarithm of power is linear
    from front to back. There is no muscle, sweat or line noise, and windows do not continue into one another. The
    planted shift moves a subject's whole spectrum, as the operation ``frequency_shift`` does, before the recording's
    band-pass.

    Examples
    --------
    >>> nights = simulate_nights(2, n_windows=30, ch_names=["C3", "C4"], random_state=0)
    >>> X, y, subject = nights.as_arrays()
    >>> X.shape, sorted(set(subject.tolist()))
    ((60, 2, 3000), ['sim-001', 'sim-002'])
    """
    planted = Planted() if planted is None else planted
    if not isinstance(planted, Planted):
        raise TypeError(f"planted is a {type(planted).__name__}; pass a Planted, such as Planted.none().")
    preprocessing = Preprocessing(
        ch_names=tuple(ch_names),
        sfreq=sfreq,
        l_freq=l_freq,
        h_freq=h_freq,
        window_s=window_s,
        standardise=standardise,
    )
    plan = _Plan(
        seed=resolve_seed(random_state),
        planted=planted,
        preprocessing=preprocessing,
        positions=electrode_positions(ch_names, positions),
        hours=hours,
        n_windows=n_windows,
        ambiguity=ambiguity,
    )
    plan.check(n_subjects, nights_per_subject)
    pairs = [(s, n) for s in range(n_subjects) for n in range(nights_per_subject)]
    truth = plan.truth(pairs)
    steps = track(pairs, len(pairs), "Simulating nights", unit="night", verbose=verbose)
    if store is not None:
        return _into_store(plan, steps, truth, Path(store), n_subjects, nights_per_subject)
    datasets = []
    for subject, night in steps:
        X, y, onset_s = plan.night(subject, night)
        datasets.append(
            NightDataset(
                X,
                y,
                ch_names=ch_names,
                sfreq=sfreq,
                subject=subject_name(subject),
                night=night + 1,
                onset_s=onset_s,
                recording=recording_name(subject, night),
            )
        )
    return Nights(datasets, preprocessing=preprocessing.model_dump(), truth=truth)


def subject_name(subject: int) -> str:
    """Name of the subject with this index."""
    return f"sim-{subject + 1:03d}"


def recording_name(subject: int, night: int) -> str:
    """Name of a recording."""
    return f"{subject_name(subject)}-{night + 1}"


@dataclass(frozen=True)
class _Plan:
    """Everything that decides what a night is; each night follows from it alone."""

    seed: int
    planted: Planted
    preprocessing: Preprocessing
    positions: np.ndarray
    hours: float
    n_windows: int | None
    ambiguity: float

    def check(self, n_subjects: int, nights_per_subject: int) -> None:
        for name, value in (("n_subjects", n_subjects), ("nights_per_subject", nights_per_subject)):
            if not isinstance(value, (int, np.integer)) or value < 1:
                raise ValueError(f"{name} is {value!r}; it must be a whole number of at least 1.")
        if not (isinstance(self.ambiguity, Real) and 0 <= self.ambiguity <= 1):
            raise ValueError(f"ambiguity is {self.ambiguity!r}; it is a fraction of windows, from 0 to 1.")
        if self.preprocessing.l_freq is None:
            raise ValueError("l_freq is None; simulated nights need a lower edge, such as 0.3 Hz.")
        if not (isinstance(self.hours, Real) and 0 < self.hours <= 24):
            raise ValueError(f"hours is {self.hours!r}; a night has more than 0 and at most 24.")
        if self.whole_night < 1:
            raise ValueError(f"hours={self.hours:g} is less than one window of {self.preprocessing.window_s:g} s.")
        n = self.n_windows
        if n is not None and not (isinstance(n, Integral) and 1 <= n <= self.whole_night):
            raise ValueError(f"n_windows is {n!r}; a night of {self.hours:g} h has 1 to {self.whole_night} windows.")

    @property
    def whole_night(self) -> int:
        return int(self.hours * 3600 / self.preprocessing.window_s + 1e-9)

    def rng(self, subject: int, *stream: int) -> np.random.Generator:
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(subject, *stream)))

    def draw(self, subject: int) -> Draw:
        return Draw.of(self.planted, self.rng(subject, _PLANTED))

    def lost(self, subject: int, night: int) -> np.ndarray:
        return lost_channels(self.planted, self.rng(subject, _LOST, night), self.preprocessing.ch_names)

    def truth(self, pairs: Sequence[tuple[int, int]]) -> dict:
        """What was planted, as plain data."""
        names = self.preprocessing.ch_names
        return {
            "random_state": self.seed,
            "planted": self.planted.model_dump(mode="json"),
            "operations": self.planted.operations(),
            "subjects": {subject_name(s): self.draw(s).record() for s in sorted({s for s, _ in pairs})},
            "recordings": {
                recording_name(s, n): {"dropped_channels": [names[i] for i in np.flatnonzero(self.lost(s, n))]}
                for s, n in pairs
            },
        }

    def source(self) -> dict:
        """What the nights are made from: equal where the nights are equal."""
        return {
            "simulated": 1,
            "random_state": self.seed,
            "planted": self.planted.model_dump(mode="json"),
            "positions": self.positions.round(6).tolist(),
            "hours": float(self.hours),
            "n_windows": self.n_windows,
            "ambiguity": float(self.ambiguity),
        }

    def night(self, subject: int, night: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Windows, stages and onsets of one night."""
        p, draw = self.preprocessing, self.draw(subject)
        sleeper = draw_sleeper(self.rng(subject, _SLEEPER))
        y = draw_hypnogram(self.rng(subject, _STAGES, night), self.whole_night, p.window_s)
        powers = draw_log_powers(self.rng(subject, _POWERS, night), sleeper, y, p.window_s)
        keep = np.arange(len(y)) if self.n_windows is None else spread_windows(y, self.n_windows)
        where, labels = self._electrodes(draw)
        X = synthesise(
            y[keep],
            powers[keep],
            sleeper,
            where,
            [self.rng(subject, _LOCAL, night, zlib.crc32(label.encode())) for label in labels],
            self.rng(subject, _SIGNAL, night),
            sfreq=p.sfreq,
            n_times=p.n_times,
            band_hz=self.band_hz,
            shift_hz=draw.frequency_shift_hz,
            ambiguity=self.ambiguity,
        )
        for c in np.flatnonzero(self.lost(subject, night)):
            X[:, c] = self._lost_noise(len(keep), self.rng(subject, _LOST_NOISE, night, c))
        X *= np.float32(-draw.gain if draw.inverted else draw.gain)
        if p.standardise == "window":  # in parts: standardising makes copies in double precision
            for part in np.array_split(X, max(1, len(X) // 64)):
                part[:] = standardise(part, "window")
        else:
            X = standardise(X, p.standardise)
        return X, y[keep], keep * p.window_s

    @property
    def band_hz(self) -> tuple[float, float]:
        p = self.preprocessing
        return p.l_freq, p.sfreq / 2 if p.h_freq is None else p.h_freq

    def _electrodes(self, draw: Draw) -> tuple[np.ndarray, list[str]]:
        """Where each channel reads the field, and the label of the electrode it is plugged to."""
        names, where = list(self.preprocessing.ch_names), self.positions.copy()
        if draw.swapped:
            partner = symmetry_permutation(names)
            alone = partner == np.arange(len(names))
            where = where[partner]
            where[alone, 0] *= -1  # the partner is not recorded: what it would have seen
            names = [names[i] for i in partner]
        return where @ draw.rotation().T, names

    def _lost_noise(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """An electrode without contact: 1/f drift and white noise of the amplifier, about 5 µV."""
        p = self.preprocessing
        bins, gain = passband(p.n_times, p.sfreq, self.band_hz)
        freqs = bins * p.sfreq / p.n_times
        F = np.zeros((n, p.n_times // 2 + 1), dtype=np.complex64)
        z = rng.standard_normal((n, 2 * len(bins)), dtype=np.float32).view(np.complex64)
        F[:, bins] = z * (gain * np.sqrt(p.sfreq * p.n_times / 4 * (0.5 + 2 / freqs**2))).astype(np.float32)
        return np.fft.irfft(F, n=p.n_times).astype(np.float32)


def spread_windows(y: np.ndarray, n: int) -> np.ndarray:
    """Indices, in order of time, of ``n`` windows in the night's proportions of stages, spread evenly over each stage.

    Every stage of the night is there if ``n`` allows it.

    >>> spread_windows(np.array([0, 0, 0, 0, 1, 2, 2, 2, 2]), 5).tolist()
    [1, 3, 4, 6, 8]
    """
    stages, counts = np.unique(y, return_counts=True)
    share = n * counts / len(y)
    least = 1 if n >= len(stages) else 0
    quota = np.maximum(np.floor(share).astype(int), least)
    while quota.sum() < n:
        quota[np.argmax(np.where(quota < counts, share - quota, -np.inf))] += 1
    while quota.sum() > n:
        quota[np.argmax(np.where(quota > least, quota - share, -np.inf))] -= 1
    keep = [
        np.flatnonzero(y == s)[np.floor((np.arange(q) + 0.5) * c / q).astype(int)]
        for s, c, q in zip(stages, counts, quota, strict=True)
        if q
    ]
    return np.sort(np.concatenate(keep))


def _into_store(
    plan: _Plan,
    steps: Iterator[tuple[int, int]],
    truth: dict,
    folder: Path,
    n_subjects: int,
    nights_per_subject: int,
) -> Nights:
    """Simulate into a store, one night in memory at a time; nights that are already there are kept."""
    source = plan.source()
    whole = {**source, "n_subjects": n_subjects, "nights_per_subject": nights_per_subject}
    index, had = folder / "store.json", None
    if index.exists():
        had = read_json(index).get("source")
        if had is not None and (not isinstance(had, dict) or {k: had.get(k) for k in source} != source):
            raise ValueError(
                f"The store {folder} holds other nights than the ones asked for: choose another store folder, "
                "or delete this one."
            )
    writer = NightWriter(
        folder, plan.preprocessing.ch_names, plan.preprocessing.sfreq, plan.preprocessing.window_s, plan.preprocessing
    )  # refuses a store of other channels, rates or windows
    if had == whole:
        return open_store(folder)
    for subject, night in steps:
        name = recording_name(subject, night)
        if writer.has(name, source):
            continue
        X, y, onset_s = plan.night(subject, night)
        writer.add(X, y, subject=subject_name(subject), night=night + 1, recording=name, onset_s=onset_s, source=source)
    return writer.close(
        [recording_name(s, n) for s in range(n_subjects) for n in range(nights_per_subject)], truth=truth, source=whole
    )
