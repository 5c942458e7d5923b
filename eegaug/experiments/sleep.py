"""What experiments on nights share: whose nights train and test, and how networks are trained."""

from __future__ import annotations

from typing import Any

import numpy as np

from eegaug.comparison.sources import EMBEDDED, default_for, get_nights
from eegaug.data import NightDataset, Nights, subject_folds
from eegaug.experiments.base import Settings

__all__ = ["SOURCE", "epochs", "night_plan", "scores", "train_and_test", "training_settings"]

#: Said with every result.
SOURCE = (
    "Nights are simulated unless --data names others; simulated ones are of other subjects for each seed. Subjects "
    "train or test, never both. Chambon's net, its state after the last epoch."
)
N_FOLDS = 3


#: What a small plan takes of any nights.
QUICK = {"n_subjects": 6, "n_windows": 60}


def night_plan(settings: Settings) -> list[dict[str, Any]]:
    """One entry for each seed, with everything that says which nights there are.

    Of recordings, too, ``n_subjects`` and ``n_windows`` (of a night) may be told; without them all are taken.
    """
    source = settings.nights()
    simulated = source["data"] == "simulated"
    entries = []
    for seed in settings.seed_list(full=5, quick=1):
        own = QUICK if settings.quick else {"n_windows": 100} if simulated else {}
        data_args = {**own, **source["data_args"]}
        if simulated:
            # The embedded nights' settings were chosen on subjects of seed 0.
            data_args = {"random_state": 1 + seed, **data_args}
        entries.append({"source": {**source, "data_args": data_args}, "seed": seed, "device": settings.device})
    return entries


def epochs(settings: Settings) -> int:
    """Epochs of a training."""
    if settings.quick:
        return 20
    return default_for("max_epochs", settings.data) if settings.data == "simulated" else 30


def train_and_test(source: dict[str, Any], seed: int) -> tuple[Nights, Nights]:
    """Two thirds of the subjects' nights and those of the others; the third that tests changes with the seed."""
    data_args = {**(EMBEDDED if source["data"] == "simulated" else {}), **source["data_args"]}
    sizes = {} if source["data"] == "simulated" else {name: data_args.pop(name, None) for name in QUICK}
    nights, _ = get_nights(source["data"], root=source["root"], data_args=data_args)
    nights = part_of(nights, **sizes)
    fold = subject_folds(sorted(set(nights.subjects)), N_FOLDS, n_valid=0, random_state=0)[seed % N_FOLDS]
    return nights.select(subjects=list(fold.train)), nights.select(subjects=list(fold.test))


def part_of(nights: Nights, n_subjects: int | None = None, n_windows: int | None = None) -> Nights:
    """The first subjects, and windows at equal distances from the beginning of each night to its end.

    Parameters
    ----------
    nights : Nights
    n_subjects : int | None
    n_windows : int | None
        Of each night, at most. None: all.
    """
    if n_subjects is not None:
        nights = nights.select(sorted(set(nights.subjects))[: int(n_subjects)])
    if n_windows is None:
        return nights
    kept = []
    for night in nights.datasets:
        rows = np.unique(np.linspace(0, len(night) - 1, int(n_windows)).round().astype(int))
        about = dict(night.description) | {"ch_names": night.ch_names, "sfreq": night.sfreq}
        kept.append(NightDataset(night.read(rows), night.y[rows], onset_s=night.onset_s[rows], **about))
    return Nights(kept, nights.preprocessing, nights.truth, nights.problems)


def training_settings(source: dict[str, Any], nights: Nights, *, seed: int, epochs: int, device: str) -> dict[str, Any]:
    """Keyword arguments of every estimator."""
    return {
        "sfreq": nights.sfreq,
        "ch_names": nights.ch_names,
        "lr": default_for("lr", source["data"]),
        "max_epochs": epochs,
        "module__drop_prob": 0.5,
        "random_state": seed,
        "device": device,
        "verbose": 0,
    }


def scores(clf: Any, nights: Nights) -> dict[str, float]:
    """Balanced accuracy and kappa on nights."""
    from eegaug.comparison.scores import stage_scores

    found = stage_scores(nights.y, clf.predict(nights))
    return {name: float(found[name]) for name in ("balanced_accuracy", "kappa") if np.isfinite(found[name])}
