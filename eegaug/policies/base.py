"""What policies of all kinds share: the signal they are for, their edge towards users, their file."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, overload

import numpy as np
import torch
from pydantic import Field, JsonValue, PrivateAttr, field_validator, model_validator
from torch import Tensor

from eegaug._random import RandomState
from eegaug.montage import electrode_positions
from eegaug.operations import Operation, get_operation
from eegaug.policies.grouped import apply_grouped
from eegaug.policies.parts import Number, PlainData, PolicyOperation

if TYPE_CHECKING:
    import pandas as pd

    from eegaug.policies.transform import PolicyTransform

__all__ = ["FORMAT", "FORMAT_VERSION", "BasePolicy"]

FORMAT = "eegaug policy"
#: Version of the file format that this package writes; it reads this one and older ones.
FORMAT_VERSION = 1


class BasePolicy(PlainData):
    """A policy of any kind: plain data that is applied to windows, described, drawn, saved, compared and hashed.

    Parameters
    ----------
    sfreq : float or None
        Sampling rate in Hz of the signals the policy is for.
    ch_names : sequence of str or None
        Their channel labels, in order.
    positions : mapping, array (n_channels, 3) or None
        Their electrode positions, see :func:`eegaug.montage.electrode_positions`.
    searcher : str or None
        The search that found the policy.
    settings : dict
        Its settings, plain JSON values.
    """

    #: Whether :meth:`apply` needs the labels of the windows.
    needs_labels: ClassVar[bool] = False

    format: Literal["eegaug policy"] = FORMAT
    version: int = FORMAT_VERSION
    kind: str
    sfreq: Number | None = Field(default=None, gt=0.0)
    ch_names: tuple[str, ...] | None = None
    positions: tuple[tuple[float, float, float], ...] | None = None
    searcher: str | None = None
    settings: dict[str, JsonValue] = Field(default_factory=dict)

    _operations: tuple[Operation, ...] = PrivateAttr(default=())

    @field_validator("version", mode="before")
    @classmethod
    def _readable(cls, version: Any) -> Any:
        if isinstance(version, bool) or not isinstance(version, int) or version < 1:
            raise ValueError(f"there is no version {version!r} of the format; versions are counted from 1")
        if version > FORMAT_VERSION:
            raise ValueError(f"version {version} of the format is newer than this eegaug, which reads {FORMAT_VERSION}")
        return version

    @model_validator(mode="before")
    @classmethod
    def _plain_positions(cls, data: Any) -> Any:
        if isinstance(data, Mapping) and data.get("positions") is not None:
            if data.get("ch_names") is None:
                raise ValueError("positions need ch_names=[...], which say whose they are")
            try:
                found = electrode_positions(data["ch_names"], data["positions"])
            except (TypeError, ValueError, OverflowError) as error:  # pydantic reports ValueErrors only
                raise ValueError(f"the positions cannot be read: {error}") from None
            data = {**data, "positions": tuple(map(tuple, found.tolist()))}
        return data

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.summary()}{self._signal_words()}>"

    __str__ = __repr__

    # -- operations ----------------------------------------------------------------------------------------------------

    @property
    def operations(self) -> tuple[Operation, ...]:
        """Each operation that the policy may apply, once."""
        return self._operations

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy, with other values of some fields: these are checked, and its operations are built by them.

        Parameters
        ----------
        update : mapping or None
            Name of a field → its new value.
        deep : bool
            Whether what the policy holds is copied too.

        Returns
        -------
        BasePolicy

        Raises
        ------
        ValueError
            When the policy cannot have such values.

        Examples
        --------
        >>> from eegaug import Policy
        >>> policy = Policy(sub_policies=[{"operations": [("frequency_shift", 1.0, 0.1)]}], sfreq=100)
        >>> policy.model_copy(update={"sfreq": 128}).operations[0].sfreq
        128.0
        """
        copied = super().model_copy(deep=deep)
        return type(self)(**{**dict(copied), **update}) if update else copied

    def _take_signal(self, steps: Iterable[PolicyOperation]) -> None:
        """Take from operations given as instances what the policy does not say of its signal itself."""
        for step in steps:
            for name, value in step._signal.items():
                own = getattr(self, name)
                if own is None:
                    object.__setattr__(self, name, value)
                    continue
                # Positions in other units differ in the last bits once they are unit vectors.
                same = value is None or (np.allclose(own, value) if name == "positions" else own == value)
                if not same:
                    raise ValueError(
                        f"{step.operation} was built for {name}={value!r}, the policy or another of its operations for "
                        f"{own!r}: all must be for one signal"
                    )

    def _number(self, step: PolicyOperation, known: dict[PolicyOperation, int], built: list[Operation]) -> int:
        """Place of a step's operation among those built, where it is added if it is new."""
        key = PolicyOperation(operation=step.operation, options=step.options)
        if key not in known:
            known[key] = len(built)
            built.append(self._build(step.operation, step.options))
        if built[known[key]].has_magnitude and step.magnitude is None:
            raise ValueError(f"{step.operation} needs a magnitude in [0, 1]")
        return known[key]

    def _build(self, name: str, options: Mapping[str, Any]) -> Operation:
        try:
            return get_operation(
                name, sfreq=self.sfreq, ch_names=self.ch_names, positions=self.positions, warn=False, **options
            )
        except TypeError as error:  # an option that does not exist; pydantic reports ValueErrors only
            raise ValueError(str(error)) from None

    def _signal_words(self) -> str:
        words = [f"{self.sfreq:g} Hz"] if self.sfreq is not None else []
        words += [", ".join(self.ch_names)] if self.ch_names is not None else []
        return f" ({'; '.join(words)})" if words else ""

    # -- using ---------------------------------------------------------------------------------------------------------

    @overload
    def apply(self, X: Tensor, y: None = None, generator: torch.Generator | None = None) -> Tensor: ...

    @overload
    def apply(self, X: Tensor, y: Any, generator: torch.Generator | None = None) -> tuple[Tensor, Any]: ...

    def apply(self, X: Tensor, y: Any = None, generator: torch.Generator | None = None) -> Tensor | tuple[Tensor, Any]:
        """Augment a window, a batch or a batch of sequences.

        Each operation runs once for each place in the sub-policies, on the windows that drew it, all together.

        Parameters
        ----------
        X : Tensor, shape (channels, times), (batch, channels, times) or (batch, windows, channels, times)
            Never modified. Of a sequence each window is drawn for.
        y : object
            Targets, returned as they are. A class-wise policy needs them: a label for each window, or, of a batch of
            sequences, one for each sequence.
        generator : torch.Generator or None
            None uses torch's default generators. With a generator on an accelerator the host waits once for its draws.

        Returns
        -------
        Tensor, or (Tensor, object) when `y` is given
            Shape, dtype and device of `X`.
        """
        if not isinstance(X, Tensor) or not X.is_floating_point():
            kind = f"a tensor of {X.dtype}" if isinstance(X, Tensor) else f"a {type(X).__name__}"
            raise TypeError(f"X must be a tensor of floating-point numbers, got {kind}: torch.as_tensor(X).float()")
        if X.ndim not in (2, 3, 4):
            raise ValueError(
                "X must have shape (channels, times), (batch, channels, times) or (batch, windows, channels, times), "
                f"got {tuple(X.shape)}"
            )
        if self.ch_names is not None and X.shape[-2] != len(self.ch_names):
            raise ValueError(
                f"the policy is for the {len(self.ch_names)} channels {list(self.ch_names)}, got X with {X.shape[-2]}"
            )
        windows = X.reshape(-1, *X.shape[-2:])
        labels = _labels_of_windows(y, X.shape[:-2]) if self.needs_labels and y is not None else y
        index, magnitude = self._choose(windows, labels, generator)
        out = apply_grouped(windows, self._operations, index, magnitude, generator).reshape(X.shape)
        return out if y is None else (out, y)

    def _choose(self, X: Tensor, y: Any, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        """Operation (−1 for none) and magnitude at each place of each of the windows (n, channels, times)."""
        raise NotImplementedError

    def to_braindecode(self, random_state: RandomState = None, only_training: bool = False) -> PolicyTransform:
        """The policy as a braindecode transform, for its ``AugmentedDataLoader`` and ``Compose``.

        Parameters
        ----------
        random_state : int, RandomState, Generator or None
            Seed of the transform's own generator.
        only_training : bool
            Whether to do nothing after ``eval()``.

        Returns
        -------
        PolicyTransform
            Does exactly what :meth:`apply` does. It uses this package's operations: braindecode has no transform that
            draws one of several for each example, and its own operations differ at small strengths.
        """
        from eegaug.policies.transform import PolicyTransform

        return PolicyTransform(self, random_state=random_state, only_training=only_training)

    def describe(self, limit: int | None = None) -> str:
        """What the policy does, in words and physical units.

        Parameters
        ----------
        limit : int or None
            How many sub-policies to name (of each class), the likeliest first; None names all.
        """
        raise NotImplementedError

    def summary(self) -> str:
        """The policy in a few words."""
        raise NotImplementedError

    def table(self) -> pd.DataFrame:
        """The policy as a table.

        Returns
        -------
        DataFrame
            One row for each operation of each sub-policy: ``class`` (None for all), ``draws`` (sub-policies drawn for
            each window, the same in all rows), ``sub_policy``, ``weight`` (of the sub-policy), ``place``,
            ``operation``, ``family``, ``probability``, ``magnitude`` and ``strength`` (highest, in ``unit``; NaN
            without one) and ``lowest_magnitude``. A sub-policy that does nothing has one row with the operation "".
        """
        raise NotImplementedError

    def plot(self, ax: Any = None, **options: Any) -> Any:
        """Draw the policy as a table, see :func:`eegaug.plotting.plot_policy`."""
        from eegaug.plotting import plot_policy

        return plot_policy(self, ax=ax, **options)

    # -- keeping -------------------------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike) -> None:
        """Write the policy to a JSON file; a file that is there is replaced in one step.

        Parameters
        ----------
        path : path-like

        Raises
        ------
        OSError
            When the file cannot be written.
        """
        from eegaug.data.atomic import write_atomically

        write_atomically(Path(path), f"{self.model_dump_json(indent=2)}\n".encode())

    @classmethod
    def load(cls, path: str | os.PathLike, module: Any = None) -> Self:
        """Read a policy from a JSON file. Nothing in the file is executed: it names operations that are known here.

        Parameters
        ----------
        path : path-like
        module : type, callable, Module or None
            For an input-conditional policy whose network is none of braindecode's, see
            :class:`eegaug.policy.ConditionalPolicy`.

        Returns
        -------
        BasePolicy
            ``Policy.load`` gives whatever kind the file holds.

        Raises
        ------
        FileNotFoundError
            When there is no such file.
        ValueError
            When the file is no policy, is damaged, was written by a newer version or names unknown operations; the
            message says so.
        TypeError
            When it is called on another class than ``Policy`` and the file holds a policy of another kind.
        """
        from eegaug.policies.files import load_policy
        from eegaug.policies.policy import Policy

        policy = load_policy(path, module=module)
        if cls not in (BasePolicy, Policy) and not isinstance(policy, cls):
            raise TypeError(f"{path} holds a {type(policy).__name__}, not a {cls.__name__}: use Policy.load")
        return policy


def _labels_of_windows(y: Any, shape: Sequence[int]) -> np.ndarray:
    """A label for each window of a batch of this shape; only a sequence may have one for all of its windows."""
    y = np.asarray(y.detach().cpu() if isinstance(y, Tensor) else y).reshape(-1)
    n = math.prod(shape)
    if len(y) == n:
        return y
    if len(shape) == 2 and len(y) == shape[0]:
        return y.repeat(shape[1])
    due = f"one for each, or one for each of {shape[0]} sequences" if len(shape) == 2 else "one for each"
    raise ValueError(f"there are {n} windows and {len(y)} labels; a class-wise policy needs {due}")
