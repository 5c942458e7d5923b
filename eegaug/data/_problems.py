"""What is wrong with recordings, or was assumed of them: rows of ``Nights.problems``, and how they are told."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from eegaug._words import counted, some_of

__all__ = ["lines_about", "none_usable", "note", "reason_of", "refuse_not_finite", "skipped"]


def reason_of(err: BaseException) -> str:
    text = str(err) or "no message"
    return text if isinstance(err, ValueError) else f"{type(err).__name__}: {text}"


def note(name: str, reason: str) -> dict:
    return {"recording": name, "kind": "note", "reason": reason, "n_windows": 0}


def skipped(name: str, err: BaseException | str) -> dict:
    reason = err if isinstance(err, str) else reason_of(err)
    return {"recording": name, "kind": "skipped", "reason": reason, "n_windows": 0}


def none_usable(problems: Sequence[dict]) -> str:
    skipped = [q for q in problems if q["kind"] == "skipped"]
    lines = [f"  {q['recording']}: {q['reason']}" for q in skipped[:20]]
    if len(skipped) > 20:
        lines.append(f"  and {len(skipped) - 20} more")
    if any("no hypnogram" in q["reason"] for q in skipped):
        lines.append("hypnograms='…' names another folder of them; labels='optional' loads recordings without one.")
    return "None of the recordings can be used:\n" + "\n".join(lines)


def lines_about(problems: Sequence[dict], n_read: int) -> list[str]:
    """What is told of all that was skipped or cut."""
    lines = []
    skipped = [q for q in problems if q["kind"] == "skipped"]
    if skipped:
        lines.append(f"{len(skipped)} of {n_read + len(skipped)} recordings were skipped:")
        lines += [f"  {q['recording']}: {q['reason']}" for q in skipped[:10]]
        if len(skipped) > 10:
            lines.append(f"  and {len(skipped) - 10} more, see Nights.problems")
    others: dict[str, list[dict]] = {}
    for q in problems:
        # What is in every night is counted in Nights.problems and nothing to warn of.
        if q["kind"] != "skipped" and q["reason"] not in ("movement or unknown", "not scored"):
            others.setdefault(q["reason"], []).append(q)
    told = sorted(others.items(), key=lambda item: -len(item[1]))  # what is of many recordings goes first
    for reason, cases in told[:10]:
        windows = sum(q["n_windows"] for q in cases)
        count = f" ({counted(windows, 'window')})" if windows else ""
        lines.append(f"{some_of([q['recording'] for q in cases], 3)}: {reason}{count}")
    if len(told) > 10:
        lines.append(f"and {len(told) - 10} more notes, see Nights.problems")
    return lines


def refuse_not_finite(X: np.ndarray, ch_names: Sequence[str], recording: str) -> None:
    """Raise a ValueError naming recording, window and channel of the first sample that is NaN or infinite."""
    # A sum of finite terms is finite, unless they overflow, which the second look sorts out: no mask for good data.
    for i, window in enumerate(X):
        with np.errstate(invalid="ignore"):
            total = window.sum(dtype=np.float64)
        if not np.isfinite(total):
            bad = ~np.isfinite(window)
            if bad.any():
                channel = ch_names[int(bad.any(axis=-1).argmax())]
                raise ValueError(
                    f"Recording {recording!r}, window {i}, channel {channel!r}: {int(bad.sum())} of {window.size} "
                    "samples are NaN or infinite. Repair or leave out this stretch before loading."
                )
