"""Learning rates that go down while training goes on."""

from __future__ import annotations

import math
from typing import Any

from skorch.callbacks import Callback

__all__ = ["CosineDecay"]


class CosineDecay(Callback):
    r"""Half a cosine from the learning rates at the start to zero at the last epoch, for every group of parameters.

    In epoch e of E, counted from 0, rates are :math:`\frac12 (1 + \cos(\pi (e + \frac12) / E))` times those at the
    start. The epoch is that of the history, so that a training that was stopped goes on where it was; epochs beyond the
    last one keep its rate.

    Parameters
    ----------
    n_epochs : int | None
        E. None: ``max_epochs`` of the estimator.
    """

    def __init__(self, n_epochs: int | None = None):
        self.n_epochs = n_epochs

    def on_epoch_begin(self, net: Any, **kwargs: Any) -> None:
        """Set the rates of this epoch."""
        n = self.n_epochs or net.max_epochs
        epoch = min(len(net.history) - 1, n - 1)
        factor = 0.5 * (1.0 + math.cos(math.pi * (epoch + 0.5) / n))
        for group in net.optimizer_.param_groups:
            start = group.setdefault("initial_lr", group["lr"])  # saved and loaded with the optimiser's state
            group["lr"] = start * factor
