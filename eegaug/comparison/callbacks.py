"""skorch callbacks of a comparison: a clock, a score beside the training, a budget, a progress file.

What they measure is written into the estimator's history, which the training checkpoint saves: a run that was killed
and continued has one uninterrupted curve.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
from skorch.callbacks import Callback

from eegaug._progress import StepBar
from eegaug.comparison.scores import stage_scores
from eegaug.data import STAGES
from eegaug.data.atomic import write_json

__all__ = ["Budget", "EpochBar", "HeldOutScore", "ProgressFile", "TrainingClock"]


class TrainingClock(Callback):
    """Record how long each epoch trained, as ``train_seconds``.

    The clock runs from the beginning of the epoch to the end of its last training batch, so that neither validation
    nor test nor checkpoints count.
    """

    def on_epoch_begin(self, net: Any, **kwargs: Any) -> None:
        """Start the clock."""
        self._begin = self._end = time.perf_counter()

    def on_batch_end(self, net: Any, training: bool = False, **kwargs: Any) -> None:
        """Note the time after a training batch; an accelerator has finished it then, since its loss has been read."""
        if training:
            self._end = time.perf_counter()

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Write the epoch's time into the history."""
        net.history.record("train_seconds", self._end - self._begin)


class HeldOutScore(Callback):
    """Score the network on data that it neither trains nor stops on, whenever it is the best so far by validation.

    Other epochs get nan: the curve of a comparison shows the best network so far, so their score is of no use, and a
    large test set takes its time.

    Parameters
    ----------
    data : dataset
        Windows with their stages.
    y : array of int, (n_windows,)
    name : str
        Column of the history for the balanced accuracy.
    monitor : str
        Column of the history that says which network is best.
    """

    def __init__(
        self, data: Any, y: Any, name: str = "test_balanced_accuracy", monitor: str = "valid_balanced_accuracy"
    ):
        self.data = data
        self.y = y
        self.name = name
        self.monitor = monitor

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Predict and record. Prediction leaves the random state as it was: looking does not change the training."""
        scores = net.history[:, self.monitor]
        score = float("nan")
        if len(scores) == 1 or scores[-1] > np.nanmax(scores[:-1]):
            classes = getattr(self.data, "classes", STAGES)
            score = stage_scores(self.y, net.predict(self.data), classes)["balanced_accuracy"]
        net.history.record(self.name, float(score))


class Budget(Callback):
    """End the training after the first epoch with which its training time reaches the budget.

    Parameters
    ----------
    seconds : float or None
        None: never.
    """

    def __init__(self, seconds: float | None):
        self.seconds = seconds

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Stop as skorch's own callbacks do."""
        if self.seconds is not None and np.sum(net.history[:, "train_seconds"]) >= self.seconds:
            raise KeyboardInterrupt


class ProgressFile(Callback):
    """Say in a small file how far the run is: it can be read by another process, on any kind of backend.

    Parameters
    ----------
    path : path
    """

    def __init__(self, path: str | os.PathLike):
        self.path = path

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Write the number of epochs done and the last validation score."""
        last = net.history[-1]
        score = last.get("valid_balanced_accuracy")
        write_json(Path(self.path), {"epoch": len(net.history), "valid_balanced_accuracy": score})


class EpochBar(Callback):
    """Show the epochs of one training: a moving bar on a terminal, now and then a line in a log file.

    Parameters
    ----------
    every_s : float
        Seconds between lines in a log file.
    """

    # Read by the checkpoint: a training that shows nothing, or elsewhere, is the same.
    only_shows = True

    def __init__(self, every_s: float = 10.0):
        self.every_s = every_s

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        """Open the bar; epochs that a checkpoint has brought are done already."""
        self._bar = StepBar("epoch", net.max_epochs, len(net.history), every_s=self.every_s)

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Move it on."""
        last = net.history[-1]
        score = last.get("valid_balanced_accuracy")
        text = f"training loss {last['train_loss']:.3f}"
        text += "" if score is None else f", validation balanced accuracy {score:.3f}"
        self._bar.update(len(net.history), net.max_epochs, text)

    def on_train_end(self, net: Any, **kwargs: Any) -> None:
        """Close it; an open stream could not be copied with the estimator."""
        self._bar.close()
        self._bar = None
