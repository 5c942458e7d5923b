"""The searches as methods of a comparison."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from eegaug._validation import check_count
from eegaug.comparison.methods import Method

__all__ = ["SEARCHES", "check_search", "few_windows", "search_method"]

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


def few_windows(nights: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Random windows of the shape of these nights, one of each stage of two subjects: windows, stages and subjects."""
    n_classes = len(nights.classes)
    stages = np.tile(np.arange(n_classes), 2)
    shape = (len(stages), *np.shape(nights[0][0]))
    windows = np.random.default_rng(0).standard_normal(shape).astype("float32")
    return windows, stages, np.array(["a", "b"]).repeat(n_classes)


def check_search(method: Method, options: Mapping[str, Any], training: Mapping[str, Any], nights: Any) -> None:
    """Refuse what a search would refuse of its options, before any run begins.

    On a few random windows of the same signal it makes its own first checks, builds what it works with, and gives the
    policy that it would return without a step. Of a search that is not of this package only the numbers of steps are
    checked: it may need the real windows.

    Parameters
    ----------
    method : Method
        One that searches.
    options : mapping
        Of the method.
    training : mapping
        See :func:`eegaug.comparison.estimators.common_arguments`.
    nights : Nights
        For channels, sampling rate and length of a window.

    Raises
    ------
    ValueError, TypeError
        What the search says.
    """
    from eegaug._random import contained_rng
    from eegaug.comparison.estimators import trunk_arguments
    from eegaug.search._checks import check_numbers
    from eegaug.search._running import Running

    options = dict(options)
    for name in ("retrain_every", "max_steps"):
        if name in options:
            check_count(name, options[name])
    if getattr(method.build, "func", None) is not _build:
        return
    options.pop("retrain_every", None)
    # Not on the device of the runs: other processes may be going to use it.
    search = method.build(trunk_arguments(training, nights, 0, "cpu"), **options)
    check_numbers(search)
    several = search.get_params(deep=False).get("n_folds", 1) > 1
    search.set_params(valid_size=1 if several else ["b"], random_state=0, verbose=0)
    windows, stages, groups = few_windows(nights)
    search._forget()
    estimator, windows, labels = search._prepare(windows, stages)
    task = search._make_task(estimator, windows, labels, groups, 0)
    search._check(task)
    search._running = Running(task, None, {})
    search._begin_anew()
    with contained_rng(0, task.device):
        search.current_policy()
