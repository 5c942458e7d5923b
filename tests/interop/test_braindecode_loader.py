"""Sleep-EDF as braindecode loads and prepares it, from files of its layout."""

import warnings

import braindecode.datasets.sleep_physionet as loader
import numpy as np
import pytest
from braindecode.datasets import SleepPhysionet
from braindecode.preprocessing import Preprocessor, create_windows_from_events, preprocess
from data.edf_files import noise, pages, sine, write_edf
from sklearn.preprocessing import scale

from eegaug import AugNetClassifier

STAGES = ["W", "W", "1", "2", "2", "3", "4", "3", "2", "R", "R", "W"]
CODES = {"W": 0, "1": 1, "2": 2, "3": 3, "4": 3, "R": 4}


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Two recordings with more signals than EEG and their hypnograms; braindecode finds these instead of fetching."""
    pairs = []
    for subject in range(2):
        seconds = 30 * len(STAGES)
        signals = {
            "EEG Fpz-Cz": noise(seconds, seed=subject) + sine(2.0, seconds),
            "EEG Pz-Oz": noise(seconds, seed=10 + subject),
            "EOG horizontal": noise(seconds, seed=20 + subject),
            "EMG submental": (np.ones(seconds), 1.0),
        }
        recording = write_edf(tmp_path / f"SC4{subject:02d}1E0-PSG.edf", signals)
        hypnogram = write_edf(tmp_path / f"SC4{subject:02d}1EC-Hypnogram.edf", stages=pages(STAGES))
        pairs.append([str(recording), str(hypnogram)])
    monkeypatch.setattr(loader, "fetch_data", lambda subjects, **more: [pairs[i] for i in subjects])


def windows_of(*steps):
    dataset = SleepPhysionet(subject_ids=[0, 1], recording_ids=[1], crop_wake_mins=30)
    preprocess(dataset, [Preprocessor("filter", l_freq=0.3, h_freq=30, verbose="error"), *steps])
    mapping = {f"Sleep stage {name}": code for name, code in CODES.items()}
    how = {"window_size_samples": 3000, "window_stride_samples": 3000, "mapping": mapping, "preload": True}
    return create_windows_from_events(dataset, **how)


def fitted(windows):
    clf = AugNetClassifier(layers=["time-frequency"], max_epochs=1, random_state=0, verbose=0, module__n_conv_chs=2)
    return clf.fit(windows)


def test_standardised_windows_go_straight_in(files):
    windows = windows_of(Preprocessor(scale, channel_wise=True))
    assert len(windows) == 2 * len(STAGES)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        clf = fitted(windows)
    assert clf.signal_.ch_names == ("Fpz-Cz", "Pz-Oz") and clf.signal_.sfreq == 100
    assert clf.classes_.tolist() == [0, 1, 2, 3, 4]
    proba = clf.predict_proba(windows)
    assert proba.shape == (24, 5)
    X = np.stack([windows[i][0] for i in range(24)])
    np.testing.assert_allclose(clf.predict_proba(X), proba, atol=1e-5)
    y = [CODES[name] for name in STAGES] * 2
    assert clf.score(windows, y) == np.mean(proba.argmax(1) == y)


def test_windows_in_volts_are_noticed(files):
    with pytest.warns(UserWarning, match=r"standard deviation of 4e-05: they seem to be in volts"):
        fitted(windows_of())
