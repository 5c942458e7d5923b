"""The plain policy: weighted sub-policies, the same for every window."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, Self

import torch
from pydantic import Field, PrivateAttr, model_validator
from torch import Tensor

from eegaug.operations import Operation
from eegaug.policies.base import BasePolicy
from eegaug.policies.grouped import Choices
from eegaug.policies.parts import PolicyOperation, SubPolicy
from eegaug.policies.ready_made import ReadyMade

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Policy"]


class Policy(ReadyMade, BasePolicy):
    """A distribution over augmentations: for each window one sub-policy is drawn, and its operations are applied.

    Parameters
    ----------
    sub_policies : sequence of SubPolicy
        At least one. Their weights are scaled to sum to one.
    draws : int
        How many sub-policies are drawn for each window, with replacement, and applied one after the other.
    sfreq : float or None
        Sampling rate in Hz of the signals the policy is for.
    ch_names : sequence of str or None
        Their channel labels, in order.
    positions : mapping, array (n_channels, 3) or None
        Their electrode positions, see :func:`eegaug.montage.electrode_positions`.
    searcher : str or None
        The search that found the policy.
    settings : dict
        Its settings, plain JSON values.

    Raises
    ------
    ValueError
        When an operation is unknown, or lacks something it needs, or a number is out of its range.

    Examples
    --------
    >>> import torch
    >>> from eegaug.policy import Policy, SubPolicy
    >>> policy = Policy(
    ...     sub_policies=[
    ...         SubPolicy(operations=[("frequency_shift", 0.5, 0.06), ("sign_flip", 1.0)], weight=3),
    ...         SubPolicy(operations=[("gaussian_noise", 0.8, 0.5)], weight=1),
    ...     ],
    ...     sfreq=100,
    ... )
    >>> policy.apply(torch.randn(8, 2, 3000)).shape
    torch.Size([8, 2, 3000])
    >>> print(policy.describe())
    Draws one of 2 sub-policies for each window (100 Hz).
    75 %: with probability 0.5 shifts all frequencies by up to ±0.3 Hz;
        then with probability 1 flips the sign of all channels
    25 %: with probability 0.8 adds white noise of standard deviation 0.1
    """

    kind: Literal["sub-policies"] = "sub-policies"
    sub_policies: tuple[SubPolicy, ...] = Field(min_length=1)
    draws: int = Field(default=1, ge=1, strict=True)

    if TYPE_CHECKING:  # lists, tuples and dictionaries are taken for what the fields hold

        def __init__(self, **data: Any) -> None: ...

    _choices: Choices = PrivateAttr()
    _numbers: tuple[tuple[int, ...], ...] = PrivateAttr()

    @model_validator(mode="after")
    def _complete(self) -> Self:
        self._take_signal(step for sub in self.sub_policies for step in sub.operations)
        total = sum(sub.weight for sub in self.sub_policies)
        if not math.isfinite(total):
            raise ValueError(f"the weights of the sub-policies are too large: their sum is {total}")
        if abs(total - 1.0) > 1e-9:
            scaled = tuple(sub.model_copy(update={"weight": sub.weight / total}) for sub in self.sub_policies)
            lost = next(
                (sub.weight for sub, one in zip(self.sub_policies, scaled, strict=True) if not one.weight), None
            )
            if lost is not None:
                raise ValueError(f"a sub-policy of weight {lost} would never be drawn beside the others: leave it out")
            object.__setattr__(self, "sub_policies", scaled)
        known: dict[PolicyOperation, int] = {}
        built: list[Operation] = []
        self._numbers = tuple(
            tuple(self._number(step, known, built) for step in sub.operations) for sub in self.sub_policies
        )
        self._operations = tuple(built)
        self._choices = Choices.of([self.sub_policies], [self._numbers], self.draws)
        return self

    def _choose(self, X: Tensor, y: Any, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        return self._choices.draw(len(X), generator=generator)

    def describe(self, limit: int | None = None) -> str:
        """What the policy does, in words and physical units; see :meth:`eegaug.policy.BasePolicy.describe`."""
        n = len(self.sub_policies)
        head = "Does the same to each window"
        if self.draws > 1:
            head = f"Draws {self.draws} of {n} sub-policies for each window, one after the other"
        elif n > 1:
            head = f"Draws one of {n} sub-policies for each window"
        return "\n".join([f"{head}{self._signal_words()}.", *self._lines(limit)])

    def _lines(self, limit: int | None) -> list[str]:
        """Each sub-policy in words."""
        lines, then = [], ";\n    then "
        for sub, numbers in zip(self.sub_policies, self._numbers, strict=True):
            steps = [_words(step, self._operations[q]) for step, q in zip(sub.operations, numbers, strict=True)]
            lines.append(f"{100 * sub.weight:.3g} %: {then.join(steps) or 'changes nothing'}")
        if limit is not None and len(lines) > limit:
            order = sorted(range(len(lines)), key=lambda s: -self.sub_policies[s].weight)
            left = 100 * sum(self.sub_policies[s].weight for s in order[limit:])
            lines = [*(lines[s] for s in order[:limit]), f"{left:.3g} %: one of {len(lines) - limit} others"]
        return lines

    def summary(self) -> str:
        """The policy in a few words."""
        n = len(self.sub_policies)
        return f"{n} sub-polic{'y' if n == 1 else 'ies'}" + (f", {self.draws} drawn" if self.draws > 1 else "")

    def table(self) -> pd.DataFrame:
        """The policy as a table; see :meth:`eegaug.policy.BasePolicy.table`."""
        return sub_policy_table(self, self._numbers, self._operations)


def _words(step: PolicyOperation, operation: Operation) -> str:
    low, high = step.range
    words = f"with probability {step.probability:.3g} {operation.describe(high if operation.has_magnitude else None)}"
    if high > low and operation.has_magnitude:
        share = f"{low / high:.3g} and 1" if low else "0 and 1"
        words += f", times a factor drawn between {share}"
    return words


def sub_policy_table(policy: Policy, numbers: Sequence[Sequence[int]], operations: Sequence[Operation]) -> pd.DataFrame:
    """A row for each operation of each sub-policy, see :meth:`eegaug.policy.BasePolicy.table`."""
    import pandas as pd

    rows, nan = [], float("nan")
    for s, (sub, places) in enumerate(zip(policy.sub_policies, numbers, strict=True)):
        head = {"class": None, "draws": policy.draws, "sub_policy": s, "weight": sub.weight}
        for place, (step, number) in enumerate(zip(sub.operations, places, strict=True)):
            operation = operations[number]
            low, high = step.range if operation.has_magnitude else (nan, nan)
            row = {"place": place, "operation": operation.name, "family": operation.family}
            row |= {"probability": step.probability, "magnitude": high, "lowest_magnitude": low}
            rows.append(head | row | {"strength": operation.physical(high), "unit": operation.unit})
        if not places:
            nothing = {"operation": "", "family": "", "unit": ""}
            numbers_of = dict.fromkeys(("probability", "magnitude", "lowest_magnitude", "strength"), nan)
            rows.append(head | {"place": 0} | nothing | numbers_of)
    return pd.DataFrame(rows)
