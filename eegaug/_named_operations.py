"""Operations as a user names them: by name, as an instance, or as a tuple like those of policies."""

from __future__ import annotations

import numbers
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from eegaug.operations import Operation, get_operation
from eegaug.policies.parts import FIXED_SLEEP

__all__ = ["Named", "fixed_operation", "is_one_operation", "named_operation", "usual_magnitude"]


class Named(NamedTuple):
    """An operation with what was said about it; None is left to who uses it."""

    operation: Operation
    probability: float | None
    magnitude: float | None


def is_one_operation(spec: Any) -> bool:
    """Whether this names a single operation: a name, an instance, a class, or ``(operation, probability, …)``."""
    if isinstance(spec, (tuple, list)):  # a list, where it comes from JSON
        return 1 < len(spec) <= 4 and isinstance(spec[1], numbers.Real)
    return isinstance(spec, (str, Operation)) or (isinstance(spec, type) and issubclass(spec, Operation))


def named_operation(
    spec: Any, *, sfreq: float | None = None, ch_names: Sequence[str] | None = None, positions: Any = None
) -> Named:
    """The operation that `spec` stands for.

    Parameters
    ----------
    spec : str | Operation | subclass of Operation | tuple
        A tuple is ``(operation, probability, magnitude, options)``, of which the last ones may be missing.
    sfreq, ch_names, positions
        See :func:`eegaug.operations.get_operation`.

    Returns
    -------
    Named
        The magnitude is :func:`usual_magnitude` where none is given.

    Raises
    ------
    ValueError
        For an unknown name, a number outside of [0, 1], or when the operation lacks something it needs.
    TypeError
        For anything else.
    """
    if not is_one_operation(spec):
        raise TypeError(
            f"an operation is a name, an Operation or a tuple (operation, probability, magnitude), got {spec!r}"
        )
    parts = tuple(spec) if isinstance(spec, (tuple, list)) else (spec,)
    name, probability, magnitude, options = (*parts, *(None,) * (4 - len(parts)))
    operation = get_operation(name, sfreq=sfreq, ch_names=ch_names, positions=positions, warn=False, **(options or {}))
    for word, value in (("probability", probability), ("magnitude", magnitude)):
        if value is not None and not 0 <= value <= 1:
            raise ValueError(f"{operation.name}: {word} is {value}; it lies in [0, 1].")
    return Named(operation, probability, usual_magnitude(operation) if magnitude is None else float(magnitude))


def fixed_operation(name: str, **about: Any) -> Operation:
    """An operation with the options of the fixed sleep policy, for a signal."""
    return get_operation(name, warn=False, **about, **FIXED_SLEEP.get(name, (None, {}))[1])


def usual_magnitude(operation: Operation) -> float | None:
    """The strength of the fixed sleep policy as a magnitude, 0.5 for other operations, None where there is none."""
    if not operation.has_magnitude:
        return None
    strength = FIXED_SLEEP.get(operation.name, (None, {}))[0]
    return 0.5 if strength is None else min(1.0, strength / operation.max_strength)


def as_policy(named: Iterable[Named], probability: float, **signal: Any) -> Any:
    """A policy that draws one of these operations for each window; `probability` is theirs where none is given."""
    from eegaug.policies import Policy, PolicyOperation, SubPolicy

    steps = [
        PolicyOperation(
            operation=one.operation,
            probability=probability if one.probability is None else one.probability,
            magnitude=one.magnitude,
        )
        for one in named
    ]
    return Policy(sub_policies=[SubPolicy(operations=(step,)) for step in steps], **signal)
