"""Recordings in other forms than EDF: the same windows and stages whichever form a night has."""

import datetime
import json
import shutil
import warnings

import h5py
import mne
import numpy as np
import pytest
import wfdb
from scipy.io import savemat

from eegaug.data import load_recordings, read_hypnogram
from eegaug.data.channels import Pick
from eegaug.data.files.continuous import open_recording

from .edf_files import noise, pages, write_edf

STAGES = "WW1223R?W"
Y = [0, 0, 1, 2, 2, 3, 4, 0]
RATE, DURATION_S = 100.0, 270
NAMES = ("C3", "C4")
SIGNAL = np.stack([noise(DURATION_S, seed=seed).astype(np.float32) for seed in (1, 2)])
PLAIN = {"l_freq": None, "h_freq": None, "standardise": None, "wake_margin_min": None}


def raw_array():
    raw = mne.io.RawArray(SIGNAL * 1e-6, mne.create_info(list(NAMES), RATE, "eeg"), verbose="error")
    return raw


def write_fif(path, stages=()):
    raw = raw_array()
    raw.set_annotations(mne.Annotations(*zip(*stages, strict=True)) if stages else None)
    raw.save(path, verbose="error", overwrite=True)
    return path


def write_brainvision(path, stages=()):
    path.with_suffix(".eeg").write_bytes(SIGNAL.T.astype("<f4").tobytes())
    marks = [
        f"Mk{i + 2}=Comment,{text},{round(onset * RATE) + 1},{round(duration * RATE)},0"
        for i, (onset, duration, text) in enumerate(stages)
    ]
    head = "BrainVision Data Exchange Marker File Version 1.0\n[Common Infos]\nCodepage=UTF-8\n"
    lines = [head, f"DataFile={path.stem}.eeg", "[Marker Infos]", "Mk1=New Segment,,1,1,0,20240101220000000000", *marks]
    path.with_suffix(".vmrk").write_text("\n".join(lines))
    channels = "\n".join(f"Ch{i + 1}={name},,1,µV" for i, name in enumerate(NAMES))
    path.write_text(
        "BrainVision Data Exchange Header File Version 1.0\n[Common Infos]\nCodepage=UTF-8\n"
        f"DataFile={path.stem}.eeg\nMarkerFile={path.stem}.vmrk\nDataFormat=BINARY\nDataOrientation=MULTIPLEXED\n"
        f"NumberOfChannels=2\nSamplingInterval={1e6 / RATE:g}\n[Binary Infos]\nBinaryFormat=IEEE_FLOAT_32\n"
        f"[Channel Infos]\n{channels}\n",
        encoding="utf-8",
    )
    return path


def write_eeglab(path, stages=()):
    event = np.array(
        [(text, onset * RATE + 1, duration * RATE) for onset, duration, text in stages],
        dtype=[("type", "O"), ("latency", "O"), ("duration", "O")],
    )
    savemat(
        path,
        {
            "EEG": {
                "setname": path.stem, "nbchan": 2, "pnts": SIGNAL.shape[1], "trials": 1, "srate": RATE, "xmin": 0.0,
                "xmax": (SIGNAL.shape[1] - 1) / RATE, "data": SIGNAL, "event": event, "epoch": [],
                "urchan": [], "chanlocs": np.array([(name,) for name in NAMES], dtype=[("labels", "O")]),
                "chaninfo": {"nosedir": "+X"},
            }
        },
        appendmat=False,
    )  # fmt: skip
    return path


def write_rec(path, stages=()):
    return write_edf(path, dict(zip(NAMES, SIGNAL, strict=True)), stages=stages)


def write_dreem(path, stages=()):
    with h5py.File(path, "w") as f:
        described = []
        for name, x in zip(NAMES, SIGNAL, strict=True):
            f[f"signals/eeg/{name}_M2"] = x
            described.append({"path": f"signals/eeg/{name}_M2", "fs": int(RATE)})
        f.attrs["description"] = json.dumps(described)
        f.attrs["start_time"] = 1454363420
        if stages:
            codes = dict(zip("W123R?", (0, 1, 2, 3, 4, -1), strict=True))
            f["hypnogram"] = [codes[text[-1]] for _, _, text in stages]
    return path


def write_wfdb(path, stages=()):
    record = {"record_name": path.stem, "write_dir": str(path.parent)}
    about = {"fs": RATE, "units": ["uV", "uV"], "sig_name": [f"{name}-M2" for name in NAMES], "fmt": ["24", "24"]}
    wfdb.wrsamp(**record, **about, p_signal=SIGNAL.T.astype(float), base_datetime=datetime.datetime(2018, 1, 2, 22, 30))
    if stages:  # each where it differs from the one before, and events among them
        changes = [s for k, s in enumerate(stages) if k == 0 or s[2] != stages[k - 1][2]]
        notes = [(onset, "U" if text[-1] == "?" else text.split()[-1]) for onset, _, text in changes]
        notes = sorted([*notes, (45.0, "(resp_hypopnea"), (52.0, "resp_hypopnea)")])
        # At sample 0 wfdb writes none.
        sample, aux = np.array([max(1, round(at * RATE)) for at, _ in notes]), [note for _, note in notes]
        wfdb.wrann(**record, extension="arousal", sample=sample, symbol=['"'] * len(aux), aux_note=aux)
    return path


WRITERS = {
    ".hea": write_wfdb,
    ".fif": write_fif,
    ".vhdr": write_brainvision,
    ".set": write_eeglab,
    ".rec": write_rec,
    ".h5": write_dreem,
}


@pytest.mark.parametrize("kind", WRITERS)
def test_a_night_is_the_same_in_every_form(tmp_path, kind):
    inside, beside = tmp_path / "inside", tmp_path / "beside"
    for folder in (inside, beside):
        folder.mkdir()
    WRITERS[kind](inside / f"anna{kind}", pages(STAGES))
    WRITERS[kind](beside / f"anna{kind}")
    (beside / "anna_stages.csv").write_text("stage\n" + "\n".join(STAGES))
    for folder in (inside, beside):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            nights = load_recordings(folder, ch_names=NAMES, **PLAIN)
        assert nights.y.tolist() == Y and nights.subjects.tolist() == ["anna"] * 8 and nights.ch_names == list(NAMES)
        onsets = [0, 30, 60, 90, 120, 150, 180, 240]
        assert nights.datasets[0].onset_s.tolist() == onsets
        for x, onset in zip(nights.read(), onsets, strict=True):
            np.testing.assert_allclose(x, SIGNAL[:, onset * 100 : onset * 100 + 3000], atol=0.01)


@pytest.mark.parametrize("kind", WRITERS)
def test_a_stretch_of_a_difference(tmp_path, kind):
    recording = open_recording(WRITERS[kind](tmp_path / f"a{kind}"))
    assert recording.duration_s == DURATION_S
    (x, rate), (y, _) = recording.read([Pick(0, 1), Pick(1)], 12, 20)
    assert rate == RATE and x.dtype == y.dtype == np.float32
    np.testing.assert_allclose(x, SIGNAL[0, 1200:2000] - SIGNAL[1, 1200:2000], atol=0.01)
    np.testing.assert_allclose(y, SIGNAL[1, 1200:2000], atol=0.01)
    assert len(recording.read([Pick(0)], 260, 1e9)[0][0]) == 1000
    assert recording.annotations()[2] == []


@pytest.mark.parametrize("date", [None, datetime.datetime(2024, 1, 1, 23, 59, tzinfo=datetime.UTC)])
def test_a_cropped_recording(tmp_path, date):
    raw = raw_array().set_meas_date(date)
    raw.set_annotations(mne.Annotations(*zip(*pages(STAGES), strict=True))).crop(60)
    raw.save(tmp_path / "anna_raw.fif", verbose="error")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        nights = load_recordings(tmp_path, **PLAIN)
    assert nights.y.tolist() == Y[2:] and nights.datasets[0].onset_s.tolist() == [0, 30, 60, 90, 120, 180]
    np.testing.assert_allclose(nights.read([0])[0], SIGNAL[:, 6000:9000], atol=0.01)


@pytest.mark.parametrize("kind", [".fif", ".vhdr", ".set"])
def test_numbers_of_triggers_are_no_stages(tmp_path, kind):
    WRITERS[kind](tmp_path / f"a{kind}", pages("121212121", prefix=""))
    with pytest.raises(ValueError, match=r"a: no hypnogram beside it \(.*\) and none in it"):
        load_recordings(tmp_path)


@pytest.mark.parametrize("kind", [".fif", ".vhdr", ".set"])
def test_what_is_slow_to_open_is_opened_again_only_if_it_has_changed(tmp_path, monkeypatch, cache, kind):
    opened = []
    read = mne.io.read_raw
    monkeypatch.setattr(mne.io, "read_raw", lambda path, **more: opened.append(path.name) or read(path, **more))
    nights, store = tmp_path / "nights", tmp_path / "store"
    nights.mkdir()
    for name in ("anna", "bert"):
        WRITERS[kind](nights / f"{name}{kind}", pages(STAGES))
    first = load_recordings(nights, store=store, **PLAIN)
    assert {f"anna{kind}", f"bert{kind}"} == set(opened)
    del opened[:]
    again = load_recordings(nights, store=store, **PLAIN)
    assert opened == [] and again.y.tolist() == first.y.tolist() == Y * 2
    WRITERS[kind](nights / f"bert{kind}", pages(STAGES[::-1]))
    again = load_recordings(nights, store=store, **PLAIN)
    assert opened.count(f"anna{kind}") == 1  # for its stages, which may settle what those of others mean
    assert opened.count(f"bert{kind}") > 1 and again.y.tolist() == Y + Y[::-1]
    # Nothing hangs on what is kept.
    for kept in (cache / "files").iterdir():
        kept.write_text('{"of": ')
    assert load_recordings(nights, store=store, **PLAIN).y.tolist() == Y + Y[::-1]
    shutil.rmtree(cache / "files")
    (cache / "files").touch()
    assert load_recordings(nights, store=store, **PLAIN).y.tolist() == Y + Y[::-1]


def test_one_night_in_two_forms_is_read_once(tmp_path):
    write_fif(tmp_path / "anna_raw.fif", pages(STAGES))
    write_rec(tmp_path / "anna.edf", pages(STAGES))
    write_fif(tmp_path / "bert_raw.fif", pages(STAGES))
    with pytest.warns(UserWarning, match="anna_raw.fif: not read: anna.edf is the same recording"):
        nights = load_recordings(tmp_path)
    assert [one.name for one in nights.datasets] == ["anna", "bert_raw"] and nights.y.tolist() == Y * 2


def test_what_mne_saves_beside_a_recording_is_none(tmp_path):
    write_fif(tmp_path / "anna_raw.fif", pages(STAGES))
    for name in ("anna_raw-1.fif", "anna-epo.fif", "anna_ave.fif", "anna-ica.fif", "anna_task-x_split-02_eeg.fif"):
        (tmp_path / name).write_bytes(b"")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        nights = load_recordings(tmp_path)
    assert [one.name for one in nights.datasets] == ["anna_raw"]


def test_isruc(tmp_path):
    """ISRUC-Sleep has 1/1.rec with 1/1_1.txt and 1/1_2.txt by two scorers, of whom the first counts."""
    for k in ("1", "2"):
        (tmp_path / k).mkdir()
        write_rec(tmp_path / k / f"{k}.rec")
        (tmp_path / k / f"{k}_1.txt").write_text("\n".join("001223500"))
        (tmp_path / k / f"{k}_2.txt").write_text("\n".join("111111111"))
    nights = load_recordings(tmp_path, **PLAIN)
    assert nights.y.tolist() == [0, 0, 1, 2, 2, 3, 4, 0, 0] * 2 and set(nights.subjects) == {"1", "2"}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.fif", b"not a fif", "a: MNE cannot read it"),
        ("a.rec", b"not an edf" * 100, "a: no EDF or BDF file"),
        ("a.h5", b"not hdf5", "a: no HDF5 file, or a damaged one"),
    ],
)
def test_damaged_files_are_named_and_left_out(tmp_path, name, content, message):
    write_fif(tmp_path / "b.fif", pages(STAGES))
    (tmp_path / name).write_bytes(content)
    with pytest.warns(UserWarning, match=message):
        nights = load_recordings(tmp_path)
    assert [one.name for one in nights.datasets] == ["b"]


def test_a_change_of_signals_that_are_called_otherwise_than_the_header_is_noticed(tmp_path):
    for folder, write, kind in [("bv", write_brainvision, ".eeg"), ("wfdb", write_wfdb, ".dat")]:
        (tmp_path / folder).mkdir()
        path = write(tmp_path / folder / ("a.vhdr" if folder == "bv" else "a.hea"), pages(STAGES))
        path.write_text(path.read_text(encoding="utf-8").replace(f"a{kind}", f"x{kind}"), encoding="utf-8")
        data = path.with_suffix(kind).rename(path.with_name(f"x{kind}"))
        before = load_recordings(path.parent, **PLAIN).read([0])
        data.write_bytes(data.read_bytes()[6000:] + bytes(6000))
        assert not np.allclose(load_recordings(path.parent, **PLAIN).read([0]), before)


def test_signals_of_physionet_at_several_rates(tmp_path):
    """A frame of ten samples of an EEG and one of the saturation, at 10 frames per second."""
    eeg = np.round(10 * SIGNAL[0]).astype("<i2")
    frames = np.concatenate([eeg.reshape(-1, 10), np.arange(len(eeg) // 10, dtype="<i2")[:, None]], axis=1)
    (tmp_path / "a.dat").write_bytes(frames.tobytes())
    signals = "a.dat 16x10 10/uV 16 0 0 0 0 C3\na.dat 16 1/uV 16 0 0 0 0 M2\n"
    (tmp_path / "a.hea").write_text(f"a 2 10 {len(frames)}\n{signals}")
    recording = open_recording(tmp_path / "a.hea")
    ((x, rate),) = recording.read([Pick(0)], 12.25, 20.13)
    assert (rate, recording.duration_s) == (100, DURATION_S)
    np.testing.assert_allclose(x, SIGNAL[0, 1225:2013], atol=0.06)
    assert recording.read([Pick(1)], 12, 20)[0][1] == 10
    with pytest.raises(ValueError, match="channels 'C3' and 'M2' differ in sampling rate"):
        recording.read([Pick(0, 1)], 0, 30)


def test_whatever_readers_of_headers_stumble_over_other_recordings_are_read(tmp_path, monkeypatch):
    write_fif(tmp_path / "a.fif", pages(STAGES))
    write_dreem(tmp_path / "b.h5", pages(STAGES))
    write_wfdb(tmp_path / "c.hea", pages(STAGES))

    def fails(*args, **options):
        raise RuntimeError("bad heap free list")

    monkeypatch.setattr(h5py, "File", fails)
    # An annotation that names a label there is no room for.
    monkeypatch.setattr(wfdb, "rdann", lambda *_: [][1])
    with pytest.warns(UserWarning) as told:
        nights = load_recordings(tmp_path)
    assert [one.name for one in nights.datasets] == ["a"]
    assert "b: no HDF5 file, or a damaged one (bad heap free list)" in str(told[0].message)
    assert "c: wfdb cannot read it (list index out of range)" in str(told[0].message)


def test_hdf5_of_others(tmp_path):
    with h5py.File(tmp_path / "weights.h5", "w") as f:
        f["layer/kernel"] = np.zeros(3)
    with pytest.raises(ValueError, match=r"no night of the Dreem Open Datasets: it has no signals/eeg"):
        load_recordings(tmp_path)
    with h5py.File(tmp_path / "weights.h5", "w") as f:
        f["signals/eeg/C3_M2"] = np.zeros(3000)
    with pytest.raises(ValueError, match="its description does not say at which rate signals/eeg/C3_M2 was sampled"):
        load_recordings(tmp_path)


def test_stages_of_a_recording_as_a_hypnogram(tmp_path):
    found = read_hypnogram(write_fif(tmp_path / "a.fif", pages(STAGES)))
    assert found.stage.tolist() == [0, 0, 1, 2, 2, 3, 4, -1, 0] and found.onset_s[3] == 90


def test_dreams(tmp_path):
    """DREAMS has subject1.edf and HypnogramAASM_subject1.txt, a number every 5 s, from 5 (awake) down to 1 (N3)."""
    write_rec(tmp_path / "subject1.edf")
    stages = np.repeat([5, 5, 3, 2, 2, 1, 4, -1, 5], 6)
    (tmp_path / "HypnogramAASM_subject1.txt").write_text("[hypnogram]\n" + "\n".join(map(str, stages)))
    (tmp_path / "HypnogramR&K_subject1.txt").write_text("[hypnogram]\n" + "5\n" * 54)
    nights = load_recordings(tmp_path, **PLAIN)
    assert nights.y.tolist() == Y and nights.datasets[0].onset_s[-1] == 240


def test_dublin(tmp_path):
    """There 1 is REM, 2 is stage 1, and so on up to 5, which is stage 4; 6 and 7 are none."""
    write_edf(tmp_path / "ucddb002.rec", dict(zip(("C3A2", "C4A1"), SIGNAL, strict=True)))
    (tmp_path / "ucddb002_stage.txt").write_text("\n".join("002334170"))
    nights = load_recordings(tmp_path, **PLAIN)
    assert nights.y.tolist() == [0, 0, 1, 2, 2, 3, 4, 0] and nights.ch_names == ["C3A2", "C4A1"]
    (tmp_path / "ucddb002_stage.txt").write_text("\n".join("002335160"))
    assert load_recordings(tmp_path, **PLAIN).y.tolist() == [0, 0, 1, 2, 2, 3, 4, 0]


def test_cap(tmp_path):
    """CAP Sleep has n1.edf and n1.txt, RemLogic's list of events with times of the day, stages among them."""
    path = write_rec(tmp_path / "n1.edf")
    with open(path, "r+b") as f:
        f.seek(168)
        f.write(b"01.01.0923.58.50")
    rows = ["Patient:\tn1", "", "Sleep Stage\tPosition\tTime [hh:mm:ss]\tEvent\tDuration[s]\tLocation"]
    for i, name in enumerate(("S0", "S0", "S1", "S2", "S2", "S4", "REM", "MT")):
        minutes, seconds = divmod(59 * 60 + 10 + 30 * i, 60)
        time = f"{(23 + minutes // 60) % 24:02d}:{minutes % 60:02d}:{seconds:02d}"
        rows += [f"{name}\tRight\t{time}\tSLEEP-{name}\t30\tROC-LOC", f"{name}\tRight\t{time}\tMCAP-A1\t7\tC4-A1"]
    (tmp_path / "n1.txt").write_text("\n".join(rows))
    nights = load_recordings(tmp_path, **PLAIN)
    assert nights.y.tolist() == [0, 0, 1, 2, 2, 3, 4]
    assert nights.datasets[0].onset_s.tolist() == [20, 50, 80, 110, 140, 170, 200]
    np.testing.assert_allclose(nights.read([0])[0], SIGNAL[:, 2000:5000], atol=0.01)


def test_stages(tmp_path):
    """NSRR's STAGES has GSSA00001.edf and GSSA00001.csv, of events and stages by the time of the day."""
    path = write_rec(tmp_path / "GSSA00001.edf")
    with open(path, "r+b") as f:
        f.seek(168)
        f.write(b"01.01.8523.58.50")
    rows = [
        *("Start Time,Duration (seconds),Event", "23:58:52,0.000, Lie quietly, eyes closed, and breathe"),
        *("23:59:10,60.000, UnknownStage", "00:00:10,30.000, Stage1", "00:00:12,11.200, Desaturation"),
        *("00:00:40,60.000, Stage2", "00:01:02,0.000, Lights on, Wake", "00:01:40,30.000, REM", "00:02:10,30, Paused"),
    ]
    (tmp_path / "GSSA00001.csv").write_text("\n".join(rows))
    nights = load_recordings(tmp_path, **PLAIN)
    assert nights.y.tolist() == [1, 2, 2, 4] and nights.datasets[0].onset_s.tolist() == [80, 110, 140, 170]
    np.testing.assert_allclose(nights.read([0])[0], SIGNAL[:, 8000:11000], atol=0.01)
    (tmp_path / "GSSA00001.csv").write_text("onset,stage\n0,W\n30,N1,N2\n60,N2")
    with pytest.raises(ValueError, match="row 2 has 3 cells where the first has 2"):
        load_recordings(tmp_path, **PLAIN)


def test_records_of_physionet(tmp_path):
    write_wfdb(tmp_path / "slp01a.hea")
    aux, sample = ["W", "W MT", "1", "2 HA", "2", "4", "R", "MT", "W"], np.maximum(1, 3000 * np.arange(9))
    wfdb.wrann("slp01a", "st", sample=sample, symbol=['"'] * 9, aux_note=aux, write_dir=str(tmp_path))
    assert load_recordings(tmp_path, **PLAIN).y.tolist() == Y
    assert open_recording(tmp_path / "slp01a.hea").start == datetime.datetime(2018, 1, 2, 22, 30)
    (tmp_path / "slp01a.hea").write_text("spam")
    with pytest.raises(ValueError, match="slp01a: wfdb cannot read it"):
        load_recordings(tmp_path)
    (tmp_path / "slp01a.hea").write_text("slp01a 1 250 1000\n")
    with pytest.raises(ValueError, match="slp01a: a record without signals"):
        load_recordings(tmp_path)
    (tmp_path / "slp01a.hea").write_text("slp01a/2 1 250 1000\na 500\nb 500\n")
    with pytest.raises(ValueError, match="slp01a: a record of 2 segments"):
        load_recordings(tmp_path)


@pytest.mark.parametrize(("kind", "beside"), [(".vhdr", ".eeg"), (".hea", ".arousal")])
def test_a_change_of_a_file_beside_the_header_is_noticed(tmp_path, kind, beside):
    path = WRITERS[kind](tmp_path / f"a{kind}", pages(STAGES))
    before = load_recordings(tmp_path, **PLAIN)
    assert load_recordings(tmp_path, **PLAIN).y.tolist() == before.y.tolist() == Y
    header = path.read_bytes()
    if beside == ".eeg":
        (tmp_path / "a.eeg").write_bytes((2 * SIGNAL).T.astype("<f4").tobytes())
    else:
        WRITERS[kind](path, pages("WWWWWRRRR"))
    assert path.read_bytes() == header
    after = load_recordings(tmp_path, **PLAIN)
    if beside == ".eeg":
        np.testing.assert_allclose(after.read([3])[0], 2 * SIGNAL[:, 9000:12000], atol=0.01)
    else:
        assert after.y.tolist() == [0] * 5 + [4] * 4


def test_what_takes_long_to_open_is_opened_anew_where_there_is_no_home_folder(tmp_path, monkeypatch):
    def nowhere():
        raise RuntimeError("Could not determine home directory.")

    for name in ("EEGAUG_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pathlib.Path.home", nowhere)
    path = write_fif(tmp_path / "anna_raw.fif", pages(STAGES))
    assert load_recordings(path, store=tmp_path / "store", **PLAIN).y.tolist() == Y
