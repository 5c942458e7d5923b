"""Weighted sums with weights and magnitudes for each window."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from eegaug.augnet.combination import Term, combination
from eegaug.operations import FAMILIES, Operation, get_operation
from eegaug.operations.time import GaussianNoise

CH_NAMES = ["C3", "C4", "F3", "F4", "O1", "O2"]


class Fading(Operation):
    """An operation of a user's own, without a linear form."""

    name, family, unit = "fading", "time", "share"

    def transform(self, X, magnitude, noise):
        return X * (1 - magnitude / 2)[:, None, None]


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def operations(names):
    return [Fading() if name == "fading" else get_operation(name, sfreq=50, ch_names=CH_NAMES) for name in names]


def terms(names, n, n_times, per_window, dtype=torch.float64):
    made = []
    for i, op in enumerate(operations(names)):
        size = n if per_window else 1
        weight, magnitude = torch.rand(2, size, generator=rng(i), dtype=dtype).requires_grad_()
        noise = op.draw(n, len(CH_NAMES), n_times, generator=rng(10 + i))
        made.append(Term(op, weight, magnitude if op.has_magnitude else None, noise))
    return made


@pytest.mark.parametrize("per_window", [True, False])
@pytest.mark.parametrize("n_times", [40, 41])
@pytest.mark.parametrize(
    "names",
    [[*FAMILIES["all"], "fading"], ["sign_flip", "channels_dropout"], ["time_reverse"], ["gaussian_noise"] * 2],
)
def test_it_is_the_sum_of_its_terms(names, n_times, per_window):
    X = torch.randn(4, 6, n_times, generator=rng(), dtype=torch.float64, requires_grad=True)
    parts, identity = terms(names, 4, n_times, per_window), torch.rand(4, generator=rng(5), dtype=torch.float64)
    expected = X * identity[:, None, None]
    for op, weight, magnitude, noise in parts:
        expected = expected + op.apply(X, magnitude, noise) * weight.reshape(-1, 1, 1)
    found = combination(X, parts, identity)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-10)
    leaves = [X, *(t for part in parts for t in (part.weight, part.magnitude) if t is not None)]
    upstream = torch.randn(X.shape, generator=rng(6), dtype=torch.float64)
    for a, b in zip(*(torch.autograd.grad(Y, leaves, upstream) for Y in (expected, found)), strict=True):
        torch.testing.assert_close(b, a, rtol=1e-8, atol=1e-9)


def test_a_weight_of_one_among_zeros_is_the_operation_itself():
    X = torch.randn(3, 6, 40, generator=rng())
    parts = [part._replace(weight=torch.zeros(3)) for part in terms(FAMILIES["all"], 3, 40, True, torch.float32)]
    assert torch.equal(combination(X, parts, torch.ones(3)), X)
    for q, part in enumerate(parts):
        alone = [*parts[:q], part._replace(weight=torch.ones(3)), *parts[q + 1 :]]
        torch.testing.assert_close(
            combination(X, alone), part.operation.apply(X, part.magnitude, part.noise), rtol=0, atol=2e-6
        )


class Count(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.calls = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.calls[func.overloadpacket.__name__] += 1
        return func(*args, **(kwargs or {}))


def test_one_fft_two_inverse_ones_and_one_product_whatever_the_number_of_operations():
    X = torch.randn(4, 6, 40, generator=rng())
    parts = terms(FAMILIES["all"], 4, 40, True, torch.float32)
    with Count() as count:
        combination(X, parts, torch.ones(4))
    assert (count.calls["_fft_r2c"], count.calls["_fft_c2r"], count.calls["_fft_c2c"]) == (1, 2, 0)
    assert count.calls["bmm"] <= 4  # rotations are tables times angles


def test_dtypes_are_kept():
    X = torch.randn(2, 6, 40, generator=rng()).bfloat16()
    parts = terms(["sign_flip", "frequency_shift", "gaussian_noise"], 2, 40, True, torch.float32)
    assert combination(X, parts).dtype == torch.bfloat16
    with pytest.raises(ValueError, match="one operation or more"):
        combination(X, [])


class FixedNoise(GaussianNoise):
    """Noise of one strength, without a magnitude."""

    name, has_magnitude, linear_form = "fixed_noise", False, "noise"

    def transform(self, X, magnitude, noise):
        return X + noise["noise"] * self.max_strength


def test_noise_without_a_magnitude_is_one_of_its_terms():
    X, op, weight = (
        torch.randn(4, 6, 40, generator=rng()),
        FixedNoise(max_strength=0.5),
        torch.rand(4, generator=rng(1)),
    )
    noise = op.draw(4, 6, 40, generator=rng(2))
    expected = op.apply(X, None, noise) * weight[:, None, None]
    torch.testing.assert_close(combination(X, [Term(op, weight, None, noise)]), expected)
