"""Processes that work for another end with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import eegaug._processes as processes

# The module by its path: importing all of eegaug would take seconds in each process.
CHILD = """
import importlib.util, os, sys, time
spec = importlib.util.spec_from_file_location("processes", sys.argv[1])
processes = importlib.util.module_from_spec(spec)
spec.loader.exec_module(processes)
print(processes.working_for(int(sys.argv[2]) or os.getppid(), str.upper, "at work"), os.getpid(), flush=True)
time.sleep(60)
"""
PARENT = """
import subprocess, sys
subprocess.Popen([sys.executable, "-c", *sys.argv[1:]]).wait()
"""


def started(parent: int) -> tuple[subprocess.Popen, int]:
    """A process with a child that works for it (0) or for another process."""
    path = str(Path(processes.__file__))
    process = subprocess.Popen(
        [sys.executable, "-c", PARENT, CHILD, path, str(parent)], stdout=subprocess.PIPE, text=True
    )
    *said, child = process.stdout.readline().split()
    assert said == ["AT", "WORK"]
    return process, int(child)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes in /proc")
def test_a_child_ends_with_its_parent():
    process, child = started(0)
    assert alive(child)
    process.send_signal(signal.SIGKILL)
    process.wait()
    end = time.monotonic() + 20
    while alive(child) and time.monotonic() < end:
        time.sleep(0.05)
    assert not alive(child)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes in /proc")
def test_who_works_for_another_process_goes_on():
    process, child = started(os.getpid())  # not its parent: on a cluster, say
    process.send_signal(signal.SIGKILL)
    process.wait()
    time.sleep(1.5)
    assert alive(child)
    os.kill(child, signal.SIGKILL)


# Functions of a script go to its workers by value.
SCRIPT = """
import os, sys, time
from pathlib import Path
FOLDER = Path(sys.argv[1])
def forever(*arguments, folder=FOLDER):
    (folder / f"pid-{os.getpid()}").touch()
    time.sleep(600)
def prepare():
    import eegaug.data.recordings as module
    module._one = forever
    list(module._converted([("a", 1), ("b", 2)], None, None, None, 2, False))
def stage():
    import eegaug.bundle, eegaug.staging.many as module
    eegaug.bundle.load_model = lambda *arguments, **more: None
    module._stage_one = forever
    tasks = [module.Task(FOLDER / name, FOLDER / name) for name in ("a", "b")]
    module.stage_files(tasks, FOLDER, out=FOLDER, n_jobs=2)
if __name__ == "__main__":
    {"prepare": prepare, "stage": stage}[sys.argv[2]]()
"""


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes in /proc")
@pytest.mark.parametrize("what", ["prepare", "stage"])
def test_nobody_prepares_or_stages_recordings_for_a_parent_that_is_gone(tmp_path, what):
    (tmp_path / "script.py").write_text(SCRIPT)
    parent = subprocess.Popen([sys.executable, tmp_path / "script.py", tmp_path, what])
    while len(pids := [int(path.name.removeprefix("pid-")) for path in tmp_path.glob("pid-*")]) < 2:
        assert parent.poll() is None
        time.sleep(0.05)
    parent.kill()
    parent.wait()
    end = time.monotonic() + 20
    while any(map(alive, pids)) and time.monotonic() < end:
        time.sleep(0.05)
    left = [pid for pid in pids if alive(pid)]
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert not left
