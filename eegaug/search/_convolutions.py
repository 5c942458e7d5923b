"""Convolutions for hypergradients: a gradient to the weights, whose gradient goes to the signal.

PyTorch computes each term of a convolution's second derivative by itself, among them one for the weights, where a
hypergradient never goes. Most networks for EEG are made of convolutions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.overrides import TorchFunctionMode

from eegaug._convolution_gradients import How, convolution_gradients, convolve
from eegaug._convolutions import arguments, product_over_channels

__all__ = ["HypergradientConvolutions", "graph_nodes"]


class HypergradientConvolutions(TorchFunctionMode):
    """A context in which convolutions do no more than a hypergradient needs.

    A backward pass that is to be differentiated (``create_graph=True``) goes to the weights, one that is not to the
    signal. Convolutions whose weights are computed from something else stay as they are.

    Parameters
    ----------
    signal : Tensor
        What the network is given: a leaf.

    Examples
    --------
    >>> import torch
    >>> conv, X = torch.nn.Conv1d(2, 3, 5), torch.randn(4, 2, 20, requires_grad=True)
    >>> with HypergradientConvolutions(X):
    ...     Y = conv(X)
    >>> (to_weight,) = torch.autograd.grad(Y.square().sum(), conv.weight, create_graph=True)
    >>> torch.autograd.grad(to_weight.sum(), X)[0].shape
    torch.Size([4, 2, 20])
    """

    def __init__(self, signal: Tensor):
        super().__init__()
        self.signal = signal

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Replace convolutions, leave everything else."""
        kwargs = kwargs or {}
        if func is torch.conv2d and (product := product_over_channels(*args, **kwargs)) is not None:
            return product
        given = arguments(func, args, kwargs)
        if given is None or not given[1].is_leaf:
            return func(*args, **kwargs)
        return _Convolution.apply(*given, self._learned(given[0]))

    def _learned(self, X: Tensor) -> bool:
        """Whether a convolution's input depends on weights, and not on the signal alone."""
        if X.grad_fn is None:
            return X is not self.signal
        for node in graph_nodes([X.grad_fn]):
            leaf = getattr(node, "variable", None)
            if isinstance(node, _Convolution._backward_cls) or (leaf is not None and leaf is not self.signal):
                return True
        return False


def graph_nodes(ends: Iterable[Any]) -> Iterator[Any]:
    """The nodes of autograd's graph that these depend on, and these themselves, each once."""
    todo, seen = list(ends), {None}
    while todo:
        node = todo.pop()
        if node not in seen:
            seen.add(node)
            yield node
            todo += [before for before, _ in node.next_functions]


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, X: Tensor, weight: Tensor, bias: Tensor | None, how: How, learned: bool) -> Tensor:
        ctx.save_for_backward(X, weight)
        ctx.how, ctx.learned = how, learned
        return convolve(X, weight, bias, how)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        X, weight = ctx.saved_tensors
        to_X, to_weight, to_bias, *_ = ctx.needs_input_grad
        if not torch.is_grad_enabled():
            return convolution_gradients(grad, X, weight, ctx.how, [to_X, False, False])[0], None, None, None, None
        return (*_Gradients.apply(grad, X, weight, ctx.how, [to_X and ctx.learned, to_weight, to_bias]), None, None)


class _Gradients(torch.autograd.Function):
    """The gradients of a convolution, as functions of the gradient to its output and of the signal."""

    @staticmethod
    def forward(ctx: Any, grad: Tensor, X: Tensor, weight: Tensor, how: How, wanted: list[bool]) -> Any:
        ctx.save_for_backward(grad, X, weight)
        ctx.how = how
        ctx.set_materialize_grads(False)
        return tuple(convolution_gradients(grad, X, weight, how, wanted))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_X: Tensor | None, of_weight: Tensor | None, of_bias: Tensor | None) -> Any:
        grad, X, weight = ctx.saved_tensors
        to_grad = to_X = None
        if ctx.needs_input_grad[0]:
            to_grad = _to_grad(of_X, of_weight, of_bias, X, weight, ctx.how)
        if ctx.needs_input_grad[1] and of_weight is not None:
            to_X = convolution_gradients(grad, X, of_weight, ctx.how, [True, False, False])[0]
        return to_grad, to_X, None, None, None


def _to_grad(
    of_X: Tensor | None, of_weight: Tensor | None, of_bias: Tensor | None, X: Tensor, weight: Tensor, how: How
) -> Tensor | None:
    """``of_X * weight + X * of_weight + of_bias``; both in one convolution where all channels are in one group."""
    if of_X is not None and of_weight is not None and how[-1] == 1:
        return convolve(torch.cat([of_X, X], 1), torch.cat([weight, of_weight], 1), of_bias, how)
    total = None
    for signal, kernel in ((X, of_weight), (of_X, weight)):
        if signal is not None and kernel is not None:
            term = convolve(signal, kernel, of_bias if total is None else None, how)
            total = term if total is None else total + term
    if total is None and of_bias is not None:
        return convolve(X, torch.zeros_like(weight), of_bias, how)
    return total
