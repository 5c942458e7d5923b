"""Parts of sentences that many messages have: some names of many, how many of a thing, what pydantic objects to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import ValidationError

__all__ = ["counted", "reasons", "some_of"]


def some_of(names: Sequence[Any], most: int, between: str = ", ") -> str:
    """The first names of a list, and how many more there are.

    Examples
    --------
    >>> some_of(["C3", "C4", "O1"], 2)
    'C3, C4 and 1 more'
    """
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return between.join(map(str, names[:most])) + more


def counted(n: int, what: str) -> str:
    """A number of things, such as "1 night" or "2 nights"."""
    return f"{n} {what}{'' if n == 1 else 's'}"


def reasons(error: ValidationError) -> list[str]:
    """What is wrong with each value that pydantic refused: its name, the value and what should be there."""
    told = []
    for one in error.errors():
        name, text = ".".join(map(str, one["loc"])), one["msg"].removeprefix("Value error, ")
        told.append(text if name in text else f"{name} is {one['input']!r}: {text[:1].lower()}{text[1:]}")
    return told
