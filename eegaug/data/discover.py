"""Which files are recordings, and which hypnogram is whose."""

from __future__ import annotations

import glob
import os
import re
from collections import Counter
from collections.abc import Collection, Container, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from eegaug.data._whose import identity, pattern_of_subjects, subjects_by_folder
from eegaug.data.files.continuous import FORMS
from eegaug.data.scorings.pairing import (
    HYPNOGRAMS,
    MASS,
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

__all__ = ["Found", "find_recordings", "matching", "unread_files"]

RECORDINGS = (*FORMS, ".npz")
_UNREAD = (".hdf5", ".edf.gz", ".fif.gz")

# What MNE saves beside a recording, and its further parts where one file would be too large.
_NO_RAW = re.compile(r"[-_](epo|ave|evoked?|cov|ica|fwd|inv|src|bem|sol|proj|trans|eve|split-(?!0*1_)\d+_\w+)$")
_PART = re.compile(r"(.+)-\d+$")


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
    known, first = _hypnogram_files(root, beside, hypnograms)
    there = set(files)
    paths = [p for p in files if p.suffix.lower() in kinds and not is_hypnogram(p) and _is_raw(p, there)]
    if not paths:
        raise _none_found(source, files)
    pattern = pattern_of_subjects(subject_pattern)
    paths = list({p.resolve(): p for p in reversed(paths)}.values())[::-1]  # each once, however often it is linked
    again = _in_other_forms(paths)
    repeated = set().union(*again.values())
    paths = [p for p in paths if p not in repeated]
    stems = Counter(as_text(p.stem) for p in paths)
    within = subjects_by_folder(root, paths, stems)
    tops = [Path(top) for top in (hypnograms, root) if top is not None]
    pairing, found = _Pairing(paths, known, first, tops), []
    for path, name in _names(root, paths, stems).items():
        known_as = identity(path, as_text(_below(root, path)), pattern)
        guessed = known_as is None and path in within
        subject, night = known_as or within.get(path, (as_text(path.stem), 1))
        more = {"guessed": guessed, "again": tuple(again.get(path, ()))}
        one = Found(name, path, None, as_text(subject), night, **more)
        near = pairing.near(path) if path.suffix.lower() != ".npz" else []
        if len(near) > 1:
            files_near = sorted(p.name if near[0].parent == near[1].parent else str(p) for p in near)
            one = replace(one, problem=f"several hypnograms could be its own: {', '.join(files_near)}")
        elif near:
            one = replace(one, hypnogram=near[0])
        found.append(one)
    taken = {one.hypnogram for one in found}
    orphans = [p for p in files if p.suffix.lower() == ".edf" and p not in taken and is_hypnogram(p)]
    return found, [] if any(one.problem for one in found) else [p for p in orphans if not MASS.match(p.stem)]


def _hypnogram_files(
    root: Path, beside: Iterable[Path], folder: str | os.PathLike | None
) -> tuple[list[Path], set[Path]]:
    """Files that may be hypnograms, and those among them in the folder that was named for such."""
    known = {_place(p): p for p in [*beside, *_beside_edfs(root)] if p.suffix.lower() in HYPNOGRAMS}
    first = set()
    if folder is not None:
        if not Path(folder).is_dir():
            raise FileNotFoundError(f"There is no folder of hypnograms {folder}.")
        first = {known.setdefault(_place(p), p) for p in _walk(Path(folder)) if p.suffix.lower() in HYPNOGRAMS}
    return sorted(known.values()), first


def _none_found(source: Any, files: Sequence[Path]) -> FileNotFoundError:
    several = isinstance(source, (list, tuple))
    where = "among " + ", ".join(map(str, source)) if several else f"in {source}"
    orphaned = " Hypnograms are there, but not what they belong to." if any(map(is_hypnogram, files)) else ""
    if kinds := Counter(p.suffix.lower() or p.name for p in files).most_common(4):
        orphaned += f" Files there: {', '.join(f'{n} {kind}' for kind, n in kinds)}."
    return FileNotFoundError(f"There is no recording ({', '.join(RECORDINGS)}) {where}.{orphaned}")


def _names(root: Path, paths: Iterable[Path], stems: Counter) -> dict[Path, str]:
    """Names of recordings: of their files, with folders where several files have one name."""
    names, given = {}, set()
    for path in paths:
        stem, written = as_text(path.stem), _below(root, path)
        name = stem if stems[stem] == 1 else as_text(written)
        if name in given:  # another file's, which is the same but for the bytes it is written in
            name = ascii(written)[1:-1]
        given.add(name)
        names[path] = name
    return names


def _below(root: Path, path: Path) -> str:
    return (path.relative_to(root) if path.is_relative_to(root) else path).as_posix()


class _Pairing:
    """Which hypnograms are whose.

    Parameters
    ----------
    paths, known : list of Path
        Recordings, and what may be hypnograms.
    first : set of Path
        Hypnograms that go before others.
    tops : list of Path
        Folders within which others' names count.
    """

    def __init__(self, paths: list[Path], known: list[Path], first: set[Path], tops: list[Path]):
        self.first, self.tops = first, tops
        self.by_key: dict[str, list[Path]] = {}
        self.called: dict[str, list[Path]] = {}
        self.filed: dict[str, Filed] = {}
        for path in paths:
            self.called.setdefault(base_name(path).lower(), []).append(path)
        named = {key for path in paths if path.suffix.lower() != ".npz" for key in recording_keys(path)}
        others = first - set(paths)
        for p in known:
            # Among hypnograms, an EDF file is one by any name if it holds stages.
            scored = p in others and p.suffix.lower() == ".edf" and as_text(p.stem).lower() in named and holds_stages(p)
            if key := next((key for key in hypnogram_keys(p, scored) if key in named), None):
                self.by_key.setdefault(key, []).append(p)

    def near(self, path: Path) -> list[Path]:
        """Hypnograms that could be a recording's own."""
        stem = as_text(path.stem)
        if stem not in self.filed:
            alike = self.called[base_name(path).lower()]
            namesakes = alike if len({p.parent for p in alike}) > 1 else []
            self.filed[stem] = Filed(hypnograms_of(path, self.by_key, self.first), namesakes, self.tops)
        # Another folder's file counts only where its name, or its folders' names, say which recording it is.
        return best_form(of_stages(self.filed[stem].near(path), path))


def unread_files(source: str | os.PathLike) -> list[Path]:
    """Recordings of a folder in forms that are not looked for in folders."""
    return [p for p in _walk(Path(source)) if p.name.lower().endswith(_UNREAD)] if Path(source).is_dir() else []


def _place(path: Path) -> Path:
    """The same for a file whichever way its folder is named."""
    return path.parent.resolve() / path.name


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
        files = matching(source)
        root = Path(os.path.commonpath([p.parent for p in files]))
    else:
        raise FileNotFoundError(f"There is no file or folder {source}.")
    folders = dict.fromkeys(p.parent for p in files)
    return root, files, [p for folder in folders for p in sorted(folder.iterdir()) if p.is_file()]


def matching(pattern: str | os.PathLike) -> list[Path]:
    """Files that fit a glob pattern; FileNotFoundError if there is none."""
    files = sorted(Path(p) for p in glob.glob(str(pattern), recursive=True) if Path(p).is_file())
    if not files:
        raise FileNotFoundError(f"No file matches {pattern}.")
    return files


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
