"""Which operation each copy of a prediction goes through, and with which draws."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from eegaug._random import derive_seed
from eegaug.operations import Operation

__all__ = ["Draw", "choose_operations"]


class Draw:
    """The draw of one layer for one copy.

    Parameters
    ----------
    operation : int
        Number of the operation in its layer.
    u : float
        Uniform in [0, 1), for operations that are applied with a probability.
    seed : int
        Of the operation's own draws.
    """

    def __init__(self, operation: int, u: float, seed: int):
        self.operation = operation
        self.u = u
        self.seed = seed
        self._noise: dict[tuple, dict[str, Tensor]] = {}

    def noise_for(self, op: Operation, X: Tensor) -> dict[str, Tensor]:
        """Draws of the operation for one window of the shape of `X`, made on the CPU; kept for the next batch."""
        key = (X.shape[-2], X.shape[-1], X.device)
        if key not in self._noise:
            generator = torch.Generator().manual_seed(self.seed)
            noise = op.draw(1, X.shape[-2], X.shape[-1], generator=generator, device="cpu")
            if len(self._noise) >= 4:  # windows of many lengths: the draws are cheap to make again
                self._noise.clear()
            self._noise[key] = {name: value.to(X.device) for name, value in noise.items()}
        return self._noise[key]


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
            plan[copy].append(Draw(q, u, derive_seed(seed, copy, number, q)))
    return plan
