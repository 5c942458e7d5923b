"""What estimators read off their input, whatever its kind: arrays, epochs, braindecode datasets, nights."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from mne import BaseEpochs
from mne.io import BaseRaw
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d
from skorch.helper import SliceDataset
from skorch.utils import is_dataset
from torch.utils.data import ConcatDataset, Subset

from eegaug._validation import _channel, all_finite, check_windows, non_finite_sample


@dataclass(frozen=True)
class Signal:
    """Shape and origin of windows.

    Parameters
    ----------
    n_chans, n_times : int
        Channels and samples of a window.
    sfreq : float or None
        Sampling rate in Hz, where it is known.
    ch_names : tuple of str or None
        Channels in order, where they are known.
    preprocessing : dict or None
        How the windows were made, where the data say so.
    n_windows : int or None
        Windows of a sequence; None where each window stands for itself.
    """

    n_chans: int
    n_times: int
    sfreq: float | None = None
    ch_names: tuple[str, ...] | None = None
    preprocessing: dict | None = field(default=None, compare=False)
    n_windows: int | None = field(default=None, compare=False)


def as_windows(X: Any) -> Any:
    """Epochs as an array in µV, lists as arrays; datasets, arrays and tensors as they are.

    Raises
    ------
    TypeError
        If it is a recording or the name of a file.
    ValueError
        If the windows are not (n, channels, times) or (n, windows, channels, times) numbers, or there is none.
    """
    if isinstance(X, (BaseRaw, str, os.PathLike)):
        what = "a whole recording" if isinstance(X, BaseRaw) else "the name of a file"
        raise TypeError(
            f"X is {what} ({type(X).__name__}), not windows: eegaug.data.load_nights makes nights of files with "
            "hypnograms, mne.make_fixed_length_epochs makes epochs, and eegaug.stage takes a recording and a model."
        )
    if isinstance(X, BaseEpochs):
        X = _microvolts(X)
    elif is_list_of_epochs(X):
        X = np.concatenate([_microvolts(one) for one in X])
    if isinstance(X, SliceDataset) or is_dataset(X):
        if len(X) == 0:
            raise ValueError("the dataset has no window.")
        return X
    return check_windows(X)


# Kinds of channels that MNE keeps in volts.
_VOLTS = ("eeg", "eog", "emg", "ecg", "bio", "ecog", "seeg", "dbs")


def _microvolts(epochs: BaseEpochs) -> np.ndarray:
    """Epochs as an array; what is measured in other units than volts stays as it is."""
    return epochs.get_data(units={kind: "uV" for kind in set(epochs.get_channel_types()) if kind in _VOLTS})


def is_list_of_epochs(X: Any) -> bool:
    """What scikit-learn makes of epochs when it splits them."""
    return isinstance(X, (list, tuple)) and len(X) > 0 and all(isinstance(one, BaseEpochs) for one in X)


def signal_of(X: Any) -> Signal:
    """Shape, sampling rate and channels of any supported input."""
    if is_list_of_epochs(X):
        found = [signal_of(one) for one in X]
        other = next((one for one in found if one != found[0]), None)
        if other is not None:
            raise ValueError(f"the epochs of the list differ: {found[0]} and {other}.")
        return found[0]
    if isinstance(X, BaseEpochs):
        return Signal(len(X.ch_names), len(X.times), float(X.info["sfreq"]), tuple(X.ch_names))
    if isinstance(X, SliceDataset):
        return signal_of(X.dataset)
    if not is_dataset(X):
        X = check_windows(X)
        return Signal(int(X.shape[-2]), int(X.shape[-1]), n_windows=int(X.shape[1]) if X.ndim == 4 else None)
    first = window_of(X[0])
    if getattr(first, "ndim", 0) not in (2, 3):
        raise ValueError(
            f"a window of the dataset has shape {tuple(getattr(first, 'shape', ()))}; it should be (channels, times), "
            "or (windows, channels, times) for a sequence."
        )
    ch_names, sfreq = _recording_info(X)
    preprocessing = getattr(_whole(X), "preprocessing", None)
    return Signal(
        int(first.shape[-2]),
        int(first.shape[-1]),
        sfreq,
        ch_names,
        dict(preprocessing) if preprocessing else None,
        n_windows=int(first.shape[0]) if first.ndim == 3 else None,
    )


def window_of(item: Any) -> Any:
    """The window of an item of a dataset, which may have its label beside it."""
    return item[0] if isinstance(item, (tuple, list)) else item


def _whole(dataset: Any) -> Any:
    """The dataset that a subset is one of."""
    return _whole(dataset.dataset) if isinstance(dataset, Subset) else dataset


def _recording_info(dataset: Any) -> tuple[tuple[str, ...] | None, float | None]:
    """Channel names and sampling rate that a dataset knows of."""
    if isinstance(dataset, Subset):
        return _recording_info(dataset.dataset)
    if getattr(dataset, "ch_names", None) is not None:
        sfreq = getattr(dataset, "sfreq", None)
        return tuple(dataset.ch_names), None if sfreq is None else float(sfreq)
    if isinstance(dataset, ConcatDataset):
        found = [_recording_info(d) for d in dataset.datasets]
        for i, info in enumerate(found[1:], start=1):
            if info != found[0]:
                raise ValueError(
                    f"recording {i} of the dataset has channels and rate {info}, recording 0 has {found[0]}: "
                    "pick the same channels in the same order, and resample."
                )
        return found[0]
    for attribute in ("windows", "raw"):
        info = getattr(getattr(dataset, attribute, None), "info", None)
        if info is not None:
            return tuple(info["ch_names"]), float(info["sfreq"])
    return None, None


def count_windows(X: Any) -> int:
    """Number of windows, or of sequences of windows, of any supported input."""
    if isinstance(X, BaseEpochs):
        return len(X.drop_bad(verbose="error"))  # of epochs that have not been read, MNE knows no number
    return sum(map(count_windows, X)) if is_list_of_epochs(X) else len(X)


def labels_of(X: Any) -> np.ndarray | None:
    """Labels that a dataset holds, without reading a window where it can be helped; None for plain arrays."""
    if isinstance(X, BaseEpochs):
        return np.asarray(X.drop_bad(verbose="error").events[:, 2])
    if is_list_of_epochs(X):
        return np.concatenate([labels_of(one) for one in X])
    if isinstance(X, SliceDataset) or not is_dataset(X):
        return None
    if isinstance(X, Subset):
        inner = labels_of(X.dataset)
        return None if inner is None else inner[np.asarray(X.indices)]
    y = getattr(X, "y", None)
    if y is not None and not callable(y):
        return np.asarray(y)
    if isinstance(X, ConcatDataset):
        if hasattr(X, "get_metadata") and all(getattr(d, "targets_from", None) == "metadata" for d in X.datasets):
            y = X.get_metadata()["target"].to_numpy()
            transform = getattr(X, "target_transform", None)
            return y if transform is None else np.asarray([transform(v) for v in y])
        parts = [labels_of(d) for d in X.datasets]
        return None if any(p is None for p in parts) else np.concatenate(parts)
    # No shorter way: every item is looked at once.
    return np.asarray([np.asarray(X[i][1]).tolist() for i in range(len(X))])


def check_labels(y: Any, n_windows: int, per_sequence: int | None = None) -> np.ndarray:
    """Labels as an array of integers or strings: one for each window.

    Parameters
    ----------
    y : array-like
    n_windows : int
        Windows, or sequences of windows.
    per_sequence : int or None
        Windows of a sequence; the labels then have shape (n_windows, per_sequence), or (n_windows,): one for each.

    Raises
    ------
    ValueError
        For another length or shape, missing labels, or values that are no classes.
    """
    if isinstance(y, torch.Tensor):
        y = y.detach().cpu().numpy()
    y = np.asarray(y)
    if y.dtype == object:
        if any(v is None or (isinstance(v, float) and np.isnan(v)) for v in y.ravel()):
            raise ValueError("y has missing labels (None or NaN): drop the windows without a label.")
        y = np.asarray(y.tolist())
    if per_sequence is not None and y.shape != (n_windows,):
        return _check_sequence_labels(y, (n_windows, per_sequence))
    if y.ndim == 2 and y.shape[1] == 1:
        y = column_or_1d(y, warn=True)
    if y.ndim != 1:
        raise ValueError(f"y has shape {y.shape}; there is one label per window, shape ({n_windows},).")
    if len(y) != n_windows:
        raise ValueError(f"X has {n_windows} windows and y has {len(y)} labels.")
    if y.dtype.kind == "f" and not np.isfinite(y).all():
        raise ValueError(f"label {int(np.flatnonzero(~np.isfinite(y))[0])} of y is not a number.")
    check_classification_targets(y)
    return y.astype(np.int64) if y.dtype.kind == "f" else y


def _check_sequence_labels(y: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    if y.shape != shape:
        raise ValueError(
            f"y has shape {y.shape}; {shape[0]} sequences of {shape[1]} windows call for one label per window, "
            f"{shape}, or one per sequence, ({shape[0]},)."
        )
    if y.dtype.kind not in "iu":
        raise ValueError(f"y holds {y.dtype}; labels of sequences are integers, for instance 0 to 4 for W to REM.")
    return y.astype(np.int64)


def recording_of(dataset: Any, index: int) -> str:
    """Where a window of a dataset comes from, in words; empty where the dataset does not say."""
    if isinstance(dataset, Subset):
        return recording_of(dataset.dataset, int(dataset.indices[index]))
    if isinstance(dataset, ConcatDataset):
        which = int(np.searchsorted(dataset.cumulative_sizes, index, side="right"))
        local = index - (int(dataset.cumulative_sizes[which - 1]) if which else 0)
        one = dataset.datasets[which]
        inner = recording_of(one, local)
        return inner or f"window {local} of recording {which}"
    description = getattr(dataset, "description", None)
    if description is None:
        return ""
    words = ", ".join(f"{k} {description[k]}" for k in ("recording", "subject", "night", "session") if k in description)
    return f"window {index} of {words}" if words else ""


def non_finite_message(dataset: Any, ch_names: Sequence[str] | None) -> str | None:
    """Look for the first NaN or infinite sample of a dataset: a sentence naming it, or None."""
    for i in range(len(dataset)):
        found = non_finite_sample(window_of(dataset[i]))
        if found is not None:
            channel, time, value = found
            origin = recording_of(dataset, i)
            return (
                f"window {i}{f' ({origin})' if origin else ''} has the value {value} at sample {time} of channel "
                f"{_channel(channel, ch_names)}: drop or repair such windows first."
            )
    return None


class WindowLoader:
    """Batches ``(X, y)`` of a data loader: checked, float32, without crop indices, labels as given.

    Parameters
    ----------
    net : estimator
        Told the crop indices of the last batch, as braindecode's callbacks for cropped training expect.
    loader : torch.utils.data.DataLoader
        Yields ``(X, y)`` or ``(X, y, crop indices)``.
    shape : tuple of int or None
        (channels, times) that windows must have, alone or in sequences.
    ch_names : sequence of str or None
        For errors.
    keep_rng : bool
        Leave torch's global random state as it was, of which a data loader draws a seed for its workers.
    """

    def __init__(
        self,
        net: Any,
        loader: Any,
        shape: tuple[int, int] | None,
        ch_names: Sequence[str] | None,
        keep_rng: bool = False,
    ):
        self.net = net
        self.keep_rng = keep_rng
        self.loader = loader
        self.shape = shape
        self.ch_names = ch_names

    def __getattr__(self, name: str) -> Any:
        if name == "loader":
            raise AttributeError(name)
        return getattr(self.loader, name)

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[tuple[torch.Tensor, Any]]:
        with torch.random.fork_rng(devices=[]) if self.keep_rng else nullcontext():
            batches = iter(self.loader)
        for batch in batches:
            X, y = batch[0], batch[1]
            if len(batch) > 2:
                self.net._last_window_inds_ = batch[2]
            if not isinstance(X, torch.Tensor):
                raise TypeError(f"a batch of windows is a {type(X).__name__}; the data loader should give tensors.")
            if self.shape is not None and tuple(X.shape[-2:]) != tuple(self.shape):
                raise ValueError(
                    f"a batch has windows of shape {tuple(X.shape[-2:])} (channels, times); "
                    f"the model takes {tuple(self.shape)}."
                )
            # On the host, where the batch still is: the check costs the accelerator nothing.
            if X.device.type == "cpu" and X.is_floating_point() and not all_finite(X):
                raise ValueError(
                    non_finite_message(self.loader.dataset, self.ch_names)
                    or "a batch has NaN or infinite samples that the data set itself has not: look at its transforms."
                )
            yield X.to(torch.float32), _labels(y)


def _labels(y: Any) -> Any:
    if isinstance(y, torch.Tensor):
        return y if y.dtype == torch.int64 else y.to(torch.int64)
    if isinstance(y, (tuple, list)) and len(y) and isinstance(y[0], str):
        return np.asarray(y)
    return y
