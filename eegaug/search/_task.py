"""What a search works on: windows to train and to validate on, seeded randomness, networks as the estimator trains."""

from __future__ import annotations

import copy
import warnings
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from sklearn.base import clone
from skorch.utils import is_dataset
from torch import Tensor, nn
from torch.utils.data import Subset, default_collate

from eegaug._hooks import evaluating
from eegaug._inputs import Signal, non_finite_message, window_of
from eegaug._plain_data import plain_numbers
from eegaug._random import contained_rng, derive_seed
from eegaug._validation import all_finite
from eegaug.checkpoint import TrainingCheckpoint
from eegaug.operations import Operation, get_operation
from eegaug.policies import Policy, PolicyOperation, SubPolicy

__all__ = ["Part", "SearchTask", "Steps", "callback_of", "make_task", "take"]

#: A sub-policy as a searcher proposes it: (index of the operation, probability, magnitude) of each step.
Steps = Sequence[tuple[int, float, float]]
# What a task can walk through.
_PARTS = ("train", "valid", "data")
# Purposes of derived seeds.
TRUNK, TRAINING, REFIT, STEP, SPLIT, TRIALS = 1, 2, 3, 4, 5, 6


@dataclass
class Part:
    """Windows of one side of the split.

    Parameters
    ----------
    windows : array, tensor or dataset
        What an estimator's ``fit`` takes.
    labels : array of shape (n_windows,)
        As the user gave them.
    y : Tensor of int64, shape (n_windows,)
        Encoded, 0 to n_classes - 1, on the CPU.
    groups : array of shape (n_windows,) or None
        Subject of each window.
    """

    windows: Any
    labels: np.ndarray
    y: Tensor
    groups: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.y)

    def take(self, rows: np.ndarray) -> Part:
        """Some of the windows, without reading any where they are on disk."""
        rows = np.asarray(rows)
        groups = None if self.groups is None else self.groups[rows]
        return Part(take(self.windows, rows), self.labels[rows], self.y[torch.from_numpy(rows)], groups)

    def read(self, rows: Tensor | np.ndarray) -> Tensor:
        """Samples of some windows: float32 of shape (n, channels, times), on the CPU or where the windows are."""
        rows = torch.as_tensor(rows, dtype=torch.int64)
        if isinstance(self.windows, Tensor):
            return self.windows[rows.to(self.windows.device)].float()
        if isinstance(self.windows, np.ndarray):
            return torch.from_numpy(np.ascontiguousarray(self.windows[rows.cpu().numpy()], dtype=np.float32))
        picked = rows.tolist()
        several = getattr(self.windows, "__getitems__", None)
        items = several(picked) if several else [self.windows[i] for i in picked]
        X = default_collate([window_of(item) for item in items]).float()
        if not all_finite(X):
            raise ValueError(non_finite_message(self.windows, None) or "a batch has NaN or infinite samples.")
        return X


def take(windows: Any, rows: np.ndarray) -> Any:
    """Some of the windows of any supported input."""
    return Subset(windows, rows.tolist()) if is_dataset(windows) else windows[rows]


@dataclass
class _Cycle:
    """Where an endless walk through shuffled windows is."""

    order: Tensor
    place: int


@dataclass
class SearchTask:
    """Everything a searcher's hooks need.

    Parameters
    ----------
    estimator : StagingClassifier
        Unfitted but prepared: it knows signal and classes. Never trained itself.
    train, valid : Part
    data : Part
        All windows, train and valid.
    n_classes : int
    class_weights : Tensor of shape (n_classes,) or None
        Of the training part.
    signal : Signal
        ``n_chans``, ``n_times``, ``sfreq``, ``ch_names``.
    positions : mapping, array or None
    operations : list of Operation
    seed : int
        Every other seed derives from it.
    device : torch.device
    n_forward_backward : int
        Batches that went forward and backward; the searcher counts them here.
    """

    estimator: Any
    train: Part
    valid: Part
    data: Part
    n_classes: int
    class_weights: Tensor | None
    signal: Signal
    positions: Any
    operations: list[Operation]
    seed: int
    device: torch.device
    batch_size: int
    n_forward_backward: int = 0
    _generators: dict[str, torch.Generator] = field(default_factory=dict)
    _cycles: dict[str, _Cycle] = field(default_factory=dict)

    # Randomness ------------------------------------------------------------------------------------------------------

    def generator(self, name: str = "policy", device: Any = None) -> torch.Generator:
        """The generator of one purpose: seeded at first use, saved with the checkpoint. On the task's device."""
        if name not in self._generators:
            made = torch.Generator(self.device if device is None else device)
            self._generators[name] = made.manual_seed(derive_seed(self.seed, zlib.crc32(name.encode())))
        return self._generators[name]

    # Batches ---------------------------------------------------------------------------------------------------------

    def batches(
        self,
        part: Part,
        generator: torch.Generator | None = None,
        *,
        shuffle: bool = True,
        batch_size: int | None = None,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Once through a part: ``(X, y)`` on the task's device, the last batch possibly smaller.

        ``generator`` shuffles; None is the task's own for batches. A smaller last batch of a shuffled part is left out
        where the estimator's ``iterator_train__drop_last`` says so.
        """
        size = batch_size or self.batch_size
        order = self._order(len(part), generator) if shuffle else torch.arange(len(part))
        if shuffle and len(order) > size and self.estimator.iterator_train__drop_last:
            order = order[: len(order) - len(order) % size]
        for rows in order.split(size):
            yield self._fetch(part, rows)

    def next_batch(self, part: Part | str, batch_size: int | None = None) -> tuple[Tensor, Tensor]:
        """The next batch of an endless walk through "train", "valid" or "data", shuffled anew each time round."""
        name = part if isinstance(part, str) else next((n for n in _PARTS if getattr(self, n) is part), None)
        if name not in _PARTS:
            what = repr(part) if isinstance(part, str) else "another part of the data"
            raise ValueError(f"part is {what}; the walks go through {', '.join(map(repr, _PARTS))}.")
        part = getattr(self, name)
        size = min(batch_size or self.batch_size, len(part))
        cycle = self._cycles.get(name)
        if cycle is None or cycle.place + size > len(cycle.order):
            shuffled = self._order(len(part), self.generator(f"cycle {name}", "cpu"))
            # What the round before left over comes first, so that every window is seen equally often.
            rest = shuffled[:0] if cycle is None else cycle.order[cycle.place :]
            cycle = self._cycles[name] = _Cycle(torch.cat([rest, shuffled]), 0)
        rows = cycle.order[cycle.place : cycle.place + size]
        cycle.place += size
        return self._fetch(part, rows)

    def _order(self, n: int, generator: torch.Generator | None) -> Tensor:
        generator = self.generator("batches", "cpu") if generator is None else generator
        return torch.randperm(n, generator=generator, device=generator.device).cpu()

    def _fetch(self, part: Part, rows: Tensor) -> tuple[Tensor, Tensor]:
        return part.read(rows).to(self.device, non_blocking=True), part.y[rows].to(self.device, non_blocking=True)

    # Networks --------------------------------------------------------------------------------------------------------

    def new_trunk(self, seed: int | None = None) -> nn.Module:
        """A freshly initialised network on the task's device, in training mode, as the estimator would build it."""
        with contained_rng(derive_seed(self.seed, TRUNK) if seed is None else seed, self.device):
            return self.estimator._build_trunk().to(self.device).train()

    def new_optimizer(self, module: nn.Module) -> torch.optim.Optimizer:
        """The estimator's optimiser with its settings, for a network's parameters."""
        if self.estimator.optimizer is torch.optim.LBFGS:
            raise ValueError("this search takes steps of its own, which LBFGS has not; use another optimizer, as Adam.")
        found = self.estimator.get_params_for_optimizer("optimizer", list(module.named_parameters()))
        args, kwargs = plain_numbers(found)  # as a checkpoint gives them back
        return self.estimator.optimizer(*args, **kwargs)

    def new_criterion(self) -> nn.Module:
        """The estimator's loss on the task's device, with the class weights of the training part."""
        estimator = copy.copy(self.estimator)
        estimator.class_weights_ = None if self.class_weights is None else self.class_weights.cpu().numpy()
        with estimator._current_init_context("criterion"):  # skorch's guard of components
            return estimator.initialize_criterion().criterion_.to(self.device)

    def new_estimator(self, policy: Any = None, seed: int | None = None, **settings: Any) -> Any:
        """An unfitted clone of the estimator, with a policy, a seed and other settings.

        Its training checkpoints are left out: they are the user's, for the last training. Where its callbacks are
        disabled, it has skorch's own, by which a training is scored.
        """
        made = clone(self.estimator)
        if made.callbacks == "disable":
            made.callbacks = None  # of which skorch's set_params makes nothing
        elif isinstance(made.callbacks, (list, tuple)):
            made.callbacks = [cb for cb in made.callbacks if not isinstance(callback_of(cb), TrainingCheckpoint)]
        seed = derive_seed(self.seed, TRAINING) if seed is None else seed
        return made.set_params(**{"policy": policy, "random_state": seed} | settings)

    @torch.no_grad()
    def evaluate(self, module: nn.Module, part: Part, *, policy: Any = None, generator: Any = None) -> dict[str, float]:
        """Mean cross-entropy and balanced accuracy of a network on a part, every window counted once.

        With a policy, of its augmented windows. The network is put back into the mode it was in.
        """
        from sklearn.metrics import balanced_accuracy_score

        outputs = []
        with evaluating(module):
            size = max(self.batch_size, 64)
            for i, (X, _) in enumerate(self.batches(part, shuffle=False, batch_size=size)):
                if policy is not None:
                    X = policy.apply(X, part.labels[i * size : i * size + len(X)], generator)[0]
                outputs.append(module(X))
        outputs, y = torch.cat(outputs), part.y.to(self.device)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # predicted classes that do not occur
            score = balanced_accuracy_score(part.y.numpy(), outputs.argmax(1).cpu().numpy())
        return {"loss": float(self.new_criterion()(outputs, y)), "balanced_accuracy": float(score)}

    # Policies --------------------------------------------------------------------------------------------------------

    def identity(self) -> Policy:
        """The policy that changes nothing."""
        return self.policy([()])

    def policy(self, sub_policies: Sequence[Any], **about: Any) -> Policy:
        """A policy for the task's signal.

        Parameters
        ----------
        sub_policies : sequence of SubPolicy, or of sequences of (operation, probability, magnitude)
            An operation is one of the task's, its index among them, or its name. Probabilities and magnitudes are
            clamped to [0, 1]; the magnitude of an operation without one is left out.
        **about
            Further fields of the policy: ``searcher``, ``settings``.
        """
        made = [sub if isinstance(sub, SubPolicy) else self.sub_policy(sub) for sub in sub_policies]
        signal = {"sfreq": self.signal.sfreq, "ch_names": self.signal.ch_names}
        return Policy(sub_policies=made, **signal, positions=self.positions, **about)

    def sub_policy(self, steps: Sequence[Any], weight: float = 1.0) -> SubPolicy:
        """A sub-policy from (operation, probability, magnitude) triples; see :meth:`policy`."""
        built = []
        for which, probability, magnitude in steps:
            operation = self._operation(which)
            strength = min(max(float(magnitude), 0.0), 1.0) if operation.has_magnitude else None
            chance = min(max(float(probability), 0.0), 1.0)
            named = operation.name if self._is_default(operation) else operation
            built.append(PolicyOperation(operation=named, probability=chance, magnitude=strength))
        return SubPolicy(operations=tuple(built), weight=weight)

    def _operation(self, which: Any) -> Operation:
        if isinstance(which, Operation):
            return which
        if isinstance(which, str):
            found = next((op for op in self.operations if op.name == which), None)
            if found is None:
                known = ", ".join(op.name for op in self.operations)
                raise ValueError(f"operation {which!r} is none of the search's: {known}.")
            return found
        return self.operations[int(which)]

    def _is_default(self, operation: Operation) -> bool:
        """Whether a name is enough to build an operation for this signal again."""
        signal = {"sfreq": self.signal.sfreq, "ch_names": self.signal.ch_names, "positions": self.positions}
        return get_operation(operation.name, warn=False, **signal) == operation

    # Checkpoint ------------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Generators, walks through the windows, and the count."""
        return {
            "generators": {
                name: {"device": generator.device.type, "state": generator.get_state()}
                for name, generator in self._generators.items()
            },
            "cycles": {name: {"order": one.order.clone(), "place": one.place} for name, one in self._cycles.items()},
            "n_forward_backward": self.n_forward_backward,
        }

    def reset(self) -> None:
        """Forget all draws, walks and counts."""
        self._generators.clear()
        self._cycles.clear()
        self.n_forward_backward = 0

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Restore what :meth:`state_dict` gave."""
        self._generators.clear()  # those first drawn from since begin anew
        for name, one in saved["generators"].items():
            device = "cpu" if one["device"] == "cpu" else self.device
            if torch.device(device).type == one["device"]:  # states of another kind of device mean nothing here
                self.generator(name, device).set_state(one["state"])
        self._cycles = {name: _Cycle(one["order"], one["place"]) for name, one in saved["cycles"].items()}
        self.n_forward_backward = saved["n_forward_backward"]


def callback_of(entry: Any) -> Any:
    return entry[1] if isinstance(entry, tuple) else entry


def make_task(
    estimator: Any, data: Part, rows: tuple[np.ndarray, np.ndarray], operations: list[Operation], seed: int
) -> SearchTask:
    """The task of a search, from an estimator that has seen its data and the rows to train and to validate on."""
    train, valid = map(data.take, rows)
    weights = estimator._class_weights(train.labels)
    return SearchTask(
        estimator=estimator,
        train=train,
        valid=valid,
        data=data,
        n_classes=len(estimator.classes_),
        class_weights=None if weights is None else torch.as_tensor(weights, dtype=torch.float32),
        signal=estimator.signal_,
        positions=estimator.positions,
        operations=operations,
        seed=seed,
        device=torch.device(estimator.device or "cpu"),
        batch_size=len(train) if estimator.batch_size == -1 else int(estimator.batch_size),
    )
