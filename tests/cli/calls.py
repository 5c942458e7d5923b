"""Small calls of the commands."""

from click.testing import CliRunner

from eegaug.cli import main

SMALL = ["--data-arg", "n_subjects=3", "--data-arg", "n_windows=20"]
TINY = [*SMALL, "--channels", "C3,C4", "--epochs", "1"]
HERE = ["--jobs", "1"]


def run(*arguments):
    """What a command did."""
    return CliRunner().invoke(main, [str(a) for a in arguments])
