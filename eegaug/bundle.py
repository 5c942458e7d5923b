"""A fitted model as a folder: weights in safetensors, everything else in JSON."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import load_file
from skorch.history import History
from torch import nn

from eegaug._inputs import Signal
from eegaug._optimizers import initialize_to_predict
from eegaug._plain_data import decode, keep, plain
from eegaug._trunk import describe_trunk, saved_trunk, saved_weights, uncompiled_network
from eegaug._version import __version__
from eegaug._warning import warn
from eegaug.data.atomic import replace, write_atomically

__all__ = ["load_model", "save_model"]

FORMAT, VERSION = "eegaug-model", 1
WEIGHTS, DOCUMENT = "model.safetensors", "model.json"
POLICY_WEIGHTS = "policy.safetensors"
# What a document cannot do without, and of which kind.
_PARTS: dict[str, Any] = {"estimator": str, "signal": dict, "classes": list, "settings": dict, "history": list}
_PARTS |= {"seed": int, "n_forward_backward": int, "classes_given": bool}
_PARTS |= {name: (dict, type(None)) for name in ("trunk", "weights", "versions")}
_PACKAGES = ("torch", "braindecode", "skorch", "mne")
# Parameters with a place of their own in the document, or without meaning elsewhere.
_APART = {"module", "layers", "policy", "classes", "device", "callbacks", "train_split", "history", "positions"}
_APART |= {"modules", "variants"}


def save_model(
    clf: Any, folder: str | os.PathLike, *, preprocessing: Any = None, splits: Any = None, metrics: Any = None
) -> Path:
    """Save a fitted model as a folder.

    Parameters
    ----------
    clf : StagingClassifier | AugNetClassifier | AITClassifier | MutualClassifier
        Fitted. Networks that learned together are saved each in a folder of its own, which can be loaded alone.
    folder : path-like
        Made if it does not exist; a model in it is replaced.
    preprocessing : dict | Preprocessing | None
        How the windows were made. None: ``clf.preprocessing_``, which nights bring with them.
    splits : dict | Split | None
        Who was trained, validated and tested on.
    metrics : dict | DataFrame | None
        Scores to keep with the model.

    Returns
    -------
    pathlib.Path
        The folder, with ``model.safetensors`` (weights) and ``model.json``: versions, trunk and its arguments, layers,
        classes, channels, sampling rate, preprocessing, splits, metrics, history.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        If it is not fitted.
    OSError
        If the folder cannot be written.
    TypeError
        If it is an estimator of another class.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from eegaug import StagingClassifier, load_model, save_model
    >>> rng = np.random.default_rng(0)
    >>> X, y = rng.standard_normal((8, 2, 300)).astype("float32"), np.array(["W", "N2"] * 4)
    >>> clf = StagingClassifier(sfreq=100, ch_names=["C3", "C4"], max_epochs=1, verbose=0).fit(X, y)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     again = load_model(save_model(clf, f"{folder}/model", metrics={"kappa": 0.7}))
    >>> bool(np.array_equal(again.predict_proba(X), clf.predict_proba(X)))
    True
    """
    known = _estimators()
    if known.get(type(clf).__name__) is not type(clf):
        raise TypeError(f"a {type(clf).__name__} is not saved as a folder, only {' and '.join(known)}: pickle it.")
    clf.check_is_fitted(["module_", "signal_"])
    _warn_of_lost(clf)
    variants = _variants_document(clf)
    folder = Path(folder)
    more = {"preprocessing": preprocessing, "splits": splits, "metrics": metrics}
    part = folder / ".part"
    try:
        shutil.rmtree(part, ignore_errors=True)  # of a process that was killed
        _write(clf, part, variants, **more)
        # A model that is there is replaced once all of the new one is on the disk.
        for path in sorted(part.rglob("*"), key=lambda path: (path.name == DOCUMENT, -len(path.parts), path)):
            if path.is_file():
                place = folder / path.relative_to(part)
                place.parent.mkdir(exist_ok=True)
                replace(path, place)
    except OSError as error:
        raise OSError(f"the model cannot be written to {folder}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return folder


def load_model(folder: str | os.PathLike, module: Any = None, *, device: str = "cpu") -> Any:
    """Load a model that :func:`save_model` made, ready to predict.

    No code of the folder is executed. The document names braindecode's models and registered operations; a trunk of
    one's own has to be passed.

    Parameters
    ----------
    folder : path-like
    module : type | callable | torch.nn.Module | list | None
        The trunk's class, needed where it is none of braindecode's. A list has one for each of several networks.
    device : str
        Where it is to compute.

    Returns
    -------
    StagingClassifier | AugNetClassifier | AITClassifier | MutualClassifier
        Of the class that was saved.

    Raises
    ------
    FileNotFoundError
        If there is no model in the folder.
    ValueError
        If a file is damaged or belongs to another model, was written by a newer eegaug, names an unknown operation, or
        if the trunk is of another class or shape than the one that was saved.
    """
    folder = Path(folder)
    document = _read_document(folder)
    cls = _estimators().get(document["estimator"])
    if cls is None:
        raise ValueError(f"{folder} holds an estimator {document['estimator']!r}, which eegaug {__version__} has not.")
    if "networks" in document:
        from eegaug.consistency.saving import load_networks

        clf = cls(device=device, **_settings(document, folder))
        load_networks(clf, folder, document["networks"], lambda path, one: load_model(path, one, device=device), module)
        return clf
    trunk = document["trunk"]
    clf = cls(saved_trunk(trunk, module, str(folder)), device=device, **_settings(document, folder))
    signal = dict(document["signal"])
    signal["ch_names"] = None if signal["ch_names"] is None else tuple(signal["ch_names"])
    clf.preprocessing_ = document["preprocessing"]
    clf.signal_ = Signal(**signal, preprocessing=clf.preprocessing_)
    clf.classes_inferred_ = np.asarray(document["classes"])
    weights = document["class_weights"]
    clf.class_weights_ = None if weights is None else np.asarray(weights, dtype=float)
    clf.seed_ = document["seed"]
    _initialize(clf, document, isinstance(module, nn.Module))
    built = _inner(clf)
    if type(built).__qualname__ != trunk["class"].rpartition(":")[2]:
        raise ValueError(f"{folder} holds weights of {trunk['class']}, the module is a {type(built).__qualname__}.")
    _load_weights(clf.module_, folder, document)
    clf.module_.eval()
    clf.history_ = History(row | {"batches": []} for row in document["history"])
    clf.n_forward_backward_ = document["n_forward_backward"]
    clf.interrupted_ = False
    return clf


def _estimators() -> dict[str, type]:
    from eegaug.augnet import AugNetClassifier
    from eegaug.classifier import StagingClassifier
    from eegaug.consistency import AITClassifier, MutualClassifier

    return {cls.__name__: cls for cls in (StagingClassifier, AugNetClassifier, AITClassifier, MutualClassifier)}


def _inner(clf: Any) -> nn.Module:
    """The trunk of a model, without layers that the estimator has put before it and without a compiler's wrapper."""
    module = uncompiled_network(clf.module_)
    layered = hasattr(clf, "_has_layers_before_trunk") and clf._has_layers_before_trunk()
    return getattr(module, "trunk", module) if layered else module


# Writing -------------------------------------------------------------------------------------------------------------


def _write(clf: Any, folder: Path, variants: Any = None, **more: Any) -> None:
    """Write all files of a model; `more` are parts of its document that may be None."""
    folder.mkdir(parents=True, exist_ok=True)
    if hasattr(type(clf), "networks_"):
        from eegaug.consistency.saving import save_networks

        document = _document(clf, None, variants)
        document["networks"] = save_networks(clf, folder, _write, variants)
    else:
        # Where what makes the variants cannot be saved, the network is built without it again.
        as_they_are = bool(variants) and isinstance(variants, list) and not any(variants)
        model = _inner(clf) if as_they_are else uncompiled_network(clf.module_)
        weights = saved_weights(model)
        write_atomically(folder / WEIGHTS, weights)
        document = _document(clf, hashlib.sha256(weights).hexdigest(), variants)
    if hasattr(clf.policy, "save_weights"):  # of an input-conditional policy
        clf.policy.save_weights(folder / POLICY_WEIGHTS)
    document |= {key: plain(value) for key, value in more.items() if value is not None}
    text = json.dumps(document, indent=1, allow_nan=False)
    write_atomically(folder / DOCUMENT, f"{text}\n".encode())


def _settings_of(clf: Any) -> dict[str, Any]:
    """Parameters that are saved under their own names."""
    params = clf.get_params(deep=False)
    return {k: v for k, v in params.items() if k not in _APART and not k.startswith(("_", "module__", "callbacks__"))}


def _warn_of_lost(clf: Any) -> None:
    """Name the settings that will not come back."""
    usual = type(clf)().get_params(deep=False)
    lost = {k: v for k, v in _settings_of(clf).items() if v is not usual.get(k) and not keep({}, k, v)}
    if clf.policy is not None and not hasattr(clf.policy, "model_dump") and not isinstance(clf.policy, str):
        lost["policy"] = clf.policy
    if lost:
        what = ", ".join(f"{k} ({getattr(v, '__name__', type(v).__name__)})" for k, v in lost.items())
        warn(
            f"not saved with the model, as they are not plain data: {what}. The model that is loaded has the defaults; "
            "set_params() gives them back to it."
        )


def _document(clf: Any, digest: str | None, variants: Any) -> dict[str, Any]:
    from eegaug.augnet._start import starts_of

    layers = getattr(clf.module_, "augmentation", None) if hasattr(clf, "_learned_layers") else None
    layers = layers if hasattr(layers, "get_config") else None
    signal = dataclasses.asdict(clf.signal_)
    signal.pop("preprocessing")
    settings = {}
    for key, value in _settings_of(clf).items():
        keep(settings, key, value)
    return {
        "format": FORMAT,
        "format_version": VERSION,
        "versions": {"eegaug": __version__} | {name: version(name) for name in _PACKAGES},
        "saved": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "estimator": type(clf).__name__,
        "trunk": None if digest is None else _trunk_document(clf),
        "signal": plain(signal),
        "positions": plain(clf.positions),
        "classes": plain(clf.classes_),
        "classes_given": clf.classes is not None,
        "class_weights": plain(clf.class_weights_),
        "seed": clf.seed_,
        "settings": settings,
        "policy": plain(clf.policy) if hasattr(clf.policy, "model_dump") else None,
        "layers": None if layers is None else plain(layers.get_config()),
        "layers_given": keep({}, "layers", getattr(clf, "layers", None)).get("layers"),
        "layers_start": None if layers is None else starts_of(clf.layers),
        "invariances": None if layers is None else plain(layers.describe()),
        "variants": variants,
        "weights": None if digest is None else {"file": WEIGHTS, "sha256": digest},
        "preprocessing": plain(clf.preprocessing_),
        "splits": None,
        "metrics": None,
        "n_forward_backward": clf.n_forward_backward_,
        "history": [plain({k: v for k, v in row.items() if k != "batches"}) for row in clf.history],
    }


def _variants_document(clf: Any) -> Any:
    if not hasattr(clf, "variants"):
        return None
    from eegaug.consistency.saving import variants_document

    n = len(clf.networks_) if hasattr(type(clf), "networks_") else 2
    return variants_document(clf.variants, clf.policy, n)


def _trunk_document(clf: Any) -> dict[str, Any]:
    given = clf.get_params_for("module")
    document = describe_trunk(_inner(clf), given)
    return {**document, "given": sorted(set(given) & set(document["arguments"]))}


# Reading -------------------------------------------------------------------------------------------------------------


def _read_document(folder: Path) -> dict[str, Any]:
    path = folder / DOCUMENT
    if not path.is_file():
        raise FileNotFoundError(f"there is no model in {folder}: {DOCUMENT} is missing.")
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}).") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise ValueError(f"{path} does not describe a model of eegaug.")
    version = document.get("format_version")
    if isinstance(version, bool) or not isinstance(version, int):
        raise ValueError(f"{path} is damaged (its format_version is {version!r}).")
    if version > VERSION:
        raise ValueError(
            f"{path} was written by eegaug {document['versions']['eegaug']} in format {document['format_version']}; "
            f"this eegaug {__version__} reads up to format {VERSION}: update eegaug."
        )
    for key, kinds in _PARTS.items():
        if not isinstance(document.get(key), kinds):
            raise ValueError(f"{path} is damaged: its {key!r} is {document.get(key, 'missing')!r}.")
    trunk = document["trunk"] or {}
    n_outputs = (trunk.get("arguments") or {}).get("n_outputs", len(document["classes"]))
    if n_outputs != len(document["classes"]) and "n_outputs" not in (trunk.get("given") or ()):
        raise ValueError(f"{path} is damaged: it names {len(document['classes'])} classes for {n_outputs} outputs.")
    return document


def _settings(document: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    settings = {key: decode(value) for key, value in document["settings"].items()}
    settings["positions"] = document["positions"]
    if document["classes_given"]:
        settings["classes"] = document["classes"]
    if document["policy"] is not None:
        from eegaug.policy import policy_from_document

        policy = policy_from_document(document["policy"], "the policy of the model")
        if hasattr(policy, "with_weights"):
            try:
                policy = policy.with_weights(folder / POLICY_WEIGHTS)
            except ValueError as error:  # only training needs it
                warn(
                    f"the policy of {folder} comes without its network ({error}): the model predicts, and trains again "
                    "once set_params(policy=…) gives it another."
                )
        settings["policy"] = policy
    if document.get("variants") is not None:
        from eegaug.consistency.saving import variants_from_document

        settings["variants"] = variants_from_document(document["variants"])
    return settings


def _initialize(clf: Any, document: Mapping[str, Any], ready_made: bool) -> None:
    """Build network and optimiser with everything that was saved of them, and leave the parameters as the user's."""
    trunk, params = document["trunk"], vars(clf)
    arguments = {f"module__{key}": decode(value) for key, value in trunk["arguments"].items()}
    if not ready_made:
        params.update(arguments)
    if document["layers"] is not None:
        from eegaug.augnet._start import rebuilt

        clf.layers = layers = list(rebuilt(document["layers"], document.get("layers_start")).layers)
    initialize_to_predict(clf)
    if document["layers"] is not None:
        clf.layers = _layers_as_given(document, layers)
    for key in arguments:
        if ready_made or key.removeprefix("module__") not in trunk["given"]:
            params.pop(key, None)


def _layers_as_given(document: Mapping[str, Any], layers: list[Any]) -> Any:
    """The parameter ``layers`` as it was."""
    if document["layers_given"] is not None:
        return decode(document["layers_given"])
    starts = document.get("layers_start") or [None] * len(layers)
    return [layer.operations if start is None else layer for layer, start in zip(layers, starts, strict=True)]


def _load_weights(model: nn.Module, folder: Path, document: Mapping[str, Any]) -> None:
    path = folder / WEIGHTS
    if not path.is_file():
        raise FileNotFoundError(f"there is no model in {folder}: {WEIGHTS} is missing.")
    if hashlib.sha256(path.read_bytes()).hexdigest() != document["weights"]["sha256"]:
        raise ValueError(f"{path} is damaged or belongs to another model: its checksum is not that of {DOCUMENT}.")
    try:
        weights = {name.removeprefix("_orig_mod."): value for name, value in load_file(path).items()}
        uncompiled_network(model).load_state_dict(weights)
    except (RuntimeError, KeyError) as error:
        raise ValueError(f"the weights of {folder} do not fit the module: {error}") from error
