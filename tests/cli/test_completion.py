"""Shell completion: the scripts, and what they ask the command for."""

import shutil
import subprocess
import sys

import pytest
from click.shell_completion import get_completion_class
from click.testing import CliRunner

from eegaug.cli import main


def complete(*words):
    """What is offered for the last word."""
    *given, incomplete = words
    found = get_completion_class("bash")(main, {}, "eegaug", "_EEGAUG_COMPLETE").get_completions(given, incomplete)
    return [(item.type, item.value) for item in found]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_script_asks_the_command(shell):
    result = CliRunner().invoke(main, ["completion", shell])
    assert result.exit_code == 0
    assert f"_EEGAUG_COMPLETE={shell}_complete" in result.stdout and "eegaug" in result.stdout


def test_unknown_shell():
    result = CliRunner().invoke(main, ["completion", "tcsh"])
    assert result.exit_code == 2 and "bash" in result.stderr and len(result.stderr.splitlines()) == 1


def test_commands_options_and_values():
    assert complete("com") == [("plain", "compare"), ("plain", "completion")]
    assert ("plain", "--data") in complete("fit", "--da") and ("plain", "--data-arg") in complete("fit", "--da")
    assert complete("fit", "--data", "s") == [("dir", "s"), ("plain", "simulated"), ("plain", "sleep-edf")]
    assert complete("compare", "--device", "c") == [("plain", "cpu"), ("plain", "cuda")]
    assert complete("completion", "z") == [("plain", "zsh")]


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes(tmp_path):
    (tmp_path / "eegaug").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m eegaug "$@"\n')
    (tmp_path / "eegaug").chmod(0o755)
    script = f"""
        PATH="{tmp_path}:$PATH"
        eval "$(eegaug completion bash)"
        COMP_WORDS=(eegaug sc) COMP_CWORD=1
        _eegaug_completion eegaug
        echo "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True)
    assert (done.stdout.split(), done.stderr) == (["score"], "")
