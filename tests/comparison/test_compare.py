"""`compare` on tiny nights: the table, resuming after a kill, refusals, failures."""

import importlib
import json
import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small import CHANNELS, SFREQ, tones
from torch import nn

from eegaug import Policy, StagingClassifier, compare
from eegaug.comparison import Comparison, Method, SettingsMismatchError, load_comparison
from eegaug.comparison.estimators import uninterrupted
from eegaug.comparison.job import ERROR, ROW, checksum
from eegaug.data import NightDataset, Nights, Preprocessing, Split, save_splits
from eegaug.data.planted import Planted

from .conftest import SMALL

SCORES = ["test_balanced_accuracy", "test_kappa", "test_macro_f1", "valid_balanced_accuracy", "epochs", "best_epoch"]


def failing(common):
    raise RuntimeError("no estimator today")


def broken(common):
    return type("Broken", (), {"fit": lambda self, X: 1 / 0})()


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    """Two folds of each method that is there."""
    out = tmp_path_factory.mktemp("compare") / "out"
    with pytest.warns(UserWarning, match="sensors_rotation_x"):
        return compare(["none", "fixed", "augnet"], folds=2, max_epochs=2, data_args=SMALL, out=out, verbose=False)


class TestCompare:
    def test_one_row_for_each_run(self, result):
        table = result.table
        assert list(zip(table["method"], table["fold"], strict=True)) == [
            (method, fold) for fold in (0, 1) for method in ("none", "fixed", "augnet")
        ]
        assert table["test_balanced_accuracy"].between(0, 1).all()
        assert (table["train_seconds"] > 0).all() and (table["train_seconds"] < table["wall_seconds"]).all()
        # One subject of 24 windows to train on, in batches of 16, for 2 epochs.
        assert table["passes"].tolist() == [4] * 6
        assert {"eegaug", "torch", "revision", "device", "n_parameters", "test_f1_REM"} <= set(table)

    def test_tables_of_a_run_are_known_again(self, result):
        for folder in (result.out / "runs").iterdir():
            tables = {path.name: checksum(path.read_bytes()) for path in folder.glob("*.csv")}
            assert {"curve.csv", "subjects.csv"} <= set(tables)
            assert json.loads((folder / ROW).read_text())["checksums"] == tables

    def test_nobody_is_on_two_sides_and_everybody_is_tested(self, result):
        tested = []
        for row in result.table.itertuples():
            sides = [set(getattr(row, f"{side}_subjects").split()) for side in ("train", "valid", "test")]
            assert not (sides[0] & sides[1] or sides[0] & sides[2] or sides[1] & sides[2])
            tested += sorted(sides[2]) if row.method == "none" else []
        assert sorted(tested) == ["sim-001", "sim-002", "sim-003", "sim-004"]

    def test_the_table_says_what_the_best_epoch_scored(self, result):
        for row in result.table.itertuples():
            curve = result.curves.query(f"method == '{row.method}' and fold == {row.fold}").set_index("epoch")
            assert len(curve) == row.epochs
            assert row.best_epoch == curve["valid_balanced_accuracy"].idxmax()
            assert row.test_balanced_accuracy == pytest.approx(curve.loc[row.best_epoch, "test_balanced_accuracy"])
            assert curve["train_seconds"].is_monotonic_increasing
            assert row.train_seconds == pytest.approx(curve["train_seconds"].iloc[-1])
            assert row.best_train_seconds == pytest.approx(curve.loc[row.best_epoch, "train_seconds"])

    def test_what_augnet_learned_is_there_with_what_was_planted(self, result):
        assert set(result.invariances["method"]) == {"augnet"}
        weights = result.invariances.groupby(["fold", "layer"])["weight"].sum()
        assert weights.to_numpy() == pytest.approx(1, abs=1e-5)
        assert result.truth["frequency_shift"] == Planted().frequency_jitter_hz

    def test_files(self, result):
        assert {name: path.name for name, path in result.files.items()} == {
            "table": "results.csv",
            "curves": "curves.csv",
            "subjects": "subjects.csv",
            "pairs": "pairs.csv",
            "comparison": "comparison.png",
            "invariances": "invariances.png",
        }
        for path in result.files.values():
            assert path.stat().st_size > (500 if path.suffix == ".png" else 150)
        assert sorted(result.figures) == ["comparison", "invariances"]
        written = pd.read_csv(result.files["table"])
        assert written["test_kappa"].tolist() == pytest.approx(result.table["test_kappa"].tolist())
        # Nothing of a finished run is left but its results.
        names = {p.name for p in (result.out / "runs" / "augnet-fold0-seed0-fraction1").iterdir()}
        assert names == {"row.json", "curve.csv", "subjects.csv", "invariances.csv", "invariances_history.csv"}
        fixed = result.out / "runs" / "fixed-fold0-seed0-fraction1" / "policy.json"
        assert Policy.load(fixed) == result.policies["fixed", 0, 0, 1.0]

    def test_what_is_there_is_not_run_again(self, result):
        rows = {p: p.stat().st_mtime_ns for p in (result.out / "runs").glob(f"*/{ROW}")}
        left = [folder / ".row.json.1-a.part" for folder in (result.out, next(iter(rows)).parent)]
        for part in left:  # by a process that was killed a day ago
            part.touch()
            os.utime(part, (time.time() - 86_400,) * 2)
        with pytest.warns(UserWarning, match="sensors_rotation_x"):
            again = compare(["none"], folds=2, max_epochs=2, data_args=SMALL, out=result.out, verbose=False)
        assert {p: p.stat().st_mtime_ns for p in (result.out / "runs").glob(f"*/{ROW}")} == rows
        # The table holds all that is in the folder, also methods that were not asked for this time.
        pd.testing.assert_frame_equal(again.table, result.table)
        assert not any(part.exists() for part in left)

    def test_other_settings_are_refused_by_name(self, result):
        same = {"folds": 2, "max_epochs": 2, "data_args": SMALL, "out": result.out, "verbose": False}
        for other, name in [
            ({"max_epochs": 3}, r"training\.max_epochs: 2 there, 3 asked"),
            ({"penalty": 1.0}, r"methods\.augnet\.penalty"),
            ({"folds": 3}, "folds"),
            ({"data_args": {**SMALL, "random_state": 1}}, r"data\.fingerprint"),
        ]:
            with pytest.raises(SettingsMismatchError, match=name):
                compare(["none", "augnet"], **{**same, **other})

    def test_warnings_of_the_runs_are_told_once(self, result):
        assert [text for text in result.warnings if "sensors_rotation_x" in text] != []
        assert len(result.warnings) == len(set(result.warnings))

    def test_stages_that_do_not_occur_are_no_news(self, tmp_path):
        # Training subjects have two tones in turn, the others one of them only.
        parts = [
            NightDataset(*tones(24, n_times=200, n_classes=n, seed=i), ch_names=CHANNELS, sfreq=SFREQ, subject=f"s{i}")
            for i, n in enumerate((2, 2, 1, 1))
        ]
        split = Split(train=("s0", "s1"), valid=("s2",), test=("s3",))
        result = compare(["none"], Nights(parts), folds=[split], max_epochs=1, out=tmp_path, verbose=False)
        assert len(result.table) == 1
        assert result.warnings == []


class TestSummary:
    @staticmethod
    def with_scores(scores):
        """A comparison with these scores: method → one score for each fold."""
        rows = [
            {"method": m, "fold": f, "seed": 0, "fraction": 1.0, "test_balanced_accuracy": s, "test_kappa": s / 2}
            for m, folds in scores.items()
            for f, s in enumerate(folds)
        ]
        table = pd.DataFrame(rows).assign(train_seconds=1.0)
        empty = pd.DataFrame()
        return Comparison(table, empty, empty, empty, {}, Path("."), labels={"augnet": "AugNet"})

    def test_gain_is_paired_by_fold(self):
        summary = self.with_scores({"none": [0.5, 0.6, 0.4], "augnet": [0.6, 0.7, 0.35]}).summary().set_index("method")
        assert summary.loc["augnet", "gain"] == pytest.approx(0.05)
        assert summary.loc["augnet", "gain_sd"] == pytest.approx(np.std([0.1, 0.1, -0.05], ddof=1))
        assert summary.loc["augnet", "folds_gained"] == 2
        assert summary.loc["none", "median"] == 0.5

    def test_gain_where_runs_are_missing(self):
        # Of the second fold there is one seed: the gains by fold are the mean of 0.1 and 0.3, 0.1, and 0.6.
        gains = {(0, 0): 0.1, (2, 0): 0.5, (0, 1): 0.3, (1, 1): 0.1, (2, 1): 0.7}
        rows = [
            {"method": method, "fold": fold, "seed": seed, "fraction": 1.0, "test_balanced_accuracy": 0.1 * fold + more}
            for (fold, seed), gain in gains.items()
            for method, more in (("none", 0.0), ("net", gain))
        ]
        table = pd.DataFrame(rows)
        table["test_kappa"] = table["test_balanced_accuracy"] / 2
        table["train_seconds"] = table["seed"] + 10.0 * (table["method"] == "none")
        empty = pd.DataFrame()
        summary = Comparison(table, empty, empty, empty, {}, Path(".")).summary().set_index("method")
        # The method's scores of the three folds are the mean of 0.1 and 0.3, 0.2, and the mean of 0.7 and 0.9.
        values = {"runs": 5, "folds": 3, "median": 0.2, "mean": 0.4, "sd": np.sqrt(0.12), "kappa": 0.1}
        for name, value in (values | {"train_seconds": 1.0}).items():
            assert summary.loc["net", name] == pytest.approx(value), name
        assert summary.loc["none", "train_seconds"] == 11.0 and np.isnan(summary.loc["none", "gain"])
        assert summary.loc["net", "gain"] == pytest.approx(0.3)
        assert summary.loc["net", "gain_sd"] == pytest.approx(np.std([0.2, 0.1, 0.6], ddof=1))
        assert summary.loc["net", "folds_paired"] == 3

    @pytest.mark.parametrize(
        ("scores", "words"),
        [
            ({"none": [0.5, 0.5, 0.5], "augnet": [0.6, 0.62, 0.58]}, ["+0.100", "3 of 3 folds", "more than its own"]),
            ({"none": [0.5, 0.6, 0.4], "augnet": [0.6, 0.5, 0.42]}, ["no more than", "do not tell them apart"]),
            ({"none": [0.5, 0.52, 0.54], "augnet": [0.4, 0.42, 0.43]}, ["-0.103", "0 of 3 folds"]),
            ({"none": [0.5], "augnet": [0.9]}, ["one fold cannot tell"]),
            ({"none": [0.21, 0.2], "augnet": [0.2, 0.2]}, ["no method learned to stage", "0.200"]),
            ({"augnet": [0.5, 0.6]}, ["AugNet", "nothing to compare it with"]),
            ({"augnet": [0.5, 0.6], "fixed": [0.4, 0.3]}, ["AugNet", "the highest of 2 methods"]),
            (
                {"none": [0.5, 0.6], "augnet": [0.6, 0.7], "a": [0.3, 0.3], "b": [0.4, 0.41], "c": [0.2, 0.2]},
                ["and 0.405 with b, the highest of 3 others"],
            ),
            (
                {"none": [0.5, 0.6], "augnet": [0.6, 0.7], "a": [0.3, 0.3], "b": [0.4, 0.41]},
                ["0.650, against 0.550 without augmentation, 0.300 with a and 0.405 with b; the mean"],
            ),
        ],
    )
    def test_sentence_claims_no_more_than_there_is(self, scores, words):
        sentence = self.with_scores(scores).sentence()
        assert sentence.count(". ") == 0 and sentence.endswith(".")
        for word in words:
            assert word in sentence

    def test_shown_in_one_line(self):
        assert repr(self.with_scores({"none": [0.5], "augnet": [0.6]})) == "<Comparison of none, augnet: 2 runs, in .>"

    def test_unknown_metric(self):
        with pytest.raises(ValueError, match="no column 'speed'"):
            self.with_scores({"none": [0.5]}).summary("speed")


class TestResuming:
    SCRIPT = """
import sys, torch
torch.set_num_threads(1)
from eegaug import Policy, compare
compare(out=sys.argv[1], **{arguments})
"""

    def test_killed_and_started_again_gives_the_same_table(self, tmp_path, small):
        arguments = {**small, "methods": ["none", "augnet"], "max_epochs": 3}
        script = self.SCRIPT.format(arguments=arguments)
        command = [sys.executable, "-c", script, str(tmp_path / "killed")]
        killed = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stderr=subprocess.PIPE)
        # Killed in the middle of a run: the second run has finished its first epoch.
        progress = tmp_path / "killed" / "runs" / "augnet-fold0-seed0-fraction1" / "progress.json"
        while not progress.exists():
            assert killed.poll() is None, killed.stderr.read()
            time.sleep(0.005)
        killed.send_signal(signal.SIGKILL)
        killed.communicate()
        there = sorted(p.parent.name for p in (tmp_path / "killed" / "runs").glob(f"*/{ROW}"))
        assert there == ["none-fold0-seed0-fraction1"]
        first = compare(out=tmp_path / "whole", **arguments)
        second = compare(out=tmp_path / "killed", **arguments)
        assert len(second.table) == 4
        pd.testing.assert_frame_equal(first.table[SCORES], second.table[SCORES], check_exact=True)
        columns = ["epoch", "train_loss", "valid_balanced_accuracy", "test_balanced_accuracy", "passes"]
        pd.testing.assert_frame_equal(first.curves[columns], second.curves[columns], check_exact=True)
        pd.testing.assert_frame_equal(first.invariances, second.invariances, check_exact=True)

    def test_ctrl_c_keeps_finished_runs_and_says_how_to_go_on(self, tmp_path, small, monkeypatch):
        from eegaug.comparison.callbacks import ProgressFile

        original = ProgressFile.on_epoch_end

        def interrupt(self, net, **kwargs):
            original(self, net, **kwargs)
            if "augnet" in str(self.path):
                os.kill(os.getpid(), signal.SIGINT)

        monkeypatch.setattr(ProgressFile, "on_epoch_end", interrupt)
        with pytest.raises(KeyboardInterrupt, match=r"1 of 4 runs finished.*goes on"):
            compare(["none", "augnet"], out=tmp_path, **small)
        assert pd.read_csv(tmp_path / "results.csv")["method"].tolist() == ["none"]
        monkeypatch.undo()
        assert len(compare(["none", "augnet"], out=tmp_path, **small).table) == 4

    def test_a_signal_is_told_from_a_callback_that_stops(self):
        with uninterrupted():
            pass
        with pytest.raises(KeyboardInterrupt), uninterrupted():
            try:
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(1)
            except KeyboardInterrupt:
                pass  # as skorch does


class TestFailures:
    def test_a_failed_run_is_reported_and_the_others_go_on(self, tmp_path, small):
        result = compare(["none", Method("bad", "bad", failing, {})], out=tmp_path, **small)
        assert result.table["method"].tolist() == ["none", "none"]
        assert result.failed["error"].tolist() == ["RuntimeError: no estimator today"] * 2
        error = json.loads((tmp_path / "runs" / "bad-fold0-seed0-fraction1" / ERROR).read_text())
        assert "failing" in error["traceback"]
        # It is tried again, now with a method that works.
        works = Method("bad", "bad", lambda common: __import__("eegaug").StagingClassifier(**common), {})
        again = compare(["none", works], out=tmp_path, **small)
        assert len(again.table) == 4 and not len(again.failed)

    def test_in_other_processes_too(self, tmp_path, small):
        result = compare(["none", Method("bad", "bad", broken, {})], out=tmp_path, n_jobs=2, **small)
        assert result.table["method"].tolist() == ["none", "none"]
        assert result.failed["error"].tolist() == ["ZeroDivisionError: division by zero"] * 2

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"methods": ["nothing"]}, "unknown method 'nothing'"),
            ({"method_options": {"augnet": {"colour": 1}}}, "does not take colour"),
            ({"max_epochs": 0}, "max_epochs must be"),
            ({"lr": 0}, "lr must be positive"),
            ({"lr": "fast"}, "lr must be positive, got 'fast'"),
            ({"trunk_args": {"activation": nn.ELU}}, "trunk_args has activation=<class .*, which is no plain data"),
            ({"batch_size": "many"}, "batch_size must be a whole number of at least 1, got 'many'"),
            ({"n_copies": 2.5}, "n_copies of method 'augnet' is 2.5; a whole number is due"),
            ({"n_copies": float("inf")}, "n_copies of method 'augnet' is inf; a whole number is due"),
            (
                {"method_options": {"augnet": {"layers": "sensors"}}},
                "layers of method 'augnet' is 'sensors'; a list is due",
            ),
            ({"penalty": True}, "penalty of method 'augnet' is True; a number is due"),
            ({"penalty": "much"}, "penalty of method 'augnet' is 'much'; a number is due"),
            ({"data_args": None, "folds": None, "n_valid": 0}, "fold 0 has no subject to validate on"),
            ({"budget": "soon"}, "budget 'soon'"),
            ({"folds": 9}, "9 folds"),
            ({"folds": []}, "folds is empty"),
            ({"folds": [Split(train=("sim-001",), test=("sim-002",))]}, "no subject to validate on"),
            ({"folds": [Split(train=("x",), valid=("sim-001",), test=("sim-002",))]}, "does? not have: x|not have: x"),
        ],
    )
    def test_wrong_input_is_named(self, tmp_path, small, arguments, message):
        with pytest.raises(ValueError, match=message):
            compare(**{"methods": ["augnet"], **small, **arguments}, out=tmp_path)
        assert not (tmp_path / "runs").exists()

    @pytest.mark.parametrize(
        ("given", "sizes"),
        [
            ({"data_args": {"n_windows": 10}}, {4}),
            ({"data_args": {"n_windows": 10}, "folds": 3}, {4}),
            ({"data_args": {"n_windows": 10}, "folds": 2}, {None}),
            ({"data_args": {"n_windows": 10, "n_subjects": 6}}, {None}),
            ({"data_args": {"n_windows": 10}, "n_test": 3}, {None, 3}),
        ],
    )
    def test_defaults_that_are_spelled_out_are_the_defaults(self, tmp_path, monkeypatch, given, sizes):
        def folds_of(folds, nights, asked, split_seed):
            raise ValueError(f"sides of {set(asked.values())}")

        monkeypatch.setattr(importlib.import_module("eegaug.comparison.compare"), "get_folds", folds_of)
        with pytest.raises(ValueError) as error:
            compare(["none"], out=tmp_path, **given)
        assert str(error.value) == f"sides of {sizes}"

    def test_arrays_have_no_subjects(self, tmp_path):
        with pytest.raises(TypeError, match="arrays have no subjects"):
            compare(data=np.zeros((3, 2, 100)), out=tmp_path)

    @pytest.mark.parametrize("folds", [2.0, True, [{"train": ["sim-001"]}]], ids=str)
    def test_what_are_no_folds(self, tmp_path, small, folds):
        with pytest.raises(
            TypeError, match=r"folds must be a number, a file of splits or eegaug\.data\.Split objects, got"
        ):
            compare(["none"], out=tmp_path, **{**small, "folds": folds})

    @pytest.mark.parametrize("unused", [{"root": "/nights"}, {"data_args": SMALL}, {"preprocessing": Preprocessing()}])
    def test_what_nights_leave_no_choice_of(self, tmp_path, small, nights, unused):
        with pytest.raises(ValueError, match=f"data are nights already, of which {next(iter(unused))} would change"):
            compare(["none"], out=tmp_path, **{**small, "data": nights, "data_args": None, **unused})

    def test_output_that_cannot_be_written_is_found_before_the_work(self, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(OSError, match=r"cannot write to the output folder .*it is a file"):
            compare(data="nowhere at all", out=tmp_path / "file")


class TestOptions:
    @pytest.mark.parametrize("unused", [{"penalty": 0.3}, {"n_copies": 8}, {"n_copies": 4}])
    def test_what_is_no_methods_is_named(self, tmp_path, small, unused):
        ((name, value),) = unused.items()
        with pytest.warns(UserWarning, match=f"{name}={value} has no effect: it is that of augnet and augnet-change"):
            compare(["augnet-single"], out=tmp_path, **unused, **{**small, "method_options": None})

    def test_a_penalty_of_augnet(self, tmp_path, small):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            result = compare(["none", "augnet"], out=tmp_path, penalty=0.3, **small)
        assert result.settings["methods"]["augnet"]["penalty"] == 0.3
        assert not [w for w in caught if "penalty" in str(w.message)]

    def test_numbers_out_of_arrays_are_kept_as_plain_ones(self, tmp_path, small):
        for _ in range(2):
            result = compare(["none"], out=tmp_path, trunk_args={"drop_prob": np.float32(0.5)}, **small)
        assert result.settings["training"]["trunk_args"] == {"drop_prob": 0.5}

    def test_budget_ends_a_run_after_the_epoch_under_way(self, tmp_path, small):
        result = compare(["none"], out=tmp_path, **{**small, "max_epochs": 5}, budget=1e-6)
        assert result.table["epochs"].tolist() == [1, 1]

    def test_patience(self, tmp_path, small):
        result = compare(["none"], out=tmp_path, **{**small, "max_epochs": 30, "folds": 1}, patience=1, lr=1e-6)
        row = result.table.iloc[0]
        assert row["epochs"] == row["best_epoch"] + 1 < 30

    def test_each_seed_draws_the_subjects_of_a_fraction(self, tmp_path, small):
        data_args = {**small.pop("data_args"), "n_subjects": 6}
        split = Split(train=["sim-001", "sim-002", "sim-003", "sim-004"], valid=["sim-005"], test=["sim-006"])
        arguments = small | {"folds": [split], "seeds": (0, 3, 4), "fractions": (0.5,), "data_args": data_args}
        result = compare(["none"], out=tmp_path, **arguments)
        drawn = {row.seed: tuple(row.train_subjects.split()) for row in result.table.itertuples()}
        assert drawn == {seed: split.fraction(0.5, random_state=seed).train for seed in (0, 3, 4)}
        assert len(set(drawn.values())) == 3
        # One subject is tested: its score is that of the run.
        scores = result.table["test_balanced_accuracy"].tolist()
        assert result.subjects["balanced_accuracy"].tolist() == pytest.approx(scores)
        assert max(scores) < 1

    def test_fractions_are_of_the_training_subjects(self, tmp_path, small, nights):
        folds = [Split(train=("sim-001", "sim-002"), valid=("sim-003",), test=("sim-004",))]
        save_splits(folds, tmp_path / "folds.json")
        arguments = {**small, "folds": tmp_path / "folds.json", "data_args": None, "data": nights}
        result = compare(["none"], fractions=(0.5, 1.0), out=tmp_path / "out", **arguments)
        subjects = dict(zip(result.table["fraction"], result.table["train_subjects"], strict=True))
        assert subjects[1.0] == "sim-001 sim-002"
        assert subjects[0.5] in ("sim-001", "sim-002")
        assert set(result.table["test_subjects"]) == {"sim-004"}
        assert json.loads((tmp_path / "out" / "folds.json").read_text())["splits"][0]["valid"] == ["sim-003"]

    def test_a_command_that_begins_meanwhile_adds_its_methods(self, tmp_path, small, monkeypatch):
        module = importlib.import_module("eegaug.comparison.compare")
        check = module._check_options

        def check_while_another_begins(*arguments):
            monkeypatch.setattr(module, "_check_options", check)
            compare(["fixed"], out=tmp_path, **small)
            check(*arguments)

        monkeypatch.setattr(module, "_check_options", check_while_another_begins)
        result = compare(["none"], out=tmp_path, **small)
        assert set(result.settings["methods"]) == set(result.labels) == {"none", "fixed"}
        assert len(result.table) == len(load_comparison(tmp_path).table) == 4

    def test_runs_with_options_that_another_command_gave_meanwhile_are_not_taken_for_its_own(
        self, tmp_path, small, monkeypatch
    ):
        module = importlib.import_module("eegaug.comparison.compare")
        make = module.make_runs

        def make_after_another(*arguments):
            monkeypatch.setattr(module, "make_runs", make)
            compare(["augnet"], penalty=0.3, out=tmp_path, **small)
            make(*arguments)

        monkeypatch.setattr(module, "make_runs", make_after_another)
        small["folds"] = 1
        with pytest.raises(SettingsMismatchError, match=r"methods.augnet.penalty: 0.3 there, 0.2 asked"):
            compare(["augnet"], penalty=0.2, out=tmp_path, **small)
        found = load_comparison(tmp_path)
        assert found.settings["methods"]["augnet"]["penalty"] == 0.3 and len(found.table) == 1

    def test_reading_a_folder_without_comparison(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="holds no comparison"):
            load_comparison(tmp_path)


def test_classes_that_are_no_stages(tmp_path):
    rng, names = np.random.default_rng(0), ["left hand", "right hand", "feet"]
    about = {"ch_names": ["C3", "C4"], "sfreq": 100, "classes": names}
    y = np.arange(12) % 3
    signals = [rng.standard_normal((12, 2, 200)).astype("float32") for _ in range(3)]
    data = Nights([NightDataset(X, y, subject=f"s{i}", **about) for i, X in enumerate(signals)])
    found = compare(["none"], data, folds=1, max_epochs=1, trunk="ShallowFBCSPNet", out=tmp_path, verbose=False)
    assert [name for name in found.table if name.startswith("test_f1")] == [f"test_f1_{name}" for name in names]
    assert found.subjects.columns[-3:].tolist() == [f"f1_{name}" for name in names]
    assert found.settings["data"]["classes"] == names
    clf = StagingClassifier("ShallowFBCSPNet", max_epochs=0, verbose=0).fit(data)
    assert clf.predict_proba(data).shape == (36, 3)
