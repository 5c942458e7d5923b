"""``eegaug reproduce``."""

from __future__ import annotations

from typing import Any

import click

from eegaug.cli import _common as common

# Experiments and their titles, here once more because what knows them takes seconds to import. A test compares.
_EXPERIMENTS = {
    "sinusoids": "AugNet on noisy sinusoids (Rommel et al. 2022, section 4.2): which operation is selected, and how "
    "far it may go.",
    "planted": "AugNet on simulated nights with planted ranges: which of them are found (not in a paper).",
    "capacity": "Invariance and accuracy by the size of the trunk (Rommel et al. 2022, section 4.3, Figure 6).",
    "rotation": "How far pictures may be turned (Rommel et al. 2022, section 4.1, Figures 3 and 4).",
    "transfer": "Augmentations that training has not seen (Chen et al. 2019, Table 5 and Figure 5), on sleep.",
    "label-noise": "Wrong labels (Chen et al. 2019, Table 3), on sleep.",
    "fractions": "Few labelled windows (Chen et al. 2019, Table 4), on sleep.",
    "stage-policies": "Policies by class (Mahan et al. 2021, Table 3), by sleep stage.",
}


@click.command()
@click.argument("name", required=False, shell_complete=common.complete_one(tuple(_EXPERIMENTS)))
@click.option("--quick", is_flag=True, help="A small version: at most two minutes on two cores.")
@click.option(
    "--out", type=common.FILE, metavar="FOLDER", help="Results (eegaug-reproduce/NAME; with --quick NAME-quick)."
)
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
    if name is None:
        width = max(map(len, _EXPERIMENTS))
        lines = [f"{known:{width}}  {title}" for known, title in _EXPERIMENTS.items()]
        common.print_result(lines, _EXPERIMENTS, as_json)
        return common.OK
    from eegaug.comparison.sources import usable_device
    from eegaug.experiments import reproduce as run_experiment

    device = usable_device(given["device"])
    common.warn_of_unused(given["data"], given)
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
