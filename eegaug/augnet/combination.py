"""Weighted sums of operations whose weights and magnitudes differ between the windows of a batch.

As in :mod:`eegaug.augnet.fused`, the weights are folded into one mixing of channels, one filter, one modulation and one
gain before the signal is touched. Here every one of them is differentiable by itself, so that weights, magnitudes and
decisions may come from anywhere: a softmax, a straight-through choice, a network.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

if TYPE_CHECKING:
    from eegaug.operations import Operation

__all__ = ["Term", "combination"]


class Term(NamedTuple):
    """An operation in a weighted sum.

    Parameters
    ----------
    operation : Operation
    weight : Tensor, shape (), (1,) or (batch,)
    magnitude : Tensor of shape (1,) or (batch,), or None
        None for operations without a magnitude.
    noise : dict of Tensor
        From the operation's ``draw``.
    """

    operation: Operation
    weight: Tensor
    magnitude: Tensor | None
    noise: dict[str, Tensor]


def combination(X: Tensor, terms: Iterable[Term], identity: Tensor | None = None) -> Tensor:
    """Weighted sum of operations on a batch, with weights and magnitudes for the whole batch or for each window.

    One product of matrices for all sensors operations, and one forward and at most two inverse FFTs for all others.
    Operations that have no linear form are added one by one.

    Parameters
    ----------
    X : Tensor, shape (batch, channels, times)
    terms : iterable of Term
        Their tensors are differentiable; where a weight is exactly zero, the operation leaves no trace.
    identity : Tensor of shape (), (1,) or (batch,), or None
        Weight of `X` itself.

    Returns
    -------
    Tensor
        Shape and dtype of `X`. Its gradient can be taken once, not twice.
    """
    work = X.to(_working_dtype(X))
    n_channels, n_times = work.shape[1:]
    # Gains by what they depend on (nothing, the window, the time), since small tensors are added much faster.
    level = gain = flip = quadrature = response = matrix = other = None
    noises: list[tuple[Tensor, Tensor]] = []
    for op, weight, magnitude, noise in terms:
        form = op.linear_form
        wide = weight.reshape(-1, 1, 1)
        if form is None:
            other = _plus(other, op.apply(work, magnitude, noise) * wide)
            continue
        noise = {key: value.to(work.dtype) for key, value in noise.items()}
        if form == "reverse":
            flip = _plus(flip, wide)
        elif form == "gain":
            gain = _plus(gain, wide * op.time_gain(magnitude, noise, n_times))
        elif form == "noise":
            level = _plus(level, weight)
            noises.append((noise["noise"], (weight * magnitude).reshape(-1, 1, 1) * op.max_strength))
        elif form == "spectrum":
            level = _plus(level, weight)
            response = _plus(response, wide * op.spectral_change(magnitude, noise, n_times))
        elif form == "modulation":
            cos, sin = op.modulation(magnitude, noise, n_times)
            gain = _plus(gain, wide * cos)
            quadrature = _plus(quadrature, -wide * sin)
        elif form == "mixing":
            matrix = _plus(matrix, wide * op.mixing_matrix(magnitude, noise, n_channels).to(work))
        else:
            raise ValueError(f"{op.name} has the unknown linear form {form!r}")
    along_time = any(part is not None for part in (level, gain, flip))
    if identity is not None:
        if matrix is None or along_time:
            level, along_time = _plus(level, identity), True
        else:
            eye = torch.eye(n_channels, dtype=work.dtype, device=work.device)
            matrix = matrix + identity.reshape(-1, 1, 1) * eye
    if level is not None:
        gain = _plus(gain, level.reshape(-1, 1, 1))
    noise, noise_gain = _one_noise(noises)
    total = other
    if matrix is not None:
        total = _plus(total, torch.bmm(matrix.expand(work.shape[0], -1, -1), work))
    if along_time:
        if gain is None:  # time reverse alone
            gain = work.new_zeros(1, 1, 1)
        total = _plus(total, _TimeFrequencySum.apply(work, gain, flip, quadrature, response, noise, noise_gain))
    if total is None:
        raise ValueError("a weighted sum needs one operation or more.")
    return total.to(X.dtype)


def _working_dtype(X: Tensor) -> torch.dtype:
    return X.dtype if X.dtype in (torch.float32, torch.float64) else torch.float32


def _plus(total: Tensor | None, term: Tensor) -> Tensor:
    return term if total is None else total + term


def _one_noise(noises: list[tuple[Tensor, Tensor]]) -> tuple[Tensor | None, Tensor | None]:
    """Noise and its gain; of several noise operations the sum, with a gain of one."""
    if not noises:
        return None, None
    if len(noises) == 1:
        return noises[0]
    total = sum(noise * gain for noise, gain in noises)
    return total, total.new_ones(1, 1, 1)


class _TimeFrequencySum(torch.autograd.Function):
    """``gain * X + flip * reversed(X) + quadrature * hilbert(X) + filtered(X, response) + noise_gain * noise``.

    Written out because autograd's own derivative of ``rfft`` is a complex FFT of the full length, and because the
    spectrum of the gradient serves two terms.
    """

    @staticmethod
    def forward(ctx, X, gain, flip, quadrature, response, noise, noise_gain):
        n_times = X.shape[-1]
        spectrum = turned = None
        if quadrature is not None or response is not None:
            spectrum = torch.fft.rfft(X)
        if response is not None:
            total = torch.fft.irfft(spectrum * response, n=n_times).addcmul_(X, gain)
        else:
            total = X * gain
        if quadrature is not None:
            turned = torch.fft.irfft(_turn(spectrum, n_times, -1.0), n=n_times)
            total.addcmul_(turned, quadrature)
        if flip is not None:
            total.addcmul_(X.flip(-1), flip)
        if noise is not None:
            total.addcmul_(noise, noise_gain)
        ctx.save_for_backward(X, gain, flip, quadrature, response, noise, noise_gain, spectrum, turned)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        X, gain, flip, quadrature, response, noise, noise_gain, spectrum, turned = ctx.saved_tensors
        need_X, need_gain, need_flip, need_quadrature, need_response, need_noise, need_noise_gain = ctx.needs_input_grad
        n_times = X.shape[-1]
        of = dict.fromkeys(("X", "gain", "flip", "quadrature", "response", "noise", "noise_gain"))
        if need_gain:
            of["gain"] = (grad * X).sum_to_size(gain.shape)
        if need_flip:
            of["flip"] = (grad * X.flip(-1)).sum_to_size(flip.shape)
        if need_quadrature:
            of["quadrature"] = (grad * turned).sum_to_size(quadrature.shape)
        if need_noise_gain:
            of["noise_gain"] = (grad * noise).sum_to_size(noise_gain.shape)
        if need_noise:
            of["noise"] = grad * noise_gain
        backwards = torch.fft.rfft(grad) if response is not None and (need_X or need_response) else None
        if need_response:
            product = (spectrum.conj() * backwards).sum_to_size(response.shape)
            # Every coefficient but DC and Nyquist stands for two of the full spectrum.
            product[..., 1 : (n_times + 1) // 2] *= 2.0
            product /= n_times
            of["response"] = product if response.is_complex() else product.real
        if need_X:
            total = None
            if backwards is not None:
                total = backwards * response.conj()
            if quadrature is not None:
                total = _plus(total, _turn(torch.fft.rfft(grad * quadrature), n_times, 1.0))
            of["X"] = grad * gain
            if total is not None:
                of["X"] += torch.fft.irfft(total, n=n_times)
            if flip is not None:
                of["X"].addcmul_(grad.flip(-1), flip)
        return tuple(of.values())


def _turn(spectrum: Tensor, n_times: int, sign: float) -> Tensor:
    """A spectrum turned by ±90 degrees, without what has no phase: DC and, of an even number of samples, Nyquist."""
    turned = spectrum * (1j * sign)
    turned[..., 0] = 0.0
    if n_times % 2 == 0:
        turned[..., -1] = 0.0
    return turned
