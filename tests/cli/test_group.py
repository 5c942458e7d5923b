"""The group of commands: lazy, the same options everywhere, one line for an error."""

import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest
from joblib.externals.loky.process_executor import TerminatedWorkerError

from eegaug import __version__
from eegaug.cli import _COMMANDS, main
from eegaug.cli import _common as common
from eegaug.cli._group import Commands

from .calls import RUNNER, SMALL, run

COMMANDS = main.list_commands(click.Context(main))


def load(name):
    return main.get_command(click.Context(main), name)


def raising(error):
    """A group with one command that raises `error`."""
    group = Commands("eegaug")

    @group.command()
    @common.output_options
    def fail(**given):
        raise error

    return group


class TestHelp:
    def test_version(self):
        result = run("--version")
        assert result.exit_code == 0 and __version__ in result.stdout

    def test_lists_every_command_there_is_in_one_line(self):
        text = RUNNER.invoke(main, ["--help"], terminal_width=120).stdout
        for name in ("compare", "fit", "score", "doctor", "completion"):
            assert f"  {name}" in text and _COMMANDS[name] in text

    def test_imports_no_command(self):
        code = (
            "import sys; sys.argv = ['eegaug', '--help']\n"
            "from eegaug.cli import main, _COMMANDS\n"
            "try:\n    main()\nexcept SystemExit as stop:\n    assert stop.code == 0\n"
            "heavy = ['torch', 'braindecode', 'mne', 'pandas', *(f'eegaug.cli.{n}' for n in _COMMANDS)]\n"
            "print([m for m in heavy if m in sys.modules])"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.splitlines()[-1] == "[]"

    def test_a_command_without_a_file_is_not_listed(self):
        group = Commands("eegaug", lazy={"fit": ("eegaug.cli.fit", "x"), "gone": ("eegaug.cli.gone", "y")})
        assert group.list_commands(click.Context(group)) == ["fit"]
        result = RUNNER.invoke(group, ["gone"])
        assert result.exit_code == 2 and "No such command 'gone'" in result.stderr

    @pytest.mark.parametrize("name", COMMANDS)
    def test_of_each_command(self, name):
        command = load(name)
        assert command.name == name
        assert command.help.splitlines()[0] == _COMMANDS[name]
        text = RUNNER.invoke(main, [name, "--help"]).stdout
        assert f"eegaug {name}" in text.split("Example:")[1]
        assert "Exit codes:" in text and "130" in text

    @pytest.mark.parametrize("name", [name for name in COMMANDS if name != "completion"])
    def test_options_are_the_same_everywhere(self, name):
        own = {opt: param for param in load(name).params for opt in param.opts}
        assert {"--config", "--quiet", "--json", "--traceback"} <= set(own)
        assert own["--json"].name == "as_json"
        for option in own.values():
            assert not isinstance(option, click.Option) or option.help, f"{name} {option.opts} has no help"


def test_names_of_data_are_those_of_the_defaults():
    """Otherwise other nights, folds and epochs would be taken than the help says."""
    named = [common.data_source(None, None, name) for name in ("Simulated", "SLEEP_EDF", "mass", "Mass/", "./mass")]
    assert named == ["simulated", "sleep-edf", "mass", "Mass/", "./mass"]


def test_what_simulated_nights_have_no_use_for(capsys):
    given = {"data_args": {}, "jobs": None, "root": Path("x"), "wake_margin": 3.0, "channels": ("C3",)}
    assert common.get_data_arguments("simulated", given) == {}
    assert capsys.readouterr().err.splitlines() == [
        "eegaug: warning: --root has no effect on simulated nights",
        "eegaug: warning: --wake-margin has no effect on simulated nights",
    ]
    assert common.get_data_arguments("nights/", given) == {} and capsys.readouterr().err == ""


def test_channels_of_the_data_are_told_apart_by_commas():
    given = {"data_args": {"ch_names": "F3, F4", "sfreq": 64}, "jobs": None}
    assert common.get_data_arguments("simulated", given) == {"ch_names": ["F3", "F4"], "sfreq": 64}


class TestNames:
    """What helps and completions name without importing it."""

    def test_sources(self):
        from eegaug.data.sources import SOURCES

        assert common.SOURCES == SOURCES

    def test_methods(self):
        from eegaug.comparison import compare, get_method, list_methods

        assert [name for name in common.METHODS if f'"{name}"' not in compare.__doc__] == []
        known = list_methods()
        assert tuple(known[: len(common.METHODS)]) == common.METHODS
        for name in known[len(common.METHODS) :]:  # other tests' own
            build = get_method(name).build
            assert not getattr(build, "func", build).__module__.startswith("eegaug."), f"the help does not name {name}"

    def test_searches(self):
        from eegaug.comparison import get_method
        from eegaug.search import list_searchers

        assert list_searchers() == list(common.SEARCHES)
        assert [name for name in common.METHODS if get_method(name).searches] == list(common.SEARCHES)

    def test_experiments(self):
        from eegaug.cli.reproduce import _EXPERIMENTS
        from eegaug.experiments import get_experiment, list_experiments

        assert {name: get_experiment(name).title for name in list_experiments()} == _EXPERIMENTS
        assert list(_EXPERIMENTS) == list_experiments()

    def test_experiments_are_listed_without_importing_them(self):
        heavy = ["torch", "braindecode", "mne", "pandas", "numpy", "eegaug.experiments"]
        code = (
            "import sys; sys.argv = ['eegaug', 'reproduce']\n"
            "from eegaug.cli import main\n"
            "try:\n    main()\nexcept SystemExit as stop:\n    assert stop.code == 0\n"
            f"print([m for m in {heavy} if m in sys.modules])"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        *listed, imported = done.stdout.splitlines()
        assert imported == "[]"
        assert listed[0].startswith("sinusoids       AugNet on noisy sinusoids") and len(listed) == 8

    def test_operations(self):
        from eegaug.operations import FAMILIES

        assert set(FAMILIES) == set(common.GROUPS)
        assert tuple(FAMILIES["all"]) == common.OPERATIONS

    @pytest.mark.parametrize(
        ("command", "names"),
        [
            ("compare", common.METHODS),
            ("fit", [name for name in common.METHODS if name not in common.SEARCHES]),
            ("search", (*common.SEARCHES, *common.GROUPS, *common.OPERATIONS)),
        ],
    )
    def test_helps_name_them_all(self, command, names):
        said = RUNNER.invoke(main, [command, "--help"]).stdout.split("Options:")[0].replace(",", " ").split()
        assert [name for name in names if name not in said] == []
        if command == "fit":
            assert "adda" not in said

    @pytest.mark.parametrize("command", ["compare", "search", "fit"])
    def test_helps_say_the_defaults(self, command):
        from eegaug.comparison import get_method
        from eegaug.comparison.fitting import EPOCHS_WITHOUT_VALIDATION
        from eegaug.comparison.sources import EMBEDDED, augnet_options, default_for
        from eegaug.data import Preprocessing
        from eegaug.data.mass import SFREQ

        said = " ".join(RUNNER.invoke(main, [command, "--help"]).stdout.split())
        p = Preprocessing()
        rates = f"{p.sfreq:g}; mass: {SFREQ:g}; simulated: {EMBEDDED['sfreq']:g}"
        assert f"Sampling rate of the windows ({rates})." in said
        assert f"Lower edge of the band ({p.l_freq:g})." in said and "l_freq" not in EMBEDDED
        assert f"Upper edge of the band ({p.h_freq:g}; simulated: {EMBEDDED['h_freq']:g})." in said
        assert f"Wakefulness kept around sleep ({p.wake_margin_min:g})." in said
        epochs, lr, penalty, folds = (
            "{:g}; simulated: {:g}".format(*(default_for(name, data) for data in ("nights/", "simulated")))
            for name in ("max_epochs", "lr", "penalty", "folds")
        )
        assert f"Most epochs of a training ({epochs})." in said and f"Learning rate ({lr})." in said
        if command != "search":
            change = get_method("augnet-change").defaults["penalty"]
            assert f"Weight of AugNet's penalty ({penalty}; augnet-change: {change:g})." in said
            assert f"Copies AugNet averages at prediction ({augnet_options('simulated')['n_copies']})." in said
        if command == "compare":
            assert f"or a JSON file of them ({folds})." in said
        if command == "fit":
            assert f"without early stopping, for {EPOCHS_WITHOUT_VALIDATION} epochs or --epochs." in said


class TestErrors:
    @pytest.mark.parametrize(
        ("error", "code", "line"),
        [
            (ValueError("rate is\n  -5 Hz"), 2, "eegaug: error: rate is -5 Hz"),
            (FileNotFoundError("no a.edf"), 2, "eegaug: error: no a.edf"),
            (RuntimeError("worker died"), 1, "eegaug: error: RuntimeError: worker died (--traceback shows where)"),
            (
                TerminatedWorkerError("The exit codes of the workers are {SIGKILL(-9)}"),
                1,
                "eegaug: error: a process that worked for this command died, perhaps for want of memory; what is "
                "finished is kept: the same command goes on, and fewer --jobs take less",
            ),
            (EOFError("file ends"), 1, "eegaug: error: EOFError: file ends (--traceback shows where)"),
            (KeyError(), 1, "eegaug: error: KeyError: KeyError (--traceback shows where)"),
            (click.BadParameter("not so."), 2, "eegaug: error: Invalid value: not so (see eegaug fail --help)"),
            (KeyboardInterrupt("kept in out"), 130, "eegaug: kept in out"),
            (KeyboardInterrupt(), 130, "eegaug: stopped; what is finished is kept: the same command goes on"),
        ],
    )
    def test_one_line_and_an_exit_code(self, error, code, line):
        result = RUNNER.invoke(raising(error), ["fail"])
        assert (result.exit_code, result.stderr, result.stdout) == (code, f"{line}\n", "")

    def test_traceback_on_demand(self, tmp_path):
        group = raising(ValueError("rate is -5 Hz"))
        for arguments in (["--traceback"], ["--config", str(tmp_path / "a.toml")]):
            (tmp_path / "a.toml").write_text("traceback = true")
            result = RUNNER.invoke(group, ["fail", *arguments])
            assert result.exit_code == 2
            lines = result.stderr.splitlines()
            assert lines[0].startswith("Traceback") and lines[-1] == "eegaug: error: rate is -5 Hz"

    def test_validation_by_pydantic_is_one_sentence(self, tmp_path):
        result = RUNNER.invoke(main, ["fit", "--out", str(tmp_path / "model"), "--sfreq", "-5"])
        assert result.exit_code == 2
        assert result.stderr == "eegaug: error: sfreq is -5.0: input should be greater than 0\n"

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["compare", "--methods", "nothing"], "unknown method 'nothing'; known are none, fixed, "),
            (["compare", "--trunk", "Chambon"], "'Chambon' is no braindecode model; did you mean"),
            (["compare", "--trunk-arg", "drop=0.1"], "SleepStagerChambon2018 takes no argument drop; it takes"),
            (["compare", "--device", "cuda:99"], "device 'cuda:99' is not there: torch sees"),
            (["fit", "--device", "gpu", "--out", "m"], "'gpu' is no device; use cpu, cuda"),
            (["fit", "--device", "meta", "--out", "m"], "device 'meta' cannot be used ("),
            (["compare", "--config", "a.toml"], "there is no configuration file a.toml"),
            (["compare", "--methods", "adda", "--method-arg", "adda.max_steps=many"], "'many'; a whole number is due"),
            (["search", "--method-arg", "policy_lr=fast", "--out", "p.json"], "is 'fast'; a number is due"),
            (["compare", "--budget", "soon"], "budget 'soon' is not a duration"),
            (["compare", "--data", "no-such-folder"], "no-such-folder"),
            (["compare", "--data", "mass"], "MASS"),
            (["compare", "--seeds", "a"], "'a' is not a list of whole numbers such as 0"),
            (["compare", "--data-arg", "n_subjects"], "'n_subjects' is not NAME=VALUE"),
            (["compare", "--folds", "many"], "'many' is neither a whole number nor a file; give a number, or a JSON"),
            (["compare", "--folds", "--3"], "'--3' is neither a whole number nor a file"),
            (["compare", "--data-arg", "root=/x"], "--data-arg root=/x says what --root says: leave it out"),
            (["fit", "--data-arg", "source=x", "--out", "m"], "--data-arg source=x says what --data says"),
            (["fit", "--data-arg", "sfreq=64", "--sfreq", "50", "--out", "m"], "sfreq=64 says what --sfreq says"),
            (
                ["fit", "--channels", "C3=EEG", "--data-arg", 'channels={"C4": "E"}', "--out", "m"],
                "--data-arg channels says what --channels says",
            ),
            (["stage", "n.edf", "--channels", "C3=A,C3=B", "--model", "m", "--out", "o"], "channel of the model twice"),
            (
                ["fit", "--seed", "-1", "--out", "m"],
                "Invalid value for '--seed': -1 is not in the range 0<=x<=4294967295",
            ),
            (["fit", "--out", ""], "Invalid value for '--out': it is empty; name a file or a folder"),
            (["stage", "", "--model", "m", "--out", "o"], "it is empty; name a file or a folder"),
            (["fit", "--method", "none"], "--out"),
            (["fit", "--method", "nothing", "--out", "model"], "unknown method 'nothing'; known are none, fixed, "),
            (["fit", "--method", "adda", "--out", "model"], "eegaug search --method adda --out policy.json"),
            (["fit", "--method", "none", "--policy", "p.json", "--out", "m"], "two ways to augment"),
            (["fit", "--policy", "p.json", "--out", "m"], "p.json"),
            (["fit", "--policy", "p.json", "--method-arg", "policy=1", "--out", "m"], "and --policy takes none"),
            (
                ["fit", "--method-arg", "penlty=1", "--out", "m"],
                "method 'augnet' does not take penlty; it takes layers",
            ),
            (["compare", "--method-arg", "augnet.penlty=1", "--data", "no-such-folder"], "does not take penlty"),
            (["compare", "--method-arg", "penalty=1"], "'penalty' is not METHOD.NAME, such as augnet.penalty"),
            (["compare", "--method-arg", "agnet.penalty=1"], "unknown method 'agnet'; known are none, fixed, "),
            (["search", "--method", "nothing", "--out", "p.json"], "nothing"),
            (["score", "--model", "no-model"], "no model in no-model"),
            (["dance"], "dance"),
        ],
    )
    def test_wrong_calls_end_with_2_and_one_line(self, arguments, message, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        result = run(*arguments)
        assert result.exit_code == 2
        assert message in result.stderr
        assert result.stdout == "" and len(result.stderr.splitlines()) == 1

    @pytest.mark.parametrize("command", ["compare", "fit"])
    def test_output_that_cannot_be_written_is_found_first(self, command, tmp_path):
        (tmp_path / "file").write_text("")
        result = run(command, "--data", "no-such-folder", "--out", tmp_path / "file")
        assert result.exit_code == 2
        assert "cannot write to the output folder" in result.stderr and "no-such-folder" not in result.stderr

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["dance"], "No such command 'dance'"),
            (["fit"], "Missing option '--out' (see eegaug fit --help)"),
            (["compare", "--foldz", "3"], "--foldz"),
            (["compare", "--jobs", "0"], "0 is not in the range x>=1"),
        ],
    )
    def test_a_wrong_call_is_one_line_that_says_where_help_is(self, arguments, words):
        result = RUNNER.invoke(main, arguments)
        assert result.exit_code == 2
        assert words in result.stderr and "--help)" in result.stderr
        assert len(result.stderr.splitlines()) == 1

    def test_nothing_asked_shows_the_help(self):
        result = RUNNER.invoke(main, [])
        assert "Commands:" in result.output and "error" not in result.output

    def test_warnings_are_lines(self):
        import warnings

        group = Commands("eegaug")

        @group.command()
        def warn():
            warnings.warn("channel C3 is flat", stacklevel=1)

        result = RUNNER.invoke(group, ["warn"])
        assert (result.exit_code, result.stderr) == (0, "eegaug: warning: channel C3 is flat\n")

    def test_a_reader_that_has_had_enough_is_no_error(self):
        env = {**os.environ, "PYTHONUNBUFFERED": "1"}
        command = f"{sys.executable} -m eegaug compare --help | head -n 1"
        done = subprocess.run(command, shell=True, capture_output=True, text=True, env=env)
        assert (done.stdout, done.stderr) == ("Usage: eegaug compare [OPTIONS]\n", "")


def test_streams_that_are_closed(tmp_path, model, monkeypatch):
    """As schedulers and daemons leave them; a progress bar asks its stream whether it is a terminal."""
    for stream in ("stdout", "stderr"):
        monkeypatch.setattr(sys, stream, None)
    with pytest.raises(SystemExit) as stop:
        main(["score", *SMALL, "--model", str(model), "--out", str(tmp_path / "scores.csv")])
    assert stop.value.code == 0 and (tmp_path / "scores.csv").stat().st_size > 100


@pytest.mark.parametrize("encoding", ["latin-1", "utf-8"])
def test_what_a_terminal_cannot_show_is_no_error(encoding, monkeypatch):
    group, shown = Commands("eegaug"), io.BytesIO()

    @group.command()
    def table():
        common.print_result(["score – κ"], {}, False)

    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(shown, encoding=encoding))
    with pytest.raises(SystemExit) as stop:
        group.main(["table"])
    assert stop.value.code == 0
    assert shown.getvalue().decode(encoding).splitlines() == ["score – κ" if encoding == "utf-8" else "score ? ?"]


def test_ctrl_c_while_things_are_imported():
    code = "import os, signal, sys; sys.argv = ['eegaug', 'doctor']\nfrom eegaug.cli import main\n"
    code += "import eegaug.doctor as room\nroom.doctor = lambda data: os.kill(os.getpid(), signal.SIGINT)\nmain()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 128 + signal.SIGINT
    assert done.stderr == "eegaug: stopped; what is finished is kept: the same command goes on\n"
