"""What the commands do around the work itself: load, tell what was skipped, save tables, put results in words."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eegaug._durations import duration
from eegaug._plain_data import plain
from eegaug._words import counted
from eegaug.comparison.callbacks import EpochBar
from eegaug.comparison.fitting import (
    EPOCHS_WITHOUT_VALIDATION,
    FitReport,
    ScoreReport,
    fit_nights,
    score_nights,
    trainable,
)
from eegaug.comparison.job import advice
from eegaug.comparison.methods import Method
from eegaug.comparison.sources import (
    check_result_file,
    default_for,
    get_nights,
    method_settings,
    usable_device,
    warn_of_unused,
    writable_folder,
)
from eegaug.comparison.table import Comparison
from eegaug.data import STAGES, Preprocessing
from eegaug.data.atomic import write_text

__all__ = ["comparison_document", "comparison_lines", "fit", "fit_document", "fit_lines", "score"]

Say = Callable[[str], None]


@dataclass
class Scored:
    """A score with what the command has to say about it."""

    report: ScoreReport
    model: Path
    out: Path | None
    skipped: list[dict] = field(default_factory=list)


def fit(
    data: str,
    method: str | Method,
    out: Path,
    *,
    root: Path | None = None,
    data_args: Mapping[str, Any] | None = None,
    preprocessing: Any = None,
    validation: bool = True,
    max_epochs: int | None = None,
    lr: float | None = None,
    method_options: Mapping[str, Any] | None = None,
    penalty: float | None = None,
    n_copies: int | None = None,
    seed: int = 0,
    device: str | None = None,
    verbose: bool = True,
    say: Say,
    **training: Any,
) -> FitReport:
    """Load nights, train a model on them and save it."""
    writable_folder(out)
    method, device = trainable(method), usable_device(device)
    warn_of_unused([method], penalty, n_copies)
    options = method_settings(data, method, penalty, n_copies, method_options)
    nights, source = get_nights(data, root=root, preprocessing=preprocessing, data_args=data_args, verbose=verbose)
    subjects = sorted(set(nights.subjects))
    if max_epochs is None and validation and len(subjects) > 1:
        max_epochs = default_for("max_epochs", data)
    if validation and len(subjects) == 1:
        epochs = EPOCHS_WITHOUT_VALIDATION if max_epochs is None else max_epochs
        say(
            f"eegaug: all recordings are of one subject ({subjects[0]}), so nobody is left to validate on: training "
            f"{epochs} epochs without early stopping (--epochs changes that)"
        )
    return fit_nights(
        nights,
        method,
        out=out,
        source=source,
        validation=validation,
        max_epochs=max_epochs,
        lr=default_for("lr", data, lr),
        method_options=options,
        seed=seed,
        device=device,
        callbacks=[("bar", EpochBar())] if verbose else [],
        **training,
    )


def fit_lines(report: FitReport) -> list[str]:
    """What ``eegaug fit`` prints."""
    lines = []
    if report.interrupted:
        lines.append("Stopped before the end; the best network so far is saved, and the same command goes on.")
    trained = f"{report.method} trained on {counted(len(report.train_subjects), 'subject')}"
    if report.valid_subjects:
        metrics = report.metrics
        lines += [
            f"{trained}, best of {report.epochs} epochs: {report.best_epoch}",
            f"validation on {', '.join(report.valid_subjects)}: balanced accuracy "
            f"{metrics['valid_balanced_accuracy']:.3f}, kappa {metrics['valid_kappa']:.3f} "
            "(training stopped on it, so it flatters)",
        ]
    else:
        lines.append(f"{trained} for {report.epochs} epochs, without validation")
    return [*lines, f"model: {report.out}"]


def fit_document(report: FitReport) -> dict[str, Any]:
    """What ``eegaug fit --json`` prints."""
    return {
        "model": str(report.out),
        "method": report.method,
        "train_subjects": list(report.train_subjects),
        "valid_subjects": list(report.valid_subjects),
        "epochs": report.epochs,
        "best_epoch": report.best_epoch,
        "metrics": plain(report.metrics),
        "interrupted": report.interrupted,
    }


def score(
    data: str,
    model: Path,
    out: Path | None = None,
    *,
    root: Path | None = None,
    data_args: Mapping[str, Any] | None = None,
    allow_training: bool = False,
    device: str | None = None,
    verbose: bool = True,
    say: Say,
) -> Scored:
    """Load a model and nights prepared as the model's were, and score it on them."""
    from eegaug.bundle import load_model

    if out is not None:
        writable_folder(out.resolve().parent)
        check_result_file(out, "a CSV file")
    estimator = load_model(model, device=usable_device(device))
    nights = _nights_for(estimator, data, root, data_args, verbose)
    splits = model_splits(model)
    report = score_nights(estimator, nights, splits, allow_training=allow_training, verbose=verbose)
    _warn_of_seen(report, allow_training, say)
    if out is not None:
        write_text(out, report.recordings.to_csv(index=False))
    skipped = [problem for problem in nights.problems if problem.get("kind") == "skipped"]
    return Scored(report, Path(model), out, skipped)


def model_splits(model: str | os.PathLike) -> dict[str, list[str]]:
    """The subjects that a saved model was trained and stopped on."""
    document = json.loads((Path(model) / "model.json").read_text(encoding="utf-8"))
    splits = document.get("splits") or {}
    return {side: [str(name) for name in names or ()] for side, names in splits.items() if isinstance(names, list)}


def _nights_for(
    estimator: Any, data: str, root: Path | None, data_args: Mapping[str, Any] | None, verbose: bool
) -> Any:
    """Nights prepared exactly as the model's training nights were."""
    preprocessing = Preprocessing.of_model(estimator)
    return get_nights(data, root=root, preprocessing=preprocessing, data_args=data_args, verbose=verbose)[0]


def _warn_of_seen(report: ScoreReport, allow_training: bool, say: Say) -> None:
    if not report.seen:
        return
    names = ", ".join(report.seen)
    if report.only_seen:
        say(
            f"eegaug: warning: the model was trained or stopped on every subject here ({names}); these are not test "
            "scores and tell nothing of how it does on others"
        )
    elif allow_training:
        say(f"eegaug: warning: the scores count subjects that the model was trained or stopped on: {names}")
    else:
        say(
            f"eegaug: warning: left out, since the model was trained or stopped on them: {names} "
            "(--allow-training-subjects counts them)"
        )


def score_lines(scored: Scored) -> list[str]:
    """What ``eegaug score`` prints."""
    report = scored.report
    scores = report.scores
    width = max(5, *(len(str(n)) for n in report.confusion.ravel()))
    stages = "  ".join(
        f"{stage} {'–' if scores[f'f1_{stage}'] != scores[f'f1_{stage}'] else format(scores[f'f1_{stage}'], '.3f')}"
        for stage in STAGES
    )
    lines = [
        f"{int(report.confusion.sum())} windows of {counted(len(report.subjects), 'subject')}"
        + (" (seen in training)" if report.only_seen else ""),
        f"balanced accuracy {scores['balanced_accuracy']:.3f}, kappa {scores['kappa']:.3f}, "
        f"macro F1 {scores['macro_f1']:.3f}",
        f"F1 by stage: {stages}",
        "scored (rows) and predicted (columns) stages:",
        "     " + "".join(f"{stage:>{width + 1}}" for stage in STAGES),
    ]
    for stage, row in zip(STAGES, report.confusion, strict=True):
        lines.append(f"{stage:<5}" + "".join(f"{count:>{width + 1}}" for count in row))
    if scored.skipped:
        lines.append(f"{counted(len(scored.skipped), 'recording')} could not be scored")
    if scored.out is not None:
        lines.append(f"recording by recording: {scored.out}")
    return lines


def score_document(scored: Scored) -> dict[str, Any]:
    """What ``eegaug score --json`` prints."""
    report = scored.report
    return {
        "model": str(scored.model),
        "scores": plain(report.scores),
        "confusion": report.confusion.tolist(),
        "stages": list(STAGES),
        "subjects": list(report.subjects),
        "seen_in_training": list(report.seen),
        "only_seen": report.only_seen,
        "skipped": [{"recording": p["recording"], "reason": p["reason"]} for p in scored.skipped],
        "recordings": json.loads(report.recordings.to_json(orient="records")),
        "table": None if scored.out is None else str(scored.out),
    }


def comparison_lines(result: Comparison) -> list[str]:
    """What ``eegaug compare`` prints: the summary, where everything is, and what it means."""
    lines = []
    if len(result.table):
        lines += [_summary_table(result), "", *_pair_lines(result)]
    several = len({*result.table.get("fraction", ()), *result.failed.get("fraction", ())}) > 1
    for row in result.failed.itertuples():
        where = f"{row.method}, fold {row.fold}, seed {row.seed}" + (
            f", fraction {row.fraction:.3g}" if several else ""
        )
        lines.append(f"failed: {where}: {row.error}")
    if len(result.failed):
        lines += [
            f"{len(result.failed)} of {len(result.failed) + len(result.table)} runs failed; "
            f"{advice(result.failed['error'])}",
            "",
        ]
    words = {
        "table": "every run",
        "curves": "every epoch",
        "subjects": "every test subject",
        "pairs": "methods against each other",
        "comparison": "test score against training time",
        "invariances": "what AugNet learned",
        "policies": "policies that were searched",
    }
    lines += [f"{words.get(name, name) + ':':<34}{path}" for name, path in result.files.items()]
    return [*lines, "", result.sentence()]


def _pair_lines(result: Comparison) -> list[str]:
    """How each method does against no augmentation (or the first method), subject by subject: a block a fraction."""
    pairs = result.pairs_by_fraction()
    several = result.table["fraction"].nunique() > 1
    blocks = []
    for fraction, part in pairs.groupby("fraction"):
        block = _pair_block(result, part, f", fraction {fraction:.3g}" if several else "")
        blocks += ["", *block] if blocks and block else block
    if not blocks:
        return []
    most, n = pairs.groupby("fraction").size().max(), int(pairs["trainings"].max())
    each = "all pairs of methods at one fraction" if several else f"all {most} pairs of methods"
    correction = f"; Holm's correction for {each}" if most > 1 else ""
    # Exact p of a test over n trainings is 2 / 2ⁿ at least.
    few = f"; {n} trainings each: p is {2 / 2**n:.2g} at least, more seeds or folds tell more" if n < 6 else ""
    tests = "Wilcoxon signed-rank tests over subjects and over trainings, the larger p"
    return [*blocks, f"({tests}{correction}{few})", ""]


def _pair_block(result: Comparison, pairs: Any, where: str) -> list[str]:
    """Methods against no augmentation (or the first method) at one fraction; nothing where nothing can be tested."""
    first = "none" if "none" in set(pairs["method"]) | set(pairs["other"]) else next(iter(pairs["method"]), None)
    own = pairs[(pairs["method"] == first) | (pairs["other"] == first)]
    if not len(own) or own["p"].isna().all():
        return []
    head = f"against {result.labels.get(first, first)}, subject by subject{where}"
    width = 60 if where else 44
    lines = [f"{head:<{width}}{'mean difference':>16}{'better in':>12}{'p':>9}{'p (Holm)':>10}"]
    for row in own.itertuples():
        turned = row.method == first
        name, sign = (row.other, -1) if turned else (row.method, 1)
        better = row.worse_in if turned else row.better_in
        lines.append(
            f"{result.labels.get(name, name):<{width}}{sign * row.mean_difference:>+16.3f}"
            f"{f'{better} of {row.subjects}':>12}{row.p:>9.2g}{row.p_holm:>10.2g}"
        )
    return lines


def _summary_table(result: Comparison) -> str:
    summary = result.summary()
    several = summary["fraction"].nunique() > 1
    labels = [result.labels.get(method, method) for method in summary["method"]]
    width = max(20, *(len(label) + 1 for label in labels))
    head = (
        "fraction  " if several else ""
    ) + f"{'method':<{width}}{'bal. accuracy':>14}{'SD folds':>10}{'kappa':>8}{'training':>14}"
    rows = [head]
    for label, row in zip(labels, summary.itertuples(), strict=True):
        spread = "–" if row.sd != row.sd else f"{row.sd:.3f}"
        rows.append(
            (f"{row.fraction:<10.3g}" if several else "")
            + f"{label:<{width}}{row.median:>14.3f}{spread:>10}{row.kappa:>8.3f}"
            + f"{duration(row.train_seconds):>14}"
        )
    return "\n".join([*rows, "(medians: scores over folds, training over runs)"])


def comparison_document(result: Comparison) -> dict[str, Any]:
    """What ``eegaug compare --json`` prints."""
    return {
        "out": str(result.out),
        "files": {name: str(path) for name, path in result.files.items()},
        "summary": json.loads(result.summary().to_json(orient="records")) if len(result.table) else [],
        "pairs": json.loads(result.pairs_by_fraction().to_json(orient="records")),
        "failed": json.loads(result.failed.to_json(orient="records")),
        "sentence": result.sentence(),
    }
