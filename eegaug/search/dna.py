"""DNA: a network that learns how each window is to be augmented."""

from __future__ import annotations

import copy
import math
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
from sklearn.exceptions import NotFittedError
from torch import Tensor, nn

from eegaug._convolutions import quick_convolutions
from eegaug._random import derive_seed
from eegaug._trunk import copy_network
from eegaug.policies.network import AugmentationNetwork, PairPolicy
from eegaug.policy import ClassPolicy, ConditionalPolicy, PolicyOperation, SubPolicy
from eegaug.search._bilevel_search import of_next_step
from eegaug.search._checks import check_one_of, check_positive
from eegaug.search._divergence import means_over_windows, refuse_divergence
from eegaug.search._dna_apply import augment_pairs, list_pairs
from eegaug.search._dna_summary import ClassMeans, class_distances, class_means, top_pairs
from eegaug.search._state import SearchState
from eegaug.search._task import SearchTask
from eegaug.search.base import PolicySearch
from eegaug.search.bilevel import METHODS, STEPS

__all__ = ["DNASearch"]

_OBJECTIVES = ("joint", "bilevel", "regularised")
# Purposes of derived seeds.
_NETWORK, _ROWS = 31, 32


class DNASearch(PolicySearch):
    r"""Dynamic network augmentation: learn a network that reads off each window how it is to be augmented.

    The augmentation network has the trunk's architecture. For every unordered pair of operations it gives a weight, two
    probabilities and two magnitudes. In the search, each window of a batch goes through one pair, drawn from its
    weights (straight-through Gumbel-softmax), each operation applied with its probability (straight-through relaxed
    Bernoulli); the augmentation network and the classifier learn together. Then the augmentation network is frozen, a
    classifier is trained with it, and it takes no part in predictions.

    Parameters
    ----------
    estimator
        See :class:`PolicySearch`.
    objective : {"joint", "bilevel", "regularised"}
        What the augmentation network minimises. ``"joint"``: the classifier's training loss, as in the paper; nothing
        in it rewards augmentation, and the policy drifts towards whatever makes training windows easy. ``"bilevel"``:
        the loss on held-out subjects after one gradient step of the classifier (see :mod:`eegaug.search.bilevel`).
        ``"regularised"``: the training loss minus `penalty` times the mean over windows of the size of their policy,
        :math:`\lVert \pi \odot p \odot m \rVert`, where an operation without a magnitude counts
        :math:`1 - |1 - 2p|`, which is largest when both versions are equally likely.
    penalty : float
        Of ``objective="regularised"``.
    search_fraction : float
        Part of the training windows that is searched on, in (0, 1]: the same of each class of each subject.
    policy_lr : float
        Learning rate of the augmentation network's Adam, with betas (0.5, 0.999).
    temperature : float
        Of the Gumbel-softmax over pairs.
    hypergradient : {"exact", "finite_difference"}
        How ``objective="bilevel"`` goes through the step, see :func:`eegaug.search.bilevel.unrolled_gradient`.
    inner_step : {"gradient", "normalised", "adam"}
        The step: along the gradient, the same with its length held constant, or scaled as Adam scales it; see
        :class:`ADDASearch`.
    continue_training : bool
        Whether the last training goes on with the classifier of the search, as the authors' code does, or begins anew,
        as their paper has it.
    max_steps : int
        Epochs of the search.
    **shared
        See :class:`PolicySearch`; ``n_sub_policies`` is the number of pairs per class in :attr:`top_pairs_`, and
        ``n_operations`` has to be 2.

    Attributes
    ----------
    policy_ : ConditionalPolicy
    class_policies_ : ClassPolicy
        What the network does to the training windows of each class, on average: all pairs with mean weights,
        probabilities and magnitudes. Each is a mean by itself: where the windows that draw a pair more often also apply
        it more often, more is done than weight times probability says.
    top_pairs_ : DataFrame
        The pairs that each class draws most often: ``class``, ``rank``, ``weight``, ``place``, ``operation``,
        ``probability``, ``magnitude``, ``strength``, ``unit``.
    class_distances_ : DataFrame
        Jensen-Shannon distance of the mean weights of two classes, 0 to 1.
    history_ : DataFrame
        A row per epoch: ``train_loss`` on augmented windows, ``valid_loss`` (bilevel), ``policy_size``,
        ``entropy`` (nats, mean over windows), ``altered`` (fraction of windows to which an operation was
        applied), and what :class:`PolicySearch` says. Both networks count as a forward-backward pass.

    References
    ----------
    Mahan, Doster and Kvinge (2021), DNA: dynamic network augmentation, arXiv:2112.09277. Unlike the authors' code, the
    search applies the operations, magnitudes have their own derivative, and the features that the heads read are
    standardised over windows, without which the first steps settle one policy for all.

    Examples
    --------
    >>> import numpy as np
    >>> from eegaug import StagingClassifier
    >>> from eegaug.search import DNASearch
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((24, 2, 300)).astype("float32")
    >>> y, subjects = np.arange(24) % 2, np.arange(24) // 6
    >>> trunk = StagingClassifier(sfreq=100, ch_names=["C3", "C4"], max_epochs=1, verbose=0)
    >>> operations = ["sign_flip", "gaussian_noise", "time_masking"]
    >>> search = DNASearch(trunk, operations=operations, max_steps=2, search_fraction=0.5, random_state=0, verbose=0)
    >>> search.fit(X, y, groups=subjects).policy_.pairs
    ((0, 1), (0, 2), (1, 2))
    >>> search.top_pairs_.groupby("class")["rank"].max().to_dict()
    {0: 3, 1: 3}
    """

    name: ClassVar[str] = "dna"

    def __init__(
        self,
        estimator: Any = None,
        *,
        objective: str = "joint",
        penalty: float = 1.0,
        search_fraction: float = 0.2,
        policy_lr: float = 5e-3,
        temperature: float = 0.5,
        hypergradient: str = "exact",
        inner_step: str = "gradient",
        continue_training: bool = False,
        max_steps: int = 20,
        **shared: Any,
    ):
        super().__init__(estimator, max_steps=max_steps, **shared)
        self.objective = objective
        self.penalty = penalty
        self.search_fraction = search_fraction
        self.policy_lr = policy_lr
        self.temperature = temperature
        self.hypergradient = hypergradient
        self.inner_step = inner_step
        self.continue_training = continue_training

    def operation_shares(self) -> pd.DataFrame:
        """How often each operation is applied to the training windows of each class.

        Returns
        -------
        DataFrame
            Operations by classes: mean weight times mean probability, summed over the pairs that an operation is in;
            exact where one of both is the same for all windows of a class.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before a search.
        """
        if not hasattr(self, "class_policies_"):
            raise NotFittedError(f"this {type(self).__name__} is not fitted: call fit first.")
        shares = pd.DataFrame(
            0.0, index=[op.name for op in self.operations_], columns=list(self.class_policies_.classes)
        )
        for label, policy in zip(self.class_policies_.classes, self.class_policies_.policies, strict=True):
            for sub in policy.sub_policies:
                for step in sub.operations:
                    shares.loc[step.operation, label] += sub.weight * step.probability
        return shares

    # Hooks -----------------------------------------------------------------------------------------------------------

    def _check(self, task: SearchTask) -> None:
        check_one_of(self, objective=_OBJECTIVES, hypergradient=METHODS, inner_step=STEPS)
        check_positive(self, "penalty", "policy_lr", "temperature")
        if not 0 < self.search_fraction <= 1:
            raise ValueError(f"search_fraction is {self.search_fraction!r}; it lies in (0, 1].")
        if self.n_operations != 2:
            raise ValueError(f"DNA searches pairs of operations: n_operations is 2, not {self.n_operations!r}.")
        if len(task.operations) < 2:
            raise ValueError(
                f"DNA searches pairs of operations and has one only, {task.operations[0].name!r}; name two or more."
            )

    def _n_choices(self) -> int:
        return math.comb(len(self.operations_), 2)

    def _begin(self, task: SearchTask) -> SearchState:
        pairs = list_pairs(len(task.operations))
        trunk = task.new_trunk()
        given = task.estimator.get_params_for("module")
        network = AugmentationNetwork(
            task.new_trunk(derive_seed(task.seed, _NETWORK)), len(pairs), task.signal, given, task.positions
        )
        network.to(task.device).train()
        return SearchState(
            pairs=pairs,
            operations=[op.name for op in task.operations],
            rows=_stratified_rows(task, self.search_fraction),
            trunk=trunk,
            network=network,
            trunk_optimizer=task.new_optimizer(trunk),
            network_optimizer=torch.optim.Adam(network.parameters(), lr=float(self.policy_lr), betas=(0.5, 0.999)),
        )

    def _step(self, task: SearchTask, state: SearchState) -> dict[str, Any]:
        state.trunk.train()
        state.network.train()
        criterion, part = task.new_criterion(), task.train.take(state.rows.numpy())
        row = means_over_windows((len(X), self.update(task, state, criterion, (X, y))) for X, y in task.batches(part))
        refuse_divergence(row, len(self._rows) + 1, "Lower policy_lr, or the estimator's lr.")
        return row

    def update(
        self, task: SearchTask, state: SearchState, criterion: nn.Module, train: tuple[Tensor, Tensor]
    ) -> dict[str, Tensor]:
        """One batch: both networks take a step. Returns means over the batch."""
        X, y = train
        policy = state.network(X)
        augmented, _ = augment_pairs(
            task.operations, state.pairs, X, policy, task.generator("policy"), self.temperature
        )
        size = policy_size(policy, self._has_magnitude(task, state.pairs).to(X.device))
        state.network_optimizer.zero_grad()
        state.trunk_optimizer.zero_grad()
        noted = {}
        seen = augmented
        if self.objective == "bilevel":
            noted["valid_loss"] = self._bilevel(task, state, augmented, y, criterion)
            seen = augmented.detach()
        with quick_convolutions():
            loss = criterion(state.trunk(seen), y)
        noted["train_loss"] = loss.detach()
        (loss - self.penalty * size if self.objective == "regularised" else loss).backward()
        state.trunk_optimizer.step()
        state.network_optimizer.step()
        task.n_forward_backward += 2
        entropy = -(policy.log_weights.exp() * policy.log_weights).sum(1).mean()
        altered = (augmented != X).flatten(1).any(1).float().mean()
        return noted | {"policy_size": size.detach(), "entropy": entropy.detach(), "altered": altered}

    def _bilevel(
        self, task: SearchTask, state: SearchState, augmented: Tensor, y: Tensor, criterion: nn.Module
    ) -> Tensor:
        """Give the augmentation network the gradient of the validation loss after one step, and return this loss."""
        found = of_next_step(self, task, state, criterion, (augmented.detach(), y))
        augmented.backward(found.X)
        return found.valid_loss

    def _policy(self, task: SearchTask, state: SearchState) -> ConditionalPolicy:
        # Of a copy: another thread may be training the network.
        network = copy_network(state.network)
        means = class_means(network, task.batches(task.train, shuffle=False), task.n_classes)
        present = np.isfinite(means.weights).all(1)  # there may be stages that nobody reached
        means, labels = ClassMeans(*(each[present] for each in means)), self.classes_[present].tolist()
        self.class_policies_ = self._mean_policies(task, state.pairs, means, labels)
        self.top_pairs_ = top_pairs(means, task.operations, state.pairs, labels, self.n_sub_policies)
        self.class_distances_ = class_distances(means, labels)
        return ConditionalPolicy(
            network=network.cpu(),
            operations=_named(task),
            pairs=state.pairs.tolist(),
            mean=self.class_policies_,
            searcher=self.name,
            settings=self._about(),
            sfreq=task.signal.sfreq,
            ch_names=task.signal.ch_names,
            positions=task.positions,
        )

    def _for_refit(self, state: SearchState, estimator: Any) -> Any:
        return estimator.set_params(module=_Trained(state.trunk)) if self.continue_training else estimator

    # -----------------------------------------------------------------------------------------------------------------

    @staticmethod
    def _has_magnitude(task: SearchTask, pairs: Tensor) -> Tensor:
        return torch.tensor([op.has_magnitude for op in task.operations])[pairs]

    def _mean_policies(self, task: SearchTask, pairs: Tensor, means: ClassMeans, labels: list[Any]) -> ClassPolicy:
        """The mean policy of each class: its pairs in the order of their mean weights."""
        named, policies = _named(task), []
        for p, m, weights in zip(*means, strict=True):
            subs = []
            for s in np.argsort(-weights, kind="stable"):
                if weights[s] > 0:
                    steps = [
                        PolicyOperation(
                            operation=named[q],
                            probability=float(p[s, k]),
                            magnitude=float(m[s, k]) if task.operations[q].has_magnitude else None,
                        )
                        for k, q in enumerate(pairs[s].tolist())
                    ]
                    subs.append(SubPolicy(operations=steps, weight=float(weights[s])))
            policies.append(task.policy(subs))
        return ClassPolicy(classes=labels, policies=policies, searcher=self.name, settings=self._about())


def _named(task: SearchTask) -> list[Any]:
    """Operations by their names, where that says enough."""
    return [op.name if task._is_default(op) else op for op in task.operations]


def policy_size(policy: PairPolicy, has_magnitude: Tensor) -> Tensor:
    r"""How much a batch is augmented: the mean over windows of :math:`\lVert \pi \odot p \odot m \rVert`.

    Parameters
    ----------
    policy : PairPolicy
    has_magnitude : Tensor of bool, shape (n_pairs, 2)
        An operation without a magnitude counts :math:`1 - |1 - 2p|`: applied always it is no augmentation.

    Returns
    -------
    Tensor
        A number.
    """
    p, m, log_weights = policy
    extent = torch.where(has_magnitude, p * m, 1.0 - (1.0 - 2.0 * p).abs())
    return (log_weights.exp()[:, :, None] * extent).flatten(1).norm(dim=1).mean()


class _Trained:
    """Builds a network that is trained already: a copy of one."""

    def __init__(self, trunk: nn.Module):
        self.trunk = copy_network(trunk).cpu()

    def __call__(self, **arguments: Any) -> nn.Module:
        return copy.deepcopy(self.trunk)


def _stratified_rows(task: SearchTask, fraction: float) -> Tensor:
    """Training windows to search on: the same fraction of each class of each subject, and one at least."""
    part, rng = task.train, np.random.default_rng(derive_seed(task.seed, _ROWS))
    groups = np.zeros(len(part), int) if part.groups is None else np.unique(part.groups, return_inverse=True)[1]
    stratum = groups * task.n_classes + part.y.numpy()
    chosen = []
    for number in np.unique(stratum):
        rows = np.flatnonzero(stratum == number)
        chosen.append(rng.permutation(rows)[: max(1, round(fraction * len(rows)))])
    return torch.from_numpy(np.sort(np.concatenate(chosen)))
