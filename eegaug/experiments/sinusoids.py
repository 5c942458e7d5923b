"""Sinusoids: does AugNet find how far each operation may go?"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from torch import Tensor

from eegaug import functional as F
from eegaug.augnet import AugNetClassifier
from eegaug.data import make_sinusoids
from eegaug.experiments.base import Experiment, Settings
from eegaug.experiments.networks import FreqNet
from eegaug.operations import Operation, get_operation
from eegaug.plotting.colours import BLUE, GREEN, MUTED, ORANGE, PURPLE, TRUTH_COLOUR, VERMILION, tidy, whole_ticks

__all__ = ["EXPERIMENT", "NextClass", "right_range"]

SFREQ = 100.0
#: The largest shift at which classes that are 2 Hz apart and ±0.5 Hz wide do not overlap.
TRUE_SHIFT_HZ = 0.5


class NextClass(Operation):
    """Adds 2 Hz, which makes a sinusoid of one class one of the next: it destroys the label.

    Examples
    --------
    >>> import torch
    >>> X = torch.sin(2 * torch.pi * 4 * torch.arange(1000) / 100)[None, None]
    >>> float(torch.fft.rfft(NextClass()(X)).abs().argmax()) / 10
    6.0
    """

    name = "next_class"
    family = "frequency"
    has_magnitude = False
    sentence = "adds 2 Hz"

    def transform(self, X: Tensor, magnitude: Tensor | None, noise: dict[str, Tensor]) -> Tensor:
        shift = X.new_full((len(X),), 2.0)
        return F.modulate(X, F.hilbert(X), *F.shift_ramps(shift, X.shape[-1], SFREQ))


#: Operations and what strength 1 means: those of the paper's code, and those of eegaug with two more that change
#: nothing and one that may not be applied at all.
RANGES: dict[str, dict[str, float | None]] = {
    "paper": {"frequency_shift": 2.0, "ft_surrogate": 0.2 * np.pi, "gaussian_noise": 0.1},
    "eegaug": {
        "frequency_shift": None,
        "ft_surrogate": None,
        "gaussian_noise": None,
        "sign_flip": None,
        "time_reverse": None,
        "next_class": None,
    },
}

#: Ways to learn: the paper's, the same from another start, and one operation for each window.
ARMS: dict[str, dict[str, Any]] = {
    "weighted": {"selection": "weighted", "penalty": 0.2, "initial_strength": 0.0, "augmentation_weight_decay": 1e-4},
    "weighted, start 0.1": {
        "selection": "weighted",
        "penalty": 0.2,
        "initial_strength": 0.1,
        "augmentation_weight_decay": 1e-4,
    },
    "single": {"selection": "single", "initial_strength": 0.05},
}
#: With one operation for each window an operation sees a third or a sixth of the windows of an epoch.
EPOCHS = {"weighted": 50, "weighted, start 0.1": 50, "single": 200}


COLOURS = {
    "frequency_shift": GREEN,
    "ft_surrogate": PURPLE,
    "gaussian_noise": BLUE,
    "sign_flip": VERMILION,
    "time_reverse": ORANGE,
    "next_class": MUTED,
}


def plan(settings: Settings) -> list[dict[str, Any]]:
    """Arms, ranges and phases for each seed."""
    cases = [("uniform", "weighted", "paper"), ("uniform", "single", "paper"), ("uniform", "single", "eegaug")]
    if not settings.quick:
        cases += [("uniform", "weighted, start 0.1", "paper"), ("uniform", "weighted, start 0.1", "eegaug")]
        cases += [("paper_code", "weighted", "paper"), ("paper_code", "single", "paper")]
    return [
        {
            "phase": phase,
            "selection": arm,
            "ranges": ranges,
            "seed": seed,
            "epochs": min(EPOCHS[arm], 40) if settings.quick else EPOCHS[arm],
        }
        for seed in settings.seed_list(full=20, quick=3)
        for phase, arm, ranges in cases
    ]


def run(phase: str, selection: str, ranges: str, seed: int, epochs: int) -> dict[str, list[dict]]:
    """Train once."""
    from sklearn.model_selection import train_test_split

    X, y = make_sinusoids(phase=phase, random_state=seed)
    X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=1 / 3, stratify=y, random_state=seed)
    clf = AugNetClassifier(
        FreqNet,
        layers=[[_operation(name, bound) for name, bound in RANGES[ranges].items()]],
        sfreq=SFREQ,
        n_copies=4,
        lr=1e-2,
        optimizer=torch.optim.Adam,
        optimizer__betas=(0.9, 0.999),
        optimizer__weight_decay=1e-4,
        batch_size=32,
        max_epochs=epochs,
        random_state=seed,
        verbose=0,
        **ARMS[selection],
    )
    start = time.perf_counter()
    clf.fit(X_train, y_train)
    seconds = time.perf_counter() - start
    table = clf.invariances_
    table["right"] = [right_range(row.operation, row.magnitude, row.strength) for row in table.itertuples()]
    shift = table[table["operation"] == "frequency_shift"].iloc[0]
    row = {
        "selected": table.loc[table["weight"].idxmax(), "operation"] if clf.selection == "weighted" else None,
        "shift_hz": float(shift["strength"]),
        "shift_weight": float(shift["weight"]),
        "n_right": int(table["right"].sum()),
        "n_operations": len(table),
        "test_accuracy": float(clf.score(X_test, y_test)),
        "seconds": seconds,
    }
    history = clf.invariances_history_
    kept = history[history["epoch"] % max(1, epochs // 25) == 0]
    columns = ["epoch", "operation", "weight", "magnitude", "strength"]
    return {
        "runs": [row],
        "operations": table.drop(columns="layer").to_dict("records"),
        "epochs": kept[columns].to_dict("records"),
    }


def _operation(name: str, bound: float | None) -> Operation:
    if name == NextClass.name:
        return NextClass()
    return get_operation(name, sfreq=SFREQ, max_strength=bound, warn=False)


def right_range(operation: str, magnitude: float, strength: float) -> bool:
    """Whether a range is what the data allow under a uniform phase.

    The shift within 20 % of 0.5 Hz, what destroys the label below a tenth of its bound, and everything else at it.

    Examples
    --------
    >>> right_range("frequency_shift", 0.11, 0.55), right_range("sign_flip", 0.8, 0.4), right_range("next_class", 0, 0)
    (True, False, True)
    """
    if operation == "frequency_shift":
        return bool(abs(strength / TRUE_SHIFT_HZ - 1) <= 0.2)
    if operation == NextClass.name:
        return bool(magnitude < 0.1)
    return bool(magnitude >= 0.99)


def table(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """One row for each phase, arm and set of ranges."""
    rows = []
    for (phase, arm, ranges), part in tables["runs"].groupby(["phase", "selection", "ranges"], sort=False):
        n, shift = len(part), part["shift_hz"]
        low, middle, high = np.percentile(shift, [25, 50, 75])
        weighted = part["selected"].notna().all()
        close = (shift / TRUE_SHIFT_HZ - 1).abs() <= 0.2
        picked = part["selected"] == "frequency_shift"
        as_published = arm == "weighted"
        rows.append(
            {
                "phase": phase,
                "selection": arm,
                "ranges": ranges,
                "runs": n,
                "selects shift": f"{picked.sum()} of {n}" if weighted else "all operations",
                "paper": "1 of 1" if as_published else "",
                "shift Hz, median (quartiles)": f"{middle:.2f} ({low:.2f}–{high:.2f})",
                "paper Hz": "about 0.5" if as_published else "",
                "shift in use within 20 %": f"{(close & (picked | ~part['selected'].notna())).sum()} of {n}",
                "all ranges right": "" if weighted else f"{(part['n_right'] == part['n_operations']).sum()} of {n}",
                "accuracy": f"{part['test_accuracy'].mean():.3f} (lowest {part['test_accuracy'].min():.3f})",
                "paper accuracy": "1.0" if as_published else "",
                "seconds": f"{part['seconds'].median():.1f}",
            }
        )
    return pd.DataFrame(rows)


def figure(tables: dict[str, pd.DataFrame]) -> Figure:
    """Weights and strengths over the epochs, as in the paper, one row for each arm; and the shift of each run."""
    runs, epochs = (t[t["phase"] == "uniform"] for t in (tables["runs"], tables["epochs"]))
    found = runs.groupby(["selection", "ranges"], sort=False).groups
    cases = [(arm, ranges) for arm in ARMS for ranges in RANGES if (arm, ranges) in found]
    picture = Figure(figsize=(9.5, 1.8 * len(cases) + 0.5), layout="constrained")
    axes = picture.subplots(len(cases), 3, squeeze=False, width_ratios=[1, 1, 0.7])
    for row, (arm, ranges) in zip(axes, cases, strict=True):
        part = epochs[(epochs["selection"] == arm) & (epochs["ranges"] == ranges)]
        for ax, quantity in zip(row[:2], ("weight", "magnitude"), strict=True):
            _curves(ax, part, quantity)
        row[0].set_title(f"{arm}; ranges of {'the paper' if ranges == 'paper' else ranges}", fontsize=8, loc="left")
        ends = runs[(runs["selection"] == arm) & (runs["ranges"] == ranges)].sort_values("shift_hz")
        shift, colour = ends["shift_hz"].to_numpy(), COLOURS["frequency_shift"]
        used = (ends["selected"].isna() | (ends["selected"] == "frequency_shift")).to_numpy()
        for which, face in ((used, colour), (~used, "none")):
            row[2].plot(np.flatnonzero(which) + 1, shift[which], "o", ms=3.5, mfc=face, color=colour)
        row[2].axhline(TRUE_SHIFT_HZ, color=TRUTH_COLOUR, ls="--", lw=0.8)
        row[2].axhspan(0.8 * TRUE_SHIFT_HZ, 1.2 * TRUE_SHIFT_HZ, color=MUTED, alpha=0.15, lw=0)
        row[2].set_xlim(0.5, len(shift) + 0.5)
        whole_ticks(row[2])
        top = max(1.0, 1.05 * shift.max())
        row[2].set_ylim(-0.04 * top, top)  # circles at 0 are whole
        row[2].set_ylabel("shift (± Hz)", fontsize=8)
        tidy(row[2])
    axes[0, 2].set_title("shift of each run (filled: in use)\ngrey: within 20 % of the truth", fontsize=8, loc="left")
    for ax, label in zip(axes[-1], ("epoch", "epoch", "run, in order of the shift"), strict=True):
        ax.set_xlabel(label, fontsize=8)
    shown = epochs["operation"].unique()
    handles = [Line2D([], [], color=COLOURS[name], lw=1.6, label=name.replace("_", " ")) for name in shown]
    picture.legend(handles=handles, loc="outside lower center", ncols=len(handles), fontsize=8, frameon=False)
    return picture


def _curves(ax: Any, epochs: pd.DataFrame, quantity: str) -> None:
    """Weights, which are nearly 0 or 1, as their mean over runs: the share that each operation wins. Else all runs."""
    n = epochs["operation"].nunique()
    for place, (operation, part) in enumerate(epochs.groupby("operation", sort=False)):
        if quantity == "weight":
            mean = part.groupby("epoch")[quantity].mean()
            dashes = (4 * place, (4, 4 * (n - 1)))  # of lines that lie on each other all are seen, in turns
            ax.plot(mean.index, mean, color=COLOURS[operation], lw=0.8, alpha=0.6, zorder=1)
            ax.plot(mean.index, mean, color=COLOURS[operation], lw=2.0, ls=dashes)
            continue
        for _, one in part.groupby("seed"):
            ax.plot(one["epoch"], one[quantity], color=COLOURS[operation], lw=1.0, alpha=0.6)
    ax.set_ylim(-0.03, 1.03)
    ax.set_ylabel("weight, mean of runs" if quantity == "weight" else quantity, fontsize=8)
    tidy(ax)


EXPERIMENT = Experiment(
    "sinusoids",
    "AugNet on noisy sinusoids (Rommel et al. 2022, section 4.2): which operation is selected, and how far it may go.",
    plan,
    run,
    table,
    figure,
    note=(
        "The paper shows one seed of its code, whose phase gives the class away (phase 'paper_code'). There is not one "
        "right operation: under a uniform phase a surrogate and weak noise do not matter either, and with weights that "
        "compete the layer mostly locks onto one of these. The truth is how far each operation may go: the shift "
        "±0.5 Hz, beyond which classes overlap; surrogate, noise, sign and direction of time to their bounds; "
        "'next class', which adds 2 Hz, not at all. A range is right within 20 % of the shift, at its bound, or below "
        "a tenth of it for what destroys the label. Accuracy does not tell the ways apart: it is 1 without any "
        "augmentation. Under the paper's phase surrogate, sign and direction of time do tell classes apart, and "
        "'all ranges right' does not apply."
    ),
)
