"""AugNet with one operation for each window, as an estimator."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from skorch.callbacks import Freezer, LRScheduler
from small import CHANNELS, SFREQ, SmallNet, X, Y, tones

from eegaug import AITClassifier, AugNetClassifier, load_model
from eegaug.operations import Operation, get_operation

COLUMNS = ["layer", "operation", "weight", "magnitude", "strength", "unit", "signal_change", "loss_rise"]


def single(layers=("all",), **settings):
    settings = {"max_epochs": 3, "lr": 0.01, "random_state": 0, "verbose": 0} | settings
    return AugNetClassifier(SmallNet, layers=layers, selection="single", sfreq=SFREQ, ch_names=CHANNELS, **settings)


@pytest.fixture(scope="module")
def fitted():
    return single().fit(X, Y)


def test_table_ranks_operations(fitted):
    table = fitted.invariances_
    assert list(table.columns) == COLUMNS
    assert table["weight"].tolist() == pytest.approx([1 / 13] * 13)
    assert (table["signal_change"] > 0).all() and table["loss_rise"].notna().all()
    change = table.set_index("operation")["signal_change"]
    assert change["sign_flip"] > change["gaussian_noise"]
    history = fitted.invariances_history_
    assert len(history) == 3 * 13
    np.testing.assert_allclose(history[history["epoch"] == 3]["magnitude"], table["magnitude"])


def test_penalty_is_the_mean_entropy(fitted):
    last = fitted.history[-1]
    assert last["train_loss"] == pytest.approx(last["train_ce"] + last["train_penalty"], abs=1e-5)
    table = fitted.invariances_
    mu = table["magnitude"]
    by_chance = table["operation"].isin(["time_reverse", "sign_flip", "channels_symmetry"])
    rewards = np.where(by_chance, mu * (1 - np.log(mu / 2)), np.log(mu))
    assert last["train_penalty"] == pytest.approx(-0.1 * rewards.mean(), rel=0.15)
    assert single(penalty=0.5, penalty_kind="mean", max_epochs=1).fit(X, Y).history[-1, "train_penalty"] < 0


def test_losses_that_are_compared_are_weighted_by_class_and_have_the_mean_of_the_batch():
    rows = np.flatnonzero((Y != 2) | (np.arange(len(Y)) < 9))  # classes of different size have different weights
    clf = single([["sign_flip"]], max_epochs=1).fit(X[rows], Y[rows])
    logits = torch.randn(10, 3, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 1, 2, 2, 2, 2, 2, 2, 2, 2])
    each = clf._loss_of_each(logits, labels, training=True)
    assert each.mean().item() == pytest.approx(clf.get_loss(logits, labels, training=True).item(), rel=1e-5)
    ratio = torch.nn.functional.cross_entropy(logits, labels, reduction="none") / each
    assert (ratio[0] / ratio[2]).item() == pytest.approx(clf.class_weights_[2] / clf.class_weights_[0], rel=1e-4)


def test_same_seed_same_result_and_copies(fitted, tmp_path):
    again = clone(fitted).fit(X, Y)
    assert again.invariances_.equals(fitted.invariances_)
    assert again.module_.seed == fitted.module_.seed != single(max_epochs=1, random_state=1).fit(X, Y).module_.seed
    proba = fitted.predict_proba(X)
    assert np.array_equal(again.predict_proba(X), proba)
    np.testing.assert_allclose(fitted.predict_proba(X[5:9]), proba[5:9], atol=1e-6)  # batches of other sizes round
    assert np.array_equal(pickle.loads(pickle.dumps(fitted)).predict_proba(X), proba)
    loaded = load_model(fitted.save(tmp_path / "model"), module=SmallNet)
    assert np.array_equal(loaded.predict_proba(X), proba)
    assert loaded.invariances_.equals(fitted.invariances_)
    assert loaded.selection == "single"


def test_prediction_without_copies_is_that_of_the_trunk(fitted):
    plain = clone(fitted).set_params(n_copies=0).fit(X, Y)
    with torch.no_grad():
        logits = plain.module_.eval().trunk(torch.from_numpy(X))
    np.testing.assert_allclose(plain.predict_proba(X), logits.softmax(1).numpy(), atol=1e-6)


class Exchange(Operation):
    """Makes a tone of 4 Hz one of 8 Hz, near enough: takes every other sample twice over."""

    name, has_magnitude = "exchange", False

    def transform(self, X, magnitude, noise):
        return torch.cat([X[..., ::2], X[..., ::2]], -1)


def test_ranges_follow_the_data_and_not_the_unit():
    """Tones of 4, 8 and 12 Hz may be moved by less than 2 Hz, whatever strength 1 stands for; their sign is free."""
    data = tones(180, n_times=100, seed=3)
    learned = {}
    for bound in (4.0, 12.0):
        shift = get_operation("frequency_shift", sfreq=SFREQ, max_strength=bound)
        clf = single([[shift, "sign_flip", Exchange()]], max_epochs=25, lr=0.03, augmentation_lr=0.03).fit(*data)
        table = clf.invariances_.set_index("operation")
        assert clf.score(*tones(120, seed=9)) > 0.95
        assert table.loc["sign_flip", "magnitude"] == 1.0
        assert table.loc["exchange", "magnitude"] < 0.1
        assert table["signal_change"].idxmin() == "exchange"
        learned[bound] = table.loc["frequency_shift", "strength"]
    assert 1.0 < learned[4.0] < 2.0
    assert learned[4.0] == pytest.approx(learned[12.0], rel=0.1)


def test_layers_in_a_stack(fitted):
    clf = single(("time-frequency", "sensors"), identity_share=0.25).fit(X, Y)
    table = clf.invariances_
    assert table["layer"].tolist() == [0] * 6 + [1] * 7
    assert table.groupby("layer")["weight"].sum().tolist() == pytest.approx([0.75, 0.75])


@pytest.mark.parametrize(
    ("settings", "words"),
    [({"selection": "best"}, "selection is 'best'"), ({"identity_share": 2.0}, "identity_share is 2.0")],
)
def test_what_is_wrong_is_named(settings, words):
    with pytest.raises(ValueError, match=words):
        single().set_params(**settings).fit(X, Y)


@pytest.mark.parametrize("judge_share", [0.0, 0.25])
def test_frozen_strengths_stay_frozen(judge_share):
    settings = {"selection": "single", "judge_share": judge_share, "max_epochs": 2, "verbose": 0, "random_state": 0}
    clf = AugNetClassifier(
        SmallNet,
        layers=[["sign_flip", "gaussian_noise"]],
        sfreq=SFREQ,
        callbacks=[Freezer("augmentation.*")],
        **settings,
    ).fit(X, Y)
    assert clf.invariances_["magnitude"].tolist() == pytest.approx([0.1, 0.1], abs=1e-7)
    assert not clf.module_.augmentation.layers[0].strengths.requires_grad


def test_strengths_are_judged_by_a_frozen_network():
    clf = AugNetClassifier(
        SmallNet,
        layers=[["sign_flip", "gaussian_noise"]],
        selection="single",
        judge_share=0.25,
        max_epochs=2,
        sfreq=SFREQ,
        callbacks=[Freezer("trunk.*")],
        random_state=0,
        verbose=0,
    ).fit(X, Y)
    assert (clf.invariances_["magnitude"] != 0.1).all()


def test_a_schedule_of_ones_own_replaces_the_cosine():
    settings = {"layers": [["gaussian_noise"]], "selection": "single", "max_epochs": 3, "verbose": 0, "sfreq": SFREQ}
    clf = AugNetClassifier(SmallNet, callbacks=[LRScheduler("StepLR", step_size=1, gamma=0.1)], lr=1.0, **settings)
    clf.fit(X, Y)
    assert clf.history[:, "event_lr"] == pytest.approx([1.0, 0.1, 0.01])
    with pytest.raises(ValueError, match="use one of them"):
        clf.set_params(lr_schedule="cosine").fit(X, Y)
    names = [name for name, _ in single(callbacks=[("own", LRScheduler)]).initialize_callbacks().callbacks_]
    assert "own" in names and "lr_schedule" not in names


def test_rates_of_trunk_and_augmentation_are_set_apart():
    clf = AugNetClassifier(
        SmallNet, layers=[["gaussian_noise"]], augmentation_lr=1e-4, max_epochs=1, verbose=0, sfreq=SFREQ
    ).fit(X, Y)
    clf.set_params(lr=5e-3, optimizer__weight_decay=0.5)
    assert [(group["lr"], group["weight_decay"]) for group in clf.optimizer_.param_groups] == [(5e-3, 0.5), (1e-4, 0.0)]
    clf.set_params(augmentation_lr=1e-2)
    assert clf.optimizer_.param_groups[-1]["lr"] == 1e-2


@pytest.mark.parametrize("judge_share", [0.0, 0.25])
def test_layers_that_were_learned_learn_elsewhere_too(judge_share):
    """Losses are compared in this training only; in a loop of one's own probabilities have a gradient again."""
    clf = single([["sign_flip"]], judge_share=judge_share, max_epochs=1).fit(X, Y)
    (layer,) = clf.module_.augmentation.layers
    clf.module_.train()(torch.from_numpy(X)).square().sum().backward()
    assert layer.drawn == []
    assert layer.strengths.grad.abs().item() > 0
    other = AITClassifier(
        SmallNet, variants=clf.module_.augmentation, penalty=0.0, lr=0.01, max_epochs=1, random_state=0, verbose=0
    ).fit(X, Y)
    assert other.invariances_["magnitude"][0] != clf.invariances_["magnitude"][0]


@pytest.mark.parametrize("judge_share", [0.0, 0.25])
def test_dropout_of_channels_ends_where_it_costs(judge_share):
    """Where both channels are dropped, log 3 nats are lost. The reward of 0.1 log p balances p² log 3 at 0.21."""
    windows, labels = tones(192, n_channels=2)
    clf = AugNetClassifier(
        SmallNet,
        layers=[["sign_flip", "channels_dropout"]],
        selection="single",
        judge_share=judge_share,
        sfreq=SFREQ,
        ch_names=CHANNELS[:2],
        max_epochs=40,
        lr=0.01,
        augmentation_lr=1e-2,
        random_state=0,
        verbose=0,
    ).fit(windows, labels)
    flip, dropout = clf.invariances_["magnitude"]
    assert flip > 0.95
    assert 0.01 < dropout < 0.3
