"""Stores made by default go to a folder of the test's own."""

import pytest


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    """The folder that ``cache_folder()`` names."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("EEGAUG_CACHE", str(folder))
    return folder
