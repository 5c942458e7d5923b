"""AugNet as an estimator."""

from __future__ import annotations

import copy
import math
import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from skorch.callbacks import Callback, EarlyStopping
from skorch.dataset import Dataset
from skorch.helper import predefined_split
from small import CHANNELS, SFREQ, SmallNet, X, Y, global_random_states, tones
from torch import nn

from eegaug import AugmentationLayer, AugNetClassifier, StagingClassifier


def augnet(**settings):
    settings = {"layers": ["time-frequency", "sensors"], "max_epochs": 3, "penalty": 1.0, "lr": 0.01} | settings
    return AugNetClassifier(
        SmallNet, **{"sfreq": SFREQ, "ch_names": CHANNELS, "random_state": 0, "verbose": 0} | settings
    )


@pytest.fixture(scope="module")
def fitted():
    valid = predefined_split(Dataset(*tones(24, seed=1)))
    return augnet(train_split=valid, optimizer__weight_decay=0.1, augmentation_lr=0.03).fit(X, Y)


def test_learns_the_tones():
    clf = augnet(max_epochs=30, lr=0.03).fit(X, Y)
    assert clf.score(*tones(60, seed=9)) > 0.9


def test_probabilities_are_those_of_the_model(fitted):
    proba = fitted.predict_proba(X)
    assert proba.shape == (48, 3)
    assert proba.dtype == np.float32
    np.testing.assert_allclose(proba.sum(1), 1, atol=1e-6)
    with torch.no_grad():
        logs = fitted.module_.eval()(torch.from_numpy(X))
    np.testing.assert_allclose(proba, logs.exp().numpy(), atol=1e-6)
    assert np.array_equal(fitted.predict(X), proba.argmax(1))


def test_invariances(fitted):
    table = fitted.invariances_
    assert list(table.columns) == ["layer", "operation", "weight", "magnitude", "strength", "unit"]
    np.testing.assert_allclose(table.groupby("layer")["weight"].sum(), 1, atol=1e-6)
    assert table["magnitude"].between(0, 1).all()
    shift = table[table["operation"] == "frequency_shift"].iloc[0]
    assert shift["strength"] == pytest.approx(5 * shift["magnitude"])
    assert shift["unit"] == "Hz"
    history = fitted.invariances_history_
    assert history["epoch"].unique().tolist() == [1, 2, 3]
    last = history[history["epoch"] == 3].drop(columns="epoch").reset_index(drop=True)
    np.testing.assert_allclose(last["weight"], table["weight"])
    np.testing.assert_allclose(last["magnitude"], table["magnitude"])
    assert (history.groupby("epoch")["magnitude"].mean().diff().dropna() != 0).all()


def test_history_keeps_cross_entropy_and_penalty_apart(fitted):
    for row in fitted.history:
        assert row["train_loss"] == pytest.approx(row["train_ce"] + row["train_penalty"], abs=1e-5)
        assert row["train_penalty"] < 0
    weights, strengths = fitted.history[-1, "weights"], fitted.history[-1, "magnitudes"]
    norm = np.linalg.norm(np.concatenate(weights) * np.concatenate(strengths))
    # The penalty is the mean over the epoch's batches, the record is from its end.
    assert -fitted.history[-1, "train_penalty"] == pytest.approx(norm, rel=0.2)
    assert fitted.history[-1, "n_forward_backward"] == fitted.n_forward_backward_ == 9


@pytest.mark.parametrize(("settings", "passes"), [({}, 2), ({"selection": "single", "judge_share": 0.25}, 3)])
def test_every_copy_in_training_counts_as_a_pass(settings, passes):
    clf = augnet(layers=[["sign_flip"]], penalty=0.1, n_copies_train=2, max_epochs=1, batch_size=48, **settings)
    assert clf.fit(X, Y).n_forward_backward_ == passes


def test_validation_loss_is_the_cross_entropy_alone(fitted):
    Xv, yv = tones(24, seed=1)
    proba = fitted.predict_proba(Xv)
    expected = -np.log(proba[np.arange(24), yv]).mean()
    assert fitted.history[-1, "valid_loss"] == pytest.approx(expected, rel=1e-5)


def test_two_groups_of_parameters(fitted):
    trunk, augmentation = fitted.optimizer_.param_groups
    assert (trunk["lr"], trunk["weight_decay"]) == (0.01, 0.1)
    assert (augmentation["lr"], augmentation["weight_decay"]) == (0.03, 0.0)
    assert trunk["betas"] == augmentation["betas"] == (0.0, 0.999)
    names = {id(p): n for n, p in fitted.module_.named_parameters()}
    assert {names[id(p)].split(".")[0] for p in augmentation["params"]} == {"augmentation"}
    assert {names[id(p)].split(".")[0] for p in trunk["params"]} == {"trunk"}
    assert len(trunk["params"]) + len(augmentation["params"]) == len(names)


def test_groups_of_ones_own_go_by_the_names_of_the_trunk():
    groups = [("final_layer.*", {"lr": 0.5})]
    for clf in (augnet(optimizer__param_groups=groups), StagingClassifier(SmallNet, optimizer__param_groups=groups)):
        clf.set_params(max_epochs=0, verbose=0).fit(X, Y)
        (head, rest, *_) = clf.optimizer_.param_groups
        assert (head["lr"], len(head["params"]), len(rest["params"])) == (0.5, 2, 2)


def test_strengths_stay_in_the_unit_interval():
    clf = augnet(augmentation_lr=0.5, penalty=20.0).fit(X, Y)
    strengths = clf.invariances_history_["magnitude"]
    assert strengths.between(0, 1).all()
    assert strengths.max() == 1


def test_prediction_does_not_depend_on_batches_or_order(fitted):
    clf = copy.deepcopy(fitted)
    expected = clf.predict_proba(X)
    for size in (1, 5, 48):
        np.testing.assert_allclose(clf.set_params(batch_size=size).predict_proba(X), expected, atol=1e-6)
    np.testing.assert_allclose(clf.predict_proba(X[::-1])[::-1], expected, atol=1e-6)


def test_pickle_and_deepcopy(fitted):
    expected = fitted.predict_proba(X)
    for again in (pickle.loads(pickle.dumps(fitted)), copy.deepcopy(fitted)):
        assert np.array_equal(again.predict_proba(X), expected)
        assert again.invariances_.equals(fitted.invariances_)


def test_number_of_copies_can_change_after_training(fitted):
    clf = copy.deepcopy(fitted)
    clf.set_params(n_copies=0)
    with torch.no_grad():
        trunk = clf.module_.eval().trunk(torch.from_numpy(X)).softmax(1).numpy()
    np.testing.assert_allclose(clf.predict_proba(X), trunk, atol=1e-6)
    clf.set_params(n_copies=9, aggregate="probs")
    np.testing.assert_allclose(clf.predict_proba(X).sum(1), 1, atol=1e-6)
    assert clf.module_.n_copies == 9
    with pytest.raises(ValueError, match="n_copies must be a whole number of at least 0, got -1"):
        clf.set_params(n_copies=-1).predict(X)


def test_same_seed_same_result_and_global_randomness_is_left_alone():
    before = global_random_states()
    first, again, other = (augnet(random_state=s, max_epochs=1).fit(X, Y) for s in (3, 3, 4))
    fresh = [augnet(random_state=None, max_epochs=1).fit(X, Y).predict_proba(X) for _ in range(2)]
    assert np.array_equal(first.predict_proba(X), again.predict_proba(X))
    assert not np.allclose(first.predict_proba(X), other.predict_proba(X))
    assert not np.allclose(*fresh)
    for a, b in zip(global_random_states(), before, strict=True):
        assert torch.equal(a, b)


def test_trunk_begins_as_without_augmentation():
    plain = StagingClassifier(SmallNet, sfreq=SFREQ, random_state=5, max_epochs=0, verbose=0).fit(X, Y)
    ours = augnet(random_state=5, max_epochs=0).fit(X, Y)
    for a, b in zip(plain.module_.parameters(), ours.module_.trunk.parameters(), strict=True):
        assert torch.equal(a, b)


def test_clone_grid_search_and_pipeline():
    clf = augnet(max_epochs=1)
    again = clone(clf)
    assert again.get_params()["penalty"] == 1.0
    search = GridSearchCV(clf, {"penalty": [0.0, 5.0], "layers": [["sensors"], ["all"]]}, cv=2).fit(X, Y)
    assert len(search.cv_results_["params"]) == 4
    assert search.best_estimator_.predict(X).shape == (48,)
    pipeline = make_pipeline(FunctionTransformer(lambda X: X / X.std()), clf).fit(X, Y)
    assert pipeline.set_params(augnetclassifier__penalty=2.0).fit(X, Y).predict_proba(X).shape == (48, 3)


def test_refit_on_another_montage():
    clf = augnet(max_epochs=1).fit(X, Y)
    assert len(clf.invariances_) == 13
    with pytest.warns(UserWarning, match="left out"):
        clf.set_params(ch_names=["Fpz-Cz", "Pz-Oz"]).fit(X[:, :2], Y)
    assert len(clf.invariances_) == 9
    assert clf.predict(X[:, :2]).shape == (48,)


def test_ready_made_layers_start_anew_at_every_fit():
    layer = AugmentationLayer(["frequency_shift"], sfreq=SFREQ, initial_strength=0.3)
    clf = augnet(layers=[layer, ["sign_flip"]], max_epochs=2).fit(X, Y)
    first = clf.predict_proba(X)
    assert layer.strengths.item() == pytest.approx(0.3)
    assert clf.invariances_["magnitude"][0] != pytest.approx(0.3, abs=1e-4)
    assert np.array_equal(clf.fit(X, Y).predict_proba(X), first)
    assert np.array_equal(clone(clf).fit(X, Y).predict_proba(X), first)


def test_early_stopping_restores_the_augmentation_too():
    seen = {}

    class Watch(Callback):
        def on_epoch_end(self, net, **kwargs):
            net.history.record("score", [3.0, 1.0, 2.0, 2.0][len(net.history) - 1])
            seen[len(net.history)] = net.invariances_

    stopping = EarlyStopping("score", patience=2, load_best=True, sink=str)
    clf = augnet(callbacks=[Watch(), stopping], max_epochs=9).fit(X, Y)
    assert len(clf.history) == 4
    assert not clf.interrupted_
    assert clf.invariances_.equals(seen[2])
    assert not clf.invariances_.equals(seen[4])


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"penalty": -1.0}, "penalty is -1"),
        ({"penalty": "big"}, "penalty is 'big'; it is a number"),
        ({"augmentation_lr": -0.1}, "augmentation_lr is -0.1"),
        ({"augmentation_weight_decay": -1.0}, "augmentation_weight_decay is -1.0"),
        ({"penalty_kind": "l1"}, "'l1'"),
        ({"penalty_reduction": "mean"}, "'mean'"),
        ({"n_copies_train": 0}, "n_copies_train"),
        ({"layers": ["time"]}, "'time'"),
        ({"layers": ["time-frequency"], "sfreq": None}, "sfreq"),
        ({"layers": ["sensors"], "ch_names": None}, "ch_names"),
        ({"layers": []}, "layers is empty"),
        ({"layers": [AugmentationLayer(["frequency_shift"], sfreq=250)]}, "built for 250 Hz, the signal has 50 Hz"),
        (
            {"layers": [AugmentationLayer(["channels_symmetry"], ch_names=CHANNELS[::-1])]},
            "channels_symmetry was built for other channels",
        ),
    ],
)
def test_wrong_settings_are_named_before_training(wrong, words):
    with pytest.raises(ValueError, match=words):
        augnet(**wrong).fit(X, Y)


# What is learned -----------------------------------------------------------------------------------------------------


class SignBin(nn.Module):
    """Sees the mean of a window and its square: it can tell signs apart, and need not."""

    def __init__(self, n_outputs):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, n_outputs))

    def forward(self, X):
        mean = X.mean((1, 2))
        return self.net(torch.stack((mean, mean.square()), 1))


def signed_windows(n=120, seed=0):
    """Label: whether the mean is small or large in size. The sign does not matter."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2
    mean = rng.choice([-1.0, 1.0], n) * (0.5 + 1.5 * y)
    return (mean[:, None, None] + 0.1 * rng.standard_normal((n, 1, 20))).astype("float32"), y


def learner(module, **settings):
    settings = {"lr": 0.02, "max_epochs": 25, "batch_size": 16, "random_state": 0, "verbose": 0} | settings
    return AugNetClassifier(module, **settings)


def test_exact_invariance_is_found():
    clf = learner(SignBin, layers=[["sign_flip"]], penalty=0.2).fit(*signed_windows())
    row = clf.invariances_.iloc[0]
    assert row["magnitude"] == 1.0
    assert row["strength"] == 0.5
    assert row["unit"] == "probability"
    assert clf.score(*signed_windows(seed=1)) == 1.0


def test_without_penalty_what_hurts_is_unlearned():
    """Tones 4 Hz apart, shifted by up to 5 Hz: cross-entropy alone wants no shift."""
    clf = learner(
        SmallNet, layers=[["frequency_shift"]], sfreq=SFREQ, penalty=0.0, initial_strength=0.8, max_epochs=15
    ).fit(*tones(96))
    assert clf.invariances_["magnitude"][0] < 0.5
    history = clf.invariances_history_["magnitude"]
    assert history.iloc[-1] < history.iloc[0] < 0.8


def test_magnitude_penalty_rewards_what_is_not_used():
    common = {"layers": [["gaussian_noise", "time_masking"]], "sfreq": SFREQ, "penalty": 0.5, "max_epochs": 5}
    layer = AugmentationLayer(["gaussian_noise", "time_masking"])
    with torch.no_grad():
        layer.weight_logits[1] = -1.0  # its weight is exactly zero
    magnitudes = {}
    for kind in ("magnitude", "selective"):
        clf = learner(SmallNet, **common | {"layers": [layer], "penalty_kind": kind}).fit(*tones())
        assert clf.invariances_["weight"][1] == 0
        magnitudes[kind] = clf.invariances_["magnitude"][1]
    assert magnitudes["magnitude"] > 0.3
    assert magnitudes["selective"] == pytest.approx(0.1)


def test_reward_for_change_does_not_choose_what_changes_nothing():
    """Tones, of which neither sign nor weak noise matters: noise may grow as freely, but says less."""
    common = {"layers": [["gaussian_noise", "sign_flip"]], "sfreq": SFREQ, "penalty": 0.3, "max_epochs": 15}
    found, state = {}, torch.get_rng_state()
    for kind in ("selective", "change"):
        clf = learner(SmallNet, penalty_kind=kind, **common).fit(*tones(96))
        found[kind] = clf.invariances_.set_index("operation")
    assert found["selective"]["weight"].idxmax() == "gaussian_noise"
    assert found["change"]["weight"].idxmax() == "sign_flip"
    assert found["change"]["strength"]["sign_flip"] == 0.5
    assert torch.equal(torch.get_rng_state(), state)
    changes = clf.module_.augmentation.layers[0].full_changes
    assert changes.tolist() == pytest.approx([0.2 / np.std(tones(96)[0]), math.sqrt(2)], rel=0.02)
    assert clf.partial_fit(*tones(96)).module_.augmentation.layers[0].full_changes.tolist() == changes.tolist()


def test_reward_for_change_has_a_size_of_its_own():
    assert learner(SmallNet, layers=[["sign_flip"]], max_epochs=1).fit(*tones())._default_penalty() == (
        10.0,
        "selective",
    )
    settings = {"layers": [["sign_flip"]], "penalty_kind": "change", "max_epochs": 1}
    clf = learner(SmallNet, **settings).fit(*tones())
    layer = clf.module_.augmentation.layers[0]
    assert clf._penalty().detach().item() == pytest.approx(-0.5 * layer.strengths[0].item() * math.sqrt(2), rel=0.01)


def test_split_of_an_estimator_that_is_not_being_fitted():
    clf = augnet(penalty_kind="change", train_split=None)
    assert [part and len(part) for part in clf.get_split_datasets(X, Y)] == [len(X), None]
    clf.fit(X, Y)
    layer = clf.module_.augmentation.layers[0]
    before = layer.full_changes.clone()
    clf.get_split_datasets(2 * X, Y)
    assert torch.equal(layer.full_changes, before)


def test_reward_for_change_does_not_depend_on_the_seed():
    """With no seed given a training that goes on from a checkpoint draws another; its reward stays what it was."""
    found = [augnet(penalty_kind="change", max_epochs=1, random_state=seed).fit(X, Y) for seed in (0, 1)]
    first, second = (clf.module_.augmentation.layers[0].full_changes for clf in found)
    assert torch.equal(first, second) and len(set(first.tolist())) > 1
