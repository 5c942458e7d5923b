"""Faster AutoAugment: a policy whose augmented windows a critic cannot tell from others."""

from __future__ import annotations

from typing import Any, ClassVar

import pandas as pd
import torch
from sklearn.exceptions import NotFittedError
from torch import Tensor, nn

from eegaug._random import derive_seed
from eegaug.policy import Policy
from eegaug.search._checks import check_one_of, check_positive
from eegaug.search._critic import Critic, critic_loss, policy_loss
from eegaug.search._divergence import means_over_windows, refuse_divergence
from eegaug.search._state import SearchState
from eegaug.search._task import SearchTask
from eegaug.search.base import PolicySearch
from eegaug.search.stages import CHOICES, MASKS, Stages

__all__ = ["FasterAutoAugmentSearch"]

# Purposes of derived seeds.
_CRITIC, _START, _SAMPLE = 41, 42, 43


class FasterAutoAugmentSearch(PolicySearch):
    r"""Learn a policy by density matching: augmented windows should look like others and keep their class.

    A critic, the trunk's features with two heads, learns to tell the two halves of each batch apart, one of which is
    augmented, and to classify the half that is not. The policy learns to pass for it:

    .. math::
        \text{critic:}\quad \min\; -\mathbb E D(x_n) + \mathbb E D(T(x_a)) + \lambda_p\, \mathbb E
        (\lVert \nabla D(\hat x) \rVert - 1)^2 + \lambda_c\, \mathrm{CE}(f(x_n), y_n)

        \text{policy:}\quad \min\; -\mathbb E D(T(x_a)) + \lambda_c\, \mathrm{CE}(f(T(x_a)), y_a)

    The policy is made of sub-policies of stages (:class:`eegaug.search.stages.Stages`), each a choice
    between all operations; in the end each is its operation of largest weight.

    Parameters
    ----------
    estimator
        See :class:`PolicySearch`. Its network's features are the critic's; its ``batch_size`` is split into the halves.
    class_loss_weight : float
        :math:`\lambda_c`.
    gradient_penalty : float
        :math:`\lambda_p`. The norm is taken over all samples of a window.
    critic_lr, policy_lr : float
        Of Adam, with betas (0, 0.999).
    choice : {"gumbel", "softmax"}
        What a stage is in the search: one of its operations, drawn for each window, with a straight-through gradient
        to the weights of all; or the weighted sum of all, as in the paper. No window looks like a sum of operations,
        so that while weights are even the critic drives all probabilities down, those of invariances too, and often
        for good; and in a sum a window and its inverted or reversed self cancel.
    temperature : float
        Of the weights of a stage.
    mask : {"relaxed", "linear", "soft"}
        See :class:`eegaug.search.stages.Stages`. ``"soft"`` with a temperature of 0.05 is the authors' choice; then
        windows and their transforms are mixed.
    mask_temperature : float
    initial_weights : {"even", "random"}
        Start of the stages' weights: all equal, or their logits uniform in [0, 1] as in the authors' code, which at a
        temperature of 0.05 begins with one operation in each stage. Probabilities and magnitudes start uniform.
    discretise : {"argmax", "sample"}
        Operation that a stage becomes: that of largest weight, or one drawn from the weights.
    max_steps : int
        Epochs.
    **shared
        See :class:`PolicySearch`.

    Attributes
    ----------
    policy_ : Policy
        ``settings["entropy"]`` is the entropy in nats of each stage's weights: where it is near the logarithm of the
        number of operations, the operation chosen is arbitrary.
    history_ : DataFrame
        A row per epoch: ``distance`` (mean of the critic on real minus on augmented windows), ``gradient_penalty``,
        ``critic_class_loss``, ``policy_loss``, ``entropy`` (nats, mean over stages), and what
        :class:`PolicySearch` says. A batch counts as three forward-backward passes: the critic, its gradient penalty,
        the policy.

    Notes
    -----
    The held-out subjects are not used. Of an odd batch the augmented half has one window more; a last batch of one
    window is left out of its epoch.

    References
    ----------
    Hataya, Zdenek, Yoshizoe and Nakayama (2020), Faster AutoAugment: learning augmentation strategies using
    backpropagation, ECCV.

    Examples
    --------
    >>> import numpy as np
    >>> from eegaug import StagingClassifier
    >>> from eegaug.search import FasterAutoAugmentSearch
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((24, 2, 300)).astype("float32")
    >>> y, subjects = np.arange(24) % 2, np.arange(24) // 6
    >>> trunk = StagingClassifier(sfreq=100, ch_names=["C3", "C4"], max_epochs=1, verbose=0)
    >>> search = FasterAutoAugmentSearch(trunk, operations="time-frequency", max_steps=2, random_state=0, verbose=0)
    >>> [len(sub.operations) for sub in search.fit(X, y, groups=subjects).policy_.sub_policies]
    [2, 2, 2, 2, 2]
    """

    name: ClassVar[str] = "faster-autoaugment"

    def __init__(
        self,
        estimator: Any = None,
        *,
        class_loss_weight: float = 0.1,
        gradient_penalty: float = 10.0,
        critic_lr: float = 1e-3,
        policy_lr: float = 1e-3,
        choice: str = "gumbel",
        temperature: float = 0.05,
        mask: str = "relaxed",
        mask_temperature: float = 0.5,
        initial_weights: str = "even",
        discretise: str = "argmax",
        max_steps: int = 20,
        **shared: Any,
    ):
        super().__init__(estimator, max_steps=max_steps, **shared)
        self.class_loss_weight = class_loss_weight
        self.gradient_penalty = gradient_penalty
        self.critic_lr = critic_lr
        self.policy_lr = policy_lr
        self.choice = choice
        self.temperature = temperature
        self.mask = mask
        self.mask_temperature = mask_temperature
        self.initial_weights = initial_weights
        self.discretise = discretise

    def operation_shares(self) -> pd.DataFrame:
        """How often each operation is applied to a window, by what has been learned so far.

        Returns
        -------
        DataFrame
            A row per operation, one column ``all``: weight times probability, summed over the stages of a sub-policy.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            In another process than the one that searched.
        """
        if self._running is None:
            raise NotFittedError(f"this {type(self).__name__} holds no search: ask in the process that fitted it.")
        stages = self._running.state.stages
        shares = (stages.weights[0] * stages.probabilities[0]).detach().mean(0).sum(0)
        return pd.DataFrame({"all": shares.cpu().double()}, index=[op.name for op in self.operations_])

    def _check(self, task: SearchTask) -> None:
        check_one_of(
            self, choice=CHOICES, mask=MASKS, initial_weights=("even", "random"), discretise=("argmax", "sample")
        )
        check_positive(self, "critic_lr", "policy_lr")
        for name in ("class_loss_weight", "gradient_penalty"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"{name} is {getattr(self, name)!r}; it has to be 0 or more.")
        if task.batch_size < 2:
            raise ValueError("batch_size is 1; Faster AutoAugment compares two halves of a batch: take 2 or more.")

    def _n_choices(self) -> int:
        return len(self.operations_)

    def _begin(self, task: SearchTask) -> SearchState:
        signal = task.signal
        trunk = task.new_trunk(derive_seed(task.seed, _CRITIC))
        critic = Critic(trunk, task.n_classes, signal.n_chans, signal.n_times).to(task.device).train()
        generator = torch.Generator().manual_seed(derive_seed(task.seed, _START))
        stages = Stages(
            task.operations,
            self.n_sub_policies,
            self.n_operations,
            choice=self.choice,
            temperature=self.temperature,
            mask=self.mask,
            mask_temperature=self.mask_temperature,
            initial=(0.0, 1.0),
            generator=generator,
        )
        if self.initial_weights == "random":
            for logits in stages.weight_logits:
                nn.init.uniform_(logits, generator=generator)
        stages.to(task.device).train()
        return SearchState(
            critic=critic,
            stages=stages,
            critic_optimizer=torch.optim.Adam(critic.parameters(), lr=float(self.critic_lr), betas=(0.0, 0.999)),
            policy_optimizer=torch.optim.Adam(stages.parameters(), lr=float(self.policy_lr), betas=(0.0, 0.999)),
        )

    def _step(self, task: SearchTask, state: SearchState) -> dict[str, Any]:
        criterion = task.new_criterion()
        row = means_over_windows(
            (len(X), self.update(task, state, criterion, (X, y))) for X, y in task.batches(task.train) if len(X) >= 2
        )
        refuse_divergence(row, len(self._rows) + 1, "Lower critic_lr.")
        return row | {"entropy": float(state.stages.entropy().mean())}

    def update(
        self, task: SearchTask, state: SearchState, criterion: nn.Module, train: tuple[Tensor, Tensor]
    ) -> dict[str, Tensor]:
        """One batch: a step of the critic, then one of the policy. Returns terms of their losses."""
        X, y = train
        generator, half = task.generator("policy"), len(X) // 2
        (real, labels), (original, labels_augmented) = (X[:half], y[:half]), (X[half:], y[half:])
        augmented = state.stages(original, generator=generator)
        loss, terms = critic_loss(
            state.critic,
            real,
            augmented,
            torch.rand(half, generator=generator, device=X.device),
            lambda logits: criterion(logits, labels),
            penalty_weight=self.gradient_penalty,
            class_weight=self.class_loss_weight,
        )
        state.critic_optimizer.zero_grad()
        loss.backward()
        state.critic_optimizer.step()
        # The same augmented windows serve both steps; their graph is not touched by the critic's.
        loss = policy_loss(
            state.critic,
            augmented,
            lambda logits: criterion(logits, labels_augmented),
            class_weight=self.class_loss_weight,
        )
        learned = list(state.stages.parameters())
        # Magnitudes have no gradient where no operation that is evaluated has one.
        for parameter, grad in zip(learned, torch.autograd.grad(loss, learned, allow_unused=True), strict=True):
            parameter.grad = grad
        state.policy_optimizer.step()
        state.stages.project_()
        task.n_forward_backward += 3
        return {
            "distance": terms["distance"],
            "gradient_penalty": terms["gradient_penalty"],
            "critic_class_loss": terms["class"],
            "policy_loss": loss.detach(),
        }

    def _policy(self, task: SearchTask, state: SearchState) -> Policy:
        # A generator of its own: asking for the policy must not change what the search does next.
        generator = torch.Generator().manual_seed(derive_seed(task.seed, _SAMPLE, len(self._rows)))
        sub_policies = state.stages.sub_policies(self.discretise, generator)[0]
        settings = self._about() | {"entropy": state.stages.entropy()[0].tolist()}
        return task.policy(sub_policies, searcher=self.name, settings=settings)
