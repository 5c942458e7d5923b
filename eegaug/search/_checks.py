"""What the parameters of a search may be, its estimator among them, and how they are shown."""

from __future__ import annotations

import inspect
import math
import numbers
from collections.abc import Sequence
from typing import Any

from sklearn.base import clone

from eegaug.classifier import StagingClassifier

__all__ = ["check_numbers", "check_one_of", "check_positive", "checked_clone", "spell_out_parameters"]

_CHECKED_ELSEWHERE = ("max_epochs", "max_steps", "verbose")


def check_numbers(search: Any) -> None:
    """Refuse what is no number where a parameter of a search is annotated as one, and none where one is needed.

    Raises
    ------
    ValueError
    """
    kinds = {"int": (numbers.Integral, "a whole number"), "float": (numbers.Real, "a number")}
    for name, parameter in inspect.signature(type(search)).parameters.items():
        kind, _, rest = inspect.formatannotation(parameter.annotation).strip("'").partition(" | ")
        value = getattr(search, name)
        if kind not in kinds or rest not in ("", "None") or name in _CHECKED_ELSEWHERE or (rest and value is None):
            continue
        number, words = kinds[kind]
        if isinstance(value, bool) or not isinstance(value, number):
            raise ValueError(f"{name} is {value!r}; it is {words}{' or None' if rest else ''}.")
        if name in ("n_sub_policies", "n_operations", "patience") and value < 1:
            raise ValueError(f"{name} is {value}; it is 1 or more.")


def check_one_of(search: Any, **known: Sequence[str]) -> None:
    """Refuse a parameter of a search, by its name, that is none of the words known; raises ValueError."""
    for name, words in known.items():
        if getattr(search, name) not in words:
            raise ValueError(f"{name} is {getattr(search, name)!r}; it is one of {', '.join(map(repr, words))}.")


def check_positive(search: Any, *names: str) -> None:
    """Refuse parameters of a search that are not finite numbers above 0; raises ValueError."""
    for name in names:
        if not 0 < getattr(search, name) < math.inf:
            raise ValueError(f"{name} is {getattr(search, name)!r}; it has to be above 0.")


def checked_clone(estimator: Any, **signal: Any) -> Any:
    """A clone of the estimator of a search, with what the search was told about the signal.

    Raises
    ------
    TypeError
        If it does not train with policies.
    ValueError
        If it has a policy of its own.
    """
    if not isinstance(estimator, StagingClassifier):
        raise TypeError(
            f"estimator is a {type(estimator).__name__}; pass an eegaug.StagingClassifier: it trains with policies."
        )
    if estimator.policy is not None:
        raise ValueError("the estimator has a policy of its own; pass it with policy=None, the search finds one.")
    return clone(estimator).set_params(**{name: value for name, value in signal.items() if value is not None})


def spell_out_parameters(cls: type) -> None:
    """Show, to scikit-learn and to readers, the parameters that a class passes on to its parent as ``**shared``."""
    if "__init__" not in vars(cls):
        return
    own = inspect.signature(cls.__init__).parameters
    if any(p.kind is p.VAR_KEYWORD for p in own.values()):
        kept = [p for p in own.values() if p.kind is not p.VAR_KEYWORD]
        shared = inspect.signature(super(cls, cls).__init__).parameters
        more = [p for name, p in shared.items() if name not in own and p.kind is p.KEYWORD_ONLY]
        cls.__init__.__signature__ = inspect.Signature([*kept, *more])
