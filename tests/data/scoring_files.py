"""Scorings as sleep laboratories and data archives hand them out."""

from itertools import groupby
from pathlib import Path

#: NSRR's names of Profusion's numbers.
CONCEPTS = {
    0: "Wake|0", 1: "Stage 1 sleep|1", 2: "Stage 2 sleep|2", 3: "Stage 3 sleep|3", 4: "Stage 4 sleep|4",
    5: "REM sleep|5", 6: "Movement|6", 9: "Unscored|9", 10: "Artifact|10",
}  # fmt: skip


def write_text(path, text, encoding="utf-8"):
    """A text file, with its folders."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text, encoding=encoding)
    return Path(path)


def nsrr_xml(path, numbers, concepts=CONCEPTS, kind="Stages|Stages", length_s=30, more=""):
    """NSRR's annotations: a run of epochs of one stage is one event, and there are others."""
    events, at = [], 0.0
    for number, run in groupby(numbers):
        lasts = length_s * len(list(run))
        events.append((kind, concepts[number], at, lasts, ""))
        at += lasts
    events.insert(
        2, ("Respiratory|Respiratory", "Unsure|Unsure", 42.6, 21.5, "<SignalLocation>NEW AIR</SignalLocation>")
    )
    events.append(("Arousals|Arousals", "Arousal|Arousal (ASDA)", 61.0, 7.2, "<SignalLocation>EEG</SignalLocation>"))
    rows = "".join(
        f"<ScoredEvent>\n<EventType>{a}</EventType>\n<EventConcept>{b}</EventConcept>\n<Start>{c}</Start>\n"
        f"<Duration>{float(d)}</Duration>\n{e}</ScoredEvent>\n"
        for a, b, c, d, e in events
    )
    return write_text(
        path,
        '<?xml version="1.0" encoding="UTF-8" standalone="no"?>\n<PSGAnnotation>\n'
        f"<SoftwareVersion>Compumedics</SoftwareVersion>\n<EpochLength>{length_s}</EpochLength>\n<ScoredEvents>\n"
        f"<ScoredEvent>\n<EventType/>\n<EventConcept>Recording Start Time</EventConcept>\n<Start>0</Start>\n"
        f"<Duration>{at}</Duration>\n<ClockTime>00.00.00 23.45.00</ClockTime>\n</ScoredEvent>\n{rows}{more}"
        "</ScoredEvents>\n</PSGAnnotation>\n",
    )


def profusion_xml(path, numbers, length_s=30):
    """Compumedics Profusion's study: one number for each epoch, behind the other events."""
    stages = "".join(f"<SleepStage>{number}</SleepStage>\n" for number in numbers)
    return write_text(
        path,
        f'<?xml version="1.0"?>\n<CMPStudyConfig>\n<EpochLength>{length_s}</EpochLength>\n'
        "<StepChannels><StepChannel><Input>LIGHT</Input><Labels><Label>ON</Label></Labels></StepChannel></StepChannels>\n"
        "<ScoredEventSettings/>\n<ScoredEvents><ScoredEvent><Name>Hypopnea</Name><Start>42.6</Start>"
        "<Duration>21.5</Duration><Input>NEW AIR</Input></ScoredEvent></ScoredEvents>\n"
        f"<SleepStages>\n{stages}</SleepStages>\n<MontageFile>None</MontageFile>\n</CMPStudyConfig>\n",
    )


def respironics_rml(path, stages, duration_s, kind="UserStaging/NeuroAdultAASMStaging", sessions=1):
    """Philips Respironics' RML; ``stages``: (type, second at which it begins)."""
    rows = "".join(f'<Stage Type="{name}" Start="{start}" />' for name, start in stages)
    who, standard = kind.split("/")
    session = (
        "<Session><RecordingStart>2010-05-07T22:03:24</RecordingStart>"
        f"<Duration>{duration_s}</Duration><LightsOff>0</LightsOff></Session>"
    )
    return write_text(
        path,
        '<?xml version="1.0" encoding="utf-8"?>\n<PatientStudy xmlns="http://www.respironics.com/PatientStudy.xsd">\n'
        f"<Acquisition><AcqNumber>1</AcqNumber><Sessions>{session * sessions}</Sessions></Acquisition>\n"
        '<ScoringData><Events><Event Family="Respiratory" Type="Hypopnea" Start="42.5" Duration="21.5" /></Events>\n'
        f"<StagingData><{who}><{standard}>{rows}</{standard}></{who}></StagingData></ScoringData>\n</PatientStudy>\n",
    )
