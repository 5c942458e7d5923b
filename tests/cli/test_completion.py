"""Shell completion: the scripts, and what they ask the command for."""

import shutil
import subprocess
import sys

import pytest
from click.shell_completion import get_completion_class

from eegaug.cli import main

from .calls import RUNNER


def complete(*words):
    """What is offered for the last word."""
    *given, incomplete = words
    found = get_completion_class("bash")(main, {}, "eegaug", "_EEGAUG_COMPLETE").get_completions(given, incomplete)
    return [(item.type, item.value) for item in found]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_script_asks_the_command(shell):
    result = RUNNER.invoke(main, ["completion", shell])
    assert result.exit_code == 0
    assert f"_EEGAUG_COMPLETE={shell}_complete" in result.stdout and "eegaug" in result.stdout


def test_unknown_shell():
    result = RUNNER.invoke(main, ["completion", "tcsh"])
    assert result.exit_code == 2 and "bash" in result.stderr and len(result.stderr.splitlines()) == 1


def test_commands_options_and_values():
    assert complete("com") == [("plain", "compare"), ("plain", "completion")]
    assert ("plain", "--data") in complete("fit", "--da") and ("plain", "--data-arg") in complete("fit", "--da")
    assert complete("fit", "--data", "s") == [("dir", "s"), ("plain", "simulated"), ("plain", "sleep-edf")]
    assert complete("compare", "--device", "c") == [("plain", "cpu"), ("plain", "cuda")]
    assert complete("completion", "z") == [("plain", "zsh")]


def test_names():
    values = lambda *words: [value for _, value in complete(*words)]  # noqa: E731
    assert values("fit", "--method", "augn") == ["augnet", "augnet-change", "augnet-single"]
    assert values("fit", "--method", "ad") == []  # a search
    assert values("search", "--method", "ad") == ["adda"]
    assert values("search", "--operations", "sign_flip,s")[:2] == ["sign_flip,sensors", "sign_flip,sensors_rotation_x"]
    assert values("compare", "--methods", "none,f") == [
        "none,fixed",
        "none,fast-autoaugment",
        "none,faster-autoaugment",
    ]
    assert values("compare", "--methods", "none,fixed,f") == [
        "none,fixed,fast-autoaugment",
        "none,fixed,faster-autoaugment",
    ]
    assert values("reproduce", "sin") == ["sinusoids"]


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
        COMPREPLY=() COMP_WORDS=(eegaug compare --methods none,au) COMP_CWORD=3
        _eegaug_completion eegaug
        echo "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True)
    assert done.stdout.splitlines()[0] == "score"
    assert done.stdout.splitlines()[1].split() == [
        "none,augnet",
        "none,augnet-change",
        "none,augnet-single",
        "none,autoaugment",
        "none,augerino",
    ]
    assert done.stderr == ""
