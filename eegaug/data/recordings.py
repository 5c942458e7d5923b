"""A folder of sleep recordings as windows that can be trained on."""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from eegaug._processes import working_for
from eegaug._progress import track
from eegaug._warning import warn
from eegaug.data.atomic import is_readable, plain, read_json
from eegaug.data.channels import eeg_channels, pick_channels, short_name
from eegaug.data.continuous import files_of
from eegaug.data.convert import Contents, Reading, convert, look
from eegaug.data.discover import RECORDINGS, Found, find_recordings, names_of_nights, unread_files
from eegaug.data.hypnograms import OTHERS_SETTLE, four_is_n3, four_is_open
from eegaug.data.nights import Nights
from eegaug.data.preprocessing import Preprocessing
from eegaug.data.store import VERSION, NightWriter, opened, remove_damaged

__all__ = ["cache_folder", "load_recordings"]


def load_recordings(
    source: str | os.PathLike | Iterable[str | os.PathLike],
    preprocessing: Preprocessing | dict | None = None,
    *,
    store: str | os.PathLike | None = None,
    labels: str = "required",
    hypnograms: str | os.PathLike | None = None,
    subject_pattern: str | None = None,
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
    which bare numbers are triggers in other files than EDF+. Text holds one stage per 30-s line (or per line as long as
    a window, where that fits the recording better), or a table with onset, duration and stage; onsets are seconds from
    the start of the recording, or times of the day.

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
    epoch_20s : {"refuse", "reepoch"}
        20-s scoring: refuse it, or lengthen each page by 5 s on both sides (the windows then overlap).
    stage_numbers : {"auto", "r&k", "aasm"}
        What numbers in text hypnograms mean, see `parse_stage`. "auto": 5 is REM and 4 is N3 if any file has a 5
        (or numbers, and a letter for REM), else 4 is REM.
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
    p, reading = as_preprocessing(preprocessing, options), Reading(labels, epoch_20s, stage_numbers)
    found, orphans = find_recordings(source, hypnograms=hypnograms, subject_pattern=subject_pattern)
    note = "hypnogram without a recording"
    problems = [_note(q.name, note) for q in orphans]
    if isinstance(source, (str, os.PathLike)):
        note = f"not read: recordings are {', '.join(RECORDINGS)} files"
        problems += [_note(q.name, note) for q in unread_files(source)]
    problems += [_note(q.name, f"not read: {one.path.name} is the same recording") for one in found for q in one.again]
    if guessed := [one for one in found if one.guessed]:
        who = ", ".join(sorted({one.subject for one in guessed})[:8])
        reason = f"subjects were told by folders and file names ({who}); pass subject_pattern if that is wrong"
        problems.append(_note(guessed[0].name, reason))
    if alike := [] if subject_pattern else names_of_nights(found):
        reason = f"each file is a subject of its own ({', '.join(alike[:4])}); pass subject_pattern if some are of one"
        problems.append(_note(alike[0], reason))
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
        reasons = [
            f"{'.'.join(map(str, e['loc']))} is {e['input']!r}: {e['msg'][:1].lower()}{e['msg'][1:]}"
            if e["loc"]
            else e["msg"].removeprefix("Value error, ")
            for e in err.errors()
        ]
        raise ValueError("; ".join(reasons)) from err


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

    Stores there can be deleted at any time; they are made again when they are needed.
    """
    if folder := os.environ.get("EEGAUG_CACHE"):
        return Path(folder)
    if folder := os.environ.get("XDG_CACHE_HOME"):
        return Path(folder) / "eegaug"
    if sys.platform == "win32" and (folder := os.environ.get("LOCALAPPDATA")):
        return Path(folder) / "eegaug"
    return Path.home() / ".cache" / "eegaug"


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
    usable, contents = [], []
    for one in found:
        try:
            contents.append(look(one))
            usable.append(_with_own_identity(one, contents[-1]))
        except (ValueError, OSError) as err:
            problems.append(_skipped(one.name, err))
    if not usable:
        raise ValueError(_none_usable(problems))
    p = p.model_copy(update={"ch_names": _channels(p, usable, contents, problems)})
    # All that follows from the content of these files is the same as long as they are: it is not looked at again.
    whole = [[one.name, one.subject, one.night, _fingerprint(one, reading)] for one in usable] + problems
    default = store is None
    store = Path(store) if store is not None else _store_in_cache(label, told or label, p, reading)
    if nights := _already_there(store, p, whole):
        return _told(nights)
    settled = reading.labels == "ignore" or reading.stage_numbers != "auto"
    if not settled and any(four_is_n3(one.hypnogram or one.path) for one in usable):
        reading = replace(reading, stage_numbers="r&k")
        unsettled = [one.name for one in usable if four_is_open(one.hypnogram or one.path)]
        problems += [_note(name, OTHERS_SETTLE) for name in unsettled]
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
            problems.append(_skipped(name, error))
    skipped = {q["recording"] for q in problems if q["kind"] == "skipped"}
    names = [one.name for one in usable if one.name not in skipped]
    if not names:
        raise ValueError(_none_usable(problems))
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
        return one.name, _reason(err), isinstance(err, (OSError, MemoryError))
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
        return one.name, _reason(err), False
    return one.name, None, False


def _reason(err: BaseException) -> str:
    text = str(err) or "no message"
    return text if isinstance(err, ValueError) else f"{type(err).__name__}: {text}"


def _note(name: str, reason: str) -> dict:
    return {"recording": name, "kind": "note", "reason": reason, "n_windows": 0}


def _skipped(name: str, err: BaseException | str) -> dict:
    reason = err if isinstance(err, str) else _reason(err)
    return {"recording": name, "kind": "skipped", "reason": reason, "n_windows": 0}


def _none_usable(problems: Sequence[dict]) -> str:
    skipped = [q for q in problems if q["kind"] == "skipped"]
    lines = [f"  {q['recording']}: {q['reason']}" for q in skipped[:20]]
    if len(skipped) > 20:
        lines.append(f"  and {len(skipped) - 20} more")
    if any("no hypnogram" in q["reason"] for q in skipped):
        lines.append("hypnograms='…' names another folder of them; labels='optional' loads recordings without one.")
    return "None of the recordings can be used:\n" + "\n".join(lines)


def _with_own_identity(one: Found, contents: Contents) -> Found:
    """Subject and night as the file states them."""
    return replace(
        one, subject=contents.subject or one.subject, night=one.night if contents.night is None else contents.night
    )


def _channels(p: Preprocessing, usable: list[Found], contents: list[Contents], problems: list[dict]) -> tuple[str, ...]:
    """Channels to take; recordings that lack one are moved from `usable` to `problems`."""
    available = [one.ch_names for one in contents]
    if p.ch_names is None:
        sets = Counter(tuple(short_name(c) for c in eeg_channels(names)) for names in available)
        sets.pop((), None)
        if not sets:
            listed = "; ".join(
                f"{one.name}: {known.ch_names}{known.left_out}"
                for one, known in zip(usable[:5], contents, strict=False)
            )
            raise ValueError(f"No EEG channel was recognised by name: pass ch_names=[...]. There are {listed}.")
        wanted = sets.most_common(1)[0][0]
    else:
        wanted = p.ch_names
    missing: dict[str, str] = {}
    for one, known in zip(list(usable), contents, strict=True):
        try:
            pick_channels(known.ch_names, wanted)
        except ValueError as err:
            missing[one.name] = f"{err}{known.left_out}"
    if len(missing) == len(usable):
        everything = sorted({name for names in available for name in names})
        raise ValueError(
            f"Channels {list(wanted)} were asked for and no recording has them all. {next(iter(missing))}: "
            f"{next(iter(missing.values()))}. In all recordings together there are {everything}."
        )
    problems.extend(_skipped(name, reason) for name, reason in missing.items())
    usable[:] = [one for one in usable if one.name not in missing]
    return tuple(wanted)


def _fingerprint(one: Found, reading: Reading) -> list:
    files = [*files_of(one.path), *([one.hypnogram] if one.hypnogram else [])]
    stats = [[q.name, (s := q.stat()).st_size, s.st_mtime_ns] for q in files]
    return [stats, one.problem, asdict(reading)]


def _store_in_cache(label: str, told: str, p: Preprocessing, reading: Reading) -> Path:
    key = json.dumps([VERSION, told, p.model_dump(), asdict(reading)], default=str)
    slug = re.sub(r"[^A-Za-z0-9]+", "-", Path(label).name)[:30].strip("-") or "recordings"
    return cache_folder() / f"{slug}-{hashlib.sha1(key.encode()).hexdigest()[:12]}"


def _already_there(store: Path, p: Preprocessing, whole: list) -> Nights | None:
    """The finished store, if it was made from just these files in just this way."""
    if not (store / "store.json").exists() or not all(is_readable(path) for path in store.glob("*.json")):
        return None
    header = read_json(store / "store.json")
    same = header.get("preprocessing") == plain(p.model_dump()) and header.get("source") == plain(whole)
    if not (header.get("complete") and same):
        return None
    try:
        return opened(store, header)
    except (ValueError, FileNotFoundError):
        return None


def _told(nights: Nights) -> Nights:
    """Warn once about all that was skipped or cut."""
    lines = []
    skipped = [q for q in nights.problems if q["kind"] == "skipped"]
    if skipped:
        n = len(nights.datasets) + len(skipped)
        lines.append(f"{len(skipped)} of {n} recordings were skipped:")
        lines += [f"  {q['recording']}: {q['reason']}" for q in skipped[:10]]
        if len(skipped) > 10:
            lines.append(f"  and {len(skipped) - 10} more, see Nights.problems")
    others: dict[str, list[dict]] = {}
    for q in nights.problems:
        # What is in every night is counted in Nights.problems and nothing to warn of.
        if q["kind"] != "skipped" and q["reason"] not in ("movement or unknown", "not scored"):
            others.setdefault(q["reason"], []).append(q)
    told = sorted(others.items(), key=lambda item: -len(item[1]))  # what is of many recordings goes first
    for reason, cases in told[:10]:
        windows = sum(q["n_windows"] for q in cases)
        names = ", ".join(q["recording"] for q in cases[:3]) + (f" and {len(cases) - 3} more" if len(cases) > 3 else "")
        count = f" ({windows} window{'' if windows == 1 else 's'})" if windows else ""
        lines.append(f"{names}: {reason}{count}")
    if len(told) > 10:
        lines.append(f"and {len(told) - 10} more notes, see Nights.problems")
    if lines:
        warn("\n".join(lines))
    return nights
