"""The critic of Faster AutoAugment: its losses, and who is moved by which."""

from __future__ import annotations

import pytest
import torch
from small import SmallNet
from torch import nn
from torch.nn.functional import cross_entropy

from eegaug.search._critic import Critic, critic_loss, gradient_penalty, policy_loss


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def critic():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Critic(SmallNet(n_chans=4, n_outputs=3), 3, 4, 100)


def windows(n=8, seed=0):
    return torch.randn(n, 4, 100, generator=seeded(seed))


def class_loss(logits):
    return cross_entropy(logits, torch.arange(len(logits)) % 3)


def test_critic_shares_features_between_two_heads(critic):
    logits, reality = critic(windows())
    assert logits.shape == (8, 3) and reality.shape == (8,)
    assert [layer.in_features for layer in (critic.classes, critic.reality[0], critic.reality[2])] == [4, 4, 4]


@pytest.mark.parametrize("factor", [1.0, 3.0])
def test_penalty_is_zero_for_a_linear_critic_of_unit_norm(factor):
    direction = factor * windows(1, 3) / windows(1, 3).norm()
    where = torch.rand(8, generator=seeded())
    found = gradient_penalty(lambda X: (X * direction).sum((1, 2)), windows(), windows(seed=1), where)
    assert found.item() == pytest.approx((factor - 1) ** 2, abs=1e-5)


def test_penalty_takes_the_norm_over_all_entries_at_the_place_between():
    real, augmented, where = windows(2), windows(2, 1), torch.tensor([0.25, 1.0])
    between = real + where[:, None, None] * (augmented - real)
    expected = (between.flatten(1).norm(dim=1) - 1).square().mean()  # the slope of half the square is the point itself
    found = gradient_penalty(lambda X: X.square().sum((1, 2)) / 2, real, augmented, where)
    torch.testing.assert_close(found, expected)


def test_penalty_gives_the_critic_a_gradient():
    weight = torch.full((1, 4, 100), 0.5, requires_grad=True)
    found = gradient_penalty(lambda X: (X * weight).sum((1, 2)), windows(), windows(seed=1), torch.rand(8))
    (slope,) = torch.autograd.grad(found, weight)
    # (n - 1)^2 with n = |w| = 10 has the gradient 2 (n - 1) w / n
    torch.testing.assert_close(slope, 2 * 9.0 * weight.detach() / 10)


def test_penalty_of_a_trunk_with_attention():
    class Attends(nn.Module):
        def __init__(self):
            super().__init__()
            self.final_layer = nn.Linear(64, 3)

        def forward(self, X):
            return self.final_layer(nn.functional.scaled_dot_product_attention(X, X, X).flatten(1))

    critic = Critic(Attends(), 3, 4, 16)
    loss, _ = critic_loss(
        critic,
        torch.randn(2, 4, 16),
        torch.randn(2, 4, 16),
        torch.rand(2),
        lambda logits: logits.sum(),
        penalty_weight=1.0,
        class_weight=0.0,
    )
    loss.backward()  # the fused kernel's gradient has none
    assert all(p.grad.isfinite().all() for p in critic.reality.parameters())


def test_critic_loss_is_the_sum_of_its_terms(critic):
    real, augmented, where = windows(), windows(seed=1), torch.rand(8, generator=seeded())
    loss, terms = critic_loss(critic, real, augmented, where, class_loss, penalty_weight=10.0, class_weight=0.1)
    (logits, on_real), (_, on_augmented) = critic(real), critic(augmented)
    penalty = gradient_penalty(lambda X: critic(X)[1], real, augmented, where)
    expected = -on_real.mean() + on_augmented.mean() + 10 * penalty + 0.1 * class_loss(logits)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(terms["distance"], (on_real.mean() - on_augmented.mean()).detach())


def test_halves_of_different_sizes(critic):
    loss, _ = critic_loss(
        critic, windows(3), windows(4, 1), torch.rand(3), class_loss, penalty_weight=10.0, class_weight=0.1
    )
    loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in critic.parameters())


def test_a_critic_step_moves_no_policy_and_a_policy_step_no_critic(critic):
    gain = nn.Parameter(torch.tensor(1.1))
    augmented = gain * windows(seed=1)
    loss, _ = critic_loss(
        critic, windows(), augmented, torch.rand(8), class_loss, penalty_weight=10.0, class_weight=0.1
    )
    loss.backward()
    assert gain.grad is None and all(p.grad is not None for p in critic.parameters())
    critic.zero_grad()
    (slope,) = torch.autograd.grad(policy_loss(critic, augmented, class_loss, class_weight=0.1), gain)
    assert slope != 0 and all(p.grad is None for p in critic.parameters())


def test_with_a_critic_of_zero_only_the_class_term_moves_the_policy(critic):
    nn.init.zeros_(critic.reality[2].weight)
    gain = nn.Parameter(torch.tensor(1.1))

    def slope(loss):
        return torch.autograd.grad(loss, gain)[0]

    X = windows(seed=1)
    found = slope(policy_loss(critic, gain * X, class_loss, class_weight=0.1))
    torch.testing.assert_close(found, slope(0.1 * class_loss(critic(gain * X)[0])))
    assert found != 0
    assert slope(policy_loss(critic, gain * X, class_loss, class_weight=0.0)) == 0
