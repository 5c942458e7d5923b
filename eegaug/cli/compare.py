"""``eegaug compare``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from eegaug.cli import _common as common


def _of_methods(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """Method → its options, from METHOD.NAME=VALUE."""
    found: dict[str, dict[str, Any]] = {}
    for text, value in common.settings(ctx, param, values).items():
        method, dot, name = text.rpartition(".")
        if not dot or not method or not name:
            raise click.BadParameter(f"{text!r} is not METHOD.NAME, such as augnet.penalty")
        found.setdefault(method, {})[name] = value
    return found


def _folds(ctx: click.Context, param: click.Parameter, value: str | None) -> int | Path | None:
    """A number of folds, or a file of them that is there."""
    try:
        return None if value is None else int(value)
    except ValueError:
        path = Path(common.expanded(value))
    if not path.is_file():
        raise click.BadParameter(f"{value!r} is neither a whole number nor a file; give a number, or a JSON file")
    return path


# What --quick takes for what is not given, and of simulated nights.
_QUICK = {"folds": 2, "epochs": 6, "out": Path("eegaug-compare-quick")}
_QUICK_NIGHTS = {"n_subjects": 6, "n_windows": 80}


@click.command()
@click.option(
    "--methods",
    default="none,fixed,augnet,augnet-change",
    show_default=True,
    callback=common.words,
    metavar="A,B,…",
    shell_complete=common.complete_list(common.METHODS),
    help="Ways to augment, of those above.",
)
@click.option(
    "--method-arg",
    "method_args",
    multiple=True,
    callback=_of_methods,
    metavar="METHOD.NAME=VALUE",
    help="An option of one of the methods; repeat it.",
)
@common.data_options
@click.option(
    "--out",
    type=common.FILE,
    default="eegaug-compare",
    show_default=True,
    metavar="FOLDER",
    help="Folder of the results; with --quick eegaug-compare-quick.",
)
@click.option(
    "--folds",
    callback=_folds,
    metavar="N|FILE",
    help="Subject-wise folds, or a JSON file of them (5; simulated: 3).",
)
@click.option(
    "--seed",
    "--seeds",
    "seeds",
    default="0",
    show_default=True,
    callback=common.numbers(int),
    metavar="0,1,…",
    help="One repetition for each.",
)
@click.option(
    "--fractions",
    default="1.0",
    show_default=True,
    callback=common.numbers(float),
    metavar="0.5,1,…",
    help="Of the training subjects.",
)
@common.training_options
@common.preprocessing_options
@common.jobs_option("Runs at a time (one per core, at most 8; 1 on an accelerator).")
@click.option(
    "--backend",
    type=click.Choice(["local", "dask"]),
    default="local",
    show_default=True,
    help="Runs on this machine, or by the workers of a Dask cluster.",
)
@click.option("--scheduler", metavar="ADDRESS", help="The cluster's scheduler, such as tcp://host:8786.")
@common.device_option
@click.option(
    "--quick", is_flag=True, help="A small version, to see what it does: 2 folds, 6 epochs, few simulated windows."
)
@click.option("--dry-run", is_flag=True, help="Say what would run, what is there, and how long it may take.")
@common.output_options
@common.naming("Methods", common.METHODS)
def compare(
    methods: Any,
    data: str,
    out: Path,
    folds: int | Path | None,
    quick: bool,
    dry_run: bool,
    quiet: bool,
    as_json: bool,
    **given: Any,
) -> int:
    """Compare ways to augment, on subject-wise folds.

    Without options: no augmentation, a fixed policy and AugNet, with the paper's penalty and rewarded for change, on
    simulated nights. Leaves results.csv and two figures. What is finished is kept: the same command goes on where it
    stopped. With --quick it takes less than a minute, and its scores mean little.

    \b
    Example:
      eegaug compare --quick
      eegaug compare --data nights/ --methods none,augnet --folds 5 --seeds 0,1,2
      eegaug compare --data nights/ --methods none,augnet --dry-run
      eegaug compare --methods augnet,adda --method-arg augnet.penalty=0.2 --method-arg adda.max_steps=20
    """
    if quick:
        source = click.get_current_context().get_parameter_source
        small = {name: v for name, v in _QUICK.items() if source(name) is click.core.ParameterSource.DEFAULT}
        folds, out = small.pop("folds", folds), small.pop("out", out)
        given |= small
        if data == "simulated":
            given["data_args"] = _QUICK_NIGHTS | given["data_args"]
    for name in given["method_args"]:
        if name in common.METHODS and name not in methods:
            common.say(f"eegaug: warning: {name} is not among the methods, so its options have no effect")
    arguments = {
        "root": given["root"],
        "folds": folds,
        "seeds": given["seeds"],
        "fractions": given["fractions"],
        "out": out,
        "n_jobs": given["jobs"] or common.default_jobs(given["device"]),
        "backend": given["backend"],
        "scheduler": given["scheduler"],
        "preprocessing": common.get_preprocessing(given),
        "penalty": given["penalty"],
        "n_copies": given["copies"],
        "method_options": given["method_args"] or None,
        "data_args": common.get_data_arguments(data, given) or None,
        "device": given["device"],
        "verbose": not quiet,
        **common.get_training(given),
    }
    if dry_run:
        return _describe(methods, data, arguments, as_json)
    from eegaug.comparison import commands
    from eegaug.comparison import compare as run_comparison

    result = run_comparison(methods, data, **arguments)
    common.print_result(commands.comparison_lines(result), commands.comparison_document(result), as_json)
    return common.FAILED if len(result.failed) else common.OK


def _describe(methods: Any, data: str, arguments: dict[str, Any], as_json: bool) -> int:
    from eegaug.comparison import describe_plan, forecast_lines

    plan = describe_plan(methods, data, **arguments)
    document = {"out": str(plan.out), "n_jobs": plan.n_jobs, "seconds": plan.seconds, "runs": plan.runs}
    common.print_result([*forecast_lines(plan), f"results would go to {plan.out}"], document, as_json)
    return common.OK
