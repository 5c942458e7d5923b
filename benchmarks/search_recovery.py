"""Do searches find what was planted? Shares of planted and of destructive operations, on simulated nights.

``python -m benchmarks.search_recovery``: subjects are simulated whose polarity, left and right, and frequencies differ.
Every search chooses between the operations that undo these and others that leave nothing of a window to learn from,
always at full strength (``--free-strength``: with magnitudes, which a search may lower until they do no harm). It
succeeds where a planted operation has a larger share than every destructive one. A share is how often an operation is
applied to a window, by the weights and probabilities learned (for searches without weights: by the policy found). Each
seed has subjects, split, initial weights and draws of its own. Every run is in the CSV ``search-recovery-runs``;
nothing is selected. Which operations deserve which name is measured too, by networks trained with one of them always
applied (``search-recovery-alone``).
"""

from __future__ import annotations

import argparse
import inspect
import time
import warnings
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from joblib import Parallel, delayed
from sklearn.metrics import balanced_accuracy_score
from tqdm.auto import tqdm

from benchmarks._timing import RESULTS, write
from eegaug import StagingClassifier
from eegaug.data import Nights, Planted, simulate_nights
from eegaug.operations import Operation, get_operation, register_operation
from eegaug.search import get_searcher

DATA: dict[str, Any] = {"ch_names": ("F3", "F4", "O1", "O2"), "sfreq": 64.0, "h_freq": 25.0}
MAX_JITTER_HZ = 2.0
#: Operations and what their full strength is.
PLANTED: dict[str, dict[str, float]] = {
    "sign_flip": {},
    "channels_symmetry": {},
    "frequency_shift": {"max_strength": MAX_JITTER_HZ},
}
DESTRUCTIVE: dict[str, dict[str, float]] = {
    "gaussian_noise": {"max_strength": 5.0},
    "time_masking": {"max_seconds": 29.0},
    "channels_dropout": {},
    "bandstop_filter": {"max_strength": 20.0},
}
DNA_BILEVEL_ALL: dict[str, Any] = {"objective": "bilevel", "search_fraction": 1.0, "policy_lr": 3e-2}
#: Searches by the name of a row: short name of the searcher, and its settings. Policies take hundreds of steps here and
#: thousands on whole nights, so that their rates are up to ten times the defaults. DNA as it is takes 60 small steps
#: here; "-all" searches on all windows, not a fifth of them, and so does "-normalised".
METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "adda": ("adda", {"policy_lr": 5e-3}),
    "adda-gumbel": ("adda", {"choice": "gumbel", "policy_lr": 5e-3}),
    "adda-relax": ("adda", {"choice": "relax", "policy_lr": 5e-3}),
    "cadda": ("cadda", {"policy_lr": 5e-3}),
    "cadda-apart": ("cadda", {"policy_lr": 5e-3, "pooled": False}),
    "dada": ("dada", {"policy_lr": 3e-2}),
    "dada-gumbel": ("dada", {"choice": "gumbel", "policy_lr": 3e-2}),
    "faster-autoaugment": ("faster-autoaugment", {"policy_lr": 5e-3}),
    "faster-autoaugment-softmax": ("faster-autoaugment", {"choice": "softmax", "policy_lr": 5e-3}),
    "dna": ("dna", {}),
    "dna-bilevel": ("dna", {"objective": "bilevel"}),
    "dna-all": ("dna", {"search_fraction": 1.0, "policy_lr": 3e-2}),
    "dna-bilevel-all": ("dna", DNA_BILEVEL_ALL),
    "dna-bilevel-normalised": ("dna", {**DNA_BILEVEL_ALL, "inner_step": "normalised"}),
    "random": ("random", {}),
    "autoaugment": ("autoaugment", {}),
    "fast-autoaugment": ("fast-autoaugment", {}),
}
GRADIENT = ["adda", "adda-gumbel", "adda-relax", "cadda", "dada", "dada-gumbel"]
GRADIENT += ["faster-autoaugment", "faster-autoaugment-softmax", "dna", "dna-bilevel", "dna-all", "dna-bilevel-all"]


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=GRADIENT)
    parser.add_argument("--seeds", type=int, default=10, help="number of seeds")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--jitter", type=float, default=1.0, help="planted frequency jitter in Hz (plus or minus)")
    parser.add_argument("--train", type=int, default=8, help="subjects to train on in the search")
    parser.add_argument("--valid", type=int, default=8, help="subjects to validate on in the search")
    parser.add_argument("--windows", type=int, default=40, help="windows of a night")
    parser.add_argument("--steps", type=int, default=15, help="epochs (or trials) of a search")
    parser.add_argument("--warm-start", type=int, default=5, help="epochs before it, where the search has them")
    parser.add_argument(
        "--policy-lr", type=float, help="Adam of the policy, where the search has one; default: its own"
    )
    parser.add_argument("--free-strength", action="store_true", help="destructive operations with a magnitude")
    parser.add_argument("--only-searches", action="store_true", help="without training on each operation alone")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="1 seed, 3 steps: does it run?")
    parser.add_argument("--name", default="search-recovery", help="name of the results' files")
    options = parser.parse_args(arguments)
    if options.quick:
        options.seeds, options.steps, options.warm_start, options.windows = 1, 3, 1, min(options.windows, 40)
        options.name += "-quick"
    if not 0 <= options.jitter <= MAX_JITTER_HZ:
        parser.error(f"--jitter is a range in Hz from 0 to {MAX_JITTER_HZ:g}")
    return options


def operations(free_strength: bool = False) -> list[Operation]:
    """What every search chooses from."""
    about = {"sfreq": DATA["sfreq"], "ch_names": DATA["ch_names"]}
    planted = [get_operation(name, **about, **options) for name, options in PLANTED.items()]
    destructive = [get_operation(name, **about, **options) for name, options in DESTRUCTIVE.items()]
    if not free_strength:
        destructive = [at_full_strength(op) for op in destructive]
    return planted + destructive


def at_full_strength(operation: Operation) -> Operation:
    """The operation without a magnitude, known to policies as ``full_…``."""
    parent = type(operation)

    def transform(self: Operation, X: torch.Tensor, magnitude: Any, noise: dict[str, torch.Tensor]) -> torch.Tensor:
        return parent.transform(self, X, X.new_ones(1), noise)

    made = {"name": f"full_{operation.name}", "has_magnitude": False, "transform": transform, "__module__": __name__}
    cls = register_operation(type(f"Full{parent.__name__}", (parent,), made))
    return cls(**{key: value for key, value in operation.get_config().items() if key != "name"})


def simulate(seed: int, options: argparse.Namespace) -> Nights:
    """Subjects of one seed."""
    planted = Planted.none(polarity=0.5, left_right=0.5, frequency_jitter_hz=options.jitter)
    n = options.train + options.valid
    return simulate_nights(n, n_windows=options.windows, planted=planted, random_state=seed, **DATA)


def alone(operation: Operation | None, seed: int, options: argparse.Namespace) -> dict:
    """Train with one operation always applied at full strength, and score on subjects left as they are."""
    torch.set_num_threads(1)
    nights = simulate(seed, options)
    subjects = list(dict.fromkeys(map(str, nights.subjects)))
    train, valid = nights.select(subjects[: options.train]), nights.select(subjects[options.train :])
    epochs = options.warm_start + options.steps
    policy = operation and partial(operation, magnitude=1.0)
    model = StagingClassifier(policy=policy, max_epochs=epochs, random_state=seed, verbose=0).fit(train, train.y)
    score = balanced_accuracy_score(valid.y, model.predict(valid))
    return {"operation": operation.name if operation else "none", "seed": seed, "balanced accuracy": score}


def run(method: str, seed: int, options: argparse.Namespace) -> list[dict]:
    """Search once; one row per operation."""
    torch.set_num_threads(1)
    nights = simulate(seed, options)
    name, settings = METHODS[method]
    searcher = get_searcher(name)
    takes = inspect.signature(searcher).parameters
    more = {"policy_lr": options.policy_lr, "warm_start": options.warm_start}
    search = searcher(
        StagingClassifier(max_epochs=options.steps, verbose=0),
        operations=operations(options.free_strength),
        max_steps=options.steps,
        valid_size=options.valid,
        refit=False,
        random_state=seed,
        verbose=0,
        **settings | {key: value for key, value in more.items() if key in takes and value is not None},
    )
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        search.fit(nights, nights.y)
    known = {
        "method": method,
        "seed": seed,
        "seconds": time.perf_counter() - start,
        "n_forward_backward": search.n_forward_backward_,
    }
    return [
        known | {"operation": op, "planted": op in PLANTED, "share": share} for op, share in shares_of(search).items()
    ]


def shares_of(search: Any) -> dict[str, float]:
    """How often each operation is applied to a window."""
    if hasattr(search, "operation_shares"):
        return search.operation_shares().mean(axis=1).to_dict()
    return applied(search.policy_, search.operations_)


def applied(policy: Any, operations: list[Operation]) -> dict[str, float]:
    """Expected number of times that a policy applies each operation to a window; classes count alike."""
    policy = getattr(policy, "mean", None) or policy  # of an input-conditional policy, the mean over the windows
    shares = {op.name: 0.0 for op in operations}
    policies = getattr(policy, "policies", (policy,))
    for one in policies:
        for sub in one.sub_policies:
            for step in sub.operations:
                shares[step.operation] += sub.weight * step.probability / len(policies)
    return shares


def outcomes(runs: pd.DataFrame) -> pd.DataFrame:
    """One row per run: the largest share of a planted and of a destructive operation, and whose they are."""
    rows = []
    for (method, seed), part in runs.groupby(["method", "seed"], sort=False):
        row = {"method": method, "seed": seed, "seconds": part["seconds"].iloc[0]}
        for kind, mine in (("planted", part[part["planted"]]), ("destructive", part[~part["planted"]])):
            best = mine.loc[mine["share"].idxmax()]
            row |= {kind: best["share"], f"{kind} operation": best["operation"]}
        rows.append(row | {"found": row["planted"] > row["destructive"]})
    return pd.DataFrame(rows)


def summary(runs: pd.DataFrame) -> pd.DataFrame:
    """One row per search."""
    rows = []
    for method, part in outcomes(runs).groupby("method", sort=False):
        failed = part[~part["found"]]
        mean = runs[runs["method"] == method].groupby("operation", sort=False)["share"].mean()
        rows.append(
            {
                "search": method,
                "planted above all destructive": f"{part['found'].sum()} of {len(part)}",
                "largest planted share, median": f"{part['planted'].median():.2f}",
                "largest destructive share, median": f"{part['destructive'].median():.2f}",
                "failed for": ", ".join(
                    f"{r['destructive operation']} (seed {r['seed']})" for _, r in failed.iterrows()
                ),
                "mean shares": ", ".join(f"{name} {share:.2f}" for name, share in mean.items()),
                "seconds, median": f"{part['seconds'].median():.0f}",
            }
        )
    return pd.DataFrame(rows)


def note(options: argparse.Namespace, alone: pd.DataFrame | None) -> str:
    """What the table shows."""

    ops = operations(options.free_strength)
    planted, destructive = (
        ", ".join(op.describe(1.0) for op in ops if (op.name in PLANTED) is own) for own in (True, False)
    )
    own = {method: METHODS[method][1].get("policy_lr") for method in options.methods}
    rates = ", ".join(
        f"{options.policy_lr or lr:g} ({method})" for method, lr in own.items() if options.policy_lr or lr
    )
    scores = ""
    if alone is not None:
        medians = alone.groupby("operation", sort=False)["balanced accuracy"].median()
        scores = (
            f"\n\nBalanced accuracy on the subjects to validate on after {options.warm_start + options.steps} epochs "
            "with one operation always applied, medians over seeds: "
            + ", ".join(f"{name} {score:.2f}" for name, score in medians.items())
            + "."
        )
    if any("search_fraction" in METHODS[name][1] for name in options.methods):
        rates += "; DNA with a rate of its own searches on all windows instead of a fifth of them"
    free = "; a search may lower the strength" if options.free_strength else ", always at this strength"
    return (
        f"Simulated nights ({', '.join(DATA['ch_names'])} at {DATA['sfreq']:g} Hz, {options.windows} windows a night): "
        f"polarity and sides exchanged in half of the subjects, frequencies moved by up to ±{options.jitter:g} Hz. "
        f"{options.train} subjects to train on and {options.valid} to validate on, the Chambon net, {options.steps} "
        f"steps of each search after a warm start of {options.warm_start} epochs where it has one, policy's Adam "
        f"{rates}; {options.seeds} seeds. Planted operations, at full strength: {planted}. "
        f"Destructive ones{free}: {destructive}. A share is how often an operation is applied to a window.{scores}"
    )


def main(arguments: list[str] | None = None) -> None:
    """Run the benchmark and write its results."""
    options = parse(arguments)
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    todo = [(method, seed) for seed in seeds for method in options.methods]
    parallel = Parallel(n_jobs=options.jobs, return_as="generator")
    single = [(op, seed) for seed in seeds for op in [None, *operations(options.free_strength)]]
    scores = None
    if not options.only_searches:
        scored = parallel(delayed(alone)(*one, options) for one in single)
        scores = pd.DataFrame(list(tqdm(scored, total=len(single), unit="operation")))
        scores.round(5).to_csv(RESULTS / f"{options.name}-alone.csv", index=False)
    found = parallel(delayed(run)(*one, options) for one in todo)
    runs = pd.DataFrame([row for rows in tqdm(found, total=len(todo), unit="run") for row in rows])
    path = write(options.name, summary(runs), note(options, scores))
    runs.assign(share=np.round(runs["share"], 5)).to_csv(RESULTS / f"{options.name}-runs.csv", index=False)
    print(path.read_text())


if __name__ == "__main__":
    main()
