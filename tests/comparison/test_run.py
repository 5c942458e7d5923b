"""One run of a comparison."""

import json

from eegaug.comparison.methods import get_method
from eegaug.comparison.run import _superseded
from eegaug.comparison.table import SETTINGS


def test_settings_that_are_being_replaced_cost_no_finished_run(tmp_path, monkeypatch):
    settings, method = {"methods": {"none": {}}}, get_method("none")
    (tmp_path / SETTINGS).write_text(json.dumps({"methods": {"none": {"other": 1}}}))
    assert _superseded(tmp_path, method, settings)

    def stale(path, **options):
        raise OSError(116, "Stale file handle", str(path))

    monkeypatch.setattr("pathlib.Path.read_text", stale)
    assert not _superseded(tmp_path, method, settings)
