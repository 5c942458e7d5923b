"""Fast AutoAugment: fixed networks, density matching, merged policies."""

from __future__ import annotations

import math
import sys
import tracemalloc

import numpy as np
import pytest
import torch
from small import NAMES, X, Y, staging

from eegaug.search import FastAutoAugmentSearch
from eegaug.search.fast_autoaugment import density_match

pytest.importorskip("optuna")

GROUPS = np.arange(len(Y)) // 8
# Larger than all else that a search keeps.
LARGE = np.random.default_rng(0).standard_normal((200, 4, 2000)).astype("float32")
LARGE_OF = np.arange(200) // 20
OPERATIONS = ["sign_flip", "gaussian_noise", "channels_dropout"]


def search(max_epochs=10, **settings):
    settings = {"max_steps": 6, "n_folds": 2, "operations": OPERATIONS, "n_copies": 3} | settings
    settings = {"random_state": 0, "verbose": 0, "refit": False} | settings
    return FastAutoAugmentSearch(staging(max_epochs=max_epochs, lr=0.05), **settings)


@pytest.fixture(scope="module")
def found():
    """A search with the networks of its splits."""
    return search(max_epochs=25, n_folds=1, max_steps=30).fit(X, NAMES[Y], groups=GROUPS)


def test_history(found):
    assert found.history_["phase"].tolist() == ["pre-training"] + ["search"] * 30
    # The batches of the training; trials are forward passes only.
    passes = found.history_["epochs"][0] * math.ceil(len(found._running.task.train.labels) / 16)
    assert found.history_["n_forward_backward"].tolist() == [passes] * 31
    assert found.history_["n_forward"].dropna().tolist() == [3] * 30  # one batch of held-out windows, three copies
    assert found.history_["best_score"].dropna().is_monotonic_increasing


def test_network_does_not_change(found):
    estimator = found._running.state.networks[0]
    before = {name: value.clone() for name, value in estimator.module_.state_dict().items()}
    again = search(max_epochs=25, n_folds=1, max_steps=5).fit(X, NAMES[Y], groups=GROUPS)
    found.continue_fit(max_epochs=32)
    assert len(found.history_) == 33
    for name, value in estimator.module_.state_dict().items():
        assert torch.equal(value, before[name])
        assert torch.equal(value, again._running.state.networks[0].module_.state_dict()[name])


@pytest.mark.parametrize("aggregate", ["mean", "max"])
def test_identity_scores_the_clean_accuracy(found, aggregate):
    task, estimator = found._running.task, found._running.state.networks[0]
    part = task.valid
    score, _ = density_match(task, estimator, part, task.identity(), aggregate=aggregate)
    right = estimator.predict(part.windows) == part.labels
    assert score == pytest.approx(np.mean([right[part.labels == one].mean() for one in NAMES]))
    assert score > 0.8


def test_trials_look_at_the_held_out_windows_of_their_split_with_its_network(monkeypatch):
    seen = []

    def noted(task, estimator, part, policy, **settings):
        seen.append((estimator, part))
        return density_match(task, estimator, part, policy, **settings)

    monkeypatch.setattr("eegaug.search.fast_autoaugment.density_match", noted)
    state = search(max_epochs=1, max_steps=4).fit(X, Y, groups=GROUPS)._running.state
    assert [network for network, _ in seen] == [*state.networks] * 2
    for fold, (_, part) in enumerate(seen):
        expected = state.part(fold % 2, "valid")
        np.testing.assert_array_equal(part.windows, expected.windows)
        assert part.groups.tolist() == expected.groups.tolist()


def test_windows_of_all_splits_are_not_kept(found):  # by when all that a search imports is there
    tracemalloc.start()
    split = search(n_folds=6, max_epochs=1, max_steps=6).fit(LARGE, np.arange(200) % 2, groups=LARGE_OF)
    kept = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert len(split.history_) == 12
    # Once: those that the search validates on, and trains on.
    assert LARGE.nbytes < kept < 1.5 * LARGE.nbytes


def test_a_network_that_was_left_in_training_is_looked_at_in_evaluation(found):
    task, estimator = found._running.task, found._running.state.networks[0]
    estimator.module_.train()
    density_match(task, estimator, task.valid, task.identity(), n_copies=1)
    assert not estimator.module_.training


def test_destruction_scores_chance(found):
    task, estimator = found._running.task, found._running.state.networks[0]
    nothing_left = task.policy([[("channels_dropout", 1.0, 1.0)]])
    assert density_match(task, estimator, task.valid, nothing_left)[0] == pytest.approx(1 / 3)


def test_mean_and_max_over_copies(found):
    task, estimator, part = found._running.task, found._running.state.networks[0], found._running.task.valid
    policy = task.policy([[("channels_dropout", 0.9, 0.8)]])
    scores = {}
    for aggregate in ("mean", "max"):
        generator = torch.Generator().manual_seed(1)
        scores[aggregate], n_forward = density_match(
            task, estimator, part, policy, n_copies=4, aggregate=aggregate, generator=generator
        )
        assert n_forward == 4
    generator = torch.Generator().manual_seed(1)
    features = torch.from_numpy(part.windows)
    right = np.stack([estimator.predict(policy.apply(features, generator=generator)) == part.labels for _ in range(4)])
    per_class = [right[:, part.labels == one] for one in NAMES]
    assert scores["mean"] == pytest.approx(np.mean([one.mean() for one in per_class]))
    assert scores["max"] == pytest.approx(np.mean([one.any(0).mean() for one in per_class]))
    assert scores["max"] > scores["mean"]


def test_merges_the_best_of_every_split():
    merged = search(max_steps=44, n_best=2, n_sub_policies=3, max_epochs=3).fit(X, Y, groups=GROUPS)
    history = merged.history_[merged.history_["phase"] == "search"]
    assert history["fold"].value_counts().to_dict() == {0: 22, 1: 22}
    assert len(merged.policy_.sub_policies) == 2 * 2 * 3
    best = [trial for fold in (0, 1) for trial in history[history["fold"] == fold].nlargest(2, "score")["trial"]]
    expected = [[p for _, p, _ in sub] for trial in best for sub in trial]
    assert [[step.probability for step in sub.operations] for sub in merged.policy_.sub_policies] == expected
    few = search(max_steps=4, n_best=2, n_sub_policies=3, max_epochs=1).fit(X, Y, groups=GROUPS)
    assert len(few.policy_.sub_policies) == 2 * 1 * 3  # a tenth of two trials, rounded up


def test_duplicates_are_dropped():
    class Always(FastAutoAugmentSearch):
        def _policy(self, task, state):
            for study in state.studies:
                study.steps = lambda params: [[(0, 0.5, 0.1)], [(0, 0.5, 0.9)], [(1, 0.5, 0.5)]]
            return super()._policy(task, state)

    one = Always(staging(max_epochs=1), max_steps=2, n_folds=2, operations=OPERATIONS, refit=False, verbose=0)
    one.set_params(random_state=0).fit(X, Y, groups=GROUPS)
    # Twice three sub-policies; a sign flip has no magnitude, so that two are the same.
    assert [sub.operations[0].operation for sub in one.policy_.sub_policies] == ["sign_flip", "gaussian_noise"]


def test_splits_are_by_subject_and_differ():
    state = search(n_folds=4, max_epochs=1, max_steps=1).fit(X, Y, groups=GROUPS)._running.state
    held_out = []
    for fold in range(4):
        train, valid = state.part(fold, "train"), state.part(fold, "valid")
        assert not set(train.groups) & set(valid.groups)
        assert len(train) + len(valid) == len(X)
        held_out.append(tuple(np.unique(valid.groups)))
    assert len(set(held_out)) > 1


def test_before_the_search_the_policy_does_nothing():
    policies = []
    search(step_callback=lambda search, row: policies.append(search.current_policy()), max_epochs=1, max_steps=2).fit(
        X, Y, groups=GROUPS
    )
    assert [sub.operations for sub in policies[1].sub_policies] == [()]
    assert len(policies[2].sub_policies) == 5


def test_budget_knows_that_trials_are_shorter_than_trainings():
    class Timed(FastAutoAugmentSearch):
        def _step(self, task, state):
            row = super()._step(task, state)
            return row | {"seconds": 100.0 if row.get("phase") == "pre-training" else 1.0}

    timed = Timed(staging(max_epochs=1), max_steps=50, n_folds=1, operations=OPERATIONS, refit=False, verbose=0)
    timed.set_params(random_state=0, time_budget=105.5).fit(X, Y, groups=GROUPS)
    assert len(timed.history_) == 1 + 5
    with pytest.raises(ValueError, match="1 min 40 s were spent on 1 step, all before the search itself"):
        timed.set_params(time_budget=99).fit(X, Y, groups=GROUPS)


def test_goes_on_from_its_checkpoint(tmp_path):
    whole = search().fit(X, Y, groups=GROUPS)
    for steps in (1, 4, 6):
        resumed = search(max_steps=steps, checkpoint=tmp_path / "s").fit(X, Y, groups=GROUPS)
    assert resumed.history_.drop(columns="seconds").equals(whole.history_.drop(columns="seconds"))
    assert resumed.policy_.sub_policies == whole.policy_.sub_policies


def test_a_damaged_network_of_a_split_is_trained_again(tmp_path):
    settings = {"checkpoint": tmp_path / "s", "n_folds": 1}
    search(max_steps=2, **settings).fit(X, Y, groups=GROUPS)
    (fold,) = tmp_path.glob("s.fold-*")
    fold.write_bytes(b"junk")
    with pytest.warns(UserWarning, match=r"s.fold-0 is damaged: it is kept as s.fold-0.damaged"):
        found = search(max_steps=4, **settings).fit(X, Y, groups=GROUPS)
    assert found.policy_.sub_policies == search(max_steps=4, n_folds=1).fit(X, Y, groups=GROUPS).policy_.sub_policies


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_folds": 0}, "n_folds is 0"),
        ({"aggregate": "median"}, "aggregate is 'median'"),
        ({"valid_size": [1, 2]}, "use 1"),
    ],
)
def test_settings_that_make_no_sense(settings, message):
    with pytest.raises(ValueError, match=message):
        search(**settings).fit(X, Y, groups=GROUPS)


def test_missing_optuna_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ImportError, match=r"FastAutoAugmentSearch needs optuna.*pip install 'eegaug\[search\]'"):
        search().fit(X, Y, groups=GROUPS)
