"""What all searches share, on a searcher whose steps cost nothing and on random search."""

from __future__ import annotations

import gc
import inspect
import json
import os
import pickle
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from braindecode import EEGClassifier
from sklearn.base import clone, is_classifier
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from small import CHANNELS, NAMES, SFREQ, SmallNet, X, Y, global_random_states, nights, staging
from torch import nn

from eegaug.policies import Policy
from eegaug.search import PolicySearch, RandomSearch, SearchState, get_searcher, list_searchers
from eegaug.search._running import refuse_small_budget

GROUPS = np.arange(len(Y)) // 8
OPERATIONS = ["sign_flip", "gaussian_noise", "channels_dropout"]


class Walk(PolicySearch):
    """Moves the probability of a sign flip at random; a step takes ten seconds, it says."""

    name = "walk"

    def __init__(self, estimator=None, *, warm_up=0, **shared):
        super().__init__(estimator, **shared)
        self.warm_up = warm_up

    def _n_steps_before(self):
        return self.warm_up

    def _begin(self, task):
        p = torch.nn.Parameter(torch.tensor([0.5]))
        rate = np.float64(0.05)  # as out of an array
        return SearchState(p=p, optimizer=torch.optim.Adam([p], lr=rate), seen=0)

    def _step(self, task, state):
        features, y = task.next_batch("train", 8)
        direction = torch.randn((), generator=task.generator()) + torch.randn(())  # its own draws, and torch's default
        loss = direction * state.p.sum() + features.mean() * 0 + y.sum() * 0
        state.optimizer.zero_grad()
        loss.backward()
        state.optimizer.step()
        state.seen += len(y)
        task.n_forward_backward += 1
        return {
            "loss": float(loss.detach()),
            "seconds": 10.0,
            "phase": "pre-training" if len(self._rows) < self.warm_up else "search",
        }

    def _policy(self, task, state):
        return self._as_policy(task, [[("sign_flip", state.p.item(), 0.0)]])


def walk(**settings):
    settings = {"max_steps": 4, "random_state": 0, "verbose": 0, "refit": False, "operations": OPERATIONS} | settings
    return Walk(staging(), **settings)


def same(a, b):
    assert a.history_.drop(columns="seconds").equals(b.history_.drop(columns="seconds"))
    assert a.policy_.sub_policies == b.policy_.sub_policies


def test_every_step_has_draws_of_its_own_and_the_first_the_time_of_building():
    class Drawn(Walk):
        """Draws from torch's default generator, as dropout does; built in a fifth of a second."""

        def _begin(self, task):
            time.sleep(0.2)
            return super()._begin(task)

        def _step(self, task, state):
            return {"value": float(torch.rand(()))}

    found = Drawn(staging(), max_steps=4, random_state=0, verbose=0, refit=False).fit(X, Y, groups=GROUPS)
    assert found.history_["value"].nunique() == 4
    assert found.history_["seconds"][0] >= 0.2


# scikit-learn's idioms -----------------------------------------------------------------------------------------------


def test_parameters_are_spelled_out_for_scikit_learn():
    search = RandomSearch(staging(), max_steps=3, valid_size=0.4)
    assert list(inspect.signature(RandomSearch).parameters)[:3] == ["estimator", "max_steps", "trial_unit"]
    assert search.get_params()["valid_size"] == 0.4
    assert search.get_params()["estimator__max_epochs"] == 2
    copied = clone(search.set_params(n_operations=3))
    assert copied.n_operations == 3
    assert copied.max_steps == 3
    with pytest.raises(TypeError, match="no_such"):
        RandomSearch(no_such=1)


def test_fit_searches_and_trains():
    search = RandomSearch(staging(), max_steps=2, operations=OPERATIONS, random_state=0, verbose=0)
    before = global_random_states()
    assert search.fit(X, NAMES[Y], groups=GROUPS) is search
    assert all(torch.equal(a, b) for a, b in zip(before, global_random_states(), strict=True))
    assert is_classifier(search)
    assert search.classes_.tolist() == ["N2", "REM", "W"]
    assert [op.name for op in search.operations_] == OPERATIONS
    assert search.policy_.searcher == "random"
    assert search.policy_.settings["n_sub_policies"] == 5
    assert search.policy_.sfreq == SFREQ
    assert search.policy_.ch_names == tuple(CHANNELS)
    assert Policy.model_validate_json(search.policy_.model_dump_json()) == search.policy_
    # 40 training windows of 5 subjects or fewer in the search, two epochs, two trials.
    assert search.n_forward_backward_ == search.history_["n_forward_backward"].iloc[-1] == 2 * 2 * 2
    assert search.search_time_ == pytest.approx(search.history_["seconds"].sum())
    assert search.refit_time_ > 0
    best = search.best_estimator_
    assert best.policy == search.policy_ and best.random_state == search.estimator.random_state == 0
    assert best.n_forward_backward_ == 2 * 3  # all 48 windows in batches of 16
    assert np.array_equal(search.predict(X), best.predict(X))
    assert np.array_equal(search.predict_proba(X), best.predict_proba(X))
    assert search.score(X, NAMES[Y]) == np.mean(best.predict(X) == NAMES[Y])
    again = pickle.loads(pickle.dumps(search))
    assert np.array_equal(again.predict(X), search.predict(X))
    assert again.history_.equals(search.history_)
    same(clone(search).fit(X, NAMES[Y], groups=GROUPS), search)


def test_the_seed_decides_who_is_held_out():
    held_out = {tuple(walk(max_steps=1, random_state=seed).fit(X, Y, groups=GROUPS).valid_groups_) for seed in range(6)}
    assert len(held_out) > 2


def test_nights_say_whose_they_are():
    search = walk().fit(nights(n=4))
    assert len(search.valid_groups_) == 1
    assert search.valid_groups_[0] in ["s0", "s1", "s2", "s3"]
    assert search.classes_.tolist() == [0, 1, 2, 3, 4]


def test_works_in_a_pipeline():
    pipeline = make_pipeline(FunctionTransformer(), walk(refit=True))
    with pytest.warns(UserWarning, match="Neighbouring windows"):
        pipeline.fit(X, Y)
    assert pipeline.predict(X).shape == Y.shape


def test_not_fitted():
    search = walk()
    for use in (search.current_policy, search.continue_fit, lambda: search.predict(X)):
        with pytest.raises(NotFittedError):
            use()
    with pytest.raises(NotFittedError, match="refit=False"):
        search.fit(X, Y, groups=GROUPS).predict(X)


def test_estimators_that_do_not_fit():
    with pytest.raises(TypeError, match=r"EEGClassifier; pass an eegaug\.StagingClassifier"):
        Walk(EEGClassifier("SleepStagerChambon2018"), operations=OPERATIONS).fit(X, Y, groups=GROUPS)
    with pytest.raises(ValueError, match="policy of its own"):
        Walk(staging(policy=Policy.identity()), operations=OPERATIONS).fit(X, Y, groups=GROUPS)


def test_registry():
    assert list_searchers()[:3] == ["random", "autoaugment", "fast-autoaugment"]
    assert get_searcher("random") is RandomSearch
    with pytest.raises(ValueError, match="unknown searcher 'grid'; known are random,"):
        get_searcher("grid")


def test_search_of_the_guide(monkeypatch):
    guide = Path(__file__).parents[2] / "docs" / "searching.md"
    names = {"nights": nights()}
    *_, own, compared = (part.split("```")[0] for part in guide.read_text(encoding="utf-8").split("```python")[1:])
    exec(own, names)
    search = names["StrongestNoise"](staging(), operations=OPERATIONS, max_steps=3, random_state=0, verbose=0)
    search.fit(X, Y, groups=GROUPS)
    assert search.policy_.searcher == "strongest-noise"
    assert search.history_["valid_balanced_accuracy"].between(1 / 3, 1).all()
    assert search.policy_.sub_policies[0].operations[0].magnitude in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)

    monkeypatch.setattr("eegaug.compare", lambda *args, **settings: names.update(called=args))
    exec(compared, names)
    methods, data = names["called"]
    built = methods[2].build({"module": SmallNet, "sfreq": SFREQ}, max_steps=2)
    assert methods[:2] == ["none", "fixed"] and methods[2].searches and data is names["nights"]
    assert isinstance(built, names["StrongestNoise"]) and built.max_steps == 2 and built.estimator.module is SmallNet


# Operations and steps ------------------------------------------------------------------------------------------------


def test_operations_that_make_no_sense():
    for operations, message in [
        ([], "operations is empty"),
        (["sign_flip", "gaussian_noise", "sign_flip"], "'sign_flip' twice"),
        (["no_such"], "unknown operation 'no_such'"),
    ]:
        with pytest.raises(ValueError, match=message):
            walk(operations=operations).fit(X, Y, groups=GROUPS)
    with pytest.raises(TypeError, match="operations is None; name a group"):
        walk(operations=None).fit(X, Y, groups=GROUPS)
    with pytest.raises(TypeError, match="operations is a set, whose order is another in each process"):
        walk(operations={"sign_flip", "gaussian_noise"}).fit(X, Y, groups=GROUPS)


def test_positions_that_no_policy_could_have_are_refused_before_the_search():
    seen = []
    for names, positions, message in [
        (None, {"C3": (0, 0, 1)}, "positions need ch_names"),
        (CHANNELS, np.ones((3, 3)), r"positions must have shape \(4, 3\)"),
    ]:
        search = walk(positions=positions, step_callback=lambda _, row: seen.append(row))
        search.estimator.set_params(ch_names=names)
        with pytest.raises(ValueError, match=message):
            search.fit(X, Y, groups=GROUPS)
    assert not seen


def test_a_last_batch_of_one_window_is_named():
    class Normalised(nn.Sequential):
        def __init__(self, n_chans, n_outputs):
            super().__init__(
                nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.BatchNorm1d(n_chans), nn.Linear(n_chans, n_outputs)
            )

    for name in ("adda", "dna"):
        settings = {"operations": OPERATIONS, "valid_size": 1, "max_steps": 1, "random_state": 0, "verbose": 0}
        own = {"warm_start": 0} if name == "adda" else {"search_fraction": 1.0}
        search = get_searcher(name)(staging(Normalised, batch_size=13), **settings, **own)
        with pytest.raises(ValueError, match=r"one window is left .*\(batch_size is 13\)\. Leave it out, with"):
            search.fit(X, Y, groups=GROUPS)  # of 40 windows
        search.set_params(estimator__iterator_train__drop_last=True).fit(X, Y, groups=GROUPS)
        assert search.n_forward_backward_ == 3 * (4 if name == "adda" else 2)  # of three batches


def test_group_leaves_out_what_means_nothing():
    with pytest.warns(UserWarning, match="sensors_rotation_x .*Foo"):
        search = walk(operations="all", ch_names=["F3", "F4", "C3", "Foo"])
        search.estimator.set_params(ch_names=None)
        search.fit(X, Y, groups=GROUPS)
    assert "frequency_shift" in [op.name for op in search.operations_]
    with pytest.raises(ValueError, match="needs the sampling rate"):
        Walk(staging(sfreq=None), operations="all", verbose=0).fit(X, Y, groups=GROUPS)


@pytest.mark.parametrize("steps", [0, 2.5, True])
def test_steps_are_counted_in_whole_numbers(steps):
    with pytest.raises(ValueError, match="max_steps must be"):
        walk(max_steps=steps).fit(X, Y, groups=GROUPS)


@pytest.mark.parametrize("name", list_searchers())
@pytest.mark.parametrize(("parameter", "value"), [("n_sub_policies", 0), ("n_operations", -1)])
def test_policies_of_nothing_are_refused_at_once(name, parameter, value):
    search = get_searcher(name)(staging(), verbose=0, **{parameter: value})
    with pytest.raises(ValueError, match=f"{parameter} is {value}; it is 1 or more"):
        search.fit(X, Y, groups=GROUPS)


@pytest.mark.parametrize("name", ["random", "autoaugment", "fast-autoaugment"])
def test_a_patience_that_would_never_end_is_refused(name):
    search = get_searcher(name)(staging(), patience=0, verbose=0)
    with pytest.raises(ValueError, match="patience is 0; it is 1 or more"):
        search.fit(X, Y, groups=GROUPS)


def test_max_epochs_is_another_name():
    assert len(walk(max_epochs=3).fit(X, Y, groups=GROUPS).history_) == 3


# Budget --------------------------------------------------------------------------------------------------------------


def test_budget_ends_before_the_step_that_exceeds_it():
    search = walk(max_steps=20, time_budget="35s").fit(X, Y, groups=GROUPS)  # a step takes ten seconds
    assert len(search.history_) == 3
    assert len(search.continue_fit(time_budget=65).history_) == 6
    assert len(search.continue_fit(max_epochs=7).history_) == 7


def test_budget_too_small_for_one_step():
    with pytest.raises(
        ValueError, match=r"a time budget of 5.0 s is too small for one step of Walk, which takes 10.0 s"
    ):
        walk(time_budget=5).fit(X, Y, groups=GROUPS)
    with pytest.raises(ValueError, match=r"too small.*before the search itself \(pre-training\)"):
        walk(warm_up=3, time_budget=25).fit(X, Y, groups=GROUPS)
    with pytest.raises(ValueError, match=r"a time budget of 0.001 s is too small for one step of Walk, which takes 10"):
        walk(time_budget=1e-3).fit(X, Y, groups=GROUPS)
    rows = [{"phase": "pre-training", "seconds": 6.0}] * 3 + [{"phase": "search", "seconds": 30.0}]
    told = r"takes 30.0 s here: 48.0 s were spent on 4 steps, 3 of them before the search itself \(pre-training\)\."
    with pytest.raises(ValueError, match=told):
        refuse_small_budget("Walk", 40.0, rows, kept=False)
    with pytest.raises(ValueError, match="time_budget must be positive and finite, got 0"):
        walk(time_budget=0).fit(X, Y, groups=GROUPS)
    assert len(walk(warm_up=3, time_budget=45).fit(X, Y, groups=GROUPS).history_) == 4


# Callback, Ctrl-C, going on ------------------------------------------------------------------------------------------


def test_callback_sees_the_current_policy():
    seen = []

    def look(search, row):
        row["p"] = search.current_policy().sub_policies[0].operations[0].probability
        seen.append(row["step"])

    search = walk(step_callback=look).fit(X, Y, groups=GROUPS)
    assert seen == [1, 2, 3, 4]
    assert search.history_["p"].nunique() == 4
    assert search.history_["p"].iloc[-1] == search.policy_.sub_policies[0].operations[0].probability


def test_columns_of_a_callback_are_plain(tmp_path):
    def look(search, row):
        row |= {"a": np.arange(2), "b": [np.float32(0.5)], 3: torch.ones(1), "c": seen}

    seen = {"n": np.int64(1)}
    search = walk(step_callback=look, checkpoint=tmp_path / "s").fit(X, Y, groups=GROUPS)
    resumed = walk(checkpoint=tmp_path / "s").fit(X, Y, groups=GROUPS)
    for found in (search, resumed):
        row = found.history_.iloc[-1]
        assert [row["a"], row["b"], row["3"], row["c"]] == [[0, 1], [0.5], [1.0], {"n": 1}]
        assert 3 not in found.history_
    seen["n"] = object()
    with pytest.raises(TypeError, match=r"column 'c' of the history holds a value that no checkpoint can: .* object"):
        walk(step_callback=look).fit(X, Y, groups=GROUPS)


@pytest.mark.parametrize("kept", [True, False])
def test_ctrl_c_keeps_the_policy_and_goes_on(tmp_path, kept):
    whole = walk(max_steps=5).fit(X, Y, groups=GROUPS)

    class Stopped(Walk):
        left = 2

        def _step(self, task, state):
            row = super()._step(task, state)  # stopped when the state has changed already
            if not Stopped.left:
                Stopped.left = -1
                raise KeyboardInterrupt
            Stopped.left -= 1
            return row

    search = Stopped(
        staging(),
        max_steps=5,
        random_state=0,
        verbose=0,
        operations=OPERATIONS,
        checkpoint=tmp_path / "s" if kept else None,
    )
    with pytest.warns(UserWarning, match="policy_ is the policy reached"):
        search.fit(X, Y, groups=GROUPS)
    assert search.interrupted_
    assert len(search.history_) == 2
    assert not hasattr(search, "best_estimator_")
    done = search.history_
    search.continue_fit()
    assert not search.interrupted_
    same(search, whole)
    assert search.history_["seconds"][:2].equals(done["seconds"])  # they were not done again
    assert search.best_estimator_.policy == search.policy_


def test_ctrl_c_before_the_first_step_is_saved(tmp_path):
    def stop(search, row, seen=[]):  # noqa: B006
        seen.append(row["step"])
        if len(seen) == 1:
            raise KeyboardInterrupt

    search = walk(step_callback=stop, checkpoint=tmp_path / "s")
    with pytest.warns(UserWarning, match="policy_ is the policy reached"):
        search.fit(X, Y, groups=GROUPS)
    assert len(search.history_) == 1 and torch.load(tmp_path / "s", weights_only=True)["history"] == "[]"
    same(search.continue_fit(), walk().fit(X, Y, groups=GROUPS))


def test_other_settings_are_not_gone_on_with():
    search = walk(max_steps=2).fit(X, Y, groups=GROUPS)
    with pytest.raises(ValueError, match=r"begun with other settings: n_sub_policies was 5, is 2. Set them back"):
        search.set_params(n_sub_policies=2).continue_fit(max_epochs=3)
    assert len(search.set_params(n_sub_policies=5, verbose=0).continue_fit(max_epochs=3).history_) == 3


def test_a_relative_checkpoint_stays_where_it_was(tmp_path, monkeypatch):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "a")
    search = walk(max_steps=2, checkpoint="s.pt").fit(X, Y, groups=GROUPS)
    monkeypatch.chdir(tmp_path / "b")
    search.continue_fit(max_epochs=3)
    assert os.listdir() == []
    monkeypatch.chdir(tmp_path / "a")
    assert len(walk(max_steps=3, checkpoint="s.pt").fit(X, Y, groups=GROUPS).history_) == 3
    with pytest.raises(OSError, match="it is a folder; name a file"):
        walk(checkpoint="").fit(X, Y, groups=GROUPS)


def test_another_process_that_writes_the_same_checkpoint_is_named(tmp_path):
    def take(search, row):
        if row["step"] == 2:
            monkeypatch.setattr(os, "replace", refuse)

    def refuse(*paths):
        raise FileNotFoundError(2, "No such file or directory")

    with pytest.MonkeyPatch.context() as monkeypatch, pytest.raises(OSError, match="another process writes the check"):
        walk(checkpoint=tmp_path / "s.pt", step_callback=take).fit(X, Y, groups=GROUPS)


def test_windows_without_a_subject_are_refused():
    groups = np.array(["a", None] * (len(Y) // 2), dtype=object)
    with pytest.raises(ValueError, match=f"no subject for {len(Y) // 2} of {len(Y)} windows"):
        walk().fit(X, Y, groups=groups)


def test_continued_search_is_that_of_more_steps():
    same(
        walk(max_steps=2).fit(X, Y, groups=GROUPS).continue_fit(max_epochs=6),
        walk(max_steps=6).fit(X, Y, groups=GROUPS),
    )


# Checkpoints ---------------------------------------------------------------------------------------------------------


def test_goes_on_from_its_checkpoint(tmp_path):
    path = tmp_path / "deep" / "search.pt"
    for steps in (1, 3):
        part = walk(max_steps=steps, checkpoint=path).fit(X, Y, groups=GROUPS)
        assert len(part.history_) == steps
    resumed = walk(max_steps=6, checkpoint=path, verbose=1).fit(X, Y, groups=GROUPS)
    same(resumed, walk(max_steps=6).fit(X, Y, groups=GROUPS))
    assert sorted(one.name for one in path.parent.iterdir()) == ["search.pt", "search.pt.before"]
    assert torch.load(path, weights_only=True)["state"]["seen"] == {"value": 48}


def test_unseeded_search_goes_on_with_its_first_seed(tmp_path):
    first = walk(random_state=None, checkpoint=tmp_path / "s", max_steps=2).fit(X, Y, groups=GROUPS)
    again = walk(random_state=None, checkpoint=tmp_path / "s", max_steps=2).fit(X, Y, groups=GROUPS)
    same(first, again)
    assert first.valid_groups_.tolist() == again.valid_groups_.tolist()


def test_checkpoint_of_another_search_is_refused(tmp_path):
    path = tmp_path / "search.pt"
    walk(checkpoint=path).fit(X, Y, groups=GROUPS)
    with pytest.raises(ValueError, match="of another search: n_operations was 2, is 3"):
        walk(checkpoint=path, n_operations=3).fit(X, Y, groups=GROUPS)
    with pytest.raises(ValueError, match=r"estimator__lr was 0\.01, is 0\.02"):
        walk(checkpoint=path).set_params(estimator__lr=0.02).fit(X, Y, groups=GROUPS)
    with pytest.raises(ValueError, match="of another search: data was '48 windows"):
        walk(checkpoint=path).fit(X[:40], Y[:40], groups=GROUPS[:40])
    with pytest.raises(ValueError, match="of another search: groups was"):
        walk(checkpoint=path).fit(X, Y, groups=GROUPS[::-1])
    with pytest.raises(ValueError, match=r"of another search: searcher was 'Walk', is 'RandomSearch'\. Use another"):
        RandomSearch(staging(), checkpoint=path, operations=OPERATIONS, random_state=0).fit(X, Y, groups=GROUPS)


def test_a_search_goes_on_whether_compiled_or_not(tmp_path):
    first, again = (walk(checkpoint=tmp_path / "s") for _ in range(2))
    again.estimator = staging(compile=True, compile__mode="default")
    same(first.fit(X, Y, groups=GROUPS), again.fit(X, Y, groups=GROUPS))


def test_damaged_checkpoint_gives_way_to_the_one_before(tmp_path):
    path = tmp_path / "search.pt"
    whole = walk(checkpoint=path).fit(X, Y, groups=GROUPS)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.warns(UserWarning, match=r"damaged.*search.pt.before, is used instead"):
        resumed = walk(checkpoint=path).fit(X, Y, groups=GROUPS)
    same(resumed, whole)
    same(walk(checkpoint=path).fit(X, Y, groups=GROUPS), whole)
    for one in (path, tmp_path / "search.pt.before"):
        one.write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"and so is the checkpoint before it, .*search.pt.before: delete both"):
        walk(checkpoint=path).fit(X, Y, groups=GROUPS)


def test_a_search_killed_after_a_damaged_checkpoint_goes_on(tmp_path):
    path = tmp_path / "search.pt"
    whole = walk(max_steps=6, checkpoint=path).fit(X, Y, groups=GROUPS)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ValueError, match="n_sub_policies was 5, is 2"):  # which leaves all as it is
        walk(max_steps=6, checkpoint=path, n_sub_policies=2).fit(X, Y, groups=GROUPS)

    def die(search, row):
        raise RuntimeError("killed")

    with pytest.warns(UserWarning, match="is used instead"), pytest.raises(RuntimeError, match="killed"):
        walk(max_steps=6, checkpoint=path, step_callback=die).fit(X, Y, groups=GROUPS)
    seen = []
    third = walk(max_steps=6, checkpoint=path, step_callback=lambda search, row: seen.append(row["step"]))
    same(third.fit(X, Y, groups=GROUPS), whole)
    assert seen == [6]


def test_a_search_that_has_not_begun_has_no_policy_yet():
    class Slow(Walk):
        def _begin(self, task):
            with pytest.raises(NotFittedError, match="has not begun to search"):
                self.current_policy()
            return super()._begin(task)

    Slow(staging(), max_steps=1, random_state=0, verbose=0, refit=False, operations=OPERATIONS).fit(X, Y, groups=GROUPS)


def test_a_single_wrong_byte_is_noticed(tmp_path):
    path = tmp_path / "search.pt"
    whole = random_search(path, refit=False).fit(X, Y, groups=GROUPS)
    with zipfile.ZipFile(path) as archive:
        name = next(one for one in archive.namelist() if one.endswith("data/0"))
        content = archive.read(name)
    saved = path.read_bytes()
    place = saved.index(content)
    path.write_bytes(saved[:place] + bytes([saved[place] ^ 1]) + saved[place + 1 :])
    with pytest.warns(UserWarning, match=r"search.pt is damaged: the checkpoint before it"):
        same(random_search(path, refit=False).fit(X, Y, groups=GROUPS), whole)


def test_checkpoint_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="cannot be written"):
        walk(checkpoint=tmp_path / "file" / "search.pt").fit(X, Y, groups=GROUPS)


def random_search(checkpoint, **settings):
    settings = {"max_steps": 3, "operations": OPERATIONS, "random_state": 0, "verbose": 0} | settings
    estimator = staging(max_epochs=3, module__drop_prob=0.3)
    return RandomSearch(estimator, checkpoint=checkpoint, **settings)


KILLED = """
import os, signal, sys
sys.path.insert(0, {tests!r})
import torch
torch.set_num_threads(1)
from eegaug import StagingClassifier
from search.test_base import GROUPS, X, Y, random_search

step, passes = StagingClassifier.train_step_single, 0
def dying(net, batch, **kwargs):
    global passes
    passes += 1
    if passes == {passes}:
        os.kill(os.getpid(), signal.SIGKILL)
    return step(net, batch, **kwargs)
StagingClassifier.train_step_single = dying

random_search({path!r}).fit(X, Y, groups=GROUPS)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_killed_search_goes_on_exactly(tmp_path):
    path = tmp_path / "search.pt"
    # A trial is three epochs of two or three batches: the search is killed in the last epoch of the second one.
    code = KILLED.format(tests=str(Path(__file__).parent.parent), path=str(path), passes=11)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert len(json.loads(torch.load(path, weights_only=True)["history"])) == 1
    assert len(list(tmp_path.glob("search.pt.trial-2-*"))) == 1
    resumed = random_search(path).fit(X, Y, groups=GROUPS)
    whole = random_search(None).fit(X, Y, groups=GROUPS)
    same(resumed, whole)
    assert np.array_equal(resumed.predict_proba(X), whole.predict_proba(X))
    assert not list(tmp_path.glob("*trial*"))


def test_last_training_is_not_repeated(tmp_path):
    search = random_search(tmp_path / "s", max_steps=1)
    search.estimator.set_params(max_epochs=2)
    whole = clone(search).set_params(checkpoint=None).fit(X, Y, groups=GROUPS)
    search.fit(X, Y, groups=GROUPS)
    again = clone(search)
    again.fit(X, Y, groups=GROUPS)  # nothing is left to do: the result is loaded
    assert again.best_estimator_.resumed_epochs_ == 2
    assert np.array_equal(again.predict_proba(X), whole.predict_proba(X))
    again.continue_fit(max_epochs=2)
    assert again.best_estimator_.policy == again.policy_


def test_the_network_found_can_be_trained_on_other_data(tmp_path):
    search = random_search(tmp_path / "s", max_steps=1).fit(X, Y, groups=GROUPS)
    names = [
        name
        for name, _ in clone(search).set_params(checkpoint=None).fit(X, Y, groups=GROUPS).best_estimator_.callbacks_
    ]
    best = search.best_estimator_
    assert [name for name, _ in best.callbacks_] == names
    kept = (tmp_path / "s.refit").read_bytes()
    passes = best.n_forward_backward_
    for other in (clone(best), best):  # of neither is the file of the search
        assert other.fit(X[::-1].copy(), Y[::-1]).n_forward_backward_ == passes
    assert best.partial_fit(X[::-1].copy(), Y[::-1]).n_forward_backward_ == 2 * passes
    assert (tmp_path / "s.refit").read_bytes() == kept


@pytest.mark.filterwarnings("ignore:.* ended with nearly even weights")
@pytest.mark.parametrize("name", ["random", "faster-autoaugment"])
def test_estimators_whose_callbacks_are_disabled(name, tmp_path):
    estimator = staging(max_epochs=1, callbacks="disable")
    settings = {"max_steps": 1, "operations": OPERATIONS, "random_state": 0, "verbose": 0}
    found = get_searcher(name)(estimator, checkpoint=tmp_path / "s", **settings).fit(X, Y, groups=GROUPS)
    assert found.best_estimator_.callbacks_ == []
    assert found.predict(X).shape == Y.shape


# Memory --------------------------------------------------------------------------------------------------------------


def test_memory_is_flat_in_the_number_of_steps(tmp_path):
    counts, sizes = {}, {}

    def look(search, row):
        if row["step"] not in (3, 6, 10, 40):
            return
        gc.collect()
        counts[row["step"]] = sum(issubclass(type(one), torch.Tensor) for one in gc.get_objects())
        running = search._running
        saved = {"task": running.task.state_dict(), "state": running.state.state_dict()}
        torch.save(saved, tmp_path / "state.pt")
        sizes[row["step"]] = (tmp_path / "state.pt").stat().st_size

    random_search(None, max_steps=6, refit=False, step_callback=look).fit(X, Y, groups=GROUPS)
    assert counts[3] == counts[6]
    walk(max_steps=40, step_callback=look).fit(X, Y, groups=GROUPS)
    assert counts[10] == counts[40]
    assert abs(sizes[40] - sizes[10]) < 200
