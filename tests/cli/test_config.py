"""A configuration file says what the flags say; flags win, and what it cannot mean is refused by name."""

from pathlib import Path

import click
import pytest

from eegaug.cli import _common as common
from eegaug.cli import main
from eegaug.cli._config import read_config

from .calls import RUNNER


@click.command("train")
@common.data_options
@common.preprocessing_options
@common.training_options
@click.option("--seeds", "--seed", "seeds", default="0", callback=common.numbers(int), metavar="0,1,…")
@click.option("--out", type=common.FILE, required=True)
@common.output_options
def train(**given):
    """A command with every kind of option."""
    train.seen = given


@click.group()
def group():
    """A group of it and another one."""


group.add_command(train)
group.add_command(click.Command("other", params=[click.Option(["--reference"]), click.Option(["--out"])]))


def run(tmp_path, text, *arguments):
    (tmp_path / "here.toml").write_text(text, encoding="utf-8")
    train.seen = None
    command = ["train", "--config", str(tmp_path / "here.toml"), *arguments]
    return RUNNER.invoke(group, command, catch_exceptions=True)


WHOLE = """
data = "nights/"
seeds = [0, 1]
channels = ["C3", "C4"]
sfreq = 64
epochs = 5
lr = 1e-3
quiet = true
out = "above"
reference = "of the other command"

[data-arg]
labels = "optional"
n_subjects = 3

[trunk-arg]
drop_prob = 0.25

[train]
out = "results"

[other]
anything = 1
"""


def test_every_kind_of_value(tmp_path):
    result = run(tmp_path, WHOLE)
    assert result.exit_code == 0, result.output
    seen = train.seen
    assert (seen["data"], seen["seeds"], seen["channels"]) == ("nights/", (0, 1), ("C3", "C4"))
    assert (seen["sfreq"], seen["epochs"], seen["lr"]) == (64.0, 5, 0.001)
    assert seen["quiet"] is True and seen["as_json"] is False
    assert seen["data_args"] == {"labels": "optional", "n_subjects": 3}
    assert seen["trunk_args"] == {"drop_prob": 0.25}
    assert seen["out"] == Path("results")  # the command's own table goes before what stands above
    assert seen["batch_size"] == 16  # not in the file


def test_flags_win(tmp_path):
    result = run(tmp_path, WHOLE, "--out", "elsewhere", "--epochs", "7", "--data-arg", "n_subjects=9")
    assert result.exit_code == 0, result.output
    assert (train.seen["out"], train.seen["epochs"]) == (Path("elsewhere"), 7)
    assert train.seen["data_args"] == {"labels": "optional", "n_subjects": 9}
    assert train.seen["sfreq"] == 64.0


def test_settings_by_name_are_replaced_by_name(tmp_path):
    text = "out = 'o'\n[data-arg]\na = 1\nb = 1\nc = 1\n[train.data-arg]\nb = 2\nc = 2\n"
    assert run(tmp_path, text, "--data-arg", "c=3").exit_code == 0
    assert train.seen["data_args"] == {"a": 1, "b": 2, "c": 3}


def test_a_file_of_windows_with_its_mark(tmp_path):
    assert run(tmp_path, "\ufeffout = 'o'\nepochs = 5\n").exit_code == 0
    assert train.seen["epochs"] == 5


def test_ones_own_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert run(tmp_path, 'out = "~/results"\ndata = "~/nights"').exit_code == 0
    assert (train.seen["out"], train.seen["data"]) == (tmp_path / "results", str(tmp_path / "nights"))


def test_names_with_underscores_and_second_names(tmp_path):
    result = run(tmp_path, 'out = "o"\nmax_epochs = 3\nl_freq = 0.5\nseed = 4')
    assert result.exit_code == 0, result.output
    assert (train.seen["epochs"], train.seen["l_freq"], train.seen["seeds"]) == (3, 0.5, (4,))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("out = ['a', 'b']", "out = ['a', 'b']: it takes one value, not a list"),
        ("data = ['a', 'b']", "it takes one value, not a list"),
        ("epoch = 3", "has no option 'epoch'; did you mean 'epochs'?"),
        ("[train]\npatients = 3", "[train] eegaug train has no option 'patients'; did you mean 'patience'?"),
        ("[train]\nreference = 'x'", "[train] eegaug train has no option 'reference'"),
        ("zzz = 1", "has no option 'zzz'; it has batch-size, budget,"),
        ("[fit]\nepochs = 3", "has no option 'fit'"),
        ("epochs = 3\nmax-epochs = 4", "'max-epochs' gives --max-epochs a second time"),
        ("config = 'other.toml'", "has no option 'config'"),
        ("quiet = 'yes'", "quiet = 'yes': it is a switch, true or false"),
        ("sfreq = {a = 1}", "it takes no table"),
        ("out = 2026-01-01", "is neither a number nor a text"),
        ("epochs = \n", "here.toml is not TOML: Invalid value (at line 1"),
    ],
)
def test_what_it_cannot_mean_is_refused_by_name(tmp_path, text, words):
    (tmp_path / "here.toml").write_text(text)
    with pytest.raises(ValueError) as error:
        read_config(tmp_path / "here.toml", train, group.commands)
    assert words in str(error.value)
    assert str(tmp_path / "here.toml") in str(error.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("epochs = 'many'", "Invalid value for '--epochs' / '--max-epochs': 'many' is not a valid integer"),
        ("epochs = true", "'true' is not a valid integer"),
        ("seeds = ['a']", "'a' is not a list of whole numbers"),
        ("data-arg = 'n_subjects'", "'n_subjects' is not NAME=VALUE"),
        ("data-arg = {' ' = 1}", "' =1' is not NAME=VALUE"),
        ("root = ''", "Invalid value for '--root': it is empty; name a file or a folder"),
        ("data = ' '", "Invalid value for '--data': it is empty"),
    ],
)
def test_values_are_checked_as_those_of_flags(tmp_path, text, words):
    result = run(tmp_path, f"out = 'o'\n{text}")
    assert result.exit_code == 2
    assert words in result.stderr.replace("\n", " ")


def test_options_of_methods_are_tables(tmp_path):
    path = tmp_path / "a.toml"
    path.write_text('[compare.method-arg]\nadda.max_steps = 20\n[compare.method-arg.augnet]\nlayers = ["all"]\n')
    command = main.get_command(click.Context(main), "compare")
    given = read_config(path, command, {"compare": command})
    assert given == {"method_args": ["adda.max_steps=20", 'augnet.layers=["all"]']}
    path.write_text("[compare.method-arg]\npenalty = 1\n")
    with pytest.raises(ValueError, match="1 is no table of a method's options"):
        read_config(path, command, {"compare": command})


def test_through_the_command_line(tmp_path):
    path = tmp_path / "compare.toml"
    path.write_text('[compare]\nmethods = ["nothing"]\n')
    result = RUNNER.invoke(main, ["compare", "--config", str(path), "--out", str(tmp_path / "out")])
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("eegaug: error: unknown method 'nothing'; known are none, fixed, ")
    path.write_text("methds = 1")
    result = RUNNER.invoke(main, ["compare", "--config", str(path)])
    assert result.exit_code == 2
    assert result.stderr == f"eegaug: error: {path}: eegaug compare has no option 'methds'; did you mean 'methods'?\n"
    result = RUNNER.invoke(main, ["compare", "--config", "no.toml"])
    assert result.exit_code == 2 and "no.toml" in result.stderr and len(result.stderr.splitlines()) == 1
