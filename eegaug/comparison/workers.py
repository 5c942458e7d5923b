"""Where runs are made: in this process, in local ones, or on a Dask cluster. A process that dies costs its own run."""

from __future__ import annotations

import dataclasses
import os
import platform
import queue
import threading
import uuid
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eegaug._processes import die_with
from eegaug.comparison.locking import in_use, remove_left
from eegaug.comparison.methods import Method
from eegaug.comparison.plan import RunSpec
from eegaug.comparison.run import RETRIES, report_death, run_folder, run_one

__all__ = ["BACKENDS", "Work", "check_backend", "make_runs"]

BACKENDS = ("local", "dask")
_THREADS = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)
_LOOK_EVERY_S = 0.5
_CONNECT_S = 30
#: Runs that are with a cluster at a time.
_MOST_WAITING = 256


@dataclass(frozen=True)
class Work:
    """What all runs of a comparison need."""

    methods: Mapping[str, Method]
    splits: Sequence[Any]
    nights: Any
    settings: Mapping[str, Any]
    out: Path
    device: str

    def run(self, spec: RunSpec, session: str | None = None) -> dict[str, Any]:
        """Make one run."""
        method, split = self.methods[spec.method], self.splits[spec.fold]
        return run_one(spec, method, split, self.nights, self.settings, self.out, self.device, session)


def check_backend(backend: str, scheduler: str | None) -> None:
    """Refuse a backend that does not exist or is not installed, before any work.

    Raises
    ------
    ValueError
        For an unknown backend, or a scheduler's address without the Dask backend.
    ImportError
        When Dask is missing, naming the extra to install.
    """
    if backend not in BACKENDS:
        raise ValueError(f"unknown backend {backend!r}; use {' or '.join(map(repr, BACKENDS))}")
    if scheduler is not None and backend != "dask":
        raise ValueError(f"scheduler={scheduler!r} goes with backend='dask'")
    if backend == "dask":
        try:
            import distributed  # noqa: F401
        except ImportError:
            raise ImportError("backend='dask' needs Dask; install it with: pip install 'eegaug[distributed]'") from None


def make_runs(
    work: Work, runs: Sequence[RunSpec], n_jobs: int = 1, backend: str = "local", scheduler: str | None = None
) -> None:
    """Make runs, several at a time.

    A run whose process dies is begun once more, from its last checkpoint, and then reported as failed; others go on.

    Parameters
    ----------
    work : Work
    runs : sequence of RunSpec
    n_jobs : int
        Runs at a time on this machine. A Dask cluster takes as many as it has threads.
    backend : {"local", "dask"}
    scheduler : str, optional
        Address of Dask's scheduler; None: the client that is there already, or else a cluster on this machine.
    """
    if not runs:
        return
    if backend == "dask":
        _make_on_dask(work, runs, n_jobs, scheduler)
        return
    from joblib import effective_n_jobs

    slots = effective_n_jobs(n_jobs)
    if slots > 1:
        # A single run, too, is kept apart from this process.
        _make_in_processes(work, runs, min(slots, len(runs)))
        return
    for run in runs:
        work.run(run)


# Local processes -----------------------------------------------------------------------------------------------------

_received: Work | None = None


def _make_in_processes(work: Work, runs: Sequence[RunSpec], slots: int) -> None:
    session = uuid.uuid4().hex
    free: queue.SimpleQueue[_Slot] = queue.SimpleQueue()
    everyone = [_Slot(work, slots) for _ in range(slots)]
    for slot in everyone:
        free.put(slot)

    def make(run: RunSpec) -> None:
        slot = free.get()
        try:
            slot.make(run, session)
        finally:
            free.put(slot)

    try:
        with warnings.catch_warnings():
            # Of a process that has grown, whose run is made all the same.
            warnings.filterwarnings("ignore", "A worker stopped while some jobs were given", UserWarning)
            _spread(make, runs, slots)
    finally:
        for slot in everyone:
            slot.close()


def _spread(make: Callable[[RunSpec], None], runs: Sequence[RunSpec], n: int) -> None:
    """Make runs, so many at a time: by threads that wait, each for another process, so that it is known which one died.

    joblib's own processes all end when one of them dies.
    """
    from joblib import Parallel, delayed

    Parallel(n_jobs=n, backend="threading", batch_size=1)(delayed(make)(run) for run in runs)


class _Slot:
    """Room for one run at a time: a process that is started anew after it has died."""

    def __init__(self, work: Work, slots: int):
        self.work = work
        self.threads = _threads_each(slots)
        self.closed = False
        self._executor: Any = None
        self._lock = threading.Lock()

    def make(self, run: RunSpec, session: str) -> None:
        """Make a run, and begin it once more if the process dies."""
        from joblib.externals.loky.process_executor import BrokenProcessPool, ShutdownExecutorError

        for _ in range(RETRIES + 1):
            try:
                # loky ends a process whose memory has grown, and begins another, which has received nothing.
                while not self._get().submit(_run_received, run, session).result():
                    self._drop()
                return
            except BrokenProcessPool:
                self._drop()
            except ShutdownExecutorError:
                return
        if not self.closed:
            report_death(run_folder(self.work.out, run), run, RETRIES + 1)

    def _get(self) -> Any:
        from joblib.externals.loky.process_executor import ProcessPoolExecutor, ShutdownExecutorError

        with self._lock:
            if self.closed:
                raise ShutdownExecutorError
            if self._executor is not None:
                return self._executor
            env = {} if any(name in os.environ for name in _THREADS) else dict.fromkeys(_THREADS, str(self.threads))
            executor = self._executor = ProcessPoolExecutor(
                max_workers=1,
                timeout=None,
                initializer=_begin,
                initargs=(os.getpid(), None if not env else self.threads),
                env=env,
            )
        # Not an argument of the beginning: for a process that dies before it has read all of that, loky waits for ever.
        executor.submit(_receive, self.work).result()
        return executor

    def _drop(self) -> None:
        with self._lock:
            executor, self._executor = self._executor, None
        if executor is not None:
            executor.shutdown(wait=False, kill_workers=True)

    def close(self) -> None:
        """End the process, whatever it does."""
        self.closed = True
        self._drop()


def _threads_each(slots: int) -> int:
    from joblib import cpu_count

    return max(1, cpu_count() // slots)


def _begin(parent: int, threads: int | None) -> None:
    """Begin a worker process."""
    die_with(parent)
    if threads is not None:
        import torch

        torch.set_num_threads(threads)


def _receive(work: Work) -> None:
    """Take what the process needs for all of its runs."""
    global _received
    _received = work


def _run_received(run: RunSpec, session: str) -> bool:
    """Make a run, if the process has what it needs for it."""
    if _received is None:
        return False
    _received.run(run, session)
    return True


# A Dask cluster ------------------------------------------------------------------------------------------------------

_loaded: dict[str, Work] = {}
_loading = threading.Lock()


def _make_on_dask(work: Work, runs: Sequence[RunSpec], n_jobs: int, scheduler: str | None) -> None:
    import cloudpickle
    from distributed import KilledWorker

    session = uuid.uuid4().hex
    work = dataclasses.replace(work, out=work.out.resolve())  # workers may have begun in another folder
    # Read by the workers from the folder into which they write: what Dask itself holds is lost with a worker.
    shared = work.out / f".work-{session}"
    remove_left(work.out, ".work-*")

    def make(run: RunSpec) -> None:
        # Dask itself begins a task anew whose worker has died, unless the cluster is told otherwise.
        for _ in range(RETRIES + 1):
            future = client.submit(
                _run_shared, str(shared), run, session, pure=False, key=f"{run.key}-{uuid.uuid4().hex}"
            )
            submitted.append(future)
            try:
                future.result()
                return
            except KilledWorker:
                pass
        report_death(run_folder(work.out, run), run, RETRIES + 1)

    submitted: list[Any] = []
    with in_use(shared):
        shared.write_bytes(cloudpickle.dumps(work))
        with _client(scheduler, min(n_jobs, len(runs)) if n_jobs > 0 else n_jobs) as client:
            try:
                _spread(make, runs, min(len(runs), _MOST_WAITING))
            finally:
                client.cancel(submitted)


def _run_shared(shared: str, run: RunSpec, session: str) -> None:
    with _loading:
        if session not in _loaded:
            import cloudpickle

            if not Path(shared).exists():
                raise FileNotFoundError(
                    f"the worker on {platform.node()} does not see {Path(shared).parent}: the output folder must lie "
                    "where all workers can write"
                )
            _loaded.clear()
            _loaded[session] = cloudpickle.loads(Path(shared).read_bytes())
        work = _loaded[session]  # here: in another thread another comparison may take its place
    work.run(run, session)


@contextmanager
def _client(scheduler: str | None, n_jobs: int) -> Iterator[Any]:
    """A client of the scheduler, of the cluster that is there, or of one on this machine."""
    import dask
    import distributed
    from joblib import effective_n_jobs

    if scheduler is not None:
        try:
            client = distributed.Client(scheduler, timeout=_CONNECT_S, set_as_default=False)
        except (OSError, ValueError) as error:
            raise ConnectionError(f"there is no Dask scheduler at {scheduler!r} ({error})") from None
        with client:
            yield client
        return
    try:
        there = distributed.default_client()
    except ValueError:
        there = None
    if there is not None:
        yield there
        return
    with (
        # A worker that begins anew imports torch first; a cluster that has not heard of it for 15 s gives it up.
        dask.config.set({"distributed.deploy.lost-worker-timeout": "600 s"}),
        distributed.LocalCluster(
            n_workers=effective_n_jobs(n_jobs), threads_per_worker=1, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        yield client
