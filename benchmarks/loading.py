"""What reading windows costs beside a training step: from memory and from the store, without and with workers.

    python -m benchmarks.loading [--threads 1] [--hours 8]

Nights are simulated into a store on disk. Each loader is the one that `fit` uses: shuffled batches of 16, read from the
store night by night, standardised when the store was written (not again), checked for NaN, as float32. A batch is timed
from the request to its arrival, with the previous step's computation going on in between, as in training.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings

import numpy as np
import pandas as pd
import torch

from benchmarks._timing import machine, quartiles, write
from eegaug import StagingClassifier
from eegaug.data import simulate_nights

BATCH = 16


def seconds(net: StagingClassifier, dataset: object, n_batches: int) -> tuple[np.ndarray, np.ndarray]:
    """Waiting for each batch, and each training step."""
    waits, steps = [], []
    batches = iter(net.get_iterator(dataset, training=True))
    next_batch = next(batches)  # workers start
    for _ in range(n_batches):
        start = time.perf_counter()
        net.train_step(next_batch)
        between = time.perf_counter()
        next_batch = next(batches, None)
        if next_batch is None:
            batches = iter(net.get_iterator(dataset, training=True))
            next_batch = next(batches)
            continue
        waits.append(time.perf_counter() - between)
        steps.append(between - start)
    return np.asarray(waits), np.asarray(steps)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--nights", type=int, default=4)
    parser.add_argument("--hours", type=float, default=8.0)
    parser.add_argument("--batches", type=int, default=60)
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(arguments.threads)
    print(machine())
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        stored = simulate_nights(arguments.nights, hours=arguments.hours, random_state=0, store=folder)
        X, y, _ = stored.as_arrays()
        for what, data, workers in (
            ("arrays in memory", (X, y), 0),
            ("store on disk", (stored,), 0),
            ("store on disk", (stored,), 1),
        ):
            some = np.linspace(0, len(y) - 1, 100).astype(int)
            net = StagingClassifier(
                sfreq=stored.sfreq, ch_names=stored.ch_names, max_epochs=1, random_state=0, verbose=0
            ).fit(X[some], y[some])
            net.set_params(iterator_train__num_workers=workers)
            dataset = net.get_dataset(*data)
            waits, steps = seconds(net, dataset, arguments.batches)
            rows.append(
                {
                    "windows from": what,
                    "workers": workers,
                    "waiting for a batch ms": quartiles(waits),
                    "training step ms": quartiles(steps),
                    "of the step": f"{100 * np.median(waits) / np.median(steps):.1f} %",
                }
            )
    note = (
        f"{arguments.nights} nights of {arguments.hours:g} h, 6 channels at 100 Hz, {BATCH} windows of 30 s a batch, "
        f"{arguments.threads} thread(s); medians (quartiles) of {arguments.batches} batches. The step is that of the "
        "Chambon net alone, the shortest there is."
    )
    print(write("loading", pd.DataFrame(rows), note).read_text())


if __name__ == "__main__":
    main()
