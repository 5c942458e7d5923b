"""The experiments on wrong labels and on few windows: their figure."""

import pandas as pd
import pytest

from eegaug.experiments.noise_and_fractions import ARMS, FRACTIONS, LABEL_NOISE


@pytest.mark.parametrize(("experiment", "what"), [(LABEL_NOISE, "wrong"), (FRACTIONS, "share")])
def test_means_of_a_level_stand_beside_each_other(experiment, what):
    rows = [
        {"arm": arm, what: level, "balanced_accuracy": score}
        for arm in ARMS
        for level in (0.2, 0.7)
        for score in (0.3, 0.5)
    ]
    (ax,) = experiment.figure({"runs": pd.DataFrame(rows)}).axes
    places = [container.lines[0].get_xdata().tolist() for container in ax.containers]
    assert [pytest.approx(place) for place in places] == [[19.4, 69.4], [20.0, 70.0], [20.6, 70.6]]
    assert all(container.lines[0].get_ydata().tolist() == [0.4, 0.4] for container in ax.containers)
    assert ax.get_ylabel() == "test balanced accuracy, mean ± SD"
