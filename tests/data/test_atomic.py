"""Files that others read or write at the same time."""

import os
import threading

import pytest

from eegaug.data import atomic
from eegaug.data.atomic import write_atomically


def test_two_that_write_the_same_file_under_one_process_id(tmp_path, monkeypatch):
    # As on two machines, or in two containers, that share a folder.
    path, sync = tmp_path / "a.json", os.fsync
    written = []

    def meanwhile(number):
        sync(number)
        if not written:
            written.append("other")
            write_atomically(path, b"the other's")

    monkeypatch.setattr(os, "fsync", meanwhile)
    write_atomically(path, b"one's own")
    assert path.read_bytes() == b"one's own"
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_a_file_that_is_read_meanwhile_is_waited_for(tmp_path, monkeypatch):
    # Windows lets nobody replace a file that is open.
    path, put, reading = tmp_path / "a.json", os.replace, threading.Event()

    def replace(part, target):
        if not reading.is_set():
            raise PermissionError(13, "used by another process", str(target))
        put(part, target)

    monkeypatch.setattr(os, "replace", replace)
    threading.Timer(0.2, reading.set).start()
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    reading.clear()
    monkeypatch.setattr(atomic, "_PATIENCE_S", 0.1)
    with pytest.raises(PermissionError, match="used by another process"):
        write_atomically(path, b"newer")
    assert path.read_bytes() == b"new"
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]
