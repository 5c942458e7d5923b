"""Capacity: how large must a network be to learn an invariance by itself, and how small may it be with AugNet?"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from eegaug.augnet import AugNetClassifier
from eegaug.classifier import StagingClassifier
from eegaug.data import make_sinusoids
from eegaug.experiments.base import Experiment, Settings
from eegaug.experiments.networks import Perceptron
from eegaug.invariance import invariance_score
from eegaug.operations import get_operation
from eegaug.plotting.colours import GREEN, GREY, LEGEND, VERMILION, tidy
from eegaug.policy import Policy, SubPolicy

__all__ = ["EXPERIMENT"]

SFREQ, TRUE_SHIFT_HZ = 100.0, 0.5
#: Width and depth of the trunks.
SIZES = ((1, 1), (2, 1), (2, 2), (2, 3))
ARMS = ("none", "oracle", "augnet")
COLOURS = {"none": GREY, "oracle": GREEN, "augnet": VERMILION}
LABELS = {"none": "no augmentation", "oracle": "true augmentation", "augnet": "AugNet"}
#: Read off the figure of the paper's repository, one seed: invariance and accuracy by size.
PAPER = {
    "none": ((0.00, 0.87, 0.74, 0.47), (0.54, 0.71, 0.75, 0.69)),
    "oracle": ((0.80, 0.95, 0.96, 0.96), (0.62, 0.86, 0.85, 0.91)),
    "augnet": ((0.98, 0.97, 0.97, 0.97), (0.85, 0.97, 0.95, 0.90)),
}


def plan(settings: Settings) -> list[dict[str, Any]]:
    """Arms and sizes for each seed, under the paper's code's phase and a uniform one; copies at prediction too."""
    phases = ("paper_code",) if settings.quick else ("paper_code", "uniform")
    return [
        {"phase": phase, "arm": arm, "width": width, "depth": depth, "seed": seed, "epochs": 50}
        for seed in settings.seed_list(full=10, quick=2)
        for phase in phases
        for width, depth in SIZES
        for arm in ARMS
    ]


def run(phase: str, arm: str, width: int, depth: int, seed: int, epochs: int) -> dict[str, Any]:
    """Train once; AugNet's predictions are scored with 1, 4 and 10 copies."""
    from sklearn.model_selection import train_test_split

    X, y = make_sinusoids(phase=phase, random_state=seed)
    X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=1 / 3, stratify=y, random_state=seed)
    common: dict[str, Any] = {
        "module__width": width,
        "module__depth": depth,
        "sfreq": SFREQ,
        "lr": 1e-2,
        "optimizer__betas": (0.9, 0.999),
        "optimizer__weight_decay": 1e-4,
        "batch_size": 32,
        "max_epochs": epochs,
        "random_state": seed,
        "verbose": 0,
    }
    shift = get_operation("frequency_shift", sfreq=SFREQ, max_strength=2.0)
    if arm == "augnet":
        clf = AugNetClassifier(
            Perceptron,
            layers=[[shift]],
            selection="weighted",
            penalty=0.8,
            initial_strength=0.05,
            n_copies=10,
            augmentation_weight_decay=1e-4,
            **common,
        )
    else:
        truth = SubPolicy(operations=[("frequency_shift", 0.5, TRUE_SHIFT_HZ / 5.0)])
        policy = Policy(sub_policies=[truth], sfreq=SFREQ) if arm == "oracle" else None
        clf = StagingClassifier(Perceptron, policy=policy, **common)
    start = time.perf_counter()
    clf.fit(X_train, y_train)
    row = {"seconds": time.perf_counter() - start, "n_parameters": _size(clf), "accuracy": clf.score(X_test, y_test)}
    if arm == "augnet":
        row["shift_hz"] = float(clf.invariances_["strength"].iloc[0])
        for copies in (1, 4):
            row[f"accuracy_{copies}"] = clf.set_params(n_copies=copies).score(X_test, y_test)
        clf.set_params(n_copies=10)
    magnitude = TRUE_SHIFT_HZ / shift.max_strength
    for mode in ("paper", "centred"):
        row[f"invariance_{mode}"] = float(
            invariance_score(clf, X_test, shift, magnitude, mode=mode, random_state=seed).median
        )
    return {name: None if isinstance(v, float) and np.isnan(v) else v for name, v in row.items()}


def _size(clf: StagingClassifier) -> int:
    trunk = getattr(clf.module_, "trunk", clf.module_)
    return sum(p.numel() for p in trunk.parameters())


def table(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """One row for each phase, size and arm: medians with quartiles over seeds."""
    rows = []
    for (phase, width, depth, arm), part in tables["runs"].groupby(["phase", "width", "depth", "arm"], sort=False):
        paper = [values[SIZES.index((width, depth))] for values in PAPER[arm]]
        as_published = phase == "paper_code"
        rows.append(
            {
                "phase": phase,
                "width x depth": f"{width} x {depth}",
                "method": LABELS[arm],
                "runs": len(part),
                "invariance": _invariance(part["invariance_paper"]),
                "paper invariance": f"{paper[0]:.2f}" if as_published else "",
                "centred invariance": _invariance(part["invariance_centred"]),
                "accuracy": _spread(part["accuracy"]),
                "paper accuracy": f"{paper[1]:.2f}" if as_published else "",
                "4 copies": _spread(part["accuracy_4"]) if arm == "augnet" else "",
                "1 copy": _spread(part["accuracy_1"]) if arm == "augnet" else "",
                "shift Hz": _spread(part["shift_hz"]) if arm == "augnet" else "",
                "seconds": f"{part['seconds'].median():.1f}",
            }
        )
    return pd.DataFrame(rows)


def _invariance(values: pd.Series) -> str:
    """Spread over the networks that have a score, and how many say the same about all windows."""
    known = values.astype(float).dropna()
    same = f"{len(values) - len(known)} constant" if len(known) < len(values) else ""
    return ", ".join(part for part in (_spread(known) if len(known) else "", same) if part)


def _spread(values: pd.Series) -> str:
    low, middle, high = np.nanpercentile(values.astype(float), [25, 50, 75])
    return f"{middle:.2f} ({low:.2f}–{high:.2f})"


def figure(tables: dict[str, pd.DataFrame]) -> Figure:
    """Invariance and accuracy against the size of the trunk, as in the paper; a row for each phase."""
    runs = tables["runs"]
    phases = list(dict.fromkeys(runs["phase"]))
    picture = Figure(figsize=(6.4, 2.5 * len(phases) + 0.2), layout="constrained")
    axes = picture.subplots(len(phases), 2, squeeze=False)
    for row, phase in zip(axes, phases, strict=True):
        for ax, column, number in ((row[0], "invariance_paper", 0), (row[1], "accuracy", 1)):
            for index, arm in enumerate(ARMS):
                part = runs[(runs["phase"] == phase) & (runs["arm"] == arm)]
                by_size = part.groupby(["width", "depth"])[column]
                low, middle, high = (by_size.quantile(q).reindex(SIZES).to_numpy(float) for q in (0.25, 0.5, 0.75))
                at = np.arange(len(SIZES)) + 0.18 * (index - 1)
                colour = COLOURS[arm]
                ax.errorbar(
                    at, middle, [middle - low, high - middle], fmt="o", ms=4, lw=1.2, color=colour, label=LABELS[arm]
                )
                if phase == "paper_code":
                    ax.plot(at, PAPER[arm][number], "_", ms=9, mew=1.4, color=colour, alpha=0.6)
            ax.set_xticks(range(len(SIZES)), [f"{w} x {d}" for w, d in SIZES], fontsize=8)
            ax.set_ylim(-0.05, 1.05)
            ax.set_ylabel("invariance to ±0.5 Hz" if number == 0 else "test accuracy", fontsize=8)
            tidy(ax)
        row[0].set_title(f"phase: {phase.replace('_', ' ')}", fontsize=8, loc="left")
    for ax in axes[-1]:
        ax.set_xlabel("trunk: width x depth", fontsize=8)
    axes[0, 1].legend(fontsize=7, title="dots: here; bars: paper", title_fontsize=7, **LEGEND)
    return picture


EXPERIMENT = Experiment(
    "capacity",
    "Invariance and accuracy by the size of the trunk (Rommel et al. 2022, section 4.3, Figure 6).",
    plan,
    run,
    table,
    figure,
    note=(
        "The paper shows one seed. Its code draws phases that give the class away ('paper_code'), which is what makes "
        "the problem solvable for networks of one or two hidden units; under a uniform phase all are lower. Medians "
        "(quartiles) over seeds. 'Invariance' is the published measure, in which a window counts as 0 if the network "
        "says exactly the same about it, its changed form and its partner, as networks with one or two units do about "
        "all windows at which these are off; the centred measure leaves such pairs out. 'Constant' networks say the "
        "same about all windows and have no score. True augmentation: the shift within ±0.5 Hz with probability 0.5 in "
        "training. AugNet predicts with 10 copies."
    ),
)
