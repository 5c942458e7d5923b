"""Training that can be killed at any moment and goes on where it was."""

from __future__ import annotations

import functools
import inspect
import json
import math
import numbers
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from braindecode.augmentation import Transform
from skorch.callbacks import Callback, PrintLog, ProgressBar
from skorch.history import History
from skorch.utils import is_dataset
from torch import Tensor, nn

from eegaug._checkpoint_file import DamagedError, check_settings, check_writable, read_state, write_state
from eegaug._random import restore_rng, rng_states
from eegaug._trunk import uncompiled_network
from eegaug._version import __version__
from eegaug._warning import warn

__all__ = ["TrainingCheckpoint"]

_FORMAT = "eegaug-training"
_VERSION = 1
# Settings that may change between two starts: they do not change what is trained.
_FREE = {
    "_params_to_validate",
    "callbacks",
    "compile",
    "device",
    "max_epochs",
    "torch_load_kwargs",
    "use_caching",
    "verbose",
    "warm_start",
}
# Predictions that scoring callbacks collect during an epoch.
_PASSING = {"y_trues_", "y_preds_"}
# Attributes that every module has: whether it is in training, say.
_OF_ANY_MODULE = set(vars(nn.Module()))
# Windows by which data are known again: enough that a recording that was replaced shows.
_LOOKED_AT = 256


class TrainingCheckpoint(Callback):
    """Save everything that training needs after each epoch, and go on from there when it is started again.

    A training that was killed, even with SIGKILL, and is started again with the same arguments ends in exactly the
    network it would have ended in: weights, optimiser, learning-rate schedules, early stopping with its best weights,
    history and random states are restored. A training that had ended is not repeated: its result is loaded.

    Parameters
    ----------
    path : path-like
        The file. It is replaced at once after each epoch, so that it is whole at any moment. Nothing in it is executed
        when it is loaded.
    every : int
        Epochs between two saves.
    renew_damaged : bool
        What is done where the file is damaged: True puts it aside, says so and begins the training anew; False raises.

    Raises
    ------
    ValueError
        When training begins and the file is of a training with other settings or data (what differs is named), or not a
        checkpoint, or `every` is below 1.
    OSError
        When training begins and the file cannot be written.

    Notes
    -----
    For estimators of eegaug. Whatever its place in the list, it acts after all other callbacks. Of earlier epochs the
    history keeps the rows, not the batches. ``max_epochs`` may be raised between two starts; ``verbose``, ``device``
    and ``compile`` may change. With ``random_state=None`` a new start goes on with the random states of the first.

    Randomness of one's own that is not torch's is not saved; that of braindecode's transforms follows the estimator's.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from eegaug import StagingClassifier
    >>> rng = np.random.default_rng(0)
    >>> X, y = rng.standard_normal((8, 2, 300)).astype("float32"), np.arange(8) % 2
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     clf = StagingClassifier(sfreq=100, max_epochs=2, random_state=0, verbose=0,
    ...                             callbacks=[TrainingCheckpoint(f"{folder}/training.pt")])
    ...     _ = clf.fit(X, y)
    ...     again = clf.set_params(max_epochs=3).fit(X, y)  # one epoch more, not three
    >>> again.n_forward_backward_
    3
    """

    # Read by the estimator: what this callback saves is what the others have made of the epoch.
    comes_last = True

    def __init__(self, path: str | os.PathLike, every: int = 1, renew_damaged: bool = False):
        self.path = path
        self.every = every
        self.renew_damaged = renew_damaged

    def initialize(self) -> TrainingCheckpoint:
        """Forget the last training."""
        if not self.every >= 1:
            raise ValueError(f"every is {self.every!r}; a checkpoint is saved every so many epochs, 1 or more.")
        self.loaded_ = None
        self.settings_ = None
        self.complete_ = False
        return self

    def before_training(self, net: Any, X: Any, y: Any) -> None:
        """Restore network and history, before other callbacks look at them."""
        path = self.file_ = Path(self.path).absolute()  # wherever the process goes meanwhile
        check_writable(path)
        self.settings_ = training_settings(net, X, y)
        self.loaded_ = self._read(path)
        if self.loaded_ is not None:
            check_settings(path, self.loaded_["settings"], self.settings_, "training")
        if self.loaded_ is None or len(net.history):  # what goes on in the same process needs nothing from the file
            self.loaded_ = None
            return
        found = self.loaded_
        result = found["result"]
        if result is not None and (result["by_callback"] or net.max_epochs <= _epochs(result)):
            found, self.complete_ = result, True
        if _epochs(found) > net.max_epochs:
            raise ValueError(f"{path} has done {_epochs(found)} epochs, more than max_epochs={net.max_epochs}.")
        weights = {name.removeprefix("_orig_mod."): value for name, value in found["module"].items()}
        uncompiled_network(net.module_).load_state_dict(weights)
        net.seed_ = found.get("seed", net.seed_)
        net.history_ = History(json.loads(found["history"]))
        net.n_forward_backward_ = found["n_forward_backward"]
        net.resumed_epochs_ = net.max_epochs if self.complete_ else len(net.history)
        self._restore_optimizers(net)  # schedules that go on look for their initial rate there

    def on_train_begin(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Restore optimiser and callbacks, which begin anew before this."""
        if self.loaded_ is None:
            return
        self._restore_optimizers(net)  # schedules have just set the rates
        # What is measured after training draws as it did, also where no epoch is left that would restore this.
        rng = (self.loaded_["result"] if self.complete_ else self.loaded_).get("rng")
        if rng is not None:
            restore_rng(rng, net.device)
        if self.complete_:  # nothing is left for callbacks to do
            self.loaded_ = None
            return
        for name, callback in net.callbacks_:
            _restore_callback(callback, self.loaded_["callbacks"].get(name, {}))

    def _restore_optimizers(self, net: Any) -> None:
        for name, state in self.loaded_["optimizers"].items():
            getattr(net, name).load_state_dict(state)

    def before_epoch(self, net: Any) -> None:
        """Restore the random states: nothing that was built since has a part in them."""
        if self.loaded_ is not None:
            restore_rng(self.loaded_["rng"], net.device)
            self.loaded_ = None

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Save."""
        if len(net.history) % self.every == 0:
            write_state(self.file_, self._state(net))

    def on_train_end(self, net: Any, **kwargs: Any) -> None:
        """Add the result to the last save, unless training was broken off by Ctrl-C."""
        self.loaded_ = None
        if self.complete_ or self.settings_ is None or not len(net.history) or getattr(net, "interrupted_", False):
            return
        state = self._read(self.file_) or self._state(net)
        if json.loads(state["settings"]) != json.loads(json.dumps(self.settings_)):
            # Whoever goes on from there would be given this network for its own.
            warn(
                f"another training writes the checkpoint {self.file_} too: the end of this one is not saved there; "
                "give each training a file of its own."
            )
            return
        # Apart from the state after the last epoch: early stopping may just have put its best weights into the network.
        by_callback = len(net.history) < net.max_epochs
        state["result"] = _network(net) | {"by_callback": by_callback, "rng": rng_states(net.device)}
        write_state(self.file_, state)

    def _read(self, path: Path) -> dict[str, Any] | None:
        try:
            return read_state(path, _FORMAT, _VERSION, "training")
        except DamagedError:
            if not self.renew_damaged:
                raise
            kept = path.with_name(f"{path.name}.damaged")
            os.replace(path, kept)
            warn(f"{path} is damaged: it is kept as {kept.name}, and this training begins anew.")
            return None

    def _state(self, net: Any) -> dict[str, Any]:
        return _network(net) | {
            "format": _FORMAT,
            "version": _VERSION,
            "eegaug": __version__,
            "settings": json.dumps(self.settings_),
            "optimizers": {f"{name}_": getattr(net, f"{name}_").state_dict() for name in net._optimizers},
            "callbacks": {name: _callback_state(cb) for name, cb in net.callbacks_ if cb is not self},
            "rng": rng_states(net.device),
            "result": None,
        }


# What is saved -------------------------------------------------------------------------------------------------------


def _network(net: Any) -> dict[str, Any]:
    return {
        "module": uncompiled_network(net.module_).state_dict(),
        "seed": net.seed_,
        "history": json.dumps([dict(row) | {"batches": []} for row in net.history], default=_number),
        "n_forward_backward": net.n_forward_backward_,
    }


def _epochs(found: dict[str, Any]) -> int:
    return len(json.loads(found["history"]))


def _number(value: Any) -> Any:
    if isinstance(value, (np.generic, np.ndarray, Tensor)):
        return value.tolist()
    if isinstance(value, numbers.Number):
        return float(value)
    return str(value)


# Callbacks -----------------------------------------------------------------------------------------------------------


def _callback_state(callback: Any) -> dict[str, Any]:
    """What a callback has come to: its attributes that end in an underscore, as far as they are plain data."""
    state: dict[str, Any] = {}
    for name, value in vars(callback).items():
        if not name.endswith("_") or name.startswith("_") or name in _PASSING:
            continue
        if hasattr(value, "load_state_dict") and not inspect.isclass(value):
            state[name] = {"state_dict": _plain_state(value.state_dict())}
            continue
        plain = _plain_state(value)
        if plain is not _UNSAVED:
            state[name] = {"value": plain}
    return state


def _restore_callback(callback: Any, state: dict[str, Any]) -> None:
    for name, saved in state.items():
        if "state_dict" in saved:
            target = getattr(callback, name, None)
            if target is not None:
                target.load_state_dict(saved["state_dict"])
        else:
            setattr(callback, name, saved["value"])


_UNSAVED = object()


def _plain_state(value: Any) -> Any:
    """`value` if it may go into the file, NumPy's numbers as Python's; `_UNSAVED` otherwise."""
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, (bool, int, float, str, Tensor)):
        return value
    if isinstance(value, Mapping):
        pairs = {key: _plain_state(item) for key, item in value.items()}
        return {k: v for k, v in pairs.items() if v is not _UNSAVED and isinstance(k, (str, int))}
    if isinstance(value, (list, tuple)):
        items = [_plain_state(item) for item in value]
        return _UNSAVED if any(item is _UNSAVED for item in items) else type(value)(items)
    return _UNSAVED


# What makes two trainings the same -----------------------------------------------------------------------------------


def training_settings(net: Any, X: Any, y: Any) -> dict[str, Any]:
    """Everything that decides what is trained, as plain data: parameters, callbacks, training data."""
    settings = {"estimator": type(net).__name__, **estimator_settings(net)}
    for name, callback in net.callbacks_:
        # What only shows how far a training is has no part in what is trained.
        if isinstance(callback, (TrainingCheckpoint, PrintLog, ProgressBar)) or getattr(callback, "only_shows", False):
            continue
        settings[f"callbacks__{name}"] = type(callback).__name__
        for key, value in callback.get_params(deep=False).items():
            # Names of files may change; numbers say how a callback acts.
            if value is None or isinstance(value, (bool, int, float)):
                settings[f"callbacks__{name}__{key}"] = value
    settings["training data"] = _describe_data(X, y)
    return settings


def estimator_settings(net: Any) -> dict[str, Any]:
    """Parameters of an estimator that decide what it trains, as plain data."""
    given = net.get_params(deep=False).items()
    return {k: _describe(v) for k, v in given if k not in _FREE and not k.startswith("compile__")}


def _describe(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else repr(value)
    if isinstance(value, np.generic):
        return _describe(value.item())
    if isinstance(value, Mapping):
        return {str(key): _describe(item) for key, item in value.items()}
    if isinstance(value, functools.partial):
        return [_describe(value.func), _describe(value.args), _describe(value.keywords)]
    if isinstance(value, nn.Module):
        weights = (t for t in value.state_dict().values() if isinstance(t, Tensor))
        return f"{type(value).__name__} {_checksum(*weights, json.dumps(_parts_of(value), sort_keys=True))}"
    if is_dataset(value):
        return _describe_data(value, None)
    if isinstance(value, (list, tuple)):
        return [_describe(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted(map(_describe, value), key=repr)  # their own order is another in each process
    if isinstance(value, (np.ndarray, Tensor)):
        return f"{tuple(value.shape)} {_checksum(value)}"
    if inspect.isclass(value) or inspect.isfunction(value) or inspect.isbuiltin(value):
        return f"{value.__module__}.{value.__qualname__}"
    for method in ("get_config", "model_dump"):
        if hasattr(value, method):
            return _describe(getattr(value, method)())
    text = repr(value)
    return type(value).__name__ if " at 0x" in text or isinstance(value, np.random.RandomState) else text


def _parts_of(module: nn.Module) -> list[Any]:
    """What tells modules apart beside their weights: their kinds and settings, operations, what is listed in them."""
    parts, names = [], {part: name for name, part in module.named_modules()}
    for part, name in names.items():
        own = {k: v for k, v in vars(part).items() if not k.startswith("_") and k not in _OF_ANY_MODULE and _tells(v)}
        if isinstance(part, Transform):  # whose probability is a property
            own["probability"] = part.probability
        parts.append([name, type(part).__qualname__, _describe(_by_name(own, names))])
    return parts


def _by_name(value: Any, names: Mapping[nn.Module, str]) -> Any:
    """The same with names for the parts of a module: one may list another, or the module itself."""
    if isinstance(value, dict):
        return {key: _by_name(item, names) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_by_name(item, names) for item in value]
    return names.get(value, value) if isinstance(value, nn.Module) else value


def _tells(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(_tells(item) for item in value)
    known = isinstance(value, (bool, numbers.Number, str, nn.Module)) or inspect.isclass(value)
    return known or hasattr(value, "get_config") or hasattr(value, "model_dump")


def _describe_data(X: Any, y: Any) -> str:
    """Number and shape of the windows, and a checksum of the labels and of windows spread over all."""
    from eegaug._inputs import labels_of, window_of

    labels = labels_of(X) if y is None else np.asarray(y)
    picked = [0, *np.unique(np.linspace(0, len(X) - 1, _LOOKED_AT).round().astype(int)).tolist()]
    windows = [np.asarray(window_of(X[i])) for i in picked]
    known = [] if labels is None else [labels]
    # A dataset that gives another window each time, by a transform of its own, can only be known by its labels.
    if np.array_equal(windows[0], windows[1], equal_nan=True):
        known += windows
    return f"{len(X)} windows of {' x '.join(map(str, windows[0].shape))}, checksum {_checksum(*known)}"


def _checksum(*arrays: Any) -> str:
    total = 0
    for array in arrays:
        array = array.detach().cpu().numpy() if isinstance(array, Tensor) else np.asarray(array)
        data = array.astype("U").tobytes() if array.dtype == object else np.ascontiguousarray(array).tobytes()
        total = zlib.crc32(data, total)
    return f"{total:08x}"
