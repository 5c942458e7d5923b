"""Draw the figure of the home page: ``python docs/home_figure.py``."""

from pathlib import Path

import matplotlib.pyplot as plt
import torch

from eegaug import AugNetClassifier
from eegaug.data import Planted, simulate_nights
from eegaug.plotting import plot_invariances, plot_operation_signal

# Half of the subjects upside down, half of them with left and right exchanged, and nothing else that varies.
planted = Planted.none(polarity=0.5, left_right=0.5)
nights = simulate_nights(10, n_windows=120, ch_names=["C3", "C4"], sfreq=64, planted=planted, random_state=1)
clf = AugNetClassifier(
    layers=[["sign_flip", "channels_symmetry", "frequency_shift", "time_masking", "channels_dropout"]],
    selection="single",
    judge_share=0.25,
    lr=3e-3,
    augmentation_lr=1e-2,
    max_epochs=40,
    random_state=0,
    verbose=0,
)
clf.fit(nights)
print(clf.invariances_.round(3))

X, y, _ = simulate_nights(1, n_windows=60, ch_names=["C3", "C4"], random_state=0).as_arrays()
figure, (left, right) = plt.subplots(1, 2, figsize=(11, 2.9), width_ratios=[1, 0.8], layout="constrained")
plot_operation_signal(
    "frequency_shift", torch.as_tensor(X[y == 2][0]), sfreq=100, ch_names=["C3", "C4"], channel="C3", ax=left
)
plot_invariances(clf, truth={"sign_flip": 0.5, "channels_symmetry": 0.5}, ax=right)
left.set_title("what an operation does (frequency shift)", loc="left", fontsize=11)
right.set_title("how far each may go, learned on simulated nights", loc="left", fontsize=11, pad=24)
figure.savefig(Path(__file__).parent / "_static" / "home.png", dpi=120)
