"""What most operations have beside their application: a linear form, its coefficients, their slope in the magnitude.

Layers and searches read them to evaluate several operations with few products, and a single operation to differentiate
itself cheaply (`written_slope.py`). Whoever writes an operation may leave all of it out.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["LinearForm", "own_names"]

# The method that gives each linear form, where there is one.
_LINEAR_FORMS = {
    "gain": "time_gain",
    "spectrum": "spectral_change",
    "modulation": "modulation",
    "mixing": "mixing_matrix",
}
# What goes with coefficients: a subclass with others does not inherit it.
_WRITTEN_OUT = {"linear_slope", "mixing_and_slope", "product_and_slope", "mixing_of_members", "mixing_of_waves"}


def own_names(cls: type) -> set[str]:
    """Names that a class defines itself or has from mixins, that is before the first operation it inherits from."""
    names = set(vars(cls))
    for base in cls.__mro__[1:]:
        if issubclass(base, LinearForm):
            break
        names |= set(vars(base))
    return names


class LinearForm:
    """The part of `Operation` that says how it acts on a signal, where it can be said without the signal."""

    # How the operation acts on a signal, for code that evaluates several operations at once: "reverse", "gain"
    # (time_gain), "noise", "spectrum" (spectral_change), "modulation" (modulation), "mixing" (mixing_matrix) or None.
    linear_form: str | None = None
    # What multiplies the signal, where the operation has its derivative in the magnitude written out: as above, except
    # that "gain" may differ between channels.
    product_form: str | None = None
    # Of operations that mix channels: matrices and slopes from decisions about channels (`membership`), or from cosines
    # and sines of an angle (`swing`), so that those of several operations are computed together.
    mixing_of_members: Any = None
    mixing_of_waves: Any = None

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        # A subclass that does something else than its parent does not act in its parent's linear form either.
        own = own_names(cls)
        if "transform" in own and "linear_form" not in own and _LINEAR_FORMS.get(cls.linear_form) not in own:
            cls.linear_form = None
        if "transform" in own and "product_form" not in own:
            cls.product_form = None
        # And one whose coefficients are others does not have their slope.
        if any(name in own for name in _LINEAR_FORMS.values()):
            for written_out in _WRITTEN_OUT - own:
                setattr(cls, written_out, getattr(LinearForm, written_out))
            if cls.product_form is not None and not {"product_form", "product_and_slope"} & own:
                cls.product_form = cls.linear_form

    def linear_value(self, magnitude: Tensor | None, noise: dict[str, Tensor], n_channels: int, n_times: int) -> Any:
        """Coefficients of the operation in its linear form: what the method of that form gives."""
        method = getattr(self, _LINEAR_FORMS[self.linear_form])
        return method(magnitude, noise, n_channels if self.linear_form == "mixing" else n_times)

    def linear_slope(
        self,
        value: Any,
        magnitude: Tensor,
        noise: dict[str, Tensor],
        n_channels: int,
        n_times: int,
    ) -> Any:
        """Derivative of :meth:`linear_value` in the magnitude, in its shape. By autograd, unless it is written out.

        Parameters
        ----------
        value : Tensor or tuple of Tensor
            What :meth:`linear_value` gave.
        magnitude : Tensor, shape (batch,) or (1,)
        noise, n_channels, n_times
            As there.
        """
        with torch.inference_mode(False), torch.enable_grad():
            at = magnitude.detach().clone().requires_grad_()
            values = self.linear_value(at, noise, n_channels, n_times)
            several = isinstance(values, tuple)
            values = values if several else (values,)
            # The derivative of a product with probes, taken once more in the probes, runs forwards.
            probes = [torch.zeros_like(v).requires_grad_() for v in values]
            (pulled,) = torch.autograd.grad(values, at, probes, create_graph=True)
            slopes = torch.autograd.grad(pulled.sum(), probes, allow_unused=True, materialize_grads=True)
        return slopes if several else slopes[0]

    def mixing_and_slope(self, magnitude: Tensor, noise: dict[str, Tensor], n_channels: int) -> tuple[Tensor, Tensor]:
        """Matrices of an operation that mixes channels, and their derivative in magnitudes (batch,) or (1,)."""
        value = self.linear_value(magnitude, noise, n_channels, 0)
        return value, self.linear_slope(value, magnitude, noise, n_channels, 0)

    def fixed_mixing(self, noise: dict[str, Tensor], n_channels: int, like: Tensor) -> Tensor:
        """Matrices of an operation without a magnitude that mixes channels, on the device and in the dtype of `like`.

        Made once, where nothing about them is drawn.
        """
        if noise:
            return self.mixing_matrix(None, noise, n_channels).to(like)
        return self._constant(f"mixing {n_channels}", like, lambda: (self.mixing_matrix(None, {}, n_channels),))[0]

    def same_channels(self, n_channels: int, like: Tensor) -> Tensor:
        """The matrix that leaves all channels as they are, made once."""
        return self._constant(f"identity {n_channels}", like, lambda: (torch.eye(n_channels, device="cpu"),))[0]

    def product_and_slope(
        self, magnitude: Tensor, noise: dict[str, Tensor], n_channels: int, n_times: int
    ) -> tuple[Any, Tensor | None]:
        """What multiplies the signal, and its derivative in magnitudes of shape (batch,) or (1,).

        None instead of the derivative: :meth:`linear_slope` gives it when it is needed.
        """
        if self.linear_form == "mixing":
            return self.mixing_and_slope(magnitude, noise, n_channels)
        return self.linear_value(magnitude, noise, n_channels, n_times), None
