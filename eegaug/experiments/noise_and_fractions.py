"""Consistency between variants when labels are wrong, and when there are few."""

from __future__ import annotations

import functools
import time
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from eegaug.classifier import StagingClassifier
from eegaug.consistency import AITClassifier
from eegaug.experiments import sleep
from eegaug.experiments.base import Experiment, Settings, mean_and_sd
from eegaug.plotting.colours import GREY, LEGEND, SKY, VERMILION, tidy

__all__ = ["FRACTIONS", "LABEL_NOISE"]

ARMS = {"none": "no augmentation", "variants": "two variants", "ait": "two variants, λ = 1"}
COLOURS = {"none": GREY, "variants": SKY, "ait": VERMILION}
WRONG = (0.0, 0.2, 0.5, 0.8)
SHARES = (0.1, 0.3, 0.5, 1.0)
#: Accuracy in %, without to with the loss (Table 3, wrong labels), and the gain (Table 4, subsets of ImageNet).
PAPER_NOISE = {0.2: "62.20 to 64.68", 0.5: "52.10 to 55.11", 0.8: "26.73 to 28.08"}
PAPER_SHARES = {0.1: "+1.44", 0.3: "+1.01", 0.5: "+0.52"}


def _plan(settings: Settings, what: str, levels: tuple[float, ...], quick: tuple[float, ...]) -> list[dict[str, Any]]:
    return [
        {**entry, what: level, "arm": arm, "epochs": sleep.epochs(settings)}
        for entry in sleep.night_plan(settings)
        for level in (quick if settings.quick else levels)
        for arm in ARMS
    ]


def with_wrong_labels(y: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Labels of which a share is replaced by another class of these windows, drawn uniformly.

    Examples
    --------
    >>> y = np.array([0, 2, 3, 4] * 5)
    >>> wrong = with_wrong_labels(y, 0.3, seed=0)
    >>> int((wrong != y).sum()), np.unique(wrong).tolist()
    (6, [0, 2, 3, 4])
    """
    rng = np.random.default_rng(seed)
    classes, codes = np.unique(y, return_inverse=True)
    wrong = rng.choice(len(y), round(share * len(y)), replace=False)
    codes[wrong] = (codes[wrong] + rng.integers(1, len(classes), len(wrong))) % len(classes)
    return classes[codes]


def share_of_windows(y: np.ndarray, subjects: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Numbers of the windows of a share of each class of each subject, one at least.

    Examples
    --------
    >>> share_of_windows(np.zeros(10), np.zeros(10), 0.3, seed=0).size
    3
    """
    rng = np.random.default_rng(seed)
    kept = []
    for subject in np.unique(subjects):
        for label in np.unique(y[subjects == subject]):
            rows = np.flatnonzero((subjects == subject) & (y == label))
            kept.append(rng.choice(rows, max(1, round(share * len(rows))), replace=False))
    return np.sort(np.concatenate(kept))


def _train(
    source: dict[str, Any], seed: int, device: str, arm: str, epochs: int, wrong: float = 0.0, share: float = 1.0
) -> dict[str, Any]:
    train, test = sleep.train_and_test(source, seed)
    common = sleep.training_settings(source, train, seed=seed, epochs=epochs, device=device)
    X, y, subjects = train.as_arrays()
    rows = share_of_windows(y, subjects, share, seed)
    X, y = X[rows], with_wrong_labels(y[rows], wrong, seed)
    if arm == "none":
        clf = StagingClassifier(**common)
    else:
        clf = AITClassifier(consistency=1.0 if arm == "ait" else 0.0, **common)
    start = time.perf_counter()
    clf.fit(X, y)
    return {"seconds": time.perf_counter() - start, "n_windows": len(y), **sleep.scores(clf, test)}


def run_label_noise(
    source: dict[str, Any], seed: int, device: str, wrong: float, arm: str, epochs: int
) -> dict[str, Any]:
    """Train once on labels of which a share is wrong."""
    return _train(source, seed, device, arm, epochs, wrong=wrong)


def run_fractions(
    source: dict[str, Any], seed: int, device: str, share: float, arm: str, epochs: int
) -> dict[str, Any]:
    """Train once on a share of the windows; as many epochs more, so that all make as many steps."""
    return _train(source, seed, device, arm, round(epochs / share), share=share)


def _table(tables: dict[str, pd.DataFrame], what: str, paper: dict[float, str], paper_title: str) -> pd.DataFrame:
    rows = []
    for level, part in tables["runs"].groupby(what, sort=True):
        by_arm = {arm: part[part["arm"] == arm].set_index("seed")["balanced_accuracy"] for arm in ARMS}
        row: dict[str, Any] = {what: f"{100 * level:.0f} %", "seeds": part["seed"].nunique()}
        row |= {ARMS[arm]: mean_and_sd(values) for arm, values in by_arm.items()}
        row["the loss adds"] = mean_and_sd((by_arm["ait"] - by_arm["variants"]).dropna(), sign=True)
        row[paper_title] = paper.get(level, "")
        row["seconds"] = f"{part['seconds'].median():.0f}"
        rows.append(row)
    return pd.DataFrame(rows)


def _figure(tables: dict[str, pd.DataFrame], what: str, label: str) -> Figure:
    picture = Figure(figsize=(4.6, 3.0), layout="constrained")
    ax = picture.subplots()
    levels = 100 * tables["runs"][what]
    beside = 0.012 * (levels.max() - levels.min())  # bars beside each other are all seen
    for place, (arm, title) in enumerate(ARMS.items()):
        by_level = tables["runs"][tables["runs"]["arm"] == arm].groupby(what)["balanced_accuracy"]
        mean, spread = by_level.mean(), by_level.std().fillna(0.0)
        at = 100 * mean.index + beside * (place - (len(ARMS) - 1) / 2)
        ax.errorbar(at, mean, spread, color=COLOURS[arm], marker="o", ms=4, capsize=2, label=title)
    ax.set_xlabel(label, fontsize=8)
    ax.set_ylabel("test balanced accuracy, mean ± SD", fontsize=8)
    ax.legend(fontsize=7, **LEGEND)
    tidy(ax)
    return picture


_NOTE = (
    f"{sleep.SOURCE} Variants: the fixed sleep policy, drawn twice; 'two variants' without the loss is the "
    "control that sees as much. Mean ± SD over seeds; 'the loss adds' is paired by seed. "
)

LABEL_NOISE = Experiment(
    "label-noise",
    "Wrong labels (Chen et al. 2019, Table 3), on sleep.",
    functools.partial(_plan, what="wrong", levels=WRONG, quick=(0.0, 0.5)),
    run_label_noise,
    functools.partial(_table, what="wrong", paper=PAPER_NOISE, paper_title="paper, accuracy in %"),
    functools.partial(_figure, what="wrong", label="wrong training labels (%)"),
    note=_NOTE
    + "At 80 % labels of five stages say nothing, since each is named as often as each other; of the paper's "
    "100 classes the right one is still named far more often than any other. The paper has pictures (CIFAR-100), "
    "without to with the loss, and half the updates without it.",
)

FRACTIONS = Experiment(
    "fractions",
    "Few labelled windows (Chen et al. 2019, Table 4), on sleep.",
    functools.partial(_plan, what="share", levels=SHARES, quick=(0.3, 1.0)),
    run_fractions,
    functools.partial(_table, what="share", paper=PAPER_SHARES, paper_title="paper, gain in %"),
    functools.partial(_figure, what="share", label="training windows (%)"),
    note=_NOTE + "A share of each subject's windows of each stage; epochs are prolonged, so that all make as many "
    "steps. The paper has pictures (subsets of ImageNet), and half the updates without the loss.",
)
