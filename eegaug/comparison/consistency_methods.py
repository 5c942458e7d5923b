"""Training for invariance as methods of a comparison: AIT and its control, mutual learning, Augerino."""

from __future__ import annotations

from typing import Any

from eegaug.comparison.methods import Method, _without_places, register_method

__all__: list[str] = []

_LOSS = {"variants": None, "metric": "kl", "compare": "logits", "detach_target": False}


def _ait(common: dict[str, Any], **options: Any) -> Any:
    from eegaug.consistency import AITClassifier

    return AITClassifier(**common, **options)


def _ait_control(common: dict[str, Any], variants: Any) -> Any:
    return _ait(common, variants=variants, consistency=0.0)


def _ait_augnet(common: dict[str, Any], **options: Any) -> Any:
    from eegaug.augnet import AugmentationModule

    about = {name: common[name] for name in ("sfreq", "ch_names")}
    settings = {name: options.pop(name) for name in ("selection", "temperature", "initial_strength")}
    layers = [_without_places(layer, common) for layer in options.pop("layers")]
    return _ait(common, variants=AugmentationModule(layers, **about, **settings), **options)


def _mutual(common: dict[str, Any], **options: Any) -> Any:
    from eegaug.consistency import MutualClassifier

    return MutualClassifier(**common, **options)


def _dml(common: dict[str, Any], **options: Any) -> Any:
    return _mutual(common, shared_variant=True, **options)


def _augerino(common: dict[str, Any], *, operations: Any, **options: Any) -> Any:
    from eegaug.augnet import AugNetClassifier, augerino_layers

    operations = _without_places(operations, common)
    layers = augerino_layers(operations, sfreq=common["sfreq"], ch_names=common["ch_names"])
    return AugNetClassifier(**common, layers=layers, penalty_kind="magnitude", **options)


register_method(Method("ait", "AIT", _ait, {"consistency": 1.0, **_LOSS}))
register_method(Method("ait-control", "two variants, no AIT", _ait_control, {"variants": None}))
register_method(
    Method(
        "ait-augnet",
        "AIT on learned augmentation",
        _ait_augnet,
        {
            "layers": ("time-frequency", "time-frequency", "sensors"),
            "consistency": 1.0,
            "metric": "kl",
            "compare": "logits",
            "detach_target": False,
            "selection": "weighted",
            "penalty": None,
            "penalty_kind": None,
            "penalty_reduction": "global",
            "penalty_limit": None,
            "augmentation_lr": None,
            "augmentation_weight_decay": 0.0,
            "initial_strength": 0.1,
            "temperature": 0.01,
        },
    )
)
register_method(Method("multi-ait", "multi-AIT", _mutual, {"n_networks": 2, "consistency": 3.0, **_LOSS}))
register_method(Method("dml", "mutual learning", _dml, {"n_networks": 2, "consistency": 3.0, **_LOSS}))
register_method(
    Method(
        "augerino",
        "Augerino",
        _augerino,
        {
            "operations": "all",
            "penalty": 0.05,
            "penalty_limit": None,
            "n_copies": 4,
            "n_copies_train": 1,
            "aggregate": "log_probs",
            "augmentation_lr": None,
            "augmentation_weight_decay": 0.0,
            "initial_strength": 0.1,
        },
    )
)
