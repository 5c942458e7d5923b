"""What estimators share whose augmentation is learned with the network: optimiser, penalty, history, tables."""

from __future__ import annotations

import inspect
from typing import Any

import pandas as pd
import torch

from eegaug.augnet.layers import AugmentationLayer, physical

__all__ = ["LearnedAugmentation"]


class LearnedAugmentation:
    """The part of an estimator that trains augmentation layers.

    Goes before :class:`eegaug.StagingClassifier`. Its ``module_`` keeps the layers under the name ``augmentation`` and
    has ``regularization`` and ``project_``, as :class:`eegaug.AugAveragedModel` has; what is to be learned there may
    also be nothing.
    """

    def _learned_layers(self) -> list[AugmentationLayer]:
        return list(self.module_.augmentation.layers)

    def get_params_for_optimizer(self, prefix: str, named_parameters: Any) -> tuple[tuple, dict]:
        """Two groups of parameters: the trunk's, and those of the augmentation with their own rate and decay."""
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
        group: dict[str, Any] = {"params": augmentation}
        if self.augmentation_lr is not None:
            group["lr"] = self.augmentation_lr
        if "weight_decay" in inspect.signature(getattr(self, prefix)).parameters:
            group["weight_decay"] = self.augmentation_weight_decay
        args[0].append(group)
        return args, kwargs

    def train_step(self, batch: Any, **fit_params: Any) -> dict[str, torch.Tensor]:
        """One step of the optimiser; afterwards strengths are brought back into [0, 1]."""
        step = super().train_step(batch, **fit_params)
        if self._learned_layers():
            self.module_.project_()
        return step

    def _penalty(self) -> torch.Tensor | None:
        if not self._learned_layers():
            return None
        norm = self.module_.regularization(self.penalty_kind, self.penalty_reduction, self.penalty_limit)
        return -self.penalty * norm

    def on_epoch_end(self, net: Any, dataset_train: Any = None, dataset_valid: Any = None, **kwargs: Any) -> None:
        """Write weights and magnitudes into the history."""
        super().on_epoch_end(net, dataset_train=dataset_train, dataset_valid=dataset_valid, **kwargs)
        if layers := self._learned_layers():
            self.history.record("weights", [layer.host_weights() for layer in layers])
            self.history.record("magnitudes", [layer.strengths.detach().tolist() for layer in layers])

    @property
    def invariances_(self) -> pd.DataFrame:
        """What the layers have learned: layer, operation, weight, magnitude, strength, unit."""
        self.check_is_fitted(["module_"])
        rows = [{"layer": i} | row for i, layer in enumerate(self._learned_layers()) for row in layer.describe()]
        return pd.DataFrame(rows, columns=["layer", "operation", "weight", "magnitude", "strength", "unit"])

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


def _is_augmentation(name: str) -> bool:
    return name.removeprefix("_orig_mod.").startswith("augmentation.")
