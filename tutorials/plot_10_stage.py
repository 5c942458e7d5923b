"""
Stage a night
=============

A trained model stages a recording: hypnogram, probabilities, confidence, sleep statistics, and a page with all of it.
The night here is simulated, so that there is a hypnogram to compare with.
"""

# %%
# A model
# -------
#
# Usually one that ``eegaug fit`` saved. This one is trained on a few windows of simulated nights.

from eegaug import AugNetClassifier, stage
from eegaug.data import Planted, simulate_nights

ch_names = ["C3", "C4"]
alike = Planted.none()  # subjects that do not differ much: few of them are enough to learn from
nights = simulate_nights(6, n_windows=120, ch_names=ch_names, sfreq=64, planted=alike, random_state=0)
clf = AugNetClassifier(layers=["time-frequency"], selection="single", lr=3e-3, max_epochs=25, random_state=0, verbose=0)
clf.fit(nights)

# %%
# A recording
# -----------
#
# Four hours in volts, as MNE reads them from any file: ``mne.io.read_raw_edf("night.edf")``. Channels are called
# otherwise than the model's; they are matched by name and place.

import mne
import numpy as np

new = simulate_nights(1, hours=4, ch_names=ch_names, planted=alike, standardise=None, random_state=7)
X, y, _ = new.as_arrays()
info = mne.create_info(["EEG C3-A2", "EEG C4-A1"], 100.0, "eeg")
raw = mne.io.RawArray(1e-6 * X.transpose(1, 0, 2).reshape(2, -1), info, verbose="error")
raw

# %%
# Stage
# -----

night = stage(raw, clf, reference=y)
night.hypnogram.head().round(2)

# %%
# Statistics, and how it agrees with the scorer
# ---------------------------------------------

print({name: round(value, 1) for name, value in list(night.statistics.items())[:8]})
print({name: round(value, 2) for name, value in night.agreement.scores.items()})
night.agreement.confusion

# %%
# How sure it is
# --------------
#
# AugNet averages over transformed copies of each epoch. Where the copies disagree, the answer hangs on what should
# not matter; a scorer should look there first.

night.least_certain(5).round(2)

# %%
# Files
# -----
#
# ``night.save(folder)`` writes tables, annotations and the page; ``raw.set_annotations(night.to_annotations())`` puts
# the stages into MNE.

raw.set_annotations(night.to_annotations())
print(np.unique(raw.annotations.description))

# %%
# The page
# --------

figure = night.plot()
