"""
AugNet on simulated nights
==========================

AugNet trains a sleep stager and, with it, layers that say which transformations of the EEG do not matter. On simulated
nights we know the answer: here subjects differ in their polarity and nothing else, so a good network should come to
ignore the sign of the signal.
"""

# %%
# Nights with a known variation
# -----------------------------
#
# Hypnograms and band powers are calibrated on real sleep. Half of the subjects, drawn at random, are recorded upside
# down.

from eegaug.data import Planted, simulate_nights, subject_folds

nights = simulate_nights(
    n_subjects=9,
    n_windows=100,
    ch_names=["C3", "C4"],
    sfreq=64,
    planted=Planted.none(polarity=0.5),
    random_state=1,
)
nights

# %%
# Subjects are never on two sides of a split: six to train on, three to test on.

split = subject_folds(sorted(set(nights.subjects)), n_folds=3, n_valid=0, random_state=0)[0]
train, test = nights.select(split.train), nights.select(split.test)
split

# %%
# Train
# -----
#
# One layer with four candidates. :math:`\lambda` (``penalty``) rewards operations that are strong; cross-entropy holds
# against it where an operation destroys what the stages are told by.

from eegaug import AugNetClassifier, StagingClassifier

settings = {
    "sfreq": nights.sfreq,
    "ch_names": nights.ch_names,
    "lr": 1e-3,
    "max_epochs": 25,
    "random_state": 0,
    "verbose": 0,
}
augnet = AugNetClassifier(
    "SleepStagerChambon2018",
    layers=[["sign_flip", "frequency_shift", "gaussian_noise", "time_masking"]],
    selection="single",
    augmentation_lr=1e-2,
    **settings,
)
augnet.fit(train)

# %%
# What it learned
# ---------------
#
# ``selection="single"`` gives every operation a range of its own; the probability of an operation without a magnitude
# is at most 1/2, when both versions of a window are equally likely. ``signal_change`` says how much a window changes
# there, ``loss_rise`` what that costs in cross-entropy.

augnet.invariances_.sort_values("signal_change", ascending=False).round(3)

# %%
# The sign may be flipped freely, as planted. Read the others with care: six subjects are few, and an operation that
# changes next to nothing may go to its bound at no cost.

from eegaug.plotting import plot_invariances, plot_invariances_history

ax = plot_invariances_history(augnet, quantity="magnitude")

# %%
# What that does to the answers
# -----------------------------
#
# The same network without augmentation, on the same windows. How many test windows get another stage when they are
# turned upside down?

plain = StagingClassifier("SleepStagerChambon2018", **settings).fit(train)
X, y, _ = test.as_arrays()
for name, clf in {"no augmentation": plain, "AugNet": augnet}.items():
    print(f"{name}: {(clf.predict(X) != clf.predict(-X)).mean():.0%} change")

# %%
# Whether that makes better scores is for a comparison over folds and seeds to say:
# :ref:`sphx_glr_auto_examples_plot_09_compare.py`.
#
# What was learned, beside what was planted
# -----------------------------------------

ax = plot_invariances(augnet, truth={"sign_flip": 0.5})
