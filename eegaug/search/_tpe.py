"""Trials of a tree-structured Parzen estimator over policies, on optuna."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from eegaug._durations import duration
from eegaug._random import derive_seed
from eegaug._warning import warn
from eegaug.search._task import Steps

__all__ = ["PolicyStudy", "PrunerReplica", "require_optuna"]

_OWNER, _SEEN, _LOT = "process", "seen", "lot"
# A process says in every so many seconds that its trials are under way; another machine takes them for lost when it has
# not for so many. The clocks of machines differ by less.
_BEAT, _SILENCE = 60.0, 900.0


def require_optuna(who: str) -> Any:
    """The module optuna.

    Raises
    ------
    ImportError
        If it is missing; the message says how to install it.
    """
    try:
        import optuna
    except ImportError as error:
        raise ImportError(f"{who} needs optuna, which is not installed: pip install 'eegaug[search]'") from error
    return optuna


class PolicyStudy:
    """Policies that were tried, and the next one to try.

    A slot of a policy, one step of a sub-policy, is a choice of an operation and two numbers in [0, 1]. An operation
    without a magnitude ignores its own, so that all policies have the same dimensions.

    Parameters
    ----------
    operations : list of str
    n_sub_policies, n_operations : int
    seed : int
        Each trial draws from a sampler seeded by this and by how many there were before: a study that was killed and is
        continued goes the same way as an uninterrupted one. A trial that was lost among others is drawn again.
    n_startup_trials : int
        Trials at random before the estimator is used.
    shared : bool
        Whether trials run at the same time: then those under way are taken into account.
    storage, study_name
        Where the trials are kept, as optuna takes it; a path is a journal file. None: in memory.
    """

    def __init__(
        self,
        operations: Sequence[str],
        n_sub_policies: int,
        n_operations: int,
        seed: int,
        n_startup_trials: int = 10,
        shared: bool = False,
        storage: Any = None,
        study_name: str | None = None,
    ):
        self.optuna = require_optuna("TPE")
        self.operations = list(operations)
        self.shape = n_sub_policies, n_operations
        self.seed, self.n_startup_trials, self.shared = seed, n_startup_trials, shared
        self.emitted: list[int] = []
        try:
            self.study = _create(self.optuna, open_storage(storage), study_name)
        except Exception as error:  # whatever optuna and what it stands on raise
            if storage is None or isinstance(error, OSError):
                raise
            raise ValueError(
                f"the trials of storage {storage} cannot be read ({type(error).__name__}: {error})."
            ) from error

    # Asking and telling ----------------------------------------------------------------------------------------------

    def ask(self) -> tuple[Any, list[Steps]]:
        """The next trial and the sub-policies that it is to try."""
        trial = self.study.ask()
        try:
            trial.set_user_attr(_OWNER, _this_process())
            trial.set_user_attr(_SEEN, time.time())
            lot = self._lot(trial.number)
            trial.set_user_attr(_LOT, lot)
            self.study.sampler = self.optuna.samplers.TPESampler(
                seed=derive_seed(self.seed, lot) % 2**32,
                n_startup_trials=self.n_startup_trials,
                constant_liar=self.shared,
            )
            for where in self._slots():
                trial.suggest_categorical(f"{where}.operation", self.operations)
                trial.suggest_float(f"{where}.probability", 0.0, 1.0)
                trial.suggest_float(f"{where}.magnitude", 0.0, 1.0)
        except BaseException:
            self.drop(trial)
            raise
        return trial, self.steps(trial.params)

    def _lot(self, number: int) -> int:
        """Which of the study's draws a trial is to have: the next one, or that of a trial that was lost meanwhile."""
        failed = self.optuna.trial.TrialState.FAIL
        trials = self.study.get_trials(deepcopy=False)
        before = [one for one in trials if one.number < number and one.state is not failed]
        taken = {one.user_attrs.get(_LOT) for one in before}
        lot = len(before)
        return min(set(range(lot)) - taken) if lot in taken else lot

    @contextmanager
    def under_way(self, trials: Sequence[Any]) -> Iterator[None]:
        """While trials run, tell other machines from time to time that they do."""
        ended = threading.Event()

        def beat() -> None:
            while not ended.wait(_BEAT):
                for trial in trials:
                    with suppress(Exception):  # the storage will be asked again when the trial is over
                        trial.set_user_attr(_SEEN, time.time())

        thread = threading.Thread(target=beat, name="trials under way", daemon=True)
        if not self.in_memory:
            thread.start()
        try:
            yield
        finally:
            ended.set()
            if thread.ident is not None:
                thread.join()

    def tell(
        self, trial: Any, curve: Sequence[float] = (), *, score: float, pruned: bool = False, **facts: Any
    ) -> None:
        """Note what a trial came to; score and further ``facts``, plain data, are kept with it.

        Of a trial that was given up in the meantime, since nothing was heard of it, nothing is kept.
        """
        if trial.number not in {one.number for one in self.running()}:
            warn(
                f"trial {trial.number} was given up by another process, which had not heard of it for "
                f"{duration(_SILENCE)}: its result is left out."
            )
            return
        for name, value in {"score": score, "pruned": pruned, **facts}.items():
            trial.set_user_attr(name, value)
        for step, value in enumerate(curve):
            trial.report(value, step)
        states = self.optuna.trial.TrialState
        if pruned:
            self.study.tell(trial, state=states.PRUNED)
        else:
            self.study.tell(trial, score)

    def drop(self, trial: Any) -> None:
        """Forget a trial that was broken off."""
        self.study.tell(trial.number, state=self.optuna.trial.TrialState.FAIL, skip_if_finished=True)

    def drop_dead(self) -> None:
        """Forget trials of processes of this machine that are no longer there, and of others that are silent."""
        for trial in self.running():
            host, _, pid = trial.user_attrs.get(_OWNER, "").rpartition(":")
            if host == socket.gethostname() and os.name == "posix":  # elsewhere asking would send a signal
                dead = not _alive(int(pid))
            else:
                # One whose process was killed as it began says nothing but when that was.
                dead = time.time() - trial.user_attrs.get(_SEEN, trial.datetime_start.timestamp()) > _SILENCE
            if dead:
                self.drop(trial)

    # Looking ---------------------------------------------------------------------------------------------------------

    def finished(self) -> list[Any]:
        """Trials that came to an end, pruned ones included, in the order of their numbers."""
        states = self.optuna.trial.TrialState
        return self.study.get_trials(deepcopy=False, states=(states.COMPLETE, states.PRUNED))

    def running(self) -> list[Any]:
        """Trials under way, here or in other processes."""
        return self.study.get_trials(deepcopy=False, states=(self.optuna.trial.TrialState.RUNNING,))

    def peek(self) -> Any | None:
        """The trial that :meth:`new` would give."""
        given = set(self.emitted)
        return next((one for one in self.finished() if one.number not in given), None)

    def new(self) -> Any | None:
        """A finished trial that was not given yet; None if there is none."""
        trial = self.peek()
        if trial is not None:
            self.emitted.append(trial.number)
        return trial

    def best(self, n: int) -> list[Any]:
        """Of the trials given by :meth:`new` that were not pruned, the best ones; of equals the first."""
        given, complete = set(self.emitted), self.optuna.trial.TrialState.COMPLETE
        known = [one for one in self.finished() if one.number in given and one.state is complete]
        return sorted(known, key=lambda one: (-one.value, one.number))[:n]

    def steps(self, params: dict[str, Any]) -> list[Steps]:
        """The sub-policies that a trial's parameters stand for."""
        values = [
            (
                self.operations.index(params[f"{where}.operation"]),
                float(params[f"{where}.probability"]),
                float(params[f"{where}.magnitude"]),
            )
            for where in self._slots()
        ]
        k = self.shape[1]
        return [values[i : i + k] for i in range(0, len(values), k)]

    def _slots(self) -> list[str]:
        return [f"{s}.{k}" for s in range(self.shape[0]) for k in range(self.shape[1])]

    # Keeping ---------------------------------------------------------------------------------------------------------

    @property
    def in_memory(self) -> bool:
        """Whether the trials are kept nowhere else."""
        return isinstance(self.study._storage, self.optuna.storages.InMemoryStorage)

    def state_dict(self) -> dict[str, Any]:
        """Finished trials as plain data; of those that a storage keeps, which were given."""
        if not self.in_memory:
            return {"trials": [], "emitted": list(self.emitted)}
        finished = self.finished()
        place = {trial.number: i for i, trial in enumerate(finished)}
        trials = [
            {
                "params": dict(trial.params),
                "value": trial.value,
                "pruned": trial.state is self.optuna.trial.TrialState.PRUNED,
                "curve": {int(k): float(v) for k, v in trial.intermediate_values.items()},
                "facts": dict(trial.user_attrs),
            }
            for trial in finished
        ]
        return {"trials": trials, "emitted": [place[number] for number in self.emitted]}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` gave."""
        if self.in_memory:
            self.study = _create(self.optuna, None, None)
            self.study.add_trials([self._frozen(one) for one in saved["trials"]])
        self.emitted = list(saved["emitted"])

    def _frozen(self, one: dict[str, Any]) -> Any:
        states, distributions = self.optuna.trial.TrialState, self.optuna.distributions
        unit = distributions.FloatDistribution(0.0, 1.0)
        choice = distributions.CategoricalDistribution(self.operations)
        return self.optuna.trial.create_trial(
            state=states.PRUNED if one["pruned"] else states.COMPLETE,
            value=one["value"],
            params=one["params"],
            distributions={name: choice if name.endswith("operation") else unit for name in one["params"]},
            intermediate_values=one["curve"],
            user_attrs=one["facts"],
        )


class PrunerReplica:
    """Whether a trial is worth going on with, judged by finished ones; it can be sent to another process.

    Parameters
    ----------
    pruner : optuna pruner
    finished : list of FrozenTrial
    """

    def __init__(self, pruner: Any, finished: Sequence[Any]):
        self.pruner, self.finished = pruner, list(finished)
        self.trial: Any = None

    def hopeless(self, curve: Sequence[float]) -> bool:
        """Whether a trial with these scores so far, epoch by epoch, should end."""
        if self.trial is None:
            optuna = require_optuna("pruning")
            study = _create(optuna, None, None, pruner=self.pruner)
            study.add_trials(self.finished)
            self.trial, self.reported = study.ask(), 0
        for step in range(self.reported, len(curve)):
            self.trial.report(curve[step], step)
        self.reported = len(curve)
        return self.trial.should_prune()


def open_storage(storage: Any) -> Any:
    """An optuna storage: a URL and a storage as they are, a path as a journal file."""
    if storage is None or not isinstance(storage, (str, os.PathLike)) or "://" in str(storage):
        return storage
    path = Path(storage).absolute()  # wherever the process goes meanwhile
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "ab"):
            pass
    except OSError as error:
        raise OSError(f"trials cannot be written to storage {path}: {error.strerror or error}") from error
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

    # Optuna's usual lock is a symbolic link, which Windows and some shared folders refuse.
    return JournalStorage(JournalFileBackend(str(path), lock_obj=JournalFileOpenLock(str(path))))


def _create(optuna: Any, storage: Any, name: str | None, pruner: Any = None) -> Any:
    """A study, or the one that has this name already, without a line in the log."""
    loud = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(max(loud, optuna.logging.WARNING))
    try:
        return optuna.create_study(
            storage=storage,
            study_name=name,
            direction="maximize",
            load_if_exists=True,
            sampler=optuna.samplers.RandomSampler(0),
            pruner=pruner or optuna.pruners.NopPruner(),
        )
    finally:
        optuna.logging.set_verbosity(loud)


def _this_process() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    # A child that was killed and that nobody has waited for is not there any more.
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return True
