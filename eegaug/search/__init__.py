"""Searches for augmentation policies, as scikit-learn estimators: ``fit(X, y, groups)`` finds ``policy_``."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import Any

from eegaug import _compat

_compat.require_braindecode()

from eegaug.search.base import PolicySearch, SearchState, SearchTask  # noqa: E402

# Where each searcher lives; loaded on first use.
_HOME = {
    "AutoAugmentSearch": "autoaugment",
    "ADDASearch": "adda",
    "DADASearch": "dada",
    "DNASearch": "dna",
    "FastAutoAugmentSearch": "fast_autoaugment",
    "FasterAutoAugmentSearch": "faster_autoaugment",
    "RandomSearch": "random_search",
}

# Short names, as used on the command line and in tables: class, and what it is called with.
_SEARCHERS: dict[str, tuple[str, dict[str, Any]]] = {
    "random": ("RandomSearch", {}),
    "autoaugment": ("AutoAugmentSearch", {}),
    "fast-autoaugment": ("FastAutoAugmentSearch", {}),
    "faster-autoaugment": ("FasterAutoAugmentSearch", {}),
    "dada": ("DADASearch", {}),
    "adda": ("ADDASearch", {}),
    "cadda": ("ADDASearch", {"class_wise": True}),
    "dna": ("DNASearch", {}),
}

__all__ = [
    "ADDASearch",
    "AutoAugmentSearch",
    "DADASearch",
    "DNASearch",
    "FastAutoAugmentSearch",
    "FasterAutoAugmentSearch",
    "PolicySearch",
    "RandomSearch",
    "SearchState",
    "SearchTask",
    "get_searcher",
    "list_searchers",
]


def list_searchers() -> list[str]:
    """Short names of the searchers.

    Examples
    --------
    >>> from eegaug.search import list_searchers
    >>> "random" in list_searchers()
    True
    """
    return list(_SEARCHERS)


def get_searcher(name: str) -> Callable[..., PolicySearch]:
    """The searcher of a short name: a class, or a class with some of its parameters set.

    Raises
    ------
    ValueError
        For a name that no searcher has.

    Examples
    --------
    >>> from eegaug.search import get_searcher
    >>> get_searcher("random")(max_steps=3).max_steps
    3
    """
    if name not in _SEARCHERS:
        raise ValueError(f"unknown searcher {name!r}; known are {', '.join(_SEARCHERS)}.")
    cls, settings = _SEARCHERS[name]
    searcher = __getattr__(cls)
    return functools.partial(searcher, **settings) if settings else searcher


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'eegaug.search' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"eegaug.search.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
