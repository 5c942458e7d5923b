"""Policies drawn at random, each scored by a training."""

from __future__ import annotations

import time
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from joblib import parallel_config
from sklearn.metrics import balanced_accuracy_score
from skorch.callbacks import Callback, EarlyStopping, EpochScoring
from small import CHANNELS, NAMES, SFREQ, SmallNet, X, Y, epochs, staging

from eegaug.policies import Policy
from eegaug.search import ADDASearch, FastAutoAugmentSearch, FasterAutoAugmentSearch, RandomSearch
from eegaug.search._trials import SCORE, run_trial, seconds_each, validated_estimator

GROUPS = np.arange(len(Y)) // 8
OPERATIONS = ["sign_flip", "gaussian_noise", "channels_dropout"]


class Free(RandomSearch):
    """Random search whose trainings cost nothing: the score of a trial is its mean probability."""

    def _train(self, task, proposed, stop=None):
        scores = [float(np.mean([p for steps in subs for _, p, _ in steps])) for subs in proposed]
        return [{"score": s, "curve": [s], "epochs": 1, "passes": 0, "pruned": False} for s in scores]


def search(cls=RandomSearch, max_epochs=2, **settings):
    settings = {"max_steps": 3, "operations": OPERATIONS, "random_state": 0, "verbose": 0, "refit": False} | settings
    return cls(staging(max_epochs=max_epochs), **settings)


def steps_of(trial):
    return [step for sub in trial for step in sub]


def test_draws_are_uniform():
    found = search(Free, max_steps=100, n_sub_policies=4, n_operations=3).fit(X, Y, groups=GROUPS)
    trials = found.history_["trial"]
    assert {len(trial) for trial in trials} == {4}
    names, p, magnitude = zip(*(step for trial in trials for step in steps_of(trial)), strict=True)
    n = len(names)
    assert n == 100 * 4 * 3
    for values in (np.array(p), np.array(magnitude)):
        assert 0 <= values.min() < 0.01
        assert 0.99 < values.max() <= 1
        assert abs(values.mean() - 0.5) < 4 * np.sqrt(1 / 12 / n)
    for name in OPERATIONS:
        assert abs(names.count(name) / n - 1 / 3) < 4 * np.sqrt(2 / 9 / n)


def test_time_of_trials_side_by_side():
    # Ten seconds here, and four that one of them had been at work on before it was killed.
    assert seconds_each(time.perf_counter() - 10, [{"earlier_seconds": 4.0}, {}]) == pytest.approx(7, abs=0.1)
    found = search(n_jobs=2)
    found._running = SimpleNamespace(state=SimpleNamespace(waiting=[]), n_steps=9)
    found._rows = [{"seconds": 5.0}, {"seconds": 7.0}, {"seconds": 6.0}]
    assert found._expected_seconds() == 14.0
    found._running.n_steps = 4  # of which one is left
    assert found._expected_seconds() == 7.0
    found._running.state.waiting = [{}]  # trained already, in the round of the last
    assert found._expected_seconds() == 0.0


def test_best_trial_is_the_policy():
    found = search(Free, max_steps=30).fit(X, Y, groups=GROUPS)
    history = found.history_
    assert history["best_score"].tolist() == history["score"].cummax().tolist()
    best = history.loc[history["score"].idxmax(), "trial"]
    assert (
        found.policy_.sub_policies
        == Policy(
            sub_policies=[{"operations": [(n, p, None if n == "sign_flip" else m) for n, p, m in sub]} for sub in best]
        ).sub_policies
    )


def test_best_sub_policies_make_the_policy():
    found = search(Free, max_steps=30, trial_unit="sub_policy", n_sub_policies=4).fit(X, Y, groups=GROUPS)
    best = found.history_.nlargest(4, "score")["trial"]
    probabilities = [[step.probability for step in sub.operations] for sub in found.policy_.sub_policies]
    assert probabilities == [[p for _, p, _ in steps_of(trial)] for trial in best]
    assert {len(trial) for trial in found.history_["trial"]} == {1}


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"trial_unit": "batch"}, "trial_unit is 'batch'"), ({"n_operations": 0}, "n_operations is 0")],
)
def test_settings_that_make_no_sense(settings, message):
    with pytest.raises(ValueError, match=message):
        search(Free, **settings).fit(X, Y, groups=GROUPS)


def test_score_is_that_of_the_held_out_subjects():
    found = search(max_steps=2, max_epochs=3).fit(X, NAMES[Y], groups=GROUPS)
    task = found._running.task
    steps = [[(OPERATIONS.index(n), p, m) for n, p, m in sub] for sub in found.history_["trial"][1]]
    estimator = validated_estimator(task, task.policy(steps))
    estimator.fit(task.train.windows, task.train.labels)
    assert found.history_["score"][1] == max(estimator.history[:, SCORE])
    assert found.history_["epochs"].tolist() == [3, 3]
    recalls = [
        np.mean(estimator.predict(task.valid.windows)[task.valid.labels == one] == one) for one in np.unique(NAMES)
    ]
    assert estimator.history[-1, SCORE] == pytest.approx(np.mean(recalls))


def test_score_is_that_of_the_best_epoch():
    class Trained:
        history = [{SCORE: 0.4, "dur": 1.0}, {SCORE: 0.7, "dur": 2.0}, {SCORE: 0.5, "dur": 4.0}, {"dur": 8.0}]
        interrupted_, resumed_epochs_, n_forward_backward_ = False, 2, 12

        def fit(self, windows, labels):
            return self

    found = run_trial(Trained(), X, Y)
    assert (found["score"], found["epochs"], found["passes"], found["earlier_seconds"]) == (0.7, 3, 12, 3.0)


def test_trials_stop_early():
    found = search(max_steps=1, max_epochs=50, patience=2).fit(X, Y, groups=GROUPS)
    assert found.history_["epochs"][0] < 50
    task = found._running.task
    estimator = (
        validated_estimator(task, patience=2).set_params(max_epochs=50).fit(task.train.windows, task.train.labels)
    )
    scores, valid = estimator.history[:, SCORE], task.valid
    assert len(scores) == int(np.argmax(scores)) + 1 + 2
    # The network is that of the best epoch.
    assert balanced_accuracy_score(valid.labels, estimator.predict(valid.windows)) == pytest.approx(max(scores))
    own = [
        (SCORE, EpochScoring("balanced_accuracy", lower_is_better=False, name=SCORE, on_train=False)),
        ("stop", EarlyStopping("train_loss", patience=1, threshold=1e9, threshold_mode="abs", sink=str)),
    ]
    found.estimator.set_params(callbacks=own)  # takes the place of the search's, and scores once
    assert found.fit(X, Y, groups=GROUPS).history_["epochs"][0] == 2


class Slow(Callback):
    """Sleeps in each epoch, and the first time breaks off before the third."""

    broken_off = False

    def on_epoch_begin(self, net, **kwargs):
        if len(net.history) == 3 and not Slow.broken_off:
            Slow.broken_off = True
            raise RuntimeError("out of memory")
        time.sleep(0.2)


@pytest.mark.parametrize(("cls", "settings"), [(RandomSearch, {}), (FastAutoAugmentSearch, {"n_folds": 1})])
def test_time_of_a_trial_that_was_broken_off_counts(cls, settings, tmp_path):
    if cls is FastAutoAugmentSearch:
        pytest.importorskip("optuna")
    Slow.broken_off = False
    found = search(cls, max_epochs=4, max_steps=1, checkpoint=tmp_path / "search.pt", **settings)
    found.estimator.set_params(callbacks=[("slow", Slow())])
    with pytest.raises(RuntimeError, match="out of memory"):
        found.fit(X, Y, groups=GROUPS)
    first = found.fit(X, Y, groups=GROUPS).history_.iloc[0]
    assert first["epochs"] == 4
    assert first["seconds"] > 0.8  # four epochs, two of them before


def test_trials_in_processes_of_their_own():
    alone = search(max_epochs=1).fit(X, Y, groups=GROUPS)
    with parallel_config(backend="multiprocessing"):  # the default one imports everything anew in each process
        together = search(max_epochs=1, n_jobs=2).fit(X, Y, groups=GROUPS)
    columns = ["step", "score", "best_score", "trial", "n_forward_backward"]
    assert together.history_[columns].equals(alone.history_[columns])
    assert together.policy_.sub_policies == alone.policy_.sub_policies


@pytest.mark.parametrize(("backend", "taken"), [("threading", "loky"), ("multiprocessing", None)])
def test_trials_never_run_in_threads(backend, taken, monkeypatch):
    """Where trainings would draw from each other's generators: joblib takes threads inside of its own workers."""
    given = []

    def parallel(**settings):
        given.append(settings["backend"])
        return lambda jobs: [function(*args) for function, args, _ in jobs]

    monkeypatch.setattr("eegaug.search._trials.Parallel", parallel)
    with parallel_config(backend=backend):
        search(max_epochs=1, max_steps=2, n_jobs=2).fit(X, Y, groups=GROUPS)
    assert given == [taken]


# Input ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", [RandomSearch, FasterAutoAugmentSearch])
def test_epochs_say_rate_and_channels_to_all_trainings(cls):
    windows = epochs()
    windows.metadata = pd.DataFrame({"subject": GROUPS.astype(str)})
    unknown = staging(Rated, sfreq=None, ch_names=None, max_epochs=1)
    settings = {"operations": ["frequency_shift", "channels_symmetry"], "max_steps": 1, "random_state": 0, "verbose": 0}
    found = cls(unknown, **settings).fit(windows)
    assert found.best_estimator_.signal_.sfreq == SFREQ
    assert found.best_estimator_.signal_.ch_names == tuple(CHANNELS)
    assert found.best_estimator_.module_.sfreq == SFREQ
    assert unknown.sfreq is None
    with pytest.raises(ValueError, match="channel order is"):
        found.predict(epochs(ch_names=CHANNELS[::-1]))


class Rated(SmallNet):
    """A network that wants the sampling rate."""

    def __init__(self, n_chans, n_outputs, sfreq):
        super().__init__(n_chans, n_outputs)
        self.sfreq = sfreq


@pytest.mark.parametrize("cls", [RandomSearch, FasterAutoAugmentSearch])
def test_sequences_of_windows_are_refused(cls):
    with pytest.raises(ValueError, match="X is made of sequences of 3 windows: searches take single windows"):
        cls(staging(), operations=OPERATIONS, verbose=0).fit(X.reshape(16, 3, 4, 100), Y.reshape(16, 3))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"valid_size": None}, "valid_size is None; pass a fraction"),
        ({"valid_size": 0.95}, r"valid_size=0\.95 of 6 subjects leaves nobody to train on"),
        ({"max_steps": "many"}, "max_steps must be a whole number of at least 1, got 'many'"),
        ({"max_steps": None}, "max_steps must be a whole number of at least 1, got None"),
        ({"n_sub_policies": 2.5}, r"n_sub_policies is 2\.5; it is a whole number\."),
        ({"n_operations": None}, r"n_operations is None; it is a whole number\."),
        ({"patience": "long"}, r"patience is 'long'; it is a whole number or None\."),
        ({"n_jobs": True}, r"n_jobs is True; it is a whole number or None\."),
        ({"cls": FastAutoAugmentSearch, "n_folds": "many"}, r"n_folds is 'many'; it is a whole number\."),
        ({"cls": FasterAutoAugmentSearch, "policy_lr": "a"}, r"policy_lr is 'a'; it is a number\."),
        ({"cls": ADDASearch, "temperature": None}, r"temperature is None; it is a number\."),
        ({"cls": ADDASearch, "policy_betas": 0.5}, r"policy_betas is 0\.5; it is two numbers in \[0, 1\)\."),
        ({"cls": ADDASearch, "policy_betas": [0.5, 1]}, r"policy_betas is \[0\.5, 1\]; it is two"),
        ({"cls": ADDASearch, "policy_betas": ["a", 0.9]}, r"policy_betas is \['a', 0\.9\]; it is two"),
        ({"time_budget": True}, r"time_budget True is not a duration"),
    ],
)
def test_numbers_that_are_none_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        search(**settings).fit(X, Y, groups=GROUPS)
