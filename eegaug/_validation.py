"""Checks of what enters an estimator: shapes, finite samples, flat channels, channel names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from contextlib import contextmanager
from numbers import Real
from typing import Any

import numpy as np
import torch

# Samples looked at in one go: small enough to stay in cache and to cost no memory, large enough to be quick.
_CHUNK = 1 << 20


def check_windows(X: Any) -> Any:
    """Return `X` as an array or tensor of windows (n, channels, times), or sequences of windows, of numbers.

    Parameters
    ----------
    X : array-like or torch.Tensor
        Windows (n, channels, times), or sequences of them (n, windows, channels, times).

    Returns
    -------
    numpy.ndarray or torch.Tensor
        `X` itself where it is one already; nothing is copied but what torch cannot take as it is: bfloat16, arrays
        that run backwards, those of another machine's byte order, and those of more than 64 bits.

    Raises
    ------
    ValueError
        If it has neither three nor four dimensions, is empty, does not hold numbers, or masks some.
    """
    if not isinstance(X, (np.ndarray, torch.Tensor)):
        if isinstance(X, (list, tuple)) and len(X) and isinstance(X[0], tuple):
            raise ValueError(
                "X is a list of (window, label, …), which is what scikit-learn makes of a dataset when it splits "
                "it: give it skorch.helper.SliceDataset(dataset) instead."
            )
        X = np.asarray(X)
    if np.ma.is_masked(X):
        raise ValueError(
            f"X is a masked array, of which {np.ma.count_masked(X)} samples are masked, and a network sees them "
            "all: drop or repair windows with such samples first, or pass X.data."
        )
    if X.dtype == object:
        X = X.astype(np.float64)
    numeric = X.dtype.is_floating_point if isinstance(X, torch.Tensor) else X.dtype.kind in "fiu"
    if isinstance(X, torch.Tensor) and not numeric:
        numeric = not (X.dtype.is_complex or X.dtype == torch.bool)
    if not numeric:
        complex_data = "Complex data not supported: " if "complex" in str(X.dtype) else ""
        raise ValueError(f"{complex_data}X holds {X.dtype}; windows are real numbers, e.g. float32 in µV.")
    if isinstance(X, torch.Tensor) and X.dtype == torch.bfloat16:  # which NumPy does not know
        X = X.float()
    if isinstance(X, np.ndarray) and (not X.dtype.isnative or X.dtype.itemsize > 8 or min(X.strides, default=0) < 0):
        X = np.array(X, dtype=np.float64 if X.dtype.itemsize > 8 else X.dtype.newbyteorder("="), order="C")
    if X.ndim not in (3, 4):
        raise ValueError(
            f"X has shape {tuple(X.shape)}; windows have three dimensions (windows, channels, times)"
            + (
                ": for a single window pass X[None]."
                if X.ndim == 2
                else ", sequences of windows four (sequences, windows, channels, times)."
            )
        )
    if 0 in X.shape:
        raise ValueError(f"X has shape {tuple(X.shape)}: there is no sample in it.")
    return X


def check_number(name: str, value: Any, fits: Callable[[Any], bool], words: str) -> None:
    """Refuse what is no number, or none that fits.

    Raises
    ------
    ValueError
    """
    if not isinstance(value, Real) or not fits(value):
        raise ValueError(f"{name} is {value!r}; {words}.")


def check_count(name: str, value: Any, least: int = 1) -> int:
    """A whole number of at least `least`, as Python's own.

    Raises
    ------
    ValueError
        Of anything else.
    """
    if isinstance(value, bool) or not isinstance(value, Real) or not value >= least or value % 1:
        raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}.")
    return int(value)


def check_sfreq(sfreq: Any) -> None:
    """Refuse what is no sampling rate.

    Raises
    ------
    ValueError
    """
    if isinstance(sfreq, bool) or not isinstance(sfreq, Real) or not 0 < sfreq < np.inf:
        raise ValueError(f"sfreq is {sfreq!r} Hz; it has to be a number above 0.")


def ordered_names(ch_names: Any) -> tuple[str, ...]:
    """Channel names as a tuple, in the order of the signal's channels.

    Raises
    ------
    TypeError
        If they are no list, or in no order.
    """
    # An iterator would be empty where the names are needed again.
    if isinstance(ch_names, (str, Set, Iterator)) or not isinstance(ch_names, Iterable):
        kind = "string" if isinstance(ch_names, str) else type(ch_names).__name__
        raise TypeError(
            f"ch_names must be a list of channel names, got the {kind} {ch_names!r}"
            + (", which has no order" if isinstance(ch_names, Set) else "")
        )
    return tuple(ch_names)


def _chunks(X: np.ndarray | torch.Tensor) -> Iterator[tuple[int, np.ndarray]]:
    """Parts of the windows (n, channels, times), each with the number of its first window."""
    step = max(1, _CHUNK // max(1, X.shape[1] * X.shape[2]))
    for start in range(0, len(X), step):
        chunk = X[start : start + step]
        yield start, chunk.detach().cpu().numpy() if isinstance(chunk, torch.Tensor) else np.asarray(chunk)


def all_finite(x: np.ndarray | torch.Tensor) -> bool:
    """Whether every sample is finite; a sum that is finite saves the look at each of them."""
    if isinstance(x, torch.Tensor):
        return bool(torch.isfinite(x.sum())) or bool(torch.isfinite(x).all())
    if x.dtype.kind != "f":
        return True
    with np.errstate(over="ignore", invalid="ignore"):
        total = np.add.reduce(x, axis=None)
    return bool(np.isfinite(total)) or bool(np.isfinite(x).all())


def non_finite_sample(window: np.ndarray | torch.Tensor) -> tuple[int, int, str] | None:
    """Channel, time and name of the first NaN or infinite sample of windows (…, channels, times), or None."""
    window = window.detach().cpu().numpy() if isinstance(window, torch.Tensor) else np.asarray(window)
    if window.dtype.kind != "f" or np.isfinite(window).all():
        return None
    first = tuple(np.argwhere(~np.isfinite(window))[0])
    channel, time = first[-2:]
    value = float(window[first])
    return int(channel), int(time), "NaN" if np.isnan(value) else str(value)


def check_finite(X: np.ndarray | torch.Tensor, ch_names: Sequence[str] | None = None, name: str = "X") -> None:
    """Refuse NaN and infinite samples.

    Raises
    ------
    ValueError
        Naming the first window, channel and sample, and how many windows are affected.
    """
    bad, per_sequence = [], X.shape[1] if X.ndim == 4 else None
    X = X.reshape(-1, *X.shape[-2:])
    for start, chunk in _chunks(X):
        if not all_finite(chunk):
            bad += (start + np.flatnonzero(~np.isfinite(chunk).all(axis=(1, 2)))).tolist()
    if not bad:
        return
    channel, time, value = non_finite_sample(X[bad[0]])
    more = f" ({len(bad)} of {len(X)} windows have such samples)" if len(bad) > 1 else ""
    where = f"window {bad[0]}"
    if per_sequence is not None:
        where = f"window {bad[0] % per_sequence} of sequence {bad[0] // per_sequence}"
    raise ValueError(
        f"{where} of {name} has the value {value} at sample {time} of channel "
        f"{_channel(channel, ch_names)}{more}: drop or repair such windows first."
    )


def _channel(index: int, ch_names: Sequence[str] | None) -> str:
    return repr(ch_names[index]) if ch_names is not None and index < len(ch_names) else str(index)


def flat_channels(X: np.ndarray | torch.Tensor) -> list[int]:
    """Channels that are constant in every window of `X`, shape (…, channels, times)."""
    X = X.reshape(-1, *X.shape[-2:])
    flat = np.ones(X.shape[1], dtype=bool)
    for _, chunk in _chunks(X):
        flat &= (chunk.max(axis=2) == chunk.min(axis=2)).all(axis=0)
        if not flat.any():
            break
    return np.flatnonzero(flat).tolist()


def flat_message(flat: Sequence[int], ch_names: Sequence[str] | None, name: str = "X") -> str:
    """One sentence about flat channels."""
    who = ", ".join(_channel(i, ch_names) for i in flat)
    return (
        f"channel{'s' if len(flat) > 1 else ''} {who} of {name} {'are' if len(flat) > 1 else 'is'} flat in every window"
    )


def _plain_name(name: str) -> str:
    text = str(name).strip().lower()
    return text[4:].strip() if text.startswith("eeg ") else text


def _electrode(name: str) -> str:
    """Electrode that a channel name stands for, or the name itself where it is none that is known."""
    from eegaug.montage import electrode_or_none

    electrode = electrode_or_none(name)
    return _plain_name(name) if electrode is None else electrode.lower()


def channel_differences(expected: Sequence[str], got: Sequence[str]) -> tuple[list[str], list[str]]:
    """Compare two lists of channel names, by electrode: "EEG C3-A2" is C3.

    Parameters
    ----------
    expected, got : sequence of str
        What is needed and what is there.

    Returns
    -------
    differences : list of str
        Sentences about channels that are missing, more than needed, or in another order. Empty if they agree.
    remarks : list of str
        Sentences about the same electrodes under other names, such as another reference.
    """
    expected, got = list(expected), list(got)
    want, have = [_electrode(n) for n in expected], [_electrode(n) for n in got]
    differences, remarks = [], []
    missing = [n for n, e in zip(expected, want, strict=True) if e not in have]
    extra = [n for n, e in zip(got, have, strict=True) if e not in want]
    if missing:
        differences.append(f"channels missing: {', '.join(missing)} (there are {', '.join(got)})")
    if extra:
        differences.append(f"channels not known to the model: {', '.join(extra)}")
    if not differences and want != have:
        if sorted(want) == sorted(have):
            differences.append(f"channel order is {', '.join(got)}, the model needs {', '.join(expected)}")
        else:
            differences.append(f"channels are {', '.join(got)}, the model needs {', '.join(expected)}")
    if not differences:
        renamed = [f"{b} for {a}" for a, b in zip(expected, got, strict=True) if _plain_name(a) != _plain_name(b)]
        if renamed:
            remarks.append(f"the same electrodes under other names ({', '.join(renamed)}): is the reference the same?")
    return differences, remarks


@contextmanager
def naming_a_batch_of_one(batch_size: int) -> Iterator[None]:
    """Say what it is, and what to do, where a network cannot be trained with the last batch of an epoch."""
    try:
        yield
    except ValueError as error:
        if "Expected more than 1 value per channel" not in str(error):
            raise
        raise ValueError(
            "a batch of one window is left at the end of an epoch, and a layer of the network normalises over the "
            f"windows of a batch (batch_size is {batch_size}). Leave it out, with the estimator's "
            "iterator_train__drop_last=True, or take another batch_size."
        ) from error
