"""What an operation does to a window: signal, spectrum and topography before and after, over magnitudes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from eegaug.plotting._shown import Shown
from eegaug.plotting.colours import LEGEND, MUTED, dress, new_axes, new_figure

__all__ = ["operation_figure", "plot_operation_signal", "plot_operation_spectrum", "plot_operation_topomap"]

MAGNITUDES = (0.25, 0.5, 1.0)
_BEFORE = {"color": "#9A9A9A", "linewidth": 0.9}


def plot_operation_signal(
    operation: Any,
    X: Any,
    *,
    sfreq: float,
    ch_names: Sequence[str] | None = None,
    positions: Any = None,
    magnitudes: Sequence[float] = MAGNITUDES,
    channel: int | str = 0,
    seconds: float | None = 6.0,
    random_state: Any = 0,
    title: str | None = None,
    ax: Any = None,
) -> Any:
    """Draw one channel of a window before an operation (grey) and after it, a trace per magnitude.

    All traces have the same random draws: of 32, those that change signal and spectrum most (those in the middle for
    operations whose strength is a probability).

    Parameters
    ----------
    operation : str | Operation
        A name, see :func:`eegaug.operations.list_operations`, or an operation built for this signal.
    X : array or tensor, shape (n_channels, n_times)
        One window, as a network would see it: some operations expect it standardised.
    sfreq : float
        Sampling rate in Hz.
    ch_names : sequence of str, optional
        Channels; operations on sensors need them.
    positions : optional
        Electrode positions, see :func:`eegaug.montage.electrode_positions`.
    magnitudes : sequence of float
        In [0, 1]; without meaning for operations that have none (time reverse, sign flip, channels symmetry).
    channel : int | str
        Which channel is drawn.
    seconds : float | None
        How much of the window is drawn, around the largest change; None draws all.
    random_state : int | RandomState | None
        Of the draws.
    title : str, optional
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).standard_normal((2, 500)).astype("float32")
    >>> ax = plot_operation_signal("time_masking", X, sfreq=100)
    >>> [label.get_text() for label in ax.get_yticklabels()]
    ['before', '¼: 50 samples', '½: 100 samples', '1: 200 samples']
    """
    shown = Shown(operation, X, sfreq, ch_names, positions, magnitudes, random_state)
    ax = new_axes(ax, 7.0, 0.8 + 0.55 * len(shown.after))
    _draw_signal(ax, shown, shown.channel(channel), seconds, title)
    return ax


def plot_operation_spectrum(
    operation: Any,
    X: Any,
    *,
    sfreq: float,
    ch_names: Sequence[str] | None = None,
    positions: Any = None,
    magnitudes: Sequence[float] = MAGNITUDES,
    channel: int | str = 0,
    max_hz: float = 30.0,
    random_state: Any = 0,
    title: str | None = None,
    ax: Any = None,
) -> Any:
    """Draw the power spectrum of one channel of a window before an operation (grey) and after it, by magnitude.

    Parameters
    ----------
    operation, X, sfreq, ch_names, positions, magnitudes, channel, random_state
        As for :func:`plot_operation_signal`.
    max_hz : float
        Highest frequency drawn.
    title : str, optional
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).standard_normal((2, 500)).astype("float32")
    >>> len(plot_operation_spectrum("frequency_shift", X, sfreq=100, magnitudes=[1.0]).lines)
    2
    """
    shown = Shown(operation, X, sfreq, ch_names, positions, magnitudes, random_state)
    ax = new_axes(ax, 3.4, 2.4)
    _draw_spectrum(ax, shown, shown.channel(channel), max_hz, title)
    ax.legend(fontsize=7, handlelength=1.4, labelspacing=0.3, **LEGEND)
    return ax


def plot_operation_topomap(
    operation: Any,
    X: Any,
    *,
    sfreq: float,
    ch_names: Sequence[str],
    positions: Any = None,
    magnitude: float | None = 1.0,
    random_state: Any = 0,
    title: str | None = None,
    ax: Any = None,
) -> Any:
    """Draw the potential over the head before or after an operation, at the instant that changes most.

    Parameters
    ----------
    operation, X, sfreq, ch_names, positions, random_state
        As for :func:`plot_operation_signal`; four channels at least, all with a place on the head.
    magnitude : float | None
        In [0, 1]; None draws the window before the operation.
    title : str, optional
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes
        Red is positive, blue negative; the colours span the same range before and after.
    """
    shown = Shown(operation, X, sfreq, ch_names, positions, [1.0 if magnitude is None else magnitude], random_state)
    if (reason := shown.no_topography()) is not None:
        raise ValueError(reason)
    ax = new_axes(ax, 1.6, 1.7)
    _draw_topomap(ax, shown, shown.before if magnitude is None else shown.after[0])
    if title:
        ax.set_title(title, fontsize=9)
    return ax


def operation_figure(
    operation: Any,
    X: Any,
    *,
    sfreq: float,
    ch_names: Sequence[str] | None = None,
    positions: Any = None,
    magnitudes: Sequence[float] = MAGNITUDES,
    channel: int | str | None = None,
    seconds: float | None = 6.0,
    max_hz: float = 30.0,
    topomap: bool | None = None,
    random_state: Any = 0,
) -> Any:
    """Make a figure of what an operation does: signal, spectrum and topographies, over magnitudes.

    Parameters
    ----------
    operation, X, sfreq, ch_names, positions, magnitudes, seconds, max_hz, random_state
        As for :func:`plot_operation_signal` and :func:`plot_operation_spectrum`.
    channel : int | str | None
        Which channel is drawn; None is the one that changes most.
    topomap : bool | None
        Draw topographies; None draws them for operations on sensors, where the montage has four places or more: other
        operations treat all channels alike.

    Returns
    -------
    matplotlib Figure

    Raises
    ------
    ValueError
        If a topography is asked for that the montage does not give, or the operation cannot be built.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).standard_normal((2, 500)).astype("float32")
    >>> len(operation_figure("frequency_shift", X, sfreq=100).axes)
    2
    """
    shown = Shown(operation, X, sfreq, ch_names, positions, magnitudes, random_state)
    reason = shown.no_topography()
    if topomap and reason is not None:
        raise ValueError(reason)
    maps = bool(topomap) or (topomap is None and shown.operation.family == "sensors" and reason is None)
    index = shown.channel(shown.most_changed() if channel is None else channel)
    height = 0.75 + 0.5 * (1 + len(shown.after))
    figure = new_figure(7.2, height + (1.8 if maps else 0))
    parts = figure.subfigures(2, 1, height_ratios=[height, 1.8]) if maps else [figure]
    left, right = parts[0].subplots(1, 2, width_ratios=[2.1, 1])
    _draw_signal(left, shown, index, seconds)
    _draw_spectrum(right, shown, index, max_hz)
    words = shown.operation.describe()
    figure.suptitle(words[:1].upper() + words[1:], fontsize=10, x=0.01, ha="left")
    if maps:
        labels = ["before", *shown.labels]
        axes = parts[1].subplots(1, len(labels), squeeze=False)[0]
        for ax, X_one, label in zip(axes, [shown.before, *shown.after], labels, strict=True):
            _draw_topomap(ax, shown, X_one)
            ax.set_title(label, fontsize=8)
        at_s = shown.instant() / shown.sfreq
        parts[1].supxlabel(f"potential at {at_s:.2f} s: red positive, blue negative, on one scale", fontsize=8)
    return figure


def _draw_signal(ax: Any, shown: Shown, channel: int, seconds: float | None, title: str | None = None) -> None:
    before = shown.before[channel]
    n = before.shape[-1] if seconds is None else min(before.shape[-1], max(2, round(seconds * shown.sfreq)))
    first = int(np.convolve(shown.changes()[channel], np.ones(n), mode="valid").argmax())
    part = slice(first, first + n)
    t = np.arange(first, first + n) / shown.sfreq
    traces = [before, *(after[channel] for after in shown.after)]
    middle = float((before[part].max() + before[part].min()) / 2)
    gap = 1.15 * max(float(np.ptp(trace[part])) for trace in traces) or 1.0
    for row, trace in enumerate(traces):
        shift = -row * gap
        ax.plot(t, before[part] - middle + shift, **_BEFORE)
        if row:
            ax.plot(t, trace[part] - middle + shift, color=shown.colours[row - 1], linewidth=1.0)
    ax.set_yticks([-row * gap for row in range(len(traces))], ["before", *shown.labels])
    ax.set_ylim(-(len(traces) - 0.4) * gap, 0.6 * gap)
    ax.set_xlim(t[0], t[-1])
    name = shown.ch_names[channel] if shown.ch_names else f"channel {channel}"
    dress(ax, f"time (s), {name}", title=title, grid=None)
    ax.spines["left"].set_visible(False)
    ax.tick_params(axis="y", length=0)


def _draw_spectrum(ax: Any, shown: Shown, channel: int, max_hz: float, title: str | None = None) -> None:
    from scipy.signal import welch

    length = min(shown.before.shape[-1], round(4 * shown.sfreq))

    def decibel(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        freqs, power = welch(x, shown.sfreq, nperseg=length)
        keep = (freqs > 0) & (freqs <= max_hz)
        if not keep.any():
            raise ValueError(f"max_hz is {max_hz:g}; of this window the lowest frequency is {freqs[1]:g} Hz")
        return freqs[keep], 10 * np.log10(np.maximum(power[keep], np.finfo(np.float32).tiny))

    freqs, reference = decibel(shown.before[channel])
    ax.plot(freqs, reference, label="before", **(_BEFORE | {"linewidth": 1.6}))
    lowest, highest = reference.min(), reference.max()
    for trace, colour, label in zip(shown.after, shown.colours, shown.labels, strict=True):
        _, power = decibel(trace[channel])
        ax.plot(freqs, power, color=colour, linewidth=1.0, label=label)
        highest = max(highest, power.max())
    # A dropped channel has no power at all: the axis ends not far below the signal's.
    ax.set_ylim(lowest - 12, highest + 3)
    ax.set_xlim(0, freqs[-1])
    dress(ax, "frequency (Hz)", "power (dB)", title=title)


def _draw_topomap(ax: Any, shown: Shown, X: np.ndarray) -> None:
    import mne

    at = shown.instant()
    limit = float(np.abs(shown.before[:, at]).max()) or 1.0
    info = mne.create_info(shown.ch_names, shown.sfreq, "eeg")
    head_m = 0.095
    montage = mne.channels.make_dig_montage(
        dict(zip(shown.ch_names, head_m * shown.places, strict=True)), coord_frame="head"
    )
    info.set_montage(montage, verbose="error")
    mne.viz.plot_topomap(
        X[:, at],
        info,
        axes=ax,
        show=False,
        cmap="RdBu_r",
        vlim=(-limit, limit),
        contours=4,
        sphere=head_m,
        sensors="k.",
    )
    ax.tick_params(colors=MUTED)
