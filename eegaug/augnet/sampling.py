"""Which operation each copy of a prediction goes through, and with which draws."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from eegaug._random import derive_seed
from eegaug.operations import Operation

__all__ = ["Draw", "choose_operations", "spread"]


class Draw:
    """The draw of one layer for one copy.

    Parameters
    ----------
    operation : int
        Number of the operation in its layer.
    u : float
        Uniform in [0, 1), for operations that are applied with a probability.
    seed : int
        Of the operation's own draws: the same for all copies, which are spread over what can be drawn.
    copy, n_copies : int
        Which copy of how many.
    """

    def __init__(self, operation: int, u: float, seed: int, copy: int, n_copies: int):
        self.operation = operation
        self.u = u
        self.seed = seed
        self.copy = copy
        self.n_copies = n_copies
        self._noise: dict[tuple, dict[str, Tensor]] = {}

    def noise_for(self, op: Operation, X: Tensor) -> dict[str, Tensor]:
        """Draws of the operation for one window of the shape of `X`, made on the CPU; kept for the next batch."""
        key = (X.shape[-2], X.shape[-1], X.device)
        if key not in self._noise:
            if len(self._noise) >= 4:  # windows of many lengths: the draws are cheap to make again
                self._noise.clear()
            with torch.inference_mode(False):  # a later call may want a gradient
                self._noise[key] = {name: value.to(X.device) for name, value in self._drawn(op, X).items()}
        return self._noise[key]

    def _drawn(self, op: Operation, X: Tensor) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(self.seed)
        noise = op.draw(self.n_copies, X.shape[-2], X.shape[-1], generator=generator, device="cpu")
        if op.draws_uniform:
            noise = {name: spread(value, generator) for name, value in noise.items()}
        return {name: value[self.copy : self.copy + 1] for name, value in noise.items()}


def choose_operations(weights: Sequence[Sequence[float]], n_copies: int, seed: int) -> list[list[Draw]]:
    """Draw one operation per layer for each copy, in proportion to the weights.

    Each layer cuts [0, 1) into one stretch per operation, as long as its weight, and puts the copies at equal distances
    from a random start: an operation of weight w gets w n copies, rounded down or up. Where in its stretch a copy falls
    is uniform again, and evenly spread; it serves as the draw of operations that are applied with a probability. Which
    copy gets which point is a random permutation of its own in each layer.

    Parameters
    ----------
    weights : sequence over layers of sequences over operations
        Each sums to 1.
    n_copies : int
    seed : int

    Returns
    -------
    list over copies of list over layers of Draw
    """
    plan: list[list[Draw]] = [[] for _ in range(n_copies)]
    for number, layer in enumerate(weights):
        rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(number,)))
        start, order = rng.random(), rng.permutation(n_copies)
        points = (order + start) / n_copies
        share = np.asarray(layer, dtype=np.float64)
        share = share / share.sum()
        ends = np.cumsum(share)
        for copy, point in enumerate(points):
            # Stretches of length zero are never hit, and rounding in the last end must not lead past the last one.
            q = int(min(np.searchsorted(ends, point, side="right"), np.flatnonzero(share)[-1]))
            u = float(np.clip((point - (ends[q] - share[q])) / share[q], 0.0, np.nextafter(1.0, 0.0)))
            plan[copy].append(Draw(q, u, derive_seed(seed, number, q), copy, n_copies))
    return plan


def spread(u: Tensor, generator: torch.Generator) -> Tensor:
    """Spread uniform draws evenly over the copies (Latin hypercube).

    A handful of independent draws may all drop the same channel, or all shift upwards, and that hits every window. Here
    each of n copies has another n-th of [0, 1) to itself, for every number by itself.

    Parameters
    ----------
    u : Tensor, shape (n_copies, ...)
        Uniform in [0, 1).
    generator : torch.Generator

    Returns
    -------
    Tensor
        Same shape; each number is still uniform in [0, 1).
    """
    place = u.argsort(0).argsort(0)
    within = torch.rand(u.shape, generator=generator, device=u.device, dtype=u.dtype)
    return ((place + within) / len(u)).clamp(max=1.0 - torch.finfo(u.dtype).eps)
