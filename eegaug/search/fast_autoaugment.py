"""Fast AutoAugment: policies whose augmented windows a fixed network still recognises."""

from __future__ import annotations

import math
import numbers
import time
import warnings
from typing import Any, ClassVar

import numpy as np
import torch

from eegaug._random import derive_seed
from eegaug.policies import Policy
from eegaug.search._checks import check_one_of
from eegaug.search._split import hold_out
from eegaug.search._task import SPLIT, TRIALS, Part, SearchTask
from eegaug.search._tpe import PolicyStudy, require_optuna
from eegaug.search._trials import run_trial, seconds_each, validated_estimator, with_names
from eegaug.search.base import PolicySearch

__all__ = ["FastAutoAugmentSearch"]


class FastAutoAugmentSearch(PolicySearch):
    """Look for policies under which held-out windows look like training windows to a network (density matching).

    A network is trained without augmentation on each of several splits by subject. Then policies are proposed by a
    tree-structured Parzen estimator (TPE) and scored by how well the network, which stays as it is, classifies
    augmented held-out windows: a trial is forward passes only. The best policies of all splits are merged.

    Needs optuna (``pip install 'eegaug[search]'``).

    Parameters
    ----------
    estimator
        See :class:`PolicySearch`; its ``max_epochs`` bounds the trainings.
    max_steps : int
        Trials, dealt out to the splits in turn. The trainings before them come on top.
    n_folds : int
        Splits. The first is that of ``valid_size``, the others are drawn likewise. With 1, all trials use one network.
    valid_size : float | int | sequence
        Subjects of each split that the network is not trained on: their fraction, their number or, with one split,
        their names.
    aggregate : {"mean", "max"}
        ``"mean"``: the balanced accuracy on augmented windows, averaged over copies. ``"max"``: a window counts if any
        of its copies is recognised.
    n_copies : int
        Copies of the held-out windows, each augmented anew.
    n_best : int
        Policies of each split that are merged: so many, but no more than a tenth of those tried, rounded up.
    patience : int | None
        A training ends when balanced accuracy on its held-out subjects has not risen for so many epochs; None: never.
    n_startup_trials : int
        Trials of each split drawn at random before TPE is used.
    **shared
        See :class:`PolicySearch`.

    Attributes
    ----------
    history_ : DataFrame
        A row per training (``phase`` "pre-training": ``fold``, ``score``, ``epochs``) and per trial (``fold``,
        ``score``, ``best_score`` of the fold so far, ``n_forward`` batches, ``trial``).

    Raises
    ------
    ImportError
        In ``fit``, if optuna is missing.

    References
    ----------
    Lim, Kim, Kim, Kim and Kim (2019), Fast AutoAugment, NeurIPS: five splits with a share of 0.4 held out, five copies,
    the ten best of 200 trials of each split, and "max".

    Examples
    --------
    >>> import numpy as np
    >>> from eegaug import StagingClassifier
    >>> from eegaug.search import FastAutoAugmentSearch
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((24, 2, 300)).astype("float32")
    >>> y, subjects = np.arange(24) % 2, np.arange(24) // 6
    >>> trunk = StagingClassifier(sfreq=100, ch_names=["C3", "C4"], max_epochs=1, verbose=0)
    >>> search = FastAutoAugmentSearch(trunk, operations=["sign_flip", "gaussian_noise"], n_folds=2, max_steps=4,
    ...                                random_state=0, verbose=0)
    >>> search.fit(X, y, groups=subjects).history_["phase"].value_counts().to_dict()
    {'search': 4, 'pre-training': 2}
    >>> len(search.policy_.sub_policies)
    10
    """

    name: ClassVar[str] = "fast-autoaugment"

    def __init__(
        self,
        estimator: Any = None,
        *,
        max_steps: int = 500,
        n_folds: int = 5,
        valid_size: Any = 0.4,
        aggregate: str = "mean",
        n_copies: int = 5,
        n_best: int = 10,
        patience: int | None = 30,
        n_startup_trials: int = 10,
        **shared: Any,
    ):
        super().__init__(estimator, max_steps=max_steps, valid_size=valid_size, **shared)
        self.n_folds = n_folds
        self.aggregate = aggregate
        self.n_copies = n_copies
        self.n_best = n_best
        self.patience = patience
        self.n_startup_trials = n_startup_trials

    def _n_steps_before(self) -> int:
        return self.n_folds

    def _next_phase(self) -> str:
        return "pre-training" if len(self._rows) < self.n_folds else "search"

    def _check(self, task: SearchTask) -> None:
        require_optuna(type(self).__name__)
        for name in ("n_folds", "n_copies", "n_best"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it is 1 or more.")
        check_one_of(self, aggregate=("mean", "max"))
        if self.n_folds > 1 and not isinstance(self.valid_size, numbers.Real):
            raise ValueError(f"n_folds={self.n_folds} splits cannot all hold out the subjects of valid_size; use 1.")

    def _begin(self, task: SearchTask) -> _Folds:
        rows = []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # said once, of the first split
            for i in range(1, self.n_folds):
                seed = derive_seed(task.seed, SPLIT, i)
                rows.append(hold_out(task.data.labels, task.data.groups, self.valid_size, seed))
        names = [op.name for op in task.operations]
        studies = [
            PolicyStudy(
                names,
                self.n_sub_policies,
                self.n_operations,
                derive_seed(task.seed, TRIALS, i),
                n_startup_trials=self.n_startup_trials,
            )
            for i in range(self.n_folds)
        ]
        return _Folds(task, rows, studies)

    def _step(self, task: SearchTask, state: _Folds) -> dict[str, Any]:
        done = len(self._rows)
        if done < self.n_folds:
            began = time.perf_counter()
            result = self._train_fold(task, state, done)
            task.n_forward_backward += result["passes"]
            row = {"phase": "pre-training", "seconds": seconds_each(began, [result]), "fold": done}
            return row | {"score": result["score"], "epochs": result["epochs"]}
        fold = (done - self.n_folds) % self.n_folds
        if state.networks[fold] is None:
            self._train_fold(task, state, fold)  # done before: its checkpoint has the result
        study = state.studies[fold]
        trial, steps = study.ask()
        try:
            score, n_forward = density_match(
                task,
                state.networks[fold],
                state.part(fold, "valid"),
                task.policy(steps),
                n_copies=self.n_copies,
                aggregate=self.aggregate,
                generator=task.generator("copies"),
            )
        except BaseException:
            study.drop(trial)
            raise
        study.tell(trial, score=score)
        study.new()
        best, told = study.best(1)[0].value, with_names(task, steps)
        return {"fold": fold, "score": score, "best_score": best, "n_forward": n_forward, "trial": told}

    def _train_fold(self, task: SearchTask, state: _Folds, fold: int) -> dict[str, Any]:
        file = self._running.file
        estimator = validated_estimator(
            task,
            patience=self.patience,
            checkpoint=None if file is None else file.beside(f"fold-{fold}"),
            valid=state.part(fold, "valid"),
            seed=derive_seed(task.seed, SPLIT, fold),
        )
        train = state.part(fold, "train")
        result = run_trial(estimator, train.windows, train.labels)
        estimator.train_split = None  # it holds the windows
        state.networks[fold] = estimator
        return result

    def _policy(self, task: SearchTask, state: _Folds) -> Policy:
        merged: dict[Any, None] = {}
        for study in state.studies:
            n = min(self.n_best, math.ceil(len(study.finished()) / 10))
            for trial in study.best(n):
                merged.update(dict.fromkeys(map(task.sub_policy, study.steps(trial.params))))
        return self._as_policy(task, list(merged)) if merged else task.identity()


@torch.no_grad()
def density_match(
    task: SearchTask,
    estimator: Any,
    part: Part,
    policy: Policy,
    *,
    n_copies: int = 5,
    aggregate: str = "mean",
    generator: torch.Generator | None = None,
) -> tuple[float, int]:
    """How well a fixed network classifies augmented windows.

    Parameters
    ----------
    task : SearchTask
    estimator : fitted StagingClassifier
        Neither its weights nor its running statistics change.
    part : Part
    policy : Policy
    n_copies : int
    aggregate : {"mean", "max"}
        Average over copies, or whether any of them is recognised.
    generator : torch.Generator | None

    Returns
    -------
    score : float
        Balanced accuracy: the mean over classes of the share of windows that are recognised.
    n_forward : int
        Batches that went through the network.
    """
    hits, n_forward = [], 0
    estimator._set_training(False)
    for X, y in task.batches(part, shuffle=False, batch_size=max(task.batch_size, 256)):
        copies = [estimator.infer(policy.apply(X, generator=generator)).argmax(1) == y for _ in range(n_copies)]
        n_forward += n_copies
        found = torch.stack(copies).cpu()
        hits.append(found.any(0).double() if aggregate == "max" else found.double().mean(0))
    hits, y = torch.cat(hits), part.y
    classes = y.unique()
    return float(torch.stack([hits[y == one].mean() for one in classes]).mean()), n_forward


class _Folds:
    """Splits, their networks once they are trained, and what was tried on each."""

    def __init__(self, task: SearchTask, rows: list[tuple[np.ndarray, np.ndarray]], studies: list[PolicyStudy]):
        self.task, self.rows, self.studies = task, rows, studies
        # Not saved here: each has the checkpoint of its training.
        self.networks: list[Any] = [None] * len(studies)

    def part(self, fold: int, side: str) -> Part:
        """Windows of one side of a split: the task's own of the first, of others taken anew each time.

        Of an array that is a copy; together they would be as large as all data, once for each split.
        """
        if fold == 0:
            return getattr(self.task, side)
        return self.task.data.take(self.rows[fold - 1][side == "valid"])

    def state_dict(self) -> dict[str, Any]:
        return {"studies": [study.state_dict() for study in self.studies]}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        for study, one in zip(self.studies, saved["studies"], strict=True):
            study.load_state_dict(one)
