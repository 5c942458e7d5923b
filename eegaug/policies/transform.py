"""Policies as braindecode transforms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from braindecode.augmentation import Transform
from torch import Tensor

from eegaug._random import RandomState
from eegaug.transforms import Generators

if TYPE_CHECKING:
    from eegaug.policies.base import BasePolicy

__all__ = ["PolicyTransform"]


class PolicyTransform(Transform):
    """A policy as a braindecode transform; see :meth:`eegaug.policy.Policy.to_braindecode`.

    Parameters
    ----------
    policy : Policy, ClassPolicy or ConditionalPolicy
        A class-wise policy reads the labels that braindecode passes with each batch.
    random_state : int, RandomState, Generator or None
        Seed of the transform's own generator.
    only_training : bool
        Whether to do nothing after ``eval()``.

    Examples
    --------
    >>> import torch
    >>> from eegaug.policy import Policy
    >>> transform = Policy.fixed_sleep(sfreq=100, ch_names=["Fpz", "Pz"]).to_braindecode(random_state=0)
    >>> X, y = transform(torch.randn(4, 2, 3000), torch.arange(4))
    """

    def __init__(self, policy: BasePolicy, random_state: RandomState = None, only_training: bool = False):
        super().__init__()
        del self.rng  # braindecode's: numpy's global generator
        self.policy = policy
        self.only_training = bool(only_training)
        self.generators = Generators(random_state, "policy")

    def forward(self, X: Tensor, y: Any = None) -> Tensor | tuple[Tensor, Any]:
        """Augment a window, a batch or a batch of sequences; see :meth:`eegaug.policy.Policy.apply`."""
        X = torch.as_tensor(X)
        X = X if X.dtype.is_floating_point else X.float()
        if self.only_training and not self.training:
            return X if y is None else (X, y)
        return self.policy.apply(X, y, self.generators.get(X.device))

    def extra_repr(self) -> str:
        return self.policy.summary()
