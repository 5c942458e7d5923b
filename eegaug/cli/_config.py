"""A configuration file: everything the flags of a command say, in TOML. Flags win over the file."""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import click

__all__ = ["load_config", "read_config"]


def load_config(ctx: click.Context, param: click.Parameter, value: Path | None) -> None:
    """Callback of ``--config``: what the file says becomes the default of each option."""
    if value is None or ctx.resilient_parsing:
        return
    group = None if ctx.parent is None else ctx.parent.command
    commands: dict[str, click.Command] = {}
    if isinstance(group, click.Group):
        commands = {name: group.get_command(ctx.parent, name) for name in group.list_commands(ctx.parent)}
    ctx.default_map = {**(ctx.default_map or {}), **read_config(value, ctx.command, commands)}


def read_config(path: Path, command: click.Command, commands: Mapping[str, click.Command]) -> dict[str, Any]:
    """Values of a command's options from a file.

    Keys are the options' long names without the dashes. What stands above the tables holds for every command that has
    the option; a table with the name of a command holds for that command alone and wins.

    Parameters
    ----------
    path : Path
    command : click.Command
    commands : mapping of str to click.Command
        All commands that the file may be for.

    Returns
    -------
    dict
        Name of the parameter → its value as it would be given on the command line.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is not TOML, or if a key is no option, naming the nearest one.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no configuration file {path}") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not a text file in UTF-8 ({error.reason})") from None
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path} is not TOML: {error}") from None
    known = _options_of(command)
    elsewhere = {name for other in commands.values() for name in _options_of(other)}
    found: dict[str, Any] = {}
    own: dict[str, Any] = {}
    for key, value in document.items():
        if key in commands and isinstance(value, dict):
            own = value if key == command.name else own
        elif _flag(key) in known or _flag(key) not in elsewhere:
            _put(found, key, value, known, f"{path}: ", command)
    of_command: dict[str, Any] = {}
    for key, value in own.items():
        _put(of_command, key, value, known, f"{path}: [{command.name}] ", command)
    # What is said name by name is replaced name by name: the last one counts.
    return found | {name: [*found.get(name, ()), *v] if isinstance(v, list) else v for name, v in of_command.items()}


def _flag(key: str) -> str:
    return key.replace("_", "-")


def _options_of(command: click.Command) -> dict[str, click.Option]:
    """Long names without the dashes → options; a file does not name a file."""
    return {
        name.lstrip("-"): option
        for option in command.params
        if isinstance(option, click.Option) and option.name != "config"
        for name in (*option.opts, *option.secondary_opts)
        if name.startswith("--")
    }


def _put(
    found: dict[str, Any], key: str, value: Any, known: Mapping[str, click.Option], where: str, command: click.Command
) -> None:
    option = known.get(_flag(key))
    if option is None:
        close = difflib.get_close_matches(_flag(key), known, n=1, cutoff=0.5)
        hint = f"did you mean {close[0]!r}?" if close else f"it has {', '.join(sorted(known))}"
        raise ValueError(f"{where}eegaug {command.name} has no option {key!r}; {hint}")
    if option.name in found:
        raise ValueError(f"{where}{key!r} gives {option.opts[-1]} a second time")
    try:
        found[option.name] = _as_given(option, value)
    except _WrongKindError as error:
        raise ValueError(f"{where}{key} = {value!r}: {error}") from None


class _WrongKindError(Exception):
    """A value that no flag could say."""


def _as_given(option: click.Option, value: Any) -> Any:
    """A value as the option would get it from the command line, so that it is checked in the same way."""
    if option.is_flag:
        if not isinstance(value, bool):
            raise _WrongKindError("it is a switch, true or false")
        return value
    if isinstance(value, dict):
        if not (option.metavar or "").endswith("NAME=VALUE"):
            raise _WrongKindError("it takes no table")
        if option.metavar.startswith("METHOD."):  # adda.max_steps = 20 is a table in a table
            value = {f"{method}.{name}": item for method, own in value.items() for name, item in _table(own)}
        return [f"{name}={json.dumps(_plain(item))}" for name, item in value.items()]
    if option.multiple:
        return [_text(item) for item in (value if isinstance(value, list) else [value])]
    if isinstance(value, list) and "," not in (option.metavar or ""):
        raise _WrongKindError("it takes one value, not a list")
    return ",".join(_text(item) for item in value) if isinstance(value, list) else _text(value)


def _table(value: Any) -> Iterable[tuple[str, Any]]:
    if not isinstance(value, dict):
        raise _WrongKindError(f"{value!r} is no table of a method's options")
    return value.items()


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, bool | int | float | str):
        return value
    raise _WrongKindError(f"{value!r} is neither a number nor a text")


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    raise _WrongKindError(f"{value!r} is neither a number nor a text")
