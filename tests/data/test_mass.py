"""MASS in the layout that its keepers hand out: names, references, a rate that is not quite 256 Hz, late first page."""

import numpy as np
import pytest

from eegaug.data import load_mass

from .edf_files import pages, sine, write_edf

RECORD_S = 0.999994  # 256 samples in a little less than a second: the header's rate is 256.0015 Hz
RATE = 256 / RECORD_S
CHANNELS = {"C3": 4, "C4": 5, "F3": 6, "F4": 7, "O1": 8, "O2": 9}  # each its own sine, in Hz
STAGES = "WW12234R?W"
Y = [0, 0, 1, 2, 2, 3, 3, 4, 0]
START_S = 7.684


def signals(duration_s=320, reference="CLE"):
    n = round(duration_s / RECORD_S) * RECORD_S
    out = {"EOG Left Horiz": sine(1, n, RATE)}
    # In another order than they are asked for.
    out |= {f"EEG {c}-{reference}": sine(CHANNELS[c], n, RATE, 30) for c in ("O2", "F4", "C3", "O1", "F3", "C4")}
    return out | {"EEG A2-CLE": sine(2, n, RATE, 10), "EMG Chin1": sine(11, n, RATE)}


def night(folder, name, base="Base", reference="CLE", labels=STAGES, page_s=30.0, duration_s=320):
    write_edf(folder / f"{name} PSG.edf", signals(duration_s, reference), RATE, record_s=RECORD_S)
    return write_edf(folder / f"{name} {base}.edf", stages=pages(labels, page_s, START_S))


def test_native_layout(tmp_path):
    night(tmp_path / "SS3", "01-03-0001")
    night(tmp_path / "SS3", "01-03-0002", base="Annotations", reference="LER")
    write_edf(tmp_path / "SS3" / "01-03-0001 Spindles_E1.edf", stages=[(40, 1, "spindle")])
    nights = load_mass(tmp_path, standardise=None)
    assert nights.ch_names == list(CHANNELS) and nights.sfreq == 128 and nights.n_times == 3840
    assert nights.y.tolist() == Y * 2
    assert nights.subjects.tolist() == ["01-03-0001"] * 9 + ["01-03-0002"] * 9
    onset = START_S + 30 * np.array([0, 1, 2, 3, 4, 5, 6, 7, 9])
    np.testing.assert_allclose(nights.datasets[0].onset_s, onset)
    X = nights.read()
    for i in (0, 4, 8, 13):  # in phase with the file's clock, whatever its rate
        rate = RATE / 2
        t = (round(onset[i % 9] * rate) + np.arange(3840)) / rate
        for k, hz in enumerate(CHANNELS.values()):
            np.testing.assert_allclose(X[i, k, 100:-100], 30 * np.sin(2 * np.pi * hz * t)[100:-100], atol=0.6)


def test_annotations_past_the_end_are_dropped_and_told(tmp_path):
    night(tmp_path, "01-03-0001", labels=STAGES + "2222")
    with pytest.warns(UserWarning, match=r"01-03-0001 PSG: scored outside the recording \(4 windows\)"):
        nights = load_mass(tmp_path)
    assert nights.y.tolist() == Y


def test_reference_of_one_s_choice(tmp_path):
    night(tmp_path, "01-03-0001")
    nights = load_mass(tmp_path, ch_names=["C3-A2"], sfreq=256, l_freq=None, h_freq=None, standardise=None)
    t = (round(START_S * RATE) + np.arange(7680)) / RATE
    want = 30 * np.sin(2 * np.pi * 4 * t) - 10 * np.sin(2 * np.pi * 2 * t)
    np.testing.assert_allclose(nights.read([0])[0, 0], want, atol=0.05)


def test_pages_of_twenty_seconds(tmp_path):
    night(tmp_path, "01-02-0001", labels="WW12234R?W2222", page_s=20)
    with pytest.raises(
        FileNotFoundError, match=r"holds sessions \[2\] of MASS, not 3: pass session=2 \(scored in 20-s pages"
    ):
        load_mass(tmp_path)
    with pytest.raises(
        ValueError, match=r"Base.edf: scored in 20-s epochs, windows are 30 s: pass epoch_20s='reepoch'"
    ):
        load_mass(tmp_path, session=2)
    nights = load_mass(tmp_path, session=2, epoch_20s="reepoch")
    assert nights.y.tolist() == [0, 0, 1, 2, 2, 3, 3, 4, 0, 2, 2, 2, 2]
    np.testing.assert_allclose(nights.datasets[0].onset_s[:3], START_S - 5 + 20 * np.arange(3))
    assert load_mass(tmp_path, session=2, window_s=20).n_times == 2560


def test_session_is_chosen(tmp_path):
    for name in ("01-01-0001", "01-03-0001"):
        night(tmp_path / name[:5], name)
    assert set(load_mass(tmp_path).subjects) == {"01-03-0001"}
    assert set(load_mass(tmp_path, session=1).subjects) == {"01-01-0001"}
    assert len(set(load_mass(tmp_path, session=None).subjects)) == 2
    with pytest.raises(ValueError, match="session=7 must be 1 to 5"):
        load_mass(tmp_path, session=7)


def test_bids(tmp_path):
    folder = tmp_path / "sub-0001" / "eeg"
    write_edf(folder / "sub-0001_task-sleep_eeg.edf", signals(), RATE, record_s=RECORD_S)
    rows = [f"{onset}\t{length}\t{label}\n" for onset, length, label in pages(STAGES, start_s=START_S)]
    (folder / "sub-0001_task-sleep_events.tsv").write_text("onset\tduration\ttrial_type\n" + "".join(rows))
    nights = load_mass(tmp_path)
    assert nights.y.tolist() == Y and set(nights.subjects) == {"sub-0001"}


def test_channels_that_a_night_lacks(tmp_path):
    night(tmp_path, "01-03-0001")
    few = {k: v for k, v in signals().items() if "O2" not in k}
    write_edf(tmp_path / "01-03-0002 PSG.edf", few, RATE, record_s=RECORD_S)
    write_edf(tmp_path / "01-03-0002 Base.edf", stages=pages(STAGES))
    with pytest.warns(UserWarning, match=r"1 of 2 recordings were skipped:\n  01-03-0002 PSG: channel 'O2' is missing"):
        assert load_mass(tmp_path).y.tolist() == Y


def test_no_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"There is no folder .* with MASS"):
        load_mass(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="There is no recording"):
        load_mass(tmp_path)
