"""``eegaug fit``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from eegaug.cli import _common as common


@click.command()
@common.data_options
@click.option("--method", default="augnet", show_default=True, help="none, fixed or augnet.")
@click.option("--out", type=click.Path(path_type=Path), required=True, metavar="MODEL", help="Folder of the model.")
@click.option("--no-validation", is_flag=True, help="Train on all subjects, without early stopping.")
@common.seed_option
@common.training_options
@common.preprocessing_options
@common.jobs_option("Recordings prepared at a time (1).")
@common.device_option
@common.output_options
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
        data_args=common.get_data_arguments(data, given),
        preprocessing=common.get_preprocessing(given),
        validation=not no_validation,
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
