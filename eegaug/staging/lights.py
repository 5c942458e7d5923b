"""When lights went off and on, as somebody says it: in seconds, or by the clock."""

from __future__ import annotations

import datetime
import re

from eegaug.data.scorings.day_times import DAY_S, second_of_day

__all__ = ["Moment", "check_lights", "lights_seconds"]

Moment = float | str | None

_CLOCK = re.compile(r"(\d{1,2}):(\d{2})(?::(\d{2}))?")


def check_lights(lights: tuple[Moment, Moment] | None) -> None:
    """Refuse what no recording can make sense of."""
    for moment in lights or ():
        if isinstance(moment, str):
            _clock_s(moment)


def lights_seconds(
    lights: tuple[Moment, Moment], start: datetime.datetime | None, length_s: float
) -> tuple[float | None, float | None]:
    """Seconds from the start of the recording at which lights went off and on.

    Parameters
    ----------
    lights : tuple
        Each in seconds from the start, or a time of day such as ``"23:05"`` or ``"23:05:30"``, or None where nobody
        knows. Off, a time of day that the recording does not reach is that of the day before.
    start : datetime | None
        When the recording began.
    length_s : float
        Length of the recording.

    Returns
    -------
    tuple of float or None

    Raises
    ------
    ValueError
        If it is neither, if the recording does not say when it began, or if none of it is left.

    Examples
    --------
    >>> lights_seconds(("23:00", "06:30"), datetime.datetime(2024, 3, 5, 22, 45), 8.5 * 3600)
    (900.0, 27900.0)
    """
    try:
        off, on = lights
    except (TypeError, ValueError):
        raise ValueError(f"lights are {lights!r}; two moments are due, off and on, of which one may be None.") from None
    off_s, on_s = _seconds(off, start), _seconds(on, start)
    if isinstance(off, str) and off_s >= length_s:
        off_s -= DAY_S
    if isinstance(on, str) and off_s is not None and on_s <= off_s:
        on_s += DAY_S
    if off_s is not None and on_s is not None and not off_s < on_s:
        raise ValueError(f"lights go off at {off_s:g} s and on at {on_s:g} s: off comes first.")
    if (off_s is not None and off_s >= length_s) or (on_s is not None and on_s <= 0):
        raise ValueError(
            f"nothing of the recording, which is {length_s:g} s long, lies between lights off ({off}) and on ({on})."
        )
    return off_s, on_s


def _seconds(moment: Moment, start: datetime.datetime | None) -> float | None:
    if moment is None:
        return None
    if not isinstance(moment, str):
        return float(moment)
    clock_s = _clock_s(moment)
    if start is None:
        raise ValueError(
            f"lights at {moment}: the recording does not say when it began; give seconds from its start instead."
        )
    return (clock_s - second_of_day(start)) % DAY_S


def _clock_s(moment: str) -> int:
    """Seconds since midnight."""
    found = _CLOCK.fullmatch(moment.strip())
    hours, minutes, seconds = (int(part or 0) for part in found.groups()) if found else (24, 0, 0)
    if hours > 23 or minutes > 59 or seconds > 59:
        raise ValueError(f"{moment!r} is no time of day such as '23:05' or '23:05:30'.")
    return hours * 3600 + minutes * 60 + seconds
