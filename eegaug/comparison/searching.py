"""A run of a method that searches: search, train with the policy found so far every few steps, keep the best."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from eegaug.comparison.estimators import (
    CHECKPOINT,
    PROGRESS,
    common_arguments,
    count_parameters,
    fit_uninterrupted,
    trunk_arguments,
)
from eegaug.comparison.job import CURVE, POLICY, SEARCH, Job, Outcome
from eegaug.data.atomic import write_json

__all__ = ["search_and_train"]

SEARCH_HISTORY = "search_history.csv"
_POINT, _PREDICTED = "point.json", "predicted.npy"
#: Share of a budget that a search may use before it is known how long a training takes.
_FIRST_SHARE = 0.5


def search_and_train(job: Job) -> Outcome:
    """Search a policy on the training and validation subjects of a fold, and train with it.

    Every ``retrain_every`` steps, and after the last, a network is trained from scratch with the policy found so far,
    as any other method trains: that is one point of the run's curve. Its time is that of the search until then plus
    that of this training: what somebody would have spent who had stopped there. The point with the highest validation
    score is the result. Tests cost nothing on this clock.

    With a budget, a search stops so that a training as long as the longest so far still fits in; until the first
    training it may use half of the budget.

    Parameters
    ----------
    job : Job
        A run that was killed goes on from its last step of search or epoch of training.

    Returns
    -------
    Outcome
    """
    return _SearchRun(job).make()


class _SearchRun:
    def __init__(self, job: Job):
        self.job, self.method, self.part, self.folder = job, job.method, job.part, job.folder
        self.options = dict(job.options)
        self.every = int(self.options.pop("retrain_every"))
        self.n_steps = int(self.options["max_steps"])
        for name, value in (("retrain_every", self.every), ("max_steps", self.n_steps)):
            if value < 1:
                raise ValueError(f"{name} of method {self.method.name!r} must be at least 1, got {value}")
        self.budget = job.training["budget"]
        self.points: list[dict[str, Any]] = []
        self.over = False

    def make(self) -> Outcome:
        search = self._new_search()
        self.points = self._points_there()
        self._checked(search.fit(self.job.nights.select(subjects=[*self.part.train, *self.part.valid])))
        while True:
            done = _steps(search)
            if (done % self.every == 0 or self._ends(search)) and done not in [point["step"] for point in self.points]:
                self.points.append(self._train(search, done))
            if self._ends(search):
                return self._outcome(search)
            target = min(self.n_steps, self.every * (done // self.every + 1))
            self._checked(search.continue_fit(max_epochs=target, time_budget=self._limit()))
            self.over = _steps(search) == done  # a search may end by itself

    def _new_search(self) -> Any:
        common = trunk_arguments(self.job.training, self.job.nights, self.job.seed, self.job.device)
        search = self.method.build(common, **self.options)
        takes = search.get_params(deep=False)
        own = {"patience": self.job.training["patience"]} if "patience" in takes else {}
        # Several splits cannot all hold out the same subjects: so many of them are drawn for each.
        several = takes.get("n_folds", 1) > 1
        (self.folder / SEARCH).mkdir(parents=True, exist_ok=True)
        # One step to begin with, whatever it takes: a budget that is too small even for it is an error of the search.
        return search.set_params(
            valid_size=len(self.part.valid) if several else list(self.part.valid),
            refit=False,
            checkpoint=self.folder / SEARCH / "search.pt",
            step_callback=self._tell,
            time_budget=self.budget,
            max_steps=1,
            random_state=self.job.seed,
            verbose=0,
            **own,
        )

    @staticmethod
    def _checked(search: Any) -> None:
        if search.interrupted_:
            raise KeyboardInterrupt

    def _limit(self) -> float | None:
        """Seconds that the search may take in all."""
        if self.budget is None:
            return None
        if not self.points:
            return _FIRST_SHARE * self.budget
        return self.budget - max(point["retrain_seconds"] for point in self.points)

    def _ends(self, search: Any) -> bool:
        """Whether all steps are done, or another one does not fit in."""
        limit, done = self._limit(), self.over or _steps(search) >= self.n_steps
        if done or limit is None:
            return done
        history = search.history_
        alike = history.loc[history["phase"] == "search", "seconds"].tail(5).max()
        return search.search_time_ + alike > limit

    def _tell(self, search: Any, row: Mapping[str, Any]) -> None:
        step = _steps(search)
        self._note(step, f"search step {step}/{self.n_steps}" if row["phase"] == "search" else str(row["phase"]))

    def _note(self, step: int, words: str) -> None:
        write_json(self.folder / PROGRESS, {"share": step / (self.n_steps + 1), "words": words})

    # -- points of the curve -------------------------------------------------------------------------------------------

    def _points_there(self) -> list[dict[str, Any]]:
        found = []
        for path in (self.folder / SEARCH).glob(f"step-*/{_POINT}"):
            with suppress(ValueError):  # of a damaged one: it is made again where the search still comes by
                found.append(json.loads(path.read_text(encoding="utf-8")))
        return sorted(found, key=lambda point: point["step"])

    def _place(self, step: int) -> Path:
        return self.folder / SEARCH / f"step-{step:05d}"

    def _train(self, search: Any, step: int) -> dict[str, Any]:
        """Train a network with the policy found so far, and test it."""
        from eegaug.classifier import StagingClassifier

        place = self._place(step)
        place.mkdir(parents=True, exist_ok=True)
        policy = with_stage_names(search.current_policy(), self.job.nights.classes)
        train, valid, test = self.job.sides()
        left = None if self.budget is None else max(self.budget - search.search_time_, 1e-9)
        common = common_arguments(
            {**self.job.training, "budget": left},
            self.job.nights,
            valid=valid,
            seed=self.job.seed,
            device=self.job.device,
            folder=place,
        )
        estimator = StagingClassifier(**common, policy=policy)
        self._note(step, f"training with the policy of search step {step}/{self.n_steps}")
        fit_uninterrupted(estimator, train)
        seconds = float(np.sum(estimator.history[:, "train_seconds"]))
        valid_scores = np.asarray(estimator.history[:, "valid_balanced_accuracy"], dtype=float)
        predicted = estimator.predict(test)
        history = search.history_
        before = history.loc[history["phase"] != "search", "seconds"].sum()
        point = {
            "step": step,
            "search_seconds": search.search_time_ - float(before),
            "pretrain_seconds": float(before),
            "retrain_seconds": seconds,
            "train_seconds": search.search_time_ + seconds,
            "passes": int(search.n_forward_backward_ + estimator.n_forward_backward_),
            "epochs": len(valid_scores),
            "best_epoch": int(np.argmax(valid_scores)) + 1,
            "train_loss": estimator.history[-1]["train_loss"],
            "valid_balanced_accuracy": float(valid_scores.max()),
            "n_parameters": count_parameters(estimator),
        }
        np.save(place / _PREDICTED, np.asarray(predicted))
        policy.save(place / POLICY)
        write_json(place / _POINT, point)
        for name in (CHECKPOINT, PROGRESS):
            (place / name).unlink(missing_ok=True)
        return point

    # -- the end -------------------------------------------------------------------------------------------------------

    def _outcome(self, search: Any) -> Outcome:
        from eegaug.comparison.scores import stage_scores
        from eegaug.policy import load_policy

        points = sorted(self._points_there(), key=lambda point: point["train_seconds"])
        test = self.job.sides()[2]
        predicted = [np.load(self._place(point["step"]) / _PREDICTED) for point in points]
        # Of equals the one after fewer steps, not the one whose training happened to take less time.
        best = min(range(len(points)), key=lambda i: (-points[i]["valid_balanced_accuracy"], points[i]["step"]))
        curve = pd.DataFrame(points).drop(columns=["n_parameters", "best_epoch", "epochs"])
        curve.insert(0, "epoch", np.arange(1, len(points) + 1))
        curve["test_balanced_accuracy"] = [
            stage_scores(test.y, one, test.classes)["balanced_accuracy"] for one in predicted
        ]
        chosen, last = points[best], max(points, key=lambda point: point["step"])
        numbers = {
            "valid_balanced_accuracy": chosen["valid_balanced_accuracy"],
            "epochs": chosen["epochs"],
            "best_epoch": chosen["best_epoch"],
            "train_seconds": last["train_seconds"],
            "best_train_seconds": chosen["train_seconds"],
            "passes": last["passes"],
            "n_parameters": chosen["n_parameters"],
            "steps": last["step"],
            "best_step": chosen["step"],
            **{name: last[name] for name in ("pretrain_seconds", "search_seconds", "retrain_seconds")},
            "retrainings": len(points),
        }
        policy = load_policy(self._place(chosen["step"]) / POLICY)
        tables = {CURVE: curve, SEARCH_HISTORY: _plain(search.history_)}
        return Outcome(predicted[best], numbers, tables, policy)


def with_stage_names(policy: Any, classes: Sequence[str]) -> Any:
    """A policy whose classes are called by the names of the stages, or of what else the classes are."""
    if getattr(policy, "mean", None) is not None:
        return policy.model_copy(update={"mean": with_stage_names(policy.mean, classes)})
    if getattr(policy, "names", "") is None and policy.classes == tuple(range(len(classes))):
        return policy.model_copy(update={"names": tuple(classes)})
    return policy


def _plain(history: pd.DataFrame) -> pd.DataFrame:
    """Columns of numbers and words; what is nested stays in the checkpoint's own history."""
    nested = [name for name in history if history[name].map(lambda value: isinstance(value, (list, dict))).any()]
    return history.drop(columns=nested)


def _steps(search: Any) -> int:
    return int((search.history_["phase"] == "search").sum())
