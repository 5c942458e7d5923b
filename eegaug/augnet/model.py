"""A network behind augmentation layers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from eegaug._convolutions import quick_convolutions
from eegaug._validation import check_count
from eegaug.augnet.module import AugmentationModule
from eegaug.augnet.penalties import norm_of_layers

__all__ = ["AGGREGATES", "AugAveragedModel", "aggregate_copies"]

#: Ways to make one prediction from those of the copies.
AGGREGATES = ("log_probs", "probs", "logits")
# Copies that are made before the trunk sees the first.
_AT_ONCE = 4


class AugAveragedModel(nn.Module):
    r"""A trunk that sees augmented windows, averaged over copies at prediction.

    In training: logits of the trunk for one augmented copy of the batch (for ``n_copies_train`` above 1, what the
    copies are aggregated to). In evaluation: the aggregate of ``n_copies`` copies, the same transformations for every
    window.

    Parameters
    ----------
    trunk : torch.nn.Module
        Takes windows (batch, channels, times), gives logits (batch, classes).
    augmentation : AugmentationModule
    n_copies : int
        Copies at prediction. 0: the trunk alone, without augmentation.
    n_copies_train : int
        Copies in training.
    aggregate : {"log_probs", "probs", "logits"}
        "log_probs": mean of the copies' log-probabilities, normalised again, i.e. the geometric mean of their
        probabilities. "probs": logarithm of the mean of their probabilities. "logits": mean of their logits; its
        softmax is the same as that of "log_probs".
    seed : int
        Of the transformations at prediction; kept in the state dict.

    Notes
    -----
    What the output is: ``output_kind`` says "logits" or "log_probs" for the present mode. Log-probabilities are logits
    too, so that a cross-entropy or a softmax takes either.

    References
    ----------
    Rommel et al. (2022), Deep invariant networks with differentiable augmentation layers, NeurIPS, equation 3.

    Examples
    --------
    >>> import torch
    >>> from eegaug import AugAveragedModel, AugmentationModule
    >>> trunk = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(200, 5))
    >>> model = AugAveragedModel(trunk, AugmentationModule([["frequency_shift"]], sfreq=100)).eval()
    >>> X = torch.randn(3, 2, 100)
    >>> bool(torch.allclose(model(X)[:1], model(X[:1]), atol=1e-6))
    True
    """

    def __init__(
        self,
        trunk: nn.Module,
        augmentation: AugmentationModule,
        n_copies: int = 4,
        n_copies_train: int = 1,
        aggregate: str = "log_probs",
        seed: int = 0,
    ):
        super().__init__()
        self.trunk = trunk
        self.augmentation = augmentation
        self.n_copies = check_count("n_copies", n_copies, 0)
        self.n_copies_train = check_count("n_copies_train", n_copies_train, 1)
        self.aggregate = _aggregate(aggregate)
        self.seed = check_count("seed", seed, 0)

    def set_prediction(self, n_copies: int | None = None, aggregate: str | None = None) -> None:
        """Change how the model predicts; None leaves a setting as it is."""
        if n_copies is not None and n_copies != self.n_copies:
            self.n_copies = check_count("n_copies", n_copies, 0)
        if aggregate is not None and aggregate != self.aggregate:
            self.aggregate = _aggregate(aggregate)

    @property
    def output_kind(self) -> str:
        """What the model gives in its present mode: "logits" or "log_probs"."""
        copies = self.n_copies_train if self.training else self.n_copies
        single = copies == 1 if self.training else copies == 0
        return "logits" if single or self.aggregate == "logits" else "log_probs"

    def forward(self, X: Tensor) -> Tensor:
        """Logits or log-probabilities of windows; see ``output_kind``.

        Parameters
        ----------
        X : Tensor of shape (batch, channels, times)

        Returns
        -------
        Tensor of shape (batch, classes)
        """
        if self.training:
            if self.n_copies_train == 1:
                # Named: before a compiler's break a method must not be waiting, or old torch compiles what follows anew
                # at every call.
                augmented = self.augmentation(X)
                return self.trunk_outputs(augmented)
            outputs = (self.trunk_outputs(self.augmentation(X)) for _ in range(self.n_copies_train))
            return aggregate_copies(outputs, self.aggregate)
        if self.n_copies == 0:
            return self.trunk_outputs(X)
        return aggregate_copies(self.copies(X), self.aggregate)

    def trunk_outputs(self, X: Tensor) -> Tensor:
        """What the trunk says to windows as they are given."""
        with quick_convolutions():
            return self.trunk(X)

    def copies(self, X: Tensor):
        """Logits of each copy at prediction, one after the other: n small batches are quicker than one of n times."""
        plan = self.augmentation.plan(self.n_copies, self.seed)
        # Several copies are made together: the trunk would drive what they are made from out of the cache.
        for start in range(0, len(plan), _AT_ONCE):
            windows = [self.augmentation.apply_draws(X, draws) for draws in plan[start : start + _AT_ONCE]]
            while windows:
                yield self.trunk_outputs(windows.pop(0))

    def regularization(self, kind: str = "selective", reduction: str = "global", limit: float | None = None) -> Tensor:
        """The norm that training rewards; see :func:`eegaug.augnet.penalties.augmentation_norm`.

        In a training loop of your own, let "change" be measured first, by
        :func:`eegaug.augnet.effects.measure_full_changes`; before that, and in a
        model that was loaded from a state dict, all operations count alike.
        """
        return norm_of_layers(self.augmentation.layers, kind, reduction, limit)

    def project_(self) -> None:
        """Bring all strengths back into [0, 1]; to be called after each step of the optimiser."""
        self.augmentation.project_()

    # The seed travels in the state dict, so that a loaded model predicts as the saved one did.

    def get_extra_state(self) -> Tensor:
        """Seed of prediction."""
        return torch.tensor(self.seed)

    def set_extra_state(self, state: Any) -> None:
        """Take the seed of a saved model over."""
        self.seed = int(state)


def aggregate_copies(logits, how: str = "log_probs") -> Tensor:
    """One output from the logits of several copies.

    Parameters
    ----------
    logits : iterable of Tensor of shape (batch, classes)
    how : {"log_probs", "probs", "logits"}
        See :class:`AugAveragedModel`.

    Returns
    -------
    Tensor of shape (batch, classes)
        Mean logits for "logits", else log-probabilities.
    """
    total, n = None, 0
    for one in logits:
        n += 1
        if how != "logits":
            one = torch.log_softmax(one, dim=1)
        if total is None:
            total = one
        else:
            total = torch.logaddexp(total, one) if how == "probs" else total + one
    if how == "logits":
        return total / n
    # Means of log-probabilities do not sum to one; those of probabilities do, up to rounding.
    return torch.log_softmax(total / n if how == "log_probs" else total, dim=1)


def _aggregate(how: str) -> str:
    if how not in AGGREGATES:
        raise ValueError(f"aggregate is {how!r}; use one of {', '.join(AGGREGATES)}.")
    return how
