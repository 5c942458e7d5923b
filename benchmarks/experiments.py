"""What `eegaug reproduce` gives, as tables and figures of the documentation.

``python -m benchmarks.experiments sinusoids --seeds 10`` does what ``eegaug reproduce`` does with the same options, or
takes up finished runs in ``--out``, and writes the summary, its rows and the figure to benchmarks/results/experiments.
"""

from __future__ import annotations

import argparse
import shlex
import shutil
from pathlib import Path

from benchmarks._timing import RESULTS, write
from eegaug.experiments import list_experiments, reproduce

#: Rows that are kept beside the summary: those of runs, and of what a summary of pairs of operations is made from.
KEPT = ("runs", "pairs")


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("name", choices=list_experiments())
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--seeds", type=int)
    parser.add_argument("--data", default="simulated")
    parser.add_argument("--data-arg", action="append", default=[], metavar="NAME=NUMBER")
    parser.add_argument("--label", help="what the results' names end with, for nights of one's own")
    parser.add_argument("--out", help="folder of the runs")
    parser.add_argument("--jobs", type=int, default=1)
    return parser.parse_args(arguments)


def command(options: argparse.Namespace) -> str:
    """The same with `eegaug`."""
    words = ["eegaug", "reproduce", options.name]
    words += ["--quick"] if options.quick else []
    words += ["--seeds", str(options.seeds)] if options.seeds else []
    words += ["--data", Path(options.data).name] if options.data != "simulated" else []
    for argument in options.data_arg:
        words += ["--data-arg", argument]
    return shlex.join(words)


def main(arguments: list[str] | None = None) -> None:
    """Make what is missing, and write the results."""
    options = parse(arguments)
    data_args = {name: int(number) for name, _, number in (one.partition("=") for one in options.data_arg)}
    result = reproduce(
        options.name,
        quick=options.quick,
        seeds=options.seeds,
        data=options.data,
        data_args=data_args,
        out=options.out,
        n_jobs=options.jobs,
    )
    name = "-".join([options.name, *([options.label] if options.label else []), *(["quick"] if options.quick else [])])
    folder = RESULTS / "experiments"
    folder.mkdir(parents=True, exist_ok=True)
    for kept in [key for key in KEPT if key in result.tables]:
        # Processes that share a machine say nothing about seconds.
        rows = result.tables[kept].drop(columns="seconds", errors="ignore")
        rows.to_csv(folder / f"{name}-{kept}.csv", index=False, float_format="%.5g")
    shutil.copy(result.figure_path, folder / f"{name}.png")
    table = result.table.drop(columns="seconds").fillna("")
    print(write(f"experiments/{name}", table, result.experiment.note, command=command(options)).read_text())


if __name__ == "__main__":
    main()
