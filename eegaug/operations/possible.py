"""Which operations a signal allows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from eegaug.operations.base import Operation
from eegaug.operations.registry import get_operation

__all__ = ["possible_operations"]


def possible_operations(
    names: Iterable[str],
    *,
    sfreq: float | None = None,
    ch_names: Sequence[str] | None = None,
    positions: Any = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
) -> tuple[list[Operation], dict[str, str], dict[str, ValueError]]:
    """Operations that can be built for a signal and mean something on it, and why the others do not.

    Parameters
    ----------
    names : iterable of str
    sfreq, ch_names, positions
        The signal, see :func:`get_operation`. Without `ch_names` no operation is known to mean nothing.
    options : mapping, optional
        Name of an operation → its options.

    Returns
    -------
    possible : list of Operation
    void : dict
        Name of an operation that means nothing on this montage → the reason.
    lacking : dict
        Name of an operation that cannot be built for this signal → the error that says what it lacks.
    """
    possible: list[Operation] = []
    void: dict[str, str] = {}
    lacking: dict[str, ValueError] = {}
    for name in names:
        given = (options or {}).get(name, {})
        try:
            operation = get_operation(name, sfreq=sfreq, ch_names=ch_names, positions=positions, warn=False, **given)
        except ValueError as error:
            lacking[name] = error
            continue
        reason = None if ch_names is None else operation.void_reason(len(ch_names))
        if reason is None:
            possible.append(operation)
        else:
            void[name] = reason
    return possible, void, lacking
