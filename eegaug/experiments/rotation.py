"""Rotation: does a network learn how far pictures may be turned?"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure

from eegaug._random import contained_rng
from eegaug.augnet import AugNetClassifier
from eegaug.experiments import pictures
from eegaug.experiments.base import Experiment, Settings
from eegaug.plotting.colours import BLUE, GREEN, GREY, ORANGE, SKY, TRUTH_COLOUR, VERMILION, tidy, whole_ticks

__all__ = ["EXPERIMENT"]

#: Beyond this classes meet.
TRUE_DEGREES = 45.0
OPERATIONS = (pictures.TranslateX, pictures.TranslateY, pictures.Rotate, pictures.ShearX, pictures.ShearY)
#: Ways to learn; the start of all is ± 180 / 8 degrees.
ARMS: dict[str, dict[str, Any]] = {
    "AugNet": {"selection": "weighted", "penalty": 0.5, "penalty_kind": "selective"},
    "no penalty": {"selection": "weighted", "penalty": 0.0, "penalty_kind": "none"},
    "magnitude penalty": {"selection": "weighted", "penalty": 0.5, "penalty_kind": "magnitude"},
    "one operation a picture": {"selection": "single", "initial_strength": 0.125},
    "Augerino": {"penalty": 0.05},
    "Augerino, λ = 0.2": {"penalty": 0.2},
}
COLOURS = dict(zip(ARMS, (VERMILION, GREY, ORANGE, GREEN, BLUE, SKY), strict=True))
#: Read off the paper's Figures 3 and 4: degrees, of one run.
PAPER = {"AugNet": "about 45", "no penalty": "about 0", "magnitude penalty": "about 40"}
PAPER |= dict.fromkeys(("Augerino", "Augerino, λ = 0.2"), "about 45")


def plan(settings: Settings) -> list[dict[str, Any]]:
    """Arms for each seed."""
    quick = settings.quick
    size = {"n_train": 1000 if quick else 2000, "n_test": 1000, "epochs": 15 if quick else 30}
    return [{"arm": arm, "seed": seed, **size} for seed in settings.seed_list(full=5, quick=1) for arm in ARMS]


def run(arm: str, seed: int, n_train: int, n_test: int, epochs: int) -> dict[str, list[dict[str, Any]]]:
    """Train once."""
    X, y = pictures.make_turned_glyphs(n_train + n_test, random_state=seed)
    train, test = (X[:n_train], y[:n_train]), (X[n_train:], y[n_train:])
    start = time.perf_counter()
    result = _augerino if arm.startswith("Augerino") else _augnet
    row, history = result(arm, seed, train, test, epochs)
    return {"runs": [{**row, "seconds": time.perf_counter() - start}], "epochs": history}


def _augnet(arm: str, seed: int, train: tuple, test: tuple, epochs: int) -> tuple[dict, list[dict]]:
    clf = AugNetClassifier(
        pictures.PictureNet,
        layers=[[operation() for operation in OPERATIONS]],
        n_copies=4,
        lr=1e-3,
        augmentation_lr=1e-2,
        optimizer__betas=(0.9, 0.999),
        batch_size=64,
        max_epochs=epochs,
        random_state=seed,
        verbose=0,
        **{"initial_strength": 0.125, **ARMS[arm]},
    ).fit(*train)
    history = clf.invariances_history_
    rotate = history[history["operation"] == "rotate"]
    final = rotate.iloc[-1]
    row = {
        "degrees": float(final["strength"]),
        "weight": float(final["weight"]),
        "selected": clf.invariances_.loc[clf.invariances_["weight"].idxmax(), "operation"],
        "accuracy": float(clf.score(*test)),
    }
    epochs = rotate.rename(columns={"strength": "degrees"})[["epoch", "degrees", "weight"]]
    return row, epochs.to_dict("records")


def _augerino(arm: str, seed: int, train: tuple, test: tuple, epochs: int) -> tuple[dict, list[dict]]:
    with contained_rng(seed, "cpu"):
        trunk = pictures.PictureNet()
        group, history = pictures.fit_augerino(
            *train, trunk, penalty=ARMS[arm]["penalty"], lr=1e-3, epochs=epochs, batch_size=64, seed=seed
        )
        accuracy = pictures.augerino_accuracy(*test, trunk, group, seed=seed)
    kept = [{"epoch": row["epoch"], "degrees": row["degrees"], "weight": None} for row in history]
    return {"degrees": history[-1]["degrees"], "weight": None, "selected": None, "accuracy": accuracy}, kept


def table(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """One row for each arm."""
    rows = []
    for arm, part in tables["runs"].groupby("arm", sort=False):
        degrees = part["degrees"]
        weighted = ARMS[arm].get("selection") == "weighted"
        rows.append(
            {
                "method": arm,
                "runs": len(part),
                "selects rotation": f"{(part['selected'] == 'rotate').sum()} of {len(part)}" if weighted else "",
                "degrees (range)": f"{degrees.median():.0f} ({degrees.min():.0f}–{degrees.max():.0f})",
                "paper degrees": PAPER.get(arm, ""),
                "within 20 % of 45": f"{(abs(degrees / TRUE_DEGREES - 1) <= 0.2).sum()} of {len(part)}",
                "accuracy": f"{part['accuracy'].mean():.3f} (lowest {part['accuracy'].min():.3f})",
                "seconds": f"{part['seconds'].median():.0f}",
            }
        )
    return pd.DataFrame(rows)


def figure(tables: dict[str, pd.DataFrame]) -> Figure:
    """The learned angle over epochs, the weight of the rotation, and pictures turned as far as was learned."""
    picture = Figure(figsize=(8.6, 3.0), layout="constrained")
    axes = picture.subplots(1, 3, width_ratios=[1.2, 1.2, 1])
    epochs = tables["epochs"]
    for arm, part in epochs.groupby("arm", sort=False):
        for ax, column in zip(axes, ("degrees", "weight"), strict=False):
            by_epoch = part.groupby("epoch")[column]
            if by_epoch.count().sum() == 0 or (column == "weight" and ARMS[arm].get("selection") != "weighted"):
                continue
            middle = by_epoch.median()
            ax.plot(middle.index, middle, color=COLOURS[arm], lw=1.4, label=arm)
            low, high = by_epoch.min(), by_epoch.max()
            ax.fill_between(middle.index, low, high, color=COLOURS[arm], alpha=0.15, lw=0)
    axes[0].axhline(TRUE_DEGREES, color=TRUTH_COLOUR, ls="--", lw=0.9)
    axes[0].set_ylabel("rotation: ± degrees", fontsize=8)
    axes[0].set_ylim(0, 185)
    handles, labels = axes[0].get_legend_handles_labels()
    picture.legend(handles, labels, loc="outside lower center", ncols=len(labels), fontsize=8, frameon=False)
    axes[1].set_ylabel("weight of the rotation", fontsize=8)
    axes[1].set_ylim(-0.03, 1.03)
    for ax in axes[:2]:
        ax.set_xlabel("epoch", fontsize=8)
        whole_ticks(ax)
        tidy(ax)
    X, y = pictures.make_turned_glyphs(16, max_degrees=0.0, random_state=0)
    shown = [X[np.flatnonzero(y == label)[0]] for label in range(4)]
    upright = torch.as_tensor(np.stack(shown))
    rows = []
    for degrees in (-TRUE_DEGREES, 0.0, TRUE_DEGREES):
        angle = torch.full((4,), np.radians(degrees), dtype=torch.float32)
        turned = pictures.transformed(upright, pictures.turn(angle)).reshape(4, pictures.SIZE, pictures.SIZE)
        rows.append(np.concatenate(list(turned.numpy()), axis=1))
    axes[2].imshow(np.concatenate(rows), cmap="gray_r", vmin=0, vmax=1)
    axes[2].set_xticks([pictures.SIZE * (k + 0.5) for k in range(4)], [str(k) for k in range(4)], fontsize=8)
    axes[2].set_yticks([pictures.SIZE * (k + 0.5) for k in range(3)], ["-45°", "0°", "+45°"], fontsize=8)
    axes[2].set_xlabel("class", fontsize=8)
    axes[2].set_title("as far as classes allow", fontsize=8, loc="left")
    axes[2].tick_params(length=0)
    return picture


EXPERIMENT = Experiment(
    "rotation",
    "How far pictures may be turned (Rommel et al. 2022, section 4.1, Figures 3 and 4).",
    plan,
    run,
    table,
    figure,
    note=(
        "Two drawn glyphs instead of the paper's two pictures, fewer of them and a narrower trunk, so that a laptop "
        "will do. Classes are an upright and an upside-down version of each, turned by up to ±45°: further turning is "
        "harmless up to ±45°. Medians (smallest to largest) over seeds; the paper shows one run. 'One operation a "
        "picture' is eegaug's, without a counterpart in the paper. Augerino learns all six widths of the affine group; "
        "its angle is half the width of the rotation, and its penalty 0.05 as the paper says, or 0.2 as its code has."
    ),
)
