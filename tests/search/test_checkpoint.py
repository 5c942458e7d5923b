"""The file of a search: when it is there, when it is not, what it can hold, and what lies beside it."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch
from skorch.callbacks import Callback
from small import X, Y, staging

from eegaug.search import AutoAugmentSearch, PolicySearch, RandomSearch, SearchState, get_searcher
from eegaug.search._checkpoint import SearchFile

GROUPS = np.arange(len(Y)) // 8
SETTINGS = {"operations": ["sign_flip", "gaussian_noise"], "refit": False, "verbose": 0}


class Counting(PolicySearch):
    """Counts its steps, with whatever is to be kept."""

    name = "counting"
    kept = None

    def _begin(self, task):
        return SearchState(count=0, kept=None)

    def _step(self, task, state):
        state.count += 1
        state.kept = self.kept
        return {"count": state.count}

    def _policy(self, task, state):
        return task.identity()


def counting(path, max_steps=3, random_state=0):
    return Counting(staging(), checkpoint=path, max_steps=max_steps, random_state=random_state, **SETTINGS)


def steps_done(search):
    """Numbers of the steps that are done now, not by a search before."""
    done = []
    search.set_params(step_callback=lambda _, row: done.append(row["step"])).fit(X, Y, groups=GROUPS)
    return done


def test_a_search_whose_file_was_deleted_begins_anew(tmp_path):
    path = tmp_path / "search.pt"
    assert steps_done(counting(path)) == [1, 2, 3]
    path.unlink()
    assert steps_done(counting(path)) == [1, 2, 3]
    path.unlink()
    assert steps_done(counting(path, max_steps=1, random_state=1)) == [1]
    assert sorted(one.name for one in tmp_path.iterdir()) == ["search.pt", "search.pt.before"]


def test_a_search_that_failed_in_its_first_step_may_be_given_other_settings(tmp_path, monkeypatch):
    path = tmp_path / "search.pt"
    with monkeypatch.context() as patch:
        patch.setattr(Counting, "_step", lambda *args: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            counting(path).fit(X, Y, groups=GROUPS)
    assert steps_done(counting(path).set_params(n_operations=1)) == [1, 2, 3]
    with pytest.raises(ValueError, match="is of another search: n_operations was 1, is 2"):
        counting(path).fit(X, Y, groups=GROUPS)


@pytest.mark.parametrize(("name", "n_epochs"), [("random", 3), ("fast-autoaugment", 6)])
def test_a_search_without_a_seed_that_is_killed_in_its_first_training_goes_on(name, n_epochs, tmp_path, monkeypatch):
    pytest.importorskip("optuna")
    path = tmp_path / "search.pt"

    def search(**more):
        estimator = staging(max_epochs=3, random_state=None, callbacks=[("dies", Dies())], **more)
        own = {"n_folds": 2} if name == "fast-autoaugment" else {}
        return get_searcher(name)(estimator, max_steps=1, checkpoint=path, **SETTINGS | own)

    def killed(**more):
        monkeypatch.setattr(Dies, "at", 3)
        with pytest.raises(RuntimeError, match="killed"):
            search(**more).fit(X, Y, groups=GROUPS)
        (training,) = tmp_path.glob("search.pt.*")
        training.with_name(f".{training.name}.part").touch()  # as where it is killed while it writes

    killed()
    with pytest.raises(ValueError, match=r"is of another search: estimator__lr was 0\.01, is 0\.02"):
        search(lr=0.02).fit(X, Y, groups=GROUPS)
    seed = torch.load(path, weights_only=True)["seed"]
    monkeypatch.setattr(Dies, "at", 100)
    assert search().fit(X, Y, groups=GROUPS)._running.task.seed == seed
    assert 100 - Dies.at == n_epochs - 2  # which were done
    path.unlink()
    killed(lr=0.02)  # and not refused, as a training of another search
    path.unlink()
    monkeypatch.setattr(Dies, "at", None)
    search().fit(X, Y, groups=GROUPS)
    assert not list(tmp_path.glob("*.trial*")) and not list(tmp_path.glob(".*"))


def test_a_search_killed_while_files_change_places_goes_on_from_the_new_one(tmp_path):
    path = tmp_path / "search.pt"
    assert steps_done(counting(path)) == [1, 2, 3]
    path.rename(tmp_path / "search.pt.new")
    assert steps_done(counting(path, max_steps=4)) == [4]


def test_a_full_disk_names_the_checkpoint_that_is_kept(tmp_path, monkeypatch):
    def fill(*args):
        raise OSError(28, "No space left on device")

    file = SearchFile(tmp_path / "s.pt")
    file.write({}, {"n": 1})
    monkeypatch.setattr(os, "fsync", fill)
    with pytest.raises(OSError, match=r"to .*/s\.pt: No space left on device; what was saved before is kept$"):
        file.write({}, {"n": 2})
    assert os.listdir(tmp_path) == ["s.pt"] and torch.load(tmp_path / "s.pt")["n"] == 1


def test_what_a_search_keeps_can_be_read_again(tmp_path, monkeypatch):
    path = tmp_path / "search.pt"
    kept = {"best": np.float64(0.5), "n": [np.int64(2), (True, None)], "t": torch.ones(2), np.int64(3): "three"}
    monkeypatch.setattr(Counting, "kept", kept)
    counting(path).fit(X, Y, groups=GROUPS)
    resumed = counting(path).fit(X, Y, groups=GROUPS)._running.state.kept
    assert torch.equal(resumed.pop("t"), torch.ones(2))
    assert resumed == {"best": 0.5, "n": [2, (True, None)], 3: "three"}
    monkeypatch.setattr(Counting, "kept", {"best": [np.zeros(2)]})
    with pytest.raises(TypeError, match=r"keeps a ndarray in its 'kept', which its checkpoint cannot hold: keep tens"):
        counting(tmp_path / "other.pt").fit(X, Y, groups=GROUPS)


@pytest.mark.filterwarnings("ignore:.* ended with nearly even weights")
@pytest.mark.parametrize("rate", [np.float64(0.02), np.float32(0.02)], ids=["float64", "float32"])
@pytest.mark.parametrize("name", ["adda", "faster-autoaugment", "dna"])
def test_rates_out_of_an_array_do_not_stop_a_search_from_going_on(name, rate, tmp_path):
    def search(max_steps, checkpoint):
        estimator = staging(lr=rate, optimizer__betas=(np.float64(0.5), 0.9))
        own = {"warm_start": np.int64(1), "policy_betas": (rate, 0.9)} if name == "adda" else {}
        numbers = {"max_steps": max_steps, "n_sub_policies": np.int64(2), "policy_lr": rate, "random_state": 0}
        return get_searcher(name)(estimator, checkpoint=checkpoint, **SETTINGS | numbers | own)

    whole = search(3, None).fit(X, Y, groups=GROUPS)
    assert whole._running.saved()["seed"] == 0  # what Ctrl-C goes back to
    search(1, tmp_path / "s").fit(X, Y, groups=GROUPS)
    resumed = search(3, tmp_path / "s").fit(X, Y, groups=GROUPS)
    assert resumed.history_.drop(columns="seconds").equals(whole.history_.drop(columns="seconds"))
    assert resumed.policy_ == whole.policy_


class Dies(Callback):
    """Raises at the beginning of an epoch, counted over all trainings."""

    at = None

    def on_epoch_begin(self, net, **kwargs):
        if Dies.at is not None:
            Dies.at -= 1
            if not Dies.at:
                raise RuntimeError("killed")


class OneAfterTheOther:
    """In the place of joblib's Parallel."""

    def __init__(self, **settings):
        pass

    def __call__(self, jobs):
        return [function(*args, **kwargs) for function, args, kwargs in jobs]


def test_a_trial_that_is_not_proposed_again_does_not_stand_in_the_way(tmp_path, monkeypatch):
    pytest.importorskip("optuna")

    def search(n_jobs, path):
        estimator = staging(max_epochs=3, callbacks=[("dies", Dies())])
        settings = SETTINGS | {"n_startup_trials": 1, "max_steps": 3, "random_state": 0}
        return AutoAugmentSearch(estimator, n_jobs=n_jobs, checkpoint=path, **settings)

    monkeypatch.setattr("eegaug.search._trials.Parallel", OneAfterTheOther)
    monkeypatch.setattr(Dies, "at", 5)  # in the second epoch of the second of two trials at a time
    with pytest.raises(RuntimeError, match="killed"):
        search(2, tmp_path / "search.pt").fit(X, Y, groups=GROUPS)
    Dies.at = None
    assert len(list(tmp_path.glob("search.pt.trial-2-*"))) == 1
    # One at a time, the second is proposed when the score of the first is known: it is another.
    resumed = search(1, tmp_path / "search.pt").fit(X, Y, groups=GROUPS)
    whole = search(1, None).fit(X, Y, groups=GROUPS)
    assert resumed.history_["trial"].tolist() == whole.history_["trial"].tolist()
    assert resumed.history_["score"].tolist() == whole.history_["score"].tolist()
    assert not list(tmp_path.glob("*trial*"))


def test_files_of_trials_are_removed_whatever_the_name_of_the_search(tmp_path):
    search = RandomSearch(staging(), checkpoint=tmp_path / "a[1]*.pt", max_steps=2, random_state=0, **SETTINGS)
    other = tmp_path / "a1.pt.trial-9"
    other.write_text("")
    search.fit(X, Y, groups=GROUPS)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["a1.pt.trial-9", "a[1]*.pt", "a[1]*.pt.before"]


def test_tensors_are_saved_as_copies_and_restored_in_place():
    held = torch.zeros(2, requires_grad=True)
    state = SearchState(alpha=held, best=torch.ones(1))
    saved = state.state_dict()
    with torch.no_grad():
        held.add_(1.0)
    state.best = None
    assert saved["alpha"]["value"].tolist() == [0.0, 0.0] and not saved["alpha"]["value"].requires_grad
    state.load_state_dict(saved)
    assert state.alpha is held and held.tolist() == [0.0, 0.0] and held.requires_grad
    assert state.best.tolist() == [1.0]
    state.load_state_dict({"best": {"value": None}})
    assert state.best is None
