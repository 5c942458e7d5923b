"""MASS, the Montreal Archive of Sleep Studies, session 3: 62 nights of 62 healthy people (O'Reilly et al. 2014).

Access needs an agreement with its keepers, so nothing is fetched. Their layout is read as it is handed out, and as
BIDS.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from eegaug.data.convert import Reading
from eegaug.data.discover import find_recordings
from eegaug.data.nights import Nights
from eegaug.data.preprocessing import Preprocessing
from eegaug.data.recordings import as_preprocessing, build

__all__ = ["load_mass"]

CHANNELS = ("C3", "C4", "F3", "F4", "O1", "O2")
SFREQ = 128.0
# Sessions 1 and 3 were scored in 30-s epochs, the others in 20-s pages.
_PAGES_20S = (2, 4, 5)


def load_mass(
    root: str | os.PathLike,
    session: int | None = 3,
    *,
    preprocessing: Preprocessing | dict | None = None,
    epoch_20s: str = "refuse",
    store: str | os.PathLike | None = None,
    n_jobs: int = 1,
    verbose: bool | None = None,
    **options: Any,
) -> Nights:
    """Load nights of MASS.

    Parameters
    ----------
    root : path-like
        Folder with ``01-03-0001 PSG.edf`` and ``01-03-0001 Base.edf`` (older copies: ``01-03-0001 Annotations.edf``),
        or a BIDS folder with ``*_eeg.edf`` and ``*_events.tsv``; folders below it are searched too.
    session : int | None
        Session (1 to 5) to take in the native layout; None takes all.
    preprocessing : Preprocessing | dict, optional
        What it does not set is: channels C3, C4, F3, F4, O1, O2 whatever their reference (``EEG C3-CLE``, ``EEG
        C3-LER``) at 128 Hz, 0.3 to 30 Hz, 30-s windows, 30 min of wakefulness around sleep, each window standardised.
        Files recorded against linked ears also give, say, ``ch_names=["C3-A2"]`` where they hold A2. The AugNet paper
        names no preprocessing; its network has the filter lengths of 128 Hz.
    epoch_20s : {"refuse", "reepoch"}
        Sessions 2, 4 and 5 are scored in 20-s pages: refuse them, or lengthen each page by 5 s of signal on both sides,
        so that neighbouring windows overlap by 10 s.
    store, n_jobs, verbose, **options
        As in `load_recordings`.

    Returns
    -------
    Nights
        Subjects are named ``01-03-0001`` and so on.

    Notes
    -----
    Stages are counted from the annotations' own onsets (the first is not at 0 s); those past the end of the signal are
    dropped and reported. The rate in the header is nearly, not exactly, 256 Hz: it is rounded for resampling, while
    windows follow the file's clock.

    Raises
    ------
    FileNotFoundError
        If there is no such folder, or no recording of this session in it.
    ValueError
        If no recording can be used, as with 20-s pages that are refused; each is listed with its reason.
    """
    if not Path(root).is_dir():
        raise FileNotFoundError(f"There is no folder {root} with MASS recordings.")
    if session not in (None, 1, 2, 3, 4, 5):
        raise ValueError(f"session={session!r} must be 1 to 5, or None for all.")
    p = as_preprocessing(preprocessing, options, ch_names=CHANNELS, sfreq=SFREQ)
    found, _ = find_recordings(root)
    sessions = {one.name: _session(one.subject) for one in found}
    kept = [one for one in found if session is None or sessions[one.name] in (None, session)]
    if not kept:
        there = sorted({s for s in sessions.values() if s is not None})
        hint = " (scored in 20-s pages: pass epoch_20s='reepoch' too)" if set(there) & set(_PAGES_20S) else ""
        raise FileNotFoundError(f"{root} holds sessions {there} of MASS, not {session}: pass session={there[0]}{hint}.")
    reading = Reading(epoch_20s=epoch_20s)
    return build(kept, p, reading, label=str(Path(root).absolute()), store=store, n_jobs=n_jobs, verbose=verbose)


def _session(subject: str) -> int | None:
    match = re.match(r"\d\d-(\d\d)-\d{4}$", subject)
    return int(match[1]) if match else None
