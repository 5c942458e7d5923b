"""Augmentation policies: plain data that can be saved, compared, read and applied to a batch."""

import json
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

import torch
from braindecode.augmentation import Transform
from pydantic import (
    Field,
    JsonValue,
    PrivateAttr,
    ValidationError,
    field_validator,
    model_validator,
)
from torch import Tensor

from eegaug._policy_parts import FIXED_SLEEP, PlainData, PolicyOperation, SubPolicy
from eegaug._random import RandomState
from eegaug.montage import electrode_positions
from eegaug.operations import Operation, get_operation
from eegaug.transforms import Generators

__all__ = ["Policy", "PolicyOperation", "PolicyTransform", "SubPolicy"]

#: Version of the file format that this package writes; it reads this one and older ones.
FORMAT_VERSION = 1


class Policy(PlainData):
    """A distribution over augmentations: for each window one sub-policy is drawn, and its operations are applied.

    Parameters
    ----------
    sub_policies : sequence of SubPolicy
        At least one. Their weights are scaled to sum to one.
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

    Raises
    ------
    ValueError
        When an operation is unknown, or lacks something it needs, or a number is out of its range.

    Examples
    --------
    >>> import torch
    >>> from eegaug.policy import Policy, SubPolicy
    >>> policy = Policy(
    ...     sub_policies=[
    ...         SubPolicy(operations=[("frequency_shift", 0.5, 0.06), ("sign_flip", 1.0)], weight=3),
    ...         SubPolicy(operations=[("gaussian_noise", 0.8, 0.5)], weight=1),
    ...     ],
    ...     sfreq=100,
    ... )
    >>> policy.apply(torch.randn(8, 2, 3000)).shape
    torch.Size([8, 2, 3000])
    >>> print(policy.describe())
    Draws one of 2 sub-policies for each window (100 Hz).
    75 %: with probability 0.5 shifts all frequencies by up to ±0.3 Hz;
        then with probability 1 flips the sign of all channels
    25 %: with probability 0.8 adds white noise of standard deviation 0.1
    """

    format: Literal["eegaug policy"] = "eegaug policy"
    version: int = FORMAT_VERSION
    sub_policies: tuple[SubPolicy, ...] = Field(min_length=1)
    sfreq: float | None = Field(default=None, gt=0.0)
    ch_names: tuple[str, ...] | None = None
    positions: tuple[tuple[float, float, float], ...] | None = None
    searcher: str | None = None
    settings: dict[str, JsonValue] = Field(default_factory=dict)

    _operations: tuple[tuple[Operation, ...], ...] = PrivateAttr()

    @field_validator("version", mode="before")
    @classmethod
    def _readable(cls, version: Any) -> Any:
        if isinstance(version, int) and not 1 <= version <= FORMAT_VERSION:
            raise ValueError(f"version {version} of the format is newer than this eegaug, which reads {FORMAT_VERSION}")
        return version

    @model_validator(mode="before")
    @classmethod
    def _plain_positions(cls, data: Any) -> Any:
        if isinstance(data, Mapping) and data.get("positions") is not None:
            if data.get("ch_names") is None:
                raise ValueError("positions need ch_names=[...], which say whose they are")
            found = electrode_positions(data["ch_names"], data["positions"])
            data = {**data, "positions": tuple(map(tuple, found.tolist()))}
        return data

    @model_validator(mode="after")
    def _complete(self) -> Self:
        total = sum(sub.weight for sub in self.sub_policies)
        if abs(total - 1.0) > 1e-9:
            scaled = tuple(sub.model_copy(update={"weight": sub.weight / total}) for sub in self.sub_policies)
            object.__setattr__(self, "sub_policies", scaled)
        built = []
        for sub in self.sub_policies:
            for step in sub.operations:
                operation = self._build(step)
                if operation.has_magnitude and step.magnitude is None:
                    raise ValueError(f"{step.operation} needs a magnitude in [0, 1]")
            built.append(tuple(map(self._build, sub.operations)))
        self._operations = tuple(built)
        return self

    def _build(self, step: PolicyOperation) -> Operation:
        try:
            return get_operation(
                step.operation,
                sfreq=self.sfreq,
                ch_names=self.ch_names,
                positions=self.positions,
                warn=False,
                **step.options,
            )
        except TypeError as error:  # an option that does not exist; pydantic reports ValueErrors only
            raise ValueError(str(error)) from None

    # -- making --------------------------------------------------------------------------------------------------------

    @classmethod
    def identity(cls, sfreq: float | None = None, ch_names: Sequence[str] | None = None) -> Self:
        """The policy that changes nothing."""
        return cls(sub_policies=[SubPolicy(operations=())], sfreq=sfreq, ch_names=ch_names)

    @classmethod
    def fixed_sleep(
        cls,
        *,
        sfreq: float,
        ch_names: Sequence[str] | None = None,
        positions: Mapping[str, Sequence[float]] | None = None,
        probability: float = 0.5,
    ) -> Self:
        """A fixed policy for sleep staging: one operation a window, at strengths that a published benchmark found best.

        Parameters
        ----------
        sfreq : float
            Sampling rate in Hz.
        ch_names : sequence of str or None
            Channel labels, in the order of the signal's channels. Operations that mean nothing on this montage are left
            out, and so are, without names, those that need them.
        positions : mapping or None
            Own electrode positions.
        probability : float
            Probability of applying the operation that was drawn.

        Returns
        -------
        Policy
            Every operation is drawn as often as every other.

        References
        ----------
        .. [1] Rommel, Paillard, Moreau and Gramfort (2022). Data augmentation for learning predictive models on EEG: a
           systematic comparison. Journal of Neural Engineering 19(6). Strengths found for Sleep Physionet.

        Examples
        --------
        >>> policy = Policy.fixed_sleep(sfreq=100, ch_names=["Fpz", "Pz"])
        >>> len(policy.sub_policies)
        9
        """
        steps, missing = [], {}
        for name, (strength, options) in FIXED_SLEEP.items():
            try:
                operation = get_operation(
                    name, sfreq=sfreq, ch_names=ch_names, positions=positions, warn=False, **options
                )
            except ValueError as error:
                missing.setdefault(str(error), []).append(name)
                continue
            if ch_names is None or operation.void_reason(len(ch_names)) is None:
                magnitude = None if strength is None else strength / operation.max_strength
                steps.append(
                    PolicyOperation(operation=name, probability=probability, magnitude=magnitude, options=options)
                )
        for reason, names in missing.items() if ch_names is not None else ():
            warnings.warn(f"the fixed policy goes without {', '.join(names)}: {reason}", UserWarning, stacklevel=2)
        return cls(
            sub_policies=[SubPolicy(operations=(step,)) for step in steps],
            sfreq=sfreq,
            ch_names=ch_names,
            positions=positions,
            searcher="fixed",
        )

    # -- using ---------------------------------------------------------------------------------------------------------

    def apply(self, X: Tensor, y: Any = None, generator: torch.Generator | None = None) -> Tensor | tuple[Tensor, Any]:
        """Augment a window, a batch or a batch of sequences.

        Each operation runs once for each sub-policy, on the windows that drew it and its probability, all together.

        Parameters
        ----------
        X : Tensor, shape (channels, times), (batch, channels, times) or (batch, windows, channels, times)
            Never modified. Of a sequence each window is drawn for.
        y : object
            Targets, returned as they are.
        generator : torch.Generator or None
            None uses torch's default generators. With a generator on an accelerator the host waits once for its draws.

        Returns
        -------
        Tensor, or (Tensor, object) when `y` is given
            Shape, dtype and device of `X`.
        """
        if X.ndim not in (2, 3, 4):
            raise ValueError(
                "X must have shape (channels, times), (batch, channels, times) or (batch, windows, channels, times), "
                f"got {tuple(X.shape)}"
            )
        if self.ch_names is not None and X.shape[-2] != len(self.ch_names):
            raise ValueError(
                f"the policy is for the {len(self.ch_names)} channels {list(self.ch_names)}, got X with {X.shape[-2]}"
            )
        out = X.reshape(-1, *X.shape[-2:]).clone()
        for sub, k, rows in self._draw(out.shape[0], generator):
            operation, step = self._operations[sub][k], self.sub_policies[sub].operations[k]
            rows = rows.to(out.device, non_blocking=True)
            picked = out.index_select(0, rows)
            noise = operation.draw(*picked.shape, generator=generator, device=out.device)
            out.index_copy_(0, rows, operation.apply(picked, step.magnitude, noise))
        out = out.reshape(X.shape)
        return out if y is None else (out, y)

    def _draw(self, n: int, generator: torch.Generator | None) -> list[tuple[int, int, Tensor]]:
        """What to do: sub-policy, place of the operation in it, and the windows it is for."""
        if n == 0:
            return []
        device = "cpu" if generator is None else generator.device
        weights = torch.tensor([sub.weight for sub in self.sub_policies], device=device)
        longest = max(len(sub.operations) for sub in self.sub_policies)
        chosen = torch.multinomial(weights, n, replacement=True, generator=generator).cpu()
        u = torch.rand(n, longest, generator=generator, device=device).cpu()
        todo = []
        for i, sub in enumerate(self.sub_policies):
            for k, step in enumerate(sub.operations):
                rows = torch.nonzero((chosen == i) & (u[:, k] < step.probability)).flatten()
                if len(rows):
                    todo.append((i, k, rows))
        return todo

    def to_braindecode(self, random_state: RandomState = None, only_training: bool = False) -> "PolicyTransform":
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
        return PolicyTransform(self, random_state=random_state, only_training=only_training)

    def describe(self) -> str:
        """What the policy does, in words and physical units."""
        signal = [f"{self.sfreq:g} Hz"] if self.sfreq is not None else []
        signal += [", ".join(self.ch_names)] if self.ch_names is not None else []
        n = len(self.sub_policies)
        head = f"Draws one of {n} sub-policies for each window" if n > 1 else "Does the same to each window"
        separator = ";\n    then "
        lines = [head + (f" ({'; '.join(signal)})." if signal else ".")]
        for sub, operations in zip(self.sub_policies, self._operations, strict=True):
            steps = [
                f"with probability {step.probability:.3g} {operation.describe(step.magnitude)}"
                for step, operation in zip(sub.operations, operations, strict=True)
            ]
            lines.append(f"{100 * sub.weight:.3g} %: {separator.join(steps) or 'changes nothing'}")
        return "\n".join(lines)

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
        path = Path(path)
        partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
        try:
            partial.write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: str | os.PathLike) -> Self:
        """Read a policy from a JSON file. Nothing in the file is executed: it names operations that are known here.

        Parameters
        ----------
        path : path-like

        Returns
        -------
        Policy

        Raises
        ------
        FileNotFoundError
            When there is no such file.
        ValueError
            When the file is no policy, was written by a newer version or names unknown operations; the message says so.
        """
        path = Path(path)
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{path} is not a policy: it is not JSON ({error})") from None
        if not isinstance(data, dict) or data.get("format") != "eegaug policy":
            raise ValueError(f'{path} is not a policy: it lacks "format": "eegaug policy"')
        version = data.get("version")
        if isinstance(version, int) and version > FORMAT_VERSION:
            raise ValueError(
                f"{path} was written by a newer eegaug (version {version} of the format, this one reads up to "
                f"{FORMAT_VERSION}); upgrade eegaug to read it"
            )
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            reasons = "; ".join(
                ": ".join(filter(None, [".".join(map(str, found["loc"])), found["msg"].removeprefix("Value error, ")]))
                for found in error.errors()
            )
            raise ValueError(f"{path} cannot be read as a policy: {reasons}") from None


class PolicyTransform(Transform):
    """A policy as a braindecode transform; see :meth:`Policy.to_braindecode`.

    Parameters
    ----------
    policy : Policy
    random_state : int, RandomState, Generator or None
        Seed of the transform's own generator.
    only_training : bool
        Whether to do nothing after ``eval()``.

    Examples
    --------
    >>> import torch
    >>> from eegaug.policy import Policy
    >>> transform = Policy.fixed_sleep(sfreq=100, ch_names=["Fpz", "Pz"]).to_braindecode(random_state=0)
    >>> X, y = transform(torch.randn(4, 2, 3000), torch.arange(4))
    """

    def __init__(self, policy: Policy, random_state: RandomState = None, only_training: bool = False):
        super().__init__()
        del self.rng  # braindecode's: numpy's global generator
        self.policy = policy
        self.only_training = bool(only_training)
        self.generators = Generators(random_state, "policy")

    def forward(self, X: Tensor, y: Any = None) -> Tensor | tuple[Tensor, Any]:
        """Augment a window, a batch or a batch of sequences; see :meth:`Policy.apply`."""
        X = torch.as_tensor(X)
        X = X if X.dtype.is_floating_point else X.float()
        if self.only_training and not self.training:
            return X if y is None else (X, y)
        return self.policy.apply(X, y, self.generators.get(X.device))

    def extra_repr(self) -> str:
        return f"{len(self.policy.sub_policies)} sub-policies"
