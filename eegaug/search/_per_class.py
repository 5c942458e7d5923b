"""Values that are learned for each class apart."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["PerClass"]


class PerClass(nn.Module):
    """A learnable policy of probabilities, magnitudes and weights, for each class or for all windows alike.

    Each of its parameter lists has one tensor for each class (or one in all), so that an optimiser can leave alone the
    classes that a batch has no window of.

    Parameters
    ----------
    n_classes : int | None
        None: for all windows alike.
    """

    probabilities: nn.ParameterList
    magnitudes: nn.ParameterList

    def __init__(self, n_classes: int | None = None):
        super().__init__()
        self.n_classes = n_classes

    @torch.no_grad()
    def project_(self) -> None:
        """Bring probabilities and magnitudes back into [0, 1]; to be called after each step of the optimiser."""
        for one in (*self.probabilities, *self.magnitudes):
            one.clamp_(0.0, 1.0)

    def pool(self) -> None:
        """Add to the gradients of each class those of all: each value is a sum of one for all classes and its own."""
        for parameters in self.children():
            if parameters[0].grad is None:  # magnitudes, where no operation has one
                continue
            total = torch.stack([one.grad for one in parameters]).sum(0)
            for one in parameters:
                one.grad = one.grad + total

    def forget_absent(self, y: Tensor) -> None:
        """Remove the gradients of classes that a batch has no window of, so that an optimiser leaves them alone."""
        if self.n_classes is None:
            return
        present = set(y.unique().tolist())
        for parameters in self.children():
            for c, one in enumerate(parameters):
                if c not in present:
                    one.grad = None
