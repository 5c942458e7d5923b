"""Whether methods differ, subject by subject."""

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
    "mean_difference",
    "median_difference",
    "better_in",
    "worse_in",
    "p",
    "p_holm",
)


#: Subjects up to whom p is counted out; of more the normal approximation is good.
_MOST_EXACT = 50


def compare_pairs(scores: Any, metric: str = "balanced_accuracy") -> Any:
    """Test each method against each other on the scores of the subjects that both were tested on.

    Folds of one comparison share training subjects, so that differences between folds say too little about other
    subjects; here each tested subject counts once: scores of several seeds are averaged (and of several folds, where
    folds given by hand test somebody twice). Subjects of one fold are staged by the same networks, which the test takes
    for independent: its p is somewhat too small.

    Parameters
    ----------
    scores : DataFrame
        One row per run and test subject, with columns method, subject and the metric.
    metric : str

    Returns
    -------
    DataFrame
        One row per pair: ``method``, ``other``, number of ``subjects``, ``mean_difference`` and ``median_difference``
        (method minus other), in how many subjects the method is ``better_in`` and ``worse_in``, ``p`` of the two-sided
        Wilcoxon signed-rank test (nan for fewer than two subjects; 1 where nobody differs) and ``p_holm``, corrected
        for the number of pairs.

    References
    ----------
    Wilcoxon (1945), Individual comparisons by ranking methods. Holm (1979), A simple sequentially rejective multiple
    test procedure.

    Examples
    --------
    >>> import pandas as pd
    >>> scores = pd.DataFrame({"method": ["none"] * 6 + ["augnet"] * 6, "subject": list("abcdef") * 2,
    ...                        "balanced_accuracy": [0.50, 0.52, 0.54, 0.5, 0.4, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6, 0.8]})
    >>> compare_pairs(scores)[["method", "other", "subjects", "p"]].values.tolist()
    [['none', 'augnet', 6, 0.03125]]
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
        # Rounded, so that differences that are equal but for arithmetic are tied.
        difference = np.round(of_runs.groupby("subject", sort=False).mean().to_numpy(dtype=float), 12)
        rows.append(
            {
                "method": method,
                "other": other,
                "subjects": len(difference),
                "mean_difference": difference.mean() if len(difference) else np.nan,
                "median_difference": np.median(difference) if len(difference) else np.nan,
                "better_in": int((difference > 0).sum()),
                "worse_in": int((difference < 0).sum()),
                "p": _signed_rank(difference),
            }
        )
    table = pd.DataFrame(rows, columns=list(_COLUMNS[:-1]))
    return table.assign(p_holm=holm(table["p"].to_numpy(dtype=float)))


def _signed_rank(difference: np.ndarray) -> float:
    """Two-sided p of the Wilcoxon signed-rank test; exact up to 50 subjects, also where ranks are tied."""
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
