"""What a search works on: splits, batches, networks, states."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from skorch.helper import SliceDataset
from small import CHANNELS, NAMES, SFREQ, X, Y, epochs, nights, staging, windows_dataset
from torch import nn
from torch.utils.data import ConcatDataset, Subset

from eegaug.policies import Policy
from eegaug.search._split import check_groups, hold_out, missing_classes, subjects_of
from eegaug.search._state import SearchState
from eegaug.search.base import PolicySearch
from eegaug.search.random_search import RandomSearch

GROUPS = np.arange(len(Y)) // 8


def task_of(X=X, y=NAMES[Y], groups=GROUPS, estimator=None, **settings):
    search = PolicySearch(estimator or staging(), operations=["sign_flip", "gaussian_noise"], verbose=0, **settings)
    estimator, windows, labels = search._prepare(X, y)
    return search._make_task(estimator, windows, labels, None if groups is None else np.asarray(groups), 0)


# Splits --------------------------------------------------------------------------------------------------------------


def test_nobody_is_on_both_sides():
    for seed in range(5):
        train, valid = hold_out(Y, GROUPS, 0.3, seed)
        assert not set(GROUPS[train]) & set(GROUPS[valid])
        assert sorted([*train, *valid]) == list(range(len(Y)))
        assert len(set(GROUPS[valid])) == 2  # 0.3 of six, rounded up
    assert len(set(GROUPS[hold_out(Y, GROUPS, 3, 0)[1]])) == 3
    assert set(GROUPS[hold_out(Y, GROUPS, [1, 4], 0)[1]]) == {1, 4}


def test_every_class_is_on_both_sides_where_that_can_be():
    y = np.array([0, 1] * 4 + [0] * 4 + [0, 1] * 2)
    groups = np.repeat([0, 1, 2, 3], 4)  # the third has no window of class 1
    for seed in range(20):
        train, valid = hold_out(y, groups, 1, seed)
        assert not missing_classes(y, train)
        assert not missing_classes(y, valid)
        assert groups[valid[0]] != 2


@pytest.mark.parametrize(
    ("labels", "groups", "size", "message"),
    [
        ([0, 1, 0, 1], [0, 0, 0, 0], 0.2, "one subject, 0: nobody is left"),
        ([0, 1, 0, 0], [0, 0, 1, 1], 0.5, "has no window of class 1"),
        (
            ["N1", "W", "W", "W"],
            ["a", "a", "b", "b"],
            ["b"],
            "subject b held out, validation has no .* 'N1': hold",
        ),
        (["N1", "W", "W", "W"], ["a", "a", "b", "b"], ["a"], "subject a held out, training has no .* 'N1'"),
        ([0, 1, 0, 1], [0, 0, 1, 1], ["c"], r"names \['c'\]; the subjects are \[0, 1\]"),
        ([0, 1, 0, 1], [0, 0, 1, 1], [], "names nobody"),
        ([0, 1, 0, 1], [0, 0, 1, 1], [0, 1], "nobody is left to train on"),
        ([0, 1, 0, 1], [0, 0, 1, 1], 2, "leaves nobody to train on"),
        ([0, 1, 0, 1], [0, 0, 1, 1], 0, "valid_size is 0"),
        ([0, 1, 0, 1], [0, 0, 1, 1], 1.5, "is below 1"),
        ([0, 1, 0, 1], None, 2, "speaks of subjects"),
        ([0, 0, 0, 1], None, 0.5, "class 1 has one window"),
    ],
)
@pytest.mark.filterwarnings("ignore:groups is None")
def test_splits_that_cannot_be(labels, groups, size, message):
    with pytest.raises(ValueError, match=message):
        hold_out(np.asarray(labels), None if groups is None else np.asarray(groups), size, 0)


def test_without_groups_windows_are_held_out_with_a_warning():
    with pytest.warns(UserWarning, match="pass groups="):
        train, valid = hold_out(Y, None, 0.25, 0)
    assert np.bincount(Y[valid]).tolist() == [4, 4, 4]
    assert len(train) == 36


def test_who_the_windows_are_of():
    data = nights(n=3)
    assert subjects_of(data).tolist() == ["s0"] * 16 + ["s1"] * 16 + ["s2"] * 16
    assert subjects_of(Subset(data, [0, 20])).tolist() == ["s0", "s1"]
    assert subjects_of(X) is None
    assert subjects_of(epochs()) is None
    assert subjects_of(windows_dataset()) is None
    assert subjects_of(SliceDataset(data, indices=np.array([0, 20]))).tolist() == ["s0", "s1"]
    with pytest.raises(ValueError, match=r"groups has shape \(3,\)"):
        check_groups([1, 2, 3], 4)


def test_recordings_without_a_subject_are_nobodys():
    one, other = nights(n=1), nights(n=1)
    other.datasets[0].description["subject"] = float("nan")
    assert subjects_of(ConcatDataset([one, one])).tolist() == ["s0"] * 96
    assert subjects_of(ConcatDataset([one, other])) is None


def test_epochs_in_a_list_say_what_epochs_say():
    whole = epochs()
    whole.metadata = pd.DataFrame({"subject": [f"s{group}" for group in GROUPS]})
    several = [whole[i] for i in range(len(whole))]  # what scikit-learn makes of them
    assert subjects_of(several).tolist() == [f"s{group}" for group in GROUPS]
    settings = {"operations": ["channels_symmetry", "frequency_shift"], "random_state": 0, "verbose": 0}
    search, of_list = (RandomSearch(staging(sfreq=None, ch_names=None), max_steps=1, **settings) for _ in range(2))
    assert np.array_equal(of_list.fit(several, Y).predict_proba(X), search.fit(whole, Y).predict_proba(X))
    assert of_list.valid_groups_.tolist() == search.valid_groups_.tolist()
    assert of_list.best_estimator_.signal_.ch_names == tuple(CHANNELS)
    assert of_list.best_estimator_.signal_.sfreq == SFREQ


# The task ------------------------------------------------------------------------------------------------------------


SLICED = SliceDataset(nights(n=1))


@pytest.mark.parametrize(
    "data", [X, torch.from_numpy(X), nights(n=4), SLICED], ids=["array", "tensor", "nights", "sliced"]
)
def test_parts_are_what_they_were(data):
    y = None if data is not X and data is not SLICED and not isinstance(data, torch.Tensor) else Y
    groups = GROUPS if y is not None else subjects_of(data)
    task = task_of(data, y, groups)
    assert len(task.train) + len(task.valid) == len(Y)
    assert not set(task.train.groups) & set(task.valid.groups)
    for part in (task.train, task.valid):
        seen = [pair for pair in task.batches(part, batch_size=7)]
        assert all(features.dtype == torch.float32 for features, _ in seen)
        features, codes = (torch.cat(many) for many in zip(*seen, strict=True))
        assert len(codes) == len(part)  # the last batch is smaller, and there
        where = [int(np.flatnonzero((one.numpy() == X).all((1, 2)))[0]) for one in features]
        assert len(set(where)) == len(part)
        assert Y[where].tolist() == codes.tolist()


def test_class_weights_are_those_of_the_training_part():
    y = np.r_[np.zeros(8, int), Y[8:]]
    task = task_of(y=y, valid_size=[1])
    counts = np.bincount(y[GROUPS != 1])
    assert np.allclose(task.class_weights, counts.sum() / (3 * counts))
    logits, target = torch.randn(5, 3), torch.tensor([0, 1, 2, 0, 1])
    expected = nn.functional.cross_entropy(logits, target, weight=task.class_weights)
    assert torch.equal(task.new_criterion()(logits, target), expected)


def test_endless_walk_sees_every_window_equally_often():
    task = task_of()
    drawn = torch.cat([task.next_batch("train", 7)[0] for _ in range(len(task.train))])  # seven times round
    _, counts = torch.unique(drawn, dim=0, return_counts=True)
    assert counts.tolist() == [7] * len(task.train)


def test_endless_walk_keeps_no_more_than_it_needs():
    task, other = task_of(), task_of()
    drawn = torch.cat([task.next_batch("train", 7)[0] for _ in range(3 * len(task.train))])
    assert len(task.state_dict()["cycles"]["train"]["order"]) < len(task.train) + 7
    rounds = [torch.randperm(len(task.train), generator=other.generator("cycle train", "cpu")) for _ in range(21)]
    assert torch.equal(drawn, other.train.read(torch.cat(rounds)))  # one round after the other


def test_walks_go_through_what_the_task_has():
    task = task_of()
    assert len(task.next_batch(task.data, 1000)[0]) == len(Y)
    with pytest.raises(ValueError, match="part is another part of the data; the walks go through 'train', 'valid'"):
        task.next_batch(task.train.take(np.arange(4)))
    with pytest.raises(ValueError, match="part is 'test'; the walks"):
        task.next_batch("test")


def test_task_goes_on_where_it_was_saved():
    one, other = task_of(), task_of()
    for _ in range(5):
        one.next_batch("train", 7)
    torch.rand(3, generator=one.generator("mine"))
    other.load_state_dict(one.state_dict())
    assert torch.equal(one.next_batch("train", 7)[0], other.next_batch("train", 7)[0])
    assert torch.equal(torch.rand(3, generator=one.generator("mine")), torch.rand(3, generator=other.generator("mine")))


def test_networks_are_those_of_the_estimator():
    task = task_of(estimator=staging(lr=0.02, module__n_filters=3))
    trunk = task.new_trunk(5)
    assert trunk.training
    assert trunk.conv.out_channels == 3
    again = task.new_trunk(5)
    assert all(torch.equal(p, q) for p, q in zip(trunk.parameters(), again.parameters(), strict=True))
    assert not torch.equal(trunk.conv.weight, task.new_trunk(6).conv.weight)
    optimizer = task.new_optimizer(trunk)
    assert isinstance(optimizer, torch.optim.Adam)
    assert (optimizer.param_groups[0]["lr"], optimizer.param_groups[0]["betas"]) == (0.02, (0.0, 0.999))


def test_evaluation_counts_every_window():
    task = task_of()
    trunk = task.new_trunk(0)
    estimator = task.new_estimator(max_epochs=1)
    estimator.fit(task.train.windows, task.train.labels)
    trunk.load_state_dict(estimator.module_.state_dict())
    frozen = [*trunk.modules()][-1].eval()
    found = task.evaluate(trunk, task.valid)
    right = estimator.predict(task.valid.windows) == task.valid.labels
    recalls = [right[task.valid.labels == one].mean() for one in NAMES]
    assert found["balanced_accuracy"] == pytest.approx(np.mean(recalls))
    assert task.evaluate(trunk, task.valid, policy=task.identity()) == found
    assert trunk.training and not frozen.training


def test_policies_of_a_task():
    task = task_of()
    policy = task.policy([[(0, 1.5, 0.3), ("gaussian_noise", 0.25, -0.1)], [(task.operations[1], 0.5, 0.5)]])
    assert policy == Policy(
        sub_policies=[
            {"operations": [("sign_flip", 1.0), ("gaussian_noise", 0.25, 0.0)]},
            {"operations": [("gaussian_noise", 0.5, 0.5)]},
        ],
        sfreq=SFREQ,
        ch_names=CHANNELS,
    )
    with pytest.raises(ValueError, match="operation 'time_reverse' is none of the search's: sign_flip, gaussian_noise"):
        task.policy([[("time_reverse", 1.0, 0.0)]])


# States --------------------------------------------------------------------------------------------------------------


def test_state_restores_in_place(tmp_path):
    def state():
        p = nn.Parameter(torch.zeros(3))
        return SearchState(p=p, optimizer=torch.optim.Adam([p], lr=0.1), net=nn.Linear(2, 2), best=[1, {"a": 0.5}])

    def steps(one, n):
        for _ in range(n):
            one.optimizer.zero_grad()
            (one.p - 1).square().sum().backward()
            one.optimizer.step()
        return one

    whole = steps(state(), 5)
    part = steps(state(), 2)
    torch.save(part.state_dict(), tmp_path / "state.pt")
    resumed = state()
    resumed.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert torch.equal(resumed.net.weight, part.net.weight)
    assert resumed.best == [1, {"a": 0.5}]
    assert torch.equal(steps(resumed, 3).p, whole.p)


def test_state_of_a_part_that_was_made_later_is_missed_by_name():
    state = SearchState(best=None)
    state.seen, state.net = 3, nn.Linear(2, 2)
    resumed, saved = SearchState(best=None), state.state_dict()
    with pytest.raises(ValueError, match=r"kept the state of its 'net', .* made in _begin"):
        resumed.load_state_dict(saved)
    assert resumed.seen == 3
