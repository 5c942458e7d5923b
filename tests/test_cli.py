"""The command line: exit codes, one-line errors, help, and each command on tiny nights."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from eegaug import __version__
from eegaug.cli import main
from eegaug.data import load_nights

TINY = ["--data-arg", "n_subjects=3", "--data-arg", "n_windows=20", "--channels", "C3,C4", "--epochs", "1"]

HERE = ["--jobs", "1"]


def run(*arguments):
    return CliRunner().invoke(main, [str(a) for a in arguments])


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """A folder of three nights as npz files, and one that cannot be read."""
    folder = tmp_path_factory.mktemp("recordings")
    nights = load_nights("simulated", n_subjects=3, n_windows=20, ch_names=("C3", "C4"), sfreq=64.0, random_state=3)
    X, y, subjects = nights.as_arrays()
    for name in sorted(set(subjects)):
        here = subjects == name
        np.savez(folder / f"{name}.npz", X=20 * X[here], y=y[here], ch_names=["C3", "C4"], sfreq=64.0, subject=name)
    return folder


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("EEGAUG_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli") / "model"
    result = run("fit", *TINY, "--method", "none", "--out", folder, "--quiet")
    assert result.exit_code == 0, result.output
    return folder


class TestEveryCommand:
    def test_version(self):
        result = run("--version")
        assert result.exit_code == 0 and __version__ in result.stdout

    @pytest.mark.parametrize("command", ["compare", "fit", "score", "doctor"])
    def test_help_has_an_example_and_the_common_options(self, command):
        text = run(command, "--help").stdout
        assert f"eegaug {command}" in text.split("Example:")[1]
        for option in ("--data", "--quiet", "--json", "--traceback"):
            assert option in text

    def test_importing_the_command_line_loads_nothing_heavy(self):
        code = "import sys; sys.argv = ['eegaug']; import eegaug.cli; print([m for m in HEAVY if m in sys.modules])"
        code = code.replace("HEAVY", "('torch', 'braindecode', 'mne', 'pandas', 'matplotlib')")
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "[]"

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["compare", "--methods", "nothing"], "unknown method 'nothing'; known are none, fixed, augnet"),
            (["compare", "--budget", "soon"], "budget 'soon' is not a duration"),
            (["compare", "--data", "no-such-folder"], "no-such-folder"),
            (["compare", "--data", "mass"], "MASS"),
            (["compare", "--seeds", "a"], "'a' is not a list of whole numbers such as 0"),
            (["compare", "--data-arg", "n_subjects"], "'n_subjects' is not NAME=VALUE"),
            (["compare", "--folds", "many"], "many"),
            (["fit", "--method", "none"], "--out"),
            (["fit", "--method", "nothing", "--out", "model"], "unknown method 'nothing'"),
            (["score", "--model", "no-model"], "no model in no-model"),
            (["dance"], "dance"),
        ],
    )
    def test_wrong_calls_end_with_2_and_one_line(self, arguments, message, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        result = run(*arguments)
        assert result.exit_code == 2
        assert message in result.stderr
        assert "Traceback" not in result.output
        assert len(result.stderr.strip().splitlines()[-1:]) == 1 and result.stdout == ""

    def test_traceback_on_demand(self, tmp_path):
        result = run("score", "--model", tmp_path, "--traceback")
        assert result.exit_code == 2 and "Traceback" in result.stderr

    def test_an_unexpected_error_ends_with_1(self, monkeypatch):
        from eegaug import doctor

        monkeypatch.setattr(doctor, "doctor", lambda data: 1 / 0)
        result = run("doctor")
        assert result.exit_code == 1
        assert result.stderr.strip() == ("eegaug: error: ZeroDivisionError: division by zero (--traceback shows where)")

    @pytest.mark.parametrize("command", ["compare", "fit"])
    def test_output_that_cannot_be_written_is_found_first(self, command, tmp_path):
        (tmp_path / "file").write_text("")
        result = run(command, "--data", "no-such-folder", "--out", tmp_path / "file")
        assert result.exit_code == 2
        assert "cannot write to the output folder" in result.stderr and "no-such-folder" not in result.stderr


class TestCompare:
    def test_leaves_a_table_and_figures_and_says_what_it_means(self, tmp_path):
        out = tmp_path / "out"
        result = run("compare", *TINY, *HERE, "--folds", 1, "--methods", "none,augnet", "--out", out)
        assert result.exit_code == 0, result.output
        for name in ("results.csv", "comparison.png", "invariances.png"):
            assert str(out / name) in result.stdout and (out / name).stat().st_size > 500
        last = result.stdout.strip().splitlines()[-1]
        assert last.startswith("On simulated nights") and last.endswith(".")
        # In a log file: lines, and no character that moves a cursor.
        assert "\r" not in result.stderr and "\x1b" not in result.stderr
        assert "1/2  none, fold 0, seed 0: test balanced accuracy" in result.stderr
        # Again: everything is there already.
        again = run(
            "compare", *TINY, *HERE, "--folds", 1, "--methods", "none,augnet", "--out", out, "--json", "--quiet"
        )
        document = json.loads(again.stdout)
        assert [row["method"] for row in document["summary"]] == ["none", "augnet"]
        assert document["failed"] == [] and document["sentence"] == last
        other = run("compare", *TINY, *HERE, "--folds", 1, "--methods", "none", "--out", out, "--lr", "0.1")
        assert other.exit_code == 2 and "training.lr: 0.003 there, 0.1 asked" in other.stderr

    def test_a_folder_of_recordings(self, recordings, tmp_path):
        options = ["--data", recordings, "--sfreq", 64, "--epochs", 1, "--folds", 1, "--methods", "none", *HERE]
        result = run("compare", *options, "--out", tmp_path)
        assert result.exit_code == 0, result.output
        assert pd.read_csv(tmp_path / "results.csv")["test_windows"].tolist() == [20]
        settings = json.loads((tmp_path / "settings.json").read_text())
        assert settings["data"]["ch_names"] == ["C3", "C4"] and settings["data"]["sfreq"] == 64

    def test_failed_runs_end_with_1(self, tmp_path, monkeypatch):
        from eegaug.comparison import methods

        monkeypatch.setattr(methods, "_METHODS", dict(methods._METHODS))
        methods.register_method(methods.Method("bad", "bad", lambda common: 1 / 0, {}))
        result = run("compare", *TINY, *HERE, "--folds", 1, "--methods", "none,bad", "--out", tmp_path)
        assert result.exit_code == 1
        assert "failed: bad, fold 0, seed 0: ZeroDivisionError" in result.stdout

    def test_ctrl_c_says_how_to_go_on(self, tmp_path):
        command = [sys.executable, "-m", "eegaug", "compare", *TINY, *HERE, "--epochs", "200", "--methods", "none"]
        env = {**os.environ, "OMP_NUM_THREADS": "1"}
        process = subprocess.Popen([*command, "--out", str(tmp_path)], env=env, stderr=subprocess.PIPE, text=True)
        progress = tmp_path / "runs" / "none-fold0-seed0-fraction1" / "progress.json"
        while not progress.exists():
            assert process.poll() is None, process.stderr.read()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 130
        assert "0 of 3 runs finished" in errors and "goes on" in errors and "Traceback" not in errors


class TestFitAndScore:
    def test_fit_says_what_it_did(self, tmp_path):
        result = run("fit", *TINY, "--method", "none", "--out", tmp_path / "model", "--json")
        document = json.loads(result.stdout)
        assert document["epochs"] == 1 and len(document["valid_subjects"]) == 1
        assert 0 <= document["metrics"]["valid_balanced_accuracy"] <= 1
        assert "epoch 1/1" in result.stderr

    def test_one_subject_trains_without_validation_and_says_so(self, recordings, tmp_path):
        one = tmp_path / "one"
        one.mkdir()
        (one / "sim-001.npz").write_bytes((recordings / "sim-001.npz").read_bytes())
        arguments = ["--data", one, "--sfreq", 64, "--method", "none", "--epochs", 1]
        result = run("fit", *arguments, "--out", tmp_path / "model")
        assert result.exit_code == 0, result.output
        assert "all recordings are of one subject (sim-001)" in result.stderr
        assert "without validation" in result.stdout

    def test_score_others(self, model, tmp_path):
        table = tmp_path / "scores.csv"
        result = run(
            "score", "--data-arg", "n_subjects=5", "--data-arg", "n_windows=20", "--model", model, "--out", table
        )
        assert result.exit_code == 0, result.output
        assert "40 windows of 2 subjects" in result.stdout and "kappa" in result.stdout
        assert "left out, since the model was trained or stopped on them: sim-001, sim-002, sim-003" in result.stderr
        assert pd.read_csv(table)["used_in"].notna().sum() == 3

    def test_score_warns_when_all_were_seen(self, model):
        arguments = ["score", "--data-arg", "n_subjects=3", "--data-arg", "n_windows=20", "--model", model]
        result = run(*arguments, "--json")
        assert json.loads(result.stdout)["only_seen"] is True
        assert "these are not test scores" in result.stderr

    def test_recordings_are_prepared_as_the_model_says(self, recordings, tmp_path):
        model = tmp_path / "model"
        options = ["--sfreq", 64, "--channels", "C4,C3", "--h-freq", 20, "--epochs", 1, "--method", "none"]
        fit = run("fit", "--data", recordings, *options, "--no-validation", "--out", model)
        assert fit.exit_code == 0, fit.output
        result = run("score", "--data", recordings, "--model", model, "--allow-training-subjects")
        assert result.exit_code == 0, result.output
        assert "60 windows of 3 subjects" in result.stdout
        record = json.loads((model / "model.json").read_text())["preprocessing"]
        assert (record["sfreq"], record["h_freq"], record["ch_names"]) == (64, 20, ["C4", "C3"])

    def test_other_recordings_say_what_is_missing(self, model, recordings, tmp_path):
        night = dict(np.load(recordings / "sim-001.npz"))
        np.savez(tmp_path / "a.npz", **{**night, "ch_names": np.array(["O1", "O2"])})
        result = run("score", "--data", tmp_path, "--model", model)
        assert result.exit_code == 2 and "C3" in result.stderr and "O1" in result.stderr

    def test_a_bad_recording_does_not_stop_the_others(self, model, recordings, tmp_path):
        for path in recordings.glob("*.npz"):
            (tmp_path / f"other-{path.name}").write_bytes(path.read_bytes())
        (tmp_path / "bad.npz").write_bytes(b"PK not a zip")
        result = run("score", "--data", tmp_path, "--model", model, "--allow-training-subjects")
        assert result.exit_code == 1, result.output
        assert "bad" in result.stderr and "1 recording could not be scored" in result.stdout

    def test_score_into_a_folder_is_refused_before_the_work(self, model, tmp_path):
        result = run("score", "--data", "no-such-folder", "--model", model, "--out", tmp_path)
        assert result.exit_code == 2 and "is a folder; name a CSV file" in result.stderr


class TestRealRecordings:
    """Recordings as users have them: one labelled stretch, a hypnogram that outlasts its recording, an unscored one."""

    @pytest.fixture
    def folder(self, data_folder, tmp_path):
        def pick(*names):
            folder = tmp_path / "nights"
            folder.mkdir()
            for name in names:
                (folder / Path(name).name).write_bytes((data_folder / name).read_bytes())
            return folder

        return pick

    def test_a_labelled_stretch_of_one_channel(self, folder, tmp_path):
        nights, model = folder("recordings/pydynamo_segment.npz"), tmp_path / "model"
        fit = run("fit", "--data", nights, "--method", "augnet", "--epochs", 1, "--out", model)
        assert fit.exit_code == 0, fit.output
        assert "all recordings are of one subject" in fit.stderr
        assert "AugNet goes without sensors_rotation_x" in fit.stderr
        score = run("score", "--data", nights, "--model", model, "--json")
        assert score.exit_code == 0, score.output
        confusion = np.array(json.loads(score.stdout)["confusion"])
        assert confusion.sum(1).tolist() == [2, 7, 95, 37, 26]

    def test_a_hypnogram_that_outlasts_its_recording(self, folder, tmp_path):
        nights = folder("edf/SC4001E0-PSG_first300s.edf", "edf/SC4001EC-Hypnogram.edf")
        result = run("fit", "--data", nights, "--out", tmp_path / "model")
        # Five minutes of wakefulness: what there is, is said, and that it cannot be learned from.
        assert result.exit_code == 2
        assert "scored beyond its end (2640 windows)" in result.stderr
        assert "one class only" in result.stderr

    def test_a_recording_that_nobody_scored(self, folder, tmp_path):
        result = run("fit", "--data", folder("edf/mednick_example1_sleep_rec.edf"), "--out", tmp_path / "model")
        assert result.exit_code == 2 and "no hypnogram" in result.stderr

    def test_one_subject_cannot_be_compared_on(self, folder, tmp_path):
        result = run("compare", "--data", folder("recordings/pydynamo_segment.npz"), "--out", tmp_path / "out")
        assert result.exit_code == 2 and "at least 3 are needed" in result.stderr


class TestDoctor:
    def test_report_and_json(self, tmp_path):
        result = run("doctor", "--data", tmp_path)
        assert "Versions" in result.stdout and "braindecode" in result.stdout
        assert json.loads(run("doctor", "--json").stdout)["versions"]["eegaug"] == __version__

    def test_a_data_folder_that_is_not_there_ends_with_1(self):
        assert run("doctor", "--data", Path("no-such-folder")).exit_code == 1
