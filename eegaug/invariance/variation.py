"""How far apart the variants of a window are for a classifier, beside how far apart different windows are."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch

from eegaug._inputs import check_labels, labels_of
from eegaug._progress import track
from eegaug._random import RandomState, derive_seed, resolve_seed
from eegaug.consistency.loss import symmetric_kl
from eegaug.invariance._outputs import features_of, signal_for, stages_in, windows_array
from eegaug.invariance.frozen import as_changes
from eegaug.invariance.score import _derangement
from eegaug.invariance.transfer import ORIGINAL

__all__ = ["intra_augmentation_variation"]

_PARTNERS = (1 << 21) + 1


def intra_augmentation_variation(
    model: Any,
    X: Any,
    operations: Any = "all",
    *,
    y: Any = None,
    magnitudes: float | Mapping[str, float] | None = None,
    layer: str | None = None,
    pairs: str = "original",
    sfreq: float | None = None,
    ch_names: Sequence[str] | None = None,
    positions: Any = None,
    random_state: RandomState = 0,
) -> pd.DataFrame:
    """Compare what a classifier makes of the same windows in two forms.

    Parameters
    ----------
    model : fitted classifier | torch.nn.Module
        See :func:`invariance_score`.
    X : array or tensor of shape (n_windows, n_channels, n_times) | mne.Epochs | dataset
    operations, magnitudes
        See :func:`transfer_matrix`; the windows are changed exactly as they are there.
    y : array of shape (n_windows,) | None
        Labels, for rows by stage. None: those of the dataset.
    layer : str | None
        Name of the layer whose output is taken for the features. None: what ``final_layer`` reads; the logits of a
        network without one, log-probabilities of other classifiers.
    pairs : {"original", "all"}
        The original with each changed form, or every form with every other.
    sfreq, ch_names, positions
        What operations have to know and neither data nor model say.
    random_state : int | RandomState | Generator | None

    Returns
    -------
    pandas.DataFrame
        One row for each pair of forms ``first`` and ``second`` and each ``stage`` ("all", and each label), as means
        over windows: ``kl``, the symmetric Kullback-Leibler divergence of the predictions; ``distance``, the Euclidean
        distance of the features; ``between``, that of the features of one window and of another window in the other
        form; ``ratio``, distance over between, near 0 for features that hardly notice the change, NaN where all
        windows have the same features.

    References
    ----------
    Chen, Tian, Fan and Wang (2019), Augmentation invariant training, ICCV workshops: divergences and distances. The
    ratio does not depend on the scale of the features.

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(200, 5))
    >>> X = np.random.default_rng(0).standard_normal((20, 2, 100))
    >>> table = intra_augmentation_variation(net, X, {"none": lambda X: X, "noise": ("gaussian_noise", 1.0, 0.5)})
    >>> table["ratio"].round(1).tolist()
    [0.0, 0.1]
    """
    if pairs not in ("original", "all"):
        raise ValueError(f"pairs is {pairs!r}; use 'original' or 'all'.")
    windows = windows_array(X)
    y = labels_of(X) if y is None else y
    groups: dict[Any, np.ndarray] = {"all": np.ones(len(windows), dtype=bool)}
    if y is not None:
        y = check_labels(y, len(windows))
        groups |= {name: y == label for name, label in stages_in(X, y).items()}
    about = signal_for(X, [model], sfreq, ch_names) | {"positions": positions}
    changes = as_changes(operations, magnitudes, n_channels=windows.shape[1], **about)
    seed = resolve_seed(random_state)
    partner = _derangement(len(windows), np.random.default_rng(derive_seed(seed, _PARTNERS)))
    forms = {ORIGINAL: features_of(model, windows, layer)}
    rows: list[dict[str, Any]] = []
    for change in track(changes, len(changes), "Variation"):
        if change.name == ORIGINAL:
            raise ValueError(f"an operation is called {ORIGINAL!r}, which is the name of the unchanged windows.")
        found = features_of(model, change(windows, seed), layer)
        if pairs == "original":
            rows += _compare(ORIGINAL, forms[ORIGINAL], change.name, found, partner, groups)
        else:
            forms[change.name] = found
    if pairs == "all":
        for first, second in itertools.combinations(forms, 2):
            rows += _compare(first, forms[first], second, forms[second], partner, groups)
    return pd.DataFrame(rows)


Form = tuple[np.ndarray, np.ndarray]


def _compare(
    first: str, one: Form, second: str, other: Form, partner: np.ndarray, groups: Mapping[Any, np.ndarray]
) -> list[dict[str, Any]]:
    kl = symmetric_kl(torch.from_numpy(one[0]), torch.from_numpy(other[0])).numpy()
    within = np.linalg.norm(one[1] - other[1], axis=1)
    between = np.linalg.norm(one[1] - other[1][partner], axis=1)
    rows = []
    for stage, part in groups.items():
        far, near = float(between[part].mean()), float(within[part].mean())
        row = {"first": first, "second": second, "stage": stage, "kl": float(kl[part].mean())}
        row |= {"distance": near, "between": far, "ratio": near / far if far > 0 else float("nan")}
        rows.append(row | {"n_windows": int(part.sum())})
    return rows
