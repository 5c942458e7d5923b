"""Test scores and seconds of no augmentation, the fixed policy and AugNet (the paper's, rewarded for change, and with
one operation per window), with few and with all training subjects; or of any methods, each with the same time. Two
methods are known here only: ``planted``, the policy that undoes what was planted in simulated nights, shows what
there is to win, and ``surrogates``, full FT surrogates and opposite signs of half of the windows, what AugNet's
choice does by itself.

For any source of nights: ``python -m benchmarks.nights --data nights/ --name my-nights``. Folds are by subject; what
is finished is kept in the working folder, so that a benchmark that was stopped goes on. The table, its rows, scores of
each subject and tests between all pairs of methods, what AugNet learned and figures are written to benchmarks/results;
with ``--budget`` also the score over time.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks._timing import RESULTS, write
from eegaug import StagingClassifier
from eegaug.comparison import Comparison, Method, compare, register_method
from eegaug.comparison.sources import augnet_options, default_device, default_for, get_folds, get_nights
from eegaug.comparison.statistics import compare_pairs, holm
from eegaug.data import NightDataset, Nights
from eegaug.experiments.base import mean_and_sd
from eegaug.operations import get_operation
from eegaug.plotting import plot_scores
from eegaug.policy import Policy, SubPolicy

METHODS = ("none", "fixed", "augnet", "augnet-change", "augnet-single")
# The nights that are simulated here: as those of `eegaug compare`, and more of them. Settings were chosen on cohort 0.
SIMULATED: dict[str, Any] = {"n_subjects": 15, "n_windows": 150}


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--data", default="simulated", help="simulated, sleep-edf, mass or a folder")
    parser.add_argument("--root", type=Path, help="folder of MASS, or where Sleep-EDF is downloaded to")
    parser.add_argument("--name", help="name of the result; by default that of the data")
    parser.add_argument("--what", help="one sentence about the data, for the table")
    parser.add_argument(
        "--cohorts",
        type=int,
        nargs="+",
        default=[1],
        help="seeds of the simulated subjects, for several their folds pool",
    )
    parser.add_argument(
        "--methods",
        nargs="+",
        default=list(METHODS),
        help="of `eegaug compare`, surrogates, and of simulated nights planted",
    )
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--small", type=int, default=2, help="training subjects of the small training set; 0: none")
    parser.add_argument("--only-small", action="store_true", help="leave out the runs on all training subjects")
    parser.add_argument("--every", type=int, default=1, help="use every N-th window of each night only")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--budget", help="time of each run, search and training together, such as 90s")
    parser.add_argument("--patience", type=int, default=30)
    parser.add_argument("--lr", type=float, help="learning rate (0.001; simulated: 0.003)")
    parser.add_argument("--penalty", type=float, help="weight of the paper's penalty (10; simulated: 0.2)")
    parser.add_argument("--method-arg", action="append", default=[], metavar="METHOD.NAME=JSON", help="repeat it")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--device")
    parser.add_argument("--work", type=Path, help="folder of the runs (eegaug-benchmark-NAME)")
    return parser.parse_args(arguments)


def planted(common: dict[str, Any], operations: list[dict[str, Any]]) -> StagingClassifier:
    """Training with all that was planted: at its true range, or, without a magnitude, as often as it was planted."""
    about = {"sfreq": common["sfreq"], "ch_names": common["ch_names"]}
    steps = [
        (row["operation"], 1.0, row["magnitude"])
        if get_operation(row["operation"], **about, warn=False).has_magnitude
        else (row["operation"], row["strength"])
        for row in operations
        if row["strength"]
    ]
    return StagingClassifier(**common, policy=Policy(sub_policies=[SubPolicy(operations=steps)], **about))


def surrogates(common: dict[str, Any]) -> StagingClassifier:
    """Training with what AugNet settles on when it is rewarded for the change of the signal, from the start."""
    about = {"sfreq": common["sfreq"], "ch_names": common["ch_names"]}
    steps = [("ft_surrogate", 0.5, 1.0), ("sign_flip", 0.5)]
    return StagingClassifier(**common, policy=Policy(sub_policies=[SubPolicy(operations=steps)], **about))


register_method(Method("planted", "what was planted, known", planted, {"operations": []}), replace=True)
register_method(Method("surrogates", "FT surrogates and polarity", surrogates, {}), replace=True)


def run(options: argparse.Namespace) -> tuple[Comparison, int]:
    """Make all runs; also the number of training subjects when all are used."""
    if len(options.cohorts) == 1:
        return run_cohort(options, options.cohorts[0])
    if options.data != "simulated":
        raise SystemExit(f"--cohorts {' '.join(map(str, options.cohorts))}: only simulated subjects come in cohorts")
    found = []
    for cohort in options.cohorts:
        of_cohort = copy.copy(options)
        of_cohort.work = options.work / f"cohort{cohort}"
        result, full = run_cohort(of_cohort, cohort)
        found.append(result)
    return pooled(found, options), full


def pooled(found: list[Comparison], options: argparse.Namespace) -> Comparison:
    """Comparisons on several cohorts as one, whose folds are those of all."""

    def together(name: str) -> pd.DataFrame:
        parts = []
        for number, (cohort, result) in enumerate(zip(options.cohorts, found, strict=True)):
            part = getattr(result, name)
            if not len(part):
                continue
            part = part.assign(fold=part["fold"] + number * options.folds, cohort=cohort)
            if "subject" in part:
                part["subject"] = [f"{subject} of cohort {cohort}" for subject in part["subject"]]
            parts.append(part)
        return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()

    names = ("table", "curves", "invariances", "failed", "subjects")
    result = dataclasses.replace(
        found[0], **{name: together(name) for name in names}, policies={}, files={}, out=options.work
    )
    if len(result.table):
        result.save()
    return result


def run_cohort(options: argparse.Namespace, cohort: int) -> tuple[Comparison, int]:
    """Make the runs on one cohort of simulated subjects, or on other nights."""
    data_args = {**SIMULATED, "random_state": cohort} if options.data == "simulated" else None
    nights, _ = get_nights(options.data, root=options.root, data_args=data_args)
    if options.every > 1:
        nights = thin(nights, options.every)
    folds = get_folds(options.folds, nights, dict.fromkeys(("n_train", "n_valid", "n_test")))
    full = len(folds[0].train)
    if options.small >= full:
        raise SystemExit(f"--small {options.small}: the folds train on {full} subjects; name fewer than that")
    sizes = ([options.small / full] if options.small else []) + ([] if options.only_small else [1.0])
    if not sizes:
        raise SystemExit("--only-small with --small 0 leaves nothing to train on")
    result = compare(
        options.methods,
        nights,
        folds=folds,
        seeds=options.seeds,
        fractions=sizes,
        budget=options.budget,
        max_epochs=options.epochs,
        patience=options.patience,
        lr=default_for("lr", options.data, options.lr),
        method_options=method_options(options, nights),
        n_jobs=options.jobs,
        device=options.device or default_device(),
        out=options.work,
    )
    return result, full


def method_options(options: argparse.Namespace, nights: Nights) -> dict[str, dict[str, Any]]:
    """What single methods are told, by the command line and by what suits the data."""
    found: dict[str, dict[str, Any]] = {}
    if "planted" in options.methods:
        if not nights.truth:
            raise SystemExit("--methods planted: only of simulated nights is it known what was planted")
        found["planted"] = {"operations": nights.truth["operations"]}
    if "augnet" in options.methods:
        found["augnet"] = augnet_options(options.data, options.penalty)
    if "augnet-change" in options.methods:
        found["augnet-change"] = {"augmentation_lr": default_for("augmentation_lr", options.data)}
    for given in options.method_arg:
        name, value = given.split("=", 1)
        method, option = name.split(".", 1)
        found.setdefault(method, {})[option] = json.loads(value)
    return found


def thin(nights: Nights, every: int) -> Nights:
    """Every `every`-th window of each night, in memory: whole nights at a fraction of the computation."""
    kept = []
    for night in nights.datasets:
        about = dict(night.description) | {"ch_names": night.ch_names, "sfreq": night.sfreq}
        part = slice(None, None, every)
        kept.append(NightDataset(night.read(part), night.y[part], onset_s=night.onset_s[part], **about))
    return Nights(kept, nights.preprocessing, nights.truth, nights.problems)


def table(result: Comparison, full: int) -> pd.DataFrame:
    """One row per size of the training set and method: means over folds, with their spread, as text."""
    rows = []
    for fraction, part in result.table.groupby("fraction"):
        tests = against_none(result.subjects, fraction)
        for method in sorted(set(part["method"]), key=list(result.labels).index):
            runs = part[part["method"] == method]
            folds = runs.groupby("fold")
            row = {"training subjects": max(1, round(fraction * full)), "method": result.labels[method]}
            for name, column in (("balanced accuracy", "test_balanced_accuracy"), ("kappa", "test_kappa")):
                row[name] = mean_and_sd(folds[column].mean())
            if "none" in set(part["method"]) and method != "none":
                score = runs.set_index(["fold", "seed"])["test_balanced_accuracy"]
                without = part[part["method"] == "none"].set_index(["fold", "seed"])["test_balanced_accuracy"]
                gain = (score - without).dropna().groupby("fold").mean()
                row["gain over none"] = mean_and_sd(gain, sign=True)
                row["folds gained"] = f"{int((gain > 0).sum())} of {len(gain)}"
                row["subjects gained"], row["p"] = tests.get(method, ("", ""))
            else:
                row |= dict.fromkeys(("gain over none", "folds gained", "subjects gained", "p"), "")
            row["training s"] = f"{runs['train_seconds'].median():.1f}"
            row["s to best"] = f"{runs['best_train_seconds'].median():.1f}"
            row["passes"] = f"{runs['passes'].median():.0f}"
            row["runs"] = len(runs)
            rows.append(row)
    return pd.DataFrame(rows)


def against_none(subjects: pd.DataFrame, fraction: float) -> dict[str, tuple[str, str]]:
    """By method: how many test subjects it staged better than no augmentation did, and what that says."""
    if not len(subjects):
        return {}
    scores = subjects[subjects["fraction"] == fraction]
    pairs = compare_pairs(scores)
    pairs = pairs[(pairs["method"] == "none") | (pairs["other"] == "none")]
    found = {}
    for (_, row), p in zip(pairs.iterrows(), holm(pairs["p"].to_numpy()), strict=True):
        first = row["other"] == "none"
        gained = row["better_in" if first else "worse_in"]
        found[row["method" if first else "other"]] = f"{gained} of {row['subjects']}", f"{p:.2g}"
    return found


def note(result: Comparison, options: argparse.Namespace) -> str:
    """What the table shows."""
    data, training = result.settings["data"], result.settings["training"]
    augnet = result.settings["methods"].get("augnet")
    penalty = f"; AugNet's penalty {augnet['penalty']:g}" if augnet else ""
    if augnet and augnet["augmentation_lr"]:
        penalty += f", learning rate of its weights and strengths {augnet['augmentation_lr']:g}"
    if changed := result.settings["methods"].get("augnet-change"):
        penalty += f"; rewarded for change {changed['penalty']:g}"
    windows, channels = data["windows"], ", ".join(data["ch_names"])
    several = len(options.cohorts) > 1
    each = f" in each of {len(options.cohorts)} cohorts" if several else ""
    every = f" (every {options.every}th of each night)" if options.every > 1 else ""
    budget = f" and {options.budget} of search and training together" if options.budget else ""
    sides = {side: len(result.settings["folds"][0][side]) for side in ("train", "valid", "test")}
    text = (
        f"{options.what + ' ' if options.what else ''}Data: {options.data}, {len(windows)} subjects, "
        f"{sum(windows.values())} windows of {data['window_s']:g} s{every}{each}, {channels} at {data['sfreq']:g} Hz. "
        f"{len(result.settings['folds'])} folds by subject{each} "
        f"({sides['train']} to train, {sides['valid']} to validate, "
        f"{sides['test']} to test), seeds {', '.join(map(str, sorted(set(result.table['seed']))))}. "
        f"{training['trunk']} {training['trunk_args']}, Adam {training['lr']:g}, batches of {training['batch_size']}, "
        f"at most {training['max_epochs']} epochs{budget}, the network best on validation{penalty}. Scores: mean ± SD "
        "over folds, seeds of a fold averaged first; the gain is paired by fold and seed. p: Wilcoxon's signed-"
        "rank test over test subjects or over trainings, whichever is larger, Holm-corrected over the methods. "
        "Seconds are medians of training alone."
    )
    if options.method_arg:
        text += f" Told to single methods: {', '.join(options.method_arg)}; all else as by default."
    if options.data == "simulated":
        text += (
            f" Nights: `simulate_nights` with {SIMULATED}, `random_state` {', '.join(map(str, options.cohorts))} and "
            "the rest as in `eegaug compare`, whose settings were chosen on other subjects (`random_state=0`)."
        )
    if len(result.failed):
        text += f" {len(result.failed)} runs failed."
    return text


def figure(result: Comparison, full: int, path: Path) -> None:
    """Scores fold by fold, one panel for each size of the training set."""
    from matplotlib.figure import Figure

    fractions = sorted(set(result.table["fraction"]))
    width = max(2.1, 0.5 * result.table["method"].nunique())
    picture = Figure(figsize=(1.0 + width * len(fractions), 3.3), layout="constrained")
    for ax, fraction in zip(picture.subplots(1, len(fractions), sharey=True, squeeze=False)[0], fractions, strict=True):
        part = result.table[result.table["fraction"] == fraction]
        title = f"{max(1, round(fraction * full))} training subjects"
        plot_scores(part, labels=result.labels, title=title, ax=ax)
        if fraction != fractions[0]:
            ax.set_ylabel("")
    picture.savefig(path, dpi=200)


def main(arguments: list[str] | None = None) -> None:
    """Run the benchmark and write its results."""
    options = parse(arguments)
    source = re.sub(r"[^\w-]+", "-", Path(options.data).name) or "data"
    name = f"nights-{options.name or source}"
    options.work = options.work or Path(f"eegaug-benchmark-{name}")
    os.makedirs(RESULTS, exist_ok=True)
    result, full = run(options)
    if not len(result.table):
        raise SystemExit(f"every run failed: {result.failed['error'].iloc[0]}")
    result.table.to_csv(RESULTS / f"{name}-runs.csv", index=False)
    if len(result.subjects):
        columns = ["method", "fold", "seed", "fraction", "subject", "windows", "balanced_accuracy", "kappa"]
        result.subjects[columns].round(4).to_csv(RESULTS / f"{name}-subjects.csv", index=False)
        sizes = sorted(set(result.subjects["fraction"]))
        tests = pd.concat([result.pairs(fraction=size).assign(fraction=size) for size in sizes])
        tests.to_csv(RESULTS / f"{name}-pairs.csv", index=False, float_format="%.4g")
    figure(result, full, RESULTS / f"{name}.png")
    if len(result.invariances):
        result.invariances.to_csv(RESULTS / f"{name}-invariances.csv", index=False)
    for picture in sorted(options.work.glob("*.png" if options.budget else "invariances.png")):
        shutil.copy(picture, RESULTS / f"{name}-{picture.name}")
    print(write(name, table(result, full), note(result, options)).read_text())
    print(result.sentence())


if __name__ == "__main__":
    main()
