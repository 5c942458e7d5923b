"""Every picture, each a function that takes an ``ax`` (or makes one) and returns it.

Names, legends and numbers stand beside the axes. A figure of your own has room for them with
``plt.subplots(layout="constrained")``.
"""

from eegaug.plotting.colours import FAMILY_COLOURS, STAGE_COLOURS, method_style
from eegaug.plotting.comparison import best_so_far, plot_comparison, plot_scores
from eegaug.plotting.invariance_measures import (
    plot_augmentation_variation,
    plot_invariance_scores,
    plot_invariance_table,
    plot_tolerated_magnitudes,
    plot_transfer_matrix,
)
from eegaug.plotting.invariances import invariances_history_figure, plot_invariances, plot_invariances_history
from eegaug.plotting.night import plot_agreement, plot_confidence, plot_hypnodensity, plot_spectrogram
from eegaug.plotting.operations import (
    operation_figure,
    plot_operation_signal,
    plot_operation_spectrum,
    plot_operation_topomap,
)
from eegaug.plotting.policies import plot_policies, plot_policy
from eegaug.plotting.sleep import plot_confusion, plot_hypnogram

__all__ = [
    "FAMILY_COLOURS",
    "STAGE_COLOURS",
    "best_so_far",
    "invariances_history_figure",
    "method_style",
    "operation_figure",
    "plot_agreement",
    "plot_augmentation_variation",
    "plot_comparison",
    "plot_confidence",
    "plot_confusion",
    "plot_hypnodensity",
    "plot_hypnogram",
    "plot_invariance_scores",
    "plot_invariance_table",
    "plot_invariances",
    "plot_invariances_history",
    "plot_operation_signal",
    "plot_operation_spectrum",
    "plot_operation_topomap",
    "plot_policies",
    "plot_policy",
    "plot_scores",
    "plot_spectrogram",
    "plot_tolerated_magnitudes",
    "plot_transfer_matrix",
]
