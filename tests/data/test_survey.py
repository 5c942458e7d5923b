import numpy as np
import pytest

from eegaug.data import list_recordings, load_recordings

from .edf_files import noise, pages, write_edf

STAGES = "WW1223R?W"


def recordings(folder):
    """Stages beside a recording and in it, an npz night, and three recordings that cannot be used."""
    channels = {"EEG C3-A2": noise(300, seed=1), "EMG chin": noise(300, seed=2)}
    write_edf(folder / "sub-1_ses-1_eeg.edf", channels)
    (folder / "sub-1_ses-1_events.tsv").write_text("onset\tduration\ttrial_type\n0\t60\tW\n60\t240\tN2\n")
    write_edf(folder / "sub-1_ses-2_eeg.edf", channels, stages=pages(STAGES))
    X = np.random.default_rng(0).normal(size=(200, 1, 3000))
    y = np.r_[np.zeros(90), np.full(20, 2), np.full(85, 0), -1, -1, 4, 4, 4]
    np.savez(folder / "bert.npz", X=X.astype(np.float32), y=y, ch_names=["C3-A2"], sfreq=100, subject="b", night=3)
    write_edf(folder / "carl.edf", channels)
    write_edf(folder / "dora.edf", {"O1": noise(60)})
    (folder / "emil.edf").write_bytes(b"spam")
    return folder


def test_what_is_listed_is_what_is_loaded(tmp_path):
    table = list_recordings(recordings(tmp_path)).set_index("recording")
    with pytest.warns(UserWarning):
        nights = load_recordings(tmp_path, store=tmp_path / "store")
    assert table.index[table.problem == ""].tolist() == [one.name for one in nights.datasets]
    for one in nights.datasets:
        row = table.loc[one.name]
        assert (row.subject, row.night) == (one.description["subject"], one.description["night"])
        counts = [int((one.y == code).sum()) for code in range(5)]
        assert row[["W", "N1", "N2", "N3", "REM"]].tolist() == counts and row.channels in ("EEG C3-A2", "C3-A2")
    reasons = {q["recording"]: q["reason"] for q in nights.problems if q["kind"] == "skipped"}
    assert table.problem[table.problem != ""].to_dict() == reasons and set(reasons) == {"carl", "dora", "emil"}


def test_npz_nights_are_as_long_as_their_signal(tmp_path):
    X = np.random.default_rng(0).normal(size=(6, 1, 3000)).astype(np.float32)
    np.savez(tmp_path / "anna.npz", X=X, ch_names=["C3"], sfreq=100)
    np.savez(tmp_path / "bert.npz", X=X[..., :2000], y=[0, 1, 2, 2, 3, 4], ch_names=["C3"], sfreq=100)
    np.savez(tmp_path / "carl.npz", X=X, y=[0, 1], ch_names=["C3"], sfreq=100)
    table = list_recordings(tmp_path, labels="optional").set_index("recording")
    assert table.loc["anna", ["hours", "problem"]].tolist() == [6 * 30 / 3600, ""]
    assert table.problem.tolist()[1:] == ["its epochs are 20 s, windows are 30 s", "6 epochs and 2 labels"]
    with pytest.warns(UserWarning):
        nights = load_recordings(tmp_path, labels="optional")
    reasons = {q["recording"]: q["reason"] for q in nights.problems if q["kind"] == "skipped"}
    assert len(nights) == 6 and reasons == table.problem[1:].to_dict()


def test_columns(tmp_path):
    table = list_recordings(recordings(tmp_path)).set_index("recording")
    first, second = table.loc["sub-1_ses-1_eeg"], table.loc["sub-1_ses-2_eeg"]
    assert first.scoring.endswith("sub-1_ses-1_events.tsv") and second.scoring == second.file
    assert (first.hours, first.W, first.N2) == (300 / 3600, 2, 8)
    assert "movement or unknown (1 window)" in second.remarks
    assert table.loc["bert"].hours == 200 * 30 / 3600 and table.loc["bert"].scoring.endswith("bert.npz")
    assert np.isnan(table.loc["dora"].hours) and table.loc["dora"].channels == ""


def test_arguments_are_those_of_loading(tmp_path):
    recordings(tmp_path)
    table = list_recordings(tmp_path, labels="optional", ch_names=["C3"], subject_pattern=r"(?P<subject>[a-z]+)")
    assert table.set_index("recording").problem["carl"] == ""
    assert set(table.subject) == {"sub", "b", "carl", "dora", "emil"}
    with pytest.raises(ValueError, match="no recording has them all"):
        list_recordings(tmp_path, ch_names=["Fp1"])
    with pytest.raises(TypeError, match="Unknown option spam"):
        list_recordings(tmp_path, spam=1)
    with pytest.raises(FileNotFoundError, match="There is no file or folder"):
        list_recordings(tmp_path / "absent")
    (tmp_path / "alone").mkdir()
    write_edf(tmp_path / "alone" / "carl.edf", {"C3": noise(60)})
    with pytest.raises(ValueError, match=r"None of the recordings can be used:\n  carl: no hypnogram beside it"):
        list_recordings(tmp_path / "alone")


def test_what_is_to_be_said_of_all(tmp_path):
    for name in ("p07_night1", "p07_night2"):
        write_edf(tmp_path / f"{name}.edf", {"C3": noise(60)}, stages=pages("W2"))
    write_edf(tmp_path / "lonely-Hypnogram.edf", stages=pages("W2"))
    notes = list_recordings(tmp_path).attrs["notes"]
    assert notes[0] == "lonely-Hypnogram.edf: hypnogram without a recording" and "each file is a subject" in notes[1]


def test_no_signal_is_read(tmp_path, monkeypatch):
    import mne

    recordings(tmp_path)
    monkeypatch.setattr(mne.io, "read_raw_edf", None)
    assert (list_recordings(tmp_path).problem == "").sum() == 3
