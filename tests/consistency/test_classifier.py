"""Augmentation-invariant training as an estimator."""

from __future__ import annotations

import copy
import json
import pickle

import numpy as np
import pytest
import torch
from braindecode.augmentation import Compose, GaussianNoise, Mixup, SignFlip
from sklearn.base import clone
from small import CHANNELS, NAMES, SFREQ, SmallNet, X, Y, global_random_states, staging, tones
from torch import nn

from eegaug import AITClassifier, AugmentationLayer, AugmentationModule, Policy, StagingClassifier
from eegaug.augnet.learned import DEFAULTS
from eegaug.consistency import symmetric_kl
from eegaug.consistency.variants import Variants
from eegaug.operations import get_operation
from eegaug.policy import ClassPolicy, SubPolicy
from eegaug.transforms import OperationTransform


def ait(module=SmallNet, **settings):
    settings = {"variants": POLICY, "max_epochs": 2, "lr": 0.01, "random_state": 0, "verbose": 0} | settings
    return AITClassifier(module, **{"sfreq": SFREQ, "ch_names": CHANNELS} | settings)


POLICY = Policy(
    sub_policies=[
        SubPolicy(operations=[("gaussian_noise", 0.8, 1.0)]),
        SubPolicy(operations=[("frequency_shift", 0.8, 0.1)]),
        SubPolicy(operations=[("channels_dropout", 0.8, 0.4)]),
    ],
    sfreq=SFREQ,
    ch_names=CHANNELS,
)


def same_parameters(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


# The loss ------------------------------------------------------------------------------------------------------------


def test_without_consistency_it_is_plain_training_on_both_variants():
    """To the last bit: the plain network gets every window twice in a batch, and draws the same augmentation."""
    batches = np.arange(48).reshape(3, 16)
    twice = np.concatenate([np.concatenate([batch, batch]) for batch in batches])
    common = {"iterator_train__shuffle": False, "max_epochs": 3, "module__drop_prob": 0.3, "class_weight": {0: 2.0}}
    control = ait(consistency=0.0, batch_size=16, **common).fit(X, Y)
    plain = staging(policy=POLICY, batch_size=32, **common).fit(X[twice], Y[twice])
    assert same_parameters(control.module_, plain.module_)
    assert control.history[:, "train_loss"] == plain.history[:, "train_loss"]
    assert np.array_equal(control.predict_proba(X), plain.predict_proba(X))
    assert not same_parameters(control.module_, ait(batch_size=16, **common).fit(X, Y).module_)


def test_one_step_minimises_the_formula():
    """Class weights on the cross-entropy alone; half of CE1 + CE2 + λ D, by hand, against the network after a step."""
    weights = {0: 3.0, 1: 1.0, 2: 0.5}
    shifted = [lambda X: X + 0.3, lambda X: X.flip(-1) - 0.2]
    settings = {"class_weight": weights, "batch_size": -1, "max_epochs": 1, "optimizer": torch.optim.SGD, "lr": 0.1}
    clf = ait(variants=shifted, consistency=1.5, iterator_train__shuffle=False, **settings).fit(X, Y)
    net = ait(variants=shifted, max_epochs=0).fit(X, Y).module_.train()
    windows, labels = torch.from_numpy(X), torch.from_numpy(Y)
    logits = [net(variant(windows)) for variant in shifted]
    cross_entropy = nn.CrossEntropyLoss(torch.tensor([3.0, 1.0, 0.5]))
    d = symmetric_kl(*logits).mean()
    ce = (cross_entropy(logits[0], labels) + cross_entropy(logits[1], labels)) / 2
    (ce + 1.5 * d / 2).backward()
    with torch.no_grad():
        for p in net.parameters():
            p -= 0.1 * p.grad
    for ours, hand in zip(clf.module_.parameters(), net.parameters(), strict=True):
        torch.testing.assert_close(ours, hand)
    row = clf.history[-1]
    assert row["train_ce"] == pytest.approx(ce.item(), rel=1e-5)
    assert row["train_consistency"] == pytest.approx(d.item(), rel=1e-5)
    assert row["train_loss"] == pytest.approx(ce.item() + 0.75 * d.item(), rel=1e-5)
    assert row["n_forward_backward"] == clf.n_forward_backward_ == 2


def test_identical_variants_have_nothing_to_agree_on():
    clf = ait(variants=[None, None], consistency=5.0, max_epochs=3).fit(X, Y)
    assert clf.history[:, "train_consistency"] == [0.0] * 3
    plain = staging(max_epochs=3).fit(X, Y)
    np.testing.assert_allclose(clf.predict_proba(X), plain.predict_proba(X), atol=1e-5)


def test_variants_are_drawn_independently():
    clf = ait(variants=("gaussian_noise", 1.0, 1.0), consistency=0.0).fit(X, Y)
    assert clf.history[-1, "train_consistency"] > 1e-4
    made = clf._make_variants(torch.from_numpy(X[:6]), torch.from_numpy(Y[:6]))
    assert made[0].shape == (12, 4, 100)
    assert (made[0][:6] != made[0][6:]).all()
    assert made[1].tolist() == [*Y[:6], *Y[:6]]


class MeanOfChannels(nn.Module):
    """Logistic regression on the channels' means."""

    def __init__(self, n_chans, n_outputs):
        super().__init__()
        self.linear = nn.Linear(n_chans, n_outputs)

    def forward(self, X):
        return self.linear(X.mean(2))


def two_clues(n=200, seed=0):
    """Both channels tell the label; what the second tells is what :func:`blurred` changes."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2
    means = (2 * y[:, None] - 1) * [0.7, 1.0] + rng.standard_normal((n, 2)) * [1.0, 0.5]
    return (means[:, :, None] + 0.01 * rng.standard_normal((n, 2, 10))).astype("float32"), y


def blurred(X):
    return X + torch.randn(len(X), 1, 1) * torch.tensor([[0.0], [1.0]])


def test_training_with_it_makes_predictions_vary_less():
    """The difference between two variants of windows that were never seen, with λ and without."""
    unseen, labels = map(torch.from_numpy, two_clues(seed=1))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        variants = [blurred(unseen) for _ in range(2)]
    settings = {"sfreq": None, "ch_names": None, "variants": blurred, "max_epochs": 10, "lr": 0.03}
    difference, blind = {}, {}
    for strength in (0.0, 2.0):
        clf = ait(MeanOfChannels, consistency=strength, **settings).fit(*two_clues())
        difference[strength] = symmetric_kl(*(clf.forward(one) for one in variants)).mean().item()
        weight = clf.module_.linear.weight.diff(dim=0).abs()[0]
        blind[strength] = (weight[0] / weight[1]).item()
        assert clf.score(unseen, labels) > 0.75
    assert difference[2.0] < 0.5 * difference[0.0]
    assert blind[2.0] > 1.5 * blind[0.0]  # it looks at the channel that stays as it is


def test_a_layer_may_be_compared_instead():
    class Doubled(SmallNet):
        def forward(self, X):
            return super().forward(X)

    clf = ait(Doubled, compare="conv", metric="euclidean", consistency=0.1).fit(X, Y)
    conv = clf.module_.conv
    assert not conv._forward_hooks  # nothing stays behind
    windows, _ = clf._make_variants(torch.from_numpy(X), torch.from_numpy(Y))
    with clf._compared(clf.module_) as seen:
        clf.module_(windows)
    assert seen[0].shape == (96, 4, 86)
    distance = (seen[0][:48] - seen[0][48:]).flatten(1).norm(dim=1).mean()
    torch.testing.assert_close(clf._difference(seen[0].chunk(2)), distance)
    with pytest.raises(ValueError, match="no layer 'final_layr'; did you mean final_layer"):
        ait(compare="final_layr").fit(X, Y)


def test_sequences_of_windows():
    class Sequences(SmallNet):
        def forward(self, X):
            return super().forward(X.flatten(0, 1)).unflatten(0, X.shape[:2]).mT

    sequences, stages = X.reshape(16, 3, 4, 100), Y.reshape(16, 3)
    clf = ait(Sequences, max_epochs=10, lr=0.03).fit(sequences, stages)
    assert clf.history[-1, "train_consistency"] > 0
    assert clf.score(sequences, stages) > 0.8


@pytest.mark.parametrize("metric", ["kl", "euclidean", "kl+euclidean"])
@pytest.mark.parametrize("detach", [False, True])
def test_every_form_trains(metric, detach):
    clf = ait(metric=metric, detach_target=detach, max_epochs=10, lr=0.03).fit(X, Y)
    assert clf.score(X, Y) > 0.8


def test_detached_targets_pull_less_hard():
    settings = {"max_epochs": 1, "batch_size": -1, "optimizer": torch.optim.SGD, "consistency": 2.0}
    full, half = (ait(detach_target=detach, **settings).fit(X, Y) for detach in (False, True))
    assert full.history[-1, "train_loss"] == pytest.approx(half.history[-1, "train_loss"], rel=1e-6)
    assert not same_parameters(full.module_, half.module_)


# Sources of variants -------------------------------------------------------------------------------------------------


def class_policy():
    policies = [
        Policy(sub_policies=[SubPolicy(operations=[(op, 1.0)])], sfreq=SFREQ) for op in ("sign_flip", "time_reverse")
    ]
    return ClassPolicy(classes=("N2", "REM", "W"), policies=(*policies, policies[0]))


SOURCES = {
    "default": lambda: None,
    "policy": lambda: POLICY,
    "fixed": lambda: "fixed",
    "operation": lambda: "frequency_shift",
    "group": lambda: "time-frequency",
    "one each": lambda: ["sign_flip", ("gaussian_noise", 1.0, 0.2)],
    "lists": lambda: [["sign_flip", "frequency_shift"], [get_operation("time_masking", max_strength=20.0)]],
    "window as it is": lambda: [None, "sign_flip"],
    "braindecode": lambda: [SignFlip(0.5, random_state=0), Compose([GaussianNoise(1.0, random_state=1)])],
    "function": lambda: lambda X: X * 0.9,
    "three": lambda: ["sign_flip", "time_reverse", None],
    "class-wise": class_policy,
    "learned": lambda: AugmentationModule(["time-frequency"], sfreq=SFREQ),
    "layer": lambda: [AugmentationLayer(["sign_flip", "gaussian_noise"]), "fixed"],
    "exported": lambda: POLICY.to_braindecode(random_state=0),
}


@pytest.mark.parametrize("kind", SOURCES)
def test_sources_of_every_kind(kind):
    clf = ait(variants=SOURCES[kind](), batch_size=24).fit(X, NAMES[Y])
    n = 3 if kind == "three" else 2
    assert clf.n_forward_backward_ == 2 * 2 * n
    assert np.isfinite(clf.history[-1, "train_consistency"])
    assert clf.predict(X).shape == (48,)
    np.random.standard_normal(3)  # noqa: NPY002 - what happens elsewhere is of no matter
    assert np.array_equal(clone(clf).fit(X, NAMES[Y]).history[:, "train_loss"], clf.history[:, "train_loss"])


@pytest.mark.parametrize(
    "make",
    [
        lambda: SignFlip(0.5),
        lambda: SignFlip(0.5, random_state=0),
        lambda: Compose([GaussianNoise(1.0)]),
        lambda: OperationTransform("sign_flip", probability=0.5, random_state=0),
    ],
)
def test_two_transforms_of_one_kind_draw_apart(make):
    """Variants that are always the same would make the loss between them vanish, and nobody would see why."""
    variants = Variants([make(), make()], 2)
    first, second = variants.make(torch.ones(32, 2, 50), None, variants.take_modules()).chunk(2)
    assert not torch.equal(first, second)
    transform = make()
    variants = Variants([transform, transform], 2)
    first, second = variants.make(torch.ones(32, 2, 50), None, variants.take_modules()).chunk(2)
    assert not torch.equal(first, second)


def test_learned_variants_may_be_rewarded_for_change():
    clf = ait(variants=AugmentationModule([["sign_flip"]]), penalty_kind="change", max_epochs=1).fit(X, Y)
    layer = clf._learned_layers()[0]
    assert layer.full_changes.item() == pytest.approx(2**0.5, rel=1e-5)
    assert clf._penalty().item() == pytest.approx(-0.5 * (layer.strengths * layer.full_changes).item())


def test_policy_argument_is_the_source_of_both():
    by_policy = ait(variants=None, policy=POLICY).fit(X, Y)
    assert same_parameters(by_policy.module_, ait(variants=POLICY).fit(X, Y).module_)
    assert same_parameters(by_policy.module_, ait(variants=[POLICY, POLICY]).fit(X, Y).module_)


@pytest.mark.parametrize(
    ("wrong", "error", "words"),
    [
        ({"consistency": -1.0}, ValueError, "consistency is -1"),
        ({"consistency": "1"}, ValueError, "consistency is '1'; it is a number"),
        ({"consistency": float("nan")}, ValueError, "consistency is nan"),
        ({"metric": "l1"}, ValueError, "metric is 'l1'"),
        ({"variants": []}, ValueError, "variants is empty"),
        ({"policy": POLICY}, ValueError, "variants and policy are both given"),
        ({"variants": "frequency_shft"}, ValueError, "unknown operation 'frequency_shft'"),
        ({"variants": ("sign_flip", 1.5)}, ValueError, "probability is 1.5"),
        ({"variants": 3}, TypeError, "got a int"),
        ({"variants": "fixed", "sfreq": None}, ValueError, "sampling rate"),
        ({"variants": Policy.identity(sfreq=SFREQ * 2)}, ValueError, "policy is for 100 Hz"),
        ({"variants": Policy.identity(ch_names=["C3"])}, ValueError, "fit the policy"),
        (
            {"variants": AugmentationModule([["frequency_shift"]], sfreq=100)},
            ValueError,
            "built for 100 Hz, the signal",
        ),
        ({"variants": AugmentationLayer(["frequency_shift"], sfreq=100)}, ValueError, "built for 100 Hz, the signal"),
        ({"variants": [None, OperationTransform("frequency_shift", sfreq=100)]}, ValueError, "the signal has 50 Hz"),
        ({"variants": Policy.identity(sfreq=100).to_braindecode()}, ValueError, "policy is for 100 Hz"),
        ({"variants": lambda X: X[..., :50]}, ValueError, "shapes have to stay"),
        ({"variants": Mixup(1.0, random_state=0)}, ValueError, "changes labels"),
        ({"variants": AugmentationModule([["sign_flip"]]), "penalty_kind": "l0"}, ValueError, "'l0'"),
    ],
)
def test_wrong_settings_are_named(wrong, error, words):
    with pytest.raises(error, match=words):
        ait(**wrong).fit(X, Y)


# As an estimator -----------------------------------------------------------------------------------------------------


def test_same_seed_same_result_and_global_randomness_is_left_alone():
    before = global_random_states()
    first, again, other = (ait(random_state=seed).fit(X, Y) for seed in (3, 3, 4))
    assert same_parameters(first.module_, again.module_)
    assert not same_parameters(first.module_, other.module_)
    for a, b in zip(global_random_states(), before, strict=True):
        assert torch.equal(a, b)


def test_begins_as_plain_training_does():
    plain, ours = staging(random_state=5, max_epochs=0).fit(X, Y), ait(random_state=5, max_epochs=0).fit(X, Y)
    assert same_parameters(plain.module_, ours.module_)


def test_pickle_deepcopy_and_training_on():
    clf = ait(variants=AugmentationModule([["gaussian_noise", "sign_flip"]]), max_epochs=1).fit(X, Y)
    for again in (pickle.loads(pickle.dumps(clf)), copy.deepcopy(clf)):
        assert np.array_equal(again.predict_proba(X), clf.predict_proba(X))
        before = again.invariances_
        again.partial_fit(X, Y)
        assert not again.invariances_.equals(before)
        assert len(again.history) == 2


# Augmentation that is learned ----------------------------------------------------------------------------------------


def test_learned_augmentation_is_trained_with_the_network():
    module = AugmentationModule([["frequency_shift", "gaussian_noise"], ["sign_flip"]], sfreq=SFREQ)
    clf = ait(variants=module, penalty=0.5, augmentation_lr=0.05, optimizer__weight_decay=0.1).fit(X, Y)
    trunk, augmentation = clf.optimizer_.param_groups
    assert (augmentation["lr"], augmentation["weight_decay"]) == (0.05, 0.0)
    assert (trunk["lr"], trunk["weight_decay"]) == (0.01, 0.1)
    assert len(augmentation["params"]) == 4
    assert len(trunk["params"]) == 4
    table = clf.invariances_
    assert table["layer"].tolist() == [0, 0, 1]
    assert table["magnitude"].between(0, 1).all()
    assert (table["magnitude"] != 0.1).all()
    assert (module.layers[1].strengths == 0.1).all()  # the user's own stays as it was
    row = clf.history[-1]
    assert row["train_loss"] == pytest.approx(
        row["train_ce"] + row["train_consistency"] / 2 + row["train_penalty"], abs=1e-5
    )
    assert clf.invariances_history_.groupby("epoch").size().tolist() == [3, 3]
    # Predictions are those of the trunk for windows as they are.
    with torch.no_grad():
        logits = clf.module_.eval().trunk(torch.from_numpy(X))
    np.testing.assert_allclose(clf.predict_proba(X), logits.softmax(1).numpy(), atol=1e-6)


def test_modules_of_two_variants_are_numbered_on_and_frozen_ones_stay():
    free, fixed = (AugmentationModule([["gaussian_noise"]]) for _ in range(2))
    clf = ait(variants=[free, fixed.requires_grad_(False)]).fit(X, Y)
    table = clf.invariances_
    assert table["layer"].tolist() == [0, 1]
    assert table["magnitude"][0] != pytest.approx(0.1, abs=1e-4)
    assert table["magnitude"][1] == pytest.approx(0.1)


def test_one_operation_for_each_window():
    module = AugmentationModule([["frequency_shift", "gaussian_noise", "sign_flip"]], sfreq=SFREQ, selection="single")
    clf = ait(variants=module).fit(X, Y)
    table = clf.invariances_
    assert table["weight"].tolist() == pytest.approx([1 / 3] * 3)
    assert (table["magnitude"] != 0.1).all()
    # The penalty of this kind, where nothing is said.
    mu = table["magnitude"]
    rewards = [np.log(mu[0]), np.log(mu[1]), mu[2] * (1 - np.log(mu[2] / 2))]  # the sign is flipped by chance
    assert clf._penalty().item() == pytest.approx(-DEFAULTS["single"][0] * np.mean(rewards), rel=1e-4)
    assert {"signal_change", "loss_rise"} <= set(table)


def test_an_operation_that_is_only_named_is_applied_to_every_other_window():
    (policy,) = Variants([["sign_flip", ("time_reverse", 0.2)]], 2).policies
    assert [sub.operations[0].probability for sub in policy.sub_policies] == [0.5, 0.2]


def test_plain_sources_have_no_invariances():
    clf = ait().fit(X, Y)
    assert clf.invariances_.empty and clf.invariances_history_.empty
    assert isinstance(clf, StagingClassifier)


class SignBin(nn.Module):
    """Sees the mean of a window and its square: it can tell signs apart, and need not."""

    def __init__(self, n_outputs):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, n_outputs))

    def forward(self, X):
        mean = X.mean((1, 2))
        return self.net(torch.stack((mean, mean.square()), 1))


def test_an_exact_invariance_is_found_and_consistency_does_not_stop_it():
    rng = np.random.default_rng(0)
    y = np.arange(120) % 2
    mean = rng.choice([-1.0, 1.0], 120) * (0.5 + 1.5 * y)
    windows = (mean[:, None, None] + 0.1 * rng.standard_normal((120, 1, 20))).astype("float32")
    settings = {"sfreq": None, "ch_names": None, "penalty": 0.2, "lr": 0.02, "max_epochs": 25}
    clf = ait(SignBin, variants=AugmentationModule([["sign_flip"]]), consistency=1.0, **settings).fit(windows, y)
    assert clf.invariances_["strength"][0] == 0.5
    assert clf.score(windows, y) == 1.0


def test_consistency_holds_back_what_changes_the_answer():
    """Tones 4 Hz apart, shifted by up to 5 Hz: the more the answers have to agree, the less they may be shifted."""
    learned = {}
    for consistency in (0.0, 3.0):
        module = AugmentationModule([["frequency_shift"]], sfreq=SFREQ, initial_strength=0.5)
        clf = ait(variants=module, consistency=consistency, penalty=0.3, lr=0.02, max_epochs=15).fit(*tones(96))
        learned[consistency] = clf.invariances_["magnitude"][0]
    assert learned[3.0] < learned[0.0] - 0.05


def test_a_list_of_one_source_is_that_source():
    listed, alone = (ait(variants=given).fit(X, Y) for given in ([["sign_flip", "gaussian_noise"]], ["sign_flip"]))
    assert len(listed.variants_) == len(alone.variants_) == 2
    first, second = listed.variants_.sources
    assert first is second and [op.name for op in first.operations] == ["sign_flip", "gaussian_noise"]


def test_an_operation_is_the_same_by_name_and_as_a_layer_has_it():
    clf = ait(variants=["ft_surrogate"]).fit(X, Y)
    assert clf.variants_.policies[0].operations == (get_operation("ft_surrogate", sfreq=SFREQ, ch_names=CHANNELS),)


class Parts(nn.Module):
    """A network with parts of the names that estimators give to theirs."""

    def __init__(self, n_chans, n_outputs):
        super().__init__()
        self.trunk, self.augmentation = nn.Conv1d(n_chans, 4, 15), nn.Linear(4, 4)
        self.head = nn.Linear(4, n_outputs)

    def forward(self, X):
        return self.head(self.augmentation(self.trunk(X).square().mean(-1)))


def test_parts_of_the_network_are_its_own_whatever_their_names(tmp_path):
    clf = ait(Parts, augmentation_lr=0.0, compare="head").fit(X, Y)
    assert len(clf.optimizer_.param_groups) == 1
    assert json.loads((clf.save(tmp_path / "model") / "model.json").read_text())["trunk"]["class"].endswith(":Parts")
    layered = ait(Parts, variants=AugmentationLayer(["gaussian_noise"]), compare="head").fit(X, Y)
    assert [len(group["params"]) for group in layered.optimizer_.param_groups] == [6, 2]


def test_a_penalty_without_anything_learned_is_warned_of():
    clf = AITClassifier(SmallNet, variants=["sign_flip"], penalty=5.0, sfreq=SFREQ, max_epochs=0, verbose=0)
    with pytest.warns(UserWarning, match="penalty=5.0 has no effect: no variant is augmentation that is learned"):
        clf.fit(X, Y)
