"""One operation for each window instead of a weighted sum: no operation can starve another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from eegaug._random import uniform_on
from eegaug.augnet.together import decision
from eegaug.functional.sensors import full_precision

if TYPE_CHECKING:
    from eegaug.augnet.layers import AugmentationLayer

__all__ = ["Drawn", "comparison_of_losses", "group_sizes", "one_operation_each"]

# What a running mean keeps of itself with each new window.
_MEMORY = 1 - 1 / 200
# Where losses are compared no channel is changed for certain: of what is never left, nothing would be learned. Nor is
# anything left for certain, or what has once come to nothing could never come back.
_LEAST, _MOST = 0.02, 0.98


class Drawn(NamedTuple):
    """Who drew an operation that decides: its number, rows of the batch, and of each the share that was changed.

    ``per_strength``: how many changes of a window full strength makes on average, of one window or of its channels.
    ``n_windows``: of the batch.
    """

    operation: int
    rows: Tensor
    changed: Tensor
    per_strength: float
    n_windows: int


def one_operation_each(layer: AugmentationLayer, X: Tensor, generator: torch.Generator | None = None) -> Tensor:
    r"""Apply one operation of a layer to each window: which one is drawn in proportion to the layer's shares.

    A window that draws operation :math:`q` becomes :math:`T_q(x; \mu_q)`; :math:`\mu_q` gets its gradient from the
    windows that it has changed and from no others. Operations therefore do not compete, and every window that the
    network sees is one that was really transformed, not an average of several.

    The draw is stratified: of a batch of n windows, an operation with a share s gets s n, rounded down or up. The
    windows are put in a random order, cut into one group for each operation and transformed group by group, so that the
    cost is that of about one operation, whatever their number.

    Parameters
    ----------
    layer : AugmentationLayer
        Its ``shares()`` are those of its operations and, at the end, of leaving a window as it is.
    X : Tensor, shape (batch, channels, times)
    generator : torch.Generator | None
        None: torch's default generators.

    Returns
    -------
    Tensor
        Shape and dtype of `X`; differentiable in `X` and in ``layer.strengths``.
    """
    n, n_channels, n_times = X.shape
    source = X.device if generator is None else generator.device
    # The sizes of the groups have to be known to the host: without a generator of its own, the host draws them.
    start = torch.rand((), generator=generator, device="cpu" if generator is None else source).item()
    order = torch.randperm(n, generator=generator, device=source).to(X.device)
    sizes = group_sizes(layer.shares(), n, start)
    groups = X.index_select(0, order).split(sizes)
    strengths = layer.held_strengths().unbind()
    done, begin = [], 0
    for q, group in enumerate(groups):
        size = sizes[q]
        if q < len(strengths) and size:
            op, strength = layer.operations[q], strengths[q]
            noise = op.draw(size, n_channels, n_times, generator=generator, device=X.device)
            u = None if op.has_magnitude else uniform_on(X.device, (size,), generator)
            if layer.compares_losses and (decided_by := decision(op, noise, u)) is not None:
                strength = strength.detach().clamp(_LEAST, _MOST if op.has_magnitude else 1.0)
                draws, factor = decided_by
                chosen = (draws < strength * factor).to(strength.dtype)
                per_strength = factor * chosen.shape[1]
                layer.drawn.append(Drawn(q, order[begin : begin + size], chosen.mean(1), per_strength, n))
            group = layer.apply_operation(q, group, strength, noise, u)
        done.append(group)
        begin += size
    return torch.cat(done).index_select(0, order.argsort())


def comparison_of_losses(layer: AugmentationLayer, losses: Tensor) -> Tensor:
    r"""A term whose derivative is that of the expected loss in the strengths of operations that decide.

    An operation without a magnitude is applied with a probability :math:`p = \mu / 2`, and the expected loss of its
    windows has the derivative :math:`\partial / \partial p = E[\ell(T(x))] - E[\ell(x)]`, whatever the network.
    Following the gradient of a single draw instead (straight-through) takes the loss for a straight line from :math:`x`
    to :math:`T(x)`, which lie far apart: it lets an operation that destroys the label pass. Of channels that are chosen
    one by one, with a probability :math:`p` each, that derivative is the sum over the channels of the expected loss
    where this one is chosen, less that where it is not: :math:`C (E[k \ell] / E[k] - E[(C - k) \ell] / E[C - k])` for
    :math:`k` chosen channels of :math:`C`. Both means are running means over about the last 200 windows of each kind.

    Parameters
    ----------
    layer : AugmentationLayer
        In training, after a batch, with ``compares_losses`` set. It may have made several copies of the batch, one
        after the other.
    losses : Tensor, shape (batch,)
        What each window, or each sequence of windows with one label, adds to the loss, times their number; without a
        gradient.

    Returns
    -------
    Tensor
        To be added to the loss; it is 0.
    """
    total = layer.strengths.new_zeros(())
    for q, rows, changed, per_strength, n_windows in layer.drawn:
        # Every window of a sequence with one label changes the loss of the sequence.
        per_loss = n_windows // len(losses)
        each = losses[rows // per_loss] * per_loss
        both = torch.stack([1.0 - changed, changed]).to(losses.dtype)
        counts = both.sum(1)
        keep = _MEMORY**counts
        with full_precision(losses):  # what counts is a small difference between sums
            layer.running_sums[:, q] = layer.running_sums[:, q] * keep + both @ each
        layer.running_counts[:, q] = layer.running_counts[:, q] * keep + counts
        seen = layer.running_counts[:, q]
        means = layer.running_sums[:, q] / seen.clamp(min=1.0)
        # Nothing is known before a whole window of each kind has been seen.
        slope = torch.where(seen.min() >= 1.0, means[1] - means[0], 0.0) * per_strength
        total = total + layer.weights[q] * slope * layer.strengths[q]
    layer.drawn = []
    return total - total.detach()


def group_sizes(shares: Sequence[float], n: int, start: float) -> list[int]:
    """How many of n windows each operation gets: systematic sampling, so that expectations are exactly n times shares.

    Parameters
    ----------
    shares : sequence of float
        Sum to 1.
    n : int
    start : float
        Uniform in [0, 1).

    Returns
    -------
    list of int
        One for each share; they sum to n, and each is n times its share, rounded down or up.

    Examples
    --------
    >>> group_sizes([0.5, 0.25, 0.25], 5, start=0.0), group_sizes([0.5, 0.25, 0.25], 5, start=0.6)
    ([3, 1, 1], [2, 2, 1])
    """
    total, ends = 0.0, []
    for share in shares:
        total += share
        # How many of the points start, start + 1, … lie below n times what has been shared out so far.
        ends.append(min(n, max(0, math.ceil(round(n * total, 9) - start))))
    last = max(q for q, share in enumerate(shares) if share > 0)
    ends[last:] = [n] * (len(ends) - last)
    return [end - begin for begin, end in zip([0, *ends[:-1]], ends, strict=True)]
