import tracemalloc

import numpy as np
import pytest

from eegaug.data.channels import Pick
from eegaug.data.files import with_mne
from eegaug.data.files.edf import read_edf, read_edf_annotations, read_edf_header

from .edf_files import noise, pages, sine, write_edf


def patch(path, offset, data):
    with open(path, "r+b") as f:
        f.seek(offset)
        f.write(data)


def test_header(tmp_path):
    path = write_edf(tmp_path / "a.edf", {"EEG C3": sine(5, 20), "Temp": (sine(0.1, 20, 1.0), 1.0)}, stages=pages("W"))
    header = read_edf_header(path)
    assert header.labels == ("EEG C3", "Temp") and header.sfreqs == (100.0, 1.0)
    assert header.duration_s == 20 and len(header.annotations) == 1
    patch(path, 256 + 3 * 96 + 8, b"DegC    ")
    assert read_edf_header(path).voltages() == ["EEG C3"]


def test_annotations_are_those_of_the_file_wherever_they_lie(tmp_path):
    # Samples that look like annotations are none.
    decoy = np.frombuffer(b"+7\x1530\x14Sleep stage 4\x14\x00" * 500, dtype="<i2").astype(float)
    stages = [(0, 30, "Sleep stage W"), (30.5, None, "Réveil"), (400, 60, "Sleep stage 2")]
    path = write_edf(tmp_path / "a.edf", {"C3": decoy[:5000]}, stages=stages)
    onset, duration, text = read_edf_annotations(read_edf_header(path))
    assert text == ["Sleep stage W", "Réveil", "Sleep stage 2"]
    np.testing.assert_array_equal(onset, [0, 30.5, 400])
    np.testing.assert_array_equal(duration, [30, np.nan, 60])


def test_annotations_need_not_be_utf8(tmp_path):
    x = sine(5, 60)
    path = write_edf(tmp_path / "a.edf", {"C3": x}, stages=[(4.0, None, "Lumiere"), (30, 30, "Sleep stage 2")])
    path.write_bytes(path.read_bytes().replace(b"Lumiere", "Lumière".encode("latin-1")))
    header = read_edf_header(path)
    assert read_edf_annotations(header)[2] == ["Lumière", "Sleep stage 2"]
    np.testing.assert_allclose(read_edf(header, [Pick(0)], 0, 60)[0][0], x, atol=0.01)


def test_signal_is_in_microvolts_at_its_own_rate(tmp_path):
    fast, slow = sine(5, 60, 200, 40), sine(2, 60, 50, 30)
    path = write_edf(tmp_path / "a.edf", {"C3": (fast, 200.0), "M2": (slow, 50.0), "O1": (2 * fast, 200.0)})
    read = read_edf(read_edf_header(path), [Pick(2), Pick(1), Pick(0, 2)], 10, 30)
    assert [rate for _, rate in read] == [200, 50, 200]
    np.testing.assert_allclose(read[0][0], 2 * fast[2000:6000], atol=0.01)
    np.testing.assert_allclose(read[1][0], slow[500:1500], atol=0.01)
    np.testing.assert_allclose(read[2][0], -fast[2000:6000], atol=0.01)
    with pytest.raises(ValueError, match="'C3' and 'M2' differ in sampling rate"):
        read_edf(read_edf_header(path), [Pick(0, 1)], 0, 10)
    long = read_edf(read_edf_header(path), [Pick(0)], 50, 1e9)[0][0]
    assert len(long) == 2000


@pytest.mark.parametrize(
    ("unit", "factor"),
    [
        *(
            ("uV", 1),
            ("mV", 1e3),
            ("V", 1e6),
            ("nV", 1e-3),
            ("\xb5V".encode("latin-1"), 1),
            ("µV".encode(), 1),
            ("", 1),
        ),
        *(("uVolts", 1), ("microvolts"[:8], 1), ("mVolt", 1e3), ("millivolts"[:8], 1e3), ("Volt", 1e6), ("volts", 1e6)),
    ],
)
def test_units(tmp_path, unit, factor):
    x = sine(5, 10, amplitude_uv=50)
    path = write_edf(tmp_path / "a.edf", {"C3": x})
    patch(path, 256 + 96, (unit if isinstance(unit, bytes) else unit.encode()).ljust(8))
    header = read_edf_header(path)
    assert header.voltages() == ["C3"]
    np.testing.assert_allclose(read_edf(header, [Pick(0)], 0, 10)[0][0] / factor, x, atol=0.01)


def test_a_signal_is_held_once_while_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(with_mne, "_STRETCH", 2**10)
    path = write_edf(tmp_path / "a.edf", {name: sine(5, 3000) for name in ("C3", "C4", "O1", "O2")}, unit="mV")
    header, picks = read_edf_header(path), [Pick(i, None) for i in range(4)]
    read_edf(header, picks, 0, 30)  # what MNE loads at first
    tracemalloc.start()
    read = read_edf(header, picks, 0, 3000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    size = sum(signal.nbytes for signal, _ in read)
    assert size == 4 * 300_000 * 4 and peak < 1.5 * size
    np.testing.assert_allclose(read[3][0], sine(5, 3000) * 1e3, atol=2)


def test_names_that_are_not_ascii(tmp_path):
    path = write_edf(tmp_path / "a.edf", {"C3": sine(5, 10), "C4": sine(5, 10)})
    patch(path, 256, "Capteur né".encode().ljust(16))
    header = read_edf_header(path)
    assert header.labels == ("Capteur né", "C4")
    np.testing.assert_allclose(read_edf(header, [Pick(0)], 0, 10)[0][0], sine(5, 10), atol=0.01)


def test_header_that_is_filled_with_zeros(tmp_path):
    path = write_edf(tmp_path / "a.edf", {"C3": sine(5, 10), "C4": sine(5, 10)}, stages=pages("W"))
    for at, text, width in [(0, "C3", 16), (32, "EDF Annotations", 16), (3 * 96, "uV", 8), (3 * 96 + 8, "mV", 8)]:
        patch(path, 256 + at, text.encode().ljust(width, b"\x00"))
    for at, width in [(0, 8), (184, 8), (236, 8), (244, 8), (252, 4)]:
        patch(path, at, path.read_bytes()[at : at + width].replace(b" ", b"\x00"))
    header = read_edf_header(path)
    assert header.labels == ("C3", "C4") and header.units == ("uV", "mV") and len(header.annotations) == 1
    (x, _), (y, _) = read_edf(header, [Pick(0), Pick(1)], 0, 10)
    np.testing.assert_allclose(x, sine(5, 10), atol=0.01)
    np.testing.assert_allclose(y, 1000 * sine(5, 10), atol=10)


def test_name_that_is_there_twice(tmp_path):
    path = write_edf(tmp_path / "a.edf", {"C3": sine(5, 10), "C4": sine(5, 10)})
    patch(path, 256, b"C4".ljust(16))
    with pytest.raises(ValueError, match="channel 'C4' is there 2 times"):
        read_edf(read_edf_header(path), [Pick(0)], 0, 10)


def test_truncated_and_foreign_files_are_said(tmp_path):
    path = write_edf(tmp_path / "a.edf", {"C3": sine(5, 60)})
    whole = path.read_bytes()
    for keep, message in [
        (len(whole) - 500, "truncated EDF: 57 of 60 data records|truncated EDF: 5[0-9] of 60 data records"),
        (300, "truncated EDF: 300 bytes"),
        (100, "no EDF or BDF file"),
    ]:
        path.write_bytes(whole[:keep])
        with pytest.raises(ValueError, match=message):
            read_edf_header(path)
    path.write_bytes(whole)
    with pytest.raises(ValueError, match=r"its content is that of a .edf file \(samples of 2 bytes\): rename it"):
        read_edf_header(path.rename(tmp_path / "a.BDF"))
    path.write_bytes(b"\xffBIOSEMI" + whole[8:])
    with pytest.raises(ValueError, match=r"its content is that of a \.bdf file"):
        read_edf_header(path)
    path.write_bytes(b"0       " + b"x" * 1000)
    with pytest.raises(ValueError, match="damaged EDF header"):
        read_edf_header(path)
    path.write_bytes(b"")
    with pytest.raises(ValueError, match="no EDF or BDF file"):
        read_edf_header(path)


def test_recording_that_was_not_closed_counts_as_long_as_it_is(tmp_path):
    path = write_edf(tmp_path / "a.edf", {"C3": sine(5, 60)})
    patch(path, 236, b"-1      ")
    assert read_edf_header(path).duration_s == 60


def test_discontinuous_files(tmp_path):
    path = write_edf(tmp_path / "a.edf", {"C3": sine(5, 60)}, stages=pages("W2"))
    patch(path, 192, b"EDF+D")
    assert read_edf_header(path).duration_s == 60  # marked so, and without a gap
    data = path.read_bytes()
    last = data.rindex(b"+59\x14\x14")
    patch(path, last, b"+99\x14\x14")
    with pytest.raises(ValueError, match=r"EDF\+D with gaps \(40 s in all\)"):
        read_edf_header(path)
    patch(path, last, b"\x00" * 9)
    with pytest.raises(ValueError, match="do not say when they begin"):
        read_edf_header(path)


def test_numbers_without_a_duration_are_triggers(tmp_path):
    stages = [(0, 30, "W"), (0, 0, "1"), (31, None, " 2"), (30, 30, "2"), (62, 0, "N2"), (93, None, "255.0")]
    path = write_edf(tmp_path / "a.edf", {"C3": noise(120)}, stages=stages)
    assert sorted(read_edf_annotations(read_edf_header(path))[2]) == ["2", "N2", "W"]


def test_annotations_alone_may_be_discontinuous(tmp_path):
    path = write_edf(tmp_path / "a.edf", stages=pages("W"))
    whole = bytearray(path.read_bytes())
    records = [b"+0\x14\x14\x00+0\x1530\x14Sleep stage W\x14\x00", b"+30\x14\x14\x00+30\x1560\x14Sleep stage 2\x14\x00"]
    for at, text, width in [(192, "EDF+D", 44), (236, "2", 8), (256 + 216, "25", 8)]:
        whole[at : at + width] = text.encode().ljust(width)
    path.write_bytes(whole[:512] + b"".join(record.ljust(50, b"\x00") for record in records))
    onset, duration, text = read_edf_annotations(read_edf_header(path))
    assert (onset.tolist(), duration.tolist(), text) == ([0, 30], [30, 60], ["Sleep stage W", "Sleep stage 2"])


def test_clinical_file_with_many_rates(data_folder):
    header = read_edf_header(data_folder / "edf" / "rsleep_subject1_2min.edf")
    assert len(header.labels) == 89 and len(set(header.sfreqs)) > 3
    assert "C3 Impédance" in header.labels and "C3 Impédance" not in header.voltages()
    at = [header.labels.index(c) for c in ("C3", "M2", "C3-M2")]
    (difference, rate), (stored, _) = read_edf(header, [Pick(at[0], at[1]), Pick(at[2])], 10, 110)
    assert rate == 200 and 5 < stored.std() < 150  # µV
    assert np.corrcoef(difference, stored)[0, 1] > 0.95
