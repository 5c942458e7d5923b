"""Random choices through which a gradient flows: relaxed Bernoulli and categorical variables, and RELAX.

Everything takes its uniform draws as arguments, so that the same draws can serve two evaluations. The relaxed
Bernoulli variable itself is :func:`eegaug.functional.relaxed_bernoulli`, which is repeated here.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from eegaug.functional import relaxed_bernoulli

__all__ = [
    "ControlVariate",
    "gumbel",
    "gumbel_softmax",
    "linear_bernoulli",
    "relax_bernoulli",
    "relax_categorical",
    "relax_gradient",
    "relaxed_bernoulli",
]


def linear_bernoulli(probability: Tensor, u: Tensor) -> Tensor:
    """Bernoulli draw whose derivative in its probability is exactly one.

    The gradient has no sampling noise of its own and is unbiased where what follows is linear in the draw.

    Parameters
    ----------
    probability : Tensor
        Probability of a one, in [0, 1].
    u : Tensor
        Uniform draws in [0, 1), broadcast against `probability`; the draw is one where ``u < probability``.

    Returns
    -------
    Tensor
        Exactly 0 or 1.

    Examples
    --------
    >>> import torch
    >>> p = torch.tensor(0.3, requires_grad=True)
    >>> b = linear_bernoulli(p, torch.tensor([0.1, 0.8]))
    >>> b.tolist(), torch.autograd.grad(b.mean(), p)[0].item()
    ([1.0, 0.0], 1.0)
    """
    draw = (u < probability.detach()).to(torch.promote_types(probability.dtype, u.dtype))
    return draw + (probability - probability.detach())


def gumbel(u: Tensor) -> Tensor:
    """Standard Gumbel variables from uniform ones: ``-log(-log(u))``.

    Parameters
    ----------
    u : Tensor
        Uniform draws in [0, 1); held inside the open interval.

    Returns
    -------
    Tensor
        Same shape.

    Examples
    --------
    >>> import torch
    >>> round(gumbel(torch.tensor(0.5)).item(), 4)
    0.3665
    """
    return -torch.log(-torch.log(_open(u)))


def gumbel_softmax(logits: Tensor, u: Tensor, temperature: float = 0.5, hard: bool = True) -> Tensor:
    """Draw from the categories ``softmax(logits)``, differentiably in the logits.

    Parameters
    ----------
    logits : Tensor, shape (..., categories)
        Logits or logarithms of probabilities; not probabilities.
    u : Tensor, shape (..., categories)
        Uniform draws in [0, 1).
    temperature : float
        Softness of the surrogate ``softmax((logits + gumbel(u)) / temperature)``.
    hard : bool
        True returns the exact draw as a one-hot row and uses the surrogate for the gradient only (straight-through);
        False returns the surrogate.

    Returns
    -------
    Tensor, shape (..., categories)

    Raises
    ------
    ValueError
        If the temperature is not above 0.

    References
    ----------
    .. [1] Jang, Gu and Poole (2017). Categorical reparameterization with Gumbel-softmax. ICLR.
    .. [2] Maddison, Mnih and Teh (2017). The Concrete Distribution. ICLR.

    Examples
    --------
    >>> import torch
    >>> gumbel_softmax(torch.tensor([0.0, 3.0, 0.0]), torch.tensor([0.5, 0.5, 0.5])).tolist()
    [0.0, 1.0, 0.0]
    """
    if not temperature > 0:
        raise ValueError(f"temperature is {temperature}; it has to be above 0.")
    z = logits + gumbel(u)
    soft = torch.softmax(z / temperature, dim=-1)
    if not hard:
        return soft
    draw = torch.zeros_like(soft).scatter_(-1, z.detach().argmax(-1, keepdim=True), 1.0)
    return draw + (soft - soft.detach())


def relax_bernoulli(probability: Tensor, u: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What RELAX needs of Bernoulli variables: the draw, and the relaxed variable before and after it is known.

    Parameters
    ----------
    probability : Tensor
        Probability of a one, inside (0, 1).
    u, v : Tensor
        Independent uniform draws in [0, 1), of the shape of `probability`.

    Returns
    -------
    b, z, z_given_b : Tensor
        The draw ``b = 1[z > 0]``; the logistic variable ``z``; and one drawn anew given ``b``, of the same sign. The
        latter two are differentiable in `probability`.

    References
    ----------
    .. [1] Grathwohl, Choi, Wu, Roeder and Duvenaud (2018). Backpropagation through the void. ICLR: appendix A.

    Examples
    --------
    >>> import torch
    >>> b, z, z_given_b = relax_bernoulli(torch.tensor([0.3, 0.3]), torch.tensor([0.9, 0.2]), torch.tensor([0.5, 0.5]))
    >>> b.tolist(), (z > 0).tolist(), (z_given_b > 0).tolist()
    ([1.0, 0.0], [True, False], [True, False])
    """
    logit = torch.logit(probability)
    u, v = _open(u), _open(v)
    z = logit + torch.logit(u)
    b = (z.detach() > 0).to(z.dtype)
    # v, moved to where u lies given the draw: above 1 - probability for a one, below for a zero.
    inside = torch.where(b > 0, v * probability + (1.0 - probability), v * (1.0 - probability))
    return b, z, logit + torch.logit(_open(inside))


def relax_categorical(logits: Tensor, u: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What RELAX needs of categorical variables: the draw, and the relaxed variables before and after it is known.

    Parameters
    ----------
    logits : Tensor, shape (..., categories)
        Of the probabilities ``softmax(logits)``.
    u, v : Tensor, shape (..., categories)
        Independent uniform draws in [0, 1).

    Returns
    -------
    index : Tensor of int64, shape (...)
        The category drawn: the largest of ``z``.
    z, z_given_index : Tensor, shape (..., categories)
        Log-probabilities plus Gumbel noise, and the same drawn anew given ``index``, which is the largest of these
        too. Differentiable in the logits.

    References
    ----------
    .. [1] Grathwohl, Choi, Wu, Roeder and Duvenaud (2018). Backpropagation through the void. ICLR: appendix B.

    Examples
    --------
    >>> import torch
    >>> rng = torch.Generator().manual_seed(0)
    >>> u, v = torch.rand(2, 4, 3, generator=rng)
    >>> index, z, z_given_index = relax_categorical(torch.zeros(4, 3), u, v)
    >>> bool((z_given_index.argmax(-1) == index).all())
    True
    """
    log_p = torch.log_softmax(logits, dim=-1)
    z = log_p + gumbel(u)
    index = z.detach().argmax(-1)
    log_e = torch.log(-torch.log(_open(v)))  # logarithms of exponential variables
    top = log_e.gather(-1, index[..., None])
    others = -torch.logaddexp(log_e - log_p, top.expand_as(log_p))
    return index, z, others.scatter(-1, index[..., None], -top)


def relax_gradient(
    value: Tensor,
    log_prob: Tensor,
    control: Tensor,
    control_given_draw: Tensor,
    parameters: Sequence[Tensor],
    create_graph: bool = False,
) -> tuple[Tensor, ...]:
    r"""RELAX's unbiased gradient of an expectation over discrete draws.

    With the control variate :math:`c` at relaxed variables :math:`z` and :math:`\tilde z`,

    .. math:: \hat g = [f(b) - c(\tilde z)] \nabla \log P(b) + \nabla c(z) - \nabla c(\tilde z),

    summed over examples.

    Parameters
    ----------
    value : Tensor, shape (n,)
        :math:`f(b)`, of each example. It need not be differentiable.
    log_prob : Tensor, shape (n,)
        :math:`\log P(b)`, differentiable in the parameters.
    control, control_given_draw : Tensor, shape (n,)
        :math:`c(z)` and :math:`c(\tilde z)`.
    parameters : sequence of Tensor
        What the law of the draws depends on.
    create_graph : bool
        Whether the result can be differentiated, in the weights of the control variate: they are trained to minimise
        the sum of squares of the result, an estimate of its variance plus a constant.

    Returns
    -------
    tuple of Tensor
        One per parameter; zeros where nothing depends on it.

    References
    ----------
    .. [1] Grathwohl, Choi, Wu, Roeder and Duvenaud (2018). Backpropagation through the void. ICLR: equation 8.

    Examples
    --------
    >>> import torch
    >>> p = torch.full((4,), 0.3, requires_grad=True)
    >>> u, v = torch.rand(2, 4, generator=torch.Generator().manual_seed(0))
    >>> b, z, z_given_b = relax_bernoulli(p, u, v)
    >>> log_prob = torch.where(b > 0, p, 1 - p).log()
    >>> control, given = torch.sigmoid(z), torch.sigmoid(z_given_b)  # any smooth function
    >>> relax_gradient((b - 0.45) ** 2, log_prob, control, given, [p])[0].shape
    torch.Size([4])
    """
    score = value.detach() - control_given_draw
    ones = torch.ones_like(control)
    outputs, weights = [log_prob, control, control_given_draw], [score, ones, -ones]
    if not create_graph:
        weights[0] = score.detach()
    kept = [(o, w) for o, w in zip(outputs, weights, strict=True) if o.requires_grad]
    outputs, weights = zip(*kept, strict=True)
    found = torch.autograd.grad(
        outputs, parameters, weights, create_graph=create_graph, retain_graph=True, allow_unused=True
    )
    return tuple(torch.zeros_like(p) if g is None else g for g, p in zip(found, parameters, strict=True))


class ControlVariate(nn.Module):
    """The control variate of DADA: one hidden layer on relaxed variables.

    It is zero before it is trained, which leaves the plain score-function estimator.

    Parameters
    ----------
    n_inputs : int
        Number of relaxed variables, each in [0, 1].
    n_hidden : int
        Units of the hidden layer.

    References
    ----------
    .. [1] Li, Hu, Wang, Hospedales, Robertson and Yang (2020). DADA: differentiable automatic data augmentation. ECCV.

    Examples
    --------
    >>> import torch
    >>> ControlVariate(6)(torch.rand(4, 6)).tolist()
    [0.0, 0.0, 0.0, 0.0]
    """

    def __init__(self, n_inputs: int, n_hidden: int = 100):
        super().__init__()
        self.hidden = nn.Linear(n_inputs, n_hidden)
        self.out = nn.Linear(n_hidden, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, relaxed: Tensor) -> Tensor:
        """Value at relaxed variables, shape (n, n_inputs), of each of n examples."""
        return self.out(torch.tanh(self.hidden(2.0 * relaxed - 1.0)))[..., 0]


def _open(u: Tensor) -> Tensor:
    """Held inside the open interval from 0 to 1; its gradient passes as if it were not."""
    eps = torch.finfo(u.dtype).eps
    return u + (u.clamp(eps, 1.0 - eps) - u).detach()
