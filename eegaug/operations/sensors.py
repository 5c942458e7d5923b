"""Operations across channels: each is one matrix of channels by channels per window."""

import math
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from eegaug import functional as F
from eegaug.functional.sampling import differentiated
from eegaug.functional.sensors import rotation_waves, turned
from eegaug.montage import bipolar_channels, electrode_positions, symmetry_permutation
from eegaug.operations.base import Operation
from eegaug.operations.linear_form import own_names

__all__ = [
    "ChannelsDropout",
    "ChannelsShuffle",
    "ChannelsSymmetry",
    "SensorsRotationX",
    "SensorsRotationY",
    "SensorsRotationZ",
    "SignFlip",
]


class SensorsOperation(Operation):
    """An operation that mixes channels, the same way at every moment of a window."""

    family = "sensors"
    linear_form = "mixing"

    def __init__(self, **settings: Any):
        super().__init__(**settings)
        if self.mixing_of_members is not None and self.max_strength > 1:
            raise ValueError(
                f"{self.name}: max_strength is the largest probability, at most 1, got {self.max_strength:g}"
            )

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        own = own_names(cls)
        if "mixing_matrix" in own and "transform" not in own:  # its parent may do it in a quicker way
            cls.transform = SensorsOperation.transform

    def mixing_matrix(self, magnitude: Tensor | None, noise: dict[str, Tensor], n_channels: int) -> Tensor:
        """The operation as matrices, shape (batch or 1, n_channels, n_channels), as differentiable as itself.

        Without draws or magnitude to tell them from, dtype and device are torch's defaults.
        """
        raise NotImplementedError

    def transform(self, X: Tensor, magnitude: Tensor | None, noise: dict[str, Tensor]) -> Tensor:
        return F.mix_channels(X, self.mixing_matrix(magnitude, noise, X.shape[1]).to(X))

    def membership(self, noise: dict[str, Tensor]) -> Tensor:
        """Uniform draws (batch, channels), where an operation decides about channels: yes below the probability."""
        return noise["u"]

    def _members_and_slope(self, magnitude: Tensor, noise: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Who takes part, and the slope of that in the magnitude, each (batch, channels)."""
        chance = (magnitude * self.max_strength)[:, None]
        member, slope = F.bernoulli_and_slope(chance, self.membership(noise))
        return member, slope * self.max_strength


class SignFlip(SensorsOperation):
    """Turn the polarity of all channels round. Without a magnitude: driven by its probability.

    Examples
    --------
    >>> import torch
    >>> from eegaug.operations.sensors import SignFlip
    >>> SignFlip()(torch.tensor([[1.0, -2.0]])).tolist()
    [[-1.0, 2.0]]
    """

    name = "sign_flip"
    has_magnitude = False
    sentence = "flips the sign of all channels"

    def mixing_matrix(self, magnitude: Tensor | None, noise: dict[str, Tensor], n_channels: int) -> Tensor:
        return -torch.eye(n_channels, device="cpu")[None]

    def transform(self, X: Tensor, magnitude: Tensor | None, noise: dict[str, Tensor]) -> Tensor:
        return F.sign_flip(X)


class ChannelsSymmetry(SensorsOperation):
    """Exchange the left and the right side of the head. Without a magnitude: driven by its probability.

    Which channels are partners is told by :func:`eegaug.montage.symmetry_permutation`.

    Parameters
    ----------
    ch_names : sequence of str
        Channel labels, in the order of the signal's channels.
    **settings
        As of :class:`Operation`.

    References
    ----------
    .. [1] Deiss, Biswal, Jin, Sun, Westover and Sun (2018). HAMLET: interpretable human and machine co-learning
       technique. arXiv:1803.09702.

    Examples
    --------
    >>> import torch
    >>> from eegaug.operations.sensors import ChannelsSymmetry
    >>> ChannelsSymmetry(ch_names=["C3", "Cz", "C4"])(torch.tensor([[1.0], [2.0], [3.0]])).flatten().tolist()
    [3.0, 2.0, 1.0]
    """

    name = "channels_symmetry"
    has_magnitude = False
    needs_ch_names = True
    sentence = "exchanges the left and the right side of the head"

    def __init__(self, **settings: Any):
        super().__init__(**settings)
        self._permutation = tuple(symmetry_permutation(self.ch_names).tolist())

    def void_reason(self, n_channels: int) -> str | None:
        if self._permutation == tuple(range(len(self._permutation))):
            names = f"{list(self.ch_names[:8])}" + (f" … ({len(self.ch_names)} in all)" if n_channels > 8 else "")
            return f"none of {names} has its left-right partner among them, so no channel would move"
        return None

    def mixing_matrix(self, magnitude: Tensor | None, noise: dict[str, Tensor], n_channels: int) -> Tensor:
        return torch.eye(n_channels, device="cpu")[list(self._permutation)][None]

    def transform(self, X: Tensor, magnitude: Tensor | None, noise: dict[str, Tensor]) -> Tensor:
        (permutation,) = self._constant("permutation", X, lambda: (torch.tensor([self._permutation], device="cpu"),))
        return F.permute_channels(X, permutation)


class ChannelsShuffle(SensorsOperation):
    """Permute a random subset of the channels; a channel belongs to it with probability ``magnitude * max_strength``.

    The result is an exact permutation. Its gradient to the magnitude is the effect that each channel's joining the
    subset has: for a member, of taking its new signal; for another, of taking the one that a shuffle of all channels
    would give it, so that the gradient does not vanish at magnitude 0.

    Parameters
    ----------
    max_strength : float or None
        Largest probability, 1 by default.
    **settings
        As of :class:`Operation`. With ``parity=True`` a channel belongs where its draw exceeds one minus the
        probability, as in braindecode.

    References
    ----------
    .. [1] Saeed, Grangier, Pietquin and Zeghidour (2020). Learning from heterogeneous EEG signals with differentiable
       channel reordering. arXiv:2010.13694.

    Examples
    --------
    >>> import torch
    >>> from eegaug.operations.sensors import ChannelsShuffle
    >>> X = torch.arange(4.0)[:, None]
    >>> sorted(ChannelsShuffle()(X, 1.0).flatten().tolist())
    [0.0, 1.0, 2.0, 3.0]
    """

    name = "channels_shuffle"
    sentence = "shuffles channels, each taking part with probability {strength:g}"

    def void_reason(self, n_channels: int) -> str | None:
        return "there is only one channel" if n_channels < 2 else None

    def noise_shapes(self, n: int, n_channels: int, n_times: int) -> dict[str, tuple[int, ...]]:
        return {"u": (n, n_channels), "keys": (n, n_channels)}

    def _sources(self, magnitude: Tensor, noise: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Straight-through membership, where members take their signal from, and where everybody would."""
        chance = (magnitude * self.max_strength)[:, None]
        member = F.relaxed_bernoulli(chance, self.membership(noise))
        within = F.shuffle_permutation(member.detach() > 0.5, noise["keys"].expand_as(member))
        return member, within, noise["keys"].argsort(1).expand_as(within)

    def mixing_matrix(self, magnitude: Tensor, noise: dict[str, Tensor], n_channels: int) -> Tensor:
        member, within, everybody = self._sources(magnitude, noise)
        identity = torch.eye(n_channels, device=member.device, dtype=member.dtype)
        source = torch.where(member.detach() > 0.5, within, everybody)
        return torch.lerp(identity.expand(source.shape[0], -1, -1), identity[source], member[:, :, None])

    def membership(self, noise: dict[str, Tensor]) -> Tensor:
        """Uniform draws, from the other end with ``parity=True``."""
        return 1.0 - noise["u"] if self.parity else noise["u"]

    def mixing_and_slope(self, magnitude: Tensor, noise: dict[str, Tensor], n_channels: int) -> tuple[Tensor, Tensor]:
        return self.mixing_of_members(*self._members_and_slope(magnitude, noise), noise)

    def mixing_of_members(self, member: Tensor, slope: Tensor, noise: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Matrices and their slope, from who takes part and the slope of that, each (batch, channels)."""
        belongs, everybody = member > 0.5, noise["keys"].argsort(1)
        identity = self.same_channels(member.shape[1], member)
        value = identity[F.shuffle_permutation(belongs, noise["keys"])]
        # Members' rows stand in the matrix already; the others would take theirs from a shuffle of all.
        joined = torch.where(belongs[:, :, None], value, identity[everybody])
        return value, (joined - identity) * slope[:, :, None]

    def transform(self, X: Tensor, magnitude: Tensor, noise: dict[str, Tensor]) -> Tensor:
        member, within, everybody = self._sources(magnitude, noise)
        if not differentiated(magnitude):
            return F.permute_channels(X, within)
        source = torch.where(member.detach() > 0.5, within, everybody)
        return torch.lerp(X, F.permute_channels(X, source), member[:, :, None])


class ChannelsDropout(SensorsOperation):
    """Set random channels to zero, each with probability ``magnitude * max_strength``.

    What stays is not rescaled. The result is exact; the gradient to the magnitude is that of a relaxed Bernoulli
    variable for each channel.

    Parameters
    ----------
    max_strength : float or None
        Largest probability, 1 by default.
    **settings
        As of :class:`Operation`. ``parity=True`` is braindecode's steep sigmoid, which scales some channels instead of
        dropping or keeping them, also at magnitude 0.

    References
    ----------
    .. [1] Saeed, Grangier, Pietquin and Zeghidour (2020). Learning from heterogeneous EEG signals with differentiable
       channel reordering. arXiv:2010.13694.

    Examples
    --------
    >>> import torch
    >>> from eegaug.operations.sensors import ChannelsDropout
    >>> op = ChannelsDropout()
    >>> op.apply(torch.ones(1, 3, 1), 0.5, {"u": torch.tensor([[0.1, 0.6, 0.4]])}).flatten().tolist()
    [0.0, 1.0, 0.0]
    """

    name = "channels_dropout"
    product_form = "gain"
    sentence = "sets each channel to zero with probability {strength:g}"

    def __init__(self, **settings: Any):
        super().__init__(**settings)
        if self.parity:
            self.mixing_of_members = None  # channels are scaled, not decided about

    def noise_shapes(self, n: int, n_channels: int, n_times: int) -> dict[str, tuple[int, ...]]:
        return {"u": (n, n_channels)}

    def _kept(self, magnitude: Tensor, noise: dict[str, Tensor]) -> Tensor:
        chance = (magnitude * self.max_strength)[:, None]
        if self.parity:
            return torch.sigmoid(1000.0 * (noise["u"] - chance))
        return 1.0 - F.relaxed_bernoulli(chance, noise["u"])

    def mixing_matrix(self, magnitude: Tensor, noise: dict[str, Tensor], n_channels: int) -> Tensor:
        return torch.diag_embed(self._kept(magnitude, noise))

    def mixing_and_slope(self, magnitude: Tensor, noise: dict[str, Tensor], n_channels: int) -> tuple[Tensor, Tensor]:
        if self.parity:
            return super().mixing_and_slope(magnitude, noise, n_channels)
        return self.mixing_of_members(*self._members_and_slope(magnitude, noise), noise)

    def mixing_of_members(self, member: Tensor, slope: Tensor, noise: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Matrices and their slope, from who is dropped and the slope of that, each (batch, channels)."""
        return torch.diag_embed(torch.stack([1.0 - member, -slope])).unbind()

    def product_and_slope(
        self, magnitude: Tensor, noise: dict[str, Tensor], n_channels: int, n_times: int
    ) -> tuple[Tensor, Tensor]:
        dropped, slope = self._members_and_slope(magnitude, noise)
        return (1.0 - dropped)[:, :, None], -slope[:, :, None]

    def transform(self, X: Tensor, magnitude: Tensor, noise: dict[str, Tensor]) -> Tensor:
        return X * self._kept(magnitude, noise)[:, :, None]


class SensorsRotation(SensorsOperation):
    """Turn the cap about one axis of the head, by an angle uniform over ``±magnitude * max_strength`` degrees.

    The potential at the turned places is read off spherical splines through the measured ones, see
    :func:`eegaug.functional.rotation_table`. Positions are computed from `ch_names` unless `positions` are given;
    bipolar channels (``F7-T3``) have none by name, and groups of operations go without rotations there.

    Parameters
    ----------
    ch_names : sequence of str
        Channel labels, in the order of the signal's channels.
    max_strength : float or None
        30 degrees by default. Six channels turned by as much are extrapolated: entries of the matrix reach 1.44.
    **settings
        As of :class:`Operation`. ``parity=True`` keeps the smoothing that braindecode's splines apply to unturned caps.

    References
    ----------
    .. [1] Krell and Kim (2017). Rotational data augmentation for electroencephalographic data. EMBC, 471-474.
    .. [2] Perrin, Pernier, Bertrand and Echallier (1989). Spherical splines for scalp potential and current density
       mapping. Electroencephalography and Clinical Neurophysiology 72, 184-187.

    Examples
    --------
    >>> import torch
    >>> from eegaug.operations.sensors import SensorsRotationZ
    >>> op = SensorsRotationZ(ch_names=["C3", "C4", "F3", "F4", "O1", "O2"])
    >>> X = torch.ones(1, 6, 10)  # the same everywhere: nothing to turn
    >>> bool(torch.allclose(op(X, 1.0), X, atol=1e-5))
    True
    """

    default_max_strength = 30.0
    unit = "degrees"
    product_form = "mixing"
    needs_ch_names = True
    needs_positions = True
    axis: ClassVar[str]

    def __init__(self, **settings: Any):
        super().__init__(**settings)
        electrode_positions(self.ch_names, self.positions)  # names what is unknown now rather than at the first batch

    def void_reason(self, n_channels: int) -> str | None:
        if n_channels < 4:
            return f"it has {n_channels} of the 4 electrodes that are needed to tell how the field looks between them"
        if self.positions is None and (bipolar := bipolar_channels(self.ch_names)):
            shown = ", ".join(bipolar[:3]) + (" …" if len(bipolar) > 3 else "")
            return (
                f"{shown} are differences between electrodes of the cap, which are at no one place (positions=… says "
                "where channels are)"
            )
        positions = electrode_positions(self.ch_names, self.positions)
        _, spread, directions = np.linalg.svd(positions, full_matrices=False)
        off_axis = abs(directions[2]["xyz".index(self.axis)]) < 0.9
        if spread[2] < 0.05 * spread[0] and off_axis:
            return "all electrodes lie on one line across the head, and the cap would be turned away from it"
        return None

    def noise_shapes(self, n: int, n_channels: int, n_times: int) -> dict[str, tuple[int, ...]]:
        return {"u": (n,)}

    def swing(self, noise: dict[str, Tensor]) -> Tensor:
        """Angle in radians at full magnitude, shape (batch or 1,)."""
        return (noise["u"] - 0.5) * math.radians(2.0 * self.max_strength)

    def mixing_matrix(self, magnitude: Tensor, noise: dict[str, Tensor], n_channels: int) -> Tensor:
        waves = rotation_waves(self.swing(noise) * magnitude)
        return turned(waves, *self._constant("rotation", waves, self._values)).view(-1, n_channels, n_channels)

    def mixing_and_slope(self, magnitude: Tensor, noise: dict[str, Tensor], n_channels: int) -> tuple[Tensor, Tensor]:
        swing = self.swing(noise)
        value, slope = self.mixing_of_waves(rotation_waves(swing * magnitude))
        return value, slope * swing[:, None, None]

    def mixing_of_waves(self, waves: Tensor) -> tuple[Tensor, Tensor]:
        """Matrices and their slope in the angle, from :func:`eegaug.functional.sensors.rotation_waves`."""
        both = turned(waves, *self._constant("rotation and slope", waves, self._both))
        n_channels = len(self.ch_names)
        return both.view(-1, 2, n_channels, n_channels).unbind(1)

    # Constants have a row for each coefficient: for small batches, taking them apart anew costs as much as their use.

    def _values(self) -> tuple[Tensor, Tensor]:
        base, table = self._table()
        return base[:1].flatten(1), table[:, 0].flatten(1).contiguous()

    def _both(self) -> tuple[Tensor, Tensor]:
        base, table = self._table()
        return base.reshape(1, -1), table.flatten(1)

    def _table(self) -> tuple[Tensor, Tensor]:
        return F.rotation_table(electrode_positions(self.ch_names, self.positions), self.axis, not self.parity)


class SensorsRotationX(SensorsRotation):
    """Turn the cap forwards and backwards, about the axis through the ears."""

    __doc__ = f"{__doc__}\n{SensorsRotation.__doc__.partition(chr(10))[2]}"
    name = "sensors_rotation_x"
    axis = "x"
    sentence = "turns the cap about the axis through the ears by up to ±{strength:g} degrees"


class SensorsRotationY(SensorsRotation):
    """Tilt the cap sideways, about the axis from nose to nape."""

    __doc__ = f"{__doc__}\n{SensorsRotation.__doc__.partition(chr(10))[2]}"
    name = "sensors_rotation_y"
    axis = "y"
    sentence = "turns the cap about the axis through the nose by up to ±{strength:g} degrees"


class SensorsRotationZ(SensorsRotation):
    """Turn the cap to the left and right, about the vertical axis."""

    __doc__ = f"{__doc__}\n{SensorsRotation.__doc__.partition(chr(10))[2]}"
    name = "sensors_rotation_z"
    axis = "z"
    sentence = "turns the cap about the vertical axis by up to ±{strength:g} degrees"
