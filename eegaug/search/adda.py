"""ADDA and CADDA: differentiable stages of operations, learned through one step of training."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from eegaug._random import derive_seed
from eegaug.search._bilevel_search import BilevelSearch
from eegaug.search._checks import check_one_of
from eegaug.search._choices import Choices, Relax, draw_choices
from eegaug.search._task import SearchTask
from eegaug.search.stages import Stages, draw_stage, mix_stage

__all__ = ["ADDASearch"]


class ADDASearch(BilevelSearch):
    """Learn weights, probabilities and magnitudes of operations by the gradient of a validation loss.

    Each sub-policy is a sequence of stages, each a choice between all operations. For every training batch the policy
    takes a step down the gradient of the loss on held-out subjects, through one step of training on the augmented
    batch; then the network takes a training step on the batch, augmented anew. With ``class_wise=True`` (CADDA) each
    class has sub-policies of its own.

    Parameters
    ----------
    estimator
        See :class:`PolicySearch`. Its network, batch size, optimiser and class weights are those of the search too.
    choice : {"softmax", "gumbel", "relax"}
        How a stage chooses. ``"softmax"``: the sum of all operations by their weights; ``"gumbel"``: one operation a
        window, with a straight-through gradient to all weights; ``"relax"``: one operation a window, with RELAX's
        unbiased gradient from what training on the window was worth.
    class_wise : bool
        Whether each class has a policy of its own; then `policy_` is a :class:`eegaug.policy.ClassPolicy`.
    pooled : bool
        Whether classes learn from each other: each value of a class is its own plus one that all have in common, and
        both learn, so that a class differs from the others as far as its windows ask for it. False, as in the paper:
        each class from its own windows, and none where a batch has no window of it. Of no account for one policy.
    max_steps : int
        Epochs of the search.
    warm_start : int
        Epochs of training without augmentation before the search. They leave the policy as it is, and are steps of the
        history whose ``phase`` is "warm start". With a `time_budget` they end when they have taken a third of it.
    policy_lr, policy_betas
        Adam of the policy.
    temperature : float
        Of the weights of a stage.
    mask : {"relaxed", "linear", "soft"}
        How the gradient passes the decision to apply an operation, see :class:`eegaug.search.stages.Stages`. Of no
        account for ``choice="relax"``.
    hypergradient : {"exact", "finite_difference"}
        See :func:`eegaug.search.bilevel.unrolled_gradient`. Finite differences are what the papers use.
    inner_step : {"normalised", "gradient", "adam"}
        The step of training that is differentiated. ``"normalised"``: its length does not depend on the policy;
        ``"gradient"``: as in the papers, which also rewards operations for making the gradient larger, as noise does;
        ``"adam"``: each entry scaled as the optimiser does.
    discretise : {"argmax", "sample"}
        The operation of each stage in `policy_`: the one of largest weight, or one drawn from the weights.
    **shared
        See :class:`PolicySearch`.

    Attributes
    ----------
    policy_ : Policy or ClassPolicy
        ``settings["entropy"]`` is the entropy in nats of each stage's weights: where it is near the logarithm of the
        number of operations, the operation chosen is arbitrary.
    history_ : DataFrame
        A row per epoch: ``train_loss`` (of augmented batches), ``valid_loss`` (of validation batches, after the step
        that is differentiated), mean ``entropy``, and what :class:`PolicySearch` says.

    Notes
    -----
    A window takes one of the sub-policies, drawn uniformly. For ``choice="relax"`` the worth of a window is the
    derivative of the validation loss to its weight in the training loss, which tells the windows of a batch apart,
    beyond what the same window is worth without augmentation, as far as earlier batches tell: that is most of it, and
    no matter of the policy.

    In a sum of operations a window and its inverted or reversed self cancel, so that ``"softmax"`` may find sign flip
    and time reverse worse than they are while weights are even; choices that are drawn do not mix them. ``"gumbel"``
    judges the operations that were not drawn by the slope at the one that was, which says little of those that change
    a window much: where useful and destructive operations were known, it told them apart no better than chance.

    References
    ----------
    .. [1] Rommel, Moreau, Paillard and Gramfort (2022). CADDA: class-wise automatic differentiable data augmentation
       for EEG signals. ICLR.
    .. [2] Hataya, Zdenek, Yoshizoe and Nakayama (2020). Faster AutoAugment. ECCV: the stages.
    .. [3] Grathwohl, Choi, Wu, Roeder and Duvenaud (2018). Backpropagation through the void. ICLR: RELAX.

    Examples
    --------
    >>> import numpy as np
    >>> from eegaug import StagingClassifier
    >>> from eegaug.search import ADDASearch
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((24, 2, 300)).astype("float32")
    >>> y, subjects = np.arange(24) % 2, np.arange(24) // 6
    >>> trunk = StagingClassifier(sfreq=100, ch_names=["C3", "C4"], max_epochs=1, verbose=0)
    >>> search = ADDASearch(
    ...     trunk, operations=["sign_flip", "gaussian_noise"], max_steps=2, warm_start=1, random_state=0, verbose=0
    ... )
    >>> search.fit(X, y, groups=subjects).history_["phase"].tolist()
    ['warm start', 'search', 'search']
    >>> [len(sub.operations) for sub in search.policy_.sub_policies]
    [2, 2, 2, 2, 2]
    """

    name: ClassVar[str] = "adda"
    _choices = ("softmax", "gumbel", "relax")

    def __init__(
        self,
        estimator: Any = None,
        *,
        choice: str = "softmax",
        warm_start: int = 20,
        policy_lr: float = 5e-4,
        temperature: float = 0.05,
        mask: str = "relaxed",
        discretise: str = "argmax",
        **shared: Any,
    ):
        super().__init__(estimator, choice=choice, warm_start=warm_start, policy_lr=policy_lr, **shared)
        self.temperature = temperature
        self.mask = mask
        self.discretise = discretise

    def _check(self, task: SearchTask) -> None:
        super()._check(task)
        check_one_of(self, discretise=("argmax", "sample"))

    def _new_policy(self, task: SearchTask) -> SearchedStages:
        return SearchedStages(
            task.operations,
            self.n_sub_policies,
            self.n_operations,
            task.n_classes if self.class_wise else None,
            choice="softmax" if self.choice == "relax" else self.choice,
            temperature=self.temperature,
            mask=self.mask,
            generator=task.generator("policy start", "cpu"),
            relax=self.choice == "relax",
        )

    def _new_relax(self, task: SearchTask, policy: SearchedStages) -> Relax:
        return Relax([len(task.operations)] * policy.n_stages, policy.n_stages, policy.n_rows)

    def _sub_policies(self, task: SearchTask, policy: SearchedStages) -> list[list[Any]]:
        # Asking for the policy must not change what a later step draws.
        generator = torch.Generator().manual_seed(derive_seed(task.seed, len(self._rows)))
        return policy.sub_policies(self.discretise, generator)

    def _shares(self, policy: SearchedStages) -> Tensor:
        return (policy.weights * torch.stack(list(policy.probabilities))).mean(1).sum(1)

    def _columns(self, policy: SearchedStages) -> dict[str, float]:
        return {"entropy": float(policy.entropy().mean())}

    def _remarks(self, policy: SearchedStages) -> dict[str, Any]:
        entropy = policy.entropy() if self.class_wise else policy.entropy()[0]
        return {"entropy": (entropy.cpu().double() * 1e4).round().div(1e4).tolist()}


class SearchedStages(Stages):
    """Stages of a search by hypergradient, whose choices RELAX may make.

    Parameters
    ----------
    operations, n_sub_policies, n_operations, n_classes, **settings
        See :class:`eegaug.search.stages.Stages`.
    relax : bool
        Whether choices and decisions are plain draws, for :class:`eegaug.search._choices.Relax`.
    """

    def __init__(self, *settings: Any, relax: bool = False, **more: Any):
        super().__init__(*settings, **more)
        self.relax = relax

    @property
    def n_rows(self) -> int:
        """Sub-policies of all classes."""
        return self.n_sub_policies * (self.n_classes or 1)

    def augment_choices(
        self, X: Tensor, y: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Choices | None]:
        """Augmented windows, and the draws that RELAX needs."""
        if not self.relax:
            return self(X, y, generator), None
        rows = self.draw_rows(len(X), y, generator, X.device)
        log_probs = [self.log_weights(k, rows) for k in range(self.n_stages)]

        def probabilities(index: Any) -> Tensor:
            chosen = [self.of(self.probabilities, k, rows).gather(1, i[:, None]) for k, i in enumerate(index)]
            return torch.cat(chosen, dim=1)

        context = torch.nn.functional.one_hot(rows, self.n_rows).to(X.dtype)
        choices = draw_choices(log_probs, probabilities, context, generator)
        for k, index in enumerate(choices.index):
            weights = torch.nn.functional.one_hot(index, len(self.operations)).to(X.dtype)
            active = index.unique().tolist() if X.device.type == "cpu" else None
            draw = draw_stage(self.operations, tuple(X.shape), generator, X.device, active)
            magnitudes = self.of(self.magnitudes, k, rows)
            X = mix_stage(self.operations, X, weights, weights * choices.b[:, k, None], magnitudes, draw.noise)
        return X, choices
