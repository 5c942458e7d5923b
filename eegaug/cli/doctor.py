"""``eegaug doctor``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from eegaug.cli import _common as common


@click.command()
@click.option("--data", type=common.FILE, help="A data folder to look at (default: EEGAUG_DATA).")
@common.output_options
def doctor(data: Path | None, quiet: bool, as_json: bool) -> int:
    """Say what is installed, what it can use and whether the data can be read.

    \b
    Example:
      eegaug doctor
    """
    from eegaug import doctor as room

    facts = room.doctor(data)
    click.echo(json.dumps(facts, indent=1) if as_json else room.doctor_report(facts))
    return common.FAILED if facts["problems"] else common.OK
