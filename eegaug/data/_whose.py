"""Whose night a recording is: by a pattern, by the names that data sets use, by folders, or by what names share."""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from eegaug.data.files.npz import read_npz
from eegaug.data.scorings.pairing import MASS, SLEEP_EDF, as_text, base_name

if TYPE_CHECKING:
    from eegaug.data.discover import Found

__all__ = ["identity", "in_several_folders", "names_of_nights", "pattern_of_subjects", "subjects_by_folder"]

_VISITS = (
    r"(?:visit|ses|session|night|nuit|nacht|day|week|month|wave|t|time|timepoint|run|part|nap|v|baseline|follow[ _-]?up"
    r"|pre|post)[ _-]?\d*"
)
# Folders that are nights of many subjects rather than a subject.
_VISIT = re.compile(_VISITS, re.IGNORECASE)
# What in a file's name says which night of somebody it is: "p07_night2", "visit2-p07", "p07 2024-02-29".
_NIGHT_OF = re.compile(
    rf"(?<![^ ._-])(?:{_VISITS}|n[ _-]?\d*|\d{{4}}([-_.]?)\d\d\1\d\d)(?![^ ._-])",
    re.IGNORECASE,
)
# The cohorts of NSRR: "shhs2-200001", "mros-visit1-aa0001", "abc-month09-900001", "chat-followup-300001-nsrr" and
# "pats-810001-baseline".
_NSRR_VISIT = r"(?P<{}>visit-?\d+|month-?\d+|baseline|follow-?up)"
_NSRR = re.compile(
    rf"^(?:(?P<shhs>shhs)(?P<number>[12])-|(?P<cohort>[a-z]+)-(?:{_NSRR_VISIT.format('visit')}-)?)(?P<subject>[a-z]*\d+)"
    rf"(?:-{_NSRR_VISIT.format('last')})?(?:-nsrr)?$",
    re.IGNORECASE,
)
_BIDS = re.compile(r"(?:^|[_/])sub-([A-Za-z0-9]+)")
_SESSION = re.compile(r"(?:^|[_/])ses-([A-Za-z0-9]+)")


def pattern_of_subjects(pattern: str | None) -> re.Pattern | None:
    if pattern is None:
        return None
    try:
        compiled = re.compile(pattern)
    except re.error as err:
        raise ValueError(f"subject_pattern={pattern!r} is no regular expression: {err}.") from err
    if "subject" not in compiled.groupindex:
        raise ValueError(f"subject_pattern={pattern!r} needs a group named subject, such as r'(?P<subject>S\\d+)'.")
    return compiled


def subjects_by_folder(root: Path, paths: list[Path], stems: Counter) -> dict[Path, tuple[str, int | str]]:
    """Subject and night of recordings in folders where some have the names of those in others, or beside such.

    The folders are the subjects, unless their names are those of visits: then folders within them or the files' names
    are. Of folders within folders it is the outermost that differ.
    """
    folders = {p.parent for p in paths if stems[as_text(p.stem)] > 1}
    inside = [p for p in paths if p.parent in folders and p.parent != root and p.is_relative_to(root)]
    if not inside:
        return {}
    parts = {p: p.parent.relative_to(root).parts for p in inside}
    shortest = min(parts.values(), key=len)
    levels = [{where[i] for where in parts.values()} for i in range(len(shortest))]
    common = next((i for i, names in enumerate(levels) if len(names) > 1), len(shortest))
    outer = {p: where[common] for p, where in parts.items() if len(where) > common}
    at = common
    if outer and all(_VISIT.fullmatch(name) for name in outer.values()):
        # Within visits, folders that differ and are none are the subjects, else the files are.
        told = (
            i for i in range(common, len(levels)) if len(levels[i]) > 1 and not all(map(_VISIT.fullmatch, levels[i]))
        )
        at = next(told, None)
        if at is None:
            return {p: (p.stem, "/".join(parts[p][common:])) for p in outer}
        outer = {p: parts[p][at] for p in outer}
    # Folders beside them are subjects, too, whatever their files are called.
    depths, above = {len(parts[p]) for p in outer}, next(iter(parts.values()))[:common]
    for p in paths:
        where = p.parent.relative_to(root).parts if p not in parts and p.is_relative_to(root) else ()
        if len(where) in depths and where[:common] == above:
            parts[p], outer[p] = where, where[at]
    return {p: (name, "/".join([*parts[p][common:at], *parts[p][at + 1 :], p.stem])) for p, name in outer.items()}


def identity(path: Path, relative: str, pattern: re.Pattern | None) -> tuple[str, int | str] | None:
    """Subject and night, by the user's pattern or by the names that data sets use."""
    if pattern is not None:
        match = pattern.search(relative)
        if not match or not match["subject"]:
            raise ValueError(f"subject_pattern={pattern.pattern!r} finds no subject in {relative!r}.")
        return match["subject"], _night(match.groupdict().get("night"))
    if match := SLEEP_EDF.match(path.stem):
        return match[1].upper(), int(match[2])
    if match := MASS.match(path.stem):
        return match[1], 1
    if (match := _NSRR.match(base_name(path))) and (visit := match["number"] or match["visit"] or match["last"]):
        return f"{match['shhs'] or match['cohort']}-{match['subject']}", _night(visit)
    if match := _BIDS.search(path.stem) or _BIDS.search(relative):
        session = _SESSION.search(path.stem) or _SESSION.search(relative)
        return f"sub-{match[1]}", _night(session[1] if session else None)
    return None


def in_several_folders(found: Iterable[Found]) -> dict[str, list[str]]:
    """Subjects of BIDS that are in several folders, such as data sets of other people that begin at ``sub-01``, too."""
    folders: dict[str, dict[str, None]] = {}
    for one in found:
        if at := _BIDS.search(one.path.as_posix()):
            above = one.path.as_posix()[: at.start()].rpartition("/")[2]
            folders.setdefault(one.subject, {}).setdefault(above)
    several = {subject: list(names) for subject, names in folders.items() if len(names) > 1}
    return {subject: names for subject, names in several.items() if not all(map(_VISIT.fullmatch, names))}


def _night(text: str | None) -> int | str:
    return 1 if text is None else int(text) if text.isdigit() else text


def names_of_nights(found: Iterable[Found]) -> list[str]:
    """Names of recordings that look like nights of one subject, where each was taken for a subject of its own.

    Their names are the same but for what says which night they are, or that they are recordings ("p07", "p07_night2",
    "p07_2", "p07_eeg"), or say nothing else ("night1", "night2"), or have parts each of which several share ("p07_1",
    "p07_2", "p08_1"), or they are in one of several folders that hold a few recordings each.
    """
    own = [one for one in found if one.subject == as_text(one.path.stem)]
    alike: dict[str, list[str]] = {}
    folders: dict[Path, list[str]] = {}
    for one in own:
        base = base_name(one.path).lower()
        rest = _NIGHT_OF.sub("", base).strip(" ._-")
        if rest or _VISIT.fullmatch(base):
            alike.setdefault(rest or str(one.path.parent), []).append(one.subject)
        folders.setdefault(one.path.parent, []).append(one.subject)
    for rest in list(alike):  # "p07_2" beside "p07"
        for first in {rest[: between.start()] for between in re.finditer(r"[ ._-]+", rest)} & set(alike):
            alike[first] += alike[rest]
    if len({len(folder.parts) for folder in folders}) == 1 < len(folders) and len(own) <= 4 * len(folders):
        alike |= {str(folder): names for folder, names in folders.items() if not _VISIT.fullmatch(folder.name)}
    told = dict.fromkeys(name for names in alike.values() if len(set(names)) > 1 for name in names)
    parts = [re.split(r"[ ._-]+", base_name(one.path).lower()) for one in own]
    differing = [Counter(part) for part in zip(*parts, strict=False) if len(set(part)) > 1]
    crossed = len(set(map(len, parts))) == 1 and len(differing) > 1 and all(max(c.values()) > 1 for c in differing)
    told = list(told) or [one.subject for one in own if crossed]
    known = {one.subject for one in own if one.subject in told and _says_whose(one.path)}
    return [name for name in told if name not in known]


def _says_whose(path: Path) -> bool:
    with contextlib.suppress(ValueError, OSError):  # it is damaged, as is said of it elsewhere
        return path.suffix.lower() == ".npz" and read_npz(path, signal=False).subject is not None
    return False
