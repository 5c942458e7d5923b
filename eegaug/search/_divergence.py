"""A search whose losses are no numbers any more is at its end."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

__all__ = ["refuse_divergence"]


def refuse_divergence(row: Mapping[str, Any], step: int, remedy: str) -> None:
    """Raise if a value of a history's row is NaN or infinite.

    Parameters
    ----------
    row : mapping
    step : int
        Counted from 1, for the message.
    remedy : str
        What to do.

    Raises
    ------
    ValueError

    Examples
    --------
    >>> refuse_divergence({"loss": float("nan")}, 3, "Lower lr.")
    Traceback (most recent call last):
    ValueError: the search diverged: loss is nan in step 3. Lower lr.
    """
    for name, value in row.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"the search diverged: {name} is {value} in step {step}. {remedy}")
