"""Pictures of a staged night beside its hypnogram: hypnodensity, spectrogram, confidence, agreement with a scorer."""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np

from eegaug.plotting.colours import INK, LEGEND, STAGE_COLOURS, VERMILION, dress, new_axes
from eegaug.plotting.sleep import HYPNOGRAM_ORDER, stage_codes, stage_places, stretches, window_edges

__all__ = ["plot_agreement", "plot_confidence", "plot_hypnodensity", "plot_spectrogram", "show_clock"]


def plot_hypnodensity(
    probabilities: Any, *, window_s: float = 30.0, start_s: float = 0.0, title: str | None = None, ax: Any = None
) -> Any:
    """Draw the probabilities of the stages over a night, stacked.

    Parameters
    ----------
    probabilities : array-like or DataFrame, shape (n_windows, 5)
        In the order of :data:`eegaug.data.STAGES`; columns of a table are found by their names where these are stages.
        Each row sums to 1, or is nan where there is no window.
    window_s : float
        Length of a window in seconds.
    start_s : float
        Start of the first window in seconds.
    title : str, optional
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes

    References
    ----------
    Stephansen et al. (2018), Neural network analysis of sleep stages enables efficient diagnosis of narcolepsy, Nature
    Communications 9:5229: the hypnodensity graph.

    Examples
    --------
    >>> ax = plot_hypnodensity([[1, 0, 0, 0, 0], [0.2, 0.5, 0.3, 0, 0]])
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['W', 'REM', 'N1', 'N2', 'N3']
    """
    if hasattr(probabilities, "columns"):
        probabilities = probabilities.iloc[:, stage_places(probabilities.columns)]
    p = np.asarray(probabilities, dtype=float)
    if p.ndim != 2 or p.shape[1] != len(STAGE_COLOURS) or not len(p):
        raise ValueError(f"probabilities have shape {p.shape}; (windows, {len(STAGE_COLOURS)}) is due")
    known = p[~np.isnan(p).all(1)]
    bad = (known < 0).any(1) | ~(abs(known.sum(1) - 1) < 0.01)
    if bad.any():
        raise ValueError(
            f"probabilities of a window are {known[bad][0].round(3).tolist()}; they sum to 1, none below 0"
        )
    ax = new_axes(ax, 7.0, 1.8)
    hours, names = window_edges(len(p), window_s, start_s), list(STAGE_COLOURS)
    base = np.zeros(len(p))
    for name in reversed(HYPNOGRAM_ORDER):
        top = base + p[:, names.index(name)]
        # The line closes the hairlines that renderers leave between areas.
        colours = dict.fromkeys(("facecolor", "edgecolor"), STAGE_COLOURS[name])
        ax.stairs(top, hours, baseline=base, fill=True, linewidth=0.2, label=name, **colours)
        base = top
    ax.set_ylim(0, 1)
    ax.set_yticks([0, 0.5, 1])
    _time_axis(ax, hours, "probability", title)
    _legend_beside(ax, *(part[::-1] for part in ax.get_legend_handles_labels()))
    return ax


def plot_spectrogram(
    power: Any,
    freqs_hz: Any,
    *,
    window_s: float = 30.0,
    start_s: float = 0.0,
    unit: str = "dB",
    title: str | None = None,
    ax: Any = None,
) -> Any:
    """Draw a channel's power over time and frequency.

    Parameters
    ----------
    power : array-like, shape (n_windows, n_freqs)
        Power spectral density of each window, nan where there is none.
    freqs_hz : array-like, shape (n_freqs,)
        Evenly spaced.
    window_s, start_s : float
        Length of a window and start of the first one, in seconds.
    unit : str
        What the colour bar is labelled with.
    title : str, optional
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes
        Colours span the 2nd to 98th percentile of the power in dB.

    Examples
    --------
    >>> import numpy as np
    >>> ax = plot_spectrogram(np.random.default_rng(0).random((20, 40)) + 1, np.arange(40) * 0.5)
    >>> ax.get_ylabel()
    'frequency (Hz)'
    """
    power, freqs = np.asarray(power, dtype=float), np.asarray(freqs_hz, dtype=float)
    if power.ndim != 2 or power.shape[1] != len(freqs) or len(freqs) < 2:
        raise ValueError(f"power has shape {power.shape}; (windows, {len(freqs)} frequencies) is due")
    ax = new_axes(ax, 7.0, 1.8)
    with np.errstate(divide="ignore"):
        decibel = 10 * np.log10(power)
    decibel[~np.isfinite(decibel)] = np.nan  # flat windows have no power at all
    shown = decibel[np.isfinite(decibel)]
    low, high = np.percentile(shown, [2, 98]) if shown.size else (0.0, 1.0)
    step = freqs[1] - freqs[0]
    edges = np.append(freqs - step / 2, freqs[-1] + step / 2)
    hours = window_edges(len(power), window_s, start_s)
    mesh = ax.pcolormesh(hours, edges, decibel.T, cmap="viridis", vmin=low, vmax=high, rasterized=True)
    _time_axis(ax, hours, "frequency (Hz)", title)
    ax.set_ylim(max(edges[0], 0), edges[-1])
    bar = ax.figure.colorbar(mesh, cax=ax.inset_axes([1.015, 0.08, 0.012, 0.84]))
    bar.ax.tick_params(labelsize=7, length=2, width=0.5)
    bar.outline.set_visible(False)
    bar.set_label(unit, fontsize=7, labelpad=2)
    return ax


def plot_confidence(
    confidence: Any,
    disagreement: Any = None,
    *,
    window_s: float = 30.0,
    start_s: float = 0.0,
    title: str | None = None,
    ax: Any = None,
) -> Any:
    """Draw how sure a model is of each window, and how far its copies disagree.

    Parameters
    ----------
    confidence : array-like, shape (n_windows,)
        Probability of the stage that was chosen; nan where there is no window.
    disagreement : array-like, shape (n_windows,), optional
        In [0, 1], see :func:`eegaug.staging.copy_disagreement`.
    window_s, start_s : float
        Length of a window and start of the first one, in seconds.
    title : str, optional
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes

    Examples
    --------
    >>> plot_confidence([0.9, 0.5, 0.8], [0.0, 0.3, 0.1]).get_ylabel()
    'confidence'
    """
    confidence = np.asarray(confidence, dtype=float)
    if confidence.ndim != 1 or not len(confidence):
        raise ValueError(f"confidence must be a list of at least one window, got shape {confidence.shape}")
    ax = new_axes(ax, 7.0, 1.4)
    hours = window_edges(len(confidence), window_s, start_s)
    ax.stairs(confidence, hours, fill=True, color="#D9D9D9", linewidth=0)
    ax.stairs(confidence, hours, baseline=None, color=INK, linewidth=0.6)
    if disagreement is not None:
        disagreement = np.asarray(disagreement, dtype=float)
        if disagreement.shape != confidence.shape:
            raise ValueError(f"disagreement has {len(disagreement)} windows, confidence {len(confidence)}")
        ax.stairs(disagreement, hours, fill=True, color=VERMILION, alpha=0.8, linewidth=0, label="copies\ndisagree")
    ax.set_ylim(0, 1)
    ax.set_yticks([0, 0.5, 1])
    _time_axis(ax, hours, "confidence", title)
    if disagreement is not None:
        _legend_beside(ax)
    return ax


def plot_agreement(
    scored: Any,
    predicted: Any,
    *,
    window_s: float = 30.0,
    start_s: float = 0.0,
    names: tuple[str, str] = ("scorer", "model"),
    title: str | None = None,
    ax: Any = None,
) -> Any:
    """Draw two scorings of a night window by window, as strips, and where they differ.

    Parameters
    ----------
    scored, predicted : array-like of int, shape (n_windows,)
        As in :data:`eegaug.data.STAGES`; any other number is a window without a stage and is left blank.
    window_s, start_s : float
        Length of a window and start of the first one, in seconds.
    names : tuple of str
        Of the two.
    title : str, optional
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes

    Examples
    --------
    >>> ax = plot_agreement([0, 1, 2, 2], [0, 2, 2, 2])
    >>> [label.get_text() for label in ax.get_yticklabels()]
    ['scorer', 'model', 'differ (25 %)']
    """
    scored, predicted = stage_codes(scored, "scored"), stage_codes(predicted, "predicted")
    if scored.shape != predicted.shape or scored.ndim != 1 or not len(scored):
        raise ValueError(f"two lists of one length are due, got shapes {scored.shape} and {predicted.shape}")
    ax = new_axes(ax, 7.0, 1.15 if title else 0.95)
    hours = window_edges(len(scored), window_s, start_s)
    for row, stages in enumerate((scored, predicted)):
        for code, colour in enumerate(STAGE_COLOURS.values()):
            _bars(ax, hours, stages == code, row, colour)
    n = len(STAGE_COLOURS)
    both = (scored >= 0) & (scored < n) & (predicted >= 0) & (predicted < n)
    differ = both & (scored != predicted)
    _bars(ax, hours, differ, 2, INK)
    share = f"{100 * differ.sum() / both.sum():.0f} %" if both.any() else "–"
    ax.set_yticks(range(3), [*names, f"differ ({share})"])
    ax.set_ylim(2.5, -0.5)
    _time_axis(ax, hours, None, title)
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    return ax


def show_clock(ax: Any, start: datetime.datetime) -> None:
    """Label the time axis of a night, which is in hours, with the time of day.

    Parameters
    ----------
    ax : matplotlib Axes
    start : datetime
        When hour 0 was.
    """
    from matplotlib.ticker import FuncFormatter, MultipleLocator

    low, high = ax.get_xlim()
    seconds = 10 / 3600  # of one window or two
    step = next((s for s in (seconds, 1 / 60, 5 / 60, 0.25, 0.5, 1, 2, 3, 6) if (high - low) / s <= 10), 12)
    offset = (start.hour + start.minute / 60 + start.second / 3600) % step
    locator = MultipleLocator(step, offset=-offset)
    ax.xaxis.set_major_locator(locator)
    # Ticks are whole minutes, or seconds, but for rounding.
    rounded, form = datetime.timedelta(seconds=0.5), "%H:%M:%S" if step == seconds else "%H:%M"
    ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{start + datetime.timedelta(hours=x) + rounded:{form}}"))
    ax.set_xlabel("time of day", fontsize=9)


def _legend_beside(ax: Any, *entries: Any) -> None:
    style = {"handlelength": 0.9, "handletextpad": 0.4, "labelspacing": 0.25, "borderaxespad": 0.3, **LEGEND}
    ax.legend(*entries, loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=7, **style)


def _time_axis(ax: Any, hours: np.ndarray, ylabel: str | None, title: str | None) -> None:
    ax.set_xlim(hours[0], hours[-1])
    dress(ax, "time (h)", ylabel, title=title, grid=None)


def _bars(ax: Any, hours: np.ndarray, mask: np.ndarray, row: float, colour: str) -> None:
    """A bar over every stretch of windows in the mask."""
    starts, ends = stretches(hours, mask)
    if len(starts):
        ax.broken_barh(list(zip(starts, ends - starts, strict=True)), (row - 0.42, 0.84), color=colour, linewidth=0)
