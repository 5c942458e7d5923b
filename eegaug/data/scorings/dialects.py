"""Text hypnograms of data sets in which a number is another stage than elsewhere; their names tell them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import accumulate, groupby
from pathlib import Path
from typing import NamedTuple

__all__ = ["Dialect", "dialect_of"]


class Dialect(NamedTuple):
    """What numbers mean, and how long each page lasts."""

    stages: dict[int, str]
    page_s: float

    def words(self, labels: Sequence[str]) -> list[str]:
        """Stages by their names; those that are no numbers stay as they are."""
        numbers = [int(label) if re.fullmatch(r"-?\d+", label) else None for label in labels]
        return [
            label if number is None else self.stages.get(number, "?")
            for number, label in zip(numbers, labels, strict=True)
        ]

    def stretches(self, labels: Sequence[str]) -> tuple[list[float], list[float], list[str]]:
        """Onsets, durations and names of stages, of which neighbours that are the same are one."""
        runs = [(stage, self.page_s * len(list(same))) for stage, same in groupby(self.words(labels))]
        stages, lengths = map(list, zip(*runs, strict=True))
        return [0.0, *accumulate(lengths[:-1])], lengths, stages


# DREAMS (Devuyst 2005): HypnogramAASM_subject1.txt, HypnogramR&K_patient3.txt and Hypnogram_excerpt2.txt, every 5 s.
_DREAMS = Dialect({5: "W", 4: "R", 3: "N1", 2: "N2", 1: "N3", 0: "S4"}, 5.0)
# St. Vincent's University Hospital / University College Dublin (PhysioNet): ucddb002_stage.txt.
_DUBLIN = Dialect({0: "W", 1: "R", 2: "N1", 3: "N2", 4: "N3", 5: "S4"}, 30.0)
_NAMES = (
    (re.compile(r"hypnogram(aasm|r&k)?_(subject|patient|excerpt)\d+$", re.IGNORECASE), _DREAMS),
    (re.compile(r"ucddb\d+_stage$", re.IGNORECASE), _DUBLIN),
)


def dialect_of(path: Path) -> Dialect | None:
    """What numbers mean in a hypnogram, None where they mean what they do elsewhere."""
    return next((dialect for name, dialect in _NAMES if name.match(path.stem)), None)
