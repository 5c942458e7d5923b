"""Training for invariance: plain training, AIT on a fixed policy, AIT on augmentation that is learned with it.

``python -m benchmarks.consistency``: simulated nights with planted variation between subjects, split by subject. Every
way but "none" sees two variants of every window in every epoch, so that lambda = 0 is the fair control of the others.
"learned" has one operation drawn for each window and learns how far each may go, together with the network. Predictions
are of windows as they are. Each seed has subjects, initial weights and draws of its own; every run is in the CSV
``consistency-runs``. Nothing is selected.
"""

from __future__ import annotations

import argparse
import time
import warnings
from typing import Any

import pandas as pd
import torch
from joblib import Parallel, delayed
from tqdm.auto import tqdm

from benchmarks._timing import RESULTS, write
from eegaug import AITClassifier, AugmentationModule, MutualClassifier, StagingClassifier
from eegaug._named_operations import fixed_operation
from eegaug.augnet.schedule import CosineDecay
from eegaug.comparison.scores import stage_scores
from eegaug.data import Planted, simulate_nights
from eegaug.experiments.base import mean_and_sd
from eegaug.invariance import intra_augmentation_variation, transfer_matrix
from eegaug.operations import FAMILIES

DATA: dict[str, Any] = {"ch_names": ("F3", "F4", "O1", "O2"), "sfreq": 64.0, "h_freq": 25.0}
OPERATIONS = [*FAMILIES["time-frequency"], "sign_flip", "channels_symmetry", "channels_shuffle", "channels_dropout"]
WAYS = ["none", "fixed 0", "fixed 1", "fixed 3", "learned 0", "learned 1", "learned 3", "multi-AIT fixed 3"]


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS, help="source of variants, and lambda")
    parser.add_argument("--seeds", type=int, default=5, help="number of seeds")
    parser.add_argument("--train", type=int, default=4, help="training subjects")
    parser.add_argument("--test", type=int, default=6, help="test subjects")
    parser.add_argument("--windows", type=int, default=100, help="windows of a night")
    parser.add_argument("--every", type=int, default=3, help="change every N-th test window by operations")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--penalty", type=float, default=None, help="of augmentation that is learned")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="2 seeds, 3 epochs: does it run?")
    options = parser.parse_args(arguments)
    if options.quick:
        options.seeds, options.epochs = min(options.seeds, 2), min(options.epochs, 3)
    return options


def estimator(way: str, seed: int, options: argparse.Namespace) -> StagingClassifier:
    """The estimator of a way of training."""
    common: dict[str, Any] = {
        "lr": options.lr,
        "max_epochs": options.epochs,
        "callbacks": [("decay", CosineDecay())],
        "random_state": seed,
        "verbose": 0,
    }
    if way == "none":
        return StagingClassifier(**common)
    *kind, source, consistency = way.split()
    variants: Any = source
    if source == "learned":
        about = {"sfreq": DATA["sfreq"], "ch_names": DATA["ch_names"]}
        variants = AugmentationModule([OPERATIONS], **about, selection="single", initial_strength=0.1)
    settings = {"variants": variants, "consistency": float(consistency), "penalty": options.penalty}
    return (MutualClassifier if kind else AITClassifier)(**settings, **common)


def run(seed: int, options: argparse.Namespace) -> list[dict]:
    """Train once in every way on the subjects of a seed."""
    torch.set_num_threads(1)
    n = options.train + options.test
    nights = simulate_nights(n, n_windows=options.windows, planted=Planted(), random_state=seed, **DATA)
    names = sorted(set(nights.subjects))
    train, test = nights.select(names[: options.train]), nights.select(names[options.train :])
    X, y, _ = test.as_arrays()
    X, y = X[:: options.every], y[:: options.every]
    rows = []
    for way in options.ways:
        clf = estimator(way, seed, options)
        start = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            clf.fit(train, train.y)
        row = {"way": way, "seed": seed, "seconds": time.perf_counter() - start, "passes": clf.n_forward_backward_}
        scores = stage_scores(test.y, clf.predict(test))
        row |= {"balanced_accuracy": scores["balanced_accuracy"], "kappa": scores["kappa"]}
        network = clf.member(0) if isinstance(clf, MutualClassifier) else clf
        row["one_network"] = stage_scores(test.y, network.predict(test))["balanced_accuracy"]
        # As the fixed policy has them.
        tests = {name: fixed_operation(name, sfreq=DATA["sfreq"], ch_names=DATA["ch_names"]) for name in OPERATIONS}
        transfer = transfer_matrix(network, X, y, tests, random_state=seed)
        row["changed_test_sets"] = transfer.drop(columns="original").mean(axis=1).iloc[0]
        variation = intra_augmentation_variation(network, X, tests, random_state=seed)
        whole = variation[variation["stage"] == "all"]
        row |= {"kl": whole["kl"].mean(), "ratio": whole["ratio"].mean()}
        if way.startswith("learned"):
            learned = clf.invariances_.set_index("operation")
            row |= {f"learned_{name}": learned.loc[name, "strength"] for name in learned.index}
            row["mean_magnitude"] = learned["magnitude"].mean()
        rows.append(row)
    return rows


def summary(runs: pd.DataFrame) -> pd.DataFrame:
    """One row per way: means over seeds with their standard deviation, and the gain over its control."""
    rows = []
    scores = runs.pivot(index="seed", columns="way", values="balanced_accuracy")
    for way in [way for way in WAYS if way in scores]:
        part = runs[runs["way"] == way]
        *_, source, consistency = ("", "none", "0") if way == "none" else ("", *way.split())
        control = "none" if way == "none" or consistency == "0" else f"{source} 0"
        row = {"variants": way.rsplit(" ", 1)[0] if way != "none" else "windows as they are", "λ": consistency}
        for name, column in (("balanced accuracy", "balanced_accuracy"), ("kappa", "kappa")):
            row[name] = mean_and_sd(part[column])
        row["over its control"] = ""
        if control in scores and control != way:
            gain = scores[way] - scores[control]
            row["over its control"] = f"{mean_and_sd(gain, sign=True)} ({(gain > 0).sum()} of {len(gain)})"
        row["changed test sets"] = f"{part['changed_test_sets'].mean():.3f}"
        row["divergence of variants"] = f"{part['kl'].mean():.3f}"
        row["ratio of distances"] = f"{part['ratio'].mean():.3f}"
        shift = part.get("learned_frequency_shift")
        row["learned shift, ± Hz"] = "" if shift is None or shift.isna().all() else f"{shift.median():.2f}"
        magnitude = part.get("mean_magnitude")
        row["mean magnitude"] = "" if shift is None or shift.isna().all() else f"{magnitude.mean():.2f}"
        row["passes"] = int(part["passes"].iloc[0])
        rows.append(row)
    return pd.DataFrame(rows)


def note(options: argparse.Namespace) -> str:
    """What the table shows."""
    return (
        f"Simulated nights with the default planted variation, {DATA}, {options.windows} windows each; {options.train} "
        f"subjects to train on, {options.test} to test on, {options.seeds} seeds with subjects of their own. Chambon "
        f"net, Adam {options.lr:g} with cosine decay, {options.epochs} epochs, batches of 16 windows; all ways but the "
        "first see two variants of each. The control of λ > 0 is λ = 0 with the same source of variants; that of λ = 0 "
        f"is training without augmentation. Changed test sets: every {options.every}th test window, balanced accuracy, "
        f"mean over one test set for each of {len(OPERATIONS)} operations at the fixed policy's strengths; "
        "divergence: symmetric KL between these and the original, ratio: distance of features between both forms of a "
        "window over that between windows. For multi-AIT, the score is the ensemble's, the rest that of its first "
        "network. Mean ± SD over seeds."
    )


def main(arguments: list[str] | None = None) -> None:
    """Run the benchmark and write its results."""
    options = parse(arguments)
    jobs = Parallel(n_jobs=options.jobs, return_as="generator")(
        delayed(run)(seed, options) for seed in range(options.seeds)
    )
    RESULTS.mkdir(exist_ok=True)
    name = "consistency-quick" if options.quick else "consistency"
    done: list[dict] = []
    for rows in tqdm(jobs, total=options.seeds):
        done += rows
        runs = pd.DataFrame(done)
        runs.to_csv(RESULTS / f"{name}-runs.csv", index=False, float_format="%.5g")
    print(write(name, summary(runs), note(options)).read_text())


if __name__ == "__main__":
    main()
