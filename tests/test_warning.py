"""Warnings name the line of the user's own code, whatever lies between."""

import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV, cross_val_score
from small import SFREQ, X, Y, staging

from eegaug.operations import get_operation
from eegaug.policy import Policy
from eegaug.search import RandomSearch

FLAT = np.concatenate([np.zeros_like(X[:, :1]), X[:, 1:]], axis=1)


def predict_flat(predict):
    return lambda: getattr(staging(max_epochs=1).fit(X, Y), predict)(FLAT)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: staging(max_epochs=1).fit(1e-6 * X, Y), "in volts"),
        (lambda: staging(max_epochs=1).partial_fit(1e-6 * X, Y), "in volts"),
        (lambda: cross_val_score(staging(max_epochs=1), 1e-6 * X, Y, cv=2), "in volts"),
        (lambda: GridSearchCV(staging(max_epochs=1), {"lr": [0.1]}, cv=2).fit(1e-6 * X, Y), "in volts"),
        (predict_flat("predict"), "is flat"),
        (predict_flat("predict_proba"), "is flat"),
        (lambda: RandomSearch(staging(), max_steps=1, refit=False, verbose=0).fit(X, Y), "groups is None"),
        (lambda: Policy.uniform(sfreq=SFREQ, ch_names=["C3", "mine"]), "goes without"),
        (lambda: get_operation("channels_symmetry", ch_names=["Fpz"]), "means nothing on this montage"),
    ],
)
def test_points_at_the_caller(call, text, monkeypatch):
    monkeypatch.setattr("eegaug.operations.base._warned", set())
    with pytest.warns(UserWarning, match=text) as caught:
        call()
    assert {(w.filename, w.lineno) for w in caught if text in str(w.message)} == {
        (__file__, call.__code__.co_firstlineno)
    }
