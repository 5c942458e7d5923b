"""The parts of a policy: operations with their probabilities and magnitudes, as frozen plain data."""

import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Self

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, PrivateAttr, model_validator
from pydantic.functional_validators import ModelWrapValidatorHandler

from eegaug.operations import Operation, list_operations

__all__ = ["FIXED_SLEEP", "Number", "PlainData", "PolicyOperation", "SubPolicy"]


def _number(value: Any) -> Any:
    """Numbers only: pydantic would read the text "1" as one, and true as 1."""
    if isinstance(value, (bool, np.bool_, str, bytes)):
        raise ValueError(f"must be a number, got {value!r}")
    return value


def _magnitude(value: Any) -> Any:
    """A magnitude or a pair of them; one reason for whatever is neither, where pydantic gives one for each form."""
    if value is None:
        return None
    parts = value.tolist() if isinstance(value, np.ndarray) else value
    is_pair = isinstance(parts, (tuple, list))
    try:
        numbers = tuple(float(_number(part)) for part in (parts if is_pair else (parts,)))
    except (TypeError, ValueError, OverflowError, RuntimeError):
        numbers = ()
    if len(numbers) != 1 + is_pair or not all(0.0 <= number <= 1.0 for number in numbers):
        raise ValueError(f"magnitude must be a number or a pair (low, high) in [0, 1], got {value!r}")
    return numbers if is_pair else numbers[0]


Number = Annotated[float, BeforeValidator(_number)]
UnitFloat = Annotated[Number, Field(ge=0.0, le=1.0)]
Magnitude = Annotated[UnitFloat | tuple[UnitFloat, UnitFloat] | None, BeforeValidator(_magnitude)]

# Settings of an operation that belong to the signal, which a policy keeps once for all its operations.
_SIGNAL_SETTINGS = ("name", "sfreq", "ch_names", "positions")

# Physical strengths (of the operation's unit) that were best for a fixed augmentation on Sleep Physionet in Rommel,
# Paillard, Moreau and Gramfort (2022), J. Neural Eng. 19(6), and the options used there.
FIXED_SLEEP: dict[str, tuple[float | None, dict[str, JsonValue]]] = {
    "time_reverse": (None, {}),
    "time_masking": (200.0, {}),
    "gaussian_noise": (0.12, {}),
    "ft_surrogate": (0.8 * 2 * math.pi, {"channel_indep": True}),
    "frequency_shift": (0.3, {}),
    "bandstop_filter": (1.2, {}),
    "sign_flip": (None, {}),
    "channels_symmetry": (None, {}),
    "channels_shuffle": (0.8, {}),
    "channels_dropout": (0.4, {}),
    "sensors_rotation_x": (25.0, {}),
    "sensors_rotation_y": (9.0, {}),
    "sensors_rotation_z": (30.0, {}),
}


class PlainData(BaseModel):
    """Frozen plain data, equal when their JSON is."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def _canonical(self) -> str:
        return json.dumps(_alike(self.model_dump(mode="json")), sort_keys=True)

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self._canonical() == other._canonical()

    def __hash__(self) -> int:
        return hash(self._canonical())


def _alike(value: Any) -> Any:
    """The same data with one spelling of each number: 5.0 as 5, -0.0 as 0."""
    if isinstance(value, dict):
        return {key: _alike(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_alike(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


class PolicyOperation(PlainData):
    """One operation of a sub-policy; a tuple ``(operation, probability, magnitude)`` is accepted wherever one is
    wanted.

    Parameters
    ----------
    operation : str
        Name of a known operation. An :class:`eegaug.operations.Operation` is accepted too and gives its name and
        options; a policy takes from it what it needs of the signal, where the policy does not say it itself.
    probability : float
        In [0, 1].
    magnitude : float, (float, float) or None
        In [0, 1]; a pair ``(low, high)`` is drawn from uniformly for each window. None for operations without a
        magnitude.
    options : dict
        The operation's own options, such as ``max_strength``.
    """

    operation: str
    probability: UnitFloat = 1.0
    magnitude: Magnitude = None
    options: dict[str, JsonValue] = Field(default_factory=dict)

    if TYPE_CHECKING:  # lists, tuples and dictionaries are taken for what the fields hold

        def __init__(self, **data: Any) -> None: ...

    # What an instance needs of the signal it was built for; no part of the data, for the policy keeps it.
    _signal: dict[str, Any] = PrivateAttr(default_factory=dict)

    @model_validator(mode="wrap")
    @classmethod
    def _short_forms(cls, data: Any, build: ModelWrapValidatorHandler[Self]) -> Self:
        if isinstance(data, (tuple, list)):
            names = ("operation", "probability", "magnitude", "options")
            if len(data) > len(names):
                raise ValueError(f"an operation is ({', '.join(names)}), got {len(data)} values: {data!r}")
            data = dict(zip(names, data, strict=False))
        if not (isinstance(data, Mapping) and isinstance(data.get("operation"), Operation)):
            return build(data)
        operation: Operation = data["operation"]
        config = operation.get_config()
        options = {key: value for key, value in config.items() if key not in _SIGNAL_SETTINGS and value is not None}
        built = build({**data, "operation": config["name"], "options": {**options, **data.get("options", {})}})
        if operation.needs_sfreq:
            built._signal["sfreq"] = operation.sfreq
        if (operation.needs_ch_names or operation.needs_positions) and operation.ch_names is not None:
            built._signal |= {"ch_names": tuple(map(str, operation.ch_names)), "positions": operation.positions}
        return built

    @model_validator(mode="after")
    def _known(self) -> Self:
        if self.operation not in list_operations():
            raise ValueError(
                f"unknown operation {self.operation!r}; known are {list_operations()}. An operation of your own must "
                "be registered (eegaug.operations.register_operation) first"
            )
        if isinstance(self.magnitude, tuple) and self.magnitude[0] > self.magnitude[1]:
            raise ValueError(f"{self.operation}: the magnitudes {self.magnitude} must be (low, high)")
        return self

    @property
    def range(self) -> tuple[float, float]:
        """Lowest and highest magnitude; (0, 0) without one."""
        if isinstance(self.magnitude, tuple):
            return self.magnitude
        return (self.magnitude or 0.0,) * 2


class SubPolicy(PlainData):
    """Operations applied one after the other, and how often this sub-policy is drawn.

    Parameters
    ----------
    operations : sequence of PolicyOperation or (operation, probability, magnitude)
        May be empty: then nothing is done.
    weight : float
        Positive; a :class:`Policy` scales the weights of its sub-policies to sum to one.
    """

    operations: tuple[PolicyOperation, ...]
    weight: Number = Field(default=1.0, gt=0.0)

    if TYPE_CHECKING:  # lists, tuples and dictionaries are taken for what the fields hold

        def __init__(self, **data: Any) -> None: ...
