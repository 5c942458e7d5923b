"""Convolutions over all channels as products of matrices."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from eegaug._spatial import spatial_products


class Operations(TorchDispatchMode):
    """Names of what is computed."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.append(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


def names_of(conv, X):
    with Operations() as seen, spatial_products():
        conv(X)
    return seen.names


@pytest.fixture
def X():
    return torch.randn(4, 1, 6, 50, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("settings", [{}, {"stride": (6, 1)}, {"padding": "valid"}, {"dilation": (1, 3)}])
def test_same_values_and_gradients(X, bias, settings):
    torch.manual_seed(0)
    conv = nn.Conv2d(1, 5, (6, 1), bias=bias, **settings).double()
    X.requires_grad_()
    with spatial_products():
        Y = conv(X)
    expected = conv(X)
    torch.testing.assert_close(Y, expected)
    wanted = [X, *conv.parameters()]
    upstream = torch.linspace(-1, 1, Y.numel(), dtype=torch.float64).view_as(Y)
    for found, right in zip(
        torch.autograd.grad(Y, wanted, upstream), torch.autograd.grad(expected, wanted, upstream), strict=True
    ):
        torch.testing.assert_close(found, right)
    assert "convolution" not in names_of(conv, X)


@pytest.mark.parametrize(
    "conv",
    [
        nn.Conv2d(1, 5, (1, 6)),
        nn.Conv2d(1, 5, (5, 1)),
        nn.Conv2d(1, 5, (6, 1), stride=2),
        nn.Conv2d(1, 5, (6, 1), padding="same"),
        nn.Conv2d(1, 5, (6, 1), padding=(0, 1)),
    ],
    ids=["over time", "some channels", "strided", "same", "padded"],
)
def test_other_convolutions_are_left_alone(X, conv):
    conv = conv.double()
    assert "convolution" in names_of(conv, X)
    with spatial_products():
        Y = conv(X)
    assert torch.equal(Y, conv(X))


def test_second_derivative(X):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 3, (6, 1)), nn.Tanh()).double()
    weight = net[0].weight.detach()

    def outputs(X, weight):
        with spatial_products():
            return torch.func.functional_call(net, {"0.weight": weight}, (X,)).sum((1, 2, 3))

    X = X[:2, :, :, :4].clone().requires_grad_()
    assert torch.autograd.gradgradcheck(outputs, (X, weight.requires_grad_()))
