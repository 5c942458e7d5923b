"""One palette for all pictures: the same stage, method and family has the same colour everywhere.

Most hues are those of Okabe and Ito (2008). They can be told apart with red-green blindness, and methods differ in line
style and marker too.
"""

from __future__ import annotations

import importlib
import os
import textwrap
import zlib
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

__all__ = [
    "FAMILY_COLOURS",
    "INK",
    "LEGEND",
    "MUTED",
    "NOTE",
    "STAGE_COLOURS",
    "TRUTH_COLOUR",
    "MethodStyle",
    "ink",
    "ink_on",
    "method_style",
    "method_styles",
    "new_axes",
    "new_figure",
    "whole_ticks",
]

ORANGE, SKY, GREEN = "#E69F00", "#56B4E9", "#009E73"
BLUE, VERMILION, PURPLE, GREY = "#0072B2", "#D55E00", "#CC79A7", "#7A7A7A"

INK = "#222222"
MUTED = "#8C8C8C"
#: For words that are read last: as far from a white ground as from a black one, 4.6 to 1.
NOTE = "#757575"
TRUTH_COLOUR = "#111111"

#: Of legends: colours are seen on white, also where the figure is dark.
LEGEND = {"frameon": True, "facecolor": "white", "edgecolor": "none", "framealpha": 1.0, "labelcolor": INK}

STAGE_COLOURS = {"W": ORANGE, "N1": SKY, "N2": BLUE, "N3": "#16325C", "REM": "#C0392B"}
FAMILY_COLOURS = {"time": BLUE, "frequency": GREEN, "sensors": VERMILION}


class MethodStyle(NamedTuple):
    """How a method is drawn."""

    label: str
    colour: str
    line: Any
    marker: str


_METHODS = {
    "none": MethodStyle("no augmentation", GREY, (0, (4, 1.6)), "s"),
    "fixed": MethodStyle("fixed policy", BLUE, (0, (1, 1)), "^"),
    "augnet": MethodStyle("AugNet", VERMILION, "-", "o"),
    "augnet-change": MethodStyle("AugNet rewarded for change", "#8C2D04", "-", "D"),
    "augnet-single": MethodStyle("AugNet, one operation per window", ORANGE, (0, (4, 1.6)), "p"),
    "uniform": MethodStyle("uniform random", SKY, (0, (1, 2.5)), "<"),
    "trivial-augment": MethodStyle("TrivialAugment", PURPLE, (0, (1, 2.5)), "8"),
    "rand-augment": MethodStyle("RandAugment", ORANGE, (0, (1, 2.5)), "H"),
    "cadda": MethodStyle("CADDA", "#1B7837", (0, (6, 1.5)), "d"),
    "adda": MethodStyle("ADDA", GREEN, "-", "D"),
    "dada": MethodStyle("DADA", PURPLE, (0, (5, 1, 1, 1)), "v"),
    "faster-autoaugment": MethodStyle("Faster AutoAugment", SKY, (0, (4, 1.6)), "P"),
    "fast-autoaugment": MethodStyle("Fast AutoAugment", ORANGE, (0, (1, 1)), "X"),
    "autoaugment": MethodStyle("AutoAugment", "#8A6D00", (0, (5, 1, 1, 1)), "<"),
    "dna": MethodStyle("DNA", INK, "-", ">"),
    "random": MethodStyle("random search", "#A0522D", (0, (3, 1, 1, 1, 1, 1)), "p"),
    "ait": MethodStyle("AIT", "#5E3C99", "-", "*"),
    "ait-control": MethodStyle("two variants, no AIT", "#5E3C99", (0, (1, 1)), "s"),
    "ait-augnet": MethodStyle("AIT on learned augmentation", "#B2182B", (0, (5, 1, 1, 1)), "*"),
    "multi-ait": MethodStyle("multi-AIT", "#2166AC", (0, (4, 1.6)), "P"),
    "dml": MethodStyle("mutual learning", "#2166AC", (0, (1, 2.5)), "X"),
    "augerino": MethodStyle("Augerino", "#4D4D4D", (0, (3, 1, 1, 1)), "h"),
}
_SPARE = ["#5E3C99", "#1B7837", "#B2182B", "#2166AC", "#B35806", "#4D4D4D"]
_SPARE_SHAPES: list[tuple[Any, str]] = [
    ((0, (3, 1, 1, 1)), "h"),
    ((0, (6, 1.5, 1, 1.5)), "v"),
    ((0, (2, 2)), "^"),
    ((0, (8, 2)), "o"),
    ((0, (4, 1, 1, 1, 1, 1)), "8"),
]


def method_style(name: str, label: str | None = None) -> MethodStyle:
    """Style of a method; one that the palette does not know gets colour, line and marker by its name, always the same.

    Examples
    --------
    >>> method_style("augnet").label
    'AugNet'
    """
    known = _METHODS.get(name)
    if known is None:
        line, marker = _SPARE_SHAPES[zlib.crc32(name.encode()) % len(_SPARE_SHAPES)]
        known = MethodStyle(name, _SPARE[sum(name.encode()) % len(_SPARE)], line, marker)
    return known._replace(label=label) if label else known


def method_styles(names: Iterable[str], labels: Mapping[str, str] | None = None) -> dict[str, MethodStyle]:
    """Styles of the methods of one picture: of those that the palette does not know, no two look alike.

    Where two would have the colour that goes with their names, the later one gets the next that is used least.
    """
    styles: dict[str, MethodStyle] = {}
    for name in names:
        style = method_style(name, (labels or {}).get(name))
        if name not in _METHODS:
            used = [tuple(one[1:]) for other, one in styles.items() if other not in _METHODS]
            by_name = _SPARE.index(style.colour), _SPARE_SHAPES.index((style.line, style.marker))
            colours, shapes = (part[k:] + part[:k] for part, k in zip((_SPARE, _SPARE_SHAPES), by_name, strict=True))
            colour = min(colours, key=[look[0] for look in used].count)
            drawn = [look[1:] for look in used if look[0] == colour], [look[1:] for look in used]
            shape = min(shapes, key=lambda shape: [part.count(shape) for part in drawn])
            style = MethodStyle(style.label, colour, *shape)
        styles[name] = style
    return styles


def ink() -> str:
    """Colour of words: the style sheet's, if it has one for its own ground."""
    import matplotlib

    colour = matplotlib.rcParams["text.color"]
    return INK if colour == "black" else colour


def check_alike(table: Any, *columns: str) -> None:
    """ValueError for rows that no one median means: of several methods, or of training sets of several sizes."""
    for column in columns:
        found = list(dict.fromkeys(table[column])) if column in table else []
        if len(found) > 1:
            raise ValueError(
                f"the table has rows of several {column}s, {', '.join(map(str, found))}: draw those of one, "
                f"table[table[{column!r}] == {found[-1]!r}]"
            )


def ink_on(colour: Any) -> str:
    """Colour of words on a cell of a map: dark or white, whichever stands out more."""
    from matplotlib.colors import to_rgb

    light = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    return INK if 0.2126 * light[0] + 0.7152 * light[1] + 0.0722 * light[2] > 0.213 else "white"


def in_lines(name: Any) -> str:
    """A name in lines so short that a long one leaves room for what is drawn."""
    return textwrap.fill(str(name), 34)


def in_digits(value: float) -> str:
    """A number in three digits, and without an exponent where it has more: samples at a high sampling rate."""
    return f"{value:.0f}" if abs(value) >= 999.5 else f"{value:.3g}"


def new_axes(ax: Any, width: float, height: float) -> Any:
    """The axes given, or those of a new figure of this size in inches."""
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    return plt.subplots(figsize=(width, height), layout="constrained")[1]


def new_figure(width: float, height: float, layout: str = "constrained") -> Any:
    """A figure of this size in inches that pyplot does not know: nobody needs to close it, a notebook shows it once."""
    from matplotlib.figure import Figure

    if "inline" in os.environ.get("MPLBACKEND", ""):
        # A notebook has words for a figure until its backend is there, which pyplot loads for figures of its own only.
        importlib.import_module("matplotlib_inline.backend_inline")
    return Figure(figsize=(width, height), layout=layout)


def dress(
    ax: Any,
    x: str | None = None,
    y: str | None = None,
    *,
    title: str | None = None,
    grid: str | None = "y",
    pad: Any = None,
) -> Any:
    """Name the axes, put a title above if there is one, and tidy; returns the axes."""
    if x is not None:
        ax.set_xlabel(x, fontsize=9)
    if y is not None:
        ax.set_ylabel(y, fontsize=9)
    tidy(ax, grid)
    if title:
        ax.set_title(title, fontsize=9, loc="left", pad=pad)
    return ax


def whole_ticks(ax: Any) -> None:
    """Ticks on the x axis at whole numbers alone, also where there is a single one: of epochs and runs is no half."""
    from matplotlib.ticker import MaxNLocator

    ax.xaxis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 5, 10], integer=True, min_n_ticks=1))


def tidy(ax: Any, grid: str | None = "y") -> None:
    """Take away what carries no information: the frame on the right and above; put a faint grid behind."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set(color=MUTED, linewidth=0.8)
    ax.tick_params(colors=ink(), labelsize=8, width=0.6)
    # Whatever the style sheet says: colours are made for a white ground, no grid crosses numbers or areas, and ticks
    # stand where there is an axis.
    ax.set_facecolor("white")
    ax.minorticks_off()
    ax.tick_params(which="both", top=False, right=False)
    ax.grid(False, which="both")
    if grid:
        ax.grid(axis=grid, color="#E3E3E3", linewidth=0.6)
        ax.set_axisbelow(True)
