"""Simulated nights: what they were calibrated on comes back out, and what was planted can be measured."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, recall_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from eegaug.data import Preprocessing, open_store
from eegaug.data import simulated as module
from eegaug.data._sleep_model import calibration, draw_hypnogram, draw_log_powers, draw_sleeper, harmonics
from eegaug.data.planted import Draw, Planted
from eegaug.data.simulated import simulate_nights, spread_windows
from eegaug.montage import symmetry_permutation

from .sleep_signals import SIX, simulate, spectra

W, N1, N2, N3, REM = range(5)


def band_powers(X):
    """log10 of the mean density in the calibration's five bands: (..., 5)."""
    f, P = spectra(X)
    edges = calibration()["band_power"]["bands_hz"]
    return np.stack([np.log10(P[..., (f >= lo) & (f < hi)].mean(-1)) for lo, hi in edges], -1)


@pytest.fixture(scope="module")
def calibrated():
    """Many subjects at the places of the calibration's two derivations, up to 50 Hz."""
    nights = simulate(30, n_windows=50, ch_names=["Fz", "POz"], h_freq=None)
    X, y, subject = nights.as_arrays()
    return X, y, subject, band_powers(X).reshape(len(X), 10)


@pytest.fixture(scope="module")
def six():
    """A few nights of six channels."""
    return simulate(6, n_windows=100).as_arrays()


# --- hypnograms ---


def test_hypnograms_have_the_calibrations_stages_and_transitions():
    table = calibration()["hypnogram"]
    nights = [draw_hypnogram(np.random.default_rng(k), 960, 30.0) for k in range(150)]
    share = np.mean([np.bincount(y, minlength=5) / len(y) for y in nights], axis=0)
    np.testing.assert_allclose(share, table["proportions_with_margins"][0], atol=0.04)
    moves = np.zeros((5, 5))
    for y in nights:
        asleep = np.flatnonzero(y > 0)
        y = y[asleep[0] : asleep[-1] + 1]
        np.add.at(moves, (y[:-1], y[1:]), 1)
    np.testing.assert_allclose(moves / moves.sum(1, keepdims=True), table["epoch_transitions"], atol=0.05)
    assert all(len(np.unique(y)) == 5 for y in nights)


def test_nights_begin_and_end_awake_with_deep_sleep_early_and_rem_late():
    when = {N3: [], REM: []}
    for k in range(40):
        y = draw_hypnogram(np.random.default_rng(k), 960, 30.0)
        assert (y[:20] == W).all() and (y[-20:] == W).all()
        assert y[np.flatnonzero(y)[0]] == N1
        for stage in when:
            when[stage].append(np.flatnonzero(y == stage).mean() / 120)
    assert np.mean(when[N3]) < 3.5 < 4.5 < np.mean(when[REM])


def test_bouts_last_as_long_in_windows_of_another_length():
    minutes = []
    for window_s in (30.0, 20.0):
        n = round(8 * 3600 / window_s)
        nights = [draw_hypnogram(np.random.default_rng(k), n, window_s) for k in range(60)]
        changes = np.mean([np.count_nonzero(np.diff(y)) for y in nights])
        minutes.append(480 / changes)
    assert minutes[1] == pytest.approx(minutes[0], rel=0.15)


# --- band powers ---


def test_band_powers_by_stage(calibrated):
    _, y, _, B = calibrated
    mean = calibration()["band_power"]["mean"]
    error = np.stack([B[y == k].mean(0) for k in range(5)]) - mean
    assert np.abs(error).max() < 0.3  # log10 units; subjects differ by 0.2 to 0.4 (SD), so 30 of them leave 0.05
    assert np.abs(error).mean() < 0.08


def test_band_powers_spread_between_and_within_subjects(calibrated):
    _, y, subject, B = calibrated
    table = calibration()["band_power"]
    for k in (W, N2, N3, REM):
        own = [B[(y == k) & (subject == s)] for s in np.unique(subject)]
        own = [b for b in own if len(b) >= 4]
        between = np.std([b.mean(0) for b in own], axis=0, ddof=1) / table["sd_of_night_means"][k]
        within = np.sqrt(np.mean([b.var(0, ddof=1) for b in own], axis=0) / np.diag(table["cov_epoch"][k]))
        assert 0.8 < between.mean() < 1.25 and between.min() > 0.5 and between.max() < 1.7
        assert 0.8 < within.mean() < 1.25 and within.min() > 0.6 and within.max() < 1.7


def test_band_powers_drift_within_a_night():
    rng = np.random.default_rng(0)
    y = np.full(4000, N2)
    p = draw_log_powers(rng, draw_sleeper(rng), y, 30.0).reshape(len(y), 10)
    z = (p - p.mean(0)) / p.std(0)
    table = calibration()["band_power"]
    for lag in (1, 10):
        expected = table["drift_share"] * table["drift_lag1"] ** lag
        assert np.mean(z[lag:] * z[:-lag]) == pytest.approx(expected, abs=0.05)


def test_nights_of_one_subject_are_more_alike_than_nights_of_two():
    levels = np.empty((200, 2, 10))
    for i in range(200):
        rng = np.random.default_rng(i)
        sleeper = draw_sleeper(rng)
        for j in range(2):
            levels[i, j] = draw_log_powers(rng, sleeper, np.full(300, N2), 30.0).reshape(300, 10).mean(0)
    correlation = [np.corrcoef(levels[:, 0, d], levels[:, 1, d])[0, 1] for d in range(10)]
    assert np.mean(correlation) > 0.15


# --- waveforms ---


def test_background_falls_with_frequency(calibrated):
    X, y, _, _ = calibrated
    f, P = spectra(X[y == REM, 0])
    inside = (f > 1.5) & (f < 30)
    slope = np.polyfit(np.log10(f[inside]), np.log10(P.mean(0)[inside]), 1)[0]
    assert -3 < slope < -1


def test_rhythms_of_the_stages(six):
    X, y, _ = six
    f, P = spectra(X)
    front, centre, back = slice(0, 2), slice(2, 4), slice(4, 6)

    def peak(stage, channels, lo, hi):
        """Frequency and height above its flanks of the highest point between two frequencies."""
        p = P[y == stage][:, channels].mean((0, 1))
        inside = np.flatnonzero((f >= lo) & (f <= hi))
        top = inside[p[inside].argmax()]
        flank = p[((f > lo - 2) & (f < lo - 0.5)) | ((f > hi + 0.5) & (f < hi + 2))].mean()
        return f[top], p[top] / flank

    where, height = peak(W, back, 9, 11)
    assert where == pytest.approx(10.0, abs=0.5) and height > 3
    assert height > 1.5 * peak(W, front, 9, 11)[1]
    assert peak(N2, centre, 11.5, 14.5)[1] > 2
    assert peak(N2, centre, 11.5, 14.5)[1] > 1.5 * peak(REM, centre, 11.5, 14.5)[1]
    slow = P[:, :, (f > 0.5) & (f < 1.5)].mean(-1).mean(1)
    assert slow[y == N3].mean() > 3 * slow[y == N2].mean() > 3 * slow[y == REM].mean()
    size = X.std(-1).mean(1)
    assert np.median(size[y == REM]) < 0.75 * np.median(size[y == N2])


def test_waveforms_have_a_polarity(six):
    X, y, _ = six
    z = X[y == N2] / X[y == N2].std(-1, keepdims=True)
    assert (z**3).mean() < -0.03  # the negative phase of K-complexes is the sharp one


def test_eye_movements_of_rem_have_opposite_signs_left_and_right(six):
    X, y, _ = six

    def slow_correlation(stage):
        slow = np.fft.irfft(np.fft.rfft(X[y == stage])[..., 10:61], axis=-1)  # 0.33 to 2 Hz
        return np.mean([np.corrcoef(x[0], x[1])[0, 1] for x in slow])

    assert slow_correlation(REM) < slow_correlation(N3) - 0.2


# --- field ---


def test_field_is_of_unit_variance_isotropic_and_smooth():
    rng = np.random.default_rng(0)
    v = rng.standard_normal((40, 3))
    v /= np.linalg.norm(v, axis=1, keepdims=True)
    H = harmonics(v)
    np.testing.assert_allclose((H**2).sum(1), 1, atol=1e-12)
    turned = harmonics(v @ Draw(0, False, False, (20, -50, 70), 1).rotation().T)
    np.testing.assert_allclose(turned @ turned.T, H @ H.T, atol=1e-12)
    mirrored = harmonics(v * [-1, 1, 1])
    np.testing.assert_allclose(mirrored @ mirrored.T, H @ H.T, atol=1e-12)
    angle = np.radians([30.0, 60.0, 90.0])
    ring = np.stack([np.cos(angle), np.sin(angle), 0 * angle], 1)
    np.testing.assert_allclose((harmonics(ring) @ harmonics(np.eye(3)[:1]).T)[:, 0], [0.859, 0.591, 0.425], atol=2e-3)


def test_channel_covariance_falls_with_distance_and_mirrors(six):
    X, _, _ = six
    C = np.mean([np.corrcoef(x) for x in X], axis=0)
    assert C[0, 2] > C[0, 3] > C[0, 5]  # F3 with C3, C4, O2
    p = symmetry_permutation(SIX)
    np.testing.assert_allclose(C, C[np.ix_(p, p)], atol=0.05)


def test_same_field_whatever_the_channels():
    full = simulate(1, n_windows=12).as_arrays()[0]
    some = simulate(1, n_windows=12, ch_names=["O1", "F3"]).as_arrays()[0]
    np.testing.assert_allclose(some, full[:, [4, 0]], atol=1e-3)


# --- difficulty ---


def test_staging_unseen_subjects_is_neither_trivial_nor_hopeless():
    def scores(planted):
        nights = simulate_nights(12, n_windows=100, random_state=0, planted=planted)
        X, y, subject = nights.as_arrays()
        f, P = spectra(X)
        edges = [0.4, 2, 4, 6, 8, 9, 11, 13, 14.5, 18, 24, 30]
        F = [np.log10(P[..., (f >= a) & (f < b)].mean(-1)) for a, b in pairwise(edges)]
        F = np.stack(F, -1).reshape(len(X), -1)
        names = np.unique(subject)
        test = np.isin(subject, names[6:])

        def fit(train):
            model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, class_weight="balanced", max_iter=200))
            train = np.isin(subject, train)
            return model.fit(F[train], y[train]).predict(F[test])

        # Two subjects say little about the next one: the mean over three pairs of them.
        few = np.mean([balanced_accuracy_score(y[test], fit(names[i : i + 2])) for i in (0, 2, 4)])
        many = fit(names[:6])
        return few, balanced_accuracy_score(y[test], many), recall_score(y[test], many, average=None)

    few, many, recall = scores(Planted.none())
    assert 0.5 < few < many < 0.95
    assert recall.argmin() == N1
    few_moved, many_moved, _ = scores(Planted.none(frequency_jitter_hz=1.5))
    assert few_moved < few - 0.03 and many_moved < many - 0.03


# --- seeds, windows, formats ---


def test_same_seed_same_nights_whatever_the_number_of_subjects():
    a, b = simulate_nights(1, n_windows=8, random_state=5), simulate_nights(3, 2, n_windows=8, random_state=5)
    np.testing.assert_array_equal(a.read(), b.select(recordings="sim-001-1").read())
    assert a.truth["subjects"]["sim-001"] == b.truth["subjects"]["sim-001"]
    X = b.read().reshape(6, 8, 6, 3000)
    assert all(np.abs(X[i] - X[j]).max() > 1 for i in range(6) for j in range(i))
    other = simulate_nights(1, n_windows=8, random_state=6)
    assert np.abs(other.read() - a.read()).max() > 1


def test_random_states_of_numpy_and_none_leave_global_state_alone():
    before = np.random.get_state()[1].copy()  # noqa: NPY002 - the global state is what is looked at
    one = simulate_nights(1, n_windows=5, ch_names=["C3"], random_state=np.random.RandomState(3))
    two = simulate_nights(1, n_windows=5, ch_names=["C3"], random_state=np.random.RandomState(3))
    fresh = [simulate_nights(1, n_windows=5, ch_names=["C3"]) for _ in range(2)]
    np.testing.assert_array_equal(one.read(), two.read())
    assert fresh[0].truth["random_state"] != fresh[1].truth["random_state"]
    np.testing.assert_array_equal(before, np.random.get_state()[1])  # noqa: NPY002


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=5, max_size=200), st.data())
def test_spread_windows_keeps_proportions(stages, data):
    y = np.array(stages)
    n = data.draw(st.integers(1, len(y)))
    keep = spread_windows(y, n)
    assert len(keep) == n == len(set(keep.tolist()))
    assert (np.diff(keep) > 0).all()
    if n >= len(np.unique(y)):
        assert set(y[keep]) == set(y)


def test_some_windows_of_a_night_have_its_stages_and_onsets():
    nights = simulate_nights(1, n_windows=40, ch_names=["C3"], random_state=0)
    night = nights.datasets[0]
    assert set(night.y) == {0, 1, 2, 3, 4}
    assert night.onset_s[-1] > 7.5 * 3600 and (np.diff(night.onset_s) >= 30).all()


@pytest.mark.parametrize(
    ("sfreq", "window_s", "h_freq"), [(128.0, 20.0, 30.0), (64.0, 30.0, 30.0), (100.0, 30.0, None)]
)
def test_rates_windows_and_bands(sfreq, window_s, h_freq):
    nights = simulate(
        1, hours=1.0, n_windows=6, sfreq=sfreq, window_s=window_s, h_freq=h_freq, ch_names=["C3-A2", "EEG C4-A1"]
    )
    X = nights.read()
    assert X.shape == (6, 2, round(sfreq * window_s)) and X.dtype == np.float32 and np.isfinite(X).all()
    f, P = spectra(X, sfreq)
    above = P[..., f > 40].mean() if sfreq > 80 else 0.0
    assert (above > 1e-3) == (h_freq is None)


def test_standardisation_as_in_preprocessing():
    plain = simulate(1, n_windows=10).read()
    window = simulate(1, n_windows=10, standardise="window")
    z = (plain - plain.mean(-1, keepdims=True)) / plain.std(-1, keepdims=True)
    np.testing.assert_allclose(window.read(), z, atol=1e-3)
    night = simulate(1, n_windows=10, standardise="recording").read()
    np.testing.assert_allclose(night.std((0, 2)), 1, atol=1e-3)
    assert Preprocessing(**window.preprocessing) == Preprocessing(ch_names=SIX)


# --- stores ---


def test_store_holds_the_same_nights_and_goes_on_after_a_kill(tmp_path, monkeypatch):
    options = {"n_windows": 6, "random_state": 2}
    expected = simulate_nights(3, **options)
    made = []
    original = module._Plan.night

    def counted(plan, subject, night):
        made.append(subject)
        if len(made) == 2:
            raise KeyboardInterrupt
        return original(plan, subject, night)

    monkeypatch.setattr(module._Plan, "night", counted)
    with pytest.raises(KeyboardInterrupt):
        simulate_nights(3, store=tmp_path / "store", **options)
    nights = simulate_nights(3, store=tmp_path / "store", **options)
    assert made == [0, 1, 1, 2]
    np.testing.assert_array_equal(nights.read(), expected.read())
    np.testing.assert_array_equal(nights.y, expected.y)
    assert nights.truth == expected.truth
    assert all(night.path for night in nights.datasets)
    assert simulate_nights(3, store=tmp_path / "store", **options).truth == expected.truth
    assert made == [0, 1, 1, 2]
    assert open_store(tmp_path / "store").truth == expected.truth
    with pytest.raises(ValueError, match="holds other nights"):
        simulate_nights(3, store=tmp_path / "store", n_windows=6, random_state=3)
    index = tmp_path / "store" / "store.json"
    index.write_text(json.dumps({**json.loads(index.read_text()), "source": [["a", "a", 1, []]]}))  # of recordings
    with pytest.raises(ValueError, match="holds other nights"):
        simulate_nights(3, store=tmp_path / "store", **options)


@pytest.mark.parametrize(
    "other", [{"sfreq": 128.0}, {"standardise": None}, {"h_freq": 20.0}, {"ch_names": ["C3", "Cz"]}]
)
def test_store_of_other_windows_is_refused(tmp_path, other):
    options = {"n_windows": 5, "ch_names": ["C3", "C4"], "random_state": 0, "store": tmp_path}
    simulate_nights(1, **options)
    with pytest.raises(ValueError, match=r"made otherwise|holds other nights"):
        simulate_nights(1, **{**options, **other})
    (tmp_path / "store.json").write_text("{")
    with pytest.raises(ValueError, match="not a readable JSON file"):
        simulate_nights(1, **options)


def test_store_grows_by_subjects(tmp_path):
    simulate_nights(1, n_windows=5, random_state=0, store=tmp_path)
    grown = simulate_nights(2, n_windows=5, random_state=0, store=tmp_path)
    np.testing.assert_array_equal(grown.read(), simulate_nights(2, n_windows=5, random_state=0).read())


# --- errors, calibration ---


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_subjects": 0}, "n_subjects is 0"),
        ({"nights_per_subject": 1.5}, "nights_per_subject is 1.5"),
        ({"hours": 0}, "hours is 0"),
        ({"hours": "8h"}, "hours is .8h.; a night has"),
        ({"ambiguity": "some"}, "ambiguity is .some."),
        ({"hours": 0.001}, "less than one window"),
        ({"n_windows": 961}, "1 to 960 windows"),
        ({"n_windows": 1.5}, "n_windows is 1.5; a night of 8 h has 1 to 960 windows"),
        ({"ambiguity": 1.5}, "ambiguity is 1.5"),
        ({"ch_names": ["C3", "X9"]}, "X9"),
        ({"h_freq": 60.0}, "60"),
        ({"l_freq": None}, "lower edge"),
        ({"standardise": "night"}, "standardise"),
        ({"random_state": -1}, "random_state is -1"),
    ],
)
def test_wrong_numbers_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        simulate_nights(**options)


def test_calibration_names_its_source_and_is_consistent():
    table = calibration()
    assert "ODC-BY" in table["source"]["licence"] and any("Kemp" in c for c in table["source"]["citation"])
    power, sleep = table["band_power"], table["hypnogram"]
    for name in ("cov_subject", "cov_subject_stage", "cov_night", "cov_night_stage"):
        assert np.linalg.eigvalsh(power[name]).min() > -1e-3
    occurs = sleep["next_stage"].sum(-1) > 0
    np.testing.assert_allclose(sleep["next_stage"].sum(-1)[occurs], 1, atol=1e-3)
    assert occurs.all()


def test_calibration_is_what_its_script_measures(data_folder, tmp_path, monkeypatch):
    script = pytest.importorskip("benchmarks.calibrate_simulator")
    out = tmp_path / "calibration.json"
    monkeypatch.setattr("sys.argv", ["calibrate", str(data_folder), "--out", str(out)])
    script.main()
    kept = module.Path(module.__file__).with_name("calibration.json")
    assert json.loads(out.read_text()) == json.loads(kept.read_text())
