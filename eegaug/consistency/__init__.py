"""Training for invariance: the same answer for variants of a window, from one network or from several."""

from eegaug.consistency.classifier import AITClassifier
from eegaug.consistency.loss import AugmentationInvariantLoss, symmetric_kl
from eegaug.consistency.mutual import MutualClassifier

__all__ = ["AITClassifier", "AugmentationInvariantLoss", "MutualClassifier", "symmetric_kl"]
