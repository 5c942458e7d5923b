"""Files of a staged night, in the forms that other programs read."""

from __future__ import annotations

import datetime
import io
import json
import math
import os
import re
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from eegaug._version import __version__
from eegaug.data.atomic import write_atomically
from eegaug.data.stages import STAGES

__all__ = ["FILES", "night_document", "save_night"]

#: Files of a night's folder, and what each is for.
FILES: dict[str, str] = {
    "hypnogram.csv": "onset and duration in seconds, stage, probabilities, confidence, disagreement of the copies",
    "hypnogram.edf": "the stages as EDF+ annotations (needs edfio)",
    "edfbrowser.csv": "the stages for EDFbrowser: Tools, Import annotations, ASCII/CSV",
    "events.tsv": "the stages as BIDS events, with their description in events.json",
    "events.json": "description of events.tsv",
    "least_certain.csv": "epochs by confidence, the least certain first",
    "agreement.csv": "confusion of scorer (rows) and model (columns), with a reference only",
    "report.html": "one page",
    "report.png": "the same as a picture",
    "night.json": "statistics, agreement, channels, notes, model and versions",
}
_LEVELS = {
    "W": "wakefulness",
    "N1": "NREM sleep, stage 1",
    "N2": "NREM sleep, stage 2",
    "N3": "NREM sleep, stage 3",
    "REM": "REM sleep",
}


def save_night(night: Any, folder: str | os.PathLike, *, page: bool = True, made_from: Any = None) -> list[Path]:
    """Write a night's files; those of an earlier run are replaced.

    ``night.json`` is written last: where it is, the folder is whole.

    Parameters
    ----------
    night : StagedNight
    folder : path-like
        Made if it does not exist.
    page : bool
        Draw the page too; it takes most of the time.
    made_from : optional
        Plain data kept in ``night.json``: what the files were made from.

    Returns
    -------
    list of pathlib.Path

    Raises
    ------
    OSError
        If the folder cannot be written.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name in reversed(FILES):  # night.json, which says that the others are there, first
        (folder / name).unlink(missing_ok=True)
    contents: dict[str, Callable[[], str | bytes]] = {
        "hypnogram.csv": lambda: _rounded(night.hypnogram).to_csv(index=False),
        "edfbrowser.csv": lambda: _edfbrowser(night),
        "events.tsv": lambda: _events(night),
        "events.json": lambda: json.dumps(_sidecar(night), indent=1),
        "least_certain.csv": lambda: _rounded(night.least_certain()).to_csv(index=False),
    }
    if find_spec("edfio") is not None:
        contents["hypnogram.edf"] = lambda: _edf(night)
    if night.agreement is not None:
        contents["agreement.csv"] = lambda: night.agreement.confusion.to_csv()
    written = []
    for name, make in contents.items():
        content = make()
        write_atomically(folder / name, content if isinstance(content, bytes) else content.encode("utf-8"))
        written.append(folder / name)
    if page:
        written += [night.report(folder / "report.html"), night.report(folder / "report.png")]
    document = json.dumps(
        night_document(night) | {"made_from": made_from}, indent=1, ensure_ascii=False, allow_nan=False
    )
    # A path that is not UTF-8 is written as JSON's escapes.
    write_atomically(folder / "night.json", document.encode("utf-8", errors="backslashreplace"))
    return [*written, folder / "night.json"]


def night_document(night: Any) -> dict[str, Any]:
    """A night in short, as JSON knows it."""
    found = night.agreement
    return {
        "recording": night.name,
        "start": None if night.start is None else night.start.isoformat(sep=" "),
        "epochs": len(night),
        "epoch_s": night.epoch_s,
        "model": night.model,
        "eegaug": __version__,
        "mean_confidence": round(float(night.confidence.mean()), 4),
        "mean_disagreement": None if night.disagreement is None else round(float(night.disagreement.mean()), 4),
        "in_bed": list(night.in_bed),
        "statistics": {name: _plain(value) for name, value in night.statistics.items()},
        "agreement": None
        if found is None
        else {"epochs": found.n_epochs} | {name: _plain(round(value, 4)) for name, value in found.scores.items()},
        "channels": night.channels.to_dict("records"),
        "notes": list(night.notes),
    }


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _rounded(table: pd.DataFrame) -> pd.DataFrame:
    """Probabilities with four digits, times to the millisecond."""
    numbers = [name for name in table.select_dtypes("floating") if name not in ("onset", "duration")]
    return table.round({**dict.fromkeys(numbers, 4), "onset": 3, "duration": 3})


def _edfbrowser(night: Any) -> str:
    onset, duration, codes = night.stretches(merge=False)
    table = pd.DataFrame({"Onset": onset, "Duration": duration, "Annotation": np.array(STAGES)[codes]})
    return table.to_csv(index=False, float_format="%.3f")


def _events(night: Any) -> str:
    onset, duration, codes = night.stretches(merge=False)
    table = pd.DataFrame({"onset": onset, "duration": duration, "trial_type": np.array(STAGES)[codes]})
    table["confidence"] = night.confidence
    out = io.StringIO()
    _rounded(table).to_csv(out, sep="\t", index=False, na_rep="n/a", lineterminator="\n")
    return out.getvalue()


def _sidecar(night: Any) -> dict[str, Any]:
    return {
        "onset": {"Description": "Start of the epoch, from the start of the recording", "Units": "s"},
        "duration": {"Description": "Length of the epoch", "Units": "s"},
        "trial_type": {"LongName": "Sleep stage", "Description": "By the AASM's rules", "Levels": _LEVELS},
        "confidence": {"Description": "Probability that the model gives to the stage, 0 to 1"},
        "GeneratedBy": [{"Name": "eegaug", "Version": __version__, "Description": f"model {night.model}"}],
    }


def _edf(night: Any) -> bytes:
    """EDF+ with annotations alone, as scorers' files are; it begins when the recording does."""
    from edfio import Edf, EdfAnnotation, Recording

    from eegaug.staging.night import EDF_TEXTS

    notes = [
        EdfAnnotation(round(float(onset), 3), round(float(duration), 3), EDF_TEXTS[code])
        for onset, duration, code in zip(*night.stretches(merge=True), strict=True)
    ]
    start, more = night.start, {}
    if start is not None and 1985 <= start.year <= 2084:  # not a date that was moved to anonymise it
        # EDF+ says where a field is unknown, and takes no spaces.
        equipment = re.sub(r"\s+", "_", f"eegaug_{__version__}")
        more = {"recording": Recording(startdate=start.date(), equipment_code=equipment)}
    clock = datetime.time(0) if start is None else start.time()
    out = io.BytesIO()
    Edf([], annotations=notes, starttime=clock, **more).write(out)
    return out.getvalue()
