"""Networks of braindecode behind the project's estimators, and the project's layers and transforms in braindecode's."""

import numpy as np
import pytest
import torch
from braindecode import EEGClassifier
from braindecode.augmentation import AugmentedDataLoader, Compose, Mixup
from braindecode.models.util import _init_models_dict, models_dict
from small import CHANNELS, SFREQ, SmallNet, X, Y, epochs, tones, windows_dataset

from eegaug import AugAveragedModel, AugmentationModule, AugNetClassifier, Policy, StagingClassifier, load_model
from eegaug.transforms import ChannelsDropout, FrequencyShift, GaussianNoise, SignFlip

if not models_dict:
    _init_models_dict()
TRUNKS = {
    "SleepStagerChambon2018": {},
    "DeepSleepNet": {},
    "USleep": {"depth": 3},
    "EEGNet": {},
    "ShallowFBCSPNet": {"final_conv_length": "auto"},
}
X_TRUNK, Y_TRUNK = tones(18, n_channels=2, n_times=300)


@pytest.mark.parametrize("cls", [StagingClassifier, AugNetClassifier])
@pytest.mark.parametrize("name", TRUNKS)
def test_trains_predicts_and_is_saved(cls, name, tmp_path):
    settings = {f"module__{key}": value for key, value in TRUNKS[name].items()}
    if cls is AugNetClassifier:
        settings |= {"layers": ["time-frequency", ["channels_dropout", "sign_flip"]], "n_copies": 2, "penalty": 0.1}
    clf = cls(name, sfreq=100, ch_names=["C3", "C4"], max_epochs=2, batch_size=9, random_state=0, verbose=0, **settings)
    clf.fit(X_TRUNK, Y_TRUNK)
    proba = clf.predict_proba(X_TRUNK)
    assert proba.shape == (18, 3) and np.isfinite(proba).all()
    np.testing.assert_allclose(proba.sum(1), 1, atol=1e-5)
    trunk = getattr(clf.module_, "trunk", clf.module_)
    assert type(trunk).__name__ == name and trunk.n_outputs == 3 and trunk.n_chans == 2
    # Every parameter took part, but for what DeepSleepNet passes from one window of a sequence to the next.
    start = cls(
        name, sfreq=100, ch_names=["C3", "C4"], max_epochs=0, batch_size=9, random_state=0, verbose=0, **settings
    )
    before = dict(start.fit(X_TRUNK, Y_TRUNK).module_.named_parameters())
    still = [k for k, p in clf.module_.named_parameters() if torch.equal(p, before[k]) and "bilstm.weight_hh" not in k]
    assert not still
    # A batch of one window gives what the whole gives, and so does the model that was saved.
    np.testing.assert_allclose(clf.predict_proba(X_TRUNK[3:4]), proba[3:4], atol=1e-5)
    assert np.array_equal(load_model(clf.save(tmp_path)).predict_proba(X_TRUNK), proba)


def eeg_classifier(module=SmallNet, **settings):
    """braindecode's own estimator."""
    settings = {"criterion": torch.nn.CrossEntropyLoss, "optimizer__lr": 0.02, "train_split": None} | settings
    settings = {"max_epochs": 4, "batch_size": 16, "verbose": 0, "classes": [0, 1, 2]} | settings
    return EEGClassifier(module, **settings)


def transforms():
    policy = Policy.fixed_sleep(sfreq=SFREQ, ch_names=CHANNELS)
    return {
        "list": [
            FrequencyShift(probability=0.5, magnitude=0.2, sfreq=SFREQ, learnable=False),
            GaussianNoise(probability=0.5, magnitude=0.2, learnable=False),
        ],
        "compose": Compose([SignFlip(probability=0.5, learnable=False), ChannelsDropout(0.5, 0.3, learnable=False)]),
        "policy": policy.to_braindecode(),
    }


@pytest.mark.parametrize(("kind", "n_workers"), [("list", 0), ("list", 2), ("compose", 0), ("policy", 0)])
def test_braindecodes_loader_with_our_transforms(kind, n_workers):
    torch.manual_seed(0)
    data = [(x, int(label)) for x, label in zip(X, Y, strict=True)]
    loader = AugmentedDataLoader(data, transforms()[kind], batch_size=16, num_workers=n_workers)
    first, second = ([b[0] for b in loader] for _ in range(2))
    assert torch.equal(torch.cat([b[1] for b in loader]), torch.from_numpy(Y))
    out = torch.cat(first)
    assert out.shape == X.shape and out.dtype == torch.float32 and torch.isfinite(out).all()
    changed = (out - torch.from_numpy(X)).abs().amax((1, 2)) > 1e-6
    assert 0.2 < changed.float().mean() <= 1
    # Each epoch, and each worker, draws anew.
    assert not torch.equal(torch.cat(second), out)
    noise = [(out[i : i + 16] - torch.from_numpy(X[i : i + 16])) for i in (0, 16)]
    assert not torch.allclose(*noise)


def test_braindecodes_estimator_with_our_transforms():
    torch.manual_seed(0)
    clf = eeg_classifier(
        module__n_chans=4,
        module__n_outputs=3,
        max_epochs=25,
        iterator_train=AugmentedDataLoader,
        iterator_train__transforms=transforms()["list"],
    )
    assert clf.fit(X, Y).score(X, Y) > 0.8


@pytest.mark.parametrize("selection", [None, "weighted", "single"])
def test_windows_that_are_mixed_have_two_labels(selection):
    """braindecode's Mixup, with the estimators' own loss: the cross-entropies of both, by their shares."""
    settings = {
        "sfreq": SFREQ,
        "ch_names": CHANNELS,
        "max_epochs": 1,
        "verbose": 0,
        "iterator_train": AugmentedDataLoader,
        "iterator_train__transforms": [Mixup(alpha=0.5)],
    }
    if selection is None:
        clf = StagingClassifier(SmallNet, **settings)
    else:
        clf = AugNetClassifier(SmallNet, layers=[["sign_flip", "gaussian_noise"]], selection=selection, **settings)
    rows = np.flatnonzero((Y != 2) | (np.arange(len(Y)) < 9))  # classes of different size
    clf.fit(X[rows], Y[rows])
    assert np.isfinite(clf.history[-1, "train_loss"])
    logits = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    first, second, share = torch.tensor([0, 1, 2, 2]), torch.tensor([0, 2, 1, 0]), torch.tensor([0.3, 0.9, 0.0, 0.5])
    loss = clf.get_loss(logits, (first, second, share), training=True)
    weights = torch.as_tensor(clf.class_weights_, dtype=torch.float32)
    log_p = logits.log_softmax(1)
    own = [-weights[y] * log_p[range(4), y] for y in (first, second)]
    assert loss.item() == pytest.approx((share * own[0] + (1 - share) * own[1]).mean().item(), rel=1e-5)


@pytest.mark.parametrize("name", TRUNKS)
def test_braindecodes_estimator_with_layers_before_each_trunk(name):
    torch.manual_seed(0)
    trunk = models_dict[name](n_chans=2, n_outputs=3, n_times=300, sfreq=100, **TRUNKS[name])
    layers = AugmentationModule([["frequency_shift"], ["channels_dropout"]], sfreq=100, ch_names=["C3", "C4"])
    clf = eeg_classifier(AugAveragedModel(trunk, layers, n_copies=2), batch_size=9, max_epochs=1)
    clf.fit(X_TRUNK, Y_TRUNK)
    moved = [layer.strengths.item() != pytest.approx(0.1) for layer in clf.module_.augmentation.layers]
    assert all(moved)
    proba = clf.predict_proba(X_TRUNK)
    assert proba.shape == (18, 3) and np.isfinite(proba).all()
    assert np.array_equal(clf.predict(X_TRUNK), proba.argmax(1))


@pytest.mark.parametrize("source", ["arrays", "epochs", "braindecode"])
def test_braindecodes_estimator_with_our_layers(source):
    torch.manual_seed(0)
    layers = AugmentationModule(["time-frequency", ["sensors_rotation_x", "sign_flip"]], sfreq=SFREQ, ch_names=CHANNELS)
    model = AugAveragedModel(SmallNet(4, 3), layers, n_copies=3)
    start = [s.detach().clone() for s in layers.strengths]
    clf = eeg_classifier(model, max_epochs=2)
    data, y = {"arrays": (X, Y), "epochs": (epochs(), Y), "braindecode": (windows_dataset(), None)}[source]
    clf.fit(data, y)
    learned = clf.module_.augmentation.strengths
    assert any(not torch.equal(a, b) for a, b in zip(learned, start, strict=True))
    proba = clf.predict_proba(X)
    assert proba.shape == (48, 3)
    np.testing.assert_allclose(clf.predict_proba(X[::-1].copy())[::-1], proba, atol=1e-5)
