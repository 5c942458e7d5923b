"""AutoAugment with TPE: what it finds, how it is kept, several processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from small import X, Y, staging

from eegaug.search import AutoAugmentSearch
from eegaug.search._tpe import PolicyStudy, PrunerReplica

optuna = pytest.importorskip("optuna")

GROUPS = np.arange(len(Y)) // 8
OPERATIONS = ["sign_flip", "gaussian_noise", "channels_dropout", "time_reverse", "channels_shuffle"]


class Free(AutoAugmentSearch):
    """A search whose trainings cost nothing and reward weak noise."""

    def _train(self, task, proposed, stop=None):
        results = []
        for subs in proposed:
            steps = [step for sub in subs for step in sub]
            noise = [1 - abs(magnitude - 0.2) for op, _, magnitude in steps if OPERATIONS[op] == "gaussian_noise"]
            score = sum(noise) / len(steps)
            results.append({"score": score, "curve": [score], "epochs": 1, "passes": 2, "pruned": False})
        return results


def search(cls=Free, max_epochs=2, **settings):
    settings = {"max_steps": 12, "operations": OPERATIONS, "random_state": 0, "verbose": 0, "refit": False} | settings
    return cls(staging(max_epochs=max_epochs), **settings)


def same(a, b):
    assert a.history_.drop(columns="seconds").equals(b.history_.drop(columns="seconds"))
    assert a.policy_.sub_policies == b.policy_.sub_policies


def test_finds_the_rewarded_operation():
    found = search(max_steps=80, n_operations=1).fit(X, Y, groups=GROUPS)
    assert found.history_["best_score"].is_monotonic_increasing
    assert [sub.operations[0].operation for sub in found.policy_.sub_policies] == ["gaussian_noise"] * 5
    assert all(abs(sub.operations[0].magnitude - 0.2) < 0.15 for sub in found.policy_.sub_policies)
    late = [trial[0][0][0] for trial in found.history_["trial"][-30:]]
    assert late.count("gaussian_noise") > 20  # one in five, were they drawn at random
    assert found.n_forward_backward_ == 80 * 2


def test_seed_gives_the_trials():
    same(search().fit(X, Y, groups=GROUPS), search().fit(X, Y, groups=GROUPS))
    other = search(random_state=1).fit(X, Y, groups=GROUPS)
    assert other.history_["trial"][0] != search().fit(X, Y, groups=GROUPS).history_["trial"][0]


def test_units():
    found = search(trial_unit="policy", n_sub_policies=3).fit(X, Y, groups=GROUPS)
    assert {len(trial) for trial in found.history_["trial"]} == {3}
    best = found.history_.loc[found.history_["score"].idxmax(), "trial"]
    assert [[s.operation for s in sub.operations] for sub in found.policy_.sub_policies] == [
        [name for name, _, _ in sub] for sub in best
    ]
    found = search(n_sub_policies=3).fit(X, Y, groups=GROUPS)
    assert {len(trial) for trial in found.history_["trial"]} == {1}
    assert len(found.policy_.sub_policies) == 3


def test_operations_without_magnitude_ignore_it():
    found = search(operations=["sign_flip", "time_reverse"], max_steps=2).fit(X, Y, groups=GROUPS)
    assert all(step.magnitude is None for sub in found.policy_.sub_policies for step in sub.operations)
    assert all(0 <= step[2] <= 1 for trial in found.history_["trial"] for sub in trial for step in sub)


def test_goes_on_from_checkpoint_and_storage(tmp_path):
    whole = search(n_startup_trials=4).fit(X, Y, groups=GROUPS)
    for settings in ({"checkpoint": tmp_path / "s.pt"}, {"storage": tmp_path / "trials.log"}):
        search(n_startup_trials=4, max_steps=7, **settings).fit(X, Y, groups=GROUPS)
        same(search(n_startup_trials=4, **settings).fit(X, Y, groups=GROUPS), whole)
    assert (
        len(search(n_startup_trials=4, max_steps=7).fit(X, Y, groups=GROUPS).continue_fit(max_epochs=9).history_) == 9
    )


def test_a_relative_storage_stays_where_it_was(tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    search(storage="trials.log", max_steps=2, step_callback=lambda *_: os.chdir(tmp_path / "elsewhere")).fit(
        X, Y, groups=GROUPS
    )
    study = PolicyStudy(OPERATIONS, 1, 2, 0, storage=tmp_path / "trials.log", study_name="eegaug-autoaugment")
    assert len(study.finished()) == 2
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_storage_where_there_are_no_symbolic_links(tmp_path, monkeypatch):
    # Windows keeps them for administrators.
    def refuse(*args, **options):
        raise OSError(22, "A required privilege is not held by the client")

    monkeypatch.setattr(os, "symlink", refuse)
    study = PolicyStudy(OPERATIONS, 1, 2, 0, storage=tmp_path / "trials.log", study_name="one")
    trial, _ = study.ask()
    study.tell(trial, score=0.5)
    again = PolicyStudy(OPERATIONS, 1, 2, 0, storage=tmp_path / "trials.log", study_name="one")
    assert [one.value for one in again.finished()] == [0.5]
    assert [path.name for path in tmp_path.iterdir()] == ["trials.log"]


def test_storage_of_another_search_is_refused(tmp_path):
    url = f"sqlite:///{tmp_path}/trials.db"
    search(storage=url, max_steps=2).fit(X, Y, groups=GROUPS)
    with pytest.raises(ValueError, match=r"of another search: n_operations was 2, is 3. Use another study_name"):
        search(storage=url, n_operations=3).fit(X, Y, groups=GROUPS)
    search(storage=url, n_operations=3, max_steps=1, study_name="other").fit(X, Y, groups=GROUPS)
    with pytest.raises(ValueError, match="hold out the same subjects; pass an int"):
        search(storage=url, random_state=None).fit(X, Y, groups=GROUPS)
    search(storage=url, n_operations=3, max_steps=1, study_name="third", random_state=np.int64(1)).fit(
        X, Y, groups=GROUPS
    )
    (tmp_path / "junk.log").write_text("junk")
    with pytest.raises(ValueError, match=r"junk\.log"):
        search(storage=tmp_path / "junk.log").fit(X, Y, groups=GROUPS)
    with pytest.raises(ValueError, match="the trials of storage nowhere://x cannot be read"):
        search(storage="nowhere://x").fit(X, Y, groups=GROUPS)
    with pytest.raises(ValueError, match="n_jobs is 0"):
        search(n_jobs=0).fit(X, Y, groups=GROUPS)
    with pytest.raises(OSError, match="cannot be written to storage"):
        search(storage=tmp_path).fit(X, Y, groups=GROUPS)


def test_processes_that_share_a_storage(tmp_path):
    here, there = (search(storage=tmp_path / "trials.log", max_steps=6) for _ in range(2))
    seen = []

    def other_works(search, row):
        if row["step"] == 2:
            there.set_params(max_steps=5).fit(X, Y, groups=GROUPS)  # takes over the two trials and adds three
            seen.append(len(there.history_))

    here.set_params(step_callback=other_works).fit(X, Y, groups=GROUPS)
    assert seen == [5]
    assert len(here.history_) == 6
    assert here.history_["score"][:5].tolist() == there.history_["score"].tolist()
    study = optuna.load_study(
        storage=optuna.storages.JournalStorage(
            optuna.storages.journal.JournalFileBackend(str(tmp_path / "trials.log"))
        ),
        study_name="eegaug-autoaugment",
    )
    assert [trial.state.name for trial in study.trials] == ["COMPLETE"] * 6


def test_trials_that_run_elsewhere_are_not_run_again(tmp_path):
    path = tmp_path / "trials.log"
    search(storage=path, max_steps=2).fit(X, Y, groups=GROUPS)
    study = PolicyStudy(OPERATIONS, 1, 2, 0, storage=path, study_name="eegaug-autoaugment")
    study.ask()  # under way in this process
    with pytest.warns(UserWarning, match="the last 1 trials run in other processes"):
        found = search(storage=path, max_steps=3).fit(X, Y, groups=GROUPS)
    assert len(found.history_) == 2


def trial_of_another_machine(path, silent):
    """One that began so many seconds ago, and of which nothing was heard since."""
    study = PolicyStudy(OPERATIONS, 1, 2, 0, storage=path, study_name="eegaug-autoaugment")
    trial, _ = study.ask()
    trial.set_user_attr("process", "elsewhere:1")
    trial.set_user_attr("seen", time.time() - silent)
    return study, trial


def test_trials_of_other_machines_are_run_again_when_nothing_is_heard_of_them(tmp_path):
    path = tmp_path / "trials.log"
    whole = search(max_steps=2).fit(X, Y, groups=GROUPS)
    study, _ = trial_of_another_machine(path, silent=60)
    with pytest.warns(UserWarning, match="the last 1 trials run in other processes"):
        assert len(search(storage=path, max_steps=1).fit(X, Y, groups=GROUPS).history_) == 0
    path.unlink()
    study, _ = trial_of_another_machine(path, silent=3600)
    same(search(storage=path, max_steps=2).fit(X, Y, groups=GROUPS), whole)
    assert [trial.state.name for trial in study.study.trials] == ["FAIL", "COMPLETE", "COMPLETE"]


def test_a_trial_that_nobody_owns_is_run_again(monkeypatch):
    study = PolicyStudy(OPERATIONS, 1, 2, 0)
    study.study.ask()  # as one is between two words to the storage
    study.drop_dead()
    assert len(study.running()) == 1
    monkeypatch.setattr("eegaug.search._tpe._SILENCE", 0.0)
    study.drop_dead()
    assert study.running() == []


def test_says_that_its_trials_are_under_way(tmp_path, monkeypatch):
    monkeypatch.setattr("eegaug.search._tpe._BEAT", 0.01)
    study, trial = trial_of_another_machine(tmp_path / "trials.log", silent=3600)
    with study.under_way([trial]):
        until = time.monotonic() + 20.0
        while time.time() - study.running()[0].user_attrs["seen"] > 60 and time.monotonic() < until:
            time.sleep(0.01)
    assert time.time() - study.running()[0].user_attrs["seen"] < 60
    assert "trials under way" not in {thread.name for thread in threading.enumerate()}
    study.drop_dead()
    assert len(study.running()) == 1


def test_a_trial_that_was_given_up_is_run_again(tmp_path):
    path = tmp_path / "trials.log"
    first, given_up = search(storage=path, max_steps=2), []

    def elsewhere(task, proposed, stop=None):
        study = PolicyStudy(OPERATIONS, 1, 2, 0, storage=path, study_name="eegaug-autoaugment")
        if not given_up:
            given_up.extend(study.running())
            study.drop(given_up[0])
        return Free._train(first, task, proposed, stop)

    first._train = elsewhere
    with pytest.warns(UserWarning, match="trial 0 was given up by another process, which had not heard of it for 15 m"):
        first.fit(X, Y, groups=GROUPS)
    same(first, search(max_steps=2).fit(X, Y, groups=GROUPS))


def test_a_trial_lost_among_others_is_drawn_again():
    study = PolicyStudy(OPERATIONS, 1, 2, 0, shared=True)
    (first, drawn), *others = [study.ask() for _ in range(3)]
    study.drop(first)
    assert study.ask()[1] == drawn  # not what the last of the others tries
    whole = PolicyStudy(OPERATIONS, 1, 2, 0, shared=True)
    assert study.ask()[1] == [whole.ask() for _ in range(4)][-1][1]
    assert [steps for _, steps in others] != [drawn, drawn]


@pytest.mark.parametrize("where", ["ask", "tell"])
def test_ctrl_c_leaves_no_trial_under_way(where, monkeypatch, tmp_path):
    calls, method = [], getattr(optuna.Trial, {"ask": "suggest_categorical", "tell": "report"}[where])

    def stopped(trial, *args, **kwargs):
        calls.append(trial)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return method(trial, *args, **kwargs)

    one = search(storage=tmp_path / "trials.log", max_steps=2)
    monkeypatch.setattr(optuna.Trial, method.__name__, stopped)
    monkeypatch.setattr(one, "_at_a_time", lambda: 2)
    with pytest.raises(KeyboardInterrupt):
        one.fit(X, Y, groups=GROUPS)
    monkeypatch.undo()
    study = PolicyStudy(OPERATIONS, 1, 2, 0, storage=tmp_path / "trials.log", study_name="eegaug-autoaugment")
    assert study.running() == []
    assert len(one.fit(X, Y, groups=GROUPS).history_) == 2


def test_trials_that_ended_elsewhere_are_taken_over(tmp_path):
    kept = {"storage": tmp_path / "trials.log", "checkpoint": tmp_path / "s.pt"}
    search(max_steps=2, **kept).fit(X, Y, groups=GROUPS)
    study = PolicyStudy(OPERATIONS, 1, 2, 0, storage=tmp_path / "trials.log", study_name="eegaug-autoaugment")
    trial, steps = study.ask()
    with pytest.warns(UserWarning, match="run in other processes"):
        search(max_steps=4, **kept).fit(X, Y, groups=GROUPS)
    study.tell(trial, [0.99], score=0.99, epochs=1, passes=7, seconds=5.0)
    found = search(max_steps=4, **kept).fit(X, Y, groups=GROUPS)  # goes on after trials 0, 1 and 3
    assert found.history_["score"].iloc[-1] == found.history_["best_score"].iloc[-1] == 0.99
    assert found.history_["seconds"].iloc[-1] == 5.0
    assert found.n_forward_backward_ == 3 * 2 + 7
    assert len({str(one) for one in found.history_["trial"]}) == 4
    assert found.policy_.sub_policies[0].operations[0].probability == steps[0][0][1]


def real(storage, **settings):
    return search(AutoAugmentSearch, storage=storage, max_steps=4, max_epochs=3, n_startup_trials=2, **settings)


KILLED = """
import os, signal, sys
sys.path.insert(0, {tests!r})
import torch
torch.set_num_threads(1)
from eegaug import StagingClassifier
from search.test_autoaugment import GROUPS, X, Y, real

step, passes = StagingClassifier.train_step_single, 0
def dying(net, batch, **kwargs):
    global passes
    passes += 1
    if passes == 17:
        os.kill(os.getpid(), signal.SIGKILL)
    return step(net, batch, **kwargs)
StagingClassifier.train_step_single = dying

real({path!r}).fit(X, Y, groups=GROUPS)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_killed_process_loses_its_trial_only(tmp_path):
    path = tmp_path / "trials.log"
    code = KILLED.format(tests=str(Path(__file__).parent.parent), path=str(path))
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    study = PolicyStudy(OPERATIONS, 1, 2, 0, storage=path, study_name="eegaug-autoaugment")
    assert (len(study.finished()), len(study.running())) == (2, 1)
    resumed = real(path).fit(X, Y, groups=GROUPS)
    same(resumed, real(None).fit(X, Y, groups=GROUPS))
    assert [trial.state.name for trial in study.study.trials] == [
        "COMPLETE",
        "COMPLETE",
        "FAIL",
        "COMPLETE",
        "COMPLETE",
    ]


def test_a_process_to_which_nothing_is_left_says_so(tmp_path):
    path = tmp_path / "trials.log"
    first = search(storage=path, max_steps=1)

    def elsewhere(task, proposed, stop=None):
        second = search(storage=path, max_steps=1, time_budget="1h")
        with pytest.warns(UserWarning, match="the last 1 trials run in other processes"):
            second.fit(X, Y, groups=GROUPS)
        assert not len(second.history_) and second.search_time_ == 0
        return Free._train(first, task, proposed, stop)

    first._train = elsewhere
    assert len(first.fit(X, Y, groups=GROUPS).history_) == 1


# Pruning -------------------------------------------------------------------------------------------------------------


def test_pruner_ends_what_lies_below_the_median():
    study = PolicyStudy(OPERATIONS, 1, 2, 0)
    for level in (0.5, 0.6, 0.7):
        trial, _ = study.ask()
        study.tell(trial, [level - 0.1, level, level], score=level)
    replica = PrunerReplica(optuna.pruners.MedianPruner(n_startup_trials=2, n_warmup_steps=1), study.finished())
    assert not replica.hopeless([0.1])  # warming up
    assert replica.hopeless([0.1, 0.5])
    again = PrunerReplica(optuna.pruners.MedianPruner(n_startup_trials=2, n_warmup_steps=1), study.finished())
    assert not again.hopeless([0.1, 0.65])
    assert not again.hopeless([0.1, 0.65, 0.2])  # its best lies above


def test_pruned_trials_are_no_part_of_the_policy():
    harmless, harmful = ["time_reverse"], ["time_reverse", "channels_dropout"]
    found = search(
        AutoAugmentSearch, max_steps=12, max_epochs=6, operations=harmful, n_startup_trials=3, n_warmup_epochs=1
    ).fit(X, Y, groups=GROUPS)
    history = found.history_
    assert history["pruned"].any()
    assert (history.loc[history["pruned"], "epochs"] < 6).all()
    assert (history.loc[~history["pruned"], "epochs"] == 6).all()
    kept = history[~history["pruned"]].sort_values("score", ascending=False, kind="stable")["trial"].head(5)
    probabilities = [[step.probability for step in sub.operations] for sub in found.policy_.sub_policies]
    assert probabilities == [[p for _, p, _ in trial[0]] for trial in kept]
    whole = search(AutoAugmentSearch, max_steps=2, max_epochs=6, operations=harmless, pruning=False)
    assert whole.fit(X, Y, groups=GROUPS).history_["epochs"].tolist() == [6, 6]


def test_missing_optuna_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ImportError, match=r"Free needs optuna.*pip install 'eegaug\[search\]'"):
        search().fit(X, Y, groups=GROUPS)
