"""What a saved model keeps of its variants, and how networks that learned together are kept: each in a folder."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors.torch import load_file
from skorch.history import History

from eegaug._optimizers import initialize_to_predict
from eegaug._staging_data import OF_DATA
from eegaug._trunk import resolve_trunk, saved_weights
from eegaug._warning import warn
from eegaug.augnet._start import rebuilt, starts_of
from eegaug.augnet.layers import AugmentationLayer
from eegaug.augnet.module import AugmentationModule
from eegaug.data.atomic import write_atomically
from eegaug.operations import Operation
from eegaug.policies import BasePolicy, policy_from_document

if TYPE_CHECKING:
    from eegaug.consistency.mutual import MutualClassifier

__all__ = ["load_networks", "save_networks", "variants_document", "variants_from_document"]

#: Folder of each network, and the file of augmentation that was learned with them.
NETWORK = "network-{}"
AUGMENTATION = "augmentation.safetensors"


def variants_document(variants: Any, policy: Any = None, n: int = 2) -> Any:
    """Sources of variants as plain data; where there is no such form, windows as they are, with a warning.

    Parameters
    ----------
    variants
        As of :class:`eegaug.AITClassifier`.
    policy
        The estimator's, which makes the variants where there are no others.
    n : int
        Number of variants.
    """
    try:
        if variants is None and not (policy is None or isinstance(policy, BasePolicy)):
            raise TypeError
        return _plain(variants)
    except TypeError:
        warn("the sources of variants are no plain data: the saved model predicts, but trains on windows as they are.")
        return [None] * n


def _plain(source: Any) -> Any:
    if isinstance(source, (list, tuple)):
        items = [_plain(one) for one in source]
        return items if isinstance(source, list) else {"tuple": items}
    if isinstance(source, AugmentationLayer):
        source = AugmentationModule([source])
    if isinstance(source, AugmentationModule):
        return {"augmentation": source.get_config(), "starts": starts_of(source.layers)}
    if isinstance(source, BasePolicy) and not hasattr(source, "with_weights"):
        return {"policy": source.model_dump(mode="json")}
    if isinstance(source, Operation):
        return {"operation": source.get_config()}
    if isinstance(source, Mapping):
        return {"mapping": {str(key): _plain(value) for key, value in source.items()}}
    if isinstance(source, np.generic):
        source = source.item()
    if source is None or isinstance(source, (bool, int, float, str)):
        return source
    raise TypeError


def variants_from_document(document: Any) -> Any:
    """Sources of variants from :func:`variants_document`.

    Raises
    ------
    ValueError
        If an operation is not known.
    """
    from eegaug.operations import get_operation

    if isinstance(document, list):
        return [variants_from_document(one) for one in document]
    if not isinstance(document, Mapping):
        return document
    (kind, content), *_ = document.items()
    if kind == "tuple":
        return tuple(variants_from_document(content))
    if kind == "mapping":
        return {key: variants_from_document(value) for key, value in content.items()}
    if kind == "policy":
        return policy_from_document(content, "a variant of the model")
    if kind == "operation":
        return get_operation(**{"warn": False} | content)
    if kind == "augmentation":
        module = rebuilt(content, document.get("starts"))
        return module.requires_grad_(False) if document.get("frozen") else module  # that of older files
    raise ValueError(f"the model has a variant {kind!r}, which is not loaded.")


def save_networks(
    clf: MutualClassifier, folder: Path, save: Callable[[Any, Path], Any], variants: Any
) -> dict[str, Any]:
    """Save each network as a model of its own; what has to be known to put them together again.

    Parameters
    ----------
    clf : MutualClassifier
        Fitted.
    folder : Path
    save : callable
        ``save(estimator, folder)``.
    variants
        From :func:`variants_document`.
    """
    for i in range(len(clf.networks_)):
        save(clf.member(i), folder / NETWORK.format(i))
    as_they_are = isinstance(variants, list) and not any(variants)
    learned = not as_they_are and len(clf.module_.augmentation.state_dict()) > 0
    if learned:
        write_atomically(folder / AUGMENTATION, saved_weights(clf.module_.augmentation))
    builders = [] if clf.modules is None else clf.modules
    bound = [sorted(one.keywords) if isinstance(one, functools.partial) else [] for one in builders]
    return {"networks": len(clf.networks_), "same": clf.modules is None, "augmentation": learned, "bound": bound}


def load_networks(
    clf: MutualClassifier, folder: Path, about: Mapping[str, Any], load: Callable[[Path, Any], Any], module: Any
) -> None:
    """Put the networks of a folder into an estimator that has their settings.

    Parameters
    ----------
    clf : MutualClassifier
        Not fitted.
    folder : Path
    about : mapping
        From :func:`save_networks`.
    load : callable
        ``load(folder, module)`` gives a fitted estimator.
    module : None | type | callable | torch.nn.Module | list
        Class of the networks, or a list with one for each, where they are none of braindecode's.
    """
    each = module if isinstance(module, (list, tuple)) else [module] * about["networks"]
    if len(each) != about["networks"]:
        raise ValueError(f"{folder} holds {about['networks']} networks; module names {len(each)}.")
    members = [load(folder / NETWORK.format(i), one) for i, one in enumerate(each)]
    first = members[0]
    if about["same"]:
        clf.module = first.module
        vars(clf).update({name: value for name, value in vars(first).items() if name.startswith("module__")})
    else:
        clf.modules = [
            _with_bound(member.module, member.module_, names)
            for member, names in zip(members, about.get("bound") or [[]] * len(members), strict=True)
        ]
    for name in OF_DATA:
        setattr(clf, name, getattr(first, name))
    clf.ready_made_ = [member.module_ for member in members]
    initialize_to_predict(clf)
    del clf.ready_made_
    if about["augmentation"]:
        clf.module_.augmentation.load_state_dict(load_file(folder / AUGMENTATION))
    clf.module_.eval()
    clf.history_ = History(first.history)
    clf.n_forward_backward_ = first.n_forward_backward_ * len(members)
    clf.interrupted_ = first.interrupted_


def _with_bound(builder: Any, network: Any, names: Iterable[str]) -> Any:
    """What builds a network, with the arguments that were bound to it, as far as the network tells them."""
    known = getattr(network, "_braindecode_init_kwargs", {})
    bound = {name: known[name] for name in names if name in known}
    return functools.partial(resolve_trunk(builder), **bound) if bound else builder
