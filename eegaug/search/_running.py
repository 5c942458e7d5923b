"""A search under way, how it is kept, and what would be wrong to go on with or to end with."""

from __future__ import annotations

import io
import json
import math
from typing import Any

import torch

from eegaug._durations import duration
from eegaug._plain_data import plain_numbers
from eegaug._warning import warn
from eegaug._words import counted
from eegaug.search._checkpoint import SearchFile, own_settings
from eegaug.search._task import SearchTask

__all__ = [
    "Running",
    "check_end",
    "refuse_changes",
    "refuse_small_budget",
]

# Weights are as good as even when as many operations are left to choose between, of all.
_EVEN = 0.9


class Running:
    """A search in this process: its task and state, its file, and time that no row tells of yet."""

    def __init__(self, task: SearchTask, file: SearchFile | None, settings: dict[str, Any]):
        self.task, self.file, self.settings = task, file, settings
        self.state: Any = None
        self.kept: bytes | None = None
        self.n_steps, self.unnoted_seconds = 0, 0.0
        self.budget: float | None = None  # in seconds, of the present call
        self.broken = False  # whether a step was begun that never came to its end

    def save(self, rows: list[dict[str, Any]]) -> None:
        """Write the checkpoint; without one, keep what it would hold in memory."""
        content = {
            "seed": self.task.seed,
            "history": json.dumps(rows),
            "task": self.task.state_dict(),
            "state": self.state.state_dict(),
        }
        if self.file is not None:
            self.file.write(self.settings, content)
            return
        whole = io.BytesIO()
        torch.save(plain_numbers(content), whole)
        self.kept = whole.getvalue()

    def saved(self) -> dict[str, Any] | None:
        """What was saved last; None if nothing was."""
        if self.file is not None:
            return self.file.read(self.settings)
        return None if self.kept is None else torch.load(io.BytesIO(self.kept), map_location="cpu", weights_only=True)


def refuse_changes(search: Any, free: frozenset[str], settings: dict[str, Any]) -> None:
    """Refuse to go on with a search whose parameters are not those that it was begun with.

    Raises
    ------
    ValueError
        Naming what differs.
    """
    now = own_settings(search, free)
    differences = [f"{name} was {settings[name]!r}, is {now[name]!r}" for name in now if settings[name] != now[name]]
    if differences:
        raise ValueError(
            f"this search was begun with other settings: {'; '.join(differences)}. Set them back to go on with it; "
            "fit begins a new one."
        )


def check_end(search: Any, budget: float | None, rows: list[dict[str, Any]], n_choices: int, *, kept: bool) -> None:
    """Refuse a search that was too short for anything, and warn when it was too short to tell operations apart.

    Parameters
    ----------
    search : PolicySearch
    budget : float or None
        In seconds.
    rows : list of dict
        Its history; of a search that learns weights, with their ``entropy`` in nats.
    n_choices : int
        Between how many the weights choose; 0: there are none.
    kept : bool
        Whether there is a checkpoint.
    """
    if budget is not None:
        refuse_small_budget(type(search).__name__, budget, rows, kept)
    entropy = rows[-1].get("entropy") if rows else None
    if entropy is not None and n_choices > 1 and math.exp(entropy) > _EVEN * n_choices:
        warn(
            f"{type(search).__name__} ended with nearly even weights: which operations are in policy_ is chance. "
            f"Give it more steps or time, or raise policy_lr (now {search.policy_lr:g})."
        )


def refuse_small_budget(searcher: str, budget: float, rows: list[dict[str, Any]], kept: bool) -> None:
    """Say so if a budget in seconds was too small for one step of the search.

    Raises
    ------
    ValueError
        If no step of the search itself was done, or if the only one was longer than the budget.
    """
    searched, spent = sum(row["phase"] == "search" for row in rows), sum(row["seconds"] for row in rows)
    if not rows or searched > 1 or (searched == 1 and spent <= budget):  # no rows: other processes do all that is left
        return
    last, earlier = rows[-1], [row["phase"] for row in rows if row["phase"] != "search"]
    many = f"{len(earlier)} of them" if searched else "all"
    before = f", {many} before the search itself ({earlier[-1]})" if earlier else ""
    advice = "; the checkpoint goes on from here" if kept else ""
    raise ValueError(
        f"a time budget of {_short(budget)} is too small for one step of {searcher}, which takes "
        f"{_short(last['seconds'])} here: {_short(spent)} were spent on {counted(len(rows), 'step')}{before}. "
        f"Give more{advice}."
    )


def _short(seconds: float) -> str:
    return duration(seconds) if seconds >= 0.1 else f"{seconds:.1g} s"
