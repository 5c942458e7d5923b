"""Turned pictures and what is learned about them."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn import functional

from eegaug.experiments import Settings, get_experiment, pictures, rotation

EXPERIMENT = get_experiment("rotation")


@pytest.fixture(scope="module")
def glyphs():
    X, y = pictures.make_turned_glyphs(40, max_degrees=0.0, random_state=0)
    return torch.as_tensor(X), y


def test_half_a_turn_makes_one_class_of_another(glyphs):
    X, y = glyphs
    upright, turned = X[y == 0][:1], X[y == 1][:1]
    half = pictures.transformed(upright, pictures.turn(torch.tensor([math.pi])))
    torch.testing.assert_close(half, turned, atol=1e-3, rtol=0)
    # Every strokes' glyph differs from its own half turn and from the other.
    assert (upright - turned).abs().max() > 0.5
    assert (upright - X[y == 2][:1]).abs().max() > 0.5


def test_angles_are_within_their_range():
    X, y = pictures.make_turned_glyphs(400, random_state=1)
    assert np.bincount(y).tolist() == [100] * 4
    reference, _ = pictures.make_turned_glyphs(4, max_degrees=0.0, random_state=0)
    assert X.shape == (400, 1, 1024) and X.dtype == np.float32
    # Turned pictures keep their ink.
    assert np.allclose(X.sum(2).mean(), reference.sum(2).mean(), rtol=0.05)


@pytest.mark.parametrize("operation", rotation.OPERATIONS)
def test_operations_are_the_identity_at_zero_and_differentiable(operation, glyphs):
    op, X = operation(), glyphs[0][:4]
    noise = op.draw(4, 1, 1024, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(op.apply(X, 0.0, noise), X, atol=1e-5, rtol=0)
    magnitude = torch.tensor(0.3, requires_grad=True)
    op.apply(X, magnitude, noise).square().sum().backward()
    assert magnitude.grad.abs() > 0


def test_a_quarter_turn(glyphs):
    X = glyphs[0][:1]
    turned = pictures.Rotate().apply(X, 0.5, {"u": torch.ones(1)}).reshape(32, 32)  # 90 degrees
    candidates = [torch.rot90(X.reshape(32, 32), k) for k in (1, -1)]
    assert min((turned - c).abs().max() for c in candidates) < 1e-3


def test_a_translation_moves_pixels(glyphs):
    X = glyphs[0][:1]
    op = pictures.TranslateX(max_strength=4 / 32)
    moved = op.apply(X, 1.0, {"u": torch.ones(1)}).reshape(32, 32)
    torch.testing.assert_close(moved[:, :-4], X.reshape(32, 32)[:, 4:], atol=1e-4, rtol=0)


def test_augerinos_group():
    group = pictures.AffineGroup(initial_width=0.5)
    torch.testing.assert_close(group.widths, torch.full((6,), 0.5))
    # The generator of rotations.
    turn = torch.matrix_exp(0.3 * group.generators[2])[:2, :2]
    torch.testing.assert_close(turn, torch.tensor([[math.cos(0.3), -math.sin(0.3)], [math.sin(0.3), math.cos(0.3)]]))
    # The derivative of the penalty: -weight * theta / |theta| * sigmoid(raw).
    group.penalty(0.2).backward()
    widths = functional.softplus(group.raw)
    expected = -0.2 * widths / widths.norm() * torch.sigmoid(group.raw)
    torch.testing.assert_close(group.raw.grad, expected.detach())
    wide = pictures.AffineGroup(initial_width=10.0)
    assert float(wide.penalty(0.2, safe=True)) == 0.0
    assert float(wide.penalty(0.2)) == pytest.approx(-0.2 * 10 * math.sqrt(6))
    X, _ = pictures.make_turned_glyphs(4, random_state=0)
    narrow = pictures.AffineGroup(initial_width=1e-6)
    torch.testing.assert_close(narrow(torch.as_tensor(X)), torch.as_tensor(X), atol=1e-4, rtol=0)


def test_augerino_turns_by_up_to_half_its_width_either_way(monkeypatch):
    maps = []
    monkeypatch.setattr(pictures, "transformed", lambda X, matrices: maps.append(matrices) or X)
    group = pictures.AffineGroup(initial_width=1.2)
    with torch.no_grad():
        group.raw[[0, 1, 3, 4, 5]] = -100.0
    group(torch.zeros(20_000, 1, 1024), torch.Generator().manual_seed(0))
    (matrices,) = maps
    angle = torch.atan2(matrices[:, 1, 0], matrices[:, 0, 0])
    torch.testing.assert_close(matrices, pictures.turn(angle), atol=1e-5, rtol=0)
    quantiles = torch.quantile(angle, torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0]))
    torch.testing.assert_close(quantiles, torch.tensor([-0.6, -0.3, 0.0, 0.3, 0.6]), atol=0.015, rtol=0)


def test_plan():
    assert len(EXPERIMENT.plan(Settings())) == 30
    assert [entry["arm"] for entry in EXPERIMENT.plan(Settings(quick=True))] == list(rotation.ARMS)


def test_runs_table_and_figure():
    runs, epochs = [], []
    for arm in ("AugNet", "Augerino"):
        entry = {"arm": arm, "seed": 0, "n_train": 128, "n_test": 64, "epochs": 2}
        with torch.random.fork_rng():
            tables = rotation.run(**entry)
        runs += [entry | row for row in tables["runs"]]
        epochs += [entry | row for row in tables["epochs"]]
    assert len(epochs) == 4
    assert all(0 < row["degrees"] < 180 for row in runs)
    tables = {"runs": pd.DataFrame(runs), "epochs": pd.DataFrame(epochs)}
    assert EXPERIMENT.table(tables)["paper degrees"].tolist() == ["about 45", "about 45"]
    angle, weight, shown = EXPERIMENT.figure(tables).axes
    assert len(angle.lines) == 3  # two arms and the truth
    assert len(weight.lines) == 1
    assert shown.images[0].get_array().shape == (3 * 32, 4 * 32)
