"""Timing side by side: every candidate runs once in every round, so that a busy machine slows all of them alike."""

from __future__ import annotations

import os
import platform
import shlex
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import torch

RESULTS = Path(__file__).parent / "results"
TWENTY = [
    "Fp1",
    "Fp2",
    "F7",
    "F3",
    "Fz",
    "F4",
    "F8",
    "T7",
    "C3",
    "Cz",
    "C4",
    "T8",
    "P7",
    "P3",
    "Pz",
    "P4",
    "P8",
    "O1",
    "O2",
]
CHANNELS = {2: ["C3", "C4"], 6: ["C3", "C4", "F3", "F4", "O1", "O2"], 20: [*TWENTY, "Oz"]}


def synchronise(device: str) -> None:
    """Wait for an accelerator, whose work goes on after a call returns."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def interleaved(
    candidates: dict[str, Callable[[], object]],
    repeats: int = 20,
    warm_up: int = 2,
    device: str = "cpu",
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, np.ndarray]:
    """Seconds of each candidate, `repeats` times each; a round runs all of them, in an order that changes.

    With `time.process_time` as the clock and one thread, the time that other processes take is not counted.
    """
    rng = np.random.default_rng(0)
    seconds = {name: [] for name in candidates}
    for turn in range(warm_up + repeats):
        for index in rng.permutation(len(candidates)):
            name = list(candidates)[index]
            synchronise(device)
            start = clock()
            candidates[name]()
            synchronise(device)
            if turn >= warm_up:
                seconds[name].append(clock() - start)
    return {name: np.asarray(values) for name, values in seconds.items()}


def quartiles(seconds: np.ndarray) -> str:
    """Median and quartiles in milliseconds, for a table."""
    low, middle, high = np.percentile(seconds * 1e3, [25, 50, 75])
    return f"{middle:.3g} ({low:.3g}–{high:.3g})"


def machine(device: str = "cpu") -> str:
    """One line on what the numbers were measured with."""
    names = ["torch", "braindecode", "mne", "numpy"]
    versions = ", ".join(f"{name} {version(name)}" for name in names)
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        model = next((line.split(": ")[1] for line in cpuinfo.read_text().splitlines() if "model name" in line), model)
    what = torch.cuda.get_device_name() if device.startswith("cuda") else f"{model}, {os.cpu_count()} cores"
    return f"Python {platform.python_version()}, {versions}; {what}"


def write(name: str, table: pd.DataFrame, note: str, device: str = "cpu", command: str | None = None) -> Path:
    """Write a table as CSV and as Markdown with its command, versions and machine; return the Markdown's path.

    The command is the one that is running, unless another is given.
    """
    RESULTS.mkdir(exist_ok=True)
    table.to_csv(RESULTS / f"{name}.csv", index=False)
    if command is None:
        module = Path(sys.argv[0]).stem
        allocator = [f"{name}={value}" for name, value in sorted(os.environ.items()) if name.startswith("MALLOC_")]
        command = " ".join([*allocator, shlex.join(["python", "-m", f"benchmarks.{module}", *sys.argv[1:]])])
    header = "| " + " | ".join(map(str, table.columns)) + " |\n|" + " --- |" * table.shape[1]
    rows = "\n".join("| " + " | ".join(map(str, row)) + " |" for row in table.itertuples(index=False))
    path = RESULTS / f"{name}.md"
    path.write_text(f"`{command}`\n\n{machine(device)}\n\n{note}\n\n{header}\n{rows}\n")
    return path
