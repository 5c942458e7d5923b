"""What a searcher keeps between its steps."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["SearchState"]


class SearchState:
    """Named parts of a search that a checkpoint saves: modules, optimisers, tensors and plain data.

    Parameters
    ----------
    **parts
        Kept as attributes; further ones that are tensors or plain data may be set at any time. Whatever has a
        ``state_dict`` is saved through it, and has to be there from the beginning. Tensors are restored in place, so
        that optimisers that hold them stay valid.

    Examples
    --------
    >>> state = SearchState(alpha=torch.zeros(2), best=None)
    >>> saved = SearchState(alpha=torch.ones(2), best=0.5).state_dict()
    >>> state.load_state_dict(saved)
    >>> state.alpha.tolist(), state.best
    ([1.0, 1.0], 0.5)
    """

    def __init__(self, **parts: Any):
        vars(self).update(parts)

    if TYPE_CHECKING:  # the parts

        def __getattr__(self, name: str) -> Any: ...

    def state_dict(self) -> dict[str, Any]:
        """Plain data and tensors; TypeError for anything else, which could not be read again."""
        saved: dict[str, Any] = {}
        for name, value in vars(self).items():
            if hasattr(value, "state_dict"):
                saved[name] = {"state_dict": value.state_dict()}
            else:
                saved[name] = {"value": _plain(name, value)}
        return saved

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Restore what :meth:`state_dict` gave.

        Raises
        ------
        ValueError
            When it is of a part with a ``state_dict`` that is not there.
        """
        for name, one in saved.items():
            present = getattr(self, name, None)
            if "state_dict" in one:
                if not hasattr(present, "load_state_dict"):
                    raise ValueError(
                        f"the search kept the state of its {name!r}, which is not there to restore it: what has a "
                        "state_dict is made in _begin."
                    )
                present.load_state_dict(one["state_dict"])
            elif isinstance(present, Tensor) and isinstance(one["value"], Tensor):
                with torch.no_grad():
                    present.copy_(one["value"])
            else:
                setattr(self, name, copy.deepcopy(one["value"]))


def _plain(name: str, value: Any) -> Any:
    """A copy of `value` as a checkpoint can hold it: NumPy's numbers as Python's."""
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, Mapping):
        return {_plain(name, key): _plain(name, item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_plain(name, item) for item in value)
    raise TypeError(
        f"the search keeps a {type(value).__name__} in its {name!r}, which its checkpoint cannot hold: keep tensors, "
        "numbers, text, and lists and dictionaries of them."
    )
