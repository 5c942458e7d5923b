"""The law of a simulated night: hypnogram, band powers, and a smooth random field on the head.

Numbers come from ``calibration.json``, measured on Sleep-EDF by ``benchmarks/calibrate_simulator.py``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

import numpy as np
import scipy.fft
from scipy.signal import lfilter
from scipy.special import gammaln, lpmv

from eegaug.data._sleep_events import CONFUSED, add_events, background_share

#: How the variance of the field is divided among spherical harmonics of degree 0, 1, 2, 3: correlation 0.86 between
#: electrodes at 30°, 0.59 at 60°, 0.43 at 90°. It is the same for every order of a degree: no direction is preferred,
#: and left mirrors right.
DEGREE_SHARE = (0.5, 0.28, 0.15, 0.07)
#: Part of the background's power that each electrode has to itself.
LOCAL_SHARE = 0.08
#: Left-right slope of log10 power per unit of x, its SD over subjects, in each band: nobody is exactly symmetric.
LATERALITY_SD = 0.06
#: Where on the unit sphere (y: to the front) the two derivations of the calibration are read.
SITE_Y = (0.7, -0.85)
#: Windows synthesised at a time: small enough for the cache, and memory does not grow with the night.
CHUNK = 64


@lru_cache(maxsize=1)
def calibration() -> dict:
    """The table measured on real sleep, with arrays instead of lists of numbers."""
    table = json.loads(files("eegaug.data").joinpath("calibration.json").read_text(encoding="utf-8"))

    def arrays(value):
        if isinstance(value, dict):
            return {k: arrays(v) for k, v in value.items()}
        return value if np.asarray(value).dtype.kind in "US" else np.asarray(value, dtype=float)

    return {k: arrays(v) if k != "source" else v for k, v in table.items()}


# --- hypnogram ---


def draw_hypnogram(rng: np.random.Generator, n_windows: int, window_s: float) -> np.ndarray:
    """Stages of one night, wake before and after sleep included: int64 (n_windows,).

    A semi-Markov chain: how long a bout lasts and which stage follows depend on the stage and on the time since sleep
    onset. Nights of three hours and more hold all five stages; one that misses any is drawn again.
    """
    for _ in range(200):
        y = _draw_hypnogram(rng, n_windows, window_s)
        if len(np.unique(y)) == 5 or n_windows * window_s < 3 * 3600:
            return y
    raise RuntimeError("200 nights in a row lacked a stage: the calibration table is not that of sleep")


def _draw_hypnogram(rng, n_windows, window_s):
    table = calibration()["hypnogram"]
    per_epoch = table["epoch_s"] / window_s
    hours = n_windows * window_s / 3600
    margin = min(
        table["margin_min"] / 60, hours / 12
    )  # lights out to sleep onset, and the morning, at most half an hour each
    before, after = (rng.uniform(0.5, 1.0, 2) * margin * 3600 / window_s).round().astype(int)
    pace = np.exp(table["night_log_sd"] * rng.standard_normal(5) - table["night_log_sd"] ** 2 / 2)
    y = np.zeros(n_windows, dtype=np.int64)
    stage, i, stop = 1, int(before), n_windows - int(after)
    while i < stop:
        slot = np.searchsorted(table["hours_since_onset"], (i - before) * window_s / 3600, side="right") - 1
        length = np.interp(rng.random(), table["bout_quantiles"], table["bout_epochs"][slot, stage])
        length = max(1, int(np.floor(length * pace[stage] * per_epoch + rng.random())))
        y[i : min(i + length, stop)] = stage
        i += length
        stage = int(np.searchsorted(np.cumsum(table["next_stage"][slot, stage]), rng.random() * 0.999))
    return y


# --- band powers ---


@dataclass(frozen=True)
class Sleeper:
    """What one subject keeps from night to night."""

    level: np.ndarray  # (10,) log10 power: five bands at the anterior site, five at the posterior one
    stage_level: np.ndarray  # (5, 10) on top of it, by stage
    laterality: np.ndarray  # (5,) slope of log10 power per unit of x, by band


def draw_sleeper(rng: np.random.Generator) -> Sleeper:
    """Draw one subject from the between-subject covariances."""
    table = calibration()["band_power"]
    return Sleeper(
        level=_root(table["cov_subject"]) @ rng.standard_normal(10),
        stage_level=rng.standard_normal((5, 10)) @ _root(table["cov_subject_stage"]),
        laterality=LATERALITY_SD * rng.standard_normal(5),
    )


def draw_log_powers(rng: np.random.Generator, sleeper: Sleeper, y: np.ndarray, window_s: float) -> np.ndarray:
    """log10 band powers of every window of a night at the two sites: (n, 2 sites, 5 bands), µV²/Hz.

    Around the subject's means wander a night's offset, a drift (first-order autoregressive) and a window's own scatter.
    """
    table = calibration()["band_power"]
    night = rng.standard_normal((5, 10)) @ _root(table["cov_night_stage"]) + _root(
        table["cov_night"]
    ) @ rng.standard_normal(10)
    share, lag1 = float(table["drift_share"]), float(table["drift_lag1"]) ** (window_s / 30)
    white = rng.standard_normal((len(y), 10))
    white[0] /= np.sqrt(1 - lag1**2)  # start in the stationary law
    drift = lfilter([np.sqrt(1 - lag1**2)], [1, -lag1], white, axis=0)
    z = np.sqrt(share) * drift + np.sqrt(1 - share) * rng.standard_normal((len(y), 10))
    roots = np.stack([_root(c) for c in table["cov_epoch"]])
    p = (table["mean"] + sleeper.level + sleeper.stage_level + night)[y] + np.einsum("nij,nj->ni", roots[y], z)
    return p.reshape(-1, 2, 5)


def _root(cov):
    w, v = np.linalg.eigh(cov)
    return (v * np.sqrt(np.clip(w, 0, None))) @ v.T


def at_positions(log_powers: np.ndarray, positions: np.ndarray, laterality: np.ndarray) -> np.ndarray:
    """Band powers at electrodes: linear from front to back and from left to right. (n, 2, 5) -> (n, 5, electrodes)."""
    front = (positions[:, 1] - SITE_Y[1]) / (SITE_Y[0] - SITE_Y[1])
    between = log_powers[:, 0, :, None] * front + log_powers[:, 1, :, None] * (1 - front)
    return between + laterality[:, None] * positions[:, 0]


class Spectrum:
    """A smooth power spectrum through five band means, 1/f below the lowest band's centre."""

    def __init__(self, freqs: np.ndarray):
        edges = calibration()["band_power"]["bands_hz"]
        centres = np.sqrt(edges.prod(axis=1))
        self._coarse = np.geomspace(edges[0, 0], edges[-1, 1], 160)
        self._bands = np.stack([(self._coarse >= lo) & (self._coarse < hi) for lo, hi in edges]).astype(float)
        self._bands *= np.gradient(self._coarse)  # a mean over frequency, not over its logarithm
        self._bands /= self._bands.sum(axis=1, keepdims=True)
        self._weights_coarse, self._offset_coarse = self._basis(self._coarse, centres)
        weights, offset = self._basis(freqs, centres)
        self._weights, self._offset = weights.astype(np.float32), offset.astype(np.float32)

    @staticmethod
    def _basis(freqs, centres):
        f = np.log10(np.clip(freqs, 0.8, None))
        weights = np.stack([np.interp(f, np.log10(centres), row) for row in np.eye(5)])
        return weights, np.clip(np.log10(centres[0]) - f, 0, None)

    def amplitude(self, log_power: np.ndarray) -> np.ndarray:
        """Square root of the spectrum: (n, 5, electrodes) -> float32 (n, electrodes, freqs), µV/√Hz."""
        target = np.moveaxis(log_power, 1, 2)
        knots = target.copy()
        for _ in range(6):  # move the knots until the band means are met
            curve = 10.0 ** (knots @ self._weights_coarse + self._offset_coarse)
            knots += target - np.log10(curve @ self._bands.T)
        half = np.float32(np.log(10) / 2)
        return np.exp(half * (knots.astype(np.float32) @ self._weights + self._offset))


# --- field ---


def harmonics(positions: np.ndarray) -> np.ndarray:
    """Real spherical harmonics up to degree 3, scaled so that white coefficients give a field of variance 1.

    Parameters
    ----------
    positions : ndarray, shape (n, 3)
        Unit vectors.

    Returns
    -------
    ndarray, shape (n, 16)
    """
    x, y, z = positions.T
    azimuth = np.arctan2(y, x)
    columns = []
    for degree, share in enumerate(DEGREE_SHARE):
        for order in range(-degree, degree + 1):
            m = abs(order)
            norm = np.exp((gammaln(degree - m + 1) - gammaln(degree + m + 1)) / 2) * (np.sqrt(2) if m else 1)
            turn = np.cos(m * azimuth) if order >= 0 else np.sin(m * azimuth)
            columns.append(np.sqrt(share) * norm * lpmv(m, degree, np.clip(z, -1, 1)) * turn)
    return np.stack(columns, axis=1)


def synthesise(
    y: np.ndarray,
    log_powers: np.ndarray,
    sleeper: Sleeper,
    positions: np.ndarray,
    local_rngs: Sequence[np.random.Generator],
    rng: np.random.Generator,
    *,
    sfreq: float,
    n_times: int,
    band_hz: tuple[float, float],
    shift_hz: float,
    ambiguity: float,
) -> np.ndarray:
    """Signals of one night in microvolts: float32 (n, electrodes, n_times).

    ``positions`` are where the electrodes read the field; the field itself does not depend on them, so two caps on one
    head record the same night. ``local_rngs`` (one an electrode) draw what each electrode has to itself.
    """
    rng_mix, rng_field, rng_events = rng.spawn(3)
    X = np.empty((len(y), len(positions), n_times), dtype=np.float32)
    shown = _shown_stages(y, ambiguity, rng_mix)
    bins, gain = passband(n_times, sfreq, band_hz)
    # The sleeper's own spectrum, moved; its mirror image below 0 Hz fills what a move upwards would leave empty.
    spectrum = Spectrum(np.abs(bins * sfreq / n_times - shift_hz))
    scale = (gain * np.sqrt(sfreq * n_times / 4)).astype(np.float32)
    mixing = (np.sqrt(1 - LOCAL_SHARE) * harmonics(positions)).astype(np.float32)
    local = np.float32(np.sqrt(LOCAL_SHARE))
    edges = calibration()["band_power"]["bands_hz"]
    power = at_positions(log_powers, positions, sleeper.laterality)
    for a in range(0, len(y), CHUNK):
        b = min(a + CHUNK, len(y))
        field = rng_field.standard_normal((b - a, mixing.shape[1], 2 * len(bins)), dtype=np.float32)
        z = mixing @ field
        for c, own in enumerate(local_rngs):
            z[:, c] += local * own.standard_normal((b - a, 2 * len(bins)), dtype=np.float32)
        left = np.log10(background_share(positions, shown[a:b]))
        F = np.zeros((b - a, len(positions), n_times // 2 + 1), dtype=np.complex64)
        F[:, :, bins] = z.view(np.complex64) * (spectrum.amplitude(power[a:b] + left) * scale)
        X[a:b] = scipy.fft.irfft(F, n=n_times, axis=-1)
    add_events(X, shown, power, edges[:, 1] - edges[:, 0], positions, sfreq, rng_events, shift_hz, band_hz[0])
    return X


def passband(n_times: int, sfreq: float, band_hz: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Bins of the real Fourier transform that a band-pass lets through, and its gain there."""
    freqs = np.fft.rfftfreq(n_times, 1 / sfreq)
    low, high = band_hz
    rise = np.clip(freqs / max(low, 1e-9), 0, 1)
    flank = min(0.25 * high, sfreq / 2 - high)
    fall = np.clip((high + flank - freqs) / flank, 0, 1) if flank > 0 else (freqs < sfreq / 2).astype(float)
    gain = np.sin(np.pi / 2 * rise) ** 2 * np.sin(np.pi / 2 * fall) ** 2
    bins = np.flatnonzero(gain > 1e-3)
    return bins, gain[bins]


def _shown_stages(y, ambiguity, rng):
    """The stage whose transients each window shows: mostly its own, in some windows one that scorers confuse with it.

    Next to a change of stage the other stage's transients are half as likely again: scorers round to whole windows.
    """
    shown = y.copy()
    swap = rng.random(len(y)) < ambiguity
    shown[swap] = np.array(CONFUSED)[y[swap], rng.integers(0, 3, swap.sum())]
    for neighbour in (np.append(y[1:], y[-1]), np.append(y[0], y[:-1])):
        change = (neighbour != y) & (rng.random(len(y)) < ambiguity / 2)
        shown[change] = neighbour[change]
    return shown
