"""Many recordings, one after the other or several at a time: what ``eegaug stage`` does."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import json
import os
import re
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from eegaug._processes import working_for
from eegaug._progress import track
from eegaug._version import __version__
from eegaug._warning import warn
from eegaug._words import some_of
from eegaug.data.atomic import write_atomically
from eegaug.data.discover import HYPNOGRAMS, RECORDINGS, Found, find_recordings, matching, unread_files
from eegaug.data.files.continuous import FORMS
from eegaug.data.files.npz import read_npz
from eegaug.data.scorings.reading import OTHERS_SETTLE, four_is_n3, four_is_open, holds_stages
from eegaug.staging.lights import check_lights

__all__ = ["StagedFiles", "Task", "find_tasks", "stage_files"]

SUMMARY = "summary.csv"


@dataclass(frozen=True)
class Task:
    """One recording to stage."""

    path: Path
    folder: Path
    """Where its files go."""
    reference: Path | None = None
    stage_numbers: str = "auto"
    """What numbers in its reference mean, see :func:`eegaug.data.read_hypnogram`."""
    subject: str | None = None
    """Whose night it is, by the names of files."""
    note: str | None = None
    """Why it has no reference, where one was looked for."""


@dataclass
class StagedFiles:
    """What staging came to."""

    out: Path
    done: list[dict[str, Any]] = field(default_factory=list)
    """``night.json`` of each recording."""
    folders: list[Path] = field(default_factory=list)
    failed: list[dict[str, str]] = field(default_factory=list)
    """recording and reason."""
    n_kept: int = 0
    """Recordings that were staged by an earlier run."""
    interrupted: bool = False
    n_left: int = 0

    @property
    def summary(self) -> pd.DataFrame:
        """One row per recording: statistics, confidence and agreement."""
        rows = []
        for folder, one in zip(self.folders, self.done, strict=True):
            row = {"recording": one["recording"], "folder": folder.name, "model": one["model"]}
            row |= {"epochs": one["epochs"], "mean_confidence": one["mean_confidence"], **one["statistics"]}
            if one["agreement"] is not None:
                row |= {f"agreement_{name}": value for name, value in one["agreement"].items()}
            rows.append(row)
        return pd.DataFrame(rows)


def find_tasks(
    sources: Iterable[str | os.PathLike], out: str | os.PathLike, reference: str | os.PathLike | None = None
) -> list[Task]:
    """Recordings among files, folders and glob patterns, each with a folder of its own and its reference.

    Parameters
    ----------
    sources : iterable of path-like
        Files of any kind that can be read; folders, in which recordings are looked for as `load_recordings` does; glob
        patterns.
    out : path-like
        Folder of the results.
    reference : path-like, optional
        A hypnogram for a single recording, or a folder in which that of each recording is looked for, by its name and,
        for recordings in it, among their own annotations.

    Returns
    -------
    list of Task
        Each recording once, in the order given.

    Raises
    ------
    FileNotFoundError
        If there is no such file or folder, or nothing to stage in it.
    ValueError
        If one hypnogram is given for several recordings.
    """
    paths = list({path.resolve(): path.absolute() for source in sources for path in _expanded(source)}.values())
    folder = None if reference is None else Path(reference)
    if folder is not None and not folder.is_dir():
        if not folder.is_file():
            raise FileNotFoundError(f"There is no hypnogram {reference}.")
        if len(paths) > 1:
            raise ValueError(f"{reference} is one hypnogram for {len(paths)} recordings: pass a folder of hypnograms.")
    beside = folder if folder is not None and folder.is_dir() else None
    # What is named may be of any kind that MNE reads.
    kinds = {*RECORDINGS, *(path.suffix.lower() for path in paths)} - {*HYPNOGRAMS} | {".edf"}
    # A link to what was never fetched, as git-annex leaves them, is told with the recordings that cannot be staged.
    known = [path for path in paths if path.suffix.lower() in kinds and path.exists()]
    found = {one.path: one for one in find_recordings(known, hypnograms=beside, kinds=kinds)[0]} if known else {}
    names, tasks = _folders(paths), []
    for path in paths:
        one, hypnogram, note = found.get(path), folder, None
        if beside is not None:
            hypnogram = None if one is None else one.hypnogram
            if one is not None and one.problem is None and hypnogram is None and _holds_stages(path, beside):
                hypnogram = path
            if hypnogram is None:
                note = f"no reference: {(one and one.problem) or f'no hypnogram of its name in {reference}'}"
        subject = None if one is None else _subject(one)
        tasks.append(Task(path, Path(out) / names[path], hypnogram, subject=subject, note=note))
    # As in loading: one file in which REM is a 5 settles what a 4 is in all.
    if any(task.reference is not None and four_is_n3(task.reference) for task in tasks):
        tasks = [replace(task, stage_numbers="r&k") for task in tasks]
    return tasks


def stage_files(
    tasks: Sequence[Task],
    model: str | os.PathLike,
    *,
    out: str | os.PathLike,
    channels: Sequence[str] | Mapping[str, str] | None = None,
    n_jobs: int = 1,
    again: bool = False,
    page: bool = True,
    n_copies: int | None = None,
    lights: tuple[Any, Any] | None = None,
    device: str = "cpu",
    verbose: bool = False,
) -> StagedFiles:
    """Stage recordings and write their files and a table of all of them.

    A recording that cannot be staged is noted and the others go on; so is one whose folder holds the results of another
    recording of its name. Ctrl-C leaves what is finished, and the same call goes on from there.

    Parameters
    ----------
    tasks : sequence of Task
        See :func:`find_tasks`.
    model : path-like
        Folder of a model.
    out : path-like
        Folder of the results.
    channels
        See :func:`eegaug.stage`.
    n_jobs : int
        Recordings at a time.
    again : bool
        Stage again what an earlier call with the same model, settings and recording has staged.
    page : bool
        Write the pages too.
    n_copies : int, optional
        Copies that AugNet averages; None leaves the model's number.
    lights : tuple, optional
        Of all recordings, see :func:`eegaug.stage`.
    device : str
    verbose : bool
        Progress bar.

    Returns
    -------
    StagedFiles
    """
    from joblib import Parallel, delayed

    from eegaug.bundle import load_model

    out, result = Path(out), StagedFiles(Path(out))
    check_lights(lights)
    load_model(model, device="cpu")  # a model that cannot be used is no fault of any recording
    out.mkdir(parents=True, exist_ok=True)
    settings = [_file_mark(Path(model) / "model.json"), _plain(channels), n_copies, lights, page, __version__]
    marks = {task: _mark(task, settings) for task in tasks}
    todo = [task for task in tasks if again or _made_from(task).get("mark") != marks[task]]
    result.n_kept = len(tasks) - len(todo)
    errors: dict[Path, str | None] = {
        task.path: f"{task.folder} holds the results of {other}: pass another folder for the results"
        for task in todo
        if (other := _other_recording(task)) is not None
    }
    todo, refused = [task for task in todo if task.path not in errors], len(errors)
    jobs = Parallel(n_jobs=min(n_jobs, max(1, len(todo))), return_as="generator")(
        delayed(working_for)(
            os.getpid(), _stage_one, task, str(model), channels, lights, page, n_copies, device, marks[task]
        )
        for task in todo
    )
    try:
        for task, error in track(jobs, len(todo), "Recordings", unit="night", verbose=verbose):
            errors[task.path] = error
    except KeyboardInterrupt:
        result.interrupted, result.n_left = True, len(todo) - (len(errors) - refused)
    for task in tasks:
        if errors.get(task.path) is not None:
            result.failed.append({"recording": str(task.path), "reason": errors[task.path]})
        elif task.path in errors or task not in todo:
            result.done.append(json.loads((task.folder / "night.json").read_text(encoding="utf-8")))
            result.folders.append(task.folder)
    if result.done:
        write_atomically(out / SUMMARY, result.summary.to_csv(index=False).encode("utf-8"))
    return result


#: The model of this process, loaded once for all recordings.
_models: dict[tuple, Any] = {}


def _loaded(model: str, n_copies: int | None, device: str) -> Any:
    from eegaug.bundle import load_model

    key = (model, *_file_mark(Path(model) / "model.json"), n_copies, device)
    if key not in _models:
        _models.clear()
        clf = load_model(model, device=device)
        if n_copies is not None and hasattr(clf, "n_copies"):
            clf.n_copies = n_copies
        _models[key] = clf
    return _models[key]


def _stage_one(
    task: Task, model: str, channels: Any, lights: Any, page: bool, n_copies: int | None, device: str, mark: str
) -> tuple[Task, str | None]:
    """Stage one recording; the reason why not, if it cannot be."""
    from eegaug.staging.night import as_hypnogram, stage

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what matters is among the notes of the night
            clf, reference = _loaded(model, n_copies, device), task.reference
            if reference is not None and reference.suffix.lower() not in (".edf", ".bdf"):
                reference = as_hypnogram(reference, task.stage_numbers)
            night = stage(task.path, clf, channels=channels, reference=reference, lights=lights)
            night.model = Path(model).resolve().name
            if task.stage_numbers != "auto" and task.reference is not None and four_is_open(task.reference):
                night.notes.append(OTHERS_SETTLE)
            night.notes += [task.note] if task.note and night.agreement is None else []
            if night.agreement is not None and task.subject in _seen_subjects(model):
                night.notes.append(f"the model was trained or stopped on {task.subject}: the agreement flatters it")
            night.save(task.folder, page=page, made_from={"file": str(task.path), "mark": mark})
    except Exception as error:  # whatever a damaged file makes its reader stumble over: the other nights go on
        text = " ".join(str(error).split()) or "no message"
        return task, text if isinstance(error, (ValueError, OSError)) else f"{type(error).__name__}: {text}"
    return task, None


def _seen_subjects(model: str) -> set[str]:
    from eegaug.comparison.commands import model_splits

    splits = model_splits(model)
    return {name for side in ("train", "valid") for name in splits.get(side, ())}


def _mark(task: Task, settings: list) -> str:
    """A fingerprint of all that a night's files depend on."""
    files = [_file_mark(path) for path in (task.path, task.reference) if path is not None]
    return hashlib.sha256(json.dumps([files, task.stage_numbers, settings]).encode()).hexdigest()[:16]


def _file_mark(path: Path) -> list:
    try:
        found = path.stat()
    except OSError:
        return [path.name]
    return [path.name, found.st_size, found.st_mtime_ns]


def _plain(channels: Any) -> Any:
    return sorted(channels.items()) if isinstance(channels, Mapping) else None if channels is None else list(channels)


def _made_from(task: Task) -> dict[str, str]:
    """What finished files in the task's folder were made from: the recording's path and a fingerprint of all."""
    try:
        found = json.loads((task.folder / "night.json").read_text(encoding="utf-8"))["made_from"]
    except (OSError, ValueError, KeyError):
        return {}
    return found if isinstance(found, dict) else {}


def _other_recording(task: Task) -> str | None:
    """Another recording that is still there, whose results an earlier call put into the task's folder."""
    other = _made_from(task).get("file")
    try:
        return None if other is None or os.path.samefile(other, task.path) else other
    except (FileNotFoundError, NotADirectoryError):  # it is gone
        return None
    except OSError:  # it is there, for others to read
        return other


def _holds_stages(path: Path, folder: Path) -> bool:
    """Whether a recording below the folder of references has its scoring among its own annotations."""
    below = path.suffix.lower() in FORMS and path.resolve().is_relative_to(folder.resolve())
    return below and holds_stages(path)


def _subject(found: Found) -> str:
    """Whose night it is: as an npz file says, else by the names of files."""
    if found.path.suffix.lower() == ".npz":
        with contextlib.suppress(ValueError):  # said again, with the reason, when it is staged
            return read_npz(found.path, signal=False).subject or found.subject
    return found.subject


def _expanded(source: str | os.PathLike) -> Iterator[Path]:
    path = Path(source)
    if path.is_dir():
        yield from (one.path for one in find_recordings(path)[0])
        if left := [p.name for p in unread_files(path)]:
            warn(f"{some_of(left, 3)} not staged: of a folder, {', '.join(RECORDINGS)} files are; name others")
    elif path.is_file():
        yield path
    elif glob.has_magic(str(source)):
        matched = matching(source)
        # A pattern such as night* takes hypnograms and tables along.
        known = [p for p in matched if p.suffix.lower() in RECORDINGS]
        yield from (one.path for one in find_recordings(known)[0]) if known else matched
    else:
        raise FileNotFoundError(f"There is no file or folder {source}.")


def _folders(paths: Sequence[Path]) -> dict[Path, str]:
    """Names of folders: the recording's, with as many parents before it as it takes to tell them apart.

    They differ in more than upper and lower case, which are one folder on Windows and macOS.
    """
    names, depth = {path: _plain_name(path.stem) for path in paths}, 1
    while len({name.casefold() for name in names.values()}) < len(paths) and depth < 20:
        depth += 1
        taken = Counter(name.casefold() for name in names.values())
        for path in paths:
            if taken[names[path].casefold()] > 1:
                names[path] = _plain_name("_".join([*path.parent.parts[1:][-depth + 1 :], path.stem]))
    if len({name.casefold() for name in names.values()}) < len(paths):  # night.edf and night.bdf in one folder
        names = {path: f"{name}{path.suffix}" for path, name in names.items()}
    used: set[str] = set()
    for path, name in names.items():  # "night 1.edf" and "night_1.edf" in one folder
        number, unique = 1, name
        while unique.casefold() in used:
            number += 1
            unique = f"{name}-{number}"
        names[path] = unique
        used.add(unique.casefold())
    return names


def _plain_name(name: str) -> str:
    return re.sub(r"[^\w.+-]+", "_", name)
