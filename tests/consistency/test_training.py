"""Training for consistency with what else a training has: checkpoints, early stopping, validation, grid search."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV
from sklearn.utils import estimator_checks
from skorch.callbacks import EarlyStopping
from skorch.dataset import Dataset
from skorch.helper import predefined_split
from small import SFREQ, SmallNet, X, Y, nights, tones

from eegaug import AITClassifier, AugmentationModule, MutualClassifier
from eegaug.checkpoint import TrainingCheckpoint

from .test_classifier import POLICY, ait, same_parameters
from .test_mutual import Linear, mutual


def learned():
    return AugmentationModule([["gaussian_noise", "frequency_shift"]], sfreq=SFREQ)


KINDS = {
    "ait": lambda **settings: ait(**settings),
    "learned": lambda **settings: ait(variants=learned(), penalty=0.5, **settings),
    "mutual": lambda **settings: mutual(modules=[SmallNet, Linear], variants=[learned(), POLICY], **settings),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_training_that_was_stopped_ends_where_it_would_have(kind, tmp_path):
    whole = KINDS[kind](max_epochs=4).fit(X, Y)
    KINDS[kind](max_epochs=2, callbacks=[TrainingCheckpoint(tmp_path / "t.pt")]).fit(X, Y)
    again = KINDS[kind](max_epochs=4, callbacks=[TrainingCheckpoint(tmp_path / "t.pt")]).fit(X, Y)
    assert same_parameters(again.module_, whole.module_)
    assert again.history[:, "train_consistency"] == whole.history[:, "train_consistency"]
    assert again.n_forward_backward_ == whole.n_forward_backward_
    with pytest.raises(ValueError, match="consistency was"):
        KINDS[kind](consistency=9.0, max_epochs=4, callbacks=[TrainingCheckpoint(tmp_path / "t.pt")]).fit(X, Y)


@pytest.mark.parametrize("kind", KINDS)
def test_validation_is_of_windows_as_they_are(kind):
    valid = tones(24, seed=1)
    stopping = EarlyStopping("valid_loss", patience=2, load_best=True, sink=str)
    clf = KINDS[kind](train_split=predefined_split(Dataset(*valid)), callbacks=[stopping]).fit(X, Y)
    proba = clf.predict_proba(valid[0])
    expected = -np.log(proba[np.arange(24), valid[1]]).mean()
    assert min(clf.history[:, "valid_loss"]) == pytest.approx(expected, rel=1e-4)


def test_nights_are_read_batch_by_batch():
    clf = AITClassifier(SmallNet, max_epochs=1, random_state=0, verbose=0).fit(nights())
    assert clf.signal_.sfreq == SFREQ  # the fixed policy is made for the signal that the data say
    assert clf.predict_proba(nights()).shape == (48, 5)


def test_built_before_there_are_data():
    clf = ait(variants="fixed", classes=[0, 1, 2], module__n_chans=4, module__n_outputs=3).initialize()
    assert clf.partial_fit(X, Y).history[-1, "train_consistency"] > 0


def test_grid_search_over_what_training_is_about():
    grid = {"consistency": [0.0, 1.0], "variants": ["fixed", learned()]}
    search = GridSearchCV(ait(max_epochs=1), grid, cv=2).fit(X, Y)
    assert len(search.cv_results_["params"]) == 4
    assert search.best_estimator_.predict(X).shape == (48,)


@pytest.mark.parametrize("cls", [AITClassifier, MutualClassifier])
@pytest.mark.parametrize(
    "check",
    [
        "check_estimator_cloneable",
        "check_estimator_repr",
        "check_estimator_tags_renamed",
        "check_get_params_invariance",
        "check_mixin_order",
        "check_parameters_default_constructible",
        "check_valid_tag_types",
    ],
)
def test_as_scikit_learn_wants_estimators(check, cls):
    getattr(estimator_checks, check)(cls.__name__, cls(verbose=0))


@pytest.mark.parametrize("cls", [AITClassifier, MutualClassifier])
def test_the_backward_pass_is_that_of_the_estimator(cls):
    """Which accelerate's mixin replaces, to scale losses of half precision."""
    losses = []

    class Noted(cls):
        def _backpropagate(self, loss):
            losses.append(loss.item())
            super()._backpropagate(loss)

    clf = Noted(SmallNet, variants="time-frequency", sfreq=SFREQ, max_epochs=1, random_state=0, verbose=0).fit(X, Y)
    assert len(losses) == clf.n_forward_backward_ / 2 == 3
