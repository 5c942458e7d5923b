"""Strengths judged on windows that the network is not trained on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from skorch.dataset import unpack_data
from skorch.utils import to_tensor
from torch.utils.data import Subset

from eegaug._random import derive_seed
from eegaug._validation import check_number

__all__ = ["Judged"]

# Key of the seed of who judges among those derived from the seed of a fit.
_JUDGES = 1 << 21


class Judged:
    r"""The part of an estimator that moves strengths by the loss of windows kept apart.

    A network that knows its training windows by heart does worse on whatever is not exactly these: every operation
    seems to cost something, and ranges come out too small. With ``judge_share`` above 0 this share of the training
    windows is kept apart. After each batch a batch of them goes through the layers and through the network as it is at
    prediction, and the strengths take a step along the gradient of its loss and penalty. The network takes its own step
    along that of the training batch, on the same operations. No other labels are used than those given for training.

    Goes before :class:`eegaug.augnet.learned.LearnedAugmentation`.
    """

    judge_windows_: Subset | None = None
    judge_batches_: Iterator[Any] | None = None
    judge_indices_: list[int] | None = None

    def get_split_datasets(self, X: Any, y: Any = None, **fit_params: Any) -> tuple[Any, Any]:
        """Training and validation data; the judges are taken out of the first."""
        train, valid = super().get_split_datasets(X, y, **fit_params)
        self.judge_windows_ = self.judge_batches_ = self.judge_indices_ = None
        share = self.judge_share
        check_number("judge_share", share, lambda share: 0 <= share < 1, "it lies in [0, 1)")
        if share == 0:
            return train, valid
        if any(layer.selection != "single" for layer in self._learned_layers()):
            raise ValueError(f"judge_share={share} goes with selection='single'.")
        if vars(self).get("iterator_train__sampler") is not None:
            raise ValueError(
                f"judge_share={share} keeps windows apart, and iterator_train__sampler draws from all of them: leave "
                "out one of both."
            )
        n = len(train)
        n_judges = round(share * n)
        if not 0 < n_judges < n:
            raise ValueError(f"judge_share={share} of {n} windows leaves nothing to judge on or to train on.")
        generator = torch.Generator().manual_seed(derive_seed(self.seed_, _JUDGES))
        order = torch.randperm(n, generator=generator)
        judges = order[:n_judges].sort().values.tolist()
        self.judge_windows_ = Subset(train, judges)
        known = self.train_indices_  # a part of X, less what is to validate on
        self.judge_indices_ = judges if known is None else known[judges].tolist()
        return Subset(train, order[n_judges:].sort().values.tolist()), valid

    def _judging(self, judges: Any) -> Iterator[Any]:
        """Batches of the judges, again and again, shuffled as training batches are."""
        while True:
            found = False
            for batch in self.get_iterator(judges, training=True):
                found = True
                yield batch
            if not found:  # looking for one would never end
                raise ValueError(
                    f"judge_share={self.judge_share} makes {len(judges)} judges, from whom the iterator drops a batch "
                    f"that is smaller than {self.batch_size}: let more judge, or pass iterator_train__drop_last=False."
                )

    def on_epoch_begin(self, net: Any, dataset_train: Any = None, dataset_valid: Any = None, **kwargs: Any) -> None:
        """Begin a round of the judges, so that an epoch depends on nothing that a checkpoint does not hold."""
        super().on_epoch_begin(net, dataset_train=dataset_train, dataset_valid=dataset_valid, **kwargs)
        if self.judge_windows_ is not None:
            self.judge_batches_ = self._judging(self.judge_windows_)

    def fit_loop(self, *args: Any, **kwargs: Any) -> Any:
        """The epochs."""
        try:
            return super().fit_loop(*args, **kwargs)
        finally:
            self.judge_windows_ = self.judge_batches_ = None  # not to be pickled; made anew by the next fit

    def __getstate__(self) -> dict[str, Any]:
        # A callback may pickle or copy the estimator in the middle of a training.
        return super().__getstate__() | {"judge_windows_": None, "judge_batches_": None}

    def train_step_single(self, batch: Any, **fit_params: Any) -> dict[str, torch.Tensor]:
        """Forward and backward for one batch and, for the strengths, for a batch of judges."""
        if self.judge_batches_ is None:
            return super().train_step_single(batch, **fit_params)
        # Those that the user has frozen stay so.
        strengths = [layer.strengths for layer in self._learned_layers() if layer.strengths.requires_grad]
        if not strengths:
            return super().train_step_single(batch, **fit_params)
        for strength in strengths:
            strength.requires_grad_(False)
        try:
            step = super().train_step_single(batch, **fit_params)
        finally:
            for strength in strengths:
                strength.requires_grad_(True)
        for strength, gradient in zip(strengths, self._judge(strengths), strict=True):
            strength.grad = gradient
        return step

    def _judge(self, strengths: list[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        """Gradient of the loss of a batch of judges, with the network as it is at prediction."""
        Xi, yi = unpack_data(next(self.judge_batches_))
        Xi = to_tensor(Xi, device=self.device)
        trunk = self.module_.trunk
        with self._comparing(self._learned_layers()):
            trunk.eval()
            try:
                y_pred = self.module_.trunk_outputs(self.module_.augmentation(Xi))
            finally:
                trunk.train()
            cross_entropy = self.get_loss(y_pred, yi, X=Xi, training=True)
        self.n_forward_backward_ += 1
        self._note_terms(len(Xi), judge_ce=cross_entropy)
        return torch.autograd.grad(cross_entropy + self._penalty(), strengths)
