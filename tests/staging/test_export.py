import datetime
import json

import mne
import numpy as np
import pandas as pd
import pytest

import eegaug
from eegaug.data import read_hypnogram
from eegaug.data.files.edf import read_edf_header
from eegaug.staging import FILES, save_night


@pytest.fixture
def night(recording, model):
    return eegaug.stage(recording, model, reference=recording.with_name("anna-Hypnogram.edf"))


@pytest.fixture
def folder(night, tmp_path):
    night.save(tmp_path / "out", page=False)
    return tmp_path / "out"


@pytest.mark.parametrize("name", ["hypnogram.csv", "events.tsv", "hypnogram.edf", "edfbrowser.csv"])
def test_stages_come_back(folder, night, name):
    if name.endswith(".edf"):
        pytest.importorskip("edfio")
    found = read_hypnogram(folder / name).windows(30.0, 360.0)
    assert found.y.tolist() == night.stages.tolist() and found.onset_s.tolist() == night.onset_s.tolist()


def test_edf_begins_when_the_recording_does(folder, recording):
    pytest.importorskip("edfio")
    assert read_edf_header(folder / "hypnogram.edf").start == read_edf_header(recording).start
    raw = mne.io.read_raw_edf(recording, verbose="error")
    raw.set_annotations(mne.read_annotations(folder / "hypnogram.edf"))
    assert raw.annotations.duration.sum() == pytest.approx(360)


@pytest.mark.parametrize(
    ("start", "header"),
    [
        (datetime.datetime(2084, 5, 4, 23, 10, 30), "04.05.8423.10.30"),
        (datetime.datetime(1925, 5, 4, 23, 10, 30), "01.01.8523.10.30"),  # a date that EDF+ cannot say
        (None, "01.01.8500.00.00"),
    ],
)
def test_edf_says_of_the_beginning_what_is_known(night, tmp_path, start, header):
    pytest.importorskip("edfio")
    night.prepared.start = start
    out = tmp_path / "out"
    assert sorted(night.save(out, page=False)) == sorted(out.iterdir())
    assert read_edf_header(out / "hypnogram.edf").start == header
    assert read_hypnogram(out / "hypnogram.edf").windows(30.0, 360.0).y.tolist() == night.stages.tolist()


def test_tables(folder, night):
    table = pd.read_csv(folder / "hypnogram.csv")
    pd.testing.assert_frame_equal(table, night.hypnogram, check_dtype=False, atol=5.1e-5)
    confusion = pd.read_csv(folder / "agreement.csv", index_col=0)
    assert np.array_equal(confusion, night.agreement.confusion)
    assert pd.read_csv(folder / "least_certain.csv")["confidence"].is_monotonic_increasing


def test_bids_events(folder):
    events = pd.read_csv(folder / "events.tsv", sep="\t")
    assert events.columns.tolist() == ["onset", "duration", "trial_type", "confidence"]
    levels = json.loads((folder / "events.json").read_text())["trial_type"]["Levels"]
    assert set(events["trial_type"]) <= set(levels)


def test_night_in_short(folder, night):
    found = json.loads((folder / "night.json").read_text())
    assert found["statistics"]["TST"] == night.statistics["TST"] and found["epochs"] == 12
    assert found["channels"][0] == {
        "model": "C3",
        "recording": "EEG C3-A2",
        "how": "same electrode, with its reference",
    }
    assert found["agreement"]["accuracy"] == pytest.approx(night.agreement.scores["accuracy"], abs=1e-4)


def test_all_files_and_nothing_of_an_earlier_run(folder, night, recording, model):
    assert {path.name for path in folder.iterdir()} == set(FILES) - {"report.html", "report.png"}
    night.agreement = None
    save_night(night, folder, page=False)
    assert not (folder / "agreement.csv").exists()


def test_a_folder_that_was_left_half_emptied_does_not_look_whole(night, tmp_path):
    night.save(tmp_path / "out", page=False)
    (tmp_path / "out" / "report.png").mkdir()  # a file that cannot be removed
    with pytest.raises(OSError):
        night.save(tmp_path / "out", page=False)
    assert not (tmp_path / "out" / "night.json").exists()


class TestPage:
    def test_html_needs_no_other_file(self, night, tmp_path):
        night.name = "anna <1>"
        text = night.report(tmp_path / "deep" / "page.html").read_text(encoding="utf-8")
        assert text.count("data:image/png;base64,") == 2 and "anna &lt;1&gt;" in text
        assert not any(mark in text for mark in ("http:", "https:", "<script", "$"))
        for words in ("Sleep statistics", "total sleep time", "Least certain epochs", "Agreement", "EEG C3-A2"):
            assert words in text

    def test_without_a_reference(self, recording, model, tmp_path):
        text = eegaug.stage(recording, model).report(tmp_path / "page.html").read_text(encoding="utf-8")
        assert "Agreement" not in text and text.count("<img") == 1

    @pytest.mark.parametrize("suffix", [".png", ".pdf", ".svg"])
    def test_pictures(self, night, tmp_path, suffix):
        path = night.report(tmp_path / f"page{suffix}")
        start = {".png": b"\x89PNG", ".pdf": b"%PDF", ".svg": b"<?xml"}[suffix]
        assert path.read_bytes().startswith(start)

    def test_refuses_other_endings(self, night, tmp_path):
        with pytest.raises(ValueError, match=r"not 'page\.doc'"):
            night.report(tmp_path / "page.doc")
