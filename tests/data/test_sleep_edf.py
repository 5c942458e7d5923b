import numpy as np
import pytest
import requests
from mne.datasets.sleep_physionet import age

from eegaug.data import load_sleep_edf

from .edf_files import noise, pages, write_edf

STAGES = "WW1234R?"
Y = [0, 0, 1, 2, 3, 3, 4]


def night(folder, name, seed=0):
    channels = {"EEG Fpz-Cz": noise(240, seed=seed), "EEG Pz-Oz": noise(240, seed=seed + 50)}
    channels |= {"EOG horizontal": noise(240), "Temp rectal": (noise(240, 1), 1.0)}
    psg = write_edf(folder / f"{name}E0-PSG.edf", channels)
    # The last stretch, not scored, runs on for hours, as in the real files.
    stages = pages(STAGES[:-1], prefix="Sleep stage ") + [(210, 9000, "Sleep stage ?")]
    return psg, write_edf(folder / f"{name}EC-Hypnogram.edf", stages=stages)


@pytest.fixture
def root(tmp_path):
    for k, name in enumerate(("SC4001", "SC4002", "SC4071", "SC4822")):
        night(tmp_path / "sleep-cassette", name, k)
    night(tmp_path / "sleep-telemetry", "ST7011")
    return tmp_path


def test_folder_that_was_downloaded(root, recwarn):
    nights = load_sleep_edf(root=root)
    assert nights.ch_names == ["Fpz-Cz", "Pz-Oz"] and nights.sfreq == 100
    assert nights.y.tolist() == Y * 4
    assert nights.description[["subject", "night"]].to_numpy().tolist() == [
        ["SC400", 1], ["SC400", 2], ["SC407", 1], ["SC482", 2],
    ]  # fmt: skip
    assert np.isfinite(nights.read()).all()
    assert not [w for w in recwarn if issubclass(w.category, UserWarning)]


def test_subjects_and_nights_are_chosen(root):
    assert len(load_sleep_edf([0], root=root).datasets) == 2
    assert load_sleep_edf(0, nights=[2], root=root).datasets[0].name == "SC4002E0-PSG"
    assert len(load_sleep_edf(nights=1, root=root).datasets) == 2
    assert len(load_sleep_edf(nights=np.int64(2), root=root).datasets) == 2
    with pytest.raises(FileNotFoundError, match="has no PSG file of SC4011, SC4012"):
        load_sleep_edf([0, 1], root=root)
    with pytest.raises(FileNotFoundError, match="has no PSG file of SC4072"):
        load_sleep_edf(7, root=root)


@pytest.mark.parametrize(
    ("subjects", "nights", "message"),
    [
        ([0, 39, 83], (1, 2), r"no subject \[39, 83\]: there are 0 to 82 without 39, 68"),
        ([0], [3], r"nights=\[3\] must be 1, 2 or both"),
        ([0], [], r"nights=\[\] must be"),
        ([13], [2], "subject 13 has no second"),
        ("0,1", [2], r"subjects='0,1' is text: pass a number, or a list such as \[0, 1\]"),
        (np.int64(13), [2], r"Subjects \[13\] have no night|subject 13 has no second"),
    ],
)
def test_what_does_not_exist_is_refused(subjects, nights, message):
    with pytest.raises(ValueError, match=message):
        load_sleep_edf(subjects, nights)


def test_folder_without_recordings(tmp_path):
    with pytest.raises(FileNotFoundError, match="There is no folder"):
        load_sleep_edf(root=tmp_path / "nowhere")
    night(tmp_path, "ST7011")
    with pytest.raises(FileNotFoundError, match="has no Sleep-EDF recording"):
        load_sleep_edf(root=tmp_path)


def test_without_network_the_error_says_what_to_do(monkeypatch):
    def fail(*args, **kwargs):
        raise requests.exceptions.ConnectionError("Name or service not known")

    monkeypatch.setattr(age, "fetch_data", fail)
    with pytest.raises(ConnectionError, match=r"could not be fetched.*sleep-edfx/1.0.0.*pass its folder: root="):
        load_sleep_edf([0])


def test_what_mne_fetched_is_read(root, monkeypatch):
    asked = {}

    def fetch(**options):
        asked.update(options)
        folder = root / "sleep-cassette"
        names = ("SC4001", "SC4002")
        return [[str(folder / f"{n}E0-PSG.edf"), str(folder / f"{n}EC-Hypnogram.edf")] for n in names]

    monkeypatch.setattr(age, "fetch_data", fetch)
    assert load_sleep_edf([0]).y.tolist() == Y * 2
    assert (asked["subjects"], asked["recording"]) == ([0], [1, 2])
