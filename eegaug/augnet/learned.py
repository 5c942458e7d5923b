"""What estimators share whose augmentation is learned with the network: optimiser, penalty, history, tables."""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd
import torch
from skorch.utils import to_tensor
from torch.utils.data import Subset

from eegaug._hooks import evaluating
from eegaug._validation import check_number
from eegaug.augnet.effects import measure_effects, measure_full_changes
from eegaug.augnet.layers import AugmentationLayer, physical

__all__ = ["DEFAULTS", "LearnedAugmentation"]

#: Penalty, its kind and the schedule of the learning rate, where nothing is said.
DEFAULTS = {"weighted": (10.0, "selective", "constant"), "single": (0.1, "log", "cosine")}
# The penalty where the change of the signal is rewarded.
_CHANGE_PENALTY = 0.5
# Training windows on which the effects of operations are measured: each operation goes through all of them.
_MEASURED = 256


class LearnedAugmentation:
    """The part of an estimator that trains augmentation layers.

    Goes before :class:`eegaug.StagingClassifier`. Its ``module_`` keeps the layers under the name ``augmentation`` and
    has ``regularization`` and ``project_``, as :class:`eegaug.AugAveragedModel` has; what is to be learned there may
    also be nothing.
    """

    def _learned_layers(self) -> list[AugmentationLayer]:
        return list(self.module_.augmentation.layers)

    def _has_layers_before_trunk(self) -> bool:
        """Whether ``module_`` is a trunk together with its augmentation, and not a trunk alone."""
        return True

    def get_params_for_optimizer(self, prefix: str, named_parameters: Any) -> tuple[tuple, dict]:
        """Two groups of parameters: the trunk's, and those of the augmentation with their own rate and decay."""
        if not self._has_layers_before_trunk():  # which may have parts of the same names
            return super().get_params_for_optimizer(prefix, named_parameters)
        trunk, augmentation = [], []
        for name, parameter in named_parameters:
            if _is_augmentation(name):
                augmentation.append(parameter)
            else:
                # By their names in the trunk, so that ``optimizer__param_groups`` reads as it does without layers.
                trunk.append((name.removeprefix("_orig_mod.").removeprefix("trunk."), parameter))
        args, kwargs = super().get_params_for_optimizer(prefix, trunk)
        if not augmentation:
            return args, kwargs
        for name in ("augmentation_lr", "augmentation_weight_decay"):  # of groups, torch checks neither
            value = getattr(self, name)
            if value is not None or name == "augmentation_weight_decay":
                check_number(name, value, lambda rate: 0 <= rate < math.inf, "it is 0 or more")
        group: dict[str, Any] = {"params": augmentation}
        if self.augmentation_lr is not None:
            group["lr"] = self.augmentation_lr
        if "weight_decay" in inspect.signature(getattr(self, prefix)).parameters:
            group["weight_decay"] = self.augmentation_weight_decay
        args[0].append(group)
        return args, kwargs

    def set_params(self, **kwargs: Any) -> Any:
        """Set parameters; of a fitted estimator rates and decay of the trunk and of the augmentation apart."""
        super().set_params(**kwargs)
        touched = any(name == "lr" or name.startswith(("optimizer__", "augmentation_")) for name in kwargs)
        if touched and self.initialized_ and self._learned_layers():
            group = self.optimizer_.param_groups[-1]
            if self.augmentation_lr is not None:
                group["lr"] = self.augmentation_lr
            if "weight_decay" in group:
                group["weight_decay"] = self.augmentation_weight_decay
        return self

    def train_step(self, batch: Any, **fit_params: Any) -> dict[str, torch.Tensor]:
        """One step of the optimiser; afterwards strengths are brought back into [0, 1]."""
        step = super().train_step(batch, **fit_params)
        if self._learned_layers():
            self.module_.project_()
        return step

    @contextmanager
    def _comparing(self, layers: Iterable[AugmentationLayer]) -> Iterator[None]:
        """Let the loss of each window of a batch say what operations that decide did to it.

        See :func:`eegaug.augnet.single.comparison_of_losses`; elsewhere nobody makes use of what layers have drawn.
        """
        comparable = getattr(self.criterion_, "reduction", None) == "mean"
        layers = [layer for layer in layers if comparable and layer.selection == "single"]
        for layer in layers:
            layer.compares_losses, layer.drawn = True, []
        try:
            yield
        finally:
            for layer in layers:
                layer.compares_losses, layer.drawn = False, []

    def _loss_of_each(self, y_pred: torch.Tensor, y_true: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Loss of each window, weighted by its class; their mean is that of the batch."""
        self.criterion_.reduction = "none"
        try:
            each = super().get_loss(y_pred, y_true, *args, **kwargs)
        finally:
            self.criterion_.reduction = "mean"
        weights, codes = getattr(self.criterion_, "weight", None), self._codes(y_true)
        if weights is None or isinstance(codes, tuple):  # of windows that are mixed torch takes the plain mean
            return each
        return each / weights[codes.to(weights.device)].mean()

    def _penalty(self) -> torch.Tensor | None:
        if not self._learned_layers():
            return None
        penalty, kind = self._default_penalty()
        norm = self.module_.regularization(kind, self.penalty_reduction, self.penalty_limit)
        return -(penalty if self.penalty is None else self.penalty) * norm

    def _default_penalty(self) -> tuple[float, str]:
        """What is used of a penalty where nothing is said about its size, and its kind."""
        kinds = {layer.selection for layer in self._learned_layers()}
        penalty, kind, _ = DEFAULTS[kinds.pop() if len(kinds) == 1 else "weighted"]
        kind = kind if self.penalty_kind is None else self.penalty_kind
        return _CHANGE_PENALTY if kind == "change" else penalty, kind

    def get_split_datasets(self, X: Any, y: Any = None, **fit_params: Any) -> tuple[Any, Any]:
        """Training and validation data; where it is rewarded, how far operations change the first is measured."""
        train, valid = super().get_split_datasets(X, y, **fit_params)
        layers = self._learned_layers() if getattr(self, "fitting_", False) else []
        if layers and len(train) and self._default_penalty()[1] == "change":
            batches = self._batches_to_measure_on(train, range(len(train)))
            # Always the same draws, so that a training that goes on from a checkpoint has the same reward as before.
            generator = torch.Generator().manual_seed(0)
            measure_full_changes(layers, (to_tensor(X, device=self.device) for X, _ in batches), generator)
        return train, valid

    def on_epoch_end(self, net: Any, dataset_train: Any = None, dataset_valid: Any = None, **kwargs: Any) -> None:
        """Write weights and magnitudes into the history."""
        super().on_epoch_end(net, dataset_train=dataset_train, dataset_valid=dataset_valid, **kwargs)
        if layers := self._learned_layers():
            self.history.record("weights", [layer.host_weights() for layer in layers])
            self.history.record("magnitudes", [layer.strengths.detach().tolist() for layer in layers])

    @contextmanager
    def _training(self, *args: Any, **kwargs: Any) -> Iterator[tuple[Any, np.ndarray]]:
        with super()._training(*args, **kwargs) as (windows, labels):
            yield windows, labels
            self._measure_effects(windows, labels)

    def _measure_effects(self, windows: Any, labels: np.ndarray) -> None:
        """Measure what operations that were learned one by one do to training windows, spread over all of them.

        Where some windows judge the strengths, on these.
        """
        layers = [layer for layer in self._learned_layers() if layer.selection == "single"]
        if not layers:
            return
        trunk = getattr(self.module_, "trunk", self.module_)
        known = getattr(self, "judge_indices_", None) or self.train_indices_
        known = range(len(windows)) if known is None else known
        batches = self._batches_to_measure_on(self.get_dataset(windows, labels), known)
        with evaluating(self.module_):
            measure_effects(
                layers,
                ((to_tensor(X, device=self.device), y) for X, y in batches),
                lambda X, y: self.get_loss(trunk(X), y, X=X, training=False),
            )

    def _batches_to_measure_on(self, dataset: Any, known: Sequence[int]) -> Any:
        """Batches of what training sees, spread over all of it: of the windows that are known, or a sampler's draws."""
        sampler = vars(self).get("iterator_train__sampler")
        if sampler is None:
            some = np.asarray(known)[_spread(len(known))].tolist()
        else:
            places = set(_spread(len(sampler)))
            some = [index for i, index in enumerate(copy.deepcopy(sampler)) if i in places]
        given = vars(self).pop("iterator_valid__sampler", None)  # of other windows
        try:
            return self.get_iterator(Subset(dataset, some), training=False)
        finally:
            if given is not None:
                self.iterator_valid__sampler = given

    @property
    def invariances_(self) -> pd.DataFrame:
        """What the layers have learned: layer, operation, weight, magnitude, strength, unit.

        Where each window goes through one operation, also ``signal_change`` and ``loss_rise``: what each operation does
        by itself, at its strength, to training windows and to their loss (see
        :func:`eegaug.augnet.effects.measure_effects`).
        """
        self.check_is_fitted(["module_"])
        layers = self._learned_layers()
        rows = [{"layer": i} | row for i, layer in enumerate(layers) for row in layer.describe()]
        columns = ["layer", "operation", "weight", "magnitude", "strength", "unit"]
        if any(layer.selection == "single" for layer in layers):
            columns += ["signal_change", "loss_rise"]
        return pd.DataFrame(rows, columns=columns)

    @property
    def invariances_history_(self) -> pd.DataFrame:
        """What the layers had learned after each epoch: ``epoch`` and the columns of ``invariances_``."""
        self.check_is_fitted(["module_"])
        rows = []
        for row in self.history:
            if "weights" not in row:  # an epoch that was broken off
                continue
            for number, (layer, weights, strengths) in enumerate(
                zip(self._learned_layers(), row["weights"], row["magnitudes"], strict=True)
            ):
                for op, weight, strength in zip(layer.operations, weights, strengths, strict=True):
                    known = {"epoch": row["epoch"], "layer": number, "operation": op.name}
                    rows.append(known | {"weight": weight, "magnitude": strength} | physical(op, strength))
        columns = ["epoch", "layer", "operation", "weight", "magnitude", "strength", "unit"]
        return pd.DataFrame(rows, columns=columns)


def _spread(n: int) -> list[int]:
    """Places of the windows to measure on, spread over all of n."""
    return np.unique(np.linspace(0, n - 1, _MEASURED).round().astype(int)).tolist()


def _is_augmentation(name: str) -> bool:
    return name.removeprefix("_orig_mod.").startswith("augmentation.")
