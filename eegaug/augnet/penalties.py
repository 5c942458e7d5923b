"""What keeps augmentation from being unlearned: norms that reward strength."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["PENALTIES", "augmentation_norm"]

#: Kinds of :func:`augmentation_norm`.
PENALTIES = ("selective", "magnitude", "none")


def augmentation_norm(
    weights: Sequence[Tensor],
    strengths: Sequence[Tensor],
    kind: str = "selective",
    reduction: str = "global",
    limit: float | None = None,
) -> Tensor:
    r"""Norm of what augmentation does; training maximises it against the cross-entropy.

    Cross-entropy alone prefers no augmentation, so that AugNet minimises :math:`\mathrm{CE} - \lambda N`. With
    :math:`N = \| w \odot \mu \|_2`, the derivatives are
    :math:`\partial N / \partial \mu_q = w_q^2 \mu_q / N`, a constant push on the magnitude of a selected operation, and
    :math:`\partial N / \partial w'_q = w_q (w_q \mu_q^2 - N^2) / (T_w N)`, positive only where
    :math:`w_q \mu_q^2 > N^2`: the strongest operation takes all the weight. Where all strengths are 0 the norm has no
    derivative, and gives 0.

    Parameters
    ----------
    weights, strengths : sequences over layers of Tensors of shape (n_operations,)
        Weights that sum to 1, and strengths in [0, 1]; normalised, not in physical units.
    kind : {"selective", "magnitude", "none"}
        The norm of weight times strength, of the strengths alone (which also rewards operations that are not used), or
        nothing.
    reduction : {"global", "per_layer"}
        One norm over all layers, or the sum of one norm per layer.
    limit : float | None
        The safe variant: 0, without a gradient, while any strength is at least `limit`, so that nothing pushes them
        on once one has come so far. None: always rewarded.

    Returns
    -------
    Tensor
        A number, differentiable in both.

    Raises
    ------
    ValueError
        For an unknown kind or reduction, or a limit that is not in (0, 1].

    References
    ----------
    Rommel et al. (2022), Deep invariant networks with differentiable augmentation layers, NeurIPS, equation 6;
    "magnitude" and its safe variant are those of Augerino, Benton et al. (2020), Learning invariances in neural
    networks, NeurIPS; see :func:`eegaug.augnet.augerino_layers`.

    Examples
    --------
    >>> import torch
    >>> augmentation_norm([torch.tensor([0.5, 0.5])], [torch.tensor([0.6, 0.8])]).item()
    0.5
    """
    if kind not in PENALTIES:
        raise ValueError(f"penalty kind {kind!r}; use one of {', '.join(PENALTIES)}.")
    if reduction not in ("global", "per_layer"):
        raise ValueError(f"reduction {reduction!r}; use 'global' or 'per_layer'.")
    if limit is not None and not 0 < limit <= 1:
        raise ValueError(f"penalty limit {limit}; it lies in (0, 1].")
    if kind == "none":
        return strengths[0].new_zeros(())
    if kind == "selective":
        parts = [w * s for w, s in zip(weights, strengths, strict=True)]
    else:
        parts = list(strengths)
    if reduction == "global":
        norm = torch.linalg.vector_norm(torch.cat(parts))
    else:
        norm = torch.stack([torch.linalg.vector_norm(part) for part in parts]).sum()
    # A product, and no question asked of the tensor: an accelerator need not be waited for.
    return norm if limit is None else norm * (torch.cat(list(strengths)).detach().max() < limit)
