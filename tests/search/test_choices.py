"""RELAX for choices and the decisions that depend on them: no bias, and less variance once it has learned."""

from __future__ import annotations

import pytest
import torch

from eegaug.search._choices import Relax, draw_choices

F64 = torch.float64
N = 20_000
#: What each choice is worth, undecided and decided.
WORTH = torch.tensor([[1.0, 3.0], [2.0, 0.5], [0.2, 0.4]], dtype=F64)


def law():
    logits = torch.tensor([0.2, -0.3, 0.5], dtype=F64, requires_grad=True)
    p = torch.tensor([0.3, 0.6, 0.8], dtype=F64, requires_grad=True)
    return logits, p


def drawn(logits, p, n=N, seed=0):
    generator = torch.Generator().manual_seed(seed)
    log_probs = torch.log_softmax(logits, 0).expand(n, 3)
    return draw_choices([log_probs], lambda index: p[index[0]][:, None], torch.zeros(n, 0, dtype=F64), generator)


def worth(choices):
    return WORTH[choices.index[0], choices.b[:, 0].long()]


def relax(trained_for=0):
    logits, p = law()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = Relax([3], 1, 0).double()
    optimizer = torch.optim.Adam(made.control.parameters(), lr=0.02)
    for step in range(trained_for):
        choices = drawn(logits, p, 64, seed=step)
        made.learn(worth(choices), choices, [logits, p], optimizer)
    return made


def true_gradient():
    logits, p = law()
    q = torch.stack([1 - p, p], 1)
    return torch.autograd.grad((torch.softmax(logits, 0)[:, None] * q * WORTH).sum(), (logits, p))


def estimates(made, n_batches=200, size=100):
    logits, p = law()
    found = []
    for seed in range(n_batches):
        choices = drawn(logits, p, size, seed=1000 + seed)
        values = worth(choices)
        scale = made.scale(values)
        found.append(torch.stack([g.flatten() * scale / size for g in made.gradient(values, choices, [logits, p])]))
    return torch.stack(found)


@pytest.mark.parametrize("trained_for", [0, 60])
def test_the_gradient_has_no_bias(trained_for):
    made = relax(trained_for)
    made.mean_square.fill_(2.0)  # the first batch would be scaled by itself
    found, true = estimates(made), torch.stack(true_gradient())
    error = found.mean(0) - true
    assert (error.abs() < 4 * found.std(0) / len(found) ** 0.5).all()


def test_the_control_variate_lowers_the_variance():
    plain, learned = relax(), relax(120)
    plain.mean_square.fill_(2.0)
    assert estimates(learned).var(0).sum() < 0.6 * estimates(plain).var(0).sum()


def test_every_decision_counts_in_full():
    made, (logits, p) = Relax([3], 3, 0).double(), law()  # before it has learned, its gradient is that of REINFORCE
    log_probs = torch.log_softmax(logits, 0).expand(50, 3)
    generator = torch.Generator().manual_seed(0)
    choices = draw_choices([log_probs], lambda index: p.expand(50, 3), torch.zeros(50, 0, dtype=F64), generator)
    values = torch.arange(50, dtype=F64)
    chance = torch.where(choices.b > 0, p, 1 - p)
    log_prob = log_probs[torch.arange(50), choices.index[0]] + chance.log().sum(1)
    expected = torch.autograd.grad((values * log_prob).sum() / made.scale(values), (logits, p), retain_graph=True)
    torch.testing.assert_close(made.gradient(values, choices, [logits, p]), expected)


def test_draws_follow_their_law():
    choices = drawn(*law())
    index, b = choices.index[0], choices.b[:, 0]
    logits, p = law()
    for q, (share, chance) in enumerate(zip(torch.softmax(logits, 0).tolist(), p.tolist(), strict=True)):
        here = index == q
        assert here.double().mean().item() == pytest.approx(share, abs=0.015)
        assert b[here].mean().item() == pytest.approx(chance, abs=0.03)


def test_draws_are_those_of_their_generator():
    first, same, other = (drawn(*law(), n=20, seed=seed) for seed in (0, 0, 1))
    for name in ("z", "z_given"):
        assert torch.equal(getattr(first, name)[0], getattr(same, name)[0])
        assert not torch.equal(getattr(first, name)[0], getattr(other, name)[0])
    assert torch.equal(first.logistic_given, same.logistic_given)
    assert not torch.equal(first.logistic, other.logistic)


def test_values_count_in_their_own_units():
    made, (logits, p) = relax(), law()
    choices = drawn(logits, p, 50)
    optimizer = torch.optim.Adam(made.control.parameters(), lr=0.0)
    small = made.learn(1e-6 * worth(choices), choices, [logits, p], optimizer)
    assert made.mean_square.item() == pytest.approx((1e-6 * worth(choices)).square().mean().item())
    large = relax().learn(worth(choices), choices, [logits, p], optimizer)
    for a, b in zip(small, large, strict=True):
        torch.testing.assert_close(a * 1e6, b)


def test_values_of_zero_give_no_gradient():
    made, (logits, p) = relax(), law()
    choices = drawn(logits, p, 10)
    found = made.learn(torch.zeros(10, dtype=F64), choices, [logits, p], torch.optim.Adam(made.control.parameters()))
    assert all(torch.equal(g, torch.zeros(3, dtype=F64)) for g in found)


def test_decisions_that_are_certain_still_fall_either_way():
    logits, _ = law()
    p = torch.tensor([0.0, 1.0, 0.0], dtype=F64, requires_grad=True)
    choices = drawn(logits, p)
    assert 0.01 < choices.b[choices.index[0] == 0].mean() < 0.04
    assert 0.96 < choices.b[choices.index[0] == 1].mean() < 0.99
    # And so they can be learned away from: what is applied always, or never, has a gradient.
    _, of_p = relax().gradient(worth(choices), choices, [logits, p])
    assert (of_p != 0).all()


def test_what_has_nothing_to_do_with_the_draws_is_left_out_of_what_windows_were_worth():
    made, (logits, p) = relax(), law()
    generator = torch.Generator().manual_seed(0)
    plain = 5.0 * torch.randn(400, 100, generator=generator, dtype=F64)
    found, without = [], []
    for seed, own in enumerate(plain):
        choices = drawn(logits, p, 100, seed=seed)
        values = worth(choices) + 0.8 * own
        left = made.beyond(values, own)
        if seed == 0:
            assert torch.equal(left, values)  # nothing is known yet
        for kept, into in ((left, found), (values, without)):
            gradient = made.gradient(kept, choices, [logits, p])
            into.append(torch.stack([g.flatten() * made.scale(kept) / 100 for g in gradient]))
    coefficient = made.products[0] / made.products[1]
    assert coefficient.item() == pytest.approx(0.8, abs=0.02)
    found, without, true = torch.stack(found[20:]), torch.stack(without[20:]), torch.stack(true_gradient())
    assert ((found.mean(0) - true).abs() < 4 * found.std(0) / len(found) ** 0.5).all()
    assert found.var(0).sum() < 0.2 * without.var(0).sum()
    assert torch.equal(made.beyond(values, None), values)


def test_a_state_from_before_windows_were_compared_with_themselves_is_loaded():
    made, before = relax(), relax(3)
    before.products.fill_(1.0)
    state = {name: value for name, value in before.state_dict().items() if name != "products"}
    made.load_state_dict(state)
    assert torch.equal(made.products, torch.zeros(2, dtype=F64)) and made.mean_square == before.mean_square
