"""Commands that share the folder of a comparison."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock

__all__ = ["one_at_a_time"]


@contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """Let other processes that ask for the same folder wait.

    The system gives the lock back when a process dies. Where the file system knows no locks nobody waits.
    """
    lock = FileLock(folder / ".lock")
    with suppress(OSError, NotImplementedError):
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
