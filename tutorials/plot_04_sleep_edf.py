"""
Sleep-EDF with braindecode's loader
===================================

Sleep-EDF (Kemp and others, 2000) is public and the usual first data set. Two ways lead to it:
:func:`eegaug.data.load_sleep_edf`, and braindecode's own loader and preprocessing, whose datasets every estimator
takes.

This page fetches nothing. Where a folder with Sleep-EDF's files is named in the environment variable ``SLEEP_EDF``,
it reads them; elsewhere it goes through the same steps with a simulated stand-in, so that each line below has run.
"""

# %%
# With eegaug
# -----------
#
# The first line below downloads two subjects (200 MB) with MNE, the second reads a folder you have. Both give
# :class:`eegaug.data.Nights`: 30-s windows of Fpz-Cz and Pz-Oz at 100 Hz, standardised, with half an hour of wake
# around sleep. ::
#
#     nights = load_sleep_edf(subjects=[0, 1])
#     nights = load_sleep_edf(root="sleep-edf/")
#
# With braindecode
# ----------------
#
# ::
#
#     from braindecode.datasets import SleepPhysionet
#     from braindecode.preprocessing import Preprocessor, create_windows_from_events, preprocess
#     from sklearn.preprocessing import scale
#
#     dataset = SleepPhysionet(subject_ids=[0, 1], recording_ids=[1], crop_wake_mins=30)
#     # Signals are in volts; a network learns nothing from numbers that small.
#     preprocess(dataset, [Preprocessor("filter", l_freq=0.3, h_freq=30), Preprocessor(scale, channel_wise=True)])
#     windows = create_windows_from_events(
#         dataset,
#         window_size_samples=3000, window_stride_samples=3000,
#         mapping={
#             "Sleep stage W": 0, "Sleep stage 1": 1, "Sleep stage 2": 2,
#             "Sleep stage 3": 3, "Sleep stage 4": 3, "Sleep stage R": 4,
#         },
#         preload=True,
#     )
#
# Here is either of them, depending on what is there. The stand-in has the same channels at a lower sampling rate.

import os

from braindecode.datasets import BaseConcatDataset

from eegaug.data import Planted, load_sleep_edf, simulate_nights

root = os.environ.get("SLEEP_EDF")
if root:
    nights = load_sleep_edf(root=root)
else:
    # Electrodes of a bipolar derivation have no place of their own; these lie between theirs.
    between = {"Fpz-Cz": (0.0, 0.07, 0.08), "Pz-Oz": (0.0, -0.09, 0.05)}
    nights = simulate_nights(
        5, n_windows=120, ch_names=list(between), positions=between, sfreq=64, planted=Planted.none(), random_state=0
    )
print(isinstance(nights, BaseConcatDataset), "from the folder" if root else "simulated")
nights.description

# %%
# Train
# -----
#
# Every estimator of eegaug is a braindecode ``EEGClassifier``: it takes braindecode's datasets as they are, and says
# so if a window is not what the others are. ``Fpz-Cz`` and ``Pz-Oz`` are differences between electrodes, so
# operations that move the cap mean nothing here: time and frequency remain.

from eegaug import AugNetClassifier

subjects = sorted(set(nights.subjects.tolist()))
train, test = nights.select(subjects[:-1]), nights.select(subjects[-1:])
clf = AugNetClassifier(
    "SleepStagerChambon2018",
    layers=["time-frequency"],
    penalty=0.5,
    lr=1e-3,
    max_epochs=25,
    random_state=0,
    verbose=0,
)
clf.fit(train)
clf.invariances_.round(3)

# %%
# Look at the test subject
# ------------------------

import matplotlib.pyplot as plt

from eegaug.comparison import stage_confusion
from eegaug.plotting import plot_confusion, plot_hypnodensity

figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), width_ratios=[2, 1], layout="constrained")
plot_hypnodensity(clf.predict_proba(test), title=f"{subjects[-1]}, window by window", ax=left)
plot_confusion(stage_confusion(test.y, clf.predict(test)), ax=right)
figure.show()
