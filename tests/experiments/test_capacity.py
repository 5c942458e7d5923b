"""The capacity study."""

from __future__ import annotations

import pandas as pd
import pytest
import torch

from eegaug.experiments import Settings, get_experiment
from eegaug.experiments.capacity import SIZES, run
from eegaug.experiments.networks import Perceptron

EXPERIMENT = get_experiment("capacity")


@pytest.mark.parametrize(("size", "n_parameters"), zip(SIZES, (1009, 2014, 2020, 2026), strict=True))
def test_trunks_have_the_sizes_of_the_paper(size, n_parameters):
    net = Perceptron(width=size[0], depth=size[1])
    assert sum(p.numel() for p in net.parameters()) == n_parameters
    assert net(torch.zeros(2, 1, 1000)).shape == (2, 4)


def test_plan():
    full, quick = EXPERIMENT.plan(Settings()), EXPERIMENT.plan(Settings(quick=True))
    assert len(full) == 10 * 2 * 4 * 3
    assert len(quick) == 2 * 1 * 4 * 3
    assert {entry["phase"] for entry in quick} == {"paper_code"}


def test_runs_table_and_figure():
    entries = [
        {"phase": "paper_code", "width": 2, "depth": 1, "seed": 0, "epochs": 2, "arm": arm} for arm in PAPER_ARMS
    ]
    rows = [entry | run(**entry) for entry in entries]
    assert [row["n_parameters"] for row in rows] == [2014] * 3
    assert all(0 <= row["accuracy"] <= 1 for row in rows)
    assert 0 < rows[2]["shift_hz"] <= 2.0
    tables = {"runs": pd.DataFrame(rows)}
    table = EXPERIMENT.table(tables)
    assert table["method"].tolist() == ["no augmentation", "true augmentation", "AugNet"]
    assert table["paper accuracy"].tolist() == ["0.71", "0.86", "0.97"]
    assert table["4 copies"].iloc[:2].tolist() == ["", ""]
    dead = pd.DataFrame([rows[0], rows[0] | {"seed": 1, "invariance_paper": None, "invariance_centred": None}])
    shown = EXPERIMENT.table({"runs": dead})["invariance"][0]
    assert shown == f"{table['invariance'][0]}, 1 constant"
    axes = EXPERIMENT.figure(tables).axes
    assert len(axes) == 2
    assert [ax.get_ylabel() for ax in axes] == ["invariance to ±0.5 Hz", "test accuracy"]


PAPER_ARMS = ("none", "oracle", "augnet")
