"""Hypergradients: a quadratic with a known answer, networks against differences, and what is left alone."""

from __future__ import annotations

import copy

import pytest
import torch
from small import SmallNet, global_random_states
from torch import nn

from eegaug.search.bilevel import hypergradient, step_of, unrolled_gradient

F64 = torch.float64


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


class Quadratic:
    """Training moves theta towards M alpha; validation wants it at t."""

    lr = 0.3

    def __init__(self):
        self.M, self.t, self.theta = normal(5, 3), normal(5, seed=1), normal(5, seed=2)
        self.alpha = normal(3, seed=3).requires_grad_()

    def train(self, p):
        return (p["theta"] - self.M @ self.alpha).square().sum() / 2

    def valid(self, p):
        return (p["theta"] - self.t).square().sum() / 2

    def moved(self, alpha):
        return self.theta - self.lr * (self.theta - self.M @ alpha)

    def gradient(self, **settings):
        return unrolled_gradient(self.train, self.valid, {"theta": self.theta}, [self.alpha], self.lr, **settings)


@pytest.mark.parametrize("method", ["exact", "finite_difference"])
def test_the_quadratic_has_its_known_gradient(method):
    q = Quadratic()
    found = q.gradient(method=method)
    alpha = q.alpha.detach()
    known = q.lr * q.M.T @ (q.moved(alpha) - q.t)
    torch.testing.assert_close(found.gradients[0], known, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(found.valid_loss, (q.moved(alpha) - q.t).square().sum() / 2)
    torch.testing.assert_close(found.train_loss, q.train({"theta": q.theta}).detach())


@pytest.mark.parametrize("method", ["exact", "finite_difference"])
def test_a_step_against_the_gradient_lowers_the_validation_loss(method):
    q = Quadratic()
    found = q.gradient(method=method)
    better = q.alpha.detach() - 0.1 * found.gradients[0]
    assert q.valid({"theta": q.moved(better)}) < found.valid_loss


@pytest.mark.parametrize("method", ["exact", "finite_difference"])
def test_weight_decay_and_factors_belong_to_the_step(method):
    q = Quadratic()
    factors = torch.linspace(0.5, 2.0, 5, dtype=F64)
    found = q.gradient(method=method, weight_decay=0.2, scale={"theta": factors}).gradients[0]

    def after(alpha):
        return q.theta - q.lr * factors * (q.theta - q.M @ alpha + 0.2 * q.theta)

    alpha = q.alpha.detach().clone().requires_grad_()
    (known,) = torch.autograd.grad((after(alpha) - q.t).square().sum() / 2, alpha)
    torch.testing.assert_close(found, known, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("method", ["exact", "finite_difference"])
def test_a_normalised_step_keeps_its_length(method):
    q = Quadratic()
    found = q.gradient(method=method, normalised=True).gradients[0]
    length = (q.theta - q.M @ q.alpha.detach()).norm()

    def after(alpha):
        g = q.theta - q.M @ alpha
        return q.theta - q.lr * length * g / g.norm()

    alpha = q.alpha.detach().clone().requires_grad_()
    (known,) = torch.autograd.grad((after(alpha) - q.t).square().sum() / 2, alpha)
    torch.testing.assert_close(found, known, rtol=1e-6, atol=1e-8)
    assert (found - q.gradient(method=method).gradients[0]).norm() > 0.1 * found.norm()


@pytest.mark.parametrize("method", ["exact", "finite_difference"])
def test_a_validation_loss_that_does_not_depend_on_the_parameters_has_no_gradient(method):
    q = Quadratic()
    for loss in (lambda p: torch.tensor(1.0), lambda p: 0.0 * p["theta"].sum()):
        found = unrolled_gradient(q.train, loss, {"theta": q.theta}, [q.alpha], 0.1, method=method)
        assert torch.equal(found.gradients[0], torch.zeros(3, dtype=F64))


class Net(nn.Module):
    """With everything that depends on more than its parameters: batch statistics and dropout."""

    def __init__(self, drop_prob=0.0):
        super().__init__()
        self.conv = nn.Conv1d(2, 3, 3)
        self.norm = nn.BatchNorm1d(3)
        self.drop = nn.Dropout(drop_prob)
        self.final_layer = nn.Linear(3, 3)

    def forward(self, X):
        return self.final_layer(self.drop(nn.functional.softplus(self.norm(self.conv(X))).mean(-1)))


def net(**settings):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Net(**settings).double()


def batches(n=5):
    y = torch.arange(n) % 3
    return (normal(n, 2, 8), y), (normal(6, 2, 8, seed=1), torch.tensor([0, 1, 2, 0, 1, 2]))


WEIGHTS = torch.tensor([0.5, 1.0, 2.5], dtype=F64)  # those of a batch do not sum to its size
CRITERION = nn.CrossEntropyLoss(weight=WEIGHTS)


def validation_loss_after_a_step(trunk, train, valid, lr, seed=0, weights=None):
    """By hand: a real step of a copy."""
    trunk, (X, y) = copy.deepcopy(trunk), train
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        losses = nn.functional.cross_entropy(trunk(X), y, weight=WEIGHTS, reduction="none")
    loss = (losses * (1.0 if weights is None else weights)).sum() / WEIGHTS[y].sum()
    grads = torch.autograd.grad(loss, list(trunk.parameters()))
    with torch.no_grad():
        for p, g in zip(trunk.parameters(), grads, strict=True):
            p -= lr * g
    trunk.norm.load_state_dict({k: v for k, v in trunk.norm.state_dict().items()} | START)
    trunk.eval()
    return nn.functional.cross_entropy(trunk(valid[0]), valid[1], weight=WEIGHTS).item()


START = {"running_mean": torch.zeros(3), "running_var": torch.ones(3), "num_batches_tracked": torch.tensor(0)}


@pytest.mark.parametrize("drop_prob", [0.0, 0.5])
def test_the_exact_gradient_is_that_of_numerical_differences(drop_prob):
    trunk, (train, valid), lr, h = net(drop_prob=drop_prob), batches(), 0.5, 1e-5
    found = hypergradient(trunk, CRITERION, train, valid, lr, seed=7)
    X, y = train
    assert found.valid_loss.item() == pytest.approx(validation_loss_after_a_step(trunk, train, valid, lr, 7), rel=1e-9)
    for place in [(0, 0, 0), (1, 1, 4), (4, 0, 7)]:
        moved = [X.clone(), X.clone()]
        moved[0][place] += h
        moved[1][place] -= h
        up, down = (validation_loss_after_a_step(trunk, (Xi, y), valid, lr, 7) for Xi in moved)
        assert found.X[place].item() == pytest.approx((up - down) / (2 * h), rel=1e-4, abs=1e-9)
    for i in (0, 3):
        weights = [torch.ones(5, dtype=F64), torch.ones(5, dtype=F64)]
        weights[0][i] += h
        weights[1][i] -= h
        up, down = (validation_loss_after_a_step(trunk, train, valid, lr, 7, w) for w in weights)
        assert found.examples[i].item() == pytest.approx((up - down) / (2 * h), rel=1e-4, abs=1e-9)


@pytest.mark.parametrize("drop_prob", [0.0, 0.5])
def test_finite_differences_agree_within_one_percent(drop_prob):
    trunk, (train, valid) = net(drop_prob=drop_prob), batches()
    exact, differences = (
        hypergradient(trunk, CRITERION, train, valid, 0.1, seed=3, method=m) for m in ("exact", "finite_difference")
    )
    for a, b in ((exact.X, differences.X), (exact.examples, differences.examples)):
        assert (a - b).norm() < 0.01 * a.norm()
    assert exact.valid_loss == differences.valid_loss


@pytest.mark.parametrize("method", ["exact", "finite_difference"])
def test_network_optimiser_and_random_states_are_left_alone(method):
    trunk, (train, valid) = net(drop_prob=0.5), batches()
    trunk.drop.eval()  # a part that the user has put into another mode stays in it
    optimiser = torch.optim.Adam(trunk.parameters())
    CRITERION(trunk(train[0]), train[1]).backward()
    optimiser.step()
    before = copy.deepcopy((trunk.state_dict(), optimiser.state_dict()))
    grads = [p.grad.clone() for p in trunk.parameters()]
    states = global_random_states()
    hypergradient(trunk, CRITERION, train, valid, 0.1, method=method)
    for key, value in trunk.state_dict().items():
        assert torch.equal(value, before[0][key]), key
    for index, state in optimiser.state_dict()["state"].items():
        assert all(torch.equal(value, before[1]["state"][index][key]) for key, value in state.items())
    assert all(torch.equal(p.grad, g) for p, g in zip(trunk.parameters(), grads, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(states, global_random_states(), strict=True))
    assert trunk.training
    assert not trunk.drop.training


class Doubled(Net):
    """The same network, whose parts go by two names, beside a weight that two modules share."""

    def __init__(self):
        super().__init__()
        self.parts = nn.ModuleList([self.conv, self.norm])
        self.again = nn.Linear(3, 3)
        self.again.weight = self.final_layer.weight

    def forward(self, X):
        features = nn.functional.softplus(self.parts[1](self.parts[0](X))).mean(-1)
        return nn.functional.linear(features, self.again.weight, self.final_layer.bias) + 0.0 * self.again(features)


@pytest.mark.parametrize("method", ["exact", "finite_difference"])
def test_parts_of_a_network_may_go_by_two_names(method):
    plain, (train, valid) = net(), batches()
    trunk = Doubled().double()
    trunk.load_state_dict(plain.state_dict(), strict=False)
    state = copy.deepcopy(trunk.state_dict())
    parameters = list(trunk.parameters())
    found, expected = (hypergradient(one, CRITERION, train, valid, 0.1, method=method) for one in (trunk, plain))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-12)
    assert all(one is other for one, other in zip(trunk.parameters(), parameters, strict=True))
    assert all(torch.equal(value, state[name]) for name, value in trunk.state_dict().items())


def test_windows_that_show_what_validation_shows_help():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        trunk = nn.Sequential(nn.Flatten(), nn.Linear(4, 2)).double()
    X = torch.tensor([[[1.0, 0, 0, 0]], [[1.0, 0, 0, 0]], [[0, 1.0, 0, 0]]], dtype=F64)
    found = hypergradient(
        trunk, nn.CrossEntropyLoss(), (X, torch.tensor([0, 1, 0])), (X[:1], torch.tensor([0])), lr=0.1
    )
    assert found.examples[0] < 0 < found.examples[1]


def test_frozen_parameters_take_no_step():
    trunk, (train, valid) = net(), batches()
    trunk.conv.requires_grad_(False)
    other = copy.deepcopy(trunk)
    other.conv.requires_grad_(True)
    frozen, free = (hypergradient(t, CRITERION, train, valid, 0.1).X for t in (trunk, other))
    assert frozen.abs().max() > 0
    assert not torch.allclose(frozen, free)


class Once(torch.autograd.Function):
    @staticmethod
    def forward(ctx, X):
        return X.exp()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):
        return grad


class OnceNet(SmallNet):
    def forward(self, X):
        return super().forward(Once.apply(X * self.conv.weight.mean()))


def test_a_network_without_second_derivative_is_refused_with_a_way_out():
    trunk, X, y = OnceNet(2, 3).float(), torch.randn(3, 2, 30), torch.tensor([0, 1, 2])
    with pytest.raises(ValueError, match=r"OnceNet cannot be differentiated twice.*finite_difference"):
        hypergradient(trunk, nn.CrossEntropyLoss(), (X, y), (X, y), 0.1)
    found = hypergradient(trunk, nn.CrossEntropyLoss(), (X, y), (X, y), 0.1, method="finite_difference")
    assert found.X.abs().max() > 0


def test_attention_and_recurrent_networks_are_differentiated_twice():
    class Attentive(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = nn.MultiheadAttention(2, 1, batch_first=True)
            self.recurrent = nn.LSTM(2, 3, batch_first=True)
            self.final_layer = nn.Linear(3, 3)

        def forward(self, X):
            X = X.transpose(1, 2)
            X = self.attention(X, X, X, need_weights=False)[0]
            return self.final_layer(self.recurrent(X)[0].mean(1))

    with torch.random.fork_rng():
        torch.manual_seed(0)
        trunk = Attentive().double()
    train, valid = batches()
    exact, differences = (
        hypergradient(trunk, CRITERION, train, valid, 0.1, method=m).X for m in ("exact", "finite_difference")
    )
    assert (exact - differences).norm() < 0.01 * exact.norm()


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.AdamW])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_the_step_of_adam_is_the_one_that_it_takes(kind, weight_decay):
    trunk, (train, valid) = net(), batches()
    optimiser = kind(trunk.parameters(), lr=1e-3, betas=(0.0, 0.999), weight_decay=weight_decay)

    def take_step():
        optimiser.zero_grad()
        CRITERION(trunk(train[0]), train[1]).backward()
        optimiser.step()

    no_history = step_of(optimiser, trunk, "adam")["scale"](dict(trunk.named_parameters()))
    assert no_history is None
    for _ in range(3):
        trunk.norm.weight.data[1] = 0.0  # what the second filter finds has had no gradient so far
        trunk.norm.bias.data[1] = -50.0
        take_step()
    trunk.norm.bias.data[1] = 0.5
    trunk.norm.load_state_dict(trunk.norm.state_dict() | START)
    found = hypergradient(trunk, CRITERION, train, valid, **step_of(optimiser, trunk, "adam"))
    take_step()
    trunk.norm.load_state_dict(trunk.norm.state_dict() | START)
    after = CRITERION(trunk.eval()(valid[0]), valid[1])
    assert found.valid_loss.item() == pytest.approx(after.item(), rel=1e-9)


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"method": "newton"}, "method is 'newton'"), ({"criterion": nn.Identity()}, "Identity has no reduction")],
)
def test_wrong_settings_are_refused_by_name(settings, message):
    train, valid = batches()
    settings = {"trunk": net(), "criterion": CRITERION, "train": train, "valid": valid, "lr": 0.1} | settings
    with pytest.raises(ValueError, match=message):
        hypergradient(**settings)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_losses_of_either_reduction_and_without_weights(reduction):
    trunk, (train, valid) = net(), batches()
    criterion = nn.CrossEntropyLoss(reduction=reduction, label_smoothing=0.1)
    found = hypergradient(trunk, criterion, train, valid, 0.1)
    torch.testing.assert_close(found.train_loss, criterion(trunk(train[0]), train[1]).detach())


@pytest.mark.parametrize("method", ["exact", "finite_difference"])
def test_what_windows_would_be_worth_as_they_are(method):
    trunk, (train, valid) = net(drop_prob=0.5), batches()
    settings = {"lr": 0.1, "seed": 3, "method": method, "normalised": True}
    found = hypergradient(trunk, CRITERION, train, valid, **settings, plain=train[0])  # nothing was done to them
    assert (found.plain_examples - found.examples).norm() < 1e-3 * found.examples.norm()
    assert hypergradient(trunk, CRITERION, train, valid, **settings).plain_examples is None


def test_windows_as_they_are_are_judged_by_the_step_on_augmented_ones():
    trunk, (train, valid), lr = net(), batches(), 0.1
    trunk.norm.eval()  # so that windows are worth something one by one
    augmented = train[0] + normal(*train[0].shape, seed=4)
    found = hypergradient(trunk, CRITERION, (augmented, train[1]), valid, lr, plain=train[0])
    stepped, parameters = copy.deepcopy(trunk), list(trunk.parameters())
    gradient = torch.autograd.grad(CRITERION(trunk(augmented), train[1]), parameters)
    with torch.no_grad():
        for parameter, g in zip(stepped.parameters(), gradient, strict=True):
            parameter -= lr * g
    wanted = torch.autograd.grad(CRITERION(stepped.eval()(valid[0]), valid[1]), list(stepped.parameters()))
    for i in range(len(train[0])):
        loss = (
            CRITERION(trunk(train[0][i : i + 1]), train[1][i : i + 1]) * WEIGHTS[train[1][i]] / WEIGHTS[train[1]].sum()
        )
        own = torch.autograd.grad(loss, parameters)
        worth = -lr * sum((a * b).sum() for a, b in zip(own, wanted, strict=True))
        assert found.plain_examples[i].item() == pytest.approx(worth.item(), rel=1e-3, abs=1e-8)
