"""An experiment of a few additions."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from eegaug.experiments import Experiment


def plan(settings):
    return [{"kind": kind, "seed": seed} for kind in ("a", "b") for seed in settings.seed_list(full=3, quick=1)]


def run(kind, seed):
    return {"runs": [{"score": seed + (kind == "b")}], "epochs": [{"epoch": e, "loss": e * seed} for e in (1, 2)]}


def run_but_not_b(kind, seed):
    if kind == "b":
        raise ValueError("b does not work")
    return {"score": seed}


def table(tables):
    means = tables["runs"].groupby("kind")["score"].mean()
    return pd.DataFrame({"kind": means.index, "ours": means.to_numpy(), "paper": 1.0})


def figure(tables):
    picture = Figure()
    picture.subplots().plot(tables["runs"]["score"])
    return picture


ADDITIONS = Experiment("additions", "Sums of small numbers.", plan, run, table, figure, note="Nothing to explain.")
