"""What augmentation adds to a training step and to a prediction of the Chambon net.

    python -m benchmarks.training [--threads 1 2] [--device cpu]

The module is that of sleep staging: a sensors layer of 7 operations and two time-frequency layers of 6, at equal
weights, as at the start of training, when nothing can be left out. The net alone is trained by braindecode's
EEGClassifier and by StagingClassifier, whose gradients of convolutions take less time.
"""

from __future__ import annotations

import argparse
import warnings

import braindecode.augmentation as bd
import numpy as np
import pandas as pd
import torch
from braindecode import EEGClassifier
from braindecode.models import SleepStagerChambon2018

from benchmarks._timing import CHANNELS, interleaved, machine, quartiles, write
from eegaug import AugNetClassifier, StagingClassifier

SIZES = {3000: 100, 3840: 128}
BATCH = 16


def fitted(kind: type, n_times: int, device: str, **settings):
    """A classifier that is ready for steps."""
    net = kind(
        SleepStagerChambon2018,
        module__drop_prob=0.5,
        optimizer=torch.optim.Adam,
        max_epochs=1,
        batch_size=BATCH,
        verbose=0,
        device=device,
        **settings,
    )
    rng = np.random.default_rng(0)
    X = rng.standard_normal((BATCH, 6, n_times)).astype("float32")
    return net.fit(X, np.arange(BATCH) % 5)


def candidates(n_times: int, device: str) -> tuple[dict, dict]:
    """Training steps and predictions to be timed."""
    theirs = fitted(EEGClassifier, n_times, device, train_split=None, module__sfreq=SIZES[n_times])
    about = {"sfreq": SIZES[n_times], "ch_names": CHANNELS[6], "random_state": 0}
    plain = fitted(StagingClassifier, n_times, device, **about)
    layers = ["sensors", "time-frequency", "time-frequency"]
    learned = fitted(AugNetClassifier, n_times, device, layers=layers, n_copies=4, **about)
    single = fitted(AugNetClassifier, n_times, device, layers=layers, selection="single", **about)
    X = torch.randn(BATCH, 6, n_times, device=device)
    y = torch.arange(BATCH, device=device) % 5
    many = [torch.randn(BATCH, 6, n_times, device=device) for _ in range(4)]
    peers = bd.Compose(
        [
            bd.FrequencyShift(0.5, sfreq=SIZES[n_times], max_delta_freq=0.3),
            bd.FTSurrogate(0.5, phase_noise_magnitude=0.8),
            bd.GaussianNoise(0.5, std=0.12),
        ]
    )
    start = [(parameter, parameter.detach().clone()) for parameter in learned.module_.augmentation.parameters()]

    def augnet_step():
        # Equal weights: the optimiser would soon turn operations off, and the step would become cheaper.
        with torch.no_grad():
            for parameter, value in start:
                parameter.copy_(value)
        learned.train_step((X, y))

    def peer_step():
        theirs.train_step(peers(X, y))

    def trunk_four_times():
        with torch.no_grad():
            theirs.module_.eval()
            for windows in many:
                theirs.module_(windows)

    def augnet_prediction():
        with torch.no_grad():
            learned.module_.eval()
            learned.module_(X)

    steps = {
        "trunk alone, braindecode": lambda: theirs.train_step((X, y)),
        "trunk alone": lambda: plain.train_step((X, y)),
        "AugNet, 3 layers": augnet_step,
        "AugNet, 3 layers, one operation a window": lambda: single.train_step((X, y)),
        "trunk + 3 braindecode transforms, p = 0.5": peer_step,
    }
    predictions = {"trunk, 4 batches": trunk_four_times, "AugNet, 4 copies": augnet_prediction}
    return steps, predictions


def rows_of(kind: str, seconds: dict[str, np.ndarray], n_times: int, threads: int) -> list[dict]:
    """Table rows, with the first candidate and the trunk alone as references."""
    reference = np.median(next(iter(seconds.values())))
    own = np.median(seconds.get("trunk alone", reference))
    return [
        {
            "what": kind,
            "method": name,
            "windows x channels x samples": f"{BATCH} x 6 x {n_times}",
            "threads": threads,
            "ms": quartiles(values),
            "of the trunk in braindecode": f"{np.median(values) / reference:.2f}",
            "of the trunk in eegaug": f"{np.median(values) / own:.2f}",
        }
        for name, values in seconds.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--name", default="training", help="name of the results' files")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    print(machine(arguments.device))
    rows = []
    for threads in arguments.threads:
        torch.set_num_threads(threads)
        for n_times in SIZES:
            steps, predictions = candidates(n_times, arguments.device)
            for kind, runs in (("training step", steps), ("prediction", predictions)):
                seconds = interleaved(runs, arguments.repeats, warm_up=5, device=arguments.device)
                rows += rows_of(kind, seconds, n_times, threads)
    note = f"Batch of {BATCH}, float32; medians (quartiles) of {arguments.repeats} interleaved repeats."
    print(write(arguments.name, pd.DataFrame(rows), note, arguments.device).read_text())


if __name__ == "__main__":
    main()
