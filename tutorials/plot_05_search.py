"""
Searching a policy
==================

A policy says which operations to apply to training windows, how often and how strongly. A search finds one by trying,
or by the gradient of a validation loss; then a network is trained with it. Here both kinds run on small simulated
nights.
"""

# %%
# Nights, and a network
# ---------------------
#
# Subjects differ in their polarity and in a jitter of their frequencies.

from eegaug import StagingClassifier
from eegaug.data import Planted, simulate_nights

planted = Planted.none(polarity=0.5, frequency_jitter_hz=0.5)
nights = simulate_nights(6, n_windows=50, ch_names=["C3", "C4"], sfreq=64, planted=planted, random_state=0)
trunk = StagingClassifier("SleepStagerChambon2018", lr=3e-3, max_epochs=6, random_state=0, verbose=0)
candidates = ["sign_flip", "frequency_shift", "gaussian_noise", "bandstop_filter"]

# %%
# At random
# ---------
#
# What every search has to beat: train with a few random policies, keep the one that scores best on subjects held out.

from eegaug.search import ADDASearch, RandomSearch

random = RandomSearch(
    trunk, operations=candidates, n_sub_policies=2, max_steps=4, refit=False, random_state=0, verbose=0
)
random.fit(nights)
random.history_[["step", "score", "best_score", "seconds"]].round(3)

# %%
# By gradient
# -----------
#
# :class:`~eegaug.search.ADDASearch` moves weights, probabilities and magnitudes down the gradient of the loss on
# held-out subjects, through one step of training. A step of its history is an epoch.

adda = ADDASearch(
    trunk, operations=candidates, n_sub_policies=2, max_steps=6, warm_start=2, policy_lr=0.05, random_state=0, verbose=0
)
adda.fit(nights)
print("held out:", *adda.valid_groups_)
print(adda.policy_.describe())

# %%
# How it went
# -----------

import matplotlib.pyplot as plt

figure, ax = plt.subplots(figsize=(6, 3), layout="constrained")
searched = adda.history_
ax.plot(searched["step"], searched["train_loss"], "o-", label="training, augmented")
ax.plot(searched["step"], searched["valid_loss"], "s-", label="held-out subjects")
ax.set(xlabel="epoch of the search", ylabel="cross-entropy", title="ADDA")
_ = ax.legend(frameon=False)

# %%
# What was found
# --------------
#
# Policies can be compared, saved as JSON, and applied anywhere (:ref:`sphx_glr_auto_examples_plot_06_policies.py`).
# ``search.best_estimator_`` is a network trained with the policy on all windows, and ``search.predict`` uses it. So few
# epochs find little; on nights of your own, give a search ``time_budget="2h"`` and a ``checkpoint``.

from eegaug.plotting import plot_policies

figure = plot_policies({"random": random.policy_, "ADDA": adda.policy_})
