"""Random states at the edge, seeded torch generators inside."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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


def uniform_on(
    device: torch.device | str,
    shape: Sequence[int],
    generator: torch.Generator | None,
    dtype: torch.dtype | None = None,
) -> torch.Tensor:
    """Uniform draws in [0, 1) on a device, made where the generator is; None: torch's default one of that device."""
    source = device if generator is None else generator.device
    return torch.rand(shape, generator=generator, device=source, dtype=dtype).to(device)


@contextmanager
def contained_rng(seed: int, device: torch.device | str | None = "cpu") -> Iterator[None]:
    """Seed torch's default generators for the time of a block, and put them back as they were afterwards.

    Parameters
    ----------
    seed : int
    device : torch.device | str | None
        Where the block computes. The generator of the CPU is always contained, that of an accelerator (CUDA, or
        Apple's) when it is used.
    """
    device = torch.device(device or "cpu")
    if device.type == "cuda":
        device = torch.device("cuda", _cuda_index(device))  # that which is the current one now
    before = rng_states(device)
    try:
        torch.random.default_generator.manual_seed(seed)
        if "cuda" in before:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        elif "mps" in before:
            torch.mps.manual_seed(seed)
        yield
    finally:
        restore_rng(before, device)


def rng_states(device: torch.device | str | None = "cpu") -> dict[str, torch.Tensor]:
    """States of torch's default generators: of the CPU, and of the device where it is an accelerator."""
    states = {"cpu": torch.random.get_rng_state()}
    kind = torch.device(device or "cpu").type
    if kind == "cuda":
        states[kind] = torch.cuda.get_rng_state(_cuda_index(device))
    elif kind == "mps":
        states[kind] = torch.mps.get_rng_state()
    return states


def restore_rng(states: Mapping[str, torch.Tensor], device: torch.device | str | None = "cpu") -> None:
    """Put back what :func:`rng_states` gave; states of another kind of device than this one are left out."""
    torch.random.set_rng_state(states["cpu"])
    kind = torch.device(device or "cpu").type
    if kind == "cuda" and kind in states:
        torch.cuda.set_rng_state(states[kind], _cuda_index(device))
    elif kind == "mps" and kind in states:
        torch.mps.set_rng_state(states[kind])


def _cuda_index(device: torch.device | str) -> int:
    index = torch.device(device).index
    return torch.cuda.current_device() if index is None else index
