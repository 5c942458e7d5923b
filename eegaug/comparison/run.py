"""One run of a comparison: search and train a method on a fold, stop on validation, test, write one row."""

from __future__ import annotations

import json
import os
import re
import shutil
import threading
import time
import traceback
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from eegaug.comparison.estimators import (
    CHECKPOINT,
    PROGRESS,
    build_estimator,
    count_parameters,
    fit_uninterrupted,
)
from eegaug.comparison.job import (
    ATTEMPT,
    CURVE,
    ERROR,
    HISTORY,
    INVARIANCES,
    POLICY,
    ROW,
    SEARCH,
    SUBJECTS,
    Job,
    Outcome,
    checksum,
    error_text,
    free_place,
    read_row,
)
from eegaug.comparison.machine import code_versions, device_name, n_threads
from eegaug.comparison.methods import Method
from eegaug.comparison.plan import RunSpec
from eegaug.comparison.scores import stage_scores, subject_table
from eegaug.comparison.searching import search_and_train
from eegaug.comparison.table import SETTINGS
from eegaug.data.atomic import write_json, write_text

__all__ = ["run_folder", "run_one", "set_aside"]

#: Where unfinished runs are kept that were begun with other options.
ASIDE = "set-aside"

#: How often a run is begun again whose process has died.
RETRIES = 1

_ONE_AT_A_TIME = threading.Lock()


# Warnings that libraries address to programmers.
_OF_OTHERS = (DeprecationWarning, FutureWarning, PendingDeprecationWarning, ImportWarning)
# Scores are means over the stages that occur; scikit-learn remarks on it wherever another one was predicted.
_OF_MISSING_STAGES = ("y_pred contains classes not in y_true", "A single label was found in 'y_true' and 'y_pred'")


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
    if (row := read_row(folder)) is not None:
        return row
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
            for message in _OF_MISSING_STAGES:
                warnings.filterwarnings("ignore", message=message, category=UserWarning)
            row = _make(spec, method, split, nights, settings, folder, device)
    except Exception as error:
        document = {**spec.as_dict(), "error": error_text(error), "traceback": traceback.format_exc()}
        if not _superseded(out, method, settings):
            write_json(folder / ERROR, document)
            (folder / ATTEMPT).unlink(missing_ok=True)
        return document
    except KeyboardInterrupt:
        (folder / ATTEMPT).unlink(missing_ok=True)
        raise
    told = dict.fromkeys(str(w.message) for w in caught if not issubclass(w.category, _OF_OTHERS))
    row = {**row, "warnings": list(told)}
    if _superseded(out, method, settings):
        return {**spec.as_dict(), "error": "other options were given to this method meanwhile", "traceback": ""}
    write_json(folder / ROW, row)
    for name in (ATTEMPT, CHECKPOINT, PROGRESS, SEARCH):
        _remove(folder / name)
    return row


def _superseded(out: str | os.PathLike, method: Method, settings: Mapping[str, Any]) -> bool:
    """Whether the folder's comparison was given other options for a method since this run began.

    A run that goes on elsewhere when its command is stopped, as on a cluster, must not be taken for one with those.
    """
    try:
        there = json.loads((Path(out) / SETTINGS).read_text(encoding="utf-8"))["methods"]
    except (OSError, ValueError, KeyError, TypeError):  # it may just be replaced, which NFS and Windows make an error
        return False
    own = json.loads(json.dumps(settings["methods"][method.name]))  # lists, where tuples were given
    return there.get(method.name, own) != own


def set_aside(out: str | os.PathLike, method: str) -> Path | None:
    """Take what a method without a finished run has begun out of the way of runs with other options.

    Parameters
    ----------
    out : path
        Folder of the comparison.
    method : str

    Returns
    -------
    Path or None
        Folder where checkpoints are kept now; None if there were none. Runs that have left nothing else are removed.
    """
    key = re.compile(re.escape(method) + r"-fold\d+-seed-?\d+-fraction[\d.e+-]+")
    folders = [folder for folder in sorted((Path(out) / "runs").glob("*")) if key.fullmatch(folder.name)]
    aside = None
    for folder in folders:
        left = {path.name for path in folder.rglob("*") if path.is_file()}
        if not left - {ERROR, ATTEMPT, PROGRESS}:
            _remove(folder)
            continue
        if aside is None:
            aside = free_place(Path(out) / ASIDE / method)
            aside.mkdir(parents=True)
        folder.rename(aside / folder.name)
    return aside


def _deaths(folder: Path, session: str | None) -> int:
    """How often this run was begun in this session by processes that did not come to tell of its end."""
    try:
        found = json.loads((folder / ATTEMPT).read_text(encoding="utf-8"))
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
    job = Job(method, options, training, nights, part, spec.seed, device, folder)
    outcome = search_and_train(job) if method.searches else _train(job)
    train, valid, test = job.sides()
    checksums = {}
    for name, table in {**outcome.tables, SUBJECTS: subject_table(test, outcome.predicted)}.items():
        text = table.to_csv(index=False)
        write_text(folder / name, text)
        checksums[name] = checksum(text.encode())
    if hasattr(outcome.policy, "save"):
        outcome.policy.save(folder / POLICY)
    scores = stage_scores(test.y, outcome.predicted, test.classes)
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
        "device": device_name(device),
        "threads": n_threads(),
        "checksums": checksums,
    }


def _train(job: Job) -> Outcome:
    """Train a method that needs no search."""
    train, valid, test = job.sides()
    estimator = build_estimator(
        job.method,
        job.options,
        job.training,
        job.nights,
        valid=valid,
        test=test,
        seed=job.seed,
        device=job.device,
        folder=job.folder,
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


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
