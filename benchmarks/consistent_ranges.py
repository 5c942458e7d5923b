"""Does consistency between variants change how far learned augmentation goes?

``python -m benchmarks.consistent_ranges``: sinusoids of four classes, 2 Hz apart and ±0.5 Hz wide, of uniform phase, so
that a frequency shift of up to ±0.5 Hz changes nothing and any phase is as good as any other. ``AITClassifier`` learns
the ranges of three operations with the network, for several lambda. Every run is in the table's CSV.
"""

from __future__ import annotations

import argparse
import math
import time
from typing import Any

import pandas as pd
import torch
from joblib import Parallel, delayed
from sklearn.model_selection import train_test_split
from tqdm.auto import tqdm

from benchmarks._timing import RESULTS, write
from eegaug import AITClassifier, AugmentationModule
from eegaug.augnet.schedule import CosineDecay
from eegaug.data import make_sinusoids
from eegaug.experiments.networks import FreqNet
from eegaug.invariance import invariance_score
from eegaug.operations import get_operation

SFREQ, TRUE_HZ = 100.0, 0.5
RANGES = {"frequency_shift": 2.0, "ft_surrogate": 2 * math.pi, "gaussian_noise": 1.0}


def run(seed: int, consistency: float, epochs: int) -> dict[str, Any]:
    """Train once."""
    torch.set_num_threads(1)
    X, y = make_sinusoids(phase="uniform", random_state=seed)
    X, X_test, y, y_test = train_test_split(X, y, test_size=1 / 3, stratify=y, random_state=seed)
    operations = [get_operation(name, sfreq=SFREQ, max_strength=bound) for name, bound in RANGES.items()]
    clf = AITClassifier(
        FreqNet,
        variants=AugmentationModule([operations], selection="single"),
        consistency=consistency,
        sfreq=SFREQ,
        class_weight=None,
        lr=1e-2,
        optimizer__betas=(0.9, 0.999),
        batch_size=32,
        max_epochs=epochs,
        callbacks=[CosineDecay()],
        random_state=seed,
        verbose=0,
    )
    start = time.perf_counter()
    clf.fit(X, y)
    row = {"seed": seed, "consistency": consistency, "seconds": time.perf_counter() - start}
    row |= clf.invariances_.set_index("operation")["strength"].to_dict()
    shift = get_operation("frequency_shift", sfreq=SFREQ, max_strength=TRUE_HZ)
    row |= {"accuracy": clf.score(X_test, y_test), "invariance": float(invariance_score(clf, X_test, shift, 1.0))}
    return row | {"divergence": clf.history[-1, "train_consistency"]}


def summary(runs: pd.DataFrame) -> pd.DataFrame:
    """One row for each λ: medians over seeds, and the smallest and largest shift."""
    rows = []
    for consistency, part in runs.groupby("consistency"):
        shift = part["frequency_shift"]
        row = {"λ": f"{consistency:g}", "learned shift, ± Hz": f"{shift.median():.2f}"}
        row["smallest–largest"] = f"{shift.min():.2f}–{shift.max():.2f}"
        row["within 20 %"] = f"{((shift - TRUE_HZ).abs() <= 0.2 * TRUE_HZ).sum()} of {len(shift)}"
        row["FT surrogate, rad"] = f"{part['ft_surrogate'].median():.2f}"
        row["noise, std"] = f"{part['gaussian_noise'].median():.2f}"
        row["accuracy"] = f"{part['accuracy'].mean():.3f}"
        row["invariance to ±0.5 Hz"] = f"{part['invariance'].median():.4f}"
        row["divergence of variants"] = f"{part['divergence'].median():.3f}"
        rows.append(row | {"s": f"{part['seconds'].median():.0f}"})
    return pd.DataFrame(rows)


def main(arguments: list[str] | None = None) -> None:
    """Run the benchmark and write its results."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--consistency", type=float, nargs="+", default=[0.0, 1.0, 3.0], help="lambda")
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds")
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args(arguments)
    todo = [(seed, consistency) for seed in range(options.seeds) for consistency in options.consistency]
    jobs = Parallel(n_jobs=options.jobs, return_as="generator")(delayed(run)(*one, options.epochs) for one in todo)
    runs = pd.DataFrame(tqdm(jobs, total=len(todo)))
    RESULTS.mkdir(exist_ok=True)
    runs.to_csv(RESULTS / "consistent_ranges-runs.csv", index=False, float_format="%.5g")
    note = (
        f"Sinusoids of uniform phase; right is a shift of ±{TRUE_HZ:g} Hz, any phase, and noise until it hurts. "
        f"FreqNet, Adam 1e-2 with cosine decay, {options.epochs} epochs, batches of 32; one operation for each window "
        f"and variant, the default penalty; {options.seeds} seeds, medians (accuracy: means). Predictions are of "
        "windows as they are."
    )
    print(write("consistent_ranges", summary(runs), note).read_text())


if __name__ == "__main__":
    main()
