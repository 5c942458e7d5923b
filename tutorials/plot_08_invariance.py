"""
Invariance by stage
===================

Which changes does a trained stager not care about, and is it the same in every stage? These measures need a fitted
classifier and test windows, however it was trained.
"""

# %%
# Two networks
# ------------
#
# One is trained on windows as they are, one with random sign flips and frequency shifts.

from eegaug import Policy, StagingClassifier
from eegaug.data import Planted, simulate_nights

nights = simulate_nights(6, n_windows=100, ch_names=["C3", "C4"], sfreq=64, planted=Planted.none(), random_state=0)
subjects = sorted(set(nights.subjects.tolist()))
train, test = nights.select(subjects[:4]), nights.select(subjects[4:])

settings = {"module": "SleepStagerChambon2018", "lr": 1e-3, "max_epochs": 20, "random_state": 0, "verbose": 0}
policy = Policy(
    sub_policies=[{"operations": [("sign_flip", 0.5), ("frequency_shift", 0.5, 0.3)]}],
    sfreq=nights.sfreq,
    ch_names=nights.ch_names,
)
networks = {
    "no augmentation": StagingClassifier(**settings).fit(train),
    "flips and shifts": StagingClassifier(policy=policy, **settings).fit(train),
}

# %%
# How much an answer changes
# --------------------------
#
# The invariance score compares the change of an answer with how much answers differ between windows: 1 is invariance,
# 0 a change as large as that to another window.

from eegaug.invariance import invariance_score

for name, clf in networks.items():
    flip, shift = invariance_score(clf, test, "sign_flip"), invariance_score(clf, test, "frequency_shift", 0.3)
    print(f"{name:18} sign flip {float(flip):.2f}, shift of up to 1.5 Hz {float(shift):.2f}")

# %%
# By stage
# --------

invariance_score(networks["no augmentation"], test, "frequency_shift", 0.3).by_stage.round(2)

# %%
# Over strengths
# --------------
#
# A table over operations and magnitudes answers how far each may go in each stage.

from eegaug.invariance import invariance_table, tolerated_magnitudes, transfer_matrix
from eegaug.plotting import plot_invariance_table, plot_tolerated_magnitudes, plot_transfer_matrix

tables = {name: invariance_table(clf, test, "time-frequency") for name, clf in networks.items()}
ax = plot_invariance_table(tables["no augmentation"], "frequency_shift", title="No augmentation: frequency shift")

# %%
# The strongest magnitude with a median invariance of 0.9:

ax = plot_tolerated_magnitudes(tolerated_magnitudes(tables["no augmentation"]), title="No augmentation")

# %%
# Invariance is not accuracy
# --------------------------
#
# A network that says the same about everything is invariant to everything. So scores are looked at beside it:
# balanced accuracy on copies of the test windows that were changed, one operation at a time. The copies are frozen:
# the same in every call.

matrix = transfer_matrix(
    networks,
    test,
    operations="time-frequency",
    trained_on={"no augmentation": [], "flips and shifts": ["sign_flip", "frequency_shift"]},
)
ax = plot_transfer_matrix(matrix)
