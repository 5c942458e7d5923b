"""Small networks of the experiments on sinusoids."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

__all__ = ["BandPowerNet", "FreqNet", "Perceptron"]


class _LongConv1d(nn.Conv1d):
    """A convolution of one channel with long kernels, by FFT: several times as fast on a processor."""

    def forward(self, X: Tensor) -> Tensor:
        (pad,), (size,) = self.padding, self.kernel_size
        n_out = X.shape[-1] + 2 * pad - size + 1
        n_fft = 1 << (X.shape[-1] + 2 * pad - 1).bit_length()
        kernel = torch.fft.rfft(self.weight[:, 0], n_fft).conj()
        spectrum = torch.fft.rfft(nn.functional.pad(X, (pad, pad)), n_fft)
        return torch.fft.irfft(spectrum * kernel, n_fft)[..., :n_out] + self.bias[:, None]


class FreqNet(nn.Sequential):
    """Two small convolutions and a mean over time: a trunk for sinusoids.

    Parameters
    ----------
    n_outputs : int
    n_filters : int
        Of both convolutions.
    kernel_size : int
        Of the first convolution; 100 samples are two periods of the slowest class.

    References
    ----------
    Rommel et al. (2022), Deep invariant networks with differentiable augmentation layers, NeurIPS, section 4.2. The
    paper's Table 2 prints a first kernel of 3 samples; its code has 100.

    Examples
    --------
    >>> FreqNet()(torch.zeros(3, 1, 1000)).shape
    torch.Size([3, 4])
    """

    def __init__(self, n_outputs: int = 4, n_filters: int = 2, kernel_size: int = 100):
        super().__init__(
            _LongConv1d(1, n_filters, kernel_size, padding=1),
            nn.BatchNorm1d(n_filters),
            nn.ReLU(),
            nn.Conv1d(n_filters, n_filters, 3, padding=1),
            nn.BatchNorm1d(n_filters),
            nn.ReLU(),
            nn.MaxPool1d(2),
            nn.AdaptiveAvgPool1d(1),
            nn.Flatten(),
            nn.Linear(n_filters, n_outputs),
        )


class Perceptron(nn.Sequential):
    """A multilayer perceptron on the samples of one channel.

    Parameters
    ----------
    n_times : int
    n_outputs : int
    width : int
        Of every hidden layer.
    depth : int
        Number of hidden layers.

    References
    ----------
    Rommel et al. (2022), Deep invariant networks with differentiable augmentation layers, NeurIPS, section 4.3.

    Examples
    --------
    >>> net = Perceptron(width=2, depth=3)
    >>> net(torch.zeros(3, 1, 1000)).shape, sum(p.numel() for p in net.parameters())
    (torch.Size([3, 4]), 2026)
    """

    def __init__(self, n_times: int = 1000, n_outputs: int = 4, width: int = 2, depth: int = 1):
        sizes = [n_times] + [width] * depth
        hidden = [layer for a, b in pairwise(sizes) for layer in (nn.Linear(a, b), nn.ReLU())]
        super().__init__(nn.Flatten(), *hidden, nn.Linear(width, n_outputs))


class BandPowerNet(nn.Module):
    """Logarithm of the power behind learned filters, and a small network on it: quick, and enough for simulated nights.

    Parameters
    ----------
    n_chans, n_outputs : int
    n_filters : int
    kernel_size : int
    n_hidden : int

    Examples
    --------
    >>> BandPowerNet(n_chans=4, n_outputs=5)(torch.zeros(3, 4, 500)).shape
    torch.Size([3, 5])
    """

    def __init__(self, n_chans: int, n_outputs: int, n_filters: int = 16, kernel_size: int = 49, n_hidden: int = 32):
        super().__init__()
        self.conv = nn.Conv1d(n_chans, n_filters, kernel_size, bias=False)
        self.norm = nn.BatchNorm1d(n_filters)
        self.head = nn.Sequential(nn.Linear(n_filters, n_hidden), nn.ReLU(), nn.Linear(n_hidden, n_outputs))

    def forward(self, X: Tensor) -> Tensor:
        """Logits of windows (batch, channels, times)."""
        return self.head(self.norm(self.conv(X).square().mean(-1).add(1e-3).log()))
