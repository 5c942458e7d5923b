"""Networks of sequences: USleep on (sequences, windows, channels, times), end to end."""

import copy

import numpy as np
import pytest
import torch
from braindecode import EEGClassifier
from braindecode.augmentation import AugmentedDataLoader
from braindecode.models import USleep
from braindecode.modules import TimeDistributed
from braindecode.samplers import SequenceSampler
from sklearn.metrics import accuracy_score
from skorch.dataset import Dataset
from skorch.helper import predefined_split
from small import SmallNet, nights, tones
from torch.utils.data import RandomSampler

from eegaug import AugAveragedModel, AugmentationModule, AugNetClassifier, Policy, StagingClassifier, load_model
from eegaug.checkpoint import TrainingCheckpoint
from eegaug.transforms import FrequencyShift, SignFlip

SFREQ, CHANNELS, N_CLASSES = 100, ["C3", "C4"], 3
_order = np.random.default_rng(0).permutation(72)
X_FLAT, Y_FLAT = (a[_order] for a in tones(72, n_channels=2, n_times=300))
X, Y = X_FLAT.reshape(24, 3, 2, 300), Y_FLAT.reshape(24, 3)
LAYERS = [["frequency_shift", "sign_flip"], ["channels_dropout"]]


def usleep(cls=StagingClassifier, **settings):
    if cls is AugNetClassifier:
        settings = {"layers": LAYERS, "n_copies": 2, "penalty": 0.01} | settings
    settings = {"max_epochs": 1, "lr": 0.01, "batch_size": 8, "verbose": 0, "random_state": 0} | settings
    return cls("USleep", module__depth=3, sfreq=SFREQ, ch_names=CHANNELS, **settings)


@pytest.mark.parametrize("cls", [StagingClassifier, AugNetClassifier])
def test_learns_stages_of_sequences(cls, tmp_path):
    valid = predefined_split(Dataset(X[:6], Y[:6]))
    clf = usleep(cls, max_epochs=40, lr=0.003, train_split=valid).fit(X, Y)
    proba = clf.predict_proba(X)
    assert proba.shape == (24, N_CLASSES, 3)
    np.testing.assert_allclose(proba.sum(axis=1), 1, atol=1e-5)
    assert np.array_equal(clf.predict(X), proba.argmax(axis=1))
    assert clf.score(X, Y) == accuracy_score(Y.ravel(), clf.predict(X).ravel()) > 0.9
    assert clf.history[-1, "valid_acc"] == clf.score(X[:6], Y[:6])
    assert clf.class_weights_ == pytest.approx([1, 1, 1])
    assert clf.signal_.n_windows == 3
    # Predictions depend neither on the batch nor, for this network, on the number of windows in a sequence.
    np.testing.assert_allclose(clf.predict_proba(X[5:6]), proba[5:6], atol=1e-5)
    assert clf.predict(X[:, :2]).shape == (24, 2)
    clf.save(tmp_path)
    again = load_model(tmp_path)
    assert np.array_equal(again.predict_proba(X), proba)
    assert again.signal_.n_windows == 3


def test_policies_augment_sequences_window_by_window():
    policy = Policy.fixed_sleep(sfreq=SFREQ, ch_names=CHANNELS)
    out = policy.apply(torch.from_numpy(X))
    assert out.shape == X.shape
    changed = (out - torch.from_numpy(X)).abs().amax((2, 3)) > 1e-6
    assert changed.any() and len({tuple(row) for row in changed.tolist()}) > 1
    assert usleep(policy=policy).fit(X, Y).predict(X).shape == Y.shape


@pytest.mark.parametrize("judge_share", [0.0, 0.25])
def test_one_operation_for_each_window_of_a_sequence(judge_share):
    clf = usleep(AugNetClassifier, penalty=None, selection="single", judge_share=judge_share, max_epochs=2).fit(X, Y)
    assert clf.predict(X).shape == Y.shape
    table = clf.invariances_.set_index("operation")
    assert table.loc["sign_flip", "magnitude"] != 0.1 and table["loss_rise"].notna().all()
    # Each window has a loss of its own to compare.
    layer = clf.module_.augmentation.layers[0]
    assert float(layer.running_counts.sum()) > len(Y)


def test_sampler_of_sequences_over_nights():
    data = nights(X_FLAT, Y_FLAT, n=3, ch_names=CHANNELS, sfreq=SFREQ)
    metadata = data.get_metadata()
    train = SequenceSampler(metadata, 4, 1, randomize=True, random_state=0)
    every = SequenceSampler(metadata, 4, 4)
    clf = usleep(
        iterator_train__sampler=train, iterator_train__shuffle=False, iterator_valid__sampler=every, max_epochs=10
    )
    clf.fit(data)
    assert clf.n_forward_backward_ == 10 * int(np.ceil(len(train) / 8))
    expected = data.read().reshape(18, 4, 2, 300)
    proba = clf.predict_proba(data)
    assert proba.shape == (18, 5, 4)
    np.testing.assert_allclose(proba, clf.set_params(iterator_valid__sampler=None).predict_proba(expected), atol=1e-6)
    assert accuracy_score(data.y, proba.argmax(1).ravel()) > 0.6


class WholeNumbers(torch.utils.data.Sampler):
    """Draws with numpy's newer generator, which has other methods than the older one."""

    def __init__(self, n):
        self.n, self.rng = n, np.random.default_rng(0)

    def __len__(self):
        return 24

    def __iter__(self):
        yield from self.rng.integers(self.n, size=len(self)).tolist()


@pytest.mark.parametrize("kind", ["braindecode", "torch", "numpy"])
def test_a_sampler_draws_alike_in_every_training_and_after_a_checkpoint(kind, tmp_path):
    data = nights(X_FLAT, Y_FLAT, n=3, ch_names=CHANNELS, sfreq=SFREQ)
    if kind == "braindecode":
        sampler = SequenceSampler(data.get_metadata(), 4, 4, randomize=True, random_state=0)
    elif kind == "numpy":
        sampler = WholeNumbers(len(data))
    else:
        sampler = RandomSampler(data, num_samples=24, generator=torch.Generator().manual_seed(0))
    settings = {"iterator_train__sampler": sampler, "iterator_train__shuffle": False}
    clf = usleep(max_epochs=2, **settings)
    proba = clf.fit(data).predict_proba(data)
    assert np.array_equal(clf.fit(data).predict_proba(data), proba)
    assert np.array_equal(usleep(max_epochs=2, **settings).fit(data).predict_proba(data), proba)
    for n in (1, 2):
        begun = usleep(max_epochs=n, callbacks=[TrainingCheckpoint(tmp_path / "c.pt")], **settings).fit(data)
    assert len(begun.history) == 2 and np.array_equal(begun.predict_proba(data), proba)
    assert clf.iterator_train__sampler is sampler


class OneLabel(torch.nn.Module):
    """Windows of a sequence side by side, for the label of the one in the middle, as braindecode's tutorials do."""

    def __init__(self):
        super().__init__()
        features = SmallNet(2, 8)
        self.network = torch.nn.Sequential(TimeDistributed(features), torch.nn.Flatten(1), torch.nn.Linear(24, 3))

    def forward(self, X):
        return self.network(X)


def one_label(label):
    return label[1] if np.ndim(label) else label


@pytest.mark.parametrize(("selection", "kind"), [("single", "log"), ("single", "change"), ("weighted", "change")])
def test_samplers_and_one_label_for_each_sequence(selection, kind):
    data = nights(X_FLAT, Y_FLAT, n=4, ch_names=CHANNELS, sfreq=SFREQ, target_transform=one_label)
    train, valid = data.select(["s0", "s1", "s2"]), data.select(["s3"])
    sampler = SequenceSampler(train.get_metadata(), 3, 2, randomize=True, random_state=0)
    every = SequenceSampler(valid.get_metadata(), 3, 1)
    clf = AugNetClassifier(
        OneLabel,
        layers=[["sign_flip", "channels_dropout"]],
        selection=selection,
        penalty_kind=kind,
        iterator_train__sampler=sampler,
        iterator_train__shuffle=False,
        iterator_valid__sampler=every,
        train_split=predefined_split(valid),
        classes=[0, 1, 2],
        max_epochs=3,
        random_state=0,
        verbose=0,
    )
    clf.fit(train)
    assert clf.predict(valid).shape == (len(every),)
    layer = clf.module_.augmentation.layers[0]
    if kind == "change":  # a change of sign is twice the signal, at even odds
        assert layer.full_changes[0].item() == pytest.approx(2 * np.sqrt(0.5), rel=1e-4)
    if selection == "single":
        assert clf.invariances_["loss_rise"].notna().all()
        assert float(layer.running_counts.sum()) > len(sampler)
    assert clf.iterator_valid__sampler is every
    clf.set_params(selection="single", penalty_kind="log", judge_share=0.2)
    with pytest.raises(ValueError, match=r"judge_share=0.2 keeps windows apart, and iterator_train__sampler draws"):
        clf.fit(train)


def test_one_label_for_each_sequence_of_an_array():
    names = np.array(["N2", "REM", "W"])[Y[:, 1]]
    clf = AugNetClassifier(
        OneLabel,
        layers=LAYERS,
        sfreq=SFREQ,
        ch_names=CHANNELS,
        penalty=0.01,
        lr=0.01,
        max_epochs=40,
        random_state=0,
        verbose=0,
    )
    proba = clf.fit(X, names).predict_proba(X)
    assert proba.shape == (24, 3)
    np.testing.assert_allclose(proba.sum(1), 1, atol=1e-5)
    assert clf.score(X, names) == np.mean(clf.predict(X) == names) > 0.8


@pytest.mark.parametrize("label", [None, one_label])
def test_score_is_that_of_what_a_sampler_draws(label):
    data = nights(X_FLAT, Y_FLAT, n=3, ch_names=CHANNELS, sfreq=SFREQ, target_transform=label)
    every = SequenceSampler(data.get_metadata(), 3, 1, randomize=True, random_state=0)
    module = {"module": OneLabel} if label else {"module": "USleep", "module__depth": 3}
    clf = StagingClassifier(
        **module,
        iterator_train__sampler=every,
        iterator_train__shuffle=False,
        classes=[0, 1, 2],
        lr=0.01,
        max_epochs=8,
        iterator_valid__sampler=every,
        batch_size=8,
        random_state=0,
        verbose=0,
    ).fit(data)
    rows = [range(night * 24 + i, night * 24 + i + 3) for night in range(3) for i in range(22)]
    y = np.array([data.y[row] if label is None else data.y[row[1]] for row in rows])
    clf.iterator_valid__sampler = [tuple(row) for row in rows]
    expected = np.mean(clf.predict(data) == y)
    assert 0.4 < expected == clf.score(data, y)
    clf.iterator_valid__sampler = every
    assert clf.score(data) == pytest.approx(expected) and clf.iterator_valid__sampler is every
    with pytest.raises(ValueError, match=r"y has labels of shape \(72,\), and the network gives answers of \(66"):
        clf.score(data, data.y)


def test_what_sequences_cannot_be():
    bad = X.copy()
    bad[2, 1, 0, 7] = np.nan
    with pytest.raises(ValueError, match=r"window 1 of sequence 2 .*NaN at sample 7 of channel 'C3'"):
        usleep().fit(bad, Y)
    with pytest.raises(ValueError, match=r"y has shape \(24, 2\); 24 sequences of 3 windows call for .*\(24, 3\), or"):
        usleep().fit(X, Y[:, :2])
    with pytest.raises(ValueError, match=r"answers .* shape \(8, 3, 3\), .* its labels \(8,\): .* \(n_sequences, 3\)"):
        usleep().fit(X, Y[:, 0])
    with pytest.raises(ValueError, match=r"answers .* shape \(16, 3\), .* its labels \(16, 3\): .* shape \(n,\)"):
        StagingClassifier(OneLabel, max_epochs=1, verbose=0).fit(X, Y)
    with pytest.raises(ValueError, match=r"y has shape \(20,\); 24 sequences .* or one per sequence, \(24,\)"):
        usleep().fit(X, Y[:20, 0])
    flat = X.copy()
    flat[:, :, 1] = 4.0
    with pytest.raises(ValueError, match=r"channel 'C4' of the training set is flat"):
        usleep().fit(flat, Y)
    clf = usleep().fit(X, Y)
    with pytest.raises(ValueError, match=r"windows of 200 samples"):
        clf.predict(X[..., :200])
    with pytest.raises(ValueError, match=r"1 channels"):
        clf.predict(X[:, :, :1])


def test_in_braindecodes_own_estimator():
    # Its loader and transforms take one window an item, so sequences are augmented by a layer before the network.
    torch.manual_seed(0)
    trunk = USleep(n_chans=2, sfreq=SFREQ, depth=3, n_outputs=N_CLASSES, n_times=300)
    model = AugAveragedModel(trunk, AugmentationModule(LAYERS, sfreq=SFREQ, ch_names=CHANNELS), n_copies=2)
    start = copy.deepcopy(model.augmentation.state_dict())
    clf = EEGClassifier(
        model,
        criterion=torch.nn.CrossEntropyLoss,
        optimizer=torch.optim.Adam,
        lr=0.01,
        max_epochs=3,
        batch_size=8,
        train_split=None,
        classes=[0, 1, 2],
        verbose=0,
        iterator_train__shuffle=True,
    )
    clf.fit(X, Y)
    after = clf.module_.augmentation.state_dict()
    assert any(not torch.equal(after[name], start[name]) for name in after)
    assert clf.forward(X).shape == (24, N_CLASSES, 3)
    assert clf.history[-1, "train_loss"] < clf.history[0, "train_loss"]


def test_braindecodes_loader_augments_sequences():
    shift = FrequencyShift(probability=1.0, magnitude=0.5, sfreq=SFREQ, learnable=False)
    loader = AugmentedDataLoader(Dataset(X, Y), [shift, SignFlip(probability=0.5, learnable=False)], batch_size=8)
    batches = list(loader)
    assert [tuple(b[0].shape) for b in batches] == [(8, 3, 2, 300)] * 3
    assert torch.equal(torch.cat([b[1] for b in batches]), torch.from_numpy(Y))
    out = torch.cat([b[0] for b in batches]).numpy()
    assert (np.abs(out - X).max((2, 3)) > 1e-3).all()
