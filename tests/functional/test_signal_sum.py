"""A large batch goes through in pieces: the same values and gradients, and no temporary of its size."""

from __future__ import annotations

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from eegaug.augnet import AugmentationLayer
from eegaug.augnet.combination import Term, combination
from eegaug.augnet.fused import fused_sum
from eegaug.functional import signal_sum
from eegaug.operations import FAMILIES, get_operation

CH_NAMES = ["C3", "C4", "F3", "F4", "O1", "O2"]
SETTINGS = {"sfreq": 50, "ch_names": CH_NAMES}
SHAPE = (7, 6, 64)  # an odd number of windows: the last piece is smaller


@pytest.fixture(autouse=True)
def seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@pytest.fixture
def pieces(monkeypatch):
    """Sets how many windows a piece has."""

    def of(n_windows):
        size = n_windows * SHAPE[1] * SHAPE[2] * 8
        monkeypatch.setattr(signal_sum, "_PIECE", size // max(1, torch.get_num_threads() // 2))
        monkeypatch.setattr(signal_sum, "_SMALL_PIECE", size // max(1, torch.get_num_threads() // 2))

    return of


def signal():
    return torch.randn(SHAPE, dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize("n_windows", [1, 2, 3, 6])
@pytest.mark.parametrize("group", ["time-frequency", "sensors", "all"])
def test_layers_are_the_same_in_pieces(pieces, group, n_windows):
    layer, X = AugmentationLayer(group, **SETTINGS).double(), signal()
    draws, upstream = layer.draw(X), torch.randn(SHAPE, dtype=torch.float64)

    def found():
        Y = fused_sum(layer, X, draws)
        return [Y, *torch.autograd.grad((Y * upstream).sum(), [X, layer.weight_logits, layer.strengths])]

    pieces(100)
    whole = found()
    pieces(n_windows)
    for expected, value in zip(whole, found(), strict=True):
        torch.testing.assert_close(value, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("each", [True, False])
@pytest.mark.parametrize("name", [name for name in FAMILIES["all"] if get_operation(name, **SETTINGS).has_magnitude])
def test_single_operations_are_the_same_in_pieces(pieces, name, each):
    op, X = get_operation(name, **SETTINGS), signal()
    magnitude = torch.rand(SHAPE[0] if each else 1, dtype=torch.float64).requires_grad_()
    noise = {key: value.double() for key, value in op.draw(*SHAPE).items()}

    def found():
        Y = op.apply(X, magnitude, noise)
        return [
            Y,
            *torch.autograd.grad(Y.square().sum(), [X, magnitude]),
            *torch.autograd.grad(op.apply(X, magnitude.detach(), noise).square().sum(), X),
            op.apply(X.detach(), magnitude.detach(), noise),
        ]

    pieces(100)
    whole = found()
    pieces(2)
    for expected, value in zip(whole, found(), strict=True):
        torch.testing.assert_close(value, expected, rtol=1e-10, atol=1e-12)


def test_sums_with_weights_for_each_window_are_the_same_in_pieces(pieces):
    X = signal()
    weights = torch.rand(4, SHAPE[0], dtype=torch.float64).requires_grad_()
    magnitudes = torch.rand(4, 1, dtype=torch.float64).requires_grad_()
    operations = [get_operation(name, **SETTINGS) for name in ("frequency_shift", "ft_surrogate", "gaussian_noise")]
    noises = [op.draw(*SHAPE) for op in operations]
    reverse = Term(get_operation("time_reverse"), weights[3], None, {})

    def found():
        terms = [Term(*term) for term in zip(operations, weights, magnitudes, noises, strict=False)]
        Y = combination(X, [*terms, reverse], identity=weights[0])
        return [Y, *torch.autograd.grad(Y.square().sum(), [X, weights, magnitudes])]

    pieces(100)
    whole = found()
    pieces(3)
    for expected, value in zip(whole, found(), strict=True):
        torch.testing.assert_close(value, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("backward_too", [True, False])
def test_forward_derivatives_are_the_same_in_pieces(pieces, backward_too):
    op, X = get_operation("frequency_shift", **SETTINGS), signal().detach()
    noise = {key: value.double() for key, value in op.draw(*SHAPE).items()}

    def found():
        with torch.autograd.forward_ad.dual_level():
            strength = torch.full((1,), 0.3, dtype=torch.float64, requires_grad=backward_too)
            dual = torch.autograd.forward_ad.make_dual(strength, torch.ones(1, dtype=torch.float64))
            return torch.autograd.forward_ad.unpack_dual(op.apply(X, dual, noise)).tangent

    pieces(100)
    whole = found()
    pieces(2)
    torch.testing.assert_close(found(), whole, rtol=1e-10, atol=1e-12)


class Largest(TorchDispatchMode):
    """Counts new tensors as large as the signal."""

    def __init__(self, size):
        super().__init__()
        self.count, self.size = 0, size

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        new = isinstance(out, torch.Tensor) and not func.is_view and not any(a is out for a in args)
        if new and out.numel() * (2 if out.is_complex() else 1) >= self.size:
            self.count += 1
        return out


@pytest.mark.parametrize("name", ["ft_surrogate", "frequency_shift", "bandstop_filter"])
def test_an_operation_on_a_large_batch_makes_no_large_tensor_beside_its_result(pieces, name):
    op = get_operation(name, **SETTINGS)
    X = torch.randn(64, *SHAPE[1:])
    noise = op.draw(*X.shape)
    op.apply(X, 0.5, noise)  # constants are made once
    pieces(4)
    with Largest(X.numel()) as made:
        op.apply(X, 0.5, noise)
    assert made.count == 1
