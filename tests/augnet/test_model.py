"""The averaged model: what it gives in training and at prediction."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn

from eegaug.augnet import AugAveragedModel, AugmentationModule
from eegaug.augnet.layers import TrainingDraw
from eegaug.augnet.model import AGGREGATES, aggregate_copies

SFREQ = 50.0


def windows(n=5, seed=0, n_times=64):
    return torch.randn(n, 4, n_times, generator=torch.Generator().manual_seed(seed))


def trunk(seed=0, n_classes=3):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv1d(4, 5, 9), nn.ReLU(), nn.AdaptiveAvgPool1d(4), nn.Flatten(), nn.Linear(20, n_classes)
        )


def model(layers=("time-frequency", ["sign_flip", "channels_dropout"]), strength=0.6, **settings):
    return AugAveragedModel(trunk(), AugmentationModule(layers, sfreq=SFREQ, initial_strength=strength), **settings)


@pytest.mark.parametrize("name", ["frequency_shift", "gaussian_noise", "sign_flip", "channels_dropout"])
def test_one_operation_of_strength_zero_is_the_trunk(name):
    net = model([[name]], strength=0.0)
    X = windows()
    torch.testing.assert_close(net.train()(X), net.trunk(X), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(net.eval()(X), torch.log_softmax(net.trunk(X), 1), rtol=1e-5, atol=1e-5)


def test_no_copies_is_the_trunk_alone():
    net = model(n_copies=0).eval()
    assert torch.equal(net(windows()), net.trunk(windows()))
    assert net.output_kind == "logits"


def test_one_copy_gives_log_softmax_of_the_training_logits_for_the_same_draws():
    net = model([["gaussian_noise"]], n_copies=1, seed=7)
    X = windows()
    layer = net.augmentation.layers[0]
    draw = net.augmentation.plan(1, 7)[0][0]
    noise = {name: value.expand(len(X), -1, -1) for name, value in draw.noise_for(layer.operations[0], X).items()}
    logits = net.trunk(layer.weighted_sum(X, {0: TrainingDraw(noise, None)}))
    torch.testing.assert_close(net.eval()(X), torch.log_softmax(logits, 1))


@pytest.mark.parametrize("how", AGGREGATES)
def test_aggregates_are_what_they_say(how):
    net = model(aggregate=how, n_copies=6).eval()
    X = windows()
    copies = torch.stack(list(net.copies(X)))
    alone = [net.trunk(net.augmentation.transform(X, copy, n_copies=6, seed=net.seed)) for copy in range(6)]
    torch.testing.assert_close(copies, torch.stack(alone), rtol=1e-5, atol=1e-5)
    logs = torch.log_softmax(copies, -1)
    out = net(X)
    expected = {
        "logits": copies.mean(0),
        "log_probs": torch.log_softmax(logs.mean(0), -1),
        "probs": logs.exp().mean(0).log(),
    }[how]
    torch.testing.assert_close(out, expected, rtol=1e-5, atol=1e-5)
    assert net.output_kind == ("logits" if how == "logits" else "log_probs")
    if how != "logits":
        torch.testing.assert_close(out.exp().sum(1), torch.ones(len(X)))


def test_mean_probabilities_lie_between_those_of_the_copies():
    net = model(aggregate="probs", n_copies=6).eval()
    X = windows(20)
    copies = torch.stack(list(net.copies(X))).softmax(-1)
    mean = net(X).exp()
    assert (mean >= copies.amin(0) - 1e-6).all()
    assert (mean <= copies.amax(0) + 1e-6).all()
    assert not torch.allclose(copies[0], copies[1])


def test_softmax_of_mean_logits_and_of_mean_log_probabilities_agree():
    logits = torch.randn(4, 5, 3, generator=torch.Generator().manual_seed(0))
    by_logits = aggregate_copies(iter(logits), "logits").softmax(1)
    torch.testing.assert_close(aggregate_copies(iter(logits), "log_probs").exp(), by_logits)


def test_mean_over_copies_has_a_variance_that_falls_with_their_number():
    flat = nn.Sequential(nn.Flatten(), nn.Linear(4 * 64, 1))
    net = AugAveragedModel(
        flat, AugmentationModule([["gaussian_noise"]], initial_strength=1.0), aggregate="logits"
    ).eval()
    X = windows(1)
    spread = {}
    with torch.no_grad():
        for n_copies in (1, 8):
            net.set_prediction(n_copies=n_copies)
            outputs = []
            for seed in range(600):
                net.seed = seed
                outputs.append(net(X).item())
            spread[n_copies] = torch.tensor(outputs).var().item()
    # The variance of a variance estimate from 600 draws is 2 / 599: three standard errors of the ratio are a quarter.
    assert spread[1] / spread[8] == pytest.approx(8, rel=0.25)


def test_prediction_depends_neither_on_batch_nor_order():
    net = model().eval()
    X = windows(11)
    whole = net(X)
    torch.testing.assert_close(torch.cat([net(x[None]) for x in X]), whole, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(net(X.flip(0)).flip(0), whole, rtol=1e-5, atol=1e-6)


def test_prediction_survives_copies_pickling_and_state_dict():
    net = model(seed=11).eval()
    expected = net(windows())
    other = model(seed=0)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.normal_(std=0.01)
    other.load_state_dict(net.state_dict())
    assert other.seed == 11
    for again in (copy.deepcopy(net), pickle.loads(pickle.dumps(net)), other.eval()):
        assert torch.equal(again(windows()), expected)


def test_several_copies_in_training():
    net = model([["gaussian_noise"]], strength=1.0, n_copies_train=3)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        out = net.train()(windows())
        torch.manual_seed(0)
        copies = [net.trunk(net.augmentation(windows())) for _ in range(3)]
    torch.testing.assert_close(out, aggregate_copies(copies, "log_probs"))
    assert net.output_kind == "log_probs"
    net.n_copies_train = 1
    assert net.output_kind == "logits"


def test_regularization_is_that_of_the_layers_being_trained():
    net = model([["gaussian_noise"]], strength=0.6)
    assert net.regularization().item() == pytest.approx(0.6)
    net.augmentation.layers[0].strengths.data.fill_(0.2)
    assert net.regularization().item() == pytest.approx(0.2)
    assert net.regularization("none").item() == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"n_copies": -1},
        {"n_copies": 1.5},
        {"n_copies": float("nan")},
        {"n_copies": "4"},
        {"n_copies_train": 0},
        {"n_copies_train": None},
        {"aggregate": "vote"},
    ],
)
def test_settings_that_mean_nothing_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        model(**wrong)
    if "n_copies_train" not in wrong:
        with pytest.raises(ValueError, match=next(iter(wrong))):
            model().set_prediction(**wrong)
