"""Files that are whole at any moment, carry checksums, and execute nothing when they are read."""

from __future__ import annotations

import json
import os
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import torch

from eegaug._plain_data import plain_numbers
from eegaug._version import __version__
from eegaug.data.atomic import replace

__all__ = ["DamagedError", "check_settings", "check_writable", "read_state", "write_state"]

# Characters of a setting that an error shows.
_LONG = 160


def write_state(path: Path, state: dict[str, Any], checkpoint: Path | None = None) -> None:
    """Put a file in the place of the old one at once, and only when it is whole.

    Errors name the checkpoint, where this file is one on the way to it.
    """
    checkpoint = path if checkpoint is None else checkpoint
    part = path.with_name(f".{path.name}.part")
    try:
        with open(part, "wb") as file:
            torch.save(plain_numbers(state), file)
            file.flush()
            os.fsync(file.fileno())
        replace(part, path)
    except BaseException as error:
        part.unlink(missing_ok=True)
        # Of a full disk or of Ctrl-C in the middle of a file, torch itself tells nothing.
        reason = error.__context__ if isinstance(error, RuntimeError) else error
        if isinstance(reason, KeyboardInterrupt):
            raise reason from None
        if not isinstance(reason, OSError):
            raise
        if isinstance(reason, FileNotFoundError) and path.parent.exists():
            raise OSError(
                f"another process writes the checkpoint {checkpoint} too: give each process one of its own."
            ) from error
        kept = "; what was saved before is kept" if checkpoint.exists() else ""
        raise OSError(f"the checkpoint cannot be written to {checkpoint}: {reason.strerror or reason}{kept}") from error


def check_writable(path: Path) -> None:
    """Raise OSError where no checkpoint can be written; the folder is made."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise OSError(f"checkpoints cannot be written to {path}: {error.strerror or error}") from error
    if path.is_dir():
        raise OSError(f"checkpoints cannot be written to {path}: it is a folder; name a file.")


class DamagedError(ValueError):
    """A file that cannot be read as a checkpoint of any kind."""


def read_state(path: Path, form: str, version: int, what: str) -> dict[str, Any] | None:
    """What was saved in a format of up to a version; None where there is no file.

    Raises
    ------
    DamagedError
        If the file cannot be read as a checkpoint of any kind.
    ValueError
        If it is of another kind or of a newer version.
    """
    if not path.exists():
        return None
    try:
        _check_sums(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise DamagedError(f"{path} is no checkpoint, or is damaged: delete it to begin anew.") from error
    if not isinstance(state, dict) or state.get("format") != form:
        raise ValueError(f"{path} is no checkpoint of a {what}: delete it to begin anew.")
    if state["version"] > version:
        raise ValueError(
            f"{path} was written by eegaug {state['eegaug']} in format {state['version']}, this eegaug {__version__} "
            f"reads up to {version}: update eegaug, or delete the file to begin anew."
        )
    return state


def _check_sums(path: Path) -> None:
    # torch, which writes checksums, does not look at them when it reads: a wrong weight would pass.
    with zipfile.ZipFile(path) as archive:
        broken = archive.testzip()
    if broken is not None:
        raise ValueError(f"the checksum of {broken} is wrong")


def check_settings(
    path: Path | str, saved: str, settings: dict[str, Any], what: str, remedy: str = "Use another path, or delete it"
) -> None:
    """Raise ValueError, naming the differences, if what was saved is of another `what` than this one."""
    saved, now = json.loads(saved), json.loads(json.dumps(settings))
    differences = [
        f"{key} was {_shown(saved.get(key), now.get(key))}, is {_shown(now.get(key), saved.get(key))}"
        for key in sorted(set(saved) | set(now))
        if saved.get(key) != now.get(key)
    ]
    if differences:
        raise ValueError(f"{path} is of another {what}: {'; '.join(differences)}. {remedy} to begin anew.")


def _shown(value: Any, other: Any) -> str:
    """A value; of a long one, such as a policy, only where it begins to differ from the other."""
    text = repr(value)
    if len(text) <= _LONG:
        return text
    differs = next((i for i, (a, b) in enumerate(zip(text, repr(other), strict=False)) if a != b), 0)
    start = max(0, differs - _LONG // 2)
    return f"{'…' if start else ''}{text[start : start + _LONG]}{'…' if start + _LONG < len(text) else ''}"
