"""Durations: read from what users write, told as people say them."""

from __future__ import annotations

__all__ = ["duration", "parse_budget"]


def duration(seconds: float) -> str:
    """A duration as people say it.

    Examples
    --------
    >>> duration(8.26), duration(75), duration(7500)
    ('8.3 s', '1 min 15 s', '2 h 5 min')
    """
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def parse_budget(budget: float | str | None, name: str = "budget") -> float | None:
    """Seconds of a budget given as a number of seconds or as text such as ``"90s"``, ``"30min"`` or ``"2h"``.

    ``name`` is what errors call it.

    Examples
    --------
    >>> parse_budget("2h"), parse_budget("1.5min"), parse_budget(45), parse_budget(None)
    (7200.0, 90.0, 45.0, None)
    """
    if budget is None:
        return None
    units = {"s": 1.0, "sec": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
    seconds: float
    try:
        if isinstance(budget, str):
            text = budget.strip().lower()
            number = text.rstrip("abcdefghijklmnopqrstuvwxyz ")
            seconds = float(number) * units[text[len(number) :].strip() or "s"]
        elif isinstance(budget, bool):
            raise TypeError
        else:
            seconds = float(budget)
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"{name} {budget!r} is not a duration; write seconds or '90s', '30min', '2h'") from None
    if not 0 < seconds < float("inf"):
        raise ValueError(f"{name} must be positive and finite, got {budget!r}")
    return seconds
