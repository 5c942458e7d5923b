"""The operations as braindecode transforms whose probability and magnitude can be learned."""

import zlib
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from braindecode.augmentation import Transform
from torch import Tensor, nn
from torch.utils.data import get_worker_info

from eegaug._random import RandomState, derive_seed, resolve_seed
from eegaug.operations import Operation, get_operation
from eegaug.operations.checks import check_unit_interval

__all__ = [
    "BandstopFilter",
    "ChannelsDropout",
    "ChannelsShuffle",
    "ChannelsSymmetry",
    "FTSurrogate",
    "FrequencyShift",
    "GaussianNoise",
    "OperationTransform",
    "SensorsRotationX",
    "SensorsRotationY",
    "SensorsRotationZ",
    "SignFlip",
    "TimeMasking",
    "TimeReverse",
]


class Generators:
    """The random generators of one transform: one a device, and new ones in each worker of a data loader.

    A generator copied into several workers would make them all draw the same, epoch after epoch. Here a worker's
    generator is seeded by the transform's own seed together with the seed that the loader gives to this worker for this
    epoch, so that draws differ and still repeat when the loader's do (``torch.manual_seed`` or its ``generator``).

    Parameters
    ----------
    random_state : int, RandomState, Generator or None
    label : str
        Tells apart transforms of the same seed, which should not draw alike.
    """

    def __init__(self, random_state: RandomState, label: str):
        self._seed = derive_seed(resolve_seed(random_state), zlib.crc32(label.encode()))
        self._worker: int | None = None
        self._generators: dict[str, torch.Generator] = {}
        self._states: dict[str, np.ndarray] = {}

    def get(self, device: torch.device) -> torch.Generator:
        """The generator for draws on `device`."""
        info = get_worker_info()
        worker = None if info is None else info.seed
        if worker != self._worker:
            self._worker, self._generators, self._states = worker, {}, {}
        key = str(device)
        if key not in self._generators:
            generator = torch.Generator(device)
            generator.manual_seed(self._seed if worker is None else derive_seed(self._seed, worker))
            if key in self._states:
                generator.set_state(torch.as_tensor(self._states.pop(key)))
            self._generators[key] = generator
        return self._generators[key]

    def __getstate__(self) -> dict[str, Any]:
        # No tensors: a process that is spawned shares their memory, which is gone when it begins.
        states = {key: generator.get_state().numpy() for key, generator in self._generators.items()}
        return {**self.__dict__, "_generators": {}, "_states": {**self._states, **states}}


class OperationTransform(Transform):
    """A braindecode transform around one operation, with learnable probability and magnitude.

    The gradient of whatever is computed from the output reaches the input, the magnitude and the probability. An
    optimiser may push the two out of [0, 1]: they are put back before each use.

    Parameters
    ----------
    operation : str, Operation or subclass of Operation
        See :func:`eegaug.operations.get_operation`.
    probability : float or Tensor
        Probability of transforming an example, in [0, 1]. A :class:`torch.nn.Parameter` is used as it is, so that
        transforms can share it.
    magnitude : float, Tensor or None
        Strength in [0, 1], of the operation's ``max_strength``. None is 0.5 where the operation has a magnitude.
    learnable : bool
        Whether `probability` and `magnitude` require a gradient. Take False for plain augmentation: it saves tracking
        gradients through the signal. Inside the workers of a data loader no gradient is tracked in any case.
    only_training : bool
        False transforms always, as braindecode's transforms do, which live in data loaders and never hear of
        ``train()`` and ``eval()``. True makes the transform the identity after ``eval()``: for one that is part of a
        model.
    random_state : int, RandomState, Generator or None
        Seed of the transform's own generator.
    sfreq, ch_names, positions, **options
        Given to the operation when it is built here.

    Attributes
    ----------
    operation : Operation
    probability, magnitude : torch.nn.Parameter
        Scalars; `magnitude` is None for operations without one.

    Notes
    -----
    Sequences ``(batch, windows, channels, times)`` are accepted; each window is drawn for. The dtype of the input is
    kept. braindecode's ``Compose`` does not register its members: chain transforms with :class:`torch.nn.Sequential` to
    find their parameters.

    Examples
    --------
    >>> import torch
    >>> from eegaug.transforms import OperationTransform
    >>> transform = OperationTransform("frequency_shift", probability=0.5, magnitude=0.3, sfreq=100, random_state=0)
    >>> transform(torch.randn(8, 2, 3000)).pow(2).mean().backward()
    >>> transform.magnitude.grad is not None
    True
    """

    operation_name: ClassVar[str] = ""

    def __init__(
        self,
        operation: str | Operation | type[Operation],
        probability: float | Tensor = 1.0,
        magnitude: float | Tensor | None = None,
        *,
        learnable: bool = True,
        only_training: bool = False,
        random_state: RandomState = None,
        sfreq: float | None = None,
        ch_names: Sequence[str] | None = None,
        positions: Mapping[str, Sequence[float]] | np.ndarray | None = None,
        **options: Any,
    ):
        super().__init__()
        # braindecode's own: numpy's global generator, and a number where a parameter comes.
        del self.rng, self._probability
        self.operation = get_operation(operation, sfreq=sfreq, ch_names=ch_names, positions=positions, **options)
        self.learnable = bool(learnable)
        self.only_training = bool(only_training)
        self.generators = Generators(random_state, self.operation.name)
        if not self.operation.has_magnitude:
            magnitude = None
        elif magnitude is None:
            magnitude = 0.5
        # register_parameter would stumble over the base class's property of this name.
        self._parameters["probability"] = self._parameter(probability, "probability")
        self.register_parameter("magnitude", None if magnitude is None else self._parameter(magnitude, "magnitude"))

    def _parameter(self, value: float | Tensor, what: str) -> nn.Parameter:
        check_unit_interval(value, f"{self.operation.name}: {what}")
        if isinstance(value, nn.Parameter):
            return value
        if isinstance(value, Tensor):
            return nn.Parameter(value.detach().clone().float(), requires_grad=self.learnable)
        return nn.Parameter(torch.tensor(float(value)), requires_grad=self.learnable)

    @property
    def probability(self) -> nn.Parameter:
        """Probability of transforming an example."""
        return self._parameters["probability"]

    def project_(self) -> None:
        """Put learnable probabilities and magnitudes back into [0, 1]; done before each use while training."""
        with torch.no_grad():
            for parameter in self.parameters(recurse=False):
                if parameter.requires_grad and parameter.is_leaf:
                    parameter.clamp_(0.0, 1.0)

    def get_augmentation_params(self, *batch: Any) -> dict[str, Any]:
        """Magnitude and fresh draws for a batch, as :meth:`eegaug.operations.Operation.apply` takes them."""
        if not batch:
            return {}
        n = int(np.prod(batch[0].shape[:-2], dtype=int))
        generator = self.generators.get(batch[0].device)
        noise = self.operation.draw(n, *batch[0].shape[-2:], generator=generator, device=batch[0].device)
        return {"magnitude": _held(self.magnitude), "noise": noise}

    def forward(
        self,
        X: Tensor,
        y: Any = None,
        *,
        magnitude: float | Tensor | None = None,
        probability: float | Tensor | None = None,
    ) -> Tensor | tuple[Tensor, Any]:
        """Transform a window, a batch or a batch of sequences.

        Parameters
        ----------
        X : Tensor, shape (channels, times), (batch, channels, times) or (batch, windows, channels, times)
        y : object
            Targets, returned as they are.
        magnitude, probability : float, Tensor of shape () or (batch,), or None
            Used instead of the transform's own in this call, for example one for each example.

        Returns
        -------
        Tensor, or (Tensor, object) when `y` is given
        """
        X = torch.as_tensor(X)
        X = X if X.dtype.is_floating_point else X.float()
        if self.training or not self.only_training:
            # What crosses from a worker to the training process cannot carry a graph.
            with torch.set_grad_enabled(torch.is_grad_enabled() and get_worker_info() is None):
                X = self._mix(X, magnitude, probability)
        return X if y is None else (X, y)

    def _mix(self, X: Tensor, magnitude: float | Tensor | None, probability: float | Tensor | None) -> Tensor:
        if self.training and torch.is_grad_enabled():
            self.project_()
        drawn = self.get_augmentation_params(X)
        generator = self.generators.get(X.device)
        u = torch.rand(int(np.prod(X.shape[:-2], dtype=int)), generator=generator, device=X.device)
        magnitude = drawn["magnitude"] if magnitude is None else magnitude
        probability = _held(self.probability) if probability is None else probability
        return self.operation.mix(X, magnitude, drawn["noise"], probability, u)

    def extra_repr(self) -> str:
        op = self.operation
        shown = [] if type(self).operation_name else [repr(op.name)]
        shown.append(f"probability={_shown(self.probability)}")
        if self.magnitude is not None:
            strength = _shown(self.magnitude * op.max_strength)
            shown.append(f"magnitude={_shown(self.magnitude)} ({strength} {op.unit})")
        shown += [f"{key}={value}" for key in ("learnable", "only_training") if (value := getattr(self, key))]
        settings = {
            key: value for key, value in op.get_config().items() if key != "name" and value not in (None, False)
        }
        return ", ".join(shown + [f"{key}={value!r}" for key, value in settings.items()])


def _held(parameter: Tensor | None) -> Tensor | None:
    """A parameter inside [0, 1], its gradient passed as if it were not held there."""
    return None if parameter is None else parameter + (parameter.clamp(0.0, 1.0) - parameter).detach()


def _shown(value: Tensor) -> str:
    value = value.detach()
    return f"{value.item():.4g}" if value.numel() == 1 else f"tensor of shape {tuple(value.shape)}"


class _Named(OperationTransform):
    """A transform whose class says which operation it is."""

    def __init__(self, probability: float | Tensor = 1.0, magnitude: float | Tensor | None = None, **settings: Any):
        super().__init__(self.operation_name, probability, magnitude, **settings)


class TimeReverse(_Named):
    """Plays windows backwards. Has no magnitude.

    ``TimeReverse(probability=1.0, **settings)``: see :class:`OperationTransform` for the settings and
    :class:`eegaug.operations.time.TimeReverse` for the operation and its options.
    """

    operation_name = "time_reverse"


class TimeMasking(_Named):
    """Sets a stretch of time, up to 200 samples, smoothly to zero.

    ``TimeMasking(probability=1.0, magnitude=None, **settings)``: see :class:`OperationTransform` for the settings and
    :class:`eegaug.operations.time.TimeMasking` for the operation and its options.
    """

    operation_name = "time_masking"


class GaussianNoise(_Named):
    """Adds white noise of a standard deviation of up to 0.2.

    ``GaussianNoise(probability=1.0, magnitude=None, **settings)``: see :class:`OperationTransform` for the settings and
    :class:`eegaug.operations.time.GaussianNoise` for the operation and its options.
    """

    operation_name = "gaussian_noise"


class FTSurrogate(_Named):
    """Turns the phase of each frequency by up to 2π.

    ``FTSurrogate(probability=1.0, magnitude=None, **settings)``: see :class:`OperationTransform` for the settings and
    :class:`eegaug.operations.frequency.FTSurrogate` for the operation and its options.
    """

    operation_name = "ft_surrogate"


class FrequencyShift(_Named):
    """Shifts all frequencies by up to ±5 Hz; needs ``sfreq``.

    ``FrequencyShift(probability=1.0, magnitude=None, **settings)``: see :class:`OperationTransform` for the settings
    and :class:`eegaug.operations.frequency.FrequencyShift` for the operation and its options.
    """

    operation_name = "frequency_shift"


class BandstopFilter(_Named):
    """Filters out a band of up to 2 Hz; needs ``sfreq``.

    ``BandstopFilter(probability=1.0, magnitude=None, **settings)``: see :class:`OperationTransform` for the settings
    and :class:`eegaug.operations.frequency.BandstopFilter` for the operation and its options.
    """

    operation_name = "bandstop_filter"


class SignFlip(_Named):
    """Turns the polarity of all channels round. Has no magnitude.

    ``SignFlip(probability=1.0, **settings)``: see :class:`OperationTransform` for the settings and
    :class:`eegaug.operations.sensors.SignFlip` for the operation and its options.
    """

    operation_name = "sign_flip"


class ChannelsSymmetry(_Named):
    """Exchanges left and right; needs ``ch_names``. Has no magnitude.

    ``ChannelsSymmetry(probability=1.0, **settings)``: see :class:`OperationTransform` for the settings and
    :class:`eegaug.operations.sensors.ChannelsSymmetry` for the operation and its options.
    """

    operation_name = "channels_symmetry"


class ChannelsShuffle(_Named):
    """Permutes a random subset of the channels.

    ``ChannelsShuffle(probability=1.0, magnitude=None, **settings)``: see :class:`OperationTransform` for the settings
    and :class:`eegaug.operations.sensors.ChannelsShuffle` for the operation and its options.
    """

    operation_name = "channels_shuffle"


class ChannelsDropout(_Named):
    """Sets random channels to zero.

    ``ChannelsDropout(probability=1.0, magnitude=None, **settings)``: see :class:`OperationTransform` for the settings
    and :class:`eegaug.operations.sensors.ChannelsDropout` for the operation and its options.
    """

    operation_name = "channels_dropout"


class SensorsRotationX(_Named):
    """Turns the cap about the ears' axis by up to ±30 degrees; needs ``ch_names``.

    ``SensorsRotationX(probability=1.0, magnitude=None, **settings)``: see :class:`OperationTransform` for the settings
    and :class:`eegaug.operations.sensors.SensorsRotationX` for the operation and its options.
    """

    operation_name = "sensors_rotation_x"


class SensorsRotationY(_Named):
    """Turns the cap about the nose's axis by up to ±30 degrees; needs ``ch_names``.

    ``SensorsRotationY(probability=1.0, magnitude=None, **settings)``: see :class:`OperationTransform` for the settings
    and :class:`eegaug.operations.sensors.SensorsRotationY` for the operation and its options.
    """

    operation_name = "sensors_rotation_y"


class SensorsRotationZ(_Named):
    """Turns the cap about the vertical axis by up to ±30 degrees; needs ``ch_names``.

    ``SensorsRotationZ(probability=1.0, magnitude=None, **settings)``: see :class:`OperationTransform` for the settings
    and :class:`eegaug.operations.sensors.SensorsRotationZ` for the operation and its options.
    """

    operation_name = "sensors_rotation_z"
