"""Scorings of the Wisconsin Sleep Cohort: ``.stg.txt`` of one recording system, ``.allscore.txt`` of the other."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

from eegaug.data.scorings.day_times import DAY_S, seconds_of

__all__ = ["is_wisconsin", "read_wisconsin"]

_EPOCH_S = 30.0
_NUMBERS = {0: "W", 1: "N1", 2: "N2", 3: "N3", 4: "N3", 5: "REM"}  # 6 and 7: nobody scored, or movement
_NAMES = {"W": "W", "N1": "N1", "N2": "N2", "N3": "N3", "N4": "N3", "R": "REM"}
_STAGE = re.compile(r"STAGE\s*-\s*(.*)", re.IGNORECASE)
_BEGINS = "START RECORDING"


def is_wisconsin(path: Path) -> bool:
    """Whether a file is a scoring of this cohort, by its name."""
    return path.name.lower().endswith((".stg.txt", ".allscore.txt"))


def read_wisconsin(path: Path) -> tuple[list[float], list[float], list[str], float | None]:
    """Stages of one of the cohort's two forms.

    Returns
    -------
    onset_s, duration_s : list of float
        Seconds from the start of the recording, or from `clock_s`.
    labels : list of str
    clock_s : float | None
        In ``.allscore.txt``: when the recording was started, in seconds after midnight.

    Raises
    ------
    ValueError
        If a row is not understood, or if the recording was interrupted, so that times do not say where stages are.
    """
    text = path.read_text(encoding="latin-1").lstrip("\ufeffï»¿")
    rows = [[cell.strip() for cell in line.split("\t")] for line in text.splitlines() if line.strip()]
    return _of_changes(rows) if path.name.lower().endswith(".allscore.txt") else (*_of_epochs(rows), None)


def _of_epochs(rows: list[list[str]]) -> tuple[list[float], list[float], list[str]]:
    """Rows with the number of an epoch, its stage by the scorer, and that by a program; with a header or without."""
    epochs, labels = [], []
    for i, cells in enumerate(rows):
        if i == 0 and not cells[0].isdigit():
            continue
        if len(cells) < 2 or not (cells[0].isdigit() and cells[1].isdigit()) or int(cells[1]) > 9:
            raise ValueError(f"row {i + 1} is not the number of an epoch and that of a stage: {' '.join(cells)!r}")
        epochs.append(int(cells[0]))
        labels.append(_NUMBERS.get(int(cells[1]), "?"))
    if not epochs or epochs[0] < 1 or any(after <= before for before, after in pairwise(epochs)):
        raise ValueError("its epoch numbers do not rise from 1 on")
    return [_EPOCH_S * (epoch - 1) for epoch in epochs], [_EPOCH_S] * len(epochs), labels


def _of_changes(rows: list[list[str]]) -> tuple[list[float], list[float], list[str], float]:
    """Rows with a time of the day and an event, among them changes of the stage, which lasts until the next one."""
    events = [(seconds_of(cells[0]), cells[1]) for cells in rows if len(cells) > 1]
    starts = [i for i, (_, what) in enumerate(events) if what.upper() == _BEGINS]
    if len(starts) != 1 or any("POWER FAILURE" in what.upper() for _, what in events):
        raise ValueError(
            f"the recording was interrupted, or its start is not known ({_BEGINS} is there {len(starts)} times)"
        )
    clock_s, *_ = events[starts[0]]
    changes = [(at, match[1].strip().upper()) for at, what in events[starts[0] :] if (match := _STAGE.fullmatch(what))]
    if clock_s is None or any(at is None for at, _ in changes):
        raise ValueError("a stage has no time of the day, such as 21:33:01.00")
    if not changes:
        raise ValueError(f"no stage behind {_BEGINS}")
    onset = [(at - clock_s) % DAY_S for at, _ in changes]
    if any(after < before for before, after in pairwise(onset)):
        raise ValueError("its stages are not in the order of their times")
    ends = [*onset[1:], onset[-1] + _EPOCH_S]
    kept = [(at, end - at, _NAMES.get(name, "?")) for at, end, (_, name) in zip(onset, ends, changes, strict=True)]
    onsets, durations, labels = (list(column) for column in zip(*(row for row in kept if row[1] > 0), strict=True))
    return onsets, durations, labels, clock_s
