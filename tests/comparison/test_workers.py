"""Processes that make runs: those that die, those whose parent dies, and a Dask cluster."""

import builtins
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from types import SimpleNamespace

import pytest

from eegaug import StagingClassifier, compare
from eegaug.comparison import Method, workers
from eegaug.comparison.job import ATTEMPT, ERROR, ROW
from eegaug.comparison.workers import check_backend


def dies(common, times, path):
    """Kills its own process the first few times."""
    with open(path, "a") as file:
        file.write(".")
    if os.path.getsize(path) <= times:
        os.kill(os.getpid(), signal.SIGKILL)
    return StagingClassifier(**common)


def method(name, times, folder):
    return Method(name, name, partial(dies, times=times, path=str(folder / name)), {})


def one_fold(small):
    return {**small, "folds": 1}


class TestLocal:
    def test_a_process_that_dies_costs_its_own_run_which_is_begun_once_more(self, tmp_path, small):
        methods = [method("once", 1, tmp_path), method("always", 99, tmp_path)]
        result = compare(methods, out=tmp_path / "out", n_jobs=2, **one_fold(small))
        assert result.table["method"].tolist() == ["once"]
        assert result.failed["method"].tolist() == ["always"]
        assert "the process that made this run died 2 times" in result.failed["error"].item()
        assert [os.path.getsize(tmp_path / name) for name in ("once", "always")] == [2, 2]
        assert not (tmp_path / "out" / "runs" / "once-fold0-seed0-fraction1" / ATTEMPT).exists()

    SCRIPT = """
import sys, time
from eegaug import compare
from eegaug.comparison import Method
def forever(common):
    open(sys.argv[1] + f"/pid-{__import__('os').getpid()}", "w").close()
    time.sleep(600)
if __name__ == "__main__":
    methods = [Method(name, name, forever, {}) for name in ("one", "two")]
    compare(methods, out=sys.argv[1] + "/out", n_jobs=2, **%r)
"""

    def test_no_worker_outlives_its_parent(self, tmp_path, small):
        (tmp_path / "script.py").write_text(self.SCRIPT.replace("sys.argv[1]", repr(str(tmp_path))) % one_fold(small))
        parent = subprocess.Popen(
            [sys.executable, str(tmp_path / "script.py")],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stderr=subprocess.PIPE,
        )
        while len(list(tmp_path.glob("pid-*"))) < 2:
            assert parent.poll() is None, parent.stderr.read()
            time.sleep(0.02)
        workers = [int(path.name.removeprefix("pid-")) for path in tmp_path.glob("pid-*")]
        assert all(alive(pid) for pid in workers)
        parent.send_signal(signal.SIGKILL)
        parent.wait(timeout=60)
        deadline = time.monotonic() + 60
        while any(alive(pid) for pid in workers):
            assert time.monotonic() < deadline, "a worker computes on"
            time.sleep(0.05)

    DIES = """
import os, signal, sys
place = %r
if any("popen_loky" in word for word in sys.orig_argv) and not os.path.exists(place):
    open(place, "w").close()
    os.kill(os.getpid(), signal.SIGKILL)
"""

    def test_a_process_that_dies_before_it_has_begun_is_replaced(self, tmp_path, small):
        (tmp_path / "sitecustomize.py").write_text(self.DIES % str(tmp_path / "died"))
        arguments = one_fold(small) | {"out": str(tmp_path / "out"), "n_jobs": 2}
        script = f"import eegaug; eegaug.compare(['none'], **{arguments})"
        path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
        env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path}
        # What a process is given to begin with is more than a pipe holds: nobody would ever read it.
        with subprocess.Popen([sys.executable, "-c", script], env=env, start_new_session=True) as process:
            try:
                assert process.wait(timeout=120) == 0
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
        assert (tmp_path / "died").exists()
        assert json.loads((tmp_path / "out/runs/none-fold0-seed0-fraction1" / ROW).read_text())["epochs"] == 1

    GROWS = """
import sys
if any("popen_loky" in word for word in sys.orig_argv):
    from joblib.externals.loky import process_executor
    process_executor._MAX_MEMORY_LEAK_SIZE, process_executor._MEMORY_LEAK_CHECK_DELAY = -(2**50), 0
"""

    def test_a_process_that_is_replaced_because_it_has_grown_costs_nothing(self, tmp_path, small):
        pytest.importorskip("psutil")  # by which loky looks
        (tmp_path / "sitecustomize.py").write_text(self.GROWS)
        arguments = one_fold(small) | {"out": str(tmp_path / "out"), "n_jobs": 2, "seeds": [0, 1, 2, 3, 4]}
        script = f"import eegaug; eegaug.compare(['none'], **{arguments})"
        path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
        env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path}
        done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, timeout=300)
        assert done.returncode == 0, done.stderr.decode()[-2000:]
        assert len(list((tmp_path / "out" / "runs").glob(f"*/{ROW}"))) == 5
        assert b"A worker stopped" not in done.stderr


def alive(pid):
    """Whether a process runs; a dead one that nobody has asked after does not."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


class TestDask:
    def test_two_processes_of_which_one_dies(self, tmp_path, small):
        distributed = pytest.importorskip("distributed")
        methods = ["none", method("always", 99, tmp_path)]
        dask = pytest.importorskip("dask")
        with (
            # Workers that begin anew import torch first: on a busy machine that takes a while.
            dask.config.set({"distributed.deploy.lost-worker-timeout": "600 s"}),
            distributed.LocalCluster(
                n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50
            ) as cluster,
        ):
            address = cluster.scheduler_address
            result = compare(methods, out=tmp_path / "out", backend="dask", scheduler=address, **one_fold(small))
        assert result.table["method"].tolist() == ["none"]
        assert result.failed["method"].tolist() == ["always"]
        assert "died 2 times" in result.failed["error"].item()
        assert os.path.getsize(tmp_path / "always") == 2
        assert not list((tmp_path / "out").glob(".work-*"))
        rows = [json.loads(path.read_text()) for path in (tmp_path / "out" / "runs").glob(f"*/{ROW}")]
        assert {row["test_subjects"] for row in rows} == {result.table["test_subjects"].iloc[0]}
        assert not (tmp_path / "out" / "runs" / "none-fold0-seed0-fraction1" / ERROR).exists()

    def test_workers_that_began_in_another_folder(self, tmp_path, small, monkeypatch):
        distributed = pytest.importorskip("distributed")
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path)
        with (
            distributed.LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster,
            distributed.Client(cluster, set_as_default=False) as client,
        ):
            client.run(os.chdir, str(tmp_path / "elsewhere"))
            settings = {"backend": "dask", "scheduler": cluster.scheduler_address, **one_fold(small)}
            assert compare(["none"], out="out", **settings).table["method"].tolist() == ["none"]
        assert not list((tmp_path / "elsewhere").iterdir())

    def test_another_comparison_on_the_same_worker_takes_no_work_away(self, monkeypatch):
        made = []

        class Lock:
            """Beside which, as soon as it is given back, a thread loads another comparison."""

            def __enter__(self):
                pass

            def __exit__(self, *error):
                workers._loaded.clear()

        monkeypatch.setattr(workers, "_loading", Lock())
        monkeypatch.setitem(
            workers._loaded, "one", SimpleNamespace(run=lambda run, session: made.append((run, session)))
        )
        workers._run_shared("nowhere", "a run", "one")
        assert made == [("a run", "one")]

    def test_missing(self, monkeypatch):
        original = builtins.__import__

        def without(name, *args, **kwargs):
            if name.startswith("distributed"):
                raise ImportError(name)
            return original(name, *args, **kwargs)

        monkeypatch.setattr(builtins, "__import__", without)
        with pytest.raises(ImportError, match=r"pip install 'eegaug\[distributed\]'"):
            check_backend("dask", None)

    def test_refusals(self, tmp_path, small):
        with pytest.raises(ValueError, match="unknown backend 'spark'"):
            compare(out=tmp_path / "out", backend="spark", **small)
        with pytest.raises(ValueError, match="goes with backend='dask'"):
            compare(out=tmp_path / "out", scheduler="tcp://here:1", **small)
        assert not (tmp_path / "out").exists()
