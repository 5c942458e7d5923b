"""Coefficients of several operations of one kind, computed together.

On small batches most of a layer's time goes into starting many tiny computations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from eegaug.functional.sampling import bernoulli_and_slope
from eegaug.functional.sensors import rotation_waves
from eegaug.operations import Operation

__all__ = ["decision", "decisions", "held", "rotations"]

Noises = Mapping[int, Mapping[str, Tensor]]


def held(strengths: Tensor) -> Tensor:
    """Strengths brought into [0, 1], with the gradient of those that were given."""
    return strengths - strengths.detach() + strengths.detach().clamp(0.0, 1.0)


def decision(op: Operation, noise: Mapping[str, Tensor], u: Tensor | None) -> tuple[Tensor, float] | None:
    """How an operation decides about windows or about their channels: yes where a draw is below its probability.

    Returns
    -------
    tuple or None
        Uniform draws (batch, 1 or channels), and the probability at full strength; None if it decides about nothing.
    """
    if not op.has_magnitude:
        return u[:, None], 0.5
    if op.mixing_of_members is None:
        return None
    return op.membership(noise), op.max_strength


def decisions(
    operations: Sequence[Operation], strengths: Sequence[Tensor], us: Mapping[int, Tensor | None], noises: Noises
) -> dict[int, tuple[Tensor, Tensor]]:
    """Which windows an operation without a magnitude is applied to, and which channels take part in another.

    Parameters
    ----------
    operations : sequence of Operation
    strengths : sequence of Tensor of shape (1,)
    us : mapping
        For each operation that is computed, the uniform draws (batch,) that it is applied by where it has no magnitude.
    noises : mapping
        Their other draws.

    Returns
    -------
    dict
        By number of the operation: zeros and ones (batch, 1 or channels), and the slope of their surrogate in the
        strength.
    """
    found, chances, draws, factors = [], [], [], []
    for q, u in us.items():
        decided_by = decision(operations[q], noises[q], u)
        if decided_by is None:
            continue
        u, factor = decided_by
        chance = strengths[q] if factor == 1.0 else strengths[q] * factor
        found.append(q)
        chances.append(chance.expand(u.shape[1]))
        draws.append(u)
        factors.append(factor)
    if not found:
        return {}
    if len(found) == 1:
        members, slopes = ([both] for both in bernoulli_and_slope(chances[0], draws[0]))
    else:
        widths = [u.shape[1] for u in draws]
        together = bernoulli_and_slope(torch.cat(chances), torch.cat(draws, dim=1))
        members, slopes = (both.split(widths, dim=1) for both in together)
    parts = zip(found, members, slopes, factors, strict=True)
    return {q: (member, slope if factor == 1.0 else slope * factor) for q, member, slope, factor in parts}


def rotations(
    operations: Sequence[Operation], strengths: Sequence[Tensor], noises: Noises
) -> dict[int, tuple[Tensor, Tensor]]:
    """Matrices of rotations and their slopes in the strength, by number of the operation, as `decisions`."""
    found = [q for q in noises if operations[q].mixing_of_waves is not None]
    if not found:
        return {}
    swings = torch.stack([operations[q].swing(noises[q]) for q in found])
    angles = swings * torch.stack([strengths[q] for q in found])
    matrices = {}
    for q, swing, waves in zip(found, swings, rotation_waves(angles.view(-1)).chunk(len(found)), strict=True):
        value, slope = operations[q].mixing_of_waves(waves)
        matrices[q] = value, slope.mul_(swing[:, None, None])
    return matrices
