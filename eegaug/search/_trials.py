"""Searches whose step is a whole training with a proposed policy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from skorch.callbacks import EarlyStopping, EpochScoring
from skorch.dataset import Dataset
from skorch.helper import predefined_split
from skorch.utils import is_dataset

from eegaug.checkpoint import TrainingCheckpoint
from eegaug.policy import Policy
from eegaug.search._task import SearchState, SearchTask, callback_of
from eegaug.search.base import PolicySearch

__all__ = ["TrialSearch"]

SCORE = "valid_balanced_accuracy"
#: A sub-policy as a searcher proposes it: (index of the operation, probability, magnitude) of each step.
Steps = Sequence[tuple[int, float, float]]


class TrialSearch(PolicySearch):
    """A search that trains a network from scratch with each policy that it tries.

    A subclass says what to try next. The score of a trial is the best balanced accuracy on the held-out subjects over
    the epochs of its training. All trials start from the same weights: they differ by their policies.

    Parameters
    ----------
    estimator
        See :class:`PolicySearch`; its ``max_epochs`` bounds each trial.
    trial_unit : {"policy", "sub_policy"}
        What a trial is trained with: a whole policy, the best of which is returned; or one sub-policy, and the
        ``n_sub_policies`` best of them make the policy.
    patience : int | None
        A trial ends when its score has not risen for so many epochs; None: never. An early stopping of the estimator's
        own takes its place.
    **shared
        See :class:`PolicySearch`.
    """

    def __init__(self, estimator: Any = None, *, trial_unit: str = "policy", patience: int | None = 30, **shared: Any):
        super().__init__(estimator, **shared)
        self.trial_unit = trial_unit
        self.patience = patience

    def _propose(self, task: SearchTask, state: Any, n_sub_policies: int) -> list[Steps]:
        """What to try next."""
        raise NotImplementedError

    def _check(self, task: SearchTask) -> None:
        if self.trial_unit not in ("policy", "sub_policy"):
            raise ValueError(f"trial_unit is {self.trial_unit!r}; use 'policy' or 'sub_policy'.")
        for name in ("n_sub_policies", "n_operations"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it is 1 or more.")

    def _per_trial(self) -> int:
        return 1 if self.trial_unit == "sub_policy" else self.n_sub_policies

    def _begin(self, task: SearchTask) -> SearchState:
        return SearchState(best=[])

    def _step(self, task: SearchTask, state: Any) -> dict[str, Any]:
        proposed = self._propose(task, state, self._per_trial())
        score, epochs = self._train(task, proposed)
        self._note(state, proposed, score)
        return {
            "score": score,
            "best_score": state.best[0]["score"],
            "epochs": epochs,
            "trial": [[[task.operations[op].name, p, magnitude] for op, p, magnitude in steps] for steps in proposed],
        }

    def _note(self, state: Any, proposed: list[Steps], score: float) -> None:
        """Keep as many of the best trials as the policy is made of; of equals the first."""
        keep = self.n_sub_policies if self.trial_unit == "sub_policy" else 1
        trial = {"score": score, "steps": [[list(step) for step in steps] for steps in proposed]}
        state.best = sorted([*state.best, trial], key=lambda one: -one["score"])[:keep]

    def _policy(self, task: SearchTask, state: Any) -> Policy:
        steps = [steps for trial in state.best for steps in trial["steps"]]
        return self._as_policy(task, steps) if steps else task.identity()

    def _train(self, task: SearchTask, proposed: list[Steps], callbacks: Sequence[Any] = ()) -> tuple[float, int]:
        """Best score and epochs of a training with the proposed policy."""
        file = self._running.file
        path = None if file is None else file.beside("trial")
        estimator = validated_estimator(
            task, task.policy(proposed), patience=self.patience, checkpoint=path, callbacks=callbacks
        )
        estimator.fit(task.train.windows, task.train.labels)
        task.n_forward_backward += estimator.n_forward_backward_
        if estimator.interrupted_:
            raise KeyboardInterrupt
        if path is not None:
            path.unlink(missing_ok=True)
        scores = [float(epoch[SCORE]) for epoch in estimator.history if SCORE in epoch]
        return max(scores), len(scores)


def validated_estimator(
    task: SearchTask,
    policy: Any = None,
    *,
    patience: int | None = None,
    checkpoint: Any = None,
    callbacks: Sequence[Any] = (),
    valid: Any = None,
    seed: int | None = None,
) -> Any:
    """An estimator that is scored on held-out subjects after each epoch and stops on that score.

    Parameters
    ----------
    task : SearchTask
    policy : Policy | None
    patience : int | None
        See :class:`TrialSearch`.
    checkpoint : path-like | None
        From which a training that was killed goes on.
    callbacks : sequence
        More, after the score and before the end of training is decided.
    valid : Part | None
        Held-out windows; None: the task's.
    seed : int | None

    Returns
    -------
    StagingClassifier
        Unfitted; its history will have the column ``valid_balanced_accuracy``.
    """
    valid = task.valid if valid is None else valid
    estimator = task.new_estimator(policy, seed, train_split=predefined_split(_as_dataset(valid)), verbose=0)
    given = [cb for cb in estimator.callbacks or [] if not isinstance(cb, str)]
    names = {getattr(callback_of(cb), "name", None) for cb in given}
    steps: list[Any] = []
    if SCORE not in names:
        steps.append((SCORE, EpochScoring("balanced_accuracy", lower_is_better=False, on_train=False, name=SCORE)))
    steps += [*given, *callbacks]
    if patience is not None and not any(isinstance(callback_of(cb), EarlyStopping) for cb in given):
        # threshold 0: "best" is then the highest score, the first one where several are equal.
        stopping = EarlyStopping(
            SCORE, patience=patience, threshold=0, lower_is_better=False, load_best=True, sink=_silent
        )
        steps.append(("early_stopping", stopping))
    if checkpoint is not None:
        steps.append(("checkpoint", TrainingCheckpoint(checkpoint)))
    return estimator.set_params(callbacks=steps)


def _as_dataset(part: Any) -> Any:
    return part.windows if is_dataset(part.windows) else Dataset(part.windows, part.labels)


def _silent(*args: Any, **kwargs: Any) -> None:
    """Say nothing."""
