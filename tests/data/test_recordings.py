import errno
import json
import os
import re
import shutil
import warnings
from pathlib import Path

import joblib
import numpy as np
import pytest

import eegaug.data.convert as convert_module
import eegaug.data.recordings as module
import eegaug.data.store as store_module
import eegaug.data.survey as survey
from eegaug.data import NightWriter, Preprocessing, atomic, cache_folder, load_nights, load_recordings
from eegaug.data.atomic import write_atomically

from .edf_files import noise, pages, sine, write_edf

STAGES = "WW1223R?W"
Y = [0, 0, 1, 2, 2, 3, 4, 0]
ONSETS = [0, 30, 60, 90, 120, 150, 180, 240]


def night(path, stages=STAGES, seed=0, duration_s=270, **options):
    """An EDF recording of two EEG channels and others, with stages in it."""
    channels = {
        "EEG Fpz-Cz": noise(duration_s, seed=seed),
        "EOG horizontal": noise(duration_s, seed=seed + 100),
        "EEG Pz-Oz": noise(duration_s, seed=seed + 200),
        "Temp rectal": (noise(duration_s, 1.0, seed), 1.0),
    }
    options = {"channels": channels, "stages": pages(stages), **options}
    return write_edf(path, **options)


def test_folder_of_recordings(tmp_path):
    for k in range(3):
        night(tmp_path / f"SC40{k}1E0-PSG.edf", seed=k, stages=())
        write_edf(tmp_path / f"SC40{k}1EC-Hypnogram.edf", stages=pages(STAGES))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # movement and unknown are in every night: nothing to warn of
        nights = load_recordings(tmp_path)
    assert nights.ch_names == ["Fpz-Cz", "Pz-Oz"] and nights.sfreq == 100 and nights.window_s == 30
    assert nights.y.tolist() == Y * 3
    assert nights.subjects.tolist() == ["SC400"] * 8 + ["SC401"] * 8 + ["SC402"] * 8
    assert nights.datasets[0].onset_s.tolist() == ONSETS
    assert [(p["recording"], p["reason"], p["n_windows"]) for p in nights.problems] == [
        (f"SC40{k}1E0-PSG", "movement or unknown", 1) for k in range(3)
    ]
    X = nights.read()
    np.testing.assert_allclose(X.mean(-1), 0, atol=1e-5)
    np.testing.assert_allclose(X.std(-1), 1, atol=1e-4)
    assert nights.preprocessing == json.loads(Preprocessing(ch_names=["Fpz-Cz", "Pz-Oz"]).model_dump_json())


def test_samples_are_those_of_the_file(tmp_path):
    a, b = sine(3, 270, amplitude_uv=40), sine(7, 270, amplitude_uv=20)
    write_edf(tmp_path / "a.edf", {"C4": b, "C3": a}, stages=pages(STAGES))
    nights = load_recordings(tmp_path, ch_names=["C3", "C4"], l_freq=None, h_freq=None, standardise=None)
    X = nights.read()
    for i, onset in enumerate(ONSETS):
        at = slice(onset * 100, onset * 100 + 3000)
        np.testing.assert_allclose(X[i], np.stack([a[at], b[at]]), atol=0.01)
    nights = load_recordings(tmp_path, ch_names=["C4", "C3"], l_freq=0.5, h_freq=5, standardise=None)
    X = nights.read([1, 4])
    np.testing.assert_allclose(X[0, 1], a[3000:6000], atol=0.3)  # inside the band
    assert np.abs(X[:, 0]).max() < 0.5  # outside


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "stage\nW\nW\nN1\nN2\nN2\nN3\nR\n?\nW"),
        ("a_hypnogram.txt", "0\n0\n1\n2\n2\n4\n5\n6\n0"),
        ("a.tsv", "onset\tduration\tstage\n0\t60\tW\n60\t30\tN1\n90\t60\tN2\n150\t30\tN3\n180\t30\tR\n240\t30\tW"),
    ],
)
def test_text_hypnograms(tmp_path, name, text):
    night(tmp_path / "a.edf", stages="2" * 9)
    (tmp_path / name).write_text(text)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        nights = load_recordings(tmp_path)
    assert nights.y.tolist() == Y  # of the file beside, not of the annotations inside
    assert nights.datasets[0].onset_s.tolist() == ONSETS


def test_bids(tmp_path):
    folder = tmp_path / "sub-07" / "ses-2" / "eeg"
    night(folder / "sub-07_ses-2_task-sleep_eeg.edf", stages=())
    rows = [f"{30 * i}\t30\tSleep stage {s}\n" for i, s in enumerate(STAGES)]
    (folder / "sub-07_ses-2_task-sleep_events.tsv").write_text("onset\tduration\ttrial_type\n" + "".join(rows))
    nights = load_recordings(tmp_path)
    assert nights.y.tolist() == Y
    assert dict(nights.datasets[0].description)["subject"] == "sub-07" and nights.datasets[0].description["night"] == 2


def test_data_sets_of_bids_whose_subjects_have_the_same_names(tmp_path):
    for folder in ("ours/sub-01", "ours/sub-02", "theirs/sub-01"):
        night(tmp_path / folder / "eeg" / f"{folder[-6:]}_task-sleep_eeg.edf", stages=STAGES)
    said = (
        "one person each, though in several folders (ours, theirs): sub-01; if these are other people, "
        "subject_pattern='(?P<subject>[^/]+/sub-[^/_]+)' tells them apart"
    )
    with pytest.warns(UserWarning, match=re.escape(said)):
        nights = load_recordings(tmp_path)
    assert sorted(set(nights.subjects)) == ["sub-01", "sub-02"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        nights = load_recordings(tmp_path, subject_pattern="(?P<subject>[^/]+/sub-[^/_]+)")
        load_recordings(tmp_path / "ours")
    assert sorted(set(nights.subjects)) == ["ours/sub-01", "ours/sub-02", "theirs/sub-01"]


def test_one_five_in_the_folder_settles_what_four_is(tmp_path):
    for name, numbers in (("a", "0\n2\n4\n4\n"), ("b", "0\n2\n4\n5\n")):
        night(tmp_path / f"{name}.edf", stages=(), duration_s=120)
        (tmp_path / f"{name}.txt").write_text(numbers)
    with pytest.warns(UserWarning, match=r"^a: its 4 was read as stage 4 \(N3\), since REM is a 5"):
        assert load_recordings(tmp_path).y.tolist() == [0, 2, 3, 3, 0, 2, 3, 4]
    (tmp_path / "b.txt").write_text("0\n2\n4\n4\n")
    with pytest.warns(UserWarning, match="stage numbers 0 to 4 were read as"):
        assert load_recordings(tmp_path).y.tolist() == [0, 2, 4, 4] * 2
    assert load_recordings(tmp_path, stage_numbers="r&k").y.tolist() == [0, 2, 3, 3] * 2


def test_stages_are_not_read_again_where_the_files_are_as_they_were(tmp_path, monkeypatch):
    for name, numbers in (("a", "0\n2\n4\n4\n"), ("b", "0\n2\n4\n5\n")):
        night(tmp_path / f"{name}.edf", stages=(), duration_s=120)
        (tmp_path / f"{name}.txt").write_text(numbers)
    night(tmp_path / "c.edf", stages="W2R", duration_s=90)  # in the recording itself
    read = []
    for name in ("four_is_n3", "four_is_open"):
        asked = getattr(survey, name)
        monkeypatch.setattr(survey, name, lambda path, asked=asked: read.append(path.name) or asked(path))
    with pytest.warns(UserWarning, match="^a: its 4 was read as stage 4"):
        first = load_recordings(tmp_path)
    assert sorted(read) == ["a.txt", "a.txt", "b.txt", "b.txt", "c.edf"]
    del read[:]
    with pytest.warns(UserWarning, match="^a: its 4 was read as stage 4"):
        again = load_recordings(tmp_path)
    assert read == []
    assert again.y.tolist() == first.y.tolist() == [0, 2, 3, 3, 0, 2, 3, 4, 0, 2, 4]
    assert again.problems == first.problems
    assert load_recordings(tmp_path, labels="ignore").y.tolist() == [-1] * 11 and read == []


def test_each_file_of_a_store_is_read_once_to_open_it(tmp_path, monkeypatch):
    for name in "ab":
        night(tmp_path / f"{name}.edf", stages="W2R", duration_s=90)
    load_recordings(tmp_path)
    read = []
    known = atomic.read_json
    for place in (atomic, module, store_module):
        monkeypatch.setattr(place, "read_json", lambda path: read.append(path.name[0]) or known(path))
    assert load_recordings(tmp_path).y.tolist() == [0, 2, 4] * 2
    assert sorted(read) == ["a", "b", "s"]


def test_a_store_of_nights_whose_stages_were_read_otherwise_is_made_anew(tmp_path):
    night(tmp_path / "in" / "a.edf", stages=(), duration_s=120)
    (tmp_path / "in" / "a.txt").write_text("0\n2\n3\n4\n")
    for numbers, expected in (("r&k", [0, 2, 3, 3]), ("aasm", [0, 2, 3, 4]), ("r&k", [0, 2, 3, 3])):
        nights = load_recordings(tmp_path / "in", store=tmp_path / "store", stage_numbers=numbers)
        assert nights.y.tolist() == expected


def save_npz(path, seed=0, **arrays):
    X = np.random.default_rng(seed).normal(0, 500, (9, 2, 3000)).astype("int16")
    base = {"X": X, "scale": np.array([0.1, 0.2], "float32"), "ch_names": ["Fpz-Cz", "Pz-Oz"], "sfreq": np.float32(100)}
    more = {"y": np.array([0, 0, 1, 2, 2, 3, 4, -1, 0], "int8"), "subject": "anna", "night": 2}
    np.savez(path, **{k: v for k, v in {**base, **more, **arrays}.items() if v is not None})
    return X * base["scale"][:, None]


def test_npz_nights(tmp_path):
    X = save_npz(tmp_path / "x.npz")
    nights = load_recordings(tmp_path, ch_names=["Pz-Oz", "Fpz-Cz"], l_freq=None, h_freq=None, standardise=None)
    assert nights.y.tolist() == Y and set(nights.subjects) == {"anna"} and nights.datasets[0].description["night"] == 2
    np.testing.assert_allclose(nights.read(), X[[0, 1, 2, 3, 4, 5, 6, 8]][:, ::-1], rtol=1e-6)
    # Filtered as one stretch of signal: no edge between epochs that follow one another.
    one = load_recordings(tmp_path, standardise=None).read()
    parts = tmp_path / "parts"
    parts.mkdir()
    save_npz(parts / "x.npz", epoch_index=np.arange(9) * 2)
    apart = load_recordings(parts, standardise=None, wake_margin_min=None).read()
    middle = slice(1200, 1800)
    np.testing.assert_allclose(one[3, :, middle], apart[3, :, middle], atol=0.5)
    assert np.abs(one[3, :, :100] - apart[3, :, :100]).max() > 5


def test_chosen_epochs_are_not_trimmed(tmp_path):
    save_npz(tmp_path / "x.npz", epoch_index=[0, 5, 900, 910, 1000, 1200, 1500, 1600, 2600])
    assert load_recordings(tmp_path).y.tolist() == Y
    save_npz(tmp_path / "x.npz", y=[0, 0, 0, 0, 2, 0, 0, 0, 0])
    nights = load_recordings(tmp_path, wake_margin_min=1)
    assert nights.y.tolist() == [0, 0, 2, 0, 0] and nights.description["n_wake_trimmed"].tolist() == [4]


def test_derivations_of_npz_nights_are_differences(tmp_path):
    X = save_npz(tmp_path / "x.npz", ch_names=["C3", "M2"])
    nights = load_recordings(tmp_path, ch_names=["C3-M2"], l_freq=None, h_freq=None, standardise=None)
    assert nights.ch_names == ["C3-M2"]
    np.testing.assert_allclose(nights.read()[:, 0], (X[:, 0] - X[:, 1])[[0, 1, 2, 3, 4, 5, 6, 8]], atol=1e-3)


def test_npz_mixes_with_edf(tmp_path):
    save_npz(tmp_path / "x.npz")
    night(tmp_path / "y.edf")
    nights = load_recordings(tmp_path)
    assert nights.ch_names == ["Fpz-Cz", "Pz-Oz"] and nights.y.tolist() == Y * 2


def test_bytes_of_an_npz_night_do_not_tell_what_numbers_in_text_mean(tmp_path):
    write_edf(tmp_path / "a.edf", {"C3": noise(150)})
    (tmp_path / "a.csv").write_text("0\n1\n2\n3\n4\n")
    X = np.frombuffer(b"\n5\n " * 6000, dtype="<i2").reshape(4, 1, 3000)  # what reads as lines of a five
    np.savez(tmp_path / "b.npz", X=X, y=[0, 1, 2, 4], ch_names=["C3"], sfreq=100)
    with pytest.warns(UserWarning, match="read as W, N1, N2, N3, REM"):
        nights = load_recordings(tmp_path, l_freq=None, h_freq=None)
    assert nights.select(recordings=["a"]).y.tolist() == [0, 1, 2, 3, 4]


def test_bad_files_are_named_skipped_and_counted(tmp_path):
    night(tmp_path / "good.edf")
    night(tmp_path / "cut.edf")
    os.truncate(tmp_path / "cut.edf", 30_000)
    (tmp_path / "noise.edf").write_bytes(b"nothing like it" * 100)
    night(tmp_path / "unscored.edf", stages=())
    night(tmp_path / "twice.edf")
    (tmp_path / "twice.csv").write_text("W\n" * 9)
    (tmp_path / "twice.txt").write_text("W\n" * 9)
    night(tmp_path / "spam.edf", stages=())
    (tmp_path / "spam.csv").write_text("spam\nham\n")
    flat = {"EEG Fpz-Cz": np.full(27_000, 5.0), "EEG Pz-Oz": noise(270)}
    write_edf(tmp_path / "flat.edf", flat, stages=pages(STAGES))
    write_edf(tmp_path / "other.edf", {"EEG C3": noise(270)}, stages=pages(STAGES))
    write_edf(tmp_path / "slow.edf", {"Fpz-Cz": noise(270, 50), "Pz-Oz": noise(270, 50)}, 50, pages(STAGES))
    with open(night(tmp_path / "none.edf"), "r+b") as f:
        f.seek(256 + 5 * 216)
        f.write(b"0       200     ")  # samples of the first two channels
    save_npz(tmp_path / "short.npz", X=np.ones((9, 2, 2000), "int16"))
    save_npz(tmp_path / "nan.npz", X=np.where(np.arange(54_000).reshape(9, 2, 3000) == 20_000, np.nan, 1.0))
    with pytest.warns(UserWarning, match=r"11 of 12 recordings were skipped:\n  cut: truncated EDF"):
        nights = load_recordings(tmp_path, ch_names=["Fpz-Cz", "Pz-Oz"])
    assert nights.y.tolist() == Y and {d.name for d in nights.datasets} == {"good"}
    reasons = {p["recording"]: p["reason"] for p in nights.problems if p["kind"] == "skipped"}
    for name, reason in {
        "cut": "of 270 data records are there",
        "noise": "no EDF or BDF file",
        "unscored": "no hypnogram beside it",
        "twice": "several hypnograms could be its own: twice.csv, twice.txt",
        "spam": "hypnogram spam.csv: row 1 is no sleep stage: 'ham'",
        "flat": "channel 'Fpz-Cz' is flat",
        "other": "channels 'Fpz-Cz', 'Pz-Oz' are missing; there are 'EEG C3'",
        "slow": "sampled at 50 Hz",
        "none": "channel 'EEG Fpz-Cz' has no samples",
        "short": "its epochs are 20 s, windows are 30 s",
        "nan": "Recording 'nan', window 3, channel 'Fpz-Cz': 1 of 6000 samples are NaN",
    }.items():
        assert reason in reasons.pop(name), name
    assert not reasons


def test_whatever_a_reader_stumbles_over_the_other_nights_go_on(tmp_path, monkeypatch):
    night(tmp_path / "a.edf")
    night(tmp_path / "b.edf")
    error = Exception("MNE raises such, too")

    def stumbling(found, *rest):
        if found.name == "a":
            raise error
        return convert_module.convert(found, *rest)

    monkeypatch.setattr(module, "convert", stumbling)
    with pytest.warns(UserWarning, match="a: Exception: MNE raises such, too"):
        assert load_recordings(tmp_path).y.tolist() == Y
    (tmp_path / "a.edf").touch()
    error = MemoryError()  # not for ever
    with pytest.warns(UserWarning, match="a: MemoryError: no message"):
        load_recordings(tmp_path)
    monkeypatch.setattr(module, "convert", convert_module.convert)
    assert load_recordings(tmp_path).y.tolist() == Y + Y


def test_if_all_are_bad_every_reason_is_listed(tmp_path):
    night(tmp_path / "a.edf", stages=())
    night(tmp_path / "b.edf")
    os.truncate(tmp_path / "b.edf", 30_000)
    with pytest.raises(
        ValueError, match=r"(?s)None of the recordings.*  b: truncated.*  a: no hypnogram.*labels='optional'"
    ):
        load_recordings(tmp_path)


def test_recordings_without_labels(tmp_path):
    night(tmp_path / "a.edf", stages=())
    night(tmp_path / "b.edf")
    nights = load_recordings(tmp_path, labels="optional")
    assert nights.y.tolist() == [-1] * 9 + Y
    assert "without stage 9" in repr(nights)
    assert load_recordings(tmp_path, labels="ignore").y.tolist() == [-1] * 18
    save_npz(tmp_path / "c.npz", y=None)
    assert load_recordings(tmp_path / "c.npz", labels="optional").y.tolist() == [-1] * 9
    with pytest.raises(ValueError, match="the array y is missing"):
        load_recordings(tmp_path / "c.npz")
    with pytest.raises(ValueError, match="labels='maybe'"):
        load_recordings(tmp_path, labels="maybe")


def test_mismatches_are_cut_and_told(tmp_path):
    night(tmp_path / "long.edf", stages=STAGES + "22")
    night(tmp_path / "short.edf", stages=STAGES[:6])
    with pytest.warns(UserWarning) as told:
        nights = load_recordings(tmp_path)
    assert nights.y.tolist() == Y + Y[:6]
    text = str(told[0].message)
    assert "long: scored outside the recording (2 windows)" in text
    assert "short: the hypnogram does not cover the whole recording (3 windows)" in text


def test_short_pages_that_cannot_be_lengthened_are_told(tmp_path):
    night(tmp_path / "a.edf", stages=(), duration_s=180)
    write_edf(tmp_path / "a-Hypnogram.edf", stages=pages("WW1223R2W", page_s=20))
    with pytest.warns(UserWarning, match=r"^a: no signal beside short pages at the recording's ends \(2 windows\)$"):
        assert load_recordings(tmp_path, epoch_20s="reepoch").y.tolist() == [0, 1, 2, 2, 3, 4, 2]


def test_a_minute_that_nobody_scored_is_counted_and_not_warned_of(tmp_path):
    night(tmp_path / "a.edf", stages="W" + "2" * 100, duration_s=101 * 30 + 50)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        nights = load_recordings(tmp_path)
    assert len(nights) == 101
    assert [(p["reason"], p["n_windows"]) for p in nights.problems] == [("not scored", 1)]


def test_wake_is_trimmed_and_the_margin_a_parameter(tmp_path):
    night(tmp_path / "a.edf", stages="WWWW22WWW")
    nights = load_recordings(tmp_path, wake_margin_min=1)
    assert nights.datasets[0].onset_s.tolist() == [60, 90, 120, 150, 180, 210]
    assert nights.description["n_wake_trimmed"].tolist() == [3]
    whole = load_recordings(tmp_path, wake_margin_min=None)
    np.testing.assert_allclose(nights.read(), whole.read()[2:8], atol=1e-2)  # the filter saw the same signal


@pytest.mark.parametrize("l_freq", [0.3, 0.04])
def test_windows_do_not_depend_on_how_much_around_them_is_kept(tmp_path, l_freq):
    drift = np.cumsum(noise(1800, sd_uv=0.5))
    write_edf(tmp_path / "a.edf", {"C3": drift - drift.mean()}, stages=pages("W" * 30 + "2" * 10 + "W" * 20))
    options = {"standardise": None, "l_freq": l_freq}
    whole = load_recordings(tmp_path, wake_margin_min=None, **options).read()
    np.testing.assert_allclose(load_recordings(tmp_path, wake_margin_min=1, **options).read(), whole[28:42], atol=1e-4)


def test_channels_that_are_in_no_recording_are_refused(tmp_path):
    night(tmp_path / "a.edf")
    with pytest.raises(
        ValueError, match=r"'C3' is missing.*there are \['EEG Fpz-Cz', 'EEG Pz-Oz', 'EOG horizontal', 'Temp"
    ):
        load_recordings(tmp_path, ch_names=["C3", "Fpz-Cz"])
    write_edf(tmp_path / "a.edf", {"Resp": noise(270), "SpO2": noise(270)}, stages=pages(STAGES))
    with pytest.raises(ValueError, match=r"No EEG channel was recognised by name: pass ch_names"):
        load_recordings(tmp_path)
    with pytest.raises(TypeError, match="ch_names='C3' is one string"):
        load_recordings(tmp_path, ch_names="C3")
    with pytest.raises(TypeError, match="Unknown option sfreqs"):
        load_recordings(tmp_path, sfreqs=3)
    with pytest.raises(ValueError, match=r"^h_freq=60 Hz cannot be kept"):
        load_recordings(tmp_path, h_freq=60)


def test_channels_whose_unit_is_no_voltage_are_named_with_it(tmp_path):
    write_edf(tmp_path / "a.edf", {"C3": noise(270), "SpO2": noise(270)}, stages=pages(STAGES), unit="counts")
    told = "'C3' in 'counts' cannot be read: the unit is no voltage"
    for names in (["C3"], None):
        with pytest.raises(ValueError, match=told):
            load_recordings(tmp_path, ch_names=names)


def test_channels_by_default_are_those_of_most_recordings(tmp_path):
    write_edf(tmp_path / "a.edf", {"C3-A2": noise(270)}, stages=pages(STAGES))
    for name in "bc":
        night(tmp_path / f"{name}.edf")
    with pytest.warns(
        UserWarning, match=r"1 of 3 recordings were skipped:\n  a: channels 'Fpz-Cz', 'Pz-Oz' are missing"
    ):
        assert load_recordings(tmp_path).ch_names == ["Fpz-Cz", "Pz-Oz"]


def test_difference_of_two_channels(tmp_path):
    a, m = sine(5, 270), sine(2, 270, amplitude_uv=30)
    write_edf(tmp_path / "a.edf", {"C3": a, "M2": m}, stages=pages(STAGES))
    nights = load_recordings(tmp_path, ch_names=["C3-A2"], l_freq=None, h_freq=None, standardise=None)
    np.testing.assert_allclose(nights.read([0])[0, 0], (a - m)[:3000], atol=0.01)


def test_second_call_opens_what_the_first_one_made(tmp_path, monkeypatch, cache):
    for k in range(2):
        night(tmp_path / f"n{k}.edf", seed=k)
    first = load_recordings(tmp_path)
    assert cache_folder() == cache and first.datasets[0].path.startswith(str(cache))
    seen = []
    convert = module.convert
    monkeypatch.setattr(module, "convert", lambda one, *args: seen.append(one.name) or convert(one, *args))
    again = load_recordings(tmp_path)
    np.testing.assert_array_equal(again.read(), first.read())
    assert seen == [] and again.problems == first.problems
    night(tmp_path / "n2.edf", seed=2)
    assert len(load_recordings(tmp_path)) == 24 and seen == ["n2"]
    night(tmp_path / "n0.edf", seed=7, stages="WW1223R2W")  # a file that changes is read again
    assert len(load_recordings(tmp_path)) == 25 and seen == ["n2", "n0"]
    (tmp_path / "n1.edf").unlink()
    assert len(load_recordings(tmp_path)) == 17 and len(seen) == 2
    load_recordings(tmp_path, l_freq=0.5)
    assert len(seen) == 4  # another preprocessing, another store


def test_a_folder_that_grows_keeps_its_store(tmp_path, monkeypatch):
    seen, convert = [], module.convert
    monkeypatch.setattr(module, "convert", lambda one, *args: seen.append(one.name) or convert(one, *args))
    for name in ("a/n0", "a/n1", "b/n2"):
        night(tmp_path / "in" / f"{name}.edf", seed=len(seen))
        load_recordings(tmp_path / "in")
    monkeypatch.chdir(tmp_path)
    assert len(load_recordings("in")) == 24 and seen == ["n0", "n1", "n2"]


def test_damaged_cache_is_made_again(tmp_path):
    night(tmp_path / "a.edf")
    first = load_recordings(tmp_path)
    want = first.read()
    os.truncate(first.datasets[0].path, 10)
    np.testing.assert_array_equal(load_recordings(tmp_path).read(), want)
    with open(os.path.join(os.path.dirname(first.datasets[0].path), "store.json"), "w") as f:
        f.write("{")
    np.testing.assert_array_equal(load_recordings(tmp_path).read(), want)


def test_store_of_one_s_own(tmp_path):
    night(tmp_path / "in" / "a.edf")
    nights = load_recordings(tmp_path / "in", store=tmp_path / "store")
    assert nights.datasets[0].path.startswith(str(tmp_path / "store"))
    with pytest.raises(ValueError, match=r"was made otherwise: .*sfreq was 100.0, now 128.0"):
        load_recordings(tmp_path / "in", store=tmp_path / "store", sfreq=128)


@pytest.mark.parametrize("labels", ["required", "optional"])
def test_hypnogram_that_could_not_be_opened_is_tried_again(tmp_path, monkeypatch, labels):
    for k in range(2):
        night(tmp_path / f"n{k}.edf", stages=(), seed=k)
        (tmp_path / f"n{k}.csv").write_text("\n".join(STAGES))

    def locked(path, **options):
        if "n1" in str(path):
            raise PermissionError(13, "Permission denied", str(path))
        return read(path, **options)

    read = convert_module.read_hypnogram
    monkeypatch.setattr(convert_module, "read_hypnogram", locked)
    with pytest.warns(UserWarning, match=r"n1: PermissionError: .*Permission denied: .*n1\.csv"):
        assert load_recordings(tmp_path, labels=labels).y.tolist() == Y
    monkeypatch.setattr(convert_module, "read_hypnogram", read)
    seen, convert = [], module.convert
    monkeypatch.setattr(module, "convert", lambda one, *args: seen.append(one.name) or convert(one, *args))
    nights = load_recordings(tmp_path, labels=labels)
    assert nights.y.tolist() == Y * 2 and seen == ["n1"]
    assert "skipped" not in {q["kind"] for q in nights.problems}


def test_killed_conversion_goes_on(tmp_path, monkeypatch):
    for k in range(3):
        night(tmp_path / f"n{k}.edf", seed=k)
    write = NightWriter.write

    def dying(self, *args, recording, **options):
        if recording == "n2":
            raise KeyboardInterrupt
        return write(self, *args, recording=recording, **options)

    monkeypatch.setattr(NightWriter, "write", dying)
    with pytest.raises(KeyboardInterrupt):
        load_recordings(tmp_path)
    monkeypatch.setattr(NightWriter, "write", write)
    seen = []
    convert = module.convert
    monkeypatch.setattr(module, "convert", lambda one, *args: seen.append(one.name) or convert(one, *args))
    assert len(load_recordings(tmp_path)) == 24 and seen == ["n2"]


def test_options_out_of_range_are_named_with_their_values(tmp_path):
    with pytest.raises(ValueError, match=r"^sfreq is -1: input should be greater than 0; .*window_s is 'x': input "):
        load_recordings(tmp_path, sfreq=-1, window_s="x")


def test_store_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    night(tmp_path / "a.edf")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("EEGAUG_CACHE", str(tmp_path / "file"))
    with pytest.raises(OSError, match=r"cannot write the store .*pass store= or set EEGAUG_CACHE to another folder$"):
        load_recordings(tmp_path)


def test_a_store_whose_folder_went_away_is_no_missing_recording(tmp_path, monkeypatch):
    def gone(*args):
        raise FileNotFoundError(2, "No such file or directory", "store.json")

    night(tmp_path / "a.edf")
    monkeypatch.setattr(module, "NightWriter", gone)
    with pytest.raises(OSError, match=r"cannot write the store .*\(No such file or directory\): .* to another folder$"):
        load_nights(tmp_path)


def test_cache_folder(monkeypatch, tmp_path):
    monkeypatch.delenv("EEGAUG_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "eegaug"
    monkeypatch.setenv("EEGAUG_CACHE", "~/cache")
    assert cache_folder() == Path.home() / "cache"


def test_without_a_home_folder_a_store_has_to_be_named(monkeypatch, tmp_path):
    def nowhere():
        raise RuntimeError("Could not determine home directory.")

    night(tmp_path / "in" / "a.edf")
    for name in ("EEGAUG_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", nowhere)
    with pytest.raises(OSError, match=r"no home folder .* pass store= or set EEGAUG_CACHE$"):
        load_recordings(tmp_path / "in")
    assert len(load_recordings(tmp_path / "in", store=tmp_path / "store")) > 0


def test_jobs_side_by_side_give_the_same(tmp_path):
    for k in range(3):
        night(tmp_path / f"n{k}.edf", seed=k)
    one = load_recordings(tmp_path, store=tmp_path / "one")
    with joblib.parallel_config(backend="threading"):  # processes take seconds to start
        two = load_recordings(tmp_path, store=tmp_path / "two", n_jobs=2)
    np.testing.assert_array_equal(one.read(), two.read())
    assert [d.name for d in two.datasets] == ["n0", "n1", "n2"]


def test_progress_is_shown_when_asked_for(tmp_path, capsys):
    night(tmp_path / "a.edf")
    load_recordings(tmp_path, store=tmp_path / "one")
    assert capsys.readouterr().err == ""
    load_recordings(tmp_path, store=tmp_path / "two", verbose=True)
    told = capsys.readouterr().err  # not a terminal: lines
    assert "Recordings: all 1 after" in told and "\r" not in told


# ---- real recordings ----


def test_sleep_edf_pair_whose_hypnogram_outlasts_it(data_folder):
    with pytest.warns(UserWarning, match=r"outside the recording \(2640 windows\)"):
        nights = load_recordings(data_folder / "edf" / "SC4001E0-PSG_first300s.edf", standardise=None)
    assert nights.y.tolist() == [0] * 10 and set(nights.subjects) == {"SC400"}
    assert nights.ch_names == ["Fpz-Cz", "Pz-Oz"]
    assert 5 < nights.read().std() < 60  # µV
    assert any("no sleep in it" in p["reason"] for p in nights.problems)


def test_labelled_83_minutes(data_folder):
    nights = load_recordings(data_folder / "recordings" / "pydynamo_segment.npz")
    assert np.bincount(nights.y).tolist() == [2, 7, 95, 37, 26]
    X = nights.read()
    assert X.shape == (167, 1, 3000) and np.isfinite(X).all()


def test_unlabelled_recording_at_300_hz(data_folder):
    path = data_folder / "edf" / "mednick_example1_sleep_rec.edf"
    with pytest.raises(ValueError, match="no hypnogram"):
        load_recordings(path)
    nights = load_recordings(path, labels="optional", ch_names=["C3", "C4"])
    assert nights.y.tolist() == [-1] * 40 and nights.ch_names == ["C3", "C4"]
    assert load_recordings(path, labels="optional").ch_names == ["C3-A2", "C4-A1"]
    assert load_recordings(path, labels="optional", sfreq=128, ch_names=["C4-A1"]).read([3]).shape == (1, 1, 3840)


def test_clinical_recording_of_89_signals(data_folder):
    path = data_folder / "edf" / "rsleep_subject1_2min.edf"
    nights = load_recordings(path, labels="ignore", standardise=None)
    assert nights.ch_names == ["C3-M2", "C4-M1", "F3-M2", "F4-M1", "O1-M2", "O2-M1"]
    assert len(nights) == 4 and 5 < nights.read().std() < 100
    six = load_recordings(path, labels="ignore", ch_names=["C3", "C4", "F3", "F4", "O1", "O2"], sfreq=128)
    assert six.read().shape == (4, 6, 3840)


def test_folder_with_everything_in_it(data_folder, tmp_path):
    shutil.copytree(data_folder / "recordings", tmp_path / "r")
    with pytest.warns(UserWarning, match="4 of 7 recordings were skipped"):
        nights = load_recordings(tmp_path / "r")
    assert sorted(nights.y.tolist()) == [0, 0, 0, 0, 1, 1, 2, 3, 4]


def test_a_five_that_is_no_stage_does_not_make_four_n3(tmp_path):
    write_edf(tmp_path / "a.edf", {"C3": noise(120)})
    (tmp_path / "a.csv").write_text("onset,duration,stage,quality\n0,30,0,1\n30,30,2,5\n60,30,4,4\n90,30,4,3\n")
    with pytest.warns(UserWarning, match="read as W, N1, N2, N3, REM"):
        assert load_recordings(tmp_path, standardise=None).y.tolist() == [0, 2, 4, 4]
    write_edf(tmp_path / "b.edf", {"C3": noise(120)})
    (tmp_path / "b.csv").write_text("onset,stage,remark\n0,0,a\n30,2,b\n60,5,c\n90,4,d\n")
    assert load_recordings(tmp_path, standardise=None).y.tolist() == [0, 2, 3, 3, 0, 2, 4, 3]


def test_other_hypnograms_and_other_lists_have_stores_of_their_own(tmp_path):
    for name in "abc":
        write_edf(tmp_path / "d" / f"{name}.edf", {"C3": noise(60)})
        (tmp_path / "d" / f"{name}.csv").write_text("W\nN1\n")
    (tmp_path / "B").mkdir()
    (tmp_path / "B" / "a.csv").write_text("N2\nN3\n")
    first = load_recordings(tmp_path / "d", window_s=30)
    with_b = load_recordings(tmp_path / "d", hypnograms=tmp_path / "B")
    assert first.y.tolist() == [0, 1] * 3 and with_b.y.tolist() == [2, 3, 0, 1, 0, 1]
    assert first.read().shape == with_b.read().shape  # neither has taken the other's place
    lists = [load_recordings([tmp_path / "d" / f"{a}.edf", tmp_path / "d" / f"{b}.edf"]) for a, b in ("ab", "ac")]
    assert [sorted(set(nights.subjects)) for nights in lists] == [["a", "b"], ["a", "c"]]
    assert lists[0].read().shape == lists[1].read().shape


def test_scorings_of_two_people_that_were_saved_at_once_are_told_apart(tmp_path):
    write_edf(tmp_path / "in" / "a.edf", {"C3": noise(300)})
    for scorer, stages in (("one", "WW12233RRW"), ("two", "WW11223RRW")):
        (tmp_path / scorer).mkdir()
        path = tmp_path / scorer / "a.txt"
        path.write_text("\n".join(stages))
        os.utime(path, (1e9, 1e9))
        nights = load_recordings(tmp_path / "in", hypnograms=tmp_path / scorer, store=tmp_path / "store")
        assert nights.y.tolist() == ["W123R".index(stage) for stage in stages]


def test_nights_of_one_subject_that_are_not_known_as_such_are_said(tmp_path):
    for name in ("p1/p1_night1-PSG", "p1/p1_night2-PSG", "p2/p2_night1-PSG", "rec_1", "rec_2"):
        night(tmp_path / f"{name}.edf")
    with pytest.warns(
        UserWarning, match=r"a subject of its own \(p1_night1-PSG, p1_night2-PSG\); pass subject_pattern"
    ):
        assert len(set(load_recordings(tmp_path).subjects)) == 5
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        told = load_recordings(tmp_path, subject_pattern=r"(?P<subject>p\d|rec_\d)(_night(?P<night>\d))?")
    assert sorted(set(told.subjects)) == ["p1", "p2", "rec_1", "rec_2"]


def test_subjects_told_by_folders_are_said(tmp_path):
    for name in ("s1/n1", "s1/n2", "s2/n1"):
        write_edf(tmp_path / f"{name}.edf", {"C3": noise(60)})
        (tmp_path / f"{name}.csv").write_text("W\nN1\n")
    with pytest.warns(UserWarning, match=r"subjects were told by folders and file names \(s1, s2\)"):
        assert sorted(set(load_recordings(tmp_path).subjects)) == ["s1", "s2"]


@pytest.mark.parametrize("content", ["", "{}", "[]"])
def test_a_damaged_store_in_the_cache_is_made_again(tmp_path, content):
    write_edf(tmp_path / "a.edf", {"C3": noise(60)})
    (tmp_path / "a.csv").write_text("W\nN1\n")
    whole = load_recordings(tmp_path / "a.edf").read()
    for entry in cache_folder().rglob("*.json"):
        entry.write_text(content)
    assert np.array_equal(load_recordings(tmp_path / "a.edf").read(), whole)


def test_of_a_damaged_store_in_the_cache_whole_nights_are_kept(tmp_path):
    for k in range(3):
        night(tmp_path / f"n{k}.edf", seed=k)
    first = load_recordings(tmp_path)
    whole, signals = first.read(), [night.path for night in first.datasets]
    before = [os.stat(signal).st_mtime_ns for signal in signals]
    (entry,) = cache_folder().rglob("n1-*.json")
    entry.write_text("{")
    assert np.array_equal(load_recordings(tmp_path).read(), whole)
    after = [os.stat(signal).st_mtime_ns for signal in signals]
    assert [a == b for a, b in zip(after, before, strict=True)] == [True, False, True]


def test_a_store_on_a_full_disk_is_named(tmp_path, monkeypatch):
    def fsync(number):
        raise OSError(errno.ENOSPC, "No space left on device")  # of which file, the system does not say

    night(tmp_path / "a.edf")
    with monkeypatch.context() as full:
        full.setattr("os.fsync", fsync)
        with pytest.raises(OSError, match=r"cannot write the store .* \(No space left on device\): pass store="):
            load_recordings(tmp_path)
        with pytest.raises(OSError, match=r"No space left on device: '.*/summary.csv'"):
            write_atomically(tmp_path / "summary.csv", b"")
    assert [path.name for path in tmp_path.iterdir()] == ["a.edf"]
    assert len(load_recordings(tmp_path)) == 8


def test_a_store_that_cannot_be_opened_now_is_not_removed(tmp_path, monkeypatch):
    night(tmp_path / "a.edf")
    (signal,) = [night.path for night in load_recordings(tmp_path).datasets]
    before = os.stat(signal).st_mtime_ns

    def read_text(path, **options):
        raise PermissionError(13, "Permission denied", str(path))

    with monkeypatch.context() as locked:
        locked.setattr("pathlib.Path.read_text", read_text)
        with pytest.raises(PermissionError, match=r"Permission denied: .*\.json"):
            load_recordings(tmp_path)
    assert os.stat(signal).st_mtime_ns == before


def test_of_many_different_notes_ten_are_told_what_is_of_most_recordings_first(tmp_path):
    for k in range(14):
        night(tmp_path / f"a{k:02d}.edf", stages=(), duration_s=120)
        note = f"Paused {k}" if k < 12 else "Paused again"
        (tmp_path / f"a{k:02d}.csv").write_text(f"onset,duration,stage\n0,60,W\n60,30,{note}\n90,30,N2\n")
    with pytest.warns(UserWarning) as told:
        nights = load_recordings(tmp_path)
    lines = str(told[0].message).splitlines()
    assert lines[0].startswith(
        "a00, a01, a02 and 11 more: the hypnogram does not cover the whole recording (14 windows)"
    )
    assert lines[1] == "a12, a13: labels that name no stage were left out: 'Paused again'"
    assert lines[2] == "a00: labels that name no stage were left out: 'Paused 0'"
    assert len(lines) == 11 and lines[-1] == "and 4 more notes, see Nights.problems"
    assert len(nights.problems) == 28


def test_several_hypnograms_are_no_matter_where_labels_are_not_needed(tmp_path):
    night(tmp_path / "a.edf", stages=(), duration_s=120)
    for name in ("a.csv", "a.txt"):
        (tmp_path / name).write_text("W\nN1\nN2\nR\n")
    several = "several hypnograms could be its own: a.csv, a.txt"
    with pytest.raises(ValueError, match=several):
        load_recordings(tmp_path)
    with pytest.warns(UserWarning, match=f"a: read without labels: {several}"):
        assert load_recordings(tmp_path, labels="optional").y.tolist() == [-1] * 4
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load_recordings(tmp_path, labels="ignore").y.tolist() == [-1] * 4


def test_channels_that_are_called_otherwise_in_the_files(tmp_path):
    a, b = noise(60, seed=1), noise(60, seed=2)
    write_edf(tmp_path / "a.edf", {"EEG": a, "EEG(sec)": b}, stages=pages("W2"))
    write_edf(tmp_path / "b.edf", {"EEG": a, "EEG 2": b, "ECG": a}, stages=pages("W2"))
    write_edf(tmp_path / "c.edf", {"C3": b, "A2": 0 * b + 1, "C4-A1": a}, stages=pages("W2"))
    called = {"C4-A1": "EEG", "C3-A2": ["spam", "EEG(sec)"]}
    plain = {"l_freq": None, "h_freq": None, "standardise": None}
    nights = load_recordings(tmp_path, channels=called, **plain)
    assert nights.ch_names == ["C4-A1", "C3-A2"] and len(nights.datasets) == 3
    for one, offset in zip(nights.datasets, (0, 0, 1), strict=True):
        np.testing.assert_allclose(one.read([1])[0], np.stack([a, b - offset])[:, 3000:], atol=0.02)
    swapped = load_recordings(tmp_path, ch_names=["C3-A2", "C4-A1"], channels=called, **plain)
    np.testing.assert_array_equal(swapped.read(), nights.read()[:, ::-1])
    other = load_recordings(tmp_path, ch_names=["C4-A1"], channels={"C4-A1": "EEG(sec)"}, **plain)
    np.testing.assert_array_equal(other.datasets[0].read()[:, 0], nights.datasets[0].read()[:, 1])
    np.testing.assert_array_equal(other.datasets[2].read()[:, 0], nights.datasets[2].read()[:, 0])


def test_names_in_files_that_make_no_sense_are_refused(tmp_path):
    write_edf(tmp_path / "a.edf", {"EEG": noise(60)}, stages=pages("W2"))
    with pytest.raises(ValueError, match="channel 'EEG 7' or 'C4' is missing; there are 'EEG'"):
        load_recordings(tmp_path, channels={"C4": "EEG 7"})
    with pytest.raises(ValueError, match=r"channels says what 'C3' is called, which is none of ch_names=\['C4'\]"):
        load_recordings(tmp_path, ch_names=["C4"], channels={"C3": "EEG"})
    with pytest.raises(TypeError, match="has to say what each is called in the files; a list of them is ch_names"):
        load_recordings(tmp_path, channels=["EEG"])
    with pytest.raises(TypeError, match=r"channels says \[1\] of 'C4': names are text"):
        load_recordings(tmp_path, channels={"C4": [1]})
