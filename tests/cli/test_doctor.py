"""`eegaug doctor`."""

import json
from pathlib import Path

from eegaug import __version__

from .calls import run


class TestDoctor:
    def test_report_and_json(self, tmp_path):
        result = run("doctor", "--data", tmp_path)
        assert "Versions" in result.stdout and "braindecode" in result.stdout
        assert json.loads(run("doctor", "--json").stdout)["versions"]["eegaug"] == __version__

    def test_a_data_folder_that_is_not_there_ends_with_1(self):
        assert run("doctor", "--data", Path("no-such-folder")).exit_code == 1
