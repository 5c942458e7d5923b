"""Operations along the time axis."""

import numbers
from typing import Any

import torch
from torch import Tensor

from eegaug import functional as F
from eegaug.operations.base import Operation

__all__ = ["GaussianNoise", "TimeMasking", "TimeReverse"]


class TimeReverse(Operation):
    """Play windows backwards. Without a magnitude: driven by its probability.

    Examples
    --------
    >>> import torch
    >>> from eegaug.operations.time import TimeReverse
    >>> TimeReverse()(torch.tensor([[1.0, 2.0, 3.0]])).tolist()
    [[3.0, 2.0, 1.0]]
    """

    name = "time_reverse"
    family = "time"
    has_magnitude = False
    linear_form = "reverse"
    sentence = "plays windows backwards"

    def transform(self, X: Tensor, magnitude: Tensor | None, noise: dict[str, Tensor]) -> Tensor:
        return F.time_reverse(X)


class TimeMasking(Operation):
    """Smoothly set a stretch of time to zero, on all channels at once.

    Its length is ``magnitude * max_strength`` samples; where it lies is uniform over the window.

    Parameters
    ----------
    max_strength : float or None
        Longest stretch in samples, 200 by default (Table 4 of the AugNet paper; that paper's code had 100).
    max_seconds : float or None
        The same in seconds, which does not change with the sampling rate; needs `sfreq`.
    steepness : float or None
        Slope of the flanks per sample; None is ``1000 / n_times``, so that a window's flank is a fixed fraction of it.
    **settings
        As of :class:`Operation`.

    Notes
    -----
    A stretch longer than the window is cut to the window. Near the window's ends a flank lies partly outside, so that
    up to 1 % less is removed.

    References
    ----------
    .. [1] Mohsenvand, Izadi and Maes (2020). Contrastive representation learning for electroencephalogram
       classification. Machine Learning for Health.

    Examples
    --------
    >>> from eegaug.operations.time import TimeMasking
    >>> op = TimeMasking(sfreq=100, max_seconds=2)
    >>> op.max_strength, op.unit
    (200.0, 'samples')
    """

    name = "time_masking"
    family = "time"
    default_max_strength = 200.0
    unit = "samples"
    linear_form = product_form = "gain"
    sentence = "sets a stretch of {strength:g} samples to zero"

    def __init__(self, *, max_seconds: float | None = None, steepness: float | None = None, **settings: Any):
        super().__init__(**settings)
        for what, value in (("max_seconds", max_seconds), ("steepness", steepness)):
            if value is not None and not (isinstance(value, numbers.Real) and 0 < value < float("inf")):
                raise ValueError(f"{self.name}: {what} must be a positive number, got {value!r}")
        if max_seconds is not None:
            if self.sfreq is None:
                raise ValueError(f"{self.name} needs the sampling rate for max_seconds; pass sfreq=<Hz>")
            if settings.get("max_strength") is not None:
                raise ValueError(f"{self.name}: pass max_strength (samples) or max_seconds, not both")
            self.max_strength = float(max_seconds * self.sfreq)
        self.max_seconds = None if max_seconds is None else float(max_seconds)
        self.steepness = None if steepness is None else float(steepness)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        if self.max_seconds is not None:
            config["max_strength"] = None  # follows from the seconds
        return config

    def noise_shapes(self, n: int, n_channels: int, n_times: int) -> dict[str, tuple[int, ...]]:
        return {"u": (n,)}

    def time_gain(self, magnitude: Tensor, noise: dict[str, Tensor], n_times: int) -> Tensor:
        """Gain over time, shape (batch or 1, 1, n_times)."""
        length = (magnitude * self.max_strength).clamp(max=float(n_times))
        return F.time_mask_gain(noise["u"] * (n_times - length), length, n_times, self.steepness)

    def product_and_slope(
        self, magnitude: Tensor, noise: dict[str, Tensor], n_channels: int, n_times: int
    ) -> tuple[Tensor, Tensor]:
        u, length = noise["u"], magnitude * self.max_strength
        if self.max_strength <= n_times:
            gain, slope = F.time_mask_gain_and_slope(u * (n_times - length), length, -u, n_times, self.steepness)
            return gain, slope * self.max_strength
        change = self.max_strength * (length <= n_times).to(length.dtype)
        length = length.clamp(max=float(n_times))
        gain, slope = F.time_mask_gain_and_slope(u * (n_times - length), length, -u, n_times, self.steepness)
        return gain, slope * change[:, None, None]

    def transform(self, X: Tensor, magnitude: Tensor, noise: dict[str, Tensor]) -> Tensor:
        return X * self.time_gain(magnitude, noise, X.shape[-1])


class GaussianNoise(Operation):
    """Add white noise of standard deviation ``magnitude * max_strength``.

    Parameters
    ----------
    max_strength : float or None
        0.2 by default, in the unit of the signal: that is meant for windows standardised to a standard deviation of 1.
    **settings
        As of :class:`Operation`.

    Examples
    --------
    >>> import torch
    >>> from eegaug.operations.time import GaussianNoise
    >>> noisy = GaussianNoise()(torch.zeros(1, 1, 100_000), 0.5, generator=torch.Generator().manual_seed(0))
    >>> round(float(noisy.std()), 3)
    0.1
    """

    name = "gaussian_noise"
    family = "time"
    default_max_strength = 0.2
    unit = "SD"
    linear_form = "noise"
    sentence = "adds white noise of standard deviation {strength:g}"
    _sample = staticmethod(torch.randn)

    def noise_shapes(self, n: int, n_channels: int, n_times: int) -> dict[str, tuple[int, ...]]:
        return {"noise": (n, n_channels, n_times)}

    def transform(self, X: Tensor, magnitude: Tensor, noise: dict[str, Tensor]) -> Tensor:
        return F.gaussian_noise(X, noise["noise"], magnitude * self.max_strength)
