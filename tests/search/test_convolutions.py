"""Convolutions of hypergradients: the same numbers as PyTorch's, with less work."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from eegaug.search._convolutions import HypergradientConvolutions


def seeded(build):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build().double()


NETWORKS = {
    "one after the other": lambda: nn.Sequential(nn.Conv1d(2, 3, 5), nn.Softplus(), nn.Conv1d(3, 4, 3)),
    "stride, padding, dilation": lambda: nn.Sequential(
        nn.Conv1d(2, 4, 5, stride=2, padding=3, dilation=2), nn.Tanh(), nn.Conv1d(4, 2, 3, padding=1)
    ),
    "groups": lambda: nn.Sequential(nn.Conv1d(2, 4, 5, groups=2), nn.Tanh(), nn.Conv1d(4, 4, 3, groups=4, bias=False)),
    "same padding": lambda: nn.Sequential(nn.Conv1d(2, 4, 5, padding="same"), nn.Tanh(), nn.Conv1d(4, 2, 3)),
    "two dimensions": lambda: nn.Sequential(
        nn.Unflatten(1, (1, 2)), nn.Conv2d(1, 3, (2, 1)), nn.Conv2d(3, 3, (1, 5), padding=(0, 2)), nn.Tanh(),
        nn.Flatten(), nn.Linear(3 * 16, 3),
    ),
    "a part that is frozen": lambda: nn.Sequential(
        nn.Conv1d(2, 3, 5).requires_grad_(False), nn.Tanh(), nn.Conv1d(3, 4, 3), nn.Tanh(), nn.Conv1d(4, 2, 3)
    ),
    "weights that are computed": lambda: nn.Sequential(
        nn.utils.parametrizations.weight_norm(nn.Conv1d(2, 3, 5)), nn.Tanh(), nn.Conv1d(3, 2, 3)
    ),
}  # fmt: skip


def second_derivative(network, X, context):
    X = X.clone().requires_grad_()
    weights = [p for p in network.parameters() if p.requires_grad]
    with context(X):
        loss = network(X).square().sum()
    first = torch.autograd.grad(loss, weights, create_graph=True)
    directions = [torch.linspace(-1, 1, g.numel(), dtype=g.dtype).reshape(g.shape) for g in first]
    return [*first, *torch.autograd.grad(first, X, directions)]


class Nothing:
    def __init__(self, signal):
        pass

    def __enter__(self):
        pass

    def __exit__(self, *exc):
        pass


@pytest.mark.parametrize("name", NETWORKS)
def test_first_and_second_derivatives_are_those_of_torch(name):
    network = seeded(NETWORKS[name])
    X = torch.randn(3, 2, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    plain, quick = (second_derivative(network, X, context) for context in (Nothing, HypergradientConvolutions))
    for a, b in zip(plain, quick, strict=True):
        torch.testing.assert_close(b, a, rtol=1e-9, atol=1e-10)


class Count(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.terms = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.aten.convolution_backward.default:
            self.terms["backward"] += sum(args[-1][:2])
        elif func is torch.ops.aten.convolution.default:
            self.terms["forward"] += 1
        return func(*args, **(kwargs or {}))


def test_there_is_less_work():
    network, X = seeded(NETWORKS["one after the other"]), torch.randn(3, 2, 16, dtype=torch.float64)
    terms = []
    for context in (Nothing, HypergradientConvolutions):
        with Count() as count:
            second_derivative(network, X, context)
        terms.append(sum(count.terms.values()))
    # Forward 2; to the weights 2 and to the signal between 1; second: joined 2, to the signals 2, back 2.
    assert terms[1] <= 11 < terms[0]
