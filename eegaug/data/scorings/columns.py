"""Which column of a table of stages holds what: by the names of columns, or by what is in them."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from eegaug.data.scorings.day_times import seconds_of
from eegaug.data.stages import parse_stage

__all__ = ["COLUMNS", "ONSET_COLUMNS", "STAGE_COLUMNS", "Roles", "are_times", "number", "roles_of"]

# Columns of a table by their usual names, the likelier first; compared in lower case without spaces, dashes,
# underscores.
STAGE_COLUMNS = (
    *("sleepstage", "stage", "stages", "hypnogram", "hypno", "stagename", "trialtype", "description", "annotation"),
    *("annotations", "label", "labels", "event", "state", "class", "scoring", "score", "y", "value"),
)
ONSET_COLUMNS = (
    *("onset", "onsets", "recordingonset", "start", "starts", "starttime", "begin"),
    *("time", "times", "seconds", "clock", "clocktime", "timeofday", "elapsed", "elapsedtime"),
)
_DURATION_COLUMNS = ("duration", "durations", "length", "dur")
_END_COLUMNS = ("end", "ends", "endtime", "stop", "stops", "stoptime", "offset", "offsets")
_EPOCH_COLUMNS = ("epoch", "epochs", "epochnumber", "epochno", "epochnr", "epoch#", "epochindex", "page", "pages")
COLUMNS = {*STAGE_COLUMNS, *ONSET_COLUMNS, *_DURATION_COLUMNS, *_END_COLUMNS, *_EPOCH_COLUMNS}
# Hours and minutes without seconds, or a number with a decimal comma.
_CLOCK = re.compile(r"\d{1,2}:\d\d|\d+,\d+$")


class Roles(NamedTuple):
    """Numbers of the columns that hold stages and, where there are such columns, onsets, durations, ends, epochs."""

    stage: int = 0
    onset: int | None = None
    duration: int | None = None
    end: int | None = None
    epoch: int | None = None


def roles_of(columns: Sequence[Sequence[str]], header: Sequence[str]) -> Roles:
    """What the columns of a table hold, by their names if it has any.

    Raises
    ------
    ValueError
        If no column can be told to hold stages, or where they belong.
    """
    if len(columns) == 1:
        return Roles()
    return _by_name(columns, header) if header else _by_content(columns)


def _by_name(columns: Sequence[Sequence[str]], header: Sequence[str]) -> Roles:
    def named(names: Sequence[str]) -> int | None:
        return next((header.index(n) for n in names if n in header), None)

    onset, duration, epoch = named(ONSET_COLUMNS), named(_DURATION_COLUMNS), named(_EPOCH_COLUMNS)
    end = named(_END_COLUMNS) if duration is None else None
    if onset is None and (odd := [name for name in header if name.startswith(("onset", "start"))]):
        raise ValueError(f"its column {odd[0]!r} is not understood: name it onset, in seconds")
    usable = [header.index(n) for n in STAGE_COLUMNS if n in header]
    usable = [k for k in usable if _has_stages(columns[k])]
    if not usable:
        raise ValueError(f"no column with sleep stages among {header}")
    stage = usable[0]
    for k, column in enumerate(columns[: len(header)]):
        if k == stage or not onset is epoch is None:
            continue
        if k != end and are_times(column):
            raise ValueError(f"its column {header[k]!r} says when by {column[0]!r}: name it time, or end")
        # What rises by uneven steps says where rows belong that are not one per epoch.
        if _rises(column, unevenly=True):
            raise ValueError(f"its column {header[k]!r} rises by uneven steps: name it onset (in seconds) or epoch")
        if duration is None and _could_be_lengths(column):
            raise ValueError(f"its column {header[k]!r} may say how long stages last: name it duration, in seconds")
    return Roles(stage, onset, duration, end, epoch)


def _by_content(columns: Sequence[Sequence[str]]) -> Roles:
    stage = _stage_column(columns)
    others = [k for k, column in enumerate(columns) if k != stage and _is_numeric(column)]
    rising = [k for k in others if _rises(columns[k])]
    # The first column where it is told from lengths, else the first that rises.
    first_tells = 0 in others and len({number(cell) for cell in columns[0]}) == len(columns[0])
    if when := [0] if first_tells else rising[:1]:
        steps = np.diff([float(c) for c in columns[when[0]]])
        # Steps of one are epoch numbers, anything else are seconds, of which onsets go before ends.
        if not len(steps) or (steps == 1).mean() > 0.5:
            return Roles(stage, epoch=when[0])
        onset = min(rising, key=lambda k: float(columns[k][0])) if when[0] in rising else when[0]
        return Roles(stage, onset, *_lengths_beside(columns, onset, [k for k in others if k != onset]))
    if times := [k for k, column in enumerate(columns) if k != stage and are_times(column)]:
        onset, end = times[0], times[1] if len(times) > 1 else None
        duration = next((k for k in others if end is None and min(map(float, columns[k])) >= 5), None)
        return Roles(stage, onset, duration, end)
    if long := [k for k in others if _could_be_lengths(columns[k])]:
        raise ValueError(f"its column {long[0] + 1} may say how long stages last: say in a header which is what")
    if clock := [column[0] for column in columns[:stage] if _CLOCK.match(column[0])]:
        raise ValueError(f"its first row says when by {clock[0]!r}: give seconds from the start of the recording")
    return Roles(stage)


def _stage_column(columns: Sequence[Sequence[str]]) -> int:
    """The column of stages in a table without a header."""
    stages = [k for k, column in enumerate(columns) if all(parse_stage(c) is not None for c in column)]
    if _rises(columns[0]):
        stages = [k for k in stages if k != 0]  # epoch numbers or seconds
    stages = [k for k in stages if _has_stages(columns[k])] or stages
    words = [k for k in stages if not _is_numeric(columns[k])]
    # Numbers that are always the same, or 0 and 1, are lengths and marks of artefacts beside those of stages.
    values = {k: {number(c) for c in columns[k]} for k in stages}
    stages = words or [k for k in stages if len(values[k]) > 1 and not values[k] <= {0, 1}] or stages
    if len({tuple(map(parse_stage, columns[k])) for k in stages}) > 1:
        several = ", ".join(str(k + 1) for k in stages)
        raise ValueError(f"several columns hold stages ({several}): keep one, or say in a header which is 'stage'")
    if not stages:
        first = [column[0] for column in columns]
        raise ValueError(f"no column with a stage in every row; the first row is {first}")
    return stages[-1]


def _lengths_beside(
    columns: Sequence[Sequence[str]], onset: int, others: Sequence[int]
) -> tuple[int | None, int | None]:
    """Which of other columns of numbers beside onsets is durations, and which ends."""
    means = {k: _lengths(columns[onset], columns[k]) for k in others}
    duration = next((k for k in others if means[k] == "duration"), None)
    end = next((k for k in others if means[k] == "end"), None) if duration is None else None
    if duration is end is None and onset + 1 in others and not _rises(columns[onset + 1]):
        duration = onset + 1
    return duration, end


def _has_stages(column: Sequence[str]) -> bool:
    """Whether a column holds a stage of sleep or wake, and not only what is not scored."""
    return not {parse_stage(cell) for cell in column}.isdisjoint(range(5))


def _is_numeric(column: Sequence[str]) -> bool:
    return all(number(cell) is not None for cell in column)


def number(cell: str) -> float | None:
    try:
        value = float(cell)
    except ValueError:
        return None
    return None if math.isinf(value) else value


def _rises(column: Sequence[str], unevenly: bool = False) -> bool:
    """Whether a column holds numbers of which each is above the one before."""
    found = [number(cell) for cell in column]
    if len(found) < 2 or None in found:
        return False
    steps = np.diff(found)
    return bool((steps > 0).all() and (not unevenly or np.ptp(steps) > 0.1 * np.median(steps)))


def _lengths(onset: Sequence[str], other: Sequence[str]) -> str | None:
    """What a column of numbers beside onsets is: durations or ends of stages that do not overlap, None if neither."""
    start, value = (np.array([float(cell) for cell in column]) for column in (onset, other))
    order = np.argsort(start, kind="stable")
    start, value = start[order], value[order]
    follows = np.allclose(value[:-1], np.diff(start), atol=0.5)  # one stage after the other
    if not follows and (value > start).all() and (value[:-1] <= start[1:]).all():
        return "end"
    return "duration" if follows or ((value >= 5).all() and (value[:-1] <= np.diff(start) + 0.5).all()) else None


def _could_be_lengths(column: Sequence[str]) -> bool:
    """Whether a column holds numbers such as seconds of stages that last for several pages."""
    found = {number(cell) for cell in column}
    return (
        len(found) > 1
        and not _rises(column)
        and all(value is not None and value >= 10 and value % 5 == 0 for value in found)
    )


def are_times(column: Sequence[str]) -> bool:
    """Whether a column holds hours, minutes and seconds."""
    return all(seconds_of(cell) is not None for cell in column)
