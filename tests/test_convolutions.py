"""Convolutions and their gradients as products of matrices: the same numbers as PyTorch's."""

from __future__ import annotations

import copy
from collections import Counter
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from eegaug import StagingClassifier, _convolution_gradients
from eegaug._convolutions import quick_convolutions


class Operations(TorchDispatchMode):
    """Names of what is computed."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.append(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


def names_of(conv, X):
    with Operations() as seen, quick_convolutions():
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
    with quick_convolutions():
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
    with quick_convolutions():
        Y = conv(X)
    assert torch.equal(Y, conv(X))


def test_second_derivative(X):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 3, (6, 1)), nn.Tanh()).double()
    weight = net[0].weight.detach()

    def outputs(X, weight):
        with quick_convolutions():
            return torch.func.functional_call(net, {"0.weight": weight}, (X,)).sum((1, 2, 3))

    X = X[:2, :, :, :4].clone().requires_grad_()
    assert torch.autograd.gradgradcheck(outputs, (X, weight.requires_grad_()))


# Networks' layers, shape of what they see, and which gradients gain: to the signal, to the weights.
LAYERS = {
    "Chambon, first": (nn.Conv2d(1, 8, (1, 50), padding=(0, 25)), (3, 1, 2, 200), {"signal", "weight"}),
    "Chambon, second": (nn.Conv2d(8, 8, (1, 50), padding=(0, 25)), (3, 8, 2, 33), {"signal", "weight"}),
    "EEGNet": (nn.Conv2d(1, 8, (1, 64), bias=False), (2, 1, 3, 100), {"signal", "weight"}),
    "one dimension": (nn.Conv1d(3, 5, 31, padding=7), (4, 3, 90), {"signal", "weight"}),
    "many channels, long": (nn.Conv1d(40, 20, 32), (2, 40, 64), {"signal", "weight"}),
    "steps": (nn.Conv1d(1, 6, 50, stride=6, padding=22), (4, 1, 150), {"signal"}),
    "short": (nn.Conv1d(4, 6, 5), (4, 4, 60), {"signal"}),
    "time first": (nn.Conv2d(1, 4, (25, 1)), (2, 1, 80, 3), {"signal"}),
    "time first, padded": (nn.Conv2d(1, 4, (1, 40), padding=(1, 0)), (2, 1, 3, 80), {"signal"}),
    "many channels, short": (nn.Conv1d(20, 6, 5), (4, 20, 60), set()),
    "groups": (nn.Conv1d(4, 4, 30, groups=2), (4, 4, 60), set()),
    "dilation": (nn.Conv1d(1, 4, 30, dilation=2), (4, 1, 90), set()),
    "padding in words": (nn.Conv1d(1, 4, 31, padding="same"), (4, 1, 90), set()),
}


def gradients_of(conv, X, **kwargs):
    X = X.clone().requires_grad_()
    Y = conv(X)
    upstream = torch.linspace(-1, 1, Y.numel(), dtype=Y.dtype).sin().view_as(Y)
    return [Y, *torch.autograd.grad(Y, [X, *conv.parameters()], upstream, **kwargs)]


@pytest.mark.parametrize("piece", [2**20, 1], ids=["in one piece", "window by window"])
@pytest.mark.parametrize("name", LAYERS)
def test_gradients_are_the_same_in_fewer_steps(name, piece, monkeypatch):
    monkeypatch.setattr(_convolution_gradients, "_PIECE", piece)
    conv, shape, quick = LAYERS[name]
    conv, X = copy.deepcopy(conv).double(), torch.randn(shape, dtype=torch.float64)
    expected = gradients_of(conv, X)
    with Operations() as seen, quick_convolutions():
        found = gradients_of(conv, X)
    for one, right in zip(found, expected, strict=True):
        torch.testing.assert_close(one, right, rtol=1e-10, atol=1e-12)
    assert ("_slow_conv2d_backward" in seen.names) == ("signal" in quick)
    assert ("baddbmm_" in seen.names) == ("weight" in quick)
    assert ("convolution_backward" in seen.names) == (quick != {"signal", "weight"})


def test_only_what_is_wanted():
    X = torch.randn(2, 1, 90)
    conv = nn.Conv1d(1, 4, 30)
    with Operations() as seen, quick_convolutions():
        conv(X).sum().backward()  # plain training: no gradient to the signal
        conv.requires_grad_(False)
        (of_X,) = torch.autograd.grad(conv(X.requires_grad_()).sum(), X)
    assert Counter(seen.names)["_slow_conv2d_backward"] == Counter(seen.names)["baddbmm_"] == 1
    assert "convolution_backward" not in seen.names
    torch.testing.assert_close(of_X, torch.autograd.grad(conv(X).sum(), X)[0])


@pytest.mark.parametrize("name", ["Chambon, first", "one dimension", "steps"])
def test_second_derivative_of_gradients(name):
    conv, shape, _ = LAYERS[name]
    conv = copy.deepcopy(conv).double()
    inputs = torch.randn(2, *shape[1:], dtype=torch.float64)
    found = []
    for context in (nullcontext(), quick_convolutions()):
        with context:
            first = gradients_of(conv, inputs, create_graph=True)[1:]
        found.append(torch.autograd.grad(sum(one.square().sum() for one in first), conv.weight))
    for one, right in zip(*found, strict=True):
        torch.testing.assert_close(one, right)


def test_other_derivatives_are_left_to_torch():
    conv, shape, _ = LAYERS["Chambon, first"]
    X, tangent = torch.randn(2, *shape)

    def loss(X):
        with quick_convolutions():
            return conv(X).square().mean()

    expected = torch.autograd.grad(conv(X.requires_grad_()).square().mean(), X)[0]
    X = X.detach()
    torch.testing.assert_close(torch.func.grad(loss)(X), expected)
    _, slope = torch.func.jvp(loss, (X,), (tangent,))
    torch.testing.assert_close(slope, (expected * tangent).sum())
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.unpack_dual(loss(torch.autograd.forward_ad.make_dual(X, tangent)))
    torch.testing.assert_close(dual.tangent.detach(), slope.detach())
    with torch.autocast("cpu", torch.bfloat16), quick_convolutions():
        assert conv(X.requires_grad_()).dtype == torch.bfloat16


def test_a_part_that_is_compiled(monkeypatch):
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: False)
    context = quick_convolutions()
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    conv, shape, _ = LAYERS["Chambon, first"]
    with Operations() as seen, context:
        gradients_of(conv, torch.randn(shape))
    assert "baddbmm_" not in seen.names


def test_plain_training_is_quick_too(monkeypatch):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((16, 2, 300)).astype("float32"), np.arange(16) % 3
    settings = {"sfreq": 100, "max_epochs": 1, "batch_size": 8, "random_state": 0, "verbose": 0}
    with Operations() as seen:
        quick = StagingClassifier("SleepStagerChambon2018", **settings).fit(X, y)
    assert "baddbmm_" in seen.names
    monkeypatch.setattr("eegaug._staging_loop.quick_convolutions", nullcontext)
    with Operations() as seen:
        slow = StagingClassifier("SleepStagerChambon2018", **settings).fit(X, y)
    assert "baddbmm_" not in seen.names
    np.testing.assert_allclose(quick.predict_proba(X), slow.predict_proba(X), atol=1e-5)
