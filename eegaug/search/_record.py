"""What a search has done so far: a row for each step, and what follows from the rows."""

from __future__ import annotations

from typing import Any

import pandas as pd

__all__ = ["SearchRecord"]


class SearchRecord:
    """The part of `PolicySearch` that keeps its history: rows, time, passes, how long the next step may take."""

    _rows: list[dict[str, Any]]  # only once a search was begun

    @property
    def history_(self) -> pd.DataFrame:
        """One row per step."""
        if not hasattr(self, "_rows"):
            raise AttributeError(f"this {type(self).__name__} has not begun to search: call fit first.")
        return pd.DataFrame(self._rows)

    def _sum_up(self) -> None:
        """Time and passes, after a row was added or the rows were replaced."""
        self.search_time_ = float(sum(row["seconds"] for row in self._rows))
        self.n_forward_backward_ = self._rows[-1]["n_forward_backward"] if self._rows else 0

    def _expected_seconds(self) -> float:
        """How long the next step takes, by the last ones of its kind; 0 where there were none."""
        phase = self._next_phase()
        return max((row["seconds"] for row in self._rows[-5:] if row["phase"] == phase), default=0.0)

    def _next_phase(self) -> str:
        """``phase`` of the next step, as far as it is known beforehand: that of the last."""
        return self._rows[-1]["phase"] if self._rows else "search"
