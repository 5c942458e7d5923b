"""One operation for each window: who gets which, with what gradient."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from eegaug.augnet import AugmentationLayer, AugmentationModule
from eegaug.augnet.single import comparison_of_losses, group_sizes
from eegaug.operations import Operation, get_operation

CHANNELS = ["C3", "C4", "F3", "F4", "O1", "O2"]


class Offset(Operation):
    """Adds the magnitude."""

    name = "offset"

    def transform(self, X, magnitude, noise):
        return X + magnitude[:, None, None] * self.max_strength


def offsets(n=3, **settings):
    operations = [Offset(max_strength=float(10**q)) for q in range(n)]
    return AugmentationLayer(operations, selection="single", **{"initial_strength": 1.0} | settings)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_each_window_goes_through_one_operation():
    layer = offsets(3)
    out = layer(torch.zeros(30, 1, 1), seeded()).flatten()
    assert sorted(out.tolist()) == [1.0] * 10 + [10.0] * 10 + [100.0] * 10
    assert out.tolist() != sorted(out.tolist())  # not the same windows each time
    assert not torch.equal(out, layer(torch.zeros(30, 1, 1), seeded(1)).flatten())
    assert torch.equal(out, layer(torch.zeros(30, 1, 1), seeded()).flatten())


def test_share_that_is_left_as_it_is():
    layer = offsets(3, identity_share=0.25)
    assert layer.shares() == pytest.approx([0.25] * 4)
    out = layer(torch.zeros(40, 1, 1), seeded()).flatten()
    assert (out == 0).sum() == 10
    plan = AugmentationModule([layer]).plan(8, seed=0)
    assert np.bincount([copy[0].operation for copy in plan]).tolist() == [2, 2, 2, 2]
    untouched = next(copy[0] for copy in plan if copy[0].operation == 3)
    X = torch.randn(2, 1, 5)
    assert torch.equal(layer.apply_one(X, untouched), X)


@pytest.mark.parametrize("shares", [[1.0], [1 / 3] * 3, [0.1] * 7 + [0.3], [0.5, 0.5, 0.0]])
@pytest.mark.parametrize("n", [1, 2, 7, 16])
def test_sizes_of_groups(shares, n):
    starts = (np.arange(1000) + 0.5) / 1000
    sizes = np.array([group_sizes(shares, n, start) for start in starts])
    assert (sizes.sum(1) == n).all()
    wanted = n * np.array(shares)
    assert (sizes >= np.floor(wanted - 1e-9)).all() and (sizes <= np.ceil(wanted + 1e-9)).all()
    np.testing.assert_allclose(sizes.mean(0), wanted, atol=0.002 * n)


def test_no_window_is_lost_to_shares_that_are_rounded():
    assert group_sizes([0.3333333] * 3, 16, start=1 - 1e-7) == [5, 5, 6]


def test_gradient_comes_from_the_windows_that_an_operation_has_changed():
    layer = offsets(3, initial_strength=0.5)
    X = torch.zeros(7, 1, 1)
    out = layer(X, seeded())
    out.sum().backward()
    sizes = torch.tensor([(out == 0.5 * 10**q).sum() for q in range(3)])
    assert sizes.sum() == 7
    torch.testing.assert_close(layer.strengths.grad, sizes * torch.tensor([1.0, 10.0, 100.0]))
    assert layer.weight_logits.grad is None and not layer.weight_logits.requires_grad


def test_every_operation_with_a_magnitude_gets_a_gradient():
    layer = AugmentationLayer("all", sfreq=50, ch_names=CHANNELS, selection="single", initial_strength=0.5)
    X = torch.randn(len(layer.operations) * 8, 6, 300, generator=seeded())
    out = layer(X, seeded(1))
    (out * torch.randn(out.shape, generator=seeded(2))).sum().backward()
    assert (layer.strengths.grad != 0).all()
    assert out.shape == X.shape and out.dtype == X.dtype


def test_without_strength_nothing_changes():
    layer = AugmentationLayer("all", sfreq=50, ch_names=CHANNELS, selection="single", initial_strength=0.0)
    X = torch.randn(26, 6, 100, generator=seeded())
    torch.testing.assert_close(layer(X, seeded()), X, atol=1e-4, rtol=0)


@pytest.mark.parametrize("shape", [(6, 50), (2, 6, 50), (2, 3, 6, 50)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_shapes_and_dtypes(shape, dtype):
    layer = AugmentationLayer("all", sfreq=50, ch_names=CHANNELS, selection="single")
    X = torch.randn(shape, generator=seeded()).to(dtype)
    before = X.clone()
    out = layer(X, seeded())
    assert out.shape == X.shape and out.dtype == dtype
    assert torch.equal(X, before)


def test_stacked_layers_draw_independently():
    module = AugmentationModule([offsets(2), offsets(2)])
    out = module(torch.zeros(400, 1, 1), seeded()).flatten()
    counts = {value: int((out == value).sum()) for value in (2.0, 11.0, 20.0)}
    assert sum(counts.values()) == 400
    assert counts[11.0] == pytest.approx(200, abs=30)


def test_prediction_gives_each_operation_its_copies():
    module = AugmentationModule([offsets(4)]).eval()
    seen = {module.transform(torch.zeros(1, 1, 1), c, 4, seed=3).item() for c in range(4)}
    assert seen == {1.0, 10.0, 100.0, 1000.0}


def test_settings_travel_with_the_layers():
    module = AugmentationModule([["sign_flip"], ["time_reverse"]], selection="single", identity_share=0.5)
    again = AugmentationModule.from_config(module.get_config())
    assert [layer.selection for layer in again.layers] == ["single", "single"]
    assert [layer.identity_share for layer in again.layers] == [0.5, 0.5]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"selection": "best"}, "selection is 'best'"),
        ({"selection": "single", "identity_share": 1.0}, "identity_share is 1.0"),
        ({"identity_share": 0.2}, "goes with selection='single'"),
    ],
)
def test_what_cannot_be_built_is_named(settings, words):
    with pytest.raises(ValueError, match=words):
        AugmentationLayer(["sign_flip"], **settings)


def test_losses_of_changed_and_unchanged_windows_are_compared():
    """Half the difference, times the share: 3 where the sign is flipped, 1 where it is not."""
    layer = AugmentationLayer(["sign_flip", "time_reverse", "gaussian_noise"], selection="single", initial_strength=1.0)
    layer.compares_losses = True
    X = torch.ones(60, 1, 8, requires_grad=True)
    out = layer(X, seeded())
    flipped = out[:, 0].mean(1) < 0
    assert 5 <= flipped.sum() <= 15
    term = comparison_of_losses(layer, torch.where(flipped, 3.0, 1.0))
    assert term.item() == 0.0
    term.backward()
    torch.testing.assert_close(layer.strengths.grad, torch.tensor([1 / 3, 0.0, 0.0]))
    # Nothing else tells these operations where to go.
    layer.strengths.grad = None
    layer(X, seeded()).sum().backward()
    assert layer.strengths.grad[:2].tolist() == [0.0, 0.0] and layer.strengths.grad[2] != 0


def test_windows_of_a_sequence_with_one_label_share_its_loss():
    """A loss of 2 for each of three windows that is flipped, whose derivative in the strength is 2 * 3 / 2."""
    layer = AugmentationLayer(["sign_flip"], selection="single", initial_strength=0.5)
    layer.compares_losses = True
    out = layer(torch.ones(20_000, 3, 1, 4), seeded())
    flipped = (out[:, :, 0, 0] < 0).sum(1)
    assert flipped.float().mean() == pytest.approx(0.75, abs=0.02)
    comparison_of_losses(layer, 2.0 * flipped).backward()
    assert layer.strengths.grad.item() == pytest.approx(3.0, rel=0.1)


@pytest.mark.parametrize("name", ["channels_dropout", "channels_shuffle"])
@pytest.mark.parametrize("max_strength", [1.0, 0.8])
def test_operations_on_single_channels_follow_the_expected_loss(name, max_strength):
    """A loss of how many of three channels are chosen, whose mean over the binomial distribution is known."""
    op = get_operation(name, max_strength=max_strength)
    layer = AugmentationLayer([op], selection="single", initial_strength=0.5)
    layer.compares_losses = True
    layer(torch.randn(200_000, 3, 2), seeded())
    (drawn,) = layer.drawn
    p = 0.5 * max_strength
    k = (3 * drawn.changed).round().long()
    torch.testing.assert_close(k.float().mean() / 3, torch.tensor(p), rtol=0.01, atol=0.0)
    loss = torch.tensor([0.0, 0.1, 1.0, 1.5])
    comparison_of_losses(layer, loss[k[drawn.rows.argsort()]]).backward()
    chance = torch.tensor(p, dtype=torch.float64, requires_grad=True)
    expected = sum(math.comb(3, i) * chance**i * (1 - chance) ** (3 - i) * loss[i].double() for i in range(4))
    (slope,) = torch.autograd.grad(expected, chance)
    torch.testing.assert_close(layer.strengths.grad, (slope * max_strength).float()[None], rtol=0.02, atol=0.0)


def test_channels_are_never_all_dropped_for_certain_while_losses_are_compared():
    layer = AugmentationLayer(["channels_dropout"], selection="single", initial_strength=1.0)
    X = torch.ones(2000, 3, 4)
    assert layer(X, seeded()).abs().sum() == 0
    layer.compares_losses = True
    kept = layer(X, seeded()).detach().mean()
    assert 0.015 < kept < 0.025


def test_what_has_come_to_nothing_is_looked_at_again_while_losses_are_compared():
    """One window in a hundred, and two channels; otherwise a loss that was high once would hold for ever."""
    layer = AugmentationLayer(["sign_flip", "channels_dropout"], selection="single", initial_strength=0.0)
    X = torch.ones(40_000, 3, 1)
    assert torch.equal(layer(X, seeded()), X)
    layer.compares_losses = True
    out = layer(X, seeded())
    assert (out[:, 0] == -1).sum() == pytest.approx(200, abs=40)
    assert (out == 0).sum() == pytest.approx(20_000 * 3 * 0.02, abs=100)
    # Where both cost nothing, nothing keeps them from being rewarded.
    comparison_of_losses(layer, torch.ones(40_000)).backward()
    assert layer.strengths.grad.tolist() == pytest.approx([0.0, 0.0], abs=1e-6)


def test_losses_are_compared_in_full_precision():
    gradients = []
    for mixed in (False, True):
        layer = AugmentationLayer(["sign_flip"], selection="single", initial_strength=1.0)
        layer.compares_losses = True
        layer(torch.ones(64, 1, 8), seeded())
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            comparison_of_losses(layer, torch.linspace(1.0, 1.01, 64)).backward()
        gradients.append(layer.strengths.grad)
    assert gradients[0] != 0 and torch.equal(*gradients)


def test_running_means_forget_and_wait_for_both_kinds():
    layer = AugmentationLayer(["sign_flip"], selection="single", initial_strength=0.0)
    layer.compares_losses = True
    X = torch.ones(100, 1, 4)

    def slope(loss):
        layer.strengths.grad = None
        layer(X, seeded())
        comparison_of_losses(layer, torch.full((100,), loss)).backward()
        return layer.strengths.grad.item()

    assert slope(5.0) == 0.0
    with torch.no_grad():
        layer.strengths.fill_(1.0)
    assert slope(1.0) < 0  # flipped: 1; not: 5 at first, then 1
    before = [slope(1.0) for _ in range(6)]
    assert before == sorted(before) and -0.3 < before[-1] < 0
    assert 150 < layer.running_counts[1].item() < 250  # windows that are remembered
