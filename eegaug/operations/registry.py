"""Operations by name."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from eegaug._validation import channel_differences
from eegaug.operations import frequency, sensors, time
from eegaug.operations.base import Operation

__all__ = ["FAMILIES", "get_operation", "list_operations", "register_operation"]

_BUILT_IN: tuple[type[Operation], ...] = (
    time.TimeReverse,
    time.TimeMasking,
    time.GaussianNoise,
    frequency.FTSurrogate,
    frequency.FrequencyShift,
    frequency.BandstopFilter,
    sensors.SignFlip,
    sensors.ChannelsSymmetry,
    sensors.ChannelsShuffle,
    sensors.ChannelsDropout,
    sensors.SensorsRotationX,
    sensors.SensorsRotationY,
    sensors.SensorsRotationZ,
)
_registry: dict[str, type[Operation]] = {cls.name: cls for cls in _BUILT_IN}

#: The operations that each group of a layer stands for.
FAMILIES: dict[str, tuple[str, ...]] = {
    "time-frequency": tuple(cls.name for cls in _BUILT_IN if cls.family != "sensors"),
    "sensors": tuple(cls.name for cls in _BUILT_IN if cls.family == "sensors"),
    "all": tuple(cls.name for cls in _BUILT_IN),
}

_Class = TypeVar("_Class", bound=type[Operation])


def register_operation(cls: _Class) -> _Class:
    """Make an operation known by its name; a class decorator.

    Parameters
    ----------
    cls : type
        A subclass of :class:`Operation` with a ``name`` of its own.

    Returns
    -------
    type
        `cls` itself.

    Raises
    ------
    TypeError
        When `cls` is no such class.
    ValueError
        When the name belongs to another class already.

    Examples
    --------
    >>> from eegaug.operations import Operation, get_operation, register_operation
    >>> @register_operation
    ... class Halving(Operation):
    ...     name, family = "halving", "time"
    ...     def transform(self, X, magnitude, noise):
    ...         return X * (1 - magnitude / 2)[:, None, None]
    >>> get_operation("halving")
    Halving(max_strength=1.0)
    """
    if not (isinstance(cls, type) and issubclass(cls, Operation) and cls.name):
        raise TypeError(f"register_operation takes a subclass of Operation that has a name, got {cls!r}")
    known = _registry.get(cls.name)
    # A class defined again (in a notebook, say) replaces its older self.
    if known is not None and (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
        raise ValueError(f"there is already an operation named {cls.name!r}: {known.__qualname__}; choose another name")
    _registry[cls.name] = cls
    return cls


def list_operations(group: str = "all") -> list[str]:
    """Names of the operations.

    Parameters
    ----------
    group : {"all", "time-frequency", "sensors"}
        ``"all"`` also lists operations registered by users, after the 13 of this package.

    Returns
    -------
    list of str

    Examples
    --------
    >>> from eegaug.operations import list_operations
    >>> list_operations("time-frequency")
    ['time_reverse', 'time_masking', 'gaussian_noise', 'ft_surrogate', 'frequency_shift', 'bandstop_filter']
    """
    if group not in FAMILIES:
        raise ValueError(f"unknown group {group!r}; the groups are {list(FAMILIES)}")
    return list(_registry) if group == "all" else list(FAMILIES[group])


def get_operation(
    name: str | Operation | type[Operation],
    *,
    sfreq: float | None = None,
    ch_names: Sequence[str] | None = None,
    positions: Mapping[str, Sequence[float]] | np.ndarray | None = None,
    warn: bool = True,
    **options: Any,
) -> Operation:
    """Build an operation from its name.

    Parameters
    ----------
    name : str, Operation or subclass of Operation
        See :func:`list_operations`. An instance is returned as it is; options do not go with it, and it has to be for
        this signal.
    sfreq : float or None
        Sampling rate in Hz.
    ch_names : sequence of str or None
        Channel labels in the order of the signal's channels.
    positions : mapping, array (n_channels, 3) or None
        Own electrode positions, see :func:`eegaug.montage.electrode_positions`.
    warn : bool
        Whether to warn when the operation means nothing on this montage.
    **options
        The operation's own options: ``max_strength``, ``parity``, and those in its documentation.

    Returns
    -------
    Operation

    Raises
    ------
    ValueError
        For an unknown name, an instance that was built for another sampling rate or other channels, or when the
        operation lacks something it needs; the message says what to pass.
    TypeError
        For an option that the operation does not have, or any that comes with an instance.

    Examples
    --------
    >>> from eegaug.operations import get_operation
    >>> op = get_operation("frequency_shift", sfreq=100)
    >>> op.max_strength, op.unit
    (5.0, 'Hz')
    """
    if isinstance(name, Operation):
        if options:
            raise TypeError(
                f"{sorted(options)[0]!r} comes with a {name.name} that is built already, which keeps its own options: "
                "give its name or class instead, or leave it out"
            )
        _refuse_other_signal(name, sfreq, ch_names)
        return name
    if isinstance(name, type) and issubclass(name, Operation):
        cls = name
    elif not isinstance(name, str):
        raise TypeError(f"an operation is a name, an Operation or a subclass of it, got {name!r}")
    elif name not in _registry:
        raise ValueError(
            f"unknown operation {name!r}; known are {list(_registry)}. An operation of your own must be registered "
            "(eegaug.operations.register_operation) first"
        )
    else:
        cls = _registry[name]
    unknown = set(options) - set(cls.options())
    if unknown:
        raise TypeError(f"{cls.name} has no option {sorted(unknown)[0]!r}; its options are {list(cls.options())}")
    operation = cls(sfreq=sfreq, ch_names=ch_names, positions=positions, **options)
    if warn and operation.ch_names is not None:
        operation.warn_if_void(len(operation.ch_names))
    return operation


def _refuse_other_signal(operation: Operation, sfreq: float | None, ch_names: Sequence[str] | None) -> None:
    """Raise where an operation would act on a signal of another rate, or on other channels, than it was built for."""
    if operation.needs_sfreq and sfreq is not None and not math.isclose(operation.sfreq, sfreq, rel_tol=1e-5):
        raise ValueError(f"{operation.name} was built for {operation.sfreq:g} Hz, the signal has {sfreq:g} Hz")
    needs_channels = operation.needs_ch_names or operation.needs_positions
    if needs_channels and ch_names is not None and operation.ch_names is not None:
        wrong, _ = channel_differences(operation.ch_names, ch_names)
        if wrong:
            built_for = ", ".join(operation.ch_names)
            raise ValueError(f"{operation.name} was built for other channels ({built_for}): {'; '.join(wrong)}")
