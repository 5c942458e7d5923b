"""Relaxed choices: exact draws, useful gradients, and RELAX without bias."""

from __future__ import annotations

import pytest
import torch
from scipy import stats

from eegaug.search.relaxations import (
    ControlVariate,
    gumbel,
    gumbel_softmax,
    linear_bernoulli,
    relax_bernoulli,
    relax_categorical,
    relax_gradient,
    relaxed_bernoulli,
)

N = 20_000


def uniform(*shape, seed=0, dtype=torch.float64):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize("draw", [relaxed_bernoulli, linear_bernoulli])
@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 1.0])
def test_hard_draws_are_one_with_their_probability(draw, p):
    b = draw(torch.tensor(p, dtype=torch.float64), uniform(N))
    assert set(b.unique().tolist()) <= {0.0, 1.0}
    assert abs(b.mean().item() - p) <= 3 * (p * (1 - p) / N) ** 0.5
    assert draw(torch.tensor(p), torch.tensor(p)).item() == 0.0  # a draw may be 0, too


def test_the_probability_of_a_hard_draw_does_not_depend_on_the_temperature():
    p = torch.tensor(0.3, dtype=torch.float64)
    soft = [relaxed_bernoulli(p, uniform(N), temperature=t, hard=False) for t in (0.05, 0.5, 2.0)]
    for relaxed in soft:
        assert torch.equal((relaxed > 0.5).double(), relaxed_bernoulli(p, uniform(N)))


def test_soft_draws_become_hard_as_the_temperature_falls():
    p, u = torch.tensor(0.3, dtype=torch.float64), uniform(N)
    hard = relaxed_bernoulli(p, u)
    distance = [
        (relaxed_bernoulli(p, u, temperature=t, hard=False) - hard).abs().mean().item() for t in (1.0, 0.1, 1e-3)
    ]
    assert distance[0] > distance[1] > distance[2]
    assert distance[2] < 1e-3


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_gradients_in_the_probability(p):
    p = torch.tensor(p, dtype=torch.float64, requires_grad=True)
    soft = relaxed_bernoulli(p, uniform(N), temperature=0.5, hard=False).mean()
    assert torch.autograd.grad(soft, p)[0] > 0.5
    assert torch.autograd.grad(linear_bernoulli(p, uniform(N)).mean(), p)[0].item() == pytest.approx(1.0)


def test_the_linear_draw_is_unbiased_for_a_function_of_the_draw_that_is_linear():
    p = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    weights = uniform(N, seed=1)
    found = torch.autograd.grad((weights * linear_bernoulli(p, uniform(N))).sum(), p)[0]
    assert found.item() == pytest.approx(weights.sum().item())


def test_gumbel_variables_have_their_law():
    assert stats.kstest(gumbel(uniform(2000)).numpy(), stats.gumbel_r.cdf).pvalue > 0.01
    assert torch.isfinite(gumbel(torch.tensor([0.0, 1.0 - 1e-8], dtype=torch.float32))).all()


def test_straight_through_rows_are_one_hot_with_the_gradient_of_the_soft_ones():
    logits = torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64, requires_grad=True)
    u = uniform(50, 3)
    hard, soft = gumbel_softmax(logits, u), gumbel_softmax(logits, u, hard=False)
    for temperature in (0.5, 0.2):  # the first where nothing is said
        expected = torch.softmax((logits - torch.log(-torch.log(u))) / temperature, -1)
        torch.testing.assert_close(gumbel_softmax(logits, u, temperature, hard=False), expected)
    torch.testing.assert_close(soft, gumbel_softmax(logits, u, 0.5, hard=False))
    assert set(hard.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(hard.sum(-1), torch.ones(50, dtype=torch.float64))
    assert torch.equal(hard.argmax(-1), soft.argmax(-1))
    upstream = uniform(50, 3, seed=1)
    of_hard, of_soft = (torch.autograd.grad((c * upstream).sum(), logits)[0] for c in (hard, soft))
    torch.testing.assert_close(of_hard, of_soft)
    with pytest.raises(ValueError, match="temperature is 0"):
        gumbel_softmax(logits, u, temperature=0.0)


def test_draws_follow_the_softmax_of_the_logits():
    logits = torch.tensor([0.5, -1.0, 2.0, 0.0], dtype=torch.float64)
    expected = torch.softmax(logits, 0) * N
    one = gumbel_softmax(logits, uniform(N, 4)).sum(0)
    other = torch.bincount(relax_categorical(logits.expand(N, 4), uniform(N, 4), uniform(N, 4, seed=1))[0])
    for counts in (one, other.double()):
        assert stats.chisquare(counts.numpy(), expected.numpy()).pvalue > 0.01


def test_relaxed_variables_given_the_draw_agree_with_it_and_keep_their_law():
    p = torch.full((N,), 0.3, dtype=torch.float64)
    b, z, given = relax_bernoulli(p, uniform(N), uniform(N, seed=1))
    assert torch.equal(given > 0, z > 0)
    assert torch.equal(b > 0, z > 0)
    assert stats.ks_2samp(z.numpy(), given.numpy()).pvalue > 0.01
    logits = torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64).expand(N, 3)
    index, z, given = relax_categorical(logits, uniform(N, 3, seed=2), uniform(N, 3, seed=3))
    assert torch.equal(given.argmax(-1), index)
    assert torch.equal(z.argmax(-1), index)
    for i in range(3):
        assert stats.ks_2samp(z[:, i].numpy(), given[:, i].numpy()).pvalue > 0.01


def bernoulli_estimates(p, control, seed=0):
    """RELAX and score-function estimates of d/dp E[(b - 0.45)^2], whose true value is 1 - 2 * 0.45."""
    p = torch.full((N,), p, dtype=torch.float64, requires_grad=True)
    b, z, given = relax_bernoulli(p, uniform(N, seed=seed), uniform(N, seed=seed + 1))
    value, log_prob = (b - 0.45) ** 2, torch.where(b > 0, p, 1 - p).log()
    (relax,) = relax_gradient(value, log_prob, control(z), control(given), [p])
    (plain,) = relax_gradient(value, log_prob, torch.zeros_like(z), torch.zeros_like(z), [p])
    return relax, plain


def test_relax_for_a_bernoulli_variable_has_no_bias_and_less_variance():
    relax, plain = bernoulli_estimates(0.3, lambda z: 0.2025 + 0.1 * torch.sigmoid(z / 0.5))
    for estimate in (relax, plain):
        assert abs(estimate.mean().item() - 0.1) < 4 * estimate.std().item() / N**0.5
    assert relax.var() < 0.5 * plain.var()


def test_relax_has_no_bias_whatever_the_control_variate():
    relax, _ = bernoulli_estimates(0.6, lambda z: torch.sin(3 * z) + torch.sigmoid(z))
    assert abs(relax.mean().item() - 0.1) < 4 * relax.std().item() / N**0.5


def test_relax_for_a_categorical_variable_has_no_bias_and_less_variance():
    values = torch.tensor([3.0, 2.2, 1.5], dtype=torch.float64)
    logits = torch.tensor([0.3, 0.0, -0.3], dtype=torch.float64)
    rows = logits.repeat(N, 1).requires_grad_()
    index, z, given = relax_categorical(rows, uniform(N, 3), uniform(N, 3, seed=1))
    log_prob = torch.log_softmax(rows, -1).gather(-1, index[:, None])[:, 0]

    def control(z):
        return torch.softmax(z / 0.5, -1) @ values

    (relax,) = relax_gradient(values[index], log_prob, control(z), control(given), [rows])
    (plain,) = relax_gradient(values[index], log_prob, torch.zeros(N), torch.zeros(N), [rows])
    p = torch.softmax(logits, 0)
    true = p * (values - p @ values)
    for estimate in (relax, plain):
        assert ((estimate.mean(0) - true).abs() < 4 * estimate.std(0) / N**0.5).all()
    assert relax.var(0).sum() < 0.5 * plain.var(0).sum()


def test_the_control_variate_learns_to_lower_the_variance():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        control = ControlVariate(1, 10).double()
    optimiser = torch.optim.Adam(control.parameters(), lr=0.05)

    def c(z):
        return control(torch.sigmoid(z / 0.5)[:, None])

    p = torch.full((64,), 0.3, dtype=torch.float64, requires_grad=True)
    for step in range(60):
        b, z, given = relax_bernoulli(p, uniform(64, seed=2 * step), uniform(64, seed=2 * step + 1))
        log_prob = torch.where(b > 0, p, 1 - p).log()
        (g,) = relax_gradient((b - 0.45) ** 2, log_prob, c(z), c(given), [p], create_graph=True)
        optimiser.zero_grad()
        g.square().sum().backward()
        optimiser.step()
    relax, plain = bernoulli_estimates(0.3, c, seed=1000)
    assert abs(relax.mean().item() - 0.1) < 4 * relax.std().item() / N**0.5
    assert relax.var() < 0.5 * plain.var()


def test_an_untrained_control_variate_is_the_score_function_estimator():
    relax, plain = bernoulli_estimates(0.3, lambda z: ControlVariate(1).double()(torch.sigmoid(z)[:, None]))
    torch.testing.assert_close(relax, plain)


def test_extreme_draws_and_probabilities_stay_finite():
    ends = torch.tensor([0.0, 1.0 - 6e-8, 0.5])
    p = torch.tensor([0.02, 0.98, 0.5], requires_grad=True)
    for part in relax_bernoulli(p, ends, ends.flip(0)):
        assert torch.isfinite(part).all()
    logits = torch.tensor([[0.0, -200.0, 50.0]], requires_grad=True)
    index, z, given = relax_categorical(logits, ends[None], ends.flip(0)[None])
    assert torch.isfinite(z).all()
    assert torch.isfinite(given).all()
    (grad,) = torch.autograd.grad(given.sum() + z.sum(), logits)
    assert torch.isfinite(grad).all()
    assert given.argmax(-1).equal(index)
