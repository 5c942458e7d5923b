"""`eegaug nights`."""

import json
import os

import pandas as pd
import pytest
from data.edf_files import noise, pages, write_edf

from .calls import run

STAGES = "WW1223R?W"
NAMES = ("SC4001E0-PSG", "SC4002E0-PSG", "SC4011E0-PSG")


def folder(tmp_path):
    channels = {"EEG Fpz-Cz": noise(270), "EEG Pz-Oz": noise(270)}
    for name in NAMES:
        write_edf(tmp_path / "in" / f"{name}.edf", channels, stages=pages(STAGES))
    return tmp_path / "in"


def test_table(tmp_path):
    done = run("nights", "--data", folder(tmp_path), "--quiet")
    assert done.exit_code == 0 and done.stderr == ""
    lines = done.stdout.splitlines()
    assert lines[0] == "3 recordings of 2 subjects, 0.2 h, channels EEG Fpz-Cz, EEG Pz-Oz"
    assert lines[2].split() == ["recording", "subject", "night", "hours", "W", "N1", "N2", "N3", "REM"]
    assert lines[4].split() == ["SC4002E0-PSG", "SC400", "2", "0.1", "3", "1", "2", "1", "1"]
    assert lines[6].split() == ["all", "9", "3", "6", "3", "3"] and len(set(map(len, lines[2:7]))) == 1
    assert lines[8:] == ["Remarks:", f"  {', '.join(NAMES)}: movement or unknown (1 window)"]


def test_bad_recordings_end_with_1(tmp_path):
    (folder(tmp_path) / "SC4021E0-PSG.edf").write_bytes(b"spam")
    out = tmp_path / "tables" / "nights.csv"
    done = run("nights", "--data", tmp_path / "in", "--channels", "Pz-Oz", "--out", out, "--json")
    assert done.exit_code == 1
    document = json.loads(done.stdout)
    assert document["recordings"][3]["problem"].startswith("no EDF or BDF file (4 bytes")
    assert [one["channels"] for one in document["recordings"]] == ["EEG Pz-Oz"] * 3 + [""]
    table = pd.read_csv(out)
    assert table["N2"].tolist() == [2, 2, 2, 0] and table["file"][0].endswith("SC4001E0-PSG.edf")
    done = run("nights", "--data", tmp_path / "in", "--quiet")
    assert "1 cannot be used:\n  SC4021E0-PSG: no EDF or BDF file" in done.stdout


def test_a_name_that_is_no_text(tmp_path):
    """As of files whose names were written in Latin-1: that is what they are read as."""
    try:
        os.rename(folder(tmp_path) / f"{NAMES[0]}.edf", os.fsencode(tmp_path / "in") + b"/M\xfcller.edf")
    except (OSError, UnicodeError):
        pytest.skip("files here have names in UTF-8")
    done = run("nights", "--data", tmp_path / "in", "--json", "--quiet", "--out", tmp_path / "nights.csv")
    assert done.exit_code == 0
    assert json.loads(done.stdout)["recordings"][0]["recording"] == "Müller"
    assert (tmp_path / "nights.csv").read_text("utf-8", "surrogateescape").splitlines()[1].split(",")[0] == "Müller"


def test_channels_called_otherwise(tmp_path):
    done = run("nights", "--data", folder(tmp_path), "--channels", "C3=Fpz-Cz,Pz-Oz", "--json", "--quiet")
    assert [one["channels"] for one in json.loads(done.stdout)["recordings"]] == ["EEG Fpz-Cz, EEG Pz-Oz"] * 3
    done = run("nights", "--data", tmp_path / "in", "--channels", "C3=")
    assert done.exit_code == 2 and "'C3=' is neither a name nor NAME=NAME-IN-THE-FILES" in done.stderr


def test_wrong_calls_end_with_2(tmp_path):
    for words, said in (
        (["--data", tmp_path / "absent"], "There is no file or folder"),
        (["--data", folder(tmp_path), "--channels", "Fp1"], "no recording has them all"),
        (["--data", tmp_path / "in", "--channels", "Fp1", "--data-arg", "ch_names=Fp1"], "says what --channels says"),
        (["--data", tmp_path / "in", "--channels", "C3=Fpz-Cz,C4=Fpz-Cz"], "two channels are called 'Fpz-Cz' in the"),
        (["--data", tmp_path / "in", "--channels", "C3", "--data-arg", "channels={}"], "arg channels says what --chan"),
        (["--data", tmp_path / "absent", "--out", tmp_path], "is a folder; name a CSV file"),
        (["--data", tmp_path / "in", "--data-arg", "spam=1"], "Unknown option spam"),
    ):
        done = run("nights", *words)
        assert done.exit_code == 2 and said in done.stderr and "Traceback" not in done.stderr
