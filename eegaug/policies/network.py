"""The network of an input-conditional policy: from a window to the policy for this window."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from eegaug._features import TrunkFeatures
from eegaug._inputs import Signal
from eegaug._plain_data import decode
from eegaug._trunk import build_trunk, describe_trunk, saved_trunk, signal_arguments
from eegaug.montage import electrode_positions

__all__ = ["AugmentationNetwork", "PairPolicy"]

# Number of standardised features times their scale. A step of Adam moves every weight of a head by its rate, hence the
# head's output by the rate times the sum of the features: from hundreds of them as they are, a handful of steps would
# make certain that one pair is drawn.
_SUM_OF_FEATURES = 16.0


class PairPolicy(NamedTuple):
    """Policies over pairs of operations, one for each window.

    Parameters
    ----------
    probabilities, magnitudes : Tensor, shape (batch, n_pairs, 2)
        Of the first and second operation of each pair, in [0, 1].
    log_weights : Tensor, shape (batch, n_pairs)
        Logarithms of how often each pair is drawn; their exponentials sum to 1.
    """

    probabilities: Tensor
    magnitudes: Tensor
    log_weights: Tensor


class AugmentationNetwork(nn.Module):
    """Predict for each window how it is to be augmented.

    Three linear heads on a trunk's features give a probability and a magnitude for both operations of every pair, and
    the weights of the pairs. The features are standardised over the windows, so that the heads' biases say what all
    windows have in common and the rest what sets them apart.

    Parameters
    ----------
    trunk : torch.nn.Module
        Loses its last layer.
    n_pairs : int
    signal : Signal
        Shape, sampling rate and channels of the windows.
    given : mapping
        Arguments that the trunk was built with, for :meth:`config`.
    positions : mapping or array of shape (n_channels, 3) | None
        Electrode positions that the trunk was built with.

    References
    ----------
    Mahan, Doster and Kvinge (2021), DNA: dynamic network augmentation, arXiv:2112.09277.

    Examples
    --------
    >>> import torch
    >>> from braindecode.models import SleepStagerChambon2018
    >>> from eegaug._inputs import Signal
    >>> trunk = SleepStagerChambon2018(n_chans=2, sfreq=100, n_times=3000, n_outputs=5)
    >>> network = AugmentationNetwork(trunk, 78, Signal(2, 3000, 100.0, ("Fpz", "Pz")))
    >>> policy = network(torch.randn(4, 2, 3000))
    >>> policy.probabilities.shape, policy.log_weights.shape
    (torch.Size([4, 78, 2]), torch.Size([4, 78]))
    """

    operations_per_pair: ClassVar[int] = 2

    def __init__(
        self,
        trunk: nn.Module,
        n_pairs: int,
        signal: Signal,
        given: Mapping[str, Any] | None = None,
        positions: Any = None,
    ):
        super().__init__()
        self._config = {
            "trunk": {**describe_trunk(trunk, given or {}), "n_outputs": _n_outputs(trunk)},
            "signal": {
                "n_chans": signal.n_chans,
                "n_times": signal.n_times,
                "sfreq": signal.sfreq,
                "ch_names": None if signal.ch_names is None else list(signal.ch_names),
            },
            "positions": _plain_positions(positions, signal),
            "n_pairs": int(n_pairs),
        }
        self.features = TrunkFeatures(trunk, signal.n_chans, signal.n_times)
        n = self.features.n_features
        self.standardise = _Standardise(n)
        self.scale = min(1.0, _SUM_OF_FEATURES / n)
        self.probability = nn.Linear(n, 2 * n_pairs)
        self.magnitude = nn.Linear(n, 2 * n_pairs)
        self.weight = nn.Linear(n, n_pairs)

    def forward(self, X: Tensor) -> PairPolicy:
        """The policy of each window of `X`, shape (batch, channels, times)."""
        features = self.standardise(self.features(X)) * self.scale
        two = (len(features), -1, 2)
        return PairPolicy(
            torch.sigmoid(self.probability(features)).reshape(two),
            torch.sigmoid(self.magnitude(features)).reshape(two),
            torch.log_softmax(self.weight(features), dim=1),
        )

    @property
    def n_pairs(self) -> int:
        """Number of pairs of operations."""
        return self._config["n_pairs"]

    def config(self) -> dict[str, Any]:
        """What the network is built from, as plain data for JSON; see :meth:`from_config`."""
        return self._config

    @classmethod
    def from_config(cls, config: Mapping[str, Any], module: Any = None) -> AugmentationNetwork:
        """Build the network that a :meth:`config` describes, with weights that are still to be loaded.

        Nothing is executed but braindecode's own classes, and `module`.

        Parameters
        ----------
        config : mapping
        module : type | callable | torch.nn.Module | None
            The trunk's class, or a trunk, needed where it is none of braindecode's.

        Raises
        ------
        ValueError
            If the trunk is none of braindecode's and `module` is None, or if the two do not fit.
        """
        trunk, known = config["trunk"], config["signal"]
        given = {key: decode(value) for key, value in trunk["arguments"].items()}
        module = saved_trunk(trunk, module, "the augmentation network")
        names: Sequence[str] | None = known["ch_names"]
        signal = Signal(known["n_chans"], known["n_times"], known["sfreq"], None if names is None else tuple(names))
        built = build_trunk(
            module,
            {} if isinstance(module, nn.Module) else given,
            signal_arguments(signal, given.get("n_outputs", trunk["n_outputs"]), config["positions"]),
        )
        if type(built).__qualname__ != trunk["class"].rpartition(":")[2]:
            raise ValueError(
                f"the augmentation network has a trunk of the class {trunk['class']}, the module is a "
                f"{type(built).__qualname__}."
            )
        network = cls(built, config["n_pairs"], signal, given, config["positions"])
        network._config = dict(config)  # also what a ready-made trunk does not say of itself
        return network


def _plain_positions(positions: Any, signal: Signal) -> list[list[float]] | None:
    if positions is None or signal.ch_names is None:
        return None
    return electrode_positions(list(signal.ch_names), positions).tolist()


class _Standardise(nn.Module):
    """Features less their mean, over their standard deviation: of the batch in training, else of the batches before.

    A batch of one window, which has no deviation, is treated as in evaluation.
    """

    def __init__(self, n_features: int, rate: float = 0.1):
        super().__init__()
        self.rate = rate
        self.register_buffer("mean", torch.zeros(n_features))
        self.register_buffer("variance", torch.ones(n_features))
        self.register_buffer("n_batches", torch.tensor(0))

    def forward(self, features: Tensor) -> Tensor:
        mean, variance = self.mean, self.variance
        if self.training and len(features) > 1:
            variance, mean = torch.var_mean(features, 0, correction=0)
            with torch.no_grad():
                self.n_batches += 1
                rate = (1.0 / self.n_batches).clamp(min=self.rate)  # the mean of the first ones, then a moving one
                self.mean.lerp_(mean.to(self.mean), rate)
                self.variance.lerp_(variance.to(self.variance), rate)
        return (features - mean) * torch.rsqrt(variance + 1e-5)


def _n_outputs(trunk: nn.Module) -> int:
    """Any number does: the layer that it sizes is taken off. The trunk's own, where it says it, for the record."""
    try:
        return int(getattr(trunk, "n_outputs", 2))
    except ValueError:  # braindecode raises where the value was never given
        return 2
