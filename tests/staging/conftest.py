"""A model trained in a second, and a recording it can stage."""

import numpy as np
import pytest
from data.edf_files import noise, pages, write_edf

from eegaug import AugNetClassifier
from eegaug.data import Preprocessing, simulate_nights

N_EPOCHS = 12
STAGES = ["W", "W", "1", "2", "2", "3", "3", "3", "2", "R", "R", "W"]


@pytest.fixture(scope="session")
def nights():
    return simulate_nights(n_subjects=2, n_windows=40, ch_names=["C3", "C4"], sfreq=50, h_freq=20, random_state=0)


@pytest.fixture(scope="session")
def model(nights):
    """AugNet on two channels at 50 Hz, four copies."""
    settings = {"layers": ["time-frequency"], "max_epochs": 2, "random_state": 0, "verbose": 0}
    return AugNetClassifier(module__n_conv_chs=4, **settings).fit(nights)


@pytest.fixture(scope="session")
def bundle(model, tmp_path_factory):
    return model.save(tmp_path_factory.mktemp("bundle") / "sleeper")


@pytest.fixture(scope="session")
def signals():
    """Six minutes of noise, and slow waves in the second half, in µV at 100 Hz."""
    t = np.arange(N_EPOCHS * 3000) / 100
    slow = np.where(t > 180, 60 * np.sin(2 * np.pi * 1.1 * t), 0)
    return {name: noise(30 * N_EPOCHS, seed=seed) + slow for seed, name in enumerate(["EEG C3-A2", "EEG C4-A1"])}


@pytest.fixture
def recording(signals, tmp_path):
    """An EDF with EOG and twelve epochs, and stages in a file of their own beside it."""
    folder = tmp_path / "nights"
    channels = {"EOG left": noise(30 * N_EPOCHS, seed=9), **signals}
    path = write_edf(folder / "anna.edf", channels)
    write_edf(folder / "anna-Hypnogram.edf", stages=pages(STAGES))
    return path


@pytest.fixture(scope="session")
def preprocessing(model):
    return Preprocessing.of_model(model)
