"""Policies that can be learned by a gradient: sub-policies made of stages, each a choice between operations.

A stage of a window has a weight, a probability and a magnitude for each operation. All windows of a batch go through a
stage together, whatever their sub-policy or class, as one fused sum (:mod:`eegaug.augnet.combination`): its cost does
not grow with the number of sub-policies, and hardly with that of operations.
"""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from eegaug._random import uniform_on
from eegaug.augnet.combination import Term, combination
from eegaug.operations import Operation
from eegaug.search._per_class import PerClass
from eegaug.search.relaxations import gumbel, gumbel_softmax, linear_bernoulli, relaxed_bernoulli

__all__ = ["StageDraw", "Stages", "StagesDraw", "draw_stage", "mix_stage"]

#: An operation of a sub-policy: which, probability, magnitude.
Step = tuple[Operation, float, float]

MASKS = ("relaxed", "linear", "soft")
CHOICES = ("softmax", "gumbel")


class StageDraw(NamedTuple):
    """What is random about one stage of a batch.

    Parameters
    ----------
    noise : dict
        Draws of each operation that is evaluated, by its number.
    u : Tensor, shape (batch, n_operations)
        Uniform: an operation is applied where ``u`` is below its probability.
    """

    noise: dict[int, dict[str, Tensor]]
    u: Tensor


class StagesDraw(NamedTuple):
    """What is random about a batch that goes through the stages of its sub-policies.

    Parameters
    ----------
    rows : Tensor of int64, shape (batch,)
        Sub-policy of each window, counted over all classes: ``class * n_sub_policies + sub_policy``.
    stages : tuple of StageDraw
    lots : Tensor, shape (batch, n_stages, n_operations)
        Uniform, for choosing operations.
    """

    rows: Tensor
    stages: tuple[StageDraw, ...]
    lots: Tensor


def draw_stage(
    operations: Sequence[Operation],
    shape: tuple[int, int, int],
    generator: torch.Generator | None = None,
    device: torch.device | str = "cpu",
    active: Sequence[int] | None = None,
) -> StageDraw:
    """Draw what is random about one stage.

    Parameters
    ----------
    operations : sequence of Operation
    shape : tuple
        Of the batch: windows, channels, samples.
    generator : torch.Generator | None
        A generator of another device is used where it is.
    device : device
        Of the batch.
    active : sequence of int or None
        Numbers of the operations to be evaluated; None is all.

    Returns
    -------
    StageDraw
    """
    active = range(len(operations)) if active is None else active
    noise = {q: operations[q].draw(*shape, generator=generator, device=device) for q in active}
    return StageDraw(noise, uniform_on(device, (shape[0], len(operations)), generator))


def mix_stage(
    operations: Sequence[Operation],
    X: Tensor,
    weights: Tensor,
    applied: Tensor,
    magnitudes: Tensor,
    noise: dict[int, dict[str, Tensor]],
) -> Tensor:
    r"""One stage: :math:`\sum_q w_q [b_q T_q(x; \mu_q) + (1 - b_q) x]`, with values for each window.

    Parameters
    ----------
    operations : sequence of Operation
    X : Tensor, shape (batch, channels, times)
    weights : Tensor, shape (batch, n_operations)
        :math:`w`; rows sum to one.
    applied : Tensor, shape (batch, n_operations)
        :math:`b`: one where the operation is applied, zero where it is not.
    magnitudes : Tensor, shape (batch, n_operations)
        In [0, 1]; those of operations without a magnitude are ignored.
    noise : dict
        Draws of each operation to be evaluated, by its number; the weights of all others have to be zero.

    Returns
    -------
    Tensor
        Shape and dtype of `X`; differentiable, once, in all arguments.

    Examples
    --------
    >>> import torch
    >>> from eegaug.operations import get_operation
    >>> flip = [get_operation("sign_flip"), get_operation("time_reverse")]
    >>> X, one = torch.tensor([[[1.0, 2.0]]] * 2), torch.ones(2, 2)
    >>> weights = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    >>> mix_stage(flip, X, weights, one, one, {0: {}, 1: {}}).tolist()
    [[[-1.0, -2.0]], [[2.0, 1.0]]]
    """
    share = weights * applied
    shares, strengths = share.unbind(1), magnitudes.unbind(1)
    terms = [
        Term(operations[q], shares[q], strengths[q] if operations[q].has_magnitude else None, draws)
        for q, draws in noise.items()
    ]
    return combination(X, terms, (weights - share).sum(1))


class Stages(PerClass):
    r"""Sub-policies of stages with learnable weights, probabilities and magnitudes.

    Each window goes through the stages of one sub-policy, drawn uniformly (class-wise: of one of those of its class).
    In training a stage is a weighted sum of all its operations (``choice="softmax"``) or one operation that is drawn
    from the weights, with a straight-through gradient to all (``choice="gumbel"``). In evaluation it is one operation,
    drawn from the weights and applied with its probability, without gradient.

    Parameters
    ----------
    operations : sequence of Operation
    n_sub_policies, n_operations : int
        Sub-policies of each class, and stages of each sub-policy.
    n_classes : int | None
        Sub-policies for each of so many classes; None: for all windows alike.
    choice : {"softmax", "gumbel"}
    temperature : float
        Of the weights, :math:`w = \mathrm{softmax}(w' / T)`.
    mask : {"relaxed", "linear", "soft"}
        How the gradient passes the draw that applies an operation or not. ``"relaxed"``: straight through a relaxed
        Bernoulli variable; ``"linear"``: with derivative one; ``"soft"``: the relaxed variable itself, which mixes the
        window and its transform.
    mask_temperature : float
        Of the relaxed Bernoulli variable.
    initial : tuple of two floats
        Probabilities and magnitudes start uniform between these; weights start equal.
    generator : torch.Generator | None
        For the start, on the CPU.

    Attributes
    ----------
    weight_logits, probabilities, magnitudes : torch.nn.ParameterList
        One tensor of shape (n_sub_policies, n_operations, number of operations) for each class (or one in all), so that
        an optimiser can leave alone the classes that a batch has no window of (``forget_absent(y)``). Probabilities
        and magnitudes are to be brought back into [0, 1] by ``project_()`` after each of its steps.

    References
    ----------
    .. [1] Hataya, Zdenek, Yoshizoe and Nakayama (2020). Faster AutoAugment. ECCV.
    .. [2] Rommel, Moreau, Paillard and Gramfort (2022). CADDA: class-wise automatic differentiable data augmentation
       for EEG signals. ICLR.

    Examples
    --------
    >>> import torch
    >>> from eegaug.operations import get_operation
    >>> stages = Stages([get_operation(name) for name in ("sign_flip", "time_reverse", "gaussian_noise")])
    >>> stages.weights.shape
    torch.Size([1, 5, 2, 3])
    >>> X = torch.randn(4, 2, 300)
    >>> stages(X).shape
    torch.Size([4, 2, 300])
    >>> [[len(sub) for sub in one] for one in stages.sub_policies()]
    [[2, 2, 2, 2, 2]]
    """

    def __init__(
        self,
        operations: Sequence[Operation],
        n_sub_policies: int = 5,
        n_operations: int = 2,
        n_classes: int | None = None,
        *,
        choice: str = "softmax",
        temperature: float = 0.05,
        mask: str = "relaxed",
        mask_temperature: float = 0.5,
        initial: tuple[float, float] = (0.25, 0.75),
        generator: torch.Generator | None = None,
    ):
        super().__init__(n_classes)
        for name, value in (("n_sub_policies", n_sub_policies), ("n_operations", n_operations)):
            if not (isinstance(value, numbers.Integral) and value >= 1):
                raise ValueError(f"{name} is {value!r}; it is an integer of 1 or more.")
        if choice not in CHOICES:
            raise ValueError(f"choice is {choice!r}; it is one of {', '.join(map(repr, CHOICES))}.")
        if mask not in MASKS:
            raise ValueError(f"mask is {mask!r}; it is one of {', '.join(map(repr, MASKS))}.")
        for name, value in (("temperature", temperature), ("mask_temperature", mask_temperature)):
            if not value > 0:
                raise ValueError(f"{name} is {value}; it has to be above 0.")
        if not 0 <= initial[0] <= initial[1] <= 1:
            raise ValueError(f"initial is {tuple(initial)}; it is a range inside [0, 1].")
        if not operations:
            raise ValueError("operations is empty; a stage needs one or more.")
        self.operations = list(operations)
        self.n_sub_policies, self.n_stages = int(n_sub_policies), int(n_operations)
        self.choice, self.temperature = choice, float(temperature)
        self.mask, self.mask_temperature = mask, float(mask_temperature)
        shape = (self.n_sub_policies, self.n_stages, len(self.operations))
        low, high = initial
        n = n_classes or 1

        def start() -> nn.Parameter:
            return nn.Parameter(low + (high - low) * torch.rand(shape, generator=generator))

        self.weight_logits = nn.ParameterList(nn.Parameter(torch.zeros(shape)) for _ in range(n))
        self.probabilities = nn.ParameterList(start() for _ in range(n))
        self.magnitudes = nn.ParameterList(start() for _ in range(n))

    @property
    def weights(self) -> Tensor:
        """Weights of the operations, shape (classes or 1, n_sub_policies, n_stages, operations)."""
        return torch.softmax(torch.stack(list(self.weight_logits)) / self.temperature, dim=-1)

    def forward(self, X: Tensor, y: Tensor | None = None, generator: torch.Generator | None = None) -> Tensor:
        """Augment a batch.

        Parameters
        ----------
        X : Tensor, shape (batch, channels, times)
        y : Tensor of int64, shape (batch,), or None
            Classes, 0 to n_classes - 1; needed by class-wise stages only.
        generator : torch.Generator | None
            None: torch's default generator of the device.

        Returns
        -------
        Tensor
            Shape and dtype of `X`; differentiable, once, in the parameters and in `X`.

        Raises
        ------
        ValueError
            When class-wise stages get no classes, or one that they do not know.
        """
        return self.augment(X, self.draw(X, y, generator))

    def draw(self, X: Tensor, y: Tensor | None = None, generator: torch.Generator | None = None) -> StagesDraw:
        """Draw what is random about a batch; see :meth:`forward`."""
        rows = self.draw_rows(len(X), y, generator, X.device)
        lots = uniform_on(X.device, (len(X), self.n_stages, len(self.operations)), generator)
        stages = []
        for k in range(self.n_stages):
            active = self._active(k, rows, lots)
            stages.append(draw_stage(self.operations, tuple(X.shape), generator, X.device, active))
        return StagesDraw(rows, tuple(stages), lots)

    def draw_rows(
        self, n: int, y: Tensor | None, generator: torch.Generator | None, device: torch.device | str
    ) -> Tensor:
        """A sub-policy for each of `n` windows: every one equally likely, and as evenly spread as can be."""
        source = device if generator is None else generator.device
        order = torch.randperm(n, generator=generator, device=source)
        offset = torch.randint(self.n_sub_policies, (1,), generator=generator, device=source)
        rows = ((order + offset) % self.n_sub_policies).to(device)
        if self.n_classes is None:
            return rows
        if y is None:
            raise ValueError("class-wise stages need the class of each window; pass y.")
        if len(y) != n:
            raise ValueError(f"there are {len(y)} classes for {n} windows.")
        # An accelerator is not made to wait for them; it raises an error of its own.
        if n and y.device.type == "cpu" and not 0 <= int(y.min()) <= int(y.max()) < self.n_classes:
            raise ValueError(
                f"y has classes from {int(y.min())} to {int(y.max())}; there are {self.n_classes} from 0 on."
            )
        return rows + y.to(device) * self.n_sub_policies

    def augment(self, X: Tensor, draw: StagesDraw) -> Tensor:
        """Augment a batch with given draws; see :meth:`forward`."""
        for k, stage in enumerate(draw.stages):
            weights = self._choose(k, draw.rows, draw.lots)
            p, magnitudes = self.of(self.probabilities, k, draw.rows), self.of(self.magnitudes, k, draw.rows)
            if not self.training:
                p, magnitudes = p.detach(), magnitudes.detach()
            X = mix_stage(self.operations, X, weights, self._masks(p, stage.u), magnitudes, stage.noise)
        return X

    def of(self, parameters: nn.ParameterList, k: int, rows: Tensor) -> Tensor:
        """Values at stage `k` for windows of given sub-policies, shape (batch, operations)."""
        return torch.cat([one[:, k] for one in parameters])[rows]

    def log_weights(self, k: int, rows: Tensor) -> Tensor:
        """Logarithms of the weights at stage `k` for windows of given sub-policies, shape (batch, operations)."""
        return torch.log_softmax(self.of(self.weight_logits, k, rows) / self.temperature, dim=-1)

    def _choose(self, k: int, rows: Tensor, lots: Tensor) -> Tensor:
        log_w = self.log_weights(k, rows)
        if self.training and self.choice == "softmax":
            return log_w.exp()
        if self.training:
            return gumbel_softmax(log_w, lots[:, k])
        best = (log_w.detach() + gumbel(lots[:, k])).argmax(-1, keepdim=True)
        return torch.zeros_like(log_w).scatter_(-1, best, 1.0)

    def _masks(self, p: Tensor, u: Tensor) -> Tensor:
        if self.mask == "linear":
            return linear_bernoulli(p, u)
        return relaxed_bernoulli(p, u, self.mask_temperature, hard=self.mask == "relaxed" or not self.training)

    def _active(self, k: int, rows: Tensor, lots: Tensor) -> list[int] | None:
        """Operations with a weight, or a gradient to it, at stage `k`. An accelerator is not made to wait for them."""
        if rows.device.type != "cpu" or (self.training and self.choice == "gumbel"):
            return None
        with torch.no_grad():
            return torch.nonzero(self._choose(k, rows, lots).amax(0))[:, 0].tolist()

    @torch.no_grad()
    def sub_policies(self, mode: str = "argmax", generator: torch.Generator | None = None) -> list[list[list[Step]]]:
        """One operation for each stage: what the learned stages are for.

        Parameters
        ----------
        mode : {"argmax", "sample"}
            The operation of largest weight, or one drawn from the weights.
        generator : torch.Generator | None
            For drawing, on the CPU.

        Returns
        -------
        list
            For each class (or one in all), for each sub-policy, its ``(operation, probability, magnitude)``.
        """
        if mode not in ("argmax", "sample"):
            raise ValueError(f"mode is {mode!r}; it is 'argmax' or 'sample'.")
        weights = self.weights.cpu()
        best = weights.argmax(-1)
        if mode == "sample":
            flat = torch.multinomial(weights.flatten(0, -2), 1, generator=generator)
            best = flat.reshape(best.shape)
        found = []
        for c, chosen in enumerate(best.tolist()):
            p, m = self.probabilities[c].clamp(0, 1).tolist(), self.magnitudes[c].clamp(0, 1).tolist()
            found.append(
                [
                    [(self.operations[q], p[s][k][q], m[s][k][q]) for k, q in enumerate(stages)]
                    for s, stages in enumerate(chosen)
                ]
            )
        return found

    @torch.no_grad()
    def entropy(self) -> Tensor:
        """Entropy of each stage's weights in nats, shape (classes or 1, n_sub_policies, n_stages).

        Near the logarithm of the number of operations, the operation of largest weight is arbitrary.
        """
        return torch.special.entr(self.weights).sum(-1).cpu()

    def extra_repr(self) -> str:
        return (
            f"{', '.join(op.name for op in self.operations)}; {self.n_sub_policies} x {self.n_stages}, "
            f"choice={self.choice!r}, temperature={self.temperature:g}"
        )
