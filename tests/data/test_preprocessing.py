from fractions import Fraction

import numpy as np
import pytest
from pydantic import ValidationError

from eegaug.data import Preprocessing
from eegaug.data.preprocessing import cut_windows, filter_and_resample, keep_around_sleep, nominal_rate, standardise

from .edf_files import sine

RAW = Preprocessing(l_freq=None, h_freq=None)


def test_defaults_and_round_trip():
    p = Preprocessing()
    assert (p.sfreq, p.l_freq, p.h_freq, p.window_s, p.wake_margin_min, p.standardise) == (
        100,
        0.3,
        30,
        30,
        30,
        "window",
    )
    assert p.n_times == 3000 and p.unit == "µV"
    assert Preprocessing(**p.model_dump()) == p and hash(p) == hash(Preprocessing())
    with pytest.raises(ValidationError, match="frozen"):
        p.sfreq = 128
    assert p.describe() == (
        "0.3 to 30 Hz, 100 Hz, windows of 30 s, 30 min of wakefulness around sleep, standardised per window"
    )
    p = Preprocessing(l_freq=None, h_freq=None, wake_margin_min=None, standardise=None)
    assert p.describe() == "not filtered, 100 Hz, windows of 30 s, all wakefulness, in µV"
    assert Preprocessing(h_freq=None).describe().startswith("above 0.3 Hz,")
    assert Preprocessing(l_freq=None).describe().startswith("below 30 Hz,")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"h_freq": 50}, "h_freq=50 Hz cannot be kept at sfreq=100 Hz"),
        ({"l_freq": 60, "h_freq": None}, "l_freq=60 Hz cannot be kept"),
        ({"l_freq": 30, "h_freq": 10}, "l_freq=30 Hz must be below h_freq=10 Hz"),
        ({"window_s": 0.123456}, "no whole number of samples"),
        ({"ch_names": ["C3", "C3"]}, "names a channel twice"),
        ({"ch_names": []}, "ch_names is empty"),
        ({"standardise": "night"}, "'window' or 'recording'"),
        ({"sfreq": float("nan")}, "sfreq"),
        ({"wake_margin_min": -1}, "wake_margin_min"),
        ({"lfreq": 1}, "lfreq"),
    ],
)
def test_impossible_settings_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        Preprocessing(**wrong)


@pytest.mark.parametrize("l_freq", [0.3, None])
@pytest.mark.parametrize("h_freq", [30, None])
def test_band_pass_keeps_the_band_and_its_phase(l_freq, h_freq):
    inside, above = sine(10, 120, 200), sine(48, 120, 200)
    p = Preprocessing(sfreq=200, l_freq=l_freq, h_freq=h_freq)
    out, rate = filter_and_resample((inside + 500 + above)[None], 200, p)
    middle = slice(30 * 200, 90 * 200)
    assert rate == 200 and out.dtype == np.float32
    kept = inside + (0 if l_freq else 500) + (0 if h_freq else above)
    np.testing.assert_allclose(out[0, middle], kept[middle], atol=0.5)  # of 50 µV, beside 500 and 50 µV


@pytest.mark.parametrize(("old", "new"), [(256, 128), (300, 100), (100, 128), (200, 100), (62.5, 100)])
def test_resampling_keeps_time_and_amplitude(old, new):
    p = Preprocessing(sfreq=new, l_freq=None, h_freq=None)
    out, rate = filter_and_resample(sine(7, 60, old)[None], old, p)
    assert rate == new
    want = sine(7, 60, new)
    middle = slice(2 * new, 50 * new)
    np.testing.assert_allclose(out[0, middle], want[middle], atol=0.1)


def test_rate_that_is_almost_an_integer_is_rounded_and_the_file_s_clock_kept():
    assert nominal_rate(255.9988) == 256 and nominal_rate(256.0015) == 256
    assert nominal_rate(62.5) == Fraction(125, 2) and nominal_rate(100.11) == Fraction(10011, 100)
    assert nominal_rate(99.89) == Fraction(9989, 100)
    old = 256.02
    out, rate = filter_and_resample(sine(7, 600, old)[None], old, Preprocessing(sfreq=128, l_freq=None, h_freq=None))
    assert rate == pytest.approx(128.01)
    # Ten minutes in, 0.05 s have been gained: a window cut by the file's clock is still in phase.
    window = cut_windows(out, rate, [570.0 - 30], 3840)[0, 0]
    t = (round(540 * rate) + np.arange(3840)) / rate
    np.testing.assert_allclose(window, 50 * np.sin(2 * np.pi * 7 * t), atol=0.2)


def test_rate_too_low_for_the_band_is_refused():
    with pytest.raises(ValueError, match=r"sampled at 50 Hz.*h_freq=30 Hz needs at least 60 Hz"):
        filter_and_resample(np.zeros((1, 5000)), 50, Preprocessing())
    out, _ = filter_and_resample(sine(5, 60, 60)[None], 60, Preprocessing())  # just enough
    assert out.shape == (1, 6000)


def test_windows_start_where_they_should():
    signal = np.arange(2 * 1000, dtype="float32").reshape(2, 1000)
    out = cut_windows(signal, 10.0, [0, 12.5, 70], 300)
    assert out.shape == (3, 2, 300)
    assert out[:, 0, 0].tolist() == [0, 125, 700] and out[2, 1, -1] == 1999
    # At the nearest sample: 0.29 s at 100 Hz is 28.999… samples, and a rate of 9.997 Hz is no grid of the onsets.
    assert cut_windows(signal, 100.0, [0.29, 1.13], 300)[:, 0, 0].tolist() == [29, 113]
    assert cut_windows(signal, 9.997, [30.0, 60.0], 300)[:, 0, 0].tolist() == [300, 600]
    # Two samples early or late: rounding of the rate.
    assert cut_windows(signal, 10.0, [-0.2, 70.2], 300)[:, 0, 0].tolist() == [0, 700]
    for outside in (-0.3, 70.3):
        with pytest.raises(ValueError, match="do not lie within the 100 s"):
            cut_windows(signal, 10.0, [0, outside, 70], 300)
    assert cut_windows(signal[:, :300], 10.0, [0], 300).shape == (1, 2, 300)
    with pytest.raises(ValueError, match=r"do not lie within the 29\.9 s"):
        cut_windows(signal[:, :299], 10.0, [0], 300)


def test_standardise():
    X = np.random.default_rng(0).normal(3, 5, (7, 2, 400)).astype("float32")
    out = standardise(X, "window")
    assert out.dtype == np.float32
    np.testing.assert_allclose(out.mean(-1), 0, atol=1e-5)
    np.testing.assert_allclose(out.std(-1), 1, atol=1e-5)
    out = standardise(X, "recording")
    np.testing.assert_allclose(out.mean((0, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(out.std((0, 2)), 1, atol=1e-5)
    np.testing.assert_allclose(out, (X - X.mean((0, 2), keepdims=True)) / X.std((0, 2), keepdims=True), atol=1e-4)
    assert np.ptp(out.std(-1)) > 0.01  # windows still differ
    assert standardise(X, None) is X
    np.testing.assert_allclose(standardise(X / 1000, "window"), standardise(X, "window"), atol=1e-5)  # weak, not flat
    X[2, 1] = 7
    assert (standardise(X, "window")[2, 1] == 0).all()


def test_wake_around_sleep():
    y, onset = np.zeros(200, int), np.arange(200) * 30.0
    y[[100, 120]] = 1, 4
    keep = keep_around_sleep(y, onset, 30, 30)
    np.testing.assert_array_equal(keep_around_sleep(y, onset + 0.3, 30, 30), keep)  # which floats do not hold
    assert np.flatnonzero(keep)[[0, -1]].tolist() == [40, 180]
    assert keep_around_sleep(y, onset, 30, 0).sum() == 21
    assert keep_around_sleep(y, onset, 30, None).all()
    assert keep_around_sleep(np.zeros(200, int), onset, 30, 5).all()
    turned = np.random.default_rng(0).permutation(200)  # order does not matter
    np.testing.assert_array_equal(keep_around_sleep(y[turned], onset[turned], 30, 30), keep[turned])


def test_an_offset_does_not_ring_at_the_ends():
    p = Preprocessing(sfreq=100, l_freq=None, h_freq=None)
    out, _ = filter_and_resample(sine(7, 10, 200)[None] + 3000, 200, p)
    assert np.abs(out[0] - 3000 - sine(7, 10, 100)).max() < 5.0  # it was 750
