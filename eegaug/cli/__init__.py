"""The command line: parse, call, print. Whatever takes time to import is imported by the command that needs it.

A command is a file of its name here, which defines a click command of that name from the options in ``_common``, and a
line in the table below.
"""

from __future__ import annotations

import click

from eegaug._version import __version__
from eegaug.cli._group import Commands

__all__ = ["main"]

_COMMANDS = {
    "nights": "List recordings: whose they are, their stages, and what cannot be read.",
    "compare": "Compare ways to augment, on subject-wise folds.",
    "search": "Search an augmentation policy and write it to a JSON file.",
    "fit": "Train one model on all nights and save it as a folder.",
    "score": "Score a model on nights with stages.",
    "stage": "Stage recordings with a model.",
    "reproduce": "Repeat a published experiment, with the paper's numbers beside ours.",
    "doctor": "Say what is installed, what it can use and whether the data can be read.",
    "completion": "Print the script that lets a shell complete commands and options.",
}


@click.group(
    "eegaug",
    cls=Commands,
    lazy={name: (f"eegaug.cli.{name}", text) for name, text in _COMMANDS.items()},
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="eegaug")
def main() -> None:
    """Learn which transformations of EEG do not matter.

    \b
    Example:
      eegaug compare
      eegaug fit --data nights/ --out model/
      eegaug COMMAND --help
    """
