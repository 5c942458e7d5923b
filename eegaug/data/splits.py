"""Splits of nights by subject: nobody's nights are ever on two sides."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from sklearn.utils import check_random_state

from eegaug._validation import check_number
from eegaug.data.atomic import write_json

__all__ = ["Split", "load_splits", "save_splits", "subject_folds"]


class Split(BaseModel):
    """Subjects to train on, to validate on and to test on.

    Parameters
    ----------
    train, valid, test : sequence of str
        Subject names.

    Raises
    ------
    pydantic.ValidationError
        A ValueError, if a subject is on two sides or named twice; it is named.

    Examples
    --------
    >>> split = Split(train=["a", "b", "c", "d"], valid=["e"], test=["f"])
    >>> len(split.fraction(0.5, random_state=0).train)
    2
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    train: tuple[str, ...]
    valid: tuple[str, ...] = ()
    test: tuple[str, ...] = ()

    if TYPE_CHECKING:  # lists, tuples and dictionaries are taken for what the fields hold

        def __init__(self, **data: Any) -> None: ...

    @model_validator(mode="after")
    def _disjoint(self) -> Split:
        side: dict[str, str] = {}
        for name in ("train", "valid", "test"):
            for subject in getattr(self, name):
                if subject in side:
                    raise ValueError(
                        f"Subject {subject!r} is in {side[subject]} and in {name}: a subject belongs to one side."
                    )
                side[subject] = name
        if not self.train:
            raise ValueError("A split needs at least one subject to train on.")
        return self

    def fraction(self, fraction: float, random_state=0) -> Split:
        """The same split with only a part of the subjects to train on.

        Fractions are nested: with the same `random_state`, the subjects of a smaller fraction are among those of every
        larger one, so that a learning curve adds subjects and never exchanges them.

        Parameters
        ----------
        fraction : float
            Above 0, at most 1; rounded to whole subjects, at least one.
        random_state : int | RandomState | None
            Which subjects.

        Returns
        -------
        Split

        Raises
        ------
        ValueError
            If `fraction` is outside (0, 1].
        """
        if not 0 < fraction <= 1:
            raise ValueError(f"fraction={fraction!r} must be above 0 and at most 1.")
        n = max(1, round(fraction * len(self.train)))
        chosen = set(check_random_state(random_state).permutation(len(self.train))[:n].tolist())
        return self.model_copy(update={"train": tuple(s for i, s in enumerate(self.train) if i in chosen)})


def subject_folds(
    subjects: Iterable[str],
    n_folds: int = 5,
    n_train: int | None = None,
    n_valid: int | None = None,
    n_test: int | None = None,
    random_state=0,
) -> list[Split]:
    """Folds by subject: each subject is tested on once, where sizes allow it.

    Parameters
    ----------
    subjects : iterable of str
        Subject names; repeats (one name per window, say) count once.
    n_folds : int
        How many folds.
    n_train, n_valid, n_test : int, optional
        Subjects per side. Not given, `n_test` is the number of subjects over `n_folds` (a fifth for one fold),
        `n_valid` a quarter of the rest (all of it beside a given `n_train`), and `n_train` what remains. For 60 to 62
        subjects and 5 folds, as MASS session 3 has, it is the split of the AugNet paper: 24 to train, 24 to validate,
        12 to test.
    random_state : int | RandomState | None
        Order in which subjects are dealt out.

    Returns
    -------
    list of Split

    Raises
    ------
    TypeError
        If subjects are no names, as those of a dataset are not.
    ValueError
        If the request cannot be met: the sizes and what is there are named.

    Examples
    --------
    >>> folds = subject_folds([f"s{i}" for i in range(62)])
    >>> [(len(f.train), len(f.valid), len(f.test)) for f in folds][:2]
    [(24, 24, 12), (24, 24, 12)]
    """
    subjects = [subjects] if isinstance(subjects, str) else list(subjects)
    odd = next((s for s in subjects if not np.isscalar(s)), None)
    if odd is not None:
        raise TypeError(
            f"subjects holds a {type(odd).__name__}; names of subjects are due: of nights these are nights.subjects."
        )
    names = list(dict.fromkeys(str(s) for s in subjects))
    n_train, n_valid, n_test = _fold_sizes(names, n_folds, n_train, n_valid, n_test)
    order = [names[i] for i in check_random_state(random_state).permutation(len(names))]
    place = {s: i for i, s in enumerate(names)}
    folds = []
    for k in range(n_folds):
        # Turning the order puts another stretch of it in front: test sets of different folds never meet.
        turned = order[k * n_test :] + order[: k * n_test]
        sides = (
            turned[n_test + n_valid : n_test + n_valid + n_train],
            turned[n_test : n_test + n_valid],
            turned[:n_test],
        )
        train, valid, test = (tuple(sorted(side, key=place.__getitem__)) for side in sides)
        folds.append(Split(train=train, valid=valid, test=test))
    return folds


def _fold_sizes(
    names: Sequence[str], n_folds: int, n_train: int | None, n_valid: int | None, n_test: int | None
) -> tuple[int, int, int]:
    """How many subjects a fold has to train, to validate and to test; refuses what cannot be."""
    n = len(names)
    sizes = {"n_train": n_train, "n_valid": n_valid, "n_test": n_test}
    for name, value in {"n_folds": n_folds, **sizes}.items():
        if value is not None or name == "n_folds":
            check_number(name, value, lambda n: isinstance(n, Integral), "it is a whole number of subjects or folds")
    if n_folds < 1:
        raise ValueError(f"n_folds={n_folds} must be at least 1.")
    if n < 3:
        raise ValueError(
            f"{n} subject(s) {names} cannot be split in train, validation and test: at least 3 are needed."
        )
    for name, value in sizes.items():
        if value is not None and (value < 0 or (value == 0 and name == "n_train")):
            raise ValueError(f"{name}={value} is not a possible number of subjects.")
    mass = n_folds == 5 and 60 <= n <= 62 and not any(v is not None for v in sizes.values())
    if mass:
        n_train, n_valid, n_test = 24, 24, 12
    if n_test is None:
        n_test = max(1, n // (n_folds if n_folds > 1 else 5))
        if n_folds > n:
            raise ValueError(
                f"{n_folds} folds cannot be made of {n} subjects: each fold tests on at least one of its own; "
                f"ask for {n} folds or fewer."
            )
    if n_valid is None:
        rest = n - n_test - (n_train or 0)
        n_valid = max(0, rest) if n_train is not None else max(1, round((n - n_test) / 4))
    if n_train is None:
        n_train = n - n_test - n_valid
    if n_train < 1 or n_train + n_valid + n_test > n:
        raise ValueError(
            f"{n_train} subjects to train, {n_valid} to validate and {n_test} to test were asked for; there are {n} "
            f"subjects."
        )
    if n_folds * n_test > n and n_test:
        raise ValueError(
            f"{n_folds} folds that each test on {n_test} others need {n_folds * n_test} subjects; there are {n}."
        )
    return n_train, n_valid, n_test


def save_splits(splits: Sequence[Split], path: str | os.PathLike) -> None:
    """Write splits to a JSON file; one that is there is replaced in one step."""
    content = {"format": "eegaug-splits", "version": 1, "splits": [s.model_dump() for s in splits]}
    write_json(path, content)


def load_splits(path: str | os.PathLike) -> list[Split]:
    """Read splits from a JSON file that `save_splits` wrote.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is something else, or a subject in it is on two sides.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as err:
        raise ValueError(f"{path} is no JSON file: {err}.") from err
    if not isinstance(content, dict) or content.get("format") != "eegaug-splits" or content.get("version") != 1:
        raise ValueError(f"{path} is not a file of splits (format 'eegaug-splits', version 1).")
    if not isinstance(content.get("splits"), list):
        raise ValueError(f"{path} has no list of splits.")
    try:
        return [Split.model_validate(s) for s in content["splits"]]
    except ValidationError as err:
        raise ValueError(f"{path}: {err.errors()[0]['msg']}") from err
