"""
Bring your own operation
========================

An operation is a class with a name, what magnitude 1 means, what is drawn at random, and what is done. Everything
else then works with it: layers, policies, searches, measures and pictures. Nothing about it has to be EEG.
"""

# %%
# An operation on EEG
# -------------------
#
# Impedances change and amplifiers differ: a gain for each channel, up to 6 dB.

import torch

from eegaug.operations import Operation, register_operation


@register_operation
class ChannelsGain(Operation):
    """Scale each channel by a factor of its own, uniform in decibels."""

    name, family, unit, default_max_strength = "channels_gain", "sensors", "dB", 6.0
    sentence = "scales each channel by up to ±{strength:g} dB"

    def noise_shapes(self, n, n_channels, n_times):
        return {"u": (n, n_channels)}

    def transform(self, X, magnitude, noise):
        decibels = (2 * noise["u"] - 1) * (magnitude * self.max_strength)[:, None]
        return X * (10 ** (decibels / 20))[..., None]


# %%
# It follows the rules
# --------------------
#
# Magnitude 0 must be the identity, and the gradient has to reach magnitude and signal.

from eegaug.operations import get_operation

op = get_operation("channels_gain")
X = torch.randn(4, 3, 500, dtype=torch.float64, requires_grad=True)
noise = op.draw(4, 3, 500, generator=torch.Generator().manual_seed(0))
magnitude = torch.tensor([0.2, 0.4, 0.6, 0.8], dtype=torch.float64, requires_grad=True)

assert torch.equal(op.apply(X, 0.0, noise), X)
assert torch.autograd.gradcheck(lambda X, m: op.apply(X, m, noise), (X, magnitude))

# %%
# Use it anywhere
# ---------------

from eegaug import AugmentationLayer, Policy

policy = Policy(sub_policies=[{"operations": [("channels_gain", 0.5, 0.7), ("sign_flip", 0.5)]}])
print(policy.describe())

layer = AugmentationLayer(["channels_gain", "time_reverse"])
layer(torch.randn(4, 3, 500)).shape

# %%
# An operation on pictures
# ------------------------
#
# ``eegaug.experiments.pictures`` has operations on a plane: a turn, shears, moves. A picture is kept as a window of
# one channel. The two glyphs are turned by up to 45° either way, and count as another class upside down. How far may
# a picture be turned further before classes meet? 45°, as 90° divide the two.

from eegaug.experiments.pictures import PictureNet, Rotate, make_turned_glyphs

X, y = make_turned_glyphs(600, max_degrees=45, random_state=0)
X.shape

# %%
# AugNet finds what may be done to these pictures; it knows nothing but the operation and the labels.

from eegaug import AugNetClassifier

clf = AugNetClassifier(
    PictureNet(),
    layers=[[Rotate()]],
    selection="single",
    initial_strength=0.05,
    lr=2e-3,
    augmentation_lr=5e-3,
    max_epochs=25,
    batch_size=32,
    random_state=0,
    verbose=0,
)
clf.fit(X, y)
clf.invariances_.round(3)

# %%
# Pictures, turned by what it learned
# -----------------------------------

import matplotlib.pyplot as plt

learned = float(clf.invariances_["magnitude"].iloc[0])
rotate = Rotate()
figure, axes = plt.subplots(4, 7, figsize=(9, 5.4), layout="constrained")
for row, kind in zip(axes, range(4), strict=True):
    one = torch.as_tensor(X[y == kind][:1])
    shown = [one] + [rotate.apply(one, learned, {"u": torch.tensor([u])}) for u in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)]
    for ax, picture in zip(row, shown, strict=True):
        ax.imshow(picture.reshape(32, 32), cmap="Greys")
        ax.set(xticks=[], yticks=[])
    row[0].set_ylabel(f"class {kind}")
axes[0, 0].set_title("as it is", fontsize=10)
axes[0, 3].set_title(f"turned further, within ±{learned * rotate.max_strength:.0f}°", fontsize=10)
figure.show()
