"""What runs on an accelerator, run on one without memory: torch knows shapes and devices of its tensors, not values.

Tensors of two devices in one operation raise an error, and so does whatever would make the host wait for a value.
``python tests/on_accelerator.py`` prints what failed.
"""

from __future__ import annotations

import os
import traceback
import warnings
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

_setup_privateuseone_for_python_backend(rename="fake")

from braindecode.models import SleepStagerChambon2018  # noqa: E402

from eegaug import AugAveragedModel, AugmentationLayer, AugmentationModule, _precision  # noqa: E402
from eegaug.consistency import AugmentationInvariantLoss  # noqa: E402
from eegaug.operations import get_operation, list_operations  # noqa: E402
from eegaug.search._choices import Relax  # noqa: E402
from eegaug.search._critic import Critic, critic_loss, policy_loss  # noqa: E402
from eegaug.search.adda import SearchedStages  # noqa: E402
from eegaug.search.bilevel import hypergradient  # noqa: E402
from eegaug.search.dada import Pairs  # noqa: E402

CHANNELS = ["C3", "C4", "F3", "F4", "O1", "O2"]
ABOUT = {"sfreq": 100, "ch_names": CHANNELS}
Run = Callable[[], None]
CASES: dict[str, Callable[[], Run]] = {}


class Strict(TorchDispatchMode):
    """Refuse what some accelerator cannot do, float64, and copies from the host: these make it wait too."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        there = isinstance(out, Tensor) and out.device.type == "fake"
        if there and out.dtype in (torch.float64, torch.complex128):
            raise RuntimeError(f"{function} computes in {out.dtype}")
        if there and args and isinstance(args[0], Tensor) and args[0].device.type == "cpu" and args[0].ndim:
            raise RuntimeError(f"{function} copies {tuple(args[0].shape)} from the host")
        return out


def case(name: str) -> Callable:
    """Add a case: a function that gives what is run."""

    def add(function: Callable[[], Run]) -> Callable:
        CASES[name] = function
        return function

    return add


def windows(n_times: int = 3000) -> Tensor:
    return torch.randn(5, 6, n_times, requires_grad=True)


def trunk() -> nn.Module:
    return SleepStagerChambon2018(n_chans=6, sfreq=100, n_outputs=5, n_times=3000)


def operations() -> list:
    return [get_operation(name, **ABOUT) for name in list_operations()]


def backward(Y: Tensor, *to: Tensor) -> None:
    """All gradients are where their tensors are."""
    Y.sum().backward()
    for tensor in (Y, *(tensor.grad for tensor in to)):
        assert tensor.device.type == "fake", tensor.device


for _name in list_operations():

    @case(f"operation {_name}")
    def _operation(name: str = _name) -> Run:
        op = get_operation(name, **ABOUT)

        def run() -> None:
            X, p, m = windows(300), *(torch.full((5,), 0.5, requires_grad=True) for _ in range(2))
            op(X.detach(), 0.5)
            backward(op(X, m, probability=p), X, p, *([m] if op.has_magnitude else []))

        return run


for _fused in (True, False):

    @case(f"layer, {'fused' if _fused else 'one by one'}")
    def _layer(fused: bool = _fused) -> Run:
        layer = AugmentationLayer("all", **ABOUT)
        layer.fused = fused

        def run() -> None:
            X = windows(300)
            backward(layer(X), X, layer.weight_logits, layer.strengths)

        return run


for _aggregate in ("log_probs", "probs", "logits"):

    @case(f"AugNet, {_aggregate}")
    def _augnet(aggregate: str = _aggregate) -> Run:
        module = AugmentationModule(["sensors", "time-frequency"], **ABOUT)
        model = AugAveragedModel(trunk(), module, n_copies_train=2, aggregate=aggregate)
        optimizer = torch.optim.Adam(model.parameters())

        def run() -> None:
            loss = nn.functional.cross_entropy(model(windows()), torch.arange(5)) - model.regularization()
            backward(loss, *model.parameters())
            optimizer.step()
            model.project_()
            with torch.inference_mode():
                assert model.eval()(windows()).device.type == "fake"
            model.train()

        return run


def search(policy: nn.Module, learner: Relax | None) -> Run:
    """A policy's step of a search by hypergradient."""

    def run() -> None:
        X, choices = policy.augment_choices(windows(300), torch.arange(5))
        backward(X)
        if learner is not None:
            optimizer = torch.optim.Adam(learner.parameters())
            learner.learn(torch.randn(5), choices, list(policy.parameters()), optimizer)
        policy.project_()

    return run


for _relax in (True, False):
    for _n_classes in (None, 5):

        @case(f"stages, relax={_relax}, {_n_classes} classes")
        def _stages(relax: bool = _relax, n_classes: int | None = _n_classes) -> Run:
            stages = SearchedStages(operations(), 5, 2, n_classes, relax=relax)
            n = len(stages.operations)
            return search(stages, Relax([n] * stages.n_stages, stages.n_stages, stages.n_rows) if relax else None)

        @case(f"pairs, relax={_relax}, {_n_classes} classes")
        def _pairs(relax: bool = _relax, n_classes: int | None = _n_classes) -> Run:
            pairs = Pairs(operations(), n_classes, relax=relax)
            return search(pairs, Relax([pairs.n_pairs], 2, n_classes or 0) if relax else None)


@case("hypergradient")
def _hypergradient() -> Run:
    network = trunk()

    def run() -> None:
        batch = (windows().detach(), torch.arange(5))
        found = hypergradient(network, nn.CrossEntropyLoss(), batch, batch, lr=0.1, normalised=True)
        assert found.X.device.type == "fake"

    return run


@case("critic")
def _critic() -> Run:
    critic = Critic(trunk(), 5, 6, 3000)

    def class_loss(logits: Tensor) -> Tensor:
        return nn.functional.cross_entropy(logits, torch.arange(5))

    def run() -> None:
        X = windows()
        loss, _ = critic_loss(critic, X, X, torch.rand(5), class_loss, penalty_weight=10.0, class_weight=0.1)
        backward(loss)
        backward(policy_loss(critic, X, class_loss, class_weight=0.1), X)

    return run


@case("losses between variants")
def _consistency() -> Run:
    def run() -> None:
        for metric in ("kl", "euclidean", "kl+euclidean"):
            Z = torch.randn(5, 3, requires_grad=True)
            backward(AugmentationInvariantLoss(metric)(Z, 2 * Z), Z)

    return run


def main() -> Iterator[str]:
    """Run all cases; a line for each that fails."""
    _precision._NARROW.add("fake")
    # What a layer keeps of its weights on the host is read there once, after each change.
    AugmentationLayer.host_weights = lambda self: [1 / len(self.operations)] * len(self.operations)
    for name, function in CASES.items():
        with FakeTensorMode(allow_non_fake_inputs=True), torch.device("fake"):
            try:
                run = function()
                run()  # constants are made once
                with Strict():
                    run()
            except Exception as error:
                frames = traceback.extract_tb(error.__traceback__)
                at = [frame for frame in frames if "/eegaug/" in frame.filename or frame.filename == __file__][-1]
                yield f"{name}: {type(error).__name__}: {str(error)[:200]} at {at.filename}:{at.lineno}: {at.line}"


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    failed = list(main())
    print(f"{len(CASES)} cases", *failed, sep="\n", flush=True)
    os._exit(bool(failed))  # autograd's threads for such a device cannot be joined
