"""Training with a policy from a file, as a method."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any

from eegaug.comparison.methods import Method

__all__ = ["policy_method"]


def policy_method(path: str | os.PathLike) -> Method:
    """The method that trains with the policy of this file.

    Parameters
    ----------
    path : path-like
        What a search or ``policy.save`` wrote, see :func:`eegaug.policy.load_policy`.

    Returns
    -------
    Method
        Called ``"policy"``. It refuses nights of other channels, or of another sampling rate, than the policy's.

    Examples
    --------
    >>> import tempfile
    >>> from eegaug.policy import Policy
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Policy.identity().save(f"{folder}/mine.json")
    ...     policy_method(f"{folder}/mine.json").label
    'policy mine.json'
    """
    from eegaug.policy import load_policy

    policy, name = load_policy(path), Path(path).name
    document = policy.model_dump(mode="json")
    return Method("policy", f"policy {name}", partial(_build, loaded=policy, file=name), {"policy": document})


def _build(common: dict[str, Any], *, policy: Any, loaded: Any, file: str) -> Any:
    from eegaug.classifier import StagingClassifier

    if loaded.sfreq is not None and loaded.sfreq != common["sfreq"]:
        raise ValueError(f"{file} is a policy for {loaded.sfreq:g} Hz, the nights have {common['sfreq']:g} Hz")
    if loaded.ch_names is not None and list(loaded.ch_names) != list(common["ch_names"]):
        raise ValueError(
            f"{file} is a policy for the channels {', '.join(loaded.ch_names)}, the nights have "
            f"{', '.join(common['ch_names'])}"
        )
    return StagingClassifier(**common, policy=loaded)
