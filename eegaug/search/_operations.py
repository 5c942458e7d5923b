"""What the policies of a search are made of."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from eegaug._inputs import Signal
from eegaug._warning import warn
from eegaug.montage import electrode_positions
from eegaug.operations import Operation, get_operation, list_operations
from eegaug.operations.possible import possible_operations

__all__ = ["resolve_operations"]


def resolve_operations(operations: Any, signal: Signal, positions: Any = None) -> list[Operation]:
    """The operations of a search, built for a signal.

    Parameters
    ----------
    operations : str or sequence of str, Operation or subclass
        A named group, of which those are left out, with a warning, that mean nothing on this montage or whose
        electrodes have no known place; or a list, of which nothing is left out.
    signal : Signal
    positions : mapping, array or None

    Raises
    ------
    TypeError
        For what is neither a name nor a list, and for a set.
    ValueError
        For an empty list, an operation listed twice, an unknown name, positions of nobody, or when sampling rate or
        channels are not known and are needed.
    """
    if positions is not None:  # as every policy would, after the search
        if signal.ch_names is None:
            raise ValueError("positions need ch_names=[...], which say whose they are.")
        electrode_positions(signal.ch_names, positions)
    about = {"sfreq": signal.sfreq, "ch_names": signal.ch_names, "positions": positions}
    if not isinstance(operations, (str, Iterable)):
        raise TypeError(f"operations is {operations!r}; name a group, such as 'all', or list operations.")
    if isinstance(operations, (set, frozenset)):
        raise TypeError("operations is a set, whose order is another in each process: pass a list.")
    if not isinstance(operations, str):
        built = [get_operation(one, warn=False, **about) for one in operations]
        if not built:
            raise ValueError(
                "operations is empty; list one or more, or name a group: 'all', 'time-frequency', 'sensors'."
            )
        names = [op.name for op in built]
        twice = next((name for i, name in enumerate(names) if name in names[:i]), None)
        if twice is not None:
            raise ValueError(f"operations has {twice!r} twice; list each operation once.")
        for op in built:
            op.warn_if_void(signal.n_chans)
        return built
    built, void, lacking = possible_operations(list_operations(operations), **about)
    if lacking and (signal.sfreq is None or signal.ch_names is None):
        raise next(iter(lacking.values()))
    told = "; ".join(f"{name} ({reason})" for name, reason in (void | lacking).items())
    if not built:
        raise ValueError(f"no operation of {operations!r} means anything on this montage: {told}.")
    if told:
        warn(f"the search goes without operations that mean nothing on this montage: {told}.")
    return built
