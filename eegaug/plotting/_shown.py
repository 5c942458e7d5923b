"""A window before and after an operation: what the pictures of operations draw."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from eegaug.plotting.colours import FAMILY_COLOURS, INK, in_digits

__all__ = ["Shown"]

#: Draws among which the most telling one is shown.
_N_DRAWS = 32


class Shown:
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
        from eegaug._validation import check_finite
        from eegaug.operations import get_operation

        X = torch.as_tensor(np.asarray(X)) if not isinstance(X, torch.Tensor) else X.detach().cpu()
        X = X if X.is_floating_point() else X.float()
        if X.ndim != 2:
            raise ValueError(f"X has shape {tuple(X.shape)}; one window (channels, times) is due")
        check_finite(X[None])
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
        apart = np.linalg.norm(self.places[:, None] - self.places, axis=-1) + np.eye(len(self.places))
        if apart.min() < 1e-6:
            one, other = (self.ch_names[k] for k in np.unravel_index(apart.argmin(), apart.shape))
            return f"a topography takes channels at different places, {one} and {other} are at one"
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
    strength = in_digits(float(op.physical(magnitude)))
    if op.unit == "probability":
        return f"p = {strength}"
    return f"{fraction}: {strength}{'°' if op.unit == 'degrees' else f' {op.unit}'}"


def _lighter(colour: str, share: float) -> tuple[float, ...]:
    from matplotlib.colors import to_rgb

    return tuple(c + (1 - c) * share for c in to_rgb(colour))
