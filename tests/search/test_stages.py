"""Stages: the weighted sum, the draws, and whose parameters a window touches."""

from __future__ import annotations

import math

import pytest
import torch

from eegaug.operations import get_operation, list_operations
from eegaug.search.stages import Stages, draw_stage, mix_stage

SFREQ, CHANNELS = 50.0, ["F3", "F4", "C3", "C4"]
SOME = ["sign_flip", "time_reverse", "gaussian_noise", "frequency_shift", "channels_dropout"]


def operations(names=SOME):
    about = {"sfreq": SFREQ, "ch_names": CHANNELS}
    return [get_operation(name, **about) for name in names]


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def stages(names=SOME, **settings):
    return Stages(operations(names), generator=rng(1), **settings)


def windows(n=6, n_times=64, dtype=torch.float64, seed=2):
    return torch.randn(n, len(CHANNELS), n_times, generator=rng(seed), dtype=dtype)


def test_probabilities_and_magnitudes_start_in_their_range():
    begun = stages(initial=(0.4, 0.5))
    for values in (begun.probabilities[0], begun.magnitudes[0]):
        assert values.min() >= 0.4 and values.max() <= 0.5 and values.unique().numel() == values.numel()


@pytest.mark.parametrize("names", [list_operations(), ["sign_flip"], ["time_reverse"], ["sign_flip", "time_reverse"]])
def test_a_stage_is_the_sum_of_its_operations_one_by_one(names):
    ops, X = operations(names), windows()
    n, q = len(X), len(ops)
    weights = torch.softmax(torch.randn(n, q, generator=rng(), dtype=X.dtype), 1)
    magnitudes = torch.rand(n, q, generator=rng(1), dtype=X.dtype)
    draw = draw_stage(ops, tuple(X.shape), rng(3))
    applied = (draw.u < 0.6).to(X.dtype)
    leaves = [t.clone().requires_grad_() for t in (X, weights, applied, magnitudes)]
    upstream = windows(seed=9)

    def one_by_one(X, weights, applied, magnitudes):
        total = 0.0
        for i, op in enumerate(ops):
            transformed = op.apply(X, magnitudes[:, i], draw.noise[i])
            b, w = applied[:, i, None, None], weights[:, i, None, None]
            total = total + w * (b * transformed + (1 - b) * X)
        return total

    def fused(X, weights, applied, magnitudes):
        return mix_stage(ops, X, weights, applied, magnitudes, draw.noise)

    results = []
    for how in (one_by_one, fused):
        Y = how(*leaves)
        grads = torch.autograd.grad((Y * upstream).sum(), leaves, allow_unused=True)
        results.append([Y, *(torch.zeros(()) if g is None else g for g in grads)])
    for expected, found in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-9)


def test_windows_whose_operations_are_not_applied_stay_as_they_are():
    policy, X = stages(list_operations()), windows(dtype=torch.float32)
    with torch.no_grad():
        for p in policy.probabilities:
            p.zero_()
    policy.eval()
    assert torch.equal(policy(X, generator=rng()), X)
    policy.choice = "gumbel"
    assert torch.equal(policy.train()(X, generator=rng()), X)
    policy.choice = "softmax"  # weights sum to one up to rounding
    torch.testing.assert_close(policy(X, generator=rng()), X, rtol=0, atol=2e-6)


def test_a_probability_of_zero_still_has_a_gradient():
    policy, X = stages(["sign_flip"], n_operations=1), windows(dtype=torch.float32)
    for mask in ("relaxed", "linear"):
        policy.mask = mask
        with torch.no_grad():
            policy.probabilities[0].zero_()
        (grad,) = torch.autograd.grad((policy(X, generator=rng()) * X).sum(), list(policy.probabilities))
        assert (grad < 0).any()  # flipping lowers the correlation with X: less of it would be more


def test_straight_through_choices_are_one_operation_with_a_gradient_to_all():
    policy, X = stages(choice="gumbel", n_operations=1), windows(n=40, dtype=torch.float32)
    draw = policy.draw(X, generator=rng())
    Y = policy.augment(X, draw)
    weights = policy._choose(0, draw.rows, draw.lots)
    assert set(weights.unique().tolist()) == {0.0, 1.0}
    for i, row in enumerate(weights.argmax(1).tolist()):
        op, sub = policy.operations[row], int(draw.rows[i])
        noise = {key: value[i : i + 1] for key, value in draw.stages[0].noise[row].items()}
        one = op.apply(X[i : i + 1], policy.magnitudes[0][sub, 0, row].detach(), noise)
        applied = draw.stages[0].u[i, row] < policy.probabilities[0][sub, 0, row]
        torch.testing.assert_close(Y[i : i + 1], one if applied else X[i : i + 1], rtol=0, atol=1e-5)
    (grad,) = torch.autograd.grad(Y.square().mean() + Y.mean(), list(policy.weight_logits))
    assert (grad != 0).all()


def test_draws_follow_the_weights_in_evaluation():
    policy = stages(["sign_flip", "time_reverse"], n_sub_policies=1, n_operations=1).eval()
    with torch.no_grad():
        policy.probabilities[0].fill_(1.0)
        policy.weight_logits[0][..., 0] = 0.05 * math.log(3)
    X = windows(n=4000, n_times=3)[:, :1]
    policy.operations = operations(["sign_flip", "time_reverse"])
    Y = policy(X, generator=rng())
    flipped = (Y == -X).all(-1).all(-1)
    reversed_ = (X.flip(-1) == Y).all(-1).all(-1)
    assert torch.equal(flipped, ~reversed_)
    assert abs(flipped.double().mean().item() - 0.75) < 4 * (0.75 * 0.25 / 4000) ** 0.5
    assert not Y.requires_grad


def test_sub_policies_are_drawn_uniformly_and_evenly():
    policy = stages()
    counts = torch.bincount(policy.draw_rows(1000, None, rng(), "cpu"), minlength=5)
    assert counts.tolist() == [200] * 5
    total = sum(torch.bincount(policy.draw_rows(3, None, rng(seed), "cpu"), minlength=5) for seed in range(2000))
    expected = 6000 / 5
    assert ((total - expected).abs() < 5 * expected**0.5).all()


def test_the_same_generator_gives_the_same_windows():
    policy, X = stages(list_operations()), windows(dtype=torch.float32)
    assert torch.equal(policy(X, generator=rng(5)), policy(X, generator=rng(5)))
    assert not torch.equal(policy(X, generator=rng(5)), policy(X, generator=rng(6)))


def class_wise(y, seed=0):
    policy, X = stages(n_classes=3, n_sub_policies=2), windows(n=len(y), dtype=torch.float32)
    Y = policy(X, y, rng(seed))
    (Y * windows(n=len(y), dtype=torch.float32, seed=4)).sum().backward()
    return policy, Y


def test_a_class_touches_its_own_parameters_only():
    y = torch.tensor([0, 2, 2, 0, 2, 0])
    policy, _ = class_wise(y)
    lists = (policy.weight_logits, policy.probabilities, policy.magnitudes)
    for parameters in lists:
        assert parameters[1].grad.abs().max() == 0
        assert parameters[0].grad.abs().max() > 0
    policy.forget_absent(y)
    for parameters in lists:
        assert [one.grad is None for one in parameters] == [False, True, False]
    before = [one.detach().clone() for one in policy.magnitudes]
    torch.optim.Adam(policy.parameters(), lr=0.1).step()
    assert [torch.equal(a, b) for a, b in zip(before, policy.magnitudes, strict=True)] == [False, True, False]


def test_pooled_classes_are_a_common_value_and_one_of_their_own():
    y, rate = torch.tensor([0, 2, 2, 0, 2, 0]), 0.1
    policy, _ = class_wise(y)
    own = [[one.grad.clone() for one in parameters] for parameters in policy.children()]
    before = [[one.detach().clone() for one in parameters] for parameters in policy.children()]
    policy.pool()
    torch.optim.SGD(policy.parameters(), lr=rate).step()
    for parameters, starts, grads in zip(policy.children(), before, own, strict=True):
        # The same step on `common + own[c]`: the derivative to what is common is the sum of those to the classes.
        common = -rate * sum(grads)
        for one, start, grad in zip(parameters, starts, grads, strict=True):
            torch.testing.assert_close(one.detach(), start + common - rate * grad)
    assert grads[1].abs().max() == 0 and not torch.equal(parameters[1], starts[1])


def test_pooling_leaves_alone_what_has_no_gradient():
    policy = stages([get_operation("sign_flip"), get_operation("time_reverse")], n_classes=2)
    X, y = windows(n=4, dtype=torch.float32), torch.tensor([0, 1, 1, 0])
    policy(X, y, rng(0)).square().sum().backward()
    policy.pool()
    assert all(one.grad is None for one in policy.magnitudes)


def test_permuted_classes_permute_the_policies():
    y = torch.tensor([0, 1, 2, 0, 1, 2])
    turn = torch.tensor([1, 2, 0])
    policy, Y = class_wise(y)
    other = stages(n_classes=3, n_sub_policies=2)
    with torch.no_grad():
        for mine, yours in zip(other.parameters(), policy.parameters(), strict=True):
            mine.copy_(yours)
        for name in ("weight_logits", "probabilities", "magnitudes"):
            for c in range(3):
                getattr(other, name)[int(turn[c])].copy_(getattr(policy, name)[c])
    Y_other = other(windows(n=6, dtype=torch.float32), turn[y], rng(0))
    torch.testing.assert_close(Y, Y_other)


def test_equal_policies_for_all_classes_are_the_policy_of_all():
    one, X = stages(), windows(dtype=torch.float32)
    three = stages(n_classes=3)
    with torch.no_grad():
        for name in ("weight_logits", "probabilities", "magnitudes"):
            for target in getattr(three, name):
                target.copy_(getattr(one, name)[0])
    y = torch.tensor([0, 1, 2, 0, 1, 2])
    assert torch.equal(one(X, generator=rng()), three(X, y, rng()))


def test_classes_that_are_not_known_are_refused():
    policy, X = stages(n_classes=3), windows(n=2)
    with pytest.raises(ValueError, match="pass y"):
        policy(X)
    with pytest.raises(ValueError, match="classes from 0 to 3; there are 3"):
        policy(X, torch.tensor([0, 3]))
    with pytest.raises(ValueError, match="3 classes for 2 windows"):
        policy(X, torch.tensor([0, 1, 2]))


def test_projection_keeps_values_in_range_and_their_gradient_alive():
    policy = stages(["gaussian_noise"], n_sub_policies=1, n_operations=1, mask="linear")
    with torch.no_grad():
        policy.magnitudes[0].zero_()
        policy.probabilities[0].fill_(1.0)
    optimiser = torch.optim.SGD(policy.parameters(), lr=0.1)
    X = windows(n=8, dtype=torch.float32)
    for sign in (1.0, -1.0):  # first pushed below zero, then up again
        optimiser.zero_grad()
        draw = policy.draw(X, generator=rng())
        (sign * policy.augment(X, draw) * draw.stages[0].noise[0]["noise"]).mean().backward()
        optimiser.step()
        policy.project_()
        assert (policy.magnitudes[0].item() > 0) == (sign < 0)


def test_the_exported_sub_policies_are_those_of_largest_weight():
    policy = stages(n_sub_policies=2)
    with torch.no_grad():
        policy.weight_logits[0][0, 0, 3] = 1.0
        policy.weight_logits[0][1, 1, 1] = 1.0
        policy.probabilities[0][0, 0, 3] = 1.2  # as a raw value may be
    (found,) = policy.sub_policies()
    op, p, m = found[0][0]
    assert (op.name, p) == ("frequency_shift", 1.0)
    assert m == pytest.approx(policy.magnitudes[0][0, 0, 3].item())
    assert found[1][1][0].name == "time_reverse"
    assert policy.sub_policies("sample", rng())[0][0][0][0].name == "frequency_shift"
    entropy = policy.entropy()
    assert entropy[0, 0, 0] < 1e-6
    assert entropy[0, 0, 1].item() == pytest.approx(math.log(5), abs=1e-5)
    drawn = {step[0].name for seed in range(20) for step in policy.sub_policies("sample", rng(seed))[0][0]}
    assert drawn == set(SOME)


def test_operations_without_any_weight_are_not_evaluated():
    policy, X = stages(), windows(dtype=torch.float32)
    with torch.no_grad():
        policy.weight_logits[0][..., 0] = 10.0
    draw = policy.draw(X, generator=rng())
    assert all(list(stage.noise) == [0] for stage in draw.stages)
    everything = policy.augment(X, draw._replace(stages=tuple(_all(policy, X, stage) for stage in draw.stages)))
    torch.testing.assert_close(policy.augment(X, draw), everything)


def _all(policy, X, stage):
    return stage._replace(
        noise=stage.noise | draw_stage(policy.operations, tuple(X.shape), rng(), active=[1, 2, 3, 4]).noise
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_sub_policies": 0}, "n_sub_policies is 0"),
        ({"n_operations": 1.5}, "n_operations is 1.5"),
        ({"choice": "best"}, "choice is 'best'"),
        ({"mask": "hard"}, "mask is 'hard'"),
        ({"temperature": 0.0}, "temperature is 0.0"),
        ({"initial": (0.5, 1.5)}, "initial is"),
    ],
)
def test_wrong_settings_are_refused_by_name(settings, message):
    with pytest.raises(ValueError, match=message):
        stages(**settings)
    with pytest.raises(ValueError, match="operations is empty"):
        Stages([])


def test_the_start_is_that_of_its_generator():
    first, same, other = (
        Stages([get_operation("sign_flip")], generator=torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)
    )
    for name in ("probabilities", "magnitudes"):
        at_first = getattr(first, name)[0]
        assert torch.equal(at_first, getattr(same, name)[0]) and not torch.equal(at_first, getattr(other, name)[0])
