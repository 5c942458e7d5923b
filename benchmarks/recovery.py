"""Does AugNet find what was planted? Its frequency shift on simulated nights whose subjects differ in frequency.

``python -m benchmarks.recovery``: subjects are simulated with nothing planted but a frequency jitter (0: none, as a
control), split by subject, and AugNet is trained with several seeds; each seed has subjects, split, initial weights and
draws of its own. Layers: the frequency shift alone, and all time-frequency operations in competition. Every run is in
the CSV ``recovery-runs``; the table and the figure sum them up. Nothing is selected.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
import pandas as pd
import torch
from joblib import Parallel, delayed
from tqdm.auto import tqdm

from benchmarks._timing import RESULTS, write
from eegaug import AugNetClassifier
from eegaug.comparison.scores import stage_scores
from eegaug.data import Planted, simulate_nights, subject_folds

LAYERS: dict[str, list] = {"frequency shift alone": [["frequency_shift"]], "time-frequency": ["time-frequency"]}
DATA: dict[str, Any] = {"ch_names": ("F3", "F4", "O1", "O2"), "sfreq": 64.0, "h_freq": 25.0}
MAX_HZ = 5.0


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument(
        "--jitter", type=float, nargs="+", default=[0.0, 1.0], help="planted ranges in Hz (plus or minus)"
    )
    parser.add_argument("--seeds", type=int, default=10, help="number of seeds")
    parser.add_argument("--layers", nargs="+", choices=list(LAYERS), default=list(LAYERS))
    parser.add_argument("--train", type=int, default=6, help="training subjects")
    parser.add_argument("--test", type=int, default=6, help="test subjects")
    parser.add_argument("--windows", type=int, default=100, help="windows of a night")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--penalty", type=float, default=0.5)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="3 seeds, 8 epochs: does it run?")
    options = parser.parse_args(arguments)
    if options.quick:
        options.seeds, options.epochs = min(options.seeds, 3), min(options.epochs, 8)
    if not all(0 <= j <= MAX_HZ for j in options.jitter):
        parser.error(f"--jitter is a range in Hz from 0 to {MAX_HZ:g}")
    return options


def run(jitter: float, name: str, seed: int, options: argparse.Namespace) -> list[dict]:
    """Train once; one row per operation."""
    torch.set_num_threads(1)
    planted = Planted.none(frequency_jitter_hz=jitter)
    n = options.train + options.test
    nights = simulate_nights(n, n_windows=options.windows, planted=planted, random_state=seed, **DATA)
    split = subject_folds(
        sorted(set(nights.subjects)),
        n_folds=2,
        n_train=options.train,
        n_valid=0,
        n_test=options.test,
        random_state=seed,
    )[0]
    train, test = nights.select(split.train), nights.select(split.test)
    clf = AugNetClassifier(
        layers=LAYERS[name],
        penalty=options.penalty,
        lr=options.lr,
        max_epochs=options.epochs,
        random_state=seed,
        verbose=0,
    )
    start = time.perf_counter()
    clf.fit(train, train.y)
    seconds = time.perf_counter() - start
    score = stage_scores(test.y, clf.predict(test))["balanced_accuracy"]
    shifts = [abs(nights.truth["subjects"][s]["frequency_shift_hz"]) for s in split.train]
    known = {
        "jitter_hz": jitter,
        "layers": name,
        "seed": seed,
        "largest_training_shift_hz": max(shifts),
        "test_balanced_accuracy": score,
        "seconds": seconds,
    }
    return [known | row for row in clf.invariances_.to_dict("records")]


def summary(runs: pd.DataFrame) -> pd.DataFrame:
    """One row per planted range and kind of layer."""
    rows = []
    for (jitter, name), part in runs.groupby(["jitter_hz", "layers"], sort=False):
        shift = part[part["operation"] == "frequency_shift"]
        winner = part.loc[part.groupby("seed")["weight"].idxmax(), "operation"]
        low, middle, high = np.percentile(shift["strength"], [25, 50, 75])
        row = {
            "planted ± Hz": f"{jitter:g}",
            "layer": name,
            "learned ± Hz, median (quartiles)": f"{middle:.2f} ({low:.2f}–{high:.2f})",
            "smallest–largest": f"{shift['strength'].min():.2f}–{shift['strength'].max():.2f}",
            "within 20 %": "",
            "weight, median": f"{shift['weight'].median():.2f}",
            "largest weight": f"{(winner == 'frequency_shift').sum()} of {len(winner)}",
            "most often largest": winner.mode()[0],
            "test balanced accuracy": f"{shift['test_balanced_accuracy'].mean():.3f} ± "
            f"{shift['test_balanced_accuracy'].std():.3f}",
        }
        if jitter > 0:
            close = (shift["strength"] / jitter - 1).abs() <= 0.2
            row["within 20 %"] = f"{close.sum()} of {len(close)}"
        rows.append(row)
    return pd.DataFrame(rows)


def figure(runs: pd.DataFrame, path: Any) -> None:
    """Learned strengths, seed by seed, beside what was planted; and the weights."""
    from matplotlib.figure import Figure

    shift = runs[runs["operation"] == "frequency_shift"]
    names, jitters = list(dict.fromkeys(shift["layers"])), sorted(set(shift["jitter_hz"]))
    picture = Figure(figsize=(7.2, 3.2), layout="constrained")
    for ax, column, label in zip(
        picture.subplots(1, 2), ("strength", "weight"), ("learned strength (± Hz)", "weight in its layer"), strict=True
    ):
        for i, name in enumerate(names):
            for j, jitter in enumerate(jitters):
                values = np.sort(shift[(shift["layers"] == name) & (shift["jitter_hz"] == jitter)][column])
                x = j + (i - (len(names) - 1) / 2) * 0.3
                beside = x + np.linspace(-0.08, 0.08, len(values))
                ax.plot(beside, values, "o", ms=4, color=f"C{i}", alpha=0.8, label=name if j == 0 else None)
                ax.plot([x - 0.12, x + 0.12], [np.median(values)] * 2, color=f"C{i}", lw=2)
        if column == "strength":
            for j, jitter in enumerate(jitters):
                ax.plot([j - 0.4, j + 0.4], [jitter] * 2, "k--", lw=1, label="planted" if j == 0 else None)
            ax.legend(fontsize=8, frameon=False)
            ax.set_ylim(-0.1, MAX_HZ + 0.1)
        else:
            ax.set_ylim(-0.03, 1.03)
        ax.set_xticks(range(len(jitters)), [f"± {j:g} Hz" for j in jitters])
        ax.set_xlabel("planted frequency jitter", fontsize=9)
        ax.set_ylabel(label, fontsize=9)
        ax.spines[["top", "right"]].set_visible(False)
    picture.savefig(path, dpi=200)


def note(options: argparse.Namespace) -> str:
    """What the table shows."""
    return (
        f"Simulated nights ({', '.join(DATA['ch_names'])} at {DATA['sfreq']:g} Hz, {options.windows} windows a night), "
        "nothing planted but the frequency jitter: each spectrum is moved by a uniform draw from plus or minus "
        f"the range. AugNet: {options.train} training subjects, {options.epochs} epochs, penalty {options.penalty:g}, "
        f"Adam {options.lr:g}, strengths start at 0.5 Hz; {options.seeds} seeds, each with subjects, split and initial "
        f"weights of its own; scored on {options.test} other subjects. 'Largest weight': runs in which frequency shift "
        "had the largest weight of its layer. A strength whose weight is near 0 has no effect and means "
        "nothing. Balanced accuracy: mean ± SD over seeds."
    )


def main(arguments: list[str] | None = None) -> None:
    """Run the benchmark and write its results."""
    options = parse(arguments)
    todo = [(j, n, s) for s in range(options.seeds) for j in options.jitter for n in options.layers]
    found = Parallel(n_jobs=options.jobs, return_as="generator")(delayed(run)(*t, options) for t in todo)
    runs = pd.DataFrame([row for rows in tqdm(found, total=len(todo), unit="run") for row in rows])
    name = "recovery-quick" if options.quick else "recovery"
    path = write(name, summary(runs), note(options))
    runs.round(5).to_csv(RESULTS / f"{name}-runs.csv", index=False)
    figure(runs, RESULTS / f"{name}.png")
    print(path.read_text())


if __name__ == "__main__":
    main()
