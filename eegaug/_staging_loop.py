"""What `StagingClassifier` does in an epoch and with a batch: augmentation, loss, backward pass, what it notes."""

from __future__ import annotations

import copy
import dis
import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Self

import numpy as np
import torch
from skorch.callbacks import Callback
from skorch.dataset import unpack_data
from skorch.utils import to_tensor
from torch import nn

from eegaug._convolutions import quick_convolutions
from eegaug._precision import widest
from eegaug._transform_draws import reseed, reseed_sampler
from eegaug._trunk import uncompiled_network
from eegaug._validation import naming_a_batch_of_one
from eegaug._warning import warn

# Transforms of braindecode's AugmentedDataLoader, and what says which windows are read.
_TRANSFORMS, _SAMPLER = "iterator_train__transforms", "iterator_train__sampler"


class StagingLoop:
    """The part of `StagingClassifier` that goes through epochs and batches: a mixin before skorch's net."""

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        # The training step of skorch's AccelerateMixin knows neither policies nor what a method adds to the loss.
        steps = [vars(base)["train_step_single"] for base in cls.__mro__ if "train_step_single" in vars(base)]
        if steps[0].__module__ == "skorch.hf":
            cls.train_step_single = next(step for step in steps if step.__module__ != "skorch.hf")

    # Epochs -----------------------------------------------------------------------------------------------------------

    def fit_loop(self, X: Any, y: Any = None, epochs: int | None = None, **fit_params: Any) -> Self:
        """The epochs; those that a checkpoint has brought are not done again."""
        if epochs is None:
            epochs = max(0, self.max_epochs - self.resumed_epochs_)
        self.interrupted_ = True  # unless it is known to have ended otherwise: a second Ctrl-C may come at any moment
        try:
            super().fit_loop(X, y, epochs=epochs, **fit_params)
        except KeyboardInterrupt as stop:
            self.interrupted_ = not _raised_by_callback(stop)
            raise
        except Exception:
            self.interrupted_ = False
            raise
        self.interrupted_ = False
        return self

    def on_train_begin(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Let a checkpoint restore the network before other callbacks look at it."""
        super().on_train_begin(net, X=X, y=y, **kwargs)
        self._warn_of_strengths(X)
        for _, callback in self.callbacks_:
            if hasattr(callback, "before_training"):
                callback.before_training(net, X, y)

    def on_epoch_begin(self, net: Any, dataset_train: Any = None, dataset_valid: Any = None, **kwargs: Any) -> None:
        """Open the epoch's row of the history."""
        super().on_epoch_begin(net, dataset_train=dataset_train, dataset_valid=dataset_valid, **kwargs)
        self.epoch_sums_ = {}
        for _, callback in self.callbacks_:  # a checkpoint restores the random states, before anything is drawn
            if hasattr(callback, "before_epoch"):
                callback.before_epoch(net)
        given = vars(self).get(_TRANSFORMS)
        for transform in given if isinstance(given, (list, tuple)) else [given]:
            if isinstance(transform, nn.Module):
                reseed(transform)
        reseed_sampler(vars(self).get(_SAMPLER))

    @contextmanager
    def _loader_copied(self) -> Iterator[None]:
        """A training has transforms and a sampler of its own: what they draw does not hang on trainings before."""
        given = {name: vars(self)[name] for name in (_TRANSFORMS, _SAMPLER) if vars(self).get(name) is not None}
        # Of a sampler only the generator is exchanged: its table of all windows is not copied.
        vars(self).update({k: copy.copy(v) if k == _SAMPLER else copy.deepcopy(v) for k, v in given.items()})
        try:
            yield
        finally:
            vars(self).update(given)

    def on_epoch_end(self, net: Any, dataset_train: Any = None, dataset_valid: Any = None, **kwargs: Any) -> None:
        """Write the terms of the loss into the history, before any callback looks at it."""
        if not self.history[-1, "train_batch_count"]:
            raise ValueError(
                "the training set gives no batch: with iterator_train__drop_last=True, batch_size (it is "
                f"{self.batch_size}) has to be no more than the number of windows; a sampler of sequences needs nights "
                "that are as long as one."
            )
        super().on_epoch_end(net, dataset_train=dataset_train, dataset_valid=dataset_valid, **kwargs)
        for name, (total, count) in self.epoch_sums_.items():
            self.history.record(name, float(total) / count)
        self._warn_of_divergence()
        self.history.record("n_forward_backward", self.n_forward_backward_)
        self.epoch_sums_ = {}

    def _warn_of_divergence(self) -> None:
        """Say so in the first epoch whose loss is no number. Training goes on: the best network so far may be kept."""
        for name in self.epoch_sums_:
            *before, value = (row[name] for row in self.history if name in row)
            if not math.isfinite(value) and all(map(math.isfinite, before)):
                warn(
                    f"{name} is {value} in epoch {len(self.history)}: the training has diverged, and what the network "
                    f"answers from here on means nothing. Lower lr (it is {self.lr:g}), and look for windows of "
                    "extreme values."
                )
                return

    # Batches ----------------------------------------------------------------------------------------------------------

    def get_params_for(self, prefix: str) -> dict[str, Any]:
        """Arguments of a part of the net; a batch size out of an array, as of a grid, is the int that torch takes."""
        found = super().get_params_for(prefix)
        if prefix.startswith("iterator") and isinstance(size := found.get("batch_size", self.batch_size), np.integer):
            found["batch_size"] = int(size)
        return found

    def train_step(self, batch: Any, **fit_params: Any) -> dict[str, torch.Tensor]:
        """One step of the optimiser."""
        with naming_a_batch_of_one(self.batch_size):
            return super().train_step(batch, **fit_params)

    def train_step_single(self, batch: Any, **fit_params: Any) -> dict[str, torch.Tensor]:
        """Forward and backward for one batch: cross-entropy of the augmented windows, plus what a method adds to it."""
        self._set_training(True)
        Xi, yi = unpack_data(batch)
        Xi = self._augment(to_tensor(Xi, device=self.device), yi)
        with self._autocast(), self._convolving():
            y_pred = self.infer(Xi, **fit_params)
            cross_entropy = self.get_loss(y_pred, yi, X=Xi, training=True)
        penalty = self._penalty()
        loss = cross_entropy if penalty is None else cross_entropy + penalty
        self._backpropagate(loss)
        self.n_forward_backward_ += 1
        self._note_terms(len(Xi), train_ce=cross_entropy, train_penalty=penalty)
        return {"loss": loss, "y_pred": y_pred}

    def _autocast(self) -> AbstractContextManager:
        """Automatic mixed precision, where skorch's AccelerateMixin asks for it."""
        return self.accelerator.autocast() if hasattr(self, "accelerator") else nullcontext()

    def _convolving(self) -> AbstractContextManager:
        """Convolutions whose gradients are quick; a compiled network has its own."""
        return quick_convolutions() if uncompiled_network(self.module_) is self.module_ else nullcontext()

    def _augment(self, X: torch.Tensor, y: Any = None) -> torch.Tensor:
        if self.policy is None:
            return X
        apply = getattr(self.policy, "apply", self.policy)
        out = apply(X, y) if getattr(self.policy, "needs_labels", False) else apply(X)
        return out[0] if isinstance(out, tuple) else out

    def get_loss(self, y_pred: torch.Tensor, y_true: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Cross-entropy of a batch; `y_true` are labels as the user gave them."""
        if isinstance(self.criterion_, nn.NLLLoss) and not getattr(self, "n_forward_backward_", 0):
            total = y_pred.detach().exp().sum(1)
            if not torch.allclose(total, torch.ones_like(total), atol=1e-2):
                raise ValueError(
                    "NLLLoss takes logarithms of probabilities, and the network gives logits, as braindecode's "
                    "networks do: use criterion=torch.nn.CrossEntropyLoss."
                )
        if isinstance(self.criterion_, nn.CrossEntropyLoss) and y_pred.ndim > 1:
            n, n_outputs, weights = len(self.classes_), y_pred.shape[1], self.criterion_.weight
            if weights is not None and len(weights) != n_outputs == n:
                raise ValueError(
                    f"the loss has weights for {len(weights)} classes, and there are {n}, {self.classes_.tolist()}: "
                    "give one for each, or leave criterion__weight out, and class_weight='balanced' finds them."
                )
            if n_outputs < n or (weights is not None and n_outputs != len(weights)):  # more may stand for later classes
                raise ValueError(
                    f"the network has {n_outputs} outputs for {n} classes, {self.classes_.tolist()}: build it with "
                    f"n_outputs={n}, or pass classes=… with all labels there are."
                )
        codes = self._codes(y_true)
        if isinstance(codes, torch.Tensor) and isinstance(self.criterion_, nn.CrossEntropyLoss):
            _check_answers(tuple(y_pred.shape), tuple(codes.shape))
        if isinstance(codes, tuple) and isinstance(self.criterion_, nn.CrossEntropyLoss):
            codes = _mixed(*(part.to(y_pred.device) for part in codes), y_pred.shape[1]).to(y_pred.dtype)
        return super().get_loss(y_pred, codes, *args, **kwargs)

    def _penalty(self) -> torch.Tensor | None:
        """What a method adds to the cross-entropy in training."""
        return None

    def _backpropagate(self, loss: torch.Tensor) -> None:
        if not loss.requires_grad and getattr(self, "judge_batches_", None) is not None:
            return  # the network is frozen, and its strengths are judged apart
        accelerator = getattr(self, "accelerator", None)  # of skorch's AccelerateMixin
        if accelerator is None:
            loss.backward()
        else:
            accelerator.backward(loss)

    def _note_terms(self, n: int, **terms: torch.Tensor | None) -> None:
        # Summed where the terms are: asking an accelerator for them would make it wait at every batch.
        sums = self.epoch_sums_
        for name, value in terms.items():
            if value is not None:
                total, count = sums.get(name, (0.0, 0))
                sums[name] = (total + value.detach().to(widest(value.device)) * n, count + n)


def _check_answers(answers: tuple[int, ...], labels: tuple[int, ...]) -> None:
    """Refuse one label for a sequence whose windows the network answers for one by one, and the other way round."""
    if len(answers) < 2 or (answers[0], *answers[2:]) == labels:
        return
    wanted = f"(n_sequences, {answers[2]})" if len(answers) == 3 else "(n,)"
    raise ValueError(
        f"the network's answers for a batch have shape {answers}, (windows or sequences, classes, windows of a "
        f"sequence), its labels {labels}: this network asks for y of shape {wanted}, or these labels for another one."
    )


def _mixed(first: torch.Tensor, second: torch.Tensor, share: torch.Tensor, n_classes: int) -> torch.Tensor:
    """Probabilities of the classes of windows that are mixed from two, the first of which has `share`."""
    a, b = (nn.functional.one_hot(codes, n_classes) for codes in (first, second))
    return b + share[:, None] * (a - b)


def _raised_by_callback(stop: BaseException) -> bool:
    """Whether a callback ended the training on purpose, as skorch's early stopping does: by a ``raise`` of its own."""
    tb = stop.__traceback__
    while tb is not None and tb.tb_next is not None:
        tb = tb.tb_next
    if tb is None or not isinstance(tb.tb_frame.f_locals.get("self"), Callback):
        return False
    # Ctrl-C may come while a callback is at work; then the exception appears in it without being raised there.
    return tb.tb_frame.f_code.co_code[tb.tb_lasti] == dis.opmap["RAISE_VARARGS"]
