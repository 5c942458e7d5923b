"""Operations on spectra. Signals are ``(batch, channels, times)``, parameters ``(batch,)`` or ``(1,)``.

Everything runs on the half spectrum of a real signal (``rfft``). The phase noise and the notch are written as the
change they make, ``X + irfft(rfft(X) * change)``, so that no change gives back `X` to the last bit.
"""

import math
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from eegaug._precision import widest

__all__ = [
    "filter_change",
    "frequency_shift",
    "hilbert",
    "modulate",
    "notch_change",
    "notch_change_and_slope",
    "phase_change",
    "shift_ramps",
]


def filter_change(X: Tensor, change: Tensor) -> Tensor:
    """Add to a signal its own spectrum times `change`.

    Parameters
    ----------
    X : Tensor, shape (batch, channels, times)
    change : Tensor, real or complex, shape (batch or 1, channels or 1, times // 2 + 1)
        Frequency response of the filter minus one.

    Returns
    -------
    Tensor, shape (batch, channels, times)

    Examples
    --------
    >>> import torch
    >>> from eegaug.functional import filter_change
    >>> X = torch.randn(2, 3, 100)
    >>> bool((filter_change(X, torch.full((1, 1, 51), -1.0)).abs() < 1e-6).all())  # removes everything
    True
    """
    return torch.fft.irfft(torch.fft.rfft(X) * change, n=X.shape[-1]).add_(X)


def phase_change(phase: Tensor, n_times: int) -> Tensor:
    """Frequency response, minus one, that turns the phase of every bin.

    Parameters
    ----------
    phase : Tensor, shape (batch, channels or 1, (n_times - 1) // 2)
        Phase in radians added to each bin strictly between DC and Nyquist; these two are left alone.
    n_times : int

    Returns
    -------
    Tensor, complex, shape (batch, channels or 1, n_times // 2 + 1)

    Examples
    --------
    >>> import torch
    >>> from eegaug.functional import phase_change
    >>> phase_change(torch.zeros(1, 1, 49), 100).abs().max().item()
    0.0
    """
    phase = F.pad(phase, (1, 1 if n_times % 2 == 0 else 0))
    # cos(phase) - 1, without the cancellation at small angles.
    return torch.complex(torch.sin(phase * 0.5).square().mul(-2.0), torch.sin(phase))


def notch_change(
    centre: Tensor, bandwidth: Tensor, n_times: int, sfreq: float, softness: float = 0.07, transition: float = 0.5
) -> Tensor:
    """Frequency response, minus one, of a smooth notch filter.

    Parameters
    ----------
    centre, bandwidth : Tensor, shape (batch,)
        In Hz. A bandwidth of zero changes nothing.
    n_times : int
    sfreq : float
        Sampling rate in Hz.
    softness : float
        Width in Hz of the two sigmoid flanks. With the default the response follows MNE's FIR notch within 0.01 (RMS).
    transition : float
        Total transition in Hz added to the half-gain width, as of MNE's FIR notch; it vanishes with the bandwidth, so
        that the filter is continuous where MNE's is not.

    Returns
    -------
    Tensor, shape (batch, 1, n_times // 2 + 1)
        Values in [-1, 0]; differentiable in `bandwidth`.

    Examples
    --------
    >>> import torch
    >>> from eegaug.functional import notch_change
    >>> change = notch_change(torch.tensor([10.0]), torch.tensor([2.0]), 3000, 100.0)
    >>> round(float(change[0, 0, 300]), 3), round(float(change[0, 0, 400]), 3)  # at 10 and at 13.3 Hz
    (-1.0, 0.0)
    """
    half = (bandwidth + transition * torch.tanh(bandwidth * (2 / transition))) / 2
    above, below = _notch_flanks(centre, half, n_times, sfreq, softness)
    return (above - below)[:, None, :]


def notch_change_and_slope(
    centre: Tensor, bandwidth: Tensor, n_times: int, sfreq: float, softness: float = 0.07, transition: float = 0.5
) -> tuple[Tensor, Tensor]:
    """:func:`notch_change`, and its derivative in the bandwidth.

    Parameters
    ----------
    centre, bandwidth, n_times, sfreq, softness, transition
        As in :func:`notch_change`.

    Returns
    -------
    change, slope : Tensor, shape (batch, 1, n_times // 2 + 1)

    Examples
    --------
    >>> import torch
    >>> from eegaug.functional import notch_change_and_slope
    >>> change, slope = notch_change_and_slope(torch.tensor([10.0]), torch.tensor([2.0]), 3000, 100.0)
    >>> bool((slope <= 0).all())  # a wider notch takes more away
    True
    """
    tanh = torch.tanh(bandwidth * (2 / transition))
    half = torch.add(bandwidth, tanh, alpha=transition).mul_(0.5)
    slope = (tanh * tanh).mul_(1.0 / softness).sub_(1.5 / softness)  # of both flanks: that of half the width, negative
    above, below = _notch_flanks(centre, half, n_times, sfreq, softness)
    steep = torch.addcmul(above, above, above, value=-1.0).add_(below).addcmul_(below, below, value=-1.0)
    return (above - below)[:, None, :], steep.mul_(slope[:, None])[:, None, :]


def _notch_flanks(centre: Tensor, half: Tensor, n_times: int, sfreq: float, softness: float) -> tuple[Tensor, Tensor]:
    bins = _bins(n_times, sfreq / softness, centre.dtype, centre.device)
    above, below = (centre + half) * (1.0 / softness), (centre - half) * (1.0 / softness)
    return torch.sigmoid(bins - above[:, None]), torch.sigmoid(bins - below[:, None])


@lru_cache(maxsize=32)
def _bins(n_times: int, sfreq: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Frequencies of the half spectrum; written out rather than with rfftfreq, which knows no dtype promotion."""
    with torch.inference_mode(False):
        return torch.arange(n_times // 2 + 1, device=device, dtype=dtype) * (sfreq / n_times)


def hilbert(X: Tensor, n_fft: int | None = None) -> Tensor:
    """Hilbert transform (the signal turned by 90 degrees), real in and out.

    Parameters
    ----------
    X : Tensor, shape (..., times)
    n_fft : int or None
        Length to which the signal is padded with zeros for the FFT; None does not pad.

    Returns
    -------
    Tensor, shape (..., times)

    Examples
    --------
    >>> import torch
    >>> from eegaug.functional import hilbert
    >>> t = torch.arange(100, dtype=torch.float64) / 100
    >>> bool(torch.allclose(hilbert(torch.cos(2 * torch.pi * 5 * t)), torch.sin(2 * torch.pi * 5 * t)))
    True
    """
    n_times = X.shape[-1]
    n_fft = n_times if n_fft is None else n_fft
    spectrum = torch.fft.rfft(X, n=n_fft) * quarter_turn(n_fft, X.dtype, X.device)
    return torch.fft.irfft(spectrum, n=n_fft)[..., :n_times]


@lru_cache(maxsize=32)
def quarter_turn(n_times: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """What turns a half spectrum by -90 degrees, without what has no phase: DC and, of an even length, Nyquist."""
    with torch.inference_mode(False), torch.no_grad():
        turn = torch.full((n_times // 2 + 1,), -1j, dtype=dtype.to_complex(), device=device)
        turn[0] = 0.0
        if n_times % 2 == 0:
            turn[-1] = 0.0
    return turn


def shift_ramps(shift_hz: Tensor, n_times: int, sfreq: float) -> tuple[Tensor, Tensor]:
    """Cosine and sine of the phase that a frequency shift adds over time.

    Parameters
    ----------
    shift_hz : Tensor, shape (batch,)
        Shift in Hz, of either sign.
    n_times : int
    sfreq : float
        Sampling rate in Hz.

    Returns
    -------
    cos, sin : Tensor, shape (batch, 1, n_times)

    Examples
    --------
    >>> import torch
    >>> from eegaug.functional import shift_ramps
    >>> cos, sin = shift_ramps(torch.tensor([0.0]), 10, 100.0)
    >>> cos.min().item(), sin.abs().max().item()
    (1.0, 0.0)
    """
    # A phase is that of the block's start plus that within the block, so that cosines of few angles make those of all.
    n_blocks = -(-n_times // _BLOCK)
    # Thousands of radians do not fit float32: count turns in float64, drop the whole ones, go on in the signal's dtype.
    wide = widest(shift_hz.device)
    turns = shift_hz.to(wide)[:, None] * _block_seconds(n_blocks, sfreq, wide, shift_hz.device)
    phase = (turns - turns.round()).to(shift_hz.dtype) * (2.0 * math.pi)
    start_cos, cos = torch.cos(phase)[:, None].tensor_split([n_blocks], dim=2)
    start_sin, sin = torch.sin(phase)[:, None].tensor_split([n_blocks], dim=2)
    start_cos, start_sin = start_cos.mT, start_sin.mT
    total_cos = torch.addcmul(start_cos * cos, start_sin, sin, value=-1.0)
    total_sin = torch.addcmul(start_sin * cos, start_cos, sin)
    return total_cos.flatten(1)[:, None, :n_times], total_sin.flatten(1)[:, None, :n_times]


_BLOCK = 64


@lru_cache(maxsize=32)
def _block_seconds(n_blocks: int, sfreq: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Starts of all blocks, then the times within one."""
    with torch.inference_mode(False):
        starts, within = (torch.arange(n, device=device) for n in (n_blocks, _BLOCK))
        return torch.cat([starts * _BLOCK, within]).to(dtype) / sfreq


def modulate(X: Tensor, quadrature: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Real part of the analytic signal ``X + i quadrature`` times ``cos + i sin``.

    Parameters
    ----------
    X, quadrature : Tensor, shape (batch, channels, times)
        A signal and its Hilbert transform.
    cos, sin : Tensor, shape (batch or 1, 1, times)

    Returns
    -------
    Tensor, shape (batch, channels, times)

    Examples
    --------
    >>> import torch
    >>> from eegaug.functional import modulate
    >>> modulate(torch.ones(1, 1, 1), torch.ones(1, 1, 1), torch.ones(1, 1, 1), torch.zeros(1, 1, 1)).item()
    1.0
    """
    return torch.addcmul(X * cos, quadrature, sin, value=-1.0)


def frequency_shift(X: Tensor, shift_hz: Tensor, sfreq: float, n_fft: int | None = None) -> Tensor:
    """Move all frequencies of a signal up or down by the same number of Hz.

    Parameters
    ----------
    X : Tensor, shape (batch, channels, times)
    shift_hz : Tensor, shape (batch,)
        Shift in Hz, the same for all channels of an example. What would cross 0 Hz or the Nyquist frequency folds back.
    sfreq : float
        Sampling rate in Hz.
    n_fft : int or None
        See :func:`hilbert`.

    Returns
    -------
    Tensor, shape (batch, channels, times)
        Exactly `X` where the shift is zero.

    References
    ----------
    .. [1] Rommel, Paillard, Moreau and Gramfort (2022). Data augmentation for learning predictive models on EEG: a
       systematic comparison. Journal of Neural Engineering 19(6).

    Examples
    --------
    >>> import torch
    >>> from eegaug.functional import frequency_shift
    >>> t = torch.arange(1000) / 100
    >>> Y = frequency_shift(torch.sin(2 * torch.pi * 10 * t)[None, None], torch.tensor([2.0]), 100.0)
    >>> int(torch.fft.rfft(Y).abs().argmax()) / 10  # the peak, in Hz
    12.0
    """
    cos, sin = shift_ramps(shift_hz, X.shape[-1], sfreq)
    return modulate(X, hilbert(X, n_fft), cos, sin)
