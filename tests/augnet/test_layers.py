"""Layers and modules: weighted sums in training, one operation at prediction."""

from __future__ import annotations

import copy
import pickle
import warnings
from collections import Counter

import numpy as np
import pytest
import torch
from torch.multiprocessing.reductions import StorageWeakRef

from eegaug.augnet import AugmentationLayer, AugmentationModule
from eegaug.augnet.layers import TrainingDraw
from eegaug.augnet.sampling import choose_operations
from eegaug.operations import FAMILIES, Operation, get_operation

MASS = ["C3", "C4", "F3", "F4", "O1", "O2"]
SLEEP_EDF = ["EEG Fpz-Cz", "EEG Pz-Oz"]
SFREQ = 50.0


def windows(n=3, n_channels=6, n_times=64, seed=0, dtype=torch.float32):
    return torch.randn(n, n_channels, n_times, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def mass_layer(operations="all", **settings):
    return AugmentationLayer(operations, sfreq=SFREQ, ch_names=MASS, **settings)


def select(layer, q):
    """Give all weight to one operation: the others' weights underflow to exactly zero."""
    with torch.no_grad():
        layer.weight_logits.zero_()
        layer.weight_logits[q] = 2.0
    return layer


class Offset(Operation):
    """A user's own: adds a constant."""

    name, family, unit = "offset", "time", "µV"

    def transform(self, X, magnitude, noise):
        return X + magnitude[:, None, None]


# What a layer is made of ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("group", ["time-frequency", "sensors", "all"])
def test_groups(group):
    layer = mass_layer(group)
    assert [op.name for op in layer.operations] == list(FAMILIES[group])
    assert layer.weights.sum().item() == pytest.approx(1.0)
    assert layer.weights.tolist() == pytest.approx([1 / len(layer.operations)] * len(layer.operations))
    assert layer.strengths.tolist() == pytest.approx([0.1] * len(layer.operations))


def test_void_operations_of_a_group_are_left_out_with_one_warning():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        module = AugmentationModule(["sensors", "sensors", "time-frequency"], sfreq=SFREQ, ch_names=SLEEP_EDF)
    assert [op.name for op in module.layers[0].operations] == ["sign_flip", "channels_shuffle", "channels_dropout"]
    (warning,) = caught
    for name in ("channels_symmetry", "sensors_rotation_x", "sensors_rotation_z"):
        assert name in str(warning.message)


def test_rotations_of_a_group_are_left_out_where_no_montage_has_a_channel():
    """As policies and searches leave them out."""
    names = ["C3", "C4", "F3", "F4", "ROC"]
    with pytest.warns(UserWarning, match=r"left out, .*: sensors_rotation_x, sensors_rotation_y, .*_z \(channel 'ROC'"):
        module = AugmentationModule(["sensors"], sfreq=SFREQ, ch_names=names)
    kept = ["channels_symmetry", "sign_flip", "channels_shuffle", "channels_dropout"]
    assert sorted(op.name for op in module.layers[0].operations) == sorted(kept)
    with pytest.raises(ValueError, match="channel 'ROC'"):
        AugmentationLayer(["sensors_rotation_x"], sfreq=SFREQ, ch_names=names)
    with pytest.raises(ValueError, match="ch_names"):
        AugmentationLayer("sensors", sfreq=SFREQ)


def test_listed_void_operation_stays_and_warns(monkeypatch):
    monkeypatch.setattr("eegaug.operations.base._warned", set())
    with pytest.warns(UserWarning, match="channels_symmetry means nothing"):
        layer = AugmentationLayer(["channels_symmetry"], ch_names=SLEEP_EDF)
    assert [op.name for op in layer.operations] == ["channels_symmetry"]


def test_own_operation_and_ready_made_instances():
    shift = get_operation("frequency_shift", sfreq=SFREQ, max_strength=1.5)
    layer = AugmentationLayer([Offset(), shift, Offset, "sign_flip"], sfreq=SFREQ)
    assert [op.name for op in layer.operations] == ["offset", "frequency_shift", "offset", "sign_flip"]
    assert layer.operations[1].max_strength == 1.5
    assert layer.describe()[1]["strength"] == pytest.approx(0.15)
    X = windows()
    torch.testing.assert_close(select(layer, 0)(X), X + 0.1)


@pytest.mark.parametrize(
    ("operations", "about", "words"),
    [
        ("frequency", {}, "no group of operations"),
        (["frequency_shfit"], {"sfreq": SFREQ}, "frequency_shfit"),
        (["frequency_shift"], {}, "sfreq"),
        ("sensors", {}, "ch_names"),
        ("sensors", {"ch_names": [*MASS, "Nose"]}, "Nose"),
        ([], {}, "without operations"),
        (["sign_flip"], {"temperature": 0.0}, "temperature"),
        (["sign_flip"], {"temperature": float("inf")}, "temperature is inf"),
        (["sign_flip"], {"temperature": None}, "temperature is None"),
        (["sign_flip"], {"initial_strength": 1.5}, "initial_strength"),
        (["sign_flip"], {"initial_strength": "0.1"}, "initial_strength is '0.1'"),
        (["sign_flip"], {"selection": "single", "identity_share": None}, "identity_share is None"),
    ],
)
def test_what_cannot_be_built_is_named(operations, about, words):
    with pytest.raises(ValueError, match=words):
        AugmentationLayer(operations, **about)


def test_module_refuses_what_is_no_list_of_layers():
    with pytest.raises(TypeError, match="put it into a list"):
        AugmentationModule("sensors", ch_names=MASS)
    with pytest.raises(ValueError, match="empty"):
        AugmentationModule([])


# Training ------------------------------------------------------------------------------------------------------------


def test_weighted_sum_is_what_it_says():
    layer = mass_layer().double()
    with torch.no_grad():
        layer.weight_logits.add_(0.005 * torch.arange(13))
    X = windows(dtype=torch.float64)
    draws = layer.draw(X, torch.Generator().manual_seed(0))
    expected = torch.zeros_like(X)
    for q, op in enumerate(layer.operations):
        mu, (noise, u) = layer.strengths[q], draws[q]
        term = op.apply(X, mu, noise) if op.has_magnitude else torch.where((u < mu / 2)[:, None, None], op(X), X)
        expected = expected + layer.weights[q] * term
    torch.testing.assert_close(layer.weighted_sum(X, draws), expected)


def test_probability_of_an_involution_is_half_its_strength():
    layer = AugmentationLayer(["sign_flip"], initial_strength=0.6)
    out = layer(torch.ones(20000, 1, 1), torch.Generator().manual_seed(0))
    flipped = (out == -1).float().mean().item()
    assert flipped == pytest.approx(0.3, abs=3 * (0.3 * 0.7 / 20000) ** 0.5)
    assert ((out == 1) | (out == -1)).all()


def test_windows_have_randomness_of_their_own():
    layer = select(mass_layer(["frequency_shift", "gaussian_noise"]), 0)
    X = windows(1).repeat(3, 1, 1)
    out = layer(X, torch.Generator().manual_seed(0))
    assert not torch.allclose(out[0], out[1], atol=1e-3)
    again = layer(X, torch.Generator().manual_seed(0))
    other = layer(X, torch.Generator().manual_seed(1))
    assert torch.equal(out, again)
    assert not torch.equal(out, other)


@pytest.mark.parametrize("shape", [(6, 64), (2, 6, 64), (2, 3, 6, 64)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_shapes_and_dtypes_are_kept(shape, dtype):
    X = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    before = X.clone()
    layer = mass_layer()
    for out in (layer.train()(X), layer.eval()(X)):
        assert out.shape == X.shape
        assert out.dtype == dtype
        assert out.isfinite().all()
    assert torch.equal(X, before)


@pytest.mark.parametrize("selection", ["weighted", "single"])
def test_no_windows_are_no_windows(selection):
    layer = AugmentationLayer("time-frequency", sfreq=100, selection=selection)
    for mode in (True, False):
        assert layer.train(mode)(torch.zeros(0, 2, 100)).shape == (0, 2, 100)


def test_gradient_reaches_signal_weights_and_strengths():
    layer = mass_layer(initial_strength=0.5)
    X = windows(16, n_times=300).requires_grad_()
    (layer(X, torch.Generator().manual_seed(0)) * windows(16, n_times=300, seed=1)).sum().backward()
    for grad in (X.grad, layer.weight_logits.grad, layer.strengths.grad):
        assert grad.isfinite().all()
        assert (grad != 0).all()


def test_one_operation_has_weight_one_and_no_gradient_in_it():
    layer = AugmentationLayer(["gaussian_noise"])
    assert layer.weights.tolist() == [1.0]
    layer(windows()).square().sum().backward()
    assert layer.weight_logits.grad.tolist() == [0.0]
    assert layer.strengths.grad.abs().item() > 0


def test_skipping_weights_of_zero_changes_nothing():
    layer = mass_layer(initial_strength=0.4)
    with torch.no_grad():
        layer.weight_logits[::2] -= 2.0  # exp(-200) is zero in float32
    assert layer.active() == [1, 3, 5, 7, 9, 11]
    results = []
    X = windows().requires_grad_()
    few = layer.draw(X, torch.Generator().manual_seed(0))
    every = {
        q: few.get(q) or TrainingDraw(op.draw(*X.shape), None if op.has_magnitude else torch.rand(len(X)))
        for q, op in enumerate(layer.operations)
    }
    for draws in (few, every):
        layer.zero_grad()
        X.grad = None
        out = layer.weighted_sum(X, draws)
        out.square().sum().backward()
        results.append([out.detach(), X.grad, layer.weight_logits.grad.clone(), layer.strengths.grad.clone()])
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-6)
    assert (results[1][3][::2] == 0).all()
    assert (results[1][2][::2] == 0).all()


def test_sum_is_accumulated_not_stacked():
    outputs, most = [], []

    class Watched(Operation):
        name = "watched"

        def transform(self, X, magnitude, noise):
            most.append(sum(not ref.expired() for ref in outputs))
            out = X + magnitude[:, None, None]
            outputs.append(StorageWeakRef(out.untyped_storage()))
            return out

    layer = AugmentationLayer([Watched() for _ in range(8)])
    with torch.no_grad():
        layer(windows())
    assert len(most) == 8
    assert max(most) <= 1


def test_projection_and_its_gradient_at_the_border():
    layer = AugmentationLayer(["gaussian_noise", "time_masking", "sign_flip"], initial_strength=0.0)
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.05)
    for direction, expected in ((+1.0, [0.0] * 3), (-1.0, [0.05] * 3)):
        # A loss that pushes below 0 leaves 0; one that pushes up moves away from it at the very next step.
        optimizer.zero_grad()
        (direction * layer.strengths.sum()).backward()
        optimizer.step()
        layer.project_()
        optimizer.state.clear()
        assert layer.strengths.tolist() == pytest.approx(expected, abs=1e-6)
    with torch.no_grad():
        layer.strengths.fill_(1.3)
    layer.project_()
    assert layer.strengths.tolist() == [1.0] * 3


# Prediction ----------------------------------------------------------------------------------------------------------


def test_even_weights_give_each_operation_to_half_of_the_copies():
    module = AugmentationModule([["gaussian_noise", "frequency_shift"], ["sign_flip", "time_reverse"]], sfreq=SFREQ)
    for seed in range(20):
        plan = module.plan(4, seed)
        for layer in range(2):
            assert Counter(copy[layer].operation for copy in plan) == {0: 2, 1: 2}


@pytest.mark.parametrize("n_copies", [1, 4, 7, 20])
def test_operations_are_drawn_in_proportion_to_their_weights(n_copies):
    weights = [0.5, 0.0, 0.3, 0.2]
    total = Counter()
    for seed in range(500):
        counts = Counter(copy[0].operation for copy in choose_operations([weights], n_copies, seed))
        for q, weight in enumerate(weights):
            assert counts[q] in (int(n_copies * weight + 1e-9), int(n_copies * weight - 1e-9) + 1)
        total.update(counts)
    assert total[1] == 0
    for q, weight in enumerate(weights):
        assert total[q] / (500 * n_copies) == pytest.approx(weight, abs=0.07)


def test_an_involution_is_applied_to_its_share_of_the_copies():
    module = AugmentationModule([["sign_flip"]], initial_strength=1.0).eval()
    X = windows()
    for seed in range(10):
        signs = [torch.sign((module.transform(X, c, 4, seed) / X)[0, 0, 0]).item() for c in range(4)]
        assert sorted(signs) == [-1, -1, 1, 1]


def test_prediction_serves_every_window_alike():
    module = AugmentationModule(["time-frequency", "sensors"], sfreq=SFREQ, ch_names=MASS, initial_strength=0.7).eval()
    X = windows(8)
    for c in range(4):
        whole = module.transform(X, c, 4, seed=5)
        parts = torch.cat([module.transform(x[None], c, 4, seed=5) for x in X])
        torch.testing.assert_close(whole, parts, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(whole.flip(0), module.transform(X.flip(0), c, 4, seed=5), rtol=1e-5, atol=1e-5)


def test_copies_differ_and_seeds_differ():
    module = AugmentationModule([["gaussian_noise"]], initial_strength=1.0).eval()
    X = windows()
    assert torch.equal(module.transform(X, 0, 4, 0), module.transform(X, 0, 4, 0))
    assert not torch.allclose(module.transform(X, 0, 4, 0), module.transform(X, 1, 4, 0))
    assert not torch.allclose(module.transform(X, 0, 4, 0), module.transform(X, 0, 4, 1))


def test_a_layer_alone_predicts_as_the_first_copy_of_one():
    layer = mass_layer(["gaussian_noise"], initial_strength=1.0).eval()
    assert torch.equal(layer(windows()), AugmentationModule([layer]).eval().transform(windows(), copy=0, n_copies=1))


def test_prediction_uses_neither_global_randomness_nor_what_came_before():
    module = AugmentationModule(["time-frequency"], sfreq=SFREQ)
    X = windows()
    module(X)  # training draws from the global generator
    module.eval()
    state = torch.random.get_rng_state()
    first = module(X)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(first, module(X))
    for clone in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert torch.equal(clone(X), first)


def test_plan_follows_the_weights():
    module = AugmentationModule([["gaussian_noise", "frequency_shift"]], sfreq=SFREQ)
    select(module.layers[0], 1)
    assert {draws[0].operation for draws in module.plan(4, 0)} == {1}
    module.layers[0].weight_logits.data.copy_(torch.tensor([2.0, 0.0]))  # not even the version counter sees this
    assert {draws[0].operation for draws in module.plan(4, 0)} == {0}


# As data -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("operations", "words"),
    [
        (["frequency_shift", "sign_flip"], "of sign_flip, frequency_shift; this one is of frequency_shift, sign_flip:"),
        (["sign_flip"], "layer of sign_flip, frequency_shift; this one is of sign_flip:"),
        (["sign_flip", get_operation("frequency_shift", sfreq=100, max_strength=2)], "max_strength=5.0; .*=2.0: build"),
    ],
)
def test_state_of_other_operations_is_refused(operations, words):
    state = AugmentationLayer(["sign_flip", "frequency_shift"], sfreq=100).state_dict()
    with pytest.raises(ValueError, match=words):
        AugmentationLayer(operations, sfreq=100).load_state_dict(state)


def test_state_of_the_same_operations_is_taken_for_another_signal_and_from_older_versions():
    state = AugmentationLayer(["sign_flip", "frequency_shift"], sfreq=100, initial_strength=0.7).state_dict()
    older = {name: value for name, value in state.items() if name != "_extra_state"}
    for known in (state, older):
        layer = AugmentationLayer(["sign_flip", "frequency_shift"], sfreq=128)
        layer.load_state_dict(known)
        assert layer.strengths.tolist() == pytest.approx([0.7, 0.7])


def test_config_round_trip():
    module = AugmentationModule(["all", ["frequency_shift"]], sfreq=SFREQ, ch_names=MASS, temperature=0.05)
    again = AugmentationModule.from_config(module.get_config())
    assert again.get_config() == module.get_config()
    again.load_state_dict(module.state_dict())
    X = windows()
    assert torch.equal(again.eval()(X), module.eval()(X))


def test_description():
    module = AugmentationModule([["frequency_shift", "sign_flip", "gaussian_noise"]], sfreq=SFREQ, initial_strength=0.5)
    rows = module.describe()
    assert [(r["operation"], r["strength"], r["unit"]) for r in rows] == [
        ("frequency_shift", 2.5, "Hz"),
        ("sign_flip", 0.25, "probability"),
        ("gaussian_noise", 0.1, "SD"),
    ]
    assert sum(r["weight"] for r in rows) == pytest.approx(1.0)


# Accelerator ---------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
class TestCuda:
    def test_host_never_waits_in_forward(self):
        module = AugmentationModule(["time-frequency", "sensors"], sfreq=SFREQ, ch_names=MASS).cuda()
        optimizer = torch.optim.Adam(module.parameters(), lr=1e-3)
        X = windows(8).cuda()
        for _ in range(2):  # the first time constants are copied to the device
            optimizer.zero_grad()
            module.project_()
            loss = module(X).square().mean()
            loss.backward()
            optimizer.step()
            module.project_()
        torch.cuda.set_sync_debug_mode("error")
        try:
            module(X).square().mean().backward()
        finally:
            torch.cuda.set_sync_debug_mode("default")

    def test_prediction_is_that_of_the_cpu(self):
        module = AugmentationModule(["all", "all"], sfreq=SFREQ, ch_names=MASS, initial_strength=0.7).eval()
        X = windows(8)
        expected = [module.transform(X, c, 4, 3) for c in range(4)]
        module.cuda()
        for c in range(4):
            torch.testing.assert_close(module.transform(X.cuda(), c, 4, 3).cpu(), expected[c], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("far", [-0.02, 1.5])
def test_strengths_that_an_optimiser_took_too_far_are_held(fused, far):
    by_itself = get_operation("frequency_shift", sfreq=SFREQ, padded=True)  # is no part of the fused sum
    layer = AugmentationLayer(["time_masking", "sign_flip", by_itself], fused=fused)
    X, found = torch.randn(4, 2, 300, generator=torch.Generator().manual_seed(0)), []
    for strength in (far, float(np.clip(far, 0, 1))):
        with torch.no_grad():
            layer.strengths.fill_(strength)
        layer.strengths.grad = None
        found.append(layer(X, torch.Generator().manual_seed(1)))
        found[-1].square().sum().backward()
        assert layer.strengths.grad.isfinite().all() and (layer.strengths.grad != 0).any()
        assert layer.eval()(X).isfinite().all()
        layer.train()
    torch.testing.assert_close(*found, rtol=0, atol=0)


@pytest.mark.parametrize("X", [torch.ones(2, 1, 50, dtype=torch.int16), torch.ones(2, 1, 50, dtype=torch.complex64)])
@pytest.mark.parametrize("selection", ["weighted", "single"])
def test_windows_are_floating_point(X, selection):
    with pytest.raises(TypeError, match="floating-point"):
        AugmentationLayer(["sign_flip"], selection=selection)(X)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("operations", [["sign_flip", "channels_dropout"], ["channels_symmetry", "time_masking"]])
def test_windows_of_other_channels_are_refused(operations, training):
    layer = AugmentationLayer(operations, ch_names=MASS).train(training)
    with pytest.raises(ValueError, match=r"was built for the 6 channels .*, got X with 5 channels"):
        layer(torch.ones(2, 5, 50))


def test_prediction_in_inference_mode_leaves_gradients_possible():
    module = AugmentationModule([["gaussian_noise"]]).eval()
    X = torch.randn(4, 2, 60)
    with torch.inference_mode():
        module(X)
    module(X.requires_grad_()).sum().backward()
    assert X.grad.isfinite().all()
