"""DADA: a distribution over pairs of operations, learned through one step of training."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from eegaug._random import uniform_on
from eegaug.operations import Operation
from eegaug.search._bilevel_search import BilevelSearch
from eegaug.search._choices import Choices, Relax, draw_choices
from eegaug.search._per_class import PerClass
from eegaug.search._task import SearchTask
from eegaug.search.relaxations import gumbel_softmax, relaxed_bernoulli
from eegaug.search.stages import draw_stage, mix_stage

__all__ = ["DADASearch", "Pairs"]


class DADASearch(BilevelSearch):
    """Learn which pairs of operations to apply, how often and how strongly, by the gradient of a validation loss.

    All unordered pairs of different operations have a weight, and each operation of a pair a probability and a
    magnitude. Each window draws one pair. Policy and network learn in turns, as in :class:`ADDASearch`. The policy
    found is the ``n_sub_policies`` pairs of largest weight.

    Parameters
    ----------
    estimator
        See :class:`PolicySearch`. Its network, batch size, optimiser and class weights are those of the search too.
    choice : {"relax", "gumbel"}
        ``"relax"``: RELAX's unbiased gradient from what training on each window was worth; ``"gumbel"``: a
        straight-through gradient to the weights of all pairs.
    class_wise : bool
        Whether each class has a policy of its own; then `policy_` is a :class:`eegaug.policy.ClassPolicy`.
    pooled : bool
        Whether classes learn from each other, see :class:`ADDASearch`.
    max_steps : int
        Epochs of the search.
    warm_start : int
        Epochs of training without augmentation before the search; of a `time_budget` they take a third at most.
    policy_lr, policy_betas
        Adam of the policy.
    hypergradient, inner_step
        See :class:`ADDASearch`.
    **shared
        See :class:`PolicySearch`; ``n_operations`` is 2.

    Attributes
    ----------
    history_ : DataFrame
        A row per epoch: ``train_loss`` (of augmented batches), ``valid_loss`` (of validation batches, after the step
        that is differentiated), ``entropy`` of the weights of the pairs (nats), and what :class:`PolicySearch` says.

    Notes
    -----
    The paper draws one pair for a whole batch; here each window draws its own, so that a batch tells of as many pairs,
    and is judged by what training on it is worth beyond what it would be without augmentation, see `ADDASearch`.
    The gradient to the magnitudes is their own, through the operations. ``"gumbel"`` judges the pairs that were not
    drawn by the slope at the one that was, which says little of operations that change a window much: where useful and
    destructive operations were known, it told them apart no better than chance.

    References
    ----------
    .. [1] Li, Hu, Wang, Hospedales, Robertson and Yang (2020). DADA: differentiable automatic data augmentation. ECCV.

    Examples
    --------
    >>> import numpy as np
    >>> from eegaug import StagingClassifier
    >>> from eegaug.search import DADASearch
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((24, 2, 300)).astype("float32")
    >>> y, subjects = np.arange(24) % 2, np.arange(24) // 6
    >>> trunk = StagingClassifier(sfreq=100, ch_names=["C3", "C4"], max_epochs=1, verbose=0)
    >>> search = DADASearch(
    ...     trunk, operations=["sign_flip", "gaussian_noise", "time_reverse"], max_steps=1, random_state=0, verbose=0
    ... )
    >>> len(search.fit(X, y, groups=subjects).policy_.sub_policies)
    3
    """

    name: ClassVar[str] = "dada"
    _choices = ("relax", "gumbel")

    def __init__(
        self,
        estimator: Any = None,
        *,
        choice: str = "relax",
        warm_start: int = 0,
        policy_lr: float = 5e-3,
        **shared: Any,
    ):
        super().__init__(estimator, choice=choice, warm_start=warm_start, policy_lr=policy_lr, **shared)

    def _check(self, task: SearchTask) -> None:
        super()._check(task)
        if self.n_operations != 2:
            raise ValueError(f"n_operations is {self.n_operations!r}; DADA searches pairs: leave it at 2.")
        if len(task.operations) < 2:
            raise ValueError(f"operations has {task.operations[0].name} alone; DADA searches pairs and needs two.")

    def _n_choices(self) -> int:
        return math.comb(len(self.operations_), 2)

    def _new_policy(self, task: SearchTask) -> Pairs:
        return Pairs(task.operations, task.n_classes if self.class_wise else None, relax=self.choice == "relax")

    def _new_relax(self, task: SearchTask, policy: Pairs) -> Relax:
        return Relax([policy.n_pairs], 2, policy.n_classes or 0)

    def _sub_policies(self, task: SearchTask, policy: Pairs) -> list[list[Any]]:
        return policy.best(self.n_sub_policies)

    def _shares(self, policy: Pairs) -> Tensor:
        applied = policy.weights[..., None] * torch.stack(list(policy.probabilities))
        shares = applied.new_zeros(len(applied), len(policy.operations))
        return shares.index_add(1, policy.places.flatten(), applied.flatten(1))

    def _columns(self, policy: Pairs) -> dict[str, float]:
        return {"entropy": float(torch.special.entr(policy.weights.detach()).sum(-1).mean())}

    def _remarks(self, policy: Pairs) -> dict[str, Any]:
        top = policy.weights.detach().sort(descending=True).values[:, : self.n_sub_policies].cpu().double()
        return {"weights": (top * 1e4).round().div(1e4).tolist() if self.class_wise else top[0].tolist()}


class Pairs(PerClass):
    """All pairs of operations with learnable weights, probabilities and magnitudes.

    Parameters
    ----------
    operations : sequence of Operation
    n_classes : int | None
        Weights, probabilities and magnitudes for each of so many classes; None: for all windows alike.
    relax : bool
        Whether choices and decisions are plain draws, for :class:`eegaug.search._choices.Relax`; otherwise they are
        straight-through.
    temperature : float
        Of the relaxed choice whose gradient a straight-through one has.

    Attributes
    ----------
    logits : torch.nn.ParameterList
        Of the weights: one tensor of shape (n_pairs,) for each class, or one in all.
    probabilities, magnitudes : torch.nn.ParameterList
        Of shape (n_pairs, 2).
    places : Tensor of int64, shape (n_pairs, 2)
        Numbers of a pair's operations, in the order in which they are applied.
    """

    def __init__(
        self,
        operations: list[Operation],
        n_classes: int | None = None,
        *,
        relax: bool = True,
        temperature: float = 0.5,
    ):
        super().__init__(n_classes)
        self.operations, self.relax, self.temperature = operations, relax, temperature
        self.register_buffer("places", torch.combinations(torch.arange(len(operations)), 2), persistent=False)
        n, classes = self.n_pairs, range(n_classes or 1)
        self.logits = nn.ParameterList(nn.Parameter(torch.full((n,), 1e-3)) for _ in classes)
        self.probabilities = nn.ParameterList(nn.Parameter(torch.full((n, 2), 0.5)) for _ in classes)
        self.magnitudes = nn.ParameterList(nn.Parameter(torch.full((n, 2), 0.5)) for _ in classes)

    @property
    def n_pairs(self) -> int:
        """Number of pairs."""
        return len(self.places)

    @property
    def weights(self) -> Tensor:
        """Weights of the pairs, shape (classes or 1, n_pairs)."""
        return torch.softmax(torch.stack(list(self.logits)), dim=-1)

    def augment_choices(
        self, X: Tensor, y: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Choices | None]:
        """Augmented windows, each by a pair of its own, and the draws that RELAX needs."""
        rows = torch.zeros_like(y) if self.n_classes is None else y
        log_pi = torch.log_softmax(torch.stack(list(self.logits)), dim=-1)[rows]
        p, m = torch.stack(list(self.probabilities))[rows], torch.stack(list(self.magnitudes))[rows]
        augment = self._relaxed if self.relax else self._straight_through
        return augment(X, rows, log_pi, p, m, generator)

    def _relaxed(self, X: Tensor, rows: Tensor, log_pi: Tensor, p: Tensor, m: Tensor, generator: Any) -> Any:
        context = torch.nn.functional.one_hot(rows, self.n_classes or 1).to(X.dtype)[:, : self.n_classes or 0]
        choices = draw_choices([log_pi], lambda index: _of_pair(p, index[0]), context, generator)
        (index,) = choices.index
        strengths = _of_pair(m, index)
        for j in (0, 1):
            which = self.places[index, j]
            weights = torch.nn.functional.one_hot(which, len(self.operations)).to(X.dtype)
            active = which.unique().tolist() if X.device.type == "cpu" else self._at(j)
            draw = draw_stage(self.operations, tuple(X.shape), generator, X.device, active)
            applied, magnitudes = weights * choices.b[:, j, None], weights * strengths[:, j, None]
            X = mix_stage(self.operations, X, weights, applied, magnitudes, draw.noise)
        return X, choices

    def _straight_through(self, X: Tensor, rows: Tensor, log_pi: Tensor, p: Tensor, m: Tensor, generator: Any) -> Any:
        # Each position sums the weights of the pairs that have an operation there, so that all pairs get a gradient
        # from the operations of one stage. What was not drawn weighs nothing in the sum; for its share in the gradient
        # it has the mean probability and magnitude of its pairs.
        choice = gumbel_softmax(log_pi, uniform_on(X.device, log_pi.shape, generator), self.temperature)
        index = choice.detach().argmax(1)
        for j in (0, 1):
            at = torch.nn.functional.one_hot(self.places[:, j], len(self.operations)).to(X.dtype)
            draw = draw_stage(self.operations, tuple(X.shape), generator, X.device, self._at(j))
            pi = log_pi.detach().exp()
            total = (pi @ at).clamp(min=torch.finfo(X.dtype).tiny)
            which = self.places[index, j, None]

            def spread(values: Tensor, j=j, at=at, pi=pi, total=total, which=which) -> Tensor:
                mean = ((pi * values[..., j].detach()) @ at / total).clamp(0.0, 1.0)
                return mean.scatter(1, which, _of_pair(values, index)[:, j, None])

            applied = relaxed_bernoulli(spread(p), draw.u)
            X = mix_stage(self.operations, X, choice @ at, applied, spread(m), draw.noise)
        return X, None

    def _at(self, j: int) -> list[int]:
        """Operations that a pair may have at position `j`."""
        n = len(self.operations)
        return list(range(n - 1)) if j == 0 else list(range(1, n))

    @torch.no_grad()
    def best(self, n: int) -> list[list[list[tuple[Operation, float, float]]]]:
        """The `n` pairs of largest weight (all, if there are fewer), of each class or in all, the largest first."""
        found = []
        for c, weights in enumerate(self.weights.cpu()):
            p, m = self.probabilities[c].clamp(0, 1).tolist(), self.magnitudes[c].clamp(0, 1).tolist()
            order = weights.argsort(descending=True, stable=True)[:n].tolist()
            ops = self.places.tolist()
            found.append([[(self.operations[ops[i][j]], p[i][j], m[i][j]) for j in (0, 1)] for i in order])
        return found


def _of_pair(values: Tensor, index: Tensor) -> Tensor:
    """Of values of all pairs, shape (batch, n_pairs, 2), those of the pair that each window drew: (batch, 2)."""
    return values[torch.arange(len(index), device=index.device), index]
