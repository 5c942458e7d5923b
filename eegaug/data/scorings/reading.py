"""Hypnograms as scorers' files hold them."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from eegaug.data.files.continuous import FORMS, open_recording
from eegaug.data.scorings.dialects import dialect_of
from eegaug.data.scorings.hypnogram import Hypnogram, bare_number, fours_are_n3
from eegaug.data.scorings.laboratory_xml import is_scoring, read_xml
from eegaug.data.scorings.luna import read_annot, read_eannot
from eegaug.data.scorings.text import Layout, read_layout
from eegaug.data.scorings.wisconsin import is_wisconsin, read_wisconsin
from eegaug.data.stages import parse_stage

__all__ = ["four_is_n3", "four_is_open", "holds_stages", "is_of_stages", "read_hypnogram"]

#: Said of a hypnogram whose 4 others settle.
OTHERS_SETTLE = (
    "its 4 was read as stage 4 (N3), since REM is a 5, or W or REM a letter, elsewhere (read it by itself if its 4 is "
    "REM)"
)
#: How names of XML files end.
XML = (".xml", ".rml")


def read_hypnogram(path: str | os.PathLike, epoch_s: float = 30.0, numbers: str = "auto") -> Hypnogram:
    """Read a hypnogram from a file.

    Parameters
    ----------
    path : path-like
        A recording with stages as annotations (EDF+ of Sleep-EDF or MASS), or text (``.csv``, ``.tsv``, ``.txt``, BIDS
        ``events.tsv``): one stage per line and epoch, or a table with stages and their onsets and durations (or ends),
        in seconds or as times; those of the day wait for :meth:`Hypnogram.since`. Headers and comments (#) are fine.
        XML (``.xml``): NSRR's ``-nsrr.xml`` or Compumedics Profusion's, and Respironics' ``.rml`` with its stages by a
        scorer. Luna's ``.annot`` (stages among other annotations) and ``.eannot`` (one label for each epoch). The
        Wisconsin Sleep Cohort's ``.stg.txt`` and ``.allscore.txt``.
    epoch_s : float
        Length of an epoch where the file does not say.
    numbers : {"auto", "r&k", "aasm"}
        What bare numbers mean, see `parse_stage`; "auto" takes 0 to 4 as the five stages unless there is a 5,
        or a letter for W or REM. In XML 4 is always stage 4.

    Returns
    -------
    Hypnogram

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If no stage can be read from it; the line is named.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"There is no hypnogram {path}.")
    if path.suffix.lower() in FORMS:
        return Hypnogram.from_labels(*open_recording(path).annotations(), numbers)
    if path.suffix.lower() in XML:
        return Hypnogram.from_labels(*read_xml(path), "r&k")
    if path.suffix.lower() == ".annot" or is_wisconsin(path):
        *stages, clock_s = (read_wisconsin if is_wisconsin(path) else read_annot)(path)
        return replace(Hypnogram.from_labels(*stages), clock_s=clock_s)
    return _from_text(path, epoch_s, numbers)


def four_is_n3(path: str | os.PathLike) -> bool:
    """Whether a hypnogram settles that a bare 4 is stage 4: REM is a 5 in it, or W or REM a letter.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    bool
        False where the file cannot be read, and of an npz night, whose numbers are always those of `STAGES`.
    """
    return fours_are_n3(_labels(Path(path)))


def four_is_open(path: str | os.PathLike) -> bool:
    """Whether a bare 4 is in a hypnogram and nothing in it settles what that is, as :func:`four_is_n3` would."""
    labels = _labels(Path(path))
    return 4 in map(bare_number, labels) and not fours_are_n3(labels)


def _labels(path: Path) -> Sequence[str]:
    """Labels of a hypnogram as they are written; none where they say what they mean, or where it cannot be read."""
    if path.suffix.lower() in (".npz", ".annot", *XML) or is_wisconsin(path):
        return ()
    try:
        if path.suffix.lower() in FORMS:
            return open_recording(path).annotations()[2]
        labels, dialect = _layout(path).labels, dialect_of(path)
        return labels if dialect is None else dialect.words(labels)
    except (ValueError, OSError):
        return ()


def holds_stages(path: str | os.PathLike) -> bool:
    """Whether a file holds a hypnogram that can be read, such as a recording with stages among its annotations."""
    try:
        read_hypnogram(path)
    except (ValueError, OSError):  # what else is wrong with it is said when it is used
        return False
    return True


def is_of_stages(path: Path) -> bool:
    """Whether a file that is called as hypnograms are is one: XML and annotations may hold anything."""
    if path.suffix.lower() in (".annot", ".eannot"):
        return holds_stages(path)
    return is_scoring(path) if path.suffix.lower() in XML else True


def _layout(path: Path) -> Layout:
    return Layout(read_eannot(path)) if path.suffix.lower() == ".eannot" else read_layout(path)


def _from_text(path: Path, epoch_s: float, numbers: str) -> Hypnogram:
    labels, onset, duration, epoch, empty, clock_s = _layout(path)
    if dialect := dialect_of(path):
        return Hypnogram.from_labels(*dialect.stretches(labels), numbers)
    if onset is not None:
        found = Hypnogram.from_labels(onset, duration or [math.nan] * len(labels), labels, numbers)
        return replace(found, clock_s=clock_s)
    for i, label in enumerate(labels):
        if parse_stage(label) is None:
            raise ValueError(f"row {i + 1} is no sleep stage: {label!r}")
    place, known = np.arange(len(labels)), duration is not None and not np.isnan(duration).all()
    if known and epoch is None:
        return Hypnogram.from_labels(np.cumsum([0.0, *duration[:-1]]), duration, labels, numbers)
    if known:  # the last one may be cut short by the end of the recording
        epoch_s = duration[0]
        if not np.allclose(duration[:-1], epoch_s) or epoch_s <= 0:
            raise ValueError("its epochs differ in duration: a column onset, in seconds, is missing")
    if epoch is not None:
        if min(np.diff(epoch), default=1) < 1:
            raise ValueError("its epoch numbers do not rise from row to row")
        place = np.asarray(epoch) - (0 if epoch[0] == 0 else 1)
    elif empty is not None:
        raise ValueError(f"row {empty} is empty: does it stand for an epoch? Write '?' for one without a stage")
    found = Hypnogram.from_labels(place * epoch_s, duration if known else [epoch_s] * len(labels), labels, numbers)
    if epoch is not None and epoch[0] > 1:
        found.notes.append(f"its epochs begin with number {epoch[0]}; they were counted from 1")
    found.assumed_s = None if known else epoch_s
    return found
