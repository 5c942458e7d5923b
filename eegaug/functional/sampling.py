"""Relaxed random choices through which a gradient can flow."""

import torch
from torch import Tensor
from torch.autograd import forward_ad

__all__ = ["bernoulli_and_slope", "differentiated", "relaxed_bernoulli", "transformed"]

# The gradient of the surrogate vanishes for a probability of exactly 0 or 1; held this far away from both it still
# tells a strength that sits on the border which way to go.
_MARGIN = 0.02


def _hold(value: Tensor, margin: float) -> Tensor:
    """`value` held inside [margin, 1 - margin]; its gradient passes as if it were not."""
    return value + (value.clamp(margin, 1.0 - margin) - value).detach()


def relaxed_bernoulli(probability: Tensor, u: Tensor, temperature: float = 0.5, hard: bool = True) -> Tensor:
    """Bernoulli draw that is differentiable in its probability.

    Parameters
    ----------
    probability : Tensor
        Probability of a one, in [0, 1].
    u : Tensor
        Uniform draws in [0, 1), broadcast against `probability`. The draw is one where ``u < probability``, so that a
        probability of 0 never and of 1 always gives one.
    temperature : float
        Softness of the surrogate ``sigmoid((logit(probability) - logit(u)) / temperature)``.
    hard : bool
        True returns the exact draw and uses the surrogate for the gradient only (straight-through); False returns the
        surrogate itself.

    Returns
    -------
    Tensor
        Zeros and ones (``hard=True``) or values in (0, 1).

    References
    ----------
    .. [1] Maddison, Mnih and Teh (2017). The Concrete Distribution. ICLR.
    .. [2] Bengio, Léonard and Courville (2013). Estimating or propagating gradients through stochastic neurons.
       arXiv:1308.3432.

    Examples
    --------
    >>> import torch
    >>> from eegaug.functional import relaxed_bernoulli
    >>> p = torch.tensor(0.3, requires_grad=True)
    >>> b = relaxed_bernoulli(p, torch.tensor([0.1, 0.8]))
    >>> b.tolist()
    [1.0, 0.0]
    """
    eps = torch.finfo(u.dtype).eps
    if not hard:
        return _surrogate(_hold(probability, eps), u, temperature, eps)
    if not differentiated(probability):
        return (u < probability).to(torch.promote_types(probability.dtype, u.dtype))
    draw, slope = bernoulli_and_slope(probability, u, temperature)
    # The second term is exactly zero, so the value is exactly the draw.
    return draw + slope * (probability - probability.detach())


def differentiated(x: Tensor) -> bool:
    """Whether a derivative in `x` may be asked for, backwards or, by ``torch.func.jvp`` and its like, forwards."""
    return x.requires_grad or differentiated_forwards()


def differentiated_forwards() -> bool:
    """Whether derivatives are taken forwards."""
    return getattr(forward_ad, "_current_level", -1) >= 0


# Whether a transformation of torch.func is at work: these want autograd's functions in another form, which costs more
# to call, and under vmap a tensor has no values of its own to look at.
transformed = getattr(torch._C, "_are_functorch_transforms_active", lambda: True)


@torch.no_grad()
def bernoulli_and_slope(probability: Tensor, u: Tensor, temperature: float = 0.5) -> tuple[Tensor, Tensor]:
    """Bernoulli draw, and the derivative of its surrogate in the probability.

    Parameters
    ----------
    probability, u, temperature
        As in :func:`relaxed_bernoulli`.

    Returns
    -------
    draw, slope : Tensor

    Examples
    --------
    >>> import torch
    >>> from eegaug.functional.sampling import bernoulli_and_slope
    >>> draw, slope = bernoulli_and_slope(torch.tensor(0.5), torch.tensor([0.5, 0.75]))
    >>> draw.tolist(), [round(s, 3) for s in slope.tolist()]
    ([0.0, 0.0], [2.0, 0.72])
    """
    held = probability.clamp(_MARGIN, 1.0 - _MARGIN)
    soft = _surrogate(held, u, temperature, torch.finfo(u.dtype).eps)
    slope = torch.addcmul(soft, soft, soft, value=-1.0)
    slope = slope.div_(torch.addcmul(held, held, held, value=-1.0).mul_(temperature))
    return (u < probability).to(soft.dtype), slope


def _surrogate(probability: Tensor, u: Tensor, temperature: float, eps: float) -> Tensor:
    return torch.sigmoid((torch.logit(probability) - torch.logit(u, eps)) / temperature)
