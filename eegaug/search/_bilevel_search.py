"""What searches by hypergradient share: a network and a policy that learn in turns."""

from __future__ import annotations

import numbers
from typing import Any

import pandas as pd
import torch
from sklearn.exceptions import NotFittedError
from torch import Tensor, nn

from eegaug._convolutions import quick_convolutions
from eegaug.policy import BasePolicy, ClassPolicy
from eegaug.search._checks import check_one_of, check_positive
from eegaug.search._choices import Relax
from eegaug.search._divergence import refuse_divergence
from eegaug.search._state import SearchState
from eegaug.search._task import SearchTask
from eegaug.search.base import PolicySearch
from eegaug.search.bilevel import METHODS, PASSES, STEPS, Hypergradient, hypergradient, step_of

__all__ = ["BilevelSearch", "of_next_step"]

#: Of a time budget, how much the warm start may take at most.
_WARM_START_SHARE = 1 / 3


def of_next_step(
    search: Any,
    task: SearchTask,
    state: SearchState,
    criterion: nn.Module,
    train: tuple[Tensor, Tensor],
    plain: Tensor | None = None,
) -> Hypergradient:
    """The hypergradient of augmented windows, by the next step of the trunk and the next batch to validate on."""
    found = hypergradient(
        state.trunk,
        criterion,
        train,
        task.next_batch("valid"),
        method=search.hypergradient,
        seed=int(torch.randint(2**62, (), generator=task.generator("dropout", "cpu"))),
        plain=plain,
        **step_of(state.trunk_optimizer, state.trunk, search.inner_step),
    )
    task.n_forward_backward += PASSES[search.hypergradient]
    return found


class BilevelSearch(PolicySearch):
    """Base class of searches that follow the gradient of a validation loss through one step of training.

    A step is an epoch of the training part. For each of its batches the policy takes a step down the hypergradient,
    with the next batch of the validation part; then the network takes a training step on the batch, augmented anew.
    Before the search proper come the epochs of the warm start, without augmentation.
    """

    _choices: tuple[str, ...] = ()

    def __init__(
        self,
        estimator: Any = None,
        *,
        choice: str = "",
        class_wise: bool = False,
        pooled: bool = True,
        max_steps: int = 20,
        warm_start: int = 0,
        policy_lr: float = 5e-4,
        policy_betas: tuple[float, float] = (0.5, 0.999),
        hypergradient: str = "exact",
        inner_step: str = "normalised",
        **shared: Any,
    ):
        super().__init__(estimator, max_steps=max_steps, **shared)
        self.choice = choice
        self.class_wise = class_wise
        self.pooled = pooled
        self.warm_start = warm_start
        self.policy_lr = policy_lr
        self.policy_betas = policy_betas
        self.hypergradient = hypergradient
        self.inner_step = inner_step

    # To be written by a searcher -------------------------------------------------------------------------------------

    def _new_policy(self, task: SearchTask) -> nn.Module:
        """The learnable policy: ``augment_choices(X, y, generator)`` and what `PerClass` has."""
        raise NotImplementedError

    def _new_relax(self, task: SearchTask, policy: nn.Module) -> Relax:
        """RELAX for the policy's choices and decisions."""
        raise NotImplementedError

    def _sub_policies(self, task: SearchTask, policy: nn.Module) -> list[list[Any]]:
        """For each class (or one in all) the sub-policies found."""
        raise NotImplementedError

    def _shares(self, policy: nn.Module) -> Tensor:
        """How often each operation is applied to a window, shape (classes or 1, n_operations)."""
        raise NotImplementedError

    def _columns(self, policy: nn.Module) -> dict[str, float]:
        """Columns of the history that tell of the policy."""
        return {}

    def _remarks(self, policy: nn.Module) -> dict[str, Any]:
        """What a policy's settings say of how it was found, as plain data."""
        return {}

    def operation_shares(self) -> pd.DataFrame:
        """How often each operation is applied to a window, by what has been learned so far.

        Unlike `policy_`, which keeps the operations of largest weight, this tells of all of them.

        Returns
        -------
        DataFrame
            A row per operation. Columns: ``all``, or the classes.
        """
        if self._running is None:
            raise NotFittedError(f"this {type(self).__name__} holds no search: ask in the process that fitted it.")
        shares = self._shares(self._running.state.policy).detach().cpu().double().numpy()
        names = [op.name for op in self.operations_]
        return pd.DataFrame(shares.T, index=names, columns=self.classes_ if self.class_wise else ["all"])

    # Hooks of the base class -----------------------------------------------------------------------------------------

    def _check(self, task: SearchTask) -> None:
        check_one_of(self, choice=self._choices, hypergradient=METHODS, inner_step=STEPS)
        check_positive(self, "policy_lr")
        betas = self.policy_betas
        if not isinstance(betas, (tuple, list)) or len(betas) != 2 or not all(map(_is_share, betas)):
            raise ValueError(f"policy_betas is {betas!r}; it is two numbers in [0, 1).")
        if self.warm_start < 0:
            raise ValueError(f"warm_start is {self.warm_start!r}; it is a number of epochs, 0 or more.")

    def _n_choices(self) -> int:
        return len(self.operations_)

    def _n_steps_before(self) -> int:
        return max(0, self.warm_start)  # below 0 is refused by name, in _check

    def _next_phase(self) -> str:
        begun = any(row["phase"] == "search" for row in self._rows)
        if begun or len(self._rows) >= self.warm_start:
            return "search"
        budget = self._running.budget
        spent = sum(row["seconds"] for row in self._rows)
        return "warm start" if budget is None or spent < _WARM_START_SHARE * budget else "search"

    def _begin(self, task: SearchTask) -> SearchState:
        trunk, policy = task.new_trunk(), self._new_policy(task).to(task.device)
        state = SearchState(
            trunk=trunk,
            trunk_optimizer=task.new_optimizer(trunk),
            policy=policy,
            policy_optimizer=self._adam(policy),
        )
        if self.choice == "relax":
            state.relax = self._new_relax(task, policy).to(task.device)
            state.relax_optimizer = self._adam(state.relax, 5e-3)
        return state

    def _adam(self, module: nn.Module, lr: float | None = None) -> torch.optim.Optimizer:
        betas = tuple(map(float, self.policy_betas))
        return torch.optim.Adam(module.parameters(), lr=float(self.policy_lr if lr is None else lr), betas=betas)

    def _step(self, task: SearchTask, state: SearchState) -> dict[str, Any]:
        criterion = task.new_criterion()
        warming = self._next_phase() != "search"
        losses: dict[str, list[Tensor]] = {"train_loss": []} | ({} if warming else {"valid_loss": []})
        for X, y in task.batches(task.train):
            if not warming:
                losses["valid_loss"].append(self.update_policy(task, state, criterion, (X, y)).valid_loss)
            losses["train_loss"].append(self.update_trunk(task, state, criterion, (X, y), augmented=not warming))
        row: dict[str, Any] = {name: float(torch.stack(each).mean()) for name, each in losses.items()}
        remedy = f"Lower the estimator's lr (now {_lr(state.trunk_optimizer):g})."
        refuse_divergence(row, len(self._rows) + 1, remedy)
        return {"phase": self._next_phase()} | row | self._columns(state.policy)

    def update_policy(
        self, task: SearchTask, state: SearchState, criterion: nn.Module, train: tuple[Tensor, Tensor]
    ) -> Hypergradient:
        """One step of the policy, from a training batch and the next validation batch."""
        X, y = train
        augmented, choices = state.policy.augment_choices(X, y, task.generator("policy"))
        plain = None if choices is None else X
        found = of_next_step(self, task, state, criterion, (augmented, y), plain=plain)
        state.policy_optimizer.zero_grad()
        if augmented.requires_grad:
            augmented.backward(found.X)
        if choices is not None:
            parameters = list(state.policy.parameters())
            values = state.relax.beyond(found.examples, found.plain_examples)
            more = state.relax.learn(values, choices, parameters, state.relax_optimizer)
            for parameter, grad in zip(parameters, more, strict=True):
                parameter.grad = grad if parameter.grad is None else parameter.grad + grad
        if self.class_wise and self.pooled:
            state.policy.pool()
        else:
            state.policy.forget_absent(y)
        state.policy_optimizer.step()
        state.policy.project_()
        return found

    def update_trunk(
        self,
        task: SearchTask,
        state: SearchState,
        criterion: nn.Module,
        train: tuple[Tensor, Tensor],
        augmented: bool = True,
    ) -> Tensor:
        """One training step of the network, with the policy as it is now."""
        X, y = train
        if augmented:
            with torch.no_grad():
                X, _ = state.policy.augment_choices(X, y, task.generator("policy"))
        state.trunk_optimizer.zero_grad()
        with quick_convolutions():
            loss = criterion(state.trunk(X), y)
        loss.backward()
        state.trunk_optimizer.step()
        task.n_forward_backward += 1
        return loss.detach()

    def _about(self) -> dict[str, Any]:
        return super()._about() | self._remarks(self._running.state.policy)

    def _policy(self, task: SearchTask, state: SearchState) -> BasePolicy:
        found = self._sub_policies(task, state.policy)
        if not self.class_wise:
            return self._as_policy(task, found[0])
        return ClassPolicy(
            classes=self.classes_.tolist(),
            policies=[task.policy(sub_policies) for sub_policies in found],
            sfreq=task.signal.sfreq,
            ch_names=task.signal.ch_names,
            positions=task.positions,
            searcher=f"class-wise {self.name}",
            settings=self._about(),
        )


def _is_share(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool) and 0 <= value < 1


def _lr(optimizer: torch.optim.Optimizer) -> float:
    return float(optimizer.param_groups[0]["lr"])
