"""Commands that share a folder wait for each other."""

import subprocess
import sys
import time

from eegaug.comparison.locking import one_at_a_time, remove_left

HOLD = """
import sys, time
from pathlib import Path
from eegaug.comparison.locking import one_at_a_time
with one_at_a_time(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.readline()
    time.sleep(0.5)
    (Path(sys.argv[1]) / "done").touch()
"""


def holder(folder):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_process_waits_for_the_first(tmp_path):
    process = holder(tmp_path)
    process.stdin.write("go on\n")
    process.stdin.flush()
    with one_at_a_time(tmp_path):
        assert (tmp_path / "done").exists()
    process.communicate(timeout=60)


def test_a_killed_process_gives_the_folder_back(tmp_path):
    process = holder(tmp_path)
    process.kill()
    process.communicate(timeout=60)
    start = time.monotonic()
    with one_at_a_time(tmp_path):
        assert time.monotonic() - start < 30
    assert not (tmp_path / "done").exists()


def test_nobody_waits_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr("eegaug.comparison.locking._LONGEST_WAIT_S", 0.2)
    process = holder(tmp_path)
    start = time.monotonic()
    with one_at_a_time(tmp_path):
        assert 0.2 <= time.monotonic() - start < 30 and process.poll() is None
    process.kill()
    process.communicate(timeout=60)


def test_one_process_may_ask_again(tmp_path):
    for _ in range(2):
        with one_at_a_time(tmp_path):
            pass


def test_where_there_are_no_locks_nobody_waits(tmp_path, monkeypatch):
    def refuse(self, *args, **kwargs):
        raise OSError("no locks available")

    monkeypatch.setattr("eegaug.comparison.locking.FileLock.acquire", refuse)
    with one_at_a_time(tmp_path):
        reached = True
    assert reached


USE = """
import sys
from pathlib import Path
from eegaug.comparison.locking import in_use
path = Path(sys.argv[1])
with in_use(path):
    path.touch()
    print("used", flush=True)
    sys.stdin.readline()
"""


def test_a_file_of_a_killed_process_is_removed_by_the_next(tmp_path):
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", USE, str(tmp_path / name)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for name in (".work-1", ".work-2")
    ]
    assert [process.stdout.readline() for process in processes] == ["used\n", "used\n"]
    (tmp_path / "other.lock").touch()
    processes[0].kill()
    processes[0].communicate(timeout=60)
    assert (tmp_path / ".work-1").exists()
    remove_left(tmp_path, ".work-*")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".work-2", ".work-2.lock", "other.lock"]
    processes[1].communicate("the end\n", timeout=60)
    assert [path.name for path in tmp_path.iterdir()] == ["other.lock"]
