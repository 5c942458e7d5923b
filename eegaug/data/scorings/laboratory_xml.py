"""Stages in XML: NSRR's annotations, Compumedics Profusion's studies, Philips Respironics' RML."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

__all__ = ["Stretches", "is_scoring", "read_xml"]

# What the first files of SHHS and of SOF call stages, whatever type of event they say it is.
_CONCEPTS = {
    "SDO:WakeState": "Wake",
    "SDO:NonRapidEyeMovementSleep-N1": "N1",
    "SDO:NonRapidEyeMovementSleep-N2": "N2",
    "SDO:NonRapidEyeMovementSleep-N3": "N3",
    "SDO:NonRapidEyeMovementSleep-N4": "N3",
    "SDO:RapidEyeMovementSleep": "REM",
    "SRO:Wake": "Wake",
    "SRO:Stage1Sleep": "N1",
    "SRO:Stage2Sleep": "N2",
    "SRO:Stage3Sleep": "N3",
    "SRO:Stage4Sleep": "N3",
    "SRO:RapidEyeMovement": "REM",
}
# Profusion's numbers are those of Rechtschaffen and Kales, also in a night without a 5.
_NUMBERS = {"0": "Wake", "1": "N1", "2": "N2", "3": "N3", "4": "N3", "5": "REM"}
_NUMBERS |= {"6": "Movement", "9": "Unscored", "10": "Unscored"}
_RESPIRONICS = {"NonREM1": "N1", "NonREM2": "N2", "NonREM3": "N3", "NonREM4": "N3", "NotScored": "Unscored"}


class Stretches(NamedTuple):
    """Onsets and durations in seconds from the start of the recording, and names of stages."""

    onset_s: list[float]
    duration_s: list[float]
    labels: list[str]


class _Elements(ET.TreeBuilder):
    """Elements by their names without a namespace, of a file that declares no document type.

    None of these forms has a DTD, and without one there is neither an entity to expand nor a file to fetch: with that
    refused, the parser of the standard library is safe.
    """

    root = ""

    def start(self, tag: str, attrs: dict[str, str]) -> ET.Element:
        tag = tag.rpartition("}")[2]
        self.root = self.root or tag
        return super().start(tag, attrs)

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise ValueError("it declares a document type (<!DOCTYPE>), which no scoring does: it is not read")


def read_xml(path: Path) -> Stretches:
    """Stages of an XML file, as it names them.

    Raises
    ------
    ValueError
        If it is none of the known forms (the root element is named), damaged, or says nothing about stages.
    """
    try:
        root = _parsed(path)
    except (ET.ParseError, LookupError) as err:  # of an encoding that nobody knows
        try:  # people and remarks may be written in Latin-1 whatever the file says of itself
            root = _parsed(path, "latin-1")
        except ET.ParseError:
            raise ValueError(f"truncated or damaged XML ({err})") from err
    if root.tag not in _FORMS:
        raise ValueError(
            f"XML that begins with <{root.tag}> is not known: NSRR's begins with <PSGAnnotation>, Profusion's with "
            "<CMPStudyConfig>, Respironics' with <PatientStudy>"
        )
    return _FORMS[root.tag](root)


def _parsed(path: Path, encoding: str | None = None) -> ET.Element:
    return ET.parse(path, ET.XMLParser(target=_Elements(), encoding=encoding)).getroot()


def is_scoring(path: Path) -> bool:
    """Whether an XML file begins as one of the known forms does; the rest of it is not looked at."""
    elements = _Elements()
    try:
        with open(path, "rb") as f:
            ET.XMLParser(target=elements).feed(f.read(4096))
    except (ET.ParseError, LookupError, ValueError, OSError):
        pass
    return elements.root in _FORMS


def _from_nsrr(root: ET.Element) -> Stretches:
    found: list[tuple[float, float, str]] = []
    for event in root.iter("ScoredEvent"):
        concept = _text(event, "EventConcept")
        label = _CONCEPTS.get(concept)
        if label is None and _text(event, "EventType").lower().startswith("stages"):
            label = concept.split("|")[0].strip()  # "Stage 2 sleep|2", "Wake|SLEEP-S0"
        if label is not None:
            times = (_seconds(_text(event, name), f"{name} of {concept!r}") for name in ("Start", "Duration"))
            found.append((*times, label))
    return _stretches(found) if found else _from_profusion(root)


def _from_profusion(root: ET.Element) -> Stretches:
    stages = [(stage.text or "").strip() for stage in root.iterfind(".//SleepStages/SleepStage")]
    if not stages:
        raise ValueError("there are no sleep stages in it")
    length = _seconds(_text(root, "EpochLength"), "EpochLength")
    if length <= 0:
        raise ValueError(f"its EpochLength is {length:g} s")
    return _stretches((i * length, length, _NUMBERS.get(stage, stage)) for i, stage in enumerate(stages))


def _from_respironics(root: ET.Element) -> Stretches:
    sessions = root.findall("Acquisition/Sessions/Session")
    if len(sessions) != 1:
        raise ValueError(f"it is of {len(sessions)} sessions: when the stages of each begin is not known")
    scored = [one for one in root.iterfind("ScoringData/StagingData/UserStaging/*") if one.find("Stage") is not None]
    if not scored:
        raise ValueError("there are no stages of a scorer (<UserStaging>) in it")
    stages = min(scored, key=lambda one: one.tag != "NeuroAdultAASMStaging").findall("Stage")
    begun = sorted(
        (_seconds(stage.get("Start", ""), f"Start of {stage.get('Type')!r}"), stage.get("Type", "")) for stage in stages
    )
    # Each lasts until the next one; what begins with the end of the recording only says that it ends.
    ends = [*(start for start, _ in begun[1:]), _seconds(_text(sessions[0], "Duration"), "Duration of the session")]
    rows = [(start, end - start, _RESPIRONICS.get(name, name)) for (start, name), end in zip(begun, ends, strict=True)]
    return _stretches(row for row in rows if row[1] > 0)


_FORMS = {"PSGAnnotation": _from_nsrr, "CMPStudyConfig": _from_profusion, "PatientStudy": _from_respironics}


def _stretches(rows: Iterable[tuple[float, float, str]]) -> Stretches:
    columns = zip(*rows, strict=True)
    return Stretches(*map(list, columns))


def _text(element: ET.Element, name: str) -> str:
    return (element.findtext(name) or "").strip()


def _seconds(text: str, what: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{what} is {text!r}: seconds are needed" if text else f"{what} is missing")
    return value
