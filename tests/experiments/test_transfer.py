"""The experiment on augmentations that training has not seen: its figure, and what its variants are."""

import pandas as pd
import pytest

from eegaug.consistency.variants import variant_source
from eegaug.experiments import get_experiment, transfer
from eegaug.experiments.base import Settings


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


def test_variants_are_what_the_note_says(monkeypatch):
    seen = {}

    class Trained(Exception):
        pass

    def classifier(variants, sfreq, ch_names, **settings):
        seen.update(policies=[variant_source(one, sfreq=sfreq, ch_names=ch_names) for one in variants])
        raise Trained

    monkeypatch.setattr(transfer, "AITClassifier", classifier)
    experiment = get_experiment("transfer")
    entry = experiment.plan(Settings(quick=True, seeds=1))[-1]
    found = {}
    for name in ("frequency shift + noise", "frequency shift, noise"):
        with pytest.raises(Trained):
            experiment.run(**entry | {"trained_on": name})
        found[name] = [
            [[(step.operation, step.probability) for step in sub.operations] for sub in policy.sub_policies]
            for policy in seen["policies"]
        ]
    shift, noise = [("frequency_shift", 0.5)], [("gaussian_noise", 0.5)]
    assert found == {
        "frequency shift + noise": [[shift, noise], [shift, noise]],
        "frequency shift, noise": [[shift], [noise]],
    }
    said = "with probability 0.5, one operation of its training set, drawn for each window; of 'a, b' each has its own"
    assert said in experiment.note
