"""Estimators of a comparison: what all methods share, and training that lets Ctrl-C through."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from eegaug.comparison.methods import Method

__all__ = [
    "CHECKPOINT",
    "PROGRESS",
    "build_estimator",
    "common_arguments",
    "count_parameters",
    "fit_uninterrupted",
    "trunk_arguments",
    "uninterrupted",
]

#: Files of a training that is under way.
CHECKPOINT, PROGRESS = "checkpoint", "progress.json"
_ONE_CTRL_C_S = 1.0


def build_estimator(
    method: Method, options: Mapping[str, Any], training: Mapping[str, Any], nights: Any, **shared: Any
) -> Any:
    """Unfitted estimator of a method with its own options, and what :func:`common_arguments` makes of all others."""
    return method.build(common_arguments(training, nights, **shared), **options)


def common_arguments(
    training: Mapping[str, Any],
    nights: Any,
    *,
    valid: Any = None,
    test: Any = None,
    seed: int = 0,
    device: str = "cpu",
    folder: Path | None = None,
    callbacks: list[Any] | None = None,
) -> dict[str, Any]:
    """Arguments of an estimator that all methods share.

    Parameters
    ----------
    training : mapping
        trunk, trunk_args, lr, batch_size, max_epochs, patience, budget.
    nights : Nights
        For channels and sampling rate.
    valid, test : Nights, optional
        With ``valid``, training stops when its balanced accuracy has not risen for ``patience`` epochs, and the best
        network is kept. ``test`` is scored whenever that has risen, for the curve only.
    seed : int
    device : str
    folder : Path, optional
        Where checkpoints are kept, so that a killed training goes on.
    callbacks : list, optional
        Further skorch callbacks.
    """
    from skorch.helper import predefined_split

    from eegaug._early_stopping import early_stopping, validation_score
    from eegaug.checkpoint import TrainingCheckpoint
    from eegaug.comparison.callbacks import Budget, HeldOutScore, ProgressFile, TrainingClock

    steps: list[Any] = [("clock", TrainingClock())]
    if valid is not None:
        steps.append(("valid_score", validation_score()))
        if test is not None:
            steps.append(("test_score", HeldOutScore(test, test.y)))
    steps += callbacks or []
    if valid is not None:
        if folder is not None:
            steps.append(("progress", ProgressFile(folder / PROGRESS)))
        steps.append(("early_stopping", early_stopping(training["patience"])))
    steps.append(("budget", Budget(training["budget"])))
    if folder is not None:
        # Last, so that it saves what all others did in the epoch.
        steps.append(("checkpoint", TrainingCheckpoint(folder / CHECKPOINT, renew_damaged=True)))
    return {
        **trunk_arguments(training, nights, seed, device),
        "train_split": None if valid is None else predefined_split(valid),
        "callbacks": steps,
    }


def trunk_arguments(training: Mapping[str, Any], nights: Any, seed: int | None, device: str) -> dict[str, Any]:
    """Arguments of an estimator: the network and how it is trained, without what happens beside the training."""
    return {
        "module": training["trunk"],
        **{f"module__{name}": value for name, value in training["trunk_args"].items()},
        "sfreq": nights.sfreq,
        "ch_names": list(nights.ch_names),
        "max_epochs": training["max_epochs"],
        "batch_size": training["batch_size"],
        "lr": training["lr"],
        "random_state": seed,
        "device": device,
        "verbose": 0,
    }


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Let Ctrl-C through.

    skorch ends a training quietly at KeyboardInterrupt, which is also how its callbacks stop one. Here a signal from
    outside is told from those: the training ends as skorch ends it, best network restored, and then
    KeyboardInterrupt is raised.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    seen: list[float] = []

    def note(number: int, frame: Any) -> None:
        # Ctrl-C that comes twice, from the terminal and from a wrapper such as ``conda run``, is one: the second would
        # break off what the first ends.
        if seen and time.monotonic() - seen[0] < _ONE_CTRL_C_S:
            return
        seen.append(time.monotonic())
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if seen:
        raise KeyboardInterrupt


def fit_uninterrupted(estimator: Any, data: Any) -> None:
    """Train; KeyboardInterrupt if it was ended by Ctrl-C."""
    with uninterrupted():
        estimator.fit(data)
    if estimator.interrupted_:
        raise KeyboardInterrupt


def count_parameters(estimator: Any) -> int:
    """Trained numbers of an estimator's network."""
    return sum(p.numel() for p in estimator.module_.parameters())
