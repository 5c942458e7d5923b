"""How little a classifier's answer changes under an operation, measured by how much it differs between windows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from eegaug._inputs import check_labels, count_windows, labels_of
from eegaug._progress import track
from eegaug._random import RandomState, derive_seed, resolve_seed
from eegaug._validation import check_number
from eegaug.invariance._outputs import outputs_of, signal_for, stages_in, windows_array
from eegaug.invariance.frozen import Change, as_change, as_changes

__all__ = ["InvarianceScore", "invariance_score", "invariance_table", "tolerated_magnitudes"]

# Windows whose answer is nearly that of their partner tell nothing: their score would be a difference over nothing.
_LEAST_DIFFERENCE = 1e-6
_PAPER_EPS = 1e-8
_PARTNERS = 1 << 21


@dataclass(frozen=True)
class InvarianceScore:
    """Invariance of a classifier to one operation.

    ``float(score)`` is the median.

    Parameters
    ----------
    median, low, high : float
        Median and quartiles over windows: 1 for invariance, 0 where the operation changes answers as much as another
        window does, below 0 where it changes them more. NaN for a model that says the same about all windows, in every
        mode.
    dropped : float
        Share of windows that were left out, as the model says the same about them and their partner.
    values : array of shape (n_windows,)
        Of each window; NaN for those left out.
    by_stage : pandas.DataFrame | None
        ``median``, ``low``, ``high``, ``dropped`` and ``n_windows`` for each label, where labels are known.
    """

    median: float
    low: float
    high: float
    dropped: float
    values: np.ndarray = field(repr=False)
    by_stage: pd.DataFrame | None = field(default=None, repr=False)

    def __float__(self) -> float:
        return self.median


def invariance_score(
    model: Any,
    X: Any,
    operation: Any,
    magnitude: float | None = None,
    *,
    y: Any = None,
    mode: str = "centred",
    n_draws: int = 1,
    batch_size: int = 32,
    sfreq: float | None = None,
    ch_names: Sequence[str] | None = None,
    positions: Any = None,
    random_state: RandomState = 0,
) -> InvarianceScore:
    r"""Measure how invariant a classifier is to an operation.

    With :math:`d(a, b) = 1 - \cos(a, b)` between the model's answers :math:`h`, the score of a window is

    .. math:: \mathrm{Inv}_i = \frac{b_i - d(h(x_i), h(T x_i))}{b_i}, \qquad b_i = d(h(x_i), h(x_{\pi(i)}))

    where :math:`\pi` gives every window another one as its partner.

    Parameters
    ----------
    model : fitted classifier | torch.nn.Module
        An estimator of eegaug, braindecode, skorch or scikit-learn, or a network that gives logits. Of networks, logits
        are compared; of others, logarithms of ``predict_proba``, not taken for less than log(1e-6). Estimators of
        scikit-learn that were fitted on rows get windows as rows.
    X : array or tensor of shape (n_windows, n_channels, n_times) | mne.Epochs | dataset
        Windows, two at least.
    operation : str | Operation | tuple | Policy | callable
        :math:`T`: an operation, always applied; ``(operation, probability, magnitude)``; a policy; or a function of a
        batch (n, channels, times) of tensors.
    magnitude : float | None
        In [0, 1]. None: the strength of the fixed sleep policy, 0.5 for operations that it lacks.
    y : array of shape (n_windows,) | None
        Labels, for :attr:`InvarianceScore.by_stage`. None: those of the dataset.
    mode : {"centred", "paper"}
        "centred": answers are centred over the classes, so that logits and log-probabilities give the same; partners
        come from all windows and are never the window itself; windows with :math:`b_i < 10^{-6}` are left out. "paper":
        answers as they are, partners by a random permutation of each batch, in which some windows are their own partner
        and score about :math:`-d / 10^{-8}`; no window is left out.
    n_draws : int
        Draws of the operation's randomness, whose :math:`d` is averaged.
    batch_size : int
        Of the permutations of "paper".
    sfreq, ch_names, positions
        What the operation has to know and neither data nor model say.
    random_state : int | RandomState | Generator | None
        Seed of the operation's draws and of the partners.

    Returns
    -------
    InvarianceScore

    Raises
    ------
    ValueError
        For an unknown mode or operation, a policy that is for other channels or another sampling rate, or a single
        window.
    TypeError
        For a model without ``predict_proba``.

    References
    ----------
    Rommel, Moreau and Gramfort (2022), Deep invariant networks with differentiable augmentation layers,
    NeurIPS, section 4.3. "paper" is its published code.

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> class Power(torch.nn.Module):
    ...     def forward(self, X):
    ...         return X.square().mean(2)
    >>> X = np.random.default_rng(0).standard_normal((20, 3, 100))
    >>> float(invariance_score(Power(), X, "sign_flip"))
    1.0
    """
    about = signal_for(X, [model], sfreq, ch_names) | {"positions": positions}
    windows, labels = windows_array(X), _labels(X, y)
    change = as_change(operation, magnitude, n_channels=windows.shape[1], **about)
    reference = _Reference(model, windows, resolve_seed(random_state), mode, batch_size)
    values = reference.values(change, n_draws)
    median, low, high, dropped = _summary(values)
    by_stage = None
    if labels is not None:
        rows = {name: _stage_row(values[labels == label]) for name, label in stages_in(X, labels).items()}
        by_stage = pd.DataFrame.from_dict(rows, orient="index").rename_axis("stage")
    return InvarianceScore(median, low, high, dropped, values, by_stage)


def invariance_table(
    model: Any,
    X: Any,
    operations: Any = "all",
    magnitudes: Iterable[float] = (0.1, 0.25, 0.5, 0.75, 1.0),
    *,
    y: Any = None,
    mode: str = "centred",
    n_draws: int = 1,
    sfreq: float | None = None,
    ch_names: Sequence[str] | None = None,
    positions: Any = None,
    random_state: RandomState = 0,
) -> pd.DataFrame:
    """Invariance to several operations at several strengths, for all windows and for each stage.

    Parameters
    ----------
    model, X, y, mode, n_draws, sfreq, ch_names, positions, random_state
        As for :func:`invariance_score`.
    operations : str | sequence | mapping
        "time-frequency", "sensors" or "all" (those that mean something on the montage), a list, or a mapping from names
        to operations.
    magnitudes : iterable of float
        In [0, 1]; operations without a magnitude are applied once.

    Returns
    -------
    pandas.DataFrame
        ``operation``, ``magnitude``, ``strength`` in ``unit``, ``stage`` ("all", and each label), ``median``, ``low``,
        ``high``, ``dropped``, ``n_windows``.

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(200, 5))
    >>> X = np.random.default_rng(0).standard_normal((20, 2, 100))
    >>> table = invariance_table(net, X, ["gaussian_noise", "sign_flip"], [0.5, 1.0])
    >>> table[["operation", "magnitude", "strength"]].values.tolist()
    [['gaussian_noise', 0.5, 0.1], ['gaussian_noise', 1.0, 0.2], ['sign_flip', nan, nan]]
    """
    about = signal_for(X, [model], sfreq, ch_names) | {"positions": positions}
    windows, labels = windows_array(X), _labels(X, y)
    about["n_channels"] = windows.shape[1]
    found = as_changes(operations, **about)
    reference = _Reference(model, windows, resolve_seed(random_state), mode)
    magnitudes, todo, rows = [float(m) for m in magnitudes], [], []
    for one in found:
        scaled = one.operation is not None and one.operation.has_magnitude
        for magnitude in magnitudes if scaled else [None]:
            change = as_change((one.operation, one.probability), magnitude, one.name, **about) if scaled else one
            todo.append((one.name, magnitude, change))
    for name, magnitude, change in track(todo, len(todo), "Invariance"):
        values = reference.values(change, n_draws)
        known = {
            "operation": name,
            "magnitude": np.nan if magnitude is None else magnitude,
            "strength": change.strength,
            "unit": change.unit,
        }
        groups: dict[Any, np.ndarray] = {"all": values}
        if labels is not None:
            groups |= {name: values[labels == label] for name, label in stages_in(X, labels).items()}
        rows += [known | {"stage": stage} | _stage_row(part) for stage, part in groups.items()]
    return pd.DataFrame(rows)


def tolerated_magnitudes(table: pd.DataFrame, least: float = 0.9) -> pd.DataFrame:
    """The strongest magnitude that a classifier tolerates, by stage and operation.

    Parameters
    ----------
    table : pandas.DataFrame
        From :func:`invariance_table`.
    least : float
        Median invariance that counts as tolerating, in [0, 1].

    Returns
    -------
    pandas.DataFrame
        Rows are stages, columns operations: the largest of the magnitudes that were tried up to which the median
        stays at `least` or above, 0 where it never does. Operations without a magnitude have 1 or 0. NaN where the
        invariance is not known.

    Examples
    --------
    >>> import pandas as pd
    >>> rows = [("noise", 0.5, "all", 0.95), ("noise", 1.0, "all", 0.6), ("noise", 0.5, "N3", 0.99),
    ...         ("noise", 1.0, "N3", 0.97)]
    >>> table = pd.DataFrame(rows, columns=["operation", "magnitude", "stage", "median"])
    >>> tolerated_magnitudes(table)["noise"].to_dict()
    {'all': 0.5, 'N3': 1.0}
    """
    check_number("least", least, lambda share: 0 <= share <= 1, "it lies in [0, 1]")
    found: dict[str, dict[Any, float]] = {}
    for (operation, stage), part in table.groupby(["operation", "stage"], sort=False):
        part = part.sort_values("magnitude")
        magnitudes = part["magnitude"].fillna(1.0).to_numpy()
        medians = part["median"].to_numpy()
        if np.isnan(medians).any():
            value = np.nan
        else:
            bearable = np.cumprod(medians >= least).sum()
            value = float(magnitudes[bearable - 1]) if bearable else 0.0
        found.setdefault(operation, {})[stage] = value
    stages = list(dict.fromkeys(table["stage"]))
    return pd.DataFrame(found, index=stages).rename_axis(index="stage", columns="operation")


class _Reference:
    """A model's answers to windows as they are, and what they are compared with."""

    def __init__(self, model: Any, X: np.ndarray, seed: int, mode: str, batch_size: int = 32):
        if mode not in ("centred", "paper"):
            raise ValueError(f"mode is {mode!r}; use 'centred' or 'paper'.")
        self.model, self.X, self.seed, self.mode = model, X, seed, mode
        self.outputs = outputs_of(model, X)
        self.scale = float(np.abs(self.outputs).max())
        rng = np.random.default_rng(derive_seed(seed, _PARTNERS))
        partners = _derangement(len(X), rng) if mode == "centred" else _permutations(len(X), batch_size, rng)
        self.between = self.distance(self.outputs[partners])

    def distance(self, other: np.ndarray) -> np.ndarray:
        """One minus the cosine between the answers to each window and others."""
        first, second = self.outputs, other
        if self.mode == "centred":
            first, second = (z - z.mean(1, keepdims=True) for z in (first, second))
        norms = np.linalg.norm(first, axis=1), np.linalg.norm(second, axis=1)
        # An answer that is nothing has no direction: two of them are alike, and one is like no other.
        nothing = [norm <= 1e-6 * self.scale for norm in norms]
        product = np.einsum("nk,nk->n", first, second)
        cosine = np.divide(product, norms[0] * norms[1], out=np.zeros(len(first)), where=~(nothing[0] | nothing[1]))
        cosine[nothing[0] & nothing[1]] = 1.0
        return 1.0 - np.clip(cosine, -1.0, 1.0)

    def values(self, change: Change, n_draws: int) -> np.ndarray:
        """The score of each window."""
        if n_draws < 1:
            raise ValueError(f"n_draws is {n_draws}; it is 1 or more.")
        within = np.zeros(len(self.X))
        for draw in range(n_draws):
            within += self.distance(outputs_of(self.model, change(self.X, self.seed, draw))) / n_draws
        if self.mode == "paper":
            if np.ptp(self.outputs, axis=0).max() <= _LEAST_DIFFERENCE * self.scale:  # the published code has 0 here
                return np.full(len(self.X), np.nan)
            return (self.between - within) / (self.between + _PAPER_EPS)
        usable = self.between >= _LEAST_DIFFERENCE
        out = np.full(len(self.X), np.nan)
        return np.divide(self.between - within, self.between, out=out, where=usable)


def _derangement(n: int, rng: np.random.Generator) -> np.ndarray:
    """For each of `n` another one: a random cyclic shift of a random order."""
    order = rng.permutation(n)
    partner = np.empty(n, dtype=np.int64)
    partner[order] = np.roll(order, int(rng.integers(1, n)))
    return partner


def _permutations(n: int, batch_size: int, rng: np.random.Generator) -> np.ndarray:
    parts = [start + rng.permutation(min(batch_size, n - start)) for start in range(0, n, batch_size)]
    return np.concatenate(parts)


def _summary(values: np.ndarray) -> tuple[float, float, float, float]:
    known = values[~np.isnan(values)]
    dropped = 1.0 - len(known) / len(values) if len(values) else float("nan")
    if not len(known):
        return float("nan"), float("nan"), float("nan"), dropped
    low, median, high = np.quantile(known, [0.25, 0.5, 0.75])
    return float(median), float(low), float(high), dropped


def _stage_row(values: np.ndarray) -> dict[str, float]:
    median, low, high, dropped = _summary(values)
    return {"median": median, "low": low, "high": high, "dropped": dropped, "n_windows": len(values)}


def _labels(X: Any, y: Any) -> np.ndarray | None:
    y = labels_of(X) if y is None else y
    return None if y is None else check_labels(y, count_windows(X))
