"""Where a comparison's nights come from, and what is used where nothing is said."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterable, Mapping
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np

from eegaug._warning import warn
from eegaug.comparison.methods import get_method
from eegaug.data import Split, load_nights, load_splits, subject_folds
from eegaug.data.sources import source_name

__all__ = [
    "EMBEDDED",
    "augnet_options",
    "check_folder",
    "check_result_file",
    "default_device",
    "default_for",
    "get_folds",
    "get_nights",
    "method_settings",
    "planted_truth",
    "search_options",
    "usable_device",
    "warn_of_unused",
    "writable_folder",
]

#: The nights of the embedded default: small enough for a few minutes on two cores, hard enough to tell methods apart.
EMBEDDED: dict[str, Any] = {
    "n_subjects": 12,
    "n_windows": 100,
    "ch_names": ("F3", "F4", "O1", "O2"),
    "sfreq": 50.0,
    "h_freq": 20.0,
    "random_state": 0,
}

#: What is used where nothing is said: folds, epochs, learning rate and AugNet's penalty of Rommel et al. (2022).
_DEFAULTS: dict[str, Any] = {
    "folds": 5,
    "sizes": {"n_train": None, "n_valid": None, "n_test": None},
    "max_epochs": 300,
    "lr": 1e-3,
    "penalty": 10.0,
    "augmentation_lr": None,
}
#: On the embedded nights an epoch has 25 steps, not the thousand of the paper: the trunk takes larger ones. Weights and
#: strengths keep the paper's, so that the trunk has learned something before an operation is chosen. AugNet's norm is
#: at most the square root of its three layers: a penalty of 0.2 rewards no strengths with more than 0.35 nats, while
#: one above 0.9, log(5) over that root, outweighs any cross-entropy, so that destroying the signal pays.
_EMBEDDED_DEFAULTS: dict[str, Any] = {
    "folds": 3,
    "sizes": {"n_train": 4, "n_valid": 4, "n_test": 4},
    "max_epochs": 20,
    "lr": 3e-3,
    "penalty": 0.2,
    "augmentation_lr": 1e-3,
}


#: Methods whose penalty and copies can be told without naming the method.
_AUGNETS = ("augnet", "augnet-change")
#: Copies where nothing is said.
_N_COPIES = 4

#: What differs for single searches on the embedded nights. A step of Fast AutoAugment takes forward passes only.
_EMBEDDED_SEARCHES: dict[str, dict[str, Any]] = {
    "fast-autoaugment": {"max_steps": 30, "retrain_every": 15, "n_folds": 2, "n_best": 5},
    "adda": {"warm_start": 5},
    "cadda": {"warm_start": 5},
}


def _is_embedded(data: Any) -> bool:
    return isinstance(data, str | os.PathLike) and source_name(data) == "simulated"


def default_for(name: str, data: Any, given: Any = None) -> Any:
    """What is given, or else the default for this data: few folds and epochs for the embedded nights.

    Examples
    --------
    >>> default_for("folds", "simulated"), default_for("folds", "nights/"), default_for("folds", "simulated", 7)
    (3, 5, 7)
    """
    if given is not None:
        return given
    return (_EMBEDDED_DEFAULTS if _is_embedded(data) else _DEFAULTS)[name]


def augnet_options(data: Any, penalty: float | None = None, n_copies: int | None = None) -> dict[str, Any]:
    """Options of AugNet for this data, with the penalty and the copies given or the default."""
    n_copies = _N_COPIES if n_copies is None else n_copies
    return {
        "penalty": default_for("penalty", data, penalty),
        "n_copies": int(n_copies) if isinstance(n_copies, float) and n_copies.is_integer() else n_copies,
        "augmentation_lr": default_for("augmentation_lr", data),
    }


def search_options(data: Any, name: str) -> dict[str, Any]:
    """Options of a search for this data: few steps for the embedded nights, else what the searcher itself takes."""
    from eegaug.comparison.search_methods import SEARCHES

    if not (_is_embedded(data) and name in SEARCHES):
        return {}
    return {"max_steps": 6, "retrain_every": 3, **_EMBEDDED_SEARCHES.get(name, {})}


def method_settings(
    data: Any,
    method: Any,
    penalty: float | None = None,
    n_copies: int | None = None,
    given: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """All options of a method for this data: what was given, else what suits the data, else the method's own.

    ValueError for an option that the method does not take.
    """
    suited = search_options(data, method.name) if method.searches else {}
    kind = (given or {}).get("penalty_kind", method.defaults.get("penalty_kind"))
    if method.name in _AUGNETS:
        suited = augnet_options(data, penalty, n_copies)
    if kind == "change" and "penalty" in method.defaults and (penalty is None or "penalty" not in suited):
        suited["penalty"] = get_method("augnet-change").defaults["penalty"]
    return method.options({**suited, **(given or {})})


def warn_of_unused(methods: Iterable[Any], penalty: float | None, n_copies: int | None) -> None:
    """Warn of a penalty and of copies that are none of these methods'."""
    if any(method.name in _AUGNETS for method in methods):
        return
    for name, value in {"penalty": penalty, "n_copies": n_copies}.items():
        if value is not None:
            warn(
                f"{name}={value} has no effect: it is that of {' and '.join(_AUGNETS)}; those of others are options of "
                "the method"
            )


def get_nights(
    data: Any,
    *,
    root: str | os.PathLike | None = None,
    preprocessing: Any = None,
    data_args: Mapping[str, Any] | None = None,
    verbose: bool = False,
) -> tuple[Any, str]:
    """Nights and the name of their source.

    Parameters
    ----------
    data : str, path or Nights
        ``"simulated"``, ``"sleep-edf"``, ``"mass"``, a folder of recordings, or nights, which are taken as they are.
    root : path, optional
        Folder of a source that needs one (MASS), or to download to (Sleep-EDF).
    preprocessing : Preprocessing, optional
        How windows are made.
    data_args : mapping, optional
        Further arguments of the source.
    verbose : bool
        Show progress.

    Returns
    -------
    nights : Nights
    source : str
    """
    if not isinstance(data, str | os.PathLike):
        if not hasattr(data, "select") or not hasattr(data, "subjects"):
            raise TypeError(
                f"data must be nights, a folder, 'simulated', 'sleep-edf' or 'mass', not {type(data).__name__}; "
                "arrays have no subjects to split by, and other datasets no classes: make nights of them, "
                "eegaug.data.Nights([NightDataset(X, y, subject=…, ch_names=…, sfreq=…), …])"
            )
        given = {"root": root, "preprocessing": preprocessing, "data_args": data_args or None}
        if unused := [name for name, value in given.items() if value is not None]:
            raise ValueError(
                f"data are nights already, of which {', '.join(unused)} would change nothing; leave it out"
            )
        return data, "nights"
    data_args = dict(data_args or {})
    source = source_name(data)
    if source == "simulated":
        # What is asked for in so many words goes before what is embedded.
        asked = set() if preprocessing is None else preprocessing.model_fields_set
        embedded = {name: value for name, value in EMBEDDED.items() if name not in asked}
        return load_nights(source, preprocessing=preprocessing, **{**embedded, **data_args}), source
    # Recordings are prepared once: load_nights keeps the windows in the user's cache folder.
    if not (Path(source) / "store.json").exists():
        data_args.setdefault("verbose", verbose)
    return load_nights(data, root=root, preprocessing=preprocessing, **data_args), source


def get_folds(folds: Any, nights: Any, sizes: Mapping[str, int | None], random_state: int = 0) -> list[Split]:
    """Subject-wise folds: so many, or those given as splits or as a JSON file of splits.

    Every fold needs validation subjects, on whom training stops, and test subjects. No recording may be on two sides
    under the names of two subjects.
    """
    subjects = sorted(set(nights.subjects))
    if isinstance(folds, Iterable) and not isinstance(folds, str):
        folds = list(folds)
        unfit = [split for split in folds if not isinstance(split, Split)]
    else:
        unfit = [] if isinstance(folds, str | os.PathLike | Integral) and not isinstance(folds, bool) else [folds]
    if unfit:
        raise TypeError(f"folds must be a number, a file of splits or eegaug.data.Split objects, got {unfit[0]!r}")
    if isinstance(folds, Integral):
        splits = subject_folds(subjects, int(folds), random_state=random_state, **sizes)
    else:
        if any(size is not None for size in sizes.values()):
            raise ValueError("n_train, n_valid and n_test go with a number of folds; the folds given say it already")
        splits = load_splits(folds) if isinstance(folds, str | os.PathLike) else folds
    if not splits:
        raise ValueError("folds is empty: give at least one split")
    for number, split in enumerate(splits):
        for side in ("valid", "test"):
            if not getattr(split, side):
                word = "validate" if side == "valid" else "test"
                raise ValueError(f"fold {number} has no subject to {word} on; a comparison needs at least one")
        strangers = sorted({*split.train, *split.valid, *split.test} - set(subjects))
        if strangers:
            raise ValueError(f"fold {number} names subjects that the data do not have: {', '.join(strangers[:5])}")
    _refuse_copies(nights, splits)
    return splits


def _refuse_copies(nights: Any, splits: Iterable[Split]) -> None:
    """Refuse a recording that is there twice, under the names of two subjects who are on different sides of a fold."""
    found: dict[bytes, Any] = {}
    for night in nights.datasets:
        window = night.read(slice(1))
        if not window.size or np.ptp(window) == 0:  # a recording may well begin with nothing
            continue
        first = found.setdefault(hashlib.sha256(window.tobytes() + night.y.tobytes()).digest(), night)
        if first is night:
            continue
        one, two = (str(copy.description["subject"]) for copy in (first, night))
        for number, split in enumerate(splits):
            side = {name: part for part in ("train", "valid", "test") for name in getattr(split, part)}
            if one in side and two in side and side[one] != side[two]:
                raise ValueError(
                    f"{first.name!r} and {night.name!r} are one recording under two names: the first window and all "
                    f"stages are the same. In fold {number} subjects {one!r} and {two!r} are on different sides; "
                    "take one of the files away, or give both the same subject"
                )


def planted_truth(nights: Any) -> dict[str, float] | None:
    """Operation → planted strength in its unit, of simulated nights; None of all others."""
    truth = getattr(nights, "truth", None)
    if not truth or "operations" not in truth:
        return None
    return {row["operation"]: float(row["strength"]) for row in truth["operations"] if row["strength"] > 0}


def writable_folder(out: str | os.PathLike) -> Path:
    """The folder, made if need be, after a file has been written into it: an error comes before the work.

    Raises
    ------
    OSError
        If nothing can be written there, with the reason.
    """
    out = Path(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        reason = "it is a file" if out.is_file() else error.strerror or type(error).__name__
        raise type(error)(f"cannot write to the output folder {out} ({reason}); choose another one") from None
    return out


def check_result_file(out: Path, due: str) -> None:
    """Refuse a folder, and a device or a pipe such as /dev/null: a result is put in the place of what was there."""
    if out.is_dir():
        raise IsADirectoryError(f"--out {out} is a folder; name {due}")
    if out.exists() and not out.is_file():
        raise ValueError(f"--out {out} is a device or a pipe, which a result would replace; name {due}")


def check_folder(out: str | os.PathLike) -> None:
    """Raise OSError if :func:`writable_folder` would, as far as that can be told without making anything."""
    out = Path(out).absolute()
    there = next(path for path in (out, *out.parents) if path.exists())
    if not there.is_dir():
        raise NotADirectoryError(f"cannot write to the output folder {out} ({there} is a file); choose another one")
    if not os.access(there, os.W_OK | os.X_OK):
        raise PermissionError(f"cannot write to the output folder {out} (Permission denied); choose another one")


def default_device() -> str:
    """A CUDA device if there is one, else the processor."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def usable_device(device: str | None) -> str:
    """The device asked for, or :func:`default_device`; ValueError for one that is not there."""
    import torch

    if device is None:
        return default_device()
    try:
        asked = torch.device(device)
    except RuntimeError:
        raise ValueError(f"{device!r} is no device; use cpu, cuda, cuda:1, …") from None
    if asked.type == "cuda":
        # Without touching it: the processes that will use it may be others.
        n_devices = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (asked.index or 0) >= n_devices:
            raise ValueError(f"device {device!r} is not there: torch sees {n_devices} CUDA devices")
    elif asked.type != "cpu":
        try:
            torch.zeros(1, device=asked).item()
        except (RuntimeError, AssertionError) as error:
            reason = str(error).splitlines()[0].partition(". ")[0]  # torch goes on with all backends that there are
            raise ValueError(f"device {device!r} cannot be used ({reason}); use cpu, cuda, cuda:1, …") from None
    return device


def as_tuple(values: Any) -> tuple[Any, ...]:
    """A tuple of what may be one value or several."""
    return (values,) if isinstance(values, str) or not isinstance(values, Iterable) else tuple(values)
