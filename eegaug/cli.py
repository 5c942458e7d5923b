"""The command line: parse, call, print. Whatever takes time to import is imported by the command that needs it."""

from __future__ import annotations

import json
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from eegaug._version import __version__

__all__ = ["main"]

OK, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130
_INPUT_ERRORS = (ValueError, TypeError, OSError, ImportError)


class Commands(click.Group):
    """A group whose errors are one line on standard error: what was wrong, what was seen, what to do."""

    def main(self, args: Any = None, prog_name: str | None = None, **extra: Any) -> None:
        """Run a command and exit with its code."""
        given = list(sys.argv[1:] if args is None else args)
        extra["standalone_mode"] = False
        try:
            with warnings.catch_warnings():
                warnings.showwarning = _show_warning
                warnings.simplefilter("ignore", FutureWarning)
                code = super().main(given, prog_name or "eegaug", **extra)
            sys.exit(code if isinstance(code, int) else OK)
        except click.ClickException as error:
            error.show()
            sys.exit(USAGE)
        except (KeyboardInterrupt, click.Abort) as error:
            reason = str(error.__cause__ or error)  # click makes the second of the first
            _say(f"eegaug: {reason or 'stopped'}")
            sys.exit(INTERRUPTED)
        except BrokenPipeError:
            sys.exit(FAILED)
        except Exception as error:
            if "--traceback" in given:
                traceback.print_exc()
            text = " ".join(str(error).split()) or type(error).__name__
            if isinstance(error, _INPUT_ERRORS):
                _say(f"eegaug: error: {text}")
                sys.exit(USAGE)
            hint = "" if "--traceback" in given else " (--traceback shows where)"
            _say(f"eegaug: error: {type(error).__name__}: {text}{hint}")
            sys.exit(FAILED)


def _say(text: str) -> None:
    click.echo(text, err=True)


def _show_warning(message: Any, category: type, filename: str, lineno: int, *more: Any) -> None:
    _say(f"eegaug: warning: {message}")


def _numbers(kind: type) -> Callable[..., Any]:
    """A list such as 0,1,2 of numbers of one kind."""

    def parse(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[Any, ...] | None:
        if value is None:
            return None
        try:
            return tuple(kind(part) for part in value.split(",") if part.strip())
        except ValueError:
            word = "whole numbers" if kind is int else "numbers"
            raise click.BadParameter(f"{value!r} is not a list of {word} such as {param.default}") from None

    return parse


def _words(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[str, ...] | None:
    return None if value is None else tuple(part.strip() for part in value.split(",") if part.strip())


def _settings(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> dict[str, Any]:
    """NAME=VALUE pairs; a value is JSON where it can be read as such, else text."""
    found = {}
    for text in values:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise click.BadParameter(f"{text!r} is not NAME=VALUE")
        try:
            found[name.strip()] = json.loads(value)
        except ValueError:
            found[name.strip()] = value
    return found


def _options(*options: Callable) -> Callable:
    def add(command: Callable) -> Callable:
        for option in reversed(options):
            command = option(command)
        return command

    return add


_output = _options(
    click.option("--quiet", is_flag=True, help="No progress, only the result."),
    click.option("--json", "as_json", is_flag=True, help="Print the result as JSON."),
    click.option("--traceback", is_flag=True, help="Show where an error comes from."),
)
_data = _options(
    click.option(
        "--data",
        default="simulated",
        show_default=True,
        metavar="NAME|FOLDER",
        help="simulated, sleep-edf, mass, or a folder of recordings.",
    ),
    click.option(
        "--root", type=click.Path(path_type=Path), help="Folder of MASS, or where Sleep-EDF is downloaded to."
    ),
    click.option(
        "--data-arg", "data_args", multiple=True, callback=_settings, metavar="NAME=VALUE", help="Of the data."
    ),
)
_preprocessing = _options(
    click.option("--channels", callback=_words, metavar="C3,C4,…", help="Channels, by name and in this order."),
    click.option("--sfreq", type=float, metavar="HZ", help="Sampling rate of the windows (100)."),
    click.option("--l-freq", type=float, metavar="HZ", help="Lower edge of the band (0.3)."),
    click.option("--h-freq", type=float, metavar="HZ", help="Upper edge of the band (30)."),
    click.option("--wake-margin", type=float, metavar="MIN", help="Wakefulness kept around sleep (30)."),
)
_training = _options(
    click.option(
        "--epochs",
        "--max-epochs",
        "epochs",
        type=int,
        metavar="N",
        help="Most epochs of a training (300; simulated: 20).",
    ),
    click.option("--patience", type=int, default=30, show_default=True, metavar="N", help="Epochs without progress."),
    click.option("--budget", metavar="TIME", help="Training time, such as 90s, 30min, 2h."),
    click.option("--trunk", default="SleepStagerChambon2018", show_default=True, help="A braindecode model."),
    click.option(
        "--trunk-arg", "trunk_args", multiple=True, callback=_settings, metavar="NAME=VALUE", help="Of the trunk."
    ),
    click.option("--batch-size", type=int, default=16, show_default=True, metavar="N"),
    click.option("--lr", type=float, help="Learning rate (0.001; simulated: 0.003)."),
    click.option("--penalty", type=float, help="Weight of AugNet's penalty (10; simulated: 0.2)."),
    click.option("--copies", type=int, default=4, show_default=True, help="Copies AugNet averages at prediction."),
)
_device = click.option("--device", help="cpu, cuda, … Default: a CUDA device if there is one.")


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="eegaug")
def main() -> None:
    """Learn which transformations of EEG do not matter.

    Exit codes: 0 all is done, 1 some files or runs failed, 2 the call or its input is wrong, 130 stopped by Ctrl-C.
    """


@main.command()
@click.option("--methods", default="none,fixed,augnet", show_default=True, callback=_words, metavar="A,B,…")
@_data
@click.option("--out", type=click.Path(path_type=Path), default="eegaug-compare", show_default=True, help="Results.")
@click.option("--folds", metavar="N|FILE", help="Subject-wise folds, or a JSON file of them (5; simulated: 3).")
@click.option("--seed", "--seeds", "seeds", default="0", show_default=True, callback=_numbers(int), metavar="0,1,…")
@click.option("--fractions", default="1.0", show_default=True, callback=_numbers(float), help="Of training subjects.")
@_training
@_preprocessing
@click.option("--jobs", type=int, metavar="N", help="Runs at a time (one per core, at most 8; 1 on an accelerator).")
@_device
@_output
def compare(methods: Any, data: str, out: Path, folds: str | None, quiet: bool, as_json: bool, **given: Any) -> int:
    """Compare ways to augment, on subject-wise folds.

    Without options: no augmentation, a fixed policy and AugNet on simulated nights. Leaves results.csv and two figures.
    What is finished is kept: the same command goes on where it stopped.

    \b
    Example:
      eegaug compare --data nights/ --methods none,augnet --folds 5 --seeds 0,1,2
    """
    from eegaug.comparison import compare as run_comparison

    result = run_comparison(
        methods,
        data,
        root=given["root"],
        folds=int(folds) if folds is not None and folds.lstrip("-").isdigit() else folds,
        seeds=given["seeds"],
        fractions=given["fractions"],
        out=out,
        n_jobs=given["jobs"] or _default_jobs(given["device"]),
        preprocessing=_get_preprocessing(given),
        penalty=given["penalty"],
        n_copies=given["copies"],
        data_args=given["data_args"] or None,
        verbose=not quiet,
        **_get_training(given),
        device=given["device"],
    )
    _print_comparison(result, as_json)
    return FAILED if len(result.failed) else OK


@main.command()
@_data
@click.option("--method", default="augnet", show_default=True, help="none, fixed or augnet.")
@click.option("--out", type=click.Path(path_type=Path), required=True, metavar="MODEL", help="Folder of the model.")
@click.option("--no-validation", is_flag=True, help="Train on all subjects, without early stopping.")
@click.option("--seed", type=int, default=0, show_default=True)
@_training
@_preprocessing
@_device
@_output
def fit(data: str, method: str, out: Path, no_validation: bool, quiet: bool, as_json: bool, **given: Any) -> int:
    """Train one model on all nights and save it as a folder.

    A fifth of the subjects is set aside to stop on, unless there is one subject only or --no-validation is given.
    Ctrl-C saves the best network so far; the same command goes on.

    \b
    Example:
      eegaug fit --data nights/ --method augnet --out model/
    """
    from eegaug.comparison import commands

    report = commands.fit(
        data,
        method,
        out,
        root=given["root"],
        data_args=given["data_args"],
        preprocessing=_get_preprocessing(given),
        validation=not no_validation,
        penalty=given["penalty"],
        n_copies=given["copies"],
        seed=given["seed"],
        device=given["device"],
        verbose=not quiet,
        say=_say,
        **_get_training(given),
    )
    _print(report, commands.fit_lines(report), commands.fit_document(report), as_json)
    return INTERRUPTED if report.interrupted else OK


@main.command()
@_data
@click.option("--model", type=click.Path(path_type=Path), required=True, help="Folder of the model.")
@click.option("--out", type=click.Path(path_type=Path), metavar="CSV", help="Table of scores, recording by recording.")
@click.option("--allow-training-subjects", is_flag=True, help="Count subjects that the model was trained on.")
@_device
@_output
def score(data: str, model: Path, out: Path | None, quiet: bool, as_json: bool, **given: Any) -> int:
    """Score a model on nights with stages.

    Recordings are prepared as the model's training data were. Subjects that the model was trained on do not count.

    \b
    Example:
      eegaug score --data other-nights/ --model model/ --out scores.csv
    """
    from eegaug.comparison import commands

    report = commands.score(
        data,
        model,
        out,
        root=given["root"],
        data_args=given["data_args"],
        allow_training=given["allow_training_subjects"],
        device=given["device"],
        verbose=not quiet,
        say=_say,
    )
    _print(report, commands.score_lines(report), commands.score_document(report), as_json)
    return FAILED if report.skipped else OK


@main.command()
@click.option("--data", type=click.Path(path_type=Path), help="A data folder to look at (default: EEGAUG_DATA).")
@_output
def doctor(data: Path | None, quiet: bool, as_json: bool, **given: Any) -> int:
    """Say what is installed, what it can use and whether the data can be read.

    \b
    Example:
      eegaug doctor
    """
    from eegaug import doctor as room

    facts = room.doctor(data)
    click.echo(json.dumps(facts, indent=1) if as_json else room.doctor_report(facts))
    return FAILED if facts["problems"] else OK


def _default_jobs(device: str | None) -> int:
    from joblib import cpu_count

    from eegaug.comparison.sources import default_device

    return min(8, cpu_count()) if (device or default_device()) == "cpu" else 1


def _get_preprocessing(given: dict[str, Any]) -> Any:
    """The preprocessing asked for; None where nothing was said."""
    names = {"channels": "ch_names", "sfreq": "sfreq", "l_freq": "l_freq", "h_freq": "h_freq"}
    names["wake_margin"] = "wake_margin_min"
    asked = {new: given[old] for old, new in names.items() if given[old] is not None}
    if not asked:
        return None
    from eegaug.data import Preprocessing

    return Preprocessing(**asked)


def _get_training(given: dict[str, Any]) -> dict[str, Any]:
    names = ("patience", "budget", "trunk", "lr", "batch_size")
    trunk_args = given["trunk_args"] or None
    return {"max_epochs": given["epochs"], "trunk_args": trunk_args, **{name: given[name] for name in names}}


def _print(report: Any, lines: list[str], document: dict[str, Any], as_json: bool) -> None:
    click.echo(json.dumps(document, indent=1) if as_json else "\n".join(lines))


def _print_comparison(result: Any, as_json: bool) -> None:
    from eegaug.comparison import commands

    _print(result, commands.comparison_lines(result), commands.comparison_document(result), as_json)


if __name__ == "__main__":
    main()
