"""What ready-made layers begin a training with, as plain data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch

from eegaug.augnet.layers import AugmentationLayer
from eegaug.augnet.module import AugmentationModule

__all__ = ["rebuilt", "starts_of"]


def starts_of(layers: Iterable[Any]) -> list[dict[str, Any] | None]:
    """Weights and strengths of layers as they are now, and which are not to be learned; None for what is no layer."""
    return [_start(layer) if isinstance(layer, AugmentationLayer) else None for layer in layers]


def _start(layer: AugmentationLayer) -> dict[str, Any]:
    start: dict[str, Any] = {name: parameter.detach().tolist() for name, parameter in layer.named_parameters()}
    return start | {"frozen": [name for name, p in layer.named_parameters() if not p.requires_grad]}


def rebuilt(config: Any, starts: Sequence[Mapping[str, Any] | None] | None) -> AugmentationModule:
    """Layers from :meth:`AugmentationModule.get_config` and from what :func:`starts_of` told of them."""
    module = AugmentationModule.from_config(config)
    for layer, start in zip(module.layers, starts or [None] * len(module.layers), strict=True):
        start = {"strengths": start} if isinstance(start, list) else start or {}  # older files have strengths alone
        for name, parameter in layer.named_parameters():
            if name in start:
                with torch.no_grad():
                    parameter.copy_(torch.tensor(start[name]))
            if name in start.get("frozen", ()):
                parameter.requires_grad_(False)
    return module
