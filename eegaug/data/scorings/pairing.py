"""Which hypnogram belongs to which recording, by their names and folders."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Container
from pathlib import Path

from eegaug.data.scorings.reading import XML, holds_stages, is_of_stages
from eegaug.data.scorings.wisconsin import is_wisconsin

__all__ = [
    "HYPNOGRAMS",
    "MASS",
    "SLEEP_EDF",
    "Filed",
    "as_text",
    "base_name",
    "best_form",
    "hypnogram_keys",
    "hypnograms_of",
    "is_hypnogram",
    "of_stages",
    "recording_keys",
]

HYPNOGRAMS = (".edf", ".csv", ".tsv", ".txt", ".annot", ".eannot", *XML)
# Forms of one scoring, those first that say most about when stages are.
_BETTER = (".edf", "nsrr.xml", *XML, ".annot", ".eannot", ".stg.txt", ".allscore.txt")
_WORDS = r"(?:hypnograms?|hypno|stages?|stg|staging|scoring|allscore|scores?|labels?|events|annotations?)"
_HYPNOGRAM_NAME = re.compile(rf"(^|[ ._-])((sleep)?{_WORDS}|hypnogram.*)$", re.IGNORECASE)
_SUFFIX = re.compile(rf"[ ._-]+({_WORDS}|base)$", re.IGNORECASE)
# "sleep" belongs to the word or to the name: "p07_sleep_scoring" is of "p07" or of "p07_sleep".
_SLEEP_SUFFIX = re.compile(rf"[ ._-]+sleep[ ._-]*{_WORDS}$", re.IGNORECASE)
# NSRR's two forms of a scoring, and what Profusion writes beside "night.edf": "night.edf.XML".
_FORM = re.compile(r"[ ._-]+(nsrr|profusion|edf)$", re.IGNORECASE)
_IS_ONE = r"[ ._-](?:psg|eeg|signals?|raw)"
SLEEP_EDF = re.compile(r"^(SC4\d\d|ST7\d\d)(\d)([A-Z])", re.IGNORECASE)
MASS = re.compile(r"^(01-0[1-5]-\d{4})(?: (.*))?$")


def as_text(name: str) -> str:
    """A file's name as text that can be compared and written.

    The letter é is one character, of which macOS makes two; what is not UTF-8, as in old archives, is Latin-1.
    """
    try:
        name.encode()
    except UnicodeEncodeError:
        name = os.fsencode(name).decode("latin-1")
    return unicodedata.normalize("NFC", name)


def hypnograms_of(path: Path, by_key: dict[str, list[Path]], first: Container[Path]) -> list[Path]:
    """What may be the hypnogram of a recording of this name, wherever it is."""
    found = list(dict.fromkeys(p for key in recording_keys(path) for p in by_key.get(key, ())))
    found = [p for p in found if p in first] or found
    found = [p for p in found if is_of_stages(p)] or found
    # What is called a hypnogram goes before another recording with stages.
    return [p for p in found if p.suffix.lower() != ".edf" or is_hypnogram(p)] or found


class Filed:
    """Hypnograms of all recordings of one name, by their folders: a thousand nights may be called alike.

    Parameters
    ----------
    hypnograms : list of Path
    namesakes : list of Path
        The recordings, if there are several in different folders.
    tops : list of Path
        Folders below which the names of folders count.
    """

    def __init__(self, hypnograms: list[Path], namesakes: list[Path], tops: list[Path]):
        self.hypnograms, self.tops = hypnograms, tops
        self.beside: dict[Path, list[Path]] = {}
        for p in hypnograms:
            self.beside.setdefault(p.parent, []).append(p)
        self.telling: set[str] | None = None
        if namesakes:
            folders = [set(self._folders(p)) for p in namesakes]
            self.telling = set.union(*folders) - set.intersection(*folders)
            self.alike: dict[tuple[str, ...], list[Path]] = {}
            for p in hypnograms:
                self.alike.setdefault(self._told(p), []).append(p)

    def near(self, path: Path) -> list[Path]:
        """Those in a recording's own folder, else those that can be no other's.

        Of several recordings of one name, these are in folders that are called as those that tell it from the others.
        Those of ``visit2`` are none of ``visit1``.
        """
        if path.parent in self.beside:
            return self.beside[path.parent]
        if self.telling is None:
            own = set(self._folders(path))
            return [p for p in self.hypnograms if not _of_another_number(own, set(self._folders(p)))]
        told = self._told(path)
        return self.alike.get(told, []) if told else []

    def _folders(self, file: Path) -> tuple[str, ...]:
        top = next((top for top in self.tops if file.is_relative_to(top)), None)
        return tuple(map(as_text, file.parent.parts if top is None else file.parent.relative_to(top).parts))

    def _told(self, file: Path) -> tuple[str, ...]:
        return tuple(name for name in self._folders(file) if name in self.telling)


def _of_another_number(folders: set[str], others: set[str]) -> bool:
    """Whether a folder among some is called as one among others but for its number."""
    kinds, other_kinds = (
        {re.sub(r"\d+", "0", name) for name in names} for names in (folders - others, others - folders)
    )
    return not kinds.isdisjoint(other_kinds)


def of_stages(near: list[Path], path: Path) -> list[Path]:
    """None where they are hypnograms by their names alone, and the recording itself holds stages."""
    return [] if near and not any(map(is_of_stages, near)) and holds_stages(path) else near


def best_form(near: list[Path]) -> list[Path]:
    """Of forms of the same scoring, which differ in how their names end, those that say most about when stages are."""
    if len({_scored_as(p) for p in near}) != 1:
        return near
    ranks = {p: [not p.name.lower().endswith(end) for end in _BETTER] for p in near}
    return [p for p in near if ranks[p] == min(ranks.values())]


def _scored_as(path: Path) -> str:
    """A hypnogram's name without what only says of which form it is."""
    if path.suffix.lower() in (".annot", ".eannot", *XML):
        return _FORM.sub("", path.stem)
    if is_wisconsin(path):
        return _FORM.sub("", path.stem.rpartition(".")[0])
    # SHHS had its scorings in a third form, "annotations-staging/shhs1/shhs1-200001-staging.csv".
    return path.stem.removesuffix("-staging") if "annotations-staging" in path.parts else path.stem


def is_hypnogram(path: Path) -> bool:
    if path.suffix.lower() not in HYPNOGRAMS:
        return False
    if path.suffix.lower() in (".annot", ".eannot", *XML):
        return is_of_stages(path)
    mass = MASS.match(path.stem)
    if mass and mass[2]:  # spindles, K-complexes and stages of MASS are EDF files too
        return mass[2].upper() != "PSG"
    return bool(_HYPNOGRAM_NAME.search(path.stem))


def base_name(path: Path) -> str:
    """A recording's name without words that say it is one."""
    return re.sub(rf"({_IS_ONE})+$", "", as_text(path.stem), flags=re.IGNORECASE)


def recording_keys(path: Path) -> list[str]:
    """Names under which a recording's hypnogram may be filed, in lower case."""
    stem = as_text(path.stem).lower()
    keys = [stem, re.sub(f"{_IS_ONE}$", "", stem), base_name(path).lower()]
    if path.suffix.lower() == ".rec":  # ISRUC-Sleep: 1.rec with 1_1.txt and 1_2.txt by two scorers
        keys.append(f"{stem}_1")
    if SLEEP_EDF.match(path.stem) and "-psg" in path.stem.lower():
        keys.append(f"{path.stem[:7].lower()}*")
    return list(dict.fromkeys(keys))


def hypnogram_keys(path: Path, scored: bool = False) -> list[str]:
    """Names of recordings that a hypnogram may belong to, in lower case, the likelier first."""
    stem = as_text(path.stem).lower()
    if SLEEP_EDF.match(stem) and "-hypnogram" in stem:
        # SC4001E0-PSG.edf and SC4001EC-Hypnogram.edf: the eighth letter says who scored.
        return [f"{stem[:7]}*"]
    if match := re.match(r"hypnogram(?:aasm)?_(.+)", stem):  # DREAMS
        return [match[1]]
    # Else an EDF file of the same name is the recording itself.
    keys = dict.fromkeys([stem, _SUFFIX.sub("", stem), _SLEEP_SUFFIX.sub("", stem), as_text(_scored_as(path)).lower()])
    if path.suffix.lower() == ".edf" and not scored:
        keys.pop(stem)
    return list(keys)
