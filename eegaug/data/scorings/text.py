"""Text files of stages: lines, cells, and what their columns come to."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from eegaug.data.scorings.columns import COLUMNS, ONSET_COLUMNS, STAGE_COLUMNS, are_times, number, roles_of
from eegaug.data.scorings.day_times import DAY_S, first_of_day, seconds_of
from eegaug.data.stages import parse_stage

__all__ = ["Layout", "read_layout"]

# Seconds in a unit that a header may name: "onset (ms)".
_UNITS = {"s": 1.0, "sec": 1.0, "secs": 1.0, "second": 1.0, "seconds": 1.0, "ms": 1e-3, "msec": 1e-3}
_UNITS |= {"milliseconds": 1e-3, "min": 60.0, "mins": 60.0, "minutes": 60.0, "h": 3600.0, "hours": 3600.0}


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
        if not names.isdisjoint(STAGE_COLUMNS) and not names.isdisjoint(ONSET_COLUMNS):
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
        told = len(spaced[-1]) > 1 and (number(spaced[-1][0]) is not None or seconds_of(spaced[-1][0]) is not None)
        rows = spaced if told else [[line.strip()] for line in lines]
    return [[cell.strip() for cell in row] for row in rows]


def _with_remark(row: list[str], names: list[str]) -> list[str]:
    """A row whose last cell is a remark with commas, which NSRR's STAGES does not quote."""
    last = len(names) - 1
    if len(row) <= len(names) or names[last] not in STAGE_COLUMNS or parse_stage(row[last]) is not None:
        return row
    return [*row[:last], ", ".join(row[last:])]


def _of_stages(rows: list[list[str]], names: list[str]) -> list[list[str]]:
    """Rows of stages: in RemLogic's lists of events, the stage in which an event falls stands beside it."""
    if "event" not in names:
        return rows
    at = names.index("event")
    stages = [row for row in rows if len(row) > at and row[at].upper().startswith("SLEEP-")]
    return stages or rows


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


class _Table(NamedTuple):
    """Columns of cells, all of one length; names of columns and their units where there is a header."""

    columns: list[tuple[str, ...]]
    header: list[str]
    units: list[str]
    empty: int | None
    """The first empty line between others."""


def _table(path: Path) -> _Table:
    rows = _rows(path)
    header: list[str] = []
    units: list[str] = []
    first = next(i for i, row in enumerate(rows) if row)
    rows = rows[first:]
    names = [_name(cell) for cell in rows[0]]
    # A column may be called as what is no stage, or a stage, is: "artifact", "W".
    told = len(names) > 1 and not COLUMNS.isdisjoint(names)
    if all(number(cell) is None and (told or parse_stage(cell) is None) for cell in rows[0]):
        units = [(re.findall(r"[(\[]\s*(.*?)\s*[)\]]", cell.lower()) or ["s"])[0] for cell in rows[0]]
        header = names
        rows = _of_stages([_with_remark(row, names) for row in rows[1:]], names)
    filled = [row for row in rows if row]
    if not filled:
        raise ValueError("the file has a header and nothing below it")
    # After a header, or after every row, an empty line says nothing.
    empties = [i + 1 for i, row in enumerate(rows[rows.index(filled[0]) :]) if not row]
    empty = empties[0] if empties and len(empties) < len(filled) - 1 else None
    width = len(filled[0])
    if uneven := [i for i, row in enumerate(filled) if len(row) != width]:
        raise ValueError(f"row {uneven[0] + 1} has {len(filled[uneven[0]])} cells where the first has {width}")
    columns = list(zip(*filled, strict=True))
    if header and (len(header) > width or any(cell for column in columns[len(header) :] for cell in column)):
        raise ValueError(f"its header has {len(header)} cells where the rows have {width}")
    return _Table(columns, header, units, empty)


def read_layout(path: Path) -> Layout:
    """Columns of a text file of stages.

    Raises
    ------
    ValueError
        If no column can be told to hold stages, or where they belong; the row or column is named.
    """
    table = _table(path)
    columns, header = table.columns, table.header
    roles = roles_of(columns, header)
    onset, labels = roles.onset, columns[roles.stage]
    onsets = _seconds(table, onset, "onsets")
    lengths = _seconds(table, roles.duration, "durations")
    if onsets is None:
        return Layout(labels, None, lengths, _counted(table, roles.epoch), table.empty)
    by_clock = are_times(columns[onset]) and not _elapsed(columns[onset], header[onset] if header else "")
    if roles.end is not None:
        lengths = _lengths_until(table, onset, roles.end, onsets, by_clock)
    clock_s = None
    if by_clock:  # of stages: events may be before them, and last all night
        timed = zip(labels, onsets, lengths or [0.0] * len(labels), strict=True)
        clock_s = first_of_day(*zip(*(when for label, *when in timed if parse_stage(label) is not None), strict=True))
        onsets = [(at - clock_s) % DAY_S for at in onsets]
    return Layout(labels, onsets, lengths, None, table.empty, clock_s)


def _seconds(table: _Table, k: int | None, what: str) -> list[float] | None:
    if k is None:
        return None
    column = table.columns[k]
    if are_times(column):
        return [seconds_of(c) for c in column]
    if (unit := table.units[k] if table.units else "s") not in _UNITS:
        raise ValueError(f"{what} are in {unit!r}: give them in seconds")
    found = [math.nan if c.lower() in ("n/a", "nan", "") else number(c) for c in column]
    if None in found:
        raise ValueError(f"{what} must be in seconds, not {column[found.index(None)]!r}")
    return [_UNITS[unit] * value for value in found]


def _counted(table: _Table, k: int | None) -> list[int] | None:
    found = [] if k is None else [number(c) for c in table.columns[k]]
    whole = all(value is not None and value == round(value) for value in found)
    return [int(value) for value in found] if found and whole else None


def _lengths_until(table: _Table, onset: int, end: int, onsets: list[float], by_clock: bool) -> list[float]:
    """How long stages last that end at the times of a column."""
    begins, ends = table.columns[onset], table.columns[end]
    if are_times(begins) != are_times(ends):
        raise ValueError(f"it begins stages at {begins[0]!r} and ends them at {ends[0]!r}")
    stops = _seconds(table, end, "ends")
    if by_clock:
        stops = [start + (stop - start) % DAY_S for start, stop in zip(onsets, stops, strict=True)]
    # Where each ends the same second or sample before the next one begins, that is its last.
    between = np.subtract(onsets[1:], stops[:-1])
    if len(last := set(np.round(between % DAY_S if by_clock else between, 6).tolist())) == 1 and 0 < min(last) <= 1:
        stops = [stop + min(last) for stop in stops]
    lengths = [stop - start for start, stop in zip(onsets, stops, strict=True)]
    if late := [i for i, length in enumerate(lengths) if length < 0]:
        raise ValueError(f"row {late[0] + 1} ends at {ends[late[0]]}, before it begins")
    return lengths
