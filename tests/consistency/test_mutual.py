"""Networks that learn from each other."""

from __future__ import annotations

import copy
import functools
import pickle
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.base import clone
from small import CHANNELS, NAMES, SFREQ, SmallNet, X, Y, staging, tones
from torch import nn

from eegaug import AugmentationModule, MutualClassifier, StagingClassifier
from eegaug.consistency import symmetric_kl
from eegaug.consistency.mutual import MutualModel
from eegaug.operations import get_operation

from .test_classifier import POLICY, ait, same_parameters


def mutual(module=SmallNet, **settings):
    settings = {"variants": POLICY, "max_epochs": 2, "lr": 0.01, "random_state": 0, "verbose": 0} | settings
    return MutualClassifier(module, **{"sfreq": SFREQ, "ch_names": CHANNELS} | settings)


class Linear(nn.Module):
    """Another network, without a name in common."""

    def __init__(self, n_chans, n_times, n_outputs, scale=1.0):
        super().__init__()
        self.scale = scale
        self.head = nn.Linear(n_chans * n_times, n_outputs)

    def forward(self, X):
        return self.head(self.scale * X.flatten(1))


@pytest.fixture(scope="module")
def fitted():
    return mutual(modules=[SmallNet, Linear], max_epochs=3, class_weight={"W": 2.0}).fit(X, NAMES[Y])


def step_by_hand(nets, windows, strength, lr):
    """One SGD step on Σ CE + λ / (n - 1) Σ_{i≠j} KL(p_i ‖ p_j)."""
    logits = [net(one) for net, one in zip(nets, windows, strict=True)]
    logs = [z.log_softmax(1) for z in logits]
    ce = sum(nn.functional.cross_entropy(z, torch.from_numpy(Y)) for z in logits)
    kl = sum((p.exp() * (p - q)).sum(1).mean() for i, p in enumerate(logs) for j, q in enumerate(logs) if i != j)
    parameters = {id(p): p for net in nets for p in net.parameters()}.values()
    grads = torch.autograd.grad(ce + strength / (len(nets) - 1) * kl, list(parameters))
    with torch.no_grad():
        for parameter, grad in zip(parameters, grads, strict=True):
            parameter -= lr * grad


ONE_STEP = {
    "optimizer": torch.optim.SGD,
    "lr": 0.05,
    "batch_size": -1,
    "max_epochs": 1,
    "class_weight": None,
    "iterator_train__shuffle": False,
}


@pytest.mark.parametrize("n", [2, 3])
@pytest.mark.parametrize("shared", [False, True])
def test_one_step_minimises_the_formula(n, shared):
    """Variants of their own (multi-AIT), or one for all (deep mutual learning)."""
    variants = [functools.partial(torch.mul, other=1.0 + 0.2 * i) for i in range(n)]
    settings = {"variants": variants, "n_networks": n, "shared_variant": shared, "consistency": 2.0} | ONE_STEP
    nets = copy.deepcopy(mutual(**settings | {"max_epochs": 0}).fit(X, Y).networks_)
    clf = mutual(**settings).fit(X, Y)
    windows = [variant(torch.from_numpy(X)) for variant in variants]
    step_by_hand(nets, [windows[0]] * n if shared else windows, 2.0, 0.05)
    assert clf.n_forward_backward_ == n
    for ours, hand in zip(clf.networks_, nets, strict=True):
        for a, b in zip(ours.parameters(), hand.parameters(), strict=True):
            torch.testing.assert_close(a, b)


def test_networks_with_the_same_weights_are_one_network_trained_by_ait():
    """Shared weights get the sum of both gradients: that of the paper's loss, twice the loss of AITClassifier."""
    variants = [lambda X: X * 1.3, lambda X: X + 0.1]
    settings = ONE_STEP | {"variants": variants, "consistency": 2.0}
    single = ait(**settings | {"lr": 0.1}).fit(X, Y)

    class Tied(MutualClassifier):
        def initialize_module(self):
            super().initialize_module()
            self.module_ = MutualModel([self.networks_[0]] * 2)
            return self

    tied = Tied(SmallNet, sfreq=SFREQ, ch_names=CHANNELS, random_state=0, verbose=0, **settings).fit(X, Y)
    for a, b in zip(tied.networks_[0].parameters(), single.module_.parameters(), strict=True):
        torch.testing.assert_close(a, b)
    for name, times in (("train_ce", 1), ("train_consistency", 1), ("train_loss", 2)):
        assert tied.history[-1, name] == pytest.approx(times * single.history[-1, name], rel=1e-5)


def test_without_consistency_networks_know_nothing_of_each_other():
    """The first of two is what it is beside any other."""
    settings = {"variants": [None, None], "consistency": 0.0, "iterator_train__shuffle": False}
    pair = mutual(**settings).fit(X, Y)
    other = mutual(modules=[SmallNet, functools.partial(SmallNet, n_filters=2)], **settings).fit(X, Y)
    assert not same_parameters(pair.networks_[0], pair.networks_[1])
    for a, b in zip(pair.networks_[0].parameters(), other.networks_[0].parameters(), strict=True):
        torch.testing.assert_close(a, b)
    taught = mutual(**settings | {"consistency": 3.0}).fit(X, Y)
    assert not same_parameters(taught.networks_[0], pair.networks_[0])


@pytest.mark.parametrize("shared", [False, True])
def test_networks_come_to_agree(shared):
    difference = {}
    for strength in (0.0, 5.0):
        clf = mutual(shared_variant=shared, consistency=strength, max_epochs=10, lr=0.03).fit(*tones(96))
        clean = torch.from_numpy(tones(60, seed=3)[0])
        difference[strength] = symmetric_kl(*(net(clean).detach() for net in clf.networks_)).mean().item()
        assert clf.score(*tones(60, seed=9)) > 0.9
    assert difference[5.0] < 0.7 * difference[0.0]


def test_ensemble_and_each_alone(fitted):
    each = fitted.predict_proba_each(X)
    assert each.shape == (2, 48, 3)
    np.testing.assert_allclose(each.sum(2), 1, atol=1e-6)
    np.testing.assert_allclose(fitted.predict_proba(X), each.mean(0), atol=1e-6)
    clf = copy.deepcopy(fitted).set_params(predict_with=1)
    np.testing.assert_allclose(clf.predict_proba(X), each[1], atol=1e-6)
    assert np.array_equal(clf.predict(X), clf.classes_[each[1].argmax(1)])
    assert fitted.predict_with == "ensemble"


def test_a_member_stands_alone(fitted, tmp_path):
    each = fitted.predict_proba_each(X)
    for i, kind in enumerate((SmallNet, Linear)):
        alone = fitted.member(i)
        assert type(alone) is StagingClassifier and isinstance(alone.module_, kind)
        np.testing.assert_allclose(alone.predict_proba(X), each[i], atol=1e-6)
        assert alone.classes_.tolist() == ["N2", "REM", "W"]
        again = StagingClassifier.load(alone.save(tmp_path / str(i)), module=kind)
        np.testing.assert_allclose(again.predict_proba(X), each[i], atol=1e-6)
        alone.partial_fit(X, NAMES[Y])
    assert np.array_equal(fitted.predict_proba_each(X), each)  # a member has weights of its own
    with pytest.raises(ValueError, match="no network 2; there are 0 to 1"):
        fitted.member(2)


def test_arguments_reach_the_networks():
    clf = mutual(module__n_filters=6).fit(X, Y)
    assert [net.conv.out_channels for net in clf.networks_] == [6, 6]
    modules = [functools.partial(Linear, scale=0.5), Linear]
    clf = mutual(modules=modules, optimizer__param_groups=[("trunks.0.head.*", {"lr": 0.5})]).fit(X, Y)
    assert [net.scale for net in clf.networks_] == [0.5, 1.0]
    assert [(group["lr"], len(group["params"])) for group in clf.optimizer_.param_groups] == [(0.5, 2), (0.01, 2)]


def test_learned_augmentation_and_features():
    module = AugmentationModule([["gaussian_noise", "sign_flip"]])
    clf = mutual(variants=module, penalty=0.5, compare="conv", metric="euclidean", consistency=0.05).fit(X, Y)
    assert clf.invariances_["layer"].tolist() == [0, 0]
    assert (clf.invariances_["magnitude"] != 0.1).all()
    own = [AugmentationModule([[op]]) for op in ("gaussian_noise", "sign_flip")]
    clf = mutual(variants=own, penalty=0.5).fit(X, Y)
    assert clf.invariances_["operation"].tolist() == ["gaussian_noise", "sign_flip"]
    assert clf.member(0).predict(X).shape == (48,)
    single = AugmentationModule([["gaussian_noise", "sign_flip"]], selection="single")
    assert mutual(variants=single).fit(X, Y).invariances_["signal_change"].notna().all()


def test_clone_pickle_and_same_seed(fitted):
    again = clone(fitted).fit(X, NAMES[Y])
    assert same_parameters(again.module_, fitted.module_)
    assert np.array_equal(pickle.loads(pickle.dumps(fitted)).predict_proba(X), fitted.predict_proba(X))


def test_begins_as_plain_training_does():
    first = mutual(max_epochs=0).fit(X, Y).networks_[0]
    assert same_parameters(first, staging(max_epochs=0).fit(X, Y).module_)


def test_different_kinds_of_operations_for_each_network():
    variants = [get_operation("gaussian_noise"), ("sign_flip", 1.0)]
    clf = mutual(variants=variants, predict_with=0).fit(X, Y)
    assert clf.history[-1, "train_consistency"] > 0


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"n_networks": 1}, "n_networks is 1"),
        ({"modules": [SmallNet]}, "modules has 1 entries"),
        ({"modules": [SmallNet(4, 3)] * 2}, "same module would be copied"),
        ({"variants": [None, None, None]}, "3 variants for 2 networks"),
        ({"predict_with": 2}, "predict_with is 2; use 'ensemble' or a number from 0 to 1"),
        ({"predict_with": "first"}, "predict_with is 'first'"),
        ({"compare": "head", "modules": [Linear, SmallNet]}, "SmallNet has no layer 'head'"),
        ({"consistency": -3.0}, "consistency is -3"),
    ],
)
def test_wrong_settings_are_named(wrong, words):
    with pytest.raises(ValueError, match=words):
        mutual(**wrong).fit(X, Y)


def test_mixed_precision_reaches_every_network():
    dtypes = set()

    class Watched(SmallNet):
        def forward(self, X):
            dtypes.add(self.conv(X).dtype)
            return super().forward(X)

    class Mixed(MutualClassifier):
        """As skorch's AccelerateMixin makes it."""

        accelerator = SimpleNamespace(
            autocast=lambda: torch.autocast("cpu", torch.bfloat16), backward=lambda loss: loss.backward()
        )

    clf = Mixed(Watched, variants=POLICY, max_epochs=1, sfreq=SFREQ, ch_names=CHANNELS, verbose=0).fit(X, Y)
    assert dtypes == {torch.bfloat16}
    assert np.isfinite(clf.history[-1, "train_loss"])
