"""The frame of the experiments: plan, runs that are kept, tables, figure."""

from __future__ import annotations

import dataclasses
import errno
import json
import warnings

import pandas as pd
import pytest
import torch

from eegaug.experiments import Settings, get_experiment, list_experiments, reproduce

from . import small
from .small import ADDITIONS


def test_rows_summary_and_figure(tmp_path):
    result = reproduce(ADDITIONS, out=tmp_path, verbose=False)
    assert result.runs[["kind", "seed", "score"]].values.tolist() == [
        ["a", 0, 0],
        ["a", 1, 1],
        ["a", 2, 2],
        ["b", 0, 1],
        ["b", 1, 2],
        ["b", 2, 3],
    ]
    assert len(result.tables["epochs"]) == 12
    assert result.table.to_dict("list") == {"kind": ["a", "b"], "ours": [1.0, 2.0], "paper": [1.0, 1.0]}
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "additions.csv"), result.runs)
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "additions-epochs.csv"), result.tables["epochs"])
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "additions-summary.csv"), result.table)
    assert result.figure_path.read_bytes()[:4] == b"\x89PNG"
    assert "Nothing to explain." in result.lines() and "Sums of small numbers." in result.lines()
    assert result.document()["table"][1] == {"kind": "b", "ours": 2.0, "paper": 1.0}


def test_quick_and_seeds(tmp_path):
    assert len(reproduce(ADDITIONS, quick=True, out=tmp_path / "q", verbose=False).runs) == 2
    assert len(reproduce(ADDITIONS, seeds=2, out=tmp_path / "s", verbose=False).runs) == 4
    with pytest.raises(ValueError, match="seeds is 0"):
        Settings(seeds=0)


@pytest.mark.parametrize("nights", [{"data": "nights/"}, {"data_args": {"n_subjects": 6}}, {"root": "mass/"}])
def test_nights_that_have_no_effect_are_named(tmp_path, nights):
    with pytest.warns(UserWarning, match="additions has data of its own: which nights to take has no effect on it"):
        reproduce(ADDITIONS, quick=True, out=tmp_path, verbose=False, **nights)

    def plan(settings):
        return [{"kind": "a", "seed": 0, "source": settings.nights()}]

    def run(kind, seed, source):
        return {"score": seed}

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        reproduce(dataclasses.replace(ADDITIONS, plan=plan, run=run), out=tmp_path, verbose=False, **nights)


def test_finished_runs_are_not_made_again(tmp_path, monkeypatch):
    reproduce(ADDITIONS, seeds=2, out=tmp_path, verbose=False)
    made = []

    def counted(**entry):
        made.append(entry)
        return small.run(**entry)

    again = dataclasses.replace(ADDITIONS, run=counted)
    assert len(reproduce(again, seeds=3, out=tmp_path, verbose=False).runs) == 6
    assert made == [{"kind": "a", "seed": 2}, {"kind": "b", "seed": 2}]
    made.clear()
    documents = {path: json.loads(path.read_text()) for path in (tmp_path / "runs").iterdir()}
    (broken,) = [path for path, document in documents.items() if document["settings"] == {"kind": "a", "seed": 1}]
    broken.write_text('{"settings": ')  # as a full disk would leave it
    reproduce(again, seeds=3, out=tmp_path, verbose=False)
    assert made == [{"kind": "a", "seed": 1}]
    made.clear()
    reproduce(dataclasses.replace(again, version=2), seeds=1, out=tmp_path, verbose=False)
    assert len(made) == 2


def test_failed_runs_are_named_and_tried_again(tmp_path):
    broken = dataclasses.replace(ADDITIONS, run=small.run_but_not_b)
    result = reproduce(broken, seeds=2, out=tmp_path, verbose=False)
    assert result.table["kind"].tolist() == ["a"]
    assert [run["settings"]["kind"] for run in result.failed] == ["b", "b"]
    assert "2 runs failed; the first: ValueError: b does not work" in result.lines()
    mended = reproduce(ADDITIONS, seeds=2, out=tmp_path, verbose=False)
    assert mended.failed == [] and len(mended.runs) == 4


def test_a_full_disk_leaves_the_files_that_were_there(tmp_path, monkeypatch):
    def fsync(number):
        raise OSError(errno.ENOSPC, "No space left on device")

    reproduce(ADDITIONS, out=tmp_path, verbose=False)
    before = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    assert len(before) == 4
    monkeypatch.setattr("os.fsync", fsync)
    with pytest.raises(OSError, match=r"No space left on device: '.*additions.csv'"):
        reproduce(ADDITIONS, seeds=2, out=tmp_path, verbose=False)
    assert {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before


def test_nothing_succeeds(tmp_path):
    def run(**entry):
        raise ValueError("no way")

    with pytest.raises(RuntimeError, match="no way"):
        reproduce(dataclasses.replace(ADDITIONS, run=run), out=tmp_path, verbose=False)


def test_parallel_runs_give_the_same(tmp_path):
    one = reproduce(ADDITIONS, seeds=2, out=tmp_path / "1", verbose=False)
    two = reproduce(ADDITIONS, seeds=2, out=tmp_path / "2", n_jobs=2, verbose=False)
    pd.testing.assert_frame_equal(one.runs, two.runs)


def test_runs_compute_with_one_thread(tmp_path):
    threads = []

    def run(**entry):
        threads.append(torch.get_num_threads())
        return {"score": 0}

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        reproduce(dataclasses.replace(ADDITIONS, run=run), seeds=1, out=tmp_path, verbose=False)
        assert threads == [1, 1] and torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_registry_builds_every_experiment():
    for name in list_experiments():
        experiment = get_experiment(name)
        assert experiment.name == name
        plan = experiment.plan(Settings(quick=True))
        assert plan and len({json.dumps(entry, sort_keys=True) for entry in plan}) == len(plan)
        assert len(experiment.plan(Settings())) >= len(plan)
    with pytest.raises(ValueError, match="no experiment 'sinus'"):
        get_experiment("sinus")
