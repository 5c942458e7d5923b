import numpy as np
import pytest
from small import CHANNELS, NAMES, SFREQ, SmallNet, X, Y, staging

from eegaug import AugNetClassifier
from eegaug.staging.predict import copy_disagreement, predict_stages, stage_codes

P = np.random.default_rng(0).dirichlet(np.ones(5), size=(4, 30))


class TestDisagreement:
    def test_bounds(self):
        certain = np.eye(5)[[[0], [1], [2], [3]]]
        assert copy_disagreement(certain) == pytest.approx(1.0)
        assert copy_disagreement(P[:1].repeat(3, 0)) == pytest.approx(0.0, abs=1e-7)
        assert ((copy_disagreement(P) > 0) & (copy_disagreement(P) < 1)).all()

    def test_order_of_copies_and_stages_does_not_matter(self):
        assert copy_disagreement(P[::-1, :, ::-1]) == pytest.approx(copy_disagreement(P))

    def test_it_is_the_mean_divergence_from_the_average(self):
        mean = P.mean(0)
        divergence = (P * np.log(P / mean)).sum(-1).mean(0)
        assert copy_disagreement(P) == pytest.approx(np.sqrt(divergence / np.log(4)))

    def test_one_copy_is_refused(self):
        with pytest.raises(ValueError, match="two copies"):
            copy_disagreement(P[:1])


class TestClasses:
    def test_labels_of_any_kind(self):
        assert stage_codes(["REM", "Sleep stage 2", "wake"]) == [4, 2, 0]
        assert stage_codes(np.array([0, 3, 4])) == [0, 3, 4]

    def test_refuses_what_is_no_stage(self):
        with pytest.raises(ValueError, match="'spindle' is no sleep stage"):
            stage_codes(["N2", "spindle"])
        with pytest.raises(ValueError, match="same stage"):
            stage_codes(["N3", "Sleep stage 4"])


@pytest.fixture(scope="module")
def augnet():
    settings = {"layers": [["frequency_shift", "time_masking"]], "max_epochs": 1, "random_state": 0, "verbose": 0}
    return AugNetClassifier(SmallNet, sfreq=SFREQ, ch_names=CHANNELS, **settings).fit(X, NAMES[Y])


class TestPredict:
    @pytest.mark.parametrize("aggregate", ["log_probs", "probs", "logits"])
    def test_is_what_the_classifier_predicts(self, augnet, aggregate):
        augnet.set_params(aggregate=aggregate, n_copies=4)
        proba, disagreement = predict_stages(augnet, X)
        np.testing.assert_allclose(proba[:, [2, 4, 0]], augnet.predict_proba(X), atol=1e-6)
        assert (proba[:, [1, 3]] == 0).all()  # the model knows three stages
        assert disagreement.shape == (len(X),) and disagreement.max() > 0
        assert not augnet.module_.training

    def test_no_copies_no_disagreement(self, augnet):
        augnet.set_params(n_copies=0)
        proba, disagreement = predict_stages(augnet, X)
        np.testing.assert_allclose(proba[:, [2, 4, 0]], augnet.predict_proba(X), atol=1e-6)
        assert disagreement is None

    def test_a_network_whose_training_went_astray(self):
        clf = staging().fit(X, NAMES[Y])
        clf.module_.final_layer.bias.data[0] = float("nan")
        with pytest.raises(ValueError, match="not numbers"):
            predict_stages(clf, X)

    def test_a_classifier_without_layers(self):
        proba, disagreement = predict_stages(staging().fit(X, NAMES[Y]), X)
        assert disagreement is None and proba.sum(1) == pytest.approx(1)
