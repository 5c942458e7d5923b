"""Build the network that an estimator trains, from a name, a class, a function or a module."""

from __future__ import annotations

import copy
import difflib
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import mne
import torch
from braindecode.models.util import _init_models_dict, interpolated_models_dict, models_dict
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from eegaug._inputs import Signal
from eegaug._plain_data import keep

# Head radius in metres, for positions given as unit vectors.
_HEAD_M = 0.095


def resolve_trunk(module: str | type | nn.Module | Callable) -> Any:
    """The class, function or module that a ``module`` argument stands for.

    Raises
    ------
    ValueError
        If a name is not that of a braindecode model.
    TypeError
        If it is none of these.
    """
    if isinstance(module, str):
        models = _braindecode_models()
        if module not in models:
            close = difflib.get_close_matches(module, models, n=3, cutoff=0.4)
            hint = f"; did you mean {' or '.join(close)}?" if close else "; see braindecode.models."
            raise ValueError(f"{module!r} is no braindecode model{hint}")
        return models[module]
    if not callable(module):
        raise TypeError(
            f"module is a {type(module).__name__}; pass a braindecode name, a class, a function or a module."
        )
    return module


def _braindecode_models() -> dict[str, type]:
    if not models_dict:
        _init_models_dict()
    return {**models_dict, **interpolated_models_dict}


def braindecode_name(module: Any) -> str | None:
    """Name under which braindecode knows a model class, or None."""
    for name, known in _braindecode_models().items():
        if known is module:
            return name
    return None


def channel_info(ch_names: Sequence[str], sfreq: float | None, positions: Any = None) -> list[dict] | None:
    """MNE's description of EEG channels, with positions where they are known; None for names that are not unique."""
    from eegaug.montage import electrode_positions

    if len(set(ch_names)) != len(ch_names):
        return None
    info = mne.create_info(list(ch_names), sfreq or 1.0, "eeg", verbose="error")
    try:
        where = electrode_positions(list(ch_names), positions=positions)
    except ValueError:
        return info["chs"]
    for channel, position in zip(info["chs"], where, strict=True):
        channel["loc"][:3] = position * _HEAD_M
    return info["chs"]


def signal_arguments(signal: Signal | None, n_outputs: int | None, positions: Any = None) -> dict[str, Any]:
    """What a braindecode model wants to know about its input, as far as it is known."""
    found: dict[str, Any] = {"n_outputs": n_outputs}
    if signal is not None:
        found.update(n_chans=signal.n_chans, n_times=signal.n_times, sfreq=signal.sfreq)
        if signal.sfreq:
            found["input_window_seconds"] = signal.n_times / signal.sfreq
        if signal.ch_names is not None:
            found["chs_info"] = channel_info(signal.ch_names, signal.sfreq, positions)
    return {k: v for k, v in found.items() if v is not None}


def check_arguments(builder: Any, given: Mapping[str, Any]) -> None:
    """Refuse arguments by name that a network does not take."""
    accepted = inspect.signature(builder).parameters
    takes_any = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in accepted.values())
    unknown = [] if takes_any else sorted(set(given) - set(accepted))
    if unknown:
        name = getattr(builder, "__name__", type(builder).__name__)
        raise ValueError(f"{name} takes no argument {', '.join(unknown)}; it takes {', '.join(accepted)}.")


def build_trunk(module: Any, given: dict[str, Any], known: dict[str, Any]) -> nn.Module:
    """A fresh network.

    Parameters
    ----------
    module : str | type | torch.nn.Module | callable
        A module is copied; with `given` arguments, a new one of its class is built.
    given : dict
        Arguments of the user; they win.
    known : dict
        Arguments read off the data; used where the network takes them by name.

    Raises
    ------
    ValueError
        If a module was built for other channels, samples or classes; if the arguments do not fit the network.
    """
    builder = resolve_trunk(module)
    if isinstance(builder, nn.Module):
        if not given:
            trunk = copy.deepcopy(builder)
            check_trunk(trunk, known)
            return trunk
        builder = type(builder)
    check_arguments(builder, given)
    accepted = inspect.signature(builder).parameters
    arguments = {k: v for k, v in known.items() if k in accepted} | given
    name = getattr(builder, "__name__", type(builder).__name__)
    try:
        trunk = builder(**arguments)
    except ValueError as error:
        # braindecode speaks of its models' arguments, which an estimator's user does not pass.
        if "could not be inferred" not in str(error) or "sfreq" in arguments:
            raise
        raise ValueError(f"{name} needs the sampling rate; pass sfreq=<Hz> to the classifier.") from error
    except TypeError as error:
        if not given:
            raise
        own = ", ".join(f"{key}={value!r}" for key, value in given.items())
        raise TypeError(f"{name} cannot be built with {own}: {error}.") from error
    except RuntimeError as error:  # a layer that has nothing left to see
        n_chans, n_times = (arguments.get(key, "unknown") for key in ("n_chans", "n_times"))
        raise ValueError(
            f"{name} cannot be built for windows of {n_chans} channels and {n_times} samples ({error}): take another "
            "network, or other arguments of it (module__…)."
        ) from error
    if not isinstance(trunk, nn.Module):
        raise TypeError(f"{name} gave a {type(trunk).__name__}, not a torch.nn.Module.")
    return trunk


def check_trunk(trunk: nn.Module, known: dict[str, Any]) -> None:
    """Refuse a ready-made network that says of itself that it was built for another input or other classes."""
    words = {"n_chans": "channels", "n_times": "samples", "n_outputs": "classes"}
    for key, word in words.items():
        try:
            built = getattr(trunk, key, None)
        except ValueError:  # braindecode raises where the value was never given
            continue
        if isinstance(built, int) and key in known and built != known[key]:
            raise ValueError(
                f"the module was built for {built} {word}, the data have {known[key]}: "
                f"pass its class or name instead of an instance, or build it with {key}={known[key]}."
            )


@contextmanager
def twice_differentiable(network: nn.Module) -> Iterator[None]:
    """Without kernels whose gradient has no gradient: fused attention, and recurrent layers of cuDNN."""
    recurrent = any(isinstance(module, nn.RNNBase) for module in network.modules())
    with (
        sdpa_kernel(SDPBackend.MATH),
        torch.backends.cudnn.flags(enabled=not recurrent) if recurrent else nullcontext(),
    ):
        yield


def describe_trunk(network: nn.Module, given: Mapping[str, Any]) -> dict[str, Any]:
    """What it takes to build a network again, as plain data.

    Parameters
    ----------
    network : torch.nn.Module
    given : mapping
        Arguments that it was given by the user.

    Returns
    -------
    dict
        Its name in ``braindecode``, or None; its ``class``; its ``arguments``, of a braindecode model with the defaults
        too, which another version may have otherwise; and those ``not_kept``, which are no plain data.
    """
    arguments = _arguments_of(network, given)
    kept: dict[str, Any] = {}
    for key, value in arguments.items():
        keep(kept, key, value)
    takes = inspect.signature(type(network)).parameters
    # A default that is no plain data comes back with the class.
    comes_back = {k for k, v in arguments.items() if k not in given and k in takes and takes[k].default is v}
    lost = set(arguments) - set(kept) - comes_back
    return {
        "braindecode": braindecode_name(type(network)),
        "class": f"{type(network).__module__}:{type(network).__qualname__}",
        "arguments": kept,
        "not_kept": sorted(lost),
    }


def _arguments_of(network: nn.Module, given: Mapping[str, Any]) -> dict[str, Any]:
    """What a network was built with: the arguments given, and of a braindecode model the defaults of all others.

    Without the channels, which are made again, and without what a model has told its base class only.
    """
    found, recorded = dict(given), getattr(network, "_braindecode_init_kwargs", None)
    if recorded is not None:
        takes = inspect.signature(type(network)).parameters
        takes_any = any(p.kind is p.VAR_KEYWORD for p in takes.values())
        found = {k: v for k, v in {**given, **recorded}.items() if k in takes or (takes_any and k in recorded)}
    return {key: value for key, value in found.items() if key != "chs_info"}


def saved_trunk(trunk: Mapping[str, Any], module: Any, whose: str) -> Any:
    """What a network is to be built from again.

    Parameters
    ----------
    trunk : mapping
        From :func:`describe_trunk`.
    module
        What the user gives in its place; None for what is saved.
    whose : str
        For messages: what has this trunk.

    Raises
    ------
    ValueError
        If neither the user nor braindecode has the class, or if it takes arguments that could not be saved.
    """
    if module is None and trunk["braindecode"] is None:
        name = trunk["class"].rpartition(":")[2]
        raise ValueError(
            f"{whose} has a trunk of the class {trunk['class']}, which is none of braindecode's and is not loaded from "
            f"a name: pass module={name}."
        )
    module = trunk["braindecode"] if module is None else module
    if trunk["not_kept"] and not isinstance(module, nn.Module):
        raise ValueError(
            f"{whose} does not say with which {', '.join(trunk['not_kept'])} the trunk was built, which is no plain "
            "data: pass module=<a trunk built like it>."
        )
    resolve_trunk(module)
    return module


def saved_weights(network: nn.Module) -> bytes:
    """The content of a safetensors file with the weights of a network."""
    return save({name: value.detach().cpu().clone().contiguous() for name, value in network.state_dict().items()})


def uncompiled_network(network: nn.Module) -> nn.Module:
    """A network without the wrapper of ``torch.compile``, which changes the names of its weights."""
    return getattr(network, "_orig_mod", network)


def copy_network(network: nn.Module) -> nn.Module:
    """A deep copy, also of a network that keeps what it last computed: of that without its graph."""
    for module in network.modules():
        for kept in (vars(module), module._buffers):
            for name, value in kept.items():
                if isinstance(value, Tensor) and value.grad_fn is not None:
                    kept[name] = value.detach()
    return copy.deepcopy(network)
