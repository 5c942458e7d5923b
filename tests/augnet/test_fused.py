"""The fused layer equals the sum of its operations, and does no more work than it should."""

from __future__ import annotations

from collections import Counter
from itertools import chain, combinations

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from eegaug.augnet.fused import fused_sum
from eegaug.augnet.layers import AugmentationLayer
from eegaug.operations import FAMILIES, Operation, get_operation
from eegaug.operations.time import GaussianNoise

CH_NAMES = ["C3", "C4", "F3", "F4", "O1", "O2"]


def layer_of(operations, seed=0, dtype=torch.float64):
    layer = AugmentationLayer(list(operations), sfreq=50, ch_names=CH_NAMES).to(dtype)
    rng = np.random.default_rng(seed)
    with torch.no_grad():
        # Close enough to one another that no weight underflows.
        layer.weight_logits.copy_(torch.from_numpy(1 + 0.01 * rng.standard_normal(len(layer.operations))))
        layer.strengths.copy_(torch.from_numpy(rng.uniform(0.05, 0.95, len(layer.operations))))
    return layer


def results(layer, X, draws, how, upstream):
    """Output and the gradients to signal, weights and strengths."""
    Y = how(X, draws)
    grads = torch.autograd.grad((Y * upstream).sum(), [X, layer.weight_logits, layer.strengths], allow_unused=True)
    return [Y, *(torch.zeros(()) if grad is None else grad for grad in grads)]


def assert_same(operations, seed=0, n_times=64):
    layer = layer_of(operations, seed)
    X = torch.randn(3, len(CH_NAMES), n_times, dtype=torch.float64, requires_grad=True)
    draws = layer.draw(X)
    upstream = torch.randn(X.shape, dtype=torch.float64)
    reference = results(layer, X, draws, layer.weighted_sum, upstream)
    fused = results(layer, X, draws, lambda X, draws: fused_sum(layer, X, draws), upstream)
    for expected, found, what in zip(reference, fused, ("output", "X", "weights", "strengths"), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-10, msg=lambda m, w=what: f"{w}: {m}")


def subsets(names):
    return chain.from_iterable(combinations(names, size) for size in range(1, len(names) + 1))


@pytest.fixture(autouse=True)
def seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@pytest.mark.parametrize("group", ["time-frequency", "sensors"])
@pytest.mark.parametrize("n_times", [64, 65])
def test_every_combination_of_a_family(group, n_times):
    for seed, names in enumerate(subsets(FAMILIES[group])):
        assert_same(names, seed, n_times)


def test_combinations_across_families():
    rng = np.random.default_rng(0)
    for seed in range(100):
        names = rng.permutation(FAMILIES["all"])[: rng.integers(2, 14)]
        assert_same([str(name) for name in names], seed)


def test_repeated_operations():
    assert_same(["gaussian_noise", "gaussian_noise", "frequency_shift", "frequency_shift", "sign_flip", "sign_flip"])


@pytest.mark.parametrize(
    "operation",
    [
        get_operation("frequency_shift", sfreq=50, parity=True),
        get_operation("bandstop_filter", sfreq=50, max_freq=20, reflect=True),
        get_operation("bandstop_filter", sfreq=50, max_freq=20, parity=True),
        get_operation("ft_surrogate", channel_indep=True, centred=True),
        get_operation("channels_dropout", parity=True),
    ],
    ids=lambda op: f"{op.name} {op.get_config()}",
)
def test_options_that_change_the_computation(operation):
    assert_same([operation, "gaussian_noise", "time_reverse"])


class Scaling(Operation):
    """An operation of a user's own, without a linear form."""

    name, family, unit, default_max_strength = "scaling", "time", "log gain", 1.0

    def noise_shapes(self, n, n_channels, n_times):
        return {"u": (n,)}

    def transform(self, X, magnitude, noise):
        return X * torch.exp((2 * noise["u"] - 1) * magnitude * self.max_strength)[:, None, None]


class RandomSigns(Operation):
    """One of a user's own that mixes channels as it is drawn, and has no magnitude."""

    name, family, has_magnitude, linear_form = "random_signs", "sensors", False, "mixing"

    def noise_shapes(self, n, n_channels, n_times):
        return {"u": (n, n_channels)}

    def mixing_matrix(self, magnitude, noise, n_channels):
        return torch.diag_embed(torch.sign(noise["u"] - 0.5))

    def transform(self, X, magnitude, noise):
        return X * torch.sign(noise["u"] - 0.5)[:, :, None]


class Fading(Operation):
    """One with a linear form, the slope of which nobody has written out."""

    name, family, unit, default_max_strength, linear_form = "fading", "time", "log gain", 1.0, "gain"

    def noise_shapes(self, n, n_channels, n_times):
        return {"u": (n,)}

    def time_gain(self, magnitude, noise, n_times):
        return torch.exp(noise["u"] * magnitude * self.max_strength)[:, None, None].expand(-1, 1, n_times)

    def transform(self, X, magnitude, noise):
        return X * self.time_gain(magnitude, noise, X.shape[2])


def test_operations_of_ones_own_are_added():
    assert_same([Fading(), "frequency_shift", "sign_flip"])
    assert_same([Scaling(), "frequency_shift", "sign_flip"])
    assert_same([Scaling()])
    assert_same([Scaling(), Scaling(max_strength=2.0), "gaussian_noise"])
    assert_same([RandomSigns(), "channels_symmetry", "sensors_rotation_z"])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dtype_is_kept_and_close(dtype):
    layer = layer_of(FAMILIES["all"], dtype=torch.float32)
    X = torch.randn(2, 6, 300).to(dtype)
    draws = layer.draw(X)
    fused, reference = fused_sum(layer, X, draws), layer.weighted_sum(X, draws)
    assert fused.dtype == dtype
    torch.testing.assert_close(fused.float(), reference.float(), rtol=0, atol=1e-5 if dtype == torch.float32 else 0.1)


def test_gradcheck():
    layer = layer_of(["frequency_shift", "bandstop_filter", "gaussian_noise", "ft_surrogate", "time_masking"])
    X = torch.randn(2, 6, 20, dtype=torch.float64, requires_grad=True)
    draws = layer.draw(X)

    def function(X, logits, strengths):
        params = {"weight_logits": logits, "strengths": strengths}
        return torch.func.functional_call(Caller(layer), {f"layer.{k}": v for k, v in params.items()}, (X, draws))

    # Logits scaled by the temperature: finite differences must not leave the softmax's linear range.
    layer.temperature = 1.0
    inputs = [p.detach().clone().requires_grad_() for p in (layer.weight_logits, layer.strengths)]
    assert torch.autograd.gradcheck(function, (X, *inputs))


class Caller(torch.nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, X, draws):
        return fused_sum(self.layer, X, draws)


class Count(TorchDispatchMode):
    """Counts the operators run, and the new tensors as large as the signal."""

    def __init__(self, size):
        super().__init__()
        self.calls, self.large, self.size = Counter(), 0, size

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        self.calls[func.overloadpacket.__name__] += 1
        view = func.is_view or any(a is out for a in args)
        if isinstance(out, torch.Tensor) and not view and out.numel() * (2 if out.is_complex() else 1) >= self.size:
            self.large += 1
        return out


def counted(operations, requires_grad=True):
    layer = AugmentationLayer(list(operations), sfreq=100, ch_names=CH_NAMES)
    X = torch.randn(16, 6, 3000, requires_grad=requires_grad)
    fused_sum(layer, X, layer.draw(X))  # constants are made once
    with Count(X.numel()) as forward:
        Y = fused_sum(layer, X, layer.draw(X))
    upstream = torch.ones_like(Y)
    with Count(X.numel()) as backward:
        torch.autograd.grad(Y, [layer.weight_logits, layer.strengths, *([X] if requires_grad else [])], upstream)
    return forward, backward


def test_one_forward_and_two_inverse_ffts_for_all_time_frequency_operations():
    forward, backward = counted(FAMILIES["time-frequency"])
    assert (forward.calls["_fft_r2c"], forward.calls["_fft_c2r"], forward.calls["_fft_c2c"]) == (1, 2, 0)
    assert (backward.calls["_fft_r2c"], backward.calls["_fft_c2r"], backward.calls["_fft_c2c"]) == (2, 1, 0)
    assert forward.calls["normal_"] + forward.calls["randn"] <= 1


def test_one_fft_and_its_inverse_where_one_is_enough():
    forward, backward = counted(["ft_surrogate", "bandstop_filter", "gaussian_noise", "time_masking"])
    assert (forward.calls["_fft_r2c"], forward.calls["_fft_c2r"]) == (1, 1)
    assert (backward.calls["_fft_r2c"], backward.calls["_fft_c2r"]) == (1, 1)


def test_no_fft_without_a_spectral_operation():
    forward, backward = counted(["time_reverse", "time_masking", "gaussian_noise"])
    assert forward.calls["_fft_r2c"] == backward.calls["_fft_r2c"] == 0


def test_one_mixing_for_all_sensors_operations():
    forward, backward = counted(FAMILIES["sensors"])
    assert forward.calls["bmm"] == 1
    assert backward.calls["bmm"] == 2
    assert forward.large == 1


def test_large_tensors_do_not_grow_with_the_operations():
    few, _ = counted(["frequency_shift", "bandstop_filter", "gaussian_noise"])
    many, _ = counted(FAMILIES["time-frequency"])
    assert many.large <= few.large + 2


class Halved(Operation):
    """Without a magnitude, in the linear form of a gain, a filter or a modulation."""

    has_magnitude = False

    def time_gain(self, magnitude, noise, n_times):
        return torch.full((1, 1, n_times), 0.5)

    def spectral_change(self, magnitude, noise, n_times):
        return torch.full((1, 1, n_times // 2 + 1), -0.5)

    def modulation(self, magnitude, noise, n_times):
        return torch.full((1, 1, n_times), 0.5), torch.zeros(1, 1, n_times)

    def transform(self, X, magnitude, noise):
        return X * 0.5


@pytest.mark.parametrize("form", ["gain", "spectrum", "modulation"])
def test_own_operations_without_a_magnitude_are_applied_by_chance(form):
    own = type(form, (Halved,), {"name": form, "linear_form": form})
    assert_same([own, "sign_flip"])
    layer = AugmentationLayer([own], initial_strength=0.0)
    assert torch.equal(layer(torch.ones(3, 1, 4)), torch.ones(3, 1, 4))


class FixedNoise(GaussianNoise):
    """Noise of one strength, without a magnitude."""

    name, has_magnitude, linear_form = "fixed_noise", False, "noise"

    def transform(self, X, magnitude, noise):
        return X + noise["noise"] * self.max_strength


def test_noise_without_a_magnitude_is_added_by_chance():
    assert_same([FixedNoise, "sign_flip", "gaussian_noise"])
    assert_same([FixedNoise])


@pytest.mark.parametrize("operations", [["frequency_shift", "time_masking"], ["sign_flip", "sensors_rotation_z"]])
def test_second_derivatives_are_those_of_the_operations_one_by_one(operations):
    layer = layer_of(operations)
    X = torch.randn(3, len(CH_NAMES), 64, dtype=torch.float64, requires_grad=True)
    draws = layer.draw(X)
    inputs = [X, layer.weight_logits, layer.strengths]
    found = []
    for how in (layer.weighted_sum, lambda X, draws: fused_sum(layer, X, draws)):
        total = how(X, draws).sin().sum()
        (to_X,) = torch.autograd.grad(total, X, create_graph=True)
        found.append(torch.autograd.grad(total + 10 * to_X.square().sum(), inputs))
    for expected, fused in zip(*found, strict=True):
        torch.testing.assert_close(fused, expected, rtol=1e-9, atol=1e-10)


def test_first_derivatives_that_are_to_be_differentiated_are_the_same_for_a_layer_used_twice():
    layer = layer_of(["frequency_shift", "time_masking", "sign_flip"])
    X = torch.randn(3, len(CH_NAMES), 64, dtype=torch.float64, requires_grad=True)
    first, second = layer.draw(X), layer.draw(X)

    def gradients(**how):
        total = fused_sum(layer, fused_sum(layer, X, first), second).sin().sum()
        return torch.autograd.grad(total, [X, layer.weight_logits, layer.strengths], **how)

    for expected, found in zip(gradients(), gradients(create_graph=True), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("selection", ["weighted", "single"])
def test_gradients_by_torch_func_are_those_of_autograd(selection):
    layer = AugmentationLayer("all", sfreq=50, ch_names=CH_NAMES, selection=selection, initial_strength=0.5)
    X, learned = torch.randn(8, len(CH_NAMES), 64), {"strengths": layer.strengths}

    def loss(X, learned):
        generator = torch.Generator().manual_seed(0)
        return torch.func.functional_call(layer, learned, (X, generator)).square().sum()

    to_X, to_learned = torch.func.grad(loss, argnums=(0, 1))(X, learned)
    expected = torch.autograd.grad(loss(X.requires_grad_(), learned), [X, layer.strengths])
    torch.testing.assert_close((to_X, to_learned["strengths"]), expected, rtol=1e-4, atol=1e-4)


class Places(Operation):
    """Takes each channel from another, by whole numbers that are drawn."""

    name, has_magnitude, linear_form = "places", False, "mixing"

    def draw(self, n, n_channels, n_times, generator=None, device=None):
        return {"place": torch.randint(n_channels, (n, n_channels), generator=generator)}

    def mixing_matrix(self, magnitude, noise, n_channels):
        return torch.eye(n_channels)[noise["place"]]

    def transform(self, X, magnitude, noise):
        return X.gather(1, noise["place"][:, :, None].expand_as(X))


def test_draws_that_are_whole_numbers_stay_so():
    assert_same([Places, "channels_symmetry"])
