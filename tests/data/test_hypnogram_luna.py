import datetime

import pytest
from edfio import Edf, EdfSignal

from eegaug.data import load_recordings, read_hypnogram
from eegaug.data.discover import find_recordings
from eegaug.data.scorings.hypnogram import Hypnogram

from .edf_files import write_edf
from .scoring_files import nsrr_xml, write_text
from .test_hypnogram_xml import NUMBERS, PLACES, RAW, STAGES, steps, windows_of

# The manual's own: classes with and without data of their own, and three ways to say when.
SIX = """# N1 | a stage
# hypopnea | an event | depth[num]
class	instance	channel	start	stop	meta
?	.	.	0	30.000	.
W	.	.	30	+60	.
hypopnea	.	AIRFLOW	42.6	64.1	3
unsure	.	.	70	95	.
N1	.	.	e:4	.	.
spindle	fast	C3	126.1	126.9	.
N2	.	.	e:5	e:6	.
R	.	POSITION	0	300	.
N4	.	.	0+00:03:00	0+00:03:30	.
NREM3	.	.	210	...	.
REM	.	.	240	...	.
artifact	.	.	270	300	.
M	.	.	270	300	.
"""
TEN = ["?", "W", "W", "N1", "N2", "N2", "N4", "N3", "R", "M"]
FOUR = "\n".join(f"{name} . {30 * i} {30 * (i + 1)}" for i, name in enumerate(TEN))
THREE = FOUR.replace(" . ", "\t").replace(" ", "\t").replace("N2", '"Stage 2 sleep|2"').replace("R", "REM_sleep|5")
CLOCK = "class\tinstance\tchannel\tstart\tstop\tmeta\n" + "\n".join(
    f"{name}\t.\t.\t{begin}\t{end}\t."
    for name, begin, end in [
        *(("L", "23:58:00", "23:58:30"), ("W", "23:58:30", "23:59:30"), ("N1", "23:59:30", "00:00:00")),
        *(("arousal", "23:59:40", "23:59:45"), ("N2", "00.00.00", "00.01.00"), ("N3", "00:01:00.000", "+60")),
        *(("R", "00:02:00", "00:02:30"), ("?", "00:02:30", "00:03:00")),
    ]
)


@pytest.mark.parametrize("text", [SIX, FOUR, THREE, CLOCK], ids=["six", "four", "three", "clock"])
def test_annot(tmp_path, text):
    signal = EdfSignal(steps(), 125, label="C3", physical_dimension="uV", physical_range=(-120, 120))
    start = {"starttime": datetime.time(23, 58)}
    Edf([signal], **start).write(tmp_path / "apples-1.edf")
    write_text(tmp_path / "apples-1.annot", text)
    assert windows_of(load_recordings(tmp_path, **RAW)) == ([i + 1 for i in PLACES], [STAGES[i] for i in PLACES])


def test_eannot(tmp_path):
    write_edf(tmp_path / "a.edf", {"C3": steps(6)}, sfreq=125)
    write_text(tmp_path / "a.eannot", "L\nwake\nNREM1\nN2\nN4\nR\n")
    assert windows_of(load_recordings(tmp_path, **RAW)) == ([2, 3, 4, 5, 6], [0, 1, 2, 3, 4])


def test_forms_of_one_scoring_beside_a_recording_of_nsrrs_own(tmp_path):
    write_edf(tmp_path / "chc056-nsrr.edf", {"C3-M2": steps()}, sfreq=125)
    forms = ["chc056-nsrr.eannot", "chc056-nsrr.annot", "chc056-nsrr.xml"]
    write_text(tmp_path / forms[0], "W\n" * 10)
    write_text(tmp_path / forms[1], FOUR)
    nsrr_xml(tmp_path / forms[2], NUMBERS)
    while forms:
        (one,), _ = find_recordings(tmp_path)
        assert (one.problem, one.hypnogram.name) == (None, forms[-1])
        (tmp_path / forms.pop()).unlink()
    write_edf(tmp_path / "shhs1-200001.edf", {"C3-M2": steps()}, sfreq=125)
    write_text(tmp_path / "shhs1-200001-nsrr.annot", FOUR)
    assert find_recordings(tmp_path)[0][1].hypnogram.name == "shhs1-200001-nsrr.annot"


def test_annotations_beside_a_recording_that_is_scored_elsewhere(tmp_path):
    write_edf(tmp_path / "edfs" / "a.edf", {"C3": steps()}, sfreq=125)
    write_text(tmp_path / "edfs" / "a.annot", "spindle\t10\t11\n")
    write_text(tmp_path / "edfs" / "a.xml", "<Patient/>")
    nsrr_xml(tmp_path / "scores" / "a-nsrr.xml", NUMBERS)
    assert load_recordings(tmp_path, **RAW).y.tolist() == [STAGES[i] for i in PLACES]


def test_folder_of_wsc(tmp_path):
    write_edf(tmp_path / "wsc-visit1-10119-nsrr.edf", {"C3_M2": steps(4)}, sfreq=125)
    write_text(tmp_path / "wsc-visit1-10119-nsrr.eannot", "wake\nN1\nN3\nREM\n")
    write_text(tmp_path / "wsc-visit1-10119-nsrr.stg.txt", "Epoch\tUser-Defined Stage\tCAST-Defined Stage\n1\t7\t0\n")
    for kind in ("sco", "log", "allscore"):
        write_text(tmp_path / f"wsc-visit1-10119-nsrr.{kind}.txt", "22:00:00.00\tSTART RECORDING\n")
    nights = load_recordings(tmp_path, **RAW)
    assert windows_of(nights) == ([1, 2, 3, 4], [0, 1, 3, 4]) and set(nights.subjects) == {"wsc-10119"}


@pytest.mark.parametrize(
    ("text", "reason"), [("W\nN2\nspindle\n", "row 3 is no sleep stage: 'spindle'"), ("", "no sleep")]
)
def test_what_is_not_read_of_epochs_is_said(tmp_path, text, reason):
    with pytest.raises(ValueError, match=reason):
        read_hypnogram(write_text(tmp_path / "a.eannot", text))


def at(hour, minute, second=0):
    return datetime.datetime(1985, 1, 1, hour, minute, second)


def test_times_of_the_day_count_from_when_the_recording_began(tmp_path):
    rows = ["N2\t00:10:00\t00:40:00", "W\t23:50:00\t+1200", "R\t00:40:00\t01:10:00"]
    found = read_hypnogram(write_text(tmp_path / "a.annot", "\n".join(rows)))
    with pytest.raises(ValueError, match="times of the day"):
        found.windows(30, 3600)
    with pytest.raises(ValueError, match="times of the day, and the recording does not say when it began"):
        found.since(None, 9e3)
    for start, onset in [(at(23, 50), 0), (at(23, 0), 3000), (at(0, 0, 5), -605), (at(12, 0), 42600)]:
        there = found.since(start, 50000)
        assert there.onset_s.tolist() == [onset, onset + 1200, onset + 3000] and there.stage.tolist() == [0, 2, 4]
    begun_earlier = found.since(at(0, 0, 30), 3600).windows(30, 3600)
    assert begun_earlier.onset_s[0] == 0 and begun_earlier.n_outside == 21 + 19
    assert begun_earlier.y.tolist() == [0] * 19 + [2] * 60 + [4] * 41


def test_scorings_that_begin_more_than_half_a_day_after_the_recording(tmp_path):
    rows = [
        f"{name}\t{(23 + i // 120) % 24:02d}:{i // 2 % 60:02d}:{i % 2 * 30:02d}\t+30"
        for i, name in enumerate(["N2"] * 900)
    ]
    found = read_hypnogram(write_text(tmp_path / "a.annot", "\n".join(rows)))
    for start, length_s, onset in [
        (at(10, 0), 24 * 3600, 13 * 3600),
        (at(22, 0), 30 * 3600, 3600),
        (at(23, 30), 7e3, -1800),
    ]:
        assert found.since(start, length_s).onset_s[:2].tolist() == [onset, onset + 30]
    with pytest.raises(ValueError, match="several in the 172800 s recorded"):
        found.since(at(22, 0), 48 * 3600)


def test_other_forms_of_the_same_scoring_go_first(tmp_path):
    write_edf(tmp_path / "a.edf", {"C3": steps()}, sfreq=125)
    write_text(tmp_path / "a.annot", FOUR)
    write_text(tmp_path / "a.csv", "W\n")
    assert find_recordings(tmp_path)[0][0].hypnogram.name == "a.annot"
    nsrr_xml(tmp_path / "a-nsrr.xml", NUMBERS)
    assert find_recordings(tmp_path)[0][0].hypnogram.name == "a-nsrr.xml"
    (tmp_path / "a-nsrr.xml").unlink()
    write_text(tmp_path / "a.annot", "spindle\t10\t11\n")  # annotations, but no stages
    assert find_recordings(tmp_path)[0][0].hypnogram.name == "a.csv"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("spindle\t10\t11\nR\t.\tPOSITION\t0\t90\t.\n", "no class in it is a sleep stage ('spindle', 'R')"),
        ("R\t0\t90\nL\t90\t300\n", "no class in it is a sleep stage ('R', 'L')"),
        ("N1\t0\n", "line 1 has 2 columns: 3, 4 or 6 are known"),
        ("# a\nN1\t0\t30\nN2\tthirty\t60\n", "line 3: 'thirty' is no time"),
        ("N1\t11:30:02pm\t+30\n", "line 1: '11:30:02pm' is no time"),
        ("N1\te:2:20\t.\n", "of epochs, e:1, e:2 and so on of 30 s are known, not 'e:2:20'"),
        ("N1\t60\t30\n", "line 1: it ends at 30, before it begins"),
        ("N1\t0\t30\nN2\t22:00:30\t+30\n", "line 2: times of the day and seconds are mixed"),
        ("N1\t12:00:00\t11:00:00\nN2\t12:00:00\t13:30:00\n", "last longer than a day"),
    ],
)
def test_what_is_not_read_is_said(tmp_path, text, reason):
    with pytest.raises(ValueError) as error:
        read_hypnogram(write_text(tmp_path / "a.annot", text))
    assert reason in str(error.value)


def test_a_hypnogram_without_times_of_the_day_ignores_when_the_recording_began():
    found = Hypnogram.from_labels([0, 30], [30, 30], ["W", "N2"])
    assert found.since(at(22, 0), 9e3) is found is found.since(None, 9e3)
