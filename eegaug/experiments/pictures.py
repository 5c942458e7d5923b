"""Turned pictures: two glyphs, operations on a plane, a small convolutional trunk, and Augerino.

A picture of one channel is kept as a window (1, size * size), so that whatever takes EEG takes it too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from eegaug._random import RandomState, resolve_seed
from eegaug.operations import Operation

__all__ = [
    "AffineGroup",
    "PictureNet",
    "PlaneOperation",
    "Rotate",
    "ShearX",
    "ShearY",
    "TranslateX",
    "TranslateY",
    "make_turned_glyphs",
    "transformed",
]

SIZE = 32
# The strokes of two glyphs without any symmetry: from (x, y) to (x, y) on a plane from -1 to 1, y upwards.
_STROKES = (
    (((-0.3, -0.6), (-0.3, 0.6)), ((-0.3, 0.6), (0.4, 0.6)), ((-0.3, 0.05), (0.2, 0.05))),
    (((0.0, 0.6), (0.0, -0.4)), ((0.0, -0.4), (-0.35, -0.6)), ((0.0, 0.2), (0.45, 0.2)), ((-0.3, 0.6), (0.0, 0.6))),
)


def transformed(X: Tensor, matrices: Tensor) -> Tensor:
    """Pictures under affine maps of the plane.

    Parameters
    ----------
    X : Tensor, shape (batch, channels, SIZE * SIZE)
    matrices : Tensor, shape (batch, 2, 3)
        Where each place of the new picture is read in the old one, both from -1 to 1.

    Returns
    -------
    Tensor, shape (batch, channels, SIZE * SIZE)
        Zero where nothing is read.

    Examples
    --------
    >>> X, _ = make_turned_glyphs(2, random_state=0)
    >>> same = torch.tensor([[1.0, 0, 0], [0, 1, 0]]).expand(2, -1, -1)
    >>> bool(torch.allclose(transformed(torch.as_tensor(X), same), torch.as_tensor(X), atol=1e-5))
    True
    """
    pictures = X.reshape(*X.shape[:2], SIZE, SIZE)
    grid = functional.affine_grid(matrices, list(pictures.shape), align_corners=False)
    return functional.grid_sample(pictures, grid, align_corners=False).reshape(X.shape)


def make_turned_glyphs(
    n: int = 4000, *, max_degrees: float = 45.0, random_state: RandomState = None
) -> tuple[np.ndarray, np.ndarray]:
    """Two glyphs, upright or upside down, each turned by an angle that means nothing.

    Classes 0 and 2 are turned by a uniform angle within ±`max_degrees`, classes 1 and 3 by that and half a turn. A
    picture may be turned by up to 90° - `max_degrees` further before classes meet.

    Parameters
    ----------
    n : int
        Number of pictures; a quarter of each class.
    max_degrees : float
    random_state : int | RandomState | Generator | None

    Returns
    -------
    X : array of shape (n, 1, 1024), float32
    y : array of shape (n,)

    Examples
    --------
    >>> X, y = make_turned_glyphs(8, random_state=0)
    >>> X.shape, sorted(y.tolist())
    ((8, 1, 1024), [0, 0, 1, 1, 2, 2, 3, 3])
    """
    rng = np.random.default_rng(resolve_seed(random_state))
    y = rng.permutation(np.arange(n) % 4)
    angle = np.radians(rng.uniform(-max_degrees, max_degrees, n)) + np.pi * (y % 2)
    glyphs = torch.as_tensor(np.stack([_drawn(strokes) for strokes in _STROKES]), dtype=torch.float32)
    X = transformed(glyphs[torch.as_tensor(y // 2)], turn(torch.as_tensor(angle, dtype=torch.float32)))
    return X.numpy(), y


def _drawn(strokes: Sequence[tuple], width: float = 0.11) -> np.ndarray:
    """A picture (1, size * size) with soft lines."""
    at = (np.arange(SIZE) + 0.5) / SIZE * 2 - 1
    places = np.stack(np.meshgrid(at, -at), -1)  # the first row of a picture is its top
    picture = np.zeros((SIZE, SIZE))
    for start, end in np.asarray(strokes):
        along = np.clip((places - start) @ (end - start) / ((end - start) @ (end - start)), 0, 1)
        distance = np.linalg.norm(places - (start + along[..., None] * (end - start)), axis=-1)
        picture = np.maximum(picture, 1 / (1 + np.exp((distance - width) / 0.03)))
    return picture.reshape(1, -1)


def turn(angle: Tensor) -> Tensor:
    """Matrices of a turn by an angle in radians, shape (batch, 2, 3)."""
    cos, sin, zero = torch.cos(angle), torch.sin(angle), torch.zeros_like(angle)
    return torch.stack([cos, -sin, zero, sin, cos, zero], -1).unflatten(-1, (2, 3))


class PlaneOperation(Operation):
    """An affine map of a picture by an amount that is uniform over ``±magnitude * max_strength``.

    An example of operations of one's own: a ``name``, what magnitude 1 means, what is drawn, and what is done with it.
    """

    family = "plane"

    def noise_shapes(self, n: int, n_channels: int, n_times: int) -> dict[str, tuple[int, ...]]:
        return {"u": (n,)}

    def transform(self, X: Tensor, magnitude: Tensor, noise: dict[str, Tensor]) -> Tensor:
        amount = (2.0 * noise["u"] - 1.0) * (magnitude * self.max_strength)
        return transformed(X, self.matrices(amount.expand(len(X))))

    def matrices(self, amount: Tensor) -> Tensor:
        """Maps (batch, 2, 3) for amounts (batch,)."""
        raise NotImplementedError


def _with_entry(amount: Tensor, row: int, column: int) -> Tensor:
    entry = amount.new_zeros(2, 3)
    entry[row, column] = 1.0
    return torch.eye(2, 3, dtype=amount.dtype, device=amount.device) + amount[:, None, None] * entry


class Rotate(PlaneOperation):
    """Turn a picture, by up to 180 degrees."""

    name, unit, default_max_strength = "rotate", "degrees", 180.0

    def matrices(self, amount: Tensor) -> Tensor:
        return turn(torch.deg2rad(amount))


class TranslateX(PlaneOperation):
    """Move a picture sideways, by up to 0.45 of its width."""

    name, unit, default_max_strength, _entry = "translate_x", "of the width", 0.45, (0, 2)

    def matrices(self, amount: Tensor) -> Tensor:
        return _with_entry(2.0 * amount, *self._entry)  # a width is 2


class TranslateY(TranslateX):
    """Move a picture up and down, by up to 0.45 of its height."""

    name, unit, _entry = "translate_y", "of the height", (1, 2)


class ShearX(PlaneOperation):
    """Slant a picture sideways, by up to 0.3."""

    name, unit, default_max_strength, _entry = "shear_x", "slope", 0.3, (0, 1)

    def matrices(self, amount: Tensor) -> Tensor:
        return _with_entry(amount, *self._entry)


class ShearY(ShearX):
    """Slant a picture up and down, by up to 0.3."""

    name, _entry = "shear_y", (1, 0)


class PictureNet(nn.Sequential):
    """Four convolutions and a linear layer, for pictures (batch, 1, 1024).

    Parameters
    ----------
    n_outputs : int
    width : int
        Filters of the first convolution; each of the next has twice as many. The paper has 32.

    Examples
    --------
    >>> PictureNet()(torch.zeros(2, 1, 1024)).shape
    torch.Size([2, 4])
    """

    def __init__(self, n_outputs: int = 4, width: int = 8):
        layers: list[nn.Module] = [nn.Unflatten(2, (SIZE, SIZE))]
        n_in = 1
        for depth in range(4):
            n_out = width * 2**depth
            layers += [nn.Conv2d(n_in, n_out, 3, padding=1), nn.BatchNorm2d(n_out), nn.ReLU()]
            layers += [nn.MaxPool2d(2)] if depth else []
            n_in = n_out
        super().__init__(*layers, nn.MaxPool2d(4), nn.Flatten(), nn.Linear(n_in, n_outputs))


class AffineGroup(nn.Module):
    r"""Augerino's layer: a random element of the affine group, uniform over a box of learned widths.

    The map is :math:`\exp(\sum_i \epsilon_i \theta_i G_i)` with :math:`\epsilon_i` uniform over ±1/2,
    :math:`\theta = \mathrm{softplus}(\tilde\theta)` and the generators of translation in x and y (scaled by 0.1),
    rotation, isotropic scaling, stretching and shear. Angles are uniform within ± half the width of the rotation.

    Parameters
    ----------
    initial_width : float
        Of all generators.

    References
    ----------
    Benton, Finzi, Izmailov and Wilson (2020), Learning invariances in neural networks, NeurIPS, section 4.

    Examples
    --------
    >>> layer = AffineGroup(initial_width=0.5)
    >>> [round(w, 3) for w in layer.widths.tolist()]
    [0.5, 0.5, 0.5, 0.5, 0.5, 0.5]
    """

    names = ("translate_x", "translate_y", "rotate", "scale", "stretch", "shear")

    def __init__(self, initial_width: float = math.pi / 4):
        super().__init__()
        generators = torch.zeros(6, 3, 3)
        generators[0, 0, 2] = generators[1, 1, 2] = 0.1
        generators[2, 0, 1], generators[2, 1, 0] = -1.0, 1.0
        generators[3, 0, 0] = generators[3, 1, 1] = 1.0
        generators[4, 0, 0], generators[4, 1, 1] = 1.0, -1.0
        generators[5, 0, 1] = generators[5, 1, 0] = 1.0
        self.register_buffer("generators", generators, persistent=False)
        self.raw = nn.Parameter(torch.full((6,), math.log(math.expm1(initial_width))))

    @property
    def widths(self) -> Tensor:
        """The widths, above 0."""
        return functional.softplus(self.raw)

    def penalty(self, weight: float, safe: bool = False) -> Tensor:
        """What is added to the cross-entropy: minus `weight` times the norm of the widths.

        The safe variant is 0 as soon as any width is at least 10.
        """
        value = -weight * self.widths.norm()
        return value * (self.widths.detach() < 10).all() if safe else value

    def forward(self, X: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Transform each picture of a batch by a map of its own."""
        u = torch.rand(len(X), 6, generator=generator, device=X.device, dtype=X.dtype) - 0.5
        maps = torch.matrix_exp(torch.einsum("ni,i,ijk->njk", u, self.widths, self.generators))
        return transformed(X, maps[:, :2])


def fit_augerino(
    X: np.ndarray,
    y: np.ndarray,
    trunk: nn.Module,
    *,
    penalty: float,
    lr: float,
    epochs: int,
    batch_size: int,
    seed: int,
) -> tuple[AffineGroup, list[dict[str, Any]]]:
    """Train a trunk behind an affine group; the group, and its widths after each epoch."""
    group = AffineGroup(initial_width=math.pi / 4)  # ± pi / 8, as the other arms
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam([{"params": trunk.parameters()}, {"params": group.parameters(), "lr": 1e-2}], lr=lr)
    inputs, targets = torch.as_tensor(X), torch.as_tensor(y)
    history = []
    trunk.train()
    for epoch in range(1, epochs + 1):
        for rows in torch.randperm(len(inputs), generator=generator).split(batch_size):
            optimizer.zero_grad()
            loss = functional.cross_entropy(trunk(group(inputs[rows], generator)), targets[rows])
            (loss + group.penalty(penalty)).backward()
            optimizer.step()
        widths = dict(zip(group.names, group.widths.tolist(), strict=True))
        history.append({"epoch": epoch, "degrees": math.degrees(widths["rotate"] / 2), **widths})
    return group, history


@torch.no_grad()
def augerino_accuracy(
    X: np.ndarray, y: np.ndarray, trunk: nn.Module, group: AffineGroup, *, n_copies: int = 4, seed: int = 0
) -> float:
    """Accuracy of log-probabilities averaged over copies."""
    trunk.eval()
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.as_tensor(X)
    answers = [trunk(group(inputs, generator)).log_softmax(1) for _ in range(n_copies)]
    return float((torch.stack(answers).mean(0).argmax(1).numpy() == y).mean())
