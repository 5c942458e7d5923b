"""What a comparison found: the tidy table, its summary, one honest sentence, and the figures."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from eegaug.comparison.figures import comparison_figure, invariances_figure, save_figure
from eegaug.comparison.job import CURVE, INVARIANCES, ROW, SUBJECTS, checksum, read_error, read_row
from eegaug.comparison.plan import read_settings
from eegaug.comparison.sentence import in_one_sentence
from eegaug.comparison.statistics import compare_pairs
from eegaug.data.atomic import write_text

__all__ = ["Comparison", "load_comparison"]

SETTINGS, FOLDS, RESULTS, CURVES = "settings.json", "folds.json", "results.csv", "curves.csv"
SUBJECT_SCORES, PAIRS = "subjects.csv", "pairs.csv"
FIGURES = {"comparison": "comparison.png", "invariances": "invariances.png", "policies": "policies.png"}
#: Policies in the figure that is saved: those of all folds if they are no more, else of the first fold.
_MOST_POLICIES = 12
_AXES = ["method", "fold", "seed", "fraction"]


@dataclass(repr=False)
class Comparison:
    """Finished runs of a comparison.

    Attributes
    ----------
    table : DataFrame
        One row per finished run: method, fold, seed, fraction, test scores, validation score, costs, sizes, subjects,
        versions.
    curves : DataFrame
        One row per run and epoch: cumulated training seconds and passes, validation and test balanced accuracy.
    invariances : DataFrame
        What AugNet learned in each of its runs: layer, operation, weight, magnitude, strength, unit. Empty without one.
    failed : DataFrame
        Runs that failed, with their error.
    subjects : DataFrame
        One row per run and test subject: windows and scores of this subject by itself.
    policies : dict
        Method, fold, seed, fraction → the policy that the run trained with, of methods that have one.
    settings : dict
        What the runs have in common.
    truth : mapping or None
        Operation → planted strength in its unit, for simulated nights.
    out : Path
        The folder all of this was read from.
    labels : mapping
        Method → its name in words.
    files : dict
        What :meth:`save` has written, by name.
    warnings : list of str
        What the runs warned of, each once.
    """

    table: pd.DataFrame
    curves: pd.DataFrame
    invariances: pd.DataFrame
    failed: pd.DataFrame
    settings: Mapping[str, Any]
    out: Path
    truth: Mapping[str, float] | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    files: dict[str, Path] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    subjects: pd.DataFrame = field(default_factory=pd.DataFrame)
    policies: dict[tuple[str, int, int, float], Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        runs = f"{len(self.table)} runs, {len(self.failed)} failed" if len(self.failed) else f"{len(self.table)} runs"
        methods = ", ".join(self.table["method"].unique()) if len(self.table) else "no method"
        return f"<Comparison of {methods}: {runs}, in {self.out}>"

    @property
    def figures(self) -> dict[str, Path]:
        """The figures that are saved: ``comparison``, with AugNet ``invariances``, with a search ``policies``."""
        return {name: self.out / file for name, file in FIGURES.items() if (self.out / file).exists()}

    def summary(self, metric: str = "test_balanced_accuracy") -> pd.DataFrame:
        """Median and spread of each method over folds; seeds of one fold are averaged first.

        Parameters
        ----------
        metric : str
            A column of the table.

        Returns
        -------
        DataFrame
            One row per fraction and method: runs, folds, ``median``, ``mean``, ``sd`` over folds, median kappa and
            median training seconds; and against no augmentation, where that is there, mean ``gain``, its ``gain_sd``
            over the ``folds_paired`` in which both have a run of one seed, and in how many of these it is positive.
        """
        if metric not in self.table:
            raise ValueError(f"the table has no column {metric!r}")
        rows = []
        for fraction, part in self.table.groupby("fraction"):
            # Sorted: before pandas 3.1 unstack(sort=False) puts values beside the wrong folds and seeds.
            methods = part["method"].unique()
            folds = part.groupby(["method", "fold"])[metric].mean().unstack("method")[methods]
            paired = part.groupby(["method", "fold", "seed"])[metric].mean().unstack("method")[methods]
            for method in folds:
                runs = part[part["method"] == method]
                values = folds[method].dropna()
                row = {
                    "fraction": fraction,
                    "method": method,
                    "runs": len(runs),
                    "folds": len(values),
                    "median": values.median(),
                    "mean": values.mean(),
                    "sd": values.std(),
                    "kappa": runs.groupby("fold")["test_kappa"].mean().median(),
                    "train_seconds": runs["train_seconds"].median(),
                }
                if "none" in folds and method != "none":
                    gain = (paired[method] - paired["none"]).dropna().groupby("fold").mean()
                    row |= {"gain": gain.mean(), "gain_sd": gain.std()}
                    row |= {"folds_gained": int((gain > 0).sum()), "folds_paired": len(gain)}
                rows.append(row)
        return pd.DataFrame(rows)

    def pairs(self, metric: str = "balanced_accuracy", fraction: float | None = None) -> pd.DataFrame:
        """Methods against each other; see :func:`eegaug.comparison.statistics.compare_pairs`.

        Parameters
        ----------
        metric : str
            A column of ``subjects``.
        fraction : float, optional
            Of the training subjects, one that there are runs of. Default: the largest.

        Returns
        -------
        DataFrame
            One row per pair of methods; empty for a single method.
        """
        if not len(self.subjects):
            return compare_pairs(pd.DataFrame(columns=["method", "fold", "subject", metric]), metric)
        chosen = self.subjects["fraction"].max() if fraction is None else fraction
        if chosen not in (known := sorted(set(self.subjects["fraction"]))):
            raise ValueError(f"no run has fraction {fraction!r}; there are runs of {', '.join(map(str, known))}")
        return compare_pairs(self.subjects[self.subjects["fraction"] == chosen], metric)

    def pairs_by_fraction(self, metric: str = "balanced_accuracy") -> pd.DataFrame:
        """Methods against each other as :meth:`pairs` has them, at each fraction of the training subjects.

        Parameters
        ----------
        metric : str
            A column of ``subjects``.

        Returns
        -------
        DataFrame
            One row per fraction and pair of methods, with the ``fraction`` last; p-values are corrected for the pairs
            of one fraction.
        """
        fractions = sorted(set(self.subjects["fraction"])) if len(self.subjects) else [None]
        parts = [self.pairs(metric, fraction).assign(fraction=fraction) for fraction in fractions]
        # A fraction where only one method has finished has no pairs.
        return pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True)

    def sentence(self) -> str:
        """What it means, in one sentence that claims no more than the folds can carry."""
        return in_one_sentence(self)

    def plot(self, ax: Any = None, **options: Any) -> Any:
        """Test balanced accuracy against training time, see :func:`eegaug.plotting.plot_comparison`."""
        from eegaug.plotting import plot_comparison

        options.setdefault("labels", self.labels)
        return plot_comparison(_largest_fraction(self.curves), ax=ax, **options)

    def plot_scores(self, ax: Any = None, **options: Any) -> Any:
        """Final test scores fold by fold, see :func:`eegaug.plotting.plot_scores`."""
        from eegaug.plotting import plot_scores

        options.setdefault("labels", self.labels)
        return plot_scores(_largest_fraction(self.table), ax=ax, **options)

    def plot_invariances(self, ax: Any = None, method: str | None = None, **options: Any) -> Any:
        """What a method learned, over all of its runs, see :func:`eegaug.plotting.plot_invariances`.

        Parameters
        ----------
        ax : matplotlib Axes, optional
        method : str, optional
            Default: the first of those that learn ranges.
        **options
            Of :func:`eegaug.plotting.plot_invariances`.

        Returns
        -------
        matplotlib Axes
        """
        from eegaug.plotting import plot_invariances

        learned = self.learned()
        if not learned:
            raise ValueError("no run of AugNet has finished, so there is nothing learned to draw")
        method = next(iter(learned)) if method is None else method
        if method not in learned:
            raise ValueError(f"no run of {method!r} has learned ranges; there are runs of {', '.join(learned)}")
        return plot_invariances(learned[method], truth=self.truth, ax=ax, **options)

    def learned(self) -> dict[str, pd.DataFrame]:
        """Rows of `invariances` of the runs with the most training subjects, by method.

        Returns
        -------
        dict of DataFrame
            Empty if no method learns ranges.
        """
        if not len(self.invariances):
            return {}
        found = dict(list(_largest_fraction(self.invariances).groupby("method")))
        return {method: found[method] for method in sorted(found, key=[*self.labels, *found].index)}

    def plot_policies(self, fold: int | None = None, **options: Any) -> Any:
        """Policies that were searched, side by side, see :func:`eegaug.plotting.plot_policies`.

        Parameters
        ----------
        fold : int, optional
            Default: all folds.
        **options
            Of :func:`eegaug.plotting.plot_policies`.

        Returns
        -------
        matplotlib Figure
        """
        from eegaug.plotting import plot_policies

        found = {key: policy for key, policy in self._searched().items() if fold in (None, key[1])}
        if not found:
            raise ValueError("no run of a search has finished, so there is no learned policy to draw")
        seeds, fractions = ({key[place] for key in found} for place in (2, 3))
        titles = {}
        for key, policy in found.items():
            method, of, seed, fraction = key
            words = [f"{self.labels.get(method, method)}, fold {of}"]
            words += [f"seed {seed}"] if len(seeds) > 1 else []
            words += [f"{100 * fraction:.3g} % of the subjects"] if len(fractions) > 1 else []
            titles[", ".join(words)] = policy
        return plot_policies(titles, **options)

    def _searched(self) -> dict[tuple[str, int, int, float], Any]:
        """Policies of the methods that searched them."""
        searched = set(self.table.loc[self.table["steps"].notna(), "method"]) if "steps" in self.table else set()
        return {key: policy for key, policy in self.policies.items() if key[0] in searched and policy is not None}

    def save(self) -> dict[str, Path]:
        """Write results.csv, curves.csv, subjects.csv, pairs.csv and the figures into the comparison's folder.

        Returns
        -------
        dict
            What was written, by name.
        """
        written = {"table": self.out / RESULTS, "curves": self.out / CURVES}
        write_text(written["table"], self.table.to_csv(index=False))
        write_text(written["curves"], self.curves.to_csv(index=False))
        if len(self.subjects):
            written["subjects"] = self.out / SUBJECT_SCORES
            write_text(written["subjects"], self.subjects.to_csv(index=False))
        if self.table["method"].nunique() > 1 and len(self.subjects):
            written["pairs"] = self.out / PAIRS
            write_text(written["pairs"], self.pairs_by_fraction().to_csv(index=False))
        if len(self.table):
            written["comparison"] = save_figure(comparison_figure(self), self.out / FIGURES["comparison"])
        if len(self.invariances):
            written["invariances"] = save_figure(invariances_figure(self), self.out / FIGURES["invariances"])
        if searched := self._searched():
            figure = self.plot_policies(None if len(searched) <= _MOST_POLICIES else min(key[1] for key in searched))
            written["policies"] = save_figure(figure, self.out / FIGURES["policies"])
        self.files = written
        return written


def load_comparison(out: str | os.PathLike) -> Comparison:
    """Read a comparison from its folder, finished or not.

    Parameters
    ----------
    out : path

    Returns
    -------
    Comparison

    Raises
    ------
    FileNotFoundError
        If there is no comparison in the folder.
    ValueError
        If its settings cannot be read; the file is named.
    """
    out = Path(out)
    if not (out / SETTINGS).exists():
        raise FileNotFoundError(f"{out} holds no comparison: there is no {SETTINGS} in it")
    settings = read_settings(out / SETTINGS)
    rows, failed, curves, invariances, subjects = [], [], [], [], []
    policies = {}
    told: dict[str, None] = {}
    for folder in sorted((out / "runs").glob("*")):
        row = read_row(folder)
        if row is None and (folder / ROW).exists():
            told[f"{folder / ROW} is damaged: this run is left out."] = None
        if row is not None:
            rows.append({name: value for name, value in row.items() if name not in ("warnings", "checksums")})
            told.update(dict.fromkeys(row.get("warnings", ())))
            if row.get("policy") and (out / row["policy"]).exists():
                policies[tuple(row[axis] for axis in _AXES)] = _read_policy(out / row["policy"], told)
            for name, parts in ((CURVE, curves), (INVARIANCES, invariances), (SUBJECTS, subjects)):
                if (part := _read_part(folder / name, row, told)) is not None:
                    parts.append(part)
        elif (error := read_error(folder)) is not None:
            failed.append(error)
    found = [row["method"] for row in [*rows, *failed]]
    order = list(dict.fromkeys([*settings["methods"], *found]))
    return Comparison(
        table=_in_order(rows, order),
        curves=_in_order(curves, order),
        invariances=_in_order(invariances, order),
        failed=_in_order(failed, order),
        settings=settings,
        out=out,
        truth=settings["data"].get("truth"),
        labels=settings.get("labels", {}),
        warnings=list(told),
        subjects=_in_order(subjects, order),
        policies={
            key: policies[key] for key in sorted(policies, key=lambda key: (key[2:], key[1], order.index(key[0])))
        },
    )


def _read_part(path: Path, row: Mapping[str, Any], told: dict[str, None]) -> pd.DataFrame | None:
    """A table of a run; None where it has none, and, with a word about it, where it is not what the run has written."""
    own = row.get("checksums", {}).get(path.name)
    try:
        content = path.read_bytes()
        if own is not None and checksum(content) != own:
            raise ValueError("it was changed")
        # Subjects may be called "001" or "NA".
        part = pd.read_csv(io.BytesIO(content), dtype={"subject": str}, keep_default_na=False, na_values=[""])
    except (FileNotFoundError, ValueError) as error:
        if own is not None or not isinstance(error, FileNotFoundError):
            told[
                f"{path} is not what the run has written there: it is left out; delete {path.parent} to make it again."
            ] = None
        return None
    for place, axis in enumerate(_AXES):
        part.insert(place, axis, row[axis])
    return part


def _read_policy(path: Path, told: dict[str, None]) -> Any:
    """The policy of a run; None, and a word about it, where it cannot be read."""
    from eegaug.policy import load_policy

    try:
        return load_policy(path)
    except (ValueError, OSError) as error:
        told[f"{path}: {error}"] = None
        return None


def _in_order(parts: list[Any], methods: list[str]) -> pd.DataFrame:
    """One table of rows or of tables, by seed, fraction, fold and method in the order of the comparison."""
    if not parts:
        return pd.DataFrame(columns=_AXES)
    table = pd.DataFrame(parts) if isinstance(parts[0], dict) else pd.concat(parts, ignore_index=True)
    rank = table["method"].map({name: place for place, name in enumerate(methods)})
    keys = pd.DataFrame({"seed": table["seed"], "fraction": table["fraction"], "fold": table["fold"], "rank": rank})
    return table.loc[keys.sort_values(list(keys), kind="stable").index].reset_index(drop=True)


def _largest_fraction(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["fraction"] == table["fraction"].max()] if len(table) else table
