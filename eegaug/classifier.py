"""`StagingClassifier`: the one training path that every method shares."""

from __future__ import annotations

import copy
import inspect
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from braindecode import EEGClassifier
from sklearn.metrics import accuracy_score
from skorch.callbacks import Callback, EpochScoring, PrintLog
from torch import nn

from eegaug._inputs import Signal, WindowLoader
from eegaug._random import contained_rng, derive_seed, resolve_seed
from eegaug._staging_data import StagingData
from eegaug._staging_loop import StagingLoop
from eegaug._staging_prediction import StagingPrediction
from eegaug._trunk import build_trunk, channel_info, signal_arguments
from eegaug._warning import warn

__all__ = ["StagingClassifier"]

# Columns of the history that the printed log leaves out: lists, and a count.
_UNPRINTED = ["weights", "magnitudes", "n_forward_backward"]
_DEFAULT_BETAS = (0.0, 0.999)


class StagingClassifier(StagingData, StagingLoop, StagingPrediction, EEGClassifier):
    """Train a network on windows of EEG: a braindecode ``EEGClassifier`` with the care that sleep staging needs.

    On top of braindecode's and skorch's estimator: class weights, a learned or fixed augmentation policy on the
    training batches, labels of any kind, randomness that is contained, and input that is checked. It can be refitted
    and cloned for another montage, because what it infers from the data is not written into its parameters.

    Parameters
    ----------
    module : str | type | torch.nn.Module | callable
        The network: the name or class of a braindecode model, any class or function that builds a module, or a
        module. A module is copied at each fit, so that every fit starts from the same state. Arguments are passed as
        ``module__…``; ``n_chans``, ``n_times``, ``n_outputs``, ``sfreq``, ``chs_info`` and ``input_window_seconds``
        are filled in from the data where the network takes them and they are not given.
    sfreq : float | None
        Sampling rate in Hz. None: what the data say (``mne.Epochs``, braindecode datasets, nights).
    ch_names : sequence of str | None
        Channels in order. None: what the data say.
    positions : array-like of shape (n_channels, 3) | None
        Electrode positions, for channels that no montage knows.
    policy : eegaug.Policy | callable | None
        Applied to every training batch, on its device: ``policy.apply(X)``, ``policy.apply(X, y)`` where it has
        ``needs_labels`` (class-wise policies), or ``policy(X)`` for a function.
    class_weight : "balanced" | dict | None
        Weights of the classes in the cross-entropy: inverse frequency in the training set, ``{label: weight}``, or
        none.
    random_state : int | RandomState | Generator | None
        Seed of initial weights, shuffling, dropout and augmentation, also of braindecode's transforms and samplers in
        the data loader, whatever seeds they have. The same int gives the same result on the same machine; None gives a
        fresh one. Global random states are neither set nor consumed.
    optimizer, lr, max_epochs, batch_size
        As in skorch. Default: Adam with betas (0, 0.999) and learning rate 1e-3, 300 epochs, batches of 16.
    train_split : callable | None
        Default None: no validation set is split off, since neighbouring windows of a night are alike and a random split
        would put them on both sides. Pass ``skorch.helper.predefined_split(nights_of_other_subjects)``.
    criterion, callbacks, device, verbose, …
        As in skorch and braindecode; ``iterator_train__drop_last`` is False: no window is left out. With any criterion
        that takes logits, or log-probabilities, probabilities are the softmax of what the network gives.

    Attributes
    ----------
    classes_ : array of shape (n_classes,)
        Labels, in the order of the columns of :meth:`predict_proba`.
    class_weights_ : array of shape (n_classes,) | None
        Where `train_split` cuts a part out of the data to validate on, balanced weights are those of the rest.
    signal_ : Signal
        Channels, samples, sampling rate and preprocessing of the training windows.
    preprocessing_ : dict | None
    history_ : skorch.history.History
        One row per epoch: ``train_loss``, ``train_ce`` (cross-entropy alone), ``valid_loss``, ``n_forward_backward`` …
    n_forward_backward_ : int
        Batches that went forward and backward through the network.
    interrupted_ : bool
        Whether training was ended by Ctrl-C (and not by its epochs or by a callback).

    Raises
    ------
    ValueError
        In ``fit`` and ``predict``, naming what is wrong: NaN or infinite samples (window and recording), a flat
        channel, other channels, order, rate or length than the network was trained on, an empty training set, a
        single class.
    sklearn.exceptions.NotFittedError
        If it predicts before it is fitted.

    References
    ----------
    Chambon et al. (2018), A deep learning architecture for temporal sleep stage classification using multivariate and
    multimodal time series, IEEE TNSRE 26(4): the default network. Rommel et al. (2022), Deep invariant networks with
    differentiable augmentation layers, NeurIPS: optimiser, batch size, class weights.

    Examples
    --------
    >>> import numpy as np
    >>> from eegaug import StagingClassifier
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((12, 2, 300)).astype("float32")
    >>> y = np.array(["N2", "REM", "W"] * 4)
    >>> clf = StagingClassifier(sfreq=100, ch_names=["C3", "C4"], max_epochs=1, random_state=0, verbose=0)
    >>> clf.fit(X, y).predict_proba(X).shape
    (12, 3)
    >>> clf.classes_.tolist()
    ['N2', 'REM', 'W']
    """

    def __init__(
        self,
        module: str | type | nn.Module | Callable = "SleepStagerChambon2018",
        *,
        sfreq: float | None = None,
        ch_names: Sequence[str] | None = None,
        positions: Any = None,
        policy: Any = None,
        class_weight: str | Mapping | None = "balanced",
        random_state: Any = None,
        criterion: Any = nn.CrossEntropyLoss,
        optimizer: Any = torch.optim.Adam,
        optimizer__betas: tuple[float, float] = _DEFAULT_BETAS,
        lr: float = 1e-3,
        max_epochs: int = 300,
        batch_size: int = 16,
        train_split: Any = None,
        iterator_train__shuffle: bool = True,
        iterator_train__drop_last: bool = False,
        **kwargs: Any,
    ):
        super().__init__(
            module,
            criterion=criterion,
            optimizer=optimizer,
            optimizer__betas=optimizer__betas,
            lr=lr,
            max_epochs=max_epochs,
            batch_size=batch_size,
            train_split=train_split,
            iterator_train__shuffle=iterator_train__shuffle,
            iterator_train__drop_last=iterator_train__drop_last,
            **kwargs,
        )
        self.sfreq = sfreq
        self.ch_names = ch_names
        self.positions = positions
        self.policy = policy
        self.class_weight = class_weight
        self.random_state = random_state

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "policy" and isinstance(value, nn.Module):
            raise TypeError(
                f"policy is a {type(value).__name__}, a torch module: braindecode's transforms go into "
                "iterator_train=AugmentedDataLoader, iterator_train__transforms=[…]; modules that learn into "
                "AugNetClassifier, or AITClassifier(variants=…)."
            )
        super().__setattr__(name, value)

    def check_data(self, X: Any, y: Any = None) -> None:
        """Nothing is left to check here: ``fit`` has done it before anything was built."""

    # Building --------------------------------------------------------------------------------------------------------

    def _build_trunk(self) -> nn.Module:
        return build_trunk(self.module, self.get_params_for("module"), self._known_arguments())

    def _known_arguments(self) -> dict[str, Any]:
        """What a network wants to know about its input, as far as it is known."""
        n_outputs = len(self.classes_) if hasattr(self, "classes_") else None
        signal = self._known_signal()
        known = signal_arguments(signal, n_outputs, self.positions)
        if signal is None and self.sfreq is not None:  # before any data
            known["sfreq"] = float(self.sfreq)
            if self.ch_names is not None:
                known["chs_info"] = channel_info(self.ch_names, self.sfreq, self.positions)
        return known

    def _known_signal(self) -> Signal | None:
        return getattr(self, "signal_", None)

    def initialize(self) -> Self:
        """Build network, optimiser and callbacks; ``fit`` does it by itself."""
        if getattr(self, "fitting_", False):
            return super().initialize()
        with contained_rng(resolve_seed(self.random_state), self.device):
            return super().initialize()

    def initialize_history(self) -> Self:
        """Start the history, and the count of batches."""
        self.n_forward_backward_ = 0
        return super().initialize_history()

    def initialize_module(self) -> Self:
        """Build the network."""
        self.module_ = self._build_trunk()
        return self

    def initialize_criterion(self) -> Self:
        """Build the loss, with the weights of the classes."""
        super().initialize_criterion()
        weights = getattr(self, "class_weights_", None)
        own = isinstance(self.criterion, nn.Module) and getattr(self.criterion, "weight", None) is not None
        self.weighs_classes_ = not (weights is None or own or "criterion__weight" in vars(self))
        if not self.weighs_classes_:
            return self
        criterion = self.criterion_
        if "weight" not in getattr(criterion, "_buffers", {}):
            self.weighs_classes_ = False
            warn(
                f"{type(criterion).__name__} takes no class weights: class_weight={self.class_weight!r} has no effect; "
                "pass class_weight=None."
            )
            return self
        if criterion is self.criterion:
            criterion = self.criterion_ = copy.deepcopy(criterion)
        criterion.weight = torch.as_tensor(weights, dtype=torch.float32)
        return self

    def set_params(self, **kwargs: Any) -> Self:
        """Set parameters; a fitted network follows ``device``."""
        before = self.device
        if self.initialized_:  # skorch asks to report an error where a fitted net gets other data loaders
            loaders = [key for key in kwargs if key.startswith(("iterator_train__", "iterator_valid__"))]
            vars(self).update({key: kwargs.pop(key) for key in loaders})
        super().set_params(**kwargs)
        if self.initialized_ and self.device != before and self.device is not None:
            for name in self._modules + self._criteria:
                getattr(self, f"{name}_").to(self.device)
            for name in self._optimizers:
                optimizer = getattr(self, f"{name}_")
                optimizer.load_state_dict(optimizer.state_dict())  # moves its state to where the parameters are
        return self

    def get_params_for_optimizer(self, prefix: str, named_parameters: Any) -> tuple[tuple, dict]:
        """Arguments of the optimiser; the default betas only where it takes betas."""
        # By the names that they have in a network that is not compiled.
        named_parameters = [(name.removeprefix("_orig_mod."), parameter) for name, parameter in named_parameters]
        args, kwargs = super().get_params_for_optimizer(prefix, named_parameters)
        takes = inspect.signature(getattr(self, prefix)).parameters
        if "betas" not in takes and kwargs.get("betas") == _DEFAULT_BETAS:
            kwargs.pop("betas")
        return args, kwargs

    @property
    def _default_callbacks(self) -> list[tuple[str, Callback]]:
        ours = {
            "valid_acc": EpochScoring(_accuracy, name="valid_acc", lower_is_better=False),
            "print_log": PrintLog(keys_ignored=_UNPRINTED),
        }
        # The log stays last: it prints what the others have measured.
        defaults = sorted(super()._default_callbacks, key=lambda item: item[0] == "print_log")
        return [(name, ours.get(name, callback)) for name, callback in defaults]

    def _yield_callbacks(self) -> Iterator[tuple[str, Any, bool]]:
        """The checkpoint of the training comes last: it saves what the others have made of the epoch."""
        last = []
        for item in super()._yield_callbacks():
            if getattr(item[1], "comes_last", False):
                last.append(item)
            else:
                yield item
        yield from last

    def get_iterator(self, dataset: Any, training: bool = False, drop_index: bool = True) -> Any:
        """Batches of a dataset, checked; see :class:`braindecode.EEGClassifier`."""
        loader = super().get_iterator(dataset, training=training, drop_index=False)
        if not drop_index:
            return loader
        signal = self._known_signal()
        shape = None if signal is None else (signal.n_chans, signal.n_times)
        names = None if signal is None else signal.ch_names
        return WindowLoader(self, loader, shape, names, keep_rng=not training)

    # Training --------------------------------------------------------------------------------------------------------

    def fit(self, X: Any, y: Any = None, **fit_params: Any) -> Self:
        """Train the network.

        Parameters
        ----------
        X : array or tensor of shape (n_windows, n_channels, n_times) | mne.Epochs | dataset
            Windows, in µV or standardised. A braindecode dataset or :class:`eegaug.data.Nights` is read batch by batch.
            For a network of sequences such as USleep, shape (n_sequences, n_windows, n_channels, n_times).
        y : array of shape (n_windows,) | None
            Labels, numbers or strings. None: those of the dataset, or the event codes of the epochs. Of sequences: one
            for each, of shape (n_sequences,), or integers of shape (n_sequences, n_windows), as the network answers.

        Returns
        -------
        self
        """
        fresh = not (self.warm_start and self.initialized_)
        with self._training(X, y, fresh) as (windows, labels):
            return super().fit(windows, labels, **fit_params)

    def partial_fit(self, X: Any, y: Any = None, classes: Any = None, **fit_params: Any) -> Self:
        """Go on training: ``fit`` without starting anew.

        ``classes``, at the first call, names all labels that there will ever be.
        """
        self.resumed_epochs_ = 0
        if getattr(self, "fitting_", False):
            return super().partial_fit(X, y, classes=classes, **fit_params)
        unweighted = self.initialized_ and not hasattr(self, "signal_")  # built by hand, before any data
        with self._training(X, y, not self.initialized_, classes) as (windows, labels):
            if unweighted:
                self._initialize_criterion()
            return super().partial_fit(windows, labels, classes=classes, **fit_params)

    @contextmanager
    def _training(self, X: Any, y: Any, fresh: bool, classes: Any = None) -> Iterator[tuple[Any, np.ndarray]]:
        windows, labels = self._prepare(X, y, fresh, classes)
        if fresh or not hasattr(self, "seed_"):
            self.seed_ = resolve_seed(self.random_state)
        epochs_done = 0 if fresh else len(self.history or [])
        self.signal_args_set_ = self.fitting_ = True
        self.starting_ = fresh
        try:
            with contained_rng(derive_seed(self.seed_, epochs_done), self.device), self._loader_copied():
                yield windows, labels
        finally:
            self.fitting_ = self.starting_ = False

    # Saving ----------------------------------------------------------------------------------------------------------

    def save(self, folder: str | os.PathLike, **more: Any) -> Path:
        """Save the fitted model as a folder; see :func:`eegaug.save_model`."""
        from eegaug.bundle import save_model

        return save_model(self, folder, **more)

    @classmethod
    def load(cls, folder: str | os.PathLike, module: Any = None) -> Self:
        """Load a model that :meth:`save` made; see :func:`eegaug.load_model`.

        Raises
        ------
        TypeError
            If the folder holds a model of another class.
        """
        from eegaug.bundle import load_model

        model = load_model(folder, module=module)
        if not isinstance(model, cls):
            raise TypeError(f"{folder} holds a {type(model).__name__}, not a {cls.__name__}: use eegaug.load_model.")
        return model


def _accuracy(net: StagingClassifier, X: Any, y: Any) -> float:
    return float(accuracy_score(np.ravel(y), net.predict(X).ravel()))
