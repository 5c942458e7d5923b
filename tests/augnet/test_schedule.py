"""Learning rates over the epochs."""

from __future__ import annotations

import math

import numpy as np
import pytest
from skorch.callbacks import Callback
from small import CHANNELS, SFREQ, SmallNet, X, Y

from eegaug import AugNetClassifier
from eegaug.augnet.schedule import CosineDecay


class Rates(Callback):
    def on_batch_begin(self, net, **kwargs):
        net.history.record_batch("rates", [group["lr"] for group in net.optimizer_.param_groups])


def fitted(n=4, **settings):
    clf = AugNetClassifier(
        SmallNet,
        **{"layers": [["sign_flip"]], "sfreq": SFREQ, "ch_names": CHANNELS, "max_epochs": n, "lr": 0.01}
        | {"random_state": 0, "verbose": 0, "callbacks": [Rates()]}
        | settings,
    )
    return clf.fit(X, Y)


def rates(clf):
    """Of each epoch and group."""
    return np.array([row[0] for row in clf.history[:, "batches", :, "rates"]])


def test_cosine_of_both_groups():
    found = rates(fitted(selection="single", augmentation_lr=0.1))
    wanted = [0.5 * (1 + math.cos(math.pi * (e + 0.5) / 4)) for e in range(4)]
    np.testing.assert_allclose(found[:, 0], 0.01 * np.array(wanted))
    np.testing.assert_allclose(found[:, 1], 0.1 * np.array(wanted))


def test_schedule_goes_with_the_selection_unless_it_is_given():
    np.testing.assert_allclose(rates(fitted(2)), 0.01)
    np.testing.assert_allclose(rates(fitted(2, selection="single", lr_schedule="constant")), 0.01)
    assert rates(fitted(2, lr_schedule="cosine"))[1, 0] < 0.002
    with pytest.raises(ValueError, match="lr_schedule is 'step'"):
        fitted(lr_schedule="step")


def test_training_on_goes_on_with_the_schedule():
    clf = fitted(4, callbacks=[Rates()], selection="single")
    whole = rates(clf)
    part = fitted(2, callbacks=[("decay", CosineDecay(4)), ("rates", Rates())], lr_schedule="constant")
    part.partial_fit(X, Y)
    np.testing.assert_allclose(rates(part)[:, 0], whole[:, 0])
    part.partial_fit(X, Y)  # beyond the last epoch: its rate is kept
    np.testing.assert_allclose(rates(part)[4:, 0], whole[3, 0])
