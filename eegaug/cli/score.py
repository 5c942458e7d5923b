"""``eegaug score``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from eegaug.cli import _common as common


@click.command()
@common.data_options
@click.option("--model", type=common.FILE, required=True, help="Folder of the model.")
@click.option("--out", type=common.FILE, metavar="CSV", help="Table of scores, recording by recording.")
@click.option("--allow-training-subjects", is_flag=True, help="Count subjects that the model was trained on.")
@common.jobs_option("Recordings prepared at a time (1).")
@common.device_option
@common.output_options
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
        data_args=common.get_data_arguments(data, given),
        allow_training=given["allow_training_subjects"],
        device=given["device"],
        verbose=not quiet,
        say=common.say,
    )
    common.print_result(commands.score_lines(report), commands.score_document(report), as_json)
    return common.FAILED if report.skipped else common.OK
