"""What operations do at their strength, measured by themselves."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from small import CHANNELS, SFREQ, SmallNet
from torch.utils.data import Subset

from eegaug import AugNetClassifier
from eegaug.augnet import AugmentationLayer
from eegaug.augnet.effects import measure_effects, measure_full_changes
from eegaug.operations.sensors import SignFlip


def loss(X, y):
    """Mean absolute deviation of the windows' mean from the label."""
    return (X.mean((-1, -2)) - y).abs().mean()


def test_changes_of_signal_and_loss():
    layer = AugmentationLayer(
        ["sign_flip", "gaussian_noise", "channels_dropout", "time_reverse"], selection="single", initial_strength=1.0
    )
    assert {row["signal_change"] for row in layer.describe()} == {None}
    t = torch.arange(400) / 400
    y = torch.full((600,), 1.0)
    # Mean 1, amplitude sqrt(2), hence a standard deviation of 1; symmetric in time.
    X = (1.0 + math.sqrt(2) * torch.cos(2 * torch.pi * 4 * (t + 0.5 / 400))).expand(600, 1, 400)
    batches = [(X[:500], y[:500]), (X[500:], y[500:])]
    measure_effects([layer], batches, loss, torch.Generator().manual_seed(0))
    found = {row["operation"]: (row["signal_change"], row["loss_rise"]) for row in layer.describe()}
    # Half of the windows become their negatives: |2 x|^2 = 4 (1 + 1), mean -1 instead of 1.
    assert found["sign_flip"] == pytest.approx((2.0, 1.0), rel=1e-4)
    assert found["gaussian_noise"] == pytest.approx((0.2, 0.0), abs=0.01)
    # All channels are lost at a probability of 1.
    assert found["channels_dropout"] == pytest.approx((math.sqrt(2), 1.0), rel=1e-4)
    assert found["time_reverse"] == pytest.approx((0.0, 0.0), abs=1e-3)


def test_changes_at_full_strength():
    names = ["sign_flip", "time_reverse", "gaussian_noise", "channels_dropout", "frequency_shift"]
    layer = AugmentationLayer(names, sfreq=100, initial_strength=0.3)
    assert layer.full_changes.tolist() == [1.0] * 5
    X = torch.randn(300, 2, 1000, generator=torch.Generator().manual_seed(0))
    measure_full_changes([layer], X.split(128), torch.Generator().manual_seed(1))
    # At even odds: (4 / 2) ** 0.5, and (2 / 2) ** 0.5 for noise that comes out as other noise; nothing is left of a
    # window that loses its channels; what is shifted by far has nothing more to do with what it was.
    expected = [math.sqrt(2), 1.0, 0.2, 1.0, math.sqrt(2)]
    assert layer.full_changes.tolist() == pytest.approx(expected, rel=0.03)
    assert layer.strengths.tolist() == pytest.approx([0.3] * 5)
    assert "full_changes" not in layer.state_dict()
    assert torch.equal(AugmentationLayer(names, sfreq=100).to(torch.float64).full_changes, torch.ones(5).double())


def test_changes_are_measured_on_windows_from_all_over_the_training_data():
    X = torch.randn(600, len(CHANNELS), 100, generator=torch.Generator().manual_seed(0)).numpy()
    X[300:] *= 3.0  # another subject, say
    clf = AugNetClassifier(SmallNet, layers=[["gaussian_noise"]], penalty_kind="change", sfreq=SFREQ, ch_names=CHANNELS)
    clf.set_params(max_epochs=1, train_split=None, random_state=0, verbose=0).fit(X, np.arange(600) % 2)
    assert clf.module_.augmentation.layers[0].full_changes.item() == pytest.approx(0.2 / math.sqrt(5), rel=0.03)


def test_changes_do_not_depend_on_offsets():
    X = torch.randn(8, 2, 200, generator=torch.Generator().manual_seed(0))
    found = []
    for offset in (0.0, 300.0):
        layer = AugmentationLayer(["sign_flip", "time_masking", "frequency_shift"], sfreq=100)
        windows = X.clone()
        windows[3, 1] += offset
        measure_full_changes([layer], [windows], torch.Generator().manual_seed(1))
        found.append(layer.full_changes.tolist())
    assert found[1] == pytest.approx(found[0], rel=1e-3)


class Endless(SignFlip):
    """Not finite at full strength."""

    name = "endless"

    def transform(self, X, magnitude, noise):
        return X / 0.0


@pytest.mark.parametrize(
    ("operation", "batches", "words"),
    [
        ("sign_flip", [], "no windows to measure"),
        ("sign_flip", [torch.full((2, 1, 50), torch.nan)], "are some that are not finite"),
        (Endless(), [torch.randn(2, 1, 50)], "endless at full strength makes windows that are not finite"),
    ],
)
def test_what_cannot_be_measured_is_said(operation, batches, words):
    layer = AugmentationLayer(["time_reverse", operation])
    with pytest.raises(ValueError, match=words):
        measure_full_changes([layer], batches)
    assert layer.full_changes.tolist() == [1.0, 1.0]


def test_changes_are_not_measured_on_windows_kept_apart_to_validate_on():
    X = torch.randn(60, len(CHANNELS), 100, generator=torch.Generator().manual_seed(0)).numpy()
    X[40:] *= 1e4  # nothing that is measured below may see these
    settings = {"selection": "single", "sfreq": SFREQ, "ch_names": CHANNELS, "verbose": 0, "random_state": 0}

    def keep_apart(dataset, y):
        return Subset(dataset, range(40)), Subset(dataset, range(40, 60))

    clf = AugNetClassifier(SmallNet, layers=["sensors"], train_split=keep_apart, max_epochs=0, **settings)
    clf.fit(X, np.arange(60) % 2)
    alone = AugNetClassifier(SmallNet, layers=["sensors"], train_split=None, max_epochs=0, **settings)
    alone.fit(X[:40], np.arange(40) % 2)
    columns = ["signal_change", "loss_rise"]
    np.testing.assert_allclose(clf.invariances_[columns], alone.invariances_[columns], rtol=1e-5)
