"""What a method is: a name and a way to build its estimator.

Every method of a comparison is trained by the same code on the same windows, so a method is nothing but a factory:
it gets the settings that all methods share and returns an unfitted :class:`eegaug.classifier.StagingClassifier` (or a
subclass). Further methods, also a user's own, join with :func:`register_method`.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from eegaug._plain_data import plain_numbers
from eegaug._warning import warn

__all__ = ["Method", "get_method", "list_methods", "register_method"]

#: What an extra installs.
_MODULES = {"search": "optuna"}


@dataclass(frozen=True)
class Method:
    """A method that can be compared.

    Parameters
    ----------
    name : str
        Short name, as used on the command line, in tables and in run folders: letters, digits, ``-``, ``_`` and ``.``.
    label : str
        Name in figures and sentences.
    build : callable
        ``build(common, **options)`` → unfitted estimator. ``common`` holds the keyword arguments every method shares
        (module, sfreq, ch_names, max_epochs, batch_size, callbacks, train_split, random_state, …), ``options`` what
        only this method takes.
    defaults : mapping
        The options of this method and their defaults; any other option is refused by name.
    searches : bool
        Whether ``build`` gives a :class:`eegaug.search.PolicySearch`, which finds a policy to train with. Then
        ``common`` holds what describes the network and its training only, and ``defaults`` also ``max_steps``, the
        steps of the search, and ``retrain_every``, those between two trainings with the policy found so far, which
        ``build`` does not get.
    extra : str, optional
        The extra of eegaug that it needs: ``"search"``.
    """

    name: str
    label: str
    build: Callable[..., Any]
    defaults: Mapping[str, Any]
    searches: bool = False
    extra: str | None = None

    def __post_init__(self) -> None:
        if not self.name or not all(c.isalnum() or c in "-_." for c in self.name):
            raise ValueError(f"method name {self.name!r}: use letters, digits, '-', '_' and '.' (it names a folder)")
        missing = {"max_steps", "retrain_every"} - set(self.defaults) if self.searches else ()
        if missing:
            raise ValueError(f"method {self.name!r} searches, so its defaults need {' and '.join(sorted(missing))}")

    def check_installed(self) -> None:
        """Raise ImportError if what the method needs is not installed, naming the extra to install."""
        if self.extra is None:
            return
        module = _MODULES[self.extra]
        try:
            importlib.import_module(module)
        except ImportError:
            raise ImportError(
                f"method {self.name!r} needs {module}, which is not installed: pip install 'eegaug[{self.extra}]'"
            ) from None

    def options(self, given: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The method's options: its defaults, replaced by ``given``.

        ValueError for one that it does not take or that is not plain data (numbers, text, lists).
        """
        defaults, given = plain_numbers(dict(self.defaults)), plain_numbers(dict(given or {}))
        unknown = sorted(set(given) - set(defaults))
        if unknown:
            takes = ", ".join(defaults) or "no options"
            raise ValueError(f"method {self.name!r} does not take {', '.join(unknown)}; it takes {takes}")
        options = {**defaults, **given}
        for name, value in given.items():
            check_kind(f"option {name} of method {self.name!r}", value, defaults[name])
        for name, value in options.items():
            check_plain(
                f"option {name} of method {self.name!r}", value, "put it into the factory of a Method of your own"
            )
        return options


def check_plain(what: str, value: Any, remedy: str) -> None:
    """Refuse what cannot be written into the settings of a run."""
    try:
        json.dumps(value)
    except TypeError:
        raise ValueError(f"{what} is no plain data, so it cannot be kept with the results; {remedy}") from None


def check_kind(what: str, value: Any, default: Any) -> None:
    """Refuse what is no number where the default is one, and the like; None always goes."""
    kinds = {bool: (bool, "true or false"), int: (int, "a whole number"), float: ((int, float), "a number")}
    kinds[tuple] = ((list, tuple), "a list")
    kind, words = kinds.get(type(default), (object, ""))
    if value is not None and (
        not isinstance(value, kind) or (isinstance(value, bool) and type(default) in (int, float))
    ):
        raise ValueError(f"{what} is {value!r}; {words} is due")


_METHODS: dict[str, Method] = {}


def register_method(method: Method, *, replace: bool = False) -> Method:
    """Make a method known by its name.

    Parameters
    ----------
    method : Method
    replace : bool
        Allow a method of this name to be replaced.

    Returns
    -------
    Method
        The same method.

    Examples
    --------
    >>> from eegaug.comparison import Method, list_methods, register_method
    >>> from eegaug.classifier import StagingClassifier
    >>> def build(common, weight_decay=0.01):
    ...     return StagingClassifier(**common, optimizer__weight_decay=weight_decay)
    >>> _ = register_method(Method("decay", "weight decay", build, {"weight_decay": 0.01}), replace=True)
    >>> "decay" in list_methods()
    True
    """
    if method.name in _METHODS and not replace:
        raise ValueError(f"a method named {method.name!r} is already registered; pass replace=True to replace it")
    _METHODS[method.name] = method
    return method


def list_methods() -> list[str]:
    """Names of the methods that :func:`eegaug.compare` knows: those without a search, the searches, the user's own."""
    from eegaug.comparison.search_methods import SEARCHES

    return list(dict.fromkeys([*_BUILT_IN, *SEARCHES, *_METHODS]))


def get_method(method: str | Method) -> Method:
    """The method of this name; a :class:`Method` passes through. ValueError names those that exist."""
    from eegaug.comparison.search_methods import SEARCHES, search_method

    if isinstance(method, Method):
        return method
    if not isinstance(method, str):
        raise TypeError(
            f"a method is a name or an eegaug.comparison.Method, not a {type(method).__name__}: of an estimator make "
            "one, Method(name, label, build, {}), where build(common) returns it with the settings that all share"
        )
    if method in SEARCHES and method not in _METHODS:
        _METHODS[method] = search_method(method)
    try:
        return _METHODS[method]
    except KeyError:
        raise ValueError(f"unknown method {method!r}; known are {', '.join(list_methods())}") from None


def _none(common: dict[str, Any]) -> Any:
    from eegaug.classifier import StagingClassifier

    return StagingClassifier(**common)


def _ready_made(common: dict[str, Any], *, kind: str, **options: Any) -> Any:
    from eegaug.classifier import StagingClassifier
    from eegaug.policy import Policy

    policy = getattr(Policy, kind)(sfreq=common["sfreq"], ch_names=common["ch_names"], **options)
    return StagingClassifier(**common, policy=policy)


def _augnet(common: dict[str, Any], **options: Any) -> Any:
    from eegaug.augnet import AugNetClassifier

    layers = [_without_places(layer, common) for layer in options.pop("layers")]
    return AugNetClassifier(**common, layers=layers, **options)


def _without_places(layer: Any, common: Mapping[str, Any]) -> Any:
    """A named group of operations, without those that need electrode positions where a channel's is not known.

    In Python, positions can be passed to AugNetClassifier. A folder of recordings has nothing but its channel names.
    """
    from eegaug.operations import FAMILIES
    from eegaug.operations.possible import possible_operations

    if not isinstance(layer, str) or layer not in FAMILIES:
        return layer
    possible, _, lacking = possible_operations(FAMILIES[layer], sfreq=common["sfreq"], ch_names=common["ch_names"])
    if not lacking:
        return layer
    warn(f"learned augmentation goes without {', '.join(lacking)}: {next(iter(lacking.values()))}")
    return [operation.name for operation in possible]


register_method(Method("none", "no augmentation", _none, {}))
register_method(Method("fixed", "fixed policy", partial(_ready_made, kind="fixed_sleep"), {}))
_AUGNET: dict[str, Any] = {
    "layers": ("time-frequency", "time-frequency", "sensors"),
    "penalty": 10.0,
    "penalty_kind": "selective",
    "penalty_reduction": "global",
    "n_copies": 4,
    "n_copies_train": 1,
    "aggregate": "log_probs",
    "augmentation_lr": None,
    "augmentation_weight_decay": 0.0,
    "initial_strength": 0.1,
    "temperature": 0.01,
}
register_method(Method("augnet", "AugNet", _augnet, _AUGNET))
register_method(
    Method(
        "augnet-change", "AugNet rewarded for change", _augnet, {**_AUGNET, "penalty": 0.5, "penalty_kind": "change"}
    )
)
register_method(
    Method(
        "augnet-single",
        "AugNet, one operation per window",
        _augnet,
        {
            "layers": ("all",),
            "selection": "single",
            "identity_share": 0.0,
            "judge_share": 0.25,
            "penalty": 0.1,
            "penalty_kind": "log",
            "n_copies": 0,
            "aggregate": "log_probs",
            "augmentation_lr": 1e-2,
            "augmentation_weight_decay": 0.0,
            "initial_strength": 0.1,
            "lr_schedule": "cosine",
        },
    )
)
register_method(
    Method("uniform", "uniform random", partial(_ready_made, kind="uniform"), {"operations": "all", "probability": 0.5})
)
register_method(
    Method(
        "trivial-augment",
        "TrivialAugment",
        partial(_ready_made, kind="trivial_augment"),
        {"operations": "all", "max_magnitude": 1.0},
    )
)
register_method(
    Method(
        "rand-augment",
        "RandAugment",
        partial(_ready_made, kind="rand_augment"),
        {"operations": "all", "n_operations": 2, "magnitude": 0.3},
    )
)

_BUILT_IN = tuple(_METHODS)
