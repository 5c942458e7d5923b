"""How a comparison says how far it is."""

import io
import time

from eegaug.comparison.job import ROW
from eegaug.comparison.plan import make_plan, write_json
from eegaug.comparison.progress import ProgressReporter
from eegaug.comparison.run import run_folder


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
