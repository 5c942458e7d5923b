"""Whose windows a search holds out: whole subjects, so that nobody's are on both sides."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from mne import BaseEpochs
from sklearn.model_selection import GroupShuffleSplit, StratifiedShuffleSplit
from skorch.helper import SliceDataset
from torch.utils.data import ConcatDataset, Subset

from eegaug._inputs import is_list_of_epochs
from eegaug._warning import warn
from eegaug._words import some_of

__all__ = ["check_groups", "hold_out", "missing_classes", "subjects_of"]

# Ways to deal out subjects that are tried before it is said that none has every class on both sides.
_ATTEMPTS = 100


def subjects_of(X: Any) -> np.ndarray | None:
    """Subject of every window, where the data say it; None otherwise."""
    if isinstance(X, BaseEpochs):
        known = X.metadata is not None and "subject" in X.metadata
        return X.metadata["subject"].to_numpy() if known else None
    if isinstance(X, Subset):
        return _picked(subjects_of(X.dataset), X.indices)
    if isinstance(X, SliceDataset):
        return _picked(subjects_of(X.dataset), X.indices_)
    if isinstance(X, ConcatDataset) or is_list_of_epochs(X):
        parts = [subjects_of(one) for one in (X.datasets if isinstance(X, ConcatDataset) else X)]
        return None if any(part is None for part in parts) else np.concatenate(parts)
    description = getattr(X, "description", None)
    if isinstance(description, (Mapping, pd.Series)) and "subject" in description:
        subject = description["subject"]  # NaN where other recordings of a table have one and this has none
        return None if np.ndim(subject) or pd.isna(subject) else np.full(len(X), str(subject))
    return None


def _picked(subjects: np.ndarray | None, rows: Any) -> np.ndarray | None:
    return None if subjects is None else subjects[np.asarray(rows)]


def check_groups(groups: Any, n_windows: int) -> np.ndarray | None:
    """One subject per window, as an array.

    Raises
    ------
    ValueError
        For another length or shape.
    """
    if groups is None:
        return None
    groups = np.asarray(groups)
    if groups.shape != (n_windows,):
        raise ValueError(f"groups has shape {groups.shape}; it is one subject for each window, ({n_windows},).")
    if n_unknown := int(pd.isna(groups).sum()):
        raise ValueError(f"groups has no subject for {n_unknown} of {n_windows} windows (None or NaN); name each.")
    return groups.astype(str) if groups.dtype == object else groups


def hold_out(
    labels: np.ndarray, groups: np.ndarray | None, valid_size: float | int | Sequence[Any], seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Windows to train on and to validate on.

    Parameters
    ----------
    labels : array of shape (n_windows,)
    groups : array of shape (n_windows,) or None
    valid_size : float, int or sequence
        Fraction of the subjects, their number, or the subjects themselves.
    seed : int

    Returns
    -------
    train, valid : arrays of int

    Raises
    ------
    ValueError
        If it is impossible, or a side lacks a class; the classes are named.
    """
    chosen = not isinstance(valid_size, (int, float, np.number))
    if isinstance(valid_size, (bool, str)) or not (isinstance(valid_size, Iterable) if chosen else valid_size > 0):
        raise ValueError(
            f"valid_size is {valid_size!r}; pass a fraction of the subjects, their number, or a list of them."
        )
    if isinstance(valid_size, (float, np.floating)) and valid_size >= 1:
        raise ValueError(f"valid_size is {valid_size}; a fraction of the subjects is below 1.")
    seed = seed % 2**32
    if groups is None:
        if chosen or isinstance(valid_size, (int, np.integer)):
            raise ValueError(f"valid_size={valid_size!r} speaks of subjects, but groups is None; pass groups=.")
        return _windows_apart(labels, valid_size, seed)
    first = None
    for train, valid in [_sides_of(groups, valid_size)] if chosen else _shuffled_sides(groups, valid_size, seed):
        lacking = missing_classes(labels, train), missing_classes(labels, valid)
        if not any(lacking):
            return train, valid
        first = first or (groups[valid], lacking)
    held, (in_train, in_valid) = first
    side, classes = ("training", in_train) if in_train else ("validation", in_valid)
    who = some_of(np.unique(held).tolist(), 5)
    advice = (
        "hold out others" if chosen else "other subjects, as many, do no better; change valid_size, or add subjects"
    )
    raise ValueError(
        f"with subject {who} held out, {side} has no window of class {', '.join(map(repr, classes))}: {advice}."
    )


def _windows_apart(labels: np.ndarray, valid_size: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A side to train on and one to validate on of windows that are nobody's."""
    warn(
        "groups is None and the data do not say whose windows they are: windows are held out one by one. "
        "Neighbouring windows of a night are alike, so the search is told too good scores; pass groups=<subjects>."
    )
    few = [_label(label) for label, n in zip(*np.unique(labels, return_counts=True), strict=True) if n < 2]
    if few:
        raise ValueError(f"class {few[0]} has one window; it takes two to have one on either side.")
    return next(StratifiedShuffleSplit(1, test_size=valid_size, random_state=seed).split(labels, labels))


def _sides_of(groups: np.ndarray, subjects: Iterable[Any]) -> tuple[np.ndarray, np.ndarray]:
    """Windows of others than these subjects, and theirs."""
    names, wanted = np.unique(groups), np.asarray(list(subjects))
    strangers = [name for name in wanted.tolist() if name not in names]
    if not len(wanted) or strangers:
        raise ValueError(f"valid_size names {strangers or 'nobody'}; the subjects are {names.tolist()}.")
    theirs = np.isin(groups, wanted)
    if theirs.all():
        raise ValueError("valid_size names all subjects; nobody is left to train on.")
    return np.flatnonzero(~theirs), np.flatnonzero(theirs)


def _shuffled_sides(groups: np.ndarray, size: float, seed: int) -> Iterable[tuple[np.ndarray, np.ndarray]]:
    """Several ways to hold out so many subjects, or such a fraction of them."""
    names = np.unique(groups)
    if len(names) < 2:
        raise ValueError(
            f"all windows are of one subject, {names[0].item()!r}: nobody is left to validate on. A search needs two "
            "subjects or more."
        )
    if (size if size >= 1 else math.ceil(size * len(names))) >= len(names):
        raise ValueError(f"valid_size={size} of {len(names)} subjects leaves nobody to train on.")
    splitter = GroupShuffleSplit(_ATTEMPTS, test_size=size if size < 1 else int(size), random_state=seed)
    return splitter.split(groups, groups=groups)


def missing_classes(labels: np.ndarray, rows: np.ndarray) -> list[Any]:
    """Classes that occur, but not in these windows."""
    return np.setdiff1d(labels, labels[rows]).tolist()


def _label(label: Any) -> str:
    return repr(label.item() if hasattr(label, "item") else label)
