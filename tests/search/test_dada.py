"""DADA: pairs, who gets a gradient, what is found."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from eegaug.operations import get_operation
from eegaug.policy import ClassPolicy
from eegaug.search import DADASearch
from eegaug.search.dada import Pairs

from .bumps import CHANNELS, SFREQ, bumps, estimator

NAMES = ["sign_flip", "time_reverse", "gaussian_noise", "frequency_shift", "channels_dropout"]


def operations(names=NAMES):
    return [get_operation(name, sfreq=SFREQ, ch_names=CHANNELS) for name in names]


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def windows(n=30, seed=0):
    return torch.randn(n, 2, 64, generator=rng(seed)), torch.arange(n) % 3


def search(**settings):
    ops = [
        get_operation("channels_dropout"),
        get_operation("sign_flip"),
        get_operation("time_masking", max_strength=60),
    ]
    settings = {"operations": ops, "valid_size": [1], "refit": False, "max_steps": 2} | settings
    return DADASearch(estimator(), **{"random_state": 0, "verbose": 0} | settings)


@pytest.mark.parametrize("choice", ["relax", "gumbel"])
def test_a_planted_invariance_has_the_largest_share(choice):
    shares = []
    for seed in range(2):
        X, y, subjects = bumps(seed=seed)
        found = search(choice=choice, max_steps=12, warm_start=4, policy_lr=0.04, random_state=seed).fit(X, y, subjects)
        shares.append(found.operation_shares()["all"].to_numpy())
    assert np.mean(shares, axis=0).argmax() == 1


def test_shares_are_how_often_operations_are_applied():
    found = search(max_steps=1).fit(*bumps(32, 16))
    policy, shares = found._running.state.policy, found.operation_shares()["all"]
    by_hand = {name: 0.0 for name in shares.index}
    for pair in policy.best(10)[0]:
        i = [
            i
            for i, places in enumerate(policy.places)
            if [policy.operations[q] for q in places] == [s[0] for s in pair]
        ]
        for op, p, _ in pair:
            by_hand[op.name] += policy.weights[0, i[0]].item() * p
    assert shares.to_dict() == pytest.approx(by_hand)


def test_there_is_a_pair_for_every_two_operations():
    pairs = Pairs(operations())
    assert all((one == 0.5).all() for one in (*pairs.probabilities, *pairs.magnitudes))  # where they start
    assert pairs.n_pairs == 10
    assert pairs.places[0].tolist() == [0, 1]
    assert (pairs.places[:, 0] < pairs.places[:, 1]).all()
    torch.testing.assert_close(pairs.weights, torch.full((1, 10), 0.1))


@pytest.mark.parametrize("relax", [True, False])
def test_windows_go_through_the_operations_of_their_pair(relax):
    """With probabilities of one and operations that undo themselves, each window shows which pair it drew."""
    ops = operations(["sign_flip", "time_reverse", "channels_symmetry"])
    pairs, (X, y) = Pairs(ops, relax=relax), windows(200)
    with torch.no_grad():
        pairs.probabilities[0].fill_(1.0)
        pairs.logits[0].copy_(torch.tensor([2.0, 1.0, 0.0]))
    Y, choices = pairs.augment_choices(X, y, rng())
    assert (choices is not None) == relax
    possible = [-X.flip(-1), -X.flip(1), X.flip(1).flip(-1)]
    is_one = torch.stack([(Y - one).abs().amax((1, 2)) < 1e-5 for one in possible], 1)
    decided = is_one.any(1)
    assert decided.float().mean() > (0.9 if relax else 0.999)  # RELAX keeps decisions a little open
    share = is_one.float().mean(0) / decided.float().mean()
    assert ((share - pairs.weights[0]).abs() < 0.12).all()
    if relax:
        assert torch.equal(is_one[decided].float().argmax(1), choices.index[0][decided])


def test_what_relax_has_decided_is_done():
    pairs, (X, y) = Pairs(operations(["sign_flip", "time_reverse"])), windows(100)
    Y, choices = pairs.augment_choices(X, y, rng())  # with probabilities of one half
    expected = torch.where(choices.b[:, 0, None, None] > 0, -X, X)
    expected = torch.where(choices.b[:, 1, None, None] > 0, expected.flip(-1), expected)
    torch.testing.assert_close(Y, expected)
    assert ((choices.b.mean(0) > 0.3) & (choices.b.mean(0) < 0.7)).all()


def test_straight_through_weights_of_all_pairs_get_a_gradient():
    pairs, (X, y) = Pairs(operations(), relax=False), windows()
    Y, _ = pairs.augment_choices(X, y, rng())
    Y.backward(torch.randn(Y.shape, generator=rng(1)))
    assert (pairs.logits[0].grad != 0).all()
    assert torch.isfinite(pairs.logits[0].grad).all()


@pytest.mark.parametrize("relax", [True, False])
def test_magnitudes_of_pairs_that_nobody_drew_get_none(relax):
    pairs, (X, y) = Pairs(operations(), relax=relax), windows(4)
    with torch.no_grad():
        pairs.logits[0][3] = 100.0
        pairs.probabilities[0].fill_(1.0)
    Y, _ = pairs.augment_choices(X, y, rng())
    Y.square().sum().backward()
    others = [i for i in range(10) if i != 3]
    assert pairs.places[3].tolist() == [0, 4]
    assert (pairs.magnitudes[0].grad[others] == 0).all()
    assert pairs.magnitudes[0].grad[3, 1] != 0  # dropout; a sign flip has no magnitude
    assert pairs.magnitudes[0].grad[3, 0] == 0


def test_classes_touch_their_own_parameters_only():
    pairs, (X, _) = Pairs(operations(), 3, relax=False), windows(6)
    y = torch.tensor([0, 2, 0, 2, 0, 2])
    Y, _ = pairs.augment_choices(X, y, rng())
    Y.square().sum().backward()
    pairs.forget_absent(y)
    for parameters in (pairs.logits, pairs.probabilities, pairs.magnitudes):
        assert [one.grad is None for one in parameters] == [False, True, False]


def test_the_best_pairs_come_first():
    pairs = Pairs(operations())
    with torch.no_grad():
        pairs.logits[0][7], pairs.logits[0][2] = 3.0, 2.0
        pairs.probabilities[0][7] = torch.tensor([0.25, 1.5])  # raw values may lie outside
    best = pairs.best(2)[0]
    assert [[op.name for op, _, _ in pair] for pair in best] == [
        [NAMES[q] for q in pairs.places[i].tolist()] for i in (7, 2)
    ]
    assert [p for _, p, _ in best[0]] == [0.25, 1.0]
    assert len(pairs.best(100)[0]) == 10


@pytest.mark.parametrize("choice", ["relax", "gumbel"])
@pytest.mark.parametrize("class_wise", [False, True])
def test_a_search_that_was_stopped_ends_as_one_that_was_not(choice, class_wise, tmp_path):
    X, y, subjects = bumps(32, 16)
    settings = {"choice": choice, "class_wise": class_wise}
    whole = search(**settings).fit(X, y, subjects)
    search(**settings, max_steps=1, checkpoint=tmp_path / "search.pt").fit(X, y, subjects)
    resumed = search(**settings, checkpoint=tmp_path / "search.pt").fit(X, y, subjects)
    assert resumed.policy_ == whole.policy_
    assert isinstance(whole.policy_, ClassPolicy) == class_wise
    one = whole.policy_.policies[0] if class_wise else whole.policy_
    assert [len(sub.operations) for sub in one.sub_policies] == [2, 2, 2]
    assert whole.history_["entropy"].iloc[-1] == pytest.approx(np.log(3), abs=1e-3)


def test_what_cannot_be_searched_is_refused():
    with pytest.raises(ValueError, match="n_operations is 3"):
        search(n_operations=3).fit(*bumps(32, 16))
    with pytest.raises(ValueError, match="sign_flip alone"):
        search(operations=["sign_flip"]).fit(*bumps(32, 16))
    with pytest.raises(ValueError, match="choice is 'softmax'"):
        search(choice="softmax").fit(*bumps(32, 16))


def test_an_optimiser_that_takes_its_steps_itself_is_refused():
    found = search().set_params(estimator__optimizer=torch.optim.LBFGS)
    with pytest.raises(ValueError, match="LBFGS has not; use another optimizer"):
        found.fit(*bumps(32, 16))
