"""A trunk without its last layer: what another network's heads are put on."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from eegaug._convolutions import quick_convolutions
from eegaug._hooks import evaluating

__all__ = ["TrunkFeatures"]


class TrunkFeatures(nn.Module):
    """The features that a trunk's last layer reads, flattened.

    Parameters
    ----------
    trunk : torch.nn.Module
        Changed: its last layer, ``final_layer`` as braindecode calls it or else the last linear layer, is taken off.
    n_channels, n_times : int
        Shape of a window.

    Attributes
    ----------
    n_features : int

    Raises
    ------
    ValueError
        If the trunk has no layer that can be taken off, or does not run without it.

    Examples
    --------
    >>> import torch
    >>> from braindecode.models import SleepStagerChambon2018
    >>> trunk = SleepStagerChambon2018(n_chans=6, sfreq=128, n_times=3840, n_outputs=5)
    >>> TrunkFeatures(trunk, 6, 3840).n_features
    720
    """

    def __init__(self, trunk: nn.Module, n_channels: int, n_times: int):
        super().__init__()
        _take_off_head(trunk)
        self.trunk = trunk
        try:
            self.n_features = self._count(n_channels, n_times)
        except Exception as error:
            raise ValueError(
                f"{type(trunk).__name__} does not run without its last layer ({type(error).__name__}: {error}), so "
                "that nothing can be put on its features; use another trunk here."
            ) from error

    def forward(self, X: Tensor) -> Tensor:
        """Features, shape (batch, n_features)."""
        with quick_convolutions():
            return self.trunk(X).flatten(1)

    @torch.no_grad()
    def _count(self, n_channels: int, n_times: int) -> int:
        like = next(self.trunk.parameters(), torch.empty(0))
        with evaluating(self.trunk):  # a dry run leaves no trace in BatchNorm
            return self(torch.zeros(1, n_channels, n_times, dtype=like.dtype, device=like.device)).shape[1]


def _take_off_head(trunk: nn.Module) -> None:
    final = getattr(trunk, "final_layer", None)
    if isinstance(final, nn.Module):
        several = isinstance(final, nn.ModuleList)  # one for each part of a window
        trunk.final_layer = nn.ModuleList(_Unchanged() for _ in final) if several else _Unchanged()
        return
    linear = [name for name, layer in trunk.named_modules() if name and isinstance(layer, nn.Linear)]
    if not linear:
        raise ValueError(
            f"{type(trunk).__name__} has no final_layer and no linear layer, so that it is not known where its "
            "features end; call the trunk's last layer final_layer."
        )
    parent, _, name = linear[-1].rpartition(".")
    setattr(trunk.get_submodule(parent), name, _Unchanged())


class _Unchanged(nn.Module):
    """Gives its first argument back, whatever else it is told."""

    def forward(self, X: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """X."""
        return X
