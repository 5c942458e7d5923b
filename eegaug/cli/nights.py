"""``eegaug nights``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from eegaug._words import counted, some_of
from eegaug.cli import _common as common

if TYPE_CHECKING:
    import pandas as pd


@click.command()
@click.option("--data", type=common.FILE, required=True, metavar="FOLDER", help="Folder of recordings, or one of them.")
@click.option(
    "--channels",
    callback=common.words,
    metavar="C3,C4,…",
    help="Channels that are wanted (those of most recordings); C4=EEG where it is called so.",
)
@common.data_arg_option
@click.option("--out", type=common.FILE, metavar="CSV", help="Write the table to a file, with all that is known.")
@common.output_options
def nights(
    data: Path,
    channels: tuple[str, ...] | None,
    data_args: dict[str, Any],
    out: Path | None,
    quiet: bool,
    as_json: bool,
) -> int:
    """List recordings: whose they are, their stages, and what cannot be read.

    No signal is read: what the other commands would do with the folder is known in seconds. Stages are counted in
    windows as training would see them.

    \b
    Example:
      eegaug nights --data nights/
      eegaug nights --data shhs/polysomnography/ --channels "C4-A1=EEG,C3-A2=EEG(sec)"
      eegaug nights --data nights/ --data-arg 'subject_pattern=(?P<subject>p\\d+)'
    """
    from eegaug._plain_data import plain
    from eegaug.comparison.sources import check_result_file
    from eegaug.data import list_recordings

    if out is not None:
        check_result_file(out, "a CSV file")
    names, called = common.names_and_aliases(channels)
    if names is not None:
        for name in ("ch_names", "channels"):
            if name in data_args:
                raise click.UsageError(f"--data-arg {name} says what --channels says: leave it out")
        data_args = {**data_args, "ch_names": names, "channels": called or None}
    table = list_recordings(data, **{"verbose": not quiet, **data_args})
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        table.to_csv(out, index=False, errors="surrogateescape")  # names of files are what bytes they are
    common.print_result(_lines(table), {"recordings": plain(table), "notes": table.attrs["notes"]}, as_json)
    return common.FAILED if (table["problem"] != "").any() else common.OK


def _lines(table: pd.DataFrame) -> list[str]:
    good, bad = (table[(table["problem"] == "") == wanted] for wanted in (True, False))
    channels = good["channels"].unique()
    told = f"channels {channels[0]}" if len(channels) == 1 else f"{len(channels)} spellings of the channels"
    subjects = good["subject"].nunique()
    count = f"{counted(len(good), 'recording')} of {counted(subjects, 'subject')}"
    count += f", {good['hours'].sum():.1f} h, {told}"
    stages = ["W", "N1", "N2", "N3", "REM"]
    shown = good[["recording", "subject", "night", "hours", *stages]].copy()
    shown["hours"] = shown["hours"].map("{:.1f}".format)
    total = dict.fromkeys(shown.columns, "") | {"recording": "all"} | {name: good[name].sum() for name in stages}
    rows = [list(map(str, row)) for row in [shown.columns, *shown.itertuples(index=False), total.values()]]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    left = 3  # words to the left, numbers to the right
    lines = [
        "  ".join([*map(str.ljust, row[:left], widths[:left]), *map(str.rjust, row[left:], widths[left:])]).rstrip()
        for row in rows
    ]
    lines = [count, "", *lines]
    if len(bad):
        lines += ["", f"{len(bad)} cannot be used:"]
        lines += [f"  {row.recording}: {row.problem}" for row in bad.itertuples()]
    remarks: dict[str, list[str]] = {}
    for row in good[good["remarks"] != ""].itertuples():
        remarks.setdefault(row.remarks, []).append(row.recording)
    several = [f"  {some_of(names, 3)}: {remark}" for remark, names in remarks.items()]
    notes = [f"  {one}" for one in table.attrs["notes"]] + several
    return [*lines, "", "Remarks:", *notes] if notes else lines
