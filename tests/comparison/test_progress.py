"""How a comparison says how far it is."""

import io
import time

from eegaug.comparison import progress
from eegaug.comparison.estimators import PROGRESS
from eegaug.comparison.job import ERROR, ROW
from eegaug.comparison.plan import make_plan
from eegaug.comparison.progress import ProgressReporter
from eegaug.comparison.run import run_folder
from eegaug.data.atomic import write_json


def test_lines_of_a_log_file(tmp_path):
    runs = make_plan(["none"], 2).runs
    stream = io.StringIO()
    with ProgressReporter(tmp_path, runs, max_epochs=100, stream=stream, enabled=False, every_s=0) as reporter:
        reporter._begin = time.monotonic() - 10
        row = {"test_balanced_accuracy": 0.5, "epochs": 20, "train_seconds": 10.0}
        write_json(run_folder(tmp_path, runs[0]) / ROW, row)
        reporter._look()
    first, second = stream.getvalue().splitlines()
    assert first == "1/2  none, fold 0, seed 0: test balanced accuracy 0.500 after 20 epochs, 10.0 s of training"
    # The first stopped after a fifth of its epochs: that the second does, too, is not known.
    assert second.startswith("50 %, about 10.") and second.endswith(" s left")


def test_files_of_runs_that_have_not_begun_are_not_asked_for(tmp_path, monkeypatch):
    runs = make_plan(["none"], 100, seeds=range(20)).runs
    stream = io.StringIO()
    asked = []
    read = progress._read
    monkeypatch.setattr(progress, "_read", lambda path: asked.append(path.parent.name) or read(path))
    with ProgressReporter(tmp_path, runs, max_epochs=10, stream=stream, enabled=False, every_s=0) as reporter:
        reporter._look()
        assert asked == []  # not even the folder of the runs is there
        write_json(run_folder(tmp_path, runs[7]) / PROGRESS, {"epoch": 5})
        reporter._look()
        assert asked == [runs[7].key] * 3
        write_json(run_folder(tmp_path, runs[8]) / ERROR, {"error": "none left"})
        write_json(tmp_path / "runs" / "another-plan" / ROW, {})
        del asked[:]
        reporter._look()
        assert "another-plan" not in asked
        assert "1/2000  none, fold 8, seed 0 failed: none left" in stream.getvalue()
        assert reporter._epochs() == (15, "none, fold 7, seed 0: epoch 5/10")


def test_a_file_that_is_being_replaced_ends_nothing(tmp_path, monkeypatch):
    (run,) = make_plan(["none"], 1).runs
    write_json(run_folder(tmp_path, run) / PROGRESS, {"epoch": 3})
    reporter = ProgressReporter(tmp_path, [run], 10, io.StringIO())
    with reporter:
        assert reporter._epochs() == (3, "none, fold 0, seed 0: epoch 3/10")

        def stale(path, **options):
            raise OSError(116, "Stale file handle", str(path))

        monkeypatch.setattr("pathlib.Path.read_text", stale)
        assert reporter._epochs() == (0, "")
        reporter._look()
