"""Experiments by name; what an experiment needs is imported when it is asked for."""

from __future__ import annotations

import importlib

from eegaug.experiments.base import Experiment

__all__ = ["get_experiment", "list_experiments"]

# Name, module and, where it is not EXPERIMENT, the experiment's name there.
_MODULES: dict[str, str] = {
    "sinusoids": "eegaug.experiments.sinusoids",
    "planted": "eegaug.experiments.planted",
    "capacity": "eegaug.experiments.capacity",
    "rotation": "eegaug.experiments.rotation",
    "transfer": "eegaug.experiments.transfer",
    "label-noise": "eegaug.experiments.noise_and_fractions:LABEL_NOISE",
    "fractions": "eegaug.experiments.noise_and_fractions:FRACTIONS",
    "stage-policies": "eegaug.experiments.stage_policies",
}


def list_experiments() -> list[str]:
    """Names of the experiments.

    Examples
    --------
    >>> "sinusoids" in list_experiments()
    True
    """
    return list(_MODULES)


def get_experiment(name: str) -> Experiment:
    """An experiment by its name.

    Raises
    ------
    ValueError
        If there is none of this name.

    Examples
    --------
    >>> get_experiment("sinusoids").name
    'sinusoids'
    """
    if name not in _MODULES:
        raise ValueError(f"there is no experiment {name!r}; choose from {', '.join(_MODULES)}.")
    module, _, attribute = _MODULES[name].partition(":")
    return getattr(importlib.import_module(module), attribute or "EXPERIMENT")
