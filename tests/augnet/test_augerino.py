"""Augerino as a setting of AugNet: one width per operation, the penalty on widths alone, its safe variant."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small import CHANNELS, SFREQ, SmallNet, X, Y, tones

from eegaug import AugNetClassifier
from eegaug.augnet import augerino_layers, augmentation_norm
from eegaug.operations import get_operation, list_operations


def augerino(layers, **settings):
    settings = {"penalty_kind": "magnitude", "lr": 0.02, "max_epochs": 3, "random_state": 0, "verbose": 0} | settings
    return AugNetClassifier(SmallNet, layers=layers, sfreq=SFREQ, ch_names=CHANNELS, **settings)


def test_every_operation_has_a_layer_of_its_own():
    assert augerino_layers("time-frequency", sfreq=SFREQ) == [[name] for name in list_operations("time-frequency")]
    own = get_operation("frequency_shift", sfreq=SFREQ, max_strength=2.0)
    assert augerino_layers(["sign_flip", own]) == [["sign_flip"], [own]]
    with pytest.warns(UserWarning, match="left out"):
        assert ["channels_symmetry"] not in augerino_layers("sensors", ch_names=["Fpz", "Pz"])
    with pytest.raises(ValueError, match="'spectral' is no group"):
        augerino_layers("spectral")


def test_weights_are_one_and_only_widths_are_learned():
    clf = augerino(augerino_layers(["frequency_shift", "gaussian_noise", "sign_flip"]), penalty=0.5).fit(X, Y)
    table = clf.invariances_
    assert table["weight"].tolist() == [1.0, 1.0, 1.0]
    assert (table["magnitude"] != 0.1).all()
    norm = np.linalg.norm(table["magnitude"])
    assert clf.module_.regularization("magnitude").item() == pytest.approx(norm, rel=1e-6)
    # All weights are 1, so that it is the same thing to reward strengths or weighted strengths.
    assert clf.module_.regularization("selective").item() == pytest.approx(norm, rel=1e-6)


def test_widths_grow_as_far_as_the_data_allow():
    """Tones 4 Hz apart: the sign does not matter at all, a shift of 5 Hz would."""
    clf = augerino([["sign_flip"], ["frequency_shift"]], penalty=0.2, max_epochs=30).fit(*tones(96))
    sign, shift = clf.invariances_["magnitude"]
    assert sign == 1.0
    assert 0.1 < shift < 0.7
    assert clf.score(*tones(60, seed=9)) > 0.9


@pytest.mark.parametrize("kind", ["magnitude", "selective"])
@pytest.mark.parametrize("reduction", ["global", "per_layer"])
def test_safe_variant_is_switched_off_at_its_limit(kind, reduction):
    weights = [torch.ones(1), torch.ones(1)]
    strengths = [torch.tensor([value], requires_grad=True) for value in (0.3, 0.5)]
    plain = augmentation_norm(weights, strengths, kind, reduction)
    below = augmentation_norm(weights, strengths, kind, reduction, limit=0.6)
    reached = augmentation_norm(weights, strengths, kind, reduction, limit=0.5)
    assert below.item() == plain.item() > 0
    assert reached.item() == 0
    assert all(grad.item() > 0 for grad in torch.autograd.grad(below, strengths))
    assert all(grad.item() == 0 for grad in torch.autograd.grad(reached, strengths))


def test_safe_variant_stops_all_widths_once_one_has_reached_the_limit():
    """The sign does not matter, so its width rises without end; noise hurts little, and is pushed on only if unsafe."""
    layers = [["sign_flip"], ["gaussian_noise"]]
    free, safe = (
        augerino(layers, penalty=2.0, augmentation_lr=0.05, max_epochs=12, penalty_limit=limit).fit(*tones(48))
        for limit in (None, 0.5)
    )
    assert free.invariances_["magnitude"].tolist() == [1.0, 1.0]
    assert safe.invariances_["magnitude"].between(0.3, 0.7).all()
    assert safe.history[-1, "train_penalty"] > free.history[-1, "train_penalty"]


@pytest.mark.parametrize("limit", [0.0, -1.0, 1.5, "half"])
def test_limit_outside_of_the_unit_interval_is_refused(limit):
    with pytest.raises(ValueError, match="penalty limit"):
        augerino([["sign_flip"]], penalty_limit=limit).fit(X, Y)
