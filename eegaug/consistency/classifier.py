"""`AITClassifier`: a network that says the same about two augmented variants of a window."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from numbers import Real
from typing import Any, Self

import numpy as np
import torch
from skorch.dataset import unpack_data
from skorch.utils import to_tensor
from torch import Tensor, nn

from eegaug._hooks import find_layer, recorded
from eegaug._named_operations import is_one_operation
from eegaug._warning import warn
from eegaug.augnet.layers import AugmentationLayer
from eegaug.augnet.learned import LearnedAugmentation
from eegaug.augnet.module import AugmentationModule
from eegaug.augnet.single import comparison_of_losses
from eegaug.classifier import StagingClassifier
from eegaug.consistency.loss import AugmentationInvariantLoss
from eegaug.consistency.variants import VariantModel, Variants, tiled

__all__ = ["AITClassifier"]


class AITClassifier(LearnedAugmentation, StagingClassifier):
    r"""Augmentation-invariant training: two variants of each window, and a loss on how differently they are scored.

    Every training batch is augmented twice, independently, and both variants go through the network in one batch.
    Training minimises

    .. math:: \frac{1}{2} \big[ \mathrm{CE}(z_1, y) + \mathrm{CE}(z_2, y) + \lambda D(z_1, z_2) \big]

    with :math:`D` the symmetric Kullback-Leibler divergence of the predicted distributions. That is half of the paper's
    sum: :math:`\lambda` has its meaning, and the cross-entropy is the mean over all variants, so that learning rates
    and losses compare with those of plain training. :math:`\lambda = 0` is the fair control: plain training on the same
    number of variants.

    Parameters
    ----------
    module
        The network; see :class:`eegaug.StagingClassifier`.
    variants : sequence of two sources or more | source | None
        What makes each variant; a single source, alone or in a list, makes both, with draws of their own. None:
        `policy`, or the fixed sleep policy where that is None too. A source is

        - a :class:`eegaug.Policy`, or ``"fixed"`` for the fixed sleep policy;
        - an operation or a list of operations, of which one is drawn for each window: names, instances or tuples
          ``(operation, probability, magnitude)``, by default with probability 0.5 and the strength of the fixed policy;
          or a group of them, ``"time-frequency"``, ``"sensors"``, ``"all"``;
        - a transform of braindecode, whose draws follow the estimator's `random_state`;
        - an :class:`eegaug.AugmentationModule` or :class:`eegaug.AugmentationLayer`, which is copied and trained with
          the network, as AugNet is, unless its parameters require no gradient. Passed alone it makes all variants;
          modules in a list are trained apart;
        - a function of a batch;
        - None: the window as it is.
    consistency : float
        :math:`\lambda`, 0 or more. 1 is the paper's.
    metric : {"kl", "euclidean", "kl+euclidean"}
        See :class:`AugmentationInvariantLoss`.
    compare : str
        "logits", or the name of a layer of the network whose output is compared instead, flattened, such as
        "feature_extractor". "kl" takes the softmax over all of these features.
    detach_target : bool
        See :class:`AugmentationInvariantLoss`.
    penalty, penalty_kind, penalty_reduction, penalty_limit, augmentation_lr, augmentation_weight_decay
        For augmentation that is learned; see :class:`eegaug.AugNetClassifier`, also for what None stands for, which
        depends on the layers. The loss between variants grows with the
        strengths, too: it holds them back where the network's answer changes, so that at the same penalty ranges are
        learned narrower than by AugNet.
    **kwargs
        As in :class:`eegaug.StagingClassifier`. Class weights act on the cross-entropy alone.

    Attributes
    ----------
    history_ : skorch.history.History
        ``train_ce``: cross-entropy, mean over variants. ``train_consistency``: :math:`D` itself, also where
        :math:`\lambda` is 0. ``n_forward_backward`` counts every variant of a batch.
    invariances_, invariances_history_ : pandas.DataFrame
        For augmentation that is learned, as those of AugNet; the layers of several modules are numbered on.
    module_ : torch.nn.Module
        The network; where augmentation is learned, ``module_.trunk`` is the network and ``module_.augmentation`` a
        list of modules. Predictions are those of the network for windows as they are.

    References
    ----------
    Chen, Tian, Fan and Wang (2019), Augmentation invariant training, ICCV workshops. What differs from the published
    code: the full gradient (``detach_target=True`` gives its half), the weights of the terms (its :math:`\lambda = 1`
    is 2 here), and that every epoch has each window once, with as many variants.

    Examples
    --------
    >>> import numpy as np
    >>> from eegaug import AITClassifier
    >>> rng = np.random.default_rng(0)
    >>> X, y = rng.standard_normal((12, 2, 300)).astype("float32"), np.arange(12) % 3
    >>> clf = AITClassifier(variants=["frequency_shift", ("gaussian_noise", 1.0, 0.5)], consistency=2.0, sfreq=100,
    ...                     max_epochs=1, random_state=0, verbose=0)
    >>> clf.fit(X, y).predict_proba(X).shape
    (12, 3)
    >>> clf.history_[-1, "train_consistency"] > 0
    True
    """

    def __init__(
        self,
        module: str | type | nn.Module | Callable = "SleepStagerChambon2018",
        *,
        variants: Any = None,
        consistency: float = 1.0,
        metric: str = "kl",
        compare: str = "logits",
        detach_target: bool = False,
        penalty: float | None = None,
        penalty_kind: str | None = None,
        penalty_reduction: str = "global",
        penalty_limit: float | None = None,
        augmentation_lr: float | None = None,
        augmentation_weight_decay: float = 0.0,
        **kwargs: Any,
    ):
        super().__init__(module, **kwargs)
        self.variants = variants
        self.consistency = consistency
        self.metric = metric
        self.compare = compare
        self.detach_target = detach_target
        self.penalty = penalty
        self.penalty_kind = penalty_kind
        self.penalty_reduction = penalty_reduction
        self.penalty_limit = penalty_limit
        self.augmentation_lr = augmentation_lr
        self.augmentation_weight_decay = augmentation_weight_decay

    def __setattr__(self, name: str, value: Any) -> None:
        # A module as a parameter; skorch would take it for a part of the network that is set from outside.
        if name == "variants":
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)

    # Building --------------------------------------------------------------------------------------------------------

    def initialize_module(self) -> Self:
        """Build the network, and what makes its variants."""
        trunk = self._build_trunk()
        self._build_variants(self._variant_specs(), 2)
        modules = self.variants_.take_modules()
        self.module_ = VariantModel(trunk, modules) if modules else trunk
        self._find_compared([trunk])
        self._penalty()  # refuses unknown kinds before training
        return self

    def _variant_specs(self) -> list[Any]:
        """One source for all variants, or one for each."""
        given = self.variants
        if given is None:
            return [self.policy if self.policy is not None else "fixed"]
        if self.policy is not None:
            raise ValueError("variants and policy are both given: name the policy among the variants.")
        if not isinstance(given, (list, tuple)) or is_one_operation(given):
            return [given]
        if not given:
            raise ValueError("variants is empty; list two sources or more, or one for all variants.")
        return list(given)

    def _build_variants(self, specs: Sequence[Any], n: int) -> None:
        for name in ("consistency", "penalty"):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, Real) and 0 <= value < np.inf):
                raise ValueError(f"{name} is {value!r}; it is a number, 0 or more.")
        self.consistency_loss_ = AugmentationInvariantLoss(self.metric, self.detach_target)
        signal = self._known_signal()
        known = self if signal is None else signal
        about = {"sfreq": known.sfreq, "ch_names": known.ch_names, "positions": self.positions}
        self.variants_ = Variants(specs, n, **about)
        if self.penalty and not self.variants_.n_modules:
            warn(f"penalty={self.penalty!r} has no effect: no variant is augmentation that is learned.")
        if signal is not None:
            for policy in self.variants_.policies:
                self._check_policy(signal, policy)
            for spec in specs:
                if isinstance(spec, nn.Module):
                    self._check_module(signal, spec)

    def _find_compared(self, trunks: Sequence[nn.Module]) -> None:
        if self.compare != "logits":
            for trunk in trunks:
                find_layer(trunk, self.compare)

    def _learned_layers(self) -> list[AugmentationLayer]:
        return self.module_.augmentation.layers if self.variants_.n_modules else []

    def _has_layers_before_trunk(self) -> bool:
        return self.variants_.n_modules > 0

    # Training --------------------------------------------------------------------------------------------------------

    def train_step_single(self, batch: Any, **fit_params: Any) -> dict[str, torch.Tensor]:
        """Forward and backward for all variants of one batch."""
        self._set_training(True)
        Xi, yi = unpack_data(batch)
        n = len(self.variants_)
        with self._comparing(self._comparable_layers()):
            X, y = self._make_variants(Xi, yi)
            with self._compared(self.module_.trunk if self._has_layers_before_trunk() else self.module_) as seen:
                y_pred = self.infer(X, **fit_params)
            cross_entropy = self.get_loss(y_pred, y, X=X, training=True)
            compared = (seen[0] if seen else y_pred).chunk(n)
            difference = self._difference(compared)
            decided = self._comparison([y_pred], y, compared)
        loss = self._backward(cross_entropy, difference, len(Xi), n, decided)
        return {"loss": loss, "y_pred": y_pred[: len(Xi)]}

    def _make_variants(self, X: Any, y: Any) -> tuple[Tensor, Any]:
        """All variants of a batch, one after the other, and their labels."""
        modules = self.module_.augmentation if self.variants_.n_modules else ()
        X = self.variants_.make(to_tensor(X, device=self.device), y, modules)
        return X, tiled(y, len(self.variants_))

    @contextmanager
    def _compared(self, trunk: nn.Module) -> Iterator[list[Tensor]]:
        """What is compared, if it is not the logits."""
        with nullcontext([]) if self.compare == "logits" else recorded(find_layer(trunk, self.compare)) as seen:
            yield seen

    def _difference(self, outputs: Sequence[Tensor]) -> Tensor:
        # It is written down without λ too, at no cost in gradients.
        with nullcontext() if self.consistency else torch.no_grad():
            return self.consistency_loss_(*self._features(outputs))

    def _features(self, outputs: Sequence[Tensor]) -> Sequence[Tensor]:
        """What is compared of each variant, if it is not the logits, as one axis."""
        return outputs if self.compare == "logits" else [features.flatten(1) for features in outputs]

    def _comparable_layers(self) -> list[AugmentationLayer]:
        """Those of which it is known who gave them which window; a module of one's own may do as it likes."""
        modules = self.module_.augmentation if self.variants_.n_modules else ()
        return [layer for module in modules if isinstance(module, AugmentationModule) for layer in module.layers]

    def _comparison(self, logits: Sequence[Tensor], y: Any, compared: Sequence[Tensor]) -> Tensor | float:
        """A term of the loss, with the derivative that operations which decide get from the losses of variants.

        See :func:`eegaug.augnet.single.comparison_of_losses`. A variant adds to the loss its own cross-entropy and,
        with the others of its window, the difference between them.
        """
        if not any(layer.drawn for layer in self._learned_layers()):
            return 0.0
        n, n_made = len(compared), len(self.variants_)
        with torch.no_grad():
            own = torch.cat([self._loss_of_each(z, y, training=True) for z in logits])
            own = own.reshape(n, -1, *own.shape[1:])
            apart = self.consistency_loss_.of_each(*self._features(compared))
            apart = apart.reshape(*apart.shape, *[1] * (own.ndim - 1 - apart.ndim))
            # One variant for all networks is decided on once.
            own = own if n_made == n else own.mean(0, keepdim=True)
            each = own + n_made * self.consistency / 2 * apart
        total = 0.0
        for i, module in enumerate(self.module_.augmentation):
            made = [k for k, source in enumerate(self.variants_.sources) if isinstance(source, int) and source == i]
            for layer in module.layers if isinstance(module, AugmentationModule) else ():
                total = total + comparison_of_losses(layer, each[made].flatten() * (len(made) / n_made))
        return total

    def _backward(
        self, cross_entropy: Tensor, difference: Tensor, n_windows: int, passes: int, decided: Tensor | float
    ) -> Tensor:
        penalty = self._penalty()
        loss = cross_entropy + decided
        if self.consistency:
            loss = loss + self.consistency / 2 * difference
        if penalty is not None:
            loss = loss + penalty
        self._backpropagate(loss)
        self.n_forward_backward_ += passes
        self._note_terms(n_windows, train_ce=cross_entropy, train_consistency=difference, train_penalty=penalty)
        return loss.detach()
