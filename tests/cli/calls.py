"""Small calls of the commands."""

from inspect import signature

from click.testing import CliRunner

from eegaug.cli import main

SMALL = ["--data-arg", "n_subjects=3", "--data-arg", "n_windows=20"]
TINY = [*SMALL, "--channels", "C3,C4", "--epochs", "1"]
HERE = ["--jobs", "1"]
# Runners of click 8.1 put errors among the output unless they are told not to; later ones always keep both.
RUNNER = CliRunner(**({"mix_stderr": False} if "mix_stderr" in signature(CliRunner).parameters else {}))


def run(*arguments):
    """What a command did."""
    return RUNNER.invoke(main, [str(a) for a in arguments])
