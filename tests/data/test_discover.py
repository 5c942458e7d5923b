import os
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pytest

from eegaug.data import discover
from eegaug.data._whose import names_of_nights
from eegaug.data.discover import find_recordings, unread_files
from eegaug.data.scorings import pairing

from .edf_files import pages, write_edf


def touch(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def pairs(folder, **options):
    """Recording -> (hypnogram, subject, night)."""
    found, _ = find_recordings(folder, **options)
    return {f.name: (f.hypnogram and f.hypnogram.name, f.subject, f.night) for f in found}


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (
            ["SC4001E0-PSG.edf", "SC4001EC-Hypnogram.edf", "SC4002E0-PSG.edf", "SC4002EH-Hypnogram.edf"],
            {"SC4001E0-PSG": ("SC4001EC-Hypnogram.edf", "SC400", 1),
             "SC4002E0-PSG": ("SC4002EH-Hypnogram.edf", "SC400", 2)},
        ),
        (["ST7012J0-PSG.edf", "ST7012JP-Hypnogram.edf"], {"ST7012J0-PSG": ("ST7012JP-Hypnogram.edf", "ST701", 2)}),
        (
            ["01-03-0007 PSG.edf", "01-03-0007 Base.edf", "01-03-0007 Spindles_E1.edf", "01-03-0008 PSG.edf",
             "01-03-0008 Annotations.edf"],
            {"01-03-0007 PSG": ("01-03-0007 Base.edf", "01-03-0007", 1),
             "01-03-0008 PSG": ("01-03-0008 Annotations.edf", "01-03-0008", 1)},
        ),
        (
            ["sub-01/ses-2/eeg/sub-01_ses-2_task-sleep_eeg.edf", "sub-01/ses-2/eeg/sub-01_ses-2_task-sleep_events.tsv",
             "sub-01/ses-2/eeg/sub-01_ses-2_task-sleep_channels.tsv", "participants.tsv"],
            {"sub-01_ses-2_task-sleep_eeg": ("sub-01_ses-2_task-sleep_events.tsv", "sub-01", 2)},
        ),
        (
            ["anna.edf", "anna.csv", "ben.edf", "ben_hypnogram.txt", "ben2.edf", "ben2-stages.tsv", "cleo_psg.edf",
            "cleo.txt"], {"anna": ("anna.csv", "anna", 1), "ben": ("ben_hypnogram.txt", "ben", 1),
             "ben2": ("ben2-stages.tsv", "ben2", 1), "cleo_psg": ("cleo.txt", "cleo_psg", 1)},
        ),
        (["p1/psg.edf", "p1/psg.csv", "p2/psg.edf", "p2/psg.csv"],
         {"p1/psg.edf": ("psg.csv", "p1", "psg"), "p2/psg.edf": ("psg.csv", "p2", "psg")}),
        (["eeg/a.edf", "scores/a.txt"], {"a": ("a.txt", "a", 1)}),
        (["sub-1_eeg_raw.fif", "sub-1_events.tsv", "b_psg_raw.fif", "b_psg_hypnogram.txt"],
         {"sub-1_eeg_raw": ("sub-1_events.tsv", "sub-1", 1), "b_psg_raw": ("b_psg_hypnogram.txt", "b_psg_raw", 1)}),
        (["a.edf", "notes.txt", "ab.csv"], {"a": (None, "a", 1)}),
        (["sub-01_task-sleep_eeg.edf", "sub-01_task-sleep_scoring.tsv"],
         {"sub-01_task-sleep_eeg": ("sub-01_task-sleep_scoring.tsv", "sub-01", 1)}),
        (["a_sleep.edf", "a_sleep_stages.csv", "b sleep.edf", "b sleepscoring.edf", "c.edf", "c_sleep-hypnogram.txt"],
         {"a_sleep": ("a_sleep_stages.csv", "a_sleep", 1), "b sleep": (None, "b sleep", 1),
          "c": ("c_sleep-hypnogram.txt", "c", 1)}),
        (["a.edf", "a_sleep.edf", "a_sleep_scoring.csv"],
         {"a": (None, "a", 1), "a_sleep": ("a_sleep_scoring.csv", "a_sleep", 1)}),
        (["A.EDF", "a.CSV"], {"A": ("a.CSV", "A", 1)}),
        ([".hidden.edf", "b.edf"], {"b": (None, "b", 1)}),
    ],
)  # fmt: skip
def test_layouts(tmp_path, files, expected):
    touch(tmp_path, *files)
    assert pairs(tmp_path) == expected


def test_hypnogram_of_another_night_of_the_same_name_is_not_taken(tmp_path):
    touch(tmp_path, "p1/psg.edf", "p2/psg.edf", "p2/psg.csv")
    assert pairs(tmp_path) == {"p1/psg.edf": (None, "p1", "psg"), "p2/psg.edf": ("psg.csv", "p2", "psg")}


@pytest.mark.parametrize("other", ["b/P07.edf", "b/p07_eeg.edf", "b/p07.fif"])
def test_a_hypnogram_beside_one_recording_is_no_other_s(tmp_path, other):
    touch(tmp_path, "a/p07.edf", "a/p07.txt", other)
    assert {f.path.name: f.hypnogram for f in find_recordings(tmp_path)[0]} == {
        "p07.edf": tmp_path / "a" / "p07.txt",
        Path(other).name: None,
    }


@pytest.mark.parametrize(
    ("files", "own"),
    [
        (["visit1/p07.edf", "visit2/p07.txt"], None),
        (["p2/rec/a.edf", "p1/score/a.txt"], None),
        (["p2/a.edf", "scores/p1/a.txt"], None),
        (["p2/a.edf", "scores/p1/a.txt", "scores/p2/a.txt"], "scores/p2/a.txt"),
        (["p2/rec/a.edf", "p1/score/a.txt", "p2/score/a.txt"], "p2/score/a.txt"),
        (["edf1/p07.edf", "scores2/p07.txt"], "scores2/p07.txt"),
    ],
)
def test_folders_of_other_numbers_hold_no_hypnogram_of_a_recording(tmp_path, files, own):
    touch(tmp_path, *files)
    (found,), _ = find_recordings(tmp_path)
    assert found.hypnogram == (own and tmp_path / own) and found.problem is None


def test_hypnograms_in_another_folder(tmp_path):
    touch(tmp_path, "eeg/a.edf", "other/a_stages.csv")
    assert pairs(tmp_path / "eeg") == {"a": (None, "a", 1)}
    assert pairs(tmp_path / "eeg", hypnograms=tmp_path / "other") == {"a": ("a_stages.csv", "a", 1)}
    with pytest.raises(FileNotFoundError, match="no folder of hypnograms"):
        find_recordings(tmp_path, hypnograms=tmp_path / "nowhere")


def test_two_hypnograms_for_one_recording_are_a_problem(tmp_path):
    touch(tmp_path, "a.edf", "a.csv", "a.txt")
    found, _ = find_recordings(tmp_path)
    assert found[0].problem == "several hypnograms could be its own: a.csv, a.txt"


def test_hypnogram_without_recording_is_told(tmp_path):
    touch(tmp_path, "a.edf", "SC4011EC-Hypnogram.edf")
    assert [p.name for p in find_recordings(tmp_path)[1]] == ["SC4011EC-Hypnogram.edf"]


def test_single_file_glob_and_list(tmp_path):
    touch(tmp_path, "x/a.edf", "x/a.csv", "y/b.edf", "y/b.csv")
    np.savez(tmp_path / "y" / "c.npz", X=0)
    assert pairs(tmp_path / "x" / "a.edf") == {"a": ("a.csv", "a", 1)}
    assert list(pairs(str(tmp_path / "*" / "*.edf"))) == ["a", "b"]
    assert list(pairs([tmp_path / "y" / "b.edf", tmp_path / "y" / "c.npz"])) == ["b", "c"]


def test_subject_pattern(tmp_path):
    touch(tmp_path, "lab/p07_n2.edf", "lab/p08_n1.edf")
    got = pairs(tmp_path, subject_pattern=r"(?P<subject>p\d+)_n(?P<night>\d)")
    assert got == {"p07_n2": (None, "p07", 2), "p08_n1": (None, "p08", 1)}
    with pytest.raises(ValueError, match=r"finds no subject in 'lab/p07_n2.edf'"):
        find_recordings(tmp_path, subject_pattern=r"(?P<subject>q\d+)")
    with pytest.raises(ValueError, match="needs a group named subject"):
        find_recordings(tmp_path, subject_pattern=r"(p\d+)")
    with pytest.raises(ValueError, match="is no regular expression"):
        find_recordings(tmp_path, subject_pattern="(")


def test_nothing_there(tmp_path):
    touch(tmp_path, "readme.txt", "a-Hypnogram.edf")
    with pytest.raises(FileNotFoundError, match=r"There is no recording \(.edf, .bdf, .*, .npz\) in"):
        find_recordings(tmp_path)
    for wrong in (tmp_path / "nowhere", str(tmp_path / "*.bdf"), [], [tmp_path / "x.edf"]):
        with pytest.raises(FileNotFoundError):
            find_recordings(wrong)


def test_hypnograms_alone_are_said_to_be_no_recordings(tmp_path):
    lonely = tmp_path / "SC4001EC-Hypnogram.edf"
    lonely.touch()
    with pytest.raises(FileNotFoundError, match=r"no recording \(.*\) among .*SC4001EC-Hypnogram.edf. Hypnograms are"):
        find_recordings([lonely])


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (
            ["s1/night1.edf", "s1/night2.edf", "s2/night1.edf"],
            {"s1/night1.edf": ("s1", "night1"), "night2": ("s1", "night2"), "s2/night1.edf": ("s2", "night1")},
        ),
        (
            ["edf/s1/ses1/psg.edf", "edf/s1/ses2/psg.edf", "edf/s2/ses1/psg.edf"],
            {
                "edf/s1/ses1/psg.edf": ("s1", "ses1/psg"),
                "edf/s1/ses2/psg.edf": ("s1", "ses2/psg"),
                "edf/s2/ses1/psg.edf": ("s2", "ses1/psg"),
            },
        ),
        (
            ["visit1/S01.edf", "visit1/S02.edf", "visit2/S01.edf", "visit2/S03.edf"],
            {
                "visit1/S01.edf": ("S01", "visit1"),
                "S02": ("S02", "visit1"),
                "visit2/S01.edf": ("S01", "visit2"),
                "S03": ("S03", "visit2"),
            },
        ),
        (
            ["visit1/S01/eeg/psg.edf", "visit1/S02/eeg/psg.edf", "visit2/S01/eeg/psg.edf", "visit2/S03/eeg/nap.edf"],
            {
                "visit1/S01/eeg/psg.edf": ("S01", "visit1/eeg/psg"),
                "visit1/S02/eeg/psg.edf": ("S02", "visit1/eeg/psg"),
                "visit2/S01/eeg/psg.edf": ("S01", "visit2/eeg/psg"),
                "nap": ("S03", "visit2/eeg/nap"),
            },
        ),
        (
            ["visit1/eeg/S01.edf", "visit2/eeg/S01.edf"],
            {"visit1/eeg/S01.edf": ("S01", "visit1/eeg"), "visit2/eeg/S01.edf": ("S01", "visit2/eeg")},
        ),
        (
            ["s1/n1.edf", "s2/n1.edf", "s3/n3.edf", "s3/n4.edf", "x/y/n5.edf", "n6.edf"],
            {"n3": ("s3", "n3"), "n4": ("s3", "n4"), "n5": ("n5", 1), "n6": ("n6", 1)},
        ),
        (["12-05-2023 P01.edf", "13-05-2023 P02.edf"], {"12-05-2023 P01": ("12-05-2023 P01", 1)}),
    ],
)
def test_nights_of_a_subject_stay_together(tmp_path, files, expected):
    touch(tmp_path, *files)
    found, _ = find_recordings(tmp_path)
    who = {one.name: (one.subject, one.night) for one in found}
    assert expected.items() <= who.items() and len(who) == len(files)
    assert {one.guessed for one in found} == {"/" in files[0], "/" in files[-1]}


def test_hypnograms_of_the_folder_that_is_named_go_first(tmp_path):
    touch(tmp_path, "a.edf", "a.csv", "B/a.csv", "C/other.csv")
    assert find_recordings(tmp_path / "a.edf", hypnograms=tmp_path / "B")[0][0].hypnogram == tmp_path / "B" / "a.csv"
    assert find_recordings(tmp_path, hypnograms=tmp_path / "B")[0][0].hypnogram == tmp_path / "B" / "a.csv"
    assert find_recordings(tmp_path, hypnograms=tmp_path / "C")[0][0].hypnogram == tmp_path / "a.csv"
    assert find_recordings(tmp_path, hypnograms=tmp_path)[0][0].hypnogram == tmp_path / "a.csv"


def test_hypnograms_in_folders_called_as_the_recordings(tmp_path):
    nights = ["S1/eeg/night.edf", "S2/eeg/night.edf", "S2/eeg/nap.edf"]
    touch(tmp_path / "eeg", *nights)
    touch(tmp_path / "h", "S1/scored/night.csv", "S2/scored/night.csv", "X/nap.csv", "night.csv", "S3/night.csv")
    found, _ = find_recordings(tmp_path / "eeg", hypnograms=tmp_path / "h")
    of = {one.name: one.hypnogram.relative_to(tmp_path / "h").as_posix() for one in found}
    assert of == {
        "S1/eeg/night.edf": "S1/scored/night.csv",
        "S2/eeg/night.edf": "S2/scored/night.csv",
        "nap": "X/nap.csv",
    }
    touch(tmp_path / "h", "S1/again/night.csv")
    problems = [one.problem for one in find_recordings(tmp_path / "eeg", hypnograms=tmp_path / "h")[0]]
    assert "several hypnograms" in problems[0] and problems[1:] == [None, None]
    assert {one.hypnogram for one in find_recordings(tmp_path / "eeg")[0]} == {None}


@pytest.mark.parametrize("other", [None, "scores"])
def test_a_cohort_whose_recordings_are_called_alike_is_gone_through_once(tmp_path, monkeypatch, other):
    asked = []
    counted = pairing.is_hypnogram, Path.is_relative_to, Path.__eq__
    for module in (discover, pairing):
        monkeypatch.setattr(module, "is_hypnogram", lambda path: asked.append(path) or counted[0](path))
    monkeypatch.setattr(Path, "is_relative_to", lambda path, *top: asked.append(path) or counted[1](path, *top))
    monkeypatch.setattr(Path, "__eq__", lambda path, one: asked.append(path) or counted[2](path, one))
    n_asked = {}
    for n in (20, 80):
        root = tmp_path / str(n)
        scores = root if other is None else tmp_path / f"{other}-{n}"
        for i in range(n):
            touch(root, f"p{i:02d}/psg.edf")
            touch(scores, f"p{i:02d}/psg-hypnogram.edf")
        del asked[:]
        found, _ = find_recordings(root, hypnograms=None if other is None else scores)
        n_asked[n] = len(asked)
        assert [(one.subject, one.hypnogram) for one in found] == [
            (f"p{i:02d}", scores / f"p{i:02d}" / "psg-hypnogram.edf") for i in range(n)
        ]
    assert n_asked[80] < 5 * n_asked[20]


def test_recordings_in_several_forms_and_parts_are_gone_through_once(tmp_path, monkeypatch):
    asked = []
    counted = Path.__hash__, Path.__eq__
    monkeypatch.setattr(Path, "__hash__", lambda path: asked.append(path) or counted[0](path))
    monkeypatch.setattr(Path, "__eq__", lambda path, one: asked.append(path) or counted[1](path, one))
    n_asked = {}
    for n in (20, 80):
        for i in range(n):
            touch(tmp_path / str(n), f"a{i}.edf", f"a{i}.fif", f"b{i}.fif", f"b{i}-1.fif")
        del asked[:]
        found, _ = find_recordings(tmp_path / str(n))
        n_asked[n] = len(asked)
        assert {one.path.name for one in found} == {name for i in range(n) for name in (f"a{i}.edf", f"b{i}.fif")}
    assert n_asked[80] < 5 * n_asked[20]


def test_edf_files_in_a_folder_of_hypnograms_may_be_called_as_the_recordings(tmp_path):
    touch(tmp_path, "eeg/a.edf", "eeg/b_psg.edf", "eeg/c.edf", "h/c.edf", "eeg/c.csv")
    for name in ("a", "b"):
        write_edf(tmp_path / "h" / f"{name}.edf", stages=pages("W2R"))
    named = {"a": ("a.edf", "a", 1), "b_psg": ("b.edf", "b_psg", 1), "c": ("c.csv", "c", 1)}
    assert pairs(tmp_path / "eeg", hypnograms=tmp_path / "h") == named
    assert pairs(tmp_path / "eeg", hypnograms=tmp_path / "eeg")["a"] == (None, "a", 1)


def test_hypnograms_are_the_same_however_their_folder_is_named(tmp_path, monkeypatch):
    touch(tmp_path, "nights/a/n.edf", "nights/a/n-Hypnogram.edf", "nights/b/n.edf", "nights/b/n-Hypnogram.edf")
    monkeypatch.chdir(tmp_path)
    own = [tmp_path / "nights" / one / "n-Hypnogram.edf" for one in "ab"]
    for source, hypnograms in [(tmp_path / "nights", "nights"), ("nights", tmp_path / "nights" / "b" / "..")]:
        found, orphans = find_recordings(source, hypnograms=hypnograms)
        assert [one.hypnogram and one.hypnogram.absolute() for one in found] == own and orphans == []
    found, _ = find_recordings([path.with_name("n.edf") for path in own], hypnograms="nights")
    assert [one.hypnogram for one in found] == own


def test_sleep_edf_that_somebody_scored_again(tmp_path):
    touch(tmp_path, "SC4001E0-PSG.edf", "SC4001EC-Hypnogram.edf", "h/SC4001E0-PSG.csv", "h/SC4002E0_stages.csv")
    (one,), _ = find_recordings(tmp_path / "SC4001E0-PSG.edf", hypnograms=tmp_path / "h")
    assert one.hypnogram == tmp_path / "h" / "SC4001E0-PSG.csv"
    touch(tmp_path, "SC4002E0-PSG.edf", "SC4001E0_stages.csv")
    first, second = find_recordings(sorted(tmp_path.glob("*PSG.edf")), hypnograms=tmp_path / "h")[0]
    assert (first.problem, second.hypnogram) == (None, tmp_path / "h" / "SC4002E0_stages.csv")
    (one, _), _ = find_recordings(sorted(tmp_path.glob("*PSG.edf")))
    assert one.problem == "several hypnograms could be its own: SC4001E0_stages.csv, SC4001EC-Hypnogram.edf"


def test_a_scoring_in_two_forms_is_one(tmp_path):
    touch(tmp_path, *[f"SN00{k}{rest}" for k in (1, 2) for rest in (".edf", "_sleepscoring.edf", "_sleepscoring.txt")])
    scored = {f"SN00{k}": (f"SN00{k}_sleepscoring.edf", f"SN00{k}", 1) for k in (1, 2)}
    assert pairs(tmp_path) == scored


def test_recordings_on_two_drives(tmp_path, monkeypatch):
    touch(tmp_path, "c/a.edf", "d/b.edf", "d/b.csv")

    def commonpath(paths):
        raise ValueError("Paths don't have the same drive")

    monkeypatch.setattr("os.path.commonpath", commonpath)
    assert pairs([tmp_path / "c" / "a.edf", tmp_path / "d" / "b.edf"]) == {"a": (None, "a", 1), "b": ("b.csv", "b", 1)}


def test_names_like_those_of_sleep_edf_are_not_its_own(tmp_path):
    touch(tmp_path, "SC1011A.edf", "SC1012A.edf", "SC4011E0-PSG.edf", "ST7012J0-PSG.edf")
    found, _ = find_recordings(tmp_path)
    assert [(one.subject, one.night) for one in found] == [("SC1011A", 1), ("SC1012A", 1), ("SC401", 1), ("ST701", 2)]


def test_visits_of_nsrr_are_nights_of_a_subject(tmp_path):
    touch(
        *(tmp_path, "shhs1-200001.edf", "shhs2-200001.edf", "mros-visit2-aa0001.edf", "wsc-visit1-10119-nsrr.edf"),
        *("chat-followup-300001.edf", "sof-visit-8-00009.edf", "mesa-sleep-0001.edf", "shhs3-1.edf"),
        "shhs1-200002_raw.fif",
        *("abc-baseline-900001.edf", "abc-month09-900001.edf", "pats-810001-followup.edf", "apples-140094.edf"),
    )
    assert {name: who for name, (_, *who) in pairs(tmp_path).items()} == {
        "shhs1-200001": ["shhs-200001", 1],
        "shhs2-200001": ["shhs-200001", 2],
        "mros-visit2-aa0001": ["mros-aa0001", "visit2"],
        "wsc-visit1-10119-nsrr": ["wsc-10119", "visit1"],
        "chat-followup-300001": ["chat-300001", "followup"],
        "sof-visit-8-00009": ["sof-00009", "visit-8"],
        "shhs1-200002_raw": ["shhs-200002", 1],
        "mesa-sleep-0001": ["mesa-sleep-0001", 1],
        "shhs3-1": ["shhs3-1", 1],
        "abc-baseline-900001": ["abc-900001", "baseline"],
        "abc-month09-900001": ["abc-900001", "month09"],
        "pats-810001-followup": ["pats-810001", "followup"],
        "apples-140094": ["apples-140094", 1],
    }


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["n1", "n2", "v1_p07", "v2_p07", "p08_day2_raw", "p09_day2_raw", "even1"], ["v1_p07", "v2_p07"]),
        (["p07_pre", "p07_post", "p08_pre", "p09-x_pre"], ["p07_post", "p07_pre"]),
        (["p07 2024-02-29", "p07 2024-03-01", "p08 2024-03-01 b"], ["p07 2024-02-29", "p07 2024-03-01"]),
        (["rec_p07_1", "rec_p07_2", "rec_p08_1"], ["rec_p07_1", "rec_p07_2", "rec_p08_1"]),
        (["control_01", "control_02", "patient_03"], []),
        (["lab_p07", "lab_p08"], []),
        (["n1", "n2", "2024-02-29"], []),
        (["p07 day1_psg", "p07 day2_psg_raw", "p08 day1"], ["p07 day1_psg", "p07 day2_psg_raw"]),
        (["p07", "p07_night2", "p08", "p09", "p09_eeg"], ["p07", "p07_night2", "p09", "p09_eeg"]),
        (["night1", "night 2_eeg", "p08", "v1"], ["night 2_eeg", "night1", "v1"]),
        (["p07_part1", "p07_part2", "p08_psg", "p08_headband"], ["p07_part1", "p07_part2", "p08_psg", "p08_headband"]),
        (["p07", "p07_2", "p08", "p09", "p09 (2)", "p10"], ["p07", "p07_2", "p09", "p09 (2)"]),
    ],
)
def test_nights_are_told_by_the_names_of_files(tmp_path, names, told):
    touch(tmp_path, *[f"{name}.edf" for name in names])
    assert names_of_nights(find_recordings(tmp_path)[0]) == told


@pytest.mark.parametrize(
    ("files", "told"),
    [
        (["p1/a.edf", "p1/b.edf", "p2/c.edf"], ["a", "b"]),
        (["visit1/a.edf", "visit1/b.edf", "visit2/c.edf"], []),
        (["a.edf", "b.edf", "more/c.edf"], []),
        (["all/a.edf", "all/b.edf"], []),
        ([f"{site}/{k}{site}.edf" for site in ("here", "there") for k in range(5)], []),  # of many subjects each
        (["sub-01/sub-01_run-1_eeg.edf", "sub-01/sub-01_run-2_eeg.edf", "sub-02/sub-02_eeg.edf"], []),
    ],
)
def test_a_few_recordings_in_one_of_several_folders_may_be_of_one_subject(tmp_path, files, told):
    touch(tmp_path, *files)
    assert names_of_nights(find_recordings(tmp_path)[0]) == told


def test_npz_nights_may_say_whose_they_are(tmp_path):
    for name, about in [
        ("p07_night1", {}),
        ("p07_night2", {}),
        ("p08_night1", {"subject": "p08"}),
        ("p08_night2", {"subject": "p08"}),
    ]:
        np.savez(tmp_path / f"{name}.npz", X=np.ones((3, 1, 100)), ch_names=["C3"], sfreq=10.0, **about)
    assert names_of_nights(find_recordings(tmp_path)[0]) == ["p07_night1", "p07_night2"]


def test_a_subject_known_by_folders_of_visits_is_not_said_to_be_several(tmp_path):
    touch(tmp_path, "visit1/p07.edf", "visit2/p07.edf", "visit1/p08.edf")
    assert names_of_nights(find_recordings(tmp_path)[0]) == []


def test_recordings_of_other_kinds_are_named(tmp_path):
    touch(tmp_path, "a.hdf5", "sub/b.HDF5", "c_raw.fif.gz", "d.edf.gz", "notes.txt", "e.eeg")
    assert [p.name for p in unread_files(tmp_path)] == ["a.hdf5", "c_raw.fif.gz", "d.edf.gz", "b.HDF5"]
    with pytest.raises(FileNotFoundError, match=r"Files there: 2 .hdf5, 2 .gz, 1 .eeg, 1 .txt"):
        find_recordings(tmp_path)


def test_links_are_followed_once(tmp_path):
    touch(tmp_path, "real/s1/a.edf", "data/s2/b.edf")
    (tmp_path / "data" / "s1").symlink_to(tmp_path / "real" / "s1")
    (tmp_path / "data" / "s2" / "loop").symlink_to(tmp_path / "data")
    (tmp_path / "data" / "again.edf").symlink_to(tmp_path / "data" / "s2" / "b.edf")
    assert sorted(one.path.resolve().name for one in find_recordings(tmp_path / "data")[0]) == ["a.edf", "b.edf"]
    touch(tmp_path, "annex/.git/objects/hash.edf")
    (tmp_path / "annex" / "c.edf").symlink_to(tmp_path / "annex" / ".git" / "objects" / "hash.edf")
    assert [one.subject for one in find_recordings(tmp_path / "annex")[0]] == ["c"]
    a = tmp_path / "data" / "s1" / "a.edf"
    assert len(find_recordings([a, a])[0]) == 1


def test_letters_of_macos_are_those_of_others(tmp_path):
    one, two = (unicodedata.normalize(form, "José") for form in ("NFC", "NFD"))
    assert one != two
    touch(tmp_path, f"{two}_night1.edf", f"{one}_night1.csv", f"{one}_night2.edf", f"{two}_night2-Hypnogram.edf")
    found = pairs(tmp_path, subject_pattern=r"^(?P<subject>José)_night(?P<night>\d)")
    assert found == {
        f"{one}_night1": (f"{one}_night1.csv", one, 1),
        f"{one}_night2": (f"{two}_night2-Hypnogram.edf", one, 2),
    }
    assert names_of_nights(find_recordings(tmp_path)[0]) == [f"{one}_night1", f"{one}_night2"]


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are text")
def test_names_that_differ_in_their_bytes_alone_are_two(tmp_path):
    one, two = (unicodedata.normalize(form, "José") for form in ("NFC", "NFD"))
    touch(tmp_path, f"{one}.edf", f"{two}.edf")
    found, _ = find_recordings(tmp_path)
    assert sorted(f.name for f in found) == ["Jos\\xe9.edf", f"{one}.edf"] and {f.subject for f in found} == {one}


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are text")
def test_a_name_that_is_not_utf8_is_read_as_latin1(tmp_path):
    touch(tmp_path, *(os.fsdecode(name) for name in (b"M\xfcller.edf", b"M\xfcller.csv")))
    ((name, (hypnogram, subject, _)),) = pairs(tmp_path).items()
    assert (name, subject) == ("Müller", "Müller") and os.fsencode(hypnogram) == b"M\xfcller.csv"
