"""What every operation on EEG shares: its settings, its random draws, its edge towards users, its probability."""

import inspect
import json
import numbers
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from eegaug._random import uniform_on
from eegaug._validation import ordered_names
from eegaug._warning import warn
from eegaug.functional.sampling import relaxed_bernoulli
from eegaug.functional.signal_sum import in_pieces
from eegaug.montage import electrode_positions
from eegaug.operations.checks import as_windows, check_unit_interval, fit_noise, per_window
from eegaug.operations.linear_form import LinearForm
from eegaug.operations.written_slope import apply_with_slope

__all__ = ["Operation"]

# Operation and montage of the warnings already given by this process.
_warned: set[tuple[str, tuple[str, ...] | int]] = set()


class Operation(LinearForm):
    """A transformation of EEG windows whose strength is a magnitude in [0, 1].

    The random draws, the strength and the signal are kept apart: :meth:`draw` knows neither the magnitude nor the
    signal, and :meth:`apply` is a deterministic function that is differentiable in the signal and in the magnitude. A
    magnitude of 0 is exactly the identity and 1 is the strength ``max_strength``, in ``unit``.

    Parameters
    ----------
    sfreq : float or None
        Sampling rate in Hz, needed by operations that speak of Hz or seconds.
    ch_names : sequence of str or None
        Channel labels, in the order of the signal's channels; needed by operations that speak of places on the head.
    positions : mapping, array (n_channels, 3) or None
        Electrode positions, see :func:`eegaug.montage.electrode_positions`. None uses the template montage.
    max_strength : float or None
        What magnitude 1 means, in ``unit``. None is the operation's default.
    parity : bool
        True reproduces braindecode's operation where the two differ.

    Notes
    -----
    A new operation is a subclass with a ``name``, a ``family``, a :meth:`transform` and, if it is random,
    :meth:`noise_shapes`; :func:`eegaug.operations.register_operation` makes it known by name::

        @register_operation
        class Scaling(Operation):
            name, family, unit, default_max_strength = "scaling", "time", "log gain", 1.0
            sentence = "scales windows by up to exp(±{strength:g})"

            def noise_shapes(self, n, n_channels, n_times):
                return {"u": (n,)}

            def transform(self, X, magnitude, noise):
                gain = torch.exp((2 * noise["u"] - 1) * magnitude * self.max_strength)
                return X * gain[:, None, None]
    """

    name: ClassVar[str] = ""
    family: ClassVar[str] = "time"
    has_magnitude: ClassVar[bool] = True
    default_max_strength: ClassVar[float] = 1.0
    unit: ClassVar[str] = "probability"
    needs_sfreq: ClassVar[bool] = False
    needs_ch_names: ClassVar[bool] = False
    needs_positions: ClassVar[bool] = False
    # What it does, in words; {strength} is the physical magnitude.
    sentence: ClassVar[str] = ""

    def __init__(
        self,
        *,
        sfreq: float | None = None,
        ch_names: Sequence[str] | None = None,
        positions: Mapping[str, Sequence[float]] | np.ndarray | None = None,
        max_strength: float | None = None,
        parity: bool = False,
    ):
        if not isinstance(self.name, str) or not self.name:
            raise TypeError(f"{type(self).__name__} has no name; give the class a `name` in snake_case")
        if self.needs_sfreq and sfreq is None:
            raise ValueError(f"{self.name} needs the sampling rate; pass sfreq=<Hz>")
        if sfreq is not None and not (isinstance(sfreq, numbers.Real) and 0 < sfreq < float("inf")):
            raise ValueError(f"sfreq must be a positive number of Hz, got {sfreq!r}")
        if self.needs_ch_names and ch_names is None:
            raise ValueError(f"{self.name} needs to know the electrodes; pass ch_names=['C3', 'C4', ...]")
        if max_strength is not None and not (
            isinstance(max_strength, numbers.Real) and 0 < max_strength < float("inf")
        ):
            raise ValueError(
                f"{self.name}: max_strength must be a positive number of {self.unit}, got {max_strength!r}"
            )
        self.sfreq = None if sfreq is None else float(sfreq)
        self.ch_names = None if ch_names is None else ordered_names(ch_names)
        # Looked at only where they matter: other operations of a layer get on with channels that have no place.
        self.positions = None
        if positions is not None and self.needs_positions:
            self.positions = tuple(map(tuple, electrode_positions(self.ch_names, positions).tolist()))
        self.max_strength = float(self.default_max_strength if max_strength is None else max_strength)
        self.parity = bool(parity)
        self._cache: dict[Any, Any] = {}

    # -- to be written by each operation -------------------------------------------------------------------------------

    def noise_shapes(self, n: int, n_channels: int, n_times: int) -> dict[str, tuple[int, ...]]:
        """Name and shape of each random tensor that the operation needs; the first dimension is `n`."""
        return {}

    def transform(self, X: Tensor, magnitude: Tensor | None, noise: dict[str, Tensor]) -> Tensor:
        """The operation itself, once inputs are checked and brought to one shape.

        Parameters
        ----------
        X : Tensor, float32 or float64, shape (batch, channels, times)
        magnitude : Tensor, shape (batch,) or (1,), or None
            In the dtype of `X`; None for operations without a magnitude.
        noise : dict of Tensor
            Draws whose first dimension is ``batch`` or 1; floating ones are in the dtype of `X`.

        Returns
        -------
        Tensor
            A new tensor of the shape of `X`.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define transform()")

    def void_reason(self, n_channels: int) -> str | None:
        """Why the operation means nothing on this montage, or None when it does mean something."""
        return None

    # -- for everybody -------------------------------------------------------------------------------------------------

    def draw(
        self,
        n: int,
        n_channels: int,
        n_times: int,
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
    ) -> dict[str, Tensor]:
        """Everything random about `n` applications, independent of magnitude and signal.

        Parameters
        ----------
        n, n_channels, n_times : int
            Shape of the batch that the draws are for. Of a batch of sequences ``(batch, windows, channels, times)``
            every window is drawn for: ``n = batch * windows``.
        generator : torch.Generator or None
            None draws from torch's default generator of `device`. A generator of another device (CPU draws for a GPU's
            signal, say) is used where it is and its draws are copied.
        device : device or None
            Where the draws are wanted; None is the generator's device, or the CPU.

        Returns
        -------
        dict of Tensor
            float32 tensors whose first dimension is `n`; empty for operations that are not random.
        """
        if device is None:
            device = "cpu" if generator is None else generator.device
        source = device if generator is None else generator.device
        return {
            key: self._sample(shape, generator=generator, device=source, dtype=torch.float32).to(device)
            for key, shape in self.noise_shapes(n, n_channels, n_times).items()
        }

    _sample = staticmethod(torch.rand)

    @property
    def draws_uniform(self) -> bool:
        """Whether all draws are uniform in [0, 1)."""
        return self._sample is torch.rand and type(self).draw is Operation.draw

    def apply(
        self,
        X: Tensor,
        magnitude: float | Tensor | None = None,
        noise: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """Apply the operation with given strength and draws.

        Parameters
        ----------
        X : Tensor, shape (channels, times), (batch, channels, times) or (batch, windows, channels, times)
            Floating point; never modified. bfloat16 and float16 are computed in float32.
        magnitude : float, or Tensor of shape (), (batch,) or (batch, 1, 1)
            In [0, 1]; ignored by operations without a magnitude. For sequences also ``(batch * windows,)``. Tensors on
            an accelerator are not checked for their range, which would make the host wait, nor are any under
            ``torch.func``.
        noise : dict of Tensor
            From :meth:`draw`. A first dimension of 1 serves all examples with the same draws; for sequences it may be
            ``batch * windows`` (own draws for each window) or ``batch`` (shared by the windows of a sequence).

        Returns
        -------
        Tensor
            Shape, dtype and device of `X`.

        Raises
        ------
        ValueError
            When the magnitude lies outside [0, 1], or shapes do not fit.
        """
        windows, repeats = as_windows(self, X)
        work = windows if windows.dtype in (torch.float32, torch.float64) else windows.float()
        strength = None
        if self.has_magnitude:
            if magnitude is None:
                raise ValueError(f"{self.name} needs a magnitude in [0, 1], got None")
            check_unit_interval(magnitude, f"{self.name}: magnitude")
            strength = per_window(self, magnitude, work, repeats, "magnitude")
        self.warn_if_void(work.shape[1])
        if work.numel() == 0:
            return X.clone()
        noise = fit_noise(self, noise or {}, work, repeats)
        written = self.product_form is not None and self.linear_form is not None and not self.parity
        learned = strength is not None and strength.requires_grad and torch.is_grad_enabled()
        by_pieces = strength is not None and self.product_form in ("spectrum", "modulation") and in_pieces(work)
        if written and (learned or by_pieces):
            out = apply_with_slope(self, work, strength, noise)
        else:
            out = self.transform(work, strength, noise)
        return out.to(X.dtype).reshape(X.shape)

    def mix(
        self,
        X: Tensor,
        magnitude: float | Tensor | None,
        noise: Mapping[str, Tensor] | None,
        probability: float | Tensor,
        u: Tensor,
    ) -> Tensor:
        """Apply the operation to each example with a probability, differentiably in that probability too.

        Parameters
        ----------
        X, magnitude, noise
            As for :meth:`apply`.
        probability : float, or Tensor of shape () or (batch,)
            In [0, 1].
        u : Tensor, shape (batch,) or (1,)
            Uniform draws in [0, 1); examples with ``u < probability`` are transformed. For sequences also
            ``(batch * windows,)``.

        Returns
        -------
        Tensor
            ``X + b (T(X) - X)`` with ``b`` exactly 0 or 1. The gradient of ``b`` is that of a relaxed Bernoulli
            variable of temperature 0.5 (:func:`eegaug.functional.relaxed_bernoulli`).
        """
        check_unit_interval(probability, f"{self.name}: probability")
        applied = self.apply(X, magnitude, noise)
        windows, repeats = as_windows(self, X)
        wide = torch.promote_types(X.dtype, torch.float32)
        reference = windows.new_empty((windows.shape[0], 0), dtype=wide)
        chance = per_window(self, probability, reference, repeats, "probability")
        b = relaxed_bernoulli(chance, per_window(self, u, reference, repeats, "u"))
        # lerp gives exactly X at 0 and exactly T(X) at 1.
        return torch.lerp(windows, applied.reshape(windows.shape), b.to(X.dtype)[:, None, None]).reshape(X.shape)

    def __call__(
        self,
        X: Tensor,
        magnitude: float | Tensor | None = None,
        probability: float | Tensor = 1.0,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Draw and apply: :meth:`draw` followed by :meth:`apply`, or :meth:`mix` when `probability` is not 1."""
        windows, _ = as_windows(self, X)
        noise = self.draw(*windows.shape, generator=generator, device=X.device)
        if isinstance(probability, numbers.Real) and probability == 1.0:
            return self.apply(X, magnitude, noise)
        return self.mix(X, magnitude, noise, probability, uniform_on(X.device, windows.shape[:1], generator))

    def physical(self, magnitude: float | Tensor) -> float | Tensor:
        """Strength in ``unit`` of a magnitude in [0, 1]."""
        return magnitude * self.max_strength

    def describe(self, magnitude: float | None = None) -> str:
        """What the operation does, in words and physical units."""
        strength = self.max_strength if magnitude is None else self.physical(float(magnitude))
        return (self.sentence or self.name.replace("_", " ")).format(strength=float(f"{strength:.4g}"))

    def get_config(self) -> dict[str, Any]:
        """Name and settings as plain data: ``get_operation(**op.get_config())`` builds an equal operation."""
        config: dict[str, Any] = {"name": self.name}
        for option in self.options():
            value = getattr(self, option)
            config[option] = list(value) if isinstance(value, tuple) else value
        return config

    @classmethod
    def options(cls) -> tuple[str, ...]:
        """Names of the keyword arguments of the class and its parents."""
        names: dict[str, None] = {}
        for parent in cls.__mro__:
            if "__init__" in vars(parent) and parent is not object:
                for parameter in list(inspect.signature(parent.__init__).parameters.values())[1:]:
                    if parameter.kind in (parameter.KEYWORD_ONLY, parameter.POSITIONAL_OR_KEYWORD):
                        names.setdefault(parameter.name)
        return tuple(names)

    def warn_if_void(self, n_channels: int) -> None:
        """Say, once for each montage in a process, that the operation means nothing on it."""
        if (n_channels, "void") in self._cache:
            return
        self._cache[n_channels, "void"] = True
        reason = self.void_reason(n_channels)
        key = (self.name, self.ch_names or n_channels)
        if reason is not None and key not in _warned:
            _warned.add(key)
            warn(f"{self.name} means nothing on this montage: {reason}")

    # -- helpers -------------------------------------------------------------------------------------------------------

    def _constant(self, key: str, like: Tensor, make: Any) -> tuple[Tensor, ...]:
        """Tensors made once for each device and dtype."""
        where = (key, like.device, like.dtype)
        if where not in self._cache:
            # Made under inference_mode they could not be used for training afterwards.
            with torch.inference_mode(False), torch.no_grad():
                made = tuple(t.to(like.dtype if t.is_floating_point() else t.dtype).to(like.device) for t in make())
            self._cache[where] = made
        return self._cache[where]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_cache": {}}

    def _key(self) -> tuple[type, str]:
        return type(self), json.dumps(self.get_config(), sort_keys=True, default=repr)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Operation) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        shown = [
            f"{key}={value!r}"
            for key, value in self.get_config().items()
            if key != "name" and value not in (None, False)
        ]
        return f"{type(self).__name__}({', '.join(shown)})"
