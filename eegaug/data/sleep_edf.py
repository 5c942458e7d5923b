"""Sleep-EDF Expanded, the sleep-cassette study: 78 healthy people, two nights each (Kemp et al. 2000; PhysioNet)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from numbers import Integral
from pathlib import Path
from typing import Any

from eegaug.data.convert import Reading
from eegaug.data.discover import Found, find_recordings
from eegaug.data.nights import Nights
from eegaug.data.preprocessing import Preprocessing
from eegaug.data.recordings import as_preprocessing, build

__all__ = ["load_sleep_edf"]

SUBJECTS = tuple(s for s in range(83) if s not in (39, 68, 69, 78, 79))
"""Numbers of the subjects there are."""
# Nights that were never recorded or got lost.
_MISSING = {(13, 2), (36, 1), (52, 1)}
CHANNELS = ("Fpz-Cz", "Pz-Oz")


def load_sleep_edf(
    subjects: Sequence[int] | int | None = None,
    nights: Sequence[int] = (1, 2),
    *,
    root: str | os.PathLike | None = None,
    preprocessing: Preprocessing | dict | None = None,
    store: str | os.PathLike | None = None,
    n_jobs: int = 1,
    verbose: bool | None = None,
    **options: Any,
) -> Nights:
    """Load nights of Sleep-EDF (sleep cassette).

    Parameters
    ----------
    subjects : sequence of int | int | None
        Numbers 0 to 82 (39, 68, 69, 78 and 79 do not exist). None takes all: those in `root`, or all 78 (8 GB to
        fetch).
    nights : sequence of int
        1, 2 or both. Subject 13 has no second night, 36 and 52 have no first.
    root : path-like, optional
        Folder that holds the files (``SC4001E0-PSG.edf``, ``SC4001EC-Hypnogram.edf``, ...), as downloaded by hand;
        nothing is fetched. Without it MNE fetches what it does not have yet, to the folder it is configured for
        (``~/mne_data``).
    preprocessing : Preprocessing | dict, optional
        What it does not set is: channels Fpz-Cz and Pz-Oz at 100 Hz, 0.3 to 30 Hz, 30-s windows, 30 min of wakefulness
        around sleep, each window standardised.
    store, n_jobs, verbose, **options
        As in `load_recordings`.

    Returns
    -------
    Nights
        Subjects are named ``SC400`` to ``SC482``.

    Raises
    ------
    ValueError
        If a subject or night does not exist.
    FileNotFoundError
        If `root` lacks a night that was asked for.
    ConnectionError
        If a file has to be fetched and cannot be; an OSError. It says what to do.
    """
    p = as_preprocessing(preprocessing, options, ch_names=CHANNELS, sfreq=100.0)
    if isinstance(subjects, str):
        raise ValueError(f"subjects={subjects!r} is text: pass a number, or a list such as [0, 1].")
    numbers = None if subjects is None else [subjects] if isinstance(subjects, Integral) else [int(s) for s in subjects]
    if numbers is not None and (wrong := [s for s in numbers if s not in SUBJECTS]):
        raise ValueError(f"Sleep-EDF has no subject {wrong}: there are 0 to 82 without 39, 68, 69, 78 and 79.")
    nights = [nights] if isinstance(nights, Integral) else list(nights)
    if not nights or any(n not in (1, 2) for n in nights):
        raise ValueError(f"nights={nights!r} must be 1, 2 or both.")
    if numbers is not None and not _existing(numbers, nights):
        raise ValueError(
            f"Subjects {numbers} have no night {nights}: subject 13 has no second, 36 and 52 have no first."
        )
    if root is not None:
        found, where = _in_folder(root, numbers, nights), str(Path(root).absolute())
    else:
        found, where = _fetched(list(SUBJECTS) if numbers is None else numbers, nights), "sleep-edf"
    return build(found, p, Reading(), label=where, store=store, n_jobs=n_jobs, verbose=verbose)


def _existing(numbers: Sequence[int], nights: Sequence[int]) -> list[tuple[int, int]]:
    return [(s, n) for s in numbers for n in nights if (s, n) not in _MISSING]


def _in_folder(root: str | os.PathLike, numbers: Sequence[int] | None, nights: Sequence[int]) -> list[Found]:
    if not Path(root).is_dir():
        raise FileNotFoundError(f"There is no folder {root} with Sleep-EDF recordings.")
    everything, _ = find_recordings(root)
    here = [f for f in everything if f.path.name.upper().startswith("SC4") and f.night in nights]
    if numbers is not None:
        wanted = {(f"SC4{s:02d}", n): None for s, n in _existing(numbers, nights)}
        here = [f for f in here if (f.subject, f.night) in wanted]
        if gone := [f"{s}{n}" for s, n in wanted if (s, n) not in {(f.subject, f.night) for f in here}]:
            raise FileNotFoundError(f"{root} has no PSG file of {', '.join(gone)} (such as {gone[0]}E0-PSG.edf).")
    if not here:
        raise FileNotFoundError(f"{root} has no Sleep-EDF recording (SC4ssNE0-PSG.edf) of nights {list(nights)}.")
    return here


def _fetched(numbers: Sequence[int], nights: Sequence[int]) -> list[Found]:
    from mne.datasets.sleep_physionet.age import fetch_data

    try:
        pairs = fetch_data(subjects=list(numbers), recording=list(nights), on_missing="ignore", verbose="error")
    except (OSError, ValueError) as err:
        # requests' errors are OSErrors; pooch raises ValueError when a download is cut short and its hash is wrong.
        raise ConnectionError(
            f"Sleep-EDF could not be fetched from PhysioNet ({type(err).__name__}: {str(err)[:200]}). Connect this "
            f"machine to the "
            "network and try again, or download https://physionet.org/content/sleep-edfx/1.0.0/ (folder "
            "sleep-cassette) elsewhere and pass its folder: root='...'."
        ) from err
    found, _ = find_recordings([psg for psg, _ in pairs])
    return found
