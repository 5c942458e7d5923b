"""What an experiment consists of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

__all__ = ["Experiment", "Settings", "mean_and_sd"]


@dataclass(frozen=True)
class Settings:
    """What whoever runs an experiment can choose; an experiment's plan follows from it.

    Parameters
    ----------
    quick : bool
        A small plan that shows whether all works, at most two minutes on two cores.
    seeds : int | None
        How many seeds. None: the experiment's own number.
    data : str
        Nights, for experiments that need them: ``"simulated"``, ``"sleep-edf"``, ``"mass"`` or a folder.
    root : str | None
        Folder of a source that needs one.
    data_args : mapping
        Further arguments of the source. For nights that are recordings ``n_subjects`` and ``n_windows`` take a part of
        them: the first subjects, and so many windows of each night.
    device : str
        Where networks are trained, of experiments that need nights.

    Examples
    --------
    >>> Settings(quick=True).seed_list(full=10, quick=2), Settings(seeds=3).seed_list(full=10, quick=2)
    ([0, 1], [0, 1, 2])
    """

    quick: bool = False
    seeds: int | None = None
    data: str = "simulated"
    root: str | None = None
    data_args: Mapping[str, Any] = field(default_factory=dict)
    device: str = "cpu"

    def __post_init__(self) -> None:
        if self.seeds is not None and (isinstance(self.seeds, bool) or int(self.seeds) != self.seeds or self.seeds < 1):
            raise ValueError(f"seeds is {self.seeds!r}; it is a number of seeds, 1 or more.")

    def seed_list(self, full: int, quick: int) -> list[int]:
        """The seeds: as many as were asked for, or else the experiment's own number."""
        own = quick if self.quick else full
        return list(range(own if self.seeds is None else self.seeds))

    def nights(self) -> dict[str, Any]:
        """Where nights come from, as part of a run: arguments of ``eegaug.comparison.sources.get_nights``."""
        return {"data": str(self.data), "root": self.root, "data_args": dict(self.data_args)}


@dataclass(frozen=True)
class Experiment:
    """A published experiment: runs, and what is made of their results.

    Parameters
    ----------
    name : str
    title : str
        One line: what is looked at, and where it was published.
    plan : callable
        ``plan(settings)``: a list of dicts of plain data (what JSON can hold), one for each run.
    run : callable
        ``run(**entry)`` of an entry of the plan; a function of a module, since it is called in other processes.
        Gives a row (a dict of plain data), a list of rows, or a dict that names several tables:
        ``{"runs": [row, …], "epochs": [row, …]}``. The entry's own numbers, words and truth values are put before
        each row, where the row has no column of that name.
    table : callable
        ``table(tables)``: a DataFrame to print, with the paper's numbers in columns that say so. ``tables`` maps the
        names of tables to DataFrames; a run that gives rows without a name gives ``"runs"``.
    figure : callable
        ``figure(tables)``: a matplotlib Figure, laid out like the paper's.
    note : str
        What the table shows, and why it differs from the paper.
    version : int
        Raised when runs change: results of an older version are not taken up again.
    """

    name: str
    title: str
    plan: Callable[[Settings], list[dict[str, Any]]]
    run: Callable[..., Any]
    table: Callable[[dict[str, pd.DataFrame]], pd.DataFrame]
    figure: Callable[[dict[str, pd.DataFrame]], Figure]
    note: str = ""
    version: int = 1


def mean_and_sd(values: pd.Series, sign: bool = False) -> str:
    """Mean ± standard deviation over seeds; the mean alone of a single one, nothing of none.

    Examples
    --------
    >>> import pandas as pd
    >>> mean_and_sd(pd.Series([0.5, 0.7])), mean_and_sd(pd.Series([0.1]), sign=True)
    ('0.600 ± 0.141', '+0.100')
    """
    if not len(values):
        return ""
    mean = f"{values.mean():+.3f}" if sign else f"{values.mean():.3f}"
    return mean if len(values) < 2 else f"{mean} ± {values.std():.3f}"
