"""Operations on the spectrum."""

import math
import numbers
from typing import Any

import torch
from torch import Tensor

from eegaug import functional as F
from eegaug.operations.base import Operation

__all__ = ["BandstopFilter", "FTSurrogate", "FrequencyShift"]


class FTSurrogate(Operation):
    """Randomise the phases of the Fourier coefficients and keep their amplitudes.

    Phases turn by angles that are uniform over ``[0, magnitude * max_strength]``; the mean and, for an even number of
    samples, the Nyquist coefficient stay.

    Parameters
    ----------
    max_strength : float or None
        2π rad by default.
    channel_indep : bool
        False turns all channels of a window by the same phases and keeps what they have in common; True draws for each
        channel.
    centred : bool
        True draws from ``[-magnitude * max_strength / 2, +magnitude * max_strength / 2]``. With the paper's one-sided
        range all phases turn by half the range on average, on top of the jitter.
    **settings
        As of :class:`Operation`.

    References
    ----------
    .. [1] Schwabedal, Snyder, Cakmak, Nemati and Clifford (2018). Addressing class imbalance in classification problems
       of noisy signals by using Fourier transform surrogates. arXiv:1806.08675.

    Examples
    --------
    >>> import torch
    >>> from eegaug.operations.frequency import FTSurrogate
    >>> X = torch.randn(2, 3, 500)
    >>> Y = FTSurrogate()(X, 1.0)
    >>> bool((torch.fft.rfft(Y).abs() - torch.fft.rfft(X).abs()).abs().max() < 1e-4)
    True
    """

    name = "ft_surrogate"
    family = "frequency"
    default_max_strength = 2 * math.pi
    unit = "rad"
    linear_form = product_form = "spectrum"
    sentence = "turns the phase of each frequency by up to {strength:g} rad"

    def __init__(self, *, channel_indep: bool = False, centred: bool = False, **settings: Any):
        super().__init__(**settings)
        self.channel_indep = bool(channel_indep)
        self.centred = bool(centred)

    def noise_shapes(self, n: int, n_channels: int, n_times: int) -> dict[str, tuple[int, ...]]:
        return {"u": (n, n_channels if self.channel_indep else 1, (n_times - 1) // 2)}

    def spectral_change(self, magnitude: Tensor, noise: dict[str, Tensor], n_times: int) -> Tensor:
        """Frequency response minus one, complex, shape (batch or 1, channels or 1, n_times // 2 + 1)."""
        u = noise["u"] - 0.5 if self.centred else noise["u"]
        return F.phase_change(u * (magnitude * self.max_strength)[:, None, None], n_times)

    def linear_slope(
        self, value: Tensor, magnitude: Tensor, noise: dict[str, Tensor], n_channels: int, n_times: int
    ) -> Tensor:
        u = noise["u"] - 0.5 if self.centred else noise["u"]
        # DC and Nyquist do not turn.
        turn = torch.nn.functional.pad(u * self.max_strength, (1, 1 if n_times % 2 == 0 else 0))
        return torch.complex((turn * value.imag).neg_(), torch.addcmul(turn, turn, value.real))

    def transform(self, X: Tensor, magnitude: Tensor, noise: dict[str, Tensor]) -> Tensor:
        return F.filter_change(X, self.spectral_change(magnitude, noise, X.shape[-1]))


class FrequencyShift(Operation):
    """Shift all frequencies of a window by the same number of Hz, uniform over ``±magnitude * max_strength``.

    What would cross 0 Hz or the Nyquist frequency folds back: slow waves of 1 Hz shifted by -2 Hz are found at 1 Hz.

    Parameters
    ----------
    sfreq : float
        Sampling rate in Hz.
    max_strength : float or None
        5 Hz by default.
    padded : bool or None
        Whether the analytic signal is computed on windows padded with zeros to a power of two, as braindecode does.
        None is False, unless ``parity=True``. Either way the first and last second of a window suffer from its ends: on
        sleep EEG by 0.19 (unpadded) and 0.14 (padded) of its standard deviation, against 0.01 inside. The unpadded
        spectrum is shorter, and is the one that the other spectral operations use.
    **settings
        As of :class:`Operation`.

    References
    ----------
    .. [1] Rommel, Paillard, Moreau and Gramfort (2022). Data augmentation for learning predictive models on EEG: a
       systematic comparison. Journal of Neural Engineering 19(6).

    Examples
    --------
    >>> import torch
    >>> from eegaug.operations.frequency import FrequencyShift
    >>> t = torch.arange(3000) / 100
    >>> X = torch.sin(2 * torch.pi * 10 * t)[None, None]
    >>> Y = FrequencyShift(sfreq=100).apply(X, 0.4, {"u": torch.ones(1)})
    >>> round(float(torch.fft.rfft(Y).abs().argmax()) / 30, 2)  # the peak, in Hz
    12.0
    """

    name = "frequency_shift"
    family = "frequency"
    default_max_strength = 5.0
    unit = "Hz"
    needs_sfreq = True
    linear_form = product_form = "modulation"
    sentence = "shifts all frequencies by up to ±{strength:g} Hz"

    def __init__(self, *, padded: bool | None = None, **settings: Any):
        super().__init__(**settings)
        self.padded = self.parity if padded is None else bool(padded)
        if self.padded:
            self.linear_form = None  # its spectrum is not the one that other operations share

    def noise_shapes(self, n: int, n_channels: int, n_times: int) -> dict[str, tuple[int, ...]]:
        return {"u": (n,)}

    def modulation(self, magnitude: Tensor, noise: dict[str, Tensor], n_times: int) -> tuple[Tensor, Tensor]:
        """Factors over time of the signal and of minus its Hilbert transform, each (batch or 1, 1, n_times)."""
        return F.shift_ramps((noise["u"] - 0.5) * (magnitude * (2.0 * self.max_strength)), n_times, self.sfreq)

    def linear_slope(
        self, value: tuple[Tensor, Tensor], magnitude: Tensor, noise: dict[str, Tensor], n_channels: int, n_times: int
    ) -> tuple[Tensor, Tensor]:
        cos, sin = value
        rad_per_sample = (noise["u"] - 0.5) * (4.0 * math.pi * self.max_strength / self.sfreq)
        slope = rad_per_sample[:, None, None] * torch.arange(n_times, device=cos.device, dtype=cos.dtype)
        return (slope * sin).neg_(), slope * cos

    def transform(self, X: Tensor, magnitude: Tensor, noise: dict[str, Tensor]) -> Tensor:
        n_times = X.shape[-1]
        n_fft = 1 << (n_times - 1).bit_length() if self.padded else None
        return F.modulate(X, F.hilbert(X, n_fft), *self.modulation(magnitude, noise, n_times))


class BandstopFilter(Operation):
    """Filter out a band of ``magnitude * max_strength`` Hz around a random centre.

    The centre is uniform between ``1 + max_strength / 2`` and ``max_freq - 1 - max_strength / 2`` Hz, so that the
    widest band fits wherever it lies and the centre does not depend on the magnitude. The notch is smooth, follows
    MNE's FIR notch within 2.5 % (RMS, white noise) and closes continuously as the magnitude goes to zero, where MNE's
    does not.

    Parameters
    ----------
    sfreq : float
        Sampling rate in Hz.
    max_strength : float or None
        2 Hz by default.
    max_freq : float or None
        Upper end in Hz of the range in which bands are filtered out. None is 30 Hz, or the Nyquist frequency if that is
        lower: sleep EEG is usually low-passed at 30 Hz, and a notch above it would do nothing.
    reflect : bool or None
        Whether windows are extended by their point reflection (2 s on each side, at most the window) before filtering,
        as MNE does. False filters on the circle, so that the end of a window rings into its beginning. None is False,
        unless ``parity=True``.
    **settings
        As of :class:`Operation`. ``parity=True`` draws the centre as braindecode does: over a range that depends on the
        bandwidth.

    References
    ----------
    .. [1] Cheng, Goh, Dogrusoz, Tuzel and Azemi (2020). Subject-aware contrastive learning for biosignals.
       arXiv:2007.04871.

    Examples
    --------
    >>> import torch
    >>> from eegaug.operations.frequency import BandstopFilter
    >>> X = torch.sin(2 * torch.pi * 10 * torch.arange(3000) / 100)[None, None]
    >>> op = BandstopFilter(sfreq=100)
    >>> Y = op.apply(X, 1.0, {"u": torch.tensor([(10 - 2) / (28 - 2)])})  # centred on 10 Hz
    >>> bool(Y.std() < 0.01 * X.std())
    True
    """

    name = "bandstop_filter"
    family = "frequency"
    default_max_strength = 2.0
    unit = "Hz"
    needs_sfreq = True
    linear_form = product_form = "spectrum"
    sentence = "filters out a band of {strength:g} Hz at a random place"

    def __init__(self, *, max_freq: float | None = None, reflect: bool | None = None, **settings: Any):
        super().__init__(**settings)
        nyquist = self.sfreq / 2
        if max_freq is not None and not (isinstance(max_freq, numbers.Real) and 0 < max_freq <= nyquist):
            raise ValueError(
                f"{self.name}: max_freq must lie in (0, {nyquist:g}] Hz at sfreq={self.sfreq:g}, got {max_freq!r}"
            )
        self.max_freq = min(30.0, nyquist) if max_freq is None else float(max_freq)
        if self.max_freq - 2.0 <= self.max_strength:
            raise ValueError(
                f"{self.name}: a band of max_strength={self.max_strength:g} Hz with 1 Hz on each side does not fit "
                f"below max_freq={self.max_freq:g} Hz"
            )
        self.reflect = self.parity if reflect is None else bool(reflect)
        if self.reflect:
            self.linear_form = None  # its spectrum is not the one that other operations share

    def noise_shapes(self, n: int, n_channels: int, n_times: int) -> dict[str, tuple[int, ...]]:
        return {"u": (n,)}

    def spectral_change(self, magnitude: Tensor, noise: dict[str, Tensor], n_times: int) -> Tensor:
        """Frequency response minus one, real, shape (batch or 1, 1, n_times // 2 + 1)."""
        return F.notch_change(*self._band(magnitude, noise), n_times, self.sfreq)

    def product_and_slope(
        self, magnitude: Tensor, noise: dict[str, Tensor], n_channels: int, n_times: int
    ) -> tuple[Tensor, Tensor]:
        change, slope = F.notch_change_and_slope(*self._band(magnitude, noise), n_times, self.sfreq)
        return change, slope * self.max_strength

    def _band(self, magnitude: Tensor, noise: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Centre and width in Hz."""
        bandwidth = magnitude * self.max_strength
        margin = 1.0 + (bandwidth.detach() / 2 if self.parity else self.max_strength / 2)
        return margin + noise["u"] * (self.max_freq - 2.0 * margin), bandwidth

    def transform(self, X: Tensor, magnitude: Tensor, noise: dict[str, Tensor]) -> Tensor:
        n_times = X.shape[-1]
        extra = min(n_times - 1, math.ceil(2.0 * self.sfreq)) if self.reflect else 0
        if extra:
            start, end = (
                2 * X[..., :1] - X[..., 1 : extra + 1].flip(-1),
                2 * X[..., -1:] - X[..., -extra - 1 : -1].flip(-1),
            )
            extended = torch.cat([start, X, end], dim=-1)
        else:
            extended = X
        filtered = F.filter_change(extended, self.spectral_change(magnitude, noise, n_times + 2 * extra))
        return filtered[..., extra : extra + n_times]
