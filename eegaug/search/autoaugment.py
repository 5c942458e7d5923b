"""AutoAugment: policies proposed by a tree-structured Parzen estimator, each scored by a training."""

from __future__ import annotations

import json
import numbers
import time
from typing import Any, ClassVar

from eegaug._checkpoint_file import check_settings
from eegaug._warning import warn
from eegaug.policies import Policy
from eegaug.search._task import SearchTask
from eegaug.search._tpe import PolicyStudy, PrunerReplica, require_optuna
from eegaug.search._trials import TrialSearch, seconds_each

__all__ = ["AutoAugmentSearch"]


class AutoAugmentSearch(TrialSearch):
    """Train with policies that a tree-structured Parzen estimator (TPE) proposes, each time knowing the scores so far.

    Each step is a training from scratch, scored on the held-out subjects. Needs optuna
    (``pip install 'eegaug[search]'``).

    Parameters
    ----------
    estimator
        See :class:`PolicySearch`; its ``max_epochs`` bounds each trial.
    max_steps : int
        Trials, of all processes that share a storage.
    trial_unit : {"sub_policy", "policy"}
        What a trial is trained with: one sub-policy, and the ``n_sub_policies`` best of them make the policy; or a
        whole policy, the best of which is returned.
    patience : int | None
        A trial ends when its score has not risen for so many epochs; None: never. An early stopping of the estimator's
        own takes its place.
    n_startup_trials : int
        Trials drawn at random before TPE is used, and before any is pruned.
    pruning : bool
        End a trial early when its best score so far is below the median of earlier trials at the same epoch.
    n_warmup_epochs : int
        Epochs of a trial that are never cut.
    storage : str | path-like | optuna storage | None
        Where trials are kept. A path (a journal file) or a URL such as ``"sqlite:///trials.db"`` lets several
        processes, on several machines, call ``fit`` with the same settings and work on one search; a process that is
        killed loses its own trial only. None: in memory and in the checkpoint.
    study_name : str
        Name of the search in its storage.
    n_jobs : int | None
        Trials at a time, in processes of their own, through joblib's current backend.
    **shared
        See :class:`PolicySearch`.

    Attributes
    ----------
    history_ : DataFrame
        A row per trial: ``score`` (best balanced accuracy on held-out subjects), ``best_score`` so far, ``epochs``,
        ``pruned``, ``trial`` (what was tried: operation, probability, magnitude), and what :class:`PolicySearch` says.
        With a storage, the trials of all processes, and ``search_time_`` is the sum of their times.

    Raises
    ------
    ImportError
        In ``fit``, if optuna is missing.
    ValueError
        In ``fit``, if the storage holds a search with other settings or data (what differs is named), or processes
        would not share their split (``random_state`` has to be an int then).

    Notes
    -----
    A search that is killed and started again from its checkpoint or storage goes the same way as one that was not.

    References
    ----------
    Cubuk et al. (2019), AutoAugment: learning augmentation strategies from data, CVPR. With TPE in the place of
    reinforcement learning: Bergstra et al. (2011), Algorithms for hyper-parameter optimization, NeurIPS, as in Rommel
    et al. (2022), Deep invariant networks with differentiable augmentation layers, NeurIPS.

    Examples
    --------
    >>> import numpy as np
    >>> from eegaug import StagingClassifier
    >>> from eegaug.search import AutoAugmentSearch
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((24, 2, 300)).astype("float32")
    >>> y, subjects = np.arange(24) % 2, np.arange(24) // 6
    >>> trunk = StagingClassifier(sfreq=100, ch_names=["C3", "C4"], max_epochs=1, verbose=0)
    >>> search = AutoAugmentSearch(trunk, operations=["sign_flip", "gaussian_noise"], max_steps=3, n_sub_policies=2,
    ...                            random_state=0, verbose=0)
    >>> search.fit(X, y, groups=subjects).history_["best_score"].is_monotonic_increasing
    True
    >>> len(search.policy_.sub_policies)
    2
    """

    name: ClassVar[str] = "autoaugment"
    _free = TrialSearch._free | {"storage", "study_name"}

    def __init__(
        self,
        estimator: Any = None,
        *,
        max_steps: int = 50,
        trial_unit: str = "sub_policy",
        patience: int | None = 30,
        n_startup_trials: int = 10,
        pruning: bool = True,
        n_warmup_epochs: int = 5,
        storage: Any = None,
        study_name: str = "eegaug-autoaugment",
        n_jobs: int | None = None,
        **shared: Any,
    ):
        super().__init__(
            estimator, trial_unit=trial_unit, patience=patience, n_jobs=n_jobs, max_steps=max_steps, **shared
        )
        self.n_startup_trials = n_startup_trials
        self.pruning = pruning
        self.n_warmup_epochs = n_warmup_epochs
        self.storage = storage
        self.study_name = study_name

    def _check(self, task: SearchTask) -> None:
        require_optuna(type(self).__name__)
        super()._check(task)
        if self.storage is not None and not isinstance(self.random_state, numbers.Integral):
            raise ValueError(
                f"random_state is {self.random_state!r}: processes that share a storage have to hold out the same "
                "subjects; pass an int."
            )

    def _begin(self, task: SearchTask) -> PolicyStudy:
        study = PolicyStudy(
            [op.name for op in task.operations],
            self._per_trial(),
            self.n_operations,
            task.seed,
            n_startup_trials=self.n_startup_trials,
            shared=self.storage is not None or self.n_jobs not in (None, 1),
            storage=self.storage,
            study_name=self.study_name,
        )
        if self.storage is not None:
            settings = self._running.settings
            known = study.study.user_attrs.get("settings")
            if known is None:
                study.study.set_user_attr("settings", json.dumps(settings))
            else:
                study_name = f"study {self.study_name!r} of the storage"
                check_settings(study_name, known, settings, "search", "Use another study_name")
        return study

    def _step(self, task: SearchTask, state: PolicyStudy) -> dict[str, Any] | None:
        while (trial := state.new()) is None:
            began = time.perf_counter()
            state.drop_dead()
            n = min(self._at_a_time(), self._running.n_steps - len(self._rows) - len(state.running()))
            if n < 1:
                warn(
                    f"the last {len(state.running())} trials run in other processes: policy_ is made of those that are "
                    "finished. continue_fit() looks at them again."
                )
                return None
            self._run_trials(task, state, n, began)
        result = trial.user_attrs
        task.n_forward_backward += result["passes"]
        best = state.best(1)
        row = self._row(task, state.steps(trial.params), result, best[0].value if best else None)
        return row | {"pruned": result["pruned"], "seconds": result["seconds"]}

    def _run_trials(self, task: SearchTask, state: PolicyStudy, n: int, began: float) -> None:
        stop = None
        if self.pruning:
            optuna = state.optuna
            pruner = optuna.pruners.MedianPruner(self.n_startup_trials, self.n_warmup_epochs)
            complete = [one for one in state.finished() if one.state is optuna.trial.TrialState.COMPLETE]
            stop = PrunerReplica(pruner, complete).hopeless
        asked: list[Any] = []
        try:
            asked += (state.ask() for _ in range(n))
            with state.under_way([trial for trial, _ in asked]):
                results = self._train(task, [steps for _, steps in asked], stop)
            seconds = seconds_each(began, results)
            for (trial, _), result in zip(asked, results, strict=True):
                facts = {name: result[name] for name in ("score", "epochs", "passes", "pruned")}
                state.tell(trial, result["curve"], seconds=seconds, **facts)
        except BaseException:
            for trial, _ in asked:
                state.drop(trial)
            raise

    def _policy(self, task: SearchTask, state: PolicyStudy) -> Policy:
        steps = [steps for trial in state.best(self._per_policy()) for steps in state.steps(trial.params)]
        return self._as_policy(task, steps) if steps else task.identity()

    def _expected_seconds(self) -> float:
        return 0.0 if self._running.state.peek() is not None else super()._expected_seconds()
