"""The critic of Faster AutoAugment: tells augmented windows from others, and stages from each other."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from eegaug._features import TrunkFeatures
from eegaug._trunk import twice_differentiable

__all__ = ["Critic", "critic_loss", "gradient_penalty", "policy_loss"]

# Hidden units of the critic's head are as many as features, up to this: beyond, a matrix of features by features
# would be larger than the trunk.
_MAX_HIDDEN = 1024


class Critic(nn.Module):
    """A trunk's features with two heads: classes, and a number that is larger for windows that look real.

    Parameters
    ----------
    trunk : torch.nn.Module
        Loses its last layer.
    n_classes : int
    n_channels, n_times : int
        Shape of a window.

    References
    ----------
    Hataya, Zdenek, Yoshizoe and Nakayama (2020), Faster AutoAugment: learning augmentation strategies using
    backpropagation, ECCV.

    Examples
    --------
    >>> import torch
    >>> from braindecode.models import SleepStagerChambon2018
    >>> critic = Critic(SleepStagerChambon2018(n_chans=2, sfreq=100, n_times=3000, n_outputs=5), 5, 2, 3000)
    >>> logits, reality = critic(torch.randn(4, 2, 3000))
    >>> logits.shape, reality.shape
    (torch.Size([4, 5]), torch.Size([4]))
    """

    def __init__(self, trunk: nn.Module, n_classes: int, n_channels: int, n_times: int):
        super().__init__()
        self.features = TrunkFeatures(trunk, n_channels, n_times)
        n = self.features.n_features
        hidden = min(n, _MAX_HIDDEN)
        self.classes = nn.Linear(n, n_classes)
        self.reality = nn.Sequential(nn.Linear(n, hidden), nn.ReLU(), nn.Linear(hidden, 1))

    def forward(self, X: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of the classes, shape (batch, n_classes), and how real windows look, shape (batch,)."""
        features = self.features(X)
        return self.classes(features), self.reality(features)[:, 0]


def gradient_penalty(reality: Callable[[Tensor], Tensor], real: Tensor, augmented: Tensor, where: Tensor) -> Tensor:
    """How far the slope of a critic is from 1 between real and augmented windows: ``mean((norm - 1)^2)``.

    Parameters
    ----------
    reality : callable
        The critic: windows to numbers, shape (batch,).
    real, augmented : Tensor, shape (batch, channels, times)
    where : Tensor, shape (batch,)
        Place on the line from a real (0) to an augmented window (1), at which the slope is taken.

    References
    ----------
    Gulrajani, Ahmed, Arjovsky, Dumoulin and Courville (2017), Improved training of Wasserstein GANs, NeurIPS.

    Examples
    --------
    >>> import torch
    >>> X = torch.randn(4, 1, 100)
    >>> gradient_penalty(lambda X: X.sum((1, 2)) / 10, X, -X, torch.rand(4)).item() < 1e-12
    True
    """
    between = torch.lerp(real.detach(), augmented.detach(), where[:, None, None].to(real)).requires_grad_()
    (slope,) = torch.autograd.grad(reality(between).sum(), between, create_graph=True)
    return (slope.flatten(1).norm(dim=1) - 1.0).square().mean()


def critic_loss(
    critic: Critic,
    real: Tensor,
    augmented: Tensor,
    where: Tensor,
    class_loss: Callable[[Tensor], Tensor],
    *,
    penalty_weight: float,
    class_weight: float,
) -> tuple[Tensor, dict[str, Tensor]]:
    """What the critic minimises, and its terms.

    Parameters
    ----------
    critic : Critic
    real, augmented : Tensor, shape (batch, channels, times)
        Two halves of a batch; of different sizes, the penalty uses as many pairs as there are.
    where : Tensor, shape (n_pairs,)
        See :func:`gradient_penalty`.
    class_loss : callable
        Logits of the real windows to a number.
    penalty_weight, class_weight : float
    """
    logits, reality = critic(torch.cat([real, augmented.detach()]))
    distance = reality[: len(real)].mean() - reality[len(real) :].mean()
    n = len(where)
    with twice_differentiable(critic):
        penalty = gradient_penalty(lambda X: critic(X)[1], real[:n], augmented[:n], where)
    of_class = class_loss(logits[: len(real)])
    loss = penalty_weight * penalty + class_weight * of_class - distance
    return loss, {"distance": distance.detach(), "gradient_penalty": penalty.detach(), "class": of_class.detach()}


def policy_loss(
    critic: Critic, augmented: Tensor, class_loss: Callable[[Tensor], Tensor], *, class_weight: float
) -> Tensor:
    """What the policy minimises: augmented windows look real, and their classes are recognised."""
    logits, reality = critic(augmented)
    return class_weight * class_loss(logits) - reality.mean()
