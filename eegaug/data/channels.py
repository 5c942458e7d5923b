"""Channels picked by name, however a recorder spells them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from eegaug._words import some_of

__all__ = ["Pick", "eeg_channels", "pick_channels", "same_name", "short_name"]

_MASTOIDS = {"m1": "a1", "m2": "a2"}
_REFERENCES = {"a1", "a2"}
# What SHHS calls its second EEG: "EEG(sec)", "EEG sec", "EEG 2".
_SECOND = {"eegsec": "eeg2"}


class Pick(NamedTuple):
    """One channel of the output: a channel of the file, or the difference of two."""

    plus: int
    minus: int | None = None


def short_name(name: str) -> str:
    """A channel's name without the "EEG" that EDF puts before it, where an electrode follows.

    >>> short_name("EEG Fpz-Cz"), short_name("EOG horizontal")
    ('Fpz-Cz', 'EOG horizontal')
    """
    rest = re.sub(r"^EEG[\s:_]+", "", name.strip(), flags=re.IGNORECASE)
    return rest if _electrode(rest) else name.strip()


def _electrode(name: str) -> str | None:
    """First electrode of a channel in lower case, None where there is none."""
    from eegaug.montage import electrode_or_none

    electrode = electrode_or_none(name)
    return None if electrode is None else electrode.lower()


def _parts(name: str) -> tuple[str, str | None]:
    """A channel's first electrode and its reference in lower case; M1 and A1, M2 and A2 are the same places."""
    from eegaug.montage import separated

    label = separated(re.sub(r"^EEG[\s:_]+", "", name.strip(), flags=re.IGNORECASE).lower())
    # Written with a hyphen, a dash, a slash, a colon or an underscore.
    first, *more = (re.sub(r"\s+", "", part) for part in re.split("[-\u2013/:_]", label, maxsplit=1))
    second = more[0] if more else ""
    first = (_electrode(first) or first) if first else first
    return _MASTOIDS.get(first, first), (_MASTOIDS.get(second, second) or None)


def same_name(name: str, other: str) -> bool:
    """Whether two names are one but for case, spaces, a leading "EEG" and M1 for A1, or "EEG(sec)" for "EEG 2".

    >>> same_name("EEG C3-A2", "C3M2"), same_name("EEG(sec)", "EEG 2"), same_name("EEG", "EEG 2")
    (True, True, False)
    """
    if _parts(name) == _parts(other):
        return True
    plain = [re.sub(r"[^a-z\d]", "", one.lower()) for one in (name, other)]
    plain = [_SECOND.get(one, one) for one in plain]
    return plain[0] == plain[1] and plain[0].startswith("eeg") and _electrode(name) is None


def pick_channels(
    available: Sequence[str], requested: Sequence[str], called: Mapping[str, Sequence[str]] | None = None
) -> list[Pick]:
    """Find the requested channels among those of a file.

    The name as it is written wins; then the name but for case, spaces and a leading "EEG", with M1 and A1 (M2 and A2)
    taken as the same, and so the names of SHHS's second EEG ("EEG(sec)", "EEG2"); then, for a bare electrode such as
    ``"C3"``, the one channel recorded from it whatever its reference (``"C3-CLE"``, ``"EEG C3-A2"``); last, for a
    derivation such as ``"C3-M2"``, the difference of two channels that share a reference.

    Parameters
    ----------
    available : sequence of str
        Names in the file.
    requested : sequence of str
        Names wanted, in order.
    called : mapping, optional
        What some of them may be called in the file; the first of these that is there counts, then their own name.

    Returns
    -------
    list of Pick

    Raises
    ------
    ValueError
        If a channel is missing, several would do, or one would be two; the name and what there is are said.

    Examples
    --------
    >>> pick_channels(["EEG C4-A1", "EEG C3-A2"], ["C3", "C4-M1"])
    [Pick(plus=1, minus=None), Pick(plus=0, minus=None)]
    >>> pick_channels(["C3", "M2"], ["C3-M2"])
    [Pick(plus=0, minus=1)]
    >>> pick_channels(["EEG", "EOG(L)"], ["C4-A1"], {"C4-A1": ["EEG"]})
    [Pick(plus=0, minus=None)]
    """
    parts = [_parts(name) for name in available]
    names = [[*(called or {}).get(name, ()), name] for name in requested]
    picks = [next(filter(None, (_pick(available, parts, one) for one in several)), None) for several in names]
    if missing := [" or ".join(map(repr, several)) for several, pick in zip(names, picks, strict=True) if pick is None]:
        there = some_of(list(map(repr, available)), 24) or "none"
        what, verb = ("channel", "is") if len(missing) == 1 else ("channels", "are")
        raise ValueError(f"{what} {', '.join(missing)} {verb} missing; there are {there}")
    for i, pick in enumerate(picks):
        if (first := picks.index(pick)) < i:
            name = available[pick.plus]
            raise ValueError(f"channels {requested[first]!r} and {requested[i]!r} would both be {name!r}")
    return picks


def _pick(available: Sequence[str], parts: list[tuple[str, str | None]], name: str) -> Pick | None:
    wanted = _parts(name)
    for candidates in (
        [i for i, a in enumerate(available) if a == name],
        [i for i, a in enumerate(available) if same_name(a, name)],
        [i for i, p in enumerate(parts) if wanted[1] is None and p[0] == wanted[0] and _electrode(wanted[0])],
    ):
        if len(candidates) > 1:
            names = [available[i] for i in candidates]
            raise ValueError(f"channel {name!r} could be any of {names}: ask for one of them by its full name")
        if candidates:
            return Pick(candidates[0])
    return _difference(parts, wanted)


def _difference(parts: list[tuple[str, str | None]], wanted: tuple[str, str | None]) -> Pick | None:
    if wanted[1] is None:
        return None
    for i, (first, reference) in enumerate(parts):
        if first == wanted[0] and (wanted[1], reference) in parts:
            return Pick(i, parts.index((wanted[1], reference)))
    return None


def eeg_channels(available: Sequence[str]) -> list[str]:
    """The EEG channels of a file: one per electrode of the 10-05 system, in the file's order.

    Of several channels from one electrode the first that names its reference is taken (polysomnographs store "C3" and
    "C3-M2"); earlobes and mastoids are references, not EEG. Where no name holds an electrode, channels that begin
    with "EEG" are taken.

    >>> eeg_channels(["EOG left", "C3", "C3-M2", "C4-M1", "M1", "EMG chin"])
    ['C3-M2', 'C4-M1']
    """
    chosen: dict[str, str] = {}
    for name in available:
        first, reference = _parts(name)
        if first in _REFERENCES or re.search(r"\b(EOG|EMG|ECG|EKG|imp)", name, re.IGNORECASE) or not _electrode(name):
            continue
        if first not in chosen or (reference and not _parts(chosen[first])[1]):
            chosen[first] = name
    found = [name for name in available if name in chosen.values()]
    # MESA's "EEG1_Off" says whether the electrode of EEG1 is off.
    return found or [name for name in available if re.match(r"EEG(?![a-z])(?!.*_off$)", name, re.IGNORECASE)]
