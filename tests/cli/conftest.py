"""Recordings and a model for the commands, and a cache of their own."""

import numpy as np
import pytest

from eegaug.data import load_nights

from .calls import TINY, run


@pytest.fixture(scope="session")
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


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli") / "model"
    result = run("fit", *TINY, "--method", "none", "--out", folder, "--quiet")
    assert result.exit_code == 0, result.output
    return folder
