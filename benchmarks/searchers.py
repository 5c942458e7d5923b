"""What a step of each search costs, beside a plain training step of the same batch.

    python -m benchmarks.searchers [--threads 1] [--device cpu] [--channels 6] [--n-times 3000]

All candidates run in every round, so that a busy machine slows them alike. The network is the Chambon net in training,
with dropout 0.5; the policies are as they are at the start of a search, with all operations that the montage allows.
Plain steps are those of braindecode's EEGClassifier and of eegaug, whose gradients of convolutions take less time.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import torch
from braindecode import EEGClassifier
from braindecode.models import SleepStagerChambon2018

from benchmarks._timing import CHANNELS, interleaved, machine, quartiles, write
from eegaug import StagingClassifier
from eegaug.search import ADDASearch, DADASearch, DNASearch, FasterAutoAugmentSearch

Candidates = dict[str, Callable[[], object]]
BATCH, N_CLASSES, N_SUBJECTS = 16, 5, 4


def estimator(options: argparse.Namespace) -> StagingClassifier:
    """What is trained, in the search and beside it."""
    return StagingClassifier(
        SleepStagerChambon2018,
        sfreq=options.n_times / 30,
        ch_names=CHANNELS[options.channels],
        module__drop_prob=0.5,
        batch_size=BATCH,
        random_state=0,
        verbose=0,
        device=options.device,
    )


def begun(search: Any, options: argparse.Namespace) -> tuple[Any, Any]:
    """Task and state of a search at its start."""
    n = 2 * BATCH * N_SUBJECTS
    X = np.random.default_rng(0).standard_normal((n, options.channels, options.n_times)).astype("float32")
    y, subjects = np.arange(n) % N_CLASSES, np.arange(n) % N_SUBJECTS
    prepared = search._prepare(X, y)
    task = search._make_task(*prepared, subjects, 0)
    search._check(task)
    return task, search._begin(task)


def batch(options: argparse.Namespace) -> tuple[torch.Tensor, torch.Tensor]:
    """A training batch where it is needed."""
    X = torch.randn(BATCH, options.channels, options.n_times, generator=torch.Generator().manual_seed(0))
    return X.to(options.device), (torch.arange(BATCH) % N_CLASSES).to(options.device)


def plain(options: argparse.Namespace) -> Candidates:
    """The references: forward, backward and optimiser, without augmentation."""
    search = ADDASearch(estimator(options), valid_size=1, random_state=0, verbose=0)
    task, state = begun(search, options)
    criterion, (X, y) = task.new_criterion(), batch(options)
    net = EEGClassifier(
        SleepStagerChambon2018,
        module__sfreq=options.n_times / 30,
        module__drop_prob=0.5,
        optimizer=torch.optim.Adam,
        train_split=None,
        batch_size=BATCH,
        max_epochs=1,
        verbose=0,
        device=options.device,
    ).fit(X.cpu().numpy(), y.cpu().numpy())
    return {
        "plain training step, braindecode": lambda: net.train_step((X, y)),
        "plain training step": lambda: search.update_trunk(task, state, criterion, (X, y), augmented=False),
    }


def bilevel(options: argparse.Namespace) -> Candidates:
    """Policy updates through one step of training."""
    found = {}
    for name, cls, settings in (
        ("ADDA, softmax", ADDASearch, {"choice": "softmax"}),
        ("ADDA, softmax, finite differences", ADDASearch, {"choice": "softmax", "hypergradient": "finite_difference"}),
        ("ADDA, gumbel", ADDASearch, {"choice": "gumbel"}),
        ("ADDA, relax", ADDASearch, {"choice": "relax"}),
        ("CADDA, softmax", ADDASearch, {"choice": "softmax", "class_wise": True}),
        ("DADA, relax", DADASearch, {"choice": "relax"}),
        ("DADA, gumbel", DADASearch, {"choice": "gumbel"}),
    ):
        search = cls(estimator(options), valid_size=1, random_state=0, verbose=0, **settings)
        task, state = begun(search, options)
        # At a rate of almost zero the weights stay equal: later on, operations drop out and the update gets cheaper.
        for group in state.policy_optimizer.param_groups:
            group["lr"] = 1e-12
        found[f"{name}: policy update"] = _update(search, task, state, batch(options))
    return found


def _update(search: Any, task: Any, state: Any, train: tuple[torch.Tensor, torch.Tensor]) -> Callable[[], object]:
    criterion = task.new_criterion()
    return lambda: search.update_policy(task, state, criterion, train)


def dna(options: argparse.Namespace) -> Candidates:
    """One batch of DNA: augmentation network and classifier both take a step."""
    found = {}
    for objective in ("joint", "regularised", "bilevel"):
        search = DNASearch(estimator(options), objective=objective, valid_size=1, random_state=0, verbose=0)
        task, state = begun(search, options)
        state.network_optimizer.param_groups[0]["lr"] = 1e-12
        found[f"DNA, {objective}: step of both networks"] = _whole(search, task, state, batch(options))
    return found


def faster_autoaugment(options: argparse.Namespace) -> Candidates:
    """One batch of Faster AutoAugment: a step of the critic and one of the policy."""
    found = {}
    for choice in ("softmax", "gumbel"):
        search = FasterAutoAugmentSearch(estimator(options), choice=choice, valid_size=1, random_state=0, verbose=0)
        task, state = begun(search, options)
        state.policy_optimizer.param_groups[0]["lr"] = 1e-12
        found[f"Faster AutoAugment, {choice}: step of critic and policy"] = _whole(search, task, state, batch(options))
    return found


def _whole(search: Any, task: Any, state: Any, train: tuple[torch.Tensor, torch.Tensor]) -> Callable[[], object]:
    criterion = task.new_criterion()
    return lambda: search.update(task, state, criterion, train)


#: What is timed; each gives named steps of one batch.
FAMILIES: dict[str, Callable[[argparse.Namespace], Candidates]] = {
    "bilevel": bilevel,
    "dna": dna,
    "faster-autoaugment": faster_autoaugment,
}


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--channels", type=int, choices=list(CHANNELS), default=6)
    parser.add_argument("--n-times", type=int, default=3000, help="samples of a window of 30 s")
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall", help="cpu: for a machine that others use")
    parser.add_argument("--families", nargs="+", choices=list(FAMILIES), default=list(FAMILIES))
    parser.add_argument("--name", default="searchers", help="name of the results' files")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Time everything and write the table."""
    options = parse(arguments)
    torch.set_num_threads(options.threads)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        candidates = plain(options)
        for family in options.families:
            candidates |= FAMILIES[family](options)
    clock = time.perf_counter if options.clock == "wall" else time.process_time
    seconds = interleaved(candidates, repeats=options.repeats, device=options.device, clock=clock)
    theirs, own = seconds["plain training step, braindecode"], seconds["plain training step"]
    table = pd.DataFrame(
        {
            "step": name,
            "ms, median (quartiles)": quartiles(each),
            # Rounds are compared with themselves: the machine was as busy for both.
            "plain steps of braindecode": f"{np.median(each / theirs):.2f}",
            "plain steps of eegaug": f"{np.median(each / own):.2f}",
        }
        for name, each in seconds.items()
    )
    note = (
        f"{options.channels} channels, {options.n_times} samples, batches of {BATCH}, {options.threads} thread(s), "
        f"{options.repeats} rounds, {options.clock} time. A policy update is augmentation, the training batch, the "
        "validation batch, the second derivative and the optimiser of the policy. The last columns are medians over "
        "rounds of the ratio to the plain step of the same round."
    )
    print(write(options.name, table, note, options.device).read_text(), machine(options.device), sep="\n")


if __name__ == "__main__":
    main()
