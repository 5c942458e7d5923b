"""Optimisers of networks that may never be trained."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch.optim import Optimizer

__all__ = ["initialize_to_predict"]

_add_param_group = Optimizer.add_param_group


def initialize_to_predict(clf: Any) -> None:
    """Build network and optimiser of an estimator that is being loaded, without a word and without a compiler."""
    verbose, clf.verbose = clf.verbose, 0
    with _without_compiler():
        clf.initialize()
    clf.verbose = verbose


@contextmanager
def _without_compiler() -> Iterator[None]:
    """Build optimisers without torch's compiler: a model that was loaded predicts, and most never train again.

    torch keeps this method out of compiled graphs by a decorator, which imports the compiler the first time: for
    seconds. What the method does is the same without it, and a first step of training imports the compiler as ever.
    """
    Optimizer.add_param_group = getattr(_add_param_group, "__wrapped__", _add_param_group)
    try:
        yield
    finally:
        Optimizer.add_param_group = _add_param_group
