"""Which files are recordings, and whose night each is."""

from __future__ import annotations

import contextlib
import glob
import os
import re
from collections import Counter
from collections.abc import Collection, Container, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from eegaug.data.files.continuous import FORMS
from eegaug.data.files.npz import read_npz
from eegaug.data.scorings.pairing import (
    HYPNOGRAMS,
    MASS,
    SLEEP_EDF,
    Filed,
    as_text,
    base_name,
    best_form,
    hypnogram_keys,
    hypnograms_of,
    is_hypnogram,
    of_stages,
    recording_keys,
)
from eegaug.data.scorings.reading import holds_stages

__all__ = ["Found", "find_recordings", "names_of_nights", "unread_files"]

RECORDINGS = (*FORMS, ".npz")
_UNREAD = (".hdf5", ".edf.gz", ".fif.gz")

# What MNE saves beside a recording, and its further parts where one file would be too large.
_NO_RAW = re.compile(r"[-_](epo|ave|evoked?|cov|ica|fwd|inv|src|bem|sol|proj|trans|eve|split-(?!0*1_)\d+_\w+)$")
_PART = re.compile(r"(.+)-\d+$")
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


@dataclass(frozen=True)
class Found:
    """A recording: its file, its hypnogram's file where there is one of its own, and whose it is."""

    name: str
    path: Path
    hypnogram: Path | None
    subject: str
    night: int | str
    problem: str | None = None
    guessed: bool = False
    """Whether folders said whose night it is."""
    again: tuple[Path, ...] = ()
    """The same recording in other forms, which are not read."""


def find_recordings(
    source: str | os.PathLike | Iterable[str | os.PathLike],
    *,
    hypnograms: str | os.PathLike | None = None,
    subject_pattern: str | None = None,
    kinds: Container[str] = RECORDINGS,
) -> tuple[list[Found], list[Path]]:
    """Recordings of a folder (with all below it), a file, a glob pattern or a list of files.

    Parameters
    ----------
    source : path-like | iterable of path-like
        Where to look.
    hypnograms : path-like, optional
        Another folder to look for hypnograms in; those in it go before those beside the recordings.
    subject_pattern : str, optional
        Regular expression with a group ``subject`` (and perhaps ``night``), searched in each recording's path.
    kinds : container of str
        How recordings' names end, in lower case.

    Returns
    -------
    recordings : list of Found
    orphans : list of Path
        EDF hypnograms that belong to no recording found.

    Raises
    ------
    FileNotFoundError
        If there is no such place, or no recording in it.
    ValueError
        If `subject_pattern` is no pattern with a group ``subject`` or does not fit a recording.
    """
    root, files, beside = _files(source)
    known = {_place(p): p for p in [*beside, *_beside_edfs(root)] if p.suffix.lower() in HYPNOGRAMS}
    first = set()
    if hypnograms is not None:
        if not Path(hypnograms).is_dir():
            raise FileNotFoundError(f"There is no folder of hypnograms {hypnograms}.")
        for p in _walk(Path(hypnograms)):
            if p.suffix.lower() in HYPNOGRAMS:
                first.add(known.setdefault(_place(p), p))
    there = set(files)
    paths = [p for p in files if p.suffix.lower() in kinds and not is_hypnogram(p) and _is_raw(p, there)]
    if not paths:
        several = isinstance(source, (list, tuple))
        where = "among " + ", ".join(map(str, source)) if several else f"in {source}"
        orphaned = " Hypnograms are there, but not what they belong to." if any(map(is_hypnogram, files)) else ""
        if kinds := Counter(p.suffix.lower() or p.name for p in files).most_common(4):
            orphaned += f" Files there: {', '.join(f'{n} {kind}' for kind, n in kinds)}."
        raise FileNotFoundError(f"There is no recording ({', '.join(RECORDINGS)}) {where}.{orphaned}")
    pattern = _subject_pattern(subject_pattern)
    paths = list({p.resolve(): p for p in reversed(paths)}.values())[::-1]  # each once, however often it is linked
    again = _in_other_forms(paths)
    repeated = set().union(*again.values())
    paths = [p for p in paths if p not in repeated]
    stems, found = Counter(as_text(p.stem) for p in paths), []
    within = _subjects_by_folder(root, paths, stems)
    named = {key for path in paths if path.suffix.lower() != ".npz" for key in recording_keys(path)}
    by_key: dict[str, list[Path]] = {}
    filed: dict[str, Filed] = {}
    called: dict[str, list[Path]] = {}
    for path in paths:
        called.setdefault(base_name(path).lower(), []).append(path)
    others = first - set(paths)
    for p in sorted(known.values()):
        # Among hypnograms, an EDF file is one by any name if it holds stages.
        scored = p in others and p.suffix.lower() == ".edf" and as_text(p.stem).lower() in named and holds_stages(p)
        if key := next((key for key in hypnogram_keys(p, scored) if key in named), None):
            by_key.setdefault(key, []).append(p)
    given: set[str] = set()
    for path in paths:
        stem, written = as_text(path.stem), path.relative_to(root) if path.is_relative_to(root) else path
        relative = as_text(written.as_posix())
        name = stem if stems[stem] == 1 else relative
        if name in given:  # another file's, which is the same but for the bytes it is written in
            name = ascii(written.as_posix())[1:-1]
        given.add(name)
        known_as = _identity(path, relative, pattern)
        guessed = known_as is None and path in within
        subject, night = known_as or within.get(path, (stem, 1))
        more = {"guessed": guessed, "again": tuple(again.get(path, ()))}
        one = Found(name, path, None, as_text(subject), night, **more)
        if path.suffix.lower() != ".npz":
            if stem not in filed:
                alike = called[base_name(path).lower()]
                namesakes = alike if len({p.parent for p in alike}) > 1 else []
                tops = [Path(top) for top in (hypnograms, root) if top is not None]
                filed[stem] = Filed(hypnograms_of(path, by_key, first), namesakes, tops)
            # Another folder's file counts only where its name, or its folders' names, say which recording it is.
            near = best_form(of_stages(filed[stem].near(path), path))
            if len(near) > 1:
                names = ", ".join(sorted(p.name if near[0].parent == near[1].parent else str(p) for p in near))
                one = replace(one, problem=f"several hypnograms could be its own: {names}")
            elif near:
                one = replace(one, hypnogram=near[0])
        found.append(one)
    taken = {one.hypnogram for one in found}
    orphans = [p for p in files if p.suffix.lower() == ".edf" and p not in taken and is_hypnogram(p)]
    return found, [] if any(one.problem for one in found) else [p for p in orphans if not MASS.match(p.stem)]


def unread_files(source: str | os.PathLike) -> list[Path]:
    """Recordings of a folder in forms that are not looked for in folders."""
    return [p for p in _walk(Path(source)) if p.name.lower().endswith(_UNREAD)] if Path(source).is_dir() else []


def _place(path: Path) -> Path:
    """The same for a file whichever way its folder is named."""
    return path.parent.resolve() / path.name


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


def _walk(folder: Path) -> list[Path]:
    found, been = [], set()
    for at, folders, names in os.walk(folder, followlinks=True):
        place = os.path.realpath(at)
        if place in been:  # a link to where one has been already
            folders.clear()
            continue
        been.add(place)
        folders[:] = sorted(one for one in folders if not one.startswith("."))  # such as git-annex's own
        found += [Path(at) / name for name in names if not name.startswith(".")]
    return sorted(found)


def _files(source) -> tuple[Path, list[Path], list[Path]]:
    """Common folder, files to read, files among which hypnograms may be."""
    if not isinstance(source, (str, os.PathLike)):
        files = [Path(p) for p in source]
        if not files:
            raise FileNotFoundError("The list of recordings is empty.")
        if gone := [str(p) for p in files if not p.is_file()]:
            raise FileNotFoundError(f"There is no file {', '.join(gone)}.")
        files = [p.absolute() for p in files]
        try:
            root = Path(os.path.commonpath([p.parent for p in files]))
        except ValueError:  # on two drives of Windows
            root = files[0].parent
    elif Path(source).is_dir():
        root = Path(source)
        files = _walk(root)
        return root, files, files
    elif Path(source).is_file():
        root, files = Path(source).parent, [Path(source)]
    elif glob.has_magic(str(source)):
        files = sorted(Path(p) for p in glob.glob(str(source), recursive=True) if Path(p).is_file())
        if not files:
            raise FileNotFoundError(f"No file matches {source}.")
        root = Path(os.path.commonpath([p.parent for p in files]))
    else:
        raise FileNotFoundError(f"There is no file or folder {source}.")
    folders = dict.fromkeys(p.parent for p in files)
    return root, files, [p for folder in folders for p in sorted(folder.iterdir()) if p.is_file()]


def _beside_edfs(root: Path) -> list[Path]:
    """Scorings of a cohort of NSRR, whose folders lie beside ``edfs``: they count where that or less of it is named."""
    edfs = next((folder for folder in (root.absolute(), *root.absolute().parents) if folder.name == "edfs"), None)
    names = ("annotations-events-nsrr", "annotations-events-profusion", "annotations-staging")
    return [] if edfs is None else [p for name in names for p in _walk(edfs.with_name(name))]


def _is_raw(path: Path, files: Collection[Path]) -> bool:
    """Whether a file is no further part of a recording in FIF, nor what MNE makes of recordings."""
    if path.suffix.lower() != ".fif":
        return True
    part = _PART.match(path.stem)
    return not _NO_RAW.search(path.stem.lower()) and not (part and path.with_name(f"{part[1]}.fif") in files)


def _in_other_forms(paths: Iterable[Path]) -> dict[Path, list[Path]]:
    """Recordings, and files beside them that hold the same in another form, such as an EDF file saved again by MNE."""
    alike: dict[tuple[Path, str], list[Path]] = {}
    for path in paths:
        alike.setdefault((path.parent, base_name(path).lower()), []).append(path)
    ranks = {kind: rank for rank, kind in enumerate(RECORDINGS)}
    found = {}
    for same in alike.values():
        if len({p.suffix.lower() for p in same}) == len(same) > 1:
            first, *others = sorted(same, key=lambda p: ranks.get(p.suffix.lower(), len(ranks)))
            found[first] = others
    return found


def _subject_pattern(pattern: str | None) -> re.Pattern | None:
    if pattern is None:
        return None
    try:
        compiled = re.compile(pattern)
    except re.error as err:
        raise ValueError(f"subject_pattern={pattern!r} is no regular expression: {err}.") from err
    if "subject" not in compiled.groupindex:
        raise ValueError(f"subject_pattern={pattern!r} needs a group named subject, such as r'(?P<subject>S\\d+)'.")
    return compiled


def _subjects_by_folder(root: Path, paths: list[Path], stems: Counter) -> dict[Path, tuple[str, int | str]]:
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


def _identity(path: Path, relative: str, pattern: re.Pattern | None) -> tuple[str, int | str] | None:
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
