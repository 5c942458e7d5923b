"""What one augmentation layer costs: fused against one operation after the other, by the number of operations.

    python -m benchmarks.layer [--threads 1 2] [--device cpu]

A step is drawing, the weighted sum of all operations at equal weights, and the backward pass to the signal, the weights
and the strengths: what a layer adds to a training step.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable

import numpy as np
import pandas as pd
import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks._timing import CHANNELS, interleaved, machine, quartiles, write
from eegaug.augnet import AugmentationLayer
from eegaug.augnet.fused import fused_sum
from eegaug.operations import FAMILIES

SFREQ, N_TIMES = 100, 3000
# Without bandstop: the twelve operations of the AugNet paper, and one half of each of their families.
TWELVE = [name for name in FAMILIES["all"] if name != "bandstop_filter"]
SIX = ["gaussian_noise", "ft_surrogate", "frequency_shift", "sign_flip", "channels_dropout", "sensors_rotation_z"]
LAYERS = {
    "sensors (7)": FAMILIES["sensors"],
    "time-frequency (6)": FAMILIES["time-frequency"],
    "3 of all": ["frequency_shift", "gaussian_noise", "sensors_rotation_z"],
    "6 of all": SIX,
    "12 of all": TWELVE,
    "all (13)": FAMILIES["all"],
}


def step(layer: AugmentationLayer, X: torch.Tensor, how: str) -> Callable[[], None]:
    """One training step's share of a layer."""
    upstream = torch.ones_like(X)

    def run() -> None:
        draws = layer.draw(X)
        Y = fused_sum(layer, X, draws) if how == "fused" else layer.weighted_sum(X, draws)
        Y.backward(upstream)

    return run


def peak_mib(run: Callable[[], None], device: str) -> float:
    """Most memory that tensors made during one run held at a time, in MiB."""
    run()  # constants are made once
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        run()
    events = [event for event in recorded.profiler.kineto_results.events() if event.name() == "[memory]"]
    held = np.cumsum([event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())])
    return float(held.max()) / 2**20


def times(batch: int, n_channels: int, n_times: int, threads: int, repeats: int, device: str) -> pd.DataFrame:
    """One row for each layer."""
    torch.set_num_threads(threads)
    X = torch.randn(batch, n_channels, n_times, device=device, requires_grad=True)
    runs = {}
    for name, operations in LAYERS.items():
        layer = AugmentationLayer(operations, sfreq=SFREQ, ch_names=CHANNELS[n_channels]).to(device)
        runs |= {(name, how): step(layer, X, how) for how in ("fused", "one by one")}
    seconds = interleaved(runs, repeats, device=device)
    rows = []
    for name in LAYERS:
        fused, single = seconds[name, "fused"], seconds[name, "one by one"]
        rows.append(
            {
                "layer": name,
                "windows": batch,
                "channels": n_channels,
                "samples": n_times,
                "threads": threads,
                "fused ms": quartiles(fused),
                "one by one ms": quartiles(single),
                "times faster": f"{np.median(single) / np.median(fused):.2g}",
                "fused peak MiB": f"{peak_mib(runs[name, 'fused'], device):.1f}",
                "one by one peak MiB": f"{peak_mib(runs[name, 'one by one'], device):.1f}",
                "batch MiB": f"{X.numel() * X.element_size() / 2**20:.1f}",
            }
        )
    return pd.DataFrame(rows)


def check_no_synchronisation(device: str) -> str:
    """On CUDA, whether a layer's step makes the host wait anywhere."""
    if not device.startswith("cuda"):
        return "Host synchronisation: not checked, no accelerator here."
    X = torch.randn(16, 6, N_TIMES, device=device, requires_grad=True)
    layer = AugmentationLayer("all", sfreq=SFREQ, ch_names=CHANNELS[6]).to(device)
    run = step(layer, X, "fused")
    run()
    torch.cuda.set_sync_debug_mode("error")
    try:
        run()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return "Host synchronisation: none within a layer's step."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    print(machine(arguments.device))
    # A window of 8 samples costs nothing to compute: what is left is the overhead of the steps.
    sizes = [(1, 6, 8), (1, 6, N_TIMES), (16, 6, N_TIMES), (64, 20, N_TIMES)]
    tables = [
        times(*size, threads, arguments.repeats, arguments.device) for threads in arguments.threads for size in sizes
    ]
    note = (
        "float32; windows of 8 samples show the overhead of Python and autograd alone; a step is draws, forward, and "
        f"backward to signal, weights and strengths; medians (quartiles) of {arguments.repeats} interleaved repeats. "
        "Peak: most memory held by tensors made during one step, beside the batch itself. "
        f"{check_no_synchronisation(arguments.device)}"
    )
    print(write("layer", pd.concat(tables), note, arguments.device).read_text())


if __name__ == "__main__":
    main()
