"""Apply to each window its own operations at its own strengths, all windows of one operation together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from eegaug._precision import widest
from eegaug.operations import Operation
from eegaug.policies.parts import SubPolicy

__all__ = ["Choices", "apply_grouped"]


def apply_grouped(
    X: Tensor,
    operations: Sequence[Operation],
    index: Tensor,
    magnitude: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Apply to each window its own sequence of operations: one call for each operation and place in the sequence.

    Parameters
    ----------
    X : Tensor, shape (n, channels, times)
        Never modified.
    operations : sequence of Operation
    index : Tensor of int64, shape (n, places)
        Which operation each window gets at each place, −1 for none. Best on the CPU: an accelerator makes the host
        wait at each group.
    magnitude : Tensor, shape (n, places), or None
        In [0, 1]; of no meaning where there is no operation or it has no magnitude.
    generator : torch.Generator or None
        For the draws of the operations.

    Returns
    -------
    Tensor
        Shape, dtype and device of `X`; differentiable in `X` and `magnitude`.

    Examples
    --------
    >>> import torch
    >>> from eegaug.operations import get_operation
    >>> X = torch.tensor([[[1.0, 2.0]], [[3.0, 4.0]]])
    >>> operations = [get_operation("sign_flip"), get_operation("time_reverse")]
    >>> apply_grouped(X, operations, torch.tensor([[0, 1], [-1, 1]])).tolist()
    [[[-2.0, -1.0]], [[4.0, 3.0]]]
    """
    out = X.clone()
    for place in range(index.shape[1]):
        column = index[:, place]
        for number, operation in enumerate(operations):
            picked = torch.nonzero(column == number).flatten()
            if not len(picked):
                continue
            rows = picked.to(out.device, non_blocking=True)
            windows = out.index_select(0, rows)
            strength = None
            if operation.has_magnitude:
                if magnitude is None:
                    raise ValueError(f"{operation.name} needs a magnitude in [0, 1], got None")
                strength = magnitude[picked.to(magnitude.device), place]
            noise = operation.draw(*windows.shape, generator=generator, device=out.device)
            out.index_copy_(0, rows, operation.apply(windows, strength, noise))
    return out


@dataclass(frozen=True)
class Choices:
    """What may be drawn for a window, as tensors: sub-policies of one policy, or of one policy for each class.

    Attributes
    ----------
    cumulated : Tensor of float64, shape (classes, sub-policies)
        Weights, cumulated to one; 2 beyond the last sub-policy of a class.
    index : Tensor of int64, shape (classes, sub-policies, places)
        Operation at each place, −1 for none.
    probability, low, high : Tensor of float64, shape (classes, sub-policies, places)
    draws : int
        Sub-policies drawn for each window, one after the other.
    """

    cumulated: Tensor
    index: Tensor
    probability: Tensor
    low: Tensor
    high: Tensor
    draws: int

    @classmethod
    def of(
        cls,
        policies: Sequence[Sequence[SubPolicy]],
        numbers: Sequence[Sequence[Sequence[int]]],
        draws: int = 1,
    ) -> Choices:
        """Tensors of the sub-policies of each class; `numbers` says which operation each of their steps is."""
        shape = (
            len(policies),
            max(map(len, policies)),
            max((len(sub.operations) for subs in policies for sub in subs), default=0),
        )
        cumulated = torch.full(shape[:2], 2.0, dtype=torch.float64)
        index = torch.full(shape, -1)
        probability, low, high = (torch.zeros(shape, dtype=torch.float64) for _ in range(3))
        for c, subs in enumerate(policies):
            weights = torch.tensor([sub.weight for sub in subs])
            total = torch.cumsum(weights / weights.sum(), 0)
            cumulated[c, : len(subs)] = total / total[-1]
            for s, sub in enumerate(subs):
                for k, step in enumerate(sub.operations):
                    index[c, s, k] = numbers[c][s][k]
                    probability[c, s, k] = step.probability
                    low[c, s, k], high[c, s, k] = step.range
        return cls(cumulated, index, probability, low, high, draws)

    def draw(
        self, n: int, classes: Tensor | None = None, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Operation (−1 for none) and magnitude at each place of each window, both (n, draws * places), on the CPU.

        The same random numbers are used whatever the classes and sub-policies are.
        """
        device = torch.device("cpu") if generator is None else generator.device
        chosen = uniform((n, self.draws), generator, device, double=True)
        places = self.draws * self.index.shape[2]
        u = uniform((n, places), generator, device)
        c = torch.zeros(n, dtype=torch.int64) if classes is None else classes.cpu()
        c = c[:, None].expand(-1, self.draws)
        rows = self.cumulated[0] if classes is None else self.cumulated[c]
        s = torch.searchsorted(rows, chosen if classes is None else chosen[..., None]).reshape(n, self.draws)
        index, probability, low, high = (
            table[c, s].reshape(n, places) for table in (self.index, self.probability, self.low, self.high)
        )
        if not torch.equal(self.low, self.high):
            low = torch.lerp(low, high, uniform((n, places), generator, device, double=True))
        # Compared as u is drawn: at a probability of 1 every window is below.
        return torch.where(u < probability.float(), index, -1), low


def uniform(
    shape: tuple[int, ...], generator: torch.Generator | None, device: torch.device, double: bool = False
) -> Tensor:
    """Uniform draws in [0, 1) by a generator of that device, on the CPU."""
    dtype = widest(device) if double else torch.float32
    return (
        torch.rand(shape, generator=generator, device=device, dtype=dtype)
        .cpu()
        .to(torch.float64 if double else torch.float32)
    )
