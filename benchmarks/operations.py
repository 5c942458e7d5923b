"""Time the 13 operations beside braindecode's transforms.

    python -m benchmarks.operations [--quick] [--threads 1 2] [--device cpu]

Forward: drawing and applying, on all examples. Forward and backward: the same with the gradient to the magnitude.
"""

from __future__ import annotations

import argparse
import warnings

import braindecode.augmentation as bd
import pandas as pd
import torch
from tqdm import tqdm

from benchmarks._timing import CHANNELS, interleaved, machine, quartiles, write
from eegaug.operations import get_operation, list_operations

SFREQ, N_TIMES, MAGNITUDE = 100, 3000, 0.5
# The ratios that matter most to a user of six channels, and of a full cap.
HEADLINE = [(16, 6), (64, 20)]


def peer(name: str, ch_names: list[str]) -> bd.Transform:
    """braindecode's transform at the same strength, applied to every example."""
    build = {
        "time_reverse": lambda: bd.TimeReverse(1.0),
        "time_masking": lambda: bd.SmoothTimeMask(1.0, mask_len_samples=int(200 * MAGNITUDE)),
        "gaussian_noise": lambda: bd.GaussianNoise(1.0, std=0.2 * MAGNITUDE),
        "ft_surrogate": lambda: bd.FTSurrogate(1.0, phase_noise_magnitude=MAGNITUDE),
        "frequency_shift": lambda: bd.FrequencyShift(1.0, sfreq=SFREQ, max_delta_freq=5 * MAGNITUDE),
        "bandstop_filter": lambda: bd.BandstopFilter(1.0, bandwidth=2 * MAGNITUDE, sfreq=SFREQ, max_freq=30),
        "sign_flip": lambda: bd.SignFlip(1.0),
        "channels_symmetry": lambda: bd.ChannelsSymmetry(1.0, ordered_ch_names=ch_names),
        "channels_shuffle": lambda: bd.ChannelsShuffle(1.0, p_shuffle=MAGNITUDE),
        "channels_dropout": lambda: bd.ChannelsDropout(1.0, p_drop=MAGNITUDE),
    }
    if name.startswith("sensors_rotation"):
        rotation = getattr(bd, f"Sensors{name[-1].upper()}Rotation")
        return rotation(1.0, ordered_ch_names=ch_names, max_degrees=30 * MAGNITUDE)
    return build[name]()


def candidates(name: str, X: torch.Tensor, ch_names: list[str]) -> dict:
    """What is timed for one operation on one batch."""
    op = get_operation(name, sfreq=SFREQ, ch_names=ch_names, warn=False)
    transform, y = peer(name, ch_names), torch.zeros(len(X), dtype=torch.int64, device=X.device)
    magnitude = torch.tensor(MAGNITUDE, device=X.device, requires_grad=True)
    upstream = torch.ones_like(X)

    def forward():
        with torch.no_grad():
            return op(X, MAGNITUDE)

    def theirs():
        with torch.no_grad():
            return transform(X, y)

    def backward():
        if op.has_magnitude:
            op(X, magnitude).backward(upstream)
        else:
            op(X, probability=magnitude).backward(upstream)

    return {"eegaug": forward, "braindecode": theirs, "forward + backward": backward}


def run(sizes: list[tuple[int, int]], threads: int, repeats: int, device: str) -> pd.DataFrame:
    """One row for each operation and size."""
    torch.set_num_threads(threads)
    rows = []
    todo = [(name, size) for size in sizes for name in list_operations()]
    for name, (batch, n_channels) in tqdm(todo, desc=f"{threads} thread(s)", disable=None):
        X = torch.randn(batch, n_channels, N_TIMES, device=device)
        seconds = interleaved(candidates(name, X, CHANNELS[n_channels]), repeats, device=device)
        ours, theirs, both = seconds.values()
        medians = [float(pd.Series(values).median()) for values in (ours, theirs, both)]
        rows.append(
            {
                "operation": name,
                "windows": batch,
                "channels": n_channels,
                "threads": threads,
                "eegaug ms": quartiles(ours),
                "braindecode ms": quartiles(theirs),
                "times faster": f"{medians[1] / medians[0]:.2g}",
                "forward + backward ms": quartiles(both),
                "of forward": f"{medians[2] / medians[0]:.2f}",
            }
        )
    return pd.DataFrame(rows)


def headline(table: pd.DataFrame) -> pd.DataFrame:
    """The sizes that matter most, by one thread."""
    sizes = pd.Series(list(zip(table["windows"], table["channels"], strict=True)), index=table.index)
    return table[sizes.isin(HEADLINE) & (table["threads"] == table["threads"].min())]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--quick", action="store_true", help="only 16 x 6 and 64 x 20")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    print(machine(arguments.device))
    sizes = HEADLINE if arguments.quick else [(batch, n) for batch in (16, 64, 256) for n in CHANNELS]
    table = pd.concat([run(sizes, t, arguments.repeats, arguments.device) for t in arguments.threads])
    note = (
        f"Windows of {N_TIMES} samples, float32, magnitude {MAGNITUDE}; medians (quartiles) of {arguments.repeats} "
        "interleaved repeats. Times faster: braindecode's median over eegaug's."
    )
    path = write("operations-quick" if arguments.quick else "operations", table, note, arguments.device)
    if not arguments.quick:
        write("operations-headline", headline(table), f"{note} All sizes: `operations.md`.", arguments.device)
    slower = table[table["times faster"].astype(float) < 1]
    print(path.read_text())
    print(f"{len(table) - len(slower)} of {len(table)} at least as fast as braindecode; the table is in {path}")
    if len(slower):
        print("slower:\n" + slower.to_string(index=False))


if __name__ == "__main__":
    main()
