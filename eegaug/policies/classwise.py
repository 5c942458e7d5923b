"""Class-wise policies: windows of each class are augmented by the policy of their class."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
import torch
from pydantic import Field, PrivateAttr, model_validator
from torch import Tensor

from eegaug.operations import Operation
from eegaug.policies.base import BasePolicy
from eegaug.policies.grouped import Choices
from eegaug.policies.parts import PolicyOperation
from eegaug.policies.policy import Policy, sub_policy_table

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ClassPolicy"]

_SIGNAL = ("sfreq", "ch_names", "positions")


class ClassPolicy(BasePolicy):
    """A policy for each class: a window is augmented by the policy of its label. Labels are needed in training only.

    Parameters
    ----------
    classes : sequence of int or str
        Labels, as the data have them.
    policies : sequence of Policy
        One for each class, all for the same signal.
    names : sequence of str or None
        Names of the classes, for words and pictures; accepted as labels too.
    sfreq, ch_names, positions, searcher, settings
        As for :class:`eegaug.Policy`. What is not given of the signal is taken from the policies.

    Raises
    ------
    ValueError
        When a class is named twice, or there is not one policy for each, or they are for other signals.

    References
    ----------
    Rommel, Moreau, Paillard and Gramfort (2022), CADDA: class-wise automatic differentiable data augmentation for EEG
    signals, ICLR.

    Examples
    --------
    >>> import torch
    >>> from eegaug.policy import ClassPolicy, Policy
    >>> flip = Policy(sub_policies=[{"operations": [("sign_flip", 1.0)]}])
    >>> policy = ClassPolicy(classes=["N2", "W"], policies=[flip, Policy.identity()])
    >>> X, y = policy.apply(torch.ones(3, 1, 4), ["W", "N2", "W"])
    >>> X[:, 0, 0].tolist()
    [1.0, -1.0, 1.0]
    """

    needs_labels: ClassVar[bool] = True

    kind: Literal["class-wise"] = "class-wise"
    classes: tuple[int | str, ...] = Field(min_length=1)
    policies: tuple[Policy, ...] = Field(min_length=1)
    names: tuple[str, ...] | None = None

    if TYPE_CHECKING:  # lists, tuples and dictionaries are taken for what the fields hold

        def __init__(self, **data: Any) -> None: ...

    _choices: Choices = PrivateAttr()
    _numbers: tuple[tuple[tuple[int, ...], ...], ...] = PrivateAttr()

    @model_validator(mode="before")
    @classmethod
    def _plain_classes(cls, data: Any) -> Any:
        if isinstance(data, dict):
            data = dict(data)
            for name in ("classes", "names"):
                if isinstance(data.get(name), (np.ndarray, Tensor)):
                    data[name] = data[name].tolist()
            for name in _SIGNAL:
                policies = data.get("policies")
                # Of what is no sequence pydantic says so.
                found = [getattr(p, name, None) for p in (policies if isinstance(policies, (tuple, list)) else ())]
                if data.get(name) is None and any(value is not None for value in found):
                    data[name] = next(value for value in found if value is not None)
        return data

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if len(set(self.classes)) != len(self.classes):
            raise ValueError(f"classes names one twice: {list(self.classes)}")
        if len(self.policies) != len(self.classes):
            raise ValueError(f"there are {len(self.classes)} classes and {len(self.policies)} policies")
        if self.names is not None and len(set(self.names)) != len(self.classes):
            raise ValueError(f"names must be {len(self.classes)} different ones, got {list(self.names)}")
        if len({policy.draws for policy in self.policies}) > 1:
            raise ValueError("the policies draw different numbers of sub-policies; draws must be the same for all")
        for label, policy in zip(self.classes, self.policies, strict=True):
            for name in _SIGNAL:
                if getattr(policy, name) is not None and getattr(policy, name) != getattr(self, name):
                    raise ValueError(
                        f"the policy of class {label!r} has {name}={getattr(policy, name)!r}, the others "
                        f"{getattr(self, name)!r}: all must be for one signal"
                    )
        known: dict[PolicyOperation, int] = {}
        built: list[Operation] = []
        self._numbers = tuple(
            tuple(tuple(self._number(step, known, built) for step in sub.operations) for sub in policy.sub_policies)
            for policy in self.policies
        )
        self._operations = tuple(built)
        self._choices = Choices.of([p.sub_policies for p in self.policies], self._numbers, self.policies[0].draws)
        return self

    def policy_of(self, label: Any) -> Policy:
        """The policy of a class, by its label or name."""
        return self.policies[int(self._codes([label])[0])]

    def _choose(self, X: Tensor, y: Any, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        if y is None:
            raise ValueError(
                "a class-wise policy needs the labels of the windows: apply(X, y); it is for training data only"
            )
        return self._choices.draw(len(X), self._codes(y), generator)

    def _codes(self, y: Any) -> Tensor:
        """Place of each label among the classes."""
        y = np.asarray(y.detach().cpu() if isinstance(y, Tensor) else y).reshape(-1).tolist()
        # Integers are codes only where they cannot be labels.
        codes = () if any(isinstance(label, int) for label in self.classes) else range(len(self.classes))
        place = {label: i for table in (codes, self.names or (), self.classes) for i, label in enumerate(table)}
        missing = [label for label in y if label not in place]
        if missing:
            known = ", ".join(map(repr, self.classes)) + (f" ({', '.join(self.names)})" if self.names else "")
            raise ValueError(f"label {missing[0]!r} has no policy; the classes are {known}")
        return torch.tensor([place[label] for label in y], dtype=torch.int64)

    # -- saying --------------------------------------------------------------------------------------------------------

    @property
    def labels(self) -> tuple[str, ...]:
        """What the classes are called: their names, or else their labels."""
        return self.names if self.names is not None else tuple(map(str, self.classes))

    def describe(self, limit: int | None = None) -> str:
        """What the policy does to windows of each class; see :meth:`eegaug.policy.BasePolicy.describe`."""
        lines = [f"Augments windows of each of {len(self.classes)} classes in their own way{self._signal_words()}."]
        for label, policy in zip(self.labels, self.policies, strict=True):
            first, *rest = policy.describe(limit).splitlines()
            lines.append(f"{label}: {first.split(' (')[0].removesuffix('.')}.")
            lines += [f"    {line}" for line in rest]
        return "\n".join(lines)

    def summary(self) -> str:
        """The policy in a few words."""
        return f"{len(self.classes)} classes, {sum(len(p.sub_policies) for p in self.policies)} sub-policies"

    def table(self) -> pd.DataFrame:
        """The policy as a table; see :meth:`eegaug.policy.BasePolicy.table`."""
        import pandas as pd

        parts = [
            sub_policy_table(policy, numbers, self._operations).assign(**{"class": label})
            for label, policy, numbers in zip(self.labels, self.policies, self._numbers, strict=True)
        ]
        return pd.concat(parts, ignore_index=True)
