"""Models as folders: what is saved comes back, and nothing in the folder is executed."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from braindecode.models import SleepStagerChambon2018
from braindecode.models.base import EEGModuleMixin
from safetensors.torch import load_file, save_file
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from small import CHANNELS, NAMES, SFREQ, SmallNet, X, Y, epochs, nights, staging
from torch import nn
from torch.utils.data import Subset

from eegaug import (
    AugAveragedModel,
    AugmentationLayer,
    AugmentationModule,
    AugNetClassifier,
    MutualClassifier,
    Policy,
    StagingClassifier,
    load_model,
    save_model,
)
from eegaug.data.atomic import write_atomically
from eegaug.operations import Operation, get_operation

CHAMBON = "SleepStagerChambon2018"


def augnet(module=CHAMBON, **settings):
    settings = {"layers": ["time-frequency", "sensors"], "max_epochs": 2, "random_state": 0, "verbose": 0} | settings
    return AugNetClassifier(module, **{"sfreq": SFREQ, "ch_names": CHANNELS} | settings)


@pytest.fixture(scope="module")
def fitted():
    return augnet(module__drop_prob=0.4, penalty=3.0, n_copies=3, class_weight={"W": 2.0}).fit(X, NAMES[Y])


@pytest.fixture
def folder(fitted, tmp_path):
    return fitted.save(tmp_path / "model")


def edit(folder, **changes):
    path = folder / "model.json"
    document = json.loads(path.read_text())
    for key, value in changes.items():
        *parents, last = key.split("__")
        inner = document
        for parent in parents:
            inner = inner[parent]
        inner[last] = value
    path.write_text(json.dumps(document))


class Scaled(Operation):
    """A user's own operation, not registered."""

    name = "scaled"

    def transform(self, X, magnitude, noise):
        return X * (1 + magnitude[:, None, None])


def test_comes_back_as_it_was(fitted, folder):
    assert sorted(p.name for p in folder.iterdir()) == ["model.json", "model.safetensors"]
    again = load_model(folder)
    assert type(again) is AugNetClassifier
    assert np.array_equal(again.predict_proba(X), fitted.predict_proba(X))
    assert np.array_equal(again.predict(X), fitted.predict(X))
    assert again.classes_.tolist() == ["N2", "REM", "W"]
    assert again.invariances_.equals(fitted.invariances_)
    assert again.invariances_history_.equals(fitted.invariances_history_)
    assert again.signal_ == fitted.signal_
    assert again.history[:, "train_loss"] == fitted.history[:, "train_loss"]
    assert again.class_weights_.tolist() == [1.0, 1.0, 2.0]
    left = {"_params_to_validate"}
    for key, value in fitted.get_params(deep=False).items():
        if key not in left:
            assert repr(again.get_params(deep=False)[key]) == repr(value), key
    assert not any(k in again.get_params(deep=False) for k in ("module__n_chans", "module__n_times"))


def test_saved_twice_is_the_same(fitted, folder, tmp_path):
    second = load_model(folder).save(tmp_path / "second")
    one, two = (json.loads((f / "model.json").read_text()) for f in (folder, second))
    del one["saved"], two["saved"]
    assert one == two


def test_a_loaded_model_can_be_trained_on_and_cloned(fitted, folder):
    again = load_model(folder)
    again.partial_fit(X, NAMES[Y])
    assert len(again.history) == 4
    fresh = clone(load_model(folder)).fit(X, NAMES[Y])
    assert np.array_equal(fresh.predict_proba(X), fitted.predict_proba(X))
    with pytest.warns(UserWarning, match="left out"):
        refitted = load_model(folder).set_params(ch_names=["Fpz", "Pz"]).fit(X[:, :2], NAMES[Y])
    assert refitted.module_.trunk.n_chans == 2


@pytest.mark.parametrize("cls", [AugNetClassifier, MutualClassifier])
def test_to_predict_nothing_is_imported_that_compiles(cls, tmp_path):
    own = {"sfreq": SFREQ, "ch_names": CHANNELS, "max_epochs": 1, "random_state": 0, "verbose": 0}
    fitted = cls(CHAMBON, **own).fit(X, NAMES[Y])
    folder = fitted.save(tmp_path / "model")
    np.save(folder / "X.npy", X)
    np.save(folder / "y.npy", NAMES[Y])
    code = f"""
import sys
import numpy as np
import torch
from eegaug import load_model
torch.set_num_threads({torch.get_num_threads()})  # sums are rounded by how many there are
model = load_model({str(folder)!r})
X = np.load({str(folder / "X.npy")!r})
np.save({str(folder / "proba.npy")!r}, model.predict_proba(X))
print("torch._dynamo" in sys.modules)
print([len(group["params"]) for group in model.optimizer_.param_groups])
model.partial_fit(X, np.load({str(folder / "y.npy")!r}))
np.save({str(folder / "trained.npy")!r}, model.predict_proba(X))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    groups = [len(group["params"]) for group in fitted.optimizer_.param_groups]
    assert done.stdout.splitlines() == ["False", str(groups)]
    np.testing.assert_array_equal(np.load(folder / "proba.npy"), fitted.predict_proba(X))
    trained = load_model(folder).partial_fit(X, NAMES[Y])
    np.testing.assert_array_equal(np.load(folder / "trained.npy"), trained.predict_proba(X))


def test_document_says_what_there_is(fitted, tmp_path):
    metrics = pd.DataFrame({"kappa": [np.float32(0.5), np.nan]})
    splits = {"train": ["s1", "s2"], "valid": ("s3",), "test": np.array(["s4"])}
    folder = save_model(fitted, tmp_path, preprocessing={"l_freq": 0.3}, splits=splits, metrics=metrics)
    document = json.loads((folder / "model.json").read_text())
    assert document["metrics"] == [{"kappa": 0.5}, {"kappa": None}]
    assert document["splits"] == {"train": ["s1", "s2"], "valid": ["s3"], "test": ["s4"]}
    assert document["preprocessing"] == {"l_freq": 0.3}
    assert document["versions"]["torch"] == torch.__version__.split("+")[0]
    assert document["trunk"]["arguments"]["drop_prob"] == 0.4
    assert document["trunk"]["arguments"]["n_conv_chs"] == 8  # a default: it may change
    assert document["signal"]["ch_names"] == CHANNELS
    assert [op["name"] for op in document["layers"][1]["operations"]][:2] == ["sign_flip", "channels_symmetry"]
    assert document["invariances"][0]["operation"] == "time_reverse"
    assert load_model(folder).preprocessing_ == {"l_freq": 0.3}


def test_nights_travel_with_their_preprocessing(tmp_path):
    made = {"l_freq": 0.3, "h_freq": 30.0, "standardise": "window"}
    clf = staging(CHAMBON).fit(nights(preprocessing=made))
    assert staging().fit(Subset(nights(preprocessing=made), range(40))).preprocessing_ == made
    again = StagingClassifier.load(clf.save(tmp_path / "model"))
    assert again.preprocessing_ == made
    assert again.classes_.tolist() == [0, 1, 2, 3, 4]
    assert again.check_compatible(nights(preprocessing=made)) == []
    (remark,) = again.check_compatible(nights(preprocessing=made | {"standardise": None}))
    assert remark == "preprocessing standardise is None, the model was trained with 'window'"
    with pytest.raises(ValueError, match=r"sampling rate 64 Hz, the model needs 50 Hz"):
        again.predict(epochs(sfreq=64.0))


@pytest.mark.parametrize("policy", [None, "fixed"])
def test_staging_classifier_with_a_policy(tmp_path, policy):
    if policy is not None:
        policy = Policy.fixed_sleep(sfreq=SFREQ, ch_names=CHANNELS)
    clf = staging(CHAMBON, policy=policy, optimizer=torch.optim.AdamW, optimizer__weight_decay=0.1).fit(X, Y)
    again = load_model(clf.save(tmp_path / "model"))
    assert type(again) is StagingClassifier
    assert again.policy == policy
    assert again.optimizer is torch.optim.AdamW
    assert np.array_equal(again.predict_proba(X), clf.predict_proba(X))


def test_layers_of_instances(tmp_path):
    shift = get_operation("frequency_shift", sfreq=SFREQ, max_strength=1.5)
    clf = augnet(layers=[[shift, "sign_flip"]]).fit(X, Y)
    again = load_model(clf.save(tmp_path / "model"))
    assert np.array_equal(again.predict_proba(X), clf.predict_proba(X))
    assert again.invariances_.equals(clf.invariances_)
    assert clone(again).fit(X, Y).invariances_["operation"].tolist() == ["frequency_shift", "sign_flip"]


def test_an_operation_that_is_not_known(tmp_path):
    folder = augnet(layers=[[Scaled()]]).fit(X, Y).save(tmp_path / "model")
    with pytest.raises(ValueError, match=r"unknown operation 'scaled'; .*must be registered .*first"):
        load_model(folder)


# Trunks --------------------------------------------------------------------------------------------------------------


def test_ready_made_braindecode_module(tmp_path):
    ready = SleepStagerChambon2018(n_chans=4, sfreq=SFREQ, n_times=100, n_outputs=3, activation=nn.ELU, n_conv_chs=5)
    clf = augnet(ready).fit(X, Y)
    again = load_model(clf.save(tmp_path / "model"))
    assert isinstance(again.module_.trunk.feature_extractor[2], nn.ELU)
    assert np.array_equal(again.predict_proba(X), clf.predict_proba(X))


class OwnActivation(nn.Tanh):
    pass


def test_what_a_ready_made_module_was_built_with_is_kept_or_missed(tmp_path):
    ready = SleepStagerChambon2018(n_chans=4, sfreq=SFREQ, n_times=100, n_outputs=3, activation=OwnActivation)
    clf = augnet(ready).fit(X, Y)
    folder = clf.save(tmp_path / "model")
    with pytest.raises(ValueError, match="does not say with which activation the trunk was built"):
        load_model(folder)  # with another activation the same weights would be another network
    assert np.array_equal(load_model(folder, module=ready).predict_proba(X), clf.predict_proba(X))


class OwnOfBraindecode(EEGModuleMixin, nn.Module):
    def __init__(self, n_chans=None, n_outputs=None, n_times=None, activation=torch.tanh):
        super().__init__(n_chans=n_chans, n_outputs=n_outputs, n_times=n_times)
        self.activation, self.final_layer = activation, nn.Linear(n_chans * n_times, n_outputs)

    def forward(self, X):
        return self.final_layer(self.activation(X).flatten(1))


def test_a_default_that_is_no_plain_data_comes_back_with_the_class(tmp_path):
    clf = staging(OwnOfBraindecode, max_epochs=1).fit(X, Y)
    again = load_model(clf.save(tmp_path / "model"), module=OwnOfBraindecode)
    assert np.array_equal(again.predict_proba(X), clf.predict_proba(X))
    clf = staging(OwnOfBraindecode, module__activation=torch.sin, max_epochs=1).fit(X, Y)
    with pytest.raises(ValueError, match="does not say with which activation the trunk was built"):
        load_model(clf.save(tmp_path / "other"), module=OwnOfBraindecode)


def test_a_model_that_tells_its_base_class_more_than_it_takes_itself(tmp_path):
    long = np.tile(X, 5)
    clf = staging("SignalJEPA_PreLocal", module__n_spat_filters=2, max_epochs=1).fit(long, Y)
    again = load_model(clf.save(tmp_path / "model"))
    assert np.array_equal(again.predict_proba(long), clf.predict_proba(long))


def test_trunk_of_ones_own_has_to_be_passed(tmp_path):
    clf = augnet(SmallNet, module__n_filters=6).fit(X, Y)
    folder = clf.save(tmp_path / "model")
    with pytest.raises(ValueError, match=r"class small:SmallNet, .*pass module=SmallNet"):
        load_model(folder)
    for module in (SmallNet, SmallNet(4, 3, 6)):
        again = AugNetClassifier.load(folder, module=module)
        assert np.array_equal(again.predict_proba(X), clf.predict_proba(X))
    with pytest.raises(ValueError, match=r"holds weights of small:SmallNet, the module is a SleepStagerChambon2018"):
        load_model(folder, module=SleepStagerChambon2018(n_chans=4, sfreq=SFREQ, n_times=100, n_outputs=3))
    with pytest.raises(ValueError, match=r"do not fit the module"):
        load_model(folder, module=SmallNet(4, 3, 7))


class WithActivation(SmallNet):
    def __init__(self, n_chans, n_outputs, activation):
        super().__init__(n_chans, n_outputs)
        self.activation = activation


def test_argument_that_is_no_plain_data(tmp_path):
    clf = staging(WithActivation, module__activation=torch.relu).fit(X, Y)
    folder = clf.save(tmp_path / "model")
    with pytest.raises(ValueError, match=r"with which activation the trunk was built"):
        load_model(folder, module=WithActivation)
    again = load_model(folder, module=WithActivation(4, 3, torch.relu))
    assert np.array_equal(again.predict_proba(X), clf.predict_proba(X))


# What is wrong with a folder -----------------------------------------------------------------------------------------


def test_there_is_no_model(tmp_path, folder):
    with pytest.raises(FileNotFoundError, match=r"no model in .*model.json is missing"):
        load_model(tmp_path)
    (folder / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"model.safetensors is missing"):
        load_model(folder)


def test_damaged_files(folder):
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[:-1] + b"x")
    with pytest.raises(ValueError, match=r"is damaged or belongs to another model"):
        load_model(folder)
    (folder / "model.json").write_text("{")
    with pytest.raises(ValueError, match=r"model.json is damaged"):
        load_model(folder)
    (folder / "model.json").write_text("[]")
    with pytest.raises(ValueError, match=r"does not describe a model"):
        load_model(folder)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format_version": 2, "versions__eegaug": "9.1"}, r"written by eegaug 9.1 in format 2.*update eegaug"),
        ({"estimator": "OtherClassifier"}, r"estimator 'OtherClassifier'"),
        ({"trunk__braindecode": "NoSuchNet"}, r"'NoSuchNet' is no braindecode model"),
        ({"trunk__arguments__n_conv_chs": 9}, r"weights of .* do not fit the module"),
    ],
)
def test_documents_that_do_not_fit(folder, changes, words):
    edit(folder, **changes)
    with pytest.raises(ValueError, match=words):
        load_model(folder)


@pytest.mark.parametrize(
    "named",
    ["os:system", "builtins:eval", "torch.nn.modules.module:warnings", "braindecode.util:os.system", "small:SmallNet"],
)
def test_names_of_other_things_are_not_imported(folder, named):
    edit(folder, trunk__arguments__activation={"class": named})
    with pytest.raises(ValueError, match=r"which is not loaded"):
        load_model(folder)


@pytest.mark.parametrize(
    "value",
    [
        {"class": "torch.nn.modules.activation:NotYetKnown"},
        {"class": "torch.nn.modules.not_yet_known:Activation"},
        {"class": 1},
        {},
    ],
)
def test_classes_that_these_versions_do_not_have(folder, value):
    edit(folder, trunk__arguments__activation=value)
    with pytest.raises(ValueError, match=r"which is not loaded: only modules and optimisers .* installed here"):
        load_model(folder)


def test_code_in_the_folder_is_not_run(folder, monkeypatch):
    (folder / "__init__.py").write_text("raise SystemExit")
    (folder / "sitecustomize.py").write_text("raise SystemExit")
    monkeypatch.chdir(folder)
    assert load_model(folder).predict(X).shape == (48,)


def test_classes_are_not_mixed_up(fitted, folder):
    assert isinstance(StagingClassifier.load(folder), AugNetClassifier)  # which it is
    plain = staging(CHAMBON).fit(X, Y).save(folder)
    with pytest.raises(TypeError, match=r"holds a StagingClassifier, not a AugNetClassifier"):
        AugNetClassifier.load(plain)


def test_saving_replaces_what_was_there(fitted, folder):
    weights = load_file(folder / "model.safetensors")
    other = augnet(random_state=9).fit(X, Y)
    other.save(folder)
    assert np.array_equal(load_model(folder).predict_proba(X), other.predict_proba(X))
    save_file(weights, folder / "model.safetensors")  # as if saving had been killed between the two files
    with pytest.raises(ValueError, match=r"belongs to another model"):
        load_model(folder)


@pytest.mark.parametrize("there", ["before", "nothing"])
def test_a_full_disk_leaves_what_was_there(fitted, folder, there, monkeypatch):
    if there == "nothing":
        shutil.rmtree(folder)
    before = {path.name: path.read_bytes() for path in folder.glob("*")}

    def full(path, data):
        if path.suffix == ".json":
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        write_atomically(path, data)

    monkeypatch.setattr("eegaug.bundle.write_atomically", full)
    with pytest.raises(OSError, match=rf"cannot be written to {re.escape(str(folder))}: No space left on device$"):
        augnet(random_state=9).fit(X, Y).save(folder)
    assert {path.name: path.read_bytes() for path in folder.glob("*")} == before
    if before:
        assert np.array_equal(load_model(folder).predict_proba(X), fitted.predict_proba(X))


def test_what_cannot_be_saved(tmp_path):
    with pytest.raises(NotFittedError):
        staging().save(tmp_path / "model")

    class Own(StagingClassifier):
        pass

    with pytest.raises(TypeError, match=r"a Own is not saved as a folder"):
        save_model(Own(CHAMBON, sfreq=SFREQ, max_epochs=1, verbose=0).fit(X, Y), tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_settings_that_are_lost_are_named(tmp_path):
    class Smoothed(torch.nn.CrossEntropyLoss):
        pass

    def upside_down(X):
        return -X

    clf = staging(criterion=Smoothed, policy=upside_down).fit(X, Y)
    with pytest.warns(UserWarning, match=r"not saved .*: criterion \(Smoothed\), policy \(upside_down\)"):
        clf.save(tmp_path / "model")
    assert load_model(tmp_path / "model", SmallNet).policy is None


def test_nothing_is_said_of_settings_that_come_back(fitted, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fitted.save(tmp_path / "model")


def test_where_nothing_can_be_written(fitted, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"the model cannot be written to .*file"):
        fitted.save(tmp_path / "file")
    with pytest.raises(OSError, match=r"the model cannot be written to .*deeper"):
        fitted.save(tmp_path / "file" / "deeper")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="needs a user whom permissions hold")
def test_folder_without_permission(fitted, tmp_path):
    (tmp_path / "closed").mkdir(mode=0o500)
    with pytest.raises(OSError, match=r"the model cannot be written to .*closed"):
        fitted.save(tmp_path / "closed")
    shutil.rmtree(tmp_path / "closed")


def test_layers_with_settings_of_their_own_come_back(tmp_path):
    layer = AugmentationLayer(["sign_flip", "gaussian_noise"], temperature=0.5, initial_strength=0.9)
    clf = augnet(layers=[layer, ["time_reverse"]]).fit(X, Y)
    again = load_model(clf.save(tmp_path / "model"))
    assert again.layers[0].temperature == 0.5
    assert again.layers[0].strengths.tolist() == pytest.approx([0.9, 0.9])
    refit = again.set_params(random_state=0).fit(X, Y)
    assert np.array_equal(refit.predict_proba(X), clf.predict_proba(X))
    assert layer.strengths.tolist() == pytest.approx([0.9, 0.9])
    edit(tmp_path / "model", layers_start=[[0.9, 0.9], None])  # as it was written before weights were kept, too
    assert load_model(tmp_path / "model").layers[0].strengths.tolist() == pytest.approx([0.9, 0.9])


@pytest.mark.parametrize("frozen", ["weight_logits", "strengths"])
def test_a_loaded_model_is_trained_anew_as_it_was(frozen, tmp_path):
    """From the weights and strengths that its layers began with, and without what was not to be learned."""
    layer = AugmentationLayer(["gaussian_noise", "frequency_shift"], sfreq=SFREQ, initial_strength=0.4)
    with torch.no_grad():
        layer.weight_logits[1] = 1.02
    getattr(layer, frozen).requires_grad_(False)
    clf = augnet(SmallNet, layers=[layer]).fit(X, Y)
    again = load_model(clf.save(tmp_path / "model"), module=SmallNet)
    assert torch.equal(again.layers[0].weights, layer.weights)
    before = getattr(again.module_.augmentation.layers[0], frozen).clone()
    again.partial_fit(X, Y)
    assert torch.equal(getattr(again.module_.augmentation.layers[0], frozen), before)
    again.set_params(random_state=0, max_epochs=2).fit(X, Y)
    assert again.invariances_.equals(clf.invariances_)


@pytest.mark.parametrize("method", [StagingClassifier, AugNetClassifier])
def test_compiled_networks_come_back_compiled_or_not(method, tmp_path):
    clf = method(SmallNet, sfreq=SFREQ, ch_names=CHANNELS, max_epochs=1, verbose=0, compile=True)
    clf.set_params(compile__backend="eager").fit(X, Y)
    folder = clf.save(tmp_path / "model")
    assert not any(name.startswith("_orig_mod") for name in load_file(folder / "model.safetensors"))
    proba = clf.predict_proba(X)
    assert np.array_equal(load_model(folder, module=SmallNet).predict_proba(X), proba)
    edit(folder, settings__compile=False)
    np.testing.assert_allclose(load_model(folder, module=SmallNet).predict_proba(X), proba, atol=1e-6)


def test_a_network_with_layers_of_its_own_comes_back_as_a_network(tmp_path):
    model = AugAveragedModel(SmallNet(4, 3), AugmentationModule([["sign_flip"]]), n_copies=2)
    clf = staging(model).fit(X, Y)
    folder = clf.save(tmp_path / "model")
    with pytest.raises(ValueError, match=r"AugAveragedModel.*pass module="):
        load_model(folder)
    assert np.array_equal(load_model(folder, model).predict_proba(X), clf.predict_proba(X))


@pytest.mark.parametrize(
    ("key", "value"), [("signal", None), ("settings", 3), ("seed", "x"), ("classes", ["N2"]), ("history", None)]
)
def test_damaged_documents_are_named(folder, key, value):
    path = folder / "model.json"
    document = json.loads(path.read_text())
    path.write_text(json.dumps(document | {key: value}))
    with pytest.raises(ValueError, match=r"model.json is damaged: it"):
        load_model(folder)
    del document[key]
    path.write_text(json.dumps(document))
    with pytest.raises(ValueError, match=rf"is damaged: its '{key}' is 'missing'"):
        load_model(folder)


def test_more_outputs_than_classes_that_were_asked_for_come_back(tmp_path):
    clf = staging("SleepStagerChambon2018", module__n_outputs=5, class_weight=None).fit(X, Y)
    assert np.array_equal(load_model(clf.save(tmp_path / "model")).predict_proba(X), clf.predict_proba(X))
