"""Which channel of a recording serves which channel of a model, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from eegaug.data.channels import Pick, _parts, pick_channels, same_name
from eegaug.montage import electrode_or_none, template_montage

__all__ = ["NEAR_M", "match_channels"]

#: How far from an electrode's place in the template a channel may lie, in metres: half of what 10-10 neighbours differ.
NEAR_M = 0.02


def match_channels(
    available: Sequence[str],
    wanted: Sequence[str],
    channels: Sequence[str] | Mapping[str, str] | None = None,
    places: Mapping[str, np.ndarray] | None = None,
) -> tuple[list[Pick], pd.DataFrame]:
    """Find a model's channels in a recording: as told, by name, or by the place of the electrode.

    Parameters
    ----------
    available : sequence of str
        The recording's channels.
    wanted : sequence of str
        The model's channels, in order.
    channels : sequence or mapping of str, optional
        The user's word: channels of the recording in the order of the model's, or for some of the model's channels
        the recording's. A difference such as ``"C3-M2"`` of two channels is fine.
    places : mapping, optional
        Electrode positions of the recording in metres, in MNE's head coordinates, for names that no montage knows
        (``"E36"``). A channel serves a bare electrode of the model if it lies within 2 cm of that electrode's place on
        the template head and no other channel is nearer.

    Returns
    -------
    picks : list of Pick
    table : DataFrame
        Columns model, recording, how.

    Raises
    ------
    ValueError
        If a channel is missing, is there more than once, or `channels` does not fit; each missing channel is named.

    Examples
    --------
    >>> picks, table = match_channels(["EOG", "EEG C4-A1", "EEG C3-A2"], ["C3", "C4"])
    >>> table["recording"].tolist()
    ['EEG C3-A2', 'EEG C4-A1']
    """
    told = _as_told(channels, wanted)
    picks: list[Pick | None] = []
    how: list[str] = []
    for name in wanted:
        try:
            (pick,) = pick_channels(available, [told.get(name, name)])
            picks.append(pick)
            how.append("as told" if name in told else _how(pick, available, name))
        except ValueError:
            at, distance = (None, 0.0) if name in told else _nearest(name, available, places or {})
            picks.append(None if at is None else Pick(at))
            how.append("" if at is None else f"{100 * distance:.1f} cm from {name}'s place")
    unresolved = [told.get(name, name) for name, pick in zip(wanted, picks, strict=True) if pick is None]
    if unresolved:
        try:
            pick_channels(available, unresolved)
        except ValueError as error:
            names = ", ".join(wanted)
            raise ValueError(
                f"it cannot serve the model, which needs {names}: {error} (if they are called otherwise, channels= or "
                "--channels names them in the model's order)"
            ) from error
    served = [
        available[p.plus] if p.minus is None else f"{available[p.plus]} − {available[p.minus]}" for p in picks if p
    ]
    return picks, pd.DataFrame({"model": list(wanted), "recording": served, "how": how})


def _as_told(channels: Sequence[str] | Mapping[str, str] | None, wanted: Sequence[str]) -> dict[str, str]:
    if channels is None:
        return {}
    if isinstance(channels, str):
        raise TypeError(f"channels={channels!r} is one string: pass a list of names, or a mapping.")
    if isinstance(channels, Mapping):
        if strange := [name for name in channels if name not in wanted]:
            raise ValueError(f"channels names {strange[0]!r}, which is none of the model's: {', '.join(wanted)}.")
        return {str(k): str(v) for k, v in channels.items()}
    if len(channels) != len(wanted):
        raise ValueError(
            f"channels has {len(channels)} names ({', '.join(map(str, channels))}); the model has {len(wanted)}, in "
            f"this order: {', '.join(wanted)}."
        )
    return dict(zip(wanted, map(str, channels), strict=True))


def _how(pick: Pick, available: Sequence[str], name: str) -> str:
    if pick.minus is not None:
        return "difference of two channels"
    found = available[pick.plus]
    if found == name:
        return "same name"
    return "same name, spelled otherwise" if same_name(found, name) else "same electrode, with its reference"


def _nearest(name: str, available: Sequence[str], places: Mapping[str, np.ndarray]) -> tuple[int | None, float]:
    """The channel nearest to an electrode's place, if it is near enough; a derivation has no place."""
    if not places or _parts(name)[1] is not None:
        return None, 0.0
    if (electrode := electrode_or_none(name)) is None:
        return None, 0.0
    there = [i for i, ch in enumerate(available) if ch in places]
    if not there:
        return None, 0.0
    distance = np.linalg.norm(np.array([places[available[i]] for i in there]) - _template_place(electrode), axis=1)
    best = int(distance.argmin())
    return (there[best], float(distance[best])) if distance[best] <= NEAR_M else (None, 0.0)


def _template_place(electrode: str) -> np.ndarray:
    """Where an electrode is on the template head, in MNE's head coordinates (metres)."""
    import mne

    info = mne.create_info([electrode], 100.0, "eeg")
    info.set_montage(template_montage("1005"), verbose="error")
    return info["chs"][0]["loc"][:3]
