"""What the commands share: exit codes, options, how a result is printed and an error told."""

from __future__ import annotations

import inspect
import json
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from eegaug.cli._config import load_config
from eegaug.cli._values import FILE, SOURCES, data_source, expanded, names_and_aliases, numbers, settings, words

__all__ = [
    "EXIT_CODES",
    "FAILED",
    "FILE",
    "GROUPS",
    "INTERRUPTED",
    "METHODS",
    "OK",
    "OPERATIONS",
    "SEARCHES",
    "SOURCES",
    "TRACEBACK",
    "USAGE",
    "complete_list",
    "complete_one",
    "data_arg_option",
    "data_options",
    "default_jobs",
    "device_option",
    "expanded",
    "get_data_arguments",
    "get_preprocessing",
    "get_training",
    "jobs_option",
    "names_and_aliases",
    "naming",
    "numbers",
    "options",
    "output_options",
    "preprocessing_options",
    "print_result",
    "say",
    "seed_option",
    "settings",
    "training_options",
    "trunk_options",
    "warn_of_unused",
    "words",
]

OK, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130
#: What they mean, as the help of every command says it.
EXIT_CODES = """\b
Exit codes:
  0    all is done
  1    some files or runs failed; they are named, the others are done
  2    the call or its input is wrong
  130  stopped by Ctrl-C; the same command goes on"""
#: Key of the context's ``meta`` that says whether tracebacks are wanted.
TRACEBACK = "eegaug.traceback"

# Names, here once more because what knows them takes seconds to import. Tests compare.
#: Policy searches.
SEARCHES = ("random", "autoaugment", "fast-autoaugment", "faster-autoaugment", "dada", "adda", "cadda", "dna")
#: Ways to augment that are compared and fitted.
METHODS = (
    *("none", "fixed", "augnet", "augnet-change", "augnet-single", "uniform", "trivial-augment", "rand-augment"),
    *SEARCHES,
    *("ait", "ait-control", "ait-augnet", "multi-ait", "dml", "augerino"),
)
#: Groups of operations, and operations.
GROUPS = ("all", "time-frequency", "sensors")
OPERATIONS = (
    *("time_reverse", "time_masking", "gaussian_noise", "ft_surrogate", "frequency_shift", "bandstop_filter"),
    *("sign_flip", "channels_symmetry", "channels_shuffle", "channels_dropout"),
    *("sensors_rotation_x", "sensors_rotation_y", "sensors_rotation_z"),
)

Decorator = Callable[[Callable], Callable]
Completion = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def say(text: str) -> None:
    """Tell the user something that is not the result: on standard error."""
    click.echo(text, err=True)


def print_result(lines: list[str], document: dict[str, Any], as_json: bool) -> None:
    """Print the result of a command: lines for people, or a JSON document."""
    click.echo(json.dumps(document, indent=1) if as_json else "\n".join(lines))


# Options -------------------------------------------------------------------------------------------------------------


def options(*several: Decorator) -> Decorator:
    """Several options as one decorator."""

    def add(command: Callable) -> Callable:
        for option in reversed(several):
            command = option(command)
        return command

    return add


def _note_traceback(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    ctx.meta[TRACEBACK] = value


def naming(title: str, names: tuple[str, ...]) -> Decorator:
    """Name all that an option takes in the help of a command, above its options."""
    lines = textwrap.wrap(", ".join(names), 76, break_on_hyphens=False)
    block = "\b\n" + "\n  ".join([f"{title}:", *lines])

    def add(command: Callable) -> Callable:
        command.__doc__ = f"{inspect.cleandoc(command.__doc__ or '')}\n\n{block}"
        return command

    return add


def complete_one(names: tuple[str, ...]) -> Completion:
    """Completion of an option whose value is one of these names."""
    return lambda ctx, param, incomplete: [CompletionItem(name) for name in names if name.startswith(incomplete)]


def complete_list(names: tuple[str, ...]) -> Completion:
    """Completion of an option whose value is a list such as none,augnet: of its last name, none twice."""

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        before, comma, last = incomplete.rpartition(",")
        there = before.split(",")
        return [CompletionItem(f"{before}{comma}{n}") for n in names if n.startswith(last) and n not in there]

    return complete


def _complete_data(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of sources, and folders."""
    # In bash, a folder forgets what comes before it.
    return [CompletionItem(incomplete, type="dir"), *complete_one(SOURCES)(ctx, param, incomplete)]


#: quiet, as_json; --config and --traceback see to themselves.
output_options = options(
    click.option(
        "--config",
        type=FILE,
        is_eager=True,
        expose_value=False,
        callback=load_config,
        metavar="TOML",
        help="Read options from a file; those given here win.",
    ),
    click.option("--quiet", is_flag=True, help="No progress, only the result."),
    click.option("--json", "as_json", is_flag=True, help="Print the result as JSON."),
    click.option(
        "--traceback",
        is_flag=True,
        expose_value=False,
        callback=_note_traceback,
        help="Show where an error comes from.",
    ),
)
#: data_args.
data_arg_option = click.option(
    "--data-arg",
    "data_args",
    multiple=True,
    callback=settings,
    metavar="NAME=VALUE",
    help="A further argument of the data; repeat it.",
)
#: data, root, data_args.
data_options = options(
    click.option(
        "--data",
        default="simulated",
        show_default=True,
        callback=data_source,
        metavar="NAME|FOLDER",
        shell_complete=_complete_data,
        help="simulated, sleep-edf, mass, or a folder of recordings.",
    ),
    click.option(
        "--root",
        type=FILE,
        metavar="FOLDER",
        help="Folder of MASS, or of Sleep-EDF that is there already (else it is fetched).",
    ),
    data_arg_option,
)
#: channels, sfreq, l_freq, h_freq, wake_margin; see get_preprocessing.
preprocessing_options = options(
    click.option(
        "--channels", callback=words, metavar="C3,C4,…", help="Channels, in this order; C4=EEG where it is called so."
    ),
    click.option(
        "--sfreq", type=float, metavar="HZ", help="Sampling rate of the windows (100; mass: 128; simulated: 50)."
    ),
    click.option("--l-freq", type=float, metavar="HZ", help="Lower edge of the band (0.3)."),
    click.option("--h-freq", type=float, metavar="HZ", help="Upper edge of the band (30; simulated: 20)."),
    click.option("--wake-margin", type=float, metavar="MIN", help="Wakefulness kept around sleep (30)."),
)
#: epochs, patience, trunk, trunk_args, batch_size, lr.
trunk_options = options(
    click.option(
        "--epochs",
        "--max-epochs",
        "epochs",
        type=int,
        metavar="N",
        help="Most epochs of a training (300; simulated: 20).",
    ),
    click.option("--patience", type=int, default=30, show_default=True, metavar="N", help="Epochs without progress."),
    click.option(
        "--trunk", default="SleepStagerChambon2018", show_default=True, metavar="NAME", help="A braindecode model."
    ),
    click.option(
        "--trunk-arg",
        "trunk_args",
        multiple=True,
        callback=settings,
        metavar="NAME=VALUE",
        help="An argument of the trunk; repeat it.",
    ),
    click.option("--batch-size", type=int, default=16, show_default=True, metavar="N", help="Windows per batch."),
    click.option("--lr", type=float, metavar="X", help="Learning rate (0.001; simulated: 0.003)."),
)
#: Those of the trunk and budget, penalty, copies; see get_training.
training_options = options(
    trunk_options,
    click.option("--budget", metavar="TIME", help="Most time of a training and its search, such as 90s, 30min, 2h."),
    click.option(
        "--penalty",
        type=float,
        metavar="X",
        help="Weight of AugNet's penalty (10; simulated: 0.2; augnet-change: 0.5).",
    ),
    click.option("--copies", type=int, metavar="N", help="Copies AugNet averages at prediction (4)."),
)
#: device, None if nothing was said: see eegaug.comparison.sources.default_device.
device_option = click.option(
    "--device",
    metavar="NAME",
    shell_complete=complete_one(("cpu", "cuda")),
    help="cpu, cuda, … Default: a CUDA device if there is one.",
)
#: seed of a command that makes one run.
seed_option = click.option(
    "--seed",
    type=click.IntRange(0, 2**32 - 1),
    default=0,
    show_default=True,
    metavar="N",
    help="Of all that is random.",
)


method_arg_option = click.option(
    "--method-arg",
    "method_args",
    multiple=True,
    callback=settings,
    metavar="NAME=VALUE",
    help="An option of the method; repeat it.",
)


def jobs_option(what: str) -> Decorator:
    """jobs, None if nothing was said: see default_jobs."""
    return click.option("--jobs", type=click.IntRange(min=1), metavar="N", help=what)


# What options mean ---------------------------------------------------------------------------------------------------


def default_jobs(device: str | None) -> int:
    """Jobs where nothing was said: one per core, at most 8, and one on an accelerator."""
    from joblib import cpu_count

    from eegaug.comparison.sources import default_device

    return min(8, cpu_count()) if (device or default_device()) == "cpu" else 1


#: What the data know by other names than the command line.
_SAID_OTHERWISE = {
    "source": "data",
    "root": "root",
    "preprocessing": "channels, --sfreq, --l-freq, --h-freq or --wake-margin",
    "ch_names": "channels",
    "sfreq": "sfreq",
    "l_freq": "l-freq",
    "h_freq": "h-freq",
    "wake_margin_min": "wake-margin",
}


def get_data_arguments(data: str, given: dict[str, Any]) -> dict[str, Any]:
    """Further arguments of the data; recordings are prepared as many at a time as there are jobs."""
    arguments = dict(given["data_args"])
    for name in arguments:
        flag = _SAID_OTHERWISE.get(name, "")
        if name in ("source", "root", "preprocessing") or given.get(flag.replace("-", "_")) is not None:
            raise click.UsageError(f"--data-arg {name}={arguments[name]} says what --{flag} says: leave it out")
    warn_of_unused(data, given)
    if isinstance(arguments.get("ch_names"), str):
        arguments["ch_names"] = [name.strip() for name in arguments["ch_names"].split(",")]
    if called := names_and_aliases(given.get("channels"))[1]:
        if "channels" in arguments:
            raise click.UsageError("--data-arg channels says what --channels says: leave it out")
        arguments["channels"] = called
    from_files = data != "simulated" and not (Path(data) / "store.json").exists()
    if from_files and given["jobs"] is not None:
        arguments.setdefault("n_jobs", given["jobs"])
    return arguments


def warn_of_unused(data: str, given: dict[str, Any]) -> None:
    """Warn of options that simulated nights have no use for."""
    for name in ("root", "wake_margin"):
        if data == "simulated" and given.get(name) is not None:
            say(f"eegaug: warning: --{name.replace('_', '-')} has no effect on simulated nights")


def get_preprocessing(given: dict[str, Any]) -> Any:
    """The preprocessing asked for by the preprocessing options; None where nothing was said."""
    names = {"channels": "ch_names", "sfreq": "sfreq", "l_freq": "l_freq", "h_freq": "h_freq"}
    names["wake_margin"] = "wake_margin_min"
    given = {**given, "channels": names_and_aliases(given["channels"])[0]}
    asked = {new: given[old] for old, new in names.items() if given[old] is not None}
    if not asked:
        return None
    from eegaug.data import Preprocessing

    # Checked where the data's own defaults for the rest are known.
    return Preprocessing.model_construct(**asked)


def get_training(given: dict[str, Any]) -> dict[str, Any]:
    """Arguments of a training, from the training options."""
    names = ("patience", "budget", "trunk", "lr", "batch_size")
    trunk_args = given["trunk_args"] or None
    return {"max_epochs": given["epochs"], "trunk_args": trunk_args, **{name: given[name] for name in names}}
