"""Electrode names, positions and left-right partners.

Recordings name their channels in many ways (``"EEG Fpz-Cz"``, ``"C3-CLE"``, ``"EEG C3-A2"``); the functions here read
the electrodes out of such names, place them on the unit sphere and pair the left ones with the right ones.
"""

import re
import warnings
from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
from mne.channels import DigMontage, get_builtin_montages, make_standard_montage

__all__ = ["electrode_name", "electrode_positions", "symmetry_permutation"]

# The 10-20 system's old names for four electrodes of the 10-10 system.
_OLD_NAMES = {"t3": "T7", "t4": "T8", "t5": "P7", "t6": "P8"}
_PREFIX = re.compile(r"^(EEG|POL)[\s:_]+", re.IGNORECASE)
_SEPARATOR = re.compile(r"\s*[-–/:_]\s*|\s+")
# References beside the head, whose partner or absence matters little: ears and mastoids.
_ASIDE = {"A1", "A2", "M1", "M2"}
# Caps and probes that count their electrodes by letters, as BioSemi's with A1 to D32: C3 is then not that of 10-20.
_COUNTED = re.compile(r"[A-D]\d\d?", re.IGNORECASE)
_ONLY_COUNTED = re.compile(r"A([3-9]|\d\d)|[BD]\d\d?", re.IGNORECASE)


@lru_cache(maxsize=1)
def _standard_positions() -> dict[str, np.ndarray]:
    """Position in metres of every electrode that MNE knows, by its 10-05 name."""
    positions: dict[str, np.ndarray] = {}
    for size in ("1005", "1020"):
        positions.update(template_montage(size).get_positions()["ch_pos"])
    return positions


def template_montage(size: str) -> DigMontage:
    """MNE's template of the 10-05 or 10-20 system: ``"1005"`` or ``"1020"``."""
    # MNE is renaming "standard_*" to "colin27_*"; where both names exist the old one warns.
    name = f"colin27_{size}" if f"colin27_{size}" in get_builtin_montages() else f"standard_{size}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return make_standard_montage(name)


@lru_cache(maxsize=1)
def _spelling() -> dict[str, str]:
    """Lower-case electrode name -> the spelling used by MNE's 10-05 montage."""
    spelling = {name.lower(): name for name in _standard_positions()}
    return spelling | _OLD_NAMES


def separated(label: str) -> str:
    """A label such as ``"C3A2"`` with a hyphen before its mastoid or earlobe, and without parentheses around it."""
    label = re.sub(r"^\((.*)\)$", r"\1", label)
    return re.sub(r"(?<=[0-9z])([am][12])$", r"-\1", label, flags=re.IGNORECASE)


def _electrodes(ch_name: str) -> tuple[str | None, ...]:
    """Electrodes named by one channel label, in order; None for a part that is no electrode."""
    if not isinstance(ch_name, str):
        raise TypeError(f"channel names must be str, got {ch_name!r} of type {type(ch_name).__name__}")
    label = separated(_PREFIX.sub("", ch_name.strip()))
    parts = [part.strip(".'\"") for part in _SEPARATOR.split(label)]
    if len(parts) > 1 and parts[-1].isdigit():  # MNE numbers channels of one name: "T8-P8-0", "T8-P8-1"
        parts.pop()
    return tuple(_spelling().get(part.lower()) for part in parts)


def electrode_name(ch_name: str) -> str:
    """Name of the (first) electrode of a channel.

    Parameters
    ----------
    ch_name : str
        A channel label, for example ``"EEG Fpz-Cz"``, ``"C3-CLE"`` or ``"eeg c3"``. Of a bipolar derivation the first
        electrode counts; the reference is ignored.

    Returns
    -------
    str
        The electrode in the spelling of MNE's 10-05 montage. The old names T3, T4, T5 and T6 become T7, T8, P7 and P8.

    Raises
    ------
    ValueError
        When the label names no electrode of the 10-05 montage.

    Examples
    --------
    >>> from eegaug.montage import electrode_name
    >>> [electrode_name(name) for name in ("EEG Fpz-Cz", "C3-CLE", "EEG F4-LER", "T3")]
    ['Fpz', 'C3', 'F4', 'T7']
    """
    electrode = _electrodes(ch_name)[0]
    if electrode is None:
        raise ValueError(
            f"channel {ch_name!r} is not in the 10-05 montage; rename it (for example 'C3' or 'EEG C3-A2'), "
            "or pass positions={name: (x, y, z)} to operations that need to know where it is"
        )
    return electrode


def electrode_positions(
    ch_names: Sequence[str], positions: Mapping[str, Sequence[float]] | np.ndarray | None = None
) -> np.ndarray:
    """Positions of channels on the unit sphere.

    Parameters
    ----------
    ch_names : sequence of str
        Channel labels, in the order of the signal's channels.
    positions : mapping, array (n_channels, 3) or None
        Positions of the user's own electrodes, in any unit: a mapping from channel label or electrode name, or an array
        in the order of `ch_names`. Channels that a mapping leaves out are looked up in MNE's template (Colin 27)
        montage. The origin is the centre of the head; x points to the right ear, y to the nose, z up. MNE's montages
        are so as they are made (``make_standard_montage``); once in ``info`` they count from between the ears, some
        4 cm below that centre, which has to be taken off again.

    Returns
    -------
    ndarray of float64, shape (n_channels, 3)
        Unit vectors.

    Raises
    ------
    ValueError
        When a channel's position is unknown, not finite or at the origin; the message names the channel.

    Examples
    --------
    >>> from eegaug.montage import electrode_positions
    >>> electrode_positions(["C3", "C4"]).shape
    (2, 3)
    """
    ch_names = list(ch_names)
    if positions is not None and not isinstance(positions, Mapping):
        found = np.array(positions, dtype=np.float64)
        if found.shape != (len(ch_names), 3):
            raise ValueError(f"positions must have shape ({len(ch_names)}, 3) for {ch_names}, got {found.shape}")
    else:
        own = dict(positions or {})
        for name, place in (positions or {}).items():  # "T3" says where T7 is, "c3" where C3
            if (electrode := electrode_or_none(name)) is not None:
                own.setdefault(electrode, place)
        found = np.array([_position(name, own) for name in ch_names], dtype=np.float64).reshape(-1, 3)
    length = np.linalg.norm(found, axis=1, keepdims=True)
    bad = ~np.isfinite(found).all(axis=1) | ~(length[:, 0] > 0)
    if bad.any():
        which = int(np.flatnonzero(bad)[0])
        raise ValueError(f"position of channel {ch_names[which]!r} must be finite and not zero, got {found[which]}")
    # Unit vectors stay as they are to the last bit, so that positions can be saved and read back.
    return np.where(np.abs(length - 1) < 1e-12, found, found / length)


def electrode_or_none(label: str) -> str | None:
    """:func:`electrode_name`, or None for what is no electrode."""
    try:
        return electrode_name(label)
    except ValueError:
        return None


def _position(ch_name: str, own: Mapping[str, Sequence[float]]) -> np.ndarray:
    if ch_name in own:
        return np.asarray(own[ch_name], dtype=np.float64).reshape(3)
    electrode = electrode_name(ch_name)
    return np.asarray(own[electrode] if electrode in own else _standard_positions()[electrode], dtype=np.float64)


def _mirror(electrode: str | None) -> str | None:
    """The electrode on the other side of the head: C3 for C4, M2 for M1; midline electrodes are their own mirror."""
    if electrode is None:
        return None
    electrode = _OLD_NAMES.get(electrode.lower(), electrode)
    found = re.fullmatch(r"([A-Za-z]+?)(\d+)(h?)", electrode)
    if found is None:
        return electrode
    letters, number, half = found.group(1), int(found.group(2)), found.group(3)
    return f"{letters}{number + 1 if number % 2 else number - 1}{half}"


def _scalp_references(electrodes: tuple[str | None, ...]) -> tuple[str, ...]:
    """Of what is taken off a channel's first electrode, the electrodes on the head."""
    return tuple(part for part in electrodes[1:] if part is not None and part not in _ASIDE)


def bipolar_channels(ch_names: Sequence[str]) -> list[str]:
    """Channels that are the difference of two electrodes on the head, which is at no one place.

    Parameters
    ----------
    ch_names : sequence of str
        Channel labels.

    Returns
    -------
    list of str
        Empty where all channels have one reference (``C3-Cz`` and ``C4-Cz``); ears and mastoids are references, too.

    Examples
    --------
    >>> from eegaug.montage import bipolar_channels
    >>> bipolar_channels(["Fp1-F7", "F7-T3", "C3-A2"])
    ['Fp1-F7', 'F7-T3']
    """
    named = {name: parts for name in ch_names if (parts := _electrodes(name))[0] is not None}
    references = {name: _scalp_references(parts) for name, parts in named.items()}
    return [] if len(set(references.values())) == 1 else [name for name in ch_names if references.get(name)]


def symmetry_permutation(ch_names: Sequence[str]) -> np.ndarray:
    """Permutation of channels that exchanges the left and the right side of the head.

    Parameters
    ----------
    ch_names : sequence of str
        Channel labels, in the order of the signal's channels.

    Returns
    -------
    ndarray of int64, shape (n_channels,)
        Output channel ``i`` is input channel ``permutation[i]``. It is its own inverse. Midline channels, channels
        whose partner is absent and labels that name no electrode (EOG, EMG) stay where they are.

    Notes
    -----
    A derivation is mirrored as a whole where that exists (``C3-A2`` with ``C4-A1``, ``Fp1-F7`` with ``Fp2-F8``), else
    by its first electrode where both have the same reference (``C3-Fz`` with ``C4-Fz``) or one beside the head
    (``C3-A2`` with ``C4-A2``). What is the other way round on the other side (``C3-Cz`` and ``Cz-C4``) stays. Labels
    that count electrodes by letters (BioSemi's ``A1`` to ``D32``) are none of the 10-20 system.

    Examples
    --------
    >>> from eegaug.montage import symmetry_permutation
    >>> symmetry_permutation(["C3", "C4", "F3", "F4", "O1", "O2"]).tolist()
    [1, 0, 3, 2, 5, 4]
    >>> symmetry_permutation(["EEG Fpz-Cz", "EEG Pz-Oz"]).tolist()
    [0, 1]
    """
    whole = [_electrodes(name) for name in ch_names]
    if any(_ONLY_COUNTED.fullmatch(name) for name in ch_names):
        whole = [(None,) if _COUNTED.fullmatch(name) else parts for name, parts in zip(ch_names, whole, strict=True)]
    permutation = np.arange(len(whole))
    for n_parts in (None, 1):
        free = [i for i in range(len(whole)) if permutation[i] == i and whole[i][0] is not None]
        keys = {i: whole[i][:n_parts] for i in free}
        for i in free:
            mirrored = tuple(_mirror(part) for part in keys[i])
            partners = [j for j in free if keys[j] == mirrored]
            rivals = [j for j in free if keys[j] == keys[i]]
            # Only a pair that chooses each other keeps the permutation its own inverse.
            if mirrored == keys[i] or not len(partners) == len(rivals) == 1:
                continue
            (partner,) = partners
            if n_parts is None or _scalp_references(whole[i]) == _scalp_references(whole[partner]):
                permutation[i] = partner
    return permutation
