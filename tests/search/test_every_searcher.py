"""What holds for every searcher: it survives SIGKILL, can be asked and continued, and keeps its memory."""

import gc
import json
import multiprocessing
import os
import signal
import warnings

import numpy as np
import pytest
import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

from eegaug.search import get_searcher, list_searchers
from search.bumps import bumps, estimator

OPERATIONS = ["sign_flip", "gaussian_noise", "time_masking"]
X, Y, SUBJECTS = bumps(48, 24)
OWN = {
    "autoaugment": {"n_startup_trials": 2},
    "fast-autoaugment": {"n_folds": 1, "n_startup_trials": 2},
    "adda": {"warm_start": 1},
    "cadda": {"warm_start": 1},
    "dna": {"objective": "bilevel", "search_fraction": 1.0},
}


#: What the papers used, or their authors' code.
PUBLISHED = {
    "fast-autoaugment": {"n_folds": 5, "valid_size": 0.4, "n_copies": 5, "n_best": 10},
    "faster-autoaugment": {"class_loss_weight": 0.1, "gradient_penalty": 10.0, "critic_lr": 1e-3, "policy_lr": 1e-3},
    "dada": {"policy_lr": 5e-3, "policy_betas": (0.5, 0.999), "choice": "relax", "max_steps": 20},
    "adda": {"policy_lr": 5e-4, "policy_betas": (0.5, 0.999), "temperature": 0.05, "warm_start": 20},
    "cadda": {"policy_lr": 5e-4, "policy_betas": (0.5, 0.999), "temperature": 0.05, "warm_start": 20},
    "dna": {"policy_lr": 5e-3, "temperature": 0.5, "penalty": 1.0, "max_steps": 20, "objective": "joint"},
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_what_is_used_where_nothing_is_said(name):
    known = {"n_sub_policies": 5, "n_operations": 2} | PUBLISHED[name]
    used = get_searcher(name)().get_params(deep=False)
    assert {key: used[key] for key in known} == known


def search(name, **settings):
    if name in ("autoaugment", "fast-autoaugment"):
        pytest.importorskip("optuna")
    shared = {"max_steps": 3, "operations": OPERATIONS, "random_state": 0, "verbose": 0}
    return get_searcher(name)(estimator(batch_size=16, max_epochs=2), **shared | OWN.get(name, {}) | settings)


def count_steps(fit):
    """How many steps optimisers take meanwhile."""
    steps = []
    hook = register_optimizer_step_post_hook(lambda *_: steps.append(None))
    try:
        fit()
    finally:
        hook.remove()
    return len(steps)


def fit_and_die(name, checkpoint, at):
    """Fit, and die at so many steps of optimisers."""
    left = [at]

    def die(*_):
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    register_optimizer_step_post_hook(die)
    search(name, checkpoint=checkpoint).fit(X, Y, SUBJECTS)


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this system has no fork")
@pytest.mark.parametrize("name", list_searchers())
def test_killed_in_the_middle_it_ends_as_if_it_had_not_been(name, tmp_path):
    whole = search(name)
    n_steps = count_steps(lambda: whole.fit(X, Y, SUBJECTS))
    # Killed at three fifths: in a step of the search, or where that has no training, in the one after it.
    path = tmp_path / "search.pt"
    process = multiprocessing.get_context("fork").Process(target=fit_and_die, args=(name, path, round(0.6 * n_steps)))
    process.start()
    process.join(120)
    assert process.exitcode == -signal.SIGKILL
    saved = json.loads(torch.load(path, weights_only=True)["history"])
    assert 1 <= len(saved) <= len(whole.history_)
    resumed = search(name, checkpoint=path)
    assert count_steps(lambda: resumed.fit(X, Y, SUBJECTS)) < n_steps
    assert resumed.policy_ == whole.policy_
    assert resumed.history_.drop(columns="seconds").equals(whole.history_.drop(columns="seconds"))
    np.testing.assert_array_equal(resumed.predict_proba(X), whole.predict_proba(X))


@pytest.fixture
def count_tensors():
    """Counts the tensors that were made since and are still there."""

    def count():
        gc.collect()
        return sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects())

    gc.collect()
    gc.freeze()  # what is there already is not looked through each time
    yield count
    gc.unfreeze()


@pytest.mark.parametrize("name", list_searchers())
def test_it_is_asked_continued_and_keeps_its_memory(name, count_tensors):
    policies, counts = [], []

    def look(found, row):
        policies[:] = [found.current_policy()]  # that of DNA has tensors
        counts.append(count_tensors())

    found = search(name, refit=False, step_callback=look).fit(X, Y, SUBJECTS)
    n_done = len(found.history_)
    assert found.policy_ == policies[0]
    found.continue_fit(max_epochs=8)
    assert len(found.history_) == n_done + 5
    # Optimisers make their tensors in their first step; after some steps of the search nothing is added.
    assert len(set(counts[-5:])) == 1, counts
    assert search(name, refit=False, max_epochs=8).fit(X, Y, SUBJECTS).policy_ == found.policy_


@pytest.mark.parametrize("name", [name for name in list_searchers() if hasattr(get_searcher(name)(), "policy_lr")])
def test_says_so_when_what_it_chose_is_chance(name):
    def told(policy_lr):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            search(name, policy_lr=policy_lr, refit=False).fit(X, Y, SUBJECTS)
        return [one for one in caught if "nearly even weights" in str(one.message)]

    (warning,) = told(1e-6)
    assert f"{type(search(name)).__name__} ended" in str(warning.message)
    assert "raise policy_lr (now 1e-06)" in str(warning.message)
    assert warning.filename == __file__
    assert not told(1.0)
