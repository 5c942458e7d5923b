"""A staged night as pictures: panels over time, and a page with its statistics."""

from __future__ import annotations

from typing import Any

import numpy as np

from eegaug.data.stages import STAGES, UNSCORED
from eegaug.plotting.colours import NOTE, STAGE_COLOURS, ink, new_figure
from eegaug.plotting.night import plot_agreement, plot_confidence, plot_hypnodensity, plot_spectrogram, show_clock
from eegaug.plotting.sleep import plot_confusion, plot_hypnogram

__all__ = ["confusion_figure", "night_figure", "page_figure"]

#: Statistics on the picture of the page, in this order.
_SHOWN = ("TIB", "TST", "SE", "SOL", "Lat_REM", "WASO", "SFI")
_HEIGHTS = {"hypnogram": 1.5, "agreement": 0.75, "hypnodensity": 1.35, "spectrogram": 1.35, "confidence": 0.95}
_WIDTH = 7.4
#: Height of a line above the panels.
_LINE = 0.16
#: Letters of a title, and of a channel beside its spectrogram.
_TITLE, _CHANNEL = 66, 20


def night_figure(night: Any) -> Any:
    """Hypnogram, hypnodensity, spectrogram and confidence of a night below each other, over one time axis.

    Parameters
    ----------
    night : StagedNight

    Returns
    -------
    matplotlib Figure
    """
    heights = _heights(night)
    figure = _figure(sum(heights.values()) + 0.6)
    _draw(figure, night, heights)
    return figure


def page_figure(night: Any, heading: list[str]) -> Any:
    """The panels of :func:`night_figure` with statistics, least certain epochs and agreement below: one page.

    Parameters
    ----------
    night : StagedNight
    heading : list of str
        Lines above; the first is the title.

    Returns
    -------
    matplotlib Figure
    """
    heights = _heights(night)
    parts = [0.3 + _LINE * (len(heading) - 1), sum(heights.values()) + 0.6, 2.6]
    figure = _figure(sum(parts))
    head, upper, lower = figure.subfigures(3, 1, height_ratios=parts)
    _head(head, parts[0], heading)
    _draw(upper, night, heights)
    columns = 3 if night.agreement is not None else 2
    ratios = [1.0, 1.15, 1.2][:columns]
    cells = lower.subplots(1, columns, width_ratios=ratios, squeeze=False)[0]
    _statistics(cells[0], night)
    _least_certain(cells[1], night)
    if columns == 3:
        plot_confusion(night.agreement.confusion.to_numpy(), title=agreement_line(night.agreement), ax=cells[2])
    return figure


def confusion_figure(night: Any) -> Any:
    """The confusion matrix of model and scorer.

    Parameters
    ----------
    night : StagedNight
        With an agreement.

    Returns
    -------
    matplotlib Figure
    """
    figure = new_figure(3.5, 3.3)
    plot_confusion(night.agreement.confusion.to_numpy(), ax=figure.subplots())
    return figure


def agreement_line(agreement: Any) -> str:
    """Accuracy and kappa in words."""
    kappa = agreement.scores["kappa"]
    shown = "–" if np.isnan(kappa) else f"{kappa:.2f}"
    return f"kappa {shown}, accuracy {100 * agreement.scores['accuracy']:.0f} %"


def _heights(night: Any) -> dict[str, float]:
    """Of the panels of a night."""
    skipped = "agreement" if night.agreement is None else ""
    return {name: height for name, height in _HEIGHTS.items() if name != skipped}


def _figure(height: float) -> Any:
    figure = new_figure(_WIDTH, height)
    figure.get_layout_engine().set(h_pad=0.03, hspace=0.02)
    return figure


def _draw(part: Any, night: Any, heights: dict[str, float]) -> None:
    """Draw panels of these heights into a figure or a part of one."""
    subplots = part.subplots(len(heights), 1, height_ratios=list(heights.values()), squeeze=False)[:, 0]
    axes = dict(zip(heights, subplots, strict=True))
    time = {"window_s": night.epoch_s, "start_s": float(night.onset_s[0])}
    stages = night.on_grid(night.stages, UNSCORED)
    plot_hypnogram(stages, ax=axes["hypnogram"], **time)
    if "agreement" in axes:
        plot_agreement(night.on_grid(night.agreement.scored, UNSCORED), stages, ax=axes["agreement"], **time)
    plot_hypnodensity(night.on_grid(night.proba, np.nan), ax=axes["hypnodensity"], **time)
    channel = night.channels["recording"].iloc[0]
    ready = night.prepared
    plot_spectrogram(
        night.on_grid(ready.power[:, 0], np.nan), ready.freqs_hz, unit="dB", ax=axes["spectrogram"], **time
    )
    axes["spectrogram"].set_ylabel(f"{_both_ends(channel, _CHANNEL)}\nfrequency (Hz)", fontsize=8, parse_math=False)
    disagreement = None if night.disagreement is None else night.on_grid(night.disagreement, np.nan)
    plot_confidence(night.on_grid(night.confidence, np.nan), disagreement, ax=axes["confidence"], **time)
    for name in list(axes)[:-1]:
        axes[name].tick_params(labelbottom=False)
        axes[name].set_xlabel("")
    if night.start is not None:
        for ax in axes.values():
            show_clock(ax, night.start)
        for name in list(axes)[:-1]:
            axes[name].set_xlabel("")


def _both_ends(name: str, letters: int) -> str:
    """Of a long name both ends: they say which recording or channel it is."""
    return name if len(name) <= letters else f"{name[: letters // 2]}…{name[-letters // 2 :]}"


def _head(part: Any, height: float, lines: list[str]) -> None:
    """The title, and lines below it, from the left edge."""
    words = {"va": "top", "parse_math": False}  # files may have dollars in their names
    part.text(0.008, 1 - 0.06 / height, _both_ends(lines[0], _TITLE), fontsize=11, weight="bold", color=ink(), **words)
    for k, line in enumerate(lines[1:]):
        part.text(0.008, 1 - (0.3 + _LINE * k) / height, line, fontsize=8, color=NOTE, **words)


def _statistics(ax: Any, night: Any) -> None:
    found = night.statistics
    rows = [(name, _number(found[name]), _UNITS[name]) for name in _SHOWN]
    rows += [(stage, _number(found[stage]), _of_sleep(found, stage)) for stage in STAGES]
    _table(ax, "Sleep statistics", rows, (0.0, 0.58, 0.64), colours=STAGE_COLOURS)


_UNITS = {"TIB": "min", "TST": "min", "SE": "%", "SOL": "min", "Lat_REM": "min", "WASO": "min", "SFI": "/h"}


def _of_sleep(found: dict[str, float], stage: str) -> str:
    share = found.get(f"%{stage}", np.nan)
    return "min" if np.isnan(share) else f"min, {share:.0f} % of TST"


def _number(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.1f}"


def _least_certain(ax: Any, night: Any) -> None:
    table = night.least_certain(11)
    when = table["clock"] if "clock" in table else [f"{s / 3600:.2f} h" for s in table["onset"]]
    rows = [
        (str(row.epoch), moment, f"{row.stage} {row.confidence:.2f}", f"{row.second} {row.p_second:.2f}")
        for row, moment in zip(table.itertuples(), when, strict=True)
    ]
    _table(ax, "Least certain epochs", [("epoch", "time", "stage", "or"), *rows], (0.13, 0.2, 0.5, 0.76), first="right")


def _table(ax: Any, title: str, rows: list, at: tuple, colours: Any = None, first: str = "left") -> None:
    """Text in columns; the second column of three is aligned on the right, so that numbers line up."""
    ax.set_axis_off()
    ax.set_title(title, fontsize=9, loc="left")
    ax.set(xlim=(0, 1), ylim=(12.4, -0.4))
    for y, row in enumerate(rows):
        for k, (x, text) in enumerate(zip(at, row, strict=True)):
            right = (k == 0 and first == "right") or (len(row) == 3 and k == 1)
            colour = (colours or {}).get(text, NOTE if first == "right" and y == 0 else ink())
            weight = "bold" if text in (colours or {}) else "normal"
            ax.text(x, y, text, fontsize=7.5, ha="right" if right else "left", va="center", color=colour, weight=weight)
