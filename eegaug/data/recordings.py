"""A folder of sleep recordings as windows that can be trained on."""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from eegaug._processes import working_for
from eegaug._progress import track
from eegaug._warning import warn
from eegaug._words import reasons
from eegaug.data._problems import lines_about, none_usable, reason_of, skipped
from eegaug.data.atomic import plain, read_json
from eegaug.data.convert import Reading, convert, names_in_files
from eegaug.data.discover import Found
from eegaug.data.files.continuous import files_of
from eegaug.data.nights import Nights
from eegaug.data.preprocessing import Preprocessing
from eegaug.data.store import VERSION, NightWriter, opened, remove_damaged
from eegaug.data.survey import found_in, settled, usable_of

__all__ = ["cache_folder", "load_recordings"]


def load_recordings(
    source: str | os.PathLike | Iterable[str | os.PathLike],
    preprocessing: Preprocessing | dict | None = None,
    *,
    store: str | os.PathLike | None = None,
    labels: str = "required",
    hypnograms: str | os.PathLike | None = None,
    subject_pattern: str | None = None,
    channels: Mapping[str, str | Sequence[str]] | None = None,
    epoch_20s: str = "refuse",
    stage_numbers: str = "auto",
    n_jobs: int = 1,
    verbose: bool | None = None,
    **options: Any,
) -> Nights:
    """Load sleep recordings: preprocessed once into a store on disk, read lazily from there.

    Recordings are EDF, EDF+ and BDF files (``.rec`` too), BrainVision (``.vhdr``), EEGLAB (``.set``), FIF, GDF and CNT
    files as MNE reads them, records of PhysioNet (``.hea``), nights of the Dreem Open Datasets (``.h5``), and ``.npz``
    nights. A hypnogram is looked for beside its recording, then anywhere below the folder: Sleep-EDF's
    ``SC4001EC-Hypnogram.edf``, MASS's ``01-03-0001 Base.edf``, BIDS ``*_events.tsv``, NSRR's ``shhs1-200001-nsrr.xml``
    (or ``-profusion.xml``, which is the same scoring), or the same name with ``.csv``, ``.tsv`` or ``.txt`` (with or
    without ``-hypnogram``, ``_stages``, ``_scoring`` and the like), with ``.xml`` of Compumedics Profusion, ``.rml`` of
    Philips Respironics, or Luna's ``.annot`` and ``.eannot``; else among the annotations of the recording itself, of
    which bare numbers are triggers, but for those with a duration in EDF+. Text holds one stage per 30-s line (or per
    line as long as a window, where that fits the recording better), or a table with onset, duration and stage; onsets
    are seconds from the start of the recording, or times of the day.

    Stages 3 and 4 become N3. Movement and unknown are dropped and counted. A recording that cannot be used (truncated,
    unreadable, without hypnogram, a channel flat or missing) is skipped, named in one warning at the end and listed in
    ``Nights.problems``; so is what was cut from a hypnogram that outlasts its recording or left out because nobody
    scored it.

    Parameters
    ----------
    source : path-like | iterable of path-like
        A folder (with all below it), a file, a glob pattern, or a list of files.
    preprocessing : Preprocessing | dict, optional
        How windows are made. Fields can also be given by themselves: ``load_recordings(path, ch_names=["C3", "C4"],
        sfreq=128)``.
    store : path-like, optional
        Folder for the windows. Without it a folder in `cache_folder`, named after the source and what is asked of it:
        the same call later opens it at once, and new or changed recordings alone are read again.
    labels : {"required", "optional", "ignore"}
        Recordings without a hypnogram are skipped, or loaded in windows from their start with label -1, or all are
        loaded so.
    hypnograms : path-like, optional
        Another folder with hypnograms, which go before those beside the recordings. Where several recordings have the
        same name, folders within it are called as those of the recordings.
    subject_pattern : str, optional
        Regular expression with a group ``subject`` (and perhaps ``night``) searched in each path below the folder.
        Without it: Sleep-EDF's ``SC4ssN`` (subject ``SC4ss``, night N), MASS's ``01-03-00NN``, NSRR's ``shhs1-200001``
        and ``mros-visit1-aa0001``, BIDS ``sub-`` and ``ses-``; where files in several folders have the same name, the
        folder, or the file if folders are called visit, session, night and so on (this is said); else each file is a
        subject of its own (this is said of names such as ``p07_night1`` and ``p07_night2``, and of folders that hold a
        few files each).
    channels : mapping, optional
        What channels are called in these recordings where that is not their own name: ``{"C4-A1": "EEG", "C3-A2":
        "EEG(sec)"}``, or several names, of which the first that is there counts. Windows have the names on the left, so
        that operations know where the electrodes are and recordings of other cohorts have the same channels; without
        `ch_names` these are the channels.
    epoch_20s : {"refuse", "reepoch"}
        20-s scoring: refuse it, or lengthen each page by 5 s on both sides (the windows then overlap).
    stage_numbers : {"auto", "r&k", "aasm"}
        What numbers in text hypnograms mean, see `parse_stage`. "auto": 5 is REM and 4 is N3 if any file has a 5
        (or numbers, and a letter for W or REM), else 4 is REM.
    n_jobs : int
        Recordings converted at the same time.
    verbose : bool, optional
        Tell how far it is: a bar on a terminal, lines elsewhere. By default on a terminal only.
    **options
        Fields of `Preprocessing`.

    Returns
    -------
    Nights

    Raises
    ------
    FileNotFoundError
        If there is no recording.
    ValueError
        If a requested channel is in none of them, or none can be used (each is listed with its reason).
    OSError
        If the store cannot be read or written.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     X = np.random.default_rng(0).standard_normal((6, 1, 3000))
    ...     np.savez(Path(folder) / "anna.npz", X=X, y=[0, 1, 2, 2, 3, 4], ch_names=["C3"], sfreq=100)
    ...     nights = load_recordings(folder, store=Path(folder) / "store")
    ...     len(nights), nights.ch_names, set(nights.subjects.tolist())
    (6, ['C3'], {'anna'})
    """
    p = as_preprocessing(preprocessing, options)
    reading = Reading(labels, epoch_20s, stage_numbers, names_in_files(channels))
    found, problems = found_in(source, hypnograms=hypnograms, subject_pattern=subject_pattern)
    # A folder may get more recordings and keep its store; another list is another store, as are other hypnograms.
    alone = isinstance(source, (str, os.PathLike))
    label = str(source) if alone else f"{len(found)} recordings"
    told = str(Path(source).absolute()) if alone else ", ".join(sorted(str(one.path) for one in found))
    told = told if hypnograms is None else f"{told}, {Path(hypnograms).absolute()}"
    options = {"n_jobs": n_jobs, "verbose": verbose, "problems": problems}
    return build(found, p, reading, label=label, told=told, store=store, **options)


def as_preprocessing(preprocessing: Preprocessing | dict | None, options: dict, **defaults: Any) -> Preprocessing:
    """One `Preprocessing` from a record or a dict, single fields, and defaults for what neither names."""
    given = given_fields(preprocessing, options)
    try:
        return Preprocessing(**{**defaults, **given})
    except ValidationError as err:
        raise ValueError("; ".join(reasons(err))) from err


def given_fields(preprocessing: Preprocessing | dict | None, options: dict) -> dict:
    """What a record or a dict, and single fields, which go first, say; none is filled in."""
    if isinstance(preprocessing, Preprocessing):
        given = preprocessing.model_dump(exclude_unset=True)
    else:
        given = dict(preprocessing or {})
    for what in (given, options):
        if unknown := sorted(set(what) - set(Preprocessing.model_fields)):
            raise TypeError(
                f"Unknown option {', '.join(unknown)}; preprocessing knows {list(Preprocessing.model_fields)}."
            )
    if isinstance(options.get("ch_names"), str):
        raise TypeError(f"ch_names={options['ch_names']!r} is one string: pass a list of names.")
    return {**given, **options}


def cache_folder() -> Path:
    """Where stores are kept: ``EEGAUG_CACHE``, else ``eegaug`` in the user's cache folder (``~/.cache`` on Linux).

    Stores there, and ``files``, what recordings that take long to open said about themselves, can be deleted at any
    time; they are made again when they are needed.

    Raises
    ------
    OSError
        If there is no home folder, as in some containers, and no variable names another.
    """
    if folder := os.environ.get("EEGAUG_CACHE"):
        return Path(folder).expanduser()  # for where no shell has done so
    if folder := os.environ.get("XDG_CACHE_HOME"):
        return Path(folder) / "eegaug"
    if sys.platform == "win32" and (folder := os.environ.get("LOCALAPPDATA")):
        return Path(folder) / "eegaug"
    try:
        return Path.home() / ".cache" / "eegaug"
    except RuntimeError as err:
        raise OSError(
            "there is no home folder to keep stores of recordings in (HOME is not set): pass store= or set EEGAUG_CACHE"
        ) from err


def build(
    found: Sequence[Found],
    p: Preprocessing,
    reading: Reading,
    *,
    label: str,
    told: str | None = None,
    store: str | os.PathLike | None = None,
    n_jobs: int = 1,
    verbose: bool | None = None,
    problems: Iterable[dict] = (),
) -> Nights:
    """Convert recordings into a store, or open the store if it is there already.

    Where no store is named, it is called by `label` and known again by what was `told`.
    """
    problems = list(problems)
    usable, _, p = usable_of(found, p, reading, problems)
    # All that follows from the content of these files is the same as long as they are: it is not looked at again.
    whole = [[one.name, one.subject, one.night, _fingerprint(one, reading)] for one in usable] + problems
    default = store is None
    store = Path(store) if store is not None else _store_in_cache(label, told or label, p, reading)
    if nights := _already_there(store, p, whole):
        return _told(nights)
    reading = settled(reading, usable, problems)
    sources = [_fingerprint(one, reading) for one in usable]
    if default and (store / "store.json").exists():
        remove_damaged(store)
    try:
        return _told(_written(store, usable, sources, whole, problems, p, reading, n_jobs, verbose))
    except OSError as err:  # of recordings it was caught: this one is of the store
        raise OSError(
            f"cannot write the store {store} ({err.strerror or err}): pass store= or set EEGAUG_CACHE to another folder"
        ) from err


def _written(store, usable, sources, whole, problems, p, reading, n_jobs, verbose) -> Nights:
    """Convert what is not in the store yet, and finish it."""
    writer = NightWriter(store, p.ch_names, p.sfreq, p.window_s, p)
    writer.problems = problems
    todo = [
        (one, s)
        for one, s in zip(usable, sources, strict=True)
        if not writer.has(one.name, s, subject=one.subject, night=one.night)
    ]
    unread = False
    for name, error, of_the_system in _converted(todo, writer, p, reading, n_jobs, verbose):
        unread |= of_the_system
        if error is None:
            writer.adopt(name)
        else:
            problems.append(skipped(name, error))
    left_out = {q["recording"] for q in problems if q["kind"] == "skipped"}
    names = [one.name for one in usable if one.name not in left_out]
    if not names:
        raise ValueError(none_usable(problems))
    # A file that could not be read (locked, a drive that is gone) is tried again by the next call.
    return writer.close(names, source=None if unread else whole)


def _converted(todo, writer, p, reading, n_jobs, verbose):
    """Convert recordings, in parallel if asked; yields what `_one` returns."""
    from joblib import Parallel, delayed

    jobs = Parallel(n_jobs=n_jobs, return_as="generator")(
        delayed(working_for)(os.getpid(), _one, one, s, writer, p, reading) for one, s in todo
    )
    yield from track(jobs, len(todo), "Recordings", unit="night", verbose=verbose)


def _one(
    one: Found, source: Any, writer: NightWriter, p: Preprocessing, reading: Reading
) -> tuple[str, str | None, bool]:
    """Name, None or the reason why not, and whether that is the system's: it may be another one the next time."""
    try:
        windows = convert(one, p, reading)
    except Exception as err:  # whatever a damaged file makes its reader stumble over: the other nights go on
        return one.name, reason_of(err), isinstance(err, (OSError, MemoryError))
    try:
        writer.write(
            windows.X,
            windows.y,
            subject=one.subject,
            night=one.night,
            recording=one.name,
            onset_s=windows.onset_s,
            source=source,
            problems=windows.problems,
            file=one.path.name,
            n_wake_trimmed=windows.n_wake_trimmed,
        )
    except ValueError as err:
        return one.name, reason_of(err), False
    return one.name, None, False


def _fingerprint(one: Found, reading: Reading) -> list:
    files = [*files_of(one.path), *([one.hypnogram] if one.hypnogram else [])]
    # Of the folders only the last counts: they may be moved, but two scorers' files are told apart.
    stats = [[f"{q.absolute().parent.name}/{q.name}", (s := q.stat()).st_size, s.st_mtime_ns] for q in files]
    return [stats, one.problem, asdict(reading)]


def _store_in_cache(label: str, told: str, p: Preprocessing, reading: Reading) -> Path:
    key = json.dumps([VERSION, told, p.model_dump(), asdict(reading)], default=str)
    slug = re.sub(r"[^A-Za-z0-9]+", "-", Path(label).name)[:30].strip("-") or "recordings"
    return cache_folder() / f"{slug}-{hashlib.sha1(key.encode()).hexdigest()[:12]}"


def _already_there(store: Path, p: Preprocessing, whole: list) -> Nights | None:
    """The finished store, if it was made from just these files in just this way."""
    if not (store / "store.json").exists():
        return None
    try:
        header = read_json(store / "store.json")
        same = header.get("preprocessing") == plain(p.model_dump()) and header.get("source") == plain(whole)
        return opened(store, header) if header.get("complete") and same else None
    except (ValueError, FileNotFoundError):  # it is damaged
        return None


def _told(nights: Nights) -> Nights:
    """Warn once about all that was skipped or cut."""
    if lines := lines_about(nights.problems, len(nights.datasets)):
        warn("\n".join(lines))
    return nights
