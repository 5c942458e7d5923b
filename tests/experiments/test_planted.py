"""The experiment on planted ranges: operations, runs, table and figure."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from eegaug.experiments import Settings, get_experiment
from eegaug.experiments.networks import BandPowerNet
from eegaug.experiments.planted import OtherWindow, run

EXPERIMENT = get_experiment("planted")


def test_plan():
    whole = EXPERIMENT.plan(Settings())
    assert len(whole) == 20 * 2 * 4
    assert {entry["arm"] for entry in whole} == {"none", "weighted", "single", "single, judged"}
    assert len(EXPERIMENT.plan(Settings(quick=True))) == 2 * 4


def test_other_window_is_another_one():
    X = torch.randn(5, 2, 3)
    out = OtherWindow()(X)
    assert torch.equal(out, X[[4, 0, 1, 2, 3]])


def test_network_sees_power_alone():
    net = BandPowerNet(2, 5, kernel_size=9).eval()
    X = torch.randn(3, 2, 100)
    torch.testing.assert_close(net(-X), net(X))
    assert not torch.allclose(net(2 * X), net(X))


def test_a_run_knows_what_it_learned():
    tables = run("single, judged", jitter_hz=0.5, seed=0, epochs=1)
    (row,) = tables["runs"]
    assert 0 <= row["test_balanced_accuracy"] <= 1 and row["train_ce"] > 0
    assert [r["operation"] for r in tables["operations"]][-1] == "other_window"
    assert len(tables["operations"]) == 6


def test_table_and_figure():
    """From made-up magnitudes: one run in which all is right, one in which nothing is."""
    magnitudes = {"frequency_shift": (0.1, 0.2), "sign_flip": (1.0, 0.5), "channels_symmetry": (1.0, 0.9)}
    magnitudes |= {"other_window": (0.05, 0.2)}
    operations = [
        {"arm": "single", "jitter_hz": 0.5, "seed": seed, "operation": name, "magnitude": m, "strength": 5 * m}
        for name, values in magnitudes.items()
        for seed, m in enumerate(values)
    ]
    runs = [
        {"arm": arm, "jitter_hz": 0.5, "seed": seed, "test_balanced_accuracy": score, "seconds": 1.0}
        | ({"copies_balanced_accuracy": 0.5} if arm == "single" else {})
        for arm, scores in (("none", (0.6, 0.6)), ("single", (0.7, 0.5)))
        for seed, score in enumerate(scores)
    ]
    tables = {"runs": pd.DataFrame(runs), "operations": pd.DataFrame(operations)}
    summary = EXPERIMENT.table(tables).set_index("arm")
    right = [column for column in summary.columns if column.endswith("right")]
    assert len(right) == 4 and (summary.loc["single", right] == "1 of 2").all()
    assert summary.loc["single", "shift ± Hz, median (quartiles)"] == "0.75 (0.62–0.88)"
    assert summary.loc["single", "better than none"] == "1 of 2"
    assert summary.loc["none", "balanced accuracy"] == "0.600 ± 0.000"
    one_seed = EXPERIMENT.table({name: rows[rows["seed"] == 0] for name, rows in tables.items()})
    assert one_seed["balanced accuracy"].tolist() == ["0.600", "0.700"]
    (ax,) = EXPERIMENT.figure(tables).axes
    truths = [line.get_xdata()[0] for line in ax.get_lines() if line.get_linestyle() == "--"]
    assert truths == pytest.approx([0.1, 1.0, 1.0, 0.0])
    assert np.allclose(ax.get_lines()[0].get_xdata(), [0.1, 0.2])
