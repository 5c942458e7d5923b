"""What a search predicts: the labels that the network does which was trained with its policy."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.exceptions import NotFittedError

from eegaug.classifier import StagingClassifier

__all__ = ["PredictsByBest"]


class PredictsByBest(ClassifierMixin):
    """A classifier that predicts by its ``best_estimator_``."""

    def predict(self, X: Any) -> np.ndarray:
        """Labels of windows, by the network that was trained with the policy."""
        return self._fitted().predict(X)

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities of the classes, (n_windows, n_classes)."""
        return self._fitted().predict_proba(X)

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Accuracy of :meth:`predict`; ``y=None`` takes the labels of the dataset."""
        return self._fitted().score(X, y, sample_weight=sample_weight)

    def _fitted(self) -> StagingClassifier:
        if hasattr(self, "best_estimator_"):
            return self.best_estimator_
        reason = "was fitted without a network (refit=False, or it was stopped)" if self.__sklearn_is_fitted__() else ""
        reason = reason or "is not fitted: call fit first"
        raise NotFittedError(f"this {type(self).__name__} {reason}.")

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "policy_")
