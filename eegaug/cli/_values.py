"""What a value on the command line or in a configuration file means."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

__all__ = ["FILE", "SOURCES", "data_source", "expanded", "names_and_aliases", "numbers", "settings", "words"]

#: Data with a name; here once more because what knows them takes seconds to import.
SOURCES = ("simulated", "sleep-edf", "mass")


def expanded(path: str) -> str:
    """A path with one's home folder for ``~``, which no shell puts there in a file or after ``--out=``."""
    if not path.strip():
        raise click.BadParameter("it is empty; name a file or a folder")
    return os.path.expanduser(path)


class _File(click.Path):
    """A file or folder. An empty text, such as that of a variable that is not set, is not the folder one is in."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        return Path(super().convert(expanded(os.fspath(value)), param, ctx))


FILE = _File()


def data_source(ctx: click.Context, param: click.Parameter, value: str) -> str:
    """Callback of ``--data``: the name of a source as it is written elsewhere, or a path."""
    name = value.lower().replace("_", "-")
    return name if name in SOURCES else expanded(value)


def numbers(kind: type) -> Callable[..., Any]:
    """Callback of an option that takes a list such as 0,1,2 of numbers of one kind."""

    def parse(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[Any, ...] | None:
        if value is None:
            return None
        try:
            return tuple(kind(part) for part in value.split(",") if part.strip())
        except ValueError:
            word = "whole numbers" if kind is int else "numbers"
            raise click.BadParameter(f"{value!r} is not a list of {word} such as {param.default}") from None

    return parse


def words(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[str, ...] | None:
    """Callback of an option that takes a list of words such as C3,C4."""
    return None if value is None else tuple(part.strip() for part in value.split(",") if part.strip())


def names_and_aliases(channels: tuple[str, ...] | None) -> tuple[tuple[str, ...] | None, dict[str, str]]:
    """Channels such as C3 and C4=EEG: their names, and what some of them are called in the files."""
    if channels is None:
        return None, {}
    pairs = [tuple(part.strip() for part in channel.partition("=")) for channel in channels]
    if wrong := [
        one for one, (name, equals, called) in zip(channels, pairs, strict=True) if equals and not (name and called)
    ]:
        raise click.BadParameter(
            f"{wrong[0]!r} is neither a name nor NAME=NAME-IN-THE-FILES", param_hint="'--channels'"
        )
    called = {name: one for name, _, one in pairs if one}
    if twice := [one for one, count in Counter(called.values()).items() if count > 1]:
        raise click.BadParameter(f"two channels are called {twice[0]!r} in the files", param_hint="'--channels'")
    return tuple(name for name, _, _ in pairs), called


def settings(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> dict[str, Any]:
    """Callback of a repeated option NAME=VALUE; a value is JSON where it can be read as such, else text.

    What the command line says goes before a configuration file name by name.
    """
    if ctx.get_parameter_source(str(param.name)) is ParameterSource.COMMANDLINE:
        values = (*(ctx.default_map or {}).get(str(param.name), ()), *values)
    found = {}
    for text in values:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise click.BadParameter(f"{text!r} is not NAME=VALUE")
        try:
            found[name.strip()] = json.loads(value)
        except ValueError:
            found[name.strip()] = value
    return found
