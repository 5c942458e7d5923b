"""What happens to a signal: pure, batched, differentiable functions of tensors.

No state and no randomness: every draw is an argument. :mod:`eegaug.operations` adds both.
"""

from eegaug.functional.frequency import (
    filter_change,
    frequency_shift,
    hilbert,
    modulate,
    notch_change,
    notch_change_and_slope,
    phase_change,
    shift_ramps,
)
from eegaug.functional.sampling import bernoulli_and_slope, relaxed_bernoulli
from eegaug.functional.sensors import (
    mix_channels,
    permute_channels,
    rotation_matrices,
    rotation_matrices_and_slope,
    rotation_table,
    shuffle_permutation,
    sign_flip,
)
from eegaug.functional.time import gaussian_noise, time_mask, time_mask_gain, time_mask_gain_and_slope, time_reverse

__all__ = [
    "bernoulli_and_slope",
    "filter_change",
    "frequency_shift",
    "gaussian_noise",
    "hilbert",
    "mix_channels",
    "modulate",
    "notch_change",
    "notch_change_and_slope",
    "permute_channels",
    "phase_change",
    "relaxed_bernoulli",
    "rotation_matrices",
    "rotation_matrices_and_slope",
    "rotation_table",
    "shift_ramps",
    "shuffle_permutation",
    "sign_flip",
    "time_mask",
    "time_mask_gain",
    "time_mask_gain_and_slope",
    "time_reverse",
]
