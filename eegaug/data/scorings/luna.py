"""Stages among Luna's annotations (``.annot``), and one label for each epoch (``.eannot``)."""

from __future__ import annotations

import math
import re
from functools import lru_cache
from pathlib import Path

from eegaug.data.scorings.day_times import DAY_S, first_of_day

__all__ = ["read_annot", "read_eannot", "stage_of_class"]

# Classes by which Luna knows stages; others that may look so are events ("SW", slow waves; "unsure", an apnea).
_CLASSES = {"w": "W", "wake": "W", "sleep stage w": "W", "r": "REM", "rem": "REM", "rem sleep": "REM"}
_CLASSES |= {"sleep stage r": "REM", **dict.fromkeys(("?", "u", "m", "l", "unknown", "unscored", "movement"), "?")}
_CLASSES |= {
    name.format(n): f"N{min(n, 3)}"
    for n in (1, 2, 3, 4)
    for name in ("n{}", "nrem{}", "stage {} sleep", "sleep stage {}", "sleep stage n{}")
}
# Which columns are class, channel, start and stop, by how many there are.
_COLUMNS = {3: (0, None, 1, 2), 4: (0, None, 2, 3), 6: (0, 2, 3, 4)}
_CLOCK = re.compile(r"(0\+)?(\d{1,2})([:.])(\d\d)\3(\d\d(?:\.\d+)?)")


@lru_cache(maxsize=1024)  # of a thousand rows, most have the same few
def stage_of_class(name: str) -> str | None:
    """The stage that a class of annotations is: ``N1``, ``W`` and so on, ``?`` for none, or None for an event.

    >>> [stage_of_class(name) for name in ("N4", "Stage_2_sleep|2", "L", "arousal")]
    ['N3', 'N2', '?', None]
    """
    plain = re.sub(r"\|\w+$", "", name.strip().strip('"'))
    return _CLASSES.get(plain.replace("_", " ").lower())


def read_annot(path: Path) -> tuple[list[float], list[float], list[str], float | None]:
    """Stages of an ``.annot`` file.

    Returns
    -------
    onset_s, duration_s : list of float
        Seconds from the start of the recording, or from `clock_s`; a duration that is left open is NaN.
    labels : list of str
    clock_s : float | None
        Where the file has times of the day: that of the first stage, in seconds after midnight.

    Raises
    ------
    ValueError
        If no class is a stage, or when one begins or ends is not said in a known way; the line is named.
    """
    rows = [(i + 1, _cells(line)) for i, line in enumerate(_lines(path)) if line.strip() and not line.startswith("#")]
    if rows and rows[0][1][0].lower() == "class" and "start" in map(str.lower, rows[0][1]):
        rows = rows[1:]
    table = [(line, *_columns(cells, line)) for line, cells in rows]
    onset, duration, labels, clocks = [], [], [], set()
    for i, (line, name, channel, start, stop) in enumerate(table):
        label = stage_of_class(name)
        if label is None or channel not in (None, "."):  # "R" with a channel is lying on the right
            continue
        begin, clock = _time(start, line)
        if stop in ("...", "-"):
            after, of_day = _time(table[i + 1][3], table[i + 1][0]) if i + 1 < len(table) else (math.nan, clock)
        elif stop == "." and start.startswith("e:"):
            after, of_day = begin + 30.0, False
        elif stop.startswith("+"):
            after, of_day = begin + _number(stop[1:], line), clock
        else:
            after, of_day = _time(stop, line, end=True)
        clocks |= {clock, of_day}
        if len(clocks) > 1:
            raise ValueError(f"line {line}: times of the day and seconds are mixed")
        if after < begin and not clock:
            raise ValueError(f"line {line}: it ends at {stop}, before it begins")
        onset.append(begin)
        duration.append((after - begin) % DAY_S if clock else after - begin)
        labels.append(label)
    if set(labels) <= {"REM", "?"}:  # no night is that: "R" and "L" alone are the sides that somebody lay on
        classes = ", ".join(repr(name) for name in dict.fromkeys(row[1] for row in table))
        raise ValueError(f"no class in it is a sleep stage ({classes or 'there is none'})")
    if not clocks.pop():
        return onset, duration, labels, None
    first = first_of_day(onset, duration)
    return [(at - first) % DAY_S for at in onset], duration, labels, first


def read_eannot(path: Path) -> list[str]:
    """Labels of epochs, one for each line: stages by their usual names, others as they are."""
    return [stage_of_class(line) or line.strip() for line in _lines(path) if line.strip()]


def _lines(path: Path) -> list[str]:
    return path.read_bytes().decode("utf-8-sig", errors="replace").splitlines()


def _cells(line: str) -> list[str]:
    cells = line.rstrip("\r\n").split("\t") if "\t" in line else line.split()
    return [cell.strip() for cell in cells]


def _columns(cells: list[str], line: int) -> list[str | None]:
    if len(cells) not in _COLUMNS:
        raise ValueError(f"line {line} has {len(cells)} columns: 3, 4 or 6 are known")
    return [None if k is None else cells[k] for k in _COLUMNS[len(cells)]]


def _time(cell: str, line: int, end: bool = False) -> tuple[float, bool]:
    """Seconds, and whether they are of the day; of an epoch, its start or its end."""
    if cell.startswith("e:"):
        # What stands behind a second colon is the length of the epoch in Luna's manual and its number in Luna itself.
        if not cell[2:].isdigit() or cell[2:] == "0":
            raise ValueError(f"line {line}: of epochs, e:1, e:2 and so on of 30 s are known, not {cell!r}")
        return 30.0 * (int(cell[2:]) - (not end)), False
    if (clock := _CLOCK.fullmatch(cell)) and (clock[1] or int(clock[2]) < 24):
        return 3600.0 * int(clock[2]) + 60.0 * int(clock[4]) + float(clock[5]), not clock[1]
    return _number(cell, line), False


def _number(cell: str, line: int) -> float:
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise ValueError(f"line {line}: {cell!r} is no time: seconds, hh:mm:ss, 0+hh:mm:ss or e:1 are known")
    return value
