"""Pictures of what AugNet learned: which operation in which layer, how strong, and how that moved while it trained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from eegaug.plotting.colours import (
    FAMILY_COLOURS,
    LEGEND,
    NOTE,
    TRUTH_COLOUR,
    check_alike,
    dress,
    ink,
    new_axes,
    new_figure,
    whole_ticks,
)

__all__ = ["invariances_history_figure", "plot_invariances", "plot_invariances_history"]

_FAMILIES = {
    **dict.fromkeys(("time_reverse", "time_masking", "gaussian_noise"), "time"),
    **dict.fromkeys(("ft_surrogate", "frequency_shift", "bandstop_filter"), "frequency"),
}
# One of the layer's operations without preference would have weight 1/Q; below this an operation plays no part.
_ACTIVE = 0.01
# Columns of numbers on the right of the chart, in points: the least width of strengths, the width of weights and of a
# letter.
_STRENGTHS, _WEIGHTS, _LETTER = 66.0, 38.0, 4.9
# What a table says about an operation; whatever other columns it has say which run, or which epoch, a row is of.
_OF_AN_OPERATION = {"layer", "operation", "weight", "magnitude", "strength", "unit", "signal_change", "loss_rise"}
# Up to so many epochs each is marked: a line through few points does not show where they are, through one nothing.
_MARKED_EPOCHS = 10
# Between labels of lines that end side by side, of the height of the axes.
_GAP = 0.085
# Of the lines of one family, which have one colour: as many as eegaug has operations on sensors.
_DASHES: tuple[Any, ...] = (
    "-",
    (0, (4, 1.5)),
    (0, (1, 1)),
    (0, (5, 1, 1, 1)),
    (0, (8, 2)),
    (0, (3, 1, 1, 1, 1, 1)),
    (0, (1, 2.5)),
)


def family_colour(operation: str) -> str:
    """Colour of an operation's family; an operation that eegaug does not know counts as a sensors operation."""
    return FAMILY_COLOURS[_FAMILIES.get(operation, "sensors")]


def _frame(learned: Any, history: bool = False) -> Any:
    """The table of invariances of an estimator, or the table itself."""
    import pandas as pd

    name = "invariances_history_" if history else "invariances_"
    table = learned if isinstance(learned, pd.DataFrame) else getattr(learned, name, None)
    if table is None:
        raise TypeError(
            f"{type(learned).__name__} has no {name}: pass a fitted AugNetClassifier or a DataFrame with the columns "
            "layer, operation, weight, magnitude, strength, unit"
        )
    needed = ["layer", "operation", "weight", "magnitude", *(["epoch"] if history else ["strength", "unit"])]
    missing = [column for column in needed if column not in table]
    if missing:
        raise ValueError(f"the table of invariances has no column {', '.join(missing)}")
    if not len(table):
        raise ValueError("the table of invariances has no row: has the network been trained for an epoch?")
    check_alike(table, "method", "fraction")
    return table


def _named(table: Any) -> Any:
    """The table with a column "name": the operation, numbered where one layer of one run has it several times.

    Runs differ in a column that is not about operations, or the index begins anew, as it does where tables are put one
    below the other.
    """
    import pandas as pd

    label = table.index.get_level_values(-1)
    table = table.reset_index(drop=True)
    keys = [table[column].map(str) for column in table if column not in _OF_AN_OPERATION]
    run = [*keys, pd.Series(label).groupby(label, dropna=False).cumcount()]
    layer, operation, weight = table["layer"], table["operation"], table["weight"]
    place = table.groupby([*run, layer, operation]).cumcount()
    # Weights of a layer sum to 1: where they sum to more, these are several runs, of which nothing says which is which.
    place = place.where(weight.groupby([*run, layer]).transform("sum") < 1.01, 0)
    several = place.groupby([layer, operation]).transform("max") > 0
    name = operation.str.replace("_", " ")
    return table.assign(name=name.where(~several, name + " (" + (place + 1).astype(str) + ")"))


def _physical(strength: float, unit: Any) -> str:
    """A strength with its unit, as a person would write it."""
    unit = "" if unit is None or unit != unit else str(unit)
    digits = 0 if unit in ("degrees", "°", "samples") or abs(strength) >= 100 else 2
    number = f"{strength:.{digits}f}"
    if float(number) == 0 != strength:  # what is there is not nothing
        number = f"{strength:.1g}"
    if unit in ("degrees", "°"):
        return f"{number}°"
    return f"p {number}" if unit == "probability" else f"{number} {unit}".strip()


def plot_invariances(
    learned: Any,
    truth: Mapping[str, float] | None = None,
    *,
    title: str | None = None,
    ax: Any = None,
) -> Any:
    """Draw what AugNet learned: for each operation of each layer its weight and its strength in physical units.

    One row per operation. The line reaches from nothing to the learned strength, on an axis from no change to full
    strength; the strength is written in the operation's own unit. The dot's area and the line's opacity are the weight,
    which is written beside it. Operations whose weight is nearly 0 are faint: their strength has no effect.

    Several runs in one table are summed up: the weight is their mean, the strength the median over the runs in which
    the operation plays a part (weight of at least 0.01), with the quartiles as a bar. Runs are told apart by further
    columns, such as fold and seed, or by an index that begins anew; they are of one method and one fraction. An
    operation that one layer has several times has as many rows, which are numbered.

    Parameters
    ----------
    learned : fitted AugNetClassifier, or DataFrame
        The table has columns layer, operation, weight, magnitude (0 to 1), strength (physical) and unit.
    truth : mapping, optional
        Operation → planted strength in the operation's unit, marked with a diamond; one that is larger than the
        operation can become is marked at the edge.
    title : str, optional
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"layer": [0, 0], "operation": ["frequency_shift", "sign_flip"], "weight": [0.7, 0.3],
    ...                       "magnitude": [0.1, 0.9], "strength": [0.5, 0.45], "unit": ["Hz", "probability"]})
    >>> ax = plot_invariances(table, truth={"frequency_shift": 0.4})
    >>> [label.get_text() for label in ax.get_yticklabels()]
    ['frequency shift', 'sign flip']
    """
    rows = _summed_up(_named(_frame(learned)))
    layers = list(dict.fromkeys(rows["layer"]))
    height = 0.75 + 0.205 * (len(rows) + 0.9 * len(layers))
    letters = [max(map(len, words)) for words in (rows["name"], [_strength(row) for row in rows.itertuples()])]
    end = max(_STRENGTHS, 14 + _LETTER * letters[1])
    beyond = end - _STRENGTHS + _LETTER * max(0, letters[0] - 22)  # of long names, which leave the data its width
    ax = new_axes(ax, 6.2 + beyond / 72, height)
    truth = dict(truth or {})
    columns = {end: "strength", end + _WEIGHTS: "weight"}
    places, names, place = [], [], 0.0
    for number, layer in enumerate(layers):
        label = f"layer {number + 1}" if isinstance(layer, int | np.integer) else str(layer)
        ax.text(
            -0.01, place, label, ha="right", va="center", fontsize=8, color=NOTE, transform=ax.get_yaxis_transform()
        )
        place += 0.85
        for row in rows[rows["layer"] == layer].itertuples():
            _draw_row(ax, place, row, truth.get(row.operation), list(columns))
            places.append(place)
            names.append(row.name)
            place += 1
        place += 0.25
    ax.set_yticks(places, names)
    ax.set_ylim(place - 0.4, -0.6)
    ax.set_xlim(-0.02, 1.02)
    ax.set_xticks([0, 0.25, 0.5, 0.75, 1], ["none", "¼", "½", "¾", "full"])
    dress(ax, "learned strength of the operation", title=title, grid="x", pad=16)
    ax.tick_params(axis="y", length=0)
    for x, text in columns.items():
        _beside(ax, ax.transAxes, x, 1.0, text, NOTE, va="bottom")
    _legend(ax, rows, truth)
    return ax


def _beside(ax: Any, transform: Any, points: float, y: float, text: str, colour: str, va: str = "center") -> None:
    """Text in a column on the right of the axes, ending so many points from it."""
    where = {"xycoords": transform, "textcoords": "offset points", "xytext": (points, 0), "annotation_clip": False}
    ax.annotate(text, (1, y), ha="right", va=va, fontsize=8, color=colour, **where)


def _summed_up(table: Any) -> Any:
    """One row per layer and operation, or several where a layer has it several times.

    The weight is the mean over runs: a layer mostly selects one operation, so that it is the share of the runs that
    selected this one. Strengths are medians (and quartiles) over the runs in which the operation plays a part: in the
    others it stayed where it began.
    """
    import pandas as pd

    rows = []
    for (layer, name), runs in table.groupby(["layer", "name"], sort=False):
        active = runs[runs["weight"] >= _ACTIVE]
        part = active if len(active) else runs
        low, middle, high = part["magnitude"].quantile([0.25, 0.5, 0.75])
        top = runs.sort_values("magnitude", na_position="first").iloc[-1]
        row = {
            "layer": layer,
            "operation": runs["operation"].iloc[0],
            "name": name,
            "weight": runs["weight"].mean(),
            "magnitude": middle,
            "strength": part["strength"].median(),
            "unit": runs["unit"].iloc[0],
            "low": low,
            "high": high,
            # What magnitude 1 would be, to place a planted strength on the axis.
            "per_magnitude": top["strength"] / top["magnitude"] if top["magnitude"] > 0 else float("nan"),
        }
        rows.append(row)
    found = pd.DataFrame(rows)
    # Of an operation that has ended at nothing, another layer may tell it.
    others = found.groupby("operation")["per_magnitude"].transform("first")
    return found.assign(per_magnitude=found["per_magnitude"].fillna(others))


def _strength(row: Any) -> str:
    """The strength of a row in words; an operation that plays no part has none."""
    return _physical(row.strength, row.unit) if row.weight >= _ACTIVE else "–"


def _draw_row(ax: Any, place: float, row: Any, planted: float | None, ends: list[float]) -> None:
    colour = family_colour(row.operation)
    alpha = 0.25 + 0.75 * min(1.0, float(row.weight) / 0.3) if row.weight >= _ACTIVE else 0.18
    ax.hlines(place, 0, row.magnitude, color=colour, alpha=alpha, linewidth=1.8, zorder=2)
    if row.high > row.low and row.weight >= _ACTIVE:
        ax.hlines(place, row.low, row.high, color=colour, alpha=0.5, linewidth=5, zorder=1)
    area = 14 + 110 * np.nan_to_num(float(row.weight))  # of a training that has diverged there is none
    ax.scatter([row.magnitude], [place], s=area, color=colour, alpha=alpha, linewidth=0, zorder=3)
    words = ink() if row.weight >= _ACTIVE else NOTE
    for x, text in zip(ends, (_strength(row), f"{row.weight:.2f}"), strict=True):
        _beside(ax, ax.get_yaxis_transform(), x, place, text, words)
    if planted is not None and np.isfinite(row.per_magnitude) and row.per_magnitude > 0:
        x = min(float(planted) / row.per_magnitude, 1.0)
        ax.scatter([x], [place], marker="D", s=20, facecolor="white", edgecolor=TRUTH_COLOUR, linewidth=1, zorder=4)


def _legend(ax: Any, rows: Any, truth: Mapping[str, float]) -> None:
    from matplotlib.lines import Line2D

    present = [_FAMILIES.get(operation, "sensors") for operation in rows["operation"]]
    handles = [
        Line2D([], [], color=colour, marker="o", markersize=5, linewidth=1.8, label=family)
        for family, colour in FAMILY_COLOURS.items()
        if family in present
    ]
    if (rows["operation"].isin(list(truth)) & rows["per_magnitude"].gt(0)).any():
        style = {"marker": "D", "markersize": 4.5, "markerfacecolor": "white", "markeredgecolor": TRUTH_COLOUR}
        handles.append(Line2D([], [], linestyle="none", markeredgewidth=1, label="planted in the data", **style))
    ax.legend(
        handles=handles,
        loc="lower left",
        bbox_to_anchor=(0, 1.0),
        ncols=4,
        fontsize=8,
        borderaxespad=0,
        borderpad=0.2,
        columnspacing=1.2,
        handlelength=1.4,
        handletextpad=0.5,
        **LEGEND,
    )


def plot_invariances_history(
    learned: Any, *, quantity: str = "weight", layer: int = 0, title: str | None = None, ax: Any = None
) -> Any:
    """Draw how one layer's weights or magnitudes moved over the epochs.

    Parameters
    ----------
    learned : fitted AugNetClassifier, or DataFrame
        The table has columns epoch, layer, operation, weight and magnitude.
    quantity : {"weight", "magnitude"}
    layer : int
        Which layer, counted from 0 in the order in which the layers are applied.
    title : str, optional
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes
        With one line per operation, named at its end. One that the layer has several times has as many, numbered.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"epoch": [1, 2], "layer": 0, "operation": "sign_flip", "weight": 1.0,
    ...                       "magnitude": [0.1, 0.2]})
    >>> plot_invariances_history(table, quantity="magnitude").get_ylabel()
    'magnitude'
    """
    if quantity not in ("weight", "magnitude"):
        raise ValueError(f"quantity must be 'weight' or 'magnitude', got {quantity!r}")
    table = _named(_frame(learned, history=True))
    layers = list(dict.fromkeys(table["layer"]))
    if not 0 <= layer < len(layers):
        raise ValueError(f"layer must lie between 0 and {len(layers) - 1}, got {layer}")
    rows = table[table["layer"] == layers[layer]]
    ax = new_axes(ax, 3.4, 2.4)
    marker = "o" if rows["epoch"].nunique() <= _MARKED_EPOCHS else None
    ends: list[tuple[float, float, str, str]] = []
    for name, part in rows.groupby("name", sort=False):
        colour = family_colour(part["operation"].iloc[0])
        part = part.groupby("epoch")[quantity].median()
        style = _DASHES[[of for *_, of in ends].count(colour) % len(_DASHES)]
        ax.plot(part.index, part, color=colour, linestyle=style, linewidth=1.4, marker=marker, markersize=3.5)
        known = part.dropna()  # none after a training has diverged
        if len(known):
            ends.append((float(known.iloc[-1]), float(known.index[-1]), name, colour))
    ends.sort()
    first, last = float(rows["epoch"].min()), float(rows["epoch"].max())
    for (value, epoch, name, colour), y in zip(ends, _apart([value for value, *_ in ends]), strict=True):
        ax.annotate(
            name,
            (epoch, value),
            xytext=(1.07, y),
            textcoords=("axes fraction", "data"),
            fontsize=7,
            color=colour,
            va="center",
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.5, "alpha": 0.6, "relpos": (0, 0.5)},
        )
    ax.set_ylim(-0.03, 1.03)
    # Room for half a marker; half an epoch on either side where there is only one.
    room = 0.5 if last == first else 0.04 * (last - first) if marker else 0.0
    ax.set_xlim(first - room, last + room)
    whole_ticks(ax)
    return dress(ax, "epoch", quantity, title=title)


def _apart(values: list[float]) -> list[float]:
    """Heights for labels near these sorted values, none closer than a gap: crowded labels spread about their mean."""
    groups: list[list[float]] = []
    for value in values:
        groups.append([value])
        while len(groups) > 1 and _span(groups[-2])[1] + _GAP > _span(groups[-1])[0]:
            last = groups.pop()
            groups[-1] += last
    return [_span(group)[0] + index * _GAP for group in groups for index in range(len(group))]


def _span(group: list[float]) -> tuple[float, float]:
    """Lowest and highest label of a group spread about the mean of its values, within the axes if it fits there."""
    width = (len(group) - 1) * _GAP
    low = min(max(sum(group) / len(group) - width / 2, 0.0), max(1.0 - width, 0.0))
    return low, low + width


def invariances_history_figure(learned: Any) -> Any:
    """Make a figure with weights above and magnitudes below, one column per layer.

    Parameters
    ----------
    learned : fitted AugNetClassifier, or DataFrame
        As for :func:`plot_invariances_history`.

    Returns
    -------
    matplotlib Figure
    """
    table = _frame(learned, history=True)
    layers = list(dict.fromkeys(table["layer"]))
    figure = new_figure(3.1 * len(layers), 4.4)
    axes = figure.subplots(2, len(layers), squeeze=False)
    for row, quantity in enumerate(("weight", "magnitude")):
        for column in range(len(layers)):
            title = f"layer {column + 1}" if row == 0 else None
            plot_invariances_history(table, quantity=quantity, layer=column, title=title, ax=axes[row, column])
    return figure
