"""The figures that a comparison leaves in its folder."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eegaug.data.atomic import write_atomically
from eegaug.plotting.colours import in_lines

if TYPE_CHECKING:
    from eegaug.comparison.table import Comparison

__all__ = ["comparison_figure", "invariances_figure", "save_figure"]

# Of a method's name; a longer one and what follows it do not fit one line of a title.
_LONG_NAME = 20


def comparison_figure(result: Comparison) -> Any:
    """Test scores against time, and fold by fold: of the runs with the most training subjects."""
    from matplotlib.figure import Figure

    fractions = result.table["fraction"]
    drawn = result.table[fractions == fractions.max()]
    names = drawn["method"].unique()
    methods, lines = len(names), max(in_lines(result.labels.get(name, name)).count("\n") + 1 for name in names)
    width = 0.45 * methods if lines == 1 else 0.32 * lines * methods  # slanted names need it
    size = (5.0 + 0.17 * methods, 3.6) if methods <= 5 else (5.6 + 0.05 * methods, max(4.2, 3.3 + 0.08 * methods))
    figure = Figure(figsize=(size[0] + width, size[1]), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[size[0] - 0.8, width], sharey=True)
    by_method = drawn.groupby("method")
    folds, runs = by_method["fold"].nunique(), by_method.size()
    words = [f"median and quartiles of {_from_to(runs)} runs"] if runs.max() > 1 else []
    words += [f"{100 * fractions.max():.3g} % of the training subjects"] if fractions.nunique() > 1 else []
    result.plot(left, title=", ".join(words))
    result.plot_scores(right, title=f"{_from_to(folds)} folds" if folds.max() > 1 else None)
    right.set_ylabel("")
    return figure


def _from_to(counts: Any) -> str:
    """How many of each method: not all have as many where runs are missing."""
    low, high = counts.min(), counts.max()
    return f"{high}" if low == high else f"{low} to {high}"


def invariances_figure(result: Comparison) -> Any:
    """What was learned, one panel for each method that learns ranges."""
    from matplotlib.figure import Figure

    learned = result.learned()
    rows = [len(p.drop_duplicates(["layer", "operation"])) + 0.9 * p["layer"].nunique() for p in learned.values()]
    heights = [0.95 + 0.205 * n for n in rows]
    figure = Figure(figsize=(6.6, sum(heights)), layout="constrained")
    axes = figure.subplots(len(learned), 1, height_ratios=heights, squeeze=False)[:, 0]
    for ax, (method, part) in zip(axes, learned.items(), strict=True):
        runs = len(part.drop_duplicates(["fold", "seed"]))
        label = result.labels.get(method, method)
        over = f"({runs} runs: mean weight, median strength with quartiles)" if runs > 1 else ""
        between = "\n" if len(label) > _LONG_NAME else " "
        result.plot_invariances(ax, method, title=f"What {label} learned{between}{over}".rstrip())
    return figure


def save_figure(figure: Any, path: Path) -> Path:
    """Write a figure as PNG, whole or not at all."""
    picture = io.BytesIO()
    figure.savefig(picture, dpi=200, format="png")
    write_atomically(path, picture.getvalue())
    return path
