"""Values as plain data for JSON, in two ways: so that they come back exactly, or for people to read.

What comes back is :func:`keep` and :func:`decode`: numbers, text, lists, tuples, mappings, and the names of classes of
torch and braindecode. Nothing else is imported when a document is read. :func:`plain` gives a form to everything;
:func:`plain_numbers` leaves all but NumPy's numbers as it is.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor, nn
from torch.optim import Optimizer

# Classes that an argument may name: those of packages that are installed anyway, never of the folder.
_TRUSTED = ("torch.nn.", "torch.optim.", "braindecode.")


class _NotPlainError(Exception):
    """A value that has no form as plain data."""


def keep(document: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    """Put a value into a document if it can be given back exactly; classes by their names."""
    with contextlib.suppress(_NotPlainError):
        document[key] = _encode(value)
    return document


def _encode(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, str)) or (isinstance(value, float) and math.isfinite(value)):
        return value
    if isinstance(value, (list, tuple)):
        items = [_encode(item) for item in value]
        return items if isinstance(value, list) else {"tuple": items}
    if isinstance(value, Mapping):
        return {"mapping": [[_encode(k), _encode(v)] for k, v in value.items()]}
    if _may_be_named(value):
        return {"class": f"{value.__module__}:{value.__qualname__}"}
    raise _NotPlainError


def decode(value: Any) -> Any:
    """A value from what :func:`keep` has put into a document.

    Raises
    ------
    ValueError
        If it names anything but a module or optimiser of torch or braindecode that there is here, or is damaged.
    """
    if isinstance(value, list):
        return [decode(item) for item in value]
    if not isinstance(value, dict):
        return value
    match value:
        case {"tuple": list(content)}:
            return tuple(decode(item) for item in content)
        case {"mapping": list(content)}:
            return {decode(k): decode(v) for k, v in content}
        case {"class": str(content)} if (found := _trusted_class(content)) is not None:
            return found
    raise ValueError(
        f"what was saved has a value {value!r}, which is not loaded: only modules and optimisers of the torch and "
        "braindecode that are installed here are loaded by name."
    )


def _trusted_class(named: str) -> type | None:
    """The class of a name ``package.module:Class``; None if there is none, or none that may be named."""
    if not named.startswith(_TRUSTED):
        return None
    module, _, name = named.partition(":")
    try:
        found = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError):  # of another version of the package
        return None
    return found if _may_be_named(found) else None


def _may_be_named(value: Any) -> bool:
    is_ours = isinstance(value, type) and issubclass(value, (nn.Module, Optimizer))
    return is_ours and value.__module__.startswith(_TRUSTED)


def plain(value: Any) -> Any:
    """`value` as strict JSON knows it; numbers that are not finite become null."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if hasattr(value, "model_dump"):
        return plain(value.model_dump(mode="json"))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return plain(dataclasses.asdict(value))
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, pd.DataFrame):
        return plain(value.to_dict("records"))
    if isinstance(value, (np.ndarray, Tensor, pd.Series)):
        return plain(value.tolist())
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    return str(value)


def plain_numbers(value: Any) -> Any:
    """The same dictionaries, lists and tuples with Python's numbers for NumPy's.

    JSON does not know those, and no checkpoint gives them back. An option or a rate that came out of an array is one.
    """
    if isinstance(value, np.generic):
        return value.item()
    if type(value) is dict:
        return {key: plain_numbers(item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(plain_numbers(item) for item in value)
    return value
