"""Pictures of a comparison: test score against training time, and final scores fold by fold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from eegaug.plotting.colours import LEGEND, check_alike, dress, in_lines, method_styles, new_axes, whole_ticks

__all__ = ["best_so_far", "plot_comparison", "plot_scores", "score_bands"]

_X = {"train_seconds": "training time", "passes": "forward-backward passes", "epoch": "epoch"}
#: Width of a name in the legend: of the line before it and the space around it, and of a letter.
_LINE_INCHES, _LETTER_INCHES = 0.53, 0.057
_UNITS = ((2.0, "h", 3600.0), (3.0, "min", 60.0), (0.0, "s", 1.0))


def best_so_far(valid: Any, test: Any) -> np.ndarray:
    """Test score of the best network so far, as validation judges it.

    Parameters
    ----------
    valid, test : array-like, (n_epochs,)
        Scores after each epoch.

    Returns
    -------
    ndarray, (n_epochs,)
        At epoch ``i`` the test score at the epoch with the highest validation score up to ``i`` (the first, if equal).

    Examples
    --------
    >>> best_so_far([0.3, 0.5, 0.4, 0.6], [0.35, 0.45, 0.7, 0.5]).tolist()
    [0.35, 0.45, 0.45, 0.5]
    """
    valid, test = np.asarray(valid, dtype=float), np.asarray(test, dtype=float)
    if valid.shape != test.shape or valid.ndim != 1:
        raise ValueError(f"valid and test must be two lists of one length, got {valid.shape} and {test.shape}")
    top = np.maximum.accumulate(np.where(np.isnan(valid), -np.inf, valid))
    new = np.concatenate([[True], top[1:] > top[:-1]])[: len(valid)]
    return test[np.maximum.accumulate(np.where(new, np.arange(len(valid)), 0))]


def score_bands(curves: Any, x: str = "train_seconds", n_points: int = 200) -> Any:
    """Median and quartiles over runs of the best test score so far, on one common axis per method.

    A run that has ended keeps its last value; a method's curve begins when all of its runs have finished an epoch.

    Parameters
    ----------
    curves : DataFrame
        One row per run and epoch (of a search: per training with the policy found so far, in the order of
        train_seconds): method, fold, seed, fraction, epoch, train_seconds (cumulated), passes (cumulated),
        valid_balanced_accuracy, test_balanced_accuracy.
    x : {"train_seconds", "passes", "epoch"}
    n_points : int

    Returns
    -------
    DataFrame
        Columns method, x, median, low, high, n_runs; methods in the order of their first row.

    Raises
    ------
    ValueError
        For runs of several fractions.
    """
    import pandas as pd

    check_alike(curves, "fraction")
    parts = []
    end = float(curves[x].max())
    for method, rows in curves.groupby("method", sort=False):
        runs = []
        for _, run in rows.sort_values([x, "epoch"]).groupby(["fold", "seed", "fraction"], sort=False):
            score = best_so_far(run["valid_balanced_accuracy"], run["test_balanced_accuracy"])
            runs.append((run[x].to_numpy(float), score))
        start = max(times[0] for times, _ in runs)
        grid = np.unique(np.concatenate([np.linspace(start, end, n_points), *[t[t >= start] for t, _ in runs]]))
        values = np.stack([score[np.searchsorted(times, grid, side="right") - 1] for times, score in runs])
        low, median, high = np.quantile(values, [0.25, 0.5, 0.75], axis=0)
        last = max(times[-1] for times, _ in runs)
        columns = {"method": method, "x": grid, "median": median, "low": low, "high": high, "n_runs": len(runs)}
        parts.append(pd.DataFrame({**columns, "ended": grid > last}))
    return pd.concat(parts, ignore_index=True)


def plot_comparison(
    curves: Any,
    *,
    x: str = "train_seconds",
    labels: Mapping[str, str] | None = None,
    title: str | None = None,
    ax: Any = None,
) -> Any:
    """Draw test balanced accuracy against training time, one curve per method.

    Each curve is the median over runs of the test score of the best network so far by validation, with the quartiles
    as a band. It is drawn thin after the last of the method's runs has ended.

    Parameters
    ----------
    curves : DataFrame
        As for :func:`score_bands`; :attr:`eegaug.comparison.Comparison.curves` of one fraction is one.
    x : {"train_seconds", "passes", "epoch"}
        What the curves are drawn against: time on one clock that stands still during evaluation, forward-backward
        passes of the network (the same on every machine), or epochs.
    labels : mapping, optional
        Names of methods in the legend.
    title : str, optional
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes

    Examples
    --------
    >>> import pandas as pd
    >>> run = {"method": "none", "fold": 0, "seed": 0, "fraction": 1.0, "epoch": [1, 2], "train_seconds": [1.0, 2.0]}
    >>> ax = plot_comparison(pd.DataFrame({**run, "valid_balanced_accuracy": [0.4, 0.5],
    ...                                    "test_balanced_accuracy": [0.3, 0.6]}))
    >>> ax.get_xlabel()
    'training time (s)'
    """
    if x not in _X:
        raise ValueError(f"x must be one of {', '.join(_X)}, got {x!r}")
    if not len(curves):
        raise ValueError("there is no curve to draw: no run has finished an epoch")
    from matplotlib.lines import Line2D
    from matplotlib.transforms import Bbox, TransformedBbox

    bands = score_bands(curves, x)
    ax = new_axes(ax, 4.6, 3.0 + 0.15 * bands["method"].nunique())
    unit, per_unit = "", 1.0
    if x == "train_seconds":
        unit, per_unit = next((f" ({name})", size) for many, name, size in _UNITS if bands["x"].max() >= many * size)
    styles = method_styles(dict.fromkeys(bands["method"]), labels)
    handles: list[Any] = []
    for method, band in bands.groupby("method", sort=False):
        style = styles[method]
        time = band["x"] / per_unit
        ax.fill_between(time, band["low"], band["high"], step="post", color=style.colour, alpha=0.14, linewidth=0)
        active = ~band["ended"].to_numpy()
        ax.step(time, band["median"], where="post", color=style.colour, linewidth=0.7, alpha=0.7, linestyle=style.line)
        thick = {"color": style.colour, "linewidth": 1.7, "linestyle": style.line}
        ax.step(time[active], band["median"][active], where="post", **thick)
        last = np.flatnonzero(active)[-1]
        end, median, low, high = (part.iloc[last] for part in (time, band["median"], band["low"], band["high"]))
        mark = {"marker": style.marker, "markersize": 5}
        (line,) = ax.plot(end, median, color=style.colour, zorder=3, **mark)
        # The band of what was reached last has no width where nothing comes after it.
        ax.vlines(end, low, high, color=style.colour, linewidth=0.9, alpha=0.7)
        handles.append(Line2D([], [], label=in_lines(style.label), **thick, **mark))
        # Whole where the axes end, and not drawn beyond where somebody zooms in.
        line.set_clip_box(TransformedBbox(Bbox.from_extents(-0.04, -0.04, 1.04, 1.04), ax.transAxes))
    ax.set_xlim(left=0)
    if x == "epoch":
        whole_ticks(ax)
    _names_below(ax, handles)
    return dress(ax, _X[x] + unit, "test balanced accuracy", title=title)


def _names_below(ax: Any, handles: list[Any]) -> None:
    """The legend below the axis: no corner is free of curves whatever the scores are."""
    from matplotlib.transforms import offset_copy

    names = [handle.get_label() for handle in handles]
    # A legend that is wider than the axes would take its width from them.
    room = ax.get_window_extent().width / ax.figure.dpi
    room *= 1.1 if ax.figure.get_layout_engine() else 1.0  # a layout widens the axes when they are drawn
    for columns in range(min(3, len(names)), 0, -1):
        lines = [max(map(len, name.split("\n"))) for name in names]
        longest = [column.max() for column in np.array_split(lines, columns)]
        if sum(_LINE_INCHES + _LETTER_INCHES * n for n in longest) <= room:
            break
    # In points, since the words of the axis are as high in an axes of any height.
    below = offset_copy(ax.transAxes, ax.figure, y=-36, units="points")
    place = {"loc": "upper left", "bbox_to_anchor": (0, 0), "bbox_transform": below, "borderaxespad": 0, **LEGEND}
    ax.legend(handles=handles, fontsize=7.5, handlelength=3.2, columnspacing=1.0, ncols=columns, **place)


def plot_scores(
    table: Any,
    *,
    metric: str = "test_balanced_accuracy",
    labels: Mapping[str, str] | None = None,
    title: str | None = None,
    ax: Any = None,
) -> Any:
    """Draw the final scores, fold by fold: what one fold gained or lost is a line, the median a bar.

    Parameters
    ----------
    table : DataFrame
        One row per run with method, fold, fraction and the metric; :attr:`eegaug.comparison.Comparison.table` is one,
        where it has runs of one fraction. Seeds of one fold are averaged.
    metric : str
        Column to draw.
    labels : mapping, optional
        Names of methods.
    title : str, optional
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"method": ["none", "augnet"], "fold": [0, 0], "fraction": [1.0, 1.0],
    ...                       "test_balanced_accuracy": [0.5, 0.6]})
    >>> [label.get_text() for label in plot_scores(table).get_xticklabels()]
    ['no augmentation', 'AugNet']
    """
    if metric not in table:
        raise ValueError(f"the table has no column {metric!r}")
    if not len(table):
        raise ValueError("there is no score to draw: no run has finished")
    check_alike(table, "fraction")
    methods = list(dict.fromkeys(table["method"]))
    folds = table.groupby(["method", "fold"])[metric].mean().unstack("method")[methods]
    styles = method_styles(methods, labels)
    names = [in_lines(style.label) for style in styles.values()]
    beyond = max(0, max(len(line) for name in names for line in name.split("\n")) - 16)  # letters that hang out
    # Many methods stand closer, as far as slanted names in one line can.
    each = 0.75 if len(methods) <= 6 or any("\n" in name for name in names) else 0.5
    ax = new_axes(ax, 0.9 + each * len(methods) + 0.045 * beyond, 3.1 + 0.03 * beyond)
    for values in folds.to_numpy():
        ax.plot(range(len(methods)), values, color="#C9C9C9", linewidth=0.8, zorder=1)
    for place, method in enumerate(methods):
        style = styles[method]
        values = folds[method].to_numpy()
        ax.scatter(np.full(len(values), place), values, s=18, color=style.colour, marker=style.marker, zorder=3)
        ax.hlines(folds[method].median(), place - 0.28, place + 0.28, color=style.colour, linewidth=2.2, zorder=2)
    ax.set_xticks(range(len(methods)), names, rotation=30, ha="right", rotation_mode="anchor")
    ax.set_xlim(-0.5, len(methods) - 0.5)
    dress(ax, y=metric.replace("_", " "), title=title)
    ax.tick_params(axis="x", length=0)
    return ax
