"""Which runs a comparison consists of: methods × folds × seeds × training fractions, each with a stable key."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np

from eegaug._words import some_of
from eegaug.comparison.job import ROW, read_row
from eegaug.comparison.methods import Method, get_method
from eegaug.data import STAGES

__all__ = [
    "Plan",
    "RunSpec",
    "SettingsDamagedError",
    "SettingsMismatchError",
    "changed_methods",
    "check_settings",
    "describe_data",
    "finished_methods",
    "make_plan",
    "read_settings",
    "settings_document",
]

SETTINGS_FORMAT = "eegaug-compare"
SETTINGS_VERSION = 1
_PARTS = {"data": dict, "folds": list, "training": dict, "methods": dict, "labels": dict}


class SettingsMismatchError(ValueError):
    """The output folder holds a comparison made with other settings; which ones, ``differences`` says."""

    def __init__(self, message: str, differences: str = ""):
        super().__init__(message)
        self.differences = differences


class SettingsDamagedError(SettingsMismatchError):
    """The settings of what the output folder holds cannot be read."""


@dataclass(frozen=True)
class RunSpec:
    """One run: a method on one fold with one seed and one fraction of the training subjects."""

    method: str
    fold: int
    seed: int
    fraction: float

    @property
    def key(self) -> str:
        """Name of the run's folder; the same for the same run on every machine."""
        return f"{self.method}-fold{self.fold}-seed{self.seed}-fraction{self.fraction:g}"

    def as_dict(self) -> dict[str, Any]:
        """Method, fold, seed and fraction, as they stand in the table."""
        return asdict(self)


@dataclass(frozen=True)
class Plan:
    """Every run of a comparison, in the order in which they are made."""

    methods: tuple[Method, ...]
    runs: tuple[RunSpec, ...]

    def method(self, name: str) -> Method:
        """The method of this name."""
        return next(m for m in self.methods if m.name == name)


def make_plan(
    methods: Iterable[str | Method],
    n_folds: int,
    seeds: Iterable[int] = (0,),
    fractions: Iterable[float] = (1.0,),
) -> Plan:
    """List the runs of a comparison.

    Runs are ordered so that a comparison that was stopped half-way is as even as it can be: all methods of one fold
    before the next fold, all folds of one seed before the next seed.

    Parameters
    ----------
    methods : iterable of str or Method
    n_folds : int
        Number of subject-wise folds.
    seeds : iterable of int
        Each seed draws initial weights, batches, augmentations and, below a fraction of 1, the training subjects.
    fractions : iterable of float
        Fractions of the training subjects, in (0, 1].

    Returns
    -------
    Plan

    Examples
    --------
    >>> [run.key for run in make_plan(["none", "augnet"], n_folds=1).runs]
    ['none-fold0-seed0-fraction1', 'augnet-fold0-seed0-fraction1']
    """
    if isinstance(methods, str | Method):
        methods = [methods]
    chosen = tuple(get_method(method) for method in methods)
    names = [method.name for method in chosen]
    seeds = _axis("seeds", seeds, int)
    fractions = _axis("fractions", fractions, float)
    if not chosen:
        raise ValueError("methods is empty: name at least one, for instance methods=('none', 'augnet')")
    if len(set(names)) != len(names):
        raise ValueError(f"methods names one twice: {', '.join(names)}")
    outside = [fraction for fraction in fractions if not 0 < fraction <= 1]
    if outside:
        raise ValueError(f"fractions must lie in (0, 1], got {outside[0]:g}")
    runs = [
        RunSpec(name, fold, seed, fraction)
        for seed in seeds
        for fraction in fractions
        for fold in range(n_folds)
        for name in names
    ]
    return Plan(chosen, tuple(runs))


def _axis(name: str, values: Any, kind: type) -> list[Any]:
    """The values of one axis of the plan: each of the right kind, none missing, none twice."""
    values = [values] if np.isscalar(values) or values is None else list(values)
    if not values:
        raise ValueError(f"{name} is empty: give at least one")
    for value in values:
        if isinstance(value, bool) or not isinstance(value, Real) or (kind is int and value % 1 != 0):
            raise ValueError(f"{name} must be {'integers' if kind is int else 'numbers'}, got {values!r}")
        if kind is int and not 0 <= value < 2**32:
            raise ValueError(f"{name} must lie between 0 and 2**32 - 1, got {value!r}")
    values = [kind(v) for v in values]
    # Fractions are told apart by what the folders of their runs are called.
    if len({f"{v:g}" if kind is float else v for v in values}) != len(values):
        raise ValueError(f"{name} holds a value twice: {values}")
    return values


def describe_data(nights: Any, source: str) -> dict[str, Any]:
    """What a comparison records of its data, and by which it knows them again.

    Parameters
    ----------
    nights : Nights
    source : str
        Where they come from: a source's name or a folder.

    Returns
    -------
    dict
        Source, classes that are no stages, channels, sampling rate (Hz), window length (s), number of windows of each
        subject, preprocessing, and a fingerprint of the labels and of the first window of each subject.
    """
    subjects = np.asarray(nights.subjects)
    names, first, counts = np.unique(subjects, return_index=True, return_counts=True)
    digest = hashlib.sha256()
    digest.update(np.ascontiguousarray(nights.y, dtype="<i8").tobytes())
    for index in first:
        digest.update(np.ascontiguousarray(nights[int(index)][0], dtype="<f4").tobytes())
    # Named where they are no stages: what was computed before there were others has no such entry.
    classes = {} if tuple(nights.classes) == STAGES else {"classes": list(nights.classes)}
    return {
        "source": source,
        **classes,
        "ch_names": list(nights.ch_names),
        "sfreq": float(nights.sfreq),
        "window_s": float(nights.window_s),
        "windows": {str(name): int(count) for name, count in zip(names, counts, strict=True)},
        "preprocessing": json.loads(json.dumps(nights.preprocessing, default=str)),
        "fingerprint": digest.hexdigest()[:16],
    }


def settings_document(
    data: Mapping[str, Any],
    folds: Iterable[Mapping[str, Any]],
    training: Mapping[str, Any],
    methods: Mapping[str, Mapping[str, Any]],
    labels: Mapping[str, str],
) -> dict[str, Any]:
    """The document of settings that is saved beside results: data, folds, training, and options of each method."""
    head = {"format": SETTINGS_FORMAT, "version": SETTINGS_VERSION}
    return {
        **head,
        "data": dict(data),
        "folds": list(folds),
        "training": dict(training),
        "methods": dict(methods),
        "labels": dict(labels),
    }


def check_settings(path: Path, settings: Mapping[str, Any], finished: Collection[str] | None = None) -> dict[str, Any]:
    """Compare settings with those of an existing comparison and merge the two.

    Methods may be added to a comparison; everything else must be the same.

    Parameters
    ----------
    path : Path
        ``settings.json`` of the output folder; it need not exist.
    settings : mapping
        The settings asked for.
    finished : collection of str, optional
        Methods whose options must be the same: those of others may change. None: all.

    Returns
    -------
    dict
        The settings to save: those asked for plus methods that are already there.

    Raises
    ------
    SettingsMismatchError
        Naming each setting that differs, with both values.
    """
    settings = json.loads(json.dumps(settings))
    if not path.exists():
        return settings
    there = read_settings(path)
    merged = {**settings, **{axis: {**there[axis], **settings[axis]} for axis in ("methods", "labels")}}
    common = [
        name for name in settings["methods"] if name in there["methods"] and (finished is None or name in finished)
    ]
    differences = _differences(_comparable(there, common), _comparable(settings, common))
    if differences:
        shown = some_of([f"{name}: {a} there, {b} asked" for name, a, b in differences], 6, "; ")
        raise SettingsMismatchError(
            f"{path.parent} holds a comparison made with other settings ({shown}); "
            "choose another output folder, or ask for the same settings",
            shown,
        )
    return merged


def changed_methods(path: Path, settings: Mapping[str, Any]) -> list[str]:
    """Methods whose options in ``settings.json`` of the output folder, if it is there, are others than these."""
    if not path.exists():
        return []
    there = read_settings(path)["methods"]
    return [name for name, options in settings["methods"].items() if name in there and there[name] != options]


def read_settings(path: Path) -> dict[str, Any]:
    """The ``settings.json`` of a comparison; SettingsMismatchError if it is none, or of another format version."""
    try:
        there = json.loads(path.read_text(encoding="utf-8"))
        if there["format"] != SETTINGS_FORMAT:
            raise KeyError("format")
        there.setdefault("labels", {})
        if not all(isinstance(there[name], kind) for name, kind in _PARTS.items()):
            raise TypeError("a part is of another kind")
    except (ValueError, KeyError, TypeError, AttributeError):
        raise SettingsDamagedError(
            f"{path} is not a settings file of a comparison, or is damaged; choose another output folder, or delete "
            "the file if what is there was made with the settings asked for"
        ) from None
    if there.get("version") != SETTINGS_VERSION:
        raise SettingsMismatchError(
            f"{path.parent} was written in format version {there.get('version')}, this eegaug writes "
            f"{SETTINGS_VERSION}; choose another output folder"
        )
    return there


def finished_methods(out: Path) -> set[str]:
    """Methods that have a finished run in a comparison's folder."""
    rows = (read_row(path.parent) for path in (out / "runs").glob(f"*/{ROW}"))
    return {row["method"] for row in rows if row is not None and "method" in row}


def _comparable(settings: Mapping[str, Any], methods: Iterable[str]) -> dict[str, Any]:
    """The settings that must be the same: not the other methods, nor how methods are called, nor where the data lie."""
    return {
        **{name: value for name, value in settings.items() if name != "labels"},
        "data": {name: value for name, value in settings["data"].items() if name != "source"},
        "methods": {name: settings["methods"][name] for name in methods},
    }


def _differences(old: Any, new: Any, name: str = "") -> list[tuple[str, str, str]]:
    """Dotted name, old and new value of everything that differs between two JSON documents."""
    if isinstance(old, dict) and isinstance(new, dict):
        found = []
        for key in [*old, *(key for key in new if key not in old)]:
            inner = f"{name}.{key}" if name else str(key)
            found += _differences(old.get(key, "nothing"), new.get(key, "nothing"), inner)
        return found
    return [] if old == new else [(name, _short(old), _short(new))]


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
