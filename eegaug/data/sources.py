"""One door to all data: by the name of a source or by a folder."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from eegaug.data.atomic import plain
from eegaug.data.nights import Nights
from eegaug.data.preprocessing import Preprocessing
from eegaug.data.recordings import given_fields, load_recordings
from eegaug.data.store import open_store

__all__ = ["SOURCES", "load_nights", "source_name"]

SOURCES = ("simulated", "sleep-edf", "mass")


def source_name(source: str | os.PathLike) -> str:
    """The name of a source as it stands in `SOURCES`, however it is written; of a place, the place.

    Examples
    --------
    >>> source_name("Sleep_EDF"), source_name("Nights/")
    ('sleep-edf', 'Nights/')
    """
    name = str(source).lower().replace("_", "-")
    return name if name in SOURCES else str(source)


def load_nights(
    source: str | os.PathLike | Nights,
    *,
    root: str | os.PathLike | None = None,
    preprocessing: Preprocessing | dict | None = None,
    store: str | os.PathLike | None = None,
    **options: Any,
) -> Nights:
    """Nights from a source by name, or from a folder.

    Parameters
    ----------
    source : str | path-like | Nights
        ``"simulated"``, ``"sleep-edf"``, ``"mass"``; or a folder, file or glob pattern of recordings; or the folder of
        a store of nights. `Nights` are handed back as they are.
    root : path-like, optional
        Where the recordings of ``"mass"`` (needed) or ``"sleep-edf"`` (fetched if not given) are.
    preprocessing : Preprocessing | dict, optional
        How windows are made. Of it, simulated nights take the channels, the rate, the window and the scaling.
    store : path-like, optional
        Folder for the windows; see `load_recordings`.
    **options
        Whatever `simulate_nights`, `load_sleep_edf`, `load_mass` or `load_recordings` takes.

    Returns
    -------
    Nights

    Raises
    ------
    ValueError
        If the source is neither a name nor a place, or ``"mass"`` comes without its `root`.
    TypeError
        If an option is unknown to the source.

    Examples
    --------
    >>> nights = load_nights("simulated", n_subjects=2, n_windows=10, random_state=0)
    >>> len(nights)
    20
    """
    if isinstance(source, Nights):
        return source
    name = source_name(source)
    if name == "simulated":
        return _simulated(preprocessing, store, options)
    shared = {"preprocessing": preprocessing, "store": store, **options}
    if name == "sleep-edf":
        from eegaug.data.sleep_edf import load_sleep_edf

        _refuse_strange(options, load_sleep_edf)
        return load_sleep_edf(root=root, **shared)
    if name == "mass":
        from eegaug.data.mass import load_mass

        if root is None:
            raise ValueError("MASS cannot be fetched (its keepers ask for an agreement): pass root= with its folder.")
        _refuse_strange(options, load_mass)
        return load_mass(root, **shared)
    if root is not None:
        with_root = " and ".join(map(repr, SOURCES[1:]))
        raise ValueError(f"root={str(root)!r} goes with the sources {with_root}, not with the folder {str(source)!r}.")
    if (Path(source) / "store.json").exists():
        return _stored(Path(source), preprocessing, store, options)
    _refuse_strange(options, load_recordings)
    try:
        return load_recordings(source, **shared)
    except FileNotFoundError as err:
        raise FileNotFoundError(f"{err} Give a folder of recordings, or one of {', '.join(SOURCES)}.") from err


def _refuse_strange(options: dict, loader: Callable) -> None:
    """Name all that recordings take: what their loader does, and what it hands on to the preprocessing."""
    own = [p.name for p in inspect.signature(loader).parameters.values() if p.kind is not p.VAR_KEYWORD]
    known = dict.fromkeys([*own, *Preprocessing.model_fields])
    if strange := sorted(set(options) - set(known)):
        takes = ", ".join(name for name in known if name not in ("source", "root", "preprocessing"))
        raise TypeError(f"recordings know no {strange[0]!r}; they take {takes}.")


def _stored(folder: Path, preprocessing: Preprocessing | dict | None, store: Any, options: dict) -> Nights:
    """A store as it is: what it was made with cannot be changed any more."""
    if store is not None:
        raise ValueError(f"{folder} is a store already: leave store= out.")
    nights = open_store(folder)
    # Only what was said counts: beside the defaults of the rest it may not even be possible.
    wanted = plain(given_fields(preprocessing, options))
    differs = [
        f"{k} is {nights.preprocessing.get(k)!r}, not {v!r}"
        for k, v in wanted.items()
        if nights.preprocessing.get(k) != v
    ]
    if differs:
        raise ValueError(
            f"The store {folder} was made otherwise: {'; '.join(differs)}. Load the recordings themselves."
        )
    return nights


def _simulated(preprocessing: Preprocessing | dict | None, store: Any, options: dict) -> Nights:
    from eegaug.data.simulated import simulate_nights

    known = inspect.signature(simulate_nights).parameters
    strange = sorted(set(options) - set(known))
    if strange:
        raise TypeError(f"simulated nights know no {strange[0]!r}; they take {', '.join(known)}.")
    given = given_fields(preprocessing, {})
    taken = {k: v for k, v in given.items() if k in known and not (k == "ch_names" and v is None)}
    return simulate_nights(**{**taken, **options}, **({} if store is None else {"store": store}))
