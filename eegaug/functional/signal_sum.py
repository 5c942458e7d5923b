"""What a weighted sum of linear operations does to a signal, once its coefficients are known; and its derivatives.

Written out because autograd's own derivative of ``rfft`` is a complex FFT of the full length, because the spectrum of
the gradient serves several terms, and because most of what is large can be written over.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from eegaug.functional.frequency import quarter_turn
from eegaug.functional.sensors import full_precision

__all__ = ["Derived", "SignalSum", "SumGradient", "in_pieces"]


class Derived(NamedTuple):
    """What a sum needed of a signal beside the signal itself, and the gradient needs again."""

    spectrum: Tensor | None = None
    turned: Tensor | None = None
    reversed: Tensor | None = None

    @classmethod
    def each(cls, tensors: Sequence[Tensor | None]) -> list[Derived]:
        """Of each piece of a signal, from all of them in a row, as autograd saves them."""
        return [cls(*tensors[i : i + 3]) for i in range(0, len(tensors), 3)]


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

    def evaluate(
        self, X: Tensor, known: Sequence[Derived] | None = None, keep: bool = True
    ) -> tuple[Tensor, list[Derived]]:
        """The sum for a signal (batch, channels, times), and what was derived from it, if that is to be kept.

        A large batch goes through in pieces of some windows, whose temporaries stay in memory that is there already and
        largely in the processor's cache; a piece's share of what was derived is an item of the list.
        """
        n_pieces = self._n_pieces(X) if known is None else len(known)
        known = list(known or [Derived()] * n_pieces)
        if n_pieces == 1:
            total, derived = self._evaluate(X, known[0])
            return total, [derived]
        if torch.is_grad_enabled():  # autograd wants no tensor that is written into
            sums, derived = zip(*(terms._evaluate(*piece) for terms, *piece in self._pieces(X, known)), strict=True)
            return torch.cat(sums), list(derived)
        total = torch.empty(X.shape, dtype=X.dtype, device=X.device)
        for i, (terms, *piece) in enumerate(self._pieces(X, known, total)):
            derived = terms._evaluate(*piece)[1]
            known[i] = derived if keep else Derived()
        return total, known

    def _pieces(self, X: Tensor, known: Sequence[Derived], *others: Tensor) -> Iterator[tuple]:
        """For each piece the sum, its windows, what is known of them, and their part of other signals."""
        if len(known) == 1:
            return iter([(self, X, known[0], *others)])
        rows = -(-len(X) // len(known))
        signals = (signal.split(rows) for signal in others)
        return zip(self._split(rows, len(known)), X.split(rows), known, *signals, strict=True)

    def _split(self, rows: int, n_pieces: int) -> Iterator[SignalSum]:
        """The sum for each piece of `rows` windows."""

        def parts(tensor: Tensor | None) -> Sequence[Tensor | None]:
            return [tensor] * n_pieces if tensor is None or len(tensor) == 1 else tensor.split(rows)

        names = ("gain", "flip", "quadrature", "response", "matrix")
        noises = [list(zip(parts(noise), parts(scale), strict=True)) for noise, scale in self.noises]
        for i, values in enumerate(zip(*(parts(getattr(self, name)) for name in names), strict=True)):
            yield SignalSum(*values, [noise[i] for noise in noises])

    def product(self, X: Tensor, other: Tensor, known: Sequence[Derived], each: bool = True) -> Tensor:
        """Product of the sum for a signal with another signal: of each window (batch,), or of all together (1,)."""
        if self.matrix is not None:  # nothing else, as of an operation that mixes channels: no sum is made for it
            with full_precision(X):
                products = (torch.bmm(other, X.transpose(1, 2)) * self.matrix).sum((1, 2))
            return products if each else products.sum(0, keepdim=True)
        if self.response is None and self.quadrature is None:
            known = [Derived()] * _n_pieces(X, _SMALL_PIECE)
        sums = ((terms._evaluate(part, derived)[0], by) for terms, part, derived, by in self._pieces(X, known, other))
        if each:
            return _together([one.mul_(by).sum((1, 2)) for one, by in sums])
        return _together([torch.dot(one.reshape(-1), by.reshape(-1)).view(1) for one, by in sums]).sum(0, keepdim=True)

    def _n_pieces(self, X: Tensor) -> int:
        temporaries = any(part is not None for part in (self.response, self.quadrature, self.flip))
        return _n_pieces(X, _PIECE) if temporaries else 1

    def _evaluate(self, X: Tensor, known: Derived, out: Tensor | None = None) -> tuple[Tensor, Derived]:
        """The sum for a signal, in `out` if there is one."""
        spectrum, turned, backwards = known
        n_times = X.shape[-1]
        total = scratch = None
        if spectrum is None and (self.response is not None or (self.quadrature is not None and turned is None)):
            spectrum = torch.fft.rfft(X)
        if self.response is not None:
            scratch = spectrum * self.response
            total = torch.fft.irfft(scratch, n=n_times)
        if self.matrix is not None:
            total = _plus(total, _mixed(self.matrix, X))
        total = _plus_product(total, X, self.gain, out)
        if self.quadrature is not None:
            if turned is None:
                turned = torch.mul(spectrum, quarter_turn(n_times, X.dtype, X.device), out=scratch)
                turned = torch.fft.irfft(turned, n=n_times)
            total = _plus_product(total, turned, self.quadrature, out)
        if self.flip is not None:
            backwards = X.flip(-1) if backwards is None else backwards
            total = _plus_product(total, backwards, self.flip, out)
        for noise, scale in self.noises:
            total = _plus_product(total, noise, scale, out)
        return _in_place_of(total, out), Derived(spectrum, turned, backwards)


class SumGradient:
    """Gradients to the coefficients of a :class:`SignalSum`, each computed once and only if it is asked for.

    Parameters
    ----------
    terms : SignalSum
    grad : Tensor, shape (batch, channels, times)
        To the sum.
    X : Tensor
    known : list of Derived
        The signal, and what :meth:`SignalSum.evaluate` gave with the sum.
    """

    def __init__(self, terms: SignalSum, grad: Tensor, X: Tensor, known: Sequence[Derived]):
        self.terms, self.grad, self.X = terms, grad, X
        self.n_times = X.shape[-1]
        self._pieces = [_Piece(*piece) for piece in terms._pieces(X, known, grad)]

    @cached_property
    def gain(self) -> Tensor:
        """Shape (batch, 1, times)."""
        return _together([self._times_grad(piece, piece.X).sum(1, keepdim=True) for piece in self._pieces])

    @cached_property
    def flip(self) -> Tensor:
        """Shape (batch, 1, 1)."""
        flipped = (self._times_grad(piece, piece.known.reversed) for piece in self._pieces)
        return _together([product.sum((1, 2), keepdim=True) for product in flipped])

    @cached_property
    def quadrature(self) -> Tensor:
        """Shape (batch, 1, times)."""
        turned = (self._times_grad(piece, piece.known.turned) for piece in self._pieces)
        return _together([product.sum(1, keepdim=True) for product in turned])

    @cached_property
    def response(self) -> Tensor:
        """Complex, shape (batch, channels of the response, times // 2 + 1)."""
        products = (torch.conj_physical(piece.known.spectrum).mul_(piece.backwards) for piece in self._pieces)
        shared = self.terms.response.shape[1] == 1
        product = _together([product.sum(1, keepdim=True) if shared else product for product in products])
        return product * _multiplicity(self.n_times, self.X.dtype, self.X.device)

    @cached_property
    def matrix(self) -> Tensor:
        """Shape (batch, channels, channels)."""
        with full_precision(self.X):
            return torch.bmm(self.grad, self.X.transpose(1, 2))

    def _times_grad(self, piece: _Piece, signal: Tensor) -> Tensor:
        """Product with the gradient, written over the last such product: fresh memory costs more than the product."""
        return torch.mul(piece.grad, signal, out=self._scratch[: len(signal)])

    @cached_property
    def _scratch(self) -> Tensor:
        return torch.empty(self._pieces[0].X.shape, dtype=self.X.dtype, device=self.X.device)

    def of_signal(self) -> Tensor:
        """To the signal; to be asked for last, since what it is made from is written over."""
        if len(self._pieces) == 1:
            return self._of_signal(self._pieces[0])
        total = torch.empty(self.X.shape, dtype=self.X.dtype, device=self.X.device)
        for piece, out in zip(self._pieces, total.split(len(self._pieces[0].X)), strict=True):
            self._of_signal(piece, out)
        return total

    def _of_signal(self, piece: _Piece, out: Tensor | None = None) -> Tensor:
        terms, grad, total, spectrum = piece.terms, piece.grad, None, None
        if terms.response is not None:
            spectrum = piece.backwards.mul_(terms.response.conj())
        if terms.quadrature is not None:
            turned = torch.fft.rfft(self._times_grad(piece, terms.quadrature))
            turn = quarter_turn(self.n_times, grad.dtype, grad.device)
            # Back: with the opposite sign.
            spectrum = turned.mul_(turn).neg_() if spectrum is None else spectrum.addcmul_(turned, turn, value=-1.0)
        if spectrum is not None:
            total = torch.fft.irfft(spectrum, n=self.n_times)
        if terms.matrix is not None:
            total = _plus(total, _mixed(terms.matrix.transpose(1, 2), grad))
        total = _plus_product(total, grad, terms.gain, out)
        if terms.flip is not None:
            total = _plus_product(total, grad.flip(-1), terms.flip, out)
        return _in_place_of(torch.zeros_like(grad) if total is None else total, out)


@dataclass
class _Piece:
    """Some windows of a sum: its terms, the signal and what was derived from that, and the gradient to the sum."""

    terms: SignalSum
    X: Tensor
    known: Derived
    grad: Tensor

    @cached_property
    def backwards(self) -> Tensor:
        """Spectrum of the gradient."""
        return torch.fft.rfft(self.grad)


# Bytes from which on a signal is taken apart, and those of a piece where there is no FFT, which is slow on few signals.
_PIECE, _SMALL_PIECE = 2**21, 2**19


def in_pieces(X: Tensor) -> bool:
    """Whether a signal is large enough for a sum with spectra to be evaluated piece by piece."""
    return _n_pieces(X, _PIECE) > 1


def _n_pieces(X: Tensor, size: int) -> int:
    """Into how many pieces of some windows a signal is taken apart."""
    # First: an exported graph, which takes batches of any size, must not look at this one's.
    if torch.compiler.is_compiling() or X.device.type != "cpu" or len(X) < 2:
        return 1
    n_threads = max(1, torch.get_num_threads() // 2)
    if X.nbytes <= _PIECE * n_threads:
        return 1
    rows = max(1, size * n_threads * len(X) // X.nbytes)
    return -(-len(X) // rows)


def _together(pieces: Sequence[Tensor]) -> Tensor:
    return pieces[0] if len(pieces) == 1 else torch.cat(pieces)


def _mixed(matrix: Tensor, X: Tensor) -> Tensor:
    with full_precision(X):
        return torch.bmm(matrix.expand(X.shape[0], -1, -1), X)


def _plus(total: Tensor | None, term: Tensor) -> Tensor:
    return term if total is None else total.add_(term)


def _plus_product(
    total: Tensor | None, signal: Tensor, factor: Tensor | None, out: Tensor | None = None
) -> Tensor | None:
    if factor is None:
        return total
    if total is None:
        return torch.mul(signal, factor, out=out)
    if out is None or total is out:
        return total.addcmul_(signal, factor)
    return torch.addcmul(total, signal, factor, out=out)


def _in_place_of(total: Tensor, out: Tensor | None) -> Tensor:
    return total if out is None or total is out else out.copy_(total)


@lru_cache(maxsize=32)
def _multiplicity(n_times: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """How often each coefficient of a half spectrum stands in the full one, over its length."""
    with torch.inference_mode(False), torch.no_grad():
        times = torch.full((n_times // 2 + 1,), 2.0 / n_times, dtype=dtype, device=device)
        times[0] /= 2.0
        if n_times % 2 == 0:
            times[-1] /= 2.0
    return times
