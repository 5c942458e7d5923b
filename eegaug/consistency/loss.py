"""How much two outputs for the same windows differ: the loss of augmentation-invariant training."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

__all__ = ["METRICS", "AugmentationInvariantLoss", "check_metric", "symmetric_kl"]

#: Kinds of :class:`AugmentationInvariantLoss`.
METRICS = ("kl", "euclidean", "kl+euclidean")


def symmetric_kl(first: Tensor, second: Tensor, *, detach_target: bool = False) -> Tensor:
    r"""Symmetric Kullback-Leibler divergence of two softmax distributions, one number per example.

    :math:`D(p_1, p_2) = \mathrm{KL}(p_1 \| p_2) + \mathrm{KL}(p_2 \| p_1) = \sum_k (p_{1k} - p_{2k})
    (\log p_{1k} - \log p_{2k})`. Each term of the sum is at least 0.

    Parameters
    ----------
    first, second : Tensor of shape (batch, classes, ...)
        Logits or log-probabilities, for instance of sequences (batch, classes, windows). Computed in float32, or in
        float64 where they are.
    detach_target : bool
        Take the first argument of each divergence for a constant: the same value, with half of the pull.

    Returns
    -------
    Tensor of shape (batch, ...)
        0 or more, also for logits that are far apart; 0 only where the distributions are equal.

    Examples
    --------
    >>> import torch
    >>> symmetric_kl(torch.tensor([[0.0, 0.0]]), torch.tensor([[0.0, 0.0], ]) + 3.0).item()
    0.0
    """
    log_p, log_q = (_wide(z).log_softmax(1) for z in (first, second))
    if not detach_target:
        return ((log_p.exp() - log_q.exp()) * (log_p - log_q)).sum(1)
    fixed_p, fixed_q = log_p.detach(), log_q.detach()
    return (fixed_p.exp() * (fixed_p - log_q) + fixed_q.exp() * (fixed_q - log_p)).sum(1)


class AugmentationInvariantLoss(nn.Module):
    r"""Mean difference between what a network says about two variants of the same windows.

    Parameters
    ----------
    metric : {"kl", "euclidean", "kl+euclidean"}
        "kl": the symmetric divergence of :func:`symmetric_kl`. "euclidean": the distance
        :math:`\| z_1 - z_2 \|_2`. "kl+euclidean": their sum.
    detach_target : bool
        False is the gradient of the paper's formula. True takes each target for a constant, as the published code does:
        the same value, :math:`\partial D / \partial z_1 = p_1 - p_2` instead of
        :math:`p_1 \odot (d - \langle p_1, d \rangle) + p_1 - p_2` with :math:`d = \log p_1 - \log p_2`. Near
        :math:`p_1 = p_2` that is half of it, so that twice the weight makes up for it.

    Raises
    ------
    ValueError
        For an unknown metric.

    References
    ----------
    Chen, Tian, Fan and Wang (2019), Augmentation invariant training, ICCV workshops.

    Examples
    --------
    >>> import torch
    >>> loss = AugmentationInvariantLoss()
    >>> z = torch.tensor([[2.0, 0.0, -1.0]])
    >>> loss(z, z).item(), loss(z, -z).item() > 1
    (0.0, True)
    """

    def __init__(self, metric: str = "kl", detach_target: bool = False):
        super().__init__()
        self.metric = check_metric(metric)
        self.detach_target = bool(detach_target)

    def forward(self, *outputs: Tensor) -> Tensor:
        """Mean over examples (and over the windows of sequences) and over pairs of variants.

        Parameters
        ----------
        *outputs : Tensors of shape (batch, classes, ...)
            Logits, log-probabilities or features (then of shape (batch, features)) of two variants or more.

        Returns
        -------
        Tensor
            A number.

        Raises
        ------
        ValueError
            For fewer than two outputs, or outputs of different shapes.
        """
        return self.of_each(*outputs).mean()

    def of_each(self, *outputs: Tensor) -> Tensor:
        """The same of each example, as the mean over pairs of variants: shape (batch, ...), without the classes."""
        if len(outputs) < 2:
            raise ValueError(f"the loss compares two outputs or more, got {len(outputs)}.")
        shapes = [tuple(z.shape) for z in outputs]
        if len(set(shapes)) > 1 or len(shapes[0]) < 2:
            raise ValueError(f"outputs have shapes {shapes}; all should be (batch, classes).")
        pairs = [self._pair(a, b) for a, b in itertools.combinations(outputs, 2)]
        return torch.stack(pairs).mean(0)

    def _pair(self, first: Tensor, second: Tensor) -> Tensor:
        terms = []
        if "kl" in self.metric:
            terms.append(symmetric_kl(first, second, detach_target=self.detach_target))
        if "euclidean" in self.metric:
            a, b = _wide(first), _wide(second)
            if self.detach_target:
                terms.append((_distance(a, b.detach()) + _distance(a.detach(), b)) / 2)
            else:
                terms.append(_distance(a, b))
        return sum(terms)

    def extra_repr(self) -> str:
        return f"metric={self.metric!r}, detach_target={self.detach_target}"


def check_metric(metric: str) -> str:
    """`metric` if it is one of :data:`METRICS`; ValueError otherwise."""
    if metric not in METRICS:
        raise ValueError(f"metric is {metric!r}; use one of {', '.join(METRICS)}.")
    return metric


def _wide(z: Tensor) -> Tensor:
    return z.to(torch.promote_types(z.dtype, torch.float32))


def _distance(a: Tensor, b: Tensor) -> Tensor:
    return torch.linalg.vector_norm(a - b, dim=1)
