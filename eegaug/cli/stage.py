"""``eegaug stage``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from eegaug.cli import _common as common


def _places(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(common.expanded(value) for value in values)


def _channels(ctx: click.Context, param: click.Parameter, value: str | None) -> Any:
    """Names in the model's order, or pairs MODEL=RECORDING."""
    names = common.words(ctx, param, value)
    if not names:
        return None
    pairs = [name.partition("=") for name in names]
    if not any(equals for _, equals, _ in pairs):
        return names
    if not all(model and equals and recording for model, equals, recording in pairs):
        raise click.BadParameter(f"{value!r} mixes names and MODEL=RECORDING pairs")
    found = {model.strip(): recording.strip() for model, _, recording in pairs}
    if len(found) < len(pairs):
        raise click.BadParameter(f"{value!r} names a channel of the model twice")
    return found


def _lights(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[Any, Any] | None:
    """OFF,ON, each in seconds or by the clock, of which one may be left out."""
    if value is None:
        return None
    moments = [part.strip() or None for part in value.split(",")]
    if len(moments) != 2 or not any(moments):
        raise click.BadParameter(f"{value!r} is not OFF,ON such as 23:05,06:40")
    return tuple(_moment(moment) for moment in moments)


def _moment(text: str | None) -> float | str | None:
    if text is None or ":" in text:
        return text
    try:
        return float(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is neither a time of day such as 23:05 nor a number of seconds") from None


@click.command()
@click.argument("recordings", nargs=-1, required=True, callback=_places, metavar="FILE|FOLDER|GLOB …")
@click.option("--model", type=common.FILE, required=True, help="Folder of the model.")
@click.option("--out", type=common.FILE, required=True, metavar="DIR", help="Folder of the results.")
@click.option(
    "--reference",
    type=common.FILE,
    metavar="FILE|FOLDER",
    help="A scorer's hypnogram, or a folder with one per recording, to compare with.",
)
@click.option(
    "--channels",
    callback=_channels,
    metavar="A,B,…|C3=A,…",
    help="The recording's channels for the model's, in its order or as pairs (found by name).",
)
@click.option(
    "--lights",
    callback=_lights,
    metavar="OFF,ON",
    help="When lights went off and on, as 23:05,06:40 or in seconds from the start (the recording's annotations).",
)
@click.option("--copies", type=click.IntRange(1), metavar="N", help="Copies that AugNet averages (the model's number).")
@click.option("--no-pages", is_flag=True, help="No pictures: tables only, in a fraction of the time.")
@click.option("--again", is_flag=True, help="Stage again what is finished.")
@common.jobs_option("Recordings at a time (1).")
@common.device_option
@common.output_options
def stage(recordings: tuple[str, ...], model: Path, out: Path, quiet: bool, as_json: bool, **given: Any) -> int:
    """Stage recordings with a model.

    EDF, BDF, BrainVision, EEGLAB, FIF, npz and other files that MNE reads. Each gets a folder with its hypnogram (CSV,
    EDF+, EDFbrowser, BIDS), probabilities, sleep statistics and a page; summary.csv has one row per recording. A
    recording that cannot be staged is named and left out. What is finished is kept: the same command goes on where it
    stopped.

    \b
    Example:
      eegaug stage night.edf --model model/ --out staged/
      eegaug stage night.edf --model model/ --out staged/ --lights 23:05,06:40
      eegaug stage nights/ --model model/ --out staged/ --reference nights/ --jobs 2
    """
    from eegaug.comparison.sources import usable_device, writable_folder
    from eegaug.staging.many import find_tasks, stage_files
    from eegaug.staging.words import staged_document, staged_lines

    tasks = find_tasks(recordings, out, given["reference"])
    writable_folder(out)
    result = stage_files(
        tasks,
        model,
        out=out,
        channels=given["channels"],
        n_jobs=given["jobs"] or 1,
        again=given["again"],
        page=not given["no_pages"],
        n_copies=given["copies"],
        lights=given["lights"],
        device=usable_device(given["device"]),
        verbose=not quiet,
    )
    for one in result.failed:
        common.say(f"eegaug: {one['recording']}: {one['reason']}")
    common.print_result(staged_lines(result), staged_document(result), as_json)
    if result.interrupted:
        common.say(f"eegaug: stopped; {result.n_left} recordings are left: the same command goes on")
        return common.INTERRUPTED
    return common.FAILED if result.failed else common.OK
