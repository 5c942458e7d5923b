"""Commands that share the folder of a comparison."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["one_at_a_time"]


@contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """Let other processes that ask for the same folder wait.

    The system gives the lock back when a process dies. Where it knows no such locks nobody waits.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    with open(folder / ".lock", "w") as file:
        with suppress(OSError):  # some shared file systems have none
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
