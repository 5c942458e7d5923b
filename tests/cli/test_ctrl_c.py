"""Ctrl-C on a real process, as a terminal sends it: to the command and to whatever it has started."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from eegaug.data import load_nights

from .calls import SMALL, run

pytestmark = pytest.mark.skipif(not hasattr(os, "killpg"), reason="needs process groups")
FEW = [*SMALL, "--channels", "C3,C4"]


@pytest.fixture
def interrupt(tmp_path, monkeypatch):
    """Start a command, send SIGINT to its process group once `ready` says so; exit code and what it said."""
    monkeypatch.setenv("EEGAUG_CACHE", str(tmp_path / "cache"))
    env = {**os.environ, "OMP_NUM_THREADS": "1"}

    def interrupt(ready, *arguments):
        command = [sys.executable, "-m", "eegaug", *(str(a) for a in arguments)]
        process = subprocess.Popen(
            command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        try:
            end = time.monotonic() + 240
            while not ready():
                assert process.poll() is None, process.communicate()[1]
                assert time.monotonic() < end, "the command has not come far enough"
                time.sleep(0.05)
            os.killpg(process.pid, signal.SIGINT)
            out, errors = process.communicate(timeout=120)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
        assert "Traceback" not in errors and "\r" not in errors
        return process.returncode, out, errors

    return interrupt


def test_compare_in_several_processes(interrupt, tmp_path):
    out = tmp_path / "out"
    settings = [*FEW, "--epochs", 300, "--patience", 300, "--methods", "none", "--folds", 2, "--out", out]

    def epochs():
        """Epochs done by each run that has begun."""
        found = {}
        for path in out.glob("runs/*/progress.json"):
            found[path.parent.name] = json.loads(path.read_text())["epoch"]
        return found

    code, _, errors = interrupt(lambda: len(epochs()) == 2, "compare", *settings, "--jobs", 2)
    assert code == 130
    last = errors.splitlines()[-1]
    assert last.startswith("eegaug: stopped with 0 of 2 runs finished") and "goes on" in last
    before = epochs()
    plan = json.loads(run("compare", *settings, "--dry-run", "--json").stdout)
    assert [one["state"] for one in plan["runs"]] == ["begun", "begun"]
    assert epochs() == before  # nobody goes on in the background


def test_fit_saves_the_best_network(interrupt, tmp_path):
    model = tmp_path / "model"
    settings = ["fit", *FEW, "--method", "none", "--epochs", 3000, "--patience", 3000, "--out", model, "--json"]
    checkpoint = model / "unfinished" / "checkpoint"
    code, out, _ = interrupt(checkpoint.exists, *settings)
    document = json.loads(out)
    assert code == 130 and document["interrupted"]
    assert 1 <= document["epochs"] < 3000
    assert json.loads(run("score", *SMALL, "--model", model, "--json").stdout)["only_seen"]
    text = run(*settings[:-1], "--epochs", 1, "--quiet").stdout  # another training: begun anew, finished
    assert "Stopped" not in text and not checkpoint.exists()


def test_recordings_that_were_prepared_are_kept(interrupt, tmp_path):
    folder = tmp_path / "nights"
    folder.mkdir()
    night = load_nights("simulated", n_subjects=1, n_windows=30, ch_names=("C3", "C4"), sfreq=100.0, random_state=3)
    X, y, _ = night.as_arrays()
    np.savez(folder / "s00.npz", X=20 * X, y=y, ch_names=["C3", "C4"], sfreq=100.0)
    for k in range(1, 60):  # enough to be still at it when the signal comes, also on a busy machine
        os.link(folder / "s00.npz", folder / f"s{k:02}.npz")
    settings = ["--data", folder, "--sfreq", 64, "--method", "none", "--epochs", 1, "--quiet"]

    def prepared():
        return len([path for path in (tmp_path / "cache").rglob("*") if path.is_file()])

    code, out, errors = interrupt(lambda: prepared() >= 3, "fit", *settings, "--out", tmp_path / "model")
    there = prepared()
    assert code == 130 and out == ""
    assert errors == "eegaug: stopped; what is finished is kept: the same command goes on\n"
    result = run("fit", *settings, "--out", tmp_path / "model")
    assert result.exit_code == 0, result.output
    assert there < prepared() and (tmp_path / "model" / "model.json").exists()
