"""Models that were trained for consistency, as folders."""

from __future__ import annotations

import json
from functools import partial

import numpy as np
import pytest
import torch
from braindecode.augmentation import GaussianNoise
from braindecode.models import SleepStagerChambon2018
from small import CHANNELS, NAMES, SFREQ, SmallNet, X, Y

from eegaug import AITClassifier, AugmentationLayer, AugmentationModule, StagingClassifier, load_model
from eegaug.operations import get_operation
from eegaug.transforms import OperationTransform

from .test_classifier import POLICY, ait, same_parameters
from .test_mutual import Linear, mutual

CHAMBON = "SleepStagerChambon2018"

KEPT = {
    "default": None,
    "fixed": "fixed",
    "policy": POLICY,
    "operation": ("gaussian_noise", 1.0, 0.3),
    "one each": [None, ["sign_flip", ("frequency_shift", 0.5, 0.2)]],
    "instance": [get_operation("time_masking", max_strength=20.0), POLICY],
}


@pytest.mark.parametrize("kind", KEPT)
def test_sources_that_are_plain_come_back(kind, tmp_path):
    clf = ait(variants=KEPT[kind]).fit(X, NAMES[Y])
    again = AITClassifier.load(clf.save(tmp_path / "model"), module=SmallNet)
    assert again.variants == KEPT[kind]
    assert again.consistency == 1.0
    assert np.array_equal(again.predict_proba(X), clf.predict_proba(X))
    again.set_params(random_state=0, max_epochs=2)
    assert same_parameters(again.fit(X, NAMES[Y]).module_, clf.module_)


@pytest.mark.parametrize("spec", [{"variants": lambda X: X + 1}, {"variants": None, "policy": lambda X: X + 1}])
def test_other_sources_are_left_out_with_a_warning(spec, tmp_path):
    clf = ait(**spec).fit(X, Y)
    with pytest.warns(UserWarning, match="trains on windows as they are"):
        folder = clf.save(tmp_path / "model")
    again = load_model(folder, module=SmallNet)
    assert again.variants == [None, None]
    assert np.array_equal(again.predict_proba(X), clf.predict_proba(X))


@pytest.mark.parametrize(
    "variants", [GaussianNoise(0.5), [GaussianNoise(0.5), None], POLICY.to_braindecode(), torch.nn.Identity()]
)
def test_a_model_whose_variants_are_modules_that_cannot_be_saved_predicts(variants, tmp_path):
    clf = ait(variants=variants).fit(X, Y)
    with pytest.warns(UserWarning, match="trains on windows as they are"):
        folder = clf.save(tmp_path / "model")
    again = load_model(folder, module=SmallNet)
    assert np.array_equal(again.predict_proba(X), clf.predict_proba(X))
    again.partial_fit(X, Y)
    noise = OperationTransform("gaussian_noise", magnitude=0.1)
    clf = mutual(n_networks=3, variants=noise).fit(X, Y)
    with pytest.warns(UserWarning, match="trains on windows as they are"):
        folder = clf.save(tmp_path / "networks")
    again = load_model(folder, module=SmallNet)
    assert np.array_equal(again.predict_proba_each(X), clf.predict_proba_each(X))
    assert len(again.partial_fit(X, Y).networks_) == 3


def test_arguments_that_are_bound_to_one_network_come_back(tmp_path):
    builder = partial(SleepStagerChambon2018, n_conv_chs=4)
    clf = mutual(modules=[CHAMBON, builder], variants=None, max_epochs=1).fit(X, Y)
    again = load_model(clf.save(tmp_path / "model"))
    assert again.modules[0] == CHAMBON and again.modules[1].keywords == {"n_conv_chs": 4}
    refit = again.set_params(random_state=0, max_epochs=1).fit(X, Y)
    assert np.array_equal(refit.predict_proba(X), clf.predict_proba(X))


@pytest.mark.parametrize("frozen", [False, True])
def test_learned_augmentation_comes_back(frozen, tmp_path):
    module = AugmentationModule(["time-frequency", ["sign_flip"]], sfreq=SFREQ).requires_grad_(not frozen)
    clf = AITClassifier(CHAMBON, variants=[module, "fixed"], max_epochs=1, sfreq=SFREQ, ch_names=CHANNELS, verbose=0)
    again = load_model(clf.fit(X, Y).save(tmp_path / "model"))
    assert again.invariances_.equals(clf.invariances_)
    assert np.array_equal(again.predict_proba(X), clf.predict_proba(X))
    before = again.invariances_["magnitude"]
    again.partial_fit(X, Y)
    assert again.invariances_["magnitude"].equals(before) == frozen
    layer = AugmentationLayer(["gaussian_noise"])
    clf = ait(variants=layer).fit(X, Y)
    assert load_model(clf.save(tmp_path / "layer"), module=SmallNet).invariances_.equals(clf.invariances_)


@pytest.mark.parametrize("frozen", [False, True])
def test_variants_begin_as_they_began(frozen, tmp_path):
    module = AugmentationModule([["gaussian_noise", "time_masking"]], initial_strength=0.7).requires_grad_(not frozen)
    with torch.no_grad():
        module.layers[0].weight_logits[1] = 1.02
    clf = ait(variants=module).fit(X, Y)
    again = load_model(clf.save(tmp_path / "model"), module=SmallNet)
    assert torch.equal(again.variants.layers[0].weights, module.layers[0].weights)
    assert again.variants.strengths[0].requires_grad != frozen
    again.set_params(random_state=0, max_epochs=2).fit(X, Y)
    assert same_parameters(again.module_, clf.module_)


def test_a_compiled_network_whose_variants_cannot_be_saved_predicts(tmp_path):
    clf = ait(variants=lambda X: X + 1, compile=True, compile__backend="eager").fit(X, Y)
    with pytest.warns(UserWarning, match="trains on windows as they are"):
        folder = clf.save(tmp_path / "model")
    assert np.array_equal(load_model(folder, module=SmallNet).predict_proba(X), clf.predict_proba(X))


def test_networks_that_learned_together(tmp_path):
    module = AugmentationModule([["gaussian_noise"]])
    clf = mutual(modules=[SmallNet, Linear], variants=[module, None], predict_with=1).fit(X, NAMES[Y])
    folder = clf.save(tmp_path / "model")
    again = load_model(folder, module=[SmallNet, Linear])
    assert type(again) is type(clf)
    assert again.predict_with == 1
    assert np.array_equal(again.predict_proba_each(X), clf.predict_proba_each(X))
    assert np.array_equal(again.predict(X), clf.predict(X))
    assert again.invariances_.equals(clf.invariances_)
    assert again.n_forward_backward_ == clf.n_forward_backward_
    assert again.history[-1, "train_loss"] == clf.history[-1, "train_loss"]
    again.partial_fit(X, NAMES[Y])
    assert len(again.history) == 4
    alone = StagingClassifier.load(folder / "network-0", module=SmallNet)
    assert np.array_equal(alone.predict_proba(X), clf.predict_proba_each(X)[0])
    with pytest.raises(ValueError, match="2 networks; module names 1"):
        load_model(folder, module=[SmallNet])
    with pytest.raises(ValueError, match="pass module=SmallNet"):
        load_model(folder)


def test_networks_of_one_kind_can_be_trained_anew(tmp_path):
    settings = {"max_epochs": 1, "module__drop_prob": 0.4, "n_networks": 3, "modules": None}
    clf = mutual(CHAMBON, **settings).fit(X, Y)
    again = load_model(clf.save(tmp_path / "model"))
    assert (again.module, again.n_networks, again.modules) == (CHAMBON, 3, None)
    np.testing.assert_array_equal(again.predict_proba(X), clf.predict_proba(X))
    with torch.no_grad():
        assert same_parameters(again.set_params(max_epochs=1).fit(X, Y).module_, clf.module_)


def test_unknown_kinds_of_sources_are_not_loaded(tmp_path):
    folder = ait(variants="sign_flip").fit(X, Y).save(tmp_path / "model")
    path = folder / "model.json"
    document = json.loads(path.read_text())
    document["variants"] = {"function": "os.system"}
    path.write_text(json.dumps(document))
    with pytest.raises(ValueError, match="variant 'function', which is not loaded"):
        load_model(folder, module=SmallNet)
