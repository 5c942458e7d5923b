"""How often tests between methods tell a method from itself: its trainings with one seed beside those with another.

Reads the scores of each subject that ``benchmarks.nights`` has written; nothing is trained.
"""

from __future__ import annotations

from itertools import combinations

import pandas as pd

from benchmarks._timing import RESULTS, write
from eegaug.comparison import compare_pairs


def table() -> pd.DataFrame:
    """One row per benchmark: pairs of seeds of a method and fraction, and how many p are below 0.05."""
    rows = []
    for path in sorted(RESULTS.glob("nights-*-subjects.csv")):
        scores = pd.read_csv(path, dtype={"subject": str})
        if "seed" not in scores:  # the table of a benchmark whose name ends in "subjects"
            continue
        tests = [
            compare_pairs(both.assign(method=both["seed"], seed=0)).iloc[0]
            for _, part in scores.groupby(["fraction", "method"])
            for pair in combinations(sorted(set(part["seed"])), 2)
            for both in [part[part["seed"].isin(pair)]]
        ]
        if tests:
            by = pd.DataFrame(tests)
            rows.append(
                {
                    "benchmark": path.stem.removesuffix("-subjects"),
                    "subjects": f"{by['subjects'].max():g}",
                    "folds": f"{by['trainings'].max():g}",
                    "pairs of seeds": len(by),
                    **{f"p below 0.05 {where}": int((by[name] < 0.05).sum()) for where, name in _TESTS.items()},
                }
            )
    found = pd.DataFrame(rows)
    total = {name: found[name].sum() for name in found if name not in ("benchmark", "subjects", "folds")}
    return pd.concat([found, pd.DataFrame([{"benchmark": "all", "subjects": "", "folds": "", **total}])])


_TESTS = {"over subjects": "p_subjects", "over trainings": "p_trainings", "over both": "p"}

if __name__ == "__main__":
    print(write("same-method", table(), "Seeds of one method, tested as if they were two methods.").read_text())
