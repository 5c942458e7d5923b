"""Make the runs of an experiment, keep each when it is finished, and sum them up."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from eegaug._processes import working_for
from eegaug._progress import track
from eegaug._version import __version__
from eegaug._warning import warn
from eegaug.comparison.estimators import uninterrupted
from eegaug.comparison.figures import save_figure
from eegaug.comparison.machine import code_versions
from eegaug.comparison.sources import writable_folder
from eegaug.data.atomic import plain, remove_leftovers, write_json, write_text
from eegaug.data.sources import source_name
from eegaug.experiments.base import Experiment, Settings
from eegaug.experiments.registry import get_experiment

__all__ = ["Reproduction", "reproduce"]

RUNS = "runs"


@dataclass
class Reproduction:
    """What an experiment has given.

    Attributes
    ----------
    experiment : Experiment
    tables : dict of str to DataFrame
        All rows of all runs; ``"runs"`` is the main table.
    table : DataFrame
        The summary, with the paper's numbers beside ours.
    out : Path
        Folder with ``NAME.csv``, ``NAME-summary.csv``, ``NAME.png`` and one JSON document per run.
    failed : list of dict
        Runs that failed: ``settings`` and ``error``. They are tried again next time.
    """

    experiment: Experiment
    tables: dict[str, pd.DataFrame]
    table: pd.DataFrame
    out: Path
    failed: list[dict[str, Any]]

    @property
    def runs(self) -> pd.DataFrame:
        """The main table: every row of every run."""
        return self.tables[RUNS]

    @property
    def figure_path(self) -> Path:
        """Where the figure is."""
        return self.out / f"{self.experiment.name}.png"

    def lines(self) -> list[str]:
        """The summary as text, and where everything is."""
        lines = [self.experiment.title, "", *self.table.to_string(index=False, na_rep="").splitlines()]
        if self.experiment.note:
            lines += ["", *_wrapped(self.experiment.note)]
        lines += [f"{len(self.failed)} runs failed; the first: {self.failed[0]['error']}"] if self.failed else []
        return [*lines, "", f"Rows, summary and figure are in {self.out}"]

    def document(self) -> dict[str, Any]:
        """The summary as plain data."""
        return {
            "experiment": self.experiment.name,
            "title": self.experiment.title,
            "table": json.loads(self.table.to_json(orient="records")),
            "note": self.experiment.note,
            "failed": self.failed,
            "out": str(self.out),
        }


def reproduce(
    name: str | Experiment,
    *,
    quick: bool = False,
    out: str | os.PathLike | None = None,
    n_jobs: int = 1,
    seeds: int | None = None,
    data: str | os.PathLike = "simulated",
    root: str | os.PathLike | None = None,
    data_args: Mapping[str, Any] | None = None,
    device: str = "cpu",
    verbose: bool = True,
) -> Reproduction:
    """Run an experiment of the papers, or go on with one that was stopped.

    Every run that is finished is a file; the same call makes those that are missing.

    Parameters
    ----------
    name : str | Experiment
        One of :func:`list_experiments`.
    quick : bool
        A small version of at most two minutes on two cores.
    out : path-like | None
        Folder of the results; None is ``eegaug-reproduce/NAME`` (``NAME-quick``).
    n_jobs : int
        Runs at a time (joblib; −1 is one for each core). Every run computes with one thread.
    seeds : int | None
        Number of seeds; None is the experiment's own.
    data, root, data_args
        Nights of the experiments on sleep; see :func:`eegaug.data.load_nights`. The others have data of their own, and
        a warning says so.
    device : str
        Where networks of the experiments on sleep are trained; those of the others are too small for any but the CPU.
    verbose : bool
        Show progress on standard error.

    Returns
    -------
    Reproduction

    Raises
    ------
    ValueError
        If the experiment is unknown or a setting is out of range.
    OSError
        If the folder cannot be written to.
    RuntimeError
        If all runs failed, with the first error.
    KeyboardInterrupt
        After Ctrl-C; finished runs are kept.
    """
    experiment = name if isinstance(name, Experiment) else get_experiment(name)
    settings = Settings(
        quick=bool(quick),
        seeds=seeds,
        data=source_name(data),
        root=None if root is None else str(root),
        data_args=plain(data_args or {}),
        device=device,
    )
    plan = [plain(entry) for entry in experiment.plan(settings)]
    elsewhere = dataclasses.replace(settings, data="simulated", root=None, data_args={})
    if settings != elsewhere and plan == [plain(entry) for entry in experiment.plan(elsewhere)]:
        warn(f"{experiment.name} has data of its own: which nights to take has no effect on it")
    if out is None:
        out = Path("eegaug-reproduce") / (f"{experiment.name}-quick" if quick else experiment.name)
    out = writable_folder(out)
    folder = writable_folder(out / RUNS)
    remove_leftovers(folder)
    paths = [folder / f"{_key(experiment, entry)}.json" for entry in plan]
    missing = [(entry, path) for entry, path in zip(plan, paths, strict=True) if _read(path) is None]
    failed = _make(experiment, missing, n_jobs, len(plan), verbose)
    tables = _collect(document for path in paths if (document := _read(path)) is not None)
    if not tables:
        first = failed[0]["error"] if failed else "the plan is empty"
        raise RuntimeError(f"no run of {experiment.name!r} succeeded; the first: {first}")
    for table, rows in tables.items():
        suffix = "" if table == RUNS else f"-{table}"
        write_text(out / f"{experiment.name}{suffix}.csv", rows.to_csv(index=False))
    result = Reproduction(experiment, tables, experiment.table(tables), out, failed)
    write_text(out / f"{experiment.name}-summary.csv", result.table.to_csv(index=False))
    save_figure(experiment.figure(tables), result.figure_path)
    return result


def _make(
    experiment: Experiment, missing: list[tuple[dict, Path]], n_jobs: int, total: int, verbose: bool
) -> list[dict[str, Any]]:
    """Make the missing runs; those that failed."""
    outcomes = _outcomes(experiment, missing, n_jobs)
    done = total - len(missing)
    told = track(outcomes, total, experiment.name, unit="run", done=done, verbose=verbose)
    return [outcome for outcome in told if outcome is not None]


def _outcomes(experiment: Experiment, missing: list[tuple[dict, Path]], n_jobs: int) -> Iterator[dict | None]:
    if n_jobs == 1 or len(missing) <= 1:
        for entry, path in missing:
            yield _one(experiment.run, entry, path)
        return
    from joblib import Parallel, delayed

    work = Parallel(n_jobs=n_jobs, return_as="generator_unordered", mmap_mode="c")
    me = os.getpid()
    yield from work(delayed(working_for)(me, _one, experiment.run, entry, path) for entry, path in missing)


def _one(run: Any, entry: dict[str, Any], path: Path) -> dict[str, Any] | None:
    """Make a run and write it down; None, or what went wrong."""
    try:
        with _one_thread(), uninterrupted():
            found = run(**entry)
        write_json(path, {"settings": entry, "tables": _named(found), "code": code_versions()})
    except Exception as error:
        what = f"{type(error).__name__}: {error}"
        return {"settings": entry, "error": what, "traceback": traceback.format_exc()}
    return None


def _named(found: Any) -> dict[str, list[dict]]:
    """What a run gave, as tables by name."""
    if isinstance(found, list):
        return {RUNS: found}
    if found and all(isinstance(rows, list) and all(isinstance(r, dict) for r in rows) for rows in found.values()):
        return dict(found)
    return {RUNS: [found]}


def _collect(documents: Iterator[dict[str, Any]]) -> dict[str, pd.DataFrame]:
    """Rows of all runs, each with the run's settings before it."""
    tables: dict[str, list[dict]] = {}
    for document in documents:
        known = {k: v for k, v in document["settings"].items() if not isinstance(v, dict | list)}
        for name, rows in document["tables"].items():
            tables.setdefault(name, []).extend({**known, **row} for row in rows)
    return {name: pd.DataFrame(rows) for name, rows in tables.items()}


def _key(experiment: Experiment, entry: dict[str, Any]) -> str:
    """Name of a run's file: readable, and different for whatever differs."""
    text = json.dumps([experiment.name, experiment.version, __version__, entry], sort_keys=True)
    words = [str(v) for v in entry.values() if isinstance(v, str | int) and not isinstance(v, bool)]
    stem = "-".join("".join(c if c.isalnum() or c in "._" else "-" for c in word) for word in words)[:60]
    return f"{stem}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def _read(path: Path) -> dict[str, Any] | None:
    """A finished run; None where there is none, or where the file is damaged and the run has to be made again."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return document if isinstance(document, dict) and "tables" in document else None


@contextmanager
def _one_thread() -> Iterator[None]:
    """Compute with one thread: runs share the cores, and sums do not depend on how many there are."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _wrapped(text: str) -> list[str]:
    import textwrap

    return [line for paragraph in text.split("\n") for line in textwrap.wrap(paragraph, 110) or [""]]
