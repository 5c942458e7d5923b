"""
Operations at a glance
======================

Augmentation changes a training window in a way that leaves its sleep stage as it was. Here are the operations that
``eegaug`` knows, what each does to a window, and what its magnitude means.

An operation's magnitude lies in [0, 1]: 0 is the window as it was, 1 the operation's full strength, which has a
physical unit. Three operations have no magnitude. They are applied or not; their probability takes its place.
"""

# %%
# The thirteen operations
# -----------------------

import pandas as pd
import torch

from eegaug.data import simulate_nights
from eegaug.operations import get_operation, list_operations

sfreq, ch_names = 100.0, ["F3", "F4", "C3", "C4", "P3", "P4", "O1", "O2"]
operations = [get_operation(name, sfreq=sfreq, ch_names=ch_names) for name in list_operations()]

pd.options.display.max_colwidth = None
pd.DataFrame(
    {
        "family": [op.family for op in operations],
        "full strength": [f"{op.max_strength:.3g} {op.unit}" if op.has_magnitude else "" for op in operations],
        "at full strength": [op.sentence.format(strength=round(op.max_strength, 2)) for op in operations],
    },
    index=[op.name for op in operations],
)

# %%
# A window
# --------
#
# Thirty seconds of N2, from a simulated night. It has a spindle rhythm near 13 Hz and slow waves.

nights = simulate_nights(1, n_windows=60, ch_names=ch_names, sfreq=sfreq, random_state=0)
X, y, _ = nights.as_arrays()
window = torch.as_tensor(X[y == 2][0])
window.shape

# %%
# Applying one
# ------------
#
# A call draws the randomness and applies the operation, with another draw for each window of a batch. The two steps can
# be taken apart: ``draw`` knows neither the magnitude nor the signal, ``apply`` is deterministic and differentiable in
# both. So one draw can be looked at over all magnitudes, and a magnitude can be learned.

shift = get_operation("frequency_shift", sfreq=sfreq)
noise = shift.draw(1, len(ch_names), window.shape[-1], generator=torch.Generator().manual_seed(3))

magnitude = torch.tensor(0.4, requires_grad=True)
moved = shift.apply(window, magnitude, noise)
moved.square().diff().abs().sum().backward()
print(f"identical at magnitude 0: {torch.equal(shift.apply(window, 0.0, noise), window)}")
print(f"gradient in the magnitude: {float(magnitude.grad):.1f}")

# %%
# What it does, over magnitudes
# -----------------------------
#
# :func:`eegaug.plotting.operation_figure` shows a window before and after, in time, as a spectrum and on the head. A
# frequency shift moves the spectrum and hardly changes how the signal looks:

from eegaug.plotting import operation_figure, plot_operation_signal

figure = operation_figure("frequency_shift", window, sfreq=sfreq, ch_names=ch_names, channel="C3", random_state=3)

# %%
# A rotation about the vertical axis turns the cap: each electrode reads the field where it would be then. The potential
# moves on the head, here at one instant, and the spectrum hardly changes:

figure = operation_figure("sensors_rotation_z", window, sfreq=sfreq, ch_names=ch_names, channel="C3", random_state=3)

# %%
# All of them
# -----------
#
# Six seconds of one channel, before (grey) and after, at three magnitudes where there is one.

import matplotlib.pyplot as plt

figure, axes = plt.subplots(5, 3, figsize=(12, 14), layout="constrained")
for op, ax in zip(operations, axes.flat, strict=False):
    plot_operation_signal(
        op, window, sfreq=sfreq, ch_names=ch_names, channel="O1", random_state=3, title=op.name, ax=ax
    )
for ax in axes.flat[len(operations) :]:
    ax.set_axis_off()

# %%
# In braindecode's loader
# -----------------------
#
# Each operation is also a braindecode ``Transform``:

from braindecode.augmentation import Compose

from eegaug.transforms import FrequencyShift, SignFlip

augment = Compose(
    [FrequencyShift(probability=0.5, magnitude=0.1, sfreq=sfreq, learnable=False), SignFlip(0.5, learnable=False)]
)
augmented, _ = augment(torch.as_tensor(X[:16]), torch.as_tensor(y[:16]))
augmented.shape
