import numpy as np
import pytest

from eegaug.data import load_recordings, read_hypnogram
from eegaug.data.discover import find_recordings
from eegaug.data.scorings.laboratory_xml import is_scoring

from .edf_files import sine, write_edf
from .scoring_files import nsrr_xml, profusion_xml, respironics_rml, write_text

# Profusion's numbers of ten epochs, and the stages of those that have one.
NUMBERS = [9, 0, 0, 1, 2, 2, 4, 3, 5, 6]
STAGES = [-1, 0, 0, 1, 2, 2, 3, 3, 4, -1]
PLACES = [i for i, stage in enumerate(STAGES) if stage >= 0]


def steps(n_windows=10, window_s=30, sfreq=125.0, first=1):
    """A signal whose amplitude says in which window one is: 10 times its number in µV."""
    levels = np.repeat(np.arange(first, first + n_windows), round(window_s * sfreq))
    return sine(5, n_windows * window_s, sfreq, amplitude_uv=10.0) * levels


def shhs(folder, subject=200001, visit=1, numbers=NUMBERS, profusion=True, first=1):
    """One recording of SHHS as it is handed out."""
    top, name = folder / "polysomnography", f"shhs{visit}-{subject}"
    write_edf(
        top / "edfs" / f"shhs{visit}" / f"{name}.edf",
        {"EEG(sec)": steps(len(numbers), first=first), "EOG(L)": steps(len(numbers)), "EEG": -steps(len(numbers))},
        sfreq=125,
    )
    nsrr_xml(top / "annotations-events-nsrr" / f"shhs{visit}" / f"{name}-nsrr.xml", numbers)
    if profusion:
        profusion_xml(top / "annotations-events-profusion" / f"shhs{visit}" / f"{name}-profusion.xml", numbers)


def windows_of(nights):
    """Numbers of windows as the signal's amplitude tells them, and their stages."""
    return (np.abs(nights.read()).max(-1)[:, 0] / 10).round().astype(int).tolist(), nights.y.tolist()


RAW = {"standardise": None, "l_freq": None, "h_freq": None, "sfreq": 125, "wake_margin_min": None}


def test_folder_of_shhs(tmp_path):
    shhs(tmp_path)
    shhs(tmp_path, visit=2, first=31)
    shhs(tmp_path, subject=200002, numbers=[0, 4, 4, 9, 2], first=61)
    nights = load_recordings(tmp_path, ch_names=["EEG(sec)", "EEG"], **RAW)
    places, stages = windows_of(nights)
    assert places == [i + 1 for i in PLACES] + [61, 62, 63, 65] + [i + 31 for i in PLACES]
    assert stages == [STAGES[i] for i in PLACES] + [0, 3, 3, 2] + [STAGES[i] for i in PLACES]
    own = [1 + place for place in PLACES] + [1, 2, 3, 5] + [1 + place for place in PLACES]
    assert (np.abs(nights.read()).max(-1)[:, 1] / 10).round().astype(int).tolist() == own
    assert [(d.description["subject"], d.description["night"]) for d in nights.datasets] == [
        *(("shhs-200001", 1), ("shhs-200002", 1), ("shhs-200001", 2)),
    ]
    assert {(q["recording"], q["reason"], q["n_windows"]) for q in nights.problems} == {
        ("shhs1-200001", "movement or unknown", 2),
        ("shhs1-200002", "movement or unknown", 1),
        ("shhs2-200001", "movement or unknown", 2),
    }


def test_scorings_longer_than_their_recordings_are_told_in_one_line(tmp_path):
    for k in range(4):
        write_edf(tmp_path / f"mros-visit1-aa000{k}.edf", {"C3": steps(5 + k)}, sfreq=125)
        nsrr_xml(tmp_path / f"mros-visit1-aa000{k}-nsrr.xml", [0, 2] * 10)
    names = ", ".join(f"mros-visit1-aa000{k}" for k in range(3))
    with pytest.warns(UserWarning, match=rf"^{names} and 1 more: scored outside the recording \(54 windows\)$"):
        nights = load_recordings(tmp_path, **RAW)
    assert [q["n_windows"] for q in nights.problems] == [15, 14, 13, 12] and len(nights) == 5 + 6 + 7 + 8


def test_nsrrs_form_goes_first_and_either_is_read_where_it_is_alone(tmp_path):
    shhs(tmp_path)
    top = tmp_path / "polysomnography"
    found, _ = find_recordings(tmp_path)
    assert [(one.hypnogram.name, one.problem) for one in found] == [("shhs1-200001-nsrr.xml", None)]
    profusion_xml(top / "annotations-events-profusion" / "shhs1" / "shhs1-200001-profusion.xml", [2] * 10)
    assert load_recordings(tmp_path, ch_names=["EEG"], **RAW).y.tolist() == [STAGES[i] for i in PLACES]
    other = load_recordings(
        top / "edfs", hypnograms=top / "annotations-events-profusion", ch_names=["EEG"], store=tmp_path / "s", **RAW
    )
    assert windows_of(other) == (list(range(1, 11)), [2] * 10)
    for path in top.glob("annotations-events-nsrr/*/*.xml"):
        path.unlink()
    assert load_recordings(tmp_path, ch_names=["EEG"], **RAW).y.tolist() == [2] * 10


def test_what_else_is_in_a_cohorts_folder_is_no_second_scoring(tmp_path):
    shhs(tmp_path)
    top = tmp_path / "polysomnography"
    rows = "".join(f"{i + 1},{number}\n" for i, number in enumerate([2] * 10))
    csv = write_text(top / "annotations-staging" / "shhs1" / "shhs1-200001-staging.csv", f"Epoch,Stage\n{rows}")
    write_text(top / "annotations-rpoints" / "shhs1" / "shhs1-200001-rpoint.csv", "RPoint,seconds\n1,0.5\n2,1.4\n")
    write_text(tmp_path / "actigraphy" / "shhs1-200001.csv", "line,activity,wake\n1,0,1\n2,3,0\n")
    write_text(tmp_path / "datasets" / "shhs1-dataset-0.21.0.csv", "nsrrid,age\n200001,55\n")
    for source in (tmp_path, top, top / "edfs"):
        (one,), _ = find_recordings(source)
        assert (one.problem, one.hypnogram.name) == (None, "shhs1-200001-nsrr.xml")
    for path in top.glob("annotations-events-*/*/*.xml"):
        path.unlink()
    for source in (top, top / "edfs"):
        (one,), _ = find_recordings(source)
        assert one.hypnogram == csv
    assert load_recordings(top, ch_names=["EEG"], **RAW).y.tolist() == [2] * 10


@pytest.mark.parametrize(
    "source", ["", "polysomnography/edfs", "polysomnography/edfs/shhs1", "polysomnography/edfs/*/*.edf"]
)
def test_scorings_beside_the_folder_of_recordings(tmp_path, monkeypatch, source):
    shhs(tmp_path)
    assert load_recordings(tmp_path / source, ch_names=["EEG"], **RAW).y.tolist() == [STAGES[i] for i in PLACES]
    monkeypatch.chdir(tmp_path / "polysomnography" / "edfs")
    (one,), _ = find_recordings(["shhs1/shhs1-200001.edf"])
    assert one.hypnogram.name == "shhs1-200001-nsrr.xml"
    profusion = tmp_path / "polysomnography" / "annotations-events-profusion"
    (one,), _ = find_recordings(".", hypnograms=profusion)
    assert one.hypnogram == profusion / "shhs1" / "shhs1-200001-profusion.xml"


def test_profusion_beside_its_edf_and_its_length_of_epochs(tmp_path):
    write_edf(tmp_path / "night.edf", {"C3": steps(8, 20)}, sfreq=125)
    profusion_xml(tmp_path / "night.edf.XML", [0, 1, 1, 2, 4, 5, 0, 0], length_s=20)
    nights = load_recordings(tmp_path, window_s=20, **RAW)
    assert windows_of(nights) == ([1, 2, 3, 4, 5, 6, 7, 8], [0, 1, 1, 2, 3, 4, 0, 0])


def test_respironics(tmp_path):
    write_edf(tmp_path / "a.edf", {"C3": steps(10)}, sfreq=125)
    stages = [("NotScored", 0), ("Wake", 30), ("NonREM1", 90), ("NonREM2", 120), ("NonREM3", 180), ("REM", 240)]
    respironics_rml(tmp_path / "a.rml", [*stages, ("NotScored", 270), ("Wake", 300)], 300)
    assert windows_of(load_recordings(tmp_path, **RAW)) == ([i + 1 for i in PLACES], [STAGES[i] for i in PLACES])
    kales = [("Wake", 0), ("Stage1", 30), ("Stage2", 60), ("Stage3", 90), ("Stage4", 120), ("REM", 150)]
    path = respironics_rml(tmp_path / "b.rml", kales, 210, "UserStaging/NeuroRKStaging")
    assert read_hypnogram(path).windows(30, 210).y.tolist() == [0, 1, 2, 3, 3, 4, 4]


def test_a_four_is_stage_four_where_no_epoch_is_rem(tmp_path):
    for path in (profusion_xml(tmp_path / "a.xml", [0, 2, 4, 4]), nsrr_xml(tmp_path / "b.xml", [0, 2, 4, 4])):
        for numbers in ("auto", "aasm"):
            found = read_hypnogram(path, numbers=numbers)
            assert found.windows(30, 120).y.tolist() == [0, 2, 3, 3] and found.notes == []


@pytest.mark.parametrize(
    ("concepts", "kind"),
    [
        ({0: "SDO:WakeState", 1: "SDO:NonRapidEyeMovementSleep-N1", 2: "SDO:NonRapidEyeMovementSleep-N2",
          4: "SDO:NonRapidEyeMovementSleep-N4", 5: "SDO:RapidEyeMovementSleep"}, ""),
        ({0: "SRO:Wake", 1: "SRO:Stage1Sleep", 2: "SRO:Stage2Sleep", 4: "SRO:Stage4Sleep", 5: "SRO:RapidEyeMovement"},
         "Sleep Staging"),
        ({0: "Wake|SLEEP-S0", 1: "Stage 1 sleep|SLEEP-S1", 2: "Stage 2 sleep|SLEEP-S2", 4: "Stage 4 sleep|SLEEP-S4",
          5: "REM sleep|SLEEP-REM"}, "Stages|Stages"),
    ],
)  # fmt: skip
def test_spellings_of_cohorts(tmp_path, concepts, kind):
    found = read_hypnogram(nsrr_xml(tmp_path / "a.xml", [0, 1, 2, 2, 4, 5], concepts, kind))
    assert found.windows(30, 180).y.tolist() == [0, 1, 2, 2, 3, 4] and found.notes == []


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "latin-1"])
def test_letters_of_other_alphabets_in_remarks(tmp_path, encoding):
    remark = (
        "<ScoredEvent><EventType>Notes</EventType><EventConcept>Lumière éteinte à 23 h</EventConcept></ScoredEvent>"
    )
    path = nsrr_xml(tmp_path / "a.xml", [0, 2, 5], more=remark)
    text = path.read_text(encoding="utf-8").replace("UTF-8", "utf-16" if encoding == "utf-16" else "UTF-8")
    path.write_bytes(text.encode(encoding))
    assert read_hypnogram(path).stage.tolist() == [0, 2, 4]


def test_an_unknown_stage_is_named(tmp_path):
    assert read_hypnogram(profusion_xml(tmp_path / "a.xml", [0, 12, 2])).notes == [
        "labels that name no stage were left out: '12'"
    ]


ENTITIES = '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "bb"><!ENTITY c "&b;&b;">]><PSGAnnotation>&c;</PSGAnnotation>'


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("<AnnotationList><Annotation/></AnnotationList>", "XML that begins with <AnnotationList> is not known"),
        ("<PSGAnnotation><ScoredEvents><ScoredEvent>", "truncated or damaged XML"),
        ("", "truncated or damaged XML"),
        (ENTITIES, "it declares a document type"),
        ('<!DOCTYPE a SYSTEM "http://127.0.0.1/a.dtd"><PSGAnnotation/>', "it declares a document type"),
        ("<PSGAnnotation><ScoredEvents/></PSGAnnotation>", "there are no sleep stages in it"),
        (
            "<CMPStudyConfig><SleepStages><SleepStage>0</SleepStage></SleepStages></CMPStudyConfig>",
            "EpochLength is missing",
        ),
        (
            "<PSGAnnotation><ScoredEvent><EventType>Stages|Stages</EventType><EventConcept>Wake|0</EventConcept>"
            "<Start>nought</Start><Duration>30</Duration></ScoredEvent></PSGAnnotation>",
            "Start of 'Wake|0' is 'nought': seconds are needed",
        ),
    ],
)
def test_what_is_not_read_is_said(tmp_path, text, reason):
    with pytest.raises(ValueError) as error:
        read_hypnogram(write_text(tmp_path / "a.xml", text))
    assert reason in str(error.value)


def test_what_is_not_read_of_respironics_is_said(tmp_path):
    stages = [("Wake", 0), ("NonREM2", 30)]
    with pytest.raises(ValueError, match="no stages of a scorer"):
        read_hypnogram(respironics_rml(tmp_path / "a.rml", stages, 60, "MachineStaging/NeuroAdultAASMStaging"))
    with pytest.raises(ValueError, match="it is of 2 sessions"):
        read_hypnogram(respironics_rml(tmp_path / "a.rml", stages, 60, sessions=2))


def test_other_xml_beside_a_recording_is_no_hypnogram_of_it(tmp_path):
    write_edf(tmp_path / "a.edf", {"C3": steps(2)}, sfreq=125, stages=[(0, 60, "Sleep stage 2")])
    write_edf(tmp_path / "b.edf", {"C3": steps(2)}, sfreq=125)
    write_text(tmp_path / "b.csv", "N3\nR\n")
    for name in "abc":
        write_text(tmp_path / f"{name}.xml", "<Patient><Name/></Patient>")
    assert load_recordings(tmp_path, **RAW).y.tolist() == [2, 2, 3, 4]
    write_edf(tmp_path / "c.edf", {"C3": steps(2)}, sfreq=125)
    with pytest.warns(UserWarning, match="c: hypnogram c.xml: XML that begins with <Patient> is not known"):
        assert load_recordings(tmp_path, **RAW).y.tolist() == [2, 2, 3, 4]


def test_an_encoding_that_nobody_knows(tmp_path):
    path = profusion_xml(tmp_path / "a.xml", [0, 2, 5])
    path.write_text(path.read_text().replace('<?xml version="1.0"?>', '<?xml version="1.0" encoding="spam-8"?>'))
    assert is_scoring(path) is False
    assert read_hypnogram(path).stage.tolist() == [0, 2, 4]
