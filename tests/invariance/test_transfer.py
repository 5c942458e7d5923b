"""Frozen test sets, and scores on them."""

from __future__ import annotations

import hashlib
import tracemalloc
import zlib

import numpy as np
import pytest
import torch
from braindecode.augmentation import SignFlip
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from small import CHANNELS, NAMES, SFREQ, X, Y, nights, staging, tones

from eegaug import AugmentationLayer, Policy
from eegaug.invariance import frozen_test_set, transfer_matrix
from eegaug.operations import get_operation
from eegaug.policy import SubPolicy
from eegaug.transforms import FrequencyShift

SIGNAL = {"sfreq": SFREQ, "ch_names": CHANNELS}


@pytest.fixture(scope="module")
def models():
    signed = make_pipeline(FunctionTransformer(lambda X: X.mean(2)), LogisticRegression()).fit(X, Y)
    return {"powers": staging(max_epochs=25, lr=0.03).fit(X, Y), "means": signed, "dummy": DummyClassifier().fit(X, Y)}


TEST, LABELS = tones(90, seed=7)


def test_frozen_test_sets_are_byte_identical():
    """Between runs, and whichever other operations there are."""
    shifted = frozen_test_set(X, "frequency_shift", 0.2, random_state=3, **SIGNAL)
    assert shifted.dtype == np.float32
    assert (
        hashlib.sha256(shifted.tobytes()).hexdigest()
        == hashlib.sha256(frozen_test_set(X, "frequency_shift", 0.2, random_state=3, **SIGNAL).tobytes()).hexdigest()
    )
    assert not np.array_equal(shifted, frozen_test_set(X, "frequency_shift", 0.2, random_state=4, **SIGNAL))
    # Windows draw independently, and the first ones draw the same if there are more.
    longer = frozen_test_set(np.concatenate([X[:64], X, X]), "frequency_shift", 0.2, random_state=3, **SIGNAL)
    assert longer.shape == (48 * 3, 4, 100)
    assert not np.array_equal(longer[:48], longer[48:96])
    noise = frozen_test_set(X, "gaussian_noise", 1.0) - X
    assert np.abs(noise.std((1, 2)) - 0.2).max() < 0.05
    assert np.unique(noise[:, 0, 0]).size == 48


def test_known_random_numbers():
    """The draws of a seed do not change from one version to the next."""
    found = frozen_test_set(np.zeros((2, 1, 4)), "gaussian_noise", 1.0, random_state=0)
    again = frozen_test_set(np.zeros((2, 1, 4)), get_operation("gaussian_noise"), 1.0, random_state=0)
    assert np.array_equal(found, again)


def test_matrix_holds_the_scores(models):
    operations = ["sign_flip", "frequency_shift", ("gaussian_noise", 1.0, 0.5)]
    matrix = transfer_matrix(models, TEST, LABELS, operations, magnitudes={"frequency_shift": 1.0})
    assert matrix.index.tolist() == ["powers", "means", "dummy"]
    assert matrix.columns.tolist() == ["original", "sign_flip", "frequency_shift", "gaussian_noise"]
    shifted = frozen_test_set(TEST, "frequency_shift", 1.0, **SIGNAL)
    expected = balanced_accuracy_score(LABELS, models["powers"].predict(shifted))
    assert matrix.loc["powers", "frequency_shift"] == expected
    assert matrix.loc["powers", "original"] > 0.9
    # Powers do not tell signs apart; a shift of up to 5 Hz makes one tone another.
    assert matrix.loc["powers", "sign_flip"] == matrix.loc["powers", "original"]
    assert matrix.loc["powers", "frequency_shift"] < 0.8
    assert matrix.loc["dummy"].tolist() == pytest.approx([1 / 3] * 4)
    assert matrix.attrs["magnitudes"] == {"sign_flip": None, "frequency_shift": 1.0, "gaussian_noise": 0.5}


def test_matrices_of_several_calls_are_of_the_same_test_sets(models):
    common = {"y": LABELS, "magnitudes": 0.5, "random_state": 5}
    wide = transfer_matrix(models, TEST, operations=["gaussian_noise", "time_masking", "frequency_shift"], **common)
    narrow = transfer_matrix({"powers": models["powers"]}, TEST, operations=["frequency_shift"], **common)
    assert narrow.attrs["checksums"]["frequency_shift"] == wide.attrs["checksums"]["frequency_shift"]
    assert narrow.attrs["seed"] == 5
    assert narrow.loc["powers", "frequency_shift"] == wide.loc["powers", "frequency_shift"]


def test_mean_over_unseen_operations(models):
    trained = {"powers": ["frequency_shift"], "means": [], "dummy": ["sign_flip", "frequency_shift"]}
    matrix = transfer_matrix(
        models, TEST, LABELS, ["frequency_shift", "gaussian_noise", "sign_flip"], magnitudes=1.0, trained_on=trained
    )
    for model, unseen in {
        "powers": ["gaussian_noise", "sign_flip"],
        "means": ["frequency_shift", "gaussian_noise", "sign_flip"],
        "dummy": ["gaussian_noise"],
    }.items():
        assert matrix.loc[model, "mean unseen"] == pytest.approx(matrix.loc[model, unseen].mean())


def test_recall_of_each_stage(models):
    matrix = transfer_matrix(models, TEST, LABELS, ["frequency_shift"], magnitudes=1.0, per_stage=True)
    plain = transfer_matrix(models, TEST, LABELS, ["frequency_shift"], magnitudes=1.0)
    assert matrix.index.names == ["model", "stage"]
    assert matrix.loc["powers"].index.tolist() == [0, 1, 2]
    predicted = models["powers"].predict(frozen_test_set(TEST, "frequency_shift", 1.0, **SIGNAL))
    for stage in range(3):
        recall = np.mean(predicted[stage == LABELS] == stage)
        assert matrix.loc[("powers", stage), "frequency_shift"] == pytest.approx(recall)
    np.testing.assert_allclose(matrix.groupby("model").mean(), plain.sort_index())  # balanced accuracy
    with_unseen = transfer_matrix(
        models, TEST, LABELS, ["frequency_shift"], per_stage=True, trained_on=dict.fromkeys(models, ())
    )
    assert (with_unseen["mean unseen"] == with_unseen["frequency_shift"]).all()


def test_stages_that_are_only_predicted_have_no_row(models):
    some = LABELS != 1
    matrix = transfer_matrix(
        models["powers"], TEST[some], LABELS[some], ["frequency_shift"], magnitudes=1.0, per_stage=True
    )
    predicted = models["powers"].predict(frozen_test_set(TEST[some], "frequency_shift", 1.0, **SIGNAL))
    assert (predicted == 1).any()
    assert matrix.index.tolist() == [("StagingClassifier", 0), ("StagingClassifier", 2)]
    recalls = [np.mean(predicted[LABELS[some] == stage] == stage) for stage in (0, 2)]
    assert matrix["frequency_shift"].tolist() == pytest.approx(recalls)


def test_policies_functions_names_and_datasets(models):
    pair = Policy(sub_policies=[SubPolicy(operations=[("sign_flip", 1.0), ("gaussian_noise", 1.0, 0.2)])], **SIGNAL)
    operations = {"pair": pair, "function": lambda X: X * 2, "weak": ("gaussian_noise", 1.0, 0.01)}
    matrix = transfer_matrix(models["powers"], nights(n=1), operations=operations)
    assert matrix.index.tolist() == ["StagingClassifier"]
    assert matrix.columns.tolist() == ["original", "pair", "function", "weak"]
    several = transfer_matrix([models["dummy"], models["dummy"]], X, Y, "time-frequency", **SIGNAL)
    assert several.index.tolist() == ["DummyClassifier 1", "DummyClassifier 2"]
    assert several.shape == (2, 7)
    single = transfer_matrix(models["dummy"], X[:, :1], Y, "sensors")  # what means something on one channel
    assert single.columns.tolist() == ["original", "sign_flip", "channels_dropout"]


def test_windows_of_nights_that_nobody_scored_do_not_count(models):
    unscored = np.concatenate([Y, np.full(12, -1)])
    some = nights(np.concatenate([X, X[::-1][:12]]), unscored, n=1)
    expected = transfer_matrix(models["powers"], X, Y, {"as they are": lambda X: X}, **SIGNAL)
    found = transfer_matrix(models["powers"], some, operations={"as they are": lambda X: X}, per_stage=True)
    assert found.index.get_level_values("stage").tolist() == [0, 1, 2]
    np.testing.assert_allclose(found.mean(), expected.iloc[0])


def test_draws_of_all_windows_are_their_own():
    noise = frozen_test_set(np.zeros((200, 1, 50)), "gaussian_noise", 1.0)
    assert len(np.unique(noise[:, 0, 0])) == 200


def test_metrics(models):
    kept = (LABELS > 0) | (np.arange(90) < 45)  # one class is rarer
    some, y = TEST[kept], LABELS[kept]
    predicted = models["powers"].predict(frozen_test_set(some, "frequency_shift", 1.0, **SIGNAL))
    counts = np.array([[np.sum((i == y) & (predicted == j)) for j in range(3)] for i in range(3)])
    share = counts / counts.sum()
    right, rows, columns = np.diag(share), share.sum(1), share.sum(0)
    chance = (rows * columns).sum()
    expected = {
        "accuracy": right.sum(),
        "balanced_accuracy": (right / rows).mean(),
        "kappa": (right.sum() - chance) / (1 - chance),
        "macro_f1": (2 * right / (rows + columns)).mean(),
        balanced_accuracy_score: (right / rows).mean(),
    }
    assert len({round(value, 6) for value in expected.values()}) == 4  # each is told from the others
    for metric, value in expected.items():
        matrix = transfer_matrix(
            {"powers": models["powers"]}, some, y, ["frequency_shift"], magnitudes=1.0, metric=metric
        )
        assert matrix.loc["powers", "frequency_shift"] == pytest.approx(value)
        assert matrix.attrs["metric"] == getattr(metric, "__name__", metric)


def test_text_labels():
    model = staging(max_epochs=25, lr=0.03).fit(X, NAMES[Y])
    matrix = transfer_matrix(model, TEST, NAMES[LABELS], ["sign_flip"], per_stage=True)
    assert matrix.loc["StagingClassifier"].index.tolist() == ["N2", "REM", "W"]
    assert matrix["original"].min() > 0.7


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"y": None}, "requires y"),
        ({"metric": "auc"}, "metric is 'auc'"),
        ({"models": {}}, "models is empty"),
        ({"operations": []}, "operations is empty"),
        ({"operations": ["sign_flip", "sign_flip"]}, "two operations are called 'sign_flip'"),
        ({"operations": {"original": "sign_flip"}}, "name of the unchanged test set"),
        ({"magnitudes": {"time_masking": 0.5}}, "magnitudes names 'time_masking'"),
        ({"trained_on": {}}, "says nothing about 'dummy'"),
        ({"trained_on": {"dummy": [], "dumy": []}}, "names the model 'dumy', which is none of dummy"),
        (
            {"trained_on": {"dummy": ["frequency_shft"]}},
            "of 'dummy' names 'frequency_shft', which is none of sign_flip, .*frequency_shift",
        ),
        (
            {"operations": [Policy.identity(ch_names=["Fpz", "Pz"])], "ch_names": CHANNELS},
            "do not fit the policy: channels missing: Fpz, Pz",
        ),
    ],
)
def test_wrong_input_is_named(models, wrong, words):
    arguments = {"models": {"dummy": models["dummy"]}, "X": X, "y": Y, "operations": ["sign_flip"]} | wrong
    with pytest.raises(ValueError, match=words):
        transfer_matrix(**arguments)


def test_models_may_have_seen_what_is_not_tested(models):
    trained = {"dummy": ["time_masking", "twice"]}
    operations = {"twice": lambda X: 2 * X, "sign_flip": "sign_flip"}
    matrix = transfer_matrix({"dummy": models["dummy"]}, X, Y, operations, trained_on=trained)
    assert matrix.loc["dummy", "mean unseen"] == matrix.loc["dummy", "sign_flip"]


def test_policies_for_other_signals_are_refused(models):
    """Whoever knows of the signal: the data, the caller or a model, be it the second one."""
    faster = Policy.uniform(sfreq=100, operations="time-frequency")
    for policy in (faster, faster.to_braindecode(random_state=0)):
        with pytest.raises(ValueError, match="the policy is for 100 Hz, the windows have 50 Hz"):
            frozen_test_set(nights(), policy)
        with pytest.raises(ValueError, match="the policy is for 100 Hz, the windows have 50 Hz"):
            transfer_matrix([models["dummy"], models["powers"]], X, Y, {"faster": policy})
    with pytest.raises(ValueError, match="the policy is for 2 channels, the windows have 4"):
        frozen_test_set(X, Policy.identity(ch_names=["Fpz", "Pz"]))
    assert frozen_test_set(X, faster).shape == X.shape  # nobody knows the rate
    layer = AugmentationLayer(["frequency_shift"], sfreq=100)
    for module in (layer, FrequencyShift(sfreq=100), torch.nn.Sequential(layer)):
        with pytest.raises(ValueError, match="frequency_shift was built for 100 Hz, the signal has 50 Hz"):
            frozen_test_set(nights(), module)


def test_transforms_of_braindecode_are_frozen_too():
    np.random.standard_normal(3)  # noqa: NPY002 - of which transforms draw by themselves
    frozen = frozen_test_set(X, SignFlip(0.5))
    np.random.standard_normal(3)  # noqa: NPY002
    assert np.array_equal(frozen_test_set(X, SignFlip(0.5)), frozen)
    assert not np.array_equal(frozen_test_set(X, SignFlip(0.5), random_state=1), frozen)
    flipped = (frozen == -X).all((1, 2))
    assert (flipped | (frozen == X).all((1, 2))).all() and 0 < flipped.sum() < len(X)
    layer = AugmentationLayer(["sign_flip"], initial_strength=1.0)
    assert frozen_test_set(X, layer).shape == X.shape
    # As in training, whatever a prediction has last been made with.
    assert np.array_equal(frozen_test_set(X, layer.eval()), frozen_test_set(X, layer.train()))
    assert 0 < (frozen_test_set(X, layer.eval()) == -X).all((1, 2)).sum() < len(X)
    assert not layer.training


def test_of_nights_there_are_the_windows_and_one_changed_set_at_a_time():
    rng = np.random.default_rng(0)
    large, y = rng.standard_normal((300, 4, 2000)).astype("float32"), np.arange(300) % 3
    model = DummyClassifier().fit(large, y)
    transfer_matrix(model, nights(large[:6], y[:6]), None, ["sign_flip"])  # by now all that it imports is there
    data = nights(large, y)
    tracemalloc.start()
    matrix = transfer_matrix(model, data, None, ["sign_flip", "time_reverse"])
    peak = tracemalloc.get_traced_memory()[1] / large.nbytes
    tracemalloc.stop()
    assert 2 <= peak < 2.3
    windows = np.concatenate([night.read() for night in data.datasets])
    assert matrix.attrs["checksums"]["original"] == f"{zlib.crc32(windows.tobytes()):08x}"
