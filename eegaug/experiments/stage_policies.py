"""Stage policies: which augmentation does a network find for which sleep stage?"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from eegaug.classifier import StagingClassifier
from eegaug.data import STAGES
from eegaug.experiments import sleep
from eegaug.experiments.base import Experiment, Settings
from eegaug.search import DNASearch

__all__ = ["EXPERIMENT"]

#: Operations searched over: those that mean something on any montage of four channels, one of each kind.
OPERATIONS = (
    "time_reverse",
    "time_masking",
    "gaussian_noise",
    "ft_surrogate",
    "frequency_shift",
    "sign_flip",
    "channels_symmetry",
    "channels_dropout",
)
OBJECTIVES = ("joint", "bilevel")
_N_PAIRS = len(OPERATIONS) * (len(OPERATIONS) - 1) // 2


def plan(settings: Settings) -> list[dict[str, Any]]:
    """The paper's objective, and one that rewards augmentation that helps, for each seed."""
    return [
        {**entry, "objective": objective, "steps": 5 if settings.quick else 20, "epochs": sleep.epochs(settings)}
        for entry in sleep.night_plan(settings)
        for objective in OBJECTIVES
    ]


def run(
    source: dict[str, Any], seed: int, device: str, objective: str, steps: int, epochs: int
) -> dict[str, list[dict[str, Any]]]:
    """Search once; mean weights, probabilities and magnitudes of all pairs, by stage."""
    train, test = sleep.train_and_test(source, seed)
    common = sleep.training_settings(source, train, seed=seed, epochs=epochs, device=device)
    X, y, subjects = train.as_arrays()
    search = DNASearch(
        StagingClassifier(**common),
        operations=list(OPERATIONS),
        objective=objective,
        search_fraction=1.0,
        max_steps=steps,
        random_state=seed,
        verbose=0,
    )
    with warnings.catch_warnings():
        # Nearly every run would say so, with a line of code before it; the note says it once.
        warnings.filterwarnings("ignore", message=".* ended with nearly even weights", category=UserWarning)
        search.fit(X, y, groups=subjects)
    top = search.top_pairs_.rename(columns={"class": "stage"})
    top["stage"] = [STAGES[int(label)] for label in top["stage"]]
    distances = search.class_distances_
    row = {
        "seconds": float(search.search_time_),
        "largest_distance": float(np.nanmax(distances.to_numpy(float))),
        **sleep.scores(search.best_estimator_, test),
    }
    return {"runs": [row], "pairs": top.to_dict("records")}


def _named(part: pd.DataFrame) -> pd.DataFrame:
    """One row per pair: its name and weight."""
    rows = []
    for keys, places in part.groupby(["objective", "seed", "stage", "rank"], sort=False):
        names = sorted(places["operation"].str.replace("_", " "))
        rows.append(
            {
                **dict(zip(("objective", "seed", "stage", "rank"), keys, strict=True)),
                "pair": " + ".join(names),
                "weight": float(places["weight"].iloc[0]),
                "probability": float(places["probability"].mean()),
                "magnitude": float(places["magnitude"].mean()),
            }
        )
    return pd.DataFrame(rows)


def table(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """The five pairs that each stage draws most often, by objective, over all seeds.

    In the order of the sums over seeds, since a pair that one seed draws often may be rare in all others. Of these
    others only the five are known, so that a pair's mean is over the seeds where it is one of them.
    """
    pairs = _named(tables["pairs"])
    n_seeds = pairs["seed"].nunique()
    rows = []
    for (objective, stage), part in pairs.groupby(["objective", "stage"], sort=False):
        by_pair = part.groupby("pair").agg(
            weight=("weight", "mean"), total=("weight", "sum"), seeds=("seed", "nunique")
        )
        best = by_pair.sort_values("total", ascending=False).head(5)
        runs = tables["runs"][tables["runs"]["objective"] == objective]
        rows.append(
            {
                "objective": objective,
                "stage": stage,
                **{
                    f"{rank}.": f"{name} ({entry.weight:.2f}, {entry.seeds:.0f} of {n_seeds})"
                    for rank, (name, entry) in enumerate(best.iterrows(), 1)
                },
                "balanced accuracy": f"{runs['balanced_accuracy'].mean():.3f}",
                "seconds": f"{runs['seconds'].median():.0f}",
            }
        )
    return pd.DataFrame(rows)


def figure(tables: dict[str, pd.DataFrame]) -> Figure:
    """Weight of each pair by stage, a panel for each objective; pairs among the five of any stage.

    A cell is blank where a pair is in no seed's five: its weight is not known there, and is not 0.
    """
    pairs = _named(tables["pairs"])
    objectives = list(dict.fromkeys(pairs["objective"]))
    picture = Figure(figsize=(4.6 * len(objectives), 5.0), layout="constrained")
    for ax, objective in zip(picture.subplots(1, len(objectives), squeeze=False)[0], objectives, strict=True):
        part = pairs[pairs["objective"] == objective]
        stages = [stage for stage in STAGES if stage in set(part["stage"])]
        weights = part.pivot_table(index="pair", columns="stage", values="weight", aggfunc="mean")[stages]
        weights = weights.loc[weights.max(axis=1).sort_values(ascending=False).index[:14]]
        image = ax.imshow(weights, cmap="cividis", vmin=0.0, aspect="auto")
        ax.set_xticks(range(len(stages)), stages)
        ax.set_yticks(range(len(weights)), weights.index)
        ax.tick_params(labelsize=7, length=0)
        ax.set_title(f"objective: {objective}", fontsize=8, loc="left")
        bar = picture.colorbar(image, ax=ax, shrink=0.6)
        bar.ax.tick_params(labelsize=7)
        bar.set_label("mean weight, where among the five", fontsize=7)
    return picture


EXPERIMENT = Experiment(
    "stage-policies",
    "Policies by class (Mahan et al. 2021, Table 3), by sleep stage.",
    plan,
    run,
    table,
    figure,
    note=(
        f"{sleep.SOURCE} Pairs of operations that DNA draws most often for training windows of a stage: mean weight "
        "over seeds where a pair is among the five, and in how many seeds it is; pairs are in the order of the sums of "
        f"their weights over seeds. Even weights are 1/{_N_PAIRS} ({1 / _N_PAIRS:.3f}), and near them it is chance "
        "which pairs are among the five. The paper's table has classes of pictures, so that no number of it can stand "
        "beside these; and its released code never applies operations while it searches, so that its policies are not "
        "evidence. 'joint' is its objective, in which nothing rewards augmentation; 'bilevel' learns from held-out "
        "subjects."
    ),
)
