"""Whether methods differ by more than subjects and trainings do."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np

__all__ = ["compare_pairs", "holm"]

_COLUMNS = (
    "method",
    "other",
    "subjects",
    "trainings",
    "mean_difference",
    "median_difference",
    "better_in",
    "worse_in",
    "p_subjects",
    "p_trainings",
    "p",
    "p_holm",
)


#: Differences up to which p is counted out; of more the normal approximation is good.
_MOST_EXACT = 50


def compare_pairs(scores: Any, metric: str = "balanced_accuracy") -> Any:
    """Test each method against each other on the scores of the subjects that both were tested on.

    A difference has to be larger than two kinds of chance. *Whom it was tested on*: each tested subject counts once,
    with its scores of several seeds averaged (and of several folds, where folds given by hand test somebody twice).
    *How the training happened to go*: one more training of the same method gives other scores, to all subjects of a
    fold alike, so that subjects by themselves take the luck of a few trainings for the worth of a method; here each
    fold and seed counts once, with the mean over its subjects. ``p`` is the larger of the two. With few trainings it
    cannot be small: with n of them it is 2 / 2ⁿ at least, so that it takes six, by folds or seeds, to get below 0.05.

    Parameters
    ----------
    scores : DataFrame
        One row per run and test subject, with columns method, fold, seed, subject and the metric. Without a column
        fold nothing is known of trainings, and ``p`` is that over subjects alone.
    metric : str

    Returns
    -------
    DataFrame
        One row per pair: ``method``, ``other``, number of ``subjects`` and of ``trainings`` (folds and seeds) that both
        have, ``mean_difference`` and ``median_difference`` over subjects (method minus other), in how many subjects the
        method is ``better_in`` and ``worse_in``, ``p_subjects`` and ``p_trainings`` of two-sided Wilcoxon signed-rank
        tests (nan for fewer than two; 1 where nothing differs), ``p``, the larger, and ``p_holm``, corrected for the
        number of pairs.

    References
    ----------
    Wilcoxon (1945), Individual comparisons by ranking methods. Holm (1979), A simple sequentially rejective multiple
    test procedure.

    Examples
    --------
    >>> import pandas as pd
    >>> scores = pd.DataFrame({"method": ["none"] * 6 + ["augnet"] * 6, "fold": [0, 0, 1, 1, 2, 2] * 2, "seed": 0,
    ...                        "subject": list("abcdef") * 2,
    ...                        "balanced_accuracy": [0.50, 0.52, 0.54, 0.5, 0.4, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6, 0.8]})
    >>> compare_pairs(scores)[["subjects", "trainings", "p_subjects", "p_trainings", "p"]].values.tolist()
    [[6.0, 3.0, 0.03125, 0.25, 0.25]]
    """
    import pandas as pd

    if metric not in scores:
        raise ValueError(f"the scores have no column {metric!r}")
    # Only runs that both have count: one more seed of one of them would compare other trainings, not methods.
    axes = ["subject", *(axis for axis in ("fold", "seed") if axis in scores)]
    runs = scores.groupby([*axes, "method"], sort=False)[metric].mean().unstack("method")
    rows = []
    for method, other in combinations(dict.fromkeys(scores["method"]), 2):
        of_runs = (runs[method] - runs[other]).dropna()
        difference = _means(of_runs, ["subject"])
        of_trainings = _means(of_runs, axes[1:]) if "fold" in scores else np.array([])
        p_subjects, p_trainings = _signed_rank(difference), _signed_rank(of_trainings)
        rows.append(
            {
                "method": method,
                "other": other,
                "subjects": len(difference),
                "trainings": len(of_trainings),
                "mean_difference": difference.mean() if len(difference) else np.nan,
                "median_difference": np.median(difference) if len(difference) else np.nan,
                "better_in": int((difference > 0).sum()),
                "worse_in": int((difference < 0).sum()),
                "p_subjects": p_subjects,
                "p_trainings": p_trainings,
                "p": np.maximum(p_subjects, p_trainings) if "fold" in scores else p_subjects,
            }
        )
    table = pd.DataFrame(rows, columns=list(_COLUMNS[:-1]))
    return table.assign(p_holm=holm(table["p"].to_numpy(dtype=float)))


def _means(differences: Any, axes: list[str]) -> np.ndarray:
    """Mean difference of each subject or training; rounded, so that what is equal but for arithmetic is tied."""
    return np.round(differences.groupby(axes, sort=False).mean().to_numpy(dtype=float), 12)


def _signed_rank(difference: np.ndarray) -> float:
    """Two-sided p of the Wilcoxon signed-rank test; exact up to 50 differences, also where ranks are tied."""
    from scipy.stats import rankdata, wilcoxon

    if len(difference) < 2:
        return float("nan")
    if not difference.any():
        return 1.0
    changed = difference[difference != 0]
    if len(changed) > _MOST_EXACT:
        return float(wilcoxon(changed).pvalue)
    # How many of all choices of signs lead to each sum of ranks. scipy's own exact test knows no ties, and what it
    # takes in their place is far off where p is small: one tie among 45 subjects makes it several times as large.
    ranks = np.rint(2 * rankdata(np.abs(changed))).astype(int)  # twice, since tied ranks may be halves
    ways = np.ones(1)
    for rank in ranks:
        ways = np.append(ways, np.zeros(rank)) + np.append(np.zeros(rank), ways)
    at = int(ranks[changed > 0].sum())
    return float(min(1.0, 2 * min(ways[: at + 1].sum(), ways[at:].sum()) / ways.sum()))


def holm(p: Sequence[float] | np.ndarray) -> np.ndarray:
    """P-values corrected for their number by Holm's step-down procedure.

    Parameters
    ----------
    p : sequence of float, (n,)
        nan stays nan and does not count.

    Returns
    -------
    ndarray, (n,)

    Examples
    --------
    >>> holm([0.01, 0.04, 0.03]).tolist()
    [0.03, 0.06, 0.06]
    """
    p = np.asarray(p, dtype=float)
    corrected = np.full(p.shape, np.nan)
    known = np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known], kind="stable")]
    factors = len(order) - np.arange(len(order))
    corrected[order] = np.minimum(np.maximum.accumulate(p[order] * factors), 1.0)
    return corrected
