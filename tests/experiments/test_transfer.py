"""The experiment on augmentations that training has not seen: its figure."""

import pandas as pd
import pytest

from eegaug.experiments import get_experiment


def test_figure():
    sets, arms = ["original", "time_reverse", "sign_flip"], ["nothing", "time masking"]
    runs = [
        {"trained_on": arm, "consistency": weight, "seed": seed, "unseen_kl": 1.0 + seed}
        for arm in arms
        for weight in (0.0, 1.0)
        for seed in (0, 1)
    ]
    frozen = [run | {"tested_on": name, "balanced_accuracy": 0.5} for run in runs for name in sets]
    picture = get_experiment("transfer").figure({"runs": pd.DataFrame(runs), "frozen": pd.DataFrame(frozen)})
    picture.draw_without_rendering()
    heat, bars = picture.axes
    assert [label.get_text() for label in heat.get_xticklabels()] == ["original", "time reverse", "sign flip"]
    assert [text.get_text() for text in heat.texts] == ["0.50"] * 6
    assert [bar.get_width() for bar in bars.patches] == pytest.approx([1.5] * 4)
    legend = bars.get_legend().get_window_extent()
    assert legend.y0 >= bars.bbox.y1 - 1 and legend.y1 <= picture.bbox.y1
