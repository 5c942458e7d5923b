import datetime
import math

import numpy as np
import pytest

from eegaug.data import read_hypnogram
from eegaug.data.preprocessing import keep_around_sleep
from eegaug.data.scorings import hypnogram as module
from eegaug.data.scorings.hypnogram import Hypnogram
from eegaug.data.scorings.reading import four_is_n3

from .edf_files import pages, write_edf

STAGES = [0, 1, 2, 2, 3, 4, -1, 0]


def write(tmp_path, text, name="a.csv"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


ONE_PER_LINE = {
    "names": "W\nN1\nN2\nN2\nN3\nR\n?\nW\n",
    "header, byte order mark, comment, blank line": "\ufeffstage\n# scorer "
    "1\n\nWake\nN1\nN2\nN2\nN3\nREM\nUnscored\nWake",
    "five numbers": "0\n1\n2\n2\n3\n4\n-1\n0",
    "Rechtschaffen and Kales": "hypnogram\n0\n1\n2\n2\n4\n5\n6\n0\n",
    "floats": "0.0\n1.0\n2.0\n2.0\n3.0\n4.0\n-1.0\n0.0",
    "annotations": "\n".join(f"Sleep stage {s}" for s in "W1224R?W"),
    "epoch and stage": "epoch,stage\n1,W\n2,N1\n3,N2\n4,N2\n5,N3\n6,R\n7,?\n8,W",
    "epoch and number, no header, tab": "\n".join(f"{i}\t{s}" for i, s in enumerate([0, 1, 2, 2, 4, 5, 6, 0])),
}
TABLES = {
    "onset, duration, stage": (
        "onset,duration,stage\n0,30,W\n30,30,N1\n60,60,N2\n120,30,N3\n150,30,R\n180,30,?\n210,30,W"
    ),
    "other order and words": "Sleep_Stage;Duration (s);Start "
    "(s)\nW;30;0\nN1;30;30\nN2;60;60\nN3;30;120\nREM;30;150\n?;30;180\nW;30;210",
    "no header": "0 30 W\n30 30 N1\n60 60 N2\n120 30 N3\n150 30 R\n180 30 ?\n210 30 W",
    "no durations, unsorted, other events": (
        "onset\ttrial_type\tvalue\n30\tN1\t8\n0\tW\t8\n60\tN2\t8\n90\tN2\t8\n95\tArousal\t8\n"
        "120\tN3\t8\n150\tR\t8\n180\t?\t8\n210\tW\t8"
    ),
    "onsets without header": "0,0\n30,1\n60,2\n90,2\n120,3\n150,4\n180,-1\n210,0",
    "BIDS": "onset\tduration\ttrial_type\n0\t30\tSleep stage W\n30\t30\tSleep stage 1\n60\t60\tSleep stage 2\n"
    "70\tn/a\tspindle\n120\t30\tSleep stage 3\n150\t30\tSleep stage R\n180\t30\tMovement time\n210\t30\tSleep stage W",
}


@pytest.mark.parametrize("text", [*ONE_PER_LINE.values(), *TABLES.values()], ids=[*ONE_PER_LINE, *TABLES])
def test_text(tmp_path, text):
    found = read_hypnogram(write(tmp_path, text)).windows(30, 240)
    keep = [i for i, s in enumerate(STAGES) if s >= 0]
    assert found.y.tolist() == [STAGES[i] for i in keep]
    assert found.onset_s.tolist() == [30.0 * i for i in keep]
    assert (found.n_unscored, found.n_outside, found.n_missing, found.n_partial) == (1, 0, 0, 0)


def test_edf_annotations(tmp_path):
    path = write_edf(tmp_path / "h.edf", stages=[*pages("W1224R?W", start_s=7.5), (33.0, 0.0, "Lights off")])
    found = read_hypnogram(path).windows(30, 250)
    assert found.y.tolist() == [0, 1, 2, 2, 3, 4, 0]
    np.testing.assert_allclose(found.onset_s, 7.5 + 30 * np.array([0, 1, 2, 3, 4, 5, 7]))


def test_four_is_n3_where_rem_has_a_letter(tmp_path):
    h = read_hypnogram(write(tmp_path, "W\n1\n2\n3\n4\n4\nR\nW\n"))
    assert h.stage.tolist() == [0, 1, 2, 3, 3, 3, 4, 0] and h.notes == []


def test_four_without_five_is_rem_and_said(tmp_path):
    path = write(tmp_path, "0\n2\n4\n")
    found = read_hypnogram(path)
    assert found.stage.tolist() == [0, 2, 4] and "stage_numbers='r&k'" in found.notes[0]
    assert read_hypnogram(path, numbers="r&k").stage.tolist() == [0, 2, 3]
    assert read_hypnogram(write(tmp_path, "0\n2\n5\n4\n")).stage.tolist() == [0, 2, 4, 3]


@pytest.mark.parametrize(
    ("text", "onsets"),
    [
        ("epoch,stage\n1,W\n2,N1\n3,N2\n7,N2\n8,R\n", [0, 30, 60, 180, 210]),
        ("1,W\n2,N1\n3,N2\n7,N2\n8,R\n", [0, 30, 60, 180, 210]),
        ("Epoch nr;stage\n6;W\n7;N1\n", [150, 180]),
        ("0\tW\n1\tN1\n3\tN2\n4\tN2\n", [0, 30, 90, 120]),
        ("onset (ms),duration (ms),stage\n0,30000,W\n30000,30000,N1\n", [0, 30]),
        ("time (min),stage\n0,W\n0.5,N1\n1,N2\n", [0, 30, 60]),
        ("onset [s],duration [s],stage\n60,30,W\n90,30,R\n", [60, 90]),
        ("W\n\nN1\n\nN2\n\nR\n", [0, 30, 60, 90]),
        ("W\t0\t60\nN1\t60\t30\nN2\t120\t30\n", [0, 30, 60, 120]),
        ("W,0,60\nN1,60,90\nN2,120,150\n", [0, 30, 60, 120]),
        ("0,60,W\n60,90,N1\n120,150,N2\n", [0, 30, 60, 120]),
        ("0,W,60\n60,N1,30\n120,N2,30\n", [0, 30, 60, 120]),
        ("0,W,30\n30,N1,60\n90,N2,120\n", [0, 30, 60, 90, 120, 150, 180]),
        ("W,30,0\nN1,30,60\nN2,30,90\n", [0, 60, 90]),
        ("30,0,W\n90,60,N1\n120,90,N2\n", [0, 60, 90]),
        ("stage,sample\nW,3000\nN1,6000\nN2,9000\n", [0, 30, 60]),
        ("0.7,0,30.01,W\n0.9,30,29.99,N1\n0.7,90,30,N2\n", [0, 30, 90]),
        ("W,1\nN1,2\nN2,3\nN2,7\nR,8\n", [0, 30, 60, 180, 210]),
        ("stage,duration\nW,60\nN1,30\nN2,60\n", [0, 30, 60, 90, 120]),
        ("epoch,stage,duration\n1,W,60\n2,N1,60\n4,N2,30\n", [0, 30, 60, 90, 180]),
        (
            "Date, Time, Recording onset, Duration, Annotation, Linked channel\n"
            "2001-01-01, 22:31:01, 60.0, 30.0, Sleep stage W,\n2001-01-01, 22:31:31, 90.0, 30.0, Sleep stage N2,\n",
            [60, 90],
        ),
    ],
)
def test_rows_are_where_the_file_says(tmp_path, text, onsets):
    assert read_hypnogram(write(tmp_path, text)).windows(30, 600).onset_s.tolist() == onsets


@pytest.mark.parametrize(
    "text",
    [
        "23:59:30,W\n00:00:00,N1\n00:01:00,N2\n",
        "23:59:30 W\n00:00:00 N1\n00:01:00 N2\n",
        "23:59:30;30;W\n00:00:00;60;N1\n00:01:00;30;N2\n",
        "W;23.59.30;30\nN1;00.00.00;60\nN2;00.01.00;30\n",
        "clock,stage\n23:59:30.0,W\n0:00:00.0,N1\n0:01:00.0,N2\n",
        "Start Time,End Time,Stage\n11:59:30 PM,12:00:00 AM,W\n12:00:00 AM,12:01:00 AM,N1\n"
        "12:01:00 AM,12:01:30 AM,N2\n",
        "onset,duration,stage\n2024-02-29T23:59:30,30,W\n2024-03-01T00:00:00,60,N1\n2024-03-01T00:01:00,30,N2\n",
        "time,stage\n00:00:00,N1\n00:01:00,N2\n23:59:30,W\n".replace("time", "clock"),
        "Patient:\tn1\nScored:\tyes\n\nSleep Stage\tPosition\tTime [hh:mm:ss]\tEvent\tDuration [s]\tLocation\n"
        "W\tUnknown\t23:59:30\tSLEEP-S0\t30\tROC-LOC\nN1\tUnknown\t00:00:00\tSLEEP-S1\t60\tROC-LOC\n"
        "N1\tUnknown\t00:00:10\tMCAP-A1\t5\tC4-A1\nN2\tUnknown\t00:01:00\tSLEEP-S2\t30\tROC-LOC\n",
    ],
)
def test_times_of_the_day_count_from_the_start_of_the_recording(tmp_path, text):
    found = read_hypnogram(write(tmp_path, text)).since(datetime.datetime(2024, 2, 29, 23, 58, 45), 600)
    assert found.onset_s.tolist() == [45, 75, 135] and found.stage.tolist() == [0, 1, 2]
    assert found.duration_s.tolist()[:2] == [30, 60]
    late = read_hypnogram(write(tmp_path, text)).since(datetime.datetime(2024, 3, 1, 0, 0, 30), 600)
    assert late.onset_s.tolist() == [-60, -30, 30]


def test_times_of_the_day_need_a_recording_that_says_when_it_began(tmp_path):
    found = read_hypnogram(write(tmp_path, "22:30:00,W\n22:30:30,N1\n"))
    with pytest.raises(ValueError, match="the recording does not say when it began"):
        found.since(None, 600)
    with pytest.raises(ValueError, match=r"it begins at 22:30:00 by the clock, and .* says 00:00:00"):
        found.since(datetime.datetime(1985, 1, 1), 600)
    midnight = read_hypnogram(write(tmp_path, "clock,stage\n00:00:30,W\n00:01:00,N1\n23:59:59.5,W\n"))
    assert midnight.since(datetime.datetime(2024, 1, 2), 600).onset_s.tolist() == [-0.5, 30, 60]


def test_times_since_the_start_of_the_recording(tmp_path):
    for text in (
        "00:00:00,W\n00:01:00,N1\n00:01:30,N2\n",
        "elapsed,duration,stage\n00:00:00,00:01:00,W\n00:01:00,00:00:30,N1\n00:01:30,00:00:30,N2\n",
    ):
        found = read_hypnogram(write(tmp_path, text)).since(None, 600)
        assert found.onset_s.tolist() == [0, 60, 90] and found.duration_s.tolist() == [
            60,
            30,
            30 if "dur" in text else 45,
        ]
    late = read_hypnogram(write(tmp_path, "elapsed,stage\n00:05:00,W\n00:05:30,N1\n"))
    assert late.since(None, 600).onset_s.tolist() == [300, 330]
    long = read_hypnogram(write(tmp_path, "time,stage\n23:00:00,W\n24:00:00,N1\n"))
    assert long.since(None, 600).onset_s.tolist() == [82800, 86400]


def test_numbers_of_stages_are_those_of_the_column_of_stages(tmp_path):
    assert not four_is_n3(write(tmp_path, "onset,duration,stage,quality\n0,30,0,1\n30,30,2,5\n60,30,4,4\n"))
    assert four_is_n3(write(tmp_path, "onset,stage,remark\n0,0,a\n30,5,b\n"))
    assert four_is_n3(write(tmp_path, "W\n1\n2\nR\n")) and not four_is_n3(write(tmp_path, "W\nN1\nN2\nR\n-1\n"))
    assert not four_is_n3(tmp_path / "absent.txt")


def test_words_that_are_no_stage_are_said_where_nothing_else_is(tmp_path):
    table = "onset,duration,stage\n0,30,W\n10,25,Hypopnea\n30,30,Stade Deux\n60,30,N2\n"
    assert read_hypnogram(write(tmp_path, table)).notes == ["labels that name no stage were left out: 'Stade Deux'"]
    cap = "onset,duration,stage\n0,30,SLEEP-S0\n30,30,SLEEP-S2\n60,30,SLEEP-S4\n90,30,SLEEP-REM\n120,30,SLEEP-MT\n"
    found = read_hypnogram(write(tmp_path, cap))
    assert found.stage.tolist() == [0, 2, 3, 4, -1] and found.notes == []


def test_words_without_durations_that_may_be_stages_are_said(tmp_path):
    rows = ["0,N1", "30,Wach", "60,Wach", "70,Lights off", "90,N2", "120,N2"]
    found = read_hypnogram(write(tmp_path, "onset,stage\n" + "\n".join(rows)))
    assert found.notes == ["labels that name no stage were left out: 'Wach'"]
    edf = write_edf(
        tmp_path / "h.edf", stages=[(0, None, "N1"), (30, None, "Wach"), (60, None, "Wach"), (90, None, "R")]
    )
    assert read_hypnogram(edf).notes == found.notes
    timed = [(0, 30, "N1"), (3, None, "Arousal"), (9, None, "Arousal"), (30, 30, "R")]
    assert read_hypnogram(write_edf(tmp_path / "t.edf", stages=timed)).notes == []


def test_pages_of_twenty_seconds_that_only_their_number_tells(tmp_path):
    found = read_hypnogram(write(tmp_path, "W\n" * 15))
    twenty = found.lasting(300, 30)
    assert twenty.duration_s.tolist() == [20.0] * 15 and "taken to last 20 s" in twenty.notes[-1]
    assert found.lasting(450, 30) is found and found.lasting(8000, 30) is found
    with pytest.raises(ValueError, match="scored in 20-s epochs"):
        twenty.windows(30, 300)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("W\nN1\n\nN2\nN2\nR\n", "row 3 is empty"),
        ("epoch,stage\n1,W\n2,N1\n1,W\n", "do not rise"),
        ("23:02,W\n23:03,N1\n", "says when by '23:02'"),
        ("00:02:00,W\n00:02:30,N1\n", "says when by '00:02:00': name the column elapsed if"),
        ("time,stage\n00:02:00,W\n00:02:30,N1\n", "says when by '00:02:00': name the column elapsed if"),
        ("stage,when\nW,23:02:00\nN1,23:03:00\n", "its column 'when' says when by '23:02:00': name it time, or end"),
        ("start,end,stage\n0,00:00:30,W\n30,00:01:00,N1\n", "begins stages at '0' and ends them at '00:00:30'"),
        ("60,0;30,0;W\n90,0;30,0;N1\n", "says when by '60,0'"),
        ("onset (samples),stage\n0,W\n3000,N1\n", "onsets are in 'samples'"),
        ("onset_ms,stage\n0,W\n30000,N1\n", "its column 'onsetms' is not understood"),
        ("", "the file is empty"),
        ("stage\n", "nothing below it|no sleep stage"),
        ("W\nN1\nspam\nN2", "row 3 is no sleep stage: 'spam'"),
        ("?\n?\n?\n", r"no sleep stage among its labels \('\?'\)"),
        ("onset,duration,kind\n0,30,W\n", "no column with sleep stages among"),
        ("onset,stage\n22:61:30,W\n22:62:00,N1\n", "onsets must be in seconds, not '22:61:30'"),
        ("onset,duration,stage\n0,30,W\n30,30\n", "row 2 has 2 cells where the first has 3"),
        ("onset,duration,stage\n0,30,N1\nn/a,30,N2\n60,30,N3\n", "a stage \\('N2'\\) has no onset"),
        ("0 0\n1 2\n2 2\n2 3\n", r"several columns hold stages \(1, 2\)"),
        ("W,N1\nN1,N1\nN2,N2\n", r"several columns hold stages \(1, 2\): keep one"),
        ("onset,duration,stage\n0,30,W\n30,inf,N1\n", "durations must be in seconds, not 'inf'"),
        ("onset (s) stage\n0 W\n30 N1\n", "its header has 3 cells where the rows have 2"),
        ("start,end,stage\n0,30,W\n60,30,N1\n", "row 2 ends at 30, before it begins"),
        ("1,spam\n2,ham\n", "no column with a stage in every row"),
        (",stage\n0,W\n1,N1\n4,N2\n", "its column '' rises by uneven steps"),
        ("time_sec,stage\n0,W\n30,N1\n90,N2\n", "its column 'timesec' rises by uneven steps: name it onset"),
        ("stage,until\nW,60\nN1,90\nN2,180\n", "its column 'until' rises by uneven steps"),
        ("stage,bout\nW,60\nN1,30\nN2,30\n", "its column 'bout' may say how long stages last: name it duration"),
        ("W,60\nN1,30\nN2,30\n", "its column 2 may say how long stages last"),
        ("stage,duration\nW,60\nArousal,3\nN2,30\n", "row 2 is no sleep stage: 'Arousal'"),
        ("epoch,stage,duration\n1,W,60\n3,N1,30\n4,N2,30\n", "its epochs differ in duration"),
        ("stage\tonset\n1\tW\t0\n2\tN1\t30\n", "its header has 2 cells where the rows have 3"),
    ],
)
def test_what_cannot_be_read_is_said(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        read_hypnogram(write(tmp_path, text))


def test_pages_without_times_are_of_30_s_or_as_long_as_windows(tmp_path):
    h = read_hypnogram(write(tmp_path, "W\nW\nN1\nN2\nN2\nN2\n"))
    assert h.assumed_s == 30 and h.lasting(180, 30) is h
    # Windows of 10 s: three on each page of 30 s, or a page each.
    assert h.lasting(185, 10).windows(10, 185).y.tolist() == [0] * 6 + [1] * 3 + [2] * 9
    short = h.lasting(60, 10)
    assert short.windows(10, 60).y.tolist() == [0, 0, 1, 2, 2, 2] and "taken to last 10 s" in short.notes[0]
    table = read_hypnogram(write(tmp_path, "onset,duration,stage\n0,30,W\n30,30,N2\n"))
    assert table.assumed_s is None and table.lasting(20, 10) is table


@pytest.mark.parametrize("header", ["start,end,stage", "Onset (s),Stop (s),Stage", "onset,offset,trial_type"])
def test_stages_last_until_the_ends_that_a_table_names(tmp_path, header):
    h = read_hypnogram(write(tmp_path, f"{header}\n0,30,W\n30,120,N2\n200,230,R\n230,290,W\n"))
    assert (h.onset_s.tolist(), h.duration_s.tolist()) == ([0, 30, 200, 230], [30, 90, 30, 60])


@pytest.mark.parametrize("last", [1.0, 0.01])
def test_ends_may_be_the_last_second_or_sample_of_a_stage(tmp_path, last):
    rows = [(0, 60, "W"), (60, 180, "N1"), (180, 210, "N2")]
    text = "".join(f"{start},{end - last},{stage}\n" for start, end, stage in rows)
    h = read_hypnogram(write(tmp_path, f"start,end,stage\n{text}"))
    np.testing.assert_allclose(h.duration_s, [60, 120, 30])
    found = h.windows(30, 210)
    assert (found.y.tolist(), found.n_partial) == ([0, 0, 1, 1, 1, 1, 2], 0)
    gap = read_hypnogram(write(tmp_path, "start,end,stage\n0,30,W\n31,61,N1\n90,120,N2\n"))
    assert gap.duration_s.tolist() == [30, 30, 30]


def test_ends_may_be_the_last_second_of_a_stage_past_midnight(tmp_path):
    rows = "23:59:00,23:59:29,W\n23:59:30,00:00:29,N1\n00:00:30,00:01:59,N2\n"
    h = read_hypnogram(write(tmp_path, f"start,end,stage\n{rows}"))
    assert (h.onset_s.tolist(), h.duration_s.tolist()) == ([0, 30, 90], [30, 60, 90])


def test_the_last_stage_without_a_duration_lasts_as_long_as_is_usual(tmp_path):
    h = read_hypnogram(write(tmp_path, "onset,stage\n0,W\n30,N1\n60,N2\n90,N3\n240,R\n"))
    assert h.duration_s.tolist() == [30, 30, 30, 150, 30]  # and not as the stage before it


def test_two_columns_that_say_the_same_are_one(tmp_path):
    assert read_hypnogram(write(tmp_path, "1,W,Wake\n2,N3,SWS\n3,R,REM\n")).stage.tolist() == [0, 3, 4]


@pytest.mark.parametrize(
    "row",
    ["{stage} {mark}", "{epoch},{stage},{mark}", "{epoch},{stage},1", "{onset} 30 {stage} {mark}", "{onset} 5 {stage}"],
)
def test_marks_of_artefacts_are_no_stages(tmp_path, row):
    stages, marks = [0, 1, 1, 2, 2, 4, 4, 5], [0, 0, 1, 0, 1, 1, 0, 0]
    rows = [row.format(epoch=i + 1, onset=30 * i, stage=s, mark=marks[i]) for i, s in enumerate(stages)]
    h = read_hypnogram(write(tmp_path, "\n".join(rows)))
    assert h.stage.tolist() == [0, 1, 1, 2, 2, 3, 3, 4] and h.onset_s.tolist() == [30.0 * i for i in range(8)]


@pytest.mark.parametrize("header", ["epoch,stage,artifact", "Epoch,Sleep stage,movement", "epoch,stage,W"])
def test_a_column_may_be_called_as_a_stage_is(tmp_path, header):
    assert read_hypnogram(write(tmp_path, f"{header}\n1,W,0\n2,N2,1\n3,R,0\n")).stage.tolist() == [0, 2, 4]


def test_tables_of_yasa_and_of_windows_programs(tmp_path):
    text = "Epoch,Stage\n0,WAKE\n1,N1\n2,UNS\n3,ART\n4,REM\n"
    assert read_hypnogram(write(tmp_path, text)).stage.tolist() == [0, 1, -1, -1, 4]
    path = tmp_path / "wide.txt"
    path.write_text("W\nN2\nR\n", encoding="utf-16")  # with a byte order mark
    assert read_hypnogram(path).stage.tolist() == [0, 2, 4]


def test_a_column_of_nothings_holds_no_stages(tmp_path):
    assert read_hypnogram(write(tmp_path, "0,W,None\n30,N1,None\n60,N2,nan\n")).stage.tolist() == [0, 1, 2]


def test_file_that_is_not_there():
    with pytest.raises(FileNotFoundError, match="There is no hypnogram"):
        read_hypnogram("nowhere.csv")


def hypnogram(labels, page_s=30.0, start_s=0.0):
    onset, duration, names = zip(*pages(labels, page_s, start_s), strict=True)
    return Hypnogram.from_labels(onset, duration, names)


def test_long_stretches_become_windows():
    found = Hypnogram.from_labels([0, 90, 150], [90, 60, 40], ["W", "N2", "R"]).windows(30, 200)
    assert found.y.tolist() == [0, 0, 0, 2, 2, 4]
    assert found.onset_s.tolist() == [0, 30, 60, 90, 120, 150]
    assert found.n_partial == 0 and found.n_missing == 0  # ten seconds are no window


def test_hypnogram_longer_or_shorter_than_the_recording():
    found = hypnogram("WW22RRR?").windows(30, 130)
    assert (found.y.tolist(), found.n_outside, found.n_missing) == ([0, 0, 2, 2], 3, 0)
    found = hypnogram("WW22").windows(30, 300)
    assert (found.y.tolist(), found.n_outside, found.n_missing) == ([0, 0, 2, 2], 0, 6)
    found = hypnogram("WW22", start_s=-30).windows(30, 300)
    assert (found.y.tolist(), found.onset_s.tolist(), found.n_outside) == ([0, 2, 2], [0, 30, 60], 1)
    with pytest.raises(ValueError, match=r"none of the 2 scored windows \(500 to 560 s\) lies in the 300 s"):
        hypnogram("W2", start_s=500).windows(30, 300)


def test_pages_of_twenty_seconds_are_refused_or_lengthened():
    h = hypnogram("WW12?R", page_s=20)
    assert h.page_s() == 20
    with pytest.raises(ValueError, match=r"scored in 20-s epochs, windows are 30 s: pass epoch_20s='reepoch'"):
        h.windows(30, 120)
    found = h.windows(30, 120, epoch_20s="reepoch")
    # The first page lacks 5 s before it, the last 5 s after it.
    assert found.onset_s.tolist() == [15, 35, 55] and found.y.tolist() == [0, 1, 2]
    assert (found.n_unscored, found.n_outside, found.n_edge) == (1, 0, 2)
    found = h.windows(30, 95, epoch_20s="reepoch")
    assert (found.y.tolist(), found.n_outside, found.n_edge) == ([0, 1, 2], 1, 1)
    assert hypnogram("WW12?R", page_s=20).windows(20, 120).y.tolist() == [0, 0, 1, 2, 4]
    with pytest.raises(ValueError, match="epoch_20s='yes'"):
        h.windows(30, 120, epoch_20s="yes")


@pytest.mark.parametrize("duration_s", [[20] * 12 + [13], [60, 40, 20, 80, 20, 13], [20] * 60 + [13]])
def test_a_last_page_that_was_cut_short_does_not_hide_the_length_of_pages(duration_s):
    onset_s = np.cumsum([0, *duration_s[:-1]])
    h = Hypnogram.from_labels(onset_s, duration_s, ["N2", "W"] * (len(duration_s) // 2) + ["R"] * (len(duration_s) % 2))
    assert h.page_s() == 20
    with pytest.raises(ValueError, match="scored in 20-s epochs"):
        h.windows(30, onset_s[-1] + 13)
    # Each whole page but the first, which lacks 5 s before it.
    assert len(h.windows(30, onset_s[-1] + 13, epoch_20s="reepoch").y) == onset_s[-1] // 20 - 1


def test_pages_that_are_almost_thirty_seconds():
    found = Hypnogram.from_labels([0, 29.9985 * 100], [29.9985 * 100, 29.9985], ["W", "2"]).windows(30, 3030)
    assert len(found.y) == 101
    np.testing.assert_allclose(np.diff(found.onset_s), 29.9985)


def test_movements_during_a_stage_are_events_and_others_are_pages():
    stages = [(0, 120, "Sleep stage 2"), (120, 30, "Movement time"), (150, 60, "Sleep stage R")]
    events = [(0, math.nan, "Movement"), (65, 3, "Movement"), (70, 35, "Artifact"), (180, 0, "Unknown")]
    for more in ([], events):
        h = Hypnogram.from_labels(*zip(*sorted([*stages, *more]), strict=True))
        found = h.windows(30, 210)
        assert found.y.tolist() == [2, 2, 2, 2, 4, 4] and (found.n_unscored, h.notes) == (1, [])
    for nothing in ("Sleep stage ?", "Unscored", "not scored", "Movement time"):
        with pytest.raises(ValueError, match="stages overlap at 90 s"):
            Hypnogram.from_labels(*zip(*stages, (40, 60, nothing), strict=True)).windows(30, 210)
    # Where no page has a duration, a movement lasts until the next page.
    found = Hypnogram.from_labels([0, 30, 60, 90], [0] * 4, ["N2", "Movement", "N2", "W"]).windows(30, 120)
    assert found.y.tolist() == [2, 2, 0] and found.n_unscored == 1


def test_two_scorings_in_one_file_are_refused():
    twice = pages("W122") + pages("W112")
    onset, duration, names = zip(*twice, strict=True)
    with pytest.raises(ValueError, match="overlap at 0 s: are there two scorings"):
        Hypnogram.from_labels(onset, duration, names).windows(30, 120)


def test_stretches_shorter_than_a_window_are_refused():
    with pytest.raises(ValueError, match="scored in stretches of 7 s"):
        hypnogram("W1" * 30, page_s=7).windows(30, 500)


def test_sleep_edf_hypnogram(data_folder):
    h = read_hypnogram(data_folder / "edf" / "SC4001EC-Hypnogram.edf")
    found = h.windows(30, 79500)
    assert h.page_s() == 30 and len(found.y) == 2650
    assert np.bincount(found.y).tolist() == [1997, 58, 250, 220, 125]
    kept = keep_around_sleep(found.y, found.onset_s, 30, margin_min=30)
    assert np.bincount(found.y[kept]).tolist() == [188, 58, 250, 220, 125]


def test_events_that_last_all_night_do_not_move_stages_by_times_of_the_day(tmp_path):
    begins = [f"{(23 + i // 120) % 24:02d}:{i % 120 // 2:02d}:{i % 2 * 30:02d}" for i in range(720)]
    rows = [
        f"{i + 1},{at},30,Sleep_stage_{'WN'[i % 2]}{'' if i % 2 == 0 else i % 3 + 1}" for i, at in enumerate(begins)
    ]
    events = [f"1,22:{k:02d}:00,24000,Treatment - CPAP - {k}" for k in range(4)]
    found = read_hypnogram(write(tmp_path, "\n".join(["epoch,time,duration,event", *events, *rows])))
    found = found.since(datetime.datetime(1985, 1, 1, 22, 59, 30), 30000)
    assert found.onset_s.tolist() == [30.0 * (i + 1) for i in range(720)]
    assert found.stage.tolist() == [0 if i % 2 == 0 else i % 3 + 1 for i in range(720)]


def test_what_numbers_mean_is_asked_of_different_labels_alone(monkeypatch):
    asked = []
    known = module.bare_number
    monkeypatch.setattr(module, "bare_number", lambda label: asked.append(label) or known(label))
    onset_s = 30 * np.arange(3000.0)
    found = Hypnogram.from_labels(onset_s, np.full(3000, 30.0), ["W", 2, 3.0, "4", "R", "?"] * 500)
    assert found.stage.tolist() == [0, 2, 3, 3, 4, -1] * 500 and found.notes == []
    assert 0 < len(asked) <= 20
    found = Hypnogram.from_labels(onset_s, np.full(3000, 30.0), [0, 2, 4] * 1000)
    assert found.stage.tolist() == [0, 2, 4] * 1000 and "stage_numbers='r&k'" in found.notes[0]
    assert len(asked) <= 40
