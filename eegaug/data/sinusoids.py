"""Noisy sinusoids of four frequencies: a problem whose invariances are known exactly."""

from __future__ import annotations

import numpy as np

from eegaug._random import RandomState, resolve_seed
from eegaug._validation import check_number, check_sfreq

__all__ = ["make_sinusoids"]

_PHASES = ("uniform", "paper_code")


def make_sinusoids(
    n_per_class: int = 150,
    *,
    frequencies_hz: tuple[float, ...] = (2.0, 4.0, 6.0, 8.0),
    jitter_hz: float = 0.5,
    noise: float = 0.5,
    phase: str = "uniform",
    sfreq: float = 100.0,
    duration_s: float = 10.0,
    random_state: RandomState = None,
) -> tuple[np.ndarray, np.ndarray]:
    r"""Windows of one sinusoid each, in white noise, whose class is its frequency up to a jitter.

    A window of class :math:`\omega` is :math:`\sin(2 \pi f t + \varphi)` plus noise, with :math:`f` uniform over
    :math:`\omega \pm` ``jitter_hz``. What may be done to a window follows: its frequency may be moved by up to half
    the gap that the jitter leaves between classes (0.5 Hz by default: 2.5 Hz of one class and 3.5 Hz of the next meet
    at 3 Hz); under a uniform phase it may be turned round in sign, in time and in phase.

    Parameters
    ----------
    n_per_class : int
    frequencies_hz : tuple of float
        One per class.
    jitter_hz : float
    noise : float
        Standard deviation of the noise; sinusoids have amplitude 1.
    phase : {"uniform", "paper_code"}
        Law of :math:`\varphi`. "uniform": over the circle. "paper_code": uniform over :math:`[0, 4 \pi / f)`, as in the
        code of the paper: the full circle at 2 Hz but a quarter of it at 8 Hz, so that the phase gives the class away.
    sfreq : float
    duration_s : float
    random_state : int | RandomState | Generator | None

    Returns
    -------
    X : array of shape (n_per_class * n_classes, 1, n_times), float32
    y : array of shape (n_per_class * n_classes,)

    Raises
    ------
    ValueError
        For an unknown law of the phase, or fewer than one window.

    References
    ----------
    Rommel et al. (2022), Deep invariant networks with differentiable augmentation layers, NeurIPS, section 4.2.

    Examples
    --------
    >>> X, y = make_sinusoids(5, random_state=0)
    >>> X.shape, y.tolist()[:6]
    ((20, 1, 1000), [0, 0, 0, 0, 0, 1])
    """
    if phase not in _PHASES:
        raise ValueError(f"phase is {phase!r}; use one of {', '.join(_PHASES)}.")
    check_number("n_per_class", n_per_class, lambda n: n >= 1 and n % 1 == 0, "it is a whole number of 1 or more")
    check_sfreq(sfreq)
    check_number("duration_s", duration_s, lambda s: 1 <= s * sfreq < np.inf, "it is at least one sample long")
    check_number("jitter_hz", jitter_hz, lambda hz: 0 <= hz < np.inf, "it is 0 Hz or more")
    check_number("noise", noise, lambda sd: 0 <= sd < np.inf, "it is 0 or more")
    for hz in frequencies_hz:
        check_number("a frequency", hz, lambda hz: 0 < hz < sfreq / 2, f"it lies between 0 and {sfreq / 2:g} Hz")
    rng = np.random.default_rng(resolve_seed(random_state))
    y = np.repeat(np.arange(len(frequencies_hz)), n_per_class)
    f = np.asarray(frequencies_hz)[y] + rng.uniform(-jitter_hz, jitter_hz, len(y))
    turn = rng.random(len(y)) * (2 * np.pi if phase == "uniform" else 4 * np.pi / f)
    t = np.arange(round(sfreq * duration_s)) / sfreq
    X = np.sin(2 * np.pi * f[:, None] * t + turn[:, None]) + noise * rng.standard_normal((len(y), len(t)))
    return X[:, None].astype(np.float32), y
