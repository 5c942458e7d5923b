"""Transfer: does training on one augmentation make a network invariant to others, and does consistency help?"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from eegaug._named_operations import fixed_operation
from eegaug.classifier import StagingClassifier
from eegaug.consistency import AITClassifier
from eegaug.experiments import sleep
from eegaug.experiments.base import Experiment, Settings, mean_and_sd
from eegaug.invariance import intra_augmentation_variation, transfer_matrix
from eegaug.invariance.frozen import usable
from eegaug.operations import FAMILIES, Operation
from eegaug.plotting.colours import GREY, LEGEND, VERMILION, tidy

__all__ = ["EXPERIMENT"]

#: Training sets: operations of the two variants. A name with "," gives each variant an operation of its own.
TRAINED_ON: dict[str, list[list[str]] | None] = {
    "nothing": None,
    "time masking": [["time_masking"]] * 2,
    "FT surrogate": [["ft_surrogate"]] * 2,
    "channels dropout": [["channels_dropout"]] * 2,
    "frequency shift + noise": [["frequency_shift", "gaussian_noise"]] * 2,
    "frequency shift, noise": [["frequency_shift"], ["gaussian_noise"]],
    "all": [["time_masking", "ft_surrogate", "channels_dropout", "frequency_shift", "gaussian_noise", "sign_flip"]] * 2,
}
#: Table 5 of the paper, CIFAR-100, ResNet-32, trained on random crops: accuracy in % on the originals and on three
#: frozen sets, without and with the loss.
PAPER = "69.83 to 71.48 (original), 68.33 to 70.67, 44.94 to 47.39, 65.07 to 66.79"


def plan(settings: Settings) -> list[dict[str, Any]]:
    """Training sets, without and with the loss between variants, for each seed."""
    names = ("nothing", "FT surrogate", "frequency shift, noise") if settings.quick else tuple(TRAINED_ON)
    return [
        {**entry, "trained_on": name, "consistency": weight, "epochs": sleep.epochs(settings)}
        for entry in sleep.night_plan(settings)
        for name in names
        for weight in ((0.0,) if TRAINED_ON[name] is None else (0.0, 1.0))
    ]


def run(
    source: dict[str, Any], seed: int, device: str, trained_on: str, consistency: float, epochs: int
) -> dict[str, list[dict[str, Any]]]:
    """Train once; scores on every frozen test set, and how much predictions vary between them."""
    train, test = sleep.train_and_test(source, seed)
    common = sleep.training_settings(source, train, seed=seed, epochs=epochs, device=device)
    variants = TRAINED_ON[trained_on]
    signal = {"sfreq": test.sfreq, "ch_names": test.ch_names}
    start = time.perf_counter()
    if variants is None:
        clf = StagingClassifier(**common).fit(train)
    else:
        sources = [[fixed_operation(name, **signal) for name in names] for names in variants]
        clf = AITClassifier(variants=sources, consistency=consistency, **common).fit(train)
    seconds = time.perf_counter() - start
    known = sorted({name for names in variants or () for name in names})
    X, y, _ = test.as_arrays()
    tests, about = tested_on(**signal), {**signal, "random_state": 0}
    matrix = transfer_matrix({"model": clf}, X, y, tests, trained_on={"model": known}, **about).loc["model"]
    variation = intra_augmentation_variation(clf, X, tests, **about)
    variation = variation[variation["stage"] == "all"].set_index("second")
    columns = [name for name in matrix.index if name != "mean unseen"]
    frozen = [
        {
            "tested_on": name,
            "seen": name in known,
            "balanced_accuracy": float(matrix[name]),
            "kl": float(variation.loc[name, "kl"]) if name in variation.index else None,
            "ratio": float(variation.loc[name, "ratio"]) if name in variation.index else None,
        }
        for name in columns
    ]
    unseen = [row for row in frozen if not row["seen"] and row["kl"] is not None]
    summary = {
        "original": frozen[0]["balanced_accuracy"],
        "unseen": float(np.mean([row["balanced_accuracy"] for row in unseen])),
        "unseen_kl": float(np.mean([row["kl"] for row in unseen])),
        "seconds": seconds,
    }
    return {"runs": [summary], "frozen": frozen}


def tested_on(**signal: Any) -> dict[str, Operation]:
    """Operations of the fixed policy that mean something on the montage, by name."""
    names = usable(FAMILIES["all"], len(signal["ch_names"]), signal)
    return {name: fixed_operation(name, **signal) for name in names}


def table(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """One row for each training set: without the loss, and what it changes, paired by seed."""
    runs, rows = tables["runs"], []
    for name, part in runs.groupby("trained_on", sort=False):
        plain = part[part["consistency"] == 0].set_index("seed")
        with_loss = part[part["consistency"] > 0].set_index("seed")
        row = {"trained on": name, "seeds": len(plain)}
        for title, column in (("original", "original"), ("unseen", "unseen"), ("variation (KL)", "unseen_kl")):
            row[title] = mean_and_sd(plain[column])
            row[f"{title}: with the loss"] = mean_and_sd((with_loss[column] - plain[column]).dropna(), sign=True)
        row["seconds"] = f"{part['seconds'].median():.0f}"
        rows.append(row)
    return pd.DataFrame(rows)


def figure(tables: dict[str, pd.DataFrame]) -> Figure:
    """Balanced accuracy by training and test set, as the paper's table; and the variation without and with the loss."""
    frozen = tables["frozen"]
    plain = frozen[frozen["consistency"] == 0]
    scores = plain.pivot_table(
        index="trained_on", columns="tested_on", values="balanced_accuracy", sort=False, aggfunc="mean"
    )
    picture = Figure(figsize=(10.0, 0.34 * len(scores) + 2.6), layout="constrained")
    heat, bars = picture.subplots(1, 2, width_ratios=[2.2, 1])
    image = heat.imshow(scores, cmap="cividis", aspect="auto")
    slanted = {"rotation": 60, "ha": "right", "rotation_mode": "anchor"}
    heat.set_xticks(range(scores.shape[1]), [c.replace("_", " ") for c in scores.columns], **slanted)
    heat.set_yticks(range(len(scores)), scores.index)
    heat.tick_params(labelsize=7, length=0)
    middle = (image.norm.vmin + image.norm.vmax) / 2
    for i, j in np.ndindex(scores.shape):
        value = scores.iloc[i, j]
        heat.text(j, i, f"{value:.2f}", ha="center", va="center", fontsize=7, color="w" if value < middle else "k")
    heat.set_xlabel("tested on", fontsize=8)
    heat.set_ylabel("trained on", fontsize=8)
    heat.set_title("balanced accuracy, without the loss", fontsize=8, loc="left")
    runs = tables["runs"]
    names = [name for name in scores.index if (runs[runs["trained_on"] == name]["consistency"] > 0).any()]
    for shift, weight, colour, label in ((-0.2, 0.0, GREY, "λ = 0"), (0.2, 1.0, VERMILION, "λ = 1")):
        part = runs[runs["consistency"] == weight].groupby("trained_on")["unseen_kl"]
        values, spread = part.mean().reindex(names), part.std().reindex(names).fillna(0.0)
        bars.barh(np.arange(len(names)) + shift, values, 0.36, xerr=spread, color=colour, label=label)
    bars.set_yticks(range(len(names)), names, fontsize=7)
    bars.invert_yaxis()
    bars.set_xlabel("variation on unseen sets (KL, mean ± SD)", fontsize=8)
    bars.legend(fontsize=7, ncols=2, loc="lower left", bbox_to_anchor=(0, 1), **LEGEND)  # off the bars
    tidy(bars)
    return picture


EXPERIMENT = Experiment(
    "transfer",
    "Augmentations that training has not seen (Chen et al. 2019, Table 5 and Figure 5), on sleep.",
    plan,
    run,
    table,
    figure,
    note=(
        f"{sleep.SOURCE} Test sets are frozen copies of the test nights, changed by one operation, as strong as in the "
        "fixed policy; 'unseen' is the mean over operations not trained on. Each variant applies, with probability "
        "0.5, one operation of its training set, drawn for each window; of 'a, b' each has its own. Differences with "
        "the loss between variants (weight 1) to the same two variants without it, paired by seed, mean ± SD. The "
        "paper has pictures (CIFAR-100, ResNet-32, random crops; accuracy in %, without to with the loss): "
        f"{PAPER}; scores are not comparable, the signs of the differences are."
    ),
)
