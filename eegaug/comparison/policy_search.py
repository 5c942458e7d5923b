"""Search one policy on nights: what ``eegaug search`` does."""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eegaug._durations import duration, parse_budget
from eegaug._plain_data import plain_numbers
from eegaug.comparison.estimators import trunk_arguments
from eegaug.comparison.fitting import training_settings
from eegaug.comparison.methods import check_kind
from eegaug.comparison.searching import with_stage_names
from eegaug.comparison.sources import check_result_file, default_for, get_nights, usable_device, writable_folder

__all__ = ["SearchReport", "search_document", "search_lines", "search_policy"]

# Parameters of searchers that the command says in other words, or that are no plain data.
_SAID = ("estimator", "max_epochs", "max_steps", "step_callback", "sfreq", "ch_names", "positions")


@dataclass
class SearchReport:
    """What a search came to."""

    search: Any
    policy: Any
    method: str
    out: Path
    train_subjects: tuple[str, ...]
    valid_subjects: tuple[str, ...]


def search_policy(
    data: Any,
    method: str,
    out: str | os.PathLike,
    *,
    root: Path | None = None,
    data_args: Mapping[str, Any] | None = None,
    preprocessing: Any = None,
    operations: str | Sequence[str] = "all",
    max_steps: int | None = None,
    budget: float | str | None = None,
    checkpoint: str | os.PathLike | None = None,
    options: Mapping[str, Any] | None = None,
    trunk: str = "SleepStagerChambon2018",
    trunk_args: Mapping[str, Any] | None = None,
    lr: float | None = None,
    batch_size: int = 16,
    max_epochs: int | None = None,
    patience: int = 30,
    n_jobs: int | None = None,
    seed: int = 0,
    device: str | None = None,
    verbose: bool = True,
) -> SearchReport:
    """Load nights, search a policy on them and write it to a file.

    A search that was killed goes on when it is started again with the same arguments; after Ctrl-C the policy reached
    is written, and the same holds.

    Parameters
    ----------
    data, root, data_args, preprocessing
        As for :func:`eegaug.compare`.
    method : str
        One of :func:`eegaug.search.list_searchers`.
    out : path
        The policy, a JSON file.
    operations, max_steps
        As for the searchers; None: the searcher's own number of steps.
    budget : float or str, optional
        Time of the search.
    checkpoint : path, optional
        From which a search that was killed goes on. None: ``<out>.search``, which is removed at the end.
    options : mapping, optional
        Further parameters of the searcher.
    trunk, trunk_args, lr, batch_size, max_epochs, patience
        Of every training in the search.
    n_jobs : int, optional
        Trials at a time, for searchers that have trials.
    seed : int
    device : str, optional
    verbose : bool

    Returns
    -------
    SearchReport
    """
    from eegaug.classifier import StagingClassifier
    from eegaug.search import get_searcher
    from eegaug.search._checkpoint import SearchFile

    out = Path(out)
    check_result_file(out, "a JSON file")
    writable_folder(out.resolve().parent)
    device = usable_device(device)
    file = out.with_name(f"{out.name}.search") if checkpoint is None else Path(checkpoint)
    searcher = get_searcher(method)
    accepted = inspect.signature(searcher).parameters
    given = {
        "operations": operations if isinstance(operations, str) else list(operations),
        "time_budget": parse_budget(budget),
        "checkpoint": file,
        "refit": False,
        "random_state": seed,
        "verbose": int(verbose),
        **{name: value for name, value in {"patience": patience, "n_jobs": n_jobs}.items() if name in accepted},
        **({} if max_steps is None else {"max_steps": max_steps}),
    }
    search = searcher(**given | _checked_options(method, options, accepted, {*given, *_SAID}))
    nights, _ = get_nights(data, root=root, preprocessing=preprocessing, data_args=data_args, verbose=verbose)
    training = training_settings(
        trunk,
        trunk_args,
        default_for("lr", data, lr),
        batch_size,
        default_for("max_epochs", data, max_epochs),
        patience,
        None,
    )
    # Without a seed of its own: the search gives it one.
    estimator = StagingClassifier(**trunk_arguments(training, nights, None, device))
    search.set_params(estimator=estimator).fit(nights)
    policy = with_stage_names(search.policy_, nights.classes)
    policy.save(out)
    if checkpoint is None and not search.interrupted_:
        file.unlink(missing_ok=True)
        SearchFile(file).remove("")
    subjects, held_out = sorted(set(nights.subjects)), set(search.valid_groups_)
    return SearchReport(
        search,
        policy,
        method,
        out,
        tuple(name for name in subjects if name not in held_out),
        tuple(name for name in subjects if name in held_out),
    )


def _checked_options(method: str, options: Mapping[str, Any] | None, accepted: Any, said: set[str]) -> dict[str, Any]:
    """Parameters of a searcher, refused by name where it has none such, or where they are said otherwise."""
    options = plain_numbers(dict(options or {}))
    own = [name for name in accepted if name not in said]
    unknown = [name for name in options if name not in own]
    if unknown:
        raise ValueError(f"{method} does not take {', '.join(unknown)}; it takes {', '.join(own)}")
    for name, value in options.items():
        if name == "valid_size":  # a number, or names of subjects: the search itself looks at it
            continue
        check_kind(f"option {name} of method {method!r}", value, accepted[name].default)
    return options


def search_lines(report: SearchReport) -> list[str]:
    """What ``eegaug search`` prints."""
    search = report.search
    stopped = "Stopped before the end; the policy reached is saved, and the same command goes on."
    return [
        *([stopped] if search.interrupted_ else []),
        f"{report.method}: {len(search.history_)} steps in {duration(search.search_time_)}, "
        f"{search.n_forward_backward_} training batches",
        f"held out in the search: {', '.join(report.valid_subjects)}",
        "",
        report.policy.describe(),
        "",
        f"policy: {report.out}",
    ]


def search_document(report: SearchReport) -> dict[str, Any]:
    """What ``eegaug search --json`` prints."""
    search = report.search
    return {
        "policy": str(report.out),
        "method": report.method,
        "steps": len(search.history_),
        "search_seconds": search.search_time_,
        "n_forward_backward": search.n_forward_backward_,
        "operations": [operation.name for operation in search.operations_],
        "train_subjects": list(report.train_subjects),
        "valid_subjects": list(report.valid_subjects),
        "interrupted": search.interrupted_,
        "description": report.policy.describe(),
    }
