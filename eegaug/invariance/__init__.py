"""Measures of what a fitted classifier does not care about."""

from eegaug.invariance.frozen import frozen_test_set
from eegaug.invariance.score import InvarianceScore, invariance_score, invariance_table, tolerated_magnitudes
from eegaug.invariance.transfer import transfer_matrix
from eegaug.invariance.variation import intra_augmentation_variation

__all__ = [
    "InvarianceScore",
    "frozen_test_set",
    "intra_augmentation_variation",
    "invariance_score",
    "invariance_table",
    "tolerated_magnitudes",
    "transfer_matrix",
]
