"""
Your own folder of recordings
=============================

A folder of recordings with hypnograms beside them is all that is needed. So that this page runs anywhere, it writes
such a folder first: short simulated nights as EDF files, with their stages as EDF+ annotations.
"""

# %%
# A folder of recordings
# ----------------------

import tempfile
from pathlib import Path

import numpy as np
from edfio import Edf, EdfAnnotation, EdfSignal

from eegaug.data import simulate_nights

folder = Path(tempfile.mkdtemp()) / "nights"
folder.mkdir()
simulated = simulate_nights(6, hours=1.5, ch_names=["C3", "C4"], standardise=None, random_state=0)
X, y, subjects = simulated.as_arrays()
for subject in sorted(set(subjects.tolist())):
    windows, stages = X[subjects == subject], y[subjects == subject]
    signals = [
        EdfSignal(
            np.ravel(channel).clip(-999, 999),
            simulated.sfreq,
            label=f"EEG {name}-A2",
            physical_dimension="uV",
            physical_range=(-1000, 1000),
        )
        for name, channel in zip(simulated.ch_names, windows.transpose(1, 0, 2), strict=True)
    ]
    notes = [EdfAnnotation(30 * i, 30, f"Sleep stage {'W123R'[stage]}") for i, stage in enumerate(stages)]
    Edf(signals).write(folder / f"{subject}.edf")
    Edf([], annotations=notes).write(folder / f"{subject}-Hypnogram.edf")
sorted(path.name for path in folder.iterdir())[:4]

# %%
# To see what happens to a bad file, one is cut off in the middle:

bad = folder / "broken.edf"
_ = bad.write_bytes((folder / "sim-001.edf").read_bytes()[:5000])

# %%
# Look
# ----
#
# What there is, whose it is and what would be skipped, before any signal is read. On the command line this is
# ``eegaug nights --data nights/``.

from eegaug.data import list_recordings

table = list_recordings(folder, verbose=False)
table.drop(columns=["file", "scoring", "remarks"])

# %%
# Load
# ----
#
# Recordings are found with all below the folder, and so are their hypnograms: Sleep-EDF's pairs, EDF+ annotations, BIDS
# events, text, or what laboratories and public data sets write. They are filtered, resampled and cut into windows once,
# into a store on disk, and read from there. A file that cannot be used is named with the reason, and skipped.

import warnings

from eegaug.data import load_recordings

with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    nights = load_recordings(folder, sfreq=64, store=folder.parent / "store", verbose=False)
print(*{str(w.message) for w in said if "broken" in str(w.message)})
nights

# %%
nights.description

# %%
# What was left out, and why:

nights.problems

# %%
# Train, save, score
# ------------------
#
# Split by subject, train, and keep the model as a folder. It holds how recordings were prepared, so that new ones are
# treated alike.

from eegaug import AugNetClassifier, load_model
from eegaug.data import subject_folds

split = subject_folds(sorted(set(nights.subjects)), n_folds=3, n_valid=0, random_state=0)[0]
clf = AugNetClassifier(layers=["time-frequency"], penalty=0.5, lr=3e-3, max_epochs=12, random_state=0, verbose=0)
clf.fit(nights.select(split.train))
clf.save(folder.parent / "model")

test = nights.select(split.test)
predicted = load_model(folder.parent / "model").predict(test)

# %%
# One test night, by the scorer and by the model
# ----------------------------------------------

from eegaug.plotting import plot_hypnogram

one = test.subjects == test.subjects[0]
ax = plot_hypnogram(test.y[one], predicted[one], title=f"{test.subjects[0]}: scored and predicted")

# %%
# The same from the command line::
#
#     eegaug fit   --data nights/ --method augnet --penalty 0.5 --out model/
#     eegaug score --data other_nights/ --model model/
