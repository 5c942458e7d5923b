"""Operations that decide learn by the losses of the variants that they made, not by the gradient of one draw."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from small import CHANNELS, SFREQ, X, Y
from torch import nn

from eegaug import AITClassifier, AugmentationModule, AugNetClassifier, MutualClassifier
from eegaug.consistency import symmetric_kl

STRENGTH, WEIGHT = 0.3, 2.0
COMMON = {"sfreq": SFREQ, "ch_names": CHANNELS, "max_epochs": 0, "random_state": 0, "verbose": 0, "penalty": 0.0}
# One window many times: means over its draws are expectations.
ONE, LABEL = torch.from_numpy(X[:1] + 1.0), torch.from_numpy(Y[:1])
BATCH = ONE.repeat(4000, 1, 1), LABEL.repeat(4000)


class Signed(nn.Module):
    """What it says depends on the sign of a window."""

    def __init__(self, n_chans: int, n_outputs: int):
        super().__init__()
        self.conv = nn.Conv1d(n_chans, 6, 15)
        self.final_layer = nn.Linear(6, n_outputs)

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        return self.final_layer(self.conv(X).relu().mean(-1) * 3.0)


def flips():
    return AugmentationModule([["sign_flip"]], selection="single", initial_strength=STRENGTH)


def step(clf):
    """Gradients of one step."""
    clf.optimizer_.zero_grad()
    clf.epoch_sums_ = {}
    clf.train_step_single(BATCH)


@torch.no_grad()
def loss_of(networks, signs):
    """Loss of the window where variant k has the k-th sign: that of mutual learning, by its definition."""
    outputs = [net(sign * ONE) for net, sign in zip(networks, signs, strict=True)]
    own = sum(nn.functional.cross_entropy(z, LABEL) for z in outputs)
    return own + WEIGHT * symmetric_kl(*outputs).mean()


CASES = {
    "one module for both": (AITClassifier, {"variants": flips()}, [(0, 1)]),
    "windows as they are, and a module": (AITClassifier, {"variants": [None, flips()]}, [(1,)]),
    "two modules": (AITClassifier, {"variants": [flips(), flips()]}, [(0,), (1,)]),
    "a module for all networks": (MutualClassifier, {"variants": flips()}, [(0, 1)]),
    "a module for one network": (MutualClassifier, {"variants": [flips(), None]}, [(0,)]),
    "one variant for all networks": (MutualClassifier, {"variants": flips(), "shared_variant": True}, [(0, 1)]),
}


@pytest.mark.parametrize("case", CASES)
def test_gradient_is_that_of_the_expected_loss(case):
    kind, settings, made = CASES[case]
    clf = kind(Signed, consistency=WEIGHT, **settings, **COMMON).fit(X, Y)
    mutual = kind is MutualClassifier
    networks = list(clf.module_.trunks) if mutual else [clf.module_.trunk] * 2
    layers = clf.module_.augmentation.layers
    step(clf)
    losses = {signs: loss_of(networks, signs) for signs in itertools.product((1, -1), repeat=2)}

    def expected(*strengths):
        """Of the loss, which for AIT is half of that of mutual learning."""
        probabilities = [[1 - s / 2, s / 2] for s in strengths]
        total = 0.0
        for signs, loss in losses.items():
            p = [probabilities[k][sign < 0] for k, sign in enumerate(signs)]
            if settings.get("shared_variant"):
                p = [p[0], float(signs[0] == signs[1])]
            total = total + p[0] * p[1] * loss
        return total if mutual else total / 2

    for layer, places in zip(layers, made, strict=True):
        strength = torch.tensor(STRENGTH, requires_grad=True)
        others = 0.0 if any(source is None for source in np.ravel(settings["variants"])) else STRENGTH
        expected(*(strength if k in places else others for k in range(2))).backward()
        assert layer.strengths.grad.item() == pytest.approx(strength.grad.item(), rel=0.1)
        assert not layer.compares_losses and layer.drawn == []


@pytest.mark.parametrize("n_copies", [1, 3])
def test_copies_of_a_window_are_decided_on_one_by_one(n_copies):
    clf = AugNetClassifier(
        Signed,
        layers=[["sign_flip"]],
        selection="single",
        initial_strength=STRENGTH,
        n_copies_train=n_copies,
        aggregate="logits",
        **COMMON,
    ).fit(X, Y)
    step(clf)
    trunk, strength = clf.module_.trunk, torch.tensor(STRENGTH, requires_grad=True)
    total = 0.0
    with torch.no_grad():
        as_it_is, flipped = trunk(ONE), trunk(-ONE)
    for changed in itertools.product((0, 1), repeat=n_copies):
        k = sum(changed)
        logits = (k * flipped + (n_copies - k) * as_it_is) / n_copies
        p = (strength / 2) ** k * (1 - strength / 2) ** (n_copies - k)
        total = total + p * nn.functional.cross_entropy(logits, LABEL)
    total.backward()
    layer = clf.module_.augmentation.layers[0]
    assert layer.strengths.grad.item() == pytest.approx(strength.grad.item(), rel=0.1)
