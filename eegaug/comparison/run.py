"""One run of a comparison: search and train a method on a fold, stop on validation, test, write one row."""

from __future__ import annotations

import json
import os
import platform
import shutil
import signal
import subprocess
import threading
import time
import traceback
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from eegaug._version import __version__
from eegaug.comparison.methods import Method
from eegaug.comparison.plan import RunSpec, write_json, write_text
from eegaug.comparison.scores import stage_scores, subject_table

__all__ = ["Outcome", "build_estimator", "code_versions", "run_folder", "run_one", "uninterrupted"]

ROW, ERROR, CURVE = "row.json", "error.json", "curve.csv"
CHECKPOINT, PROGRESS = "checkpoint", "progress.json"
INVARIANCES, HISTORY = "invariances.csv", "invariances_history.csv"
SUBJECTS, POLICY = "subjects.csv", "policy.json"
#: What a search leaves while it is under way; how often a run was begun in one call of a comparison.
SEARCH, ATTEMPT = "search", "attempt.json"
#: How often a run is begun again whose process has died.
RETRIES = 1

_ONE_AT_A_TIME = threading.Lock()


# Warnings that libraries address to programmers.
_OF_OTHERS = (DeprecationWarning, FutureWarning, PendingDeprecationWarning, ImportWarning)


def run_folder(out: str | os.PathLike, spec: RunSpec) -> Path:
    """Folder of a run inside the folder of its comparison."""
    return Path(out) / "runs" / spec.key


def run_one(
    spec: RunSpec,
    method: Method,
    split: Any,
    nights: Any,
    settings: Mapping[str, Any],
    out: str | os.PathLike,
    device: str = "cpu",
    session: str | None = None,
) -> dict[str, Any]:
    """Make one run, or read it where it is already there.

    A run that was killed goes on from its last finished epoch. The row is written last and at once: it is there if and
    only if the run is finished. A run that fails leaves ``error.json`` instead and is tried again next time.

    Parameters
    ----------
    spec : RunSpec
    method : Method
    split : Split
        Subjects of this fold.
    nights : Nights
        All nights.
    settings : mapping
        The comparison's settings (``training`` and ``methods`` are used).
    out : path
        Folder of the comparison.
    device : str
    session : str, optional
        Name of one call of a comparison. A run whose process has died twice in one session is not begun a third time.

    Returns
    -------
    dict
        The row, with the run's warnings; or, of a failed run, a dict with key ``error``.
    """
    folder = run_folder(out, spec)
    if (folder / ROW).exists():
        return json.loads((folder / ROW).read_text())
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ERROR).unlink(missing_ok=True)
    deaths = _deaths(folder, session)
    if deaths > RETRIES:
        (folder / ATTEMPT).unlink(missing_ok=True)
        return report_death(folder, spec, deaths)
    if session is not None:
        write_json(folder / ATTEMPT, {"session": session, "number": deaths + 1})
    try:
        # torch's generator is one for the process: runs in threads of one worker take turns.
        with _ONE_AT_A_TIME, warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("default")
            row = _make(spec, method, split, nights, settings, folder, device)
    except Exception as error:
        document = {**spec.as_dict(), "error": f"{type(error).__name__}: {error}", "traceback": traceback.format_exc()}
        write_json(folder / ERROR, document)
        (folder / ATTEMPT).unlink(missing_ok=True)
        return document
    except KeyboardInterrupt:
        (folder / ATTEMPT).unlink(missing_ok=True)
        raise
    told = dict.fromkeys(str(w.message) for w in caught if not issubclass(w.category, _OF_OTHERS))
    row = {**row, "warnings": list(told)}
    write_json(folder / ROW, row)
    for name in (ATTEMPT, CHECKPOINT, PROGRESS, SEARCH):
        _remove(folder / name)
    return row


def _deaths(folder: Path, session: str | None) -> int:
    """How often this run was begun in this session by processes that did not come to tell of its end."""
    try:
        found = json.loads((folder / ATTEMPT).read_text())
    except (FileNotFoundError, ValueError):
        return 0
    return found["number"] if session is not None and found.get("session") == session else 0


def report_death(folder: Path, spec: RunSpec, deaths: int) -> dict[str, Any]:
    """Note that a run has failed because the processes died that made it."""
    document = {
        **spec.as_dict(),
        "error": f"the process that made this run died {deaths} times, perhaps for want of memory: try fewer runs at a "
        "time, or smaller batches",
        "traceback": "",
    }
    write_json(folder / ERROR, document)
    return document


def _make(
    spec: RunSpec,
    method: Method,
    split: Any,
    nights: Any,
    settings: Mapping[str, Any],
    folder: Path,
    device: str,
) -> dict[str, Any]:
    """Train, test, write what the run leaves, and return its row."""
    part = split.fraction(spec.fraction, random_state=spec.seed)
    started = time.perf_counter()
    options, training = settings["methods"][method.name], settings["training"]
    if method.searches:
        from eegaug.comparison.searching import search_and_train

        outcome = search_and_train(method, options, training, nights, part, spec.seed, device, folder)
    else:
        outcome = _train(method, options, training, nights, part, spec.seed, device, folder)
    for name, table in outcome.tables.items():
        write_text(folder / name, table.to_csv(index=False))
    if hasattr(outcome.policy, "save"):
        outcome.policy.save(folder / POLICY)
    train, valid, test = (nights.select(subjects=list(names)) for names in (part.train, part.valid, part.test))
    write_text(folder / SUBJECTS, subject_table(test, outcome.predicted).to_csv(index=False))
    scores = stage_scores(test.y, outcome.predicted)
    return {
        **spec.as_dict(),
        **{f"test_{name}": None if np.isnan(value) else value for name, value in scores.items()},
        **outcome.numbers,
        "wall_seconds": time.perf_counter() - started,
        "train_subjects": " ".join(part.train),
        "valid_subjects": " ".join(part.valid),
        "test_subjects": " ".join(part.test),
        "train_windows": len(train),
        "valid_windows": len(valid),
        "test_windows": len(test),
        "policy": f"runs/{spec.key}/{POLICY}" if hasattr(outcome.policy, "save") else None,
        **code_versions(),
        "device": _device_name(device),
        "threads": _threads(),
    }


@dataclass
class Outcome:
    """What a run has come to.

    Attributes
    ----------
    predicted : array of int, (n_windows,)
        Stages of the test windows.
    numbers : dict
        Columns of the row: scores on validation subjects and costs.
    tables : dict
        File → table.
    policy : policy or None
        With which the tested network was trained.
    """

    predicted: np.ndarray
    numbers: dict[str, Any]
    tables: dict[str, Any]
    policy: Any = None


def _train(
    method: Method,
    options: Mapping[str, Any],
    training: Mapping[str, Any],
    nights: Any,
    part: Any,
    seed: int,
    device: str,
    folder: Path,
) -> Outcome:
    """Train a method that needs no search."""
    train, valid, test = (nights.select(subjects=list(names)) for names in (part.train, part.valid, part.test))
    estimator = build_estimator(
        method, options, training, nights, valid=valid, test=test, seed=seed, device=device, folder=folder
    )
    fit_uninterrupted(estimator, train)
    curve = _curve(estimator)
    best = int(np.argmax(curve["valid_balanced_accuracy"].to_numpy()))
    tables = {CURVE: curve}
    for name, attribute in ((INVARIANCES, "invariances_"), (HISTORY, "invariances_history_")):
        if hasattr(estimator, attribute):
            tables[name] = getattr(estimator, attribute)
    numbers = {
        "valid_balanced_accuracy": float(curve["valid_balanced_accuracy"].iloc[best]),
        "epochs": len(curve),
        "best_epoch": best + 1,
        "train_seconds": float(curve["train_seconds"].iloc[-1]),
        "best_train_seconds": float(curve["train_seconds"].iloc[best]),
        "passes": int(curve["passes"].iloc[-1]),
        "n_parameters": count_parameters(estimator),
    }
    return Outcome(estimator.predict(test), numbers, tables, getattr(estimator, "policy", None))


def fit_uninterrupted(estimator: Any, data: Any) -> None:
    """Train; KeyboardInterrupt if it was ended by Ctrl-C."""
    with uninterrupted():
        estimator.fit(data)
    if estimator.interrupted_:
        raise KeyboardInterrupt


def count_parameters(estimator: Any) -> int:
    """Trained numbers of an estimator's network."""
    return sum(p.numel() for p in estimator.module_.parameters())


def build_estimator(
    method: Method,
    options: Mapping[str, Any],
    training: Mapping[str, Any],
    nights: Any,
    *,
    valid: Any = None,
    test: Any = None,
    seed: int = 0,
    device: str = "cpu",
    folder: Path | None = None,
    callbacks: list[Any] | None = None,
) -> Any:
    """Unfitted estimator of a method, with everything that all methods share.

    Parameters
    ----------
    method : Method
    options : mapping
        Options of the method itself.
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

    Returns
    -------
    StagingClassifier
    """
    common = common_arguments(
        training, nights, valid=valid, test=test, seed=seed, device=device, folder=folder, callbacks=callbacks
    )
    return method.build(common, **options)


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
    """Arguments of an estimator that all methods share; parameters as for :func:`build_estimator`."""
    from skorch.callbacks import EarlyStopping, EpochScoring
    from skorch.helper import predefined_split

    from eegaug.checkpoint import TrainingCheckpoint
    from eegaug.comparison.callbacks import Budget, HeldOutScore, ProgressFile, TrainingClock

    steps: list[Any] = [("clock", TrainingClock())]
    if valid is not None:
        name = "valid_balanced_accuracy"
        scoring = EpochScoring("balanced_accuracy", lower_is_better=False, on_train=False, name=name)
        # threshold 0: "best" is then the highest score, the first one where several are equal.
        stopping = EarlyStopping(
            name, patience=training["patience"], threshold=0, lower_is_better=False, load_best=True, sink=_silent
        )
        steps.append(("valid_score", scoring))
        if test is not None:
            steps.append(("test_score", HeldOutScore(test, test.y)))
        steps += [*(callbacks or [])]
        if folder is not None:
            steps.append(("progress", ProgressFile(folder / PROGRESS)))
        steps.append(("early_stopping", stopping))
    else:
        steps += [*(callbacks or [])]
    steps.append(("budget", Budget(training["budget"])))
    if folder is not None:
        # Last, so that it saves what all others did in the epoch.
        steps.append(("checkpoint", TrainingCheckpoint(folder / CHECKPOINT)))
    return {
        **trunk_arguments(training, nights, seed, device),
        "train_split": None if valid is None else predefined_split(valid),
        "callbacks": steps,
    }


def trunk_arguments(training: Mapping[str, Any], nights: Any, seed: int, device: str) -> dict[str, Any]:
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


def _silent(*args: Any, **kwargs: Any) -> None:
    """Say nothing."""


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
    seen = []

    def note(number: int, frame: Any) -> None:
        seen.append(number)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if seen:
        raise KeyboardInterrupt


def _curve(estimator: Any) -> Any:
    """Costs, cumulated, and scores after each finished epoch."""
    import pandas as pd

    columns = {
        "epoch": "epoch",
        "train_loss": "train_loss",
        "train_ce": "train_ce",
        "valid_balanced_accuracy": "valid_balanced_accuracy",
        "test_balanced_accuracy": "test_balanced_accuracy",
    }
    epochs = [epoch for epoch in estimator.history if "test_balanced_accuracy" in epoch]
    curve = pd.DataFrame({new: [epoch.get(old) for epoch in epochs] for new, old in columns.items()})
    curve.insert(1, "train_seconds", np.cumsum([epoch["train_seconds"] for epoch in epochs]))
    curve.insert(2, "passes", [epoch["n_forward_backward"] for epoch in epochs])
    return curve


@cache
def code_versions() -> dict[str, str]:
    """Versions of what computes the result, of Python and of the machine, and the git revision where there is one."""
    found = {"eegaug": __version__}
    for name in ("torch", "braindecode", "skorch", "numpy"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "unknown"
    return {**found, "python": platform.python_version(), "platform": platform.platform(), "revision": _revision()}


def _revision() -> str:
    """Short git revision of the package's own checkout, with "+" where files differ; empty outside of one."""
    package = Path(__file__).resolve().parent.parent
    if not (package.parent / ".git").exists():
        return ""
    command = ["git", "-C", str(package.parent), "describe", "--always", "--dirty=+", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def _device_name(device: str) -> str:
    import torch

    return torch.cuda.get_device_name(device) if str(device).startswith("cuda") else str(device)


def _threads() -> int:
    import torch

    return torch.get_num_threads()


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
