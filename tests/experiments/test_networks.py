"""Networks of the experiments on sinusoids."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from eegaug.experiments.networks import FreqNet


@pytest.mark.parametrize("n_times", [1000, 333])
def test_long_convolution_is_a_convolution(n_times):
    net = FreqNet(n_filters=3, kernel_size=50).double()
    X = torch.randn(2, 1, n_times, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    conv = net[0]
    expected = nn.functional.conv1d(X, conv.weight, conv.bias, padding=1)
    torch.testing.assert_close(conv(X), expected)
    wanted = torch.autograd.grad(expected.square().sum(), [X, conv.weight, conv.bias])
    torch.testing.assert_close(torch.autograd.grad(conv(X).square().sum(), [X, conv.weight, conv.bias]), wanted)


def test_number_of_parameters():
    # 2 x 100 + 2, 2 x 2 x 3 + 2, two normalisations of 2 x 2, 2 x 4 + 4
    assert sum(p.numel() for p in FreqNet().parameters()) == 202 + 14 + 8 + 12
