"""What there is to read: recordings, whose they are, their channels and stages, before any signal is read."""

from __future__ import annotations

import itertools
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from eegaug._progress import track
from eegaug._words import counted
from eegaug.data._problems import none_usable, note, reason_of, skipped
from eegaug.data._whose import in_several_folders, names_of_nights
from eegaug.data.channels import eeg_channels, pick_channels, short_name
from eegaug.data.convert import Contents, Reading, look, names_in_files, scored_windows
from eegaug.data.discover import RECORDINGS, Found, find_recordings, unread_files
from eegaug.data.preprocessing import Preprocessing
from eegaug.data.scorings.reading import OTHERS_SETTLE, four_is_n3, four_is_open
from eegaug.data.stages import STAGES

__all__ = ["found_in", "list_recordings", "settled", "usable_of"]


def list_recordings(
    source: str | os.PathLike | Iterable[str | os.PathLike],
    preprocessing: Preprocessing | dict | None = None,
    *,
    labels: str = "required",
    hypnograms: str | os.PathLike | None = None,
    subject_pattern: str | None = None,
    channels: Mapping[str, str | Sequence[str]] | None = None,
    epoch_20s: str = "refuse",
    stage_numbers: str = "auto",
    verbose: bool | None = None,
    **options: Any,
) -> pd.DataFrame:
    """What :func:`load_recordings` would read, by the same arguments; no signal is read.

    Parameters
    ----------
    source, preprocessing, labels, hypnograms, subject_pattern, channels, epoch_20s, stage_numbers, verbose, **options
        As in :func:`load_recordings`.

    Returns
    -------
    DataFrame
        A row for each recording: ``recording``, ``subject``, ``night``, ``file``, ``scoring`` (the file that the stages
        come from), ``hours``, ``channels`` (names in the file), windows of each stage (``W`` to ``REM``) that training
        would see, ``remarks``, and ``problem``: why it would be skipped, empty where it would not. ``attrs["notes"]``
        has what is to be said of all of them.

    Raises
    ------
    FileNotFoundError
        If there is no recording.
    ValueError
        If a requested channel is in none of them, or none can be used (each is listed with its reason).

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     X = np.zeros((6, 1, 3000))
    ...     np.savez(Path(folder) / "anna.npz", X=X, y=[0, 1, 2, 2, 3, 4], ch_names=["C3"], sfreq=100)
    ...     table = list_recordings(folder)
    >>> table[["recording", "channels", "N2", "REM"]].to_dict("records")
    [{'recording': 'anna', 'channels': 'C3', 'N2': 2, 'REM': 1}]
    """
    from eegaug.data.recordings import as_preprocessing

    p = as_preprocessing(preprocessing, options)
    reading = Reading(labels, epoch_20s, stage_numbers, names_in_files(channels))
    found, problems = found_in(source, hypnograms=hypnograms, subject_pattern=subject_pattern)
    usable, contents, p = usable_of(found, p, reading, problems)
    reading = settled(reading, usable, problems)
    known = dict(zip([one.path for one in usable], zip(usable, contents, strict=True), strict=True))
    left_out = {q["recording"]: q["reason"] for q in problems if q["kind"] == "skipped"}
    rows = []
    for one in track(found, len(found), "Recordings", unit="night", verbose=verbose):
        row = {"recording": one.name, "subject": one.subject, "night": one.night, "file": str(one.path)}
        row |= {"scoring": str(one.hypnogram or ""), "hours": np.nan, "channels": "", **dict.fromkeys(STAGES, 0)}
        row |= {"remarks": "", "problem": left_out.get(one.name, "")}
        if one.path in known:
            row |= _looked_at(*known[one.path], p, reading)
        rows.append(row)
    if all(row["problem"] for row in rows):
        raise ValueError(none_usable([skipped(row["recording"], row["problem"]) for row in rows]))
    table = pd.DataFrame(rows)
    table.attrs["notes"] = [f"{q['recording']}: {q['reason']}" for q in problems if q["kind"] != "skipped"]
    return table


def _looked_at(one: Found, contents: Contents, p: Preprocessing, reading: Reading) -> dict[str, Any]:
    """The row of a recording that has the channels."""
    picks = pick_channels(contents.ch_names, p.ch_names, reading.channels)
    names = [[contents.ch_names[k] for k in pick if k is not None] for pick in picks]
    row = {"subject": one.subject, "night": one.night, "channels": ", ".join(map(" - ".join, names))}
    report: list[tuple[str, str, int]] = []
    try:
        hours, y = scored_windows(one, p, reading, report)
    except (ValueError, OSError) as err:
        return row | {"problem": reason_of(err)}
    row |= {"hours": hours, **{name: int((y == code).sum()) for code, name in enumerate(STAGES)}}
    if one.hypnogram is None and (y >= 0).any():
        row["scoring"] = str(one.path)
    remarks = [f"{reason} ({counted(n, 'window')})" if n else reason for _, reason, n in report]
    return row | {"remarks": "; ".join(remarks)}


def found_in(
    source: str | os.PathLike | Iterable[str | os.PathLike],
    *,
    hypnograms: str | os.PathLike | None = None,
    subject_pattern: str | None = None,
) -> tuple[list[Found], list[dict]]:
    """Recordings, and what is to be said of those and others that lie there; see :func:`find_recordings`."""
    found, orphans = find_recordings(source, hypnograms=hypnograms, subject_pattern=subject_pattern)
    problems = [note(q.name, "hypnogram without a recording") for q in orphans]
    if isinstance(source, (str, os.PathLike)):
        reason = f"not read: recordings are {', '.join(RECORDINGS)} files"
        problems += [note(q.name, reason) for q in unread_files(source)]
    problems += [note(q.name, f"not read: {one.path.name} is the same recording") for one in found for q in one.again]
    if guessed := [one for one in found if one.guessed]:
        who = ", ".join(sorted({one.subject for one in guessed})[:8])
        reason = f"subjects were told by folders and file names ({who}); pass subject_pattern if that is wrong"
        problems.append(note(guessed[0].name, reason))
    if several := {} if subject_pattern else in_several_folders(found):
        who, where = ", ".join(list(several)[:4]), ", ".join(dict.fromkeys(itertools.chain(*several.values())))
        reason = (
            f"one person each, though in several folders ({where}): {who}; if these are other people, "
            r"subject_pattern='(?P<subject>[^/]+/sub-[^/_]+)' tells them apart"
        )
        problems.append(note(next(one.name for one in found if one.subject in several), reason))
    if alike := [] if subject_pattern else names_of_nights(found):
        reason = f"each file is a subject of its own ({', '.join(alike[:4])}); pass subject_pattern if some are of one"
        problems.append(note(alike[0], reason))
    return found, problems


def usable_of(
    found: Sequence[Found], p: Preprocessing, reading: Reading, problems: list[dict]
) -> tuple[list[Found], list[Contents], Preprocessing]:
    """Recordings that can be opened and have the channels, what is in them, and the channels settled.

    The others are added to `problems`.

    Raises
    ------
    ValueError
        If there is none.
    """
    usable, contents = [], []
    for one in found:
        try:
            contents.append(look(one))
            usable.append(_with_own_identity(one, contents[-1]))
        except (ValueError, OSError) as err:
            problems.append(skipped(one.name, err))
    if not usable:
        raise ValueError(none_usable(problems))
    names, having = _channels(p, reading, usable, contents, problems)
    usable, contents = [[each[k] for k in having] for each in (usable, contents)]
    return usable, contents, p.model_copy(update={"ch_names": names})


def settled(reading: Reading, usable: Sequence[Found], problems: list[dict]) -> Reading:
    """How numbers of stages are read, where one recording settles it for all."""
    open_ = reading.labels != "ignore" and reading.stage_numbers == "auto"
    if not open_ or not any(four_is_n3(one.hypnogram or one.path) for one in usable):
        return reading
    unsettled = [one.name for one in usable if four_is_open(one.hypnogram or one.path)]
    problems += [note(name, OTHERS_SETTLE) for name in unsettled]
    return replace(reading, stage_numbers="r&k")


def _with_own_identity(one: Found, contents: Contents) -> Found:
    """Subject and night as the file states them."""
    return replace(
        one, subject=contents.subject or one.subject, night=one.night if contents.night is None else contents.night
    )


def _channels(
    p: Preprocessing, reading: Reading, usable: list[Found], contents: list[Contents], problems: list[dict]
) -> tuple[tuple[str, ...], list[int]]:
    """Channels to take, and which recordings have them; the others are added to `problems`."""
    available = [one.ch_names for one in contents]
    if strange := sorted(set(reading.channels) - set(p.ch_names or reading.channels)):
        raise ValueError(f"channels says what {strange[0]!r} is called, which is none of ch_names={list(p.ch_names)}.")
    if p.ch_names is None and reading.channels:
        wanted = tuple(reading.channels)
    elif p.ch_names is None:
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
    for one, known in zip(usable, contents, strict=True):
        try:
            pick_channels(known.ch_names, wanted, reading.channels)
        except ValueError as err:
            missing[one.name] = f"{err}{known.left_out}"
    if len(missing) == len(usable):
        everything = sorted({name for names in available for name in names})
        raise ValueError(
            f"Channels {list(wanted)} were asked for and no recording has them all. {next(iter(missing))}: "
            f"{next(iter(missing.values()))}. In all recordings together there are {everything}."
        )
    problems.extend(skipped(name, reason) for name, reason in missing.items())
    return tuple(wanted), [k for k, one in enumerate(usable) if one.name not in missing]
