"""What ``eegaug stage`` prints."""

from __future__ import annotations

from typing import Any

from eegaug.data.stages import STAGES
from eegaug.staging.many import SUMMARY, StagedFiles

__all__ = ["staged_document", "staged_lines"]

#: Recordings that are listed one by one; the table has all.
_LISTED = 20


def staged_lines(result: StagedFiles) -> list[str]:
    """Lines for people: each recording in short with its channels, then what failed, then where everything is."""
    lines = []
    names = [one["recording"] for one in result.done]
    for one, folder in list(zip(result.done, result.folders, strict=True))[:_LISTED]:
        # Of several called "night", the folders' names tell which is which.
        lines += _night_lines(one, one["recording"] if names.count(one["recording"]) == 1 else folder.name)
    if len(result.done) > _LISTED:
        lines.append(f"… and {len(result.done) - _LISTED} more, see {SUMMARY}")
    if result.failed:
        total = len(result.done) + len(result.failed)
        lines.append(f"{len(result.failed)} of {total} recordings could not be staged")
    if result.n_kept:
        lines.append(f"{result.n_kept} had been staged before (--again stages them again)")
    if result.done:
        lines.append(f"results: {result.out} ({SUMMARY}, and a folder for each recording)")
    return lines


def _night_lines(one: dict[str, Any], name: str) -> list[str]:
    found = one["statistics"]
    minutes = one["epochs"] * one["epoch_s"] / 60
    length = f"{minutes / 60:.1f} h" if minutes >= 60 else f"{minutes:.0f} min"
    stages = ", ".join(f"{stage} {_number(found[stage])}" for stage in STAGES)
    lines = [
        f"{name}: {length}, asleep {_number(found['TST'])} min ({_number(found['SE'])} %), "
        f"mean confidence {one['mean_confidence']:.2f}",
        f"  minutes: {stages}",
        "  channels: " + ", ".join(f"{c['model']} ← {c['recording']} ({c['how']})" for c in one["channels"]),
    ]
    if one["agreement"] is not None:
        agreed = one["agreement"]
        kappa = "–" if agreed["kappa"] is None else f"{agreed['kappa']:.3f}"
        lines.append(f"  scorer: kappa {kappa}, accuracy {agreed['accuracy']:.3f} on {agreed['epochs']} epochs")
    return lines + [f"  note: {note}" for note in one["notes"]]


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.0f}"


def staged_document(result: StagedFiles) -> dict[str, Any]:
    """For ``--json``."""
    nights = [one | {"folder": str(folder)} for one, folder in zip(result.done, result.folders, strict=True)]
    return {
        "out": str(result.out),
        "summary": str(result.out / SUMMARY) if nights else None,
        "nights": nights,
        "failed": result.failed,
        "kept": result.n_kept,
        "interrupted": result.interrupted,
    }
