"""Nights small enough that a run takes a second."""

import pytest

from eegaug.data import load_nights

SMALL = {"n_subjects": 4, "n_windows": 24, "ch_names": ("C3", "C4"), "sfreq": 64.0, "random_state": 0}


@pytest.fixture(scope="session")
def nights():
    return load_nights("simulated", **SMALL)


@pytest.fixture
def small():
    """Arguments of a comparison of two folds with one epoch each."""
    return {
        "folds": 2,
        "max_epochs": 1,
        "data_args": dict(SMALL),
        "verbose": False,
        "method_options": {"augnet": {"layers": [["frequency_shift", "sign_flip"]]}},
    }
