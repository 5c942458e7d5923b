"""Read policies of any kind."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from eegaug.policies.base import FORMAT, FORMAT_VERSION, BasePolicy
from eegaug.policies.classwise import ClassPolicy
from eegaug.policies.conditional import ConditionalPolicy, find_weights
from eegaug.policies.policy import Policy

__all__ = ["load_policy", "policy_from_document"]

_KINDS: dict[str, type[BasePolicy]] = {
    cls.model_fields["kind"].default: cls for cls in (Policy, ClassPolicy, ConditionalPolicy)
}


def load_policy(path: str | os.PathLike, module: Any = None) -> BasePolicy:
    """Read a policy of any kind from its JSON file. Nothing in the file is executed.

    Parameters
    ----------
    path : path-like
    module : type, callable, Module or None
        For an input-conditional policy whose network is none of braindecode's: the class of its trunk.

    Returns
    -------
    Policy, ClassPolicy or ConditionalPolicy

    Raises
    ------
    FileNotFoundError
        When there is no such file, or the weights of its network are not in its folder.
    ValueError
        When the file is no policy, is damaged, was written by a newer version or names unknown operations; the message
        says so.

    Examples
    --------
    >>> import tempfile
    >>> from eegaug.policy import Policy, load_policy
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Policy.identity().save(f"{folder}/policy.json")
    ...     print(load_policy(f"{folder}/policy.json").describe())
    Does the same to each window.
    100 %: changes nothing
    """
    path = Path(path)
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no policy {path}: eegaug search and Policy.save write one.") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not a policy: it is not JSON ({error})") from None
    policy = policy_from_document(document, path)
    if isinstance(policy, ConditionalPolicy):
        try:
            policy = policy.with_weights(find_weights(path, policy.weights), module=module)
        except ValueError as error:
            raise ValueError(f"{path} cannot be read as a policy: {error}") from error
    return policy


def policy_from_document(document: Any, path: str | os.PathLike = "the document") -> BasePolicy:
    """A policy of any kind from its JSON document.

    Parameters
    ----------
    document : dict
        What ``policy.model_dump(mode="json")`` gave. An input-conditional policy comes without its weights, see
        :meth:`eegaug.policy.ConditionalPolicy.with_weights`.
    path : path-like
        Where it comes from, for errors.

    Returns
    -------
    Policy, ClassPolicy or ConditionalPolicy

    Raises
    ------
    ValueError
        When it is no policy that this version can read, with the reason.
    """
    if not isinstance(document, Mapping) or document.get("format") != FORMAT:
        raise ValueError(f'{path} is not a policy: it lacks "format": "{FORMAT}"')
    version = document.get("version")
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise ValueError(
            f"{path} was written by a newer eegaug (version {version} of the format, this one reads up to "
            f"{FORMAT_VERSION}); upgrade eegaug to read it"
        )
    # The first files did not say their kind: there was but one.
    kind = document.get("kind", Policy.model_fields["kind"].default)
    cls = _KINDS.get(kind) if isinstance(kind, str) else None
    if cls is None:
        raise ValueError(f"{path} cannot be read as a policy: unknown kind {kind!r}; known are {', '.join(_KINDS)}")
    try:
        return cls.model_validate(document)
    except ValidationError as error:
        reasons = "; ".join(
            ": ".join(filter(None, [".".join(map(str, found["loc"])), found["msg"].removeprefix("Value error, ")]))
            for found in error.errors()
        )
        raise ValueError(f"{path} cannot be read as a policy: {reasons}") from None
    except Exception as error:  # the document may be damaged in any way, and pydantic reports ValueErrors only
        raise ValueError(f"{path} cannot be read as a policy: {type(error).__name__}: {error}") from error
