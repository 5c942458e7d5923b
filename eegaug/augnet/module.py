"""Augmentation layers, one after the other: what AugNet puts in front of a network."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from eegaug.augnet._compile import uncompiled
from eegaug.augnet.layers import AugmentationLayer, resolve_operations, warn_left_out
from eegaug.augnet.sampling import Draw, choose_operations
from eegaug.operations import get_operation

__all__ = ["AugmentationModule"]


#: Whether torch.export is at work, which torch 2.6 does not tell.
_exporting = getattr(torch.compiler, "is_exporting", bool)


class AugmentationModule(nn.Module):
    """Augmentation layers, one after the other.

    In training each layer is a weighted sum. In evaluation the module is a set of ``n_copies`` transformations, each
    with one operation per layer, drawn from the learned weights: stratified over the copies, so that weights of 0.5
    and 0.5 give each operation to two copies of four. All that is random about them comes from a seeded sequence that
    is drawn on the CPU and serves every window alike: results depend neither on the batch, nor on the order, nor on
    the device.

    Parameters
    ----------
    layers : iterable
        Of :class:`AugmentationLayer`, or of what one is made from: ``"time-frequency"``, ``"sensors"``, ``"all"`` or a
        list of operations.
    sfreq, ch_names, positions, temperature, initial_strength, selection, identity_share
        For layers that are built here, see :class:`AugmentationLayer`. One that is ready-made keeps its settings and
        has to be for this signal.

    Examples
    --------
    >>> module = AugmentationModule(["time-frequency", ["sign_flip"]], sfreq=100)
    >>> [len(layer.operations) for layer in module.layers]
    [6, 1]
    """

    def __init__(
        self,
        layers: Iterable[Any],
        sfreq: float | None = None,
        ch_names: Sequence[str] | None = None,
        positions: Any = None,
        *,
        temperature: float = 0.01,
        initial_strength: float = 0.1,
        selection: str = "weighted",
        identity_share: float = 0.0,
    ):
        super().__init__()
        if isinstance(layers, (str, AugmentationLayer)):
            raise TypeError(f"layers is a single {type(layers).__name__}; put it into a list.")
        built, left_out = [], {}
        for spec in layers:
            if not isinstance(spec, AugmentationLayer):
                operations, void = resolve_operations(spec, sfreq, ch_names, positions)
                left_out |= void
                spec = AugmentationLayer(
                    operations,
                    temperature=temperature,
                    initial_strength=initial_strength,
                    selection=selection,
                    identity_share=identity_share,
                )
            else:
                for operation in spec.operations:  # refused where it was built for another signal
                    get_operation(operation, sfreq=sfreq, ch_names=ch_names)
            built.append(spec)
        if not built:
            raise ValueError("layers is empty; AugNet needs one layer or more.")
        warn_left_out(left_out)
        self.layers = nn.ModuleList(built)
        self._plan = None
        self._settled = False  # whether the plan is that of the weights as they are

    @uncompiled
    def forward(self, X: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Augment windows: weighted sums in training, the only copy of a prediction with one copy in evaluation."""
        if not self.training:
            return self.transform(X, copy=0, n_copies=1)
        for layer in self.layers:
            X = layer(X, generator)
        return X

    @uncompiled
    def transform(self, X: Tensor, copy: int = 0, n_copies: int = 4, seed: int = 0) -> Tensor:
        """What copy number `copy` of `n_copies` sees at prediction."""
        return self.apply_draws(X, self.plan(n_copies, seed)[copy])

    @uncompiled
    def apply_draws(self, X: Tensor, draws: list[Draw]) -> Tensor:
        """One operation of each layer, as a copy's part of a :meth:`plan` says."""
        for layer, draw in zip(self.layers, draws, strict=True):
            X = layer.apply_one(X, draw)
        return X

    def plan(self, n_copies: int, seed: int) -> list[list[Draw]]:
        """The draw of each copy and layer, from the weights as they are now; kept until the weights change."""
        if _exporting():  # weights have no values then: it is the plan of the last prediction
            if not self._settled or self._plan is None or self._plan[0][:2] != (n_copies, seed):
                raise RuntimeError("a model is exported after it has predicted: call it once, in evaluation mode.")
            return self._plan[1]
        key = (n_copies, seed, tuple(tuple(layer.shares()) for layer in self.layers))
        if self._plan is None or self._plan[0] != key:
            self._plan = (key, choose_operations(key[2], n_copies, seed))
        self._settled = True
        return self._plan[1]

    def train(self, mode: bool = True) -> AugmentationModule:
        self._settled = self._settled and not mode
        return super().train(mode)

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        self._settled = False
        super()._load_from_state_dict(*args, **kwargs)

    @property
    def weights(self) -> list[Tensor]:
        """Weights of each layer."""
        return [layer.weights for layer in self.layers]

    @property
    def strengths(self) -> list[Tensor]:
        """Strengths of each layer."""
        return [layer.strengths for layer in self.layers]

    def project_(self) -> None:
        """Bring all strengths back into [0, 1]; to be called after each step of the optimiser."""
        for layer in self.layers:
            layer.project_()

    def describe(self) -> list[dict[str, Any]]:
        """One row for each operation of each layer: layer, operation, weight, magnitude, strength, unit."""
        return [{"layer": i} | row for i, layer in enumerate(self.layers) for row in layer.describe()]

    def get_config(self) -> list[dict[str, Any]]:
        """The layers as plain data, without what is learned; see :meth:`from_config`."""
        return [
            {
                "temperature": layer.temperature,
                "selection": layer.selection,
                "identity_share": layer.identity_share,
                "operations": [op.get_config() for op in layer.operations],
            }
            for layer in self.layers
        ]

    @classmethod
    def from_config(cls, config: Iterable[dict[str, Any]]) -> AugmentationModule:
        """Layers from :meth:`get_config`; operations of one's own have to be registered.

        Raises
        ------
        ValueError
            If an operation is not known.
        """
        layers = []
        for one in config:
            operations = [get_operation(**{"warn": False} | op) for op in one["operations"]]
            settings = {key: one[key] for key in ("temperature", "selection", "identity_share") if key in one}
            layers.append(AugmentationLayer(operations, **settings))
        return cls(layers)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_plan": None, "_settled": False}
