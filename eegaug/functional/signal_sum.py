"""What a weighted sum of linear operations does to a signal, once its coefficients are known; and its derivatives.

Written out because autograd's own derivative of ``rfft`` is a complex FFT of the full length, because the spectrum of
the gradient serves several terms, and because most of what is large can be written over.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from eegaug.functional.frequency import quarter_turn
from eegaug.functional.sensors import full_precision

__all__ = ["Derived", "SignalSum", "SumGradient"]


class Derived(NamedTuple):
    """What a sum needed of a signal beside the signal itself, and the gradient needs again."""

    spectrum: Tensor | None = None
    turned: Tensor | None = None
    reversed: Tensor | None = None


@dataclass
class SignalSum:
    """``gain * X + flip * reversed(X) + quadrature * hilbert(X) + filtered(X, response) + matrix @ X + scale * noise``.

    Parameters
    ----------
    gain, quadrature : Tensor, shape (batch or 1, 1, times or 1), or None
    flip : Tensor, shape (batch or 1, 1, 1), or None
    response : Tensor, real or complex, shape (batch or 1, channels or 1, times // 2 + 1), or None
    matrix : Tensor, shape (batch or 1, channels, channels), or None
    noises : list of (noise, scale)
        Tensors of shape (batch, channels, times) and what broadcasts to it.
    """

    gain: Tensor | None = None
    flip: Tensor | None = None
    quadrature: Tensor | None = None
    response: Tensor | None = None
    matrix: Tensor | None = None
    noises: list[tuple[Tensor, Tensor]] = field(default_factory=list)

    def evaluate(self, X: Tensor, known: Derived | None = None) -> tuple[Tensor, Derived]:
        """The sum for a signal (batch, channels, times), and what was derived from it or is known already."""
        spectrum, turned, backwards = known or Derived()
        n_times = X.shape[-1]
        total = scratch = None
        if spectrum is None and (self.response is not None or (self.quadrature is not None and turned is None)):
            spectrum = torch.fft.rfft(X)
        if self.response is not None:
            scratch = spectrum * self.response
            total = torch.fft.irfft(scratch, n=n_times)
        if self.matrix is not None:
            total = _plus(total, _mixed(self.matrix, X))
        total = _plus_product(total, X, self.gain)
        if self.quadrature is not None:
            if turned is None:
                turned = torch.mul(spectrum, quarter_turn(n_times, X.dtype, X.device), out=scratch)
                turned = torch.fft.irfft(turned, n=n_times)
            total = _plus_product(total, turned, self.quadrature)
        if self.flip is not None:
            backwards = X.flip(-1) if backwards is None else backwards
            total = _plus_product(total, backwards, self.flip)
        for noise, scale in self.noises:
            total = _plus_product(total, noise, scale)
        return total, Derived(spectrum, turned, backwards)


class SumGradient:
    """Gradients to the coefficients of a :class:`SignalSum`, each computed once and only if it is asked for.

    Parameters
    ----------
    terms : SignalSum
    grad : Tensor, shape (batch, channels, times)
        To the sum.
    X : Tensor
    known : Derived
        The signal, and what :meth:`SignalSum.evaluate` gave with the sum.
    """

    def __init__(self, terms: SignalSum, grad: Tensor, X: Tensor, known: Derived):
        self.terms, self.grad, self.X, self.known = terms, grad, X, known
        self.n_times = X.shape[-1]

    @cached_property
    def gain(self) -> Tensor:
        """Shape (batch, 1, times)."""
        return self._times_grad(self.X).sum(1, keepdim=True)

    @cached_property
    def flip(self) -> Tensor:
        """Shape (batch, 1, 1)."""
        return self._times_grad(self.known.reversed).sum((1, 2), keepdim=True)

    @cached_property
    def quadrature(self) -> Tensor:
        """Shape (batch, 1, times)."""
        return self._times_grad(self.known.turned).sum(1, keepdim=True)

    @cached_property
    def response(self) -> Tensor:
        """Complex, shape (batch, channels of the response, times // 2 + 1)."""
        product = torch.conj_physical(self.known.spectrum).mul_(self._backwards)
        if self.terms.response.shape[1] == 1:
            product = product.sum(1, keepdim=True)
        return product * _multiplicity(self.n_times, self.X.dtype, self.X.device)

    @cached_property
    def matrix(self) -> Tensor:
        """Shape (batch, channels, channels)."""
        with full_precision(self.X):
            return torch.bmm(self.grad, self.X.transpose(1, 2))

    def _times_grad(self, signal: Tensor) -> Tensor:
        """Product with the gradient, written over the last such product: fresh memory costs more than the product."""
        return torch.mul(self.grad, signal, out=self._scratch)

    @cached_property
    def _scratch(self) -> Tensor:
        return torch.empty_like(self.grad)

    @cached_property
    def _backwards(self) -> Tensor:
        return torch.fft.rfft(self.grad)

    def of_signal(self) -> Tensor:
        """To the signal; to be asked for last, since what it is made from is written over."""
        terms, grad, total, spectrum = self.terms, self.grad, None, None
        if terms.response is not None:
            spectrum = self._backwards.mul_(terms.response.conj())
        if terms.quadrature is not None:
            turned = torch.fft.rfft(self._times_grad(terms.quadrature))
            turn = quarter_turn(self.n_times, grad.dtype, grad.device)
            # Back: with the opposite sign.
            spectrum = turned.mul_(turn).neg_() if spectrum is None else spectrum.addcmul_(turned, turn, value=-1.0)
        if spectrum is not None:
            total = torch.fft.irfft(spectrum, n=self.n_times)
        if terms.matrix is not None:
            total = _plus(total, _mixed(terms.matrix.transpose(1, 2), grad))
        total = _plus_product(total, grad, terms.gain)
        if terms.flip is not None:
            total = _plus_product(total, grad.flip(-1), terms.flip)
        return torch.zeros_like(grad) if total is None else total


def _mixed(matrix: Tensor, X: Tensor) -> Tensor:
    with full_precision(X):
        return torch.bmm(matrix.expand(X.shape[0], -1, -1), X)


def _plus(total: Tensor | None, term: Tensor) -> Tensor:
    return term if total is None else total.add_(term)


def _plus_product(total: Tensor | None, signal: Tensor, factor: Tensor | None) -> Tensor | None:
    if factor is None:
        return total
    return signal * factor if total is None else total.addcmul_(signal, factor)


@lru_cache(maxsize=32)
def _multiplicity(n_times: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """How often each coefficient of a half spectrum stands in the full one, over its length."""
    with torch.inference_mode(False), torch.no_grad():
        times = torch.full((n_times // 2 + 1,), 2.0 / n_times, dtype=dtype, device=device)
        times[0] /= 2.0
        if n_times % 2 == 0:
            times[-1] /= 2.0
    return times
