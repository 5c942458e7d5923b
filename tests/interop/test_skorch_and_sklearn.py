"""skorch's callbacks, and scikit-learn's searches and cross-validation with groups."""

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.metrics import cohen_kappa_score, make_scorer
from sklearn.model_selection import GridSearchCV, GroupKFold, LeaveOneGroupOut, cross_val_score, cross_validate
from sklearn.pipeline import make_pipeline
from skorch.callbacks import (
    Checkpoint,
    EarlyStopping,
    EpochScoring,
    Freezer,
    GradientNormClipping,
    LRScheduler,
    ParamMapper,
)
from skorch.dataset import Dataset
from skorch.helper import predefined_split
from small import CHANNELS, SFREQ, SmallNet, X, Y, epochs, staging, tones

from eegaug import AugNetClassifier

GROUPS = np.arange(48) // 12 % 4
VALID = predefined_split(Dataset(*tones(24, seed=5)))


def augnet(**settings):
    settings = {"max_epochs": 2, "lr": 0.01, "random_state": 0, "verbose": 0, "penalty": 0.1, "n_copies": 2} | settings
    layers = [["frequency_shift", "sign_flip"]]
    return AugNetClassifier(SmallNet, layers=layers, sfreq=SFREQ, ch_names=CHANNELS, **settings)


@pytest.fixture(params=[staging, augnet], ids=["staging", "augnet"])
def make(request):
    return request.param


class TestCallbacks:
    def test_early_stopping_keeps_the_best_network(self, make):
        # A loss that rises from the third epoch on.
        class Rise(EpochScoring):
            def on_epoch_end(self, net, **kwargs):
                net.history.record("scripted", [3.0, 2.0, 4.0, 5.0, 6.0, 7.0][len(net.history) - 1])

        stop = EarlyStopping("scripted", patience=3, load_best=True, sink=lambda text: None)
        clf = make(max_epochs=6, train_split=VALID, callbacks=[Rise(None), stop]).fit(X, Y)
        assert len(clf.history) == 5 and not clf.interrupted_
        best = make(max_epochs=2, train_split=VALID).fit(X, Y)
        np.testing.assert_allclose(clf.predict_proba(X), best.predict_proba(X), atol=1e-6)

    def test_learning_rate_schedule(self, make):
        schedule = LRScheduler("StepLR", step_size=1, gamma=0.1, event_name="lr")
        clf = make(max_epochs=3, lr=0.01, callbacks=[schedule]).fit(X, Y)
        np.testing.assert_allclose(clf.history[:, "lr"], [0.01, 0.001, 0.0001])
        assert {round(g["lr"], 12) for g in clf.optimizer_.param_groups} == {1e-5}  # that of layers follows

    def test_checkpoint_brings_parameters_back(self, make, tmp_path):
        best = Checkpoint(
            monitor="valid_loss_best", dirname=tmp_path, f_pickle=None, use_safetensors=True, f_optimizer=None
        )
        clf = make(max_epochs=3, train_split=VALID, callbacks=[best]).fit(X, Y)
        proba = clf.predict_proba(X)
        other = make(max_epochs=3, random_state=7, train_split=VALID).fit(X, Y)
        assert not np.allclose(other.predict_proba(X), proba)
        files = {"f_params": tmp_path / "end.pt", "f_optimizer": tmp_path / "optimizer.pt"}
        clf.save_params(**files)
        other.load_params(**files)
        np.testing.assert_allclose(other.predict_proba(X), proba, atol=1e-6)
        losses = clf.history[:, "valid_loss"]
        other.load_params(f_params=tmp_path / "params.pt", use_safetensors=True)
        loss = torch.nn.functional.nll_loss(
            torch.from_numpy(np.log(other.predict_proba(tones(24, seed=5)[0]))), torch.from_numpy(tones(24, seed=5)[1])
        )
        assert float(loss) == pytest.approx(min(losses), abs=1e-4)

    def test_scores_of_epochs(self, make):
        kappa = EpochScoring(make_scorer(cohen_kappa_score), name="valid_kappa", lower_is_better=False)
        accuracy = EpochScoring("balanced_accuracy", name="train_bacc", lower_is_better=False, on_train=True)
        clf = make(train_split=VALID, callbacks=[("kappa", kappa), ("bacc", accuracy)]).fit(X, Y)
        Xv, yv = tones(24, seed=5)
        assert clf.history[-1, "valid_kappa"] == pytest.approx(cohen_kappa_score(yv, clf.predict(Xv)))
        assert 0 <= clf.history[-1, "train_bacc"] <= 1
        clf.set_params(callbacks__kappa=None).fit(X, Y)
        assert "valid_kappa" not in clf.history[-1]

    def test_freezing_and_clipping(self):
        frozen = Freezer("augmentation.*")
        clf = augnet(callbacks=[frozen, GradientNormClipping(1.0)]).fit(X, Y)
        assert set(clf.invariances_["magnitude"].round(6)) == {0.1}
        halved = ParamMapper("augmentation.layers.0.strengths", fn=lambda p: p.data.fill_(0.5), at=1)
        assert augnet(callbacks=[halved, frozen]).fit(X, Y).invariances_["magnitude"].tolist() == [0.5, 0.5]


class TestScikitLearn:
    def test_cross_validation_leaves_groups_out(self, make):
        seen = []

        class Note(GroupKFold):
            def split(self, X, y=None, groups=None):
                for train, test in super().split(X, y, groups):
                    seen.append((set(GROUPS[train]), set(GROUPS[test])))
                    yield train, test

        scores = cross_val_score(
            make(max_epochs=15, lr=0.05), X, Y, groups=GROUPS, cv=Note(4), scoring="balanced_accuracy"
        )
        assert scores.shape == (4,) and scores.mean() > 0.6
        assert len(seen) == 4 and all(not train & test for train, test in seen)

    def test_several_scores_and_estimators(self, make):
        found = cross_validate(
            make(), X, Y, groups=GROUPS, cv=LeaveOneGroupOut(), scoring=["accuracy", "f1_macro"], return_estimator=True
        )
        for k, clf in enumerate(found["estimator"]):
            assert clf.score(X[k == GROUPS], Y[k == GROUPS]) == pytest.approx(found["test_accuracy"][k])

    def test_grid_search_with_groups(self):
        grid = {"penalty": [0.0, 0.1], "module__n_filters": [2, 4], "batch_size": [16]}
        search = GridSearchCV(augnet(), grid, cv=GroupKFold(2), scoring="balanced_accuracy")
        search.fit(X, Y, groups=GROUPS)
        assert len(search.cv_results_["params"]) == 4
        best = search.best_estimator_
        assert best.module_.trunk.conv.out_channels == search.best_params_["module__n_filters"]
        assert np.array_equal(search.predict(X), clone(best).fit(X, Y).predict(X))

    def test_grid_search_over_layers_and_policies(self):
        layers = [[["frequency_shift"]], [["sign_flip"], ["gaussian_noise"]]]
        search = GridSearchCV(augnet(max_epochs=1), {"layers": layers}, cv=2).fit(X, Y)
        assert search.best_params_["layers"] in layers
        with pytest.raises(ValueError, match="frequency_shft"):
            GridSearchCV(augnet(max_epochs=1), {"layers": [[["frequency_shft"]]]}, cv=2, error_score="raise").fit(X, Y)

    def test_pipeline(self, make):
        from sklearn.preprocessing import FunctionTransformer

        pipe = make_pipeline(FunctionTransformer(np.sign), make())
        signs = make().fit(np.sign(X), Y)
        assert np.array_equal(pipe.fit(X, Y).predict(X), signs.predict(np.sign(X)))

    def test_mne_epochs(self, make):
        from_arrays = make().fit(X, Y)
        clf = make(sfreq=None, ch_names=None) if make is staging else make()
        clf.fit(epochs())
        assert clf.signal_.ch_names == tuple(CHANNELS) and clf.signal_.sfreq == SFREQ
        np.testing.assert_allclose(clf.predict_proba(epochs()), from_arrays.predict_proba(X), atol=1e-3)
        assert clf.score(epochs()) == clf.score(epochs(), Y)
        order = CHANNELS[::-1]
        with pytest.raises(ValueError, match="channel order is C4, C3, F4, F3"):
            clf.predict(epochs(X[:, ::-1], ch_names=order))
