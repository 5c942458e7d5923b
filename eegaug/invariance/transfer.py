"""Accuracy on test sets that were changed by operations a network has seen in training, and by others."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import accuracy_score, balanced_accuracy_score, cohen_kappa_score, f1_score, recall_score

from eegaug._inputs import check_labels, labels_of
from eegaug._progress import track
from eegaug._random import RandomState, resolve_seed
from eegaug._staging_data import is_nights
from eegaug.invariance._outputs import labels_by, signal_for, stages_in, windows_array
from eegaug.invariance.frozen import as_changes
from eegaug.operations import list_operations

__all__ = ["transfer_matrix"]

_METRICS: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "balanced_accuracy": balanced_accuracy_score,
    "accuracy": accuracy_score,
    "kappa": cohen_kappa_score,
    "macro_f1": lambda y, predicted: f1_score(y, predicted, average="macro"),
}
ORIGINAL, UNSEEN = "original", "mean unseen"


def transfer_matrix(
    models: Any,
    X: Any,
    y: Any = None,
    operations: Any = "all",
    *,
    magnitudes: float | Mapping[str, float] | None = None,
    metric: str | Callable[[np.ndarray, np.ndarray], float] = "balanced_accuracy",
    per_stage: bool = False,
    trained_on: Mapping[str, Sequence[str]] | None = None,
    sfreq: float | None = None,
    ch_names: Sequence[str] | None = None,
    positions: Any = None,
    random_state: RandomState = 0,
) -> pd.DataFrame:
    """Score classifiers on frozen test sets: the original one, and one copy changed by each operation.

    The copies depend on the seed and the operation's name alone, to the byte: matrices of several calls can be
    compared and subtracted.

    Parameters
    ----------
    models : fitted classifier | mapping | sequence
        By the names of the rows; see :func:`invariance_score` for what is taken. Without names they are those of their
        classes.
    X : array or tensor of shape (n_windows, n_channels, n_times) | mne.Epochs | dataset
        Test windows.
    y : array of shape (n_windows,) | None
        Their labels. None: those of the dataset.
    operations : str | sequence | mapping
        "time-frequency", "sensors" or "all" (those that mean something on the montage); a list of operations, each
        always applied, of tuples ``(operation, probability, magnitude)``, policies or functions; or a mapping from
        names of columns to these.
    magnitudes : float | mapping | None
        In [0, 1], one for all or by name. None: the strength of the fixed sleep policy, 0.5 for operations that it
        lacks.
    metric : {"balanced_accuracy", "accuracy", "kappa", "macro_f1"} | callable
        A function is called as ``metric(y, predicted)``.
    per_stage : bool
        The share of windows of each stage that are recognised, instead of `metric`; rows are model and stage.
    trained_on : mapping | None
        Names of the operations that each model has been trained with, columns or registered ones; adds a column "mean
        unseen" over those columns, without the original, that are none of them.
    sfreq, ch_names, positions
        What operations have to know and neither data nor models say.
    random_state : int | RandomState | Generator | None

    Returns
    -------
    pandas.DataFrame
        Rows are models, columns test sets. ``attrs`` has the ``seed``, the ``magnitudes`` and a ``checksums`` of each
        test set.

    Raises
    ------
    ValueError
        For labels, operations, policies or names that do not fit.

    References
    ----------
    Chen, Tian, Fan and Wang (2019), Augmentation invariant training, ICCV workshops, Table 5: the same for pictures.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.dummy import DummyClassifier
    >>> rng = np.random.default_rng(0)
    >>> X, y = rng.standard_normal((10, 2, 100)), np.arange(10) % 2
    >>> model = DummyClassifier().fit(X, y)
    >>> matrix = transfer_matrix({"dummy": model}, X, y, ["sign_flip", "gaussian_noise"])
    >>> matrix.loc["dummy"].to_dict()
    {'original': 0.5, 'sign_flip': 0.5, 'gaussian_noise': 0.5}
    """
    models = _named(models)
    windows = windows_array(X)
    y = labels_of(X) if y is None else y
    if y is None:
        raise ValueError("transfer_matrix requires y: the windows have no labels of their own.")
    y = check_labels(y, len(windows))
    if is_nights(X):  # windows that nobody scored
        windows, y = windows[y >= 0], y[y >= 0]
    score = _metric(metric)
    about = signal_for(X, models.values(), sfreq, ch_names) | {"positions": positions}
    changes = {
        change.name: change for change in as_changes(operations, magnitudes, n_channels=windows.shape[1], **about)
    }
    if ORIGINAL in changes:
        raise ValueError(f"an operation is called {ORIGINAL!r}, which is the name of the unchanged test set.")
    unseen = _unseen(trained_on, models, changes)
    seed, stages = resolve_seed(random_state), np.unique(y)
    columns: dict[str, list[float]] = {}
    checksums = {}
    for name in track((ORIGINAL, *changes), 1 + len(changes), "Test sets"):
        test = windows if name == ORIGINAL else changes[name](windows, seed)
        checksums[name] = f"{zlib.crc32(test):08x}"
        column: list[float] = []
        for model in models.values():
            predicted = labels_by(model, test)
            if per_stage:
                column += recall_score(y, predicted, labels=stages, average=None, zero_division=0.0).tolist()
            else:
                column.append(float(score(y, predicted)))
        columns[name] = column
        del test  # it makes room for the next one
    index = pd.Index(models, name="model")
    if per_stage:
        index = pd.MultiIndex.from_product([models, list(stages_in(X, y))], names=["model", "stage"])
    matrix = pd.DataFrame(columns, index=index)
    if unseen is not None:
        of_row = [unseen[row[0] if per_stage else row] for row in matrix.index]
        matrix[UNSEEN] = [matrix.iloc[i][names].mean() for i, names in enumerate(of_row)]
    matrix.attrs = {
        "seed": seed,
        "metric": "recall" if per_stage else getattr(metric, "__name__", metric),
        "magnitudes": {name: change.magnitude for name, change in changes.items()},
        "checksums": checksums,
    }
    return matrix


def _named(models: Any) -> dict[str, Any]:
    if isinstance(models, Mapping):
        found = {str(name): model for name, model in models.items()}
    else:
        listed = list(models) if isinstance(models, (list, tuple)) else [models]
        names = [type(model).__name__ for model in listed]
        found = {
            name if names.count(name) == 1 else f"{name} {names[: i + 1].count(name)}": model
            for i, (name, model) in enumerate(zip(names, listed, strict=True))
        }
    if not found:
        raise ValueError("models is empty: pass one fitted classifier or more.")
    return found


def _metric(metric: Any) -> Callable[[np.ndarray, np.ndarray], float]:
    if callable(metric):
        return metric
    if metric not in _METRICS:
        raise ValueError(f"metric is {metric!r}; use one of {', '.join(_METRICS)}, or a function.")
    return _METRICS[metric]


def _unseen(
    trained_on: Mapping[str, Sequence[str]] | None, models: Mapping[str, Any], changes: Mapping[str, Any]
) -> dict[str, list[str]] | None:
    if trained_on is None:
        return None
    seen = {str(name): [known] if isinstance(known, str) else list(known) for name, known in trained_on.items()}
    strange = [name for name in seen if name not in models]
    if strange:
        raise ValueError(f"trained_on names the model {strange[0]!r}, which is none of {', '.join(models)}.")
    missing = [name for name in models if name not in seen]
    if missing:
        raise ValueError(f"trained_on says nothing about {missing[0]!r}; pass [] for one that was not augmented.")
    # A model may have seen operations that are not tested here.
    operations = list(dict.fromkeys([*changes, *list_operations()]))
    for model, names in seen.items():
        strange = [name for name in names if name not in operations]
        if strange:
            known = ", ".join(operations)
            raise ValueError(f"trained_on of {model!r} names {strange[0]!r}, which is none of {known}.")
    return {name: [change for change in changes if change not in seen[name]] for name in models}
