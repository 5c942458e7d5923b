"""What `StagingClassifier` predicts, once the input is checked against the windows it was trained on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from sklearn.metrics import accuracy_score
from torch import nn

from eegaug._inputs import as_windows, check_labels, count_windows, labels_of, signal_of
from eegaug._staging_data import is_nights
from eegaug._validation import flat_channels, flat_message
from eegaug._warning import warn


class StagingPrediction:
    """The part of `StagingClassifier` that predicts: a mixin before braindecode's estimator."""

    def forward_iter(self, X: Any, training: bool = False, device: str = "cpu") -> Iterator[torch.Tensor]:
        """Outputs of the network, batch by batch, once the input is checked."""
        self.check_is_fitted()
        windows = as_windows(X)
        if self._known_signal() is not None:
            wrong, remarks = self._compare(signal_of(X))
            self._refuse(wrong)
            for remark in remarks:
                warn(f"{remark}.")
            if isinstance(windows, (np.ndarray, torch.Tensor)) and (flat := flat_channels(windows)):
                warn(f"{flat_message(flat, self.signal_.ch_names)}: look at the electrode.")
        yield from super().forward_iter(windows, training=training, device=device)

    def _get_predict_nonlinearity(self) -> Callable:
        found = super()._get_predict_nonlinearity()
        # What the network gives are logits, whatever the loss; skorch takes their softmax for a cross-entropy alone,
        # and over the last axis, which in sequences is that of the windows.
        criterion = getattr(self, "criterion_", None)
        own = isinstance(getattr(criterion, "_orig_mod", criterion), (nn.BCELoss, nn.BCEWithLogitsLoss))
        return found if own or self.predict_nonlinearity != "auto" else partial(torch.softmax, dim=1)

    def predict(self, X: Any) -> np.ndarray:
        """Labels of windows, as they were given to ``fit``: the class of highest probability.

        Of sequences, shape (n_sequences, n_windows); :meth:`predict_proba` then has shape (n_sequences, n_classes,
        n_windows).
        """
        proba = self.predict_proba(X)  # first: says so if it is not fitted
        if not np.isfinite(proba).all():
            warn(
                f"the network's answer is not a number where this predicts {self.classes_[0]}: its training has "
                "diverged, or windows have extreme values."
            )
        return self.classes_[proba.argmax(axis=1)]

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Accuracy of :meth:`predict`; ``y=None`` takes the labels of the dataset. Unscored windows do not count."""
        sampler = vars(self).get("iterator_valid__sampler")
        if sampler is None:
            y = labels_of(X) if y is None else y
            if y is None:
                raise ValueError("score requires y to be passed: the windows have no labels of their own.")
            y, predicted = check_labels(y, count_windows(X), signal_of(X).n_windows), self.predict(X)
        else:  # its draws, once for both: another time they may be others
            drawn = list(sampler)
            if y is None:
                dataset = self.get_dataset(X)
                y = [dataset[index][1] for index in drawn]
            y = np.asarray(y)
            self.iterator_valid__sampler = drawn
            try:
                predicted = self.predict(X)
            finally:
                self.iterator_valid__sampler = sampler
        if y.size != predicted.size:
            raise ValueError(f"y has labels of shape {y.shape}, and the network gives answers of {predicted.shape}.")
        y, predicted = y.ravel(), predicted.ravel()
        sample_weight = None if sample_weight is None else np.asarray(sample_weight).ravel()
        if is_nights(X):
            scored = y >= 0
            y, predicted = y[scored], predicted[scored]
            sample_weight = None if sample_weight is None else sample_weight[scored]
        return float(accuracy_score(y, predicted, sample_weight=sample_weight))
