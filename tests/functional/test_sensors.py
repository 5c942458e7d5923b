import itertools

import numpy as np
import pytest
import torch

from eegaug import functional as F
from eegaug.montage import electrode_positions


def test_mixing_and_permuting_agree():
    X = torch.randn(2, 4, 5)
    permutation = torch.tensor([[2, 0, 3, 1], [0, 1, 3, 2]])
    torch.testing.assert_close(F.permute_channels(X, permutation), F.mix_channels(X, torch.eye(4)[permutation]))
    torch.testing.assert_close(F.permute_channels(X, permutation[:1]), X[:, permutation[0]])


def test_mixing_keeps_its_precision_under_autocast():
    X, matrix = torch.randn(2, 4, 50), torch.randn(2, 4, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = F.mix_channels(X, matrix)
    torch.testing.assert_close(mixed, matrix @ X)


def test_shuffle_by_hand():
    keys = torch.tensor([[0.7, 0.1, 0.5, 0.3]])
    for selected in itertools.product([True, False], repeat=4):
        members = [i for i in range(4) if selected[i]]
        expected = list(range(4))
        for place, source in zip(members, sorted(members, key=lambda i: float(keys[0, i])), strict=True):
            expected[place] = source
        assert F.shuffle_permutation(torch.tensor([selected]), keys)[0].tolist() == expected


@pytest.mark.parametrize("axis", ["x", "y", "z"])
def test_rotation_table_is_exact(axis):
    # Against the interpolation matrix computed directly for each angle.
    positions = electrode_positions(["C3", "C4", "F3", "F4", "O1", "O2", "Cz"], {"Cz": (0, 0, 1)})
    base, table = F.rotation_table(positions, axis, exact_identity=False)
    assert table.shape == (100, 2, 7, 7)
    angles = np.deg2rad([-170.0, -30.0, -1e-3, 0.0, 12.5, 90.0])
    found = F.rotation_matrices(torch.from_numpy(angles), base, table).numpy()
    n = np.arange(1, 51)
    weights = (2 * n + 1) / (n.astype(float) ** 4 * (n + 1.0) ** 4 * 4 * np.pi)

    def g(cosine):
        return np.polynomial.legendre.legval(cosine, np.r_[0, weights])

    system = np.block(
        [[g(positions @ positions.T) + 1e-5 * np.eye(7), np.ones((7, 1))], [np.ones((1, 7)), np.zeros((1, 1))]]
    )
    for angle, matrix in zip(angles, found, strict=True):
        rotation = np.eye(3)
        i, j = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
        rotation[i, i] = rotation[j, j] = np.cos(angle)
        rotation[j, i], rotation[i, j] = np.sin(angle), -np.sin(angle)
        read = np.hstack([g(positions @ rotation.T @ positions.T), np.ones((7, 1))])
        np.testing.assert_allclose(matrix, read @ np.linalg.inv(system)[:, :7], atol=2e-7)


def test_rotation_of_a_whole_turn():
    base, table = F.rotation_table(electrode_positions(["C3", "C4", "F3", "F4"]), "z")
    whole = F.rotation_matrices(torch.tensor([2 * np.pi], dtype=torch.float64), base, table)[0]
    torch.testing.assert_close(whole, torch.eye(4, dtype=torch.float64), rtol=0, atol=1e-10)


def test_a_cap_of_many_electrodes_is_prepared_without_a_spline_for_each_angle(monkeypatch):
    # For 256 electrodes that took a minute for each axis.
    evaluated = []
    legval = np.polynomial.legendre.legval
    monkeypatch.setattr(np.polynomial.legendre, "legval", lambda x, c: (evaluated.append(np.size(x)), legval(x, c))[1])
    positions = np.random.default_rng(0).standard_normal((40, 3))
    F.rotation_table(positions / np.linalg.norm(positions, axis=1, keepdims=True), "y")
    assert sum(evaluated) <= 40**2
