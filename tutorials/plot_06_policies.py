"""
Reading and exporting policies
==============================

A policy is plain data: sub-policies, each a list of operations with a probability and a magnitude. It can be read,
drawn, saved as JSON, applied to a tensor, and handed to braindecode.
"""

# %%
# Read
# ----
#
# ``describe`` tells it in words and physical units, ``table`` as a data frame.

from eegaug import Policy

sfreq, ch_names = 100, ["F3", "F4", "C3", "C4", "O1", "O2"]
policy = Policy(
    sub_policies=[
        {"operations": [("frequency_shift", 0.5, 0.06), ("sign_flip", 1.0)], "weight": 3},
        {"operations": [("gaussian_noise", 0.8, 0.5), ("sensors_rotation_z", 0.3, 0.4)], "weight": 1},
    ],
    sfreq=sfreq,
    ch_names=ch_names,
)
print(policy.describe())

# %%
policy.table()

# %%
# Save and load
# -------------
#
# The file is versioned JSON. Loading it executes nothing: it names operations, which are looked up.

import tempfile
from pathlib import Path

path = Path(tempfile.mkdtemp()) / "policy.json"
policy.save(path)
print(path.read_text()[:420], "…")
assert Policy.load(path) == policy

# %%
# Apply
# -----
#
# For each window one sub-policy is drawn. The draws come from a generator of one's own.

import torch

X = torch.randn(32, len(ch_names), 3000)
augmented = policy.apply(X, generator=torch.Generator().manual_seed(0))
augmented.shape

# %%
# Train with it, here or in braindecode
# -------------------------------------
#
# ``StagingClassifier(policy=policy)`` trains with it on the device of the data. ``to_braindecode`` gives a transform
# for braindecode's loader.

import numpy as np
from braindecode import EEGClassifier
from braindecode.augmentation import AugmentedDataLoader

clf = EEGClassifier(
    "SleepStagerChambon2018",
    iterator_train=AugmentedDataLoader,
    iterator_train__transforms=policy.to_braindecode(random_state=0),
    module__sfreq=sfreq,
    batch_size=16,
    max_epochs=1,
    verbose=0,
    train_split=None,
)
clf.fit(X.numpy(), np.arange(32) % 5)
print(f"training loss after one epoch: {clf.history[-1, 'train_loss']:.2f}")

# %%
# A policy for each class
# -----------------------
#
# What a stage is told by may differ: spindles make N2, and a network must not learn to ignore them there.
# ``ClassPolicy`` has a policy for each stage; ``ADDASearch(class_wise=True)`` finds one.

from eegaug.policy import ClassPolicy

no_shift = Policy(sub_policies=[{"operations": [("sign_flip", 0.5)]}], sfreq=sfreq, ch_names=ch_names)
by_class = ClassPolicy(
    classes=[0, 1, 2, 3, 4], policies=[policy, policy, no_shift, policy, policy], names=["W", "N1", "N2", "N3", "REM"]
)
X, y = by_class.apply(X, torch.arange(32) % 5)
X.shape

# %%
# Pictures of policies
# --------------------
#
# The one above, beside a ready-made one:

from eegaug.plotting import plot_policies

figure = plot_policies({"mine": policy, "fixed, for sleep": Policy.fixed_sleep(sfreq=sfreq, ch_names=ch_names)})
