"""``eegaug search``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from eegaug.cli import _common as common


def _operations(ctx: click.Context, param: click.Parameter, value: str) -> Any:
    """A group of operations, or a list of them."""
    found = common.words(ctx, param, value)
    return found[0] if len(found) == 1 and found[0] in common.GROUPS else found


@click.command()
@common.data_options
@click.option(
    "--method",
    default="adda",
    show_default=True,
    metavar="NAME",
    shell_complete=common.complete_one(common.SEARCHES),
    help="Search, of those above.",
)
@click.option("--out", type=common.FILE, required=True, metavar="JSON", help="File of the policy.")
@click.option(
    "--operations",
    default="all",
    show_default=True,
    callback=_operations,
    metavar="A,B,…",
    shell_complete=common.complete_list((*common.GROUPS, *common.OPERATIONS)),
    help="A group, or a list such as frequency_shift,sign_flip.",
)
@click.option("--steps", type=int, metavar="N", help="Steps of the search. Default: the method's own number.")
@click.option("--budget", metavar="TIME", help="Time of the search, such as 90s, 30min, 2h.")
@click.option(
    "--checkpoint",
    type=common.FILE,
    metavar="FILE",
    help="From which a search that was killed goes on. Default: beside the policy, until it is finished.",
)
@common.method_arg_option
@common.seed_option
@common.trunk_options
@common.preprocessing_options
@common.jobs_option("Trials, and recordings prepared, at a time (1).")
@common.device_option
@common.output_options
@common.naming("Operations, and groups of them", (*common.GROUPS, *common.OPERATIONS))
@common.naming("Methods", common.SEARCHES)
def search(data: str, method: str, out: Path, quiet: bool, as_json: bool, **given: Any) -> int:
    """Search an augmentation policy and write it to a JSON file.

    A fifth of the subjects is held out to judge policies on. What is finished is kept: after Ctrl-C, the policy reached
    is saved and the same command goes on.

    \b
    Example:
      eegaug search --method adda --data nights/ --out policy.json
    """
    from eegaug.comparison import policy_search

    report = policy_search.search_policy(
        data,
        method,
        out,
        root=given["root"],
        data_args=common.get_data_arguments(data, given),
        preprocessing=common.get_preprocessing(given),
        operations=given["operations"],
        max_steps=given["steps"],
        budget=given["budget"],
        checkpoint=given["checkpoint"],
        options=given["method_args"],
        trunk=given["trunk"],
        trunk_args=given["trunk_args"] or None,
        lr=given["lr"],
        batch_size=given["batch_size"],
        max_epochs=given["epochs"],
        patience=given["patience"],
        n_jobs=given["jobs"],
        seed=given["seed"],
        device=given["device"],
        verbose=not quiet,
    )
    common.print_result(policy_search.search_lines(report), policy_search.search_document(report), as_json)
    return common.INTERRUPTED if report.search.interrupted_ else common.OK
