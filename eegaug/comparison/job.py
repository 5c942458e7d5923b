"""What a run is given, what it comes to, and the files that it leaves."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eegaug.comparison.methods import Method

__all__ = ["Job", "Outcome", "advice", "checksum", "error_text", "free_place", "read_error", "read_row"]

ROW, ERROR, CURVE = "row.json", "error.json", "curve.csv"
INVARIANCES, HISTORY = "invariances.csv", "invariances_history.csv"
SUBJECTS, POLICY = "subjects.csv", "policy.json"
#: What a search leaves while it is under way; how often a run was begun in one call of a comparison.
SEARCH, ATTEMPT = "search", "attempt.json"


def read_row(folder: Path) -> dict[str, Any] | None:
    """The row of a finished run; None where there is none, or none that can be read."""
    return _read_run(folder / ROW)


def read_error(folder: Path) -> dict[str, Any] | None:
    """What is kept of the error that ended a run; None where there is nothing that can be read."""
    return _read_run(folder / ERROR)


def _read_run(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return found if isinstance(found, dict) and "method" in found else None


def free_place(folder: Path) -> Path:
    """The folder's name with the first number that no other has."""
    return next(place for i in itertools.count(1) if not (place := folder.with_name(f"{folder.name}-{i}")).exists())


def checksum(content: bytes) -> str:
    """By which a table of a run is known again."""
    return hashlib.sha256(content).hexdigest()[:16]


def error_text(error: Exception) -> str:
    """What is kept of the error that ended a run: its class, and what it says."""
    text = str(error)
    if isinstance(error, ValueError) and "is too small for one step of" in text:
        # A search by itself goes on from its checkpoint with more; here all runs of a folder have the same budget.
        text = (
            f"{text.partition(' Give more')[0]} Give more, in another output folder: all runs of one have one budget."
        )
    return f"{type(error).__name__}: {text}"


def advice(errors: Iterable[str]) -> str:
    """What to do about runs that ended with these errors, in the words of :func:`error_text`.

    Examples
    --------
    >>> advice(["ValueError: policy_lr is -1; it is a number above 0.", "OSError: no space left on device"])
    'the same command tries them again; of a ValueError or TypeError, change first what it names'
    """
    wrong = [text.startswith(("ValueError:", "TypeError:")) for text in errors]
    if not any(wrong):
        return "the same command tries them again"
    if all(wrong):
        return "the same command would fail again: change what the errors name"
    return "the same command tries them again; of a ValueError or TypeError, change first what it names"


@dataclass(frozen=True)
class Job:
    """Training of one method on one fold.

    Attributes
    ----------
    method : Method
    options : mapping
        Of the method.
    training : mapping
        What all methods share, see :func:`eegaug.comparison.estimators.common_arguments`.
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
