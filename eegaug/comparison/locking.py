"""Commands that share the folder of a comparison."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock

__all__ = ["in_use", "one_at_a_time", "remove_left"]

# Far more than a command takes. On a file system without locks, as of some clusters, filelock puts a file in the place
# of one, which stays for ever if its process is killed on another machine.
_LONGEST_WAIT_S = 120.0


@contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """Let other processes that ask for the same folder wait.

    The system gives the lock back when a process dies. Where the file system knows no locks nobody waits for ever.
    """
    lock = FileLock(folder / ".lock", timeout=_LONGEST_WAIT_S)
    with suppress(OSError, NotImplementedError):
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def in_use(path: Path) -> Iterator[None]:
    """Remove a file in the end; of a process that is killed before, :func:`remove_left` finds it."""
    lock = FileLock(f"{path}.lock", timeout=0)
    with suppress(OSError, NotImplementedError):
        lock.acquire()
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        lock.release()
        Path(lock.lock_file).unlink(missing_ok=True)


def remove_left(folder: Path, names: str) -> None:
    """Remove files of processes that were killed while they had them :func:`in_use`."""
    for found in folder.glob(f"{names}.lock"):
        lock = FileLock(found, timeout=0)
        with suppress(OSError, NotImplementedError):  # its process lives
            lock.acquire()
            found.with_suffix("").unlink(missing_ok=True)
            lock.release()
            found.unlink(missing_ok=True)
