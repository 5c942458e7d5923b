"""The experiment on sinusoids: what a run gives, and the table and figure that are made of runs."""

from __future__ import annotations

import pandas as pd
import pytest
import torch

from eegaug.experiments import Settings, get_experiment
from eegaug.experiments.sinusoids import NextClass, right_range, run

EXPERIMENT = get_experiment("sinusoids")


def test_plan():
    whole, quick = EXPERIMENT.plan(Settings()), EXPERIMENT.plan(Settings(quick=True))
    assert len(whole) == 7 * 20 and {entry["seed"] for entry in whole} == set(range(20))
    assert {entry["phase"] for entry in whole} == {"uniform", "paper_code"}
    assert len(quick) == 9 and max(entry["epochs"] for entry in quick) == 40


def test_next_class_adds_two_hertz():
    t = torch.arange(1000) / 100
    X = torch.stack([torch.sin(2 * torch.pi * f * t + 0.3) for f in (2.0, 6.4)])[:, None]
    assert (torch.fft.rfft(NextClass()(X)).abs().argmax(-1).flatten() / 10).tolist() == pytest.approx([4.0, 8.4])


@pytest.mark.parametrize(
    ("operation", "magnitude", "strength", "right"),
    [
        ("frequency_shift", 0.08, 0.4, True),
        ("frequency_shift", 0.12, 0.6, True),
        ("frequency_shift", 0.078, 0.39, False),
        ("ft_surrogate", 1.0, 6.28, True),
        ("ft_surrogate", 0.98, 6.2, False),
        ("next_class", 0.09, 0.045, True),
        ("next_class", 0.11, 0.055, False),
    ],
)
def test_right_ranges(operation, magnitude, strength, right):
    assert right_range(operation, magnitude, strength) is right


@pytest.fixture(scope="module")
def found():
    """Two runs of two epochs each."""
    cases = [("weighted", "paper"), ("single", "eegaug")]
    tables: dict[str, list] = {}
    for selection, ranges in cases:
        entry = {"phase": "uniform", "selection": selection, "ranges": ranges, "seed": 0, "epochs": 2}
        for name, rows in run(**entry).items():
            tables.setdefault(name, []).extend(entry | row for row in rows)
    return {name: pd.DataFrame(rows) for name, rows in tables.items()}


def test_a_run_gives_all_three_tables(found):
    assert found["runs"]["n_operations"].tolist() == [3, 6]
    assert found["runs"]["selected"].notna().tolist() == [True, False]
    assert len(found["operations"]) == 9 and len(found["epochs"]) == 2 * 9
    single = found["operations"].iloc[3:].set_index("operation")
    assert single.loc["sign_flip", "signal_change"] > single.loc["gaussian_noise", "signal_change"] > 0
    shift = found["operations"].iloc[0]
    assert shift["strength"] == pytest.approx(2 * shift["magnitude"])


def test_table_and_figure(found):
    summary = EXPERIMENT.table(found)
    assert summary["selects shift"].tolist()[1] == "all operations"
    assert summary["paper Hz"].tolist() == ["about 0.5", ""]
    picture = EXPERIMENT.figure(found)
    assert len(picture.axes) == 6
    lines = picture.axes[3].get_lines()
    # Each operation as a whole line, below dashes that show those which lie on each other in turns.
    whole, dashes = lines[::2], lines[1::2]
    assert len(whole) == len(dashes) == 6
    assert {line.get_linestyle() for line in whole} == {"-"} and {line.get_linestyle() for line in dashes} == {"--"}
    assert all(one.get_ydata()[0] == pytest.approx(1 / 6) for one in lines)


def test_circles_and_titles_are_whole(found):
    picture = EXPERIMENT.figure({**found, "runs": found["runs"].assign(shift_hz=0.0)})
    picture.draw_without_rendering()
    ax = picture.axes[2]
    (circle, *_) = [line for line in ax.get_lines() if len(line.get_xdata()) and line.get_marker() == "o"]
    room = ax.transData.transform([(1, 0)])[0, 1] - ax.bbox.y0
    assert room > circle.get_markersize() / 2 * picture.dpi / 72
    assert max(one.get_tightbbox().x1 for one in picture.axes) <= picture.bbox.x1
    assert [tick for tick in ax.get_xticks() if 0.5 <= tick <= 1.5] == [1.0]  # of a single run
