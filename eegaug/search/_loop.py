"""The loop of a search: steps within a budget, saved, gone on from and begun anew, then the last training."""

from __future__ import annotations

import json
import time
from typing import Any, Self

import pandas as pd
import torch
from sklearn.base import clone

from eegaug._progress import StepBar
from eegaug._random import contained_rng, derive_seed
from eegaug._validation import naming_a_batch_of_one
from eegaug._warning import warn
from eegaug.checkpoint import TrainingCheckpoint
from eegaug.search._checkpoint import plain_row
from eegaug.search._running import Running, check_end
from eegaug.search._task import REFIT, STEP, callback_of

__all__ = ["SearchLoop"]

# Name of the checkpoint of the last training among its callbacks.
_REFIT = "search_refit"


class SearchLoop:
    """The part of `PolicySearch` that does the steps of a search, keeps its history, and trains with what it found."""

    _running: Running | None = None
    _rows: list[dict[str, Any]]  # only once a search was begun

    @property
    def history_(self) -> pd.DataFrame:
        """One row per step."""
        if not hasattr(self, "_rows"):
            raise AttributeError(f"this {type(self).__name__} has not begun to search: call fit first.")
        return pd.DataFrame(self._rows)

    def _sum_up(self) -> None:
        """Time and passes, after a row was added or the rows were replaced."""
        self.search_time_ = float(sum(row["seconds"] for row in self._rows))
        self.n_forward_backward_ = self._rows[-1]["n_forward_backward"] if self._rows else 0

    def _expected_seconds(self) -> float:
        """How long the next step takes, by the last ones of its kind; 0 where there were none."""
        phase = self._next_phase()
        return max((row["seconds"] for row in self._rows[-5:] if row["phase"] == phase), default=0.0)

    def _next_phase(self) -> str:
        """``phase`` of the next step, as far as it is known beforehand: that of the last."""
        return self._rows[-1]["phase"] if self._rows else "search"

    def _begin_anew(self) -> None:
        """Build what the search works with."""
        running, self._rows = self._running, []
        began = time.perf_counter()
        running.task.reset()
        with contained_rng(derive_seed(running.task.seed, STEP), running.task.device):
            running.state = self._begin(running.task)
        running.unnoted_seconds = time.perf_counter() - began
        running.broken = False
        self._sum_up()

    def _restore(self, saved: dict[str, Any]) -> None:
        """Go back to where a checkpoint was written."""
        running = self._running
        self._rows = json.loads(saved["history"])
        running.task.load_state_dict(saved["task"])
        running.state.load_state_dict(saved["state"])
        running.unnoted_seconds, running.broken = 0.0, False
        self._sum_up()

    def _run(self, n_steps: int, budget: float | None) -> Self:
        """Go on to so many steps of the search, those done included, or to the end of the budget; then train."""
        running, self.interrupted_ = self._running, False
        running.budget = budget
        self._count_steps(n_steps)
        bar = StepBar("step", running.n_steps, len(self._rows), self.name) if self.verbose else None
        try:
            while len(self._rows) < running.n_steps:
                if budget is not None and self.search_time_ + self._expected_seconds() > budget:
                    break
                row = self._one_step(running)
                if row is None:
                    break
                self._count_steps(n_steps)
                if bar is not None:
                    bar.update(row["step"], running.n_steps, _words(row))
                if budget is not None and self.search_time_ > budget:
                    break
        except KeyboardInterrupt:
            if not self._rows:
                raise
            self.interrupted_ = True
        finally:
            if bar is not None:
                bar.close()
        if not self.interrupted_:
            check_end(self, budget, self._rows, self._n_choices(), kept=running.file is not None)
        self.policy_ = self.current_policy()
        if self.interrupted_:
            warn(
                "the search was stopped: policy_ is the policy reached, and no network was trained with it. "
                "continue_fit() goes on."
            )
        elif self.refit:
            self._train_with_policy(running)
        return self

    def _count_steps(self, n_steps: int) -> None:
        """Note how many steps there are in all: those before the search may have been fewer than planned."""
        searched = sum(row["phase"] == "search" for row in self._rows)
        before = len(self._rows) - searched if searched else self._n_steps_before()
        self._running.n_steps = n_steps + before

    def _one_step(self, running: Running) -> dict[str, Any] | None:
        """Do one step, note it, tell the callback, save; None if nothing is left to do."""
        task, number = running.task, len(self._rows) + 1
        running.broken = True
        if running.file is not None:
            running.file.beside("refit").unlink(missing_ok=True)  # a training with the policy of another step
        began = time.perf_counter()
        with contained_rng(derive_seed(task.seed, STEP, number), task.device), naming_a_batch_of_one(task.batch_size):
            columns = self._step(task, running.state)
            if task.device.type == "cuda":
                torch.cuda.synchronize(task.device)
        if columns is None:
            running.broken = False
            return None
        row = plain_row({"step": number, "phase": "search", "seconds": time.perf_counter() - began} | columns)
        row["seconds"] += running.unnoted_seconds
        running.unnoted_seconds = 0.0
        row["n_forward_backward"] = task.n_forward_backward
        self._rows.append(row)
        self._sum_up()
        if self.step_callback is not None:
            self.step_callback(self, row)
            row = self._rows[-1] = plain_row(row)
        running.save(self._rows)
        running.broken = False
        return row

    def _train_with_policy(self, running: Running) -> None:
        """The last training, with a checkpoint of its own where the search has one."""
        estimator = self._for_refit(running.state, clone(running.task.estimator))
        own = estimator.callbacks
        kept = isinstance(own, str) or any(isinstance(callback_of(one), TrainingCheckpoint) for one in own or [])
        if running.file is not None and not kept:
            checkpoint = TrainingCheckpoint(running.file.beside("refit"), renew_damaged=True)
            estimator.callbacks = [*(own or []), (_REFIT, checkpoint)]
        seed = derive_seed(running.task.seed, REFIT) if estimator.random_state is None else estimator.random_state
        estimator.set_params(policy=self.policy_, random_state=seed)
        began = time.perf_counter()
        data = running.task.data
        self.best_estimator_ = estimator.fit(data.windows, data.labels)
        self.refit_time_ = time.perf_counter() - began
        self.interrupted_ = estimator.interrupted_
        # The file is of this training alone: another one of this estimator, or of its clones, would be refused.
        estimator.callbacks = own
        estimator.callbacks_ = [pair for pair in estimator.callbacks_ if pair[0] != _REFIT]


def _words(row: dict[str, Any]) -> str:
    """What a step has come to."""
    hidden = {"step", "phase", "seconds", "n_forward_backward"}
    shown = {name: value for name, value in row.items() if name not in hidden and isinstance(value, float)}
    return ", ".join(f"{name.replace('_', ' ')} {value:.3f}" for name, value in shown.items())
