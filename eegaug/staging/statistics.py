"""Sleep statistics of a hypnogram: by YASA where it is installed, else here, with the same numbers."""

from __future__ import annotations

import warnings
from importlib.util import find_spec
from typing import Any

import numpy as np

from eegaug.data.stages import STAGES, UNSCORED

__all__ = ["STATISTICS", "sleep_statistics", "stage_transitions", "yasa_hypnogram"]

#: Name of each statistic → what it is, and its unit.
STATISTICS: dict[str, tuple[str, str]] = {
    "TIB": ("time in bed: lights off to on, or all", "min"),
    "TST": ("total sleep time", "min"),
    "SE": ("sleep efficiency: TST / TIB", "%"),
    "SOL": ("sleep onset latency", "min"),
    "SOL_5min": ("latency to 5 min of unbroken sleep", "min"),
    "Lat_N1": ("latency to N1, from the start", "min"),
    "Lat_N2": ("latency to N2, from the start", "min"),
    "Lat_N3": ("latency to N3, from the start", "min"),
    "Lat_REM": ("latency to REM, from the start", "min"),
    "SPT": ("sleep period: first to last sleep", "min"),
    "WASO": ("wake after sleep onset, within SPT", "min"),
    "SME": ("sleep maintenance efficiency: TST / SPT", "%"),
    "SFI": ("awakenings per hour of sleep", "1/h"),
    **{stage: (f"time in {stage}", "min") for stage in STAGES},
    **{f"%{stage}": (f"{stage}, of TST", "%") for stage in STAGES[1:]},
}
_YASA_NAMES = {0: "WAKE", 1: "N1", 2: "N2", 3: "N3", 4: "REM", UNSCORED: "UNS"}


def sleep_statistics(stages: Any, epoch_s: float = 30.0, engine: str = "auto") -> dict[str, float]:
    """Statistics of a night.

    Parameters
    ----------
    stages : array-like of int, shape (n_epochs,)
        Stage of each epoch as in :data:`eegaug.data.STAGES`, -1 for none, one epoch after the other.
    epoch_s : float
        Length of an epoch in seconds.
    engine : {"auto", "yasa", "eegaug"}
        Who computes: YASA, this package, or YASA where it is installed. The numbers are the same.

    Returns
    -------
    dict
        Names and units as in :data:`STATISTICS`. What does not exist (the latency of a stage that never came) is nan.
        Latencies count from the first epoch: they mean something if the recording begins with lights off.

    Raises
    ------
    ValueError
        If there is no epoch, or a number that is no stage.
    ImportError
        If YASA is asked for and not installed.

    References
    ----------
    Iber et al. (2007), The AASM manual for the scoring of sleep and associated events. Vallat and Walker (2021), An
    open-source, high-performance tool for automated sleep staging, eLife 10:e70092 (YASA).

    Examples
    --------
    >>> found = sleep_statistics([0, 0, 1, 2, 2, 0, 4, 4], engine="eegaug")
    >>> found["TST"], found["SOL"], found["WASO"], found["SE"]
    (2.5, 1.0, 0.5, 62.5)
    """
    stages = _checked(stages, epoch_s)
    if engine not in ("auto", "yasa", "eegaug"):
        raise ValueError(f"engine is {engine!r}; use 'auto', 'yasa' or 'eegaug'.")
    use_yasa = engine == "yasa" or (engine == "auto" and find_spec("yasa") is not None)
    found = _by_yasa(stages, epoch_s) if use_yasa else _by_ourselves(stages, epoch_s)
    for code, stage in enumerate(STAGES[1:], start=1):
        found[f"Lat_{stage}"] = _first(stages == code) * epoch_s / 60
    return {name: round(float(found[name]), 4) for name in STATISTICS}


def stage_transitions(stages: Any) -> Any:
    """How often each stage (rows) was followed by each stage (columns).

    Parameters
    ----------
    stages : array-like of int, shape (n_epochs,)
        As in :func:`sleep_statistics`; pairs with an epoch without stage do not count.

    Returns
    -------
    DataFrame of int

    Examples
    --------
    >>> int(stage_transitions([0, 0, 1, 2]).loc["W", "N1"])
    1
    """
    import pandas as pd

    stages = _checked(stages)
    known = (stages[:-1] >= 0) & (stages[1:] >= 0)
    counts = np.zeros((len(STAGES), len(STAGES)), dtype=int)
    np.add.at(counts, (stages[:-1][known], stages[1:][known]), 1)
    return pd.DataFrame(counts, index=pd.Index(STAGES, name="from"), columns=pd.Index(STAGES, name="to"))


def yasa_hypnogram(stages: Any, epoch_s: float = 30.0, probabilities: Any = None, **options: Any) -> Any:
    """A night as ``yasa.Hypnogram``.

    Parameters
    ----------
    stages, epoch_s
        As in :func:`sleep_statistics`.
    probabilities : DataFrame, optional
        Of the five stages, one row per epoch.
    **options
        Of ``yasa.Hypnogram``, such as ``start`` and ``scorer``.

    Raises
    ------
    ImportError
        If YASA is not installed.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            import yasa
        except ImportError as error:
            raise ImportError("this needs YASA: pip install 'eegaug[report]'") from error
    names = [_YASA_NAMES[int(code)] for code in stages]
    freq = f"{round(1000 * epoch_s)}ms"
    if probabilities is not None:
        probabilities = probabilities.rename(columns={"W": "WAKE"}).reset_index(drop=True)
    return yasa.Hypnogram(names, n_stages=5, freq=freq, proba=probabilities, **options)


def _checked(stages: Any, epoch_s: float = 30.0) -> np.ndarray:
    stages = np.asarray(stages)
    if stages.ndim != 1 or not len(stages):
        raise ValueError(f"stages must be a list of at least one epoch, got shape {stages.shape}.")
    if strange := sorted(set(np.unique(stages).tolist()) - set(_YASA_NAMES)):
        raise ValueError(f"stages hold {strange[0]!r}; they are 0 to 4, and -1 for none.")
    if not (np.isfinite(epoch_s) and epoch_s > 0):
        raise ValueError(f"epoch_s is {epoch_s}; it is a number of seconds above 0.")
    return stages.astype(np.int64)


def _first(mask: np.ndarray) -> float:
    return float(mask.argmax()) if mask.any() else float("nan")


def _by_yasa(stages: np.ndarray, epoch_s: float) -> dict[str, float]:
    with np.errstate(all="ignore"):
        found = dict(yasa_hypnogram(stages, epoch_s).sleep_statistics())
    found["W"] = found.pop("WAKE")
    return found


def _by_ourselves(stages: np.ndarray, epoch_s: float) -> dict[str, float]:
    minutes, asleep, nan = epoch_s / 60, stages > 0, float("nan")
    found = {name: nan for name in STATISTICS}
    found |= {"TIB": len(stages) * minutes, "TST": asleep.sum() * minutes, "SPT": 0.0}
    found |= {stage: (stages == code).sum() * minutes for code, stage in enumerate(STAGES)}
    found["SE"] = 100 * found["TST"] / found["TIB"]
    if not asleep.any():
        return found
    first, last = np.flatnonzero(asleep)[[0, -1]]
    found["SPT"] = (last + 1 - first) * minutes
    found["WASO"] = (stages[first:last] == 0).sum() * minutes
    found["SME"] = 100 * found["TST"] / found["SPT"]
    found["SFI"] = (asleep[:-1] & (stages[1:] == 0)).sum() / (found["TST"] / 60)
    found["SOL"] = first * minutes
    edges = np.flatnonzero(np.diff(np.concatenate([[0], asleep.astype(int), [0]])))
    long = edges[1::2] - edges[::2] >= np.ceil(5 / minutes - 1e-9)
    found["SOL_5min"] = edges[::2][long][0] * minutes if long.any() else nan
    return found | {f"%{stage}": 100 * found[stage] / found["TST"] for stage in STAGES[1:]}
