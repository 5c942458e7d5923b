"""Searches whose step is a whole training with a proposed policy."""

from __future__ import annotations

import os
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from joblib import Parallel, delayed, effective_n_jobs
from joblib.parallel import ThreadingBackend, get_active_backend
from skorch.callbacks import Callback, EarlyStopping
from skorch.dataset import Dataset
from skorch.helper import predefined_split
from skorch.utils import is_dataset

from eegaug._early_stopping import SCORE, early_stopping, validation_score
from eegaug._processes import working_for
from eegaug.checkpoint import TrainingCheckpoint
from eegaug.policies import Policy
from eegaug.search._checks import check_one_of
from eegaug.search._state import SearchState
from eegaug.search._task import Part, SearchTask, Steps, callback_of
from eegaug.search.base import PolicySearch

__all__ = ["TrialSearch", "run_trial", "seconds_each", "validated_estimator", "with_names"]


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
    n_jobs : int | None
        Trials at a time, in processes of their own, through joblib's current backend.
    **shared
        See :class:`PolicySearch`.
    """

    _free = PolicySearch._free | {"n_jobs"}

    def __init__(
        self,
        estimator: Any = None,
        *,
        trial_unit: str = "policy",
        patience: int | None = 30,
        n_jobs: int | None = None,
        **shared: Any,
    ):
        super().__init__(estimator, **shared)
        self.trial_unit = trial_unit
        self.patience = patience
        self.n_jobs = n_jobs

    def _propose(self, task: SearchTask, state: Any) -> list[Steps]:
        """What to try next."""
        raise NotImplementedError

    def _check(self, task: SearchTask) -> None:
        check_one_of(self, trial_unit=("policy", "sub_policy"))
        if self.n_jobs == 0:
            raise ValueError("n_jobs is 0; it is 1 or more, or -1 for all cores.")

    def _per_trial(self) -> int:
        return 1 if self.trial_unit == "sub_policy" else self.n_sub_policies

    def _per_policy(self) -> int:
        """How many of the best trials make a policy."""
        return self.n_sub_policies if self.trial_unit == "sub_policy" else 1

    def _begin(self, task: SearchTask) -> SearchState:
        return SearchState(best=[], waiting=[])

    def _step(self, task: SearchTask, state: Any) -> dict[str, Any]:
        if not state.waiting:
            began = time.perf_counter()
            proposed = [self._propose(task, state) for _ in range(self._at_a_time())]
            results = self._train(task, proposed)
            seconds = seconds_each(began, results)
            state.waiting = [
                {"steps": [[list(step) for step in steps] for steps in subs], "seconds": seconds, **result}
                for subs, result in zip(proposed, results, strict=True)
            ]
        result = state.waiting.pop(0)
        task.n_forward_backward += result["passes"]
        one = {"score": result["score"], "steps": result["steps"]}
        state.best = sorted([*state.best, one], key=lambda trial: -trial["score"])[: self._per_policy()]
        return self._row(task, result["steps"], result, state.best[0]["score"]) | {"seconds": result["seconds"]}

    def _row(self, task: SearchTask, steps: list[Steps], result: dict[str, Any], best: float | None) -> dict[str, Any]:
        told = with_names(task, steps)
        return {"score": result["score"], "best_score": best, "epochs": result["epochs"], "trial": told}

    def _policy(self, task: SearchTask, state: Any) -> Policy:
        steps = [steps for trial in state.best for steps in trial["steps"]]
        return self._as_policy(task, steps) if steps else task.identity()

    def _expected_seconds(self) -> float:
        if getattr(self._running.state, "waiting", None):
            return 0.0  # done already, in the same round as the last
        return self._at_a_time() * max((row["seconds"] for row in self._rows[-5:]), default=0.0)

    # Training --------------------------------------------------------------------------------------------------------

    def _at_a_time(self) -> int:
        if self.n_jobs in (None, 1):
            return 1
        return max(1, min(effective_n_jobs(self.n_jobs), self._running.n_steps - len(self._rows)))

    def _train(
        self, task: SearchTask, proposed: list[list[Steps]], stop: Callable[[list[float]], bool] | None = None
    ) -> list[dict[str, Any]]:
        """What trainings with the proposed policies come to: see :func:`run_trial`."""
        file, first = self._running.file, len(self._rows) + 1
        # Named by what it tries: what a killed search left of a trial goes on only if the same is proposed again.
        names = [f"trial-{first + i}-{zlib.crc32(repr(steps).encode()):08x}" for i, steps in enumerate(proposed)]
        paths = [None if file is None else file.beside(name) for name in names]
        jobs = []
        for steps, path in zip(proposed, paths, strict=True):
            callbacks = [] if stop is None else [("ends", EndTrial(stop))]
            estimator = validated_estimator(
                task, task.policy(steps), patience=self.patience, checkpoint=path, callbacks=callbacks
            )
            jobs.append((estimator, task.train.windows, task.train.labels))
        if len(jobs) == 1:
            results = [run_trial(*jobs[0])]
        else:
            # In threads, which joblib takes inside of its own workers, trainings would mix up their random numbers.
            threads = isinstance(get_active_backend()[0], ThreadingBackend)
            # Copy-on-write: torch warns of arrays that cannot be written to.
            work = Parallel(n_jobs=self.n_jobs, mmap_mode="c", backend="loky" if threads else None)
            results = work(delayed(working_for)(os.getpid(), run_trial, *job) for job in jobs)
        if file is not None:
            file.remove("trial-")
        return results


def with_names(task: SearchTask, steps: list[Steps]) -> list[Any]:
    """Sub-policies whose operations are told by their names, not their numbers."""
    return [[[task.operations[op].name, p, magnitude] for op, p, magnitude in sub] for sub in steps]


def run_trial(estimator: Any, windows: Any, labels: Any) -> dict[str, Any]:
    """Train an estimator of :func:`validated_estimator`.

    Returns
    -------
    dict
        ``score`` (the best balanced accuracy), ``curve`` (one of each epoch), ``epochs``, ``passes``, ``pruned``:
        whether it was ended as hopeless, and ``earlier_seconds``: time of epochs that a checkpoint brought.
    """
    pruned = False
    try:
        estimator.fit(windows, labels)
    except HopelessTrialError:
        pruned = True
    if estimator.interrupted_:
        raise KeyboardInterrupt
    curve = [float(epoch[SCORE]) for epoch in estimator.history if SCORE in epoch]
    earlier = sum(epoch.get("dur", 0.0) for epoch in estimator.history[: estimator.resumed_epochs_])
    facts = {"passes": estimator.n_forward_backward_, "pruned": pruned, "earlier_seconds": float(earlier)}
    return {"score": max(curve), "curve": curve, "epochs": len(curve)} | facts


def seconds_each(began: float, results: Sequence[Mapping[str, Any]]) -> float:
    """Time that trainings side by side took each, with that of processes that were killed in the middle of them."""
    earlier = max(result.get("earlier_seconds", 0.0) for result in results)
    return (time.perf_counter() - began + earlier) / len(results)


class HopelessTrialError(Exception):
    """A trial is not worth going on with."""


class EndTrial(Callback):
    """End a training whose scores so far say that it is hopeless.

    Parameters
    ----------
    hopeless : callable
        Asked after each epoch with the list of scores so far.
    """

    def __init__(self, hopeless: Callable[[list[float]], bool]):
        self.hopeless = hopeless

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Ask."""
        if self.hopeless([float(epoch[SCORE]) for epoch in net.history]):
            raise HopelessTrialError


def validated_estimator(
    task: SearchTask,
    policy: Any = None,
    *,
    patience: int | None = None,
    checkpoint: Any = None,
    callbacks: Sequence[Any] = (),
    valid: Part | None = None,
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
        steps.append((SCORE, validation_score()))
    steps += [*given, *callbacks]
    if patience is not None and not any(isinstance(callback_of(cb), EarlyStopping) for cb in given):
        steps.append(("early_stopping", early_stopping(patience)))
    if checkpoint is not None:
        steps.append(("checkpoint", TrainingCheckpoint(checkpoint, renew_damaged=True)))
    return estimator.set_params(callbacks=steps)


def _as_dataset(part: Part) -> Any:
    return part.windows if is_dataset(part.windows) else Dataset(part.windows, part.labels)
