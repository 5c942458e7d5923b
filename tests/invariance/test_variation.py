"""Distances between variants of a window, beside distances between windows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from small import CHANNELS, SFREQ, SmallNet, X, Y, nights, staging
from torch import nn

from eegaug import AugNetClassifier, Policy
from eegaug.consistency import symmetric_kl
from eegaug.invariance import frozen_test_set, intra_augmentation_variation
from eegaug.invariance._outputs import features_of

COMMON = {"sfreq": SFREQ, "ch_names": CHANNELS, "random_state": 0, "verbose": 0, "lr": 0.03}


@pytest.fixture(scope="module")
def fitted():
    return staging(max_epochs=8, lr=0.03).fit(X, Y)


def test_means_over_windows(fitted):
    table = intra_augmentation_variation(fitted, X, ["frequency_shift", "sign_flip"], y=Y, magnitudes=0.3)
    assert table[["first", "second"]].drop_duplicates().values.tolist() == [
        ["original", "frequency_shift"],
        ["original", "sign_flip"],
    ]
    shifted = frozen_test_set(X, "frequency_shift", 0.3, sfreq=SFREQ)
    d = symmetric_kl(fitted.forward(X), fitted.forward(shifted)).numpy()
    net = fitted.module_.eval()
    with torch.no_grad():
        features = [net.conv(torch.from_numpy(Z)).square().mean(-1).add(1e-3).log().numpy() for Z in (X, shifted)]
    distance = np.linalg.norm(features[0] - features[1], axis=1)
    rows = table[table["second"] == "frequency_shift"].set_index("stage")
    for stage, part in {"all": Y >= 0, 0: Y == 0, 2: Y == 2}.items():
        assert rows.loc[stage, "kl"] == pytest.approx(d[part].mean(), rel=1e-3)
        assert rows.loc[stage, "distance"] == pytest.approx(distance[part].mean(), rel=1e-4)
        assert rows.loc[stage, "n_windows"] == part.sum()
    assert np.allclose(table["ratio"], table["distance"] / table["between"])
    flipped = table[table["second"] == "sign_flip"]
    assert (flipped["ratio"] < 0.01).all()  # it looks at powers, of filters with a small offset


def test_another_window_is_looked_at_in_the_other_form():
    windows = np.array([[[1.0, 0.0]], [[0.0, 1.0]]], dtype="float32")
    table = intra_augmentation_variation(nn.Flatten(), windows, {"three times": lambda X: 3 * X})
    assert table["distance"][0] == pytest.approx(2.0)
    assert table["between"][0] == pytest.approx(np.sqrt(10))  # from (1, 0) to (0, 3)


def test_another_window_has_a_ratio_of_one():
    windows = np.random.default_rng(0).standard_normal((400, 2, 50)).astype("float32")
    net = nn.Sequential(nn.Flatten(), nn.Linear(100, 20))
    table = intra_augmentation_variation(net, windows, {"other": lambda X: X.roll(5, 0), "noise": "gaussian_noise"})
    assert table["ratio"][0] == pytest.approx(1.0, abs=0.05)
    assert table["ratio"][1] < 0.3
    # The scale of the features does not matter.
    scaled = nn.Sequential(net, nn.Identity())
    with torch.no_grad():
        net[1].weight.mul_(7)
        net[1].bias.mul_(7)
    again = intra_augmentation_variation(scaled, windows, {"noise": "gaussian_noise"})
    assert again["ratio"][0] == pytest.approx(table["ratio"][1], rel=1e-4)
    assert again["distance"][0] == pytest.approx(7 * table["distance"][1], rel=1e-4)


def test_all_pairs_and_layers_by_name(fitted):
    table = intra_augmentation_variation(fitted, X, ["sign_flip", "gaussian_noise"], pairs="all", layer="conv")
    assert table[["first", "second"]].values.tolist() == [
        ["original", "sign_flip"],
        ["original", "gaussian_noise"],
        ["sign_flip", "gaussian_noise"],
    ]
    assert table["ratio"][0] > 0.5  # before the square, signs differ
    assert table["kl"][0] == pytest.approx(0, abs=1e-6)
    with pytest.raises(ValueError, match="no layer 'conf'; did you mean conv"):
        intra_augmentation_variation(fitted, X, ["sign_flip"], layer="conf")


def test_a_network_may_have_a_part_called_trunk():
    class Parts(nn.Module):
        def __init__(self):
            super().__init__()
            self.trunk, self.final_layer = nn.Linear(100, 1), nn.Linear(4, 3)

        def forward(self, X):
            return self.final_layer(self.trunk(X).flatten(1))

    net = Parts()
    outputs, features = features_of(net, X)
    with torch.no_grad():
        expected = net.trunk(torch.from_numpy(X)).flatten(1)
    np.testing.assert_allclose(features, expected, atol=1e-6)
    assert outputs.shape == (48, 3)


def test_constant_features_have_no_ratio():
    net = nn.Sequential(nn.Flatten(), nn.Linear(400, 3))
    nn.init.zeros_(net[1].weight)
    table = intra_augmentation_variation(net, X, ["gaussian_noise"])
    assert np.isnan(table["ratio"][0])
    assert table["kl"][0] == 0


def test_other_models_and_datasets(fitted):
    rows = LogisticRegression(max_iter=20).fit(X.reshape(48, -1), Y)
    table = intra_augmentation_variation(rows, X, ["gaussian_noise"])
    assert 0 < table["ratio"][0] < 1
    with pytest.raises(ValueError, match="has no layers"):
        intra_augmentation_variation(rows, X, ["gaussian_noise"], layer="conv")
    data = nights(n=1)
    assert intra_augmentation_variation(fitted, data, "time-frequency")["stage"].unique().tolist() == ["all", 0, 1, 2]


def test_features_of_copies_are_averaged():
    clf = AugNetClassifier(SmallNet, layers=[["sign_flip", "gaussian_noise"]], n_copies=3, max_epochs=1, **COMMON)
    clf.fit(X, Y)
    whole = intra_augmentation_variation(clf, X, ["time_masking"], magnitudes=0.05)
    one = intra_augmentation_variation(clf, X, ["time_masking"], magnitudes=0.05, layer="final_layer")
    assert 0 < whole["ratio"][0] < 2
    assert 0 < one["ratio"][0] < 2
    assert not clf.module_.trunk.final_layer._forward_pre_hooks


def test_wrong_input_is_named(fitted):
    with pytest.raises(ValueError, match="pairs is 'each'"):
        intra_augmentation_variation(fitted, X, ["sign_flip"], pairs="each")
    with pytest.raises(ValueError, match="name of the unchanged windows"):
        intra_augmentation_variation(fitted, X, {"original": "sign_flip"})
    with pytest.raises(ValueError, match="the policy is for 100 Hz, the windows have 50 Hz"):
        intra_augmentation_variation(fitted, X, [Policy.fixed_sleep(sfreq=100)])
