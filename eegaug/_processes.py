"""Processes that work for another."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

__all__ = ["die_with", "working_for"]

_LOOK_EVERY_S = 0.5
_watched: set[int] = set()


def die_with(parent: int) -> None:
    """End this process when its parent is gone: killed outright, a parent cannot tell its children.

    Parameters
    ----------
    parent : int
        Process id. Nothing happens if it is not that of the parent.
    """
    if os.getppid() != parent or parent in _watched:
        return
    _watched.add(parent)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_LOOK_EVERY_S)
        os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))

    threading.Thread(target=watch, name="eegaug-parent", daemon=True).start()


def working_for(parent: int, function: Callable, *args: Any) -> Any:
    """Call a function in a process that does not outlive its parent, whose id is given."""
    die_with(parent)
    return function(*args)
