"""Operations along the time axis. Signals are ``(batch, channels, times)``, parameters ``(batch,)`` or ``(1,)``."""

from functools import lru_cache

import torch
from torch import Tensor

__all__ = ["gaussian_noise", "time_mask", "time_mask_gain", "time_mask_gain_and_slope", "time_reverse"]


def time_reverse(X: Tensor) -> Tensor:
    """Play every window backwards.

    Parameters
    ----------
    X : Tensor
        Signal, time on the last axis.

    Returns
    -------
    Tensor
        Same shape. Applying it twice gives `X`.

    Examples
    --------
    >>> import torch
    >>> from eegaug.functional import time_reverse
    >>> time_reverse(torch.tensor([[1.0, 2.0, 3.0]])).tolist()
    [[3.0, 2.0, 1.0]]
    """
    return X.flip(-1)


def time_mask_gain(start: Tensor, length: Tensor, n_times: int, steepness: float | None = None) -> Tensor:
    """Gain that falls smoothly to zero between ``start`` and ``start + length``.

    Parameters
    ----------
    start, length : Tensor, shape (batch,)
        Start and length of the masked part, in samples (not rounded).
    n_times : int
        Number of samples of the window.
    steepness : float or None
        Slope of the two flanks, per sample; a flank takes ``4.39 / steepness`` samples from 10 to 90 %. None is
        ``1000 / n_times``, the value of the AugNet paper and of braindecode.

    Returns
    -------
    Tensor, shape (batch, 1, n_times)
        One minus the difference of two sigmoids: exactly one where ``length`` is zero, and differentiable in both
        parameters. Away from the window's ends its removed part sums to ``length`` samples.

    Examples
    --------
    >>> import torch
    >>> from eegaug.functional import time_mask_gain
    >>> gain = time_mask_gain(torch.tensor([1000.0]), torch.tensor([200.0]), 3000)
    >>> round(float((1 - gain).sum()))
    200
    """
    first, last, _ = _flanks(start, length, n_times, steepness)
    return (last - first).add_(1.0)[:, None, :]


def time_mask_gain_and_slope(
    start: Tensor, length: Tensor, start_slope: Tensor, n_times: int, steepness: float | None = None
) -> tuple[Tensor, Tensor]:
    """:func:`time_mask_gain`, and its derivative in the length, when the start moves with it.

    Parameters
    ----------
    start, length : Tensor, shape (batch,)
    start_slope : Tensor, shape (batch,)
        Derivative of the start in the length.
    n_times, steepness
        As in :func:`time_mask_gain`.

    Returns
    -------
    gain, slope : Tensor, shape (batch, 1, n_times)

    Examples
    --------
    >>> import torch
    >>> from eegaug.functional import time_mask_gain_and_slope
    >>> start, length = torch.tensor([1000.0]), torch.tensor([200.0])
    >>> gain, slope = time_mask_gain_and_slope(start, length, torch.tensor([0.0]), 3000)
    >>> round(float(slope.sum()), 3)  # a longer stretch removes as many samples more
    -1.0
    """
    first, last, steepness = _flanks(start, length, n_times, steepness)
    gain = (last - first).add_(1.0)
    # A flank's slope is its steepness times s (1 - s).
    slope = torch.addcmul(first, first, first, value=-1.0).mul_((steepness * start_slope)[:, None])
    steep = torch.addcmul(last, last, last, value=-1.0)
    slope.addcmul_(steep, (steepness * (start_slope + 1.0))[:, None], value=-1.0)
    return gain[:, None, :], slope[:, None, :]


def _flanks(start: Tensor, length: Tensor, n_times: int, steepness: float | None) -> tuple[Tensor, Tensor, float]:
    """Sigmoids at the start and at the end of the masked part, and how steep they are."""
    steepness = 1000.0 / n_times if steepness is None else steepness
    time = _steep_time(n_times, steepness, start.dtype, start.device)
    first = torch.sigmoid(time - (start * steepness)[:, None])
    return first, torch.sigmoid(time - ((start + length) * steepness)[:, None]), steepness


@lru_cache(maxsize=32)
def _steep_time(n_times: int, steepness: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Times of all samples, in units of the flanks."""
    with torch.inference_mode(False):
        return torch.arange(n_times, device=device, dtype=dtype) * steepness


def time_mask(X: Tensor, start: Tensor, length: Tensor, steepness: float | None = None) -> Tensor:
    """Smoothly set a stretch of time to zero, on all channels at once.

    Parameters
    ----------
    X : Tensor, shape (batch, channels, times)
    start, length, steepness
        As in :func:`time_mask_gain`.

    Returns
    -------
    Tensor, shape (batch, channels, times)

    References
    ----------
    .. [1] Mohsenvand, Izadi and Maes (2020). Contrastive representation learning for electroencephalogram
       classification. Machine Learning for Health.

    Examples
    --------
    >>> import torch
    >>> from eegaug.functional import time_mask
    >>> Y = time_mask(torch.ones(1, 2, 3000), torch.tensor([1000.0]), torch.tensor([200.0]))
    >>> bool(Y[0, :, 1100].max() < 1e-3), bool(Y[0, :, 0].min() > 0.999)
    (True, True)
    """
    return X * time_mask_gain(start, length, X.shape[-1], steepness)


def gaussian_noise(X: Tensor, noise: Tensor, std: Tensor) -> Tensor:
    """Add white Gaussian noise.

    Parameters
    ----------
    X : Tensor, shape (batch, channels, times)
    noise : Tensor, shape (batch, channels, times)
        Standard normal draws.
    std : Tensor, shape (batch,)
        Standard deviation of the noise, in the unit of `X`.

    Returns
    -------
    Tensor, shape (batch, channels, times)

    Examples
    --------
    >>> import torch
    >>> from eegaug.functional import gaussian_noise
    >>> gaussian_noise(torch.zeros(1, 1, 2), torch.tensor([[[1.0, -2.0]]]), torch.tensor([0.5])).tolist()
    [[[0.5, -1.0]]]
    """
    return torch.addcmul(X, noise, std[:, None, None])
