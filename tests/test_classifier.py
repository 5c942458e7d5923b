"""The training path that every method shares."""

from __future__ import annotations

import copy
import signal

import mne
import numpy as np
import pytest
import torch
from braindecode.augmentation import AugmentedDataLoader, GaussianNoise, SignFlip
from braindecode.models import SleepStagerChambon2018
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score
from skorch.callbacks import Callback, EarlyStopping, EpochScoring
from skorch.dataset import Dataset, ValidSplit
from skorch.helper import SliceDataset, predefined_split
from small import (
    CHANNELS,
    NAMES,
    SFREQ,
    SmallNet,
    X,
    Y,
    epochs,
    global_random_states,
    nights,
    staging,
    tones,
    windows_dataset,
)
from torch import nn
from torch.utils.data import ConcatDataset, Subset

from eegaug import MutualClassifier, StagingClassifier
from eegaug.data import Nights
from eegaug.invariance import invariance_score, transfer_matrix

# Input of many kinds -------------------------------------------------------------------------------------------------


def test_learns_and_counts():
    clf = staging(max_epochs=25, lr=0.03).fit(X, Y)
    assert clf.score(*tones(60, seed=9)) > 0.9
    assert clf.n_forward_backward_ == 25 * 3
    assert clf.history[:, "n_forward_backward"] == [3 * (i + 1) for i in range(25)]
    assert clf.history[-1, "train_loss"] == pytest.approx(clf.history[-1, "train_ce"], rel=1e-6)


def test_no_window_is_dropped():
    sizes = []

    class Count(Callback):
        def on_batch_begin(self, net, batch=None, training=False, **kwargs):
            sizes.append(len(batch[0]))

    staging(callbacks=[Count()], max_epochs=1, batch_size=20).fit(X, Y)
    assert sizes == [20, 20, 8]


class Normalised(SmallNet):
    def __init__(self, n_chans: int, n_outputs: int):
        super().__init__(n_chans, n_outputs)
        self.drop = nn.BatchNorm1d(4)


def test_one_window_left_for_a_layer_that_normalises_over_windows():
    clf = staging(Normalised, max_epochs=1)
    with pytest.raises(ValueError, match=r"one window is left.*batch_size is 16.*iterator_train__drop_last=True"):
        clf.fit(X[:33], Y[:33])
    assert clf.set_params(iterator_train__drop_last=True).fit(X[:33], Y[:33]).n_forward_backward_ == 2


@pytest.mark.parametrize("kind", ["float64", "tensor", "epochs", "braindecode", "joined", "nights", "subset", "list"])
def test_every_kind_of_input_gives_the_same_network(kind):
    expected = staging().fit(X, Y)
    given = {
        "float64": lambda: (X.astype("float64"), Y.astype("float64")),
        "tensor": lambda: (torch.from_numpy(X), torch.from_numpy(Y)),
        "epochs": lambda: (epochs(), None),
        "braindecode": lambda: (windows_dataset(), None),
        "joined": lambda: (ConcatDataset(windows_dataset().datasets), None),
        "nights": lambda: (nights(n=1), None),
        "subset": lambda: (Subset(Dataset(X, Y), list(range(len(X)))), None),
        "list": lambda: (X.tolist(), Y.tolist()),
    }[kind]
    data, labels = given()
    clf = staging(classes=[0, 1, 2], sfreq=None, ch_names=None) if kind == "nights" else staging()
    clf.fit(data, labels)
    tolerance = 1e-3 if kind == "epochs" else 1e-6  # volts and back
    np.testing.assert_allclose(clf.predict_proba(X), expected.predict_proba(X), atol=tolerance)
    np.testing.assert_allclose(clf.predict_proba(data), expected.predict_proba(X), atol=tolerance)
    if labels is None:
        assert clf.score(data) == pytest.approx(expected.score(X, Y))
    assert clf.signal_.sfreq == SFREQ
    assert clf.signal_.ch_names == tuple(CHANNELS)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_read_as_it_is(dtype):
    half = torch.from_numpy(X).to(dtype)
    clf, expected = staging().fit(half, Y), staging().fit(half.float(), Y)
    np.testing.assert_array_equal(clf.predict_proba(half), expected.predict_proba(half.float()))


def test_nights_bring_stages_and_preprocessing():
    data = nights(preprocessing={"l_freq": 0.3, "h_freq": 30.0})
    clf = staging(sfreq=None, ch_names=None).fit(data)
    assert clf.classes_.tolist() == [0, 1, 2, 3, 4]  # also those that are not among these windows
    assert clf.predict_proba(data).shape == (48, 5)
    assert clf.preprocessing_ == {"l_freq": 0.3, "h_freq": 30.0}
    with pytest.warns(UserWarning, match=r"preprocessing h_freq is 40.0, the model was trained with 30.0"):
        clf.predict(nights(preprocessing={"l_freq": 0.3, "h_freq": 40.0}))


def test_slices_of_datasets_in_grid_search():
    data = Dataset(X, NAMES[Y])
    search = GridSearchCV(staging(max_epochs=1), {"lr": [0.1, 0.01]}, cv=2)
    search.fit(SliceDataset(data), SliceDataset(data, idx=1))
    assert search.predict(SliceDataset(data)).shape == (48,)


def test_cross_validation_with_a_scorer():
    scores = cross_val_score(staging(max_epochs=12, lr=0.05), X, NAMES[Y], cv=3, scoring="balanced_accuracy")
    assert scores.mean() > 0.5


# Labels --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "labels",
    [
        NAMES,
        NAMES.astype(object),
        np.array([2, 5, 9]),
        np.array([-1, 0, 1]),
        np.array([1.0, 2.0, 4.0]),
        np.array([True, False, True]),
    ],
)
@pytest.mark.parametrize("batch_size", [3, 16])  # braindecode's own loader takes three strings for a mixed-up target
def test_labels_of_any_kind(labels, batch_size):
    y = labels[Y]
    scoring = EpochScoring("balanced_accuracy", lower_is_better=False, name="bacc")
    valid = predefined_split(Dataset(X[:12], y[:12]))
    clf = staging(train_split=valid, callbacks=[scoring], batch_size=batch_size).fit(X, y)
    assert clf.classes_.tolist() == sorted(set(y.tolist()))
    predicted = clf.predict(X)
    assert set(predicted.tolist()) <= set(y.tolist())
    accuracy = np.mean(predicted[:12] == y[:12])
    assert clf.history[-1, "valid_acc"] == pytest.approx(accuracy)
    recalls = [np.mean(predicted[:12][y[:12] == c] == c) for c in clf.classes_]
    assert clf.history[-1, "bacc"] == pytest.approx(np.mean(recalls))


def test_classes_in_an_order_of_ones_own_and_absent_ones():
    clf = staging(classes=["W", "N1", "N2", "REM"], max_epochs=15, lr=0.03).fit(X, NAMES[Y])
    assert clf.predict_proba(X).shape == (48, 4)
    assert clf.score(X, NAMES[Y]) > 0.8
    assert clf.class_weights_.tolist() == [1.0, 1.0, 1.0, 1.0]


def test_labels_that_are_no_classes_are_named():
    with pytest.raises(ValueError, match=r"label 'W' .16 windows. is none of the classes"):
        staging(classes=["N2", "REM"]).fit(X, NAMES[Y])
    valid = predefined_split(Dataset(X, Y + 1))
    with pytest.raises(ValueError, match=r"label 3 .* is none of the classes .0, 1, 2."):
        staging(train_split=valid).fit(X, Y)
    with pytest.raises(ValueError, match=r"label -1 .4 windows."):
        staging().fit(nights(y=np.where(np.arange(48) < 4, -1, Y)))


def test_class_weights():
    y = np.repeat([0, 1, 2], [8, 16, 24])
    clf = staging(max_epochs=0).fit(X, y)
    np.testing.assert_allclose(clf.class_weights_, 48 / (3 * np.array([8, 16, 24])))
    np.testing.assert_allclose(clf.criterion_.weight.numpy(), clf.class_weights_, rtol=1e-6)
    clf = staging(max_epochs=0, class_weight={0: 3.0}).fit(X, y)
    assert clf.criterion_.weight.tolist() == [3.0, 1.0, 1.0]
    clf = staging(max_epochs=0, class_weight=None).fit(X, y)
    assert clf.criterion_.weight is None
    clf = staging(max_epochs=0, criterion__weight=torch.tensor([1.0, 2.0, 3.0])).fit(X, y)
    assert clf.criterion_.weight.tolist() == [1.0, 2.0, 3.0]
    ready = nn.CrossEntropyLoss(label_smoothing=0.1)
    clf = staging(max_epochs=0, criterion=ready).fit(X, y)
    assert clf.criterion_.label_smoothing == 0.1
    assert clf.criterion_.weight is not None
    assert ready.weight is None
    with pytest.warns(UserWarning, match=r"MultiLabelSoftMarginLossLike takes no class weights"):
        staging(max_epochs=0, criterion=MultiLabelSoftMarginLossLike).fit(X, y)


def test_balanced_weights_are_those_of_the_windows_trained_on():
    """Not of those that are kept apart to validate on; of a training that goes on they stay."""
    y = np.repeat([0, 1, 2], [8, 16, 24])

    def keep_apart(dataset, y):
        return Subset(dataset, range(4, 40)), Subset(dataset, [0, 1, 2, 3, *range(40, 48)])

    clf = staging(max_epochs=1, train_split=keep_apart).fit(X, y)
    np.testing.assert_allclose(clf.class_weights_, 36 / (3 * np.array([4, 16, 16])))
    np.testing.assert_allclose(clf.criterion_.weight.numpy(), clf.class_weights_, rtol=1e-6)
    assert clf.train_indices_.tolist() == list(range(4, 40))
    before = clf.class_weights_
    clf.partial_fit(X, Y)
    assert np.array_equal(clf.class_weights_, before)
    assert np.array_equal(clf.set_params(train_split=None).fit(X, y).class_weights_, 48 / (3 * np.array([8, 16, 24])))
    assert clf.train_indices_ is None
    given = staging(max_epochs=1, train_split=keep_apart, criterion__weight=torch.tensor([1.0, 2.0, 3.0])).fit(X, y)
    assert given.criterion_.weight.tolist() == [1.0, 2.0, 3.0]
    assert staging(max_epochs=1, train_split=keep_apart, class_weight=None).fit(X, y).class_weights_ is None
    others = staging(max_epochs=1, train_split=predefined_split(Dataset(X[:9], Y[:9]))).fit(X, y)
    np.testing.assert_allclose(others.class_weights_, 48 / (3 * np.array([8, 16, 24])))


class MultiLabelSoftMarginLossLike(nn.Module):
    def forward(self, logits, y):
        return nn.functional.cross_entropy(logits, y)


@pytest.mark.parametrize(
    ("weights", "words"),
    [("balance", "'balance'"), ({7: 1.0}, "names 7"), ({0: -1.0}, "above 0"), ({0: np.nan}, "above 0")],
)
def test_wrong_class_weights(weights, words):
    with pytest.raises(ValueError, match=words):
        staging(class_weight=weights).fit(X, Y)


# The network ---------------------------------------------------------------------------------------------------------


def test_braindecode_models_by_name_class_and_instance():
    windows, y = tones(16, n_times=150)
    for module in ("SleepStagerChambon2018", SleepStagerChambon2018):
        clf = staging(module, module__drop_prob=0.1).fit(windows, y)
        trunk = clf.module_
        assert (trunk.n_chans, trunk.n_times, trunk.n_outputs, trunk.sfreq) == (4, 150, 3, SFREQ)
        assert [c["ch_name"] for c in trunk.chs_info] == CHANNELS
        assert np.linalg.norm(trunk.chs_info[0]["loc"][:3]) == pytest.approx(0.095)
        assert trunk.final_layer[0].p == 0.1
        assert not any(k.startswith("module__n_") for k in clf.get_params())
    ready = SleepStagerChambon2018(n_chans=4, sfreq=SFREQ, n_outputs=3, n_times=150)
    before = copy.deepcopy(ready.state_dict())
    first = staging(ready).fit(windows, y)
    assert first.module_ is not ready
    assert all(torch.equal(ready.state_dict()[k], v) for k, v in before.items())
    again = clone(first).fit(windows, y)
    assert np.array_equal(first.predict_proba(windows), again.predict_proba(windows))
    assert np.array_equal(first.fit(windows, y).predict_proba(windows), again.predict_proba(windows))


def test_function_as_module():
    def build(n_chans, n_outputs, width=2):
        return SmallNet(n_chans, n_outputs, n_filters=width)

    assert staging(build, module__width=7).fit(X, Y).module_.conv.out_channels == 7


@pytest.mark.parametrize(
    ("module", "more", "words"),
    [
        ("SleepStagerChambon", {}, "did you mean SleepStagerChambon2018"),
        (SmallNet, {"module__width": 3}, "takes no argument width; it takes n_chans, n_outputs, n_filters, drop_prob"),
        (SleepStagerChambon2018(n_chans=2, sfreq=50, n_times=100), {}, "built for 2 channels, the data have 4"),
    ],
)
def test_networks_that_cannot_be_built(module, more, words):
    with pytest.raises(ValueError, match=words):
        staging(module, **more).fit(X, Y)


def test_module_of_a_wrong_kind():
    with pytest.raises(TypeError, match=r"module is a int"):
        staging(3).fit(X, Y)
    with pytest.raises(TypeError, match="SleepStagerChambon2018 cannot be built with activation='relu': 'str' object"):
        staging("SleepStagerChambon2018", module__activation="relu").fit(X, Y)
    with pytest.raises(TypeError, match=r"not a torch.nn.Module"):
        staging(lambda n_chans: n_chans).fit(X, Y)


def test_refit_on_another_montage_and_classes():
    clf = staging("SleepStagerChambon2018", ch_names=None)
    clf.fit(X, Y)
    assert clf.module_.n_chans == 4
    clf.fit(X[:, :2, :80], Y % 2)
    assert (clf.module_.n_chans, clf.module_.n_times, clf.module_.n_outputs) == (2, 80, 2)
    assert clone(clf).fit(X, Y).predict(X).shape == (48,)
    assert clf.classes_.tolist() == [0, 1]


def test_optimisers_without_betas():
    clf = staging(optimizer=torch.optim.SGD).fit(X, Y)
    assert isinstance(clf.optimizer_, torch.optim.SGD)
    assert staging().fit(X, Y).optimizer_.param_groups[0]["betas"] == (0.0, 0.999)
    assert staging(optimizer__betas=(0.9, 0.99)).fit(X, Y).optimizer_.param_groups[0]["betas"] == (0.9, 0.99)
    clone(staging(optimizer__betas=(0.0, 0.999))).set_params(optimizer=torch.optim.SGD).fit(X, Y)


# Randomness ----------------------------------------------------------------------------------------------------------


def test_same_seed_same_network():
    first, again, other = (staging(random_state=s, module__drop_prob=0.5).fit(X, Y) for s in (1, 1, 2))
    state = np.random.RandomState(1)
    draws = [staging(random_state=state).fit(X, Y) for _ in range(2)]
    assert np.array_equal(first.predict_proba(X), again.predict_proba(X))
    assert not np.allclose(first.predict_proba(X), other.predict_proba(X))
    assert not np.allclose(draws[0].predict_proba(X), draws[1].predict_proba(X))


def test_global_randomness_is_neither_used_nor_changed():
    before = global_random_states()
    clf = staging(random_state=None, train_split=ValidSplit(4, stratified=True)).fit(X, Y)
    clf.predict(X)
    clf.partial_fit(X, Y)
    for a, b in zip(global_random_states(), before, strict=True):
        assert torch.equal(a, b)
    torch.manual_seed(0)
    first = staging().fit(X, Y).predict_proba(X)
    torch.manual_seed(1)
    assert np.array_equal(staging().fit(X, Y).predict_proba(X), first)


def test_validation_does_not_change_training():
    plain = staging(module__drop_prob=0.5).fit(X, Y)
    watched = staging(module__drop_prob=0.5, train_split=predefined_split(Dataset(X, Y))).fit(X, Y)
    assert np.array_equal(plain.predict_proba(X), watched.predict_proba(X))


@pytest.mark.parametrize("wrong", [-1, "zero", 1.5, True])
def test_random_states_that_are_none(wrong):
    with pytest.raises((TypeError, ValueError), match=r"random_state is"):
        staging(random_state=wrong).fit(X, Y)


def test_partial_fit_goes_on():
    clf = staging(max_epochs=1)
    clf.partial_fit(X, Y).partial_fit(X, Y)
    assert len(clf.history) == 2
    assert clf.n_forward_backward_ == 6
    losses = [b["train_loss"] for row in clf.history for b in row["batches"]]
    assert len(set(losses)) == 6  # other shuffles, not the same again
    with pytest.raises(ValueError, match=r"3 channels, the model needs 4"):
        clf.set_params(ch_names=None).partial_fit(X[:, :3], Y)


def test_partial_fit_with_classes_and_with_a_network_built_by_hand():
    clf = staging(max_epochs=1).partial_fit(X[::3], Y[::3] + (np.arange(16) % 2), classes=[0, 1, 2])
    assert clf.classes is None
    assert clf.partial_fit(X, Y).predict_proba(X).shape == (48, 3)
    clf = staging(max_epochs=1, module__n_chans=4, module__n_outputs=3).initialize()
    network = clf.module_
    clf.partial_fit(X, np.minimum(Y, np.arange(48) % 4))
    assert clf.module_ is network
    assert clf.criterion_.weight.min() < clf.criterion_.weight.max()


def test_warm_start_keeps_the_network():
    clf = staging(warm_start=True).fit(X, Y)
    network = clf.module_
    assert clf.fit(X, Y).module_ is network
    assert len(clf.history) == 4


# Augmentation, callbacks, interruption -------------------------------------------------------------------------------


def test_policy_is_applied_to_training_batches_only():
    seen = []

    class Watch(SmallNet):
        def forward(self, X):
            seen.append((self.training, X.mean().item() > 50))
            return super().forward(X)

    staging(Watch, policy=lambda X: X + 100, max_epochs=1, train_split=predefined_split(Dataset(X, Y))).fit(X, Y)
    assert set(seen) == {(True, True), (False, False)}


def test_policy_for_other_data_is_refused():
    class Policy:
        def __init__(self, **about):
            vars(self).update(about)

        def apply(self, X):
            return X

    staging(policy=Policy(ch_names=CHANNELS, sfreq=SFREQ), max_epochs=1).fit(X, Y)
    with pytest.raises(ValueError, match=r"do not fit the policy"):
        staging(policy=Policy(ch_names=CHANNELS[:3])).fit(X, Y)
    with pytest.raises(ValueError, match=r"policy is for 100 Hz, the windows have 50 Hz"):
        staging(policy=Policy(sfreq=100)).fit(X, Y)


class Interrupt(Callback):
    """Ctrl-C in the middle of the third epoch."""

    def on_epoch_begin(self, net, **kwargs):
        net.history.record("score", [1.0, 2.0, 0.0, 0.0][len(net.history) - 1])

    def on_batch_end(self, net, training=False, **kwargs):
        if training and net.n_forward_backward_ == 8:
            signal.raise_signal(signal.SIGINT)


def test_ctrl_c_keeps_the_best_network_so_far():
    states = {}

    class Keep(Callback):
        def on_epoch_end(self, net, **kwargs):
            states[len(net.history)] = copy.deepcopy(net.module_.state_dict())

    best = EarlyStopping("score", lower_is_better=True, patience=9, load_best=True, sink=str)
    clf = staging(callbacks=[Interrupt(), Keep(), best], max_epochs=5).fit(X, Y)
    assert clf.interrupted_
    assert len(clf.history) == 3
    assert list(states) == [1, 2]
    for name, value in clf.module_.state_dict().items():
        assert torch.equal(value, states[1][name])
    assert clf.predict(X).shape == (48,)
    assert not clf.set_params(callbacks=None).fit(X, Y).interrupted_


def test_callback_that_ends_training_is_no_interruption():
    class Stop(Callback):
        def on_epoch_end(self, net, **kwargs):
            raise KeyboardInterrupt

    clf = staging(callbacks=[Stop()]).fit(X, Y)
    assert len(clf.history) == 1
    assert not clf.interrupted_


def test_log(capsys):
    staging(verbose=0).fit(X, Y)
    assert capsys.readouterr().out == ""
    staging(verbose=1, max_epochs=1).fit(X, Y)
    printed = capsys.readouterr().out
    assert "train_ce" in printed
    assert "n_forward_backward" not in printed


def test_callbacks_by_name():
    clf = staging(callbacks=["balanced_accuracy"], train_split=predefined_split(Dataset(X, Y))).fit(X, Y)
    assert {"train_balanced_accuracy", "valid_balanced_accuracy"} <= set(clf.history[-1])
    clf.set_params(callbacks__print_log=None)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_and_back():
    clf = staging(device="cuda", max_epochs=5).fit(X, NAMES[Y])
    proba = clf.predict_proba(X)
    clf.set_params(device="cpu")
    np.testing.assert_allclose(clf.predict_proba(X), proba, atol=1e-4)
    clf.partial_fit(X, NAMES[Y])


def test_weights_of_a_criterion_of_ones_own_are_kept():
    weight = torch.tensor([1.0, 2.0, 3.0])
    clf = StagingClassifier(
        SmallNet, sfreq=SFREQ, criterion=torch.nn.CrossEntropyLoss(weight=weight), max_epochs=1, verbose=0
    ).fit(X, Y)
    assert torch.equal(clf.criterion_.weight, weight)


def test_a_class_without_weight_is_refused():
    with pytest.raises(ValueError, match="weights are above 0"):
        StagingClassifier(SmallNet, sfreq=SFREQ, class_weight={0: 0.0}, max_epochs=1, verbose=0).fit(X, Y)


def test_windows_that_nobody_scored_do_not_count():
    found = nights(n=2)
    clf = StagingClassifier(SmallNet, max_epochs=1, verbose=0, random_state=0).fit(found)
    labels, predicted = found.y.copy(), clf.predict(found)
    for night in found.datasets:
        night.y = np.where(np.arange(len(night.y)) % 3, night.y, -1)
    found = Nights(found.datasets)
    scored = found.y >= 0
    assert 0 < scored.sum() < len(scored)
    assert clf.score(found) == pytest.approx((predicted == labels)[scored].mean())
    assert clf.score(found, sample_weight=np.ones(len(scored))) == clf.score(found)
    matrix = transfer_matrix({"net": clf}, found, operations=["sign_flip"], metric="accuracy")
    assert matrix.loc["net", "original"] == pytest.approx((predicted == labels)[scored].mean())
    assert (
        -1 not in transfer_matrix({"net": clf}, found, operations=["sign_flip"], per_stage=True).reset_index()["stage"]
    )
    assert -1 not in invariance_score(clf, found, "sign_flip").by_stage.index


def test_epochs_with_other_channels_than_eeg():
    data = epochs()
    data.set_channel_types({CHANNELS[0]: "eog", CHANNELS[1]: "emg", CHANNELS[2]: "misc"})
    clf = staging(max_epochs=1).fit(data)
    microvolts = data.get_data() * 1e6
    microvolts[:, 2] /= 1e6  # of no known unit
    assert np.allclose(clf.predict_proba(data), clf.predict_proba(microvolts.astype("float32")), atol=1e-6)


def test_epochs_that_have_not_been_read_are_scored():
    info = mne.create_info(CHANNELS, SFREQ, "eeg")
    raw = mne.io.RawArray(np.concatenate(X * 1e-6, axis=1), info, verbose="error")
    onsets, settings = np.arange(len(X)) * X.shape[2], {"tmax": 2 - 1 / SFREQ, "baseline": None, "verbose": "error"}
    onsets[-1] += 1  # too short: MNE drops it when it is read
    events = np.column_stack([onsets, np.zeros(len(X), int), Y])
    clf = staging(max_epochs=1).fit(mne.Epochs(raw, events, tmin=0, **settings))
    assert clf.score(mne.Epochs(raw, events, tmin=0, **settings)) == pytest.approx(clf.score(X[:-1], Y[:-1]))


def test_epochs_in_cross_validation():
    scores = cross_val_score(staging(max_epochs=1), epochs(), Y, cv=2, error_score="raise")
    assert scores.shape == (2,) and np.isfinite(scores).all()
    two = [epochs(X[:20], Y[:20]), epochs(X[20:], Y[20:])]
    clf = staging(max_epochs=1).fit(two)
    assert clf.score(two) == clf.score(epochs())
    assert invariance_score(clf, two, "sign_flip").by_stage.equals(
        invariance_score(clf, epochs(), "sign_flip").by_stage
    )
    differing = [epochs()[0], epochs(ch_names=CHANNELS[::-1])[1]]
    with pytest.raises(ValueError, match="epochs of the list differ"):
        staging(max_epochs=1).fit(differing, Y[:2])


def test_transforms_of_the_loader_draw_the_same_in_every_training():
    def estimator(seed):
        transforms = [GaussianNoise(1.0, std=1.0, random_state=3), SignFlip(0.5)]
        more = {"iterator_train": AugmentedDataLoader, "iterator_train__transforms": transforms}
        return staging(max_epochs=2, random_state=seed, **more)

    clf = estimator(0)
    before = clf.get_params()["iterator_train__transforms"]
    first = clf.fit(X, Y).predict_proba(X)
    assert clf.get_params()["iterator_train__transforms"] is before
    assert np.array_equal(clf.fit(X, Y).predict_proba(X), first)
    assert np.array_equal(estimator(0).fit(X, Y).predict_proba(X), first)
    assert not np.array_equal(estimator(1).fit(X, Y).predict_proba(X), first)
    # Without a seed each training has draws of its own, and these are all that differs: the network does not learn.
    unseeded = estimator(None).set_params(max_epochs=1, lr=0.0, iterator_train__shuffle=False, module=SumOfSquares)
    losses = [unseeded.fit(X, Y).history[-1, "train_loss"] for _ in range(2)]
    assert losses[0] != losses[1]


class SumOfSquares(nn.Module):
    """Begins alike each time."""

    def __init__(self, n_outputs):
        super().__init__()
        self.scale = nn.Parameter(torch.linspace(0.0, 0.01, n_outputs))

    def forward(self, X):
        return X.square().sum((1, 2), keepdim=True)[:, 0] * self.scale


@pytest.mark.parametrize("method", [StagingClassifier, MutualClassifier])
def test_initialize_knows_the_rate_before_any_data(method):
    arguments = {"module__n_chans": 2, "module__n_times": 300, "module__n_outputs": 5}
    clf = method(sfreq=100, ch_names=["C3", "C4"], verbose=0, **arguments).initialize()
    assert clf.module_(torch.zeros(1, 2, 300)).shape == (1, 5)


@pytest.mark.parametrize("compiled", [False, True])
def test_groups_of_parameters_go_by_the_names_of_the_network(compiled):
    groups = [("conv.*", {"lr": 0.5})]
    clf = staging(compile=compiled, optimizer__param_groups=groups, module__n_chans=4, module__n_outputs=3).initialize()
    assert [(group["lr"], len(group["params"])) for group in clf.optimizer_.param_groups] == [(0.5, 2), (0.01, 2)]


class FocalLoss(nn.Module):
    def forward(self, logits, y):
        each = nn.functional.cross_entropy(logits, y, reduction="none")
        return ((1.0 - (-each).exp()) ** 2 * each).mean()


class LogSmallNet(SmallNet):
    def forward(self, X):
        return super().forward(X).log_softmax(1)


@pytest.mark.parametrize(("criterion", "module"), [(FocalLoss, SmallNet), (nn.NLLLoss, LogSmallNet)])
def test_probabilities_with_another_loss(criterion, module):
    clf = staging(module=module, criterion=criterion, class_weight=None, max_epochs=1).fit(X, Y)
    with torch.no_grad():
        expected = clf.module_.eval()(torch.as_tensor(X)).softmax(1)
    np.testing.assert_allclose(clf.predict_proba(X), expected, rtol=1e-5)


def test_answers_of_the_network_as_skorch_gives_them():
    clf = staging(max_epochs=1, module__drop_prob=0.5).fit(X, Y)
    logits = clf.forward(X)
    assert not torch.equal(clf.forward(X, training=True), logits)  # with dropout
    np.testing.assert_allclose(clf.predict_proba(X), torch.softmax(logits, 1), rtol=1e-6)
    for nonlinearity, expected in ((None, logits), (torch.sigmoid, torch.sigmoid(logits))):
        clf.set_params(predict_nonlinearity=nonlinearity)
        np.testing.assert_allclose(clf.predict_proba(X), expected, rtol=1e-6)


def test_log_likelihood_of_logits_is_refused():
    with pytest.raises(ValueError, match=r"NLLLoss takes logarithms of probabilities.*CrossEntropyLoss"):
        staging(criterion=nn.NLLLoss, max_epochs=1).fit(X, Y)
