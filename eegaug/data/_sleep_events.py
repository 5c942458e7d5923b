"""Transient waveforms of sleep, as sums of Gabor atoms with a topography on the head.

Every waveform is built of atoms ``exp(-t²/2σ²) cos(2πft + φ)``. A sleeper whose rhythms are shifted by Δ Hz has the
same atoms at ``f + Δ``, which is what shifting the analytic signal of the recording does, folding at 0 Hz included.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

#: Radius, in standard deviations of the envelope, at which an atom is cut.
CUT = 3.2

DELTA, THETA, ALPHA, BETA = 0, 1, 2, 3
W, N1, N2, N3, REM = range(5)


@dataclass(frozen=True)
class Part:
    """One atom of a waveform, relative to the waveform's own frequency, width and amplitude."""

    delay: float = 0.0  # in widths
    frequency: float = 1.0
    width: float = 1.0
    amplitude: float = 1.0
    phase: float = 0.0


@dataclass(frozen=True)
class Kind:
    """One kind of transient.

    ``share`` and ``rate``: by stage, the fraction of the band's power that these events carry, and how many of them
    30 s hold. ``centre``, ``kappa``, ``scatter``: where on the head (right, front, up) the event is largest, how fast
    it falls off, and how far its centre wanders from one event to the next. ``lateral`` events have opposite signs left
    and right (eye movements). ``phase`` None: a free-running rhythm; otherwise locked to the envelope, so that the
    waveform has a polarity.
    """

    name: str
    band: int
    frequency: tuple[float, float]  # mean and SD over events, Hz
    width: tuple[float, float]  # range of the envelope's SD, s
    centre: tuple[float, float, float]
    share: dict[int, float]
    rate: dict[int, float]
    kappa: float = 1.2
    scatter: float = 0.25
    lateral: bool = False
    phase: float | None = None
    parts: tuple[Part, ...] = (Part(),)

    def topography(self, centres: np.ndarray, positions: np.ndarray) -> np.ndarray:
        """Size of events centred at ``centres`` (n, 3) at ``positions`` (m, 3): (n, m), about 1 at the largest."""
        g = np.exp(self.kappa * (centres @ positions.T - 1))
        return g * 2.0 * positions[:, 0] if self.lateral else g

    @cached_property
    def energy(self) -> float:
        """∫ x² dt of one waveform of unit amplitude, averaged over the widths that occur (s)."""
        t = np.arange(-12, 12, 0.002)
        phases = [self.phase] if self.phase is not None else [0.0, np.pi / 2]
        values = []
        for width in np.linspace(*self.width, 5):
            for phase in phases:
                x = sum(
                    p.amplitude
                    * gabor(t - p.delay * width, self.frequency[0] * p.frequency, width * p.width, phase + p.phase)
                    for p in self.parts
                )
                values.append(np.sum(x**2) * 0.002)
        return float(np.mean(values))


def gabor(t, frequency, width, phase):
    """Gaussian envelope of SD ``width`` (s) on a cosine."""
    return np.exp(-0.5 * (t / width) ** 2) * np.cos(2 * np.pi * frequency * t + phase)


PI = np.pi
KINDS = (
    Kind("alpha rhythm", ALPHA, (10.0, 0.4), (0.4, 1.5), (0, -0.9, 0.35), {W: 0.75, N1: 0.25, REM: 0.1},
         {W: 5, N1: 1.2, REM: 0.8}, kappa=1.5),
    Kind("blink", DELTA, (1.2, 0.2), (0.12, 0.2), (0, 1.0, 0.0), {W: 0.65}, {W: 5}, kappa=2.0, scatter=0.1, phase=0.0),
    Kind("theta burst", THETA, (5.6, 0.6), (0.25, 0.7), (0, 0.4, 0.9), {N1: 0.6, REM: 0.12}, {N1: 3, REM: 1},
         kappa=0.8),
    Kind("vertex wave", THETA, (4.0, 0.4), (0.07, 0.11), (0, 0.0, 1.0), {N1: 0.25, N2: 0.08}, {N1: 1.2, N2: 0.4},
         kappa=2.0, scatter=0.15, phase=PI),
    Kind("slow eye movement", DELTA, (0.45, 0.08), (0.7, 1.3), (0, 0.95, 0.1), {N1: 0.4}, {N1: 1.5},
         lateral=True, scatter=0.1),
    Kind("slow spindle", ALPHA, (12.1, 0.3), (0.25, 0.5), (0, 0.5, 0.85), {N2: 0.55, N3: 0.15}, {N2: 1.5, N3: 0.4}),
    Kind("fast spindle", BETA, (13.7, 0.35), (0.25, 0.5), (0, -0.3, 0.95), {N2: 0.65, N3: 0.2}, {N2: 2.5, N3: 0.5}),
    Kind("K-complex", DELTA, (1.5, 0.15), (0.14, 0.2), (0, 0.4, 0.9), {N2: 0.5}, {N2: 1.8}, kappa=1.0, phase=PI,
         parts=(Part(), Part(delay=2.6, frequency=0.55, width=2.0, amplitude=0.6, phase=-PI))),
    Kind("slow wave", DELTA, (0.9, 0.15), (0.35, 0.6), (0, 0.6, 0.8), {N3: 0.65, N2: 0.1}, {N3: 10, N2: 0.8}, kappa=0.9,
         scatter=0.35, phase=PI, parts=(Part(), Part(frequency=2.0, width=0.8, amplitude=0.25))),
    Kind("sawtooth", DELTA, (2.9, 0.3), (0.5, 0.9), (0, 0.1, 1.0), {REM: 0.2}, {REM: 1.5}, kappa=1.3, phase=-PI / 2,
         parts=(Part(), Part(frequency=2.0, amplitude=0.45), Part(frequency=3.0, amplitude=0.25))),
    Kind("rapid eye movement", DELTA, (0.7, 0.12), (0.25, 0.4), (0, 0.95, 0.1), {REM: 0.6}, {REM: 3}, lateral=True,
         scatter=0.1, phase=PI / 2),
)  # fmt: skip

#: Stages whose transients an ambiguous epoch shows instead of its own: what scorers confuse.
CONFUSED = ((N1, N1, REM), (W, N2, REM), (N1, N3, REM), (N2, N2, N2), (N1, N2, N1))


def background_share(positions: np.ndarray, stages: np.ndarray) -> np.ndarray:
    """Fraction of each band's power left to the background: (n, 5 bands, m positions) for the n ``stages``."""
    carried = np.zeros((5, 5, len(positions)))
    for kind in KINDS:
        g2 = kind.topography(_unit(np.array([kind.centre])), positions)[0] ** 2
        for stage, share in kind.share.items():
            carried[stage, kind.band] += share * g2
    return np.clip(1 - carried, 0.1, None)[stages]


def add_events(
    X: np.ndarray,
    stages: np.ndarray,
    log_power: np.ndarray,
    bandwidths: np.ndarray,
    positions: np.ndarray,
    sfreq: float,
    rng: np.random.Generator,
    shift_hz: float = 0.0,
    cutoff_hz: float = 0.3,
) -> None:
    """Add the transients of ``stages`` (n,) to ``X`` (n, channels, times), in place, in microvolts.

    ``log_power`` (n, 5, channels), log10 of µV²/Hz in the bands of ``bandwidths`` (Hz), sets the size of the events.
    """
    n, _, n_times = X.shape
    window_s = n_times / sfreq
    power = 10.0**log_power
    # One stream a kind, so that the draws of one kind do not move when another changes.
    for kind, rng_kind in zip(KINDS, rng.spawn(len(KINDS)), strict=True):
        rate = np.array([kind.rate.get(s, 0.0) for s in range(5)])
        share = np.array([kind.share.get(s, 0.0) for s in range(5)])
        which = np.repeat(np.arange(n), rng_kind.poisson(rate[stages] * window_s / 30))
        m = len(which)
        if m == 0:
            continue
        onset = rng_kind.uniform(0, window_s, m)
        frequency = rng_kind.normal(*kind.frequency, m) + shift_hz
        width = rng_kind.uniform(*kind.width, m)
        phase = np.full(m, kind.phase) if kind.phase is not None else rng_kind.uniform(0, 2 * PI, m)
        sign = rng_kind.choice([-1.0, 1.0], m) if kind.lateral else np.ones(m)
        spread = np.exp(0.35 * rng_kind.standard_normal(m) - 0.35**2)  # mean square 1
        centres = _unit(np.array(kind.centre) + kind.scatter * rng_kind.standard_normal((m, 3)))
        size = np.sqrt(share[stages] * 30 / np.where(rate[stages] > 0, rate[stages], 1) / kind.energy)
        size = (sign * spread * size[which])[:, None] * np.sqrt(power[which, kind.band] * bandwidths[kind.band])
        gains = size * kind.topography(centres, positions)
        for part in kind.parts:
            # Harmonics of a shifted rhythm move by the same shift: the shift acts on the recording, not on the source.
            f = (frequency - shift_hz) * part.frequency + shift_hz
            heard = np.clip(np.abs(f) / cutoff_hz, 0, 1) if cutoff_hz else np.ones(m)
            wave = _atoms(onset + part.delay * width, f, part.width * width, phase + part.phase, sfreq)
            _place(X, which, gains * (part.amplitude * heard)[:, None], *wave)


def _atoms(t0, frequency, width, phase, sfreq):
    """First samples (m,) and waveforms (m, length) of atoms centred at ``t0`` seconds."""
    half = int(np.ceil(CUT * width.max() * sfreq))
    first = np.round(t0 * sfreq).astype(int) - half
    t = ((first[:, None] + np.arange(2 * half + 1)) / sfreq - t0[:, None]).astype(np.float32)
    f, s, p = (a[:, None].astype(np.float32) for a in (frequency, width, phase))
    return first, gabor(t, f, s, p)


def _place(X, which, gains, first, wave):
    """Add each waveform, times its gain in each channel, to its window."""
    n_times, length = X.shape[-1], wave.shape[1]
    gains = gains.astype(np.float32)
    start, stop = np.clip(first, 0, n_times), np.clip(first + length, 0, n_times)
    for i, (e, a, b) in enumerate(zip(which.tolist(), start.tolist(), stop.tolist(), strict=True)):
        if a < b:
            X[e, :, a:b] += gains[i][:, None] * wave[i, a - first[i] : b - first[i]]


def _unit(v: np.ndarray) -> np.ndarray:
    return v / np.linalg.norm(v, axis=-1, keepdims=True)
