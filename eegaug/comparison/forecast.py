"""What a comparison would do and how long it may take, without doing it."""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eegaug._durations import duration
from eegaug._progress import track
from eegaug.comparison.estimators import PROGRESS, build_estimator
from eegaug.comparison.job import ROW, read_row
from eegaug.comparison.methods import Method
from eegaug.comparison.plan import RunSpec
from eegaug.comparison.run import run_folder
from eegaug.comparison.workers import Work

__all__ = ["Forecast", "forecast_lines"]

#: Training steps that are measured; the first one, which also builds things, is not counted.
_MEASURED_STEPS = 3


@dataclass
class Forecast:
    """What a comparison would do.

    Attributes
    ----------
    runs : list of dict
        method, fold, seed, fraction; ``state``: "finished", "begun" or "new"; ``seconds`` it may still take at most
        (None: not known) and ``estimated_from``: "earlier runs", "budget" or "measured steps".
    n_jobs : int
        Runs at a time.
    out : Path
    """

    runs: list[dict[str, Any]]
    n_jobs: int
    out: Path

    @property
    def missing(self) -> list[dict[str, Any]]:
        """Runs that would be made."""
        return [run for run in self.runs if run["state"] != "finished"]

    @property
    def seconds(self) -> float | None:
        """At most about how long all of it takes, on this machine; None where it is not known of some run."""
        each = [run["seconds"] for run in self.missing]
        if any(value is None for value in each):
            return None
        if not each:
            return 0.0
        # The longest run cannot be shared, all others can.
        return max(max(each), sum(each) / max(1, min(self.n_jobs, len(each))))


def forecast(runs: Sequence[RunSpec], work: Work, n_jobs: int, verbose: bool = True) -> Forecast:
    """Look at what is there, and measure what is not known; see :func:`eegaug.comparison.describe_plan`."""
    found = [_look(run, work.out) for run in runs]
    training, of_subjects = work.settings["training"], work.settings["data"]["windows"]
    per_window, measured = _earlier(work.out, training["max_epochs"]), {}
    told = track(zip(runs, found, strict=True), len(runs), "Forecast", unit="run", verbose=None if verbose else False)
    for run, row in told:
        if row["state"] == "finished":
            continue
        split, method = work.splits[run.fold].fraction(run.fraction, random_state=run.seed), work.methods[run.method]
        windows = sum(of_subjects[subject] for subject in split.train)
        budget = training["budget"]
        if method.name in per_window:
            row |= {"seconds": per_window[method.name] * windows, "estimated_from": "earlier runs"}
        elif method.searches:
            row |= {"seconds": budget, "estimated_from": None if budget is None else "budget"}
        else:
            if method.name not in measured:
                measured[method.name] = _seconds_per_step(method, work, split)
            steps = -(-windows // training["batch_size"]) * training["max_epochs"]
            row |= {"seconds": steps * measured[method.name], "estimated_from": "measured steps"}
        if budget is not None and row["seconds"] > budget:
            row |= {"seconds": budget, "estimated_from": "budget"}
    return Forecast(found, n_jobs, work.out)


def _look(run: RunSpec, out: Path) -> dict[str, Any]:
    folder = run_folder(out, run)
    state = "finished" if read_row(folder) is not None else "begun" if (folder / PROGRESS).exists() else "new"
    return {**run.as_dict(), "state": state, "seconds": 0.0 if state == "finished" else None, "estimated_from": None}


def _earlier(out: Path, max_epochs: int) -> dict[str, float]:
    """Method → seconds for each training window by its finished runs, tests and all, had they gone to the last epoch.

    How far a search goes is in its own settings: its runs are taken as they were.
    """
    found: dict[str, list[float]] = {}
    for path in (out / "runs").glob(f"*/{ROW}"):
        if (row := read_row(path.parent)) is None:
            continue
        # The wall's clock began anew where a run was killed and continued.
        seconds = max(row["wall_seconds"], row["train_seconds"])
        seconds *= 1 if row.get("steps") else max_epochs / row["epochs"]
        found.setdefault(row["method"], []).append(seconds / row["train_windows"])
    return {method: float(np.median(values)) for method, values in found.items()}


def _seconds_per_step(method: Method, work: Work, split: Any) -> float:
    """Seconds of one training step of a method, measured on a few batches of a fold."""
    from torch.utils.data import Subset

    training = {**work.settings["training"], "max_epochs": 1, "budget": None}
    options = work.settings["methods"][method.name]
    estimator = build_estimator(method, options, training, work.nights, device=work.device)
    ends: list[float] = []
    estimator.set_params(callbacks=[("measure", _ends_of_batches(ends))])
    train = work.nights.select(subjects=list(split.train))
    rows = _some_of_each_stage(np.asarray(train.y), training["batch_size"] * (1 + _MEASURED_STEPS))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        estimator.fit(Subset(train, rows))
    return float(np.median(np.diff(ends))) if len(ends) > 1 else ends[0]


def _some_of_each_stage(y: np.ndarray, n: int) -> list[int]:
    """Rows of about `n` windows in which as many stages as possible occur."""
    place = np.empty(len(y), dtype=int)
    for stage in np.unique(y):
        own = np.flatnonzero(y == stage)
        place[own] = np.arange(len(own))
    return sorted(np.argsort(place, kind="stable")[:n].tolist())


def _ends_of_batches(ends: list[float]) -> Any:
    from skorch.callbacks import Callback

    class Ends(Callback):
        def on_train_begin(self, net: Any, **kwargs: Any) -> None:
            self.begin_ = time.perf_counter()

        def on_batch_end(self, net: Any, training: bool = False, **kwargs: Any) -> None:
            if training:
                ends.append(time.perf_counter() - self.begin_)

    return Ends()


def forecast_lines(plan: Forecast) -> list[str]:
    """A forecast in words, method by method.

    Examples
    --------
    >>> from pathlib import Path
    >>> run = {"method": "none", "fold": 0, "seed": 0, "fraction": 1.0, "state": "new", "seconds": 90.0,
    ...        "estimated_from": "measured steps"}
    >>> forecast_lines(Forecast([run, {**run, "fold": 1, "state": "finished"}], 2, Path("out")))[-1]
    '1 of 2 runs would be made, 1 at a time: at most about 1 min 30 s'
    """
    lines = [f"{'method':<20}{'runs':>6}{'finished':>10}{'begun':>7}{'each at most':>15}  estimated from"]
    for method in dict.fromkeys(run["method"] for run in plan.runs):
        own = [run for run in plan.runs if run["method"] == method]
        states = [run["state"] for run in own]
        left = [run for run in own if run["state"] != "finished"]
        each = [run["seconds"] for run in left]
        if not left:
            words, source = "–", ""
        elif any(value is None for value in each):
            words, source = "not known", "give a budget"
        else:
            words, source = duration(max(each)), left[0]["estimated_from"]
        counts = f"{len(own):>6}{states.count('finished'):>10}{states.count('begun'):>7}"
        lines.append(f"{method:<20}{counts}{words:>15}  {source}".rstrip())
    n, total = len(plan.missing), plan.seconds
    at_a_time = max(1, min(plan.n_jobs, n))
    if not n:
        return [*lines, f"all {len(plan.runs)} runs are finished"]
    time_left = "how long that takes is not known" if total is None else f"at most about {duration(total)}"
    return [*lines, f"{n} of {len(plan.runs)} runs would be made, {at_a_time} at a time: {time_left}"]
