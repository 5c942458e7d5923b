"""Train one model on nights, and score one: what ``eegaug fit`` and ``eegaug score`` do."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from eegaug._durations import parse_budget
from eegaug._plain_data import plain_numbers
from eegaug._progress import track
from eegaug._validation import check_count
from eegaug._warning import warn
from eegaug.comparison.estimators import CHECKPOINT, build_estimator, uninterrupted
from eegaug.comparison.job import free_place
from eegaug.comparison.methods import Method, check_plain, get_method
from eegaug.comparison.plan import (
    SettingsDamagedError,
    SettingsMismatchError,
    check_settings,
    describe_data,
    settings_document,
)
from eegaug.comparison.scores import recording_table, stage_confusion, stage_scores
from eegaug.comparison.sources import writable_folder
from eegaug.data.atomic import write_json

__all__ = ["FitReport", "ScoreReport", "fit_nights", "score_nights", "split_off_validation"]

#: Epochs without validation subjects: nothing then says when to stop.
EPOCHS_WITHOUT_VALIDATION = 50
UNFINISHED = "unfinished"


@dataclass
class FitReport:
    """What training came to."""

    estimator: Any
    out: Path
    method: str
    train_subjects: tuple[str, ...]
    valid_subjects: tuple[str, ...]
    epochs: int
    best_epoch: int
    metrics: dict[str, float]
    interrupted: bool


@dataclass
class ScoreReport:
    """What scoring came to."""

    scores: dict[str, float]
    confusion: np.ndarray
    recordings: Any
    subjects: tuple[str, ...]
    seen: tuple[str, ...]
    only_seen: bool


def split_off_validation(subjects: Sequence[str], random_state: int = 0) -> tuple[list[str], list[str]]:
    """Subjects to train on and to validate on: a fifth to validate, at least one, none of a single subject.

    Examples
    --------
    >>> train, valid = split_off_validation([f"s{i}" for i in range(10)])
    >>> len(train), len(valid), len(set(train) & set(valid))
    (8, 2, 0)
    >>> split_off_validation(["s1"])
    (['s1'], [])
    """
    names = sorted({str(subject) for subject in subjects})
    if len(names) < 2:
        return names, []
    order = check_random_state(random_state).permutation(len(names))
    chosen = {names[i] for i in order[: max(1, round(len(names) / 5))]}
    return [name for name in names if name not in chosen], sorted(chosen)


def fit_nights(
    nights: Any,
    method: str | Method = "augnet",
    *,
    out: str | os.PathLike,
    source: str = "nights",
    validation: bool = True,
    max_epochs: int | None = None,
    patience: int = 30,
    budget: float | str | None = None,
    trunk: str = "SleepStagerChambon2018",
    trunk_args: Mapping[str, Any] | None = None,
    lr: float = 1e-3,
    batch_size: int = 16,
    method_options: Mapping[str, Any] | None = None,
    seed: int = 0,
    device: str = "cpu",
    callbacks: Sequence[Any] = (),
) -> FitReport:
    """Train one model on all nights but those of validation subjects, and save it.

    A training that was killed goes on from its last epoch when it is started again with the same arguments. After
    Ctrl-C the best network so far is saved, and the same holds. With other arguments, what was begun is kept aside.

    Parameters
    ----------
    nights : Nights
    method : str or Method
    out : path
        Folder of the model.
    source : str
        Where the nights come from, for the record.
    validation : bool
        Set subjects aside to stop on, see :func:`split_off_validation`. False, or a single subject: train
        ``max_epochs`` epochs and keep the last network.
    max_epochs : int, optional
        Default 300 with validation subjects, 50 without.
    patience, budget, trunk, trunk_args, lr, batch_size
        As for :func:`eegaug.compare`.
    method_options : mapping, optional
        Options of the method.
    seed : int
    device : str
    callbacks : sequence of skorch callbacks

    Returns
    -------
    FitReport
    """
    from eegaug.bundle import save_model

    out = writable_folder(out)
    method = trainable(method)
    train_names, valid_names = sorted(set(nights.subjects)), []
    if validation:
        train_names, valid_names = split_off_validation(nights.subjects, seed)
    if max_epochs is None:
        max_epochs = 300 if valid_names else EPOCHS_WITHOUT_VALIDATION
    training = training_settings(trunk, trunk_args, lr, batch_size, max_epochs, patience, parse_budget(budget))
    splits = {"train": train_names, "valid": valid_names}
    options = method.options(method_options)
    unfinished = out / UNFINISHED
    document = settings_document(
        {**describe_data(nights, source), "seed": seed},
        [splits],
        training,
        {method.name: options},
        {method.name: method.label},
    )
    _make_room(unfinished, document)
    write_json(unfinished / "settings.json", document)
    train = nights.select(subjects=train_names)
    valid = nights.select(subjects=valid_names) if valid_names else None
    estimator = build_estimator(
        method, options, training, nights, valid=valid, seed=seed, device=device, folder=unfinished, callbacks=callbacks
    )
    interrupted = False
    try:
        with uninterrupted():
            estimator.fit(train)
        interrupted = estimator.interrupted_
    except KeyboardInterrupt:
        interrupted = True
        if not getattr(estimator, "history_", None) or not _finished_epochs(estimator, valid is not None):
            raise KeyboardInterrupt("stopped before the first epoch had finished; nothing was saved") from None
    epochs = _finished_epochs(estimator, valid is not None)
    metrics: dict[str, float] = {}
    best = len(epochs)
    if valid is not None:
        best = 1 + int(np.argmax([epoch["valid_balanced_accuracy"] for epoch in epochs]))
        scores = stage_scores(valid.y, estimator.predict(valid), valid.classes)
        metrics = {f"valid_{name}": value for name, value in scores.items()}
    save_model(estimator, out, preprocessing=nights.preprocessing, splits=splits, metrics=metrics)
    if not interrupted:
        shutil.rmtree(unfinished, ignore_errors=True)
    return FitReport(
        estimator=estimator,
        out=out,
        method=method.name,
        train_subjects=tuple(train_names),
        valid_subjects=tuple(valid_names),
        epochs=len(epochs),
        best_epoch=best,
        metrics=metrics,
        interrupted=interrupted,
    )


def _make_room(unfinished: Path, document: Mapping[str, Any]) -> None:
    """Keep what was begun with other settings out of the way of this training."""
    try:
        begun = check_settings(unfinished / "settings.json", document)["methods"]
        if set(begun) == set(document["methods"]):
            return
        other = f"by {' and '.join(set(begun) - set(document['methods']))}"
    except SettingsDamagedError:
        return  # the checkpoint itself says of which training it is
    except SettingsMismatchError as error:
        other = f"with other settings ({error.differences or error})"
    if not (unfinished / CHECKPOINT).exists():
        shutil.rmtree(unfinished)
        return
    kept = unfinished.rename(free_place(unfinished))
    warn(
        f"{unfinished} held a training {other}: it is kept as {kept.name}, and this one begins anew. The command that "
        f"began it goes on with it if {kept.name} is called {unfinished.name} again."
    )


def trainable(method: str | Method) -> Method:
    """The method of this name, if it trains one network; a search is refused."""
    method = get_method(method)
    if method.searches:
        raise ValueError(
            f"{method.name} searches a policy instead of training one network: eegaug search --method {method.name} "
            "--out policy.json finds one, and eegaug fit --policy policy.json trains with it"
        )
    return method


def training_settings(
    trunk: str,
    trunk_args: Mapping[str, Any] | None,
    lr: float,
    batch_size: int,
    max_epochs: int,
    patience: int,
    budget: float | None,
) -> dict[str, Any]:
    """The settings of training that all methods share, checked."""
    from eegaug._trunk import check_arguments, resolve_trunk

    # braindecode's default is 0.25; Chambon et al. (2018) and the AugNet experiments use 0.5.
    usual = {"drop_prob": 0.5} if trunk == "SleepStagerChambon2018" else {}
    trunk_args = plain_numbers({**usual, **(trunk_args or {})})
    check_arguments(resolve_trunk(trunk), trunk_args)
    for name, value in trunk_args.items():
        check_plain(f"trunk_args has {name}={value!r}, which", value, "give numbers, text or lists")
    if not (isinstance(lr, Real) and 0 < lr < float("inf")):
        raise ValueError(f"lr must be positive, got {lr!r}")
    return {
        "trunk": trunk,
        "trunk_args": trunk_args,
        "lr": float(lr),
        "batch_size": check_count("batch_size", batch_size),
        "max_epochs": check_count("max_epochs", max_epochs),
        "patience": check_count("patience", patience),
        "budget": budget,
    }


def score_nights(
    estimator: Any,
    nights: Any,
    splits: Mapping[str, Sequence[str]] | None = None,
    *,
    allow_training: bool = False,
    verbose: bool | None = None,
) -> ScoreReport:
    """Score a model on nights.

    Subjects that the model was trained or stopped on are left out of the scores, unless nobody else is there or they
    are allowed; the table of recordings says which they are.

    Parameters
    ----------
    estimator : fitted StagingClassifier
    nights : Nights
    splits : mapping, optional
        Side (``train``, ``valid``) → subjects of the model's training.
    allow_training : bool
        Count them.
    verbose : bool, optional
        Tell how far it is: a bar on a terminal, lines elsewhere. By default on a terminal only.

    Returns
    -------
    ScoreReport
    """
    known = {str(name): side for side in ("train", "valid") for name in (splits or {}).get(side) or ()}
    y, subjects = np.asarray(nights.y), np.asarray(nights.subjects)
    night = np.concatenate([np.full(len(part), str(part.description["night"])) for part in nights.datasets])
    scored = y >= 0
    if not scored.any():
        raise ValueError("no window has a stage, so there is nothing to score against")
    told = track(nights.datasets, len(nights.datasets), "Nights", unit="night", verbose=verbose)
    predicted = np.concatenate([np.asarray(estimator.predict(nights._like([part]))) for part in told])
    seen = np.array([name in known for name in subjects])
    only_seen = bool(seen[scored].all())
    counted = scored if allow_training or only_seen else scored & ~seen
    recordings = recording_table(subjects[scored], night[scored], y[scored], predicted[scored], nights.classes)
    recordings.insert(2, "used_in", [known.get(str(name), "") for name in recordings["subject"]])
    return ScoreReport(
        scores=stage_scores(y[counted], predicted[counted], nights.classes),
        confusion=stage_confusion(y[counted], predicted[counted], len(nights.classes)),
        recordings=recordings,
        subjects=tuple(sorted(set(subjects[counted].tolist()))),
        seen=tuple(sorted(set(subjects[seen].tolist()))),
        only_seen=only_seen and bool(seen.any()),
    )


def _finished_epochs(estimator: Any, scored: bool) -> list[dict[str, Any]]:
    """Epochs of the history that came to their end, which may be the score of the validation nights."""
    last = "valid_balanced_accuracy" if scored else "train_seconds"
    return [epoch for epoch in estimator.history if last in epoch]
