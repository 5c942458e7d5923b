"""
Compare methods
===============

Which augmentation suits my data? One call trains the same network with several methods on the same subject-wise
folds, by the same clock, and can be stopped and continued at any time.
"""

# %%
# Say what, and see how long it may take
# --------------------------------------

import tempfile

from eegaug import compare
from eegaug.comparison import describe_plan, forecast_lines
from eegaug.data import Planted, simulate_nights

nights = simulate_nights(
    8,
    n_windows=60,
    ch_names=["F3", "F4", "C3", "C4"],
    sfreq=64,
    planted=Planted.none(polarity=0.5),
    random_state=0,
)
settings = {
    "methods": ["none", "fixed", "augnet"],
    "data": nights,
    "folds": 2,
    "n_valid": 1,
    "max_epochs": 12,
    "lr": 3e-3,
    "penalty": 0.2,
    "out": tempfile.mkdtemp(),
    "device": "cpu",
    "verbose": False,
}
print(*forecast_lines(describe_plan(**settings)), sep="\n")

# %%
# Run
# ---
#
# Subjects are divided into training, validation and test. Training stops by the validation subjects; the network that
# was best there is tested.

result = compare(**settings)
result.table[["method", "fold", "test_balanced_accuracy", "test_kappa", "train_seconds"]].round(3)

# %%
# Each finished run is a folder in ``out``. The same call again runs nothing anew, and a further method is added to
# what is there:

result = compare(**(settings | {"methods": ["none", "fixed", "augnet", "trivial-augment"]}))
sorted(set(result.table["method"]))

# %%
# What to make of it
# ------------------
#
# Differences within subjects say more than means of folds: ``compare_pairs`` pairs methods on the same test subjects,
# and asks whether they differ by more than subjects do, and by more than one training does from the next. Two folds
# with one seed are two trainings, from which nothing can be told.

from eegaug.comparison import compare_pairs

compare_pairs(result.subjects)

# %%
# Scores over training time
# -------------------------
#
# A curve holds, at each time, the test score of the network that was best in validation until then: the median of the
# folds, with their quartiles. With eight simulated subjects, twelve epochs and two folds this shows how to do it, not
# who wins.

from eegaug.plotting import plot_comparison

ax = plot_comparison(result.curves, labels=result.labels)

# %%
# The same from the command line, on a folder of recordings::
#
#     eegaug compare --data nights/ --methods none,fixed,augnet-change,adda --folds 5 --budget 2h --dry-run
#     eegaug compare --data nights/ --methods none,fixed,augnet-change,adda --folds 5 --budget 2h
