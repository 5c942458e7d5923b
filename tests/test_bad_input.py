"""What cannot be trained on or predicted is refused by name."""

from __future__ import annotations

import re
import warnings

import mne
import numpy as np
import pytest
import torch
from braindecode.augmentation import AugmentedDataLoader, Compose, SignFlip
from braindecode.samplers import SequenceSampler
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from skorch.dataset import Dataset
from skorch.helper import SliceDataset
from small import CHANNELS, NAMES, SFREQ, SmallNet, X, Y, epochs, nights, staging, windows_dataset

from eegaug import AITClassifier, AugmentationLayer, AugNetClassifier, Policy
from eegaug.data import NightDataset, Preprocessing
from eegaug.invariance import frozen_test_set, intra_augmentation_variation, invariance_score, transfer_matrix
from eegaug.operations import get_operation
from eegaug.transforms import FrequencyShift, GaussianNoise

NOISE = Policy(sub_policies=[{"operations": [("gaussian_noise", 0.5, 0.5)]}])


def spoiled(value=np.nan):
    bad = X.copy()
    bad[[7, 30], 2, 11] = value
    return bad


@pytest.mark.parametrize(("value", "name"), [(np.nan, "NaN"), (np.inf, "inf"), (-np.inf, "-inf")])
def test_samples_that_are_no_numbers_are_named(value, name):
    words = f"window 7 of the training set has the value {name} at sample 11 of channel 'C3' .2 of 48 windows"
    with pytest.raises(ValueError, match=words):
        staging().fit(spoiled(value), Y)
    with pytest.raises(ValueError, match=f"window 7 has the value {name} at sample 11 of channel 'C3'"):
        staging().fit(X, Y).predict(spoiled(value))


def test_recording_with_samples_that_are_no_numbers_is_named():
    # Window 30 of the array is the eleventh window of the first night.
    words = r"window 10 \(window 10 of subject s0, night 1\) has the value NaN at sample 11 of channel 'C3'"
    with pytest.raises(ValueError, match=words):
        staging().fit(nights(spoiled()))
    clf = staging().fit(nights())
    with pytest.raises(ValueError, match=words):
        clf.predict(nights(spoiled()))


def test_large_sums_are_not_taken_for_infinite_samples():
    big = np.full((4, 4, 100), 3e38, dtype="float32")
    big[:, :, ::2] = 0
    staging(max_epochs=0).fit(big, np.array([0, 1, 0, 1]))


def test_flat_channel():
    flat = X.copy()
    flat[:, 1] = 3.0
    for data, labels in ((flat, Y), (windows_dataset(flat), None)):
        with pytest.raises(ValueError, match=r"channel 'F4' of the training set is flat"):
            staging().fit(data, labels)
    clf = staging().fit(X, Y)
    with pytest.warns(UserWarning, match=r"channel 'F4' of X is flat"):
        clf.predict(flat)
    flat[0, 1, 0] = 0.0  # lost most of the time is not lost
    staging(max_epochs=0).fit(flat, Y)


@pytest.mark.parametrize(
    ("data", "labels", "words"),
    [
        (X[:0], Y[:0], "no sample"),
        (X, np.zeros(48, int), "one class only, 0, in all of its 48 windows"),
        (X[0], Y[:4], "three dimensions"),
        (X[None], Y, "1 sequences of 48 windows call for one label per window"),
        (X[None, None], Y, "three dimensions .*, sequences of windows four"),
        (X.reshape(12, 4, 4, 100), NAMES[Y].reshape(12, 4), "labels of sequences are integers"),
        (X, Y[:40], "48 windows and y has 40 labels"),
        (X, None, "requires y to be passed"),
        (X, np.where(Y == 0, np.nan, Y), "label 0 of y is not a number"),
        (X, np.array([None, *NAMES[Y][1:]], dtype=object), "missing labels"),
        (X, Y + 0.5, "Unknown label type"),
        (X.astype("U"), Y, "real numbers"),
        (np.ma.masked_greater(X, 2.0), Y, "X is a masked array, of which 76 samples are masked"),
        (X[:, :3], Y, "ch_names has 4 names .F3, F4, C3, C4., the windows have 3 channels"),
    ],
)
def test_training_sets_that_cannot_be(data, labels, words):
    with pytest.raises(ValueError, match=words):
        staging().fit(data, labels)


def test_classes_are_named_once():
    with pytest.raises(ValueError, match=r"classes is \[0, 1, 2, 2\], which names one twice"):
        staging(classes=[0, 1, 2, 2]).fit(X, Y)
    unmasked = np.ma.masked_greater(X, 1e9)
    np.testing.assert_array_equal(staging().fit(unmasked, Y).predict(X), staging().fit(X, Y).predict(X))


def test_labels_that_contradict_the_dataset():
    with pytest.raises(ValueError, match=r"window 3 has label 0 in the dataset and 2 in y"):
        staging().fit(Dataset(X, Y), np.where(np.arange(48) == 3, 2, Y))
    staging(max_epochs=0).fit(Dataset(X, Y), Y)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (X[:, :3], "3 channels, the model needs 4 .F3, F4, C3, C4."),
        (X[:, :, :80], r"windows of 80 samples, the model needs 100 samples \(2 s\)"),
        (epochs(ch_names=["F3", "F4", "C4", "C3"]), "channel order is F3, F4, C4, C3, the model needs F3, F4, C3, C4"),
        (epochs(ch_names=["F3", "F4", "C3", "O1"]), "channels missing: C4 .there are F3, F4, C3, O1.; .* O1"),
        (epochs(sfreq=64.0), "sampling rate 64 Hz, the model needs 50 Hz"),
    ],
)
def test_data_that_do_not_fit_the_model(data, words):
    clf = staging().fit(X, Y)
    with pytest.raises(ValueError, match=words):
        clf.predict(data)
    assert clf.check_compatible(X) == []
    (difference, *_) = clf.check_compatible(data)
    assert difference.split(" ")[0] in words


def test_names_of_one_electrode_are_one_channel():
    clf = staging(ch_names=["EEG F3-A2", "EEG F4-A1", "EEG C3-A2", "EEG C4-A1"]).fit(X, Y)
    with pytest.warns(UserWarning, match=r"same electrodes under other names"):
        clf.predict(epochs())
    (remark,) = clf.check_compatible(epochs())
    assert "F3 for EEG F3-A2" in remark


def test_parameters_that_contradict_the_data():
    with pytest.raises(ValueError, match=r"sfreq=100 Hz was asked for, the data have 50 Hz"):
        staging(sfreq=100).fit(epochs(), Y)
    with pytest.raises(ValueError, match=r"do not fit ch_names: channel order"):
        staging(ch_names=CHANNELS[::-1]).fit(epochs(), Y)
    with pytest.raises(ValueError, match=r"sfreq is -1 Hz"):
        staging(sfreq=-1).fit(X, Y)


def test_batches_are_checked_too():
    class Uneven(Dataset):
        def __getitem__(self, i):
            X, y = super().__getitem__(i)
            return (X[:, :90] if i == 20 else X), y

    with pytest.raises(ValueError, match=r"windows of shape \(4, 90\) .*the model takes \(4, 100\)"):
        staging(batch_size=1).fit(Uneven(X, Y))


def test_not_fitted():
    for call in (lambda c: c.predict(X), lambda c: c.predict_proba(X), lambda c: c.score(X, Y)):
        with pytest.raises(NotFittedError):
            call(staging())
    with pytest.raises(NotFittedError):
        staging().check_compatible(X)


def test_a_network_with_another_number_of_outputs():
    for n_outputs, class_weight in ((2, None), (2, "balanced"), (4, "balanced")):
        with pytest.raises(ValueError, match=rf"{n_outputs} outputs for 3 classes, \[0, 1, 2\].* n_outputs=3"):
            staging(SmallNet(4, n_outputs), class_weight=class_weight).fit(X, Y)
    with pytest.raises(ValueError, match=r"the loss has weights for 2 classes, and there are 3, \[0, 1, 2\]"):
        staging(SmallNet, criterion__weight=torch.ones(2)).fit(X, Y)
    clf = staging(SmallNet(4, 4), classes=[0, 1, 2, 3]).fit(X, Y)
    assert clf.predict_proba(X).shape == (48, 4)


def test_a_training_without_a_batch_is_refused():
    with pytest.raises(ValueError, match=r"gives no batch.*drop_last=True.*it is 64"):
        staging(batch_size=64, iterator_train__drop_last=True).fit(X, Y)
    sampler = SequenceSampler(nights().get_metadata(), n_windows=17, n_windows_stride=1)  # nights have 16 windows
    with pytest.raises(ValueError, match=r"gives no batch.*nights that are as long"):
        staging(iterator_train__sampler=sampler, iterator_train__shuffle=False).fit(nights())


def test_recordings_and_files_are_no_windows():
    info = mne.create_info(CHANNELS, SFREQ, "eeg")
    raw = mne.io.RawArray(np.concatenate(X, axis=1), info, verbose="error")
    clf = staging().fit(X, Y)
    for given, words in ((raw, "a whole recording .RawArray"), ("nights/", "the name of a file .str")):
        for call in (clf.predict, lambda given: staging().fit(given, Y)):
            with pytest.raises(TypeError, match=rf"X is {words}.*load_nights.*eegaug\.stage"):
                call(given)


def test_a_dataset_that_scikit_learn_took_apart():
    data = nights()
    with pytest.raises(ValueError, match=r"list of \(window, label, …\).*SliceDataset"):
        cross_val_score(staging(max_epochs=1), data, data.y, cv=2, error_score="raise")
    arrays = cross_val_score(staging(max_epochs=1), *data.as_arrays()[:2], cv=2)
    assert cross_val_score(staging(max_epochs=1), SliceDataset(data), data.y, cv=2).tolist() == arrays.tolist()


@pytest.mark.parametrize("scale", [1, 20])
@pytest.mark.parametrize(
    "make",
    [
        lambda: AugNetClassifier(
            SmallNet, layers=[["gaussian_noise", "ft_surrogate"]], sfreq=SFREQ, max_epochs=1, verbose=0
        ),
        lambda: AITClassifier(SmallNet, variants=["gaussian_noise"], sfreq=SFREQ, max_epochs=1, verbose=0),
        lambda: staging(policy=NOISE),
        lambda: staging(iterator_train=AugmentedDataLoader, iterator_train__transforms=[NOISE.to_braindecode()]),
        lambda: staging(iterator_train=AugmentedDataLoader, iterator_train__transforms=GaussianNoise(learnable=False)),
    ],
)
def test_noise_in_units_of_standardised_windows(make, scale):
    words = r"standard deviation of 1[5-9].*gaussian_noise is in their unit, 0.2 at most.*standardise the windows"
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        make().fit(scale * X, Y)
    assert [bool(re.search(words, str(one.message))) for one in said] == [True] * (scale > 1)


@pytest.mark.parametrize(("seconds", "told"), [(None, True), (2.1, True), (2.0, False)])
def test_masks_that_leave_nothing_of_short_windows(seconds, told):
    mask = get_operation("time_masking", sfreq=SFREQ, max_seconds=seconds)
    policy = Policy(sub_policies=[{"operations": [(mask, 0.5, 0.1)]}], sfreq=SFREQ)
    learned = AugNetClassifier(SmallNet, layers=[[mask, "sign_flip"]], sfreq=SFREQ, max_epochs=1, verbose=0)
    for clf in (staging(policy=policy), learned):
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            clf.fit(X, Y)
        words = rf"time_masking masks up to {mask.max_strength:g} samples, windows have 100, .*max_seconds=…"
        assert [bool(re.match(words, str(one.message))) for one in said] == [True] * told


def test_a_loader_that_makes_tensors_of_labels_needs_numbers():
    clf = staging(iterator_train=AugmentedDataLoader, iterator_train__transforms=[SignFlip(0.5)])
    with pytest.raises(ValueError, match=r"label 'N2' is no number, .* AugmentedDataLoader .* return_inverse"):
        clf.fit(X, NAMES[Y])
    for numbers in (Y, Y + 5, Y.astype(float), Y > 0):
        assert set(clf.fit(X, numbers).predict(X)) <= set(numbers)


def test_windows_in_microvolts_are_fine_without_noise():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        staging(policy=Policy(sub_policies=[{"operations": [("sign_flip", 0.5)]}])).fit(20 * X, Y)


def test_missing_sampling_rate_is_asked_for():
    X, y = np.random.default_rng(0).standard_normal((8, 2, 300)).astype("float32"), np.arange(8) % 2
    with pytest.raises(ValueError, match=r"SleepStagerChambon2018 needs the sampling rate; pass sfreq=<Hz>"):
        AugNetClassifier(layers=["time-frequency"], verbose=0).fit(X, y)


def test_a_module_is_no_policy():
    with pytest.raises(TypeError, match="policy is a SignFlip, a torch module"):
        staging(policy=SignFlip(0.5))
    with pytest.raises(TypeError, match="AugmentedDataLoader"):
        staging().set_params(policy=SignFlip(0.5))


@pytest.mark.parametrize(
    ("policy", "words"), [("policy.json", r"Policy.load\('policy.json'\)"), (["sign_flip"], "a list")]
)
def test_what_cannot_be_applied_is_no_policy(policy, words):
    with pytest.raises(TypeError, match=words):
        staging(policy=policy).fit(X, Y)


def test_a_string_is_no_list_of_channels():
    with pytest.raises(TypeError, match=r"got the string 'abcd'"):
        staging(ch_names="abcd").fit(X, Y)


def test_layers_that_contradict_the_classifier():
    layer = AugmentationLayer(["sign_flip"])
    with pytest.raises(ValueError, match=r"layer 0 has selection='weighted', the classifier 'single'"):
        AugNetClassifier(SmallNet, layers=[layer], selection="single", sfreq=SFREQ, verbose=0).fit(X, Y)


@pytest.mark.parametrize(
    ("transforms", "words"),
    [
        ([FrequencyShift(sfreq=2 * SFREQ)], f"frequency_shift was built for {2 * SFREQ:g} Hz"),
        (Compose([Policy.identity(sfreq=2 * SFREQ).to_braindecode()]), f"the policy is for {2 * SFREQ:g} Hz"),
    ],
)
def test_transforms_for_another_signal(transforms, words):
    with pytest.raises(ValueError, match=words):
        staging(iterator_train=AugmentedDataLoader, iterator_train__transforms=transforms).fit(X, Y)


@pytest.mark.parametrize(("lr", "epochs"), [(float("inf"), [2]), (0.01, [])])
def test_a_training_that_diverges_says_so_once(lr, epochs):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        clf = staging(lr=lr, max_epochs=3, batch_size=48).fit(X, Y)
        predicted = clf.predict(X)
    said = [str(w.message) for w in caught if "diverged" in str(w.message)]
    assert [text.split(":")[0] for text in said] == [
        *(f"train_ce is nan in epoch {epoch}" for epoch in epochs),
        *("the network's answer is not a number where this predicts 0" for _ in epochs),
    ]
    assert np.isnan(clf.predict_proba(X)).all() == (predicted == 0).all() == bool(epochs)


@pytest.mark.parametrize("selection", ["weighted", "single"])
def test_layers_of_a_training_that_diverges_say_so(selection):
    clf = AugNetClassifier(SmallNet, layers=[["frequency_shift"]], selection=selection, sfreq=SFREQ, lr=np.inf)
    words = "frequency_shift: magnitude must lie in .* got nan: what is learned is nan after a training that"
    with pytest.raises(ValueError, match=words), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        clf.set_params(max_epochs=3, random_state=0, verbose=0).fit(X, Y).predict(X)


@pytest.mark.parametrize("wrong", [-1, 1.5, float("nan"), None, True, "3"])
def test_epochs_are_counted(wrong):
    with pytest.raises(ValueError, match=re.escape(f"max_epochs is {wrong!r}; it is a whole number, 0 or more")):
        staging(max_epochs=wrong).fit(X, Y)


@pytest.mark.parametrize("wrong", [0, float("nan"), float("inf"), True, "50"])
def test_sampling_rates_are_positive_numbers(wrong):
    words = re.escape(f"sfreq is {wrong!r} Hz; it has to be a number above 0.")
    with pytest.raises(ValueError, match=words):
        staging(sfreq=wrong).fit(X, Y)
    with pytest.raises(ValueError, match=words):
        NightDataset(X, Y, ch_names=CHANNELS, sfreq=wrong)


def test_numbers_out_of_an_array_are_numbers():
    sizes, epochs = np.array([8, 16]), np.array([1])
    grid = GridSearchCV(staging(), {"batch_size": sizes, "max_epochs": epochs}, cv=2, error_score="raise").fit(X, Y)
    again = staging(batch_size=int(grid.best_params_["batch_size"]), max_epochs=1).fit(X, Y)
    np.testing.assert_array_equal(grid.predict_proba(X), again.predict_proba(X))


@pytest.mark.parametrize(
    "same",
    [
        lambda X: np.ascontiguousarray(X[:, ::-1])[:, ::-1],
        lambda X: X.astype(">f4"),
        lambda X: X.astype(np.longdouble),
    ],
)
def test_arrays_that_torch_cannot_take_are_copied(same):
    clf = staging().fit(same(X), Y)
    np.testing.assert_array_equal(clf.predict_proba(same(X)), staging().fit(X, Y).predict_proba(X))


@pytest.mark.parametrize("wrong", [set(CHANNELS), "F3", 4, map(str, CHANNELS)])
def test_channel_names_are_in_an_order(wrong):
    calls = (
        lambda: staging(ch_names=wrong).fit(X, Y),
        lambda: AugmentationLayer(["channels_symmetry"], ch_names=wrong),
        lambda: NightDataset(X, Y, ch_names=wrong, sfreq=SFREQ),
        lambda: invariance_score(staging().fit(X, Y), X, "sign_flip", ch_names=wrong),
    )
    words = f"ch_names must be a list of channel names, got the .* {re.escape(repr(wrong))}"
    for call in calls:
        with pytest.raises(TypeError, match=words):
            call()
    if isinstance(wrong, set):
        with pytest.raises(ValueError, match="ch_names is a set, which has no order"):
            Preprocessing(ch_names=wrong)


@pytest.mark.parametrize(("wrong", "shown"), [(1.5, "1.5"), (np.nan, "nan"), (5, "5.0"), (-2, "-2.0")])
def test_stages_of_nights_are_codes(wrong, shown):
    stages = Y.astype(float)
    stages[7] = wrong
    with pytest.raises(ValueError, match=f"window 7 has the stage {shown}; stages are the numbers 0=W .* -1 where"):
        NightDataset(X, stages, ch_names=CHANNELS, sfreq=SFREQ)
    with pytest.raises(ValueError, match=r"window 0 has the stage 'N2'.*parse_stage"):
        NightDataset(X, NAMES[Y], ch_names=CHANNELS, sfreq=SFREQ)
    stages[7] = -1
    assert NightDataset(X, stages, ch_names=CHANNELS, sfreq=SFREQ).y.tolist() == stages.astype(int).tolist()


def test_measures_refuse_a_signal_that_is_not_the_models():
    clf = staging().fit(X, Y)
    with pytest.raises(ValueError, match="sfreq is 100 Hz, a model needs 50 Hz"):
        invariance_score(clf, X, "frequency_shift", sfreq=100)
    with pytest.raises(ValueError, match="sfreq is 100 Hz, the data have 50 Hz"):
        frozen_test_set(epochs(), "frequency_shift", sfreq=100)
    with pytest.raises(ValueError, match="sfreq is 64 Hz, a model needs 50 Hz"):
        transfer_matrix({"a": clf}, epochs(sfreq=64.0), Y, ["sign_flip"])
    with pytest.raises(ValueError, match="ch_names are C4, C3, F4, F3, a model needs others: channel order is C4"):
        invariance_score(clf, X, "sensors_rotation_x", ch_names=CHANNELS[::-1])
    same = {"sfreq": 50, "ch_names": ["EEG F3-A2", "F4", "C3", "C4"]}
    score = invariance_score(clf, X, "frequency_shift", 0.5)
    np.testing.assert_array_equal(invariance_score(clf, X, "frequency_shift", 0.5, **same).values, score.values)


def test_measures_refuse_a_network_that_has_diverged():
    with pytest.warns(UserWarning, match="train_ce is nan in epoch 2"):
        clf = staging(lr=float("inf"), batch_size=48).fit(X, Y)
    for measure in (invariance_score, intra_augmentation_variation):
        with pytest.raises(ValueError, match="the network's answers are nan: has its training diverged"):
            measure(clf, X, "sign_flip" if measure is invariance_score else ["sign_flip"])


def test_a_network_that_cannot_be_built_for_these_windows():
    single = np.random.default_rng(0).standard_normal((8, 1, 500)).astype("float32")
    words = r"ShallowFBCSPNet cannot be built for windows of 1 channels and 500 samples \(.*\): take another network"
    with pytest.raises(ValueError, match=words):
        staging("ShallowFBCSPNet", ch_names=["Fpz"]).fit(single, np.arange(8) % 2)
