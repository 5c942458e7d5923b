"""Windows changed by an operation, the same in every run: what invariance is measured on."""

from __future__ import annotations

import copy
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from eegaug._inputs import Signal
from eegaug._named_operations import is_one_operation, named_operation
from eegaug._random import RandomState, contained_rng, derive_seed, resolve_seed
from eegaug._staging_data import StagingData
from eegaug._transform_draws import reseed
from eegaug.augnet import AugmentationLayer, AugmentationModule
from eegaug.invariance._outputs import signal_for, windows_array
from eegaug.operations import FAMILIES, Operation

__all__ = ["Change", "as_change", "as_changes", "frozen_test_set", "usable"]

# Draws are made for so many windows at once, whatever the batches of the model: they depend on neither.
_CHUNK = 64


@dataclass(frozen=True)
class Change:
    """What is done to windows.

    Parameters
    ----------
    name : str
    apply : callable
        ``apply(X, generator)`` gives changed windows.
    operation : Operation | None
    magnitude : float | None
        In [0, 1], where it is an operation that has one.
    probability : float
        Of the operation.
    """

    name: str
    apply: Callable[[Tensor, torch.Generator], Tensor]
    operation: Operation | None = None
    magnitude: float | None = None
    probability: float = 1.0

    def __call__(self, X: np.ndarray, seed: int, draw: int = 0) -> np.ndarray:
        """Changed windows; the same for the same name, seed and number of the draw."""
        key = zlib.crc32(self.name.encode())
        out = np.empty_like(X)
        for number, start in enumerate(range(0, len(X), _CHUNK)):
            part = slice(start, start + _CHUNK)
            own = derive_seed(seed, key, draw, number)
            with contained_rng(own), torch.no_grad():  # contained: for functions that draw as they like
                changed = self.apply(torch.from_numpy(X[part].copy()), torch.Generator().manual_seed(own))
            if changed.shape != X[part].shape:
                raise ValueError(f"{self.name} made windows of shape {tuple(changed.shape)} of {X[part].shape}.")
            out[part] = changed.numpy()
        return out

    @property
    def strength(self) -> float:
        """Magnitude in the operation's unit; NaN where it has none."""
        if self.operation is None or self.magnitude is None:
            return float("nan")
        return float(self.operation.physical(self.magnitude))

    @property
    def unit(self) -> str:
        """Unit of the strength."""
        return "" if self.operation is None else self.operation.unit


def as_change(
    spec: Any, magnitude: float | None = None, name: str | None = None, *, n_channels: int, **about: Any
) -> Change:
    """What `spec` stands for.

    Parameters
    ----------
    spec : str | Operation | tuple | Policy | callable
        An operation, ``(operation, probability, magnitude)``, a policy, a transform of braindecode, or a function of a
        batch.
    magnitude : float | None
        Of an operation. None: the tuple's, or that of the fixed sleep policy, or 0.5.
    name : str | None
    n_channels : int
        Of the windows.
    **about
        ``sfreq``, ``ch_names``, ``positions``.

    Raises
    ------
    ValueError
        For a policy, transform or layer that is for other channels or another sampling rate.
    TypeError
        For anything else.
    """
    if is_one_operation(spec):
        operation, probability, usual = named_operation(spec, **about)
        if magnitude is not None and not 0 <= magnitude <= 1:
            raise ValueError(f"{operation.name}: magnitude is {magnitude}; it lies in [0, 1].")
        if operation.has_magnitude:
            usual = usual if magnitude is None else float(magnitude)
        probability = 1.0 if probability is None else probability

        def apply(X: Tensor, generator: torch.Generator) -> Tensor:
            return operation(X, usual, probability, generator)

        return Change(name or operation.name, apply, operation, usual, probability)
    if magnitude is not None:
        raise TypeError(f"only an operation has a magnitude, a {type(spec).__name__} has not.")
    _check_signal(spec, n_channels, **about)
    if isinstance(spec, nn.Module):  # its "apply" is torch's, which does something else
        module = copy.deepcopy(spec)
        for part in module.modules():  # in evaluation they would do one thing to all windows
            part.training |= isinstance(part, (AugmentationLayer, AugmentationModule))

        def transform(X: Tensor, generator: torch.Generator) -> Tensor:
            reseed(module)
            return _first(module(X))

        return Change(name or type(spec).__name__, transform)
    if hasattr(spec, "apply"):
        return Change(name or "policy", lambda X, generator: spec.apply(X, generator=generator))
    if callable(spec):
        found = name or getattr(spec, "__name__", type(spec).__name__)
        return Change(found, lambda X, generator: _first(spec(X)))
    raise TypeError(
        f"an operation is a name, an Operation, (operation, probability, magnitude), a Policy or a function; "
        f"got a {type(spec).__name__}."
    )


def as_changes(
    operations: Any, magnitudes: float | Mapping[str, float] | None = None, *, n_channels: int, **about: Any
) -> list[Change]:
    """Changes by different names.

    Parameters
    ----------
    operations : str | sequence | mapping
        A group of operations, of which those that mean nothing on the montage or lack what they need are left out; a
        list of what :func:`as_change` takes; or the same by names.
    magnitudes : float | mapping | None
        One for all operations, or by name.
    n_channels : int
    **about
        ``sfreq``, ``ch_names``, ``positions``.
    """
    if isinstance(operations, str) and operations in FAMILIES:
        operations = {name: name for name in usable(FAMILIES[operations], n_channels, about)}
    elif is_one_operation(operations) or hasattr(operations, "apply") or callable(operations):
        operations = [operations]
    named: Iterable[tuple[str | None, Any]]
    named = operations.items() if isinstance(operations, Mapping) else [(None, spec) for spec in operations]
    changes: dict[str, Change] = {}
    for name, spec in named:
        change = as_change(spec, None, name, n_channels=n_channels, **about)
        magnitude = magnitudes.get(change.name) if isinstance(magnitudes, Mapping) else magnitudes
        if magnitude is not None and change.operation is not None:
            change = as_change(spec, magnitude, name, n_channels=n_channels, **about)
        if change.name in changes:
            raise ValueError(f"two operations are called {change.name!r}: pass a mapping with a name for each.")
        changes[change.name] = change
    if not changes:
        raise ValueError("operations is empty: name one or more.")
    if isinstance(magnitudes, Mapping) and (strange := sorted(set(magnitudes) - set(changes))):
        raise ValueError(f"magnitudes names {strange[0]!r}, which is none of {', '.join(changes)}.")
    return list(changes.values())


def frozen_test_set(
    X: Any,
    operation: Any,
    magnitude: float | None = None,
    *,
    sfreq: float | None = None,
    ch_names: Sequence[str] | None = None,
    positions: Any = None,
    random_state: RandomState = 0,
) -> np.ndarray:
    """Windows changed by an operation: the same bytes in every run with the same seed.

    Parameters
    ----------
    X : array or tensor of shape (n_windows, n_channels, n_times) | mne.Epochs | dataset
    operation : str | Operation | tuple | Policy | callable
        See :func:`transfer_matrix`.
    magnitude : float | None
        In [0, 1]. None: the strength of the fixed sleep policy, 0.5 for operations that it lacks.
    sfreq, ch_names, positions
        What the operation has to know and the data do not say.
    random_state : int | RandomState | Generator | None

    Returns
    -------
    array of shape (n_windows, n_channels, n_times), float32

    Raises
    ------
    ValueError
        For an unknown operation, or one or a policy that is for other channels or another sampling rate.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).standard_normal((4, 2, 300))
    >>> bool(np.array_equal(frozen_test_set(X, "sign_flip"), -X.astype("float32")))
    True
    """
    about = signal_for(X, [], sfreq, ch_names) | {"positions": positions}
    windows = windows_array(X)
    change = as_change(operation, magnitude, n_channels=windows.shape[1], **about)
    return change(windows, resolve_seed(random_state))


def _check_signal(spec: Any, n_channels: int, sfreq: float | None = None, ch_names: Any = None, **_: Any) -> None:
    """Refuse what is for another signal, in the words of the classifiers that are trained with it."""
    signal = Signal(n_channels, 0, sfreq, None if ch_names is None else tuple(ch_names))
    if isinstance(spec, nn.Module):
        StagingData()._check_module(signal, spec)
    elif hasattr(spec, "apply"):
        StagingData()._check_policy(signal, spec)


def usable(names: Iterable[str], n_channels: int, about: Mapping[str, Any]) -> list[str]:
    """Operations that mean something on a montage and lack nothing that they need."""
    found = []
    for name in names:
        try:
            operation = named_operation(name, **about).operation
        except ValueError:
            continue
        if operation.void_reason(n_channels) is None:
            found.append(name)
    return found


def _first(out: Any) -> Tensor:
    return out[0] if isinstance(out, tuple) else out
