"""RELAX for a policy: its gradient from what each window was worth, whatever was done to it.

Choosing operations and deciding whether to apply them are draws of each window. Choices are drawn first; decisions are
drawn given the choices, so that the decisions about operations that were not chosen add no noise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from eegaug._random import uniform_on
from eegaug.search.relaxations import ControlVariate, relax_bernoulli, relax_categorical, relax_gradient

__all__ = ["Choices", "Relax", "draw_choices"]

# Decisions stay this far from certain: one that never falls tells nothing.
_MARGIN = 0.02
_TEMPERATURE = 0.5
# How much of what it knows from earlier batches a batch leaves.
_MEMORY = 0.95


class Choices(NamedTuple):
    """Discrete draws of a batch, with what RELAX needs of them.

    Parameters
    ----------
    log_probs : tuple of Tensor, shape (batch, categories)
        Of each choice.
    index : tuple of Tensor of int64, shape (batch,)
        What was chosen.
    z, z_given : tuple of Tensor, shape (batch, categories)
        Relaxed choices, before and after they are known.
    p, b, logistic, logistic_given : Tensor, shape (batch, n_decisions)
        Decisions: probability of a one, draw, relaxed decision before and after it is known.
    context : Tensor, shape (batch, n)
        What else is known of each window, as numbers in [0, 1].
    """

    log_probs: tuple[Tensor, ...]
    index: tuple[Tensor, ...]
    z: tuple[Tensor, ...]
    z_given: tuple[Tensor, ...]
    p: Tensor
    b: Tensor
    logistic: Tensor
    logistic_given: Tensor
    context: Tensor


def draw_choices(
    log_probs: Sequence[Tensor],
    probabilities: Callable[[Sequence[Tensor]], Tensor],
    context: Tensor,
    generator: torch.Generator | None = None,
) -> Choices:
    """Draw choices, then the decisions that depend on them.

    Parameters
    ----------
    log_probs : sequence of Tensor, shape (batch, categories)
        Logarithms of probabilities, of each choice.
    probabilities : callable
        Of the indices chosen; gives the probabilities of the decisions, shape (batch, n_decisions), in [0, 1].
    context : Tensor, shape (batch, n)
    generator : torch.Generator | None

    Returns
    -------
    Choices
    """

    def uniform(like: Tensor) -> tuple[Tensor, Tensor]:
        u, v = uniform_on(like.device, (2, *like.shape), generator, like.dtype)
        return u, v

    index, z, z_given = zip(*(relax_categorical(one, *uniform(one)) for one in log_probs), strict=True)
    p = probabilities(index)
    p = p + (p.clamp(_MARGIN, 1.0 - _MARGIN) - p).detach()
    return Choices(tuple(log_probs), index, z, z_given, p, *relax_bernoulli(p, *uniform(p)), context)


class Relax(nn.Module):
    """RELAX with DADA's control variate, trained beside the policy to lower the variance of its gradient.

    Parameters
    ----------
    n_categories : sequence of int
        Categories of each choice.
    n_decisions, n_context : int

    Notes
    -----
    One network is the control variate of choices and decisions. For the choices it sees them relaxed and the decisions
    at one half, for the decisions it sees what was chosen and the decisions relaxed. What a window was worth is divided
    by its root mean square over the batches before, so that the network is trained at one scale.
    """

    def __init__(self, n_categories: Sequence[int], n_decisions: int, n_context: int):
        super().__init__()
        self.control = ControlVariate(sum(n_categories) + n_decisions + n_context)
        self.register_buffer("mean_square", torch.zeros(()))
        # Of what windows were worth: products with what they were worth as they are, and squares of the latter.
        self.register_buffer("products", torch.zeros(2))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        state_dict.setdefault(f"{prefix}products", torch.zeros(2))  # checkpoints of format 1 have none
        super()._load_from_state_dict(state_dict, prefix, *args)

    def gradient(
        self, values: Tensor, choices: Choices, parameters: Sequence[Tensor], create_graph: bool = False
    ) -> tuple[Tensor, ...]:
        """Gradient of the expected sum of values to the parameters of the law of the choices.

        Parameters
        ----------
        values : Tensor, shape (batch,)
            What each window was worth; large is bad.
        choices : Choices
        parameters : sequence of Tensor
        create_graph : bool
            See :func:`eegaug.search.relaxations.relax_gradient`.

        Returns
        -------
        tuple of Tensor
            In units of the root mean square of the values, see :meth:`scale`.
        """
        values = values.detach() / self.scale(values)
        chosen = [
            torch.nn.functional.one_hot(i, one.shape[1]).to(one.dtype)
            for i, one in zip(choices.index, choices.log_probs, strict=True)
        ]
        half = torch.full_like(choices.p, 0.5).detach()

        def control(categories: Sequence[Tensor], decisions: Tensor) -> Tensor:
            return self.control(torch.cat([*categories, decisions, choices.context], dim=1))

        of_choices = relax_gradient(
            values,
            sum((c * one).sum(1) for c, one in zip(chosen, choices.log_probs, strict=True)),
            control([torch.softmax(z / _TEMPERATURE, 1) for z in choices.z], half),
            control([torch.softmax(z / _TEMPERATURE, 1) for z in choices.z_given], half),
            parameters,
            create_graph,
        )
        of_decisions = relax_gradient(
            values,
            torch.where(choices.b > 0, choices.p, 1.0 - choices.p).log().sum(1),
            control(chosen, torch.sigmoid(choices.logistic / _TEMPERATURE)),
            control(chosen, torch.sigmoid(choices.logistic_given / _TEMPERATURE)),
            parameters,
            create_graph,
        )
        return tuple(a + b for a, b in zip(of_choices, of_decisions, strict=True))

    @torch.no_grad()
    def beyond(self, values: Tensor, plain: Tensor | None) -> Tensor:
        """What windows were worth beyond what could be told without knowing what was done to them.

        Parameters
        ----------
        values : Tensor, shape (batch,)
            What each window was worth.
        plain : Tensor, shape (batch,), or None
            What each would have been worth as it is: most of the differences between windows have nothing to do with
            what was drawn for them, and would be noise in the gradient.

        Returns
        -------
        Tensor, shape (batch,)
            What a regression on `plain`, by the batches before, leaves: whatever its coefficient, the gradient has the
            same expectation.
        """
        if plain is None:
            return values
        product, square = self.products
        left = values - torch.where(square > 0, product / square, 0.0) * plain
        a, b = values - values.mean(), plain - plain.mean()
        self.products.mul_(_MEMORY).add_(torch.stack([(a * b).sum(), (b * b).sum()]))
        return left

    def scale(self, values: Tensor) -> Tensor:
        """Root mean square of the values of batches before; of this one where it is the first."""
        tiny = torch.finfo(values.dtype).tiny
        seen = torch.where(self.mean_square > 0, self.mean_square, values.detach().square().mean())
        return seen.sqrt().clamp(min=tiny)

    def learn(
        self, values: Tensor, choices: Choices, parameters: Sequence[Tensor], optimizer: torch.optim.Optimizer
    ) -> tuple[Tensor, ...]:
        """The gradient, after which the control variate takes a step against its variance.

        Returns
        -------
        tuple of Tensor
            In the units of the values.
        """
        found = self.gradient(values, choices, parameters, create_graph=True)
        scale = self.scale(values)
        variance = sum(one.square().sum() for one in found)
        weights = list(self.control.parameters())
        for weight, grad in zip(weights, torch.autograd.grad(variance, weights, allow_unused=True), strict=True):
            weight.grad = grad
        optimizer.step()
        optimizer.zero_grad()
        with torch.no_grad():
            new = values.square().mean()
            self.mean_square.copy_(torch.where(self.mean_square > 0, self.mean_square.lerp(new, 0.1), new))
        return tuple(one.detach() * scale for one in found)
