"""What is planted in simulated nights: known variation between subjects, and the record of what was drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Planted", "planted_table"]

Probability = Annotated[float, Field(ge=0, le=1)]
Angle = Annotated[float, Field(ge=0, le=90)]

#: What magnitude 1 means for the operations that undo something planted.
MAX_SHIFT_HZ = 5.0
MAX_ROTATION_DEG = 30.0


class Planted(BaseModel):
    """Ranges of the variation between simulated subjects that an augmentation can undo; frozen.

    Everything is drawn once per subject (lost channels: once per night), independently of stages and sleep. With the
    same ``random_state`` the sleep is the same whatever is planted, and a draw moves in proportion to its range.

    Parameters
    ----------
    frequency_jitter_hz : float
        Each subject's whole spectrum, rhythms and transients included, is moved by a uniform draw from
        ``[-frequency_jitter_hz, frequency_jitter_hz]``.
    polarity : float
        Probability that a subject is recorded with the opposite polarity.
    left_right : float
        Probability that a subject's left and right electrodes are exchanged.
    rotation_deg : tuple of three floats
        The cap sits turned about the x (to the right ear), y (to the nose) and z axis (up), by uniform draws from plus
        or minus these angles: each electrode reads the field at its turned position.
    amplitude : float
        Gain, log-uniform between ``1 / amplitude`` and ``amplitude``. Standardised windows hide it.
    dropped_channels : float
        Probability that a channel is lost for a night: it records noise. At least one channel stays.

    Raises
    ------
    pydantic.ValidationError
        A ValueError that names the parameter that is out of range.

    Examples
    --------
    >>> Planted.none(frequency_jitter_hz=1.0).rotation_deg
    (0.0, 0.0, 0.0)
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    frequency_jitter_hz: float = Field(0.5, ge=0, le=MAX_SHIFT_HZ)
    polarity: Probability = 0.5
    left_right: Probability = 0.5
    rotation_deg: tuple[Angle, Angle, Angle] = (10.0, 5.0, 10.0)
    amplitude: float = Field(1.5, ge=1, le=100)
    dropped_channels: Probability = 0.02

    if TYPE_CHECKING:  # lists, tuples and dictionaries are taken for what the fields hold

        def __init__(self, **data: Any) -> None: ...

    @classmethod
    def none(cls, **ranges: Any) -> Planted:
        """Nothing planted but what is named."""
        off = {
            "frequency_jitter_hz": 0.0,
            "polarity": 0.0,
            "left_right": 0.0,
            "rotation_deg": (0.0, 0.0, 0.0),
            "amplitude": 1.0,
            "dropped_channels": 0.0,
        }
        return cls(**(off | ranges))

    def operations(self) -> list[dict]:
        """The planted ranges as strengths of the operations that undo them.

        Returns
        -------
        list of dict
            ``operation``, ``magnitude``, ``strength`` and its ``unit``: the columns of ``invariances_``. Of an
            operation without magnitude the strength is its probability, and magnitude 1 is a probability of 1/2 (both
            versions equally likely). A cap that turns by more than 30 degrees has a magnitude above 1, out of the
            operation's reach. The gain has no operation and is left out.
        """
        rows = [("frequency_shift", self.frequency_jitter_hz, "Hz", self.frequency_jitter_hz / MAX_SHIFT_HZ)]
        for name, p in (("sign_flip", self.polarity), ("channels_symmetry", self.left_right)):
            rows.append((name, p, "probability", 2 * min(p, 1 - p)))
        for axis, angle in zip("xyz", self.rotation_deg, strict=True):
            rows.append((f"sensors_rotation_{axis}", angle, "degrees", angle / MAX_ROTATION_DEG))
        rows.append(("channels_dropout", self.dropped_channels, "probability", self.dropped_channels))
        return [
            {"operation": name, "magnitude": magnitude, "strength": strength, "unit": unit}
            for name, strength, unit, magnitude in rows
        ]


@dataclass(frozen=True)
class Draw:
    """What was drawn for one subject."""

    frequency_shift_hz: float
    inverted: bool
    swapped: bool
    rotation_deg: tuple[float, float, float]
    gain: float

    @classmethod
    def of(cls, planted: Planted, rng: np.random.Generator) -> Draw:
        """Draw from the ranges; the number of random numbers used does not depend on them."""
        shift, invert, swap, gain, *turn = rng.random(7)
        return cls(
            frequency_shift_hz=float((2 * shift - 1) * planted.frequency_jitter_hz),
            inverted=bool(invert < planted.polarity),
            swapped=bool(swap < planted.left_right),
            rotation_deg=tuple(float((2 * u - 1) * a) for u, a in zip(turn, planted.rotation_deg, strict=True)),
            gain=float(planted.amplitude ** (2 * gain - 1)),
        )

    def rotation(self) -> np.ndarray:
        """Right-handed rotation matrix: first about x, then y, then z."""
        R = np.eye(3)
        for axis, degrees in enumerate(self.rotation_deg):
            c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
            i, j = (axis + 1) % 3, (axis + 2) % 3
            turn = np.eye(3)
            turn[i, i], turn[i, j], turn[j, i], turn[j, j] = c, -s, s, c
            R = turn @ R
        return R

    def record(self) -> dict:
        """As plain data, in physical units."""
        return {
            "frequency_shift_hz": self.frequency_shift_hz,
            "polarity": -1 if self.inverted else 1,
            "left_right_swapped": self.swapped,
            **{f"rotation_{a}_deg": v for a, v in zip("xyz", self.rotation_deg, strict=True)},
            "gain": self.gain,
        }


def lost_channels(planted: Planted, rng: np.random.Generator, ch_names: Sequence[str]) -> np.ndarray:
    """Mask of the channels lost in one night; never all of them."""
    u = rng.random(len(ch_names))
    lost = u < planted.dropped_channels
    lost[u.argmax()] = False
    return lost


def planted_table(truth: dict) -> pd.DataFrame:
    """What was planted, as a table with the columns of a fitted classifier's ``invariances_``.

    Parameters
    ----------
    truth : dict
        ``Nights.truth`` of simulated nights.

    Returns
    -------
    DataFrame
        operation, magnitude, strength, unit; one row per operation that undoes something, also where its range is 0.

    Raises
    ------
    ValueError
        If there is no truth: recordings have none.

    Examples
    --------
    >>> from eegaug.data import simulate_nights
    >>> nights = simulate_nights(1, n_windows=10, ch_names=["C3", "C4"], random_state=0)
    >>> float(planted_table(nights.truth).set_index("operation").strength["frequency_shift"])
    0.5
    """
    if not truth:
        raise ValueError("These nights have no truth: it is known of simulated nights only.")
    return pd.DataFrame(truth["operations"])
