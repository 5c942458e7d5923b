"""The draws of braindecode's transforms, and of samplers, made to follow torch's generator."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from braindecode.augmentation import Transform
from torch import nn

from eegaug.transforms import Generators

__all__ = ["reseed", "reseed_sampler", "transforms_of"]


def reseed(module: nn.Module) -> None:
    """Give all transforms of a module new seeds, drawn from torch's default generator.

    A transform has a generator of its own, or NumPy's global one. Copies of it would draw alike, and what they draw
    would hang on what ran before.

    Parameters
    ----------
    module : torch.nn.Module
        A transform, a composition of some, or a module that has some; it is changed.
    """
    for transform in transforms_of(module):
        seed = int(torch.randint(2**31 - 1, ()))
        if hasattr(transform, "generators"):  # eegaug's own
            transform.generators = Generators(seed, type(transform).__name__)
        else:
            transform.rng = np.random.RandomState(seed)


def reseed_sampler(sampler: Any) -> None:
    """Give a sampler that has a generator of its own, braindecode's or torch's, a new one; it is changed."""
    kinds = {np.random.RandomState: np.random.RandomState, np.random.Generator: np.random.default_rng}
    if new := kinds.get(type(getattr(sampler, "rng", None))):
        sampler.rng = new(int(torch.randint(2**31 - 1, ())))
    elif isinstance(getattr(sampler, "generator", None), torch.Generator):
        sampler.generator = torch.Generator().manual_seed(int(torch.randint(2**31 - 1, ())))


def transforms_of(module: nn.Module) -> Iterator[Transform]:
    """All transforms of a module, also those within compositions."""
    for part in module.modules():
        if isinstance(part, Transform):
            yield part
            for inner in getattr(part, "transforms", ()):  # a plain list, in a composition
                yield from transforms_of(inner)
