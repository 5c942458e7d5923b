import json
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from torch.utils.data import DataLoader

from eegaug.data import NightWriter, Preprocessing, open_store, store
from eegaug.data._open_files import FILES

P = Preprocessing(ch_names=["C3", "C4"], sfreq=10, l_freq=None, h_freq=None, window_s=5)


def writer(folder, preprocessing=P, **options):
    return NightWriter(
        folder, preprocessing.ch_names, preprocessing.sfreq, preprocessing.window_s, preprocessing, **options
    )


def windows(n=6, seed=0):
    return np.random.default_rng(seed).standard_normal((n, 2, 50)).astype("float32")


def fill(folder, n_nights=3):
    w = writer(folder)
    for k in range(n_nights):
        w.add(windows(seed=k), np.arange(6) % 5, subject=f"s{k}", night=1, age=20 + k)
    return w.close()


def test_what_is_written_is_read_back(tmp_path):
    nights = fill(tmp_path / "store")
    want = np.concatenate([windows(seed=k) for k in range(3)])
    np.testing.assert_array_equal(nights.read(), want)
    np.testing.assert_array_equal(nights.read([17, 0, 1, 2, 7]), want[[17, 0, 1, 2, 7]])
    assert nights.y.tolist() == [0, 1, 2, 3, 4, 0] * 3
    assert nights.preprocessing == json.loads(P.model_dump_json())
    assert nights.description["age"].tolist() == [20, 21, 22]
    again = open_store(tmp_path / "store")
    np.testing.assert_array_equal(again[8][0], want[8])
    X, _, _ = again[8]
    X += 1  # fresh memory, not a view of the file
    np.testing.assert_array_equal(again[8][0], want[8])


def test_a_file_that_is_open_is_neither_replaced_nor_removed(tmp_path, monkeypatch):
    # Windows refuses both.
    def closed(path):
        if str(Path(path).absolute()) in FILES.files:
            raise PermissionError(13, "used by a process", str(path))

    remove, put = Path.unlink, os.replace
    monkeypatch.setattr(Path, "unlink", lambda path, **options: [closed(path), remove(path, **options)][1])
    monkeypatch.setattr(os, "replace", lambda part, path: [closed(path), put(part, path)][1])
    nights = fill(tmp_path, n_nights=2)
    w = writer(tmp_path)
    nights.read()
    w.write(windows(seed=0), [0] * 6, subject="s0", night=1)  # the same signal
    nights.read()
    w.write(windows(seed=5), [1] * 6, subject="s1", night=1)  # another one
    assert len(list(tmp_path.glob("*.f32"))) == 2
    np.testing.assert_array_equal(open_store(tmp_path).read(), np.concatenate([windows(seed=0), windows(seed=5)]))


def test_what_another_process_has_open_is_left(tmp_path, monkeypatch):
    def refuse(path, **options):
        if path.suffix == ".f32":
            raise PermissionError(13, "used by another process", str(path))

    fill(tmp_path, n_nights=1)
    monkeypatch.setattr(Path, "unlink", refuse)
    writer(tmp_path).write(windows(seed=5), [1] * 6, subject="s0", night=1)
    np.testing.assert_array_equal(open_store(tmp_path).read(), windows(seed=5))


def test_files_that_macos_puts_beside_others_are_none_of_the_store(tmp_path):
    fill(tmp_path)
    for path in list(tmp_path.iterdir()):  # as on a drive of Windows
        (tmp_path / f"._{path.name}").write_bytes(b"\0\5\x16\7\0\2\xb0Mac OS X")
    w = writer(tmp_path)
    assert w.has("s0-1") and len(w.close(["s0-1", "s1-1"])) == 12
    (tmp_path / "store.json").write_text(json.dumps(w.header))  # not finished
    with pytest.warns(UserWarning, match="3 nights are there so far"):
        assert len(open_store(tmp_path)) == 18


def test_a_writer_closes_what_this_process_has_open(tmp_path):
    # The files may be replaced by processes that work for it.
    other = fill(tmp_path / "other", n_nights=1)
    nights = fill(tmp_path / "store")
    nights.read(), other.read()
    writer(tmp_path / "store")
    assert {Path(path).parent for path in FILES.files} & {tmp_path / "store", tmp_path / "other"} == {
        tmp_path / "other"
    }


def test_other_processes_can_write(tmp_path):
    w = writer(tmp_path)
    other = pickle.loads(pickle.dumps(w))
    assert other.write(windows(), [0] * 6, subject="a", night=2) == "a-2"
    w.adopt("a-2")
    np.testing.assert_array_equal(w.close().read(), windows())
    with pytest.raises(FileNotFoundError, match="'b-1' is not in the store"):
        w.adopt("b-1")


def test_night_that_is_replaced_is_read_anew(tmp_path):
    nights = fill(tmp_path, n_nights=1)
    nights.read()  # its file is open now
    w = writer(tmp_path)
    w.add(windows(seed=9), [0] * 6, subject="s0", night=1)
    np.testing.assert_array_equal(w.close().read(), windows(seed=9))
    assert len(list(tmp_path.glob("*.f32"))) == 1  # the old signal is gone


def test_nights_are_those_of_the_call_whatever_another_process_chose_meanwhile(tmp_path, monkeypatch):
    whole = fill(tmp_path)
    mine = writer(tmp_path)
    mine.has("s0-1")

    def write_json(path, content):
        write(path, content)
        if path.name == "store.json" and content["nights"] == ["s0-1"]:
            monkeypatch.undo()
            writer(tmp_path).close(["s1-1", "s2-1"])

    write = store.write_json
    monkeypatch.setattr(store, "write_json", write_json)
    nights = mine.close()
    assert set(nights.subjects) == {"s0"} and set(open_store(tmp_path).subjects) == {"s1", "s2"}
    np.testing.assert_array_equal(nights.read(), whole.read(np.arange(6)))


def test_truth_and_problems_are_kept(tmp_path):
    w = writer(tmp_path)
    w.add(
        windows(),
        [0] * 6,
        subject="a",
        problems=[{"recording": "a-1", "kind": "dropped", "reason": "r", "n_windows": 2}],
    )
    w.problems.append({"recording": "b", "kind": "skipped", "reason": "q", "n_windows": 0})
    nights = w.close(truth={"shift_hz": np.array([0.5, -0.5]), "n": np.int64(3)})
    assert nights.truth == {"shift_hz": [0.5, -0.5], "n": 3}
    assert [p["recording"] for p in nights.problems] == ["b", "a-1"]


@pytest.mark.parametrize(("context", "n_workers"), [("fork", 2), ("spawn", 1)])
def test_workers_read_what_the_process_reads(tmp_path, context, n_workers):
    nights = fill(tmp_path / "store")
    nights[0]  # a file is open before the workers start
    loader = DataLoader(nights, batch_size=5, num_workers=n_workers, multiprocessing_context=context)
    X = np.concatenate([batch[0].numpy() for batch in loader])
    np.testing.assert_array_equal(X, nights.read())


def test_nights_on_disk_can_be_pickled(tmp_path):
    nights = fill(tmp_path)
    size = len(pickle.dumps(nights))
    assert size < 20_000  # paths and labels, no signal
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(nights)).read(), nights.read())


def test_few_files_stay_open(tmp_path, monkeypatch):
    monkeypatch.setattr(FILES, "limit", 2)
    FILES.reset()
    nights = fill(tmp_path, n_nights=5)
    np.testing.assert_array_equal(nights.read(), np.concatenate([windows(seed=k) for k in range(5)]))
    assert len(FILES.files) == 2


def _killed_build(folder):
    """Write two nights and die in the middle of the third."""
    w = writer(folder)
    for k in range(2):
        w.add(windows(seed=k), [0] * 6, subject=f"s{k}")
    os.replace = lambda *args: os.kill(os.getpid(), signal.SIGKILL)
    w.add(windows(seed=2), [0] * 6, subject="s2")


def test_killed_build_goes_on_and_keeps_complete_nights(tmp_path):
    child = multiprocessing.get_context("fork").Process(target=_killed_build, args=(tmp_path,))
    child.start()
    child.join(30)
    assert child.exitcode == -signal.SIGKILL
    with pytest.warns(UserWarning, match="was not finished: 2 nights"):
        assert len(open_store(tmp_path)) == 12
    before = {p: p.stat().st_mtime_ns for p in tmp_path.glob("*.f32")}
    assert len(before) == 2
    (part,) = tmp_path.glob(".*.part")  # half a night
    writer(tmp_path)
    assert part.exists()  # it might be another process's
    os.utime(part, (0, 0))
    w = writer(tmp_path)
    assert not part.exists()
    done = [w.has(f"s{k}-1") for k in range(3)]
    assert done == [True, True, False]
    w.add(windows(seed=2), [0] * 6, subject="s2")
    nights = w.close()
    np.testing.assert_array_equal(nights.read(), np.concatenate([windows(seed=k) for k in range(3)]))
    assert {p: p.stat().st_mtime_ns for p in before} == before


def test_night_from_another_source_is_not_taken_for_this_one(tmp_path):
    w = writer(tmp_path)
    w.add(windows(), [0] * 6, subject="a", source=["a.edf", 100])
    w.close()
    w = writer(tmp_path)
    assert w.has("a-1", source=["a.edf", 100])
    assert not w.has("a-1", source=["a.edf", 101])
    assert not w.has("b-1")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ch_names": ("C4", "C3")}, r"ch_names was \['C3', 'C4'\], now \['C4', 'C3'\]"),
        ({"sfreq": 20.0}, "sfreq was 10.0, now 20.0"),
        ({"l_freq": 0.5}, "preprocessing l_freq was None, now 0.5"),
        ({"standardise": "recording"}, "preprocessing standardise was 'window', now 'recording'"),
    ],
)
def test_store_made_otherwise_is_refused_by_what_differs(tmp_path, change, message):
    fill(tmp_path)
    with pytest.raises(ValueError, match=message):
        writer(tmp_path, P.model_copy(update=change))
    assert len(open_store(tmp_path)) == 18  # nothing was lost


def test_samples_that_are_not_finite_are_refused_by_name(tmp_path):
    for bad in (np.nan, np.inf, -np.inf):
        X = windows()
        X[3, 1, 7] = bad
        with pytest.raises(ValueError, match=r"Recording 'anna-2', window 3, channel 'C4': 1 of 100 samples are NaN"):
            writer(tmp_path).add(X, [0] * 6, subject="anna", night=2)
    X = windows()
    X[0, 0, 0], X[0, 0, 1] = np.inf, -np.inf
    with pytest.raises(ValueError, match="window 0, channel 'C3': 2 of 100"):
        writer(tmp_path).add(X, [0] * 6, subject="anna")
    assert list(tmp_path.glob("*.f32")) == []


def test_flat_channel_is_refused_unless_it_is_meant(tmp_path):
    X = windows()
    X[:, 1] = 2.5
    with pytest.raises(ValueError, match="Recording 'a-1': channel C4 is flat"):
        writer(tmp_path).add(X, [0] * 6, subject="a")
    w = writer(tmp_path, allow_flat=True)
    w.add(X, [0] * 6, subject="a")
    assert len(w.close()) == 6


@pytest.mark.parametrize(
    ("X", "y", "message"),
    [
        (
            np.ones((6, 3, 50)),
            [0] * 6,
            r"shape \(6, 3, 50\); the store holds \(windows, 2, 50\) for channels \['C3', 'C4'\]",
        ),
        (np.ones((6, 2, 60)), [0] * 6, "at 10 Hz and windows of 5 s"),
        (np.ones((0, 2, 50)), [], "has no window"),
        (windows(), [0] * 5, "6 windows and 5 labels"),
        (windows(), [0, 1, 2.5, 3, 4, 0], "Recording 'a-1', window 2 has the stage 2.5; stages are the numbers 0=W"),
    ],
)
def test_misshapen_night_is_refused(tmp_path, X, y, message):
    with pytest.raises(ValueError, match=message):
        writer(tmp_path).add(X, y, subject="a")


def test_nights_of_one_name_do_not_replace_each_other(tmp_path):
    w = writer(tmp_path)
    w.add(windows(), [0] * 6, subject="a")
    with pytest.raises(ValueError, match=r"Recording 'a-1' has been stored already: tell nights apart by night=… or"):
        w.add(windows(), [1] * 6, subject="a")
    w.add(windows(), [1] * 6, subject="a", night=2)
    assert w.close().y.tolist() == [0] * 6 + [1] * 6
    again = writer(tmp_path)  # a build that is done again replaces what was there
    again.add(windows(), [2] * 6, subject="a")
    assert again.close().y.tolist() == [2] * 6


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"sfreq": float("nan")}, "sfreq is nan Hz"),
        ({"sfreq": "10"}, "sfreq is '10' Hz"),
        ({"window_s": -5}, "window_s is -5"),
        ({"ch_names": {"C3", "C4"}}, "got the set .*, which has no order"),
    ],
)
def test_signals_that_cannot_be_are_refused(tmp_path, wrong, message):
    given = {"ch_names": ["C3", "C4"], "sfreq": 10, "window_s": 5} | wrong
    with pytest.raises((TypeError, ValueError), match=message):
        NightWriter(tmp_path / "store", **given)
    assert not (tmp_path / "store").exists()


def test_damaged_store_is_named(tmp_path):
    fill(tmp_path)
    victim = sorted(tmp_path.glob("*.f32"))[0]
    os.truncate(victim, 100)
    with pytest.raises(ValueError, match=rf"{victim.name} has 100 bytes where 2400 are due"):
        open_store(tmp_path)
    victim.unlink()
    with pytest.raises(FileNotFoundError, match="is gone from the store"):
        open_store(tmp_path)
    (tmp_path / "store.json").write_text("{")
    with pytest.raises(ValueError, match="not a readable JSON"):
        open_store(tmp_path)
    (tmp_path / "store.json").write_text('{"format": "other", "version": 3}')
    with pytest.raises(ValueError, match="'other' version 3"):
        open_store(tmp_path)
    with pytest.raises(FileNotFoundError, match="holds no store"):
        open_store(tmp_path / "nowhere")


def test_file_that_shrinks_while_it_is_read_is_named(tmp_path):
    nights = fill(tmp_path, n_nights=1)
    os.truncate(next(tmp_path.glob("*.f32")), 900)
    with pytest.raises(OSError, match="ends 300 bytes too early"):
        nights.read([0, 1, 2])


def test_store_that_was_made_again_is_read_anew_wherever_one_stands(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    want = fill("store", n_nights=1).read()
    (signal,) = Path("store").glob("*.f32")
    os.truncate(signal, 900)  # and an open file sees it
    signal.unlink()
    np.testing.assert_array_equal(fill("store", n_nights=1).read(), want)


def test_empty_store_is_refused(tmp_path):
    with pytest.raises(ValueError, match="No night was stored"):
        writer(tmp_path).close()


MEMORY = """
import resource, sys
import numpy as np, torch
from torch.utils.data import DataLoader
from eegaug.data import open_store
nights = open_store(sys.argv[1])
total = 0.0
for X, y, _ in DataLoader(nights, batch_size=16, shuffle=True, generator=torch.Generator().manual_seed(0)):
    total += float(X.sum())
assert len(nights) == 20 * len(nights.datasets)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs getrusage")
def test_memory_does_not_grow_with_the_number_of_nights(tmp_path):
    names = [f"EEG{k}" for k in range(8)]
    rng = np.random.default_rng(0)
    X = rng.standard_normal((20, 8, 12_000)).astype("float32")  # 7.7 MB a night: 50 of them are half a process
    peak = {}
    for n in (5, 50):
        w = NightWriter(tmp_path / str(n), names, 400, 30)
        for k in range(n):
            w.add(X, [0] * 20, subject=f"s{k}")
        w.close()
        run = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(MEMORY), str(tmp_path / str(n))],
            capture_output=True,
            text=True,
            check=True,
        )
        peak[n] = int(run.stdout)
    assert peak[50] < 1.2 * peak[5], peak
