"""Pictures of stages: the confusion of two scorers, and a night's hypnogram."""

from __future__ import annotations

from typing import Any

import numpy as np

from eegaug.plotting.colours import MUTED, STAGE_COLOURS, dress, ink_on, new_axes

__all__ = ["plot_confusion", "plot_hypnogram"]

# From the top of a hypnogram down, as sleep laboratories draw it.
HYPNOGRAM_ORDER = ("W", "REM", "N1", "N2", "N3")


def plot_confusion(
    confusion: Any, stages: Any = tuple(STAGE_COLOURS), *, title: str | None = None, ax: Any = None
) -> Any:
    """Draw a confusion matrix: share of each scored stage that was predicted as each stage, and number of windows.

    Parameters
    ----------
    confusion : array-like or DataFrame, (n_stages, n_stages)
        Numbers of windows, or their means: rows are the scored stages, columns the predicted ones. Rows and columns of
        a table are found by their names where these are the five stages.
    stages : sequence of str
        Names of the stages.
    title : str, optional
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes

    Examples
    --------
    >>> ax = plot_confusion([[8, 2], [1, 9]], ["W", "N1"])
    >>> ax.texts[0].get_text()
    '80 %\\n8'
    """
    if hasattr(confusion, "columns") and tuple(stages) == tuple(STAGE_COLOURS):
        confusion = confusion.iloc[stage_places(confusion.index), stage_places(confusion.columns)]
    confusion = np.asarray(confusion)
    if confusion.shape != (len(stages), len(stages)):
        raise ValueError(f"confusion has shape {confusion.shape}; {len(stages)} stages need a square of that size")
    ax = new_axes(ax, 3.5, 3.3)
    total = confusion.sum(1, keepdims=True)
    share = np.divide(confusion, total, out=np.zeros(confusion.shape), where=total > 0)
    image = ax.imshow(share, cmap="Blues", vmin=0, vmax=1, origin="upper", interpolation="nearest")
    for (row, column), value in np.ndenumerate(share):
        text = f"{100 * value:.0f} %\n{round(float(confusion[row, column]), 1):.12g}" if total[row] else "–"
        ax.text(column, row, text, ha="center", va="center", fontsize=7, color=ink_on(image.to_rgba(value)))
    ax.set_xticks(range(len(stages)), stages)
    ax.set_yticks(range(len(stages)), stages)
    dress(ax, "predicted stage", "scored stage", title=title, grid=None)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.set_xticks(np.arange(1, len(stages)) - 0.5, minor=True)
    ax.set_yticks(np.arange(1, len(stages)) - 0.5, minor=True)
    ax.grid(which="minor", color="white", linewidth=1)
    ax.tick_params(which="minor", length=0)
    return ax


def plot_hypnogram(
    stages: Any,
    predicted: Any = None,
    *,
    window_s: float = 30.0,
    start_s: float = 0.0,
    title: str | None = None,
    ax: Any = None,
) -> Any:
    """Draw a night's stages over time.

    Parameters
    ----------
    stages : array-like of int, (n_windows,)
        Stage of each window as in :data:`eegaug.data.STAGES`; any other number is a window without a stage and
        leaves a gap.
    predicted : array-like of int, (n_windows,), optional
        A second scoring: windows where it differs are marked below the hypnogram in the colour of the stage predicted;
        their share is of the windows that have a stage in both.
    window_s : float
        Length of a window in seconds.
    start_s : float
        Start of the first window in seconds.
    title : str, optional
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes

    Examples
    --------
    >>> ax = plot_hypnogram([0, 1, 2, 2, 3, 3, 4], predicted=[0, 1, 2, 3, 3, 3, 4])
    >>> [label.get_text() for label in ax.get_yticklabels()][:3]
    ['W', 'REM', 'N1']
    """
    stages = stage_codes(stages)
    names = np.array(tuple(STAGE_COLOURS))
    if stages.ndim != 1 or not len(stages):
        raise ValueError(f"stages must be a list of at least one window, got shape {stages.shape}")
    ax = new_axes(ax, 7.0, 2.2)
    hours = window_edges(len(stages), window_s, start_s)
    known = (stages >= 0) & (stages < len(names))
    height = np.full(len(stages), np.nan)
    height[known] = [-HYPNOGRAM_ORDER.index(name) for name in names[stages[known]]]
    ax.stairs(height, hours, baseline=None, color=MUTED, linewidth=0.5)
    for code, name in enumerate(names):
        _segments(ax, hours, stages == code, -HYPNOGRAM_ORDER.index(name), STAGE_COLOURS[name], 3.0)
    labels = list(HYPNOGRAM_ORDER)
    if predicted is not None:
        predicted = stage_codes(predicted, "predicted")
        if predicted.shape != stages.shape:
            raise ValueError(f"predicted has {len(predicted)} windows, stages {len(stages)}: they must be the same")
        for code, name in enumerate(names):
            _segments(ax, hours, known & (predicted != stages) & (predicted == code), -5, STAGE_COLOURS[name], 7.0)
        both = known & (predicted >= 0) & (predicted < len(names))
        share = f"{100 * (predicted != stages)[both].mean():.0f} %" if both.any() else "–"
        labels.append(f"differs\n({share})")
    ax.set_yticks([-i for i in range(len(labels))], labels)
    ax.set_ylim(-len(labels) + 0.4, 0.6)
    ax.set_xlim(hours[0], hours[-1])
    return dress(ax, "time (h)", title=title, grid=None)


def stage_codes(stages: Any, what: str = "stages") -> np.ndarray:
    """Stages as an array of integers, -1 for nan; ValueError for names and parts of stages."""
    stages = np.asarray(stages)
    if stages.size and stages.dtype.kind not in "biuf":
        raise ValueError(
            f"{what} holds {stages.ravel()[0]!r}; stages are numbers here, 0=W 1=N1 2=N2 3=N3 4=REM: "
            "eegaug.data.parse_stage makes them of names"
        )
    stages = np.where(np.isnan(stages), -1, stages) if stages.dtype.kind == "f" else stages
    codes = stages.astype(int)
    if (codes != stages).any():
        raise ValueError(f"{what} holds {stages[codes != stages][0]:g}, which is no stage: 0=W 1=N1 2=N2 3=N3 4=REM")
    return codes


def stage_places(names: Any) -> Any:
    """Where W, N1, N2, N3 and REM stand among the names of a table; all places as they are if those name others."""
    from eegaug.data.stages import parse_stage

    codes = [parse_stage(str(name).removeprefix("p_"), numbers="aasm") for name in names]
    five = range(len(STAGE_COLOURS))
    return [codes.index(code) for code in five] if len(codes) == len(five) and {*codes} == {*five} else slice(None)


def window_edges(n: int, window_s: float, start_s: float = 0.0) -> np.ndarray:
    """Edges of n windows in hours."""
    return (start_s + np.arange(n + 1) * window_s) / 3600


def stretches(hours: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where stretches of windows in a mask begin and end, given the windows' edges."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(int), [0]])))
    return hours[edges[::2]], hours[edges[1::2]]


def _segments(ax: Any, hours: np.ndarray, mask: np.ndarray, y: float, colour: str, width: float) -> None:
    """Thick horizontal lines over every stretch of windows in the mask."""
    starts, ends = stretches(hours, mask)
    if len(starts):
        ax.hlines(np.full(len(starts), y), starts, ends, color=colour, linewidth=width)
