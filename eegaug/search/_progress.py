"""How a search says how far it is: a moving bar on a terminal, now and then a line in a log file."""

from __future__ import annotations

import sys
import time
from typing import Any

from tqdm import tqdm

__all__ = ["SearchBar"]


class SearchBar:
    """Show the steps of one search on standard error.

    Parameters
    ----------
    name : str
    total, done : int
        Steps of the search, and those that a checkpoint has brought.
    enabled : bool
    every_s : float
        Seconds between lines where there is no terminal.
    """

    def __init__(self, name: str, total: int, done: int, enabled: bool, every_s: float = 10.0):
        self.name, self.total, self.every_s = name, total, every_s
        self.enabled, self.last, self.bar = enabled, 0.0, None
        if enabled and sys.stderr.isatty():
            self.bar = tqdm(total=total, initial=done, unit="step", desc=name, file=sys.stderr, dynamic_ncols=True)

    def update(self, row: dict[str, Any], total: int) -> None:
        """Move it on by one step; there may be fewer in all than were planned."""
        if not self.enabled:
            return
        self.total = total
        hidden = {"step", "phase", "seconds", "n_forward_backward"}
        shown = {k: v for k, v in row.items() if k not in hidden and isinstance(v, float)}
        text = ", ".join(f"{name.replace('_', ' ')} {value:.3f}" for name, value in shown.items())
        if self.bar is not None:
            self.bar.total = total
            self.bar.update()
            self.bar.set_postfix_str(text)
        elif time.monotonic() - self.last >= self.every_s or row["step"] == self.total:
            self.last = time.monotonic()
            print(f"{self.name}: step {row['step']}/{self.total}: {text}", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Leave it as it is."""
        if self.bar is not None:
            self.bar.close()
