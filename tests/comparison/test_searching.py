"""Runs of searches: what is trained when, what counts, what a budget leaves, what a kill changes."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest

from eegaug import compare
from eegaug.comparison import Method, describe_plan, get_method, list_methods, register_method, searching
from eegaug.comparison.compare import _check_options
from eegaug.comparison.fitting import training_settings
from eegaug.comparison.job import advice
from eegaug.comparison.plan import RunSpec, SettingsMismatchError
from eegaug.comparison.run import run_folder, run_one
from eegaug.comparison.search_methods import SEARCHES, check_search
from eegaug.data import Split
from eegaug.data.atomic import write_json
from eegaug.policy import Policy
from eegaug.search import PolicySearch, list_searchers


class Counting(PolicySearch):
    """Takes a number of passes a step; its policy says how many steps it took, and on whom."""

    name = "counting"

    def __init__(self, estimator=None, *, pause=0.0, **shared):
        super().__init__(estimator, **shared)
        self.pause = pause

    def _begin(self, task):
        from eegaug.search import SearchState

        return SearchState(count=0)

    def _step(self, task, state):
        state.count += 1
        task.n_forward_backward += 10
        time.sleep(self.pause)
        return {}

    def _policy(self, task, state):
        step = ("gaussian_noise", 0.5, state.count / 100)
        sides = {side: sorted(set(getattr(task, side).groups)) for side in ("train", "valid", "data")}
        settings = {"count": state.count, **sides}
        return Policy(sub_policies=[{"operations": [step]}], searcher=self.name, settings=settings)


def build(common, **options):
    from eegaug import StagingClassifier

    return Counting(StagingClassifier(**common), **options)


def counting(**defaults):
    return Method("counting", "counting", build, {"retrain_every": 2, "max_steps": 5, "pause": 0.0, **defaults}, True)


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    from .conftest import SMALL

    out = tmp_path_factory.mktemp("searching") / "out"
    return compare(["none", counting()], folds=2, max_epochs=2, data_args=SMALL, out=out, verbose=False)


def build_none(common):
    from eegaug import StagingClassifier

    return StagingClassifier(**common)


def broken(common, a):
    raise RuntimeError("no estimator today")


class Ending(Counting):
    """Has nothing left to do after three steps."""

    def _step(self, task, state):
        return super()._step(task, state) if state.count < 3 else None


class TestCurve:
    def test_a_search_that_ends_by_itself(self, tmp_path):
        from .conftest import SMALL

        def build(common, **options):
            from eegaug import StagingClassifier

            return Ending(StagingClassifier(**common), **options)

        method = Method("ending", "ending", build, {"retrain_every": 2, "max_steps": 9}, True)
        out = compare([method], folds=1, max_epochs=1, data_args=SMALL, out=tmp_path, verbose=False)
        assert sorted(out.curves["step"]) == [2, 3] and out.table["steps"].tolist() == [3]

    def test_a_point_every_few_steps_and_at_the_end(self, result):
        for _, curve in result.curves[result.curves["method"] == "counting"].groupby("fold"):
            assert sorted(curve["step"]) == [2, 4, 5]

    def test_one_clock_and_passes_of_search_and_training(self, result):
        row = result.table[result.table["method"] == "counting"].iloc[0]
        curve = result.curves[(result.curves["method"] == "counting") & (result.curves["fold"] == row["fold"])]
        total = curve["pretrain_seconds"] + curve["search_seconds"] + curve["retrain_seconds"]
        assert curve["train_seconds"].to_numpy() == pytest.approx(total.to_numpy())
        # Two epochs of two batches for each training; ten passes a step.
        assert curve.set_index("step")["passes"].to_dict() == {2: 24, 4: 44, 5: 54}
        last = curve.set_index("step").loc[5]
        assert (row["passes"], row["steps"], row["retrainings"]) == (54, 5, 3)
        assert row["train_seconds"] == pytest.approx(last["train_seconds"])
        assert row["train_seconds"] < row["wall_seconds"]

    def test_the_result_is_the_best_by_validation(self, result):
        for row in result.table[result.table["method"] == "counting"].itertuples():
            curve = result.curves[(result.curves["method"] == "counting") & (result.curves["fold"] == row.fold)]
            best = curve.loc[curve.sort_values("step")["valid_balanced_accuracy"].idxmax()]
            assert row.best_step == best["step"]
            assert row.test_balanced_accuracy == pytest.approx(best["test_balanced_accuracy"])
            assert row.best_train_seconds == pytest.approx(best["train_seconds"])
            policy = result.policies["counting", row.fold, 0, 1.0]
            assert policy.settings["count"] == row.best_step
            assert row.policy == f"runs/counting-fold{row.fold}-seed0-fraction1/policy.json"

    def test_nobody_who_is_tested_is_searched_on(self, result):
        for row in result.table[result.table["method"] == "counting"].itertuples():
            known = result.policies["counting", row.fold, 0, 1.0].settings
            train, valid = row.train_subjects.split(), row.valid_subjects.split()
            assert [known[side] for side in ("train", "valid", "data")] == [train, valid, sorted(train + valid)]

    def test_files(self, result):
        folder = result.out / "runs" / "counting-fold0-seed0-fraction1"
        assert sorted(path.name for path in folder.iterdir()) == [
            *("curve.csv", "policy.json", "row.json", "search_history.csv", "subjects.csv")
        ]
        assert pd.read_csv(folder / "search_history.csv")["step"].tolist() == [1, 2, 3, 4, 5]
        assert {"policies", "pairs", "subjects"} <= set(result.files)
        assert "policies" in result.figures

    def test_figures_side_by_side(self, result):
        titles = [ax.get_title(loc="left") for ax in result.plot_policies().axes]
        assert titles == ["counting, fold 0", "counting, fold 1"]
        assert len(result.plot_policies(fold=1).axes) == 1
        assert result.plot().get_xlabel().startswith("training time")

    def test_subjects(self, result):
        own = result.subjects[result.subjects["method"] == "counting"]
        assert sorted(own["subject"]) == ["sim-001", "sim-002", "sim-003", "sim-004"]
        assert result.pairs()["subjects"].tolist() == [4]


class TestBudget:
    def test_room_is_left_to_train(self, tmp_path, small):
        arguments = {**small, "folds": 1, "max_epochs": 1}
        method = counting(pause=0.2, max_steps=1000, retrain_every=2)
        result = compare([method], out=tmp_path, budget=3.0, **arguments)
        row = result.table.iloc[0]
        assert row["search_seconds"] + row["pretrain_seconds"] <= 3.0 and 2 <= row["steps"] <= 14
        assert row["retrainings"] >= 2

    def test_a_training_has_what_the_search_has_left(self, tmp_path, small, monkeypatch):
        given, original = [], searching.common_arguments

        def noted(training, *args, **kwargs):
            given.append(training["budget"])
            return original(training, *args, **kwargs)

        monkeypatch.setattr(searching, "common_arguments", noted)
        result = compare([counting(pause=0.1)], out=tmp_path, budget=60.0, **{**small, "folds": 1})
        assert given == pytest.approx((60.0 - result.curves.sort_values("step")["search_seconds"]).tolist())

    def test_too_small_for_one_step(self, tmp_path, small):
        arguments = {**small, "folds": 1, "max_epochs": 1}
        result = compare([counting(pause=0.3)], out=tmp_path, budget=0.1, **arguments)
        error = result.failed["error"].item()
        assert "is too small for one step of Counting" in error
        # A larger one is refused in the same folder, so that going on from the checkpoint is no advice.
        assert error.endswith("Give more, in another output folder: all runs of one have one budget.")
        assert "checkpoint" not in error and "would fail again" in advice([error])
        with pytest.raises(ValueError, match=r"training\.budget"):
            compare([counting(pause=0.3)], out=tmp_path, budget=60, **arguments)


class TestResuming:
    SCRIPT = """
import sys, torch
torch.set_num_threads(1)
sys.path.insert(0, {tests!r})
from comparison.test_searching import counting
from eegaug import compare
compare([counting(pause={pause})], out=sys.argv[1], **{arguments})
"""

    def test_killed_and_started_again_gives_the_same_row(self, tmp_path, small):
        arguments = {**small, "folds": 1, "max_epochs": 2}
        tests = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        script = self.SCRIPT.format(tests=tests, pause=0.3, arguments=arguments)
        killed = subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path / "killed")],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stderr=subprocess.PIPE,
        )
        # In the middle of the search: the first training is over, the next step is not.
        point = tmp_path / "killed" / "runs" / "counting-fold0-seed0-fraction1" / "search" / "step-00002" / "point.json"
        while not point.exists():
            assert killed.poll() is None, killed.stderr.read()
            time.sleep(0.005)
        killed.send_signal(signal.SIGKILL)
        killed.communicate()
        before = point.read_text()
        again = compare([counting(pause=0.3)], out=tmp_path / "killed", **arguments)
        whole = compare([counting(pause=0.3)], out=tmp_path / "whole", **arguments)
        same = ["test_balanced_accuracy", "test_kappa", "valid_balanced_accuracy", "passes", "steps", "best_step"]
        pd.testing.assert_frame_equal(again.table[same], whole.table[same], check_exact=True)
        columns = ["step", "valid_balanced_accuracy", "test_balanced_accuracy", "passes"]
        one, other = (r.curves.sort_values("step")[columns].reset_index(drop=True) for r in (again, whole))
        pd.testing.assert_frame_equal(one, other, check_exact=True)
        # The first training was not made again: its time is what it was.
        kept = again.curves.set_index("step").loc[2, "retrain_seconds"]
        assert json.loads(before)["retrain_seconds"] == pytest.approx(kept)


class TestOtherOptions:
    def test_of_a_method_that_has_nothing_finished(self, tmp_path, small, monkeypatch):
        arguments = {**small, "folds": 1}

        def stopped(self, task, state):
            if state.count == 1 and self.pause:
                raise KeyboardInterrupt
            return step(self, task, state)

        step = Counting._step
        monkeypatch.setattr(Counting, "_step", stopped)
        with pytest.raises(KeyboardInterrupt):
            compare(["none", counting(pause=0.01)], out=tmp_path, **arguments)
        begun = tmp_path / "runs" / "counting-fold0-seed0-fraction1"
        assert (begun / "search" / "search.pt").exists()
        with pytest.warns(UserWarning, match="counting has other options now: what was begun with others is kept in"):
            result = compare(["none", counting(max_steps=3)], out=tmp_path, **arguments)
        kept = tmp_path / "set-aside" / "counting-1" / begun.name
        assert (kept / "search" / "search.pt").exists()
        assert result.table.set_index("method").loc["counting", "steps"] == 3
        assert result.settings["methods"]["counting"]["max_steps"] == 3
        # Now that it has finished a run, they stay.
        with pytest.raises(SettingsMismatchError, match=r"methods\.counting\.max_steps: 3 there, 4 asked"):
            compare([counting(max_steps=4)], out=tmp_path, **arguments)

    def test_runs_that_left_an_error_alone_are_removed(self, tmp_path, small):
        arguments = {**small, "folds": 1, "budget": 0.1}
        failed = compare([Method("bad", "bad", broken, {"a": 1})], out=tmp_path, **arguments)
        assert len(failed.failed) == 1
        works = Method("bad", "bad", lambda common, a: build_none(common), {"a": 2})
        again = compare([works], out=tmp_path, **arguments)
        assert len(again.table) == 1 and not len(again.failed)
        assert not (tmp_path / "set-aside").exists()

    def test_a_run_that_ends_after_they_have_changed_is_no_result(self, tmp_path, nights):
        method = counting()
        split = Split(train=("sim-001",), valid=("sim-002",), test=("sim-003",))
        training = training_settings("SleepStagerChambon2018", None, 1e-3, 16, 1, 30, None)
        settings = {"training": training, "methods": {"counting": method.options({"max_steps": 1})}}
        write_json(tmp_path / "settings.json", {"methods": {"counting": method.options({"max_steps": 2})}})
        spec = RunSpec("counting", 0, 0, 1.0)
        row = run_one(spec, method, split, nights, settings, tmp_path)
        assert "other options" in row["error"]
        assert not (run_folder(tmp_path, spec) / "row.json").exists()


@pytest.mark.parametrize(
    ("errors", "words"),
    [
        (["OSError: no space"], "the same command tries them again"),
        (["ValueError: a", "TypeError: b"], "the same command would fail again: change what the errors name"),
        (["ValueError: a", "OSError: no space"], "of a ValueError or TypeError, change first what it names"),
    ],
)
def test_advice(errors, words):
    assert advice(errors).endswith(words)


class TestMethods:
    def test_every_searcher_is_a_method(self):
        assert set(list_searchers()) <= set(list_methods())

    def test_a_real_search_and_a_policy_without_one(self, tmp_path, small):
        options = {"random": {"max_steps": 2, "retrain_every": 2, "operations": ["sign_flip", "gaussian_noise"]}}
        arguments = {**small, "folds": 1, "max_epochs": 1, "method_options": options}
        result = compare(["random", "rand-augment"], out=tmp_path, **arguments)
        assert not len(result.failed), result.failed["error"].tolist()
        random, fixed = (result.policies[name, 0, 0, 1.0] for name in ("random", "rand-augment"))
        assert random.searcher == "random" and fixed.draws == 2
        assert {op.name for op in random.operations} <= {"sign_flip", "gaussian_noise"}
        # Only what was searched is drawn.
        assert len(result.plot_policies().axes) == 1

    def test_options_are_checked(self, tmp_path, small):
        for given, reason in [
            ({"colour": 1}, "does not take colour"),
            ({"checkpoint": "x"}, "does not take checkpoint"),
            ({"operations": ["sign_flip", "sign_flip"]}, "method 'random': operations has 'sign_flip' twice"),
            ({"retrain_every": 0}, "method 'random': retrain_every must be a whole number of at least 1, got 0"),
            ({"max_steps": None}, "max_steps must be a whole number"),
            ({"trial_unit": "x"}, "trial_unit is 'x'"),
        ]:
            with pytest.raises(ValueError, match=reason):
                compare(["none", "random"], out=tmp_path, **{**small, "method_options": {"random": given}})
        with pytest.raises(ValueError, match="method 'counting': retrain_every must be a whole number of at least 1"):
            compare(["none", counting(retrain_every=0)], out=tmp_path, **small)
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize(
        ("method", "options", "reason"),
        [
            ("adda", {"mask": "x"}, "mask is 'x'"),
            ("adda", {"n_sub_policies": 0}, "n_sub_policies is 0"),
            ("dada", {"operations": ["sign_flip"]}, "DADA searches pairs"),
            ("dada", {"n_sub_policies": 0}, "method 'dada': "),
            ("fast-autoaugment", {"n_folds": None}, "n_folds is None; it is a whole number"),
            ("dna", {"search_fraction": 2.0}, "search_fraction is 2.0"),
            ("augnet", {"layers": ["nonsense"]}, "method 'augnet': 'nonsense' is no group of operations"),
            ("uniform", {"probability": 7.0}, "probability is 7.0: input should be less than or equal to 1"),
        ],
    )
    def test_what_a_method_itself_refuses(self, tmp_path, small, method, options, reason):
        with pytest.raises(ValueError, match=reason):
            describe_plan([method], out=tmp_path, **{**small, "method_options": {method: options}})

    def test_defaults_of_every_method_pass(self, small, nights):
        training = training_settings("SleepStagerChambon2018", None, 1e-3, 16, 1, 30, None)
        for method in map(get_method, SEARCHES):
            check_search(method, method.options(), training, nights)
        for method in map(get_method, ["none", "fixed", "augnet", "augnet-single", "rand-augment"]):
            _check_options(method, method.options(), training, nights)

    def test_missing_optuna_is_found_before_the_work(self, tmp_path, small, monkeypatch):
        monkeypatch.setitem(sys.modules, "optuna", None)
        with pytest.raises(ImportError, match=r"method 'autoaugment' needs optuna.*pip install 'eegaug\[search\]'"):
            compare(["none", "autoaugment"], out=tmp_path, **small)
        assert not (tmp_path / "runs").exists()

    def test_a_users_own_search_joins_the_list(self):
        register_method(counting(), replace=True)
        assert list_methods()[-1] == "counting" and np.unique(list_methods()).size == len(list_methods())
