"""scikit-learn's own checks of estimators.

They give two-dimensional X, and windows have three dimensions: `Folded` makes each row a window of one channel. What
then remains of scikit-learn's checks and cannot hold is listed with the reason.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import parametrize_with_checks
from torch import nn

from eegaug import AugNetClassifier, StagingClassifier

SKORCH = "skorch's base class does this"
THREE_D = "windows have channels and times, not features"
CANNOT_HOLD = {
    "check_no_attributes_set_in_init": SKORCH,
    "check_set_params": SKORCH,
    "check_n_features_in": THREE_D,
    "check_n_features_in_after_fitting": THREE_D,
    "check_estimators_empty_data_messages": f"{THREE_D}: the error speaks of samples",
    "check_fit2d_1feature": f"{THREE_D}: one sample per window is a flat channel, which is refused as such",
    "check_fit2d_predict1d": f"{THREE_D}: the error names the shape of windows",
}


class Dense(nn.Module):
    def __init__(self, n_times, n_outputs):
        super().__init__()
        self.linear = nn.Linear(n_times, n_outputs)

    def forward(self, X):
        return self.linear(X[:, 0])


def folded(X):
    if sparse.issparse(X):
        raise TypeError("Sparse data was passed, dense windows are needed.")
    X = X if isinstance(X, torch.Tensor) else np.asarray(X)
    return X[:, None] if X.ndim == 2 else X


class Folded(StagingClassifier):
    """Takes rows for windows of one channel."""

    def fit(self, X, y=None, **fit_params):
        return super().fit(folded(X), y, **fit_params)

    def partial_fit(self, X, y=None, classes=None, **fit_params):
        return super().partial_fit(folded(X), y, classes=classes, **fit_params)

    def forward_iter(self, X, training=False, device="cpu"):
        return super().forward_iter(folded(X), training=training, device=device)

    def score(self, X, y=None, sample_weight=None):
        return super().score(folded(X), y, sample_weight)


@parametrize_with_checks(
    [Folded(Dense, max_epochs=30, lr=0.1, batch_size=-1, random_state=0, verbose=0)],
    expected_failed_checks=lambda estimator: CANNOT_HOLD,
)
def test_staging_classifier(estimator, check):
    check(estimator)


WITHOUT_DATA = [
    "check_estimator_cloneable",
    "check_estimator_repr",
    "check_estimator_tags_renamed",
    "check_get_params_invariance",
    "check_mixin_order",
    "check_parameters_default_constructible",
    "check_valid_tag_types",
]


@pytest.mark.parametrize("check", WITHOUT_DATA)
def test_augnet_classifier(check):
    getattr(estimator_checks, check)("AugNetClassifier", AugNetClassifier(verbose=0))
