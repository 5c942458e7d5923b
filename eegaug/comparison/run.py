"""One run of a comparison: train a method on a fold, stop on validation, test, write one row."""

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
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from eegaug._version import __version__
from eegaug.comparison.methods import Method
from eegaug.comparison.plan import RunSpec, write_json, write_text
from eegaug.comparison.scores import stage_scores

__all__ = ["build_estimator", "code_versions", "run_folder", "run_one", "uninterrupted"]

ROW, ERROR, CURVE = "row.json", "error.json", "curve.csv"
CHECKPOINT, PROGRESS = "checkpoint", "progress.json"
INVARIANCES, HISTORY = "invariances.csv", "invariances_history.csv"


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
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("default")
            row = _train_and_test(spec, method, split, nights, settings, folder, device)
    except Exception as error:
        document = {**spec.as_dict(), "error": f"{type(error).__name__}: {error}", "traceback": traceback.format_exc()}
        write_json(folder / ERROR, document)
        return document
    told = dict.fromkeys(str(w.message) for w in caught if not issubclass(w.category, _OF_OTHERS))
    row = {**row, "warnings": list(told)}
    write_json(folder / ROW, row)
    _remove(folder / CHECKPOINT)
    _remove(folder / PROGRESS)
    return row


def _train_and_test(
    spec: RunSpec,
    method: Method,
    split: Any,
    nights: Any,
    settings: Mapping[str, Any],
    folder: Path,
    device: str,
) -> dict[str, Any]:
    part = split.fraction(spec.fraction, random_state=spec.seed)
    train, valid, test = (nights.select(subjects=list(names)) for names in (part.train, part.valid, part.test))
    started = time.perf_counter()
    estimator = build_estimator(
        method,
        settings["methods"][method.name],
        settings["training"],
        nights,
        valid=valid,
        test=test,
        seed=spec.seed,
        device=device,
        folder=folder,
    )
    with uninterrupted():
        estimator.fit(train)
    if estimator.interrupted_:
        raise KeyboardInterrupt
    scores = stage_scores(test.y, estimator.predict(test))
    curve = _curve(estimator)
    best = int(np.argmax(curve["valid_balanced_accuracy"].to_numpy()))
    write_text(folder / CURVE, curve.to_csv(index=False))
    for name, attribute in ((INVARIANCES, "invariances_"), (HISTORY, "invariances_history_")):
        if hasattr(estimator, attribute):
            write_text(folder / name, getattr(estimator, attribute).to_csv(index=False))
    return {
        **spec.as_dict(),
        **{f"test_{name}": None if np.isnan(value) else value for name, value in scores.items()},
        "valid_balanced_accuracy": float(curve["valid_balanced_accuracy"].iloc[best]),
        "epochs": len(curve),
        "best_epoch": best + 1,
        "train_seconds": float(curve["train_seconds"].iloc[-1]),
        "best_train_seconds": float(curve["train_seconds"].iloc[best]),
        "passes": int(curve["passes"].iloc[-1]),
        "wall_seconds": time.perf_counter() - started,
        "n_parameters": sum(p.numel() for p in estimator.module_.parameters()),
        "train_subjects": " ".join(part.train),
        "valid_subjects": " ".join(part.valid),
        "test_subjects": " ".join(part.test),
        "train_windows": len(train),
        "valid_windows": len(valid),
        "test_windows": len(test),
        **code_versions(),
        "device": _device_name(device),
        "threads": _threads(),
    }


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
    common = {
        "module": training["trunk"],
        **{f"module__{name}": value for name, value in training["trunk_args"].items()},
        "sfreq": nights.sfreq,
        "ch_names": list(nights.ch_names),
        "max_epochs": training["max_epochs"],
        "batch_size": training["batch_size"],
        "lr": training["lr"],
        "train_split": None if valid is None else predefined_split(valid),
        "callbacks": steps,
        "random_state": seed,
        "device": device,
        "verbose": 0,
    }
    return method.build(common, **options)


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
