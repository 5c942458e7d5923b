"""``eegaug reproduce``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from eegaug.cli import _common as common


def _complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from eegaug.experiments import list_experiments

    return [CompletionItem(name) for name in list_experiments() if name.startswith(incomplete)]


@click.command()
@click.argument("name", required=False, shell_complete=_complete)
@click.option("--quick", is_flag=True, help="A small version: at most two minutes on two cores.")
@click.option("--out", type=click.Path(path_type=Path), metavar="FOLDER", help="Results (eegaug-reproduce/NAME).")
@click.option("--seeds", type=click.IntRange(min=1), metavar="N", help="How many seeds (the experiment's own number).")
@common.data_options
@common.jobs_option("Runs at a time (one per core, at most 8; 1 on an accelerator).")
@click.option(
    "--device",
    default="cpu",
    show_default=True,
    metavar="NAME",
    shell_complete=common.complete_one(("cpu", "cuda")),
    help="cpu, cuda, … of the experiments on sleep; the others are too small for any but the CPU.",
)
@common.output_options
def reproduce(name: str | None, quiet: bool, as_json: bool, **given: Any) -> int:
    """Repeat a published experiment, with the paper's numbers beside ours.

    Without a name: which experiments there are. Leaves the rows of all runs, a summary and a figure. What is finished
    is kept: the same command goes on where it stopped.

    \b
    Example:
      eegaug reproduce sinusoids --quick
    """
    from eegaug.comparison.sources import usable_device
    from eegaug.experiments import get_experiment, list_experiments
    from eegaug.experiments import reproduce as run_experiment

    if name is None:
        titles = {known: get_experiment(known).title for known in list_experiments()}
        width = max(map(len, titles))
        common.print_result([f"{known:{width}}  {title}" for known, title in titles.items()], titles, as_json)
        return common.OK
    device = usable_device(given["device"])
    result = run_experiment(
        name,
        quick=given["quick"],
        out=given["out"],
        n_jobs=given["jobs"] or common.default_jobs(device),
        seeds=given["seeds"],
        data=given["data"],
        root=given["root"],
        data_args=given["data_args"],
        device=device,
        verbose=not quiet,
    )
    common.print_result(result.lines(), result.document(), as_json)
    return common.FAILED if result.failed else common.OK
