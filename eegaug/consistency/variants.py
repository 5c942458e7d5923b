"""Where variants of windows come from: policies, operations, transforms, augmentation layers."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from braindecode.augmentation import Transform
from torch import Tensor, nn

from eegaug._convolutions import quick_convolutions
from eegaug._named_operations import as_policy, is_one_operation, named_operation
from eegaug._transform_draws import reseed
from eegaug.augnet.layers import AugmentationLayer
from eegaug.augnet.module import AugmentationModule
from eegaug.augnet.penalties import norm_of_layers
from eegaug.operations import FAMILIES
from eegaug.policies import Policy

__all__ = ["VariantModel", "Variants"]

# Probability of an operation that is only named, as in the fixed policy: the network sees windows as they are, too.
_PROBABILITY = 0.5


class Variants:
    """Makes the variants of a batch.

    Parameters
    ----------
    specs : sequence
        One source for all variants, which draws for each of them, or one for each; see :class:`eegaug.AITClassifier`.
    n : int
        Number of variants, where there is one source for all.
    sfreq, ch_names, positions
        What operations have to know, see :func:`eegaug.operations.get_operation`.

    Attributes
    ----------
    n_modules : int
        How many sources are modules; see :meth:`take_modules`.
    policies : list
        Sources that are policies, each once.
    """

    def __init__(self, specs: Sequence[Any], n: int, **about: Any):
        self._modules: list[nn.Module] = []
        self.policies: list[Any] = []
        self.sources = [self._source(spec, about) for spec in specs]
        if len(specs) == 1:
            self.sources *= n
        self.n_modules = len(self._modules)

    def take_modules(self) -> list[nn.Module]:
        """Copies of the sources that are modules, to be had, moved, saved and trained by the network."""
        modules, self._modules = self._modules, []
        return modules

    def _source(self, spec: Any, about: dict[str, Any]) -> Any:
        """A policy, a function, None, or the place of a module in the list."""
        source = variant_source(spec, **about)
        if isinstance(source, nn.Module):
            self._modules.append(source)
            return len(self._modules) - 1
        if hasattr(source, "apply"):
            self.policies.append(source)
        return source

    def __len__(self) -> int:
        return len(self.sources)

    def make(self, X: Tensor, y: Any, modules: Sequence[nn.Module]) -> Tensor:
        """All variants of a batch, one after the other.

        Parameters
        ----------
        X : Tensor of shape (batch, channels, times) or (batch, windows, channels, times)
        y : labels
            For policies that look at them.
        modules : sequence of torch.nn.Module
            Those of :meth:`take_modules`, in their order.

        Returns
        -------
        Tensor of shape (n_variants * batch, ...)
        """
        first = self.sources[0]
        if all(source is first or source == first for source in self.sources):
            # One source: one call, in which every window draws for itself.
            n = len(self.sources)
            return _apply(first, X.repeat(n, *[1] * (X.ndim - 1)), tiled(y, n), modules)
        return torch.cat([_apply(source, X, y, modules) for source in self.sources])


class VariantModules(nn.ModuleList):
    """The modules that make variants in training, and have no part in predictions."""

    @property
    def layers(self) -> list[AugmentationLayer]:
        """The augmentation layers of all modules, one after the other."""
        return [part for part in self.modules() if isinstance(part, AugmentationLayer)]

    def project_(self) -> None:
        """Bring all strengths back into [0, 1]."""
        for layer in self.layers:
            layer.project_()


class WithVariants(nn.Module):
    """What is trained, together with the modules that make its variants: ``augmentation``."""

    augmentation: VariantModules

    def regularization(self, kind: str, reduction: str, limit: float | None = None) -> Tensor:
        """The norm that training rewards, over the layers of all modules."""
        return norm_of_layers(self.augmentation.layers, kind, reduction, limit)

    def project_(self) -> None:
        """Bring all strengths back into [0, 1]."""
        self.augmentation.project_()


class VariantModel(WithVariants):
    """A trunk together with the modules that make its variants."""

    def __init__(self, trunk: nn.Module, augmentation: Iterable[nn.Module]):
        super().__init__()
        self.trunk = trunk
        self.augmentation = VariantModules(augmentation)

    def forward(self, X: Tensor) -> Tensor:
        """Logits of the trunk for windows as they are."""
        with quick_convolutions():
            return self.trunk(X)


def variant_source(
    spec: Any, *, sfreq: float | None = None, ch_names: Sequence[str] | None = None, positions: Any = None
) -> Any:
    """What makes a variant: a policy, a module of its own, a function, or None for windows as they are.

    Raises
    ------
    TypeError
        For anything else.
    ValueError
        If an operation is unknown or lacks something it needs.
    """
    about = {"sfreq": sfreq, "ch_names": ch_names, "positions": positions}
    if spec is None:
        return None
    if isinstance(spec, AugmentationLayer):
        return AugmentationModule([copy.deepcopy(spec)])
    if isinstance(spec, nn.Module):
        return copy.deepcopy(spec)
    if isinstance(spec, str) and spec == "fixed":
        if sfreq is None:
            raise ValueError("the fixed policy needs the sampling rate; pass sfreq=<Hz>.")
        return Policy.fixed_sleep(**about)
    if isinstance(spec, str) and spec in FAMILIES:
        n_channels = None if ch_names is None else len(ch_names)
        found = [named_operation(name, **about) for name in FAMILIES[spec]]
        if n_channels is not None:
            found = [one for one in found if one.operation.void_reason(n_channels) is None]
        return as_policy(found, _PROBABILITY, **about)
    if is_one_operation(spec):
        spec = [spec]
    if isinstance(spec, (list, tuple)):
        if not spec:
            return None
        return as_policy([named_operation(one, **about) for one in spec], _PROBABILITY, **about)
    if hasattr(spec, "apply") or isinstance(spec, Callable):
        return spec
    raise TypeError(
        f"a variant is a Policy, a list of operations, a braindecode transform, an AugmentationModule, a function or "
        f"None, got a {type(spec).__name__}."
    )


def _apply(source: Any, X: Tensor, y: Any, modules: Sequence[nn.Module]) -> Tensor:
    if source is None:
        return X
    if isinstance(source, int):
        source = modules[source]
    if isinstance(source, Transform):
        reseed(source)
        # Some of braindecode's transforms cannot do without labels; they get numbers, and have to leave them alone.
        numbers = torch.arange(len(X), device=X.device)
        out, after = source(X, numbers)
        if not isinstance(after, Tensor) or not torch.equal(after.to(numbers), numbers):
            raise ValueError(f"{type(source).__name__} changes labels: variants keep theirs.")
        return out
    if getattr(source, "needs_labels", False):
        return source.apply(X, y)[0]
    out = source(X) if isinstance(source, nn.Module) else getattr(source, "apply", source)(X)
    out = out[0] if isinstance(out, tuple) else out
    if not isinstance(out, Tensor) or out.shape != X.shape:
        shape = tuple(getattr(out, "shape", ())) or type(out).__name__
        raise ValueError(f"a variant of windows {tuple(X.shape)} came out as {shape}; shapes have to stay.")
    return out


def tiled(y: Any, n: int) -> Any:
    """Labels of `n` variants, one after the other."""
    if isinstance(y, Tensor):
        return y.repeat(n, *[1] * (y.ndim - 1)) if y.ndim else y
    if isinstance(y, (tuple, list)):  # mixed-up targets of braindecode
        return tuple(tiled(part, n) for part in y)
    return y if np.ndim(y) == 0 else np.concatenate([np.asarray(y)] * n)
