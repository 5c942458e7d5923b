"""Pictures of what a fitted classifier does not care about: invariance, transfer, variation between variants."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from eegaug.plotting.colours import (
    BLUE,
    INK,
    LEGEND,
    MUTED,
    NOTE,
    STAGE_COLOURS,
    VERMILION,
    dress,
    in_lines,
    ink,
    ink_on,
    new_axes,
)

__all__ = [
    "plot_augmentation_variation",
    "plot_invariance_scores",
    "plot_invariance_table",
    "plot_tolerated_magnitudes",
    "plot_transfer_matrix",
]

_LINES = ("-", (0, (4, 1.5)), (0, (1, 1)), (0, (5, 1, 1, 1)))
_MARKS = "osD^vP*Xph"
# Scores below this are drawn at the edge: how far below 0 a score falls has no bound and little meaning.
_LOWEST = -0.5


def plot_invariance_scores(scores: Mapping[str, Any], *, title: str | None = None, ax: Any = None) -> Any:
    """Draw invariance scores: median and quartiles over windows, and the medians of the stages.

    Parameters
    ----------
    scores : mapping from names to InvarianceScore
        For instance of several models, or of one model and several operations.
    title : str, optional
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes

    Examples
    --------
    >>> import numpy as np
    >>> from eegaug.invariance import InvarianceScore
    >>> ax = plot_invariance_scores({"AugNet": InvarianceScore(0.9, 0.8, 0.95, 0.0, np.array([0.9]))})
    >>> ax.get_yticklabels()[0].get_text()
    'AugNet'
    """
    if not scores:
        raise ValueError("scores is empty: pass one InvarianceScore or more.")
    names = [in_lines(str(name).replace("_", " ")) for name in scores]
    ax = new_axes(ax, 4.6 + _beyond(names), 0.9 + 0.32 * len(scores))
    colours = _stage_styles(
        [s for score in scores.values() if score.by_stage is not None for s in score.by_stage.index]
    )
    for row, score in enumerate(scores.values()):
        if np.isnan(score.median):
            ax.text(0.5, row, "says the same about all windows", ha="center", va="center", fontsize=8, color=NOTE)
            continue
        low, middle, high = (max(value, _LOWEST) for value in (score.low, score.median, score.high))
        ax.hlines(row, low, high, color=BLUE, linewidth=5, alpha=0.35)
        ax.scatter([middle], [row], color=BLUE, s=28, zorder=3)
        ax.annotate(f"{score.median:.2f}", (1.0, row), xytext=(34, 0), **_beside(ax))
        if score.by_stage is not None:
            for stage, median in score.by_stage["median"].items():
                ax.scatter([max(median, _LOWEST)], [row + 0.28], color=colours[stage], s=40, marker="|", linewidth=1.6)
    ax.set_yticks(range(len(scores)), names)
    ax.set_ylim(len(scores) - 0.4, -0.6)
    ax.set_xlim(_LOWEST - 0.03, 1.03)
    ax.set_xticks(*_SCALE)
    _reference_lines(ax.axvline)
    _stage_legend(ax, colours)
    return dress(ax, "invariance (1: answers stay; 0: as another window)", title=title, grid="x", pad=_PAD)


def plot_invariance_table(table: Any, operation: str | None = None, *, title: str | None = None, ax: Any = None) -> Any:
    """Draw invariance over the strength of operations.

    Parameters
    ----------
    table : DataFrame
        From :func:`eegaug.invariance.invariance_table`.
    operation : str | None
        One operation: a line for each stage, over its strength in its unit. None: a line for each operation, over the
        magnitude, for all stages together.
    title : str, optional
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes
        Medians over windows, with quartiles for all stages together. Operations without a magnitude are dots at 1; one
        of them alone has a dot for each stage.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"operation": "frequency_shift", "magnitude": [0.1, 0.2], "strength": [0.5, 1.0],
    ...                       "unit": "Hz", "stage": "all", "median": [0.9, 0.7], "low": [0.8, 0.5], "high": 0.95})
    >>> plot_invariance_table(table, "frequency_shift").get_xlabel()
    'frequency shift (Hz)'
    """
    known = list(dict.fromkeys(table["operation"]))
    if not known:
        raise ValueError("the table of invariances has no row.")
    if operation is not None and operation not in known:
        raise ValueError(f"the table has no operation {operation!r}; it has {', '.join(known)}.")
    ax = new_axes(ax, 4.4, 3.0)
    if operation is None:
        whole = table[table["stage"] == "all"]
        lines = {name: whole[whole["operation"] == name] for name in known}
        colours = _many_colours(known)
        x = xlabel = "magnitude"
    else:
        part = table[table["operation"] == operation]
        lines = {stage: part[part["stage"] == stage] for stage in dict.fromkeys(part["stage"])}
        colours = _stage_styles(lines)
        x = "strength" if part["strength"].notna().any() else "magnitude"
        unit = part["unit"].iloc[0]
        xlabel = operation.replace("_", " ") + (f" ({unit})" if x == "strength" and unit else "")
    by_stage = operation is not None and part["magnitude"].isna().all()
    for number, (name, line) in enumerate(lines.items()):
        line = line.sort_values(x)
        at = line[x].fillna(number if by_stage else 1.0)
        label = _stage_name(name) if operation is not None else name.replace("_", " ")
        style = {"color": colours[name], "label": label, "linewidth": 1.5, "markersize": 4}
        style["marker"] = _MARKS[number % len(_MARKS)]
        style["linestyle"] = "-" if operation is not None else _LINES[number % len(_LINES)]
        ax.plot(at, line["median"].clip(lower=_LOWEST), **style)
        if (operation is None and len(lines) == 1) or name == "all":
            low, high = (line[column].clip(lower=_LOWEST) for column in ("low", "high"))
            area = {"alpha": 0.15, "linewidth": 4 if len(line) == 1 else 0, "label": f"{label}: quartiles"}
            ax.fill_between(at, low, high, color=colours[name], **area)
    ax.set_ylim(_LOWEST - 0.05, 1.05)
    ax.set_yticks(*_SCALE)
    _reference_lines(ax.axhline)
    if by_stage:
        ax.set_xticks(range(len(lines)), ["all" if stage == "all" else _stage_name(stage) for stage in lines])
        ax.set_xlim(-0.5, len(lines) - 0.5)
    ax.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5), handlelength=2.2, **LEGEND)
    return dress(ax, xlabel, "invariance", title=title, pad=_PAD)


def plot_tolerated_magnitudes(tolerated: Any, *, title: str | None = None, ax: Any = None) -> Any:
    """Draw which stage tolerates which operation, and how strongly.

    Parameters
    ----------
    tolerated : DataFrame
        From :func:`eegaug.invariance.tolerated_magnitudes`: rows are stages, columns operations.
    title : str, optional
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes

    Examples
    --------
    >>> import pandas as pd
    >>> ax = plot_tolerated_magnitudes(pd.DataFrame({"sign_flip": [1.0, 0.0]}, index=[2, 3]))
    >>> [label.get_text() for label in ax.get_yticklabels()]
    ['N2', 'N3']
    """
    ax = new_axes(ax, max(2.4, 1.6 + 0.52 * tolerated.shape[1]), 1.5 + 0.34 * len(tolerated))
    rows = [_stage_name(stage) for stage in tolerated.index]
    return _heat_map(ax, tolerated, rows, "Blues", 0.0, 1.0, "{:.2g}", x="strongest magnitude tolerated", title=title)


def plot_transfer_matrix(matrix: Any, baseline: Any = None, *, title: str | None = None, ax: Any = None) -> Any:
    """Draw scores on changed test sets: rows are models, columns test sets.

    Parameters
    ----------
    matrix : DataFrame
        From :func:`eegaug.invariance.transfer_matrix`.
    baseline : DataFrame | str | None
        Another matrix with the same rows and columns, or the name of a row: what is drawn are differences to it.
    title : str, optional
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes

    Examples
    --------
    >>> import pandas as pd
    >>> matrix = pd.DataFrame({"original": [0.8, 0.9]}, index=["none", "AIT"])
    >>> [text.get_text() for text in plot_transfer_matrix(matrix, "none").texts]
    ['+0.00', '+0.10']
    """
    rows = [_row_name(row) for row in matrix.index]
    ax = new_axes(ax, 2.2 + 0.55 * matrix.shape[1], 1.5 + 0.34 * len(matrix))
    if baseline is None:
        lowest = float(np.nanmin(matrix.to_numpy()))
        how = (matrix, rows, "Blues", min(lowest, 0.5 * lowest + 0.2), 1.0, "{:.2f}")
        score = "score"
    else:
        other = _row(matrix, baseline) if isinstance(baseline, str) else baseline
        if other.ndim == 2:
            if set(other.index) != set(matrix.index) or set(other.columns) != set(matrix.columns):
                raise ValueError("baseline has other rows or columns than the matrix.")
            # In the order of the rows' names: pandas itself sorts what comes in two orders.
            other = other.reindex(index=matrix.index, columns=matrix.columns)
        shown = matrix - other
        widest = max(float(np.nanmax(np.abs(shown.to_numpy()), initial=0.0)), 0.02)
        how = (shown, rows, "RdBu", -widest, widest, "{:+.2f}")
        score = "difference of scores"
    return _heat_map(ax, *how, x=f"{score} on test windows changed by", title=title)


def plot_augmentation_variation(
    table: Any, quantity: str = "ratio", *, title: str | None = None, ax: Any = None
) -> Any:
    """Draw how far apart variants of a window are: one row for each pair of forms.

    Parameters
    ----------
    table : DataFrame | mapping from names to DataFrame
        From :func:`eegaug.invariance.intra_augmentation_variation`; of several models by their names.
    quantity : {"ratio", "kl", "distance"}
    title : str, optional
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes
        A dot for all stages together, and for a single model a stroke for each stage.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"first": "original", "second": ["sign_flip", "noise"], "stage": "all",
    ...                       "ratio": [0.1, 0.4]})
    >>> [label.get_text() for label in plot_augmentation_variation(table).get_yticklabels()]
    ['sign flip', 'noise']
    """
    labels = {
        "ratio": "distance of variants / distance of windows",
        "kl": "symmetric divergence of predictions",
        "distance": "distance of features",
    }
    if quantity not in labels:
        raise ValueError(f"quantity is {quantity!r}; use one of {', '.join(labels)}.")
    tables = dict(table) if isinstance(table, Mapping) else {"": table}
    first = next(iter(tables.values()))
    of_each = (zip(one["first"], one["second"], strict=True) for one in tables.values())
    pairs = list(dict.fromkeys(itertools.chain.from_iterable(of_each)))
    names = [b if a == "original" else f"{a} – {b}" for a, b in pairs]
    names = [in_lines(name.replace("_", " ")) for name in names]
    rows = max(len(pairs), 0.6 * len(tables))
    ax = new_axes(ax, 4.6 + _beyond([*names, *tables]), 0.9 + 0.27 * rows)
    colours = _stage_styles(first["stage"]) if len(tables) == 1 else {}
    of_model = _many_colours(list(tables))
    for number, (name, one) in enumerate(tables.items()):
        values = one.set_index(["first", "second", "stage"])[quantity]
        whole = [values.get((*pair, "all"), np.nan) for pair in pairs]
        shift = 0.0 if len(tables) == 1 else 0.3 * (number / (len(tables) - 1) - 0.5)
        at = np.arange(len(pairs)) + shift
        mark = {"marker": _MARKS[number % len(_MARKS)], "color": of_model[name] if len(tables) > 1 else BLUE}
        ax.scatter(whole, at, s=24, label=in_lines(name), zorder=3, **mark)
        for stage, colour in colours.items():
            if stage != "all":
                found = [values.get((*pair, stage), np.nan) for pair in pairs]
                ax.scatter(found, np.arange(len(pairs)) + 0.3, s=40, marker="|", linewidth=1.6, color=colour)
    ax.set_yticks(range(len(pairs)), names)
    ax.set_ylim(len(pairs) - 0.4, -0.6)
    ax.set_xlim(left=0)
    if len(tables) > 1:
        ax.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5), handletextpad=0.2, **LEGEND)
    else:
        _stage_legend(ax, colours)
    return dress(ax, labels[quantity], title=title, grid="x", pad=_PAD)


# Parts ---------------------------------------------------------------------------------------------------------------

# Ticks of an axis of invariance, and their labels.
_SCALE = ([_LOWEST, 0.0, 0.5, 1.0], [f"≤ {_LOWEST:g}".replace("-", "−"), "0", "0.5", "1"])
# Between axes and title, in points: room for the legend of the stages.
_PAD = 16


def _beyond(names: Sequence[Any]) -> float:
    """Inches that long names take from the data."""
    longest = max(len(line) for name in names for line in str(name).split("\n"))
    return 0.062 * max(0, longest - 16)


def _heat_map(
    ax: Any, values: Any, rows: Sequence[str], cmap: str, low: float, high: float, form: str, **words: str | None
) -> Any:
    numbers = values.to_numpy(dtype=float)
    how = {"aspect": "auto", "origin": "upper", "interpolation": "nearest"}
    image = ax.imshow(numbers, cmap=cmap, vmin=low, vmax=high, **how)
    for (row, column), value in np.ndenumerate(numbers):
        text = "–" if np.isnan(value) else form.format(value)
        colour = INK if np.isnan(value) else ink_on(image.to_rgba(value))
        ax.text(column, row, text, ha="center", va="center", fontsize=7, color=colour)
    columns = [in_lines(str(column).replace("_", " ")) for column in values.columns]
    ax.set_xticks(range(len(columns)), columns, rotation=45, ha="right", rotation_mode="anchor")
    ax.set_yticks(range(len(rows)), [in_lines(row) for row in rows])
    dress(ax, grid=None, pad=_PAD, **words)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    return ax


def _stage_name(stage: Any) -> str:
    names = tuple(STAGE_COLOURS)
    if isinstance(stage, (int, np.integer)) and 0 <= stage < len(names):
        return names[int(stage)]
    return "all stages" if stage == "all" else str(stage)


def _stage_styles(stages: Any) -> dict[Any, str]:
    """A colour for each stage; labels that are no stages get others."""
    found = [stage for stage in dict.fromkeys(stages) if stage != "all"]
    spare = _many_colours([stage for stage in found if _stage_name(stage) not in STAGE_COLOURS])
    colours = {stage: STAGE_COLOURS.get(_stage_name(stage), spare.get(stage, INK)) for stage in found}
    return {"all": INK} | colours if "all" in list(stages) else colours


def _many_colours(names: Sequence[Any]) -> dict[Any, Any]:
    import matplotlib

    palette = matplotlib.colormaps["tab20" if len(names) > 10 else "tab10"]
    return {name: palette(i % palette.N) for i, name in enumerate(names)}


def _stage_legend(ax: Any, colours: Mapping[Any, str]) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=colour, marker="|", markersize=7, markeredgewidth=1.6, linestyle="none")
        for stage, colour in colours.items()
        if stage != "all"
    ]
    names = [_stage_name(stage) for stage in colours if stage != "all"]
    if handles:
        style = {"fontsize": 7, "ncols": len(names), "columnspacing": 0.9, "handletextpad": 0.1, **LEGEND}
        ax.legend(handles, names, loc="lower left", bbox_to_anchor=(0, 1.0), borderaxespad=0, **style)


def _beside(ax: Any) -> dict[str, Any]:
    style = {"ha": "right", "va": "center", "fontsize": 8, "color": ink(), "annotation_clip": False}
    return style | {"xycoords": ax.get_yaxis_transform(), "textcoords": "offset points"}


def _reference_lines(draw: Any) -> None:
    draw(0, color=MUTED, linewidth=0.8)
    draw(1, color=VERMILION, linewidth=0.8, alpha=0.6)


def _row_name(row: Any) -> str:
    return f"{row[0]}, {_stage_name(row[1])}" if isinstance(row, tuple) else str(row)


def _row(matrix: Any, name: str) -> Any:
    """The row of a model, or its rows by stage under every model's."""
    models = matrix.index.get_level_values(0)
    if name not in models:
        raise ValueError(f"the matrix has no model {name!r}; it has {', '.join(map(str, dict.fromkeys(models)))}.")
    if matrix.index.nlevels == 1:
        return matrix.loc[name]
    import pandas as pd

    stages = matrix.loc[name]
    return pd.concat({model: stages for model in dict.fromkeys(models)}, names=matrix.index.names)
