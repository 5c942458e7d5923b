"""`compare`: methods × folds × seeds × fractions on one set of nights, resumable."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from eegaug.comparison.fitting import training_settings
from eegaug.comparison.methods import Method
from eegaug.comparison.plan import (
    Plan,
    RunSpec,
    check_settings,
    describe_data,
    make_plan,
    parse_budget,
    settings_document,
    write_json,
)
from eegaug.comparison.progress import ProgressReporter
from eegaug.comparison.run import ERROR, ROW, run_folder, run_one
from eegaug.comparison.sources import (
    as_tuple,
    augnet_options,
    default_device,
    default_for,
    get_folds,
    get_nights,
    planted_truth,
    writable_folder,
)
from eegaug.comparison.table import FOLDS, SETTINGS, Comparison, load_comparison

__all__ = ["compare"]


def compare(
    methods: Iterable[str | Method] = ("none", "fixed", "augnet"),
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
    trunk: str = "SleepStagerChambon2018",
    trunk_args: Mapping[str, Any] | None = None,
    lr: float | None = None,
    batch_size: int = 16,
    preprocessing: Any = None,
    data_args: Mapping[str, Any] | None = None,
    penalty: float | None = None,
    n_copies: int = 4,
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
    added later; other settings than those of an existing ``out`` are refused.

    Parameters
    ----------
    methods : iterable of str or Method
        ``"none"`` (no augmentation), ``"fixed"`` (one operation per window, at strengths that were good for sleep),
        ``"augnet"``, those added by :func:`eegaug.comparison.register_method`, or :class:`eegaug.comparison.Method`.
    data : str, path or Nights
        ``"simulated"``, ``"sleep-edf"``, ``"mass"``, a folder of recordings, or nights.
    root : path, optional
        Folder of MASS, or to which Sleep-EDF is downloaded.
    folds : int, path or sequence of Split, optional
        Number of subject-wise folds, or the folds, or a JSON file of them. Default 5; 3 for ``"simulated"``.
    n_train, n_valid, n_test : int, optional
        Subjects on each side, see :func:`eegaug.data.subject_folds`. The 12 subjects of ``"simulated"`` are 4 on each.
    seeds : iterable of int
        Repetitions: initial weights, batches, augmentations and, for a fraction below 1, which training subjects.
    fractions : iterable of float
        Fractions of the training subjects, in (0, 1].
    max_epochs : int, optional
        Default 300; 20 for ``"simulated"``.
    patience : int
        Epochs without a better validation score after which training stops.
    budget : float or str, optional
        Training time of each run in seconds or as ``"30min"``, ``"2h"``; the epoch under way is finished.
    out : path
        Folder of the results.
    n_jobs : int
        Runs at a time (joblib; −1 is one for each core).
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
        Weight of AugNet's penalty. Default 10; 0.2 for ``"simulated"``.
    n_copies : int
        Augmented copies that AugNet averages at prediction.
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
        Unknown method, folds that cannot be made, or settings that differ from those in ``out`` (each is named).
    OSError
        ``out`` cannot be written to; found out before anything is computed.
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
    out = writable_folder(out)
    methods = as_tuple(methods)
    make_plan(methods, 1, seeds, fractions)  # whatever is wrong with them is said before the nights are read
    lr, max_epochs = default_for("lr", data, lr), default_for("max_epochs", data, max_epochs)
    training = training_settings(trunk, trunk_args, lr, batch_size, max_epochs, patience, parse_budget(budget))
    options = {name: dict(given) for name, given in (method_options or {}).items()}
    options["augnet"] = {**augnet_options(data, penalty, n_copies), **options.get("augnet", {})}
    nights, source = get_nights(data, root=root, preprocessing=preprocessing, data_args=data_args, verbose=verbose)
    sizes = {"n_train": n_train, "n_valid": n_valid, "n_test": n_test}
    if folds is None and data_args is None and not any(sizes.values()):
        sizes = default_for("sizes", data)
    splits = get_folds(default_for("folds", data, folds), nights, sizes, split_seed)
    plan = make_plan(methods, len(splits), seeds, fractions)
    settings = settings_document(
        {**describe_data(nights, source), "truth": planted_truth(nights)},
        [split.model_dump(mode="json") for split in splits],
        training,
        {method.name: method.options(options.get(method.name)) for method in plan.methods},
        {method.name: method.label for method in plan.methods},
    )
    settings = check_settings(out / SETTINGS, settings)
    write_json(out / SETTINGS, settings)
    write_json(out / FOLDS, {"format": "eegaug-splits", "version": 1, "splits": settings["folds"]})
    try:
        _make_runs(plan, splits, nights, settings, out, n_jobs, device or default_device(), verbose)
    except KeyboardInterrupt:
        load_comparison(out).save()
        there = sum((run_folder(out, run) / ROW).exists() for run in plan.runs)
        raise KeyboardInterrupt(
            f"stopped with {there} of {len(plan.runs)} runs finished; they are kept in {out}, the same call goes on "
            "from here"
        ) from None
    comparison = load_comparison(out)
    comparison.save()
    for text in comparison.warnings:
        warnings.warn(text, stacklevel=2)
    return comparison


def _make_runs(
    plan: Plan,
    splits: Sequence[Any],
    nights: Any,
    settings: Mapping[str, Any],
    out: Path,
    n_jobs: int,
    device: str,
    verbose: bool,
) -> None:
    """Make the runs that are not there yet, here or in other processes."""
    missing = [run for run in plan.runs if not (run_folder(out, run) / ROW).exists()]
    for run in missing:
        (run_folder(out, run) / ERROR).unlink(missing_ok=True)

    def arguments(run: RunSpec) -> tuple[Any, ...]:
        return (run, plan.method(run.method), splits[run.fold], nights, settings, out, device)

    with ProgressReporter(out, plan.runs, settings["training"]["max_epochs"], enabled=verbose):
        if n_jobs == 1 or len(missing) <= 1:
            for run in missing:
                run_one(*arguments(run))
            return
        from joblib import Parallel, delayed

        try:
            Parallel(n_jobs=n_jobs)(delayed(run_one)(*arguments(run)) for run in missing)
        except Exception as error:
            # run_one catches what goes wrong in a run; what comes here is a worker that died under it.
            if type(error).__name__ not in ("TerminatedWorkerError", "BrokenProcessPool"):
                raise
            raise RuntimeError(
                f"a worker process died, perhaps for want of memory ({str(error).splitlines()[0]}); finished runs are "
                f"kept in {out}: run it again, with a smaller n_jobs than {n_jobs} if this comes back"
            ) from error
