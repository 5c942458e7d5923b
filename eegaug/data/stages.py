"""Names of the five sleep stages and the one table that maps every scorer's label onto them.

The numbers are the same everywhere in the package: 0 = W, 1 = N1, 2 = N2, 3 = N3, 4 = REM. Stages 3 and 4 of
Rechtschaffen and Kales (1968) are one stage, N3, of the AASM manual (Iber et al. 2007). Movement time and epochs that
nobody could score have no stage: they are `UNSCORED` and are dropped, and counted, when recordings are read.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

__all__ = ["STAGES", "UNSCORED", "parse_stage"]

STAGES: tuple[str, ...] = ("W", "N1", "N2", "N3", "REM")
"""Names of the stages; a stage's number is its place here."""

UNSCORED = -1
"""Code of an epoch without a stage: movement, artefact, unknown, not scored."""

_SPELLINGS = {
    0: ("w", "wake", "awake", "wakefulness", "sw", "s0"),
    1: ("n1", "s1", "nrem1", "nrem 1", "stage1"),
    2: ("n2", "s2", "nrem2", "nrem 2", "stage2"),
    3: (
        "n3",
        "s3",
        "nrem3",
        "nrem 3",
        "stage3",
        "n4",
        "s4",
        "nrem4",
        "nrem 4",
        "stage4",
        "sws",
        "n3n4",
        "n3/n4",
        "s3s4",
    ),
    4: ("r", "rem", "sr"),
    UNSCORED: (
        *(
            "?",
            "m",
            "mt",
            "mvt",
            "movement",
            "movement time",
            "unscored",
            "uns",
            "unknown",
            "unknownstage",
            "undefined",
            "unsure",
            "not scored",
        ),
        *("u", "art", "artefact", "artifact", "na", "n/a", "nan", "none", "uncertain"),
    ),
}
_CODES = {name: code for code, names in _SPELLINGS.items() for name in names}

# What a bare number means. Both conventions agree on 0 to 3; 4 is REM where five stages are numbered, and stage 4 where
# REM is 5 (Rechtschaffen and Kales). Below 0 and from 6 on the codes in use all mean movement, artefact or unscored.
_NUMBERS = {
    "aasm": {0: 0, 1: 1, 2: 2, 3: 3, 4: 4},
    "r&k": {0: 0, 1: 1, 2: 2, 3: 3, 4: 3, 5: 4},
}
_NO_STAGE_NUMBERS = (-2, -1, 6, 7, 8, 9)


def parse_stage(label: object, numbers: str = "r&k") -> int | None:
    """Return the stage number of a scorer's label.

    Parameters
    ----------
    label : str | int | float
        What the scorer wrote: ``"Sleep stage 2"``, ``"N3"``, ``"REM sleep"``, ``"Stage W"``, ``"4"``, ``5``, ``"?"``
        and so on; upper and lower case are the same. A digit behind the word "stage" is always Rechtschaffen and Kales
        (``"Sleep stage 4"`` is N3).
    numbers : {"r&k", "aasm"}
        What a bare number means: ``"r&k"`` is 0 W, 1 to 4, 5 REM (3 and 4 are N3); ``"aasm"`` is 0 W, 1 N1, 2 N2, 3 N3,
        4 REM.

    Returns
    -------
    int | None
        0 to 4; ``UNSCORED`` (-1) for movement, artefact and unknown; None where the label names no stage at all (an
        event such as "Lights off").

    Raises
    ------
    ValueError
        If `numbers` is neither of the two.

    Examples
    --------
    >>> [parse_stage(s) for s in ("Sleep stage W", "Sleep stage 4", "REM", "Movement time", "Lights off")]
    [0, 3, 4, -1, None]
    >>> parse_stage("4", numbers="aasm")
    4
    """
    if numbers not in _NUMBERS:
        raise ValueError(f"numbers={numbers!r} is not known: use 'r&k' (4 is stage 4, 5 is REM) or 'aasm' (4 is REM).")
    return _parsed(str(label), numbers)


@lru_cache(maxsize=1024)  # a night has a thousand pages and a handful of labels
def _parsed(label: str, numbers: str) -> int | None:
    text = re.sub(r"\s+", " ", label).strip().strip("\"'").lower()
    text = re.sub(r"\|\w+$", "", text)  # NSRR's "Stage 2 sleep|2"
    named = re.sub(r"^(sleep[ _-]*)?stage[ _:-]*", "", text)
    named = re.sub(r"^sleep[ _-]+(?=[wrn]|s\d|mt|unscored)", "", named)
    named = re.sub(r"[ _-]+sleep$", "", named).strip()
    if re.fullmatch(r"[+-]?\d+(\.0*)?", named):
        number = int(float(named))
        if number in _NO_STAGE_NUMBERS:
            return UNSCORED
        # "Sleep stage 4" is Rechtschaffen and Kales in EDF+, whatever bare numbers mean elsewhere in the file.
        return _NUMBERS["r&k" if named != text else numbers].get(number)
    return _CODES.get(named)


def stages_of_windows(y: Any, where: str = "", classes: Sequence[str] = STAGES) -> np.ndarray:
    """Stages of windows, or classes of one's own by number or name, as codes; ValueError for what is none."""
    y, own = np.asarray(y).reshape(-1), tuple(classes) != STAGES
    if own and y.dtype.kind not in "iu":
        codes = {name: code for code, name in enumerate(classes)}
        y = np.array([codes.get(label, label) for label in y.tolist()], dtype=object)
    if y.dtype.kind in "iu":  # as in a store, where they are many
        known = (y >= UNSCORED) & (y < len(classes))
    else:
        known = np.array([code in range(-1, len(classes)) for code in y.tolist()], dtype=bool)
    if not known.all():
        i = int(np.flatnonzero(~known)[0])
        if own:
            numbered = " ".join(f"{code}={name}" for code, name in enumerate(classes))
            raise ValueError(f"{where}window {i} has the class {y.tolist()[i]!r}; classes are {numbered}, and -1 none.")
        raise ValueError(
            f"{where}window {i} has the stage {y.tolist()[i]!r}; stages are the numbers 0=W 1=N1 2=N2 3=N3 4=REM, "
            "and -1 where there is none: eegaug.data.parse_stage makes them of names. What are no stages have names of "
            "their own: classes=[…]."
        )
    return y.astype(np.int64)
