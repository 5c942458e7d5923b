"""One page about a night: HTML that needs no other file, or a picture."""

from __future__ import annotations

import base64
import html
import io
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from string import Template
from textwrap import wrap
from typing import Any

import numpy as np

from eegaug._version import __version__
from eegaug.data.atomic import write_atomically
from eegaug.data.stages import STAGES
from eegaug.plotting.colours import STAGE_COLOURS
from eegaug.staging.figure import agreement_line, confusion_figure, night_figure, page_figure
from eegaug.staging.statistics import STATISTICS

__all__ = ["write_page"]

#: Rows of the table of least certain epochs on the page; the rest is in the hypnogram's file.
N_LEAST_CERTAIN = 40
_PICTURES = (".png", ".pdf", ".svg")
_DPI = 160
#: On a picture: notes, and characters on a line above the panels.
_N_NOTES, _LINE = 3, 110

_PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
body { font: 15px/1.45 system-ui, sans-serif; color: #222; max-width: 60rem; margin: 1.5rem auto; padding: 0 1rem; }
h1 { font-size: 1.4rem; margin: 0 0 .2rem; }
h2 { font-size: 1.05rem; margin: 1.8rem 0 .4rem; }
p.facts { color: #666; margin: 0; }
img { max-width: 100%; height: auto; }
.beside { display: flex; flex-wrap: wrap; align-items: flex-start; gap: 1rem 2.5rem; }
.wide { max-width: 100%; overflow-x: auto; }
table { border-collapse: collapse; font-size: .87rem; font-variant-numeric: tabular-nums; }
th, td { padding: .16rem .7rem .16rem 0; text-align: left; border-bottom: 1px solid #e5e5e5; }
td.n, th.n { text-align: right; }
thead th { color: #666; font-weight: 600; }
td i { display: inline-block; width: .7em; height: .7em; margin-right: .4em; border-radius: 2px; }
.scroll { display: inline-block; max-width: 100%; max-height: 22rem; overflow: auto; border-bottom: 1px solid #bbb; }
.scroll td, .scroll th { white-space: nowrap; }
.scroll thead th { position: sticky; top: 0; background: #fff; }
footer { margin-top: 2rem; padding-top: .5rem; border-top: 1px solid #e5e5e5; color: #666; }
@media print { .scroll { display: block; max-height: none; } tr, img { break-inside: avoid; } }
</style>
</head>
<body>
<h1>$title</h1>
$facts
$notes
<img src="$picture" alt="Hypnogram, probabilities of the stages, spectrogram and confidence over the night">
$sections
<footer>Staged by eegaug $version. Not a medical device: a scorer should look at the least certain epochs.</footer>
</body>
</html>
""")


def write_page(night: Any, path: str | os.PathLike) -> Path:
    """Write a night's page.

    Parameters
    ----------
    night : StagedNight
    path : path-like
        Its ending says which kind: ``.html``, ``.png``, ``.pdf``, ``.svg``.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    ValueError
        For another ending.
    OSError
        If it cannot be written.
    """
    path = Path(path)
    kind = path.suffix.lower()
    if kind not in (".html", *_PICTURES):
        raise ValueError(f"a report ends with .html, .png, .pdf or .svg, not {path.name!r}.")
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == ".html":
        content = _html(night).encode()
    else:
        title, *lines = [*heading(night), *(f"note: {note}" for note in night.notes[:_N_NOTES])]
        wrapped = [part for line in lines for part in wrap(line, _LINE)[:2]]
        content = _rendered(page_figure(night, [title, *wrapped]), kind[1:])
    write_atomically(path, content)
    return path


def heading(night: Any) -> list[str]:
    """Title of a night, and a line of facts."""
    minutes = len(night) * night.epoch_s / 60
    length = f"{minutes / 60:.2f} h" if minutes >= 60 else f"{minutes:.4g} min"
    facts = [f"{len(night)} epochs of {night.epoch_s:g} s ({length})"]
    if night.start is not None:
        facts.append(f"from {night.start:%Y-%m-%d %H:%M:%S}")
    served = [
        row.recording if row.model == row.recording else f"{row.recording} for {row.model}"
        for row in night.channels.itertuples()
    ]
    return [night.name, "; ".join([*facts, f"model {night.model}"]), "channels: " + ", ".join(served)]


def _rendered(figure: Any, kind: str) -> bytes:
    out = io.BytesIO()
    figure.savefig(out, format=kind, dpi=_DPI)
    return out.getvalue()


def _embedded(figure: Any) -> str:
    return "data:image/png;base64," + base64.b64encode(_rendered(figure, "png")).decode()


def _html(night: Any) -> str:
    title, *facts = heading(night)
    sections = [_agreement(night)] if night.agreement is not None else []
    statistics = [(name, _number(night.statistics[name]), unit, what) for name, (what, unit) in STATISTICS.items()]
    half = statistics.index(next(row for row in statistics if row[0] == "W"))
    sections += [
        "<h2>Sleep statistics</h2>\n<div class='beside'>"
        + _table(["", "value", "unit", ""], statistics[:half], numbers=(1,))
        + _table(["", "value", "unit", ""], statistics[half:], numbers=(1,))
        + "</div>",
        _least_certain(night),
        "<h2>Transitions</h2>\n<p class='facts'>From the stage of the row to that of the column, in epochs.</p>"
        + _matrix(night.transitions),
        "<h2>Channels</h2>\n"
        + _table(["model", "recording", "matched by"], night.channels.itertuples(index=False), numbers=()),
    ]
    notes = "".join(f"<li>{html.escape(note)}</li>" for note in night.notes)
    return _PAGE.substitute(
        title=html.escape(title),
        facts="\n".join(f"<p class='facts'>{html.escape(line)}</p>" for line in facts),
        notes=f"<ul>{notes}</ul>" if notes else "",
        picture=_embedded(night_figure(night)),
        sections="\n".join(sections),
        version=__version__,
    )


def _agreement(night: Any) -> str:
    found = night.agreement
    rows = [(_score_name(name), _number(value, 3)) for name, value in found.scores.items()]
    return (
        f"<h2>Agreement with the scorer: {agreement_line(found)}</h2>\n"
        f"<p class='facts'>{found.n_epochs} of {len(night)} epochs are scored.</p>\n<div class='beside'>"
        + _table(["score", "value"], rows, numbers=(1,))
        + f"<img src='{_embedded(confusion_figure(night))}' alt='Confusion matrix' style='width: 21rem'></div>"
    )


def _score_name(name: str) -> str:
    return name.replace("f1_", "F1, ").replace("_f1", " F1").replace("_", " ")


def _least_certain(night: Any) -> str:
    table = night.least_certain(N_LEAST_CERTAIN)
    heads, columns = ["epoch", "onset (s)"], [table["epoch"], table["onset"].map("{:.0f}".format)]
    if "clock" in table:
        heads, columns = [*heads, "time"], [*columns, table["clock"]]
    numbers = (0, 1, len(heads) + 1, len(heads) + 3, len(heads) + 4)
    for name, words in (("stage", "stage"), ("confidence", "confidence"), ("second", "or"), ("p_second", "")):
        heads.append(words)
        columns.append(
            table[name] if table[name].dtype == object or table[name].dtype.kind not in "f" else _two(table[name])
        )
    if "disagreement" in table:
        heads, columns = [*heads, "copies disagree"], [*columns, _two(table["disagreement"])]
    if "scored" in table:
        heads, columns = [*heads, "scorer"], [*columns, table["scored"]]
    rows = zip(*columns, strict=True)
    return (
        f"<h2>Least certain epochs</h2>\n<p class='facts'>Where a scorer should look first: {len(table)} of "
        f"{len(night)}.</p>\n<div class='scroll'>" + _table(heads, rows, numbers) + "</div>"
    )


def _two(values: Any) -> Any:
    return values.map("{:.2f}".format)


def _matrix(counts: Any) -> str:
    rows = [(stage, *map(str, counts.loc[stage])) for stage in STAGES]
    return _table(["", *STAGES], rows, numbers=range(1, 6))


def _table(heads: Sequence[str], rows: Iterable[Sequence[Any]], numbers: Iterable[int]) -> str:
    numbers = set(numbers)

    def cell(tag: str, k: int, value: Any) -> str:
        colour = STAGE_COLOURS.get(str(value)) if tag == "td" else None
        mark = f"<i style='background: {colour}'></i>" if colour else ""
        align = " class='n'" if k in numbers else ""
        return f"<{tag}{align}>{mark}{html.escape(str(value))}</{tag}>"

    head = "".join(cell("th", k, text) for k, text in enumerate(heads))
    body = "\n".join("<tr>" + "".join(cell("td", k, v) for k, v in enumerate(row)) + "</tr>" for row in rows)
    return f"<div class='wide'><table><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table></div>"


def _number(value: float, digits: int = 1) -> str:
    return "–" if np.isnan(value) else f"{value:.{digits}f}"
