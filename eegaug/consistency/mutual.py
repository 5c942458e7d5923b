"""`MutualClassifier`: networks that learn from the labels and from each other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from numbers import Real
from typing import Any, Self

import numpy as np
import torch
from skorch.dataset import unpack_data
from skorch.history import History
from torch import Tensor, nn

from eegaug._staging_data import OF_DATA
from eegaug._trunk import build_trunk
from eegaug.augnet.model import aggregate_copies
from eegaug.classifier import StagingClassifier
from eegaug.consistency.classifier import AITClassifier
from eegaug.consistency.variants import VariantModules, WithVariants

__all__ = ["MutualClassifier", "MutualModel"]

# What a network alone has of the settings of all of them: by name, and by how the name begins.
_SHARED = ("sfreq", "ch_names", "positions", "class_weight", "random_state", "classes", "device", "batch_size")
_TRAINING = ("lr", "max_epochs", "optimizer", "criterion", "iterator_")


class MutualModel(WithVariants):
    """Networks side by side.

    Parameters
    ----------
    trunks : sequence of torch.nn.Module
        Each takes windows (batch, channels, times) and gives logits (batch, classes).
    augmentation : iterable of torch.nn.Module
        Modules that make their variants in training.
    """

    def __init__(self, trunks: Sequence[nn.Module], augmentation: Iterable[nn.Module] = ()):
        super().__init__()
        self.trunks = nn.ModuleList(trunks)
        self.augmentation = VariantModules(augmentation)
        self.predict_with: str | int = "ensemble"

    def forward(self, X: Tensor) -> Tensor:
        """Logarithm of the networks' mean probabilities, or the logits of the one that is to predict."""
        if self.predict_with != "ensemble":
            return self.trunks[self.predict_with](X)
        return aggregate_copies((trunk(X) for trunk in self.trunks), "probs")


class MutualClassifier(AITClassifier):
    r"""Two networks or more that are trained together, each on its labels and on what the others say.

    Network :math:`i` sees variant :math:`i` of each window (multi-AIT), or all see the same variant (deep mutual
    learning, ``shared_variant=True``). They minimise

    .. math:: \sum_i \mathrm{CE}(z_i, y) + \frac{\lambda}{n - 1} \sum_{i \ne j} \mathrm{KL}(p_i \| p_j)

    which for two networks is the loss of augmentation-invariant training.

    Parameters
    ----------
    module
        The network; see :class:`eegaug.StagingClassifier`. Each network has initial weights of its own.
    modules : sequence | None
        Networks of different kinds, one entry for each: names, classes, functions or modules. Arguments of one alone
        are bound with ``functools.partial``; ``module__…`` goes to all. None: `n_networks` of `module`.
    n_networks : int
        Where `modules` is None.
    shared_variant : bool
        True: deep mutual learning, all networks see the same variant, made by the first source.
    predict_with : "ensemble" | int
        Who predicts: the mean of all networks' probabilities, or one of them, counted from 0. Can be changed after
        training.
    variants, metric, compare, detach_target, …
        As in :class:`eegaug.AITClassifier`; one source for each network, or one for all.
    consistency : float
        :math:`\lambda`; 3 is the paper's for two networks. 0 trains them side by side, unconnected.

    Attributes
    ----------
    networks_ : list of torch.nn.Module
    history_ : skorch.history.History
        ``train_ce``: mean over the networks; ``train_loss`` has their sum. ``train_consistency``: mean over pairs.

    References
    ----------
    Zhang, Xiang, Hospedales and Lu (2018), Deep mutual learning, CVPR: `shared_variant`. Chen, Tian, Fan and Wang
    (2019), Augmentation invariant training, ICCV workshops: multi-AIT. One optimiser has all parameters, which for Adam
    and SGD is the same as one for each network; gradients flow through both sides of a divergence, with
    ``detach_target=True`` through one.

    Examples
    --------
    >>> import numpy as np
    >>> from eegaug import MutualClassifier
    >>> rng = np.random.default_rng(0)
    >>> X, y = rng.standard_normal((12, 2, 300)).astype("float32"), np.arange(12) % 3
    >>> clf = MutualClassifier(variants="frequency_shift", sfreq=100, max_epochs=1, random_state=0, verbose=0)
    >>> clf.fit(X, y).predict_proba_each(X).shape
    (2, 12, 3)
    >>> alone = clf.member(0)  # a StagingClassifier
    >>> bool(np.allclose(alone.predict_proba(X), clf.predict_proba_each(X)[0]))
    True
    """

    def __init__(
        self,
        module: str | type | nn.Module | Callable = "SleepStagerChambon2018",
        *,
        modules: Sequence[Any] | None = None,
        n_networks: int = 2,
        shared_variant: bool = False,
        predict_with: str | int = "ensemble",
        consistency: float = 3.0,
        **kwargs: Any,
    ):
        super().__init__(module, consistency=consistency, **kwargs)
        self.modules = modules
        self.n_networks = n_networks
        self.shared_variant = shared_variant
        self.predict_with = predict_with

    # Building --------------------------------------------------------------------------------------------------------

    def initialize_module(self) -> Self:
        """Build the networks, and what makes their variants."""
        builders = self._builders()
        known = self._known_arguments()
        trunks = getattr(self, "ready_made_", None)  # those of a saved model
        if trunks is None:
            trunks = [build_trunk(builder, self.get_params_for("module"), known) for builder in builders]
        specs = self._variant_specs()
        if len(specs) not in (1, len(trunks)):
            raise ValueError(f"there are {len(specs)} variants for {len(trunks)} networks: list one for each.")
        if self.shared_variant:
            self._build_variants(specs[:1], 1)
        else:
            self._build_variants(specs, len(trunks))
        self.module_ = MutualModel(trunks, self.variants_.take_modules())
        self._find_compared(trunks)
        self._who(len(trunks))
        self._penalty()
        return self

    def _builders(self) -> list[Any]:
        if self.modules is None:
            n = self.n_networks
            if isinstance(n, bool) or not isinstance(n, Real) or not n >= 2 or n % 1:
                raise ValueError(f"n_networks is {self.n_networks!r}; networks learn from each other by two or more.")
            builders = [self.module] * int(self.n_networks)
        else:
            builders = list(self.modules)
            if len(builders) < 2:
                raise ValueError(f"modules has {len(builders)} entries; networks learn from each other by two or more.")
        ready = [builder for builder in builders if isinstance(builder, nn.Module)]
        if len({id(builder) for builder in ready}) < len(ready) and not self.get_params_for("module"):
            raise ValueError(
                "the same module would be copied with the same weights for several networks: pass its class or name, "
                "or one module for each."
            )
        return builders

    def _who(self, n: int) -> str | int:
        who = self.predict_with
        if who == "ensemble" or (isinstance(who, (int, np.integer)) and not isinstance(who, bool) and 0 <= who < n):
            return who
        raise ValueError(f"predict_with is {who!r}; use 'ensemble' or a number from 0 to {n - 1}.")

    # Training --------------------------------------------------------------------------------------------------------

    def train_step_single(self, batch: Any, **fit_params: Any) -> dict[str, torch.Tensor]:
        """Forward and backward for one batch, through all networks."""
        self._set_training(True)
        Xi, yi = unpack_data(batch)
        networks, n_windows = self.networks_, len(Xi)
        n = len(networks)
        logits, outputs = [], []
        with self._comparing(self._comparable_layers()):
            X, _ = self._make_variants(Xi, yi)
            windows = [X] * n if self.shared_variant else X.chunk(n)
            with self._autocast(), self._convolving():  # accelerate sees to the module as a whole, not its networks
                for network, one in zip(networks, windows, strict=True):
                    with self._compared(network) as seen:
                        logits.append(network(one, **fit_params))
                    outputs.append(seen[0] if seen else logits[-1])
                total = sum(self.get_loss(z, yi, X=one, training=True) for z, one in zip(logits, windows, strict=True))
            difference = self._difference(outputs)
            decided = n * self._comparison(logits, yi, outputs)
        # The sum over ordered pairs, divided by n - 1, is n times the half of the mean over pairs.
        loss = self._backward(total, n * difference, n_windows, n, decided)
        ensemble = aggregate_copies([z.detach() for z in logits], "probs")
        return {"loss": loss, "y_pred": ensemble}

    def _note_terms(self, n: int, **terms: Tensor | None) -> None:
        n_networks = len(self.networks_)
        for name in ("train_ce", "train_consistency"):
            terms[name] = terms[name] / n_networks
        super()._note_terms(n, **terms)

    # Prediction ------------------------------------------------------------------------------------------------------

    @property
    def networks_(self) -> list[nn.Module]:
        """The networks, in the order of `modules`."""
        self.check_is_fitted(["module_"])
        return list(self.module_.trunks)

    def infer(self, x: Any, **fit_params: Any) -> Tensor:
        """Forward a batch through whoever is set to predict."""
        self.module_.predict_with = self._who(len(self.networks_))
        return super().infer(x, **fit_params)

    def predict_proba_each(self, X: Any) -> np.ndarray:
        """Probabilities of each network alone.

        Parameters
        ----------
        X
            As for :meth:`predict_proba`.

        Returns
        -------
        array of shape (n_networks, n_windows, n_classes)
        """
        before, each = self.predict_with, []
        try:
            for i in range(len(self.networks_)):
                self.predict_with = i
                each.append(self.predict_proba(X))
        finally:
            self.predict_with = before
        return np.stack(each)

    def member(self, i: int) -> StagingClassifier:
        """One network alone, as an estimator: to be scored, saved and used without the others.

        Parameters
        ----------
        i : int
            From 0.

        Returns
        -------
        StagingClassifier
            Fitted, with a copy of the network.
        """
        networks = self.networks_
        if not 0 <= i < len(networks):
            raise ValueError(f"there is no network {i}; there are 0 to {len(networks) - 1}.")
        shared = {name: getattr(self, name) for name in _SHARED}
        arguments = {f"module__{name}": value for name, value in self.get_params_for("module").items()}
        training = {n: v for n, v in self.get_params(deep=False).items() if n.startswith(_TRAINING)}
        alone = StagingClassifier(self._builders()[i], **shared, **arguments, **training, verbose=0)
        for name in OF_DATA:
            if hasattr(self, name):
                setattr(alone, name, getattr(self, name))
        alone.initialize()
        alone.module_.load_state_dict(networks[i].state_dict())
        alone.module_.eval()
        alone.history_ = History(self.history)
        alone.n_forward_backward_ = self.n_forward_backward_ // len(networks)
        alone.interrupted_ = self.interrupted_
        return alone
