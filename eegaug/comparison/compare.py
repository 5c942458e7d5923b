"""`compare`: methods × folds × seeds × fractions on one set of nights, resumable."""

from __future__ import annotations

import dataclasses
import inspect
import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from joblib import effective_n_jobs

from eegaug._durations import parse_budget
from eegaug._warning import warn
from eegaug._words import reasons
from eegaug.comparison.estimators import build_estimator
from eegaug.comparison.fitting import training_settings
from eegaug.comparison.forecast import Forecast, forecast
from eegaug.comparison.job import ERROR, ROW, read_row
from eegaug.comparison.locking import one_at_a_time
from eegaug.comparison.methods import Method, get_method
from eegaug.comparison.plan import (
    Plan,
    changed_methods,
    check_settings,
    describe_data,
    finished_methods,
    make_plan,
    settings_document,
)
from eegaug.comparison.progress import ProgressReporter
from eegaug.comparison.run import run_folder, set_aside
from eegaug.comparison.search_methods import check_search, few_windows
from eegaug.comparison.sources import (
    EMBEDDED,
    as_tuple,
    check_folder,
    default_device,
    default_for,
    get_folds,
    get_nights,
    method_settings,
    planted_truth,
    usable_device,
    warn_of_unused,
    writable_folder,
)
from eegaug.comparison.table import FOLDS, SETTINGS, Comparison, load_comparison
from eegaug.comparison.workers import Work, check_backend, make_runs
from eegaug.data import Split, save_splits
from eegaug.data.atomic import remove_leftovers, write_json

__all__ = ["compare", "describe_plan"]


def compare(
    methods: Iterable[str | Method] = ("none", "fixed", "augnet", "augnet-change"),
    data: Any = "simulated",
    *,
    root: str | os.PathLike | None = None,
    folds: int | str | os.PathLike | Sequence[Any] | None = None,
    n_train: int | None = None,
    n_valid: int | None = None,
    n_test: int | None = None,
    seeds: Iterable[int] = (0,),
    fractions: Iterable[float] = (1.0,),
    max_epochs: int | None = None,
    patience: int = 30,
    budget: float | str | None = None,
    out: str | os.PathLike = "eegaug-compare",
    n_jobs: int = 1,
    backend: str = "local",
    scheduler: str | None = None,
    trunk: str = "SleepStagerChambon2018",
    trunk_args: Mapping[str, Any] | None = None,
    lr: float | None = None,
    batch_size: int = 16,
    preprocessing: Any = None,
    data_args: Mapping[str, Any] | None = None,
    penalty: float | None = None,
    n_copies: int | None = None,
    method_options: Mapping[str, Mapping[str, Any]] | None = None,
    device: str | None = None,
    split_seed: int = 0,
    verbose: bool = True,
) -> Comparison:
    """Compare ways to augment on nights of several subjects.

    Every method trains the same network by the same code on the same subjects, stops when the balanced accuracy on
    validation subjects has not risen for ``patience`` epochs, keeps the network that was best there and is tested on
    subjects that neither training nor stopping has seen. One clock counts training alone.

    Each finished run is a folder in ``out/runs``. What is there is not run again; a comparison that was killed goes on
    where it stopped, within a run from its last epoch, and ends in the same scores. Methods, seeds and fractions may be
    added later, and a method that has no finished run yet may be given other options; what it had begun is then kept in
    ``out/set-aside``, unused. Other settings than those of an existing ``out`` are refused.

    Parameters
    ----------
    methods : iterable of str or Method
        ``"none"`` (no augmentation), ``"fixed"`` (one operation per window, at strengths that were good for sleep),
        ``"uniform"``, ``"trivial-augment"``, ``"rand-augment"`` (random operations), ``"augnet"``,
        ``"augnet-change"``, ``"augnet-single"``, ``"augerino"`` (augmentation that is learned in training), the
        searches ``"random"``, ``"autoaugment"``, ``"fast-autoaugment"``, ``"faster-autoaugment"``, ``"dada"``,
        ``"adda"``, ``"cadda"``, ``"dna"``, training for invariance by ``"ait"``, ``"ait-control"``, ``"ait-augnet"``,
        ``"multi-ait"``, ``"dml"``, those added by :func:`eegaug.comparison.register_method`, or
        :class:`eegaug.comparison.Method`.
    data : str, path or Nights
        ``"simulated"``, ``"sleep-edf"``, ``"mass"``, a folder of recordings, or nights.
    root : path, optional
        Folder of MASS, or to which Sleep-EDF is downloaded.
    folds : int, path or sequence of Split, optional
        Number of subject-wise folds, or the folds, or a JSON file of them. Default 5; 3 for ``"simulated"``.
    n_train, n_valid, n_test : int, optional
        Subjects on each side, see :func:`eegaug.data.subject_folds`. In 3 folds the 12 subjects of ``"simulated"`` are
        4 on each.
    seeds : iterable of int
        Repetitions: initial weights, batches, augmentations and, for a fraction below 1, which training subjects.
    fractions : iterable of float
        Fractions of the training subjects, in (0, 1].
    max_epochs : int, optional
        Default 300; 20 for ``"simulated"``.
    patience : int
        Epochs without a better validation score after which training stops.
    budget : float or str, optional
        Time of each run, in seconds or as ``"30min"``, ``"2h"``: all that a method does, search and training; tests
        cost nothing. The epoch under way is finished. A search stops in time to train with the policy it has found.
    out : path
        Folder of the results.
    n_jobs : int
        Runs at a time on this machine (−1 is one for each core). They share the cores, and a run on fewer threads adds
        up in another order, which may change its scores; with ``OMP_NUM_THREADS`` set all have as many. A run whose
        process dies is begun once more and then reported as failed; the others go on.
    backend : {"local", "dask"}
        Where runs are made: in processes of this machine, or by the workers of a Dask cluster, all of which must see
        ``out``. Needs the extra ``eegaug[distributed]``.
    scheduler : str, optional
        Address of the cluster's scheduler, ``"tcp://host:8786"``. None: the client that is there already, or else a
        cluster on this machine.
    trunk : str
        Network: the name of a braindecode model.
    trunk_args : mapping, optional
        Its arguments. Default for SleepStagerChambon2018: dropout 0.5, as in its paper.
    lr : float, optional
        Adam's learning rate. Default 1e-3; 3e-3 for ``"simulated"`` (1e-3 for AugNet's weights and strengths).
    batch_size : int
        Windows per batch.
    preprocessing : Preprocessing, optional
        Of recordings.
    data_args : mapping, optional
        Further arguments of the data source, such as ``n_subjects`` for ``"simulated"``.
    penalty : float, optional
        Weight of AugNet's penalty (``"augnet"``, ``"augnet-change"``; of others it is an option). Default 10; 0.2 for
        ``"simulated"``; 0.5 of ``"augnet-change"``.
    n_copies : int, optional
        Augmented copies that these two average at prediction. Default 4.
    method_options : mapping, optional
        Method name → its further options.
    device : str, optional
        Where to train; default is a CUDA device if there is one, else the processor.
    split_seed : int
        Which folds are drawn.
    verbose : bool
        Tell on standard error how far it is.

    Returns
    -------
    Comparison
        Table, curves, what AugNet learned; also saved in ``out`` as results.csv, curves.csv, comparison.png and
        invariances.png. It holds all runs in ``out``, also of methods that were not asked for this time.

    Raises
    ------
    ValueError
        Unknown method, options that a method refuses, folds that cannot be made, or settings that differ from those in
        ``out`` (each is named); nothing was computed then.
    OSError
        ``out`` cannot be written to; found out before anything is computed.
    ImportError
        A method or the backend needs a package that is not installed; the extra to install is named.
    KeyboardInterrupt
        After Ctrl-C, with finished runs saved.

    References
    ----------
    Rommel, Moreau and Gramfort, "Deep invariant networks with differentiable augmentation layers", NeurIPS 2022,
    section 5 and Figure 8.

    Examples
    --------
    >>> import tempfile
    >>> from eegaug import compare
    >>> small = {"n_subjects": 3, "n_windows": 20, "ch_names": ("C3", "C4"), "sfreq": 64}
    >>> with tempfile.TemporaryDirectory() as out:
    ...     result = compare(["none"], folds=1, max_epochs=1, data_args=small, out=out, verbose=False)
    >>> result.table[["method", "fold", "epochs"]].to_dict("records")
    [{'method': 'none', 'fold': 0, 'epochs': 1}]
    """
    given = dict(locals())
    check_backend(backend, scheduler)
    writable_folder(out)
    plan, work = _prepare(given)
    out = work.out
    with one_at_a_time(out):
        for folder in (out, *(out / "runs").glob("*")):
            remove_leftovers(folder)
        # Looked at once more: another command may have added methods meanwhile.
        settings = check_settings(out / SETTINGS, _own_settings(work), finished_methods(out))
        # Before the settings are written: what was begun must never be taken for a run with the options of now.
        for name in changed_methods(out / SETTINGS, settings):
            if (aside := set_aside(out, name)) is not None:
                warn(f"{name} has other options now: what was begun with others is kept in {aside}")
        write_json(out / SETTINGS, settings)
        save_splits([Split(**fold) for fold in settings["folds"]], out / FOLDS)
    work = dataclasses.replace(work, settings=settings)
    try:
        _make_missing(plan, work, n_jobs, backend, scheduler, verbose)
    except KeyboardInterrupt:
        load_comparison(out).save()
        there = sum(read_row(run_folder(out, run)) is not None for run in plan.runs)
        raise KeyboardInterrupt(
            f"stopped with {there} of {len(plan.runs)} runs finished; they are kept in {out}, the same call goes on "
            "from here"
        ) from None
    comparison = load_comparison(out)
    comparison.save()
    for text in comparison.warnings:
        warn(text)
    # Another command may have given other options meanwhile: the runs that are there are with those.
    check_settings(out / SETTINGS, _own_settings(work))
    return comparison


def describe_plan(
    methods: Iterable[str | Method] = ("none", "fixed", "augnet", "augnet-change"),
    data: Any = "simulated",
    **settings: Any,
) -> Forecast:
    """Say what :func:`eegaug.compare` would do with the same arguments, and how long that may take.

    Nothing is written into ``out``; recordings that were never read are prepared, as always, once. Times are bounds: of
    runs that go to their last epoch. They come from finished runs in ``out`` or else from a few training steps that are
    measured now; of a search that has not finished a run yet, a budget is the only bound.

    Parameters
    ----------
    methods, data, **settings
        As for :func:`eegaug.compare`.

    Returns
    -------
    eegaug.comparison.forecast.Forecast
        Its ``runs``, ``missing`` and ``seconds``; :func:`eegaug.comparison.forecast.forecast_lines` puts it in words.

    Raises
    ------
    ValueError, OSError, ImportError
        As :func:`eegaug.compare`.

    Examples
    --------
    >>> from eegaug.comparison import describe_plan
    >>> small = {"n_subjects": 3, "n_windows": 20, "ch_names": ("C3", "C4"), "sfreq": 64}
    >>> plan = describe_plan(["none", "random"], folds=2, max_epochs=1, data_args=small, budget="1h", out="nowhere")
    >>> [(run["method"], run["state"], run["estimated_from"]) for run in plan.runs[:2]]
    [('none', 'new', 'measured steps'), ('random', 'new', 'budget')]
    """
    bound = inspect.signature(compare).bind(methods, data, **settings)
    bound.apply_defaults()
    given = bound.arguments
    check_backend(given["backend"], given["scheduler"])
    check_folder(given["out"])
    plan, work = _prepare(given)
    n_jobs = effective_n_jobs(given["n_jobs"])
    return forecast(plan.runs, work, n_jobs, given["verbose"])


def _prepare(given: Mapping[str, Any]) -> tuple[Plan, Work]:
    """The plan, and what its runs need, from the arguments of :func:`compare`; nothing is written."""
    data, out, folds = given["data"], Path(given["out"]), given["folds"]
    methods, seeds, fractions = (as_tuple(given[axis]) for axis in ("methods", "seeds", "fractions"))
    # Whatever is wrong with them is said before the nights are read.
    chosen = make_plan(methods, 1, seeds, fractions).methods
    for method in chosen:
        method.check_installed()
    warn_of_unused(chosen, given["penalty"], given["n_copies"])
    local = given["backend"] == "local"
    device = usable_device(given["device"]) if local else given["device"] or default_device()
    training = training_settings(
        given["trunk"],
        given["trunk_args"],
        default_for("lr", data, given["lr"]),
        given["batch_size"],
        default_for("max_epochs", data, given["max_epochs"]),
        given["patience"],
        parse_budget(given["budget"]),
    )
    own = dict(given["method_options"] or {})
    for name in own.keys() - {method.name for method in chosen}:
        get_method(name)  # one that is not compared this time, but that there is
    options = {
        method.name: method_settings(data, method, given["penalty"], given["n_copies"], own.get(method.name))
        for method in chosen
    }
    nights, source = get_nights(
        data,
        root=given["root"],
        preprocessing=given["preprocessing"],
        data_args=given["data_args"],
        verbose=given["verbose"],
    )
    sizes = {name: given[name] for name in ("n_train", "n_valid", "n_test")}
    folds, usual = default_for("folds", data, folds), (default_for("folds", data), EMBEDDED["n_subjects"])
    # Sides of 4 subjects go with 3 folds of 12, whether these are the default or asked for.
    if set(sizes.values()) == {None} and (folds, len(set(nights.subjects))) == usual:
        sizes = default_for("sizes", data)
    splits = get_folds(folds, nights, sizes, given["split_seed"])
    plan = make_plan(methods, len(splits), seeds, fractions)
    settings = settings_document(
        {**describe_data(nights, source), "truth": planted_truth(nights)},
        [split.model_dump(mode="json") for split in splits],
        training,
        options,
        {method.name: method.label for method in plan.methods},
    )
    settings = check_settings(out / SETTINGS, settings, finished_methods(out))
    missing = {run.method for run in plan.runs if read_row(run_folder(out, run)) is None}
    for method in plan.methods:
        if method.name in missing:
            _check_options(method, settings["methods"][method.name], training, nights)
    known = {method.name: method for method in plan.methods}
    return plan, Work(known, splits, nights, settings, out, device)


def _own_settings(work: Work) -> dict[str, Any]:
    """The settings of the methods that were asked for, without those that were in the folder."""
    settings = work.settings
    return {
        **settings,
        **{axis: {name: settings[axis][name] for name in work.methods} for axis in ("methods", "labels")},
    }


def _check_options(method: Method, options: Mapping[str, Any], training: Mapping[str, Any], nights: Any) -> None:
    """Refuse options that would end every run of a method, as far as no data are needed to find that out."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # each run says it
            if method.searches:
                check_search(method, options, training, nights)
                return
            # What others have written runs where runs are made: it costs no more than its own runs if it fails.
            build = getattr(method.build, "func", method.build)
            if str(getattr(build, "__module__", "")).startswith("eegaug."):
                estimator = build_estimator(method, options, training, nights)
                estimator._prepare(*few_windows(nights)[:2], True)
                estimator.initialize()
    except (ValueError, TypeError) as error:
        told = reasons(error)[0] if hasattr(error, "errors") else error  # pydantic's run over several lines
        raise ValueError(f"method {method.name!r}: {told}") from error


def _make_missing(plan: Plan, work: Work, n_jobs: int, backend: str, scheduler: str | None, verbose: bool) -> None:
    """Make the runs that are not there yet."""
    missing = [run for run in plan.runs if read_row(run_folder(work.out, run)) is None]
    for run in missing:
        folder = run_folder(work.out, run)
        (folder / ERROR).unlink(missing_ok=True)
        if (folder / ROW).exists():
            warn(f"{folder / ROW} is damaged: this run is made again.")
            (folder / ROW).unlink()
    with ProgressReporter(work.out, plan.runs, work.settings["training"]["max_epochs"], enabled=verbose):
        make_runs(work, missing, n_jobs, backend, scheduler)
