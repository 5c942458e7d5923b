"""`eegaug compare`: its results, what it says, a dry run, options from a file."""

import json

import pandas as pd
import pytest

from .calls import HERE, TINY, run

CONFIG = """
data-arg = {n_subjects = 3, n_windows = 20}
channels = ["C3", "C4"]
epochs = 1
jobs = 1
folds = 2
quiet = true

[compare]
methods = ["none", "fixed"]
"""


@pytest.fixture
def configured(tmp_path):
    (tmp_path / "tiny.toml").write_text(CONFIG)

    def configured(*arguments):
        return run("compare", "--config", tmp_path / "tiny.toml", "--out", tmp_path / "out", *arguments)

    return configured


def test_dry_run_says_what_would_run_and_leaves_nothing(configured, tmp_path):
    result = configured("--dry-run")
    assert result.exit_code == 0, result.output
    last, where = result.stdout.splitlines()[-2:]
    assert last.startswith("4 of 4 runs would be made, 1 at a time: at most about ")
    assert where == f"results would go to {tmp_path / 'out'}"
    assert not (tmp_path / "out").exists()


def test_preprocessing_goes_with_the_defaults_of_the_data(configured):
    rate = ("--methods", "none", "--dry-run", "--sfreq")
    assert configured(*rate, 48).exit_code == 0  # the simulated nights end at 20 Hz, not at 30
    for wrong, message in ((30, "h_freq=20 Hz cannot be kept at sfreq=30 Hz"), (-1, "sfreq is -1.0: input should be")):
        result = configured(*rate, wrong)
        assert result.exit_code == 2 and message in result.stderr and len(result.stderr.splitlines()) == 1


def test_dry_run_knows_what_is_there(configured, tmp_path):
    assert configured("--methods", "none").exit_code == 0
    result = configured("--dry-run", "--json", "--jobs", 2)
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["out"] == str(tmp_path / "out") and document["n_jobs"] == 2
    states = {(run["method"], run["fold"]): run["state"] for run in document["runs"]}
    assert states == {("none", 0): "finished", ("none", 1): "finished", ("fixed", 0): "new", ("fixed", 1): "new"}
    assert document["seconds"] == pytest.approx(sum(run["seconds"] for run in document["runs"]) / 2)
    assert 0 < document["seconds"] < 600
    assert configured("--methods", "none", "--dry-run").stdout.splitlines()[-2] == "all 2 runs are finished"
    # Settings that differ are found before anything is run.
    other = configured("--dry-run", "--lr", "0.5")
    assert other.exit_code == 2 and "training.lr" in other.stderr and len(other.stderr.splitlines()) == 1


def test_options_of_methods(configured, tmp_path):
    def options(*arguments):
        result = configured("--methods", "none,augnet", "--folds", 1, *arguments)
        assert result.exit_code == 0, result.output
        return json.loads((tmp_path / "out" / "settings.json").read_text())["methods"]["augnet"], result.stderr

    given = ["--method-arg", "augnet.penalty=0.5", "--method-arg", 'augnet.layers=["sensors"]', "--penalty", 3]
    found, _ = options(*given)
    assert (found["penalty"], found["layers"], found["n_copies"]) == (0.5, ["sensors"], 4)
    other = configured("--methods", "augnet", "--folds", 1, "--dry-run", "--method-arg", "augnet.penalty=0.6")
    assert other.exit_code == 2 and "methods.augnet.penalty: 0.5 there, 0.6 asked" in other.stderr
    _, said = options(*given, "--method-arg", "adda.max_steps=2")
    assert said.splitlines()[0] == "eegaug: warning: adda is not among the methods, so its options have no effect"


def test_dry_run_refuses_what_the_comparison_would_refuse(configured):
    result = configured("--dry-run", "--methods", "nothing")
    assert result.exit_code == 2 and "unknown method 'nothing'" in result.stderr


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

    def test_wrong_options_of_a_search_are_found_before_anything_runs(self, tmp_path):
        call = [*TINY, *HERE, "--folds", 1, "--methods", "none,adda", "--out", tmp_path, "--quiet"]
        call += ["--method-arg", "adda.max_steps=1", "--method-arg", "adda.warm_start=0"]
        wrong = run("compare", *call, "--method-arg", 'adda.operations=["sign_flip","sign_flip"]')
        assert wrong.exit_code == 2 and "method 'adda': operations has 'sign_flip' twice" in wrong.stderr
        assert not list(tmp_path.iterdir())
        right = run("compare", *call, "--method-arg", 'adda.operations=["sign_flip","gaussian_noise"]', "--json")
        assert right.exit_code == 0, right.output
        assert [row["method"] for row in json.loads(right.stdout)["summary"]] == ["none", "adda"]


def test_quick_fills_in_what_is_not_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plan = json.loads(run("compare", "--quick", "--dry-run", "--json").stdout)
    assert plan["out"] == "eegaug-compare-quick" and len(plan["runs"]) == 8  # four methods, two folds
    given = ("--folds", 3, "--out", "own", "--methods", "none", "--data-arg", "n_subjects=7")
    plan = json.loads(run("compare", "--quick", "--dry-run", "--json", *given).stdout)
    assert plan["out"] == "own" and len(plan["runs"]) == 3
