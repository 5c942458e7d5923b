"""How a comparison says how far it is: a bar on a terminal, plain lines in a log file."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

from eegaug._durations import duration
from eegaug._words import some_of
from eegaug.comparison.estimators import PROGRESS
from eegaug.comparison.job import ERROR, ROW, read_row
from eegaug.comparison.plan import RunSpec
from eegaug.comparison.run import run_folder

__all__ = ["ProgressReporter"]


class ProgressReporter:
    """Follow the runs of a comparison by the files they write, from a thread of its own.

    Parameters
    ----------
    out : path
        Folder of the comparison.
    runs : sequence of RunSpec
        All runs of the plan, also those that are already there.
    max_epochs : int
        Most epochs a run can take; a run that stops early counts as all of them.
    stream : file, optional
        Where to write: a moving bar if it is a terminal, else a line for each finished run and one every ``every_s``.
    enabled : bool
    every_s : float
        Seconds between lines where nothing has finished.
    """

    def __init__(
        self,
        out: Path,
        runs: Sequence[RunSpec],
        max_epochs: int,
        stream: TextIO | None = None,
        enabled: bool = True,
        every_s: float = 30.0,
    ):
        self.out = Path(out)
        self.runs = list(runs)
        self._by_key = {run.key: run for run in self.runs}
        self.max_epochs = max_epochs
        self.stream = stream if stream is not None else sys.stderr
        self.enabled = enabled
        self.every_s = every_s
        self._told: set[str] = set()
        self._stop = threading.Event()
        self._bar: Any = None

    def __enter__(self) -> ProgressReporter:
        self._begin = self._last_line = time.monotonic()
        self._told = {run.key for run in self.runs if read_row(run_folder(self.out, run)) is not None}
        self._done_before = self._epochs()[0]
        if not self.enabled:
            return self
        if self._told:
            self._line(f"{len(self._told)} of {len(self.runs)} runs are already there")
        if self.stream.isatty():
            from tqdm import tqdm

            self._bar = tqdm(
                total=len(self.runs) * self.max_epochs,
                initial=self._done_before,
                unit="epoch",
                file=self.stream,
                dynamic_ncols=True,
                bar_format="{percentage:3.0f}% |{bar}| {elapsed}, {remaining} left  {desc}",
            )
        self._thread = threading.Thread(target=self._follow, name="eegaug-progress", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        if not self.enabled:
            return
        self._stop.set()
        self._thread.join()
        self._look()
        if self._bar is not None:
            self._bar.close()

    def _follow(self) -> None:
        while not self._stop.wait(0.5):
            self._look()

    def _look(self) -> None:
        """Tell of runs that have finished since, and how far the others are."""
        for run in self._begun():
            row = _read(run_folder(self.out, run) / ROW)
            if row is not None:
                self._told.add(run.key)
                self._line(
                    f"{len(self._told)}/{len(self.runs)}  {_name(run)}: test balanced accuracy "
                    f"{row['test_balanced_accuracy']:.3f} after {row['epochs']} epochs, "
                    f"{duration(row['train_seconds'])} of training"
                )
                continue
            error = _read(run_folder(self.out, run) / ERROR)
            if error is not None:
                self._told.add(run.key)
                self._line(f"{len(self._told)}/{len(self.runs)}  {_name(run)} failed: {error['error']}")
        done, active = self._epochs()
        if self._bar is not None:
            self._bar.n = done
            self._bar.set_description_str(active, refresh=True)
        elif time.monotonic() - self._last_line >= self.every_s:
            words = f"{self._share(done)}  {active}" if active else self._share(done)
            self._line(f"{words}{self._left(done)}")

    def _begun(self) -> list[RunSpec]:
        """Runs that have a folder and were not told of yet.

        By one look into the folder of all: to ask for the files of each run of a large plan, twice a second, would take
        time from the training.
        """
        try:
            there = set(os.listdir(self.out / "runs"))
        except FileNotFoundError:
            return []
        return [run for key, run in self._by_key.items() if key in there and key not in self._told]

    def _epochs(self) -> tuple[int, str]:
        """Epochs done of all runs, and what is under way in words."""
        done, active = len(self._told) * self.max_epochs, []
        for run in self._begun():
            progress = _read(run_folder(self.out, run) / PROGRESS)
            if progress is None:
                continue
            if "share" in progress:  # of a search, whose steps are no epochs
                done += round(progress["share"] * self.max_epochs)
                active.append(f"{_name(run)}: {progress['words']}")
            else:
                done += progress["epoch"]
                active.append(f"{_name(run)}: epoch {progress['epoch']}/{self.max_epochs}")
        return done, some_of(active, 2, "; ")

    def _share(self, done: int) -> str:
        return f"{100 * done / (len(self.runs) * self.max_epochs):.0f} %"

    def _left(self, done: int) -> str:
        new = done - self._done_before
        if new <= 0:
            return ""
        left = (time.monotonic() - self._begin) / new * (len(self.runs) * self.max_epochs - done)
        return f", about {duration(left)} left"  # not at most: runs that stop early count as all of their epochs

    def _line(self, text: str) -> None:
        self._last_line = time.monotonic()
        if self._bar is not None:
            self._bar.write(text, file=self.stream)
        else:
            print(text, file=self.stream, flush=True)


def _name(run: RunSpec) -> str:
    fraction = "" if run.fraction == 1 else f", {100 * run.fraction:.3g} % of the training subjects"
    return f"{run.method}, fold {run.fold}, seed {run.seed}{fraction}"


def _read(path: Path) -> dict[str, Any] | None:
    """The document, or None where it is not there, or is being replaced, which NFS and Windows may make an error."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
