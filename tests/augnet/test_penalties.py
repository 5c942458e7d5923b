"""The norms against their formulas."""

from __future__ import annotations

import math

import pytest
import torch

from eegaug.augnet import augmentation_norm

TEMPERATURE = 0.01


def parameters(seed=0):
    rng = torch.Generator().manual_seed(seed)
    logits = [1 + 0.01 * torch.randn(n, generator=rng, dtype=torch.float64) for n in (3, 2)]
    strengths = [torch.rand(n, generator=rng, dtype=torch.float64) for n in (3, 2)]
    return [p.requires_grad_() for p in logits], [p.requires_grad_() for p in strengths]


def softmaxed(logits):
    return [torch.softmax(p / TEMPERATURE, 0) for p in logits]


def test_selective_norm_and_its_gradients():
    logits, strengths = parameters()
    weights = softmaxed(logits)
    norm = augmentation_norm(weights, strengths)
    w, mu = torch.cat(weights).detach(), torch.cat(strengths).detach()
    expected = (w**2 * mu**2).sum().sqrt()
    torch.testing.assert_close(norm.detach(), expected)
    norm.backward()
    for layer, (logit, strength) in enumerate(zip(logits, strengths, strict=True)):
        w, mu = weights[layer].detach(), strength.detach()
        torch.testing.assert_close(strength.grad, w**2 * mu / expected)
        # The softmax couples the weights of one layer: N² in the formula is that layer's share of the squared norm.
        share = (w**2 * mu**2).sum()
        torch.testing.assert_close(logit.grad, w / (TEMPERATURE * expected) * (w * mu**2 - share))


def test_change_weighs_strengths_by_what_they_do():
    logits, strengths = parameters()
    weights, changes = softmaxed(logits), [torch.tensor([0.1, 1.4, 0.7]), torch.tensor([0.2, 2.0])]
    norm = augmentation_norm(weights, strengths, "change", changes=[c.double() for c in changes])
    parts = torch.cat(weights) * torch.cat(strengths) * torch.cat(changes)
    torch.testing.assert_close(norm, parts.square().sum().sqrt())
    selective = augmentation_norm(weights, strengths)
    assert augmentation_norm(weights, strengths, "change") == selective  # 1 for all
    # In what unit a strength is measured makes no difference.
    halved = [s / 2 for s in strengths]
    torch.testing.assert_close(augmentation_norm(weights, halved, "change", changes=[2 * c for c in changes]), norm)


def test_one_layer_gradient_of_weights_is_winner_takes_all():
    logits = torch.tensor([1.0, 1.0], dtype=torch.float64, requires_grad=True)
    mu = torch.tensor([0.4, 0.3], dtype=torch.float64)
    weights = torch.softmax(logits / TEMPERATURE, 0)
    norm = augmentation_norm([weights], [mu])
    norm.backward()
    w, N = weights.detach(), norm.detach()
    torch.testing.assert_close(logits.grad, w / (TEMPERATURE * N) * (w * mu**2 - N**2))
    assert logits.grad[0] > 0 > logits.grad[1]


def test_one_hot_weights_give_a_constant_push():
    mu = torch.tensor([0.2, 0.7], requires_grad=True)
    augmentation_norm([torch.tensor([0.0, 1.0])], [mu]).backward()
    assert mu.grad.tolist() == [0.0, 1.0]


def test_all_strengths_zero_give_zero_not_nan():
    logits, _ = parameters()
    strengths = [torch.zeros(n, dtype=torch.float64, requires_grad=True) for n in (3, 2)]
    norm = augmentation_norm(softmaxed(logits), strengths)
    norm.backward()
    assert norm.item() == 0
    assert all((p.grad == 0).all() for p in logits + strengths)


def test_magnitude_ignores_weights():
    logits, strengths = parameters()
    norm = augmentation_norm(softmaxed(logits), strengths, "magnitude")
    mu = torch.cat(strengths).detach()
    torch.testing.assert_close(norm.detach(), mu.norm())
    norm.backward()
    torch.testing.assert_close(torch.cat([p.grad for p in strengths]), mu / mu.norm())
    assert all(p.grad is None for p in logits)


def test_none_is_zero():
    assert augmentation_norm([torch.ones(1)], [torch.ones(1)], "none").item() == 0


@pytest.mark.parametrize("kind", ["selective", "magnitude"])
def test_per_layer_is_the_sum_of_norms(kind):
    logits, strengths = parameters()
    weights = softmaxed(logits)
    parts = [augmentation_norm([w], [s], kind) for w, s in zip(weights, strengths, strict=True)]
    torch.testing.assert_close(augmentation_norm(weights, strengths, kind, "per_layer"), sum(parts))
    assert augmentation_norm(weights, strengths, kind) < sum(parts)


@pytest.mark.parametrize("wrong", [{"kind": "l1"}, {"reduction": "mean"}])
def test_unknown_names_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong.values()))):
        augmentation_norm([torch.ones(1)], [torch.ones(1)], **wrong)


def test_mean_and_logarithm_of_strengths():
    weights = [torch.tensor([0.25, 0.75]), torch.tensor([1.0])]
    strengths = [torch.tensor([0.2, 0.4], requires_grad=True), torch.tensor([0.5], requires_grad=True)]
    mean = augmentation_norm(weights, strengths, "mean")
    assert mean.item() == pytest.approx(0.25 * 0.2 + 0.75 * 0.4 + 0.5)
    log = augmentation_norm(weights, strengths, "log")
    log.backward()
    assert log.item() == pytest.approx(0.25 * math.log(0.2) + 0.75 * math.log(0.4) + math.log(0.5))
    torch.testing.assert_close(strengths[0].grad, torch.tensor([0.25 / 0.2, 0.75 / 0.4]))
    torch.testing.assert_close(strengths[1].grad, torch.tensor([2.0]))
    assert augmentation_norm(weights, strengths, "log", limit=0.5).item() == 0.0


def test_logarithm_is_a_straight_line_next_to_zero():
    strengths = torch.tensor([0.0, 0.0005, 0.001], requires_grad=True)
    norm = augmentation_norm([torch.ones(3)], [strengths], "log")
    norm.backward()
    assert norm.item() == pytest.approx(3 * math.log(0.001) - 1 - 0.5, rel=1e-5)
    torch.testing.assert_close(strengths.grad[:2], torch.tensor([1000.0, 1000.0]))
    assert torch.isfinite(strengths.grad).all()


def test_reward_of_what_is_applied_by_chance():
    """Its derivative in the strength is minus the logarithm of the probability; the law of its maximum follows."""
    strengths = torch.tensor([0.0, 0.5, 1.0, 0.5], dtype=torch.float64, requires_grad=True)
    chances = [[True, True, True, False]]
    norm = augmentation_norm([torch.ones(4)], [strengths], "log", by_chance=chances)
    assert norm.item() == pytest.approx(0 + 0.5 * (1 - math.log(0.25)) + 1 - math.log(0.5) + math.log(0.5), abs=1e-2)
    norm.backward()
    torch.testing.assert_close(strengths.grad[1:3], -torch.log(torch.tensor([0.25, 0.5], dtype=torch.float64)))
    assert strengths.grad[0].item() == pytest.approx(-math.log(0.0005))
    assert strengths.grad[3].item() == pytest.approx(2.0)
    # A loss of 2 p per window and a penalty of 0.7 meet where p = exp(-2 / (2 * 0.7)).
    p = math.exp(-2 / 1.4)
    mu = torch.tensor([2 * p], dtype=torch.float64, requires_grad=True)
    (2 * mu / 2 - 0.7 * augmentation_norm([torch.ones(1)], [mu], "log", by_chance=[[True]])).sum().backward()
    assert mu.grad.item() == pytest.approx(0.0, abs=1e-9)
