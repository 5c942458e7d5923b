"""Files that are either as they were or whole, whenever the process dies."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import time
from pathlib import Path
from typing import Any

import numpy as np

__all__ = [
    "is_readable",
    "plain",
    "read_json",
    "remove_leftovers",
    "replace",
    "write_atomically",
    "write_json",
    "write_text",
]

# Seconds for which a file that others have open is waited for.
_PATIENCE_S = 2.0
# Seconds for which a half-written file may still be in the making.
_YOUNG_S = 3600


def plain(value: Any) -> Any:
    """`value` as JSON knows it (NumPy scalars and arrays, tuples, paths)."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(v) for v in value]
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Path):
        return str(value)
    return value


def write_atomically(path: Path, data: bytes | np.ndarray) -> None:
    """Write `data` so that `path` is either absent (or as before) or whole, whenever the process dies."""
    # The same process id may be at work on another machine, or in another container, that shares the folder.
    part = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.part")
    try:
        with open(part, "wb") as f:
            f.write(data if isinstance(data, bytes) else memoryview(data).cast("B"))
            f.flush()
            os.fsync(f.fileno())
        replace(part, path)
    except OSError as err:  # of a full disk the system does not say which file it was
        raise type(err)(err.errno, err.strerror, str(path)) from err
    finally:
        part.unlink(missing_ok=True)


def replace(source: Path, target: Path) -> None:
    """Put a file in the place of another; on Windows, once no other process has that one open, to read it, say."""
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            return os.replace(source, target)
        except PermissionError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def remove_leftovers(folder: Path) -> None:
    """Remove half-written files of processes that were killed; those that are still being written are young."""
    for part in folder.glob(".*.part"):
        with contextlib.suppress(FileNotFoundError):  # another process may be tidying up, too
            if time.time() - part.stat().st_mtime > _YOUNG_S:
                part.unlink()


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write a text file atomically, its folder too if need be."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, text.encode())


def write_json(path: str | os.PathLike, content: Any) -> None:
    """Write a JSON document atomically, its folder too if need be."""
    write_text(path, json.dumps(plain(content), indent=1) + "\n")


def read_json(path: Path) -> dict:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, UnicodeDecodeError) as err:
        raise ValueError(
            f"{path} is not a readable JSON file ({err}): delete the store folder and build it again."
        ) from err
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds a {type(content).__name__}, not an object: it is not an eegaug store.")
    return content


def is_readable(path: Path) -> bool:
    """Whether `read_json` reads something; what the system keeps one from reading is an error, not damaged."""
    try:
        return bool(read_json(path))
    except ValueError:
        return False
