"""The file from which a search that was killed goes on, and the one before it."""

from __future__ import annotations

import glob
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch

from eegaug._checkpoint_file import DamagedError, check_settings, check_writable, read_state, write_state
from eegaug._plain_data import plain_numbers
from eegaug._version import __version__
from eegaug._warning import warn
from eegaug.checkpoint import _checksum, _describe, _describe_data, estimator_settings
from eegaug.data.atomic import replace

__all__ = ["SearchFile", "own_settings", "search_settings"]

_FORMAT = "eegaug-search"
_VERSION = 2
# How the names of files beside a search's begin that are of trainings under way.
_TRAININGS = ("fold-", "trial-")


class SearchFile:
    """A checkpoint that is whole at any moment, with the one before it beside it.

    Parameters
    ----------
    path : path-like
        The checkpoint before is kept as ``<path>.before``. Nothing in the files is executed when they are loaded.

    Raises
    ------
    OSError
        If nothing can be written there.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = Path(path).absolute()  # wherever the process goes meanwhile
        check_writable(self.path)
        self.before = self.path.with_name(f"{self.path.name}.before")

    def beside(self, name: str) -> Path:
        """A file of the same search, such as the checkpoint of a training."""
        return self.path.with_name(f"{self.path.name}.{name}")

    def remove(self, name: str) -> None:
        """Remove files of :meth:`beside` whose names begin so, also those that were only half written."""
        for left in self._beginning(name):
            left.unlink(missing_ok=True)

    def _beginning(self, name: str) -> list[Path]:
        beside, folder = glob.escape(self.beside(name).name), self.path.parent
        return [*folder.glob(f"{beside}*"), *folder.glob(f".{beside}*.part")]

    def write(self, settings: dict[str, Any], content: dict[str, Any]) -> None:
        """Save; what was there becomes the one before."""
        state = {
            "format": _FORMAT,
            "version": _VERSION,
            "eegaug": __version__,
            "settings": json.dumps(settings),
            **content,
        }
        new = self.beside("new")
        write_state(new, state, self.path)
        try:
            if self.path.exists():
                replace(self.path, self.before)
            replace(new, self.path)
        except FileNotFoundError as error:
            raise OSError(
                f"another process writes the checkpoint {self.path} too: give each process one of its own."
            ) from error

    def read(self, settings: dict[str, Any]) -> dict[str, Any] | None:
        """What was saved last; None if nothing was.

        Raises
        ------
        ValueError
            If it is of a search with other settings or data (what differs is named), or neither file can be read.
        """
        new = self.beside("new")
        if new.exists() and not self.path.exists():  # killed between the two replacements of `write`
            replace(new, self.path)
        damaged = False
        try:
            found = read_state(self.path, _FORMAT, _VERSION, "search")
        except DamagedError:
            if not self.before.exists():
                raise
            found, damaged = self._read_before(), True
        if found is None:  # what lies beside is of a search whose file was deleted, to begin anew
            self.before.unlink(missing_ok=True)
            for name in _TRAININGS:
                self.remove(name)
            return None
        if found["history"] == "[]" and not damaged and not any(map(self._beginning, _TRAININGS)):
            return None  # nothing was done yet: other settings are welcome
        check_settings(self.path, *_told_apart(found["settings"], settings), "search")
        if damaged:
            warn(f"{self.path} is damaged: the checkpoint before it, {self.before}, is used instead.")
            # A copy, so that at any moment one of the two can be gone on from.
            shutil.copyfile(self.path, self.beside("damaged"))
            replace(self.before, self.path)
        return found

    def _read_before(self) -> dict[str, Any]:
        try:
            return read_state(self.before, _FORMAT, _VERSION, "search")
        except DamagedError as error:
            raise ValueError(
                f"{self.path} is damaged, and so is the checkpoint before it, {self.before}: delete both to begin anew."
            ) from error


def _told_apart(saved: str, settings: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Saved and present settings; of two different searchers only which they are."""
    before = json.loads(saved)
    if before["searcher"] != settings["searcher"]:
        return json.dumps({"searcher": before["searcher"]}), {"searcher": settings["searcher"]}
    if "pooled" in settings:  # before there was a choice, classes were apart
        before.setdefault("pooled", settings["pooled"] and not settings["class_wise"])
    return json.dumps(before), settings


def own_settings(search: Any, free: frozenset[str]) -> dict[str, Any]:
    """Parameters of a search that decide what it finds, as plain data."""
    given = search.get_params(deep=False)
    return {name: _describe(value) for name, value in given.items() if name not in free and name != "estimator"}


def search_settings(
    search: Any, free: frozenset[str], estimator: Any, X: Any, y: Any, groups: np.ndarray | None
) -> dict[str, Any]:
    """Everything that decides what a search finds, as plain data: its parameters, its estimator's, the data."""
    settings: dict[str, Any] = {"searcher": type(search).__name__, **own_settings(search, free)}
    settings["estimator"] = type(estimator).__name__
    own = {**estimator_settings(estimator), "max_epochs": _describe(estimator.max_epochs)}
    settings |= {f"estimator__{name}": value for name, value in own.items()}
    settings["data"] = _describe_data(X, y)
    settings["groups"] = None if groups is None else f"{len(set(groups.tolist()))}, checksum {_checksum(groups)}"
    return settings


def plain_row(row: dict[str, Any]) -> dict[str, Any]:
    """A row of the history with nothing in it but what a checkpoint can hold: numbers, text, None, and lists of them.

    Raises
    ------
    TypeError
        For anything else; the message names the column.
    """
    plain = {}
    for name, value in row.items():
        value = value.tolist() if isinstance(value, (torch.Tensor, np.ndarray)) else plain_numbers(value)
        try:
            json.dumps(value)
        except TypeError as error:
            raise TypeError(f"column {name!r} of the history holds a value that no checkpoint can: {error}.") from None
        plain[str(name)] = value
    return plain
