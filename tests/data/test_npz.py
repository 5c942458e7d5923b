import zipfile

import numpy as np
import pytest

from eegaug.data import load_recordings
from eegaug.data.files.npz import read_npz


def save(path, **arrays):
    base = {"X": np.ones((3, 2, 100)), "y": [0, 1, -1], "ch_names": ["C3", "C4"], "sfreq": 10.0}
    np.savez(path, **{k: v for k, v in {**base, **arrays}.items() if v is not None})
    return path


def test_npz(tmp_path):
    X = np.arange(600, dtype="int16").reshape(3, 2, 100)
    path = save(tmp_path / "a.npz", X=X, scale=np.array([0.5, 2.0]), subject="anna", night=2, epoch_index=[4, 5, 9])
    night = read_npz(path)
    np.testing.assert_allclose(night.X, X * np.array([0.5, 2.0])[:, None])
    assert night.X.dtype == np.float32 and (night.subject, night.night) == ("anna", 2)
    assert night.onset_s.tolist() == [40, 50, 90] and night.y.tolist() == [0, 1, -1]
    assert read_npz(path, signal=False).ch_names == ("C3", "C4")
    bare = read_npz(save(tmp_path / "b.npz", y=None))
    same = read_npz(save(tmp_path / "c.npz", sfreq=[10.0, 10.0], subject=["anna"] * 3, night=[2, 2, 2]))
    assert (same.sfreq, same.subject, same.night) == (10.0, "anna", 2)
    assert bare.y is None and bare.subject is None and bare.onset_s.tolist() == [0, 10, 20]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"X": None}, "no array X in it"),
        ({"sfreq": None, "ch_names": None}, "no array ch_names, sfreq"),
        ({"X": np.ones((3, 3, 100))}, r"X has shape \(3, 3, 100\); \(epochs, 2, times\) is due for channels"),
        ({"y": [0, 1]}, "3 epochs and 2 labels"),
        ({"y": [0, 1, 5]}, r"y holds \[5\]"),
        ({"scale": [1.0, 2.0, 3.0]}, "scale has 3 values for 2 channels"),
        ({"epoch_index": [1]}, "3 epochs and 1 places"),
        ({"X": np.array([{}], dtype=object)}, "allow_pickle"),
        ({"sfreq": 0}, "sfreq is 0 Hz"),
        ({"y": ["W", "N1", "N2"]}, "y holds what is no number"),
        ({"y": [0, 1, np.nan]}, "y holds what is no number"),
        ({"sfreq": [10.0, 20.0]}, r"sfreq holds 2 different values \(10.0, 20.0\)"),
        ({"night": [1, 1, 2]}, r"night holds 2 different values \(1, 2\)"),
    ],
)
def test_npz_that_is_no_night_is_said(tmp_path, arrays, message):
    with pytest.raises(ValueError, match=message):
        read_npz(save(tmp_path / "a.npz", **arrays))


def test_npz_that_is_damaged(tmp_path):
    path = save(tmp_path / "a.npz")
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(ValueError, match="unreadable npz file"):
        read_npz(path)
    np.savez_compressed(path, X=np.random.default_rng(0).normal(size=(3, 2, 100)), ch_names=["C3", "C4"], sfreq=10.0)
    whole = bytearray(path.read_bytes())
    whole[100:400] = b"\x5a" * 300
    path.write_bytes(whole)
    with pytest.raises(ValueError, match="unreadable npz file"):
        read_npz(path)
    with open(path, "wb") as f:
        np.save(f, np.zeros(3))
    with pytest.raises(ValueError, match="a single array"):
        read_npz(path)


def test_npz_whose_header_is_damaged(tmp_path):
    with zipfile.ZipFile(save(tmp_path / "a.npz")) as archive:
        arrays = {name: archive.read(name) for name in archive.namelist()}
    arrays["y.npy"] = arrays["y.npy"].replace(b"}", b" ")
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        for name, content in arrays.items():
            archive.writestr(name, content)
    with pytest.raises(ValueError, match="unreadable npz file"):
        read_npz(tmp_path / "a.npz")


@pytest.mark.parametrize(("uv", "what"), [(5.0, "a range of 3e-05"), (50.0, "a standard deviation of at most 5e-05")])
@pytest.mark.parametrize("standardise", ["window", None])
def test_volts_are_not_taken_for_a_lost_electrode(tmp_path, uv, what, standardise):
    X = 1e-6 * uv * np.clip(np.random.default_rng(0).standard_normal((3, 1, 3000)), -3, 3)
    path = save(tmp_path / "a.npz", X=X, ch_names=["C3"], sfreq=100.0)
    settings = {"store": tmp_path / "store", "standardise": standardise, "l_freq": None, "h_freq": None}
    with pytest.raises(ValueError, match=rf"channel 'C3' is flat .* with {what} µV; if it is in volts, give µV"):
        load_recordings(path, **settings)
    assert len(load_recordings(save(path, X=X, scale=1e6, ch_names=["C3"], sfreq=100.0), **settings)) == 2
