"""Faster AutoAugment: its two steps, what it discretises to, and that it goes on from a checkpoint."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.exceptions import NotFittedError
from small import CHANNELS, NAMES, SFREQ, SmallNet, staging, tones

from eegaug._random import contained_rng
from eegaug.search.faster_autoaugment import FasterAutoAugmentSearch

X, CODES = tones(72)
Y, SUBJECTS = NAMES[CODES], np.arange(72) // 12
FEW = ["sign_flip", "gaussian_noise", "time_masking"]


def search(**settings):
    trunk = staging(SmallNet, max_epochs=1, **settings.pop("staging", {}))
    settings = {"operations": FEW, "max_steps": 2, "random_state": 0, "verbose": 0, "refit": False} | settings
    return FasterAutoAugmentSearch(trunk, **settings)


def fitted(**settings):
    return search(**settings).fit(X, Y, groups=SUBJECTS)


def begun(found):
    """Task and state at the start, and a batch."""
    task = found._make_task(*found._prepare(X, Y), SUBJECTS, found.random_state)
    with contained_rng(found.random_state):
        return task, found._begin(task), (torch.from_numpy(X[:16]), torch.from_numpy(CODES[:16]))


def parameters(module):
    return {name: p.detach().clone() for name, p in module.named_parameters()}


def test_a_batch_moves_critic_and_policy_and_keeps_the_policy_in_its_range():
    found = search(policy_lr=0.5)
    task, state, batch = begun(found)
    before = parameters(state.critic), parameters(state.stages)
    terms = found.update(task, state, task.new_criterion(), batch)
    after = parameters(state.critic), parameters(state.stages)
    moved = [
        name for old, new in zip(before, after, strict=True) for name in old if not torch.equal(old[name], new[name])
    ]
    # A constant added to the critic changes nothing.
    assert set(before[0]) | set(before[1]) == set(moved) | {"reality.2.bias"}
    for p in (*state.stages.probabilities, *state.stages.magnitudes):
        assert ((p >= 0) & (p <= 1)).all()
    assert task.n_forward_backward == 3
    rates = [one.param_groups[0] for one in (state.critic_optimizer, state.policy_optimizer)]
    assert [(one["lr"], one["betas"]) for one in rates] == [(1e-3, (0.0, 0.999)), (0.5, (0.0, 0.999))]
    assert all(torch.isfinite(value) for value in terms.values())


@pytest.mark.parametrize("choice", ["softmax", "gumbel"])
def test_operations_without_magnitudes_can_be_searched(choice):
    found = search(policy_lr=0.1, choice=choice, operations=["sign_flip", "time_reverse"])
    task, state, batch = begun(found)
    before = parameters(state.stages)
    found.update(task, state, task.new_criterion(), batch)
    after = parameters(state.stages)
    moved = {name.partition(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert moved == {"weight_logits", "probabilities"}


@pytest.mark.parametrize("class_loss_weight", [0.0, 0.1])
def test_with_a_silent_critic_only_the_class_term_moves_the_policy(class_loss_weight):
    found = search(class_loss_weight=class_loss_weight)
    task, state, batch = begun(found)
    torch.nn.init.zeros_(state.critic.reality[2].weight)
    state.critic_optimizer.step = lambda: None
    before = parameters(state.stages)
    found.update(task, state, task.new_criterion(), batch)
    same = all(torch.equal(value, before[name]) for name, value in parameters(state.stages).items())
    assert same == (class_loss_weight == 0)


def test_history_tells_of_both_losses():
    row = fitted().history_.iloc[-1]
    assert 0 <= row["entropy"] <= math.log(3) and row["gradient_penalty"] > 0 and row["critic_class_loss"] > 0
    assert row["n_forward_backward"] == 2 * 3 * 3  # 48 windows are three batches, of three passes each


def test_policy_has_one_operation_per_stage_the_one_of_largest_weight():
    found = fitted(n_sub_policies=3, n_operations=2)
    stages = found._running.state.stages
    assert [len(sub.operations) for sub in found.policy_.sub_policies] == [2, 2, 2]
    best = stages.weights[0].argmax(-1)
    for s, sub in enumerate(found.policy_.sub_policies):
        for k, step in enumerate(sub.operations):
            q = int(best[s, k])
            assert step.operation == FEW[q]
            assert step.probability == pytest.approx(stages.probabilities[0][s, k, q].item())
    assert found.policy_.searcher == "faster-autoaugment"
    assert (found.policy_.sfreq, list(found.policy_.ch_names)) == (SFREQ, CHANNELS)
    np.testing.assert_allclose(found.policy_.settings["entropy"], stages.entropy()[0], rtol=1e-6)


def test_shares_of_operations_are_weights_times_probabilities():
    found = fitted()
    stages = found._running.state.stages
    shares = (stages.weights[0] * stages.probabilities[0]).mean(0).sum(0)
    np.testing.assert_allclose(found.operation_shares()["all"], shares.detach(), rtol=1e-6)
    with pytest.raises(NotFittedError):
        search().operation_shares()


def test_sampled_policies_repeat_and_asking_for_them_does_not_change_the_search():
    asked = []
    first = fitted(discretise="sample", step_callback=lambda search, row: asked.append(search.current_policy()))
    second = fitted(discretise="sample")
    assert first.policy_ == second.policy_ == asked[1]
    argmax = fitted()
    assert [s.operations for s in argmax.policy_.sub_policies] != [s.operations for s in first.policy_.sub_policies]


def test_weights_start_even_or_random():
    even, random = (
        fitted(initial_weights=start, policy_lr=1e-12, max_steps=1)._running.state.stages
        for start in ("even", "random")
    )
    torch.testing.assert_close(even.weights, torch.full((1, 5, 2, 3), 1 / 3))
    logits = random.weight_logits[0].detach()
    assert 0 <= logits.min() < 0.2 and 0.8 < logits.max() <= 1


def test_search_goes_on_from_its_checkpoint_to_the_same_result(tmp_path):
    straight = fitted(max_steps=3)
    fitted(max_steps=1, checkpoint=tmp_path / "search.pt")
    resumed = fitted(max_steps=3, checkpoint=tmp_path / "search.pt")
    assert resumed.policy_ == straight.policy_
    columns = ["distance", "gradient_penalty", "critic_class_loss", "policy_loss", "entropy"]
    np.testing.assert_array_equal(resumed.history_[columns], straight.history_[columns])


def test_what_spoils_windows_fades_and_what_does_not_stays():
    def effects(stages):
        weights, p, m = stages.weights[0], stages.probabilities[0], stages.magnitudes[0]
        return torch.stack([weights[..., 0] * p[..., 0], weights[..., 1] * p[..., 1] * m[..., 1]]).detach().sum((1, 2))

    faded = []
    for seed in range(4):
        found = search(
            staging={"batch_size": 24},
            operations=["sign_flip", "channels_dropout"],  # tones of random phase have no sign
            choice="gumbel",
            critic_lr=0.01,
            policy_lr=0.01,
            max_steps=20,
            random_state=seed,
        )
        before = effects(begun(found)[1].stages)
        state = found.fit(X, Y, groups=SUBJECTS)._running.state
        flip, dropout = (effects(state.stages) / before).tolist()
        faded.append(dropout < 0.9 and dropout < flip)
    assert sum(faded) >= 3  # a game of two networks does not always end the same


def test_odd_batches_and_a_last_one_of_one_window():
    found = fitted(staging={"batch_size": 47}, max_steps=1)
    assert found.n_forward_backward_ == 3  # the 48th window has nothing to be compared with
    assert math.isfinite(found.history_["policy_loss"].iloc[0])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"choice": "relax"}, "choice is 'relax'; it is one of 'softmax', 'gumbel'"),
        ({"initial_weights": "zero"}, "initial_weights is 'zero'"),
        ({"discretise": "mean"}, "discretise is 'mean'"),
        ({"mask": "hard"}, "mask is 'hard'"),
        ({"policy_lr": 0}, "policy_lr is 0"),
        ({"gradient_penalty": -1}, "gradient_penalty is -1"),
        ({"staging": {"batch_size": 1}}, "batch_size is 1"),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        fitted(**settings)


def test_a_search_that_diverges_is_stopped():
    with pytest.raises(ValueError, match="diverged"):
        fitted(critic_lr=1e30)
