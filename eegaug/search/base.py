"""What all searches share: input, split, budget, loop, history, checkpoints, the last training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Self

import numpy as np
import torch
from mne import BaseEpochs
from sklearn.base import BaseEstimator, MetaEstimatorMixin
from sklearn.exceptions import NotFittedError

from eegaug._durations import parse_budget
from eegaug._inputs import is_list_of_epochs
from eegaug._random import derive_seed, resolve_seed
from eegaug._validation import check_count
from eegaug.checkpoint import _describe
from eegaug.classifier import StagingClassifier
from eegaug.policies import Policy
from eegaug.search._checkpoint import SearchFile, search_settings
from eegaug.search._checks import check_numbers, checked_clone, spell_out_parameters
from eegaug.search._loop import SearchLoop
from eegaug.search._operations import resolve_operations
from eegaug.search._prediction import PredictsByBest
from eegaug.search._running import Running, refuse_changes
from eegaug.search._split import check_groups, hold_out, subjects_of
from eegaug.search._state import SearchState
from eegaug.search._task import SPLIT, Part, SearchTask, make_task

__all__ = ["PolicySearch", "SearchState", "SearchTask"]


class PolicySearch(SearchLoop, PredictsByBest, MetaEstimatorMixin, BaseEstimator):
    """Search an augmentation policy on training windows, then train a network with it.

    The base class of the searchers. A scikit-learn meta-estimator: ``fit`` searches, with whole subjects held out to
    validate on, then trains a clone of `estimator` with the policy on all windows.

    Parameters
    ----------
    estimator : StagingClassifier | None
        The network and how it is trained, in the search and after it. Its own ``policy`` is None. None:
        ``StagingClassifier()``.
    operations : str | sequence of str, Operation or subclass
        What policies are made of: ``"all"``, ``"time-frequency"``, ``"sensors"``, or a list. Operations of a named
        group that mean nothing on the montage are left out with a warning.
    sfreq, ch_names, positions
        Sampling rate in Hz, channels and electrode positions. None: what the estimator or the data say.
    n_sub_policies, n_operations : int
        Sub-policies of a policy, and operations of a sub-policy.
    max_steps : int
        Steps of the search, without those of a warm start; what a step is, the searcher says.
    max_epochs : int | None
        Another name of `max_steps`, which it replaces if it is given.
    time_budget : float | str | None
        Seconds, or text such as ``"90s"``, ``"20min"``, ``"2h"``. The search ends before the step that would exceed it.
        The last training is not counted.
    valid_size : float | int | sequence
        Subjects held out in the search: their fraction, their number, or their names as in `groups`.
    refit : bool
        Whether to train a network with the policy found.
    checkpoint : path-like | None
        A file that is written at the beginning and after every step. ``fit`` with the same settings and data goes on
        from it, to the same result as if it had not been stopped.
    step_callback : callable | None
        Called as ``step_callback(search, row)`` after every step, with the row of the history, to which it may add
        columns; :meth:`current_policy` can be asked. Its time is not counted. When a search is killed, the callback may
        be called again for the step that was not yet saved.
    random_state : int | RandomState | Generator | None
        Seed of the split and of everything random in the search.
    verbose : int
        0: say nothing.

    Attributes
    ----------
    policy_ : Policy
    best_estimator_ : StagingClassifier
        Trained with `policy_` on all windows; only with ``refit=True``.
    history_ : DataFrame
        A row per step: ``step``, ``phase`` ("search", or what comes before it), ``seconds`` of the step,
        ``n_forward_backward`` up to here, and the searcher's own columns.
    search_time_ : float
        Seconds of the search, without callbacks, its own checkpoints and the last training.
    refit_time_ : float
        Seconds of the last training.
    n_forward_backward_ : int
        Batches that went forward and backward through a network during the search.
    operations_ : list of Operation
    classes_ : array of shape (n_classes,)
    valid_groups_ : array | None
        Subjects that were held out; None where `groups` were not known.
    interrupted_ : bool
        Whether the search, or the last training, was ended by Ctrl-C. After a search that was, `policy_` is the policy
        reached, and no network is trained.

    Raises
    ------
    ValueError
        In ``fit``: no or repeated operations, a class that one side lacks, a budget too small for one step, a
        checkpoint of another search; the message names it.
    """

    #: Name of the searcher in policies and tables.
    name: ClassVar[str] = ""
    #: Parameters that may change between two starts: they do not change what is found in the steps.
    _free: ClassVar[frozenset[str]] = frozenset(
        {"checkpoint", "max_epochs", "max_steps", "refit", "step_callback", "time_budget", "verbose"}
    )

    def __init__(
        self,
        estimator: Any = None,
        *,
        operations: Any = "all",
        sfreq: float | None = None,
        ch_names: Any = None,
        positions: Any = None,
        n_sub_policies: int = 5,
        n_operations: int = 2,
        max_steps: int = 20,
        max_epochs: int | None = None,
        time_budget: float | str | None = None,
        valid_size: Any = 0.2,
        refit: bool = True,
        checkpoint: Any = None,
        step_callback: Callable[[Any, dict[str, Any]], None] | None = None,
        random_state: Any = None,
        verbose: int = 1,
    ):
        self.estimator = estimator
        self.operations = operations
        self.sfreq = sfreq
        self.ch_names = ch_names
        self.positions = positions
        self.n_sub_policies = n_sub_policies
        self.n_operations = n_operations
        self.max_steps = max_steps
        self.max_epochs = max_epochs
        self.time_budget = time_budget
        self.valid_size = valid_size
        self.refit = refit
        self.checkpoint = checkpoint
        self.step_callback = step_callback
        self.random_state = random_state
        self.verbose = verbose

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        spell_out_parameters(cls)

    # Hooks of a searcher ---------------------------------------------------------------------------------------------

    def _begin(self, task: SearchTask) -> Any:
        """What the search works with: an object with ``state_dict`` and ``load_state_dict``, built quickly."""
        return SearchState()

    def _step(self, task: SearchTask, state: Any) -> dict[str, Any] | None:
        """One unit of work. Returns its columns of the history; None where nothing is left to do.

        Among them ``phase`` where it is not yet the search itself, and ``seconds`` where they were not spent here.
        torch's default generators are seeded anew for each step; generators of one's own are ``task.generator(name)``.
        """
        raise NotImplementedError

    def _policy(self, task: SearchTask, state: Any) -> Policy:
        """The policy that the search would return now."""
        raise NotImplementedError

    def _n_steps_before(self) -> int:
        """Steps before the search itself, as far as is planned."""
        return 0

    def _check(self, task: SearchTask) -> None:
        """Refuse settings that make no sense, before anything is built."""

    def _for_refit(self, state: Any, estimator: Any) -> Any:
        """The estimator that is trained with the policy in the end, unfitted; changed where a searcher has to."""
        return estimator

    def _about(self) -> dict[str, Any]:
        """Settings that a policy keeps, as plain data."""
        hidden = self._free | {"estimator", "sfreq", "ch_names", "positions", "valid_size"}
        about = {k: _describe(v) for k, v in self.get_params(deep=False).items() if k not in hidden}
        about["operations"] = [op.name for op in self.operations_]
        return about | {"steps": len(self._rows), "seed": self._running.task.seed}

    def _as_policy(self, task: SearchTask, sub_policies: Any) -> Policy:
        """A policy of this search; see :meth:`SearchTask.policy`."""
        return task.policy(sub_policies, searcher=self.name, settings=self._about())

    # Fitting ---------------------------------------------------------------------------------------------------------

    def fit(self, X: Any, y: Any = None, groups: Any = None) -> Self:
        """Search a policy, then train with it.

        Parameters
        ----------
        X : array or tensor of shape (n_windows, n_channels, n_times) | mne.Epochs | dataset
            As :meth:`eegaug.StagingClassifier.fit` takes it.
        y : array of shape (n_windows,) | None
            Labels; None: those of the dataset or epochs.
        groups : array of shape (n_windows,) | None
            Subject of each window. None: what the data say. If they do not, windows are held out one by one, with a
            warning: neighbouring windows are alike.

        Returns
        -------
        self
        """
        self._forget()
        check_numbers(self)
        check_count("max_steps" if self.max_epochs is None else "max_epochs", self._n_steps())
        budget = parse_budget(self.time_budget, "time_budget")
        file = None if self.checkpoint is None else SearchFile(self.checkpoint)
        estimator, windows, labels = self._prepare(X, y)
        groups = check_groups(subjects_of(X) if groups is None else groups, len(labels))
        settings = search_settings(self, self._free, estimator, windows, labels, groups)
        saved = None if file is None else file.read(settings)
        seed = resolve_seed(self.random_state) if saved is None else saved["seed"]
        task = self._make_task(estimator, windows, labels, groups, seed)
        self._check(task)
        # The first optimiser of a process imports for seconds what torch compiles with: no part of this search.
        torch.optim.Adam([torch.zeros(1, requires_grad=True)])
        self._running = Running(task, file, settings)
        self._begin_anew()
        if saved is not None:
            self._restore(saved)
        elif file is not None:
            self._running.save([])  # with the seed: what is left of a first step that is killed is of this search
        return self._run(self._n_steps(), budget)

    def continue_fit(self, *, max_epochs: int | None = None, time_budget: float | str | None = None) -> Self:
        """Go on where the search stopped, then train again.

        Parameters
        ----------
        max_epochs : int | None
            Steps in all, those done included and those of a warm start not. None: as set.
        time_budget : float | str | None
            Budget in all, time spent included. None: none.

        Returns
        -------
        self

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If nothing was begun in this process. In a new one, ``fit`` goes on from the checkpoint.
        ValueError
            If a parameter was changed that decides what is found.
        """
        if self._running is None:
            raise NotFittedError(
                f"this {type(self).__name__} holds no search to go on with: fit goes on from a checkpoint."
            )
        refuse_changes(self, self._free, self._running.settings)
        if self._running.broken:  # the step that was broken off never was
            saved = self._running.saved()
            if saved is None:
                self._begin_anew()
            else:
                self._restore(saved)
        if max_epochs is not None:
            check_count("max_epochs", max_epochs)
        n_steps = self._n_steps() if max_epochs is None else max_epochs
        return self._run(n_steps, parse_budget(time_budget, "time_budget"))

    def current_policy(self) -> Policy:
        """The policy reached so far; during the search, the one that it would return now."""
        if self._running is not None and self._running.state is not None:
            return self._policy(self._running.task, self._running.state)
        if not hasattr(self, "policy_"):
            raise NotFittedError(f"this {type(self).__name__} has not begun to search: call fit first.")
        return self.policy_

    def _forget(self) -> None:
        for name in [name for name in vars(self) if name.endswith("_") and not name.startswith("_")]:
            delattr(self, name)
        self._running, self._rows = None, []
        self.search_time_, self.n_forward_backward_, self.interrupted_ = 0.0, 0, False

    def _n_choices(self) -> int:
        """Between how many learned weights choose, whose ``entropy`` the history has; 0: there are none."""
        return 0

    def _prepare(self, X: Any, y: Any) -> tuple[Any, Any, np.ndarray]:
        """Check the data and let the estimator note what it has to know of them."""
        signal = {"sfreq": self.sfreq, "ch_names": self.ch_names, "positions": self.positions}
        estimator = checked_clone(StagingClassifier() if self.estimator is None else self.estimator, **signal)
        windows, labels = estimator._prepare(X, y, True)
        if estimator.signal_.n_windows is not None:
            raise ValueError(
                f"X is made of sequences of {estimator.signal_.n_windows} windows: searches take single windows, of "
                "shape (n_windows, n_channels, n_times). A policy found on these can train a network of sequences."
            )
        if isinstance(X, BaseEpochs) or is_list_of_epochs(X):  # the windows are an array now, which does not say it
            estimator.set_params(sfreq=estimator.signal_.sfreq, ch_names=list(estimator.signal_.ch_names))
        return estimator, windows, labels

    def _make_task(
        self, estimator: Any, windows: Any, labels: np.ndarray, groups: np.ndarray | None, seed: int
    ) -> SearchTask:
        self.classes_ = estimator.classes_
        self.operations_ = resolve_operations(self.operations, estimator.signal_, estimator.positions)
        rows = hold_out(labels, groups, self.valid_size, derive_seed(seed, SPLIT))
        task = make_task(
            estimator, Part(windows, labels, estimator._codes(labels), groups), rows, self.operations_, seed
        )
        self.valid_groups_ = None if groups is None else np.unique(task.valid.groups)
        return task

    def _n_steps(self) -> int:
        """Steps of the search itself."""
        return self.max_steps if self.max_epochs is None else self.max_epochs

    def __getstate__(self) -> dict[str, Any]:
        # The data, networks and open files of the search stay in this process.
        return {name: value for name, value in super().__getstate__().items() if name != "_running"}
