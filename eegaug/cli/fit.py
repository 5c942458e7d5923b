"""``eegaug fit``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from eegaug.cli import _common as common

#: Searches find a policy, from which a network is then trained.
_METHODS = tuple(name for name in common.METHODS if name not in common.SEARCHES)


@click.command()
@common.data_options
@click.option(
    "--method",
    default="augnet",
    show_default=True,
    metavar="NAME",
    shell_complete=common.complete_one(_METHODS),
    help="Way to augment, of those above.",
)
@click.option(
    "--policy",
    type=common.FILE,
    metavar="JSON",
    help="Augment by a policy, such as eegaug search finds, instead of by a method.",
)
@common.method_arg_option
@click.option("--out", type=common.FILE, required=True, metavar="MODEL", help="Folder of the model.")
@click.option(
    "--no-validation", is_flag=True, help="Train on all subjects, without early stopping, for 50 epochs or --epochs."
)
@common.seed_option
@common.training_options
@common.preprocessing_options
@common.jobs_option("Recordings prepared at a time (1).")
@common.device_option
@common.output_options
@common.naming("Methods", _METHODS)
def fit(
    data: str,
    method: str,
    policy: Path | None,
    out: Path,
    no_validation: bool,
    quiet: bool,
    as_json: bool,
    **given: Any,
) -> int:
    """Train one model on all nights and save it as a folder.

    A fifth of the subjects is set aside to stop on, unless there is one subject only or --no-validation is given.
    Ctrl-C saves the best network so far; the same command goes on.

    \b
    Example:
      eegaug fit --data nights/ --method augnet-change --out model/
      eegaug fit --data nights/ --method augnet --method-arg n_copies_train=2 --out model/
      eegaug fit --data nights/ --policy policy.json --out model/
    """
    if policy is not None:
        from_where = click.get_current_context().get_parameter_source
        of_method = from_where("method")
        if of_method is from_where("policy"):
            raise click.UsageError("--policy and --method are two ways to augment: give one of them")
        if of_method is ParameterSource.COMMANDLINE:  # and the policy from a file
            policy = None
        elif given["method_args"]:
            raise click.UsageError("--method-arg gives options of a method, and --policy takes none: leave one out")
    from eegaug.comparison import commands
    from eegaug.comparison.policy_method import policy_method

    report = commands.fit(
        data,
        method if policy is None else policy_method(policy),
        out,
        root=given["root"],
        data_args=common.get_data_arguments(data, given),
        preprocessing=common.get_preprocessing(given),
        validation=not no_validation,
        method_options=given["method_args"],
        penalty=given["penalty"],
        n_copies=given["copies"],
        seed=given["seed"],
        device=given["device"],
        verbose=not quiet,
        say=common.say,
        **common.get_training(given),
    )
    common.print_result(commands.fit_lines(report), commands.fit_document(report), as_json)
    return common.INTERRUPTED if report.interrupted else common.OK
