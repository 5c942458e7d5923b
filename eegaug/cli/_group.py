"""The group of commands: a command's module is imported when it is used; an error is one line and an exit code."""

from __future__ import annotations

import importlib
import io
import os
import sys
import traceback
import warnings
from collections.abc import Mapping
from concurrent.futures import BrokenExecutor
from importlib.util import find_spec
from typing import Any

import click

from eegaug._words import reasons
from eegaug.cli._common import EXIT_CODES, FAILED, INTERRUPTED, OK, TRACEBACK, USAGE, say

__all__ = ["Commands"]

_INPUT_ERRORS = (ValueError, TypeError, OSError, ImportError)


class Commands(click.Group):
    """A group whose commands are imported on use and whose errors are one line on standard error.

    Parameters
    ----------
    lazy : mapping of str to tuple of str
        Name of a command → the module that holds it, as an attribute of the command's name, and its help in one line.
        A command whose module is not there is not listed.
    """

    def __init__(self, *args: Any, lazy: Mapping[str, tuple[str, str]] | None = None, **kwargs: Any):
        super().__init__(*args, epilog=EXIT_CODES, **kwargs)
        self.lazy = {name: entry for name, entry in (lazy or {}).items() if find_spec(entry[0]) is not None}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of the commands, in the order in which they are met."""
        return [*self.lazy, *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of this name, imported now, or None."""
        if cmd_name not in self.lazy:
            return super().get_command(ctx, cmd_name)
        command = getattr(importlib.import_module(self.lazy[cmd_name][0]), cmd_name)
        command.epilog = command.epilog or EXIT_CODES
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands with their help in one line, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in self.lazy.items()])

    def main(self, args: Any = None, prog_name: str | None = None, **extra: Any) -> None:
        """Run a command and exit with its code."""
        extra["standalone_mode"] = False
        for name in ("stdout", "stderr"):
            if getattr(sys, name) is None:  # closed by whoever started this, as by `2>&-`
                setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
            stream = getattr(sys, name)
            if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
                stream.reconfigure(errors="replace")  # a dash that it does not know must not cost the result of hours
        try:
            with warnings.catch_warnings():
                warnings.showwarning = _show_warning
                warnings.simplefilter("ignore", FutureWarning)
                code = super().main(args, prog_name or "eegaug", **extra)
        except click.ClickException as error:
            _tell_usage(error)
            code = USAGE
        except click.Abort:  # Ctrl-C before a command had begun
            say("eegaug: stopped")
            code = INTERRUPTED
        sys.exit(code if isinstance(code, int) else OK)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that was asked for; what it raises becomes one line and an exit code."""
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit):
            raise
        except (KeyboardInterrupt, click.Abort) as stop:
            if sys.stderr.isatty():
                say("")  # after the ^C
            say(f"eegaug: {stop if str(stop) else 'stopped; what is finished is kept: the same command goes on'}")
            return INTERRUPTED
        except BrokenPipeError:  # the reader has had enough; click sees to it that nothing is said about it
            raise
        except Exception as error:
            return _tell(error, bool(ctx.meta.get(TRACEBACK)))


def _tell(error: Exception, with_traceback: bool) -> int:
    """Say what went wrong; the exit code."""
    if with_traceback:
        say("".join(traceback.format_exception(error)).rstrip())
    text = " ".join(_words_of(error).split()) or type(error).__name__
    if isinstance(error, _INPUT_ERRORS):
        say(f"eegaug: error: {text}")
        return USAGE
    if isinstance(error, BrokenExecutor):
        say(
            "eegaug: error: a process that worked for this command died, perhaps for want of memory; what is finished "
            "is kept: the same command goes on, and fewer --jobs take less"
        )
        return FAILED
    hint = "" if with_traceback else " (--traceback shows where)"
    say(f"eegaug: error: {type(error).__name__}: {text}{hint}")
    return FAILED


def _words_of(error: Exception) -> str:
    """The message; of pydantic's errors, which run over several lines, each value with what should be there."""
    if type(error).__name__ != "ValidationError" or not hasattr(error, "errors"):
        return str(error)
    return "; ".join(reasons(error))


def _tell_usage(error: click.ClickException) -> None:
    """Say what is wrong with the call, and where help is; the help itself where nothing was asked."""
    ctx = getattr(error, "ctx", None)
    if isinstance(error, getattr(click.exceptions, "NoArgsIsHelpError", ())):
        error.show()
        return
    text = " ".join(error.format_message().split()).removesuffix(".")
    say(f"eegaug: error: {text} (see {ctx.command_path if ctx else 'eegaug'} --help)")


def _show_warning(message: Any, category: type, filename: str, lineno: int, *more: Any) -> None:
    say(f"eegaug: warning: {message}")
