import datetime

import pytest
from edfio import Edf, EdfSignal

from eegaug.data import load_recordings, read_hypnogram

from .edf_files import write_edf
from .scoring_files import write_text
from .test_hypnogram_xml import NUMBERS, PLACES, RAW, STAGES, steps, windows_of

NAME = "wsc-visit2-10119-nsrr"
HEADER = "Epoch\tUser-Defined Stage\tCAST-Defined Stage\n"
# The program's stages, in the last column, are others.
EPOCHS = "".join(f"{i + 1}\t{7 if number > 5 else number}\t2\n" for i, number in enumerate(NUMBERS))
CHANGES = """23:40:00.00\tPATIENT CALIBRATION\xb0
23:57:30.00\tSTAGE - W
23:58:00.00\tSTART RECORDING
23:58:00.00\tSTAGE - NO STAGE
23:58:30.00\tSTAGE - W
23:59:12.50\tRESPIRATORY EVENT - DUR: 21.5 SEC. - HYPOPNEA
23:59:30.00\tSTAGE - N1
00:00:00.00\tSTAGE - N2
00:01:00.00\tSTAGE - N4
00:01:30.00\tSTAGE - N3
00:02:00.00\tSTAGE - R
00:02:30.00\tSTAGE - MVT
00:02:41.00\tLIGHTS ON
"""


@pytest.mark.parametrize("header", [HEADER, ""])
def test_epochs_by_the_scorer(tmp_path, header):
    write_edf(tmp_path / f"{NAME}.edf", {"C3_M2": steps()}, sfreq=125)
    write_text(tmp_path / f"{NAME}.stg.txt", header + EPOCHS)
    write_text(tmp_path / f"{NAME}.log.txt", "23:58:00 1\tRecording Started\n")
    nights = load_recordings(tmp_path, **RAW)
    assert windows_of(nights) == ([i + 1 for i in PLACES], [STAGES[i] for i in PLACES])
    assert (nights.datasets[0].description["subject"], nights.datasets[0].description["night"]) == (
        "wsc-10119",
        "visit2",
    )


def test_epochs_that_are_left_out_have_no_stage(tmp_path):
    found = read_hypnogram(write_text(tmp_path / "a.stg.txt", "3\t1\t1\n4\t2\t1\n9\t5\t1\n"))
    assert found.onset_s.tolist() == [60, 90, 240] and found.stage.tolist() == [1, 2, 4]
    assert found.duration_s.tolist() == [30] * 3


def test_changes_of_the_stage_by_the_time_of_the_day(tmp_path):
    signal = EdfSignal(steps(), 125, label="C3_M2", physical_dimension="uV", physical_range=(-120, 120))
    Edf([signal], starttime=datetime.time(23, 58)).write(tmp_path / f"{NAME}.edf")
    write_text(tmp_path / f"{NAME}.allscore.txt", CHANGES, encoding="latin-1")
    write_text(tmp_path / f"{NAME}.sco.txt", "1\tHypopnea\n")
    nights = load_recordings(tmp_path, **RAW)
    assert windows_of(nights) == ([i + 1 for i in PLACES], [STAGES[i] for i in PLACES])
    # A recording that begins later has lost what was before.
    Edf([signal], starttime=datetime.time(23, 59)).write(tmp_path / f"{NAME}.edf")
    later = [stage for stage in STAGES[2:] if stage >= 0]
    assert windows_of(load_recordings(tmp_path, **RAW)) == ([1, 2, 3, 4, 5, 6, 7], later)


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("a.stg.txt", "1\t0\n2\tW\n", "row 2 is not the number of an epoch and that of a stage: '2 W'"),
        ("a.stg.txt", "1\t0\n1\t2\n", "epoch numbers do not rise"),
        ("a.stg.txt", HEADER, "epoch numbers do not rise"),
        ("a.allscore.txt", "22:00:00.00\tSTAGE - W\n", "START RECORDING is there 0 times"),
        ("a.allscore.txt", CHANGES + "00:03:00.00\tSTART RECORDING\n", "START RECORDING is there 2"),
        ("a.allscore.txt", CHANGES + "00:03:00.00\tPOWER FAILURE RECOVERY\n", "was interrupted"),
        ("a.allscore.txt", "22:00:00.00\tSTART RECORDING\n", "no stage behind START RECORDING"),
        ("a.allscore.txt", "22:00:00.00\tSTART RECORDING\n1\tSTAGE - W\n", "no time of the day"),
        ("a.allscore.txt", CHANGES + "23:59:00.00\tSTAGE - W\n", "not in the order of their times"),
    ],
)
def test_what_cannot_be_right_is_refused(tmp_path, name, text, reason):
    with pytest.raises(ValueError, match=reason):
        read_hypnogram(write_text(tmp_path / name, text, encoding="latin-1"))
