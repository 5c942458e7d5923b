"""DNA: search and train phases, its three objectives, and what it says of classes."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.exceptions import NotFittedError
from small import NAMES, SmallNet, nights, staging, tones
from torch import nn

from eegaug.operations import get_operation
from eegaug.policies.network import AugmentationNetwork, PairPolicy
from eegaug.policy import ConditionalPolicy, Policy
from eegaug.search._dna_apply import list_pairs
from eegaug.search._dna_summary import ClassMeans, class_distances, class_means, top_pairs
from eegaug.search.dna import DNASearch, policy_size

X, CODES = tones(72)
Y, SUBJECTS = NAMES[CODES], np.arange(72) // 12
FEW = ["sign_flip", "gaussian_noise", "time_masking"]


class Normed(SmallNet):
    """With a layer that keeps statistics of its batches."""

    def __init__(self, n_chans, n_outputs):
        super().__init__(n_chans, n_outputs)
        self.conv = nn.Sequential(nn.BatchNorm1d(n_chans), self.conv)


class Shapes(nn.Module):
    """One hidden layer on the samples themselves, which sees their sign."""

    def __init__(self, n_chans, n_times, n_outputs):
        super().__init__()
        self.hidden = nn.Linear(n_chans * n_times, 16)
        self.final_layer = nn.Linear(16, n_outputs)

    def forward(self, X):
        return self.final_layer(torch.relu(self.hidden(X.flatten(1))))


def search(module=SmallNet, **settings):
    trunk = staging(module, max_epochs=1, **settings.pop("staging", {}))
    settings = {"operations": FEW, "max_steps": 2, "search_fraction": 0.5, "random_state": 0, "verbose": 0} | settings
    return DNASearch(trunk, **settings)


def fitted(module=SmallNet, **settings):
    return search(module, **settings).fit(X, Y, groups=SUBJECTS)


def states(found):
    running = found._running.state
    return {k: v.clone() for net in (running.trunk, running.network) for k, v in net.state_dict().items()}


def test_there_are_78_pairs_of_all_operations_and_66_without_the_bandstop_filter():
    everything = fitted(operations="all", max_steps=1, refit=False)
    assert len(everything.policy_.pairs) == len(everything.class_policies_.policies[0].sub_policies) == 78
    names = [op.name for op in everything.operations_ if op.name != "bandstop_filter"]
    assert len(fitted(operations=names, max_steps=1, refit=False).policy_.pairs) == 66


def test_policy_and_checkpoint_say_what_each_column_of_the_weights_is_for(tmp_path):
    found = fitted(refit=False, max_steps=1, checkpoint=tmp_path / "dna.pt")
    assert isinstance(found.policy_, ConditionalPolicy) and found.policy_.searcher == "dna"
    assert found.policy_.pairs == ((0, 1), (0, 2), (1, 2))
    assert [op.name for op in found.policy_.operations] == FEW
    saved = torch.load(tmp_path / "dna.pt", weights_only=True)["state"]
    assert saved["pairs"]["value"].tolist() == [[0, 1], [0, 2], [1, 2]] and saved["operations"]["value"] == FEW


@pytest.mark.parametrize("objective", ["joint", "bilevel", "regularised"])
def test_both_networks_learn(objective):
    found = search(objective=objective, max_steps=1, refit=False)
    snapshots = []
    found._step, step = lambda task, state: (snapshots.append(states(found)), step(task, state))[1], found._step
    found.fit(X, Y, groups=SUBJECTS)
    after = states(found)
    assert all(not torch.equal(after[name], snapshots[0][name]) for name in after)
    row = found.history_.iloc[0]
    assert 0 < row["entropy"] <= math.log(3) + 1e-6 and 0 < row["altered"] <= 1
    assert ("valid_loss" in row) == (objective == "bilevel")
    # 28 or so windows are two batches; both networks, and the three passes of a hypergradient.
    assert found.n_forward_backward_ == 2 * (5 if objective == "bilevel" else 2)


@pytest.mark.parametrize("objective", ["joint", "bilevel", "regularised"])
def test_only_the_bilevel_objective_looks_at_the_held_out_subject(objective):
    other = X.copy()
    other[SUBJECTS == 5] = other[SUBJECTS == 5][::-1]
    settings = {"objective": objective, "max_steps": 1, "valid_size": ["5"], "refit": False}
    networks = []
    for windows in (X, other):
        found = search(**settings).fit(windows, Y, groups=SUBJECTS.astype(str))
        networks.append(found._running.state.network.state_dict())
    same = all(torch.equal(value, networks[1][name]) for name, value in networks[0].items())
    assert same == (objective != "bilevel")


def test_the_regularised_objective_augments_more():
    sizes = [
        fitted(objective=objective, penalty=10.0, max_steps=15, search_fraction=1.0, policy_lr=0.02, refit=False)
        .history_["policy_size"]
        .iloc[-1]
        for objective in ("joint", "regularised")
    ]
    assert sizes[1] > 1.5 * sizes[0]


@pytest.mark.parametrize("seed", range(3))
def test_a_class_that_has_no_sign_is_flipped_more_often_than_classes_that_are_told_apart_by_it(seed):
    rng = np.random.default_rng(seed)
    y, subjects = np.arange(192) % 3, np.arange(192) // 24
    t = np.arange(32) / 32
    # Held-out subjects have windows of the first class in both polarities, training subjects in one.
    sign = np.where((subjects >= 4) & (rng.random(192) < 0.5), -1.0, 1.0)
    wave = np.sin(2 * np.pi * 2 * t)
    shapes = np.stack([np.cos(2 * np.pi * 2 * t), wave, -wave])[y]
    shapes[y == 0] *= sign[y == 0, None]
    windows = (shapes + 0.5 * rng.standard_normal((192, 32)))[:, None].astype("float32")
    found = search(
        Shapes,
        staging={"lr": 0.01, "batch_size": 32, "ch_names": ["Cz"]},
        operations=["sign_flip", "gaussian_noise"],
        objective="bilevel",
        search_fraction=1.0,
        policy_lr=0.01,
        max_steps=15,
        valid_size=[4, 5, 6, 7],
        refit=False,
        random_state=seed,
    ).fit(windows, y, groups=subjects)
    table = found.top_pairs_
    p = table[table["operation"] == "sign_flip"].set_index("class")["probability"]
    assert p[0] > 0.6 and max(p[1], p[2]) < 0.3


def test_training_with_the_policy_leaves_its_network_bit_identical():
    found = fitted(Normed, refit=False)
    before = {k: v.clone() for k, v in found.policy_.module().state_dict().items()}
    searched = {k: v.clone() for k, v in found._running.state.network.state_dict().items()}
    assert any("running_mean" in name for name in before)
    staging(Normed, policy=found.policy_).fit(X, Y)
    after = found.policy_.module().state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before)
    found.refit = True
    found.continue_fit(max_epochs=2)  # only the last training is left to do
    assert all(torch.equal(value, searched[k]) for k, value in found._running.state.network.state_dict().items())
    assert all(torch.equal(value, searched[k]) for k, value in found.policy_.module().state_dict().items())
    assert not found.policy_.module().training


def test_predictions_never_ask_the_augmentation_network(monkeypatch):
    found = fitted()
    expected = found.predict_proba(X)

    def refuse(*_):
        raise AssertionError("the augmentation network was asked")

    monkeypatch.setattr(AugmentationNetwork, "forward", refuse)
    np.testing.assert_array_equal(found.predict_proba(X), expected)
    found.score(X, Y)
    with pytest.raises(AssertionError):
        found.policy_.apply(torch.from_numpy(X))


def test_each_inner_step_is_one_of_its_own():
    settings = {"max_steps": 1, "objective": "bilevel", "refit": False}
    found = {kind: fitted(inner_step=kind, **settings).policy_.weights for kind in ("gradient", "normalised", "adam")}
    assert len(set(found.values())) == 3


def test_search_goes_on_from_its_checkpoint_to_the_same_result(tmp_path):
    straight = fitted(max_steps=3, objective="bilevel", refit=False)
    fitted(max_steps=1, objective="bilevel", refit=False, checkpoint=tmp_path / "dna.pt")
    resumed = fitted(max_steps=3, objective="bilevel", refit=False, checkpoint=tmp_path / "dna.pt")
    assert resumed.policy_.weights == straight.policy_.weights
    columns = ["train_loss", "valid_loss", "policy_size"]
    np.testing.assert_array_equal(resumed.history_[columns], straight.history_[columns])


def test_asking_for_the_policy_does_not_change_the_search():
    asked = []
    found = fitted(refit=False, step_callback=lambda search, row: asked.append(search.current_policy()))
    assert found.policy_.weights == fitted(refit=False).policy_.weights
    assert asked[0] != found.policy_ and asked[1] == found.policy_


def test_policy_survives_its_file(tmp_path):
    found = fitted(refit=False, max_steps=1)
    found.policy_.save(tmp_path / "policy.json")
    again = Policy.load(tmp_path / "policy.json", module=SmallNet)
    windows = torch.from_numpy(X)
    mine, theirs = (p.apply(windows, generator=torch.Generator().manual_seed(0)) for p in (found.policy_, again))
    assert again == found.policy_ and torch.equal(mine, theirs)


def test_table_of_pairs_is_that_of_the_mean_policies():
    found = fitted(operations="all", refit=False, n_sub_policies=4)
    table = found.top_pairs_
    assert table.groupby("class")["rank"].max().to_dict() == {"N2": 4, "REM": 4, "W": 4}
    for label in ("N2", "REM", "W"):
        rows = table[(table["class"] == label) & (table["place"] == 1)]
        subs = found.class_policies_.policy_of(label).sub_policies[:4]
        assert rows["operation"].tolist() == [sub.operations[0].operation for sub in subs]
        np.testing.assert_allclose(rows["weight"], [sub.weight for sub in subs], rtol=1e-6)
        np.testing.assert_allclose(rows["probability"], [sub.operations[0].probability for sub in subs])
    assert found.policy_.mean == found.class_policies_
    distances = found.class_distances_
    assert (np.diag(distances) == 0).all() and (distances.values[0, 1:] > 0).all()


def test_shares_of_operations_sum_over_their_pairs():
    found = fitted(refit=False)
    shares = found.operation_shares()
    subs = found.class_policies_.policy_of("REM").sub_policies
    expected = sum(s.weight * o.probability for s in subs for o in s.operations if o.operation == "gaussian_noise")
    assert shares.loc["gaussian_noise", "REM"] == pytest.approx(expected)
    assert shares.shape == (3, 3) and ((shares > 0) & (shares < 2)).all(axis=None)
    with pytest.raises(NotFittedError):
        search().operation_shares()


def test_stages_that_no_window_has_are_left_out_of_the_tables():
    four = nights(*tones(96), n=4)  # of the five sleep stages they have three
    found = search(operations="sensors", max_steps=1, refit=False).fit(four)
    assert len(found.classes_) == 5 and sorted(set(found.top_pairs_["class"])) == [0, 1, 2]
    assert found.class_policies_.classes == (0, 1, 2) and found.class_distances_.shape == (3, 3)


def test_means_are_over_the_windows_of_each_class():
    class Stub(nn.Module):
        def forward(self, X):
            assert not self.training
            p = X.reshape(-1, 1, 1).expand(-1, 2, 2)
            weights = torch.stack([X.flatten(), 1 - X.flatten()], 1)
            return PairPolicy(p, p / 2, weights.log())

    stub, values = Stub(), torch.tensor([0.1, 0.2, 0.3, 0.6])
    batches = [(values[:3, None, None], torch.tensor([0, 1, 0])), (values[3:, None, None], torch.tensor([1]))]
    means = class_means(stub, batches, 2)
    np.testing.assert_allclose(means.probabilities[:, 0, 0], [0.2, 0.4], rtol=1e-6)
    np.testing.assert_allclose(means.magnitudes[:, 1, 1], [0.1, 0.2], rtol=1e-6)
    np.testing.assert_allclose(means.weights, [[0.2, 0.8], [0.4, 0.6]], rtol=1e-6)
    assert stub.training


def test_top_pairs_and_distances_by_hand():
    operations, pairs = [get_operation(n) for n in FEW], list_pairs(3)
    weights = np.array([[0.2, 0.5, 0.3], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    means = ClassMeans(np.full((3, 3, 2), 0.25), np.full((3, 3, 2), 0.5), weights)
    table = top_pairs(means, operations, pairs, ["a", "b", "c"], n=2)
    first = table[(table["class"] == "a") & (table["rank"] == 1)]
    assert first["operation"].tolist() == ["sign_flip", "time_masking"]
    assert math.isnan(first["strength"].iloc[0]) and first["strength"].iloc[1] == 100 and first["weight"].iloc[0] == 0.5
    distances = class_distances(means, ["a", "b", "c"])
    assert distances.loc["b", "c"] == pytest.approx(1.0) and distances.loc["b", "b"] == 0


def test_size_of_a_policy():
    has_magnitude = torch.tensor([[True, True], [False, True]])
    p = torch.tensor([[[0.5, 1.0], [1.0, 0.0]], [[0.5, 0.5], [0.5, 1.0]]])
    m = torch.tensor([[[0.4, 0.2], [0.9, 0.5]], [[0.0, 0.0], [0.1, 0.3]]])
    weights = torch.tensor([[1.0, 0.0], [0.25, 0.75]])
    # An operation without a magnitude counts nothing when it is always applied, and most when half of the time.
    first, second = math.hypot(0.2, 0.2), 0.75 * math.hypot(1.0, 0.3)
    found = policy_size(PairPolicy(p, m, weights.clamp(min=1e-30).log()), has_magnitude)
    assert found.item() == pytest.approx((first + second) / 2, rel=1e-5)


def test_search_uses_the_same_fraction_of_each_class_of_each_subject():
    found = fitted(search_fraction=0.25, max_steps=1, refit=False, valid_size=[0, 1])
    part = found._running.task.train
    rows = found._running.state.rows.numpy()
    counts = {}
    for row in rows:
        counts[part.groups[row], part.labels[row]] = counts.get((part.groups[row], part.labels[row]), 0) + 1
    assert set(counts.values()) == {1} and len(counts) == 4 * 3  # 4 windows of each class of each subject
    assert len(set(rows)) == len(rows)


def test_fewer_windows_than_a_batch_and_a_last_batch_of_one():
    assert fitted(staging={"batch_size": 64}, refit=False).n_forward_backward_ == 4
    last = 4 * 12 - 1  # four subjects are searched on, in batches that leave one window over
    assert fitted(staging={"batch_size": last}, search_fraction=1.0, refit=False, max_steps=1).n_forward_backward_ == 4


def test_last_training_goes_on_or_begins_anew():
    for continued in (False, True):
        found = fitted(continue_training=continued, staging={"lr": 1e-9}, max_steps=1)
        searched, trained = found._running.state.trunk, found.best_estimator_.module_
        same = all(
            torch.allclose(a, b, atol=1e-6) for a, b in zip(searched.parameters(), trained.parameters(), strict=True)
        )
        # At this rate the networks are still as they began; the one that goes on is the one of the search.
        assert same == continued
        assert trained is not searched


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"objective": "reward"}, "objective is 'reward'"),
        ({"operations": ["sign_flip"]}, "one only, 'sign_flip'"),
        ({"hypergradient": "second"}, "hypergradient is 'second'"),
        ({"n_operations": 3}, "n_operations is 2, not 3"),
        ({"search_fraction": 0}, r"search_fraction is 0; it lies in \(0, 1\]"),
        ({"penalty": -1.0}, "penalty is -1.0"),
        ({"policy_lr": 0.0}, "policy_lr is 0.0"),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        search(**settings).fit(X, Y, groups=SUBJECTS)


def test_asking_for_the_policy_leaves_the_network_in_training():
    found = search(Normed).fit(X, Y, SUBJECTS)
    network = found._running.state.network.train()
    seen = []
    network.register_forward_hook(lambda *_: seen.append(network.training))
    assert found.current_policy() == found.policy_
    assert all(seen) and network.training
