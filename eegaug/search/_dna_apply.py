"""One pair of operations for each window, evaluated for a whole batch at once.

Windows are grouped by operation: each operation is called once for each of the two positions, on the windows that drew
it, with a vector of magnitudes. For 13 operations that is at most 26 calls, where all 78 pairs of a batch of n windows
would take 156 n.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from eegaug.operations import Operation
from eegaug.policies.network import PairPolicy
from eegaug.search.relaxations import gumbel_softmax

__all__ = ["Group", "augment_pairs", "draw_groups", "list_pairs", "mix_pairs"]


class Group(NamedTuple):
    """The windows that have the same operation at the same position, and what is random about it.

    Parameters
    ----------
    position : int
        0 or 1.
    operation : int
    rows : Tensor of int64, shape (n,)
        Their places in the batch, on its device.
    noise : dict of Tensor
        Draws of the operation, the first dimension is n.
    """

    position: int
    operation: int
    rows: Tensor
    noise: dict[str, Tensor]


def list_pairs(n_operations: int) -> Tensor:
    """All pairs of different operations, in the order in which they are applied: the smaller number comes first.

    Examples
    --------
    >>> list_pairs(3).tolist()
    [[0, 1], [0, 2], [1, 2]]
    >>> len(list_pairs(13))
    78
    """
    return torch.combinations(torch.arange(n_operations), 2)


def draw_groups(
    operations: Sequence[Operation],
    pairs: Tensor,
    chosen: Tensor,
    shape: tuple[int, int, int],
    generator: torch.Generator | None = None,
    device: torch.device | str = "cpu",
) -> list[Group]:
    """Group windows by operation, and draw what is random about the operations.

    Parameters
    ----------
    operations : sequence of Operation
    pairs : Tensor of int64, shape (n_pairs, 2)
        Numbers of operations.
    chosen : Tensor of int64, shape (batch,)
        Number of each window's pair.
    shape : tuple
        Of the batch: windows, channels, samples.
    generator : torch.Generator | None
    device : device
        Of the batch.

    Returns
    -------
    list of Group
        Those of position 0 come first; only groups with a window.
    """
    places = pairs.cpu()[chosen.cpu()]  # accelerators wait for the host once, here
    groups = []
    for position in (0, 1):
        for number in places[:, position].unique().tolist():
            rows = torch.nonzero(places[:, position] == number)[:, 0].to(device, non_blocking=True)
            noise = operations[number].draw(len(rows), *shape[1:], generator=generator, device=device)
            groups.append(Group(position, number, rows, noise))
    return groups


def mix_pairs(
    operations: Sequence[Operation],
    groups: Sequence[Group],
    X: Tensor,
    probabilities: Tensor,
    magnitudes: Tensor,
    u: Tensor,
) -> Tensor:
    """Apply each window's pair, differentiably: with hard decisions whose gradient is that of a relaxed Bernoulli.

    Parameters
    ----------
    operations : sequence of Operation
    groups : sequence of Group
        From :func:`draw_groups`, of all windows at both positions.
    X : Tensor, shape (batch, channels, times)
    probabilities, magnitudes : Tensor, shape (batch, 2)
        Of the pair that each window drew.
    u : Tensor, shape (batch, 2)
        Uniform draws: an operation is applied where ``u < probability``.

    Returns
    -------
    Tensor
        Shape and dtype of `X`.
    """
    for position in (0, 1):
        here = [group for group in groups if group.position == position]
        order = torch.cat([group.rows for group in here])
        sizes = [len(group.rows) for group in here]
        # Sorted by operation, so that groups are slices: one gather and one cat for all of them.
        sorted_X = X.index_select(0, order).split(sizes)
        p, m = probabilities[order, position].split(sizes), magnitudes[order, position].split(sizes)
        lots = u[order, position].split(sizes)
        mixed = [
            operations[group.operation].mix(
                sorted_X[i], m[i] if operations[group.operation].has_magnitude else None, group.noise, p[i], lots[i]
            )
            for i, group in enumerate(here)
        ]
        X = torch.cat(mixed).index_select(0, order.argsort())
    return X


def augment_pairs(
    operations: Sequence[Operation],
    pairs: Tensor,
    X: Tensor,
    policy: PairPolicy,
    generator: torch.Generator | None = None,
    temperature: float = 0.5,
) -> tuple[Tensor, Tensor]:
    """Draw a pair for each window and apply it, differentiably in all parts of the policy.

    With ``c`` the straight-through weight of the pair that was drawn, the result is ``X + c (pair(X) - X)``: it is
    exactly what the pair makes of `X`, and the gradient of the weights is the effect of the pair against doing nothing.

    Parameters
    ----------
    operations : sequence of Operation
    pairs : Tensor of int64, shape (n_pairs, 2)
    X : Tensor, shape (batch, channels, times)
    policy : PairPolicy
    generator : torch.Generator | None
        On the device of `X`.
    temperature : float
        Of the Gumbel-softmax over pairs.

    Returns
    -------
    augmented : Tensor
        Shape and dtype of `X`.
    chosen : Tensor of int64, shape (batch,)
        The pairs that were drawn.
    """
    lots = torch.rand(policy.log_weights.shape, generator=generator, device=X.device)
    one_hot = gumbel_softmax(policy.log_weights, lots, temperature)
    chosen = one_hot.detach().argmax(1)
    groups = draw_groups(operations, pairs, chosen, tuple(X.shape), generator, X.device)
    u = torch.rand(len(X), 2, generator=generator, device=X.device)
    everyone = torch.arange(len(X), device=X.device)
    mixed = mix_pairs(
        operations, groups, X, policy.probabilities[everyone, chosen], policy.magnitudes[everyone, chosen], u
    )
    weight = one_hot[everyone, chosen].to(X.dtype)
    return torch.lerp(X, mixed, weight[:, None, None]), chosen
