"""What happens to a recording before a network sees it: one record that travels with the nights and the model."""

from __future__ import annotations

import warnings
from collections.abc import Sequence, Set
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

__all__ = ["Preprocessing", "cut_windows", "filter_and_resample", "keep_around_sleep", "nominal_rate", "standardise"]

FLAT_UV = 1e-4
"""Standard deviation in µV under which a stretch of signal counts as flat: far below any amplifier's resolution."""


class Preprocessing(BaseModel):
    """How windows are made from a recording; frozen, compared and stored as plain data.

    The steps, in this order: pick channels by name, convert to µV, band-pass filter, resample, keep the windows around
    sleep, cut in windows aligned to the scoring, standardise. Chambon et al. 2018 and the AugNet experiments (Rommel et
    al. 2022) low-pass at 30 Hz, cut in 30-s windows and standardise each window and channel.

    Parameters
    ----------
    ch_names : sequence of str | None
        Channels and their order. None takes the EEG channels that most recordings have.
    sfreq : float
        Sampling rate of the windows in Hz.
    l_freq, h_freq : float | None
        Band-pass edges in Hz (zero-phase FIR, MNE's design); None leaves that edge out.
    window_s : float
        Window length in seconds.
    wake_margin_min : float | None
        Minutes of wakefulness kept before the first and after the last epoch of sleep; None keeps all.
    standardise : {"window", "recording"} | None
        Subtract the mean and divide by the standard deviation of each channel, per window or over the kept windows of
        the recording; None leaves µV.
    unit : {"µV"}
        Unit of the signal before it is standardised.

    Raises
    ------
    pydantic.ValidationError
        A ValueError: an edge at or above half the sampling rate, edges in the wrong order, a window that is no whole
        number of samples, an unknown name.

    Examples
    --------
    >>> Preprocessing(ch_names=["C3", "C4"], sfreq=128).n_times
    3840
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    ch_names: tuple[str, ...] | None = None
    sfreq: float = Field(100.0, gt=0, allow_inf_nan=False)
    l_freq: float | None = Field(0.3, gt=0, allow_inf_nan=False)
    h_freq: float | None = Field(30.0, gt=0, allow_inf_nan=False)
    window_s: float = Field(30.0, gt=0, allow_inf_nan=False)
    wake_margin_min: float | None = Field(30.0, ge=0, allow_inf_nan=False)
    standardise: Literal["window", "recording"] | None = "window"
    unit: Literal["µV"] = "µV"

    if TYPE_CHECKING:  # lists, tuples and dictionaries are taken for what the fields hold

        def __init__(self, **data: Any) -> None: ...

    @field_validator("ch_names", mode="before")
    @classmethod
    def _ordered(cls, ch_names: Any) -> Any:
        if isinstance(ch_names, Set):
            raise ValueError("ch_names is a set, which has no order: pass a list")
        return ch_names

    @model_validator(mode="after")
    def _consistent(self) -> Preprocessing:
        if self.ch_names is not None:
            if not self.ch_names:
                raise ValueError("ch_names is empty: name at least one channel, or pass None.")
            if len(set(self.ch_names)) < len(self.ch_names):
                raise ValueError(f"ch_names {self.ch_names} names a channel twice.")
        for name in ("l_freq", "h_freq"):
            edge = getattr(self, name)
            if edge is not None and edge >= self.sfreq / 2:
                raise ValueError(
                    f"{name}={edge:g} Hz cannot be kept at sfreq={self.sfreq:g} Hz, which holds less than "
                    f"{self.sfreq / 2:g} Hz."
                )
        if self.l_freq is not None and self.h_freq is not None and self.l_freq >= self.h_freq:
            raise ValueError(f"l_freq={self.l_freq:g} Hz must be below h_freq={self.h_freq:g} Hz.")
        if abs(self.sfreq * self.window_s - self.n_times) > 1e-6 or self.n_times < 1:
            raise ValueError(f"window_s={self.window_s:g} s at sfreq={self.sfreq:g} Hz is no whole number of samples.")
        return self

    @classmethod
    def of_model(cls, model: Any) -> Preprocessing:
        """How the windows were made that a model was trained on.

        Parameters
        ----------
        model : StagingClassifier
            Fitted. Its ``preprocessing_`` is the record; its channels are those it was trained with.

        Raises
        ------
        ValueError
            If it has no such record, as after training on arrays, or does not know its channels.
        """
        record = dict(getattr(model, "preprocessing_", None) or {})
        if not record:
            raise ValueError(
                "the model does not say how its windows were made, so recordings cannot be prepared alike; score it in "
                "Python on windows of your own, or save it with preprocessing=…"
            )
        known = {name: value for name, value in record.items() if name in cls.model_fields}
        if known.get("ch_names") is None:
            known["ch_names"] = getattr(getattr(model, "signal_", None), "ch_names", None)
        if known["ch_names"] is None:
            raise ValueError("the model does not know the names of its channels; fit it with ch_names=[…]")
        return cls(**known)

    @property
    def n_times(self) -> int:
        """Samples per window."""
        return round(self.sfreq * self.window_s)

    def describe(self) -> str:
        """The steps in one line."""
        low, high = (None if f is None else f"{f:g}" for f in (self.l_freq, self.h_freq))
        band = {
            (True, True): f"{low} to {high} Hz",
            (True, False): f"above {low} Hz",
            (False, True): f"below {high} Hz",
            (False, False): "not filtered",
        }[low is not None, high is not None]
        scale = f"standardised per {self.standardise}" if self.standardise else "in µV"
        wake = (
            "all wakefulness"
            if self.wake_margin_min is None
            else f"{self.wake_margin_min:g} min of wakefulness around sleep"
        )
        return f"{band}, {self.sfreq:g} Hz, windows of {self.window_s:g} s, {wake}, {scale}"


def nominal_rate(sfreq: float) -> Fraction:
    """The rate that a recorder means: an integer where the header's rate is within one part in a thousand of one.

    >>> nominal_rate(255.9999), nominal_rate(62.5)
    (Fraction(256, 1), Fraction(125, 2))
    """
    near = round(sfreq)
    if abs(sfreq - near) <= 1e-3 * near:
        return Fraction(near)
    return Fraction(sfreq).limit_denominator(1000)


def filter_and_resample(signal: np.ndarray, sfreq: float, preprocessing: Preprocessing) -> tuple[np.ndarray, float]:
    """Band-pass and resample a continuous signal.

    Parameters
    ----------
    signal : array, shape (n_channels, n_samples)
        In µV.
    sfreq : float
        Its rate in Hz as the file states it.
    preprocessing : Preprocessing
        Edges and new rate.

    Returns
    -------
    signal : float32 array, shape (n_channels, n_new_samples)
    rate : float
        Samples per second of the file's own clock. It is the requested rate, but for recorders whose header states a
        rate that is not quite the one meant (256 Hz written as 255.9999): onsets of scored epochs follow the file's
        clock.

    Raises
    ------
    ValueError
        If the signal's rate is too low for `h_freq`.
    """
    import mne
    from scipy.signal import resample_poly

    p, nominal = preprocessing, nominal_rate(sfreq)
    if p.h_freq is not None and nominal < 2 * p.h_freq:
        raise ValueError(
            f"sampled at {sfreq:g} Hz, which holds nothing above {sfreq / 2:g} Hz: h_freq={p.h_freq:g} Hz needs at "
            f"least {2 * p.h_freq:g} Hz (pass a lower h_freq)"
        )
    # At exactly twice h_freq there is nothing left to cut off.
    h_freq = None if p.h_freq is None or p.h_freq >= float(nominal) / 2 else p.h_freq
    ratio = Fraction(p.sfreq).limit_denominator(1000) / nominal
    out = []
    for channel in signal:  # one after the other: MNE filters in float64, and a day of many channels is large
        x = np.asarray(channel, dtype=np.float64)
        if p.l_freq is not None or h_freq is not None:
            with warnings.catch_warnings():
                # On single epochs the filter may be nearly as long as the signal; MNE says so for each.
                warnings.filterwarnings("ignore", message="filter_length", category=RuntimeWarning)
                x = mne.filter.filter_data(x, float(nominal), p.l_freq, h_freq, verbose="error")
        if ratio != 1:
            # As if the signal went on as a line: zeros beyond its ends would ring where it has an offset.
            x = resample_poly(x, ratio.numerator, ratio.denominator, padtype="line")
        out.append(x.astype(np.float32))
    return np.stack(out), float(sfreq) * float(ratio)


def cut_windows(signal: np.ndarray, rate: float, onset_s: Sequence[float], n_times: int) -> np.ndarray:
    """Windows (n, n_channels, n_times) that start at `onset_s` seconds of a continuous signal (n_channels, n_samples).

    Raises
    ------
    ValueError
        If a window lies outside the signal by more than two samples, or is longer than it.
    """
    start = np.round(np.asarray(onset_s, dtype=float) * rate).astype(np.int64)
    last = signal.shape[1] - n_times
    if start.size and (last < 0 or start.min() < -2 or start.max() > last + 2):
        raise ValueError(
            f"windows from {min(onset_s):g} to {max(onset_s):g} s do not lie within the {signal.shape[1] / rate:g} s "
            f"of signal"
        )
    start = start.clip(0, last)
    out = np.empty((len(start), signal.shape[0], n_times), dtype=np.float32)
    for i, s in enumerate(start):
        out[i] = signal[:, s : s + n_times]
    return out


def standardise(X: np.ndarray, how: str | None) -> np.ndarray:
    """Standardise windows (n, n_channels, n_times) per channel, over each window or over all of them.

    A stretch that is flat (standard deviation under `FLAT_UV`) becomes 0.

    >>> X = np.array([[[1.0, 3.0]], [[5.0, 5.0]]], dtype="float32")
    >>> standardise(X, "window").tolist()
    [[[-1.0, 1.0]], [[0.0, 0.0]]]
    """
    if how is None:
        return X
    axis = {"window": -1, "recording": (0, 2)}[how]
    out = np.empty(X.shape, dtype=np.float32)
    for k in range(X.shape[1]):  # channel by channel: sums are in float64, and a night of many channels is large
        x = X[:, k : k + 1].astype(np.float64)
        x -= x.mean(axis=axis, keepdims=True)
        sd = np.sqrt((x * x).mean(axis=axis, keepdims=True))
        out[:, k : k + 1] = x * np.where(sd > FLAT_UV, 1 / np.maximum(sd, FLAT_UV), 0)
    return out


def keep_around_sleep(y: np.ndarray, onset_s: np.ndarray, window_s: float, margin_min: float | None) -> np.ndarray:
    """Mask of the windows no further than `margin_min` from sleep; all of them if there is no sleep or no margin.

    >>> y, onset = np.array([0, 0, 0, 2, 0, 0]), np.arange(6) * 30.0
    >>> keep_around_sleep(y, onset, 30, margin_min=0.5).tolist()
    [False, False, True, True, True, False]
    """
    asleep = onset_s[y > 0]
    if margin_min is None or asleep.size == 0:
        return np.ones(len(y), dtype=bool)
    margin = margin_min * 60 + 1e-6
    first, last = asleep.min(), asleep.max() + window_s
    return (onset_s >= first - margin) & (onset_s + window_s <= last + margin)
