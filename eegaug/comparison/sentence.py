"""What a comparison means, in one sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from eegaug._words import counted
from eegaug.data import STAGES

if TYPE_CHECKING:
    from eegaug.comparison.table import Comparison

__all__ = ["in_one_sentence"]


def in_one_sentence(result: Comparison) -> str:
    """What a comparison means, in one sentence that claims no more than the folds can carry."""
    if not len(result.table):
        return "No run has finished, so there is nothing to compare."
    summary = result.summary()
    own = result.settings.get("data", {}).get("classes")
    what, aim = ("recordings", "to tell the classes apart") if own else ("nights", "to stage")
    where = f"these {what}" if result.truth is None else "simulated nights"
    if summary["fraction"].nunique() > 1:
        where += f", with {100 * summary['fraction'].max():.3g} % of the training subjects"
    summary = summary[summary["fraction"] == summary["fraction"].max()].set_index("method")
    names = {method: result.labels.get(method, method) for method in summary.index}
    chance = 1 / len(own or STAGES)
    if summary["median"].max() < chance + (1 - chance) / 16:  # 0.25 of five stages
        best = summary["median"].max()
        return (
            f"On {where}, no method learned {aim} (best median test balanced accuracy {best:.3f}, guessing "
            f"{chance:.3f}), so there is nothing to compare: train longer, or on more {what}."
        )
    if "none" not in summary.index or len(summary) == 1:
        best = summary["median"].idxmax()
        first = f"On {where}, {names[best]} reached a median test balanced accuracy of {summary['median'][best]:.3f}"
        folds = counted(int(summary["folds"][best]), "fold")
        if len(summary) == 1:
            return f"{first} over {folds}; there is nothing to compare it with."
        return f"{first}, the highest of {len(summary)} methods over {folds}."
    others = [method for method in summary.index if method != "none"]
    # Where runs are missing, a method may have no fold in common with no augmentation: nothing is known of its gain.
    known = [method for method in others if summary["folds_paired"][method]]
    told = [method for method in ("augnet-change", "augnet") if method in (known or others)]
    best = told[0] if told else summary.loc[known or others, "gain" if known else "median"].idxmax()
    text = (
        f"On {where}, {names[best]} reached a median test balanced accuracy of {summary['median'][best]:.3f}, against "
    )
    against = [f"{summary['median']['none']:.3f} without augmentation"]
    rivals = [method for method in others if method != best]
    if len(rivals) > 2:
        rival = summary.loc[rivals, "median"].idxmax()
        score = f"{summary['median'][rival]:.3f} with {_article(names[rival])}"
        against.append(f"{score}, the highest of {len(rivals)} others")
    else:
        against += [f"{summary['median'][method]:.3f} with {_article(names[method])}" for method in rivals]
    text += f"{', '.join(against[:-1])} and {against[-1]}" if len(against) > 1 else against[0]
    if summary["folds"].nunique() > 1:
        text += " (not all methods have finished all folds)"
    return f"{text}; {_difference(summary.loc[best])}"


def _difference(row: Any) -> str:
    """What is known of a method's difference to no augmentation."""
    gain, spread, folds = row["gain"], row["gain_sd"], int(row["folds_paired"])
    if folds == 0:
        return "both have no run of one fold and seed, so nothing can be said of their difference."
    if folds == 1:
        return f"one fold cannot tell whether the difference of {gain:+.3f} is more than chance."
    verdict = "more than" if abs(gain) > spread else "no more than"
    better = f"higher in {int(row['folds_gained'])} of {counted(folds, 'fold')}"
    text = (
        f"the mean difference to no augmentation, {gain:+.3f} ({better}), is {verdict} its own spread "
        f"between folds (SD {spread:.3f})"
    )
    if abs(gain) <= spread:
        return f"{text}: these runs do not tell them apart."
    return f"{text}{', though so few folds prove little' if folds < 5 else ''}."


def _article(name: str) -> str:
    return f"the {name}" if name.endswith("policy") else name
