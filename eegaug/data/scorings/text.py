"""Text files of stages: lines, cells, and which column says what."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from eegaug.data.scorings.day_times import DAY_S, first_of_day, seconds_of
from eegaug.data.stages import parse_stage

__all__ = ["Layout", "read_layout"]

# Columns of a table by their usual names, the likelier first; compared in lower case without spaces, dashes,
# underscores.
_STAGE_COLUMNS = (
    *("sleepstage", "stage", "stages", "hypnogram", "hypno", "stagename", "trialtype", "description", "annotation"),
    *("annotations", "label", "labels", "event", "state", "class", "scoring", "score", "y", "value"),
)
_ONSET_COLUMNS = (
    *("onset", "onsets", "recordingonset", "start", "starts", "starttime", "begin"),
    *("time", "times", "seconds", "clock", "clocktime", "timeofday", "elapsed", "elapsedtime"),
)
_DURATION_COLUMNS = ("duration", "durations", "length", "dur")
_END_COLUMNS = ("end", "ends", "endtime", "stop", "stops", "stoptime", "offset", "offsets")
_EPOCH_COLUMNS = ("epoch", "epochs", "epochnumber", "epochno", "epochnr", "epoch#", "epochindex", "page", "pages")
_COLUMNS = {*_STAGE_COLUMNS, *_ONSET_COLUMNS, *_DURATION_COLUMNS, *_END_COLUMNS, *_EPOCH_COLUMNS}
# Seconds in a unit that a header may name: "onset (ms)".
_UNITS = {"s": 1.0, "sec": 1.0, "secs": 1.0, "second": 1.0, "seconds": 1.0, "ms": 1e-3, "msec": 1e-3}
_UNITS |= {"milliseconds": 1e-3, "min": 60.0, "mins": 60.0, "minutes": 60.0, "h": 3600.0, "hours": 3600.0}
# Hours and minutes without seconds, or a number with a decimal comma.
_CLOCK = re.compile(r"\d{1,2}:\d\d|\d+,\d+$")


def _rows(path: Path) -> list[list[str]]:
    """Cells of a text file, line by line; an empty line between others is a row without cells."""
    content = path.read_bytes()
    wide = content.startswith((b"\xff\xfe", b"\xfe\xff"))  # what Windows calls Unicode
    text = content.decode("utf-16" if wide else "utf-8-sig", errors="replace")
    kept = [line for line in text.splitlines() if not line.lstrip().startswith(("#", "%"))]
    kept = kept[_preamble(kept) :]
    lines = [line for line in kept if line.strip()]
    if not lines:
        raise ValueError("the file is empty")
    cells = _cells(lines)
    if len(cells) != len(lines):  # cells that hold line breaks
        return cells
    cells, last = iter(cells), max(i for i, line in enumerate(kept) if line.strip())
    return [next(cells) if line.strip() else [] for line in kept[: last + 1]]


def _name(cell: str) -> str:
    """A column's name without its unit, spaces and case."""
    return re.sub(r"[(\[].*[)\]]|[\s_-]", "", cell.lower())


def _preamble(lines: list[str]) -> int:
    """Lines about the patient and such before the names of columns, which have to be those of stages and times."""
    for i, line in enumerate(lines):
        names = {_name(cell) for cell in re.split(r"[\t;,]", line)}
        if not names.isdisjoint(_STAGE_COLUMNS) and not names.isdisjoint(_ONSET_COLUMNS):
            return i
    return 0


def _cells(lines: list[str]) -> list[list[str]]:
    if all(parse_stage(line) is not None for line in lines[1:]) and len(lines) > 1:
        return [[line.strip()] for line in lines]
    for delimiter in ("\t", ";", ","):
        if all(delimiter in line for line in lines):
            rows = list(csv.reader(lines, delimiter=delimiter))
            break
    else:
        spaced = [line.split() for line in lines]
        told = len(spaced[-1]) > 1 and (_number(spaced[-1][0]) is not None or seconds_of(spaced[-1][0]) is not None)
        rows = spaced if told else [[line.strip()] for line in lines]
    return [[cell.strip() for cell in row] for row in rows]


def _number(cell: str) -> float | None:
    try:
        value = float(cell)
    except ValueError:
        return None
    return None if math.isinf(value) else value


def _rises(column: Sequence[str], unevenly: bool = False) -> bool:
    """Whether a column holds numbers of which each is above the one before."""
    found = [_number(cell) for cell in column]
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
    found = {_number(cell) for cell in column}
    return (
        len(found) > 1
        and not _rises(column)
        and all(value is not None and value >= 10 and value % 5 == 0 for value in found)
    )


def _with_remark(row: list[str], names: list[str]) -> list[str]:
    """A row whose last cell is a remark with commas, which NSRR's STAGES does not quote."""
    last = len(names) - 1
    if len(row) <= len(names) or names[last] not in _STAGE_COLUMNS or parse_stage(row[last]) is not None:
        return row
    return [*row[:last], ", ".join(row[last:])]


def _of_stages(rows: list[list[str]], names: list[str]) -> list[list[str]]:
    """Rows of stages: in RemLogic's lists of events, the stage in which an event falls stands beside it."""
    if "event" not in names:
        return rows
    at = names.index("event")
    stages = [row for row in rows if len(row) > at and row[at].upper().startswith("SLEEP-")]
    return stages or rows


def _are_times(column: Sequence[str]) -> bool:
    """Whether a column holds hours, minutes and seconds."""
    return all(seconds_of(cell) is not None for cell in column)


def _elapsed(column: Sequence[str], name: str) -> bool:
    """Whether times count from the start of the recording rather than from midnight.

    Raises
    ------
    ValueError
        If that is open.
    """
    if name in ("clock", "clocktime", "timeofday"):
        return False
    if name in ("elapsed", "elapsedtime") or max(map(seconds_of, column)) >= DAY_S or seconds_of(column[0]) == 0:
        return True
    if seconds_of(column[0]) < 3600:
        raise ValueError(
            f"its first row says when by {column[0]!r}: name the column elapsed if that is since the start of the "
            "recording, clock if it is the time of the day"
        )
    return False


class Layout(NamedTuple):
    """Columns of a hypnogram's table: stages, and where there are such columns seconds, their lengths, numbers.

    Lengths without seconds are of stages that follow one another.
    """

    labels: Sequence[str]
    onset: list[float] | None = None
    duration: list[float] | None = None
    epoch: list[int] | None = None
    empty: int | None = None
    """An empty line between others."""
    clock_s: float | None = None
    """The time of the day, in seconds, from which onsets count."""


def read_layout(path: Path) -> Layout:
    """Columns of a text file of stages.

    Raises
    ------
    ValueError
        If no column can be told to hold stages, or where they belong; the row or column is named.
    """
    rows = _rows(path)
    header: list[str] = []
    units: list[str] = []
    first = next(i for i, row in enumerate(rows) if row)
    rows = rows[first:]
    names = [_name(cell) for cell in rows[0]]
    # A column may be called as what is no stage, or a stage, is: "artifact", "W".
    told = len(names) > 1 and not _COLUMNS.isdisjoint(names)
    if all(_number(cell) is None and (told or parse_stage(cell) is None) for cell in rows[0]):
        units = [(re.findall(r"[(\[]\s*(.*?)\s*[)\]]", cell.lower()) or ["s"])[0] for cell in rows[0]]
        header = names
        rows = _of_stages([_with_remark(row, names) for row in rows[1:]], names)
    filled = [row for row in rows if row]
    # After a header, or after every row, an empty line says nothing.
    between = rows[rows.index(filled[0]) :] if filled else []
    empties = [i + 1 for i, row in enumerate(between) if not row]
    empty = empties[0] if empties and len(empties) < len(filled) - 1 else None
    rows = filled
    if not rows:
        raise ValueError("the file has a header and nothing below it")
    width = len(rows[0])
    if uneven := [i for i, row in enumerate(rows) if len(row) != width]:
        raise ValueError(f"row {uneven[0] + 1} has {len(rows[uneven[0]])} cells where the first has {width}")
    columns = list(zip(*rows, strict=True))
    if header and (len(header) > width or any(cell for column in columns[len(header) :] for cell in column)):
        raise ValueError(f"its header has {len(header)} cells where the rows have {width}")

    def named(names: Sequence[str]) -> int | None:
        return next((header.index(n) for n in names if n in header), None)

    onset = duration = end = stage = epoch = None
    if header and width > 1:
        onset, duration, epoch = named(_ONSET_COLUMNS), named(_DURATION_COLUMNS), named(_EPOCH_COLUMNS)
        end = named(_END_COLUMNS) if duration is None else None
        if onset is None and (odd := [name for name in header if name.startswith(("onset", "start"))]):
            raise ValueError(f"its column {odd[0]!r} is not understood: name it onset, in seconds")
        usable = [header.index(n) for n in _STAGE_COLUMNS if n in header]
        usable = [k for k in usable if {parse_stage(c) for c in columns[k]} & set(range(5))]
        if not usable:
            raise ValueError(f"no column with sleep stages among {header}")
        stage = usable[0]
        for k, column in enumerate(columns[: len(header)]):
            if k == stage or not onset is epoch is None:
                continue
            if k != end and _are_times(column):
                raise ValueError(f"its column {header[k]!r} says when by {column[0]!r}: name it time, or end")
            # What rises by uneven steps says where rows belong that are not one per epoch.
            if _rises(column, unevenly=True):
                raise ValueError(f"its column {header[k]!r} rises by uneven steps: name it onset (in seconds) or epoch")
            if duration is None and _could_be_lengths(column):
                raise ValueError(f"its column {header[k]!r} may say how long stages last: name it duration, in seconds")
    elif width > 1:
        numeric = [all(_number(c) is not None for c in column) for column in columns]
        stages = [k for k, column in enumerate(columns) if all(parse_stage(c) is not None for c in column)]
        if numeric[0] and len(rows) > 1 and (np.diff([float(c) for c in columns[0]]) > 0).all():
            stages = [k for k in stages if k != 0]  # epoch numbers or seconds
        stages = [k for k in stages if {parse_stage(c) for c in columns[k]} & set(range(5))] or stages
        words = [k for k in stages if not numeric[k]]
        # Numbers that are always the same, or 0 and 1, are lengths and marks of artefacts beside those of stages.
        values = [{_number(c) for c in column} for column in columns]
        stages = words or [k for k in stages if len(values[k]) > 1 and not values[k] <= {0, 1}] or stages
        if len({tuple(map(parse_stage, columns[k])) for k in stages}) > 1:
            several = ", ".join(str(k + 1) for k in stages)
            raise ValueError(f"several columns hold stages ({several}): keep one, or say in a header which is 'stage'")
        if not stages:
            raise ValueError(f"no column with a stage in every row; the first row is {rows[0]}")
        stage = stages[-1]
        others = [k for k in range(width) if numeric[k] and k != stage]
        rising = [k for k in others if _rises(columns[k])]
        # The first column where it is told from lengths, else the first that rises.
        if when := [0] if 0 in others and len(values[0]) == len(rows) else rising[:1]:
            steps = np.diff([float(c) for c in columns[when[0]]])
            # Steps of one are epoch numbers, anything else are seconds, of which onsets go before ends.
            if not len(steps) or (steps == 1).mean() > 0.5:
                epoch = when[0]
            else:
                onset = min(rising, key=lambda k: float(columns[k][0])) if when[0] in rising else when[0]
            if onset is not None:
                others.remove(onset)
                means = {k: _lengths(columns[onset], columns[k]) for k in others}
                duration = next((k for k in others if means[k] == "duration"), None)
                end = next((k for k in others if means[k] == "end"), None) if duration is None else None
                if duration is end is None and onset + 1 in others and not _rises(columns[onset + 1]):
                    duration = onset + 1
        elif times := [k for k in range(width) if k != stage and _are_times(columns[k])]:
            onset, end = times[0], times[1] if len(times) > 1 else None
            duration = next((k for k in others if end is None and min(map(float, columns[k])) >= 5), None)
        elif long := [k for k in others if _could_be_lengths(columns[k])]:
            raise ValueError(f"its column {long[0] + 1} may say how long stages last: say in a header which is what")
        elif clock := [column[0] for column in columns[:stage] if _CLOCK.match(column[0])]:
            raise ValueError(f"its first row says when by {clock[0]!r}: give seconds from the start of the recording")
    else:
        stage = 0

    def seconds(k: int | None, what: str) -> list[float] | None:
        if k is None:
            return None
        if times[k]:
            return [seconds_of(c) for c in columns[k]]
        if (unit := units[k] if units else "s") not in _UNITS:
            raise ValueError(f"{what} are in {unit!r}: give them in seconds")
        found = [math.nan if c.lower() in ("n/a", "nan", "") else _number(c) for c in columns[k]]
        if None in found:
            raise ValueError(f"{what} must be in seconds, not {columns[k][found.index(None)]!r}")
        return [_UNITS[unit] * value for value in found]

    def counted(k: int | None) -> list[int] | None:
        found = [] if k is None else [_number(c) for c in columns[k]]
        whole = all(value is not None and value == round(value) for value in found)
        return [int(value) for value in found] if found and whole else None

    times = [_are_times(column) for column in columns]
    onsets = seconds(onset, "onsets")
    lengths = seconds(duration, "durations")
    by_clock = onset is not None and times[onset] and not _elapsed(columns[onset], header[onset] if header else "")
    if onsets is not None and end is not None:
        if times[onset] != times[end]:
            raise ValueError(f"it begins stages at {columns[onset][0]!r} and ends them at {columns[end][0]!r}")
        stops = seconds(end, "ends")
        if by_clock:
            stops = [start + (stop - start) % DAY_S for start, stop in zip(onsets, stops, strict=True)]
        # Where each ends the same second or sample before the next one begins, that is its last.
        between = np.subtract(onsets[1:], stops[:-1])
        if len(last := set(np.round(between % DAY_S if by_clock else between, 6).tolist())) == 1 and 0 < min(last) <= 1:
            stops = [stop + min(last) for stop in stops]
        lengths = [stop - start for start, stop in zip(onsets, stops, strict=True)]
        if late := [i for i, length in enumerate(lengths) if length < 0]:
            raise ValueError(f"row {late[0] + 1} ends at {columns[end][late[0]]}, before it begins")
    clock_s = None
    if by_clock:  # of stages: events may be before them, and last all night
        timed = zip(columns[stage], onsets, lengths or [0.0] * len(rows), strict=True)
        clock_s = first_of_day(*zip(*(when for label, *when in timed if parse_stage(label) is not None), strict=True))
        onsets = [(at - clock_s) % DAY_S for at in onsets]
    return Layout(columns[stage], onsets, lengths, counted(epoch) if onsets is None else None, empty, clock_s)
