"""What `StagingClassifier` checks of its data and keeps of them: signal, classes, class weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from numbers import Integral
from typing import Any

import numpy as np
import torch
from braindecode.augmentation import AugmentedDataLoader
from skorch.utils import is_dataset
from torch import nn
from torch.utils.data import Subset

from eegaug._inputs import Signal, as_windows, check_labels, labels_of, signal_of, window_of
from eegaug._transform_draws import transforms_of
from eegaug._validation import (
    channel_differences,
    check_finite,
    check_sfreq,
    flat_channels,
    flat_message,
    ordered_names,
)
from eegaug._warning import warn
from eegaug.operations import Operation, get_operation

#: What an estimator notes of its data and of its seed.
OF_DATA = ("signal_", "preprocessing_", "classes_inferred_", "class_weights_", "seed_")


class StagingData:
    """The part of `StagingClassifier` that looks at data."""

    # Those of the windows given that are trained on, where some are kept apart to validate on.
    train_indices_: np.ndarray | None = None

    def _prepare(self, X: Any, y: Any, fresh: bool, classes: Any = None) -> tuple[Any, np.ndarray]:
        """Check the training data and note what the network has to know of them, if it is not known yet."""
        fresh = fresh or not hasattr(self, "signal_")
        if isinstance(self.max_epochs, bool) or not isinstance(self.max_epochs, Integral) or self.max_epochs < 0:
            raise ValueError(f"max_epochs is {self.max_epochs!r}; it is a whole number, 0 or more.")
        if self.classes is not None and len(set(self.classes)) < len(self.classes):
            raise ValueError(f"classes is {list(self.classes)!r}, which names one twice.")
        windows = as_windows(X)
        signal = self._merged_signal(signal_of(X))
        own = labels_of(X)
        if y is None and own is None:
            raise ValueError(
                f"{type(self).__name__} requires y to be passed, but the target y is None, and the windows have no "
                "labels of their own."
            )
        labels = check_labels(own if y is None else y, len(windows), signal.n_windows)
        if y is not None and own is not None and is_dataset(windows):
            own = check_labels(own, len(windows), signal.n_windows)
            if not np.array_equal(own, labels):
                i = int(np.flatnonzero(own != labels)[0])
                was, now = own.ravel()[i].item(), labels.ravel()[i].item()
                raise ValueError(f"window {i} has label {was!r} in the dataset and {now!r} in y: pass y=None.")
        if not is_dataset(windows) and isinstance(windows, (np.ndarray, torch.Tensor)):
            check_finite(windows, signal.ch_names, "the training set")
        flat = _flat_in(windows)
        if flat:
            message = flat_message(flat, signal.ch_names, "the training set")
            raise ValueError(f"{message}: there is nothing to learn from it; leave it out or repair it.")
        observed = np.unique(labels)
        if len(observed) < 2:
            raise ValueError(
                f"the training set has one class only, {observed[0].item()!r}, in all of its {labels.size} windows; "
                "training needs two or more."
            )
        if fresh:
            _warn_of_volts(windows)
            self.signal_ = signal
            self.preprocessing_ = signal.preprocessing
            if classes is not None:
                self.classes_inferred_ = np.unique(np.asarray(classes))
            else:
                self.classes_inferred_ = np.arange(len(classes_of_nights(X))) if is_nights(X) else observed
        else:
            self._refuse(self._compare(signal)[0])
        self._codes(labels)  # refuses labels that are no classes
        if fresh:
            self.class_weights_ = self._class_weights(labels)
        self._check_policy(signal)
        self._check_transforms(signal, labels)
        return windows, labels

    def _merged_signal(self, found: Signal) -> Signal:
        """What the data say and what the parameters say, where they do not contradict each other."""
        names, sfreq = found.ch_names, found.sfreq
        if self.ch_names is not None:
            given = tuple(map(str, ordered_names(self.ch_names)))
            if len(given) != found.n_chans:
                raise ValueError(
                    f"ch_names has {len(given)} names ({', '.join(given)}), the windows have {found.n_chans} channels."
                )
            if names is not None:
                self._refuse(channel_differences(given, names)[0], "ch_names")
            names = given
        if self.sfreq is not None:
            check_sfreq(self.sfreq)
            if sfreq is not None and not np.isclose(sfreq, self.sfreq):
                raise ValueError(f"sfreq={self.sfreq:g} Hz was asked for, the data have {sfreq:g} Hz: resample them.")
            sfreq = float(self.sfreq)
        return replace(found, sfreq=sfreq, ch_names=names)

    def _compare(self, got: Signal) -> tuple[list[str], list[str]]:
        """What of a signal does not fit the trained network, and what is worth a remark."""
        need, wrong, remarks = self.signal_, [], []
        if need.ch_names is not None and got.ch_names is not None:
            wrong, remarks = channel_differences(need.ch_names, got.ch_names)
        if not wrong and got.n_chans != need.n_chans:
            names = f" ({', '.join(need.ch_names)})" if need.ch_names else ""
            wrong.append(f"{got.n_chans} channels, the model needs {need.n_chans}{names}")
        if got.sfreq is not None and need.sfreq is not None and not np.isclose(got.sfreq, need.sfreq):
            wrong.append(f"sampling rate {got.sfreq:g} Hz, the model needs {need.sfreq:g} Hz")
        if got.n_times != need.n_times:
            wrong.append(f"windows of {_length(got)}, the model needs {_length(need)}")
        if need.preprocessing and got.preprocessing:
            for key in sorted(set(need.preprocessing) | set(got.preprocessing)):
                was, now = need.preprocessing.get(key), got.preprocessing.get(key)
                if key != "ch_names" and was != now:
                    remarks.append(f"preprocessing {key} is {now!r}, the model was trained with {was!r}")
        return wrong, remarks

    @staticmethod
    def _refuse(differences: list[str], what: str = "the model") -> None:
        if differences:
            raise ValueError(f"these data do not fit {what}: {'; '.join(differences)}.")

    def check_compatible(self, X: Any) -> list[str]:
        """Say what about some data differs from what the network was trained on.

        Parameters
        ----------
        X : array | mne.Epochs | dataset
            What it is to predict.

        Returns
        -------
        list of str
            One sentence for each difference in channels, their order, sampling rate, window length or preprocessing;
            empty if there is none.
        """
        self.check_is_fitted(["signal_"])
        wrong, remarks = self._compare(signal_of(X))
        return wrong + remarks

    def _check_policy(self, signal: Signal, policy: Any = None) -> None:
        policy = self.policy if policy is None else policy
        if policy is not None and not callable(getattr(policy, "apply", policy)):
            read = f"; read a file with Policy.load({policy!r})" if isinstance(policy, str) else ""
            raise TypeError(f"policy is a {type(policy).__name__}; pass a Policy or a function of a batch{read}.")
        names, sfreq = getattr(policy, "ch_names", None), getattr(policy, "sfreq", None)
        if names is not None and signal.ch_names is not None:
            self._refuse(channel_differences(list(names), signal.ch_names)[0], "the policy")
        elif names is not None and len(names) != signal.n_chans:
            raise ValueError(f"the policy is for {len(names)} channels, the windows have {signal.n_chans}.")
        if sfreq is not None and signal.sfreq is not None and not np.isclose(sfreq, signal.sfreq):
            raise ValueError(f"the policy is for {sfreq:g} Hz, the windows have {signal.sfreq:g} Hz.")

    def _check_transforms(self, signal: Signal, labels: np.ndarray) -> None:
        """Refuse policies and operations for other signals among the transforms of the data loader."""
        loader = self.iterator_train
        if isinstance(loader, type) and issubclass(loader, AugmentedDataLoader) and labels.dtype.kind not in "iufb":
            raise ValueError(
                f"label {labels.ravel()[0].item()!r} is no number, and of others AugmentedDataLoader makes no batches: "
                "pass numbers, such as np.unique(y, return_inverse=True)[1]; policies and operations work without "
                "this loader as policy=…"
            )
        given = vars(self).get("iterator_train__transforms")
        for module in given if isinstance(given, (list, tuple)) else [given]:
            if isinstance(module, nn.Module):
                self._check_module(signal, module)

    def _check_module(self, signal: Signal, module: nn.Module) -> None:
        """Refuse policies and operations for other signals in transforms and augmentation layers."""
        for part in [*module.modules(), *transforms_of(module)]:
            if (policy := getattr(part, "policy", None)) is not None:
                self._check_policy(signal, policy)
        for operation in _operations_in(module):
            get_operation(operation, sfreq=signal.sfreq, ch_names=signal.ch_names)

    def _warn_of_strengths(self, windows: Any) -> None:
        """Say so where noise is meant for standardised windows, and the first is none, or masks are longer than it."""
        given = vars(self).get("iterator_train__transforms")
        policies = [self.policy, *getattr(getattr(self, "variants_", None), "policies", ())]
        used: list[Operation] = []
        for module in [self.module_, *(given if isinstance(given, (list, tuple)) else [given])]:
            if isinstance(module, nn.Module):
                policies += [getattr(part, "policy", None) for part in transforms_of(module)]
                used += _operations_in(module)
        used += [operation for policy in policies for operation in getattr(policy, "operations", ())]
        n_times = self.signal_.n_times
        long = next((one for one in used if one.unit == "samples" and one.max_strength > n_times), None)
        if long is not None:
            warn(
                f"{long.name} masks up to {long.max_strength:g} samples, windows have {n_times}, of which nothing is "
                f"left then: give {type(long).__name__}(max_strength=…) in samples, or max_seconds=…, or leave it out"
            )
        weak = next((operation for operation in used if operation.unit == "SD"), None)
        if weak is None or (spread := _spread(windows)) <= _STANDARDISED:
            return
        warn(
            f"windows have a standard deviation of {spread:.2g}, and the strength of {weak.name} is in their unit, "
            f"{weak.max_strength:g} at most, which does next to nothing: standardise the windows (subtract the mean of "
            f"each channel, divide by its standard deviation), or give {type(weak).__name__}(max_strength=…) in that "
            "unit"
        )

    # Classes ---------------------------------------------------------------------------------------------------------

    def _codes(self, y: Any) -> torch.Tensor | tuple:
        """Labels as the network numbers them, 0 to n_classes - 1."""
        if isinstance(y, (tuple, list)) and len(y) == 3:  # mixed-up targets of braindecode: (y_a, y_b, lambda)
            return self._codes(y[0]), self._codes(y[1]), y[2]
        classes = self.classes_
        if isinstance(y, torch.Tensor):
            if y.device.type != "cpu" and np.array_equal(classes, np.arange(len(classes))):
                return y
            y = y.cpu().numpy()
        y = np.asarray(y)
        order = np.argsort(classes)
        place = np.searchsorted(classes, y, sorter=order).clip(max=len(classes) - 1)
        codes = order[place]
        strange = classes[codes] != y
        if np.any(strange):
            raise ValueError(
                f"label {y[strange][0].item()!r} ({int(np.sum(strange))} windows) is none of the classes "
                f"{classes.tolist()}: drop these windows, or pass classes=… with all labels there are."
            )
        return torch.from_numpy(codes.astype(np.int64))

    def get_split_datasets(self, X: Any, y: Any = None, **fit_params: Any) -> tuple[Any, Any]:
        """Training and validation data; balanced weights of the classes are those of the first."""
        train, valid = super().get_split_datasets(X, y, **fit_params)
        part = isinstance(train, Subset) and train is not X and y is not None and len(train.dataset) == len(y)
        self.train_indices_ = np.asarray(train.indices) if part else None
        if part and getattr(self, "starting_", False):
            self.class_weights_ = self._class_weights(np.asarray(y)[self.train_indices_])
            if self.weighs_classes_:
                self.criterion_.weight.copy_(torch.as_tensor(self.class_weights_))
        return train, valid

    def _class_weights(self, labels: np.ndarray) -> np.ndarray | None:
        classes = self.classes_
        if self.class_weight is None:
            return None
        if isinstance(self.class_weight, str):
            if self.class_weight != "balanced":
                raise ValueError(f"class_weight is {self.class_weight!r}; use 'balanced', None or {{label: weight}}.")
            counts = np.bincount(self._codes(labels).numpy().ravel(), minlength=len(classes))
            # A class that never occurs has no loss to weigh.
            return np.where(counts > 0, labels.size / ((counts > 0).sum() * np.maximum(counts, 1)), 1.0)
        if not isinstance(self.class_weight, Mapping):
            raise TypeError(f"class_weight is a {type(self.class_weight).__name__}; use 'balanced', None or a dict.")
        known = classes.tolist()
        strange = [label for label in self.class_weight if label not in known]
        if strange:
            raise ValueError(f"class_weight names {strange[0]!r}, which is none of the classes {known}.")
        weights = np.array([self.class_weight.get(label, 1.0) for label in known], dtype=float)
        if not np.isfinite(weights).all() or (weights <= 0).any():
            raise ValueError(
                f"class_weight is {dict(self.class_weight)}; weights are above 0. Leave windows of a class out of the "
                "data to train without it: a batch of nothing else would have no mean loss."
            )
        return weights


# Above this standard deviation windows were not standardised.
_STANDARDISED = 5.0


def _operations_in(module: nn.Module) -> list[Operation]:
    """The operations of a transform, of augmentation layers, or of a network that has some."""
    found = []
    for part in [*module.modules(), *transforms_of(module)]:
        several = getattr(part, "operations", ())
        found += [getattr(part, "operation", None), *(several if isinstance(several, list) else ())]
    return [operation for operation in found if isinstance(operation, Operation)]


def _spread(windows: Any) -> float:
    """Standard deviation of the first window, of its channel that has the largest."""
    first = window_of(windows[0])
    first = first.detach().cpu().numpy() if isinstance(first, torch.Tensor) else np.asarray(first)
    return float(first.std(-1).max())


def _warn_of_volts(windows: Any) -> None:
    """Say so where the first window is so small that it must be in volts or tesla: nothing is learned from it."""
    spread = _spread(windows)
    if 0 < spread < 1e-3:
        warn(
            f"windows have a standard deviation of {spread:.1g}: they seem to be in volts or, of MEG, in tesla, from "
            "which a network hardly learns; standardise them, or multiply volts by 1e6 (µV)"
        )


def _flat_in(windows: Any) -> list[int]:
    """Channels that are constant in all windows; of a dataset, as many windows are read as it takes to know."""
    if isinstance(windows, (np.ndarray, torch.Tensor)):
        return flat_channels(windows)
    if is_nights(windows):  # checked night by night when they were stored
        return []
    flat: set[int] | None = None
    for i in np.unique(np.linspace(0, len(windows) - 1, 64).astype(int)):
        now = set(flat_channels(torch.as_tensor(window_of(windows[int(i)]))[None]))
        flat = now if flat is None else flat & now
        if not flat:
            break
    return sorted(flat or ())


def is_nights(X: Any) -> bool:
    from eegaug.data import NightDataset, Nights

    return isinstance(X, (Nights, NightDataset)) or (isinstance(X, torch.utils.data.Subset) and is_nights(X.dataset))


def classes_of_nights(X: Any) -> tuple[str, ...]:
    """Names of all classes of nights, also of those of which there is no window."""
    return classes_of_nights(X.dataset) if isinstance(X, Subset) else X.classes


def _length(signal: Signal) -> str:
    seconds = f" ({signal.n_times / signal.sfreq:g} s)" if signal.sfreq else ""
    return f"{signal.n_times} samples{seconds}"
