"""What is planted in simulated nights can be measured in them, and the truth says it."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from eegaug.data.planted import Draw, Planted, planted_table
from eegaug.data.simulated import simulate_nights
from eegaug.montage import electrode_positions, symmetry_permutation
from eegaug.operations import get_operation

from .sleep_signals import SIX, simulate, spectra

W, N2 = 0, 2


def test_the_cap_turns_about_x_then_y_then_z():
    nose, up, right = np.eye(3)[[1, 2, 0]]
    turned = {angles: Draw(0.0, False, False, angles, 1.0).rotation() for angles in [(90, 0, 90), (90, 90, 0)]}
    np.testing.assert_allclose(turned[90, 0, 90] @ nose, up, atol=1e-12)
    np.testing.assert_allclose(turned[90, 90, 0] @ nose, right, atol=1e-12)


def test_what_happens_nearly_always_varies_as_little_as_what_hardly_ever_does():
    rows = {row["operation"]: row for row in Planted.none(polarity=0.8, left_right=0.2).operations()}
    assert rows["sign_flip"]["strength"] == 0.8 and rows["channels_symmetry"]["strength"] == 0.2
    assert [rows[name]["magnitude"] for name in ("sign_flip", "channels_symmetry")] == pytest.approx([0.4, 0.4])


def test_channels_are_lost_for_a_night():
    planted = Planted.none(dropped_channels=0.5)
    nights = simulate_nights(1, 4, n_windows=2, ch_names=SIX, planted=planted, random_state=0)
    lost = [tuple(one["dropped_channels"]) for one in nights.truth["recordings"].values()]
    assert len(set(lost)) > 2


def test_frequency_jitter_moves_the_spectrum_by_the_truth():
    planted = Planted.none(frequency_jitter_hz=1.0)
    options = {"n_windows": 150, "ch_names": ["Pz", "Oz"]}
    still, moved = simulate(5, **options), simulate(5, planted=planted, **options)
    found, truth = [], []
    for name in np.unique(still.subjects):
        logs = []
        for nights in (still, moved):
            X, y, _ = nights.select(name).as_arrays()
            f, P = spectra(X[(y == W) | (y == N2)])
            P = np.log(P.mean((0, 1)))
            logs.append(np.convolve(P, np.hanning(9) / np.hanning(9).sum(), mode="same"))
        grid = np.arange(-1.5, 1.5, 0.02)
        inside = (f > 7.5) & (f < 16)
        match = [np.corrcoef(np.interp(f[inside] - d, f, logs[0]), logs[1][inside])[0, 1] for d in grid]
        found.append(grid[np.argmax(match)])
        truth.append(moved.truth["subjects"][name]["frequency_shift_hz"])
    assert np.ptp(truth) > 0.5
    np.testing.assert_allclose(found, truth, atol=0.12)


def test_polarity_swap_and_gain_are_exact():
    plain = simulate(3, n_windows=6).as_arrays()[0]
    inverted = simulate(3, n_windows=6, planted=Planted.none(polarity=1.0)).as_arrays()[0]
    np.testing.assert_array_equal(inverted, -plain)
    swapped = simulate(3, n_windows=6, planted=Planted.none(left_right=1.0)).as_arrays()[0]
    np.testing.assert_allclose(swapped, plain[:, symmetry_permutation(SIX)], atol=1e-3)
    nights = simulate(3, n_windows=6, planted=Planted.none(amplitude=2.0))
    gains = [d["gain"] for d in nights.truth["subjects"].values()]
    assert len(set(gains)) == 3 and all(0.5 <= g <= 2 for g in gains)
    np.testing.assert_allclose(nights.read(), plain * np.repeat(gains, 6)[:, None, None], rtol=1e-4, atol=1e-3)


def test_swap_without_partner_reads_the_other_side():
    alone = simulate(1, n_windows=6, ch_names=["C3"], planted=Planted.none(left_right=1.0)).read()[:, 0].ravel()
    both = simulate(1, n_windows=6, ch_names=["C3", "C4"]).read()
    left, right = (abs(np.corrcoef(alone, both[:, c].ravel())[0, 1]) for c in (0, 1))
    assert right > 0.85 > left


def test_rotation_reads_the_field_at_turned_electrodes():
    planted = Planted.none(rotation_deg=(20.0, 30.0, 25.0))
    nights = simulate(2, n_windows=6, planted=planted)
    for name, record in nights.truth["subjects"].items():
        angles = [record[f"rotation_{a}_deg"] for a in "xyz"]
        assert all(abs(a) <= m for a, m in zip(angles, planted.rotation_deg, strict=True))
        R = Draw(0, False, False, angles, 1).rotation()
        np.testing.assert_allclose(R @ R.T, np.eye(3), atol=1e-12)
        own = simulate(2, n_windows=6, positions=electrode_positions(SIX) @ R.T).select(name).read()
        np.testing.assert_allclose(nights.select(name).read(), own, atol=1e-3)


@pytest.mark.parametrize("axis", "xyz")
def test_rotation_is_the_one_the_operation_makes(axis):
    names = ["Fp1", "Fp2", "F7", "F3", "Fz", "F4", "F8", "T7", "C3", "Cz", "C4", "T8", "P7", "P3", "Pz", "P4", "P8"]
    names += ["O1", "O2"]
    limits = tuple(20.0 if a == axis else 0.0 for a in "xyz")
    nights = simulate(1, n_windows=8, ch_names=names, planted=Planted.none(rotation_deg=limits), random_state=3)
    plain = simulate(1, n_windows=8, ch_names=names, random_state=3).read()
    angle = nights.truth["subjects"]["sim-001"][f"rotation_{axis}_deg"]
    assert abs(angle) > 5

    def turned(degrees):
        op = get_operation(f"sensors_rotation_{axis}", ch_names=names, sfreq=100, max_strength=30.0)
        noise = op.draw(1, len(names), 3000, torch.Generator().manual_seed(0))
        key = next(k for k, v in noise.items() if v.numel() == 1)
        noise[key] = torch.full_like(noise[key], 0.5 + degrees / 60)  # the angle is (2u - 1) * 30 degrees
        return op.apply(torch.from_numpy(plain), 1.0, noise).numpy()

    def distance(degrees):
        return np.linalg.norm(turned(degrees) - nights.read()) / np.linalg.norm(plain)

    assert distance(angle) < 0.75 * distance(0.0) < 0.75 * distance(-angle)


def test_lost_channels_record_noise_and_nothing_else_changes():
    nights = simulate(8, n_windows=20, planted=Planted.none(dropped_channels=0.3))
    plain = simulate(8, n_windows=20)
    n_lost = 0
    for night, whole in zip(nights.datasets, plain.datasets, strict=True):
        lost = [SIX.index(c) for c in nights.truth["recordings"][night.name]["dropped_channels"]]
        kept = [c for c in range(6) if c not in lost]
        n_lost += len(lost)
        X = night.read()
        np.testing.assert_array_equal(X[:, kept], whole.read()[:, kept])
        assert X.std(-1).min() > 1
        for c in lost:
            assert abs(np.corrcoef(X[:, c].ravel(), whole.read()[:, c].ravel())[0, 1]) < 0.1
    assert 8 * 6 * 0.1 < n_lost < 8 * 6 * 0.5
    all_lost = simulate(2, n_windows=5, planted=Planted.none(dropped_channels=1.0)).truth["recordings"]
    assert [len(r["dropped_channels"]) for r in all_lost.values()] == [5, 5]


def test_draws_fill_their_ranges_and_scale_with_them():
    wide, narrow = Planted(frequency_jitter_hz=2.0, rotation_deg=(30, 30, 30)), Planted(frequency_jitter_hz=0.5)
    draws = [Draw.of(wide, np.random.default_rng(k)) for k in range(400)]
    shifts = np.array([d.frequency_shift_hz for d in draws])
    assert np.abs(shifts).max() <= 2 and shifts.std() == pytest.approx(2 / np.sqrt(3), rel=0.08)
    assert np.mean([d.inverted for d in draws]) == pytest.approx(0.5, abs=0.08)
    assert np.mean([d.swapped for d in draws]) == pytest.approx(0.5, abs=0.08)
    turns = np.array([d.rotation_deg for d in draws])
    assert np.abs(turns).max() <= 30 and np.abs(turns.mean(0)).max() < 3
    again = [Draw.of(narrow, np.random.default_rng(k)).frequency_shift_hz for k in range(400)]
    np.testing.assert_allclose(again, shifts / 4)


def test_truth_is_plain_data_in_the_units_of_the_operations():
    planted = Planted(frequency_jitter_hz=0.5, rotation_deg=(15, 0, 30), polarity=0.25)
    truth = simulate_nights(2, n_windows=5, planted=planted, random_state=1).truth
    assert json.loads(json.dumps(truth)) == truth
    assert Planted(**truth["planted"]) == planted
    table = planted_table(truth).set_index("operation")
    for name, row in table.iterrows():
        op = get_operation(name, sfreq=100, ch_names=SIX)
        assert row.magnitude * (op.max_strength if op.has_magnitude else 0.5) == pytest.approx(row.strength)
        assert row.unit == (op.unit if op.has_magnitude else "probability")
    assert table.strength["frequency_shift"] == 0.5 and table.magnitude["sensors_rotation_x"] == 0.5
    with pytest.raises(ValueError, match="no truth"):
        planted_table(None)


@pytest.mark.parametrize(
    "options",
    [{"frequency_jitter_hz": 6}, {"polarity": 1.2}, {"rotation_deg": (0, -1, 0)}, {"amplitude": 0.5}, {"jitter": 1}],
)
def test_wrong_ranges_are_named(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        Planted(**options)


def test_planted_must_be_planted():
    with pytest.raises(TypeError, match=r"Planted\.none"):
        simulate_nights(1, planted={"polarity": 0.5})
