import io
import os

import pytest

from eegaug import compare
from eegaug.comparison import Forecast, describe_plan, forecast_lines
from eegaug.comparison.forecast import _earlier, _some_of_each_stage
from eegaug.comparison.job import ROW
from eegaug.data import Nights, Split
from eegaug.data.atomic import write_json


class TestDescribePlan:
    def test_a_run_that_was_continued_took_as_long_as_its_training(self, tmp_path):
        for fold, (wall, training) in enumerate([(30.0, 20.0), (1.0, 20.0), (25.0, 20.0)]):  # the second was killed
            row = {"method": "none", "wall_seconds": wall, "train_seconds": training, "train_windows": 10, "epochs": 5}
            write_json(tmp_path / "runs" / f"fold{fold}" / ROW, row)
        assert _earlier(tmp_path, 5) == {"none": 2.5}
        write_json(tmp_path / "runs" / "fold2" / ROW, row | {"wall_seconds": 1.0})
        assert _earlier(tmp_path, 5) == {"none": 2.0}

    def test_a_run_that_stopped_early_tells_what_the_last_epoch_would_take(self, tmp_path):
        row = {"method": "none", "wall_seconds": 20.0, "train_seconds": 10.0, "train_windows": 10, "epochs": 5}
        write_json(tmp_path / "runs" / "a" / ROW, row)
        write_json(tmp_path / "runs" / "b" / ROW, {**row, "method": "adda", "steps": 6})
        assert _earlier(tmp_path, 50) == {"none": 20.0, "adda": 2.0}

    def test_what_is_there_what_is_new_and_where_times_come_from(self, tmp_path, small):
        compare(["none"], out=tmp_path, **small)
        before = sorted(path for path in tmp_path.rglob("*"))
        plan = describe_plan(["none", "fixed", "random"], out=tmp_path, seeds=(0, 1), **small)
        assert sorted(path for path in tmp_path.rglob("*")) == before
        found = {(run["method"], run["seed"]): run for run in plan.runs if run["fold"] == 0}
        assert {key: run["state"] for key, run in found.items()} == {
            ("none", 0): "finished",
            ("none", 1): "new",
            ("fixed", 0): "new",
            ("fixed", 1): "new",
            ("random", 0): "new",
            ("random", 1): "new",
        }
        assert len(plan.missing) == 10
        assert found["none", 0]["seconds"] == 0
        assert found["none", 1]["estimated_from"] == "earlier runs" and found["none", 1]["seconds"] > 0
        assert found["fixed", 0]["estimated_from"] == "measured steps" and 0 < found["fixed", 0]["seconds"] < 60
        # Nothing is known of a search without a budget.
        assert found["random", 0]["seconds"] is None and plan.seconds is None
        assert "how long that takes is not known" in forecast_lines(plan)[-1]

    def test_a_budget_bounds_each_run(self, tmp_path, small):
        plan = describe_plan(["fixed", "random"], out=tmp_path / "new", budget=1e-3, n_jobs=2, **small)
        assert [run["seconds"] for run in plan.runs] == [1e-3] * 4
        assert {run["estimated_from"] for run in plan.runs} == {"budget"}
        assert plan.seconds == pytest.approx(2e-3)
        assert not (tmp_path / "new").exists()

    def test_windows_are_not_counted_anew_for_each_run(self, tmp_path, small, monkeypatch):
        looked = []
        subjects = Nights.subjects.fget
        monkeypatch.setattr(Nights, "subjects", property(lambda nights: looked.append(1) or subjects(nights)))
        counts = []
        for seeds in (1, 30):
            del looked[:]
            plan = describe_plan(["random"], out=tmp_path / "new", budget=1.0, seeds=range(seeds), **small)
            counts.append(len(looked))
            assert len(plan.runs) == 2 * seeds
        assert counts[0] == counts[1]

    def test_on_a_terminal_it_tells_how_far_it_is(self, tmp_path, small, monkeypatch):
        terminal = io.StringIO()
        terminal.isatty = lambda: True
        monkeypatch.setattr("sys.stderr", terminal)
        describe_plan(["none", "fixed"], out=tmp_path / "new", **small)
        assert terminal.getvalue() == ""
        describe_plan(["none", "fixed"], out=tmp_path / "new", **small | {"verbose": True})
        assert "Forecast: 100%" in terminal.getvalue() and "4/4" in terminal.getvalue()

    def test_a_run_takes_as_long_as_its_windows(self, tmp_path, small):
        settings = compare(["none"], out=tmp_path, **small).settings
        seconds = {"none": _earlier(tmp_path, settings["training"]["max_epochs"])["none"]}
        plan = describe_plan(["none"], out=tmp_path, seeds=(1,), fractions=(0.5,), **small)
        for run in plan.runs:
            train = Split(**settings["folds"][run["fold"]]).fraction(0.5, random_state=1).train
            windows = sum(settings["data"]["windows"][subject] for subject in train)
            assert run["seconds"] == pytest.approx(seconds["none"] * windows)

    def test_axes_may_be_iterators(self, tmp_path, small):
        axes = {"methods": iter(["none"]), "seeds": iter([0, 1]), "fractions": (f for f in [0.5, 1])}
        plan = describe_plan(**axes, out=tmp_path, budget=1.0, **{**small, "folds": 1})
        found = [(run["seed"], run["fraction"]) for run in plan.runs]
        assert found == [(0, 0.5), (0, 1.0), (1, 0.5), (1, 1.0)]

    def test_wrong_arguments_are_refused_as_by_compare(self, tmp_path, small):
        with pytest.raises(ValueError, match="unknown method 'nothing'"):
            describe_plan(["nothing"], out=tmp_path, **small)
        with pytest.raises(TypeError, match="unexpected keyword argument 'colour'"):
            describe_plan(["none"], colour=1)
        (tmp_path / "file").write_text("")
        for out in (tmp_path / "file", tmp_path / "file" / "new"):
            with pytest.raises(NotADirectoryError, match=r"cannot write to the output folder .* \(.*file is a file\)"):
                describe_plan(["none"], out=out, **small)

    def test_a_folder_that_is_not_ones_own(self, tmp_path, small, monkeypatch):
        monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path)  # root may write everywhere
        with pytest.raises(PermissionError, match=r"cannot write to the output folder .*one \(Permission denied\)"):
            describe_plan(["none"], out=tmp_path / "new" / "one", **small)
        assert not (tmp_path / "new").exists()


class TestForecast:
    RUN = {"method": "none", "fold": 0, "seed": 0, "fraction": 1.0, "state": "new", "estimated_from": "measured steps"}

    def test_runs_share_the_places(self, tmp_path):
        def total(seconds, n_jobs):
            return Forecast([{**self.RUN, "seconds": value} for value in seconds], n_jobs, tmp_path).seconds

        assert total([4, 4, 4, 4], 1) == 16
        assert total([4, 4, 4, 4], 2) == 8
        assert total([9, 1, 1], 2) == 9  # one run is made in one place
        assert total([4, None], 2) is None
        assert total([], 2) == 0

    def test_lines(self, tmp_path):
        runs = [{**self.RUN, "seconds": 30.0}, {**self.RUN, "fold": 1, "state": "finished", "seconds": 0.0}]
        lines = forecast_lines(Forecast(runs, 4, tmp_path))
        assert lines[1].split() == ["none", "2", "1", "0", "30.0", "s", "measured", "steps"]
        assert lines[-1] == "1 of 2 runs would be made, 1 at a time: at most about 30.0 s"
        assert forecast_lines(Forecast(runs[1:], 4, tmp_path))[-1] == "all 1 runs are finished"


def test_few_windows_with_all_stages():
    y = pytest.importorskip("numpy").array([0] * 50 + [1] * 50 + [2] * 2)
    rows = _some_of_each_stage(y, 8)
    assert len(rows) == 8 and sorted(set(y[rows])) == [0, 1, 2]
