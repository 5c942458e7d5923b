"""Pairs of operations for a whole batch at once: the same as window by window, and differentiable in the policy."""

from __future__ import annotations

import math

import pytest
import torch
from small import CHANNELS, SFREQ

from eegaug.operations import FAMILIES, get_operation
from eegaug.policies.network import PairPolicy
from eegaug.search._dna_apply import augment_pairs, draw_groups, list_pairs, mix_pairs

OPERATIONS = [get_operation(name, sfreq=SFREQ, ch_names=CHANNELS) for name in FAMILIES["all"]]
SHAPE = (40, 4, 128)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def windows(n=SHAPE[0], dtype=torch.float32):
    return torch.randn(n, *SHAPE[1:], generator=seeded(1), dtype=dtype)


def policy(n=SHAPE[0], n_pairs=78, seed=2):
    generator = seeded(seed)
    parts = [torch.rand(n, n_pairs, 2, generator=generator) for _ in range(2)]
    logits = torch.randn(n, n_pairs, generator=generator)
    return PairPolicy(*(t.requires_grad_() for t in parts), torch.log_softmax(logits, 1).requires_grad_())


def one_by_one(groups, pairs, X, probabilities, magnitudes, chosen, u):
    """The definition: each window by itself, its two operations one after the other."""
    out = []
    for i, window in enumerate(X):
        window = window[None]
        for position in (0, 1):
            number = int(pairs[chosen[i], position])
            group = next(g for g in groups if (g.position, g.operation) == (position, number))
            place = int(torch.nonzero(group.rows == i)[0, 0])
            noise = {key: value[place : place + 1] for key, value in group.noise.items()}
            operation = OPERATIONS[number]
            transformed = operation.apply(window, magnitudes[i, position], noise)
            window = transformed if u[i, position] < probabilities[i, position] else window
        out.append(window)
    return torch.cat(out)


def test_pairs_are_all_unordered_pairs_once_in_order():
    pairs = list_pairs(13).tolist()
    assert len(pairs) == 78 and len({frozenset(pair) for pair in pairs}) == 78
    assert pairs == sorted(pairs) and all(i < j for i, j in pairs)
    assert len(list_pairs(12)) == 66


def test_grouped_evaluation_equals_the_naive_loop():
    X, pairs, generator = windows(), list_pairs(13), seeded()
    chosen = torch.randint(0, 78, (len(X),), generator=generator)
    p, m, u = torch.rand(3, len(X), 2, generator=generator)
    groups = draw_groups(OPERATIONS, pairs, chosen, SHAPE, generator)
    assert len({group.operation for group in groups}) == 13
    assert {group.position for group in groups if group.operation == 12} == {1}  # only ever second
    grouped = mix_pairs(OPERATIONS, groups, X, p, m, u)
    torch.testing.assert_close(grouped, one_by_one(groups, pairs, X, p, m, chosen, u), atol=2e-5, rtol=1e-5)


def test_each_operation_is_called_once_for_each_position(monkeypatch):
    calls = []
    for operation in OPERATIONS:
        mix = operation.mix
        monkeypatch.setattr(operation, "mix", lambda X, *a, mix=mix: calls.append(len(X)) or mix(X, *a))
    X = windows()
    augment_pairs(OPERATIONS, list_pairs(13), X, policy(), seeded())
    assert len(calls) <= 26 and sum(calls) == 2 * len(X)


def test_value_is_the_drawn_pair_with_hard_decisions():
    X, drawn = windows(), policy()
    augmented, chosen = augment_pairs(OPERATIONS, list_pairs(13), X, drawn, seeded(5))
    generator, pairs, rows = seeded(5), list_pairs(13), torch.arange(len(X))
    gumbel = -torch.log(-torch.log(torch.rand(len(X), 78, generator=generator)))
    assert torch.equal(chosen, (drawn.log_weights + gumbel).argmax(1))
    groups = draw_groups(OPERATIONS, pairs, chosen, SHAPE, generator)
    u = torch.rand(len(X), 2, generator=generator)
    p, m = drawn.probabilities[rows, chosen], drawn.magnitudes[rows, chosen]
    expected = one_by_one(groups, pairs, X, p, m, chosen, u)
    torch.testing.assert_close(augmented, expected, atol=2e-5, rtol=1e-5)


def test_nothing_happens_at_probability_zero():
    X, drawn = windows(), policy()
    augmented, _ = augment_pairs(OPERATIONS, list_pairs(13), X, drawn._replace(probabilities=torch.zeros(40, 78, 2)))
    assert torch.equal(augmented, X)


def test_gradients_reach_what_was_drawn_and_nothing_else():
    X, drawn = windows(), policy()
    augmented, chosen = augment_pairs(OPERATIONS, list_pairs(13), X, drawn, seeded())
    (augmented * torch.randn(SHAPE, generator=seeded(3))).sum().backward()
    undrawn = torch.ones(40, 78, dtype=torch.bool).scatter_(1, chosen[:, None], False)
    assert (drawn.probabilities.grad[undrawn] == 0).all() and (drawn.magnitudes.grad[undrawn] == 0).all()
    p_grad = drawn.probabilities.grad[~undrawn]
    strong = torch.tensor([[op.has_magnitude for op in OPERATIONS]])[0][list_pairs(13)[chosen]]
    m_grad = drawn.magnitudes.grad[~undrawn]
    assert (p_grad != 0).float().mean() > 0.9
    assert (m_grad[~strong] == 0).all() and (m_grad[strong] != 0).any()
    assert (drawn.log_weights.grad.abs().sum(1) > 0).float().mean() > 0.5
    for grad in (drawn.probabilities.grad, drawn.magnitudes.grad, drawn.log_weights.grad):
        assert torch.isfinite(grad).all()


def test_gradient_of_the_weights_is_the_effect_of_the_pair_against_nothing():
    X = windows(1)
    pairs, operations = list_pairs(2), [get_operation("sign_flip"), get_operation("time_reverse")]
    log_weights = torch.zeros(1, 1, requires_grad=True)
    # One pair only: its relaxed weight is 1 whatever the logit, so no gradient; of two, the effect times the slope.
    ones = torch.ones(1, 1, 2)
    augmented, _ = augment_pairs(operations, pairs, X, PairPolicy(ones, ones, log_weights), seeded())
    torch.testing.assert_close(augmented, -X.flip(-1))
    (slope,) = torch.autograd.grad(augmented.sum(), log_weights)
    assert slope.abs().item() < 1e-4
    two = torch.tensor([[0, 1], [0, 1]])
    log_weights = torch.full((1, 2), math.log(0.5), requires_grad=True)
    augmented, chosen = augment_pairs(
        operations, two, X, PairPolicy(ones.expand(1, 2, 2), ones.expand(1, 2, 2), log_weights), seeded()
    )
    (slope,) = torch.autograd.grad((augmented * X).sum(), log_weights)
    lots = torch.rand(1, 2, generator=seeded())
    soft = torch.softmax((math.log(0.5) - torch.log(-torch.log(lots))) / 0.5, 1)[0]
    effect = ((-X.flip(-1) - X) * X).sum()
    expected = effect * soft[0] * soft[1] / 0.5
    torch.testing.assert_close(slope[0, chosen[0]], expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(slope.sum(), torch.tensor(0.0), atol=1e-3, rtol=0)


def test_pairs_are_drawn_as_often_as_they_weigh():
    n, operations = 20000, [get_operation(name) for name in ("sign_flip", "time_reverse", "channels_dropout")]
    weights = torch.tensor([0.6, 0.3, 0.1])
    law = PairPolicy(torch.zeros(n, 3, 2), torch.zeros(n, 3, 2), weights.log().expand(n, 3))
    _, chosen = augment_pairs(operations, list_pairs(3), torch.zeros(n, 1, 2), law, seeded())
    share = chosen.bincount(minlength=3) / n
    error = 3 * (weights * (1 - weights) / n).sqrt()
    assert ((share - weights).abs() < error).all()


@pytest.mark.parametrize("n", [1, 2])
def test_small_batches_and_saturated_heads(n):
    X = windows(n)
    extreme = torch.tensor([0.0, 1.0]).expand(n, 78, 2).clone().requires_grad_()
    augmented, _ = augment_pairs(OPERATIONS, list_pairs(13), X, PairPolicy(extreme, extreme, policy(n).log_weights))
    assert augmented.shape == X.shape
    augmented.square().sum().backward()
    assert torch.isfinite(extreme.grad).all()


def test_float64_is_kept_and_draws_repeat():
    X = windows(4, torch.float64)
    first, second, other = (augment_pairs(OPERATIONS, list_pairs(13), X, policy(4), seeded(s))[0] for s in (0, 0, 1))
    assert first.dtype == torch.float64
    assert torch.equal(first, second) and not torch.equal(first, other)
