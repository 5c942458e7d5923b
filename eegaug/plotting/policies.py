"""Pictures of policies: which operations, how often, how probably and how strongly, as tables."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

import numpy as np

from eegaug.plotting.colours import FAMILY_COLOURS, NOTE, in_digits, ink, new_axes, new_figure

__all__ = ["plot_policies", "plot_policy"]

# Places of the columns, in tenths of an inch.
_WEIGHT, _NAME, _PROBABILITY, _MAGNITUDE, _WIDTH = 4.0, 5.2, 21.0, 30.0, 44.5
_BAR, _ROW_INCHES = 4.5, 0.17
# Letters in a line of a title, as wide as a policy.
_TITLE = 62
_HEAD = 1.6


def plot_policy(policy: Any, *, limit: int = 10, title: str | None = None, ax: Any = None) -> Any:
    """Draw a policy as a table: a row for each operation, with its probability, its strength and how often it is drawn.

    Parameters
    ----------
    policy : Policy, ClassPolicy, ConditionalPolicy, or DataFrame
        A table is one of ``policy.table()``. Of an input-conditional policy its mean is drawn.
    limit : int
        How many sub-policies to show of each class, the likeliest first; the others are counted below them.
    title : str, optional
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes

    Examples
    --------
    >>> from eegaug import Policy
    >>> ax = plot_policy(Policy.fixed_sleep(sfreq=100, ch_names=["Fpz", "Pz"]), limit=3)
    >>> [text.get_text() for text in ax.texts][-1]
    'and 6 others'
    """
    rows = _rows(policy, limit)
    ax = new_axes(ax, _WIDTH / 10, _ROW_INCHES * (_height(rows) + (1.5 if title else 0.5)))
    ax.set_xlim(0, _WIDTH)
    ax.set_ylim(_height(rows), 0)
    ax.set_axis_off()
    small = {"fontsize": 7, "va": "center", "color": NOTE}
    for x, text in ((_PROBABILITY, "probability"), (_MAGNITUDE, "strength")):
        ax.text(x, 0.6, text, **small)
    draws = next(row["draws"] for row in rows if "draws" in row)
    if draws > 1:  # too long to end where the numbers do
        ax.text(0, 0.6, f"drawn, {draws} times", **small)
    else:
        ax.text(_WEIGHT, 0.6, "drawn", ha="right", **small)
    for y, row in zip(_places(rows), rows, strict=True):
        if "heading" in row:
            ax.text(0, y, row["heading"], fontsize=8, va="center", color=ink(), fontweight="bold")
        elif "others" in row:
            ax.text(_NAME, y, row["others"], **small)
        else:
            _draw_row(ax, y, row)
    if title:
        ax.set_title(title, fontsize=9, loc="left")
    return ax


def _draw_row(ax: Any, y: float, row: Mapping[str, Any]) -> None:
    if row["place"] == 0:
        ax.hlines(y - 0.5, 0, _WIDTH, color="#E3E3E3", linewidth=0.6)
        ax.text(_WEIGHT, y, f"{100 * row['weight']:.3g} %", fontsize=7.5, ha="right", va="center", color=ink())
    if not row["operation"]:
        ax.text(_NAME, y, "changes nothing", fontsize=8, va="center", color=NOTE)
        return
    colour = FAMILY_COLOURS.get(row["family"], ink())
    then = "" if row["place"] == 0 else "then "
    ax.text(_NAME, y, then + row["operation"].replace("_", " "), fontsize=8, va="center", color=colour)
    _draw_bar(ax, _PROBABILITY, y, 0.0, row["probability"], colour)
    ax.text(_PROBABILITY + _BAR + 0.6, y, f"{row['probability']:.2f}", fontsize=7.5, va="center", color=ink())
    if not np.isfinite(row["magnitude"]):
        ax.text(_MAGNITUDE, y, "–", fontsize=7.5, va="center", color=NOTE)
        return
    low, high = float(row["lowest_magnitude"]), float(row["magnitude"])
    _draw_bar(ax, _MAGNITUDE, y, low if high > low else 0.0, high, colour)
    text = in_digits(row["strength"])
    if high > low:
        text = f"{in_digits(row['strength'] * low / high)} to {text}"
    unit = {"probability": "", "degrees": "°"}.get(row["unit"], f" {row['unit']}")
    ax.text(_MAGNITUDE + _BAR + 0.6, y, text + unit, fontsize=7.5, va="center", color=ink())


def _draw_bar(ax: Any, x: float, y: float, low: float, high: float, colour: str) -> None:
    """A share of one: on a pale bar that stands for all of it."""
    ax.barh(y, _BAR, left=x, height=0.42, color="#ECECEC", linewidth=0)
    ax.barh(y, _BAR * (high - low), left=x + _BAR * low, height=0.42, color=colour, alpha=0.8, linewidth=0)


def _rows(policy: Any, limit: int) -> list[dict[str, Any]]:
    """What stands in each row: an operation, the name of a class, or how many sub-policies are not shown."""
    if limit < 1:
        raise ValueError(f"limit must be at least 1, got {limit}")
    table = policy.table() if hasattr(policy, "table") else policy
    if not len(table):
        raise ValueError("the table of the policy has no row")
    rows: list[dict[str, Any]] = []
    for label, part in table.groupby("class", sort=False, dropna=False):
        if isinstance(label, str):
            rows.append({"heading": label})
        weights = part.groupby("sub_policy", sort=False)["weight"].first()
        order = weights.sort_values(ascending=False, kind="stable").index
        for number in order[:limit]:
            rows += part[part["sub_policy"] == number].to_dict("records")
        left = len(order) - limit
        if left > 0:
            rows.append({"others": f"and {left} other{'s' if left > 1 else ''}"})
    return rows


def _places(rows: list[dict[str, Any]]) -> list[float]:
    """Height of each row, counted from above; the name of a class has some room over it."""
    places, y = [], _HEAD
    for row in rows:
        y += 0.5 if "heading" in row and places else 0.0
        places.append(y)
        y += 1.0
    return places


def _height(rows: list[dict[str, Any]]) -> float:
    return _places(rows)[-1] + 0.6


def plot_policies(policies: Mapping[str, Any], *, limit: int = 5, columns: int = 3, title: str | None = None) -> Any:
    """Draw several policies side by side.

    Parameters
    ----------
    policies : mapping
        Title → policy or its table, as for :func:`plot_policy`.
    limit : int
        Sub-policies to show of each policy and class.
    columns : int
        Most policies beside each other.
    title : str, optional

    Returns
    -------
    matplotlib Figure

    Examples
    --------
    >>> from eegaug import Policy
    >>> figure = plot_policies({"none": Policy.identity(), "fixed": Policy.fixed_sleep(sfreq=100)})
    >>> [ax.get_title(loc="left") for ax in figure.axes]
    ['none', 'fixed']
    """
    if not policies:
        raise ValueError("there is no policy to draw")
    columns = min(columns, len(policies))
    titles = [textwrap.fill(str(name), _TITLE) for name in policies]
    ends, places = [0.0] * columns, []
    for name, policy in zip(titles, policies.values(), strict=True):
        column = int(np.argmin(ends))  # the next one goes where most room is left
        room = 1.8 + 0.9 * name.count("\n")  # above each panel, for its title
        height = _height(_rows(policy, limit))
        places.append((column, ends[column] + room, height))
        ends[column] += room + height
    head = 2.0 if title else 0.5
    total = head + max(ends)
    figure = new_figure(columns * (_WIDTH / 10 + 0.25), _ROW_INCHES * total, layout="none")
    for name, policy, (column, top, height) in zip(titles, policies.values(), places, strict=True):
        bottom = 1.0 - (head + top + height) / total
        ax = figure.add_axes([column / columns + 0.015, bottom, 1.0 / columns - 0.03, height / total])
        plot_policy(policy, limit=limit, title=name, ax=ax)
    if title:
        figure.suptitle(title, fontsize=10, x=0.015, ha="left", y=1.0 - 0.4 / total)
    return figure
