"""Random states at the edge, seeded torch generators inside."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

RandomState = int | np.random.RandomState | np.random.Generator | None

_MAX_SEED = 2**63 - 1


def resolve_seed(random_state: RandomState = None) -> int:
    """Turn a ``random_state`` into a non-negative integer seed.

    Parameters
    ----------
    random_state : int | numpy.random.RandomState | numpy.random.Generator | None
        An int is the seed; a NumPy random state gives its next draw; None gives fresh entropy of the operating system,
        so that NumPy's global state is not consumed.

    Returns
    -------
    int

    Raises
    ------
    TypeError
        For anything else.
    ValueError
        For a negative integer.
    """
    if random_state is None:
        return int(np.random.SeedSequence().generate_state(1, np.uint64)[0]) & _MAX_SEED
    if isinstance(random_state, (int, np.integer)) and not isinstance(random_state, bool):
        if random_state < 0:
            raise ValueError(f"random_state is {random_state}; a seed is 0 or more.")
        return int(random_state)
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(2**31 - 1))
    if isinstance(random_state, np.random.Generator):
        return int(random_state.integers(2**31 - 1))
    raise TypeError(
        f"random_state is a {type(random_state).__name__}; pass an int, a numpy RandomState or Generator, or None."
    )


def derive_seed(seed: int, *keys: int) -> int:
    """A seed for one purpose: the same for the same ``seed`` and ``keys``, unrelated between different ones."""
    return int(np.random.SeedSequence(seed, spawn_key=keys).generate_state(1, np.uint64)[0]) & _MAX_SEED


@contextmanager
def contained_rng(seed: int, device: torch.device | str | None = "cpu") -> Iterator[None]:
    """Seed torch's default generators for the time of a block, and put them back as they were afterwards.

    Parameters
    ----------
    seed : int
    device : torch.device | str | None
        Where the block computes. The generator of the CPU is always contained, that of a CUDA device when it is used.
    """
    devices = []
    device = torch.device("cpu" if device is None else device)
    if device.type == "cuda":
        devices = [torch.cuda.current_device() if device.index is None else device.index]
    with torch.random.fork_rng(devices=devices):
        torch.random.default_generator.manual_seed(seed)
        for index in devices:
            with torch.cuda.device(index):
                torch.cuda.manual_seed(seed)
        yield
