"""The searches as methods of a comparison."""

from __future__ import annotations

import inspect
import json
from functools import partial
from typing import Any

from eegaug.comparison.methods import Method

__all__ = ["SEARCHES", "search_method"]

#: Short name of each search (that of :func:`eegaug.search.get_searcher`), its name in words, and how many steps lie
#: between two trainings with the policy found so far. A step of the first three is one policy tried, of the others one
#: pass through the training windows.
SEARCHES: dict[str, tuple[str, int]] = {
    "random": ("random search", 5),
    "autoaugment": ("AutoAugment", 5),
    "fast-autoaugment": ("Fast AutoAugment", 5),
    "faster-autoaugment": ("Faster AutoAugment", 2),
    "dada": ("DADA", 2),
    "adda": ("ADDA", 2),
    "cadda": ("CADDA", 2),
    "dna": ("DNA", 2),
}

_ON_OPTUNA = {"autoaugment", "fast-autoaugment"}

# What the comparison itself says to each search, or what is no business of a result.
_NOT_OPTIONS = {
    *("estimator", "sfreq", "ch_names", "positions", "random_state", "verbose", "valid_size", "refit"),
    *("checkpoint", "step_callback", "time_budget", "max_epochs", "patience", "n_jobs", "storage"),
}


def search_method(name: str) -> Method:
    """The method that runs the search of this name; its options are the plain parameters of the searcher."""
    label, every = SEARCHES[name]
    defaults = {"retrain_every": every, **_parameters(name)}
    extra = "search" if name in _ON_OPTUNA else None
    return Method(name, label, partial(_build, name=name), defaults, searches=True, extra=extra)


def _parameters(name: str) -> dict[str, Any]:
    from eegaug.search import get_searcher

    found = {}
    for parameter in inspect.signature(get_searcher(name)).parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and parameter.name not in _NOT_OPTIONS:
            try:
                json.dumps(parameter.default)
            except TypeError:
                continue
            found[parameter.name] = parameter.default
    return found


def _build(common: dict[str, Any], *, name: str, **options: Any) -> Any:
    from eegaug.classifier import StagingClassifier
    from eegaug.search import get_searcher

    return get_searcher(name)(StagingClassifier(**common), **options)
