"""AIT, mutual learning and Augerino as methods of a comparison."""

from __future__ import annotations

import pytest

from eegaug import AITClassifier, AugNetClassifier, MutualClassifier, compare
from eegaug.comparison import get_method, list_methods

COMMON = {"module": "SleepStagerChambon2018", "sfreq": 64.0, "ch_names": ["C3", "C4"]}
NAMES = ["ait", "ait-control", "ait-augnet", "multi-ait", "dml", "augerino"]


def build(name, **options):
    method = get_method(name)
    return method.build(dict(COMMON), **method.options(options))


def test_they_are_known():
    assert set(NAMES) <= set(list_methods())


def test_settings_reach_the_estimators():
    ait = build("ait", consistency=2.0, variants=["frequency_shift", ["gaussian_noise", 1.0, 0.5]])
    assert type(ait) is AITClassifier and ait.consistency == 2.0
    control = build("ait-control")
    assert control.consistency == 0.0 and control.variants is None
    learned = build("ait-augnet", layers=[["sign_flip", "frequency_shift"]], selection="single", penalty=0.1)
    (layer,) = learned.variants.layers
    assert (layer.selection, [op.name for op in layer.operations]) == ("single", ["sign_flip", "frequency_shift"])
    assert learned.penalty == 0.1 and learned.consistency == 1.0
    pair, shared = build("multi-ait"), build("dml", n_networks=3)
    assert type(pair) is MutualClassifier and (pair.shared_variant, pair.consistency) == (False, 3.0)
    assert shared.shared_variant and shared.n_networks == 3


def test_augerino_has_a_layer_for_each_operation():
    clf = build("augerino", operations="time-frequency", penalty_limit=1.0)
    assert type(clf) is AugNetClassifier
    assert clf.layers[0] == ["time_reverse"] and len(clf.layers) == 6
    assert (clf.penalty_kind, clf.penalty, clf.penalty_limit) == ("magnitude", 0.05, 1.0)
    with pytest.warns(UserWarning, match="left out"):
        layers = build("augerino").layers
    assert ["sign_flip"] in layers and all(len(layer) == 1 for layer in layers)


@pytest.mark.parametrize("name", ["augerino", "ait-augnet"])
def test_what_cannot_be_placed_is_not_said_of_augnet(name):
    nowhere = {**COMMON, "ch_names": ["C3", "left ear"]}
    with pytest.warns(UserWarning, match=r"learned augmentation goes without sensors_rotation_x.*left ear"):
        get_method(name).build(nowhere, **get_method(name).options())


def test_they_are_compared(small, tmp_path):
    small["method_options"] = {
        "ait-augnet": {"layers": [["frequency_shift", "sign_flip"]]},
        "augerino": {"operations": ["frequency_shift", "sign_flip"]},
    }
    result = compare(["ait", "ait-augnet", "dml", "augerino"], out=tmp_path / "out", **small)
    table = result.table
    assert len(result.failed) == 0
    assert table["test_balanced_accuracy"].between(0, 1).all()
    # One subject of 24 windows in batches of 16; two variants or networks count twice.
    passes = table.groupby("method")["passes"].first().to_dict()
    assert passes == {"ait": 4, "ait-augnet": 4, "dml": 4, "augerino": 2}
