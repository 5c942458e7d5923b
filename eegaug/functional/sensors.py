"""Operations across channels. Signals are ``(batch, channels, times)``, parameters ``(batch, ...)`` or ``(1, ...)``."""

from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache

import numpy as np
import torch
from numpy.polynomial import legendre
from scipy.special import gammaln
from torch import Tensor

__all__ = [
    "full_precision",
    "mix_channels",
    "permute_channels",
    "rotation_matrices",
    "rotation_matrices_and_slope",
    "rotation_table",
    "shuffle_permutation",
    "sign_flip",
]


def full_precision(X: Tensor) -> AbstractContextManager:
    """Without automatic mixed precision, on devices that have it."""
    kind = X.device.type
    mixed = torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
    return torch.autocast(kind, enabled=False) if mixed else nullcontext()


def sign_flip(X: Tensor) -> Tensor:
    """Turn the polarity of every channel round.

    Parameters
    ----------
    X : Tensor

    Returns
    -------
    Tensor
        ``-X``.

    Examples
    --------
    >>> import torch
    >>> from eegaug.functional import sign_flip
    >>> sign_flip(torch.tensor([1.0, -2.0])).tolist()
    [-1.0, 2.0]
    """
    return -X


def mix_channels(X: Tensor, matrix: Tensor) -> Tensor:
    """Linear mixing of channels, one matrix per example or one for all.

    Parameters
    ----------
    X : Tensor, shape (batch, channels, times)
    matrix : Tensor, shape (batch or 1, channels, channels)
        Output channel ``i`` is ``sum_j matrix[:, i, j] * X[:, j]``.

    Returns
    -------
    Tensor, shape (batch, channels, times)

    Examples
    --------
    >>> import torch
    >>> from eegaug.functional import mix_channels
    >>> mix_channels(torch.tensor([[[1.0], [2.0]]]), torch.tensor([[[0.0, 1.0], [1.0, 0.0]]])).flatten().tolist()
    [2.0, 1.0]
    """
    # Automatic mixed precision would round the signal itself to 8 or 11 bits.
    with full_precision(X):
        return torch.matmul(matrix, X)


def permute_channels(X: Tensor, permutation: Tensor) -> Tensor:
    """Reorder channels, one permutation per example or one for all.

    Parameters
    ----------
    X : Tensor, shape (batch, channels, times)
    permutation : Tensor of int64, shape (batch or 1, channels)
        Output channel ``i`` is input channel ``permutation[:, i]``.

    Returns
    -------
    Tensor, shape (batch, channels, times)

    Examples
    --------
    >>> import torch
    >>> from eegaug.functional import permute_channels
    >>> permute_channels(torch.tensor([[[1.0], [2.0], [3.0]]]), torch.tensor([[2, 0, 1]])).flatten().tolist()
    [3.0, 1.0, 2.0]
    """
    if permutation.shape[0] == 1:
        return X.index_select(1, permutation[0])
    n, n_channels, n_times = X.shape
    # Rows of one matrix: whole channels are copied, where gather would look every sample up.
    rows = permutation + torch.arange(0, n * n_channels, n_channels, device=X.device)[:, None]
    return X.reshape(n * n_channels, n_times).index_select(0, rows.view(-1)).view(n, -1, n_times)


def shuffle_permutation(selected: Tensor, keys: Tensor) -> Tensor:
    """Permutation of the selected channels among their own places.

    Parameters
    ----------
    selected : Tensor of bool, shape (batch, channels)
        Channels that take part; the others keep their place.
    keys : Tensor, shape (batch, channels)
        Uniform draws in [0, 1) whose order within the selected channels decides the permutation. Distinct keys give
        every order of the selected channels the same chance.

    Returns
    -------
    Tensor of int64, shape (batch, channels)

    Examples
    --------
    >>> import torch
    >>> from eegaug.functional import shuffle_permutation
    >>> shuffle_permutation(torch.tensor([[True, False, True]]), torch.tensor([[0.9, 0.5, 0.1]])).tolist()
    [[2, 1, 0]]
    """
    last = torch.arange(selected.shape[1], device=keys.device, dtype=keys.dtype) + 2.0
    # Selected channels first, once in their own and once in a random order; the others after them, in their own.
    places = torch.where(selected, last - (last[-1] + 1.0), last).argsort(1)
    drawn = torch.where(selected, keys, last).argsort(1)
    return torch.zeros_like(places).scatter(1, places, drawn)


# -- rotations ---------------------------------------------------------------------------------------------------------

_N_LEGENDRE = 50
_STIFFNESS = 4
_RIDGE = 1e-5


def _spline_weights() -> np.ndarray:
    """Weights of the Legendre polynomials of degree 1 to 50 in the spherical spline of Perrin et al."""
    n = np.arange(1.0, _N_LEGENDRE + 1)
    return (2 * n + 1) / (n**_STIFFNESS * (n + 1) ** _STIFFNESS * 4 * np.pi)


def _associated_legendre(x: np.ndarray) -> np.ndarray:
    """Associated Legendre functions at `x`, without the sign of Condon and Shortley, shape (51, 51, len(x)).

    The first index is the degree, the second the order. scipy's take longer for six electrodes than all else together.
    """
    found = np.zeros((_N_LEGENDRE + 1, _N_LEGENDRE + 1, len(x)))
    found[0, 0] = 1.0
    for n in range(1, _N_LEGENDRE + 1):
        order = np.arange(n)[:, None]
        two_before = found[n - 2, :n] if n > 1 else 0.0
        found[n, :n] = ((2 * n - 1) * x * found[n - 1, :n] - (n + order - 1) * two_before) / (n - order)
        found[n, n] = (2 * n - 1) * np.sqrt(1.0 - x**2) * found[n - 1, n - 1]
    return found


def _waves_of_rotation(positions: np.ndarray, axis: str) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients of cos(k a) and sin(k a), k = 1 … 50, in the spline between places turned by `a` and as they are.

    Each of shape (50, n_channels, n_channels). By the addition theorem a Legendre polynomial of the cosine between two
    places is a sum, over orders k, of what depends on their heights above the equator times cos(k difference in
    longitude): a turn about the axis adds to the longitude.
    """
    i, j, up = {"x": (1, 2, 0), "y": (2, 0, 1), "z": (0, 1, 2)}[axis]
    height, longitude = positions[:, up].clip(-1, 1), np.arctan2(positions[:, j], positions[:, i])
    difference = longitude[:, None] - longitude
    degrees, weights, of_height = np.arange(1, _N_LEGENDRE + 1), _spline_weights(), _associated_legendre(height)
    cosines, sines = np.empty((2, _N_LEGENDRE, len(positions), len(positions)))
    for k in degrees:
        n = degrees[k - 1 :]
        scale = 2.0 * weights[n - 1] * np.exp(gammaln(n - k + 1) - gammaln(n + k + 1))
        together = of_height[n, k].T @ (scale[:, None] * of_height[n, k])
        cosines[k - 1], sines[k - 1] = together * np.cos(k * difference), -together * np.sin(k * difference)
    return cosines, sines


def rotation_table(positions: np.ndarray, axis: str, exact_identity: bool = True) -> tuple[Tensor, Tensor]:
    """Everything about a cap's rotation that does not depend on the angle.

    The potential is read at electrode positions turned by the angle ``a``, off the spherical spline through the
    measured values [1]_. The spline is a polynomial of degree 50 in the cosine between two places, so the interpolation
    matrix is exactly a trigonometric polynomial of the angle::

        W(a) = W(0) + sum_k  sin(k a / 2)^2 A_k + sin(k a) B_k

    and so is its derivative. The coefficients of both are found once, in float64; afterwards the matrices of a whole
    batch are one matrix product, exactly ``W(0)`` for an angle of zero.

    Parameters
    ----------
    positions : ndarray, shape (n_channels, 3)
        Unit vectors.
    axis : {"x", "y", "z"}
        x points to the right ear, y to the nose, z up.
    exact_identity : bool
        True takes the identity for ``W(0)``, so that no rotation is no change. False keeps the smoothing of the
        spline's ridge in ``W(0)``, as braindecode does.

    Returns
    -------
    base : Tensor of float64, shape (2, n_channels, n_channels)
        The matrix at zero, and its derivative there.
    table : Tensor of float64, shape (100, 2, n_channels, n_channels)
        The matrices A, then the matrices B, each beside those of the derivative.

    References
    ----------
    .. [1] Perrin, Pernier, Bertrand and Echallier (1989). Spherical splines for scalp potential and current density
       mapping. Electroencephalography and Clinical Neurophysiology 72, 184-187.

    Examples
    --------
    >>> import numpy as np
    >>> from eegaug.functional import rotation_table
    >>> base, table = rotation_table(np.eye(3), "z")
    >>> base.shape, table.shape
    (torch.Size([2, 3, 3]), torch.Size([100, 2, 3, 3]))
    """
    n = len(positions)
    between = legendre.legval(np.clip(positions @ positions.T, -1, 1), np.r_[0.0, _spline_weights()])
    system = np.ones((n + 1, n + 1))
    system[:n, :n] = between + _RIDGE * np.eye(n)
    system[n, n] = 0.0
    inverse = np.linalg.inv(system)[:, :n]
    cosines, sines = (waves @ inverse[:n] for waves in _waves_of_rotation(positions, axis))
    orders = np.arange(1, _N_LEGENDRE + 1)[:, None, None]
    # cos(k a) = 1 - 2 sin(k a / 2)^2
    values = np.concatenate([-2.0 * cosines, sines])
    slopes = np.concatenate([-2.0 * orders * sines, -orders * cosines])
    still = np.eye(n) if exact_identity else between @ inverse[:n] + inverse[n]
    base = np.stack([still, (orders * sines).sum(0)])
    return torch.from_numpy(base), torch.from_numpy(np.stack([values, slopes], axis=1))


def rotation_matrices(angle: Tensor, base: Tensor, table: Tensor) -> Tensor:
    """Interpolation matrices of rotated caps.

    Parameters
    ----------
    angle : Tensor, shape (batch,)
        In radians, right-handed.
    base, table : Tensor
        From :func:`rotation_table`, in the dtype of `angle`.

    Returns
    -------
    Tensor, shape (batch, n_channels, n_channels)
        Rows sum to one: what is the same everywhere stays.

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> from eegaug.functional import rotation_matrices, rotation_table
    >>> base, table = rotation_table(np.eye(3), "z")
    >>> bool((rotation_matrices(torch.zeros(2, dtype=torch.float64), base, table) == torch.eye(3)).all())
    True
    """
    n = base.shape[1]
    return turned(rotation_waves(angle), base[0].reshape(1, -1), table[:, 0].reshape(-1, n * n)).view(-1, n, n)


def rotation_matrices_and_slope(angle: Tensor, base: Tensor, table: Tensor) -> tuple[Tensor, Tensor]:
    """:func:`rotation_matrices`, and their derivative in the angle.

    Parameters
    ----------
    angle, base, table
        As in :func:`rotation_matrices`.

    Returns
    -------
    matrices, slope : Tensor, shape (batch, n_channels, n_channels)
        The slope is per radian; its rows sum to zero.

    Examples
    --------
    >>> import numpy as np
    >>> from eegaug.functional import rotation_matrices_and_slope, rotation_table
    >>> base, table = rotation_table(np.eye(3), "z")
    >>> matrices, slope = rotation_matrices_and_slope(torch.zeros(1, dtype=torch.float64), base, table)
    >>> bool(slope.sum(2).abs().max() < 1e-12)
    True
    """
    both = turned(rotation_waves(angle), base.reshape(1, -1), table.flatten(1))
    return both.view(-1, *base.shape).unbind(1)


def rotation_waves(angle: Tensor) -> Tensor:
    """What :func:`rotation_table` is multiplied by: squared sines of half angles, and sines, (batch, 100)."""
    waves = torch.outer(angle, _orders(angle.dtype, angle.device)).sin()
    waves[:, :_N_LEGENDRE].square_()
    return waves


def turned(waves: Tensor, base: Tensor, table: Tensor) -> Tensor:
    """Matrices by :func:`rotation_waves` and :func:`rotation_table`, flat, with or without those of the derivative."""
    with full_precision(waves):
        return torch.addmm(base, waves, table)


@lru_cache(maxsize=32)
def _orders(dtype: torch.dtype, device: torch.device) -> Tensor:
    with torch.inference_mode(False):
        orders = torch.arange(1, _N_LEGENDRE + 1, device=device, dtype=dtype)
        return torch.cat([orders / 2, orders])
