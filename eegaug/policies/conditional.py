"""Input-conditional policies: a network looks at each window and says how it is to be augmented."""

from __future__ import annotations

import copy
import hashlib
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import torch
from pydantic import Discriminator, Field, JsonValue, PrivateAttr, model_validator
from torch import Tensor, nn

from eegaug._trunk import saved_weights
from eegaug.operations import Operation
from eegaug.policies.base import BasePolicy
from eegaug.policies.classwise import ClassPolicy
from eegaug.policies.grouped import uniform
from eegaug.policies.parts import PolicyOperation
from eegaug.policies.policy import Policy

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ConditionalPolicy", "find_weights"]

_WEIGHTS = ".safetensors"


class ConditionalPolicy(BasePolicy):
    """A policy that looks at each window: a network gives weights of the sub-policies, probabilities and magnitudes.

    Parameters
    ----------
    network : torch.nn.Module
        ``network(X) -> (probabilities, magnitudes, log_weights)`` of shapes (n, S, k), (n, S, k) and (n, S) for windows
        (n, channels, times), with ``config()``, which says in plain data how to build it. It is copied, frozen and put
        into evaluation mode.
    operations : sequence of str or Operation
        The operations that sub-policies are made of.
    pairs : sequence of sequences of int
        The S sub-policies: which k operations each applies, in this order.
    mean : Policy, ClassPolicy or None
        What the policy does on average (over the windows, or those of each class), for words and pictures.
    sfreq, ch_names, positions, searcher, settings
        As for :class:`eegaug.Policy`.

    Notes
    -----
    ``save("policy.json")`` writes the weights of the network beside it, as ``policy.safetensors``, and those of
    ``save("fold.1")`` as ``fold.1.safetensors``; a checksum in the JSON document ties the two together. By it the
    weights of a policy that was renamed are found in its folder.

    References
    ----------
    Policies that a network gives for each example, as in dynamic network augmentation (DNA).
    """

    kind: Literal["input-conditional"] = "input-conditional"
    operation_list: tuple[PolicyOperation, ...] = Field(min_length=1)
    pairs: tuple[tuple[int, ...], ...] = Field(min_length=1)
    network: dict[str, JsonValue]
    weights: str
    mean: Annotated[Policy | ClassPolicy, Discriminator("kind")] | None = None

    _module: nn.Module | None = PrivateAttr(default=None)
    _elsewhere: dict[str, nn.Module] = PrivateAttr(default_factory=dict)
    _pairs: Tensor = PrivateAttr()

    def __init__(self, **data: Any):
        module = data.get("network")
        if isinstance(module, nn.Module):
            module = copy.deepcopy(module).eval().requires_grad_(False)
            data |= {"network": module.config(), "weights": weights_checksum(module.state_dict())}
        super().__init__(**data)
        self._module = module if isinstance(module, nn.Module) else None
        if self._module is not None:  # one of one's own need not say what it gives before it is used
            n, k = self._pairs.shape
            self._check_outputs((getattr(module, "n_pairs", n), getattr(module, "operations_per_pair", k)))

    @model_validator(mode="before")
    @classmethod
    def _named_operations(cls, data: Any) -> Any:
        if isinstance(data, Mapping) and "operations" in data:
            data = dict(data)
            given = data.pop("operations")
            data["operation_list"] = [{"operation": op} if isinstance(op, (str, Operation)) else op for op in given]
            if isinstance(data.get("pairs"), Tensor):
                data["pairs"] = data["pairs"].tolist()
        return data

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if len({len(pair) for pair in self.pairs}) > 1 or not self.pairs[0]:
            raise ValueError("pairs must all have the same number of operations, at least one")
        n = len(self.operation_list)
        outside = [q for pair in self.pairs for q in pair if not 0 <= q < n]
        if outside:
            raise ValueError(f"pairs names operation {outside[0]}; there are {n}, counted from 0")
        self._take_signal(self.operation_list)
        self._operations = tuple(self._build(step.operation, step.options) for step in self.operation_list)
        self._pairs = torch.tensor(self.pairs)
        return self

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """See :meth:`eegaug.policy.BasePolicy.model_copy`; the copy has the network too."""
        if update and self._module is not None:
            update = {"network": self._module, **update}
        return super().model_copy(update=update, deep=deep)

    def __getstate__(self) -> dict[Any, Any]:
        # Copies of the network on accelerators, which may not be there where the policy is read.
        state = super().__getstate__()
        private = state["__pydantic_private__"]
        return {**state, "__pydantic_private__": private and {**private, "_elsewhere": {}}}

    def _check_outputs(self, shape: tuple[int, ...]) -> None:
        """Refuse a network for another number of pairs, or of operations in each."""
        if shape != tuple(self._pairs.shape):
            raise ValueError(
                f"the network says for each window what is to be done in an array of shape {shape} (pairs, operations "
                f"in each), pairs is of shape {tuple(self._pairs.shape)}"
            )

    # -- the network ---------------------------------------------------------------------------------------------------

    def module(self, device: torch.device | str = "cpu") -> nn.Module:
        """The network, frozen, in evaluation mode, on a device.

        Raises
        ------
        ValueError
            When the policy was read without its weights.
        """
        if self._module is None:
            raise ValueError(
                "this input-conditional policy has no network: it was read without its weights; read it with "
                "Policy.load(path) from the folder where they lie beside it"
            )
        key = str(torch.device(device))
        if key == "cpu":
            return self._module
        if key not in self._elsewhere:
            self._elsewhere[key] = copy.deepcopy(self._module).to(device)
        return self._elsewhere[key]

    @torch.no_grad()
    def predict(self, X: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What the network says of windows.

        Parameters
        ----------
        X : Tensor, shape (n, channels, times)

        Returns
        -------
        probabilities, magnitudes : Tensor, shape (n, S, k)
            In [0, 1].
        weights : Tensor, shape (n, S)
            Of the sub-policies; they sum to one.
        """
        probabilities, magnitudes, log_weights = self.module(X.device)(X.float())
        for shape in (probabilities.shape, magnitudes.shape, log_weights.shape + probabilities.shape[2:]):
            self._check_outputs(tuple(shape[1:]))
        return probabilities, magnitudes, log_weights.softmax(-1)

    def _choose(self, X: Tensor, y: Any, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        n, places = len(X), self._pairs.shape[1]
        device = torch.device("cpu") if generator is None else generator.device
        u = uniform((n, 1), generator, device, double=True)
        v = uniform((n, places), generator, device)
        if n == 0:
            return torch.zeros((0, places), dtype=torch.int64), torch.zeros((0, places))
        probabilities, magnitudes, weights = self.predict(X)
        total = weights.double().cumsum(-1) if X.device.type != "mps" else weights.cpu().double().cumsum(-1)
        total = (total / total[:, -1:]).cpu()
        chosen = torch.searchsorted(total, u)[:, 0]
        rows = torch.arange(n)
        where = chosen.to(probabilities.device)
        probability = probabilities[rows.to(where.device), where].cpu()
        magnitude = magnitudes[rows.to(where.device), where].cpu().clamp(0.0, 1.0)
        return torch.where(v < probability, self._pairs[chosen], -1), magnitude

    # -- saying --------------------------------------------------------------------------------------------------------

    def describe(self, limit: int | None = 5) -> str:
        """What the policy does, in words; with ``mean``, what it does on average, in physical units.

        Parameters
        ----------
        limit : int or None
            How many sub-policies to name (of each class), the likeliest first; None names all.
        """
        n, k = self._pairs.shape
        row = f"{k} operations in a row" if k > 1 else "one operation"
        lines = [
            f"Reads off each window which of {n} sub-policies of {row} to draw, how likely and how strongly to "
            f"apply it{self._signal_words()}."
        ]
        if self.mean is not None:
            lines += ["On average:", *(f"    {line}" for line in self.mean.describe(limit).splitlines()[1:])]
        return "\n".join(lines)

    def summary(self) -> str:
        """The policy in a few words."""
        return f"{len(self.pairs)} sub-policies, drawn by what a network sees"

    def table(self) -> pd.DataFrame:
        """The mean policy as a table; see :meth:`eegaug.policy.BasePolicy.table`."""
        if self.mean is None:
            raise ValueError("an input-conditional policy differs from window to window; give it mean=… for a table")
        return self.mean.table()

    # -- keeping -------------------------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike) -> None:
        """Write the policy to a JSON file and the weights of its network beside it, as ``.safetensors``.

        Parameters
        ----------
        path : path-like

        Raises
        ------
        OSError
            When a file cannot be written.
        ValueError
            When the path is that of a ``.safetensors`` file.
        """
        self.save_weights(weights_path(path))
        super().save(path)

    def save_weights(self, path: str | os.PathLike) -> None:
        """Write the weights of the network; a file that is there is replaced in one step."""
        from eegaug.data.atomic import write_atomically

        write_atomically(Path(path), saved_weights(self.module()))

    def with_weights(self, path: str | os.PathLike, module: Any = None) -> Self:
        """The policy with the network whose weights are in a file.

        Parameters
        ----------
        path : path-like
            Of the ``.safetensors`` file.
        module : type, callable, Module or None
            Trunk of the network where it is none of braindecode's.

        Raises
        ------
        FileNotFoundError
            When there is no such file.
        ValueError
            When it is damaged, or has the weights of another policy, or the network cannot be built or does not fit.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load

        from eegaug.policies.network import AugmentationNetwork

        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(
                f"the weights of the policy's network are missing: there is no {path}; copy the {_WEIGHTS} file "
                "that was saved with the policy to where the policy is"
            )
        try:
            network = AugmentationNetwork.from_config(dict(self.network), module=module)
        except ValueError:
            raise
        except Exception as error:  # a damaged description leads braindecode and torch to errors of any kind
            raise ValueError(f"the policy's network cannot be built: {type(error).__name__}: {error}") from error
        try:
            network.load_state_dict(load(path.read_bytes()))
        except (SafetensorError, RuntimeError) as error:
            raise ValueError(f"{path} does not hold the weights of this policy's network: {error}") from None
        if weights_checksum(network.state_dict()) != self.weights:
            raise ValueError(f"{path} holds the weights of another policy: their checksum is not the one in the JSON")
        return type(self)(**{**dict(self), "network": network})


def weights_path(path: str | os.PathLike) -> Path:
    """Where the weights lie of the policy that is kept in this file."""
    path = Path(path)
    if path.suffix.lower() == _WEIGHTS:
        raise ValueError(f"{path} is a name for the weights, which lie beside the policy: name the policy *.json")
    return path.with_name(path.name.removesuffix(".json") + _WEIGHTS)


def find_weights(path: str | os.PathLike, checksum: str) -> Path:
    """File with the weights of the policy kept in `path`: by name or, where either was renamed, by checksum."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    due = weights_path(path)
    if not due.is_file():
        for other in sorted(due.parent.glob(f"*{_WEIGHTS}")):
            with suppress(SafetensorError):  # a damaged one is not it
                if weights_checksum(load(other.read_bytes())) == checksum:
                    return other
    return due


def weights_checksum(state: Mapping[str, Tensor]) -> str:
    """SHA-256 of the parameters and buffers of a module."""
    digest = hashlib.sha256()
    for name, value in sorted(state.items()):
        digest.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
        # As bytes: numpy knows no bfloat16, which weights of others in the folder may have.
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
