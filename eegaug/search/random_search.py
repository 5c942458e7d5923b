"""Policies drawn at random: what every search has to beat."""

from __future__ import annotations

from typing import Any, ClassVar

import torch

from eegaug.search._task import SearchTask, Steps
from eegaug.search._trials import TrialSearch

__all__ = ["RandomSearch"]


class RandomSearch(TrialSearch):
    """Train with policies drawn at random and keep the best.

    Each step draws operations, probabilities and magnitudes uniformly, trains a network with them and scores it on the
    held-out subjects.

    Parameters
    ----------
    estimator
        See :class:`PolicySearch`; its ``max_epochs`` bounds each trial.
    max_steps : int
        Trials.
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

    Attributes
    ----------
    history_ : DataFrame
        A row per trial: ``score`` (best balanced accuracy on held-out subjects), ``best_score`` so far, ``epochs``,
        ``trial`` (what was tried: operation, probability, magnitude), and what :class:`PolicySearch` says.

    References
    ----------
    Bergstra and Bengio (2012), Random search for hyper-parameter optimization, JMLR 13.

    Examples
    --------
    >>> import numpy as np
    >>> from eegaug import StagingClassifier
    >>> from eegaug.search import RandomSearch
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((24, 2, 300)).astype("float32")
    >>> y, subjects = np.arange(24) % 2, np.arange(24) // 6
    >>> trunk = StagingClassifier(sfreq=100, ch_names=["C3", "C4"], max_epochs=1, verbose=0)
    >>> search = RandomSearch(trunk, operations=["sign_flip", "gaussian_noise"], max_steps=2, random_state=0, verbose=0)
    >>> search.fit(X, y, groups=subjects).history_[["step", "epochs"]].values.tolist()
    [[1, 1], [2, 1]]
    >>> len(search.policy_.sub_policies)
    5
    """

    name: ClassVar[str] = "random"

    def __init__(
        self,
        estimator: Any = None,
        *,
        max_steps: int = 50,
        trial_unit: str = "policy",
        patience: int | None = 30,
        n_jobs: int | None = None,
        **shared: Any,
    ):
        super().__init__(
            estimator, trial_unit=trial_unit, patience=patience, n_jobs=n_jobs, max_steps=max_steps, **shared
        )

    def _propose(self, task: SearchTask, state: Any) -> list[Steps]:
        generator = task.generator("proposals", "cpu")
        shape = (self._per_trial(), self.n_operations)
        which = torch.randint(len(task.operations), shape, generator=generator).tolist()
        numbers = torch.rand(*shape, 2, generator=generator, dtype=torch.float64).tolist()
        return [
            [(op, p, magnitude) for op, (p, magnitude) in zip(ops, values, strict=True)]
            for ops, values in zip(which, numbers, strict=True)
        ]
