import numpy as np
import pytest
from small import CHANNELS, NAMES, SFREQ, SmallNet, X, Y, staging

from eegaug import AugNetClassifier
from eegaug.staging.predict import _starts, copy_disagreement, predict_stages, stage_codes

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


class Sequences(SmallNet):
    """Each window of a sequence by itself, so that a night's stages do not depend on how it is cut."""

    def forward(self, X):
        out = super().forward(X.flatten(0, 1))
        return out.reshape(*X.shape[:2], -1).movedim(1, 2)


class TestSequences:
    """Networks of sequences see overlapping stretches of the night; every window gets one answer."""

    @pytest.mark.parametrize(("n", "length"), [(48, 6), (47, 6), (7, 6), (6, 6), (5, 1)])
    def test_starts_cover_the_night(self, n, length):
        starts = _starts(n, length)
        covered = [window for start in starts for window in range(start, start + length)]
        assert set(covered) == set(range(n)) and starts[-1] == n - length
        assert max(covered.count(window) for window in covered) <= 3

    @pytest.mark.parametrize("copies", [0, 4])
    def test_windows_in_order(self, copies):
        settings = {"layers": [["frequency_shift"]], "n_copies": copies, "max_epochs": 2, "verbose": 0}
        clf = AugNetClassifier(Sequences, sfreq=SFREQ, ch_names=CHANNELS, random_state=0, **settings)
        clf.fit(X.reshape(8, 6, 4, 100), Y.reshape(8, 6))
        clf.set_params(n_copies=copies)
        proba, disagreement = predict_stages(clf, X[:47])
        one_by_one = np.concatenate([clf.predict_proba(X[None, i : i + 6]) for i in range(0, 42, 6)])
        np.testing.assert_allclose(proba[:42, :3], one_by_one.swapaxes(1, 2).reshape(42, 3), atol=1e-6)
        assert (disagreement is None) == (copies == 0) and len(proba) == 47
        if copies:  # of windows that stand in two sequences as of those in one
            alone = np.concatenate([predict_stages(clf, X[i : i + 6])[1] for i in range(0, 42, 6)])
            np.testing.assert_allclose(disagreement[:42], alone, atol=1e-6)
            assert alone.max() > 0

    def test_a_night_shorter_than_a_sequence(self):
        clf = staging(Sequences).fit(X.reshape(8, 6, 4, 100), Y.reshape(8, 6))
        with pytest.raises(ValueError, match="has 5 epochs, and the model takes sequences of 6"):
            predict_stages(clf, X[:5])
