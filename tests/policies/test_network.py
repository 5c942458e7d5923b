"""The network that predicts a policy for each window, and how it is rebuilt from plain data."""

from __future__ import annotations

import json
import math

import pytest
import torch
from braindecode.models import EEGNet, ShallowFBCSPNet, SleepStagerChambon2018
from small import CHANNELS, SFREQ, SmallNet
from torch import nn

from eegaug._features import TrunkFeatures
from eegaug._inputs import Signal
from eegaug._trunk import copy_network
from eegaug.montage import electrode_positions
from eegaug.policies.network import AugmentationNetwork

SIGNAL = Signal(4, 100, SFREQ, tuple(CHANNELS))


def small_network(n_pairs=78, trunk=None):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        trunk = SmallNet(n_chans=4, n_outputs=3) if trunk is None else trunk
        return AugmentationNetwork(trunk, n_pairs, SIGNAL, {"n_filters": 4})


def batch(n=6):
    return torch.randn(n, 4, 100, generator=torch.Generator().manual_seed(1))


def test_heads_have_their_shapes_and_ranges():
    policy = small_network()(100 * batch())
    assert policy.probabilities.shape == policy.magnitudes.shape == (6, 78, 2)
    assert policy.log_weights.shape == (6, 78)
    torch.testing.assert_close(policy.log_weights.exp().sum(1), torch.ones(6))
    for values in (policy.probabilities, policy.magnitudes):
        assert ((values > 0) & (values < 1)).all()


def test_windows_of_different_features_get_different_policies_and_one_window_keeps_its_batch_axis():
    network = small_network().eval()
    X = batch()
    policy = network(X)
    assert policy.probabilities.std(0).min() > 0
    one = network(X[2:3])
    torch.testing.assert_close(one.magnitudes[0], policy.magnitudes[2])
    assert one.log_weights.shape == (1, 78)


def test_features_are_what_the_last_layer_reads():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        trunk = SleepStagerChambon2018(n_chans=6, sfreq=128, n_times=3840, n_outputs=5).eval()
    X = torch.randn(2, 6, 3840, generator=torch.Generator().manual_seed(0))
    head, logits = trunk.final_layer, trunk(X)
    features = TrunkFeatures(trunk, 6, 3840)
    assert features.n_features == 720
    torch.testing.assert_close(head(features(X)), logits)


def test_features_of_a_convolutional_head_and_of_a_trunk_without_a_name_for_its_head():
    shallow = ShallowFBCSPNet(n_chans=4, n_outputs=3, n_times=200)
    assert TrunkFeatures(shallow, 4, 200)(torch.randn(2, 4, 200)).shape == (2, 40 * 7)
    plain = nn.Sequential(nn.Flatten(), nn.Linear(400, 7), nn.ReLU(), nn.Linear(7, 3))
    assert TrunkFeatures(plain, 4, 100).n_features == 7


def test_features_of_a_head_for_each_part_and_of_one_that_is_told_more():
    class Parts(nn.Module):
        def __init__(self, part):
            super().__init__()
            self.final_layer = nn.ModuleList(part() for _ in range(2))

        def forward(self, X):
            return sum(head(part) for head, part in zip(self.final_layer, X.flatten(1).chunk(2, 1), strict=True))

    assert TrunkFeatures(Parts(lambda: nn.Linear(200, 3)), 4, 100).n_features == 200

    class Told(nn.Module):
        def __init__(self):
            super().__init__()
            self.final_layer = nn.Bilinear(400, 400, 3)

        def forward(self, X):
            return self.final_layer(X.flatten(1), X.flatten(1))

    assert TrunkFeatures(Told(), 4, 100).n_features == 400

    class Shaped(nn.Module):
        def __init__(self):
            super().__init__()
            self.final_layer = nn.Linear(400, 3)

        def forward(self, X):
            return self.final_layer(X.flatten(1)).view(len(X), 3)

    with pytest.raises(ValueError, match="Shaped does not run without its last layer"):
        TrunkFeatures(Shaped(), 4, 100)


def test_networks_that_keep_what_they_computed_are_copied():
    class Keeps(nn.Linear):
        def forward(self, X):
            self.last = super().forward(X)
            return self.last

    network = nn.Sequential(Keeps(2, 2))
    network(torch.ones(1, 2))
    copied = copy_network(network)
    assert torch.equal(copied[0].weight, network[0].weight) and copied[0].last.grad_fn is None


def test_counting_features_leaves_the_trunk_as_it_was():
    trunk = nn.Sequential(nn.BatchNorm1d(4), nn.Flatten(), nn.Linear(400, 3))
    TrunkFeatures(trunk, 4, 100)
    assert trunk[0].running_mean.abs().sum() == 0 and trunk[0].num_batches_tracked == 0 and trunk.training


def test_a_trunk_without_head_is_refused():
    with pytest.raises(ValueError, match="no final_layer"):
        TrunkFeatures(nn.Conv1d(4, 2, 5), 4, 100)


def test_network_is_rebuilt_from_json_and_weights():
    trunk = SleepStagerChambon2018(n_chans=4, sfreq=SFREQ, n_times=500, n_outputs=3, n_conv_chs=4)
    network = AugmentationNetwork(trunk, 3, Signal(4, 500, SFREQ, tuple(CHANNELS)), {"n_conv_chs": 4}).eval()
    config = json.loads(json.dumps(network.config()))
    again = AugmentationNetwork.from_config(config).eval()
    again.load_state_dict(network.state_dict())
    X = torch.randn(2, 4, 500, generator=torch.Generator().manual_seed(0))
    for mine, theirs in zip(network(X), again(X), strict=True):
        assert torch.equal(mine, theirs)
    assert again.config() == network.config()


def test_a_class_of_ones_own_is_not_loaded_from_its_name_but_taken_when_given():
    network = small_network(3)
    config = json.loads(json.dumps(network.config()))
    assert config["trunk"]["braindecode"] is None
    with pytest.raises(ValueError, match="pass module=SmallNet"):
        AugmentationNetwork.from_config(config)
    with pytest.raises(ValueError, match="the module is a SleepStagerChambon2018"):
        AugmentationNetwork.from_config(config | {"trunk": config["trunk"] | {"arguments": {}}}, SleepStagerChambon2018)
    again = AugmentationNetwork.from_config(config, SmallNet)
    again.load_state_dict(network.state_dict())
    assert torch.equal(again(batch()).log_weights, network(batch()).log_weights)


def test_arguments_that_are_no_plain_data_need_a_ready_made_trunk():
    trunk = SmallNet(n_chans=4, n_outputs=3)
    network = AugmentationNetwork(trunk, 3, SIGNAL, {"activation": torch.square})
    config = json.loads(json.dumps(network.config()))
    with pytest.raises(ValueError, match="activation"):
        AugmentationNetwork.from_config(config, SmallNet)
    again = AugmentationNetwork.from_config(config, SmallNet(n_chans=4, n_outputs=3))
    again.load_state_dict(network.state_dict())
    assert again.config() == network.config()


@pytest.mark.filterwarnings("ignore:Parameter 'final_layer:DeprecationWarning")
def test_what_a_ready_made_trunk_was_built_with_is_kept_or_missed():
    class Mine(nn.Tanh):
        pass

    X, settings = batch(), {"n_chans": 4, "n_outputs": 3, "n_times": 100}
    for activation, missed in ((nn.Tanh, []), (Mine, ["activation"])):
        trunk = EEGNet(**settings, activation=activation)
        network = AugmentationNetwork(trunk, 3, SIGNAL, {"width": 2}).eval()  # of a function that built the trunk
        config = json.loads(json.dumps(network.config()))
        assert config["trunk"]["not_kept"] == missed
        if missed:  # with another activation the same weights would be another network
            with pytest.raises(ValueError, match="does not say with which activation the trunk"):
                AugmentationNetwork.from_config(config)
        again = AugmentationNetwork.from_config(config, EEGNet(**settings, activation=Mine) if missed else None).eval()
        again.load_state_dict(network.state_dict())
        assert torch.equal(again(X).log_weights, network(X).log_weights)


def test_policies_start_near_even_whatever_the_number_of_features():
    for trunk, n_features in ((None, 4), (nn.Sequential(nn.Flatten(), nn.Identity(), nn.Linear(400, 3)), 400)):
        network = small_network(trunk=trunk)
        assert network.features.n_features == n_features
        policy = network(1000 * batch())
        assert (policy.log_weights + math.log(78)).abs().max() < 3
        assert policy.probabilities.min() > 0.05 and policy.probabilities.max() < 0.95


def test_features_are_standardised_over_windows_and_then_as_before():
    network, X = small_network(), batch(50)
    network(X)
    kept = {name: value.clone() for name, value in network.standardise.named_buffers()}
    features = network.features(X)
    torch.testing.assert_close(kept["mean"], features.mean(0))
    torch.testing.assert_close(kept["variance"], features.var(0, correction=0))
    network(X[:1])  # one window has no deviation
    network.eval()
    network(2 * X)
    assert all(torch.equal(value, kept[name]) for name, value in network.standardise.named_buffers())
    standard = network.standardise(features)
    torch.testing.assert_close(standard.mean(0), torch.zeros(4), atol=1e-5, rtol=0)
    torch.testing.assert_close(standard.std(0, correction=0), torch.ones(4), atol=1e-3, rtol=0)


def test_statistics_of_many_batches_are_their_mean_and_then_a_moving_one():
    standardise = small_network().standardise
    batches = torch.randn(11, 20, 4, generator=torch.Generator().manual_seed(3)) * torch.arange(1, 12)[:, None, None]
    for features in batches[:10]:
        standardise(features)
    means, variances = batches.mean(1), batches.var(1, correction=0)
    torch.testing.assert_close(standardise.mean, means[:10].mean(0))
    torch.testing.assert_close(standardise.variance, variances[:10].mean(0))
    standardise(batches[10])
    torch.testing.assert_close(standardise.mean, 0.9 * means[:10].mean(0) + 0.1 * means[10])
    torch.testing.assert_close(standardise.variance, 0.9 * variances[:10].mean(0) + 0.1 * variances[10])


def test_features_that_are_the_same_in_all_windows_say_nothing():
    standardise = small_network().standardise
    for _ in range(50):
        found = standardise(torch.full((20, 4), 3.0))
        assert torch.equal(found, torch.zeros(20, 4))
    assert standardise.eval()(torch.full((2, 4), 3.0)).abs().max() < 1e-3


def test_places_of_electrodes_are_kept_where_it_is_known_whose_they_are():
    names = ["a", "b", "c", "d"]
    places = {"a": (1, 0, 0.5), "b": (-1, 0, 0.5), "c": (0, 1, 1), "d": (0, -1, 1)}
    kept = electrode_positions(names, places).tolist()
    for ch_names, positions, expected in ((names, places, kept), (names, None, None), (None, places, None)):
        signal = Signal(4, 100, SFREQ, None if ch_names is None else tuple(ch_names))
        network = AugmentationNetwork(SmallNet(n_chans=4, n_outputs=3), 3, signal, positions=positions)
        config = json.loads(json.dumps(network.config()))
        assert config["positions"] == expected
        assert AugmentationNetwork.from_config(config, SmallNet(n_chans=4, n_outputs=3)).config() == config
