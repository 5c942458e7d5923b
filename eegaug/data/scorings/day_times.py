"""Times of the day, and times since the start of a recording, as hours, minutes and seconds."""

from __future__ import annotations

import datetime
import re
from collections.abc import Sequence

import numpy as np

__all__ = ["DAY_S", "first_of_day", "second_of_day", "seconds_of"]

DAY_S = 86400.0
# "22:09:33", "22.09.33,5", "10:09:33 PM", perhaps behind a date.
_TIME = re.compile(
    r"(?:\d{1,4}[-./]\d{1,2}[-./]\d{1,4}(?:T|\s+))?"
    r"(\d{1,2})([:.])(\d\d)\2(\d\d(?:[.,]\d+)?)(?:\s*([ap])\.?m\.?)?(?:Z|[+-]\d\d:\d\d)?",
    re.IGNORECASE,
)


def seconds_of(cell: str) -> float | None:
    """Seconds of a time, None where the text is none.

    >>> seconds_of("22:09:33"), seconds_of("2024-02-29 12.00.30 AM"), seconds_of("30")
    (79773.0, 30.0, None)
    """
    found = _TIME.fullmatch(cell.strip())
    if not found:
        return None
    hours, minutes, seconds = int(found[1]), int(found[3]), float(found[4].replace(",", "."))
    if found[5]:
        hours = hours % 12 + (12 if found[5] in "pP" else 0)
    return 3600.0 * hours + 60.0 * minutes + seconds if minutes < 60 and seconds < 60 else None


def second_of_day(moment: datetime.datetime) -> float:
    """Seconds since midnight."""
    return moment.hour * 3600 + moment.minute * 60 + moment.second + moment.microsecond / 1e6


def first_of_day(onset_s: Sequence[float], duration_s: Sequence[float]) -> float:
    """The time of day at which scoring begins: behind the longest stretch that has none.

    Raises
    ------
    ValueError
        If stages last longer than a day.
    """
    onset, duration = np.asarray(onset_s, dtype=float), np.nan_to_num(np.asarray(duration_s, dtype=float))
    if duration.sum() > DAY_S:
        raise ValueError("stages by times of the day last longer than a day")
    order = np.argsort(onset)
    onset = onset[order]
    gaps = np.diff(onset, append=onset[0] + DAY_S) - duration[order]
    return float(np.roll(onset, -1)[np.argmax(gaps)])
