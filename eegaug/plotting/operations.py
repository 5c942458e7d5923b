"""What an operation does to a window: signal, spectrum and topography before and after, over magnitudes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from eegaug.plotting.colours import FAMILY_COLOURS, INK, MUTED, new_axes, tidy

__all__ = ["operation_figure", "plot_operation_signal", "plot_operation_spectrum", "plot_operation_topomap"]

MAGNITUDES = (0.25, 0.5, 1.0)
#: Draws among which the most telling one is shown.
_N_DRAWS = 32
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
    shown = _Shown(operation, X, sfreq, ch_names, positions, magnitudes, random_state)
    ax = new_axes(ax, 7.0, 0.8 + 0.55 * len(shown.after))
    _draw_signal(ax, shown, shown.channel(channel), seconds)
    if title:
        ax.set_title(title, fontsize=9, loc="left")
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
    shown = _Shown(operation, X, sfreq, ch_names, positions, magnitudes, random_state)
    ax = new_axes(ax, 3.4, 2.4)
    _draw_spectrum(ax, shown, shown.channel(channel), max_hz)
    ax.legend(fontsize=7, frameon=False, handlelength=1.4, labelspacing=0.3)
    if title:
        ax.set_title(title, fontsize=9, loc="left")
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
    shown = _Shown(operation, X, sfreq, ch_names, positions, [1.0 if magnitude is None else magnitude], random_state)
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
    from matplotlib.figure import Figure

    shown = _Shown(operation, X, sfreq, ch_names, positions, magnitudes, random_state)
    reason = shown.no_topography()
    if topomap and reason is not None:
        raise ValueError(reason)
    maps = bool(topomap) or (topomap is None and shown.operation.family == "sensors" and reason is None)
    index = shown.channel(shown.most_changed() if channel is None else channel)
    height = 0.75 + 0.5 * (1 + len(shown.after))
    figure = Figure(figsize=(7.2, height + (1.55 if maps else 0)), layout="constrained")
    parts = figure.subfigures(2, 1, height_ratios=[height, 1.55]) if maps else [figure]
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
    return figure


class _Shown:
    """A window before and after an operation, and how it is labelled."""

    def __init__(
        self,
        operation: Any,
        X: Any,
        sfreq: float,
        ch_names: Sequence[str] | None,
        positions: Any,
        magnitudes: Sequence[float],
        random_state: Any,
    ):
        import torch

        from eegaug._random import resolve_seed
        from eegaug.operations import get_operation

        X = torch.as_tensor(np.asarray(X)) if not isinstance(X, torch.Tensor) else X.detach().cpu()
        X = X if X.is_floating_point() else X.float()
        if X.ndim != 2:
            raise ValueError(f"X has shape {tuple(X.shape)}; one window (channels, times) is due")
        magnitudes = [float(m) for m in magnitudes]
        if not magnitudes or not all(0 <= m <= 1 for m in magnitudes):
            raise ValueError(f"magnitudes are {magnitudes}; they lie in [0, 1], and there is at least one")
        self.operation = op = get_operation(operation, sfreq=sfreq, ch_names=ch_names, positions=positions)
        self.sfreq, self.positions = float(sfreq), positions
        self.ch_names = list(op.ch_names or ()) if ch_names is None else list(ch_names)
        if self.ch_names and len(self.ch_names) != len(X):
            raise ValueError(f"ch_names has {len(self.ch_names)} names, the window has {len(X)} channels")
        generator = torch.Generator().manual_seed(resolve_seed(random_state))
        noise = op.draw(_N_DRAWS, *X.shape, generator=generator, device="cpu")
        steps = magnitudes if op.has_magnitude else [1.0]
        every = torch.stack([op.apply(X.expand(_N_DRAWS, *X.shape), m, noise) for m in steps]).numpy()
        self.before = X.numpy()
        ranked = _change(self.before, every, self.sfreq).argsort(kind="stable")
        # Of draws that decide who takes part, the most telling would leave nothing of the window.
        self.after = list(every[:, int(ranked[_N_DRAWS // 2 if op.unit == "probability" else -1])])
        self.labels = [_label(op, m) for m in steps]
        shades = np.linspace(0.45, 0.0, len(steps)) if len(steps) > 1 else [0.0]
        self.colours = [_lighter(FAMILY_COLOURS.get(op.family, INK), shade) for shade in shades]

    def channel(self, which: int | str) -> int:
        if isinstance(which, str):
            if which not in self.ch_names:
                raise ValueError(f"there is no channel {which!r}, only {self.ch_names}")
            return self.ch_names.index(which)
        if not -len(self.before) <= which < len(self.before):
            raise ValueError(f"there is no channel {which}, the window has {len(self.before)}")
        return int(which) % len(self.before)

    def most_changed(self) -> int:
        return int(self.changes().sum(1).argmax())

    def changes(self) -> np.ndarray:
        """Squared change of each channel and sample, over all magnitudes."""
        return sum(np.square(after - self.before) for after in self.after)

    def no_topography(self) -> str | None:
        """Why no topography can be drawn, None if it can."""
        from eegaug.montage import electrode_positions

        if len(self.ch_names) < 4:
            return f"a topography takes four channels with names, there are {len(self.ch_names)}"
        try:
            self.places = electrode_positions(self.ch_names, self.positions)
        except ValueError as error:
            return str(error)
        return None

    def instant(self) -> int:
        """The sample at which the channels change most."""
        return int(self.changes().sum(0).argmax())


def _change(before: np.ndarray, after: np.ndarray, sfreq: float) -> np.ndarray:
    """How telling each draw is: change of the signal and of the spectrum, relative, summed over magnitudes.

    The signal's change alone would not do: two seconds after a shift of 0.1 Hz or of 5 Hz nothing is as it was.
    """
    from scipy.signal import welch

    signal = np.square(after - before).sum((2, 3)) / max(float(np.square(before).sum()), 1e-30)
    length = min(before.shape[-1], round(2 * sfreq))
    root = [np.sqrt(welch(x, sfreq, nperseg=length)[1]) for x in (before, after)]
    spectrum = np.abs(root[1] - root[0]).sum((2, 3)) / max(float(root[0].sum()), 1e-30)
    return (np.minimum(signal, 1) + spectrum).sum(0)


def _label(op: Any, magnitude: float) -> str:
    if not op.has_magnitude:
        return "after"
    fraction = {0.25: "¼", 0.5: "½", 0.75: "¾"}.get(magnitude, f"{magnitude:.3g}")
    strength = f"{float(op.physical(magnitude)):.3g}"
    if op.unit == "probability":
        return f"p = {strength}"
    return f"{fraction}: {strength}{'°' if op.unit == 'degrees' else f' {op.unit}'}"


def _lighter(colour: str, share: float) -> tuple[float, ...]:
    from matplotlib.colors import to_rgb

    return tuple(c + (1 - c) * share for c in to_rgb(colour))


def _draw_signal(ax: Any, shown: _Shown, channel: int, seconds: float | None) -> None:
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
    ax.set_xlabel(f"time (s), {name}", fontsize=9)
    tidy(ax, grid=None)
    ax.spines["left"].set_visible(False)
    ax.tick_params(axis="y", length=0)


def _draw_spectrum(ax: Any, shown: _Shown, channel: int, max_hz: float) -> None:
    from scipy.signal import welch

    length = min(shown.before.shape[-1], round(4 * shown.sfreq))

    def decibel(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        freqs, power = welch(x, shown.sfreq, nperseg=length)
        keep = (freqs > 0) & (freqs <= max_hz)
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
    ax.set_xlabel("frequency (Hz)", fontsize=9)
    ax.set_ylabel("power (dB)", fontsize=9)
    tidy(ax)


def _draw_topomap(ax: Any, shown: _Shown, X: np.ndarray) -> None:
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
