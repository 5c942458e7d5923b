"""Look at what a layer of a network reads or gives, without changing the network."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn

__all__ = ["evaluating", "find_layer", "recorded"]


def find_layer(model: nn.Module, name: str) -> nn.Module:
    """A layer of a network by its name, such as "feature_extractor".

    Raises
    ------
    ValueError
        If there is none of this name; it says which there are.
    """
    layers = {key: layer for key, layer in model.named_modules() if key}
    if name in layers:
        return layers[name]
    close = difflib.get_close_matches(name, layers, n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(close)}?" if close else f"there are {', '.join(layers) or 'none'}."
    raise ValueError(f"{type(model).__name__} has no layer {name!r}; {hint}")


@contextmanager
def recorded(layer: nn.Module, *, input: bool = False) -> Iterator[list[Tensor]]:
    """What a layer gives (or reads, with ``input=True``) while a block runs: one tensor for each time it is used."""
    seen: list[Tensor] = []
    if input:
        handle = layer.register_forward_pre_hook(lambda layer, args: seen.append(args[0]))
    else:
        handle = layer.register_forward_hook(lambda layer, args, output: seen.append(_tensor(output)))
    try:
        yield seen
    finally:
        handle.remove()


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """A network in evaluation while a block runs; afterwards every layer is in the mode that it was in."""
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training


def _tensor(output: Tensor | tuple) -> Tensor:
    return output[0] if isinstance(output, (tuple, list)) else output
