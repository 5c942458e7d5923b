"""AugNet: a network that learns, together with its weights, which transformations of its input do not matter."""

from eegaug.augnet.augerino import augerino_layers
from eegaug.augnet.classifier import AugNetClassifier
from eegaug.augnet.layers import AugmentationLayer
from eegaug.augnet.model import AugAveragedModel
from eegaug.augnet.module import AugmentationModule
from eegaug.augnet.penalties import augmentation_norm

__all__ = [
    "AugAveragedModel",
    "AugNetClassifier",
    "AugmentationLayer",
    "AugmentationModule",
    "augerino_layers",
    "augmentation_norm",
]
