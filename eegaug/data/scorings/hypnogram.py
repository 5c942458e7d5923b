"""Hypnograms: stretches of stages, and the windows they give."""

from __future__ import annotations

import datetime
import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from eegaug.data.scorings.day_times import DAY_S, second_of_day
from eegaug.data.stages import STAGES, UNSCORED, parse_stage

__all__ = ["Hypnogram", "ScoredWindows", "bare_number", "fours_are_n3"]

# Pages of another length than the usual one, where only their number says so.
_SHORT_PAGE_S = 20.0
# What happens during a stage; other words without a stage are pages that nobody scored if they last.
_EVENT = re.compile(r"movement|mvt|art|art[ei]fact", re.IGNORECASE)
_WORD = re.compile(r"(?!.*stage)[a-z ]{3,}", re.IGNORECASE)
_WAKE, _REM = STAGES.index("W"), STAGES.index("REM")
# What lasts so long and is no stage may be one in words that are not known.
_LONG_S = 20.0
# So long hardly anybody sleeps without REM: numbers may be fewer classes, such as light and deep sleep.
_NIGHT_S = 4 * 3600.0
# Of so many stretches, not all last multiples of so many seconds.
_MANY, _TOO_LONG_S = 20, 300.0


@dataclass(frozen=True)
class ScoredWindows:
    """Windows that have a stage, and how many were left out for which reason."""

    onset_s: np.ndarray
    y: np.ndarray
    n_unscored: int = 0
    """Windows scored as movement or unknown."""
    n_outside: int = 0
    """Windows with a stage outside the recording."""
    n_edge: int = 0
    """Short pages of the recording with a stage, beside which it has no signal to lengthen them with."""
    n_missing: int = 0
    """Windows of the recording that the hypnogram does not cover."""
    n_partial: int = 0
    """Windows that could have been cut from ends of stages that do not last a whole number of windows."""


@dataclass
class Hypnogram:
    """Scored stretches: onset and duration in seconds from the start of the recording, stage number (-1 is none).

    Parameters
    ----------
    onset_s, duration_s : array, shape (n,)
        Seconds.
    stage : array of int, shape (n,)
        0 to 4 or -1.
    notes : list of str
        What had to be assumed when the file was read.
    assumed_s : float, optional
        Length of a page, where the file does not say; see :meth:`lasting`.
    clock_s : float, optional
        Time of the day, in seconds after midnight, from which onsets count; see :meth:`since`.
    """

    onset_s: np.ndarray
    duration_s: np.ndarray
    stage: np.ndarray
    notes: list[str] = field(default_factory=list)
    assumed_s: float | None = None
    clock_s: float | None = None

    @classmethod
    def from_labels(
        cls, onset_s: Sequence[float], duration_s: Sequence[float], labels: Sequence, numbers: str = "auto"
    ) -> Hypnogram:
        """From labelled stretches; labels that name no stage, and a "Movement" during a stage, are events: ignored.

        Raises
        ------
        ValueError
            If no label names a stage.
        """
        onset, duration = np.asarray(onset_s, dtype=float), np.asarray(duration_s, dtype=float)
        convention, notes = _number_convention(labels, numbers)
        codes = [parse_stage(label, convention) for label in labels]
        keep = np.array([c is not None for c in codes], dtype=bool)
        stage = np.array([UNSCORED if c is None else c for c in codes], dtype=np.int64)
        # Where nothing else is a stage, "R" and "L" are sides.
        sides = {str(x).strip() for x, c in zip(labels, codes, strict=True) if c not in (None, UNSCORED)} == {"R"}
        if not (stage >= 0).any() or (sides and None in codes):
            seen = sorted({str(label) for label in labels})
            raise ValueError(f"no sleep stage among its labels ({', '.join(map(repr, seen[:8])) or 'there is none'})")
        other = [(at, str(label)) for at, long, label in zip(onset, duration >= _LONG_S, labels, strict=True) if long]
        brief = Counter(
            str(label)
            for label, code, long in zip(labels, codes, duration > 0, strict=True)
            if code is None and not long
        )
        keep &= ~_events_within(onset, duration, stage, labels)
        onset, duration, stage = onset[keep], duration[keep], stage[keep]
        if not np.isfinite(onset).all():
            label = np.asarray(labels, dtype=object)[keep][int(np.argmin(np.isfinite(onset)))]
            raise ValueError(f"a stage ({str(label)!r}) has no onset")
        order = np.argsort(onset, kind="stable")
        onset, duration, stage = onset[order], duration[order], stage[order]
        # Some exporters leave the duration out: a stage then lasts until the next one, an epoch as long as most do.
        absent = ~(duration > 0)
        if absent.any():
            gaps = np.diff(onset)
            if not len(gaps):
                raise ValueError("its one stage has no duration")
            if (stage[1:] == stage[:-1]).mean() > 0.5:  # epochs, of which some may be left out
                gaps = np.minimum(gaps, np.median(gaps))
            duration = np.where(absent, np.append(gaps, np.median(gaps)), duration)
        # Events last during a stage. What lasts where there is none may be one by a name that is not known.
        before = np.searchsorted(onset, [at for at, _ in other], side="right") - 1
        alone = {w for (at, w), k in zip(other, before, strict=True) if k < 0 or at >= onset[k] + duration[k]}
        if absent.any():  # a stage that lasts until the next one may have been ended by one of another name
            alone |= {w for w, n in brief.items() if n > 1}
        if alone:
            notes.append(f"labels that name no stage were left out: {', '.join(map(repr, sorted(alone)[:5]))}")
        found = {str(label): code for label, code in zip(labels, codes, strict=True) if code not in (None, UNSCORED)}
        if _REM not in stage and duration[stage >= 0].sum() >= _NIGHT_S and None not in map(bare_number, found):
            meant = ", ".join(f"{label} as {STAGES[code]}" for label, code in sorted(found.items()))
            notes.append(f"there is no REM: its numbers were read as stages ({meant}), which they may not be")
        return cls(onset, duration, stage, notes)

    def since(self, start: datetime.datetime | None, recording_s: float) -> Hypnogram:
        """The same for a recording, from whose start onsets count where they are times of the day.

        Parameters
        ----------
        start : datetime | None
            When the recording began, if that is known.
        recording_s : float
            Length of the recording in seconds; of the days on which the first stage may have been, it is the one on
            which most of the scoring lies in the recording.

        Returns
        -------
        Hypnogram

        Raises
        ------
        ValueError
            If they are times of the day, and `start` is None, or midnight, which is where headers without a name
            begin, though the first of them is not; or if they may be of several days of the recording.
        """
        if self.clock_s is None:
            return self
        if start is None:
            raise ValueError("it has times of the day, and the recording does not say when it began")
        began = second_of_day(start)
        if began == 0 and 1 < self.clock_s < DAY_S - 1:
            began_by = datetime.timedelta(seconds=int(self.clock_s))
            raise ValueError(
                f"it begins at {began_by} by the clock, and the recording's header says 00:00:00, as where times were "
                "taken out: give seconds from the start of the recording"
            )
        last_s = float((self.onset_s + self.duration_s).max())
        days = (self.clock_s - began) % DAY_S + DAY_S * np.arange(-1, max(1, math.ceil(recording_s / DAY_S)))
        within = np.minimum(days + last_s, recording_s) - np.maximum(days, 0)
        if (within > within.max() - 1).sum() > 1:
            raise ValueError(f"it has times of the day, of which there are several in the {recording_s:g} s recorded")
        return replace(self, onset_s=self.onset_s + days[within.argmax()], clock_s=None)

    def lasting(self, recording_s: float, window_s: float) -> Hypnogram:
        """The same for a recording: of pages whose length nobody says, as long as windows are if that fits it better.

        Parameters
        ----------
        recording_s : float
            Length of the recording in seconds.
        window_s : float
            Length of a window in seconds.

        Returns
        -------
        Hypnogram
        """
        if self.assumed_s is None:
            return self
        end, scale, why = float(self.onset_s[-1] + self.duration_s[-1]), window_s / self.assumed_s, "as windows do"
        if abs(scale * end - recording_s) >= abs(end - recording_s):
            scale, why = _SHORT_PAGE_S / self.assumed_s, "so that they end with the recording"
            if end <= recording_s + self.assumed_s or abs(scale * end - recording_s) > self.assumed_s:
                return self
        page = scale * self.assumed_s
        note = f"without times in it, its pages were taken to last {page:g} s, {why}"
        return Hypnogram(self.onset_s * scale, self.duration_s * scale, self.stage, [*self.notes, note], page)

    def page_s(self) -> float:
        """Length of the pages that were scored, in seconds: what all durations but a few odd ones are multiples of."""
        whole = np.round(self.duration_s[self.stage >= 0]).astype(int)
        lengths, counts = np.unique(whole[whole > 0], return_counts=True)
        # The last page may be cut short by the end of the recording: rare and odd lengths don't tell.
        usual = lengths[counts >= max(1, 0.02 * counts.sum())] if counts.sum() >= 50 else lengths
        if len(lengths) and counts[-1] > counts.sum() / 2:  # none is longer: one page after the other
            usual = lengths[-1:]
        elif (usual % 5 == 0).any():
            usual = usual[usual % 5 == 0]
        return float(math.gcd(*usual.tolist())) if len(usual) else math.nan

    def windows(self, window_s: float, recording_s: float, epoch_20s: str = "refuse") -> ScoredWindows:
        """Windows aligned to the scoring.

        Parameters
        ----------
        window_s : float
            Window length in seconds.
        recording_s : float
            Length of the recording in seconds.
        epoch_20s : {"refuse", "reepoch"}
            What to do with pages shorter than the window: refuse them, or lengthen each by the same stretch of signal
            before and after it, so that neighbouring windows overlap (20-s pages get 5 s on both sides, as in Phan et
            al. 2019, SeqSleepNet). The page's stage is the window's.

        Returns
        -------
        ScoredWindows

        Raises
        ------
        ValueError
            If the pages are shorter than the window and are refused, are minutes long, overlap one another, or none
            lies in the recording.
        """
        if epoch_20s not in ("refuse", "reepoch"):
            raise ValueError(f"epoch_20s={epoch_20s!r} is not known: use 'refuse' or 'reepoch'.")
        page = self.page_s()
        if self.clock_s is not None:
            raise ValueError("it has times of the day: since() counts them from the start of a recording")
        if len(self.stage) >= _MANY and page >= _TOO_LONG_S:
            raise ValueError(f"its stages last multiples of {page:g} s: are its times in samples? Give them in seconds")
        step, margin = window_s, 0.0
        if page in (5, 10, 15, 20, 25) and page < window_s and window_s % page:
            if epoch_20s == "refuse":
                raise ValueError(
                    f"scored in {page:g}-s epochs, windows are {window_s:g} s: pass epoch_20s='reepoch' to lengthen "
                    f"each by {(window_s - page) / 2:g} s on both sides, or window_s={page:g}"
                )
            step, margin = page, (window_s - page) / 2
        elif (self.duration_s < 0.98 * window_s).mean() > 0.5:
            raise ValueError(f"scored in stretches of {np.median(self.duration_s):g} s, windows are {window_s:g} s")
        onsets, stages = [], []
        for onset, duration, stage in zip(self.onset_s, self.duration_s, self.stage, strict=True):
            n = math.floor(duration / step + 0.02)
            # A page of 29.998 s (recorders whose rate is not quite an integer) is a window: follow the file's own
            # spacing.
            spacing = duration / n if n and abs(duration - n * step) < 0.02 * step else step
            onsets.append(onset + spacing * np.arange(n) - margin)
            stages.append(np.full(n, stage))
        start, y = np.concatenate(onsets), np.concatenate(stages)
        if len(start) > 1 and np.diff(start).min() < 0.98 * step:
            at = start[int(np.diff(start).argmin())]
            raise ValueError(f"stages overlap at {at:g} s: are there two scorings in one file?")
        inside = (start >= -0.005) & (start + window_s <= recording_s + 0.005)
        page_start = start + margin
        of_recording = (page_start >= -0.005) & (page_start + step <= recording_s + 0.005)
        scored = y != UNSCORED
        if not (inside & scored).any():
            raise ValueError(
                f"none of the {int(scored.sum())} scored windows ({start.min():g} to {start.max() + window_s:g} s) "
                f"lies in the {recording_s:g} s of the recording"
            )
        ends = np.minimum(self.onset_s + self.duration_s, recording_s)
        within = (ends - np.maximum(self.onset_s, 0)).clip(min=0)
        left_over = self.duration_s - step * np.floor(self.duration_s / step + 0.02)
        return ScoredWindows(
            onset_s=start[inside & scored],
            y=y[inside & scored].astype(np.int64),
            n_unscored=int((inside & ~scored).sum()),
            n_outside=int((~of_recording & scored).sum()),
            n_edge=int((of_recording & ~inside & scored).sum()),
            n_missing=max(0, math.floor((recording_s - within.sum()) / step + 1e-6)),
            n_partial=math.floor(left_over.clip(min=0)[within > 0].sum() / step + 1e-6),
        )


def _events_within(onset: np.ndarray, duration: np.ndarray, stage: np.ndarray, labels: Sequence) -> np.ndarray:
    """Which labels such as "Movement" or "Artifact", that may be pages without a stage, are events during a stage."""
    scored, lasts = stage >= 0, duration > 0
    begin, end = onset[scored & lasts], (onset + duration)[scored & lasts]
    event = np.zeros(len(onset), dtype=bool)
    words = [(_EVENT if long else _WORD).fullmatch(str(w).strip()) for w, long in zip(labels, lasts, strict=True)]
    for i in np.flatnonzero((stage == UNSCORED) & [word is not None for word in words]):
        # With half a second for clocks that are not quite the same; a page begins where another page does.
        after = begin + (0.5 if lasts[i] else -0.5)
        event[i] = ((after < onset[i]) & (onset[i] < end - 0.5)).any()
    return event


def bare_number(label: object) -> int | None:
    text = str(label).strip().strip("\"'")
    return int(float(text)) if re.fullmatch(r"[+-]?\d+(\.0*)?", text) else None


def fours_are_n3(labels: Sequence) -> bool:
    """Whether REM is a 5, or it or wakefulness has a letter beside the numbers of other stages."""
    different = {*map(str, labels)}
    found = {bare_number(label) for label in different}
    letters = (label for label in different if bare_number(label) is None)
    return 5 in found or (not found.isdisjoint((1, 2, 3, 4)) and any(parse_stage(x) in (_WAKE, _REM) for x in letters))


def _number_convention(labels: Sequence, numbers: str) -> tuple[str, list[str]]:
    """Which convention bare numbers follow, and a note where that is a guess."""
    different = {*map(str, labels)}
    found, notes = {bare_number(label) for label in different}, []
    if 5 in found and numbers != "aasm" and not any(parse_stage(label) == _WAKE for label in different):
        notes.append("its numbers 1 to 5 were read as N1, N2, N3, N3, REM: there is no 0 (subtract 1 if 1 is W)")
    if numbers != "auto":
        return numbers, notes
    if fours_are_n3(different) or 4 not in found:
        return "r&k", notes
    return "aasm", ["stage numbers 0 to 4 were read as W, N1, N2, N3, REM (stage_numbers='r&k' if 4 is stage 4)"]
