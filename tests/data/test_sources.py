import numpy as np
import pytest

from eegaug.data import Preprocessing, load_nights

from .edf_files import noise, pages, write_edf


@pytest.fixture
def folder(tmp_path):
    for name in ("SC4001", "SC4011"):
        channels = {"EEG Fpz-Cz": noise(240), "EEG Pz-Oz": noise(240, seed=1)}
        write_edf(tmp_path / "in" / f"{name}E0-PSG.edf", channels, stages=pages("WW1223RW"))
    return tmp_path / "in"


def test_folder_and_sleep_edf(folder):
    nights = load_nights(folder)
    assert nights.y.tolist() == [0, 0, 1, 2, 2, 3, 4, 0] * 2
    assert load_nights(nights) is nights
    assert load_nights("sleep-edf", root=folder, subjects=[0], nights=[1]).y.tolist() == [0, 0, 1, 2, 2, 3, 4, 0]
    assert load_nights("Sleep_EDF", root=folder, subjects=[0], nights=[1], sfreq=128).sfreq == 128
    assert load_nights(folder, preprocessing=Preprocessing(sfreq=128, ch_names=["Pz-Oz"])).ch_names == ["Pz-Oz"]


def test_store(folder, tmp_path):
    made = load_nights(folder, store=tmp_path / "store")
    assert load_nights(tmp_path / "store").y.tolist() == made.y.tolist()
    assert len(load_nights(tmp_path / "store", sfreq=100)) == 16
    with pytest.raises(ValueError, match=r"was made otherwise: sfreq is 100\.0, not 128"):
        load_nights(tmp_path / "store", sfreq=128)
    load_nights(folder, store=tmp_path / "slow", sfreq=50, h_freq=20, ch_names=["Pz-Oz"])
    assert load_nights(tmp_path / "slow", sfreq=50, ch_names=("Pz-Oz",)).sfreq == 50
    with pytest.raises(ValueError, match=r"was made otherwise: sfreq is 50\.0, not 40"):
        load_nights(tmp_path / "slow", sfreq=40)
    with pytest.raises(TypeError, match="Unknown option labels"):
        load_nights(tmp_path / "slow", labels="optional")


def test_simulated():
    nights = load_nights("simulated", n_subjects=2, n_windows=6, random_state=0)
    assert len(nights) == 12 and nights.truth is not None
    p = Preprocessing(ch_names=["C3"], sfreq=64, standardise=None, h_freq=25)
    nights = load_nights("simulated", preprocessing=p, n_subjects=1, n_windows=6, random_state=0)
    assert (nights.ch_names, nights.sfreq) == (["C3"], 64)
    assert nights.read().std() > 5  # µV
    options = {"n_subjects": 1, "n_windows": 6, "random_state": 0}
    assert load_nights("simulated", preprocessing={"sfreq": 50}, h_freq=20, **options).sfreq == 50
    with pytest.raises(ValueError, match="h_freq=30 Hz cannot be kept at sfreq=50 Hz"):
        load_nights("simulated", preprocessing={"sfreq": 50}, **options)


def test_mass_needs_its_folder(folder):
    with pytest.raises(ValueError, match="pass root= with its folder"):
        load_nights("mass")
    with pytest.raises(ValueError, match="channels 'C3', 'C4', 'F3', 'F4', 'O1', 'O2' are missing"):
        load_nights("mass", root=folder)


def test_what_is_no_source_is_refused(folder):
    with pytest.raises(
        FileNotFoundError, match=r"no file or folder slep-edf. Give a folder .* simulated, sleep-edf, mass"
    ):
        load_nights("slep-edf")
    with pytest.raises(TypeError, match=r"recordings know no 'label'; they take store, labels, .*, ch_names, "):
        load_nights(folder, label="optional")
    with pytest.raises(TypeError, match=r"recordings know no 'labels'; they take subjects, nights, store, "):
        load_nights("sleep-edf", root=folder, labels="optional")
    with pytest.raises(ValueError, match="root='x' goes with the sources 'sleep-edf' and 'mass', not"):
        load_nights(folder, root="x")


def test_subjects_of_another_pattern_are_those_of_a_second_call(tmp_path, monkeypatch):
    """What was prepared is kept; whose night it is follows from the call."""
    monkeypatch.setenv("EEGAUG_CACHE", str(tmp_path / "cache"))
    (tmp_path / "nights").mkdir()
    for k, name in enumerate(("p1_1", "p1_2", "p2_1")):
        X = np.random.default_rng(k).standard_normal((6, 1, 3000))
        np.savez(tmp_path / "nights" / f"{name}.npz", X=X, y=[0, 1, 2, 2, 3, 4], ch_names=["C3"], sfreq=100)
    nights = load_nights(tmp_path / "nights")
    assert set(nights.subjects) == {"p1_1", "p1_2", "p2_1"}
    for _ in range(2):
        again = load_nights(tmp_path / "nights", subject_pattern=r"(?P<subject>p\d)_(?P<night>\d)")
        assert again.description["subject"].tolist() == ["p1", "p1", "p2"]
        assert again.description["night"].tolist() == [1, 2, 1]
        np.testing.assert_array_equal(again.read(), nights.read())


def test_short_windows_of_a_text_hypnogram(tmp_path):
    """Lines of 30 s, whatever the windows; as long as windows where that is what fits."""
    write_edf(tmp_path / "a.edf", {"C3": noise(180)})
    options = {"window_s": 10, "wake_margin_min": None}
    (tmp_path / "a.txt").write_text("\n".join(["W", "W", "N1", "N2", "N2", "R"]))
    assert (
        load_nights(tmp_path, **options, store=tmp_path / "s1").y.tolist() == np.repeat([0, 0, 1, 2, 2, 4], 3).tolist()
    )
    (tmp_path / "a.txt").write_text("\n".join(["W", "N1", "N2"] * 6))
    with pytest.warns(UserWarning, match="its pages were taken to last 10 s"):
        assert load_nights(tmp_path, **options, store=tmp_path / "s2").y.tolist() == [0, 1, 2] * 6


def test_simulated_nights_name_what_they_do_not_take():
    with pytest.raises(TypeError, match=r"simulated nights know no 'windows'; they take n_subjects, .*n_windows"):
        load_nights("simulated", n_subjects=1, windows=6)
