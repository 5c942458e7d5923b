"""What a run is given, what it comes to, and the files that it leaves."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eegaug.comparison.methods import Method

__all__ = ["Job", "Outcome", "read_row"]

ROW, ERROR, CURVE = "row.json", "error.json", "curve.csv"
INVARIANCES, HISTORY = "invariances.csv", "invariances_history.csv"
SUBJECTS, POLICY = "subjects.csv", "policy.json"
#: What a search leaves while it is under way; how often a run was begun in one call of a comparison.
SEARCH, ATTEMPT = "search", "attempt.json"


def read_row(folder: Path) -> dict[str, Any] | None:
    """The row of a finished run; None where there is none, or none that can be read."""
    try:
        row = json.loads((folder / ROW).read_text())
    except (FileNotFoundError, ValueError):
        return None
    return row if isinstance(row, dict) else None


@dataclass(frozen=True)
class Job:
    """Training of one method on one fold.

    Attributes
    ----------
    method : Method
    options : mapping
        Of the method.
    training : mapping
        What all methods share, see :func:`eegaug.comparison.estimators.build_estimator`.
    nights : Nights
        All nights.
    part : Split
        Subjects to train on, to stop on and to test on.
    seed : int
    device : str
    folder : Path
        Of the run. A run that was killed goes on from what it finds there.
    """

    method: Method
    options: Mapping[str, Any]
    training: Mapping[str, Any]
    nights: Any
    part: Any
    seed: int
    device: str
    folder: Path

    def sides(self) -> tuple[Any, Any, Any]:
        """Nights to train on, to stop on and to test on."""
        names = (self.part.train, self.part.valid, self.part.test)
        train, valid, test = (self.nights.select(subjects=list(side)) for side in names)
        return train, valid, test


@dataclass
class Outcome:
    """What a job has come to.

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
