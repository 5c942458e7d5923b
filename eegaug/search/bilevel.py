r"""The gradient of a validation loss through one step of training.

Of training windows :math:`\tilde X` that a policy has augmented, a network takes the virtual step
:math:`\theta' = \theta - \xi \nabla_\theta L_{train}(\theta; \tilde X)`. What a policy can do about the validation loss
at :math:`\theta'` goes through the augmented windows alone, which the validation windows are not:

.. math:: \nabla_{\tilde X} L_{valid}(\theta') = - \xi\, \nabla_{\tilde X}
    \langle \nabla_\theta L_{train}(\theta; \tilde X), v \rangle, \qquad v = \nabla_{\theta'} L_{valid}(\theta').

So only the network is differentiated twice; an ordinary backward pass takes the gradient on to the policy, whatever it
is made of.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call

from eegaug._convolutions import quick_convolutions
from eegaug._hooks import evaluating
from eegaug._precision import widest
from eegaug._random import contained_rng
from eegaug._trunk import twice_differentiable
from eegaug.search._convolutions import HypergradientConvolutions, graph_nodes

__all__ = [
    "METHODS",
    "PASSES",
    "STEPS",
    "Hypergradient",
    "Unrolled",
    "adam_scale",
    "hypergradient",
    "step_of",
    "unrolled_gradient",
]

METHODS = ("exact", "finite_difference")
STEPS = ("gradient", "normalised", "adam")
#: Batches that go forward and backward through the network for one hypergradient.
PASSES = {"exact": 3, "finite_difference": 4}

Parameters = Mapping[str, Tensor]
#: Factors of a step, or what gives them from its gradient.
Scale = Parameters | Callable[[Parameters], Parameters | None]


class Unrolled(NamedTuple):
    """Gradients of the validation loss after one step, one for each input, both losses, and the direction :math:`v`.

    The latter is in the units of the step, where it is the derivative of the validation loss to minus the step.
    """

    gradients: tuple[Tensor, ...]
    train_loss: Tensor
    valid_loss: Tensor
    direction: dict[str, Tensor]


class Hypergradient(NamedTuple):
    """What the validation loss after one step of training owes to the training batch.

    Parameters
    ----------
    X : Tensor, shape (batch, channels, times)
        Gradient to the augmented windows.
    examples : Tensor, shape (batch,)
        Derivative to the weight of each window in the training loss. Negative: training on it helps.
    train_loss, valid_loss : Tensor
        Of the training batch before, and of the validation batch after the step.
    plain_examples : Tensor, shape (batch,), or None
        As `examples`, of windows without augmentation.
    """

    X: Tensor
    examples: Tensor
    train_loss: Tensor
    valid_loss: Tensor
    plain_examples: Tensor | None = None


def unrolled_gradient(
    train_loss: Callable[[Parameters], Tensor],
    valid_loss: Callable[[Parameters], Tensor],
    parameters: Parameters,
    inputs: Sequence[Tensor],
    lr: float,
    *,
    method: str = "exact",
    weight_decay: float = 0.0,
    decoupled: bool = False,
    scale: Scale | None = None,
    normalised: bool = False,
) -> Unrolled:
    r"""Gradient of a validation loss after one step of gradient descent, to what the training loss depends on.

    Parameters
    ----------
    train_loss, valid_loss : callable
        Losses of given parameters. The training loss also depends on `inputs`; called twice with the same parameters,
        it has to give the same (with the same random draws).
    parameters : dict of Tensor
        :math:`\theta`, which stays as it is.
    inputs : sequence of Tensor
        Leaves that require a gradient.
    lr : float
        :math:`\xi`, the length of the step.
    method : {"exact", "finite_difference"}
        Differentiate the training gradient, or take the difference of the gradients at
        :math:`\theta \pm \epsilon v` with :math:`\epsilon = 0.01 / \|v\|`, as the papers do.
    weight_decay : float
        Of the step.
    decoupled : bool
        Whether the weight decay is no part of the gradient and goes without the factors, as in AdamW.
    scale : dict of Tensor, callable or None
        Factors of the step, or a function of its gradient that gives them, such as :func:`adam_scale`; held constant.
        None: one.
    normalised : bool
        Whether the length of the gradient in the step is held constant, so that only its direction counts: that of
        :math:`\xi \ell \, g / \|g\|` with :math:`\ell = \|g\|`. Otherwise inputs are also rewarded for making the
        gradient larger where training helps, which they would be by anything that makes a network respond more.

    Returns
    -------
    Unrolled

    Raises
    ------
    RuntimeError
        If the training gradient cannot be differentiated.

    References
    ----------
    .. [1] Liu, Simonyan and Yang (2019). DARTS: differentiable architecture search. ICLR: equations 7 and 8.
    .. [2] Li, Hu, Wang, Hospedales, Robertson and Yang (2020). DADA: differentiable automatic data augmentation. ECCV.

    Examples
    --------
    A step moves ``theta`` towards ``alpha``, and the validation loss wants it at 1:

    >>> import torch
    >>> theta, alpha = torch.tensor(0.0), torch.tensor(0.5, requires_grad=True)
    >>> unrolled_gradient(
    ...     lambda p: (p["theta"] - alpha) ** 2 / 2, lambda p: (p["theta"] - 1) ** 2 / 2, {"theta": theta}, [alpha], 0.1
    ... ).gradients[0].item()
    -0.0949999988079071
    """
    if method not in METHODS:
        raise ValueError(f"method is {method!r}; it is one of {', '.join(map(repr, METHODS))}.")
    names = list(parameters)
    theta = {name: value.detach().requires_grad_() for name, value in parameters.items()}
    loss = train_loss(theta)
    exact = method == "exact"
    found = torch.autograd.grad(loss, list(theta.values()), create_graph=exact, allow_unused=True)
    gradient = {name: g for name, g in zip(names, found, strict=True) if g is not None}
    # A part of the network whose gradient has none autograd would leave out unsaid.
    nodes = graph_nodes(g.grad_fn for g in gradient.values()) if exact else ()
    if any(node.name() == "torch::autograd::Error" for node in nodes):
        raise RuntimeError("a part of it is marked once_differentiable")
    with torch.no_grad():
        within, beside = (0.0, weight_decay) if decoupled else (weight_decay, 0.0)
        step = {name: gradient.get(name, 0.0) + within * value for name, value in theta.items()}
        scale = scale(step) if callable(scale) else scale
        factors = {name: lr if scale is None else lr * scale[name] for name in names}
        moved = {name: value - factors[name] * step[name] - lr * beside * value for name, value in theta.items()}
    after = {name: value.requires_grad_() for name, value in moved.items()}
    loss_after = valid_loss(after)
    found = [None] * len(names)
    if loss_after.requires_grad:
        found = torch.autograd.grad(loss_after, list(after.values()), allow_unused=True)
    # Where the step would go to lower the validation loss, in the units of the step.
    v = {name: factors[name] * g for name, g in zip(names, found, strict=True) if g is not None}
    if normalised:
        v = _without_direction(v, gradient)
    if exact:
        both = [name for name in v if name in gradient and gradient[name].requires_grad]
        outputs, weights = [gradient[name] for name in both], [-v[name] for name in both]
        to = torch.autograd.grad(outputs, list(inputs), weights, allow_unused=True) if both else [None] * len(inputs)
    else:
        to = _central_difference(
            lambda there: torch.autograd.grad(train_loss(there), list(inputs), allow_unused=True), parameters, v
        ) or [None] * len(inputs)
    to = tuple(torch.zeros_like(i) if g is None else g for i, g in zip(inputs, to, strict=True))
    return Unrolled(to, loss.detach(), loss_after.detach(), v)


def _without_direction(v: dict[str, Tensor], gradient: dict[str, Tensor]) -> dict[str, Tensor]:
    """The part of `v` that is orthogonal to the gradient: the derivative of a vector of constant length."""
    with torch.no_grad():
        both = [name for name in v if name in gradient]
        square = sum((g * g).sum() for g in gradient.values())
        along = sum((v[name] * gradient[name]).sum() for name in both)
        share = along / square.clamp(min=torch.finfo(square.dtype).tiny) if both else 0.0
        return {name: v[name] - share * gradient[name] if name in both else v[name] for name in v}


def _central_difference(
    function: Callable[[Parameters], Sequence[Tensor | None]], parameters: Parameters, v: Parameters
) -> list[Tensor | None] | None:
    """Derivatives of what a function of the parameters gives along `-v`; None where no parameter is in `v`."""
    if not v:
        return None
    length = torch.sqrt(sum((one.to(widest(one.device)) ** 2).sum() for one in v.values()))
    # Without a length nothing moves; the host does not wait to be told.
    step, sides = 0.01 / length.clamp(min=torch.finfo(torch.float32).tiny), []
    for sign in (1.0, -1.0):
        there = {k: p.detach() + (sign * step).to(p) * v[k] if k in v else p.detach() for k, p in parameters.items()}
        sides.append(function(there))
    return [None if a is None else (b - a) / (2 * step).to(a) for a, b in zip(*sides, strict=True)]


def hypergradient(
    trunk: nn.Module,
    criterion: nn.Module,
    train: tuple[Tensor, Tensor],
    valid: tuple[Tensor, Tensor],
    lr: float,
    *,
    method: str = "exact",
    weight_decay: float = 0.0,
    decoupled: bool = False,
    scale: Scale | None = None,
    normalised: bool = False,
    seed: int = 0,
    plain: Tensor | None = None,
) -> Hypergradient:
    """What the validation loss of a network, after one step on augmented windows, owes to these windows.

    The network, its buffers and its optimiser stay as they are. On the training batch it is in the mode it is in; on
    the validation batch it is in evaluation, as it is when it is used.

    Parameters
    ----------
    trunk : torch.nn.Module
    criterion : torch.nn.Module
        Mean loss of a batch, with a ``reduction``: as :class:`torch.nn.CrossEntropyLoss`, with weights or without.
    train : tuple of Tensor
        Augmented windows (batch, channels, times) and classes (batch,).
    valid : tuple of Tensor
        Windows that are not augmented, and classes.
    lr, method, weight_decay, decoupled, scale, normalised
        See :func:`unrolled_gradient`.
    seed : int
        Of dropout and whatever else is random in the network: the same for all evaluations of the training loss.
    plain : Tensor or None
        The training windows without augmentation, to be told what they would be worth after the same step: by the
        difference of two forward passes.

    Returns
    -------
    Hypergradient

    Raises
    ------
    ValueError
        If the network cannot be differentiated twice, or the loss has no ``reduction``.

    Examples
    --------
    >>> import torch
    >>> trunk = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(6, 2))
    >>> X, y = torch.randn(4, 2, 3), torch.tensor([0, 1, 0, 1])
    >>> found = hypergradient(trunk, torch.nn.CrossEntropyLoss(), (X, y), (X, y), lr=0.1)
    >>> found.X.shape, found.examples.shape
    (torch.Size([4, 2, 3]), torch.Size([4]))
    """
    X, y = train
    X = X.detach().requires_grad_()
    each, total = _per_example(criterion, y)
    weights = torch.ones(len(X), dtype=X.dtype, device=X.device, requires_grad=True)
    parameters = {name: p for name, p in trunk.named_parameters() if p.requires_grad}

    def train_loss(theta: Parameters) -> Tensor:
        cheaper = HypergradientConvolutions(X) if method == "exact" else quick_convolutions()
        with contained_rng(seed, X.device), cheaper:
            return (each(_call(trunk, theta, X), y) * weights).sum() / total

    def valid_loss(theta: Parameters) -> Tensor:
        with evaluating(trunk), quick_convolutions():
            return criterion(_call(trunk, theta, valid[0]), valid[1])

    @torch.no_grad()
    def worth_as_they_are(v: Parameters) -> Tensor | None:
        def losses(theta: Parameters) -> list[Tensor]:
            with contained_rng(seed, X.device), quick_convolutions():
                return [each(_call(trunk, theta, plain), y) / total]

        found = None if plain is None else _central_difference(losses, parameters, v)
        return found and found[0]

    step = {"weight_decay": weight_decay, "decoupled": decoupled, "scale": scale, "normalised": normalised}
    try:
        with twice_differentiable(trunk) if method == "exact" else nullcontext():
            found = unrolled_gradient(train_loss, valid_loss, parameters, [X, weights], lr, method=method, **step)
    except RuntimeError as error:
        if not any(words in str(error) for words in ("not implemented", "once_differentiable")):
            raise
        raise ValueError(
            f"{type(trunk).__name__} cannot be differentiated twice ({error}); use "
            "hypergradient='finite_difference', which takes first derivatives only."
        ) from error
    return Hypergradient(*found.gradients, found.train_loss, found.valid_loss, worth_as_they_are(found.direction))


def step_of(optimizer: torch.optim.Optimizer, trunk: nn.Module, kind: str) -> dict[str, Any]:
    """Arguments of :func:`hypergradient` that tell of the step, from the optimiser that takes the real one.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        Its first group gives learning rate and weight decay.
    trunk : torch.nn.Module
    kind : {"gradient", "normalised", "adam"}
        Plain gradient descent, gradient descent whose length is held constant, or scaled as Adam does.

    Returns
    -------
    dict
        ``lr``, ``weight_decay``, ``decoupled``, ``normalised`` and ``scale``.
    """
    group = optimizer.param_groups[0]
    return {
        "lr": float(group["lr"]),
        "weight_decay": group.get("weight_decay", 0.0),
        "decoupled": group.get("decoupled_weight_decay", isinstance(optimizer, torch.optim.AdamW)),
        "normalised": kind == "normalised",
        "scale": partial(adam_scale, optimizer, trunk) if kind == "adam" else None,
    }


def adam_scale(optimizer: torch.optim.Optimizer, trunk: nn.Module, gradient: Parameters) -> dict[str, Tensor] | None:
    """Factors by which Adam's next step differs from one of gradient descent; None where there is no history yet.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        Adam or one of its kind, for the network's parameters.
    trunk : torch.nn.Module
    gradient : dict of Tensor
        Of the step, by name, which Adam's mean of squares takes in before it divides by it: a weight that had no
        gradient so far would leap otherwise.

    Returns
    -------
    dict of Tensor or None
        For each parameter ``1 / (sqrt(v) + eps)``, with Adam's bias-corrected mean of squares ``v``.
    """
    settings = {parameter: group for group in optimizer.param_groups for parameter in group["params"]}
    factors = {}
    for name, parameter in trunk.named_parameters():
        state = optimizer.state.get(parameter, {})
        if name not in gradient or "exp_avg_sq" not in state:
            continue
        beta, eps = settings[parameter]["betas"][1], settings[parameter]["eps"]
        square = state["exp_avg_sq"].lerp(gradient[name].square(), 1 - beta)
        corrected = square / (1 - beta ** (float(state["step"]) + 1))
        factors[name] = 1.0 / (corrected.sqrt() + eps)
    if not factors:
        return None
    return {name: factors.get(name, torch.zeros_like(value)) for name, value in gradient.items()}


def _call(trunk: nn.Module, parameters: Parameters, X: Tensor) -> Tensor:
    # Statistics that the network keeps while it looks at a batch are kept for real training steps only.
    values = {buffer: buffer.clone() for buffer in trunk.buffers()}
    values |= {tensor: parameters[name] for name, tensor in trunk.named_parameters() if name in parameters}
    # Each module by one of its names, but each tensor in all modules that have it: of a module that goes by two names
    # torch does not put back what it has replaced.
    replaced = {
        f"{place}.{name}" if place else name: values[tensor]
        for place, module in trunk.named_modules()
        for name, tensor in (*module._parameters.items(), *module._buffers.items())
        if tensor is not None and tensor in values
    }
    return functional_call(trunk, replaced, (X,), tie_weights=False)


def _per_example(criterion: nn.Module, y: Tensor) -> tuple[nn.Module, Tensor | float]:
    """The loss of each example, and what their sum is divided by."""
    reduction = getattr(criterion, "reduction", None)
    if reduction not in ("mean", "sum"):
        raise ValueError(
            f"{type(criterion).__name__} has no reduction 'mean' or 'sum'; use one as CrossEntropyLoss has."
        )
    each = copy.copy(criterion)
    each.reduction = "none"
    if reduction == "sum":
        return each, 1.0
    weight = getattr(criterion, "weight", None)
    return each, float(len(y)) if weight is None else weight[y].sum()
