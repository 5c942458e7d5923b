import numpy as np
import pytest
import torch

from eegaug.functional import relaxed_bernoulli
from eegaug.operations import get_operation


def uniform(n=20_000, seed=0, dtype=torch.float64):
    return torch.rand(n, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize("p", [0.0, 0.001, 0.1, 0.5, 0.93, 1.0])
@pytest.mark.parametrize("temperature", [0.05, 0.5, 1.0])
def test_law_of_the_draw(p, temperature):
    n = 20_000
    b = relaxed_bernoulli(torch.tensor(p), uniform(n, dtype=torch.float32), temperature)
    assert set(b.unique().tolist()) <= {0.0, 1.0}
    assert float(b.mean()) == pytest.approx(p, abs=3 * np.sqrt(p * (1 - p) / n) + 1e-7)


@pytest.mark.parametrize("requires_grad", [False, True])
def test_a_draw_on_the_border_is_none(requires_grad):
    p = torch.tensor([0.0, 0.25, 1.0], requires_grad=requires_grad)
    # torch.rand gives 0 itself, too; what is never applied is not applied then either.
    assert relaxed_bernoulli(p, torch.tensor([0.0, 0.25, 0.0])).tolist() == [0.0, 0.0, 1.0]


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_surrogate_has_the_same_majority(p):
    u = uniform()
    soft = relaxed_bernoulli(torch.tensor(p, dtype=torch.float64), u, 0.7, hard=False)
    assert torch.equal(soft > 0.5, u < p)


def test_surrogate_hardens_as_it_cools():
    u = uniform()
    p = torch.tensor(0.3, dtype=torch.float64)
    hard = relaxed_bernoulli(p, u)
    apart = [float((relaxed_bernoulli(p, u, tau, hard=False) - hard).abs().mean()) for tau in (1.0, 0.3, 0.05, 0.001)]
    assert apart == sorted(apart, reverse=True) and apart[-1] < 1e-3


@pytest.mark.parametrize(("p", "u", "slope"), [(0.0, 0.25, 3.0), (1.0, 0.75, 3.0)])
def test_surrogate_on_the_border_has_its_limits(p, u, slope):
    # sigmoid(logit p - logit u) = p (1 - u) / (p (1 - u) + u (1 - p)), of slope (1 - u) / u at 0, and its inverse at 1.
    probability = torch.tensor(p, dtype=torch.float64, requires_grad=True)
    soft = relaxed_bernoulli(probability, torch.tensor(u, dtype=torch.float64), 1.0, hard=False)
    assert soft.item() == pytest.approx(p, abs=1e-12)
    soft.backward()
    assert probability.grad.item() == pytest.approx(slope)


@pytest.mark.parametrize(("p", "between"), [(0.5, 0.11), (0.1, 0.04), (0.9, 0.04)])
def test_share_of_soft_values_at_a_low_temperature(p, between):
    soft = relaxed_bernoulli(torch.tensor(p, dtype=torch.float64), uniform(200_000), 0.05, hard=False)
    assert float(((soft > 0.01) & (soft < 0.99)).double().mean()) == pytest.approx(between, abs=0.006)


@pytest.mark.parametrize(
    ("p", "temperature", "mean", "std"),
    [
        (0.1, 0.05, 1.02, 6.1),
        (0.1, 0.5, 1.12, 1.6),
        (0.1, 1.0, 1.17, 0.9),
        (0.5, 0.5, 0.86, 0.7),
        (0.5, 1.0, 0.67, 0.3),
    ],
)
def test_derivative_in_the_probability(p, temperature, mean, std):
    n = 100_000
    probability = torch.full((n,), p, dtype=torch.float64, requires_grad=True)
    relaxed_bernoulli(probability, uniform(n), temperature).sum().backward()
    assert float(probability.grad.mean()) == pytest.approx(mean, abs=0.01 + 4 * std / np.sqrt(n))
    assert float(probability.grad.std()) == pytest.approx(std, rel=0.1)


@pytest.mark.parametrize("p", [0.0, 1.0])
def test_border_still_feels_the_loss(p):
    # A hard 0 or 1 draws what it must, yet the derivative there is neither zero nor infinite.
    probability = torch.full((20_000,), p, dtype=torch.float32, requires_grad=True)
    b = relaxed_bernoulli(probability, uniform(dtype=torch.float32))
    assert (b == p).all()
    b.sum().backward()
    assert torch.isfinite(probability.grad).all() and 0.5 < float(probability.grad.mean()) < 2.0


def test_negative_loss_gradient_moves_a_probability_off_zero():
    probability = torch.zeros((), requires_grad=True)
    optimiser = torch.optim.SGD([probability], lr=0.1)
    loss = -relaxed_bernoulli(probability, uniform(500, dtype=torch.float32)).mean()
    loss.backward()
    optimiser.step()
    assert probability.item() > 0


@pytest.mark.parametrize("name", ["channels_dropout", "channels_shuffle"])
def test_forward_mode_gives_the_straight_through_gradient(name):
    op = get_operation(name)
    noise = op.draw(2, 3, 5, generator=torch.Generator().manual_seed(0))
    X = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(1))

    def f(magnitude):
        return op.apply(X, magnitude, noise).square().sum()

    at = torch.tensor([0.3, 0.4])
    torch.testing.assert_close(torch.func.jacfwd(f)(at), torch.func.grad(f)(at))
    assert torch.func.grad(f)(at).abs().max() > 0
