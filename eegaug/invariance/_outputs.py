"""What a fitted classifier of any kind says about windows: logits, features, labels."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from skorch import NeuralNet
from skorch.utils import is_dataset
from torch import Tensor, nn

from eegaug._hooks import evaluating, find_layer, recorded
from eegaug._inputs import Signal, as_windows, signal_of, window_of
from eegaug._precision import widest
from eegaug._staging_data import classes_of_nights, is_nights
from eegaug._trunk import uncompiled_network
from eegaug._validation import channel_differences, check_sfreq, ordered_names
from eegaug.data import STAGES

__all__ = ["features_of", "labels_by", "outputs_of", "signal_for", "stages_in", "windows_array"]

# Probabilities of estimators without logits are not taken for less than this: forests and neighbours give exact zeros.
_FLOOR = 1e-6
_BATCH = 256


def windows_array(X: Any) -> np.ndarray:
    """Windows of any kind as one float32 array (n, channels, times); a dataset is read as a whole.

    Raises
    ------
    ValueError
        If they are not windows, or fewer than two.
    """
    windows = as_windows(X)
    if is_dataset(windows) and not isinstance(windows, (np.ndarray, Tensor)):
        windows = _read(windows)
    elif isinstance(windows, Tensor):
        windows = windows.detach().cpu().numpy()
    windows = np.ascontiguousarray(windows, dtype=np.float32)
    if windows.ndim != 3:
        raise ValueError(f"X has shape {windows.shape}; measures of invariance take windows (n, channels, times).")
    if len(windows) < 2:
        raise ValueError("X has one window; invariance is measured against the difference between windows.")
    return windows


def _read(dataset: Any) -> np.ndarray:
    """Windows of a dataset, each in its place at once: a list of all of them would be as large again."""
    found = np.empty((0,), dtype=np.float32)
    for i in range(len(dataset)):
        window = np.asarray(window_of(dataset[i]))
        if not i:
            found = np.empty((len(dataset), *window.shape), dtype=np.float32)
        found[i] = window
    return found


def signal_for(X: Any, models: Iterable[Any], sfreq: float | None, ch_names: Any) -> dict[str, Any]:
    """Sampling rate and channels: as given, or as the data say, or as the first model that knows was trained on.

    Raises
    ------
    ValueError
        If these contradict each other.
    """
    if sfreq is not None:
        check_sfreq(sfreq)
    if ch_names is not None:
        ch_names = ordered_names(ch_names)
    known = [signal_of(X), *(model.signal_ for model in models if isinstance(getattr(model, "signal_", None), Signal))]
    for place, signal in enumerate(known):
        who = "a model needs" if place else "the data have"
        if sfreq is not None and signal.sfreq is not None and not np.isclose(sfreq, signal.sfreq):
            raise ValueError(f"sfreq is {sfreq:g} Hz, {who} {signal.sfreq:g} Hz.")
        sfreq = signal.sfreq if sfreq is None else sfreq
        known_names = ch_names is not None and signal.ch_names is not None
        if known_names and (wrong := channel_differences(signal.ch_names, ch_names)[0]):
            raise ValueError(f"ch_names are {', '.join(ch_names)}, {who} others: {'; '.join(wrong)}.")
        ch_names = signal.ch_names if ch_names is None else ch_names
    return {"sfreq": sfreq, "ch_names": ch_names}


def outputs_of(model: Any, X: np.ndarray) -> np.ndarray:
    """Logits or log-probabilities of windows, float64 of shape (n, classes).

    Raises
    ------
    TypeError
        If the model is neither a network nor has ``predict_proba``.
    ValueError
        If a network's answers are nan.
    """
    if isinstance(model, (NeuralNet, nn.Module)):
        return np.concatenate([_flat(out) for out in _forward(model, X)])
    if not hasattr(model, "predict_proba"):
        raise TypeError(f"a {type(model).__name__} has no predict_proba: pass a fitted classifier or a network.")
    proba = np.asarray(model.predict_proba(_as_it_takes(model, X)), dtype=np.float64)
    return np.log(np.maximum(proba, _FLOOR))


def features_of(model: Any, X: np.ndarray, layer: str | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Outputs as from :func:`outputs_of`, and features of shape (n, features).

    Features are what `layer` gives, flattened; None: what ``final_layer`` reads, and without one the outputs
    themselves. Where a network is used several times for a window, as by AugNet's copies, they are averaged.
    """
    if not isinstance(model, (NeuralNet, nn.Module)):
        if layer is not None:
            raise ValueError(f"a {type(model).__name__} has no layers; pass layer=None.")
        outputs = outputs_of(model, X)
        return outputs, outputs
    root = uncompiled_network(getattr(model, "module_", model))
    trunk = getattr(root, "trunk", root)
    if layer is not None:
        found, reads = find_layer(trunk if layer in dict(trunk.named_modules()) else root, layer), False
    else:
        found, reads = getattr(root, "final_layer", getattr(trunk, "final_layer", None)), True
    if not isinstance(found, nn.Module):
        outputs = outputs_of(model, X)
        return outputs, outputs
    outputs, features = [], []
    with recorded(found, input=reads) as seen:
        for out in _forward(model, X):
            outputs.append(_flat(out))
            features.append(
                _flat(torch.stack([one.detach().flatten(1).to(widest(one.device)) for one in seen]).mean(0))
            )
            seen.clear()
    return np.concatenate(outputs), np.concatenate(features)


def labels_by(model: Any, X: np.ndarray) -> np.ndarray:
    """Labels that a classifier predicts."""
    if not hasattr(model, "predict"):
        raise TypeError(f"a {type(model).__name__} predicts no labels: pass a fitted classifier.")
    with _silence():
        return np.asarray(model.predict(_as_it_takes(model, X)))


def _forward(model: Any, X: np.ndarray) -> Iterator[Tensor]:
    if isinstance(model, NeuralNet):
        with _silence():
            yield from model.forward_iter(X)
        return
    like = next((p for p in model.parameters() if p.is_floating_point()), torch.empty(0))
    with evaluating(model):
        for start in range(0, len(X), _BATCH):
            with torch.no_grad():
                yield model(torch.from_numpy(X[start : start + _BATCH]).to(like))


def _flat(out: Any) -> np.ndarray:
    out = out[0] if isinstance(out, tuple) else out
    if out.ndim != 2:
        raise ValueError(f"the network gives outputs of shape {tuple(out.shape)}; (batch, classes) is needed.")
    found = out.detach().cpu().double().numpy()
    if np.isnan(found).any():
        raise ValueError("the network's answers are nan: has its training diverged?")
    return found


def _as_it_takes(model: Any, X: np.ndarray) -> np.ndarray:
    """Windows, or rows for an estimator of scikit-learn that was fitted on rows of that many samples."""
    if isinstance(model, NeuralNet) or getattr(model, "n_features_in_", None) != X[0].size:
        return X
    return X.reshape(len(X), -1)


class _silence(warnings.catch_warnings):
    """Remarks about input, such as flat channels, are about what an operation has done on purpose."""

    def __init__(self):
        super().__init__(action="ignore", category=UserWarning)


def stages_in(X: Any, labels: np.ndarray) -> dict[Any, Any]:
    """Labels that occur, by what they are called; of nights without that of windows that nobody scored."""
    found = np.unique(labels)
    if not is_nights(X):
        return {label: label for label in found}
    classes = classes_of_nights(X)
    return {label if classes == STAGES else classes[label]: label for label in found if label >= 0}
