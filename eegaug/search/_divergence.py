"""Losses of a search: their means over batches, and its end where they are no numbers any more."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

__all__ = ["means_over_windows", "refuse_divergence"]


def means_over_windows(batches: Iterable[tuple[int, Mapping[str, Tensor]]]) -> dict[str, float]:
    """Means over all windows of what is known of batches: pairs of their number of windows and their own means."""
    sums: dict[str, Tensor] = {}
    n = 0
    for size, terms in batches:
        for name, value in terms.items():
            sums[name] = sums.get(name, 0.0) + value * size
        n += size
    return {name: float(total) / n for name, total in sums.items()}


def refuse_divergence(row: Mapping[str, Any], step: int, remedy: str) -> None:
    """Raise a ValueError with a remedy if a value of a history's row is NaN or infinite.

    Examples
    --------
    >>> refuse_divergence({"loss": float("nan")}, 3, "Lower lr.")
    Traceback (most recent call last):
    ValueError: the search diverged: loss is nan in step 3. Lower lr.
    """
    for name, value in row.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"the search diverged: {name} is {value} in step {step}. {remedy}")
