"""`AugNetClassifier`: trains a trunk and its augmentation layers together."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from numbers import Real
from typing import Any, Self

import numpy as np
import torch
from skorch.callbacks import Callback, LRScheduler
from torch import nn

from eegaug._random import derive_seed
from eegaug.augnet.judges import Judged
from eegaug.augnet.layers import SELECTIONS, AugmentationLayer
from eegaug.augnet.learned import DEFAULTS, LearnedAugmentation
from eegaug.augnet.model import AugAveragedModel
from eegaug.augnet.module import AugmentationModule
from eegaug.augnet.schedule import CosineDecay
from eegaug.augnet.single import comparison_of_losses
from eegaug.classifier import StagingClassifier

__all__ = ["AugNetClassifier"]

# Key of the seed of prediction among those derived from the seed of a fit.
_PREDICTION = 1 << 20


class AugNetClassifier(Judged, LearnedAugmentation, StagingClassifier):
    r"""Stage sleep with a network that learns which transformations of EEG do not matter.

    Augmentation layers stand before the trunk. Their weights and strengths are trained with it, on the same batches,
    so as to minimise :math:`\mathrm{CE} - \lambda \| w \odot \mu \|_2`. After training, `invariances_` says which
    operation each layer has selected and how strong it may be; predictions are averaged over augmented copies.

    Parameters
    ----------
    module
        The trunk; see :class:`eegaug.StagingClassifier`.
    layers : sequence
        One entry per layer, in the order in which windows go through them: ``"time-frequency"``, ``"sensors"``,
        ``"all"``, a list of operation names or instances (also one's own), or an :class:`AugmentationLayer`, which
        keeps its own temperature and starts at its own strengths.
    selection : {"weighted", "single"}
        What a layer does in training. "weighted": the paper's sum of all operations, whose weights are learned and end
        on one of them. "single": each window goes through one operation, drawn uniformly; every operation learns how
        far it may go, for itself (see Notes).
    identity_share : float
        With ``selection="single"``, the share of the windows that a layer leaves as they are, in [0, 1).
    judge_share : float
        With ``selection="single"``, the share of the training windows, drawn at random, that move the strengths and do
        not train the network, in [0, 1). 0: all windows do both. Where the network learns its windows by heart, only
        windows that it does not know tell how far an operation may go; each step then takes two passes.
    penalty : float | None
        :math:`\lambda`, 0 or more: how much strength is rewarded. None: 10, or 0.1 with ``selection="single"``, or 0.5
        with ``penalty_kind="change"``. 10 is the paper's for MASS (of 1, 5, 10, 50). Its norm is at most the square
        root of the number of layers, so that above ``log(n_classes)`` over that root (0.9 for five stages and three
        layers; 0.65 with ``penalty_kind="change"``, whose norm is up to 1.4 times as large) the reward outweighs any
        cross-entropy, and strengths go to their bounds given enough steps; smaller values let the data decide how far
        an operation may go.
    penalty_kind : {"selective", "change", "magnitude", "mean", "log", "none"} | None
        See :func:`eegaug.augnet.augmentation_norm`. None: "selective", or "log" with ``selection="single"``. "change"
        rewards how far the signal is changed, not strength, so that an operation that hardly changes it cannot win.
    penalty_reduction : {"global", "per_layer"}
        One norm over all layers, or the sum of one for each.
    penalty_limit : float | None
        Switches the penalty off while any strength is at least this, in (0, 1]: Augerino's safe variant.
    n_copies : int
        Copies at prediction; can be changed after training. 0: the trunk alone, on windows as they are.
    n_copies_train : int
        Copies in training, each of which counts in ``n_forward_backward_``.
    aggregate : {"log_probs", "probs", "logits"}
        How copies are averaged; see :class:`AugAveragedModel`.
    augmentation_lr : float | None
        Learning rate of weights and strengths. None: that of the trunk.
    augmentation_weight_decay : float
        Weight decay of weights and strengths; that of the trunk is ``optimizer__weight_decay``.
    initial_strength : float
        Start of all strengths, in [0, 1]. At 0 the penalty gives no push.
    temperature : float
        Of the softmax over operations.
    lr_schedule : {"constant", "cosine"} | None
        "cosine" brings all learning rates down to 0 over ``max_epochs``. None: "constant", or "cosine" with
        ``selection="single"``.
    **kwargs
        As in :class:`eegaug.StagingClassifier`: ``sfreq``, ``ch_names``, ``positions``, ``policy``, ``class_weight``,
        ``random_state``, ``optimizer``, ``lr``, ``max_epochs``, ``batch_size``, ``callbacks``, ``train_split`` …

    Attributes
    ----------
    invariances_ : pandas.DataFrame
        ``layer``, ``operation``, ``weight``, ``magnitude`` in [0, 1], ``strength`` and its ``unit``; with
        ``selection="single"`` also ``signal_change`` and ``loss_rise``, by which operations can be ranked: one that may
        go far, changes the signal much and costs little is an invariance worth knowing of.
    invariances_history_ : pandas.DataFrame
        The same after each ``epoch``.
    module_ : AugAveragedModel
        ``module_.trunk`` is the trunk, ``module_.augmentation`` the layers.
    history_ : skorch.history.History
        ``train_ce`` and ``train_penalty`` (:math:`-\lambda N`) add up to ``train_loss``; ``valid_loss`` is the
        cross-entropy alone, so that it can be compared with that of other methods.

    Notes
    -----
    Predictions are deterministic: the copies' transformations are drawn once, from a seed that is part of the model,
    and serve every window. They depend neither on the batches nor on the order of the windows.

    *One operation for each window.* In a weighted sum operations compete: the weight goes to whichever is first seen to
    be harmless, often one that changes little, and the others learn nothing. With ``selection="single"`` a layer
    minimises :math:`\frac1n \sum_i \mathrm{CE}(f(T_{q_i}(x_i; \mu_{q_i})), y_i) - \lambda \frac1Q \sum_q \log \mu_q`
    with :math:`q_i` drawn uniformly. Every magnitude then rises until widening it by 1 % costs its own windows
    :math:`0.01 \lambda` nats of cross-entropy, or until it is at its bound; it does not matter which other operations
    there are, nor what magnitude 1 stands for. Operations without a magnitude end with the probability
    :math:`e^{-\Delta / 2 \lambda}`, at most 1/2, where :math:`\Delta` is what applying them costs (see
    :func:`eegaug.augnet.augmentation_norm`). Layers are drawn from independently: an operation that is listed in two
    of them shares its range between both, so that one layer of everything tells ranges best. A prediction's copies go
    through one operation of each layer, spread evenly over them; ``n_copies=0`` predicts from windows as they are.

    References
    ----------
    Rommel, Moreau and Gramfort (2022), Deep invariant networks with differentiable augmentation layers,
    NeurIPS. What differs: strengths are projected into [0, 1] instead of clamped; operations without a magnitude learn
    their probability :math:`\mu / 2`; copies at prediction have operations of their own.

    Examples
    --------
    >>> import numpy as np
    >>> from eegaug import AugNetClassifier
    >>> rng = np.random.default_rng(0)
    >>> X, y = rng.standard_normal((12, 2, 300)).astype("float32"), np.arange(12) % 3
    >>> clf = AugNetClassifier(layers=[["frequency_shift", "sign_flip"]], sfreq=100, ch_names=["C3", "C4"],
    ...                        max_epochs=1, random_state=0, verbose=0)
    >>> clf.fit(X, y).predict_proba(X).shape
    (12, 3)
    >>> clf.invariances_[["layer", "operation", "unit"]].values.tolist()
    [[0, 'frequency_shift', 'Hz'], [0, 'sign_flip', 'probability']]
    """

    def __init__(
        self,
        module: str | type | nn.Module | Callable = "SleepStagerChambon2018",
        *,
        layers: Iterable[Any] = ("time-frequency", "time-frequency", "sensors"),
        selection: str = "weighted",
        identity_share: float = 0.0,
        judge_share: float = 0.0,
        penalty: float | None = None,
        penalty_kind: str | None = None,
        penalty_reduction: str = "global",
        penalty_limit: float | None = None,
        n_copies: int = 4,
        n_copies_train: int = 1,
        aggregate: str = "log_probs",
        augmentation_lr: float | None = None,
        augmentation_weight_decay: float = 0.0,
        initial_strength: float = 0.1,
        temperature: float = 0.01,
        lr_schedule: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(module, **kwargs)
        self.layers = layers
        self.selection = selection
        self.identity_share = identity_share
        self.judge_share = judge_share
        self.penalty = penalty
        self.penalty_kind = penalty_kind
        self.penalty_reduction = penalty_reduction
        self.penalty_limit = penalty_limit
        self.n_copies = n_copies
        self.n_copies_train = n_copies_train
        self.aggregate = aggregate
        self.augmentation_lr = augmentation_lr
        self.augmentation_weight_decay = augmentation_weight_decay
        self.initial_strength = initial_strength
        self.temperature = temperature
        self.lr_schedule = lr_schedule

    def initialize_module(self) -> Self:
        """Build trunk and layers."""
        if self.penalty is not None and not (isinstance(self.penalty, Real) and 0 <= self.penalty < np.inf):
            raise ValueError(f"penalty is {self.penalty!r}; it is a number, 0 or more.")
        if self.selection not in SELECTIONS:
            raise ValueError(f"selection is {self.selection!r}; use one of {', '.join(SELECTIONS)}.")
        if self.lr_schedule not in (None, "constant", "cosine"):
            raise ValueError(f"lr_schedule is {self.lr_schedule!r}; use 'constant', 'cosine' or None.")
        for i, layer in enumerate(self.layers):
            if isinstance(layer, AugmentationLayer) and layer.selection != self.selection:
                raise ValueError(
                    f"layer {i} has selection={layer.selection!r}, the classifier {self.selection!r}, which decides on "
                    "penalty and learning rates, too: give both the same."
                )
        trunk = self._build_trunk()
        signal = self._known_signal()
        augmentation = AugmentationModule(
            copy.deepcopy(self.layers),
            sfreq=self.sfreq if signal is None else signal.sfreq,
            ch_names=self.ch_names if signal is None else signal.ch_names,
            positions=self.positions,
            temperature=self.temperature,
            initial_strength=self.initial_strength,
            selection=self.selection,
            identity_share=self.identity_share,
        )
        self.module_ = AugAveragedModel(
            trunk,
            augmentation,
            n_copies=self.n_copies,
            n_copies_train=self.n_copies_train,
            aggregate=self.aggregate,
            seed=derive_seed(getattr(self, "seed_", 0), _PREDICTION),
        )
        self._penalty()  # refuses unknown kinds before training
        return self

    def train_step_single(self, batch: Any, **fit_params: Any) -> dict[str, torch.Tensor]:
        """Forward and backward for one batch."""
        with self._comparing(self._learned_layers() if self.judge_batches_ is None else ()):
            step = super().train_step_single(batch, **fit_params)
        self.n_forward_backward_ += self.module_.n_copies_train - 1
        return step

    def get_loss(self, y_pred: torch.Tensor, y_true: Any, *args: Any, training: bool = False, **kwargs: Any) -> Any:
        """Cross-entropy of a batch; `y_true` are labels as the user gave them."""
        loss = super().get_loss(y_pred, y_true, *args, training=training, **kwargs)
        drawn = [layer for layer in self._learned_layers() if layer.drawn] if training else []
        if not drawn:
            return loss
        each = self._loss_of_each(y_pred.detach(), y_true, *args, training=training, **kwargs).flatten()
        return loss + sum(comparison_of_losses(layer, each) for layer in drawn)

    @property
    def _default_callbacks(self) -> list[tuple[str, Callback]]:
        own = DEFAULTS.get(self.selection, DEFAULTS["weighted"])[2]
        if (self.lr_schedule or own) != "cosine":
            return super()._default_callbacks
        given = self.callbacks if isinstance(self.callbacks, (list, tuple)) else []
        kinds = [one[1] if isinstance(one, tuple) else one for one in given]  # skorch takes classes, too
        if any(issubclass(one if isinstance(one, type) else type(one), LRScheduler) for one in kinds):
            if self.lr_schedule is None:
                return super()._default_callbacks
            raise ValueError("lr_schedule='cosine' and an LRScheduler among the callbacks; use one of them.")
        return [("lr_schedule", CosineDecay()), *super()._default_callbacks]

    def infer(self, x: Any, **fit_params: Any) -> torch.Tensor:
        """Forward a batch, with the number of copies and the aggregation that are set now."""
        self.module_.set_prediction(self.n_copies, self.aggregate)
        return super().infer(x, **fit_params)
