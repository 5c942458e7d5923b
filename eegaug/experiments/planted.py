"""Simulated nights with planted ranges: which ranges are found, and what that does for the score?"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor

from eegaug.augnet import AugNetClassifier
from eegaug.classifier import StagingClassifier
from eegaug.data import Planted, simulate_nights, subject_folds
from eegaug.experiments.base import Experiment, Settings, mean_and_sd
from eegaug.experiments.networks import BandPowerNet
from eegaug.operations import Operation, get_operation
from eegaug.plotting.colours import MUTED, TRUTH_COLOUR, tidy
from eegaug.plotting.invariances import family_colour

__all__ = ["EXPERIMENT", "OtherWindow"]

CH_NAMES = ("F3", "F4", "O1", "O2")
SFREQ = 50.0
TRUTH = {"sign_flip": 1.0, "channels_symmetry": 1.0, "other_window": 0.0}


class OtherWindow(Operation):
    """Puts another window of the batch in the place of each: it destroys the label, and leaves no trace of itself.

    Examples
    --------
    >>> import torch
    >>> OtherWindow()(torch.arange(3.0)[:, None, None]).flatten().tolist()
    [2.0, 0.0, 1.0]
    """

    name = "other_window"
    family = "sensors"
    has_magnitude = False
    sentence = "takes another window"

    def transform(self, X: Tensor, magnitude: Tensor | None, noise: dict[str, Tensor]) -> Tensor:
        return X.roll(1, 0)


OPERATIONS = ("frequency_shift", "sign_flip", "channels_symmetry", "time_reverse", "gaussian_noise")
ARMS: dict[str, dict[str, Any] | None] = {
    "none": None,
    "weighted": {"selection": "weighted", "penalty": 0.2, "augmentation_lr": 1e-3, "lr_schedule": "cosine"},
    "single": {"selection": "single", "augmentation_lr": 1e-2},
    "single, judged": {"selection": "single", "augmentation_lr": 1e-2, "judge_share": 0.25},
}


def plan(settings: Settings) -> list[dict[str, Any]]:
    """Arms and planted jitters for each seed; a seed has subjects of its own."""
    jitters = (0.5,) if settings.quick else (0.5, 2.0)
    return [
        {"arm": arm, "jitter_hz": jitter, "seed": seed, "epochs": 8 if settings.quick else 25}
        for seed in settings.seed_list(full=20, quick=2)
        for jitter in jitters
        for arm in ARMS
    ]


def run(arm: str, jitter_hz: float, seed: int, epochs: int) -> dict[str, list[dict]]:
    """Simulate, train, and score on other subjects."""
    planted = Planted.none(frequency_jitter_hz=jitter_hz, polarity=0.5, left_right=0.5)
    nights = simulate_nights(
        16,
        n_windows=100,
        planted=planted,
        ch_names=CH_NAMES,
        sfreq=SFREQ,
        h_freq=20.0,
        window_s=10.0,
        random_state=seed,
    )
    sizes = {"n_folds": 2, "n_train": 8, "n_valid": 0, "n_test": 8}
    split = subject_folds(sorted(set(nights.subjects)), random_state=seed, **sizes)[0]
    train, test = nights.select(split.train), nights.select(split.test)
    clf = _estimator(arm, seed, epochs)
    start = time.perf_counter()
    clf.fit(train)
    row = {"seconds": time.perf_counter() - start, "train_ce": clf.history[-1, "train_ce"]}
    tables = {}
    if arm != "none":
        row["copies_balanced_accuracy"] = _balanced_accuracy(clf, test, n_copies=4)
        learned = clf.invariances_.drop(columns="layer")
        tables["operations"] = learned.to_dict("records")
    row["test_balanced_accuracy"] = _balanced_accuracy(clf, test, n_copies=0)
    return {"runs": [row], **tables}


def _estimator(arm: str, seed: int, epochs: int) -> StagingClassifier:
    common = {
        "sfreq": SFREQ,
        "ch_names": list(CH_NAMES),
        "lr": 3e-3,
        "optimizer": torch.optim.Adam,
        "optimizer__betas": (0.9, 0.999),
        "batch_size": 32,
        "max_epochs": epochs,
        "random_state": seed,
        "verbose": 0,
    }
    if ARMS[arm] is None:
        return StagingClassifier(BandPowerNet, **common)
    known = {"sfreq": SFREQ, "ch_names": CH_NAMES, "warn": False}
    layer = [*(get_operation(name, **known) for name in OPERATIONS), OtherWindow()]
    return AugNetClassifier(BandPowerNet, layers=[layer], **common, **ARMS[arm])


def _balanced_accuracy(clf: Any, nights: Any, n_copies: int) -> float:
    from sklearn.metrics import balanced_accuracy_score

    if isinstance(clf, AugNetClassifier):
        clf.n_copies = n_copies
    return float(balanced_accuracy_score(nights.y, clf.predict(nights)))


def _right(operations: pd.DataFrame, jitter: float) -> dict[str, pd.Series]:
    """Of each operation with a known truth, whether its range is right in each run."""
    wide = operations.pivot_table(index="seed", columns="operation", values="magnitude")
    shift = operations[operations["operation"] == "frequency_shift"].set_index("seed")["strength"]
    right = {"frequency_shift": (shift / jitter - 1).abs() <= 0.2}
    for name, truth in TRUTH.items():
        right[name] = wide[name] >= 0.99 if truth else wide[name] < 0.1
    return right


def table(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """One row for each planted jitter and arm."""
    rows = []
    for (jitter, arm), part in tables["runs"].groupby(["jitter_hz", "arm"], sort=False):
        row: dict[str, Any] = {"planted ± Hz": jitter, "arm": arm, "runs": len(part)}
        if arm != "none":
            operations = tables["operations"].query("jitter_hz == @jitter and arm == @arm")
            right = _right(operations, jitter)
            shift = operations[operations["operation"] == "frequency_shift"]["strength"]
            low, middle, high = np.percentile(shift, [25, 50, 75])
            row["shift ± Hz, median (quartiles)"] = f"{middle:.2f} ({low:.2f}–{high:.2f})"
            for name, found in right.items():
                row[f"{name.replace('_', ' ')} right"] = f"{int(found.sum())} of {len(found)}"
        row["balanced accuracy"] = mean_and_sd(part["test_balanced_accuracy"])
        if arm != "none":
            row["with 4 copies"] = f"{part['copies_balanced_accuracy'].mean():.3f}"
            plain = tables["runs"].query("jitter_hz == @jitter and arm == 'none'").set_index("seed")
            gain = part.set_index("seed")["test_balanced_accuracy"] - plain["test_balanced_accuracy"]
            row["better than none"] = f"{int((gain > 0).sum())} of {int(gain.notna().sum())}"
        row["seconds"] = f"{part['seconds'].median():.1f}"
        rows.append(row)
    return pd.DataFrame(rows).fillna("")


def figure(tables: dict[str, pd.DataFrame]) -> Figure:
    """Magnitude of each operation in each run, one panel for each arm and planted jitter, with the truth."""
    operations = tables["operations"]
    cases = list(operations.groupby(["jitter_hz", "arm"], sort=False).groups)
    arms, jitters = list(dict.fromkeys(a for _, a in cases)), list(dict.fromkeys(j for j, _ in cases))
    picture = Figure(figsize=(2.6 * len(arms) + 0.6, 2.1 * len(jitters) + 0.5), layout="constrained")
    axes = picture.subplots(len(jitters), len(arms), squeeze=False, sharey=True)
    names = list(dict.fromkeys(operations["operation"]))
    for (jitter, arm), part in operations.groupby(["jitter_hz", "arm"], sort=False):
        ax = axes[jitters.index(jitter), arms.index(arm)]
        for place, name in enumerate(names):
            values = np.sort(part[part["operation"] == name]["magnitude"])
            colour = MUTED if name == OtherWindow.name else family_colour(name)
            ax.plot(values, place + np.linspace(-0.25, 0.25, len(values)), "o", ms=2.5, color=colour, alpha=0.8)
            truth = {**TRUTH, "frequency_shift": jitter / 5.0}.get(name)
            if truth is not None:
                ax.plot([truth] * 2, [place - 0.4, place + 0.4], color=TRUTH_COLOUR, lw=1, ls="--")
        ax.set_yticks(range(len(names)), [name.replace("_", " ") for name in names], fontsize=7)
        ax.set_xlim(-0.03, 1.03)
        ax.invert_yaxis() if not ax.yaxis_inverted() else None
        ax.set_title(f"{arm}, planted ± {jitter:g} Hz", fontsize=8, loc="left")
        tidy(ax, grid="x")
    for ax in axes[-1]:
        ax.set_xlabel("magnitude", fontsize=8)
    return picture


EXPERIMENT = Experiment(
    "planted",
    "AugNet on simulated nights with planted ranges: which of them are found (not in a paper).",
    plan,
    run,
    table,
    figure,
    note=(
        "Eight subjects train and eight others test; each subject is shifted in frequency by up to the planted jitter, "
        "inverted or not, left-right exchanged or not. Right: the shift within 20 % of what was planted, flip and "
        "symmetry at their bounds, and 'other window', which destroys the label, below a tenth of its bound. What is "
        "learned is how far an operation may go before stages are mistaken for one another: for polarity and sides "
        "that is what was planted, for the shift it need not be, since no stage begins where the jitter ends. "
        "'Judged': a quarter of the training windows moves the strengths and does not train the network. Balanced "
        "accuracy (mean ± SD over seeds) is that of the network for windows as they are."
    ),
)
