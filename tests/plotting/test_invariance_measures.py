"""Pictures of invariance: what is drawn are the numbers of the tables."""

from __future__ import annotations

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

matplotlib.use("Agg")

from matplotlib.figure import Figure

from eegaug import plotting
from eegaug.invariance import InvarianceScore
from eegaug.plotting.colours import STAGE_COLOURS


@pytest.fixture
def ax():
    return Figure(figsize=(5, 4), layout="constrained").subplots()


def drawn(ax, tmp_path):
    path = tmp_path / "picture.png"
    ax.figure.savefig(path, dpi=60)
    assert matplotlib.image.imread(path)[..., :3].std() > 0.02


def dots(ax):
    return [tuple(point) for collection in ax.collections for point in np.asarray(collection.get_offsets())]


def test_scores(ax, tmp_path):
    by_stage = pd.DataFrame({"median": [0.8, 0.4]}, index=[2, 3])
    scores = {
        "AugNet": InvarianceScore(0.9, 0.7, 0.95, 0.0, np.array([0.9]), by_stage),
        "none": InvarianceScore(-7.0, -40.0, 0.1, 0.0, np.array([-7.0])),
        "dead": InvarianceScore(np.nan, np.nan, np.nan, 1.0, np.array([np.nan])),
    }
    assert plotting.plot_invariance_scores(scores, title="Invariance", ax=ax) is ax
    assert [label.get_text() for label in ax.get_yticklabels()] == ["AugNet", "none", "dead"]
    assert (0.9, 0.0) in dots(ax)
    assert (0.8, 0.28) in dots(ax) and (0.4, 0.28) in dots(ax)
    texts = [text.get_text() for text in ax.texts]
    assert "0.90" in texts and "-7.00" in texts and "says the same about all windows" in texts
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["N2", "N3"]
    drawn(ax, tmp_path)
    with pytest.raises(ValueError, match="scores is empty"):
        plotting.plot_invariance_scores({})


def table():
    rows = [
        {"operation": op, "magnitude": m, "strength": 5 * m, "unit": "Hz", "stage": stage, "median": 1 - m * k}
        for op, k in (("frequency_shift", 1.0), ("gaussian_noise", 0.2))
        for m in (0.2, 0.6)
        for stage in ("all", 0, 4)
    ]
    rows.append(rows[0] | {"operation": "sign_flip", "magnitude": np.nan, "strength": np.nan, "median": 0.5})
    found = pd.DataFrame(rows)
    return found.assign(low=found["median"] - 0.1, high=found["median"] + 0.1)


def test_table_by_operation_and_by_stage(ax, tmp_path):
    plotting.plot_invariance_table(table(), ax=ax)
    lines = {line.get_label(): line.get_xydata().tolist() for line in ax.lines if not line.get_label().startswith("_")}
    assert set(lines) == {"frequency shift", "gaussian noise", "sign flip"}
    np.testing.assert_allclose(lines["frequency shift"], [[0.2, 0.8], [0.6, 0.4]])
    np.testing.assert_allclose(lines["sign flip"], [[1.0, 0.5]])
    drawn(ax, tmp_path)


def test_table_of_one_operation(ax, tmp_path):
    plotting.plot_invariance_table(table(), "frequency_shift", ax=ax)
    lines = {line.get_label(): line for line in ax.lines if not line.get_label().startswith("_")}
    assert list(lines) == ["all stages", "W", "REM"]
    np.testing.assert_allclose(lines["W"].get_xydata(), [[1.0, 0.8], [3.0, 0.4]])
    assert lines["REM"].get_color() == STAGE_COLOURS["REM"]
    assert ax.get_xlabel() == "frequency shift (Hz)"
    assert "all stages: quartiles" in [text.get_text() for text in ax.get_legend().get_texts()]
    drawn(ax, tmp_path)
    with pytest.raises(ValueError, match="no operation 'bandstop'"):
        plotting.plot_invariance_table(table(), "bandstop")
    with pytest.raises(ValueError, match="has no row"):
        plotting.plot_invariance_table(table().iloc[:0])


def test_tolerated(ax, tmp_path):
    values = pd.DataFrame({"sign_flip": [1.0, 0.0], "noise": [0.5, np.nan]}, index=["all", 1])
    plotting.plot_tolerated_magnitudes(values, ax=ax)
    assert [text.get_text() for text in ax.texts] == ["1", "0.5", "0", "–"]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["all stages", "N1"]
    assert ax.get_xlabel() == "strongest magnitude tolerated"
    drawn(ax, tmp_path)


def test_transfer(ax, tmp_path):
    matrix = pd.DataFrame({"original": [0.8, 0.85], "sign_flip": [0.5, 0.9]}, index=["none", "AIT"])
    plotting.plot_transfer_matrix(matrix, ax=ax)
    assert [text.get_text() for text in ax.texts] == ["0.80", "0.50", "0.85", "0.90"]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["original", "sign flip"]
    assert ax.get_xlabel() == "score on test windows changed by"
    drawn(ax, tmp_path)
    for baseline in ("none", matrix.loc[["none", "none"]].set_axis(matrix.index)):
        picture = plotting.plot_transfer_matrix(matrix, baseline, ax=Figure().subplots())
        assert [text.get_text() for text in picture.texts] == ["+0.00", "+0.00", "+0.05", "+0.40"]
        assert picture.get_xlabel() == "difference of scores on test windows changed by"
    with pytest.raises(ValueError, match="no model 'DNA'"):
        plotting.plot_transfer_matrix(matrix, "DNA")
    with pytest.raises(ValueError, match="other rows or columns"):
        plotting.plot_transfer_matrix(matrix, matrix[["original"]].rename(columns={"original": "other"}))


def test_transfer_from_a_baseline_in_another_order(ax):
    matrix = pd.DataFrame({"original": [0.8, 0.9], "flip": [0.5, 0.6]}, index=["none", "AIT"])
    baseline = pd.DataFrame({"flip": [0.55, 0.5], "original": [0.9, 0.7]}, index=["AIT", "none"])
    plotting.plot_transfer_matrix(matrix, baseline, ax=ax)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["none", "AIT"]
    assert [text.get_text() for text in ax.texts] == ["+0.10", "+0.00", "+0.00", "+0.05"]
    index = pd.MultiIndex.from_tuples([("none", 0), ("AIT", 0), ("none", 4), ("AIT", 4)], names=["model", "stage"])
    by_stage = pd.DataFrame({"original": [0.8, 0.9, 0.6, 0.5]}, index=index)
    picture = plotting.plot_transfer_matrix(by_stage, "none", ax=Figure().subplots())
    assert [label.get_text() for label in picture.get_yticklabels()] == ["none, W", "AIT, W", "none, REM", "AIT, REM"]
    assert [text.get_text() for text in picture.texts] == ["+0.00", "+0.10", "+0.00", "-0.10"]


def test_transfer_by_stage(ax):
    index = pd.MultiIndex.from_product([["none", "AIT"], [0, 4]], names=["model", "stage"])
    matrix = pd.DataFrame({"original": [0.8, 0.6, 0.9, 0.5]}, index=index)
    plotting.plot_transfer_matrix(matrix, "none", ax=ax)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["none, W", "none, REM", "AIT, W", "AIT, REM"]
    assert [text.get_text() for text in ax.texts] == ["+0.00", "+0.00", "+0.10", "-0.10"]


def variation(scale=1.0):
    rows = [
        {"first": "original", "second": op, "stage": stage, "ratio": scale * r, "kl": r / 10, "distance": 1.0}
        for op, r in (("sign_flip", 0.2), ("gaussian_noise", 0.6))
        for stage in ("all", 3)
    ]
    return pd.DataFrame(rows)


def test_variation(ax, tmp_path):
    plotting.plot_augmentation_variation(variation(), ax=ax)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["sign flip", "gaussian noise"]
    assert {(0.2, 0.0), (0.6, 1.0), (0.2, 0.3), (0.6, 1.3)} <= set(dots(ax))
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["N3"]
    drawn(ax, tmp_path)
    with pytest.raises(ValueError, match="quantity is 'cosine'"):
        plotting.plot_augmentation_variation(variation(), "cosine")


def test_variation_of_several_models(ax):
    plotting.plot_augmentation_variation({"none": variation(), "AIT": variation(0.5)}, ax=ax)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["none", "AIT"]
    assert {x for x, _ in dots(ax)} == {0.2, 0.6, 0.1, 0.3}
    kl = plotting.plot_augmentation_variation(variation(), "kl", ax=Figure().subplots())
    assert {round(x, 3) for x, _ in dots(kl)} == {0.02, 0.06}


def test_forms_that_one_model_has_alone_are_drawn(ax):
    one = variation().query("second == 'sign_flip'")
    plotting.plot_augmentation_variation({"none": one, "AIT": variation(0.5)}, ax=ax)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["sign flip", "gaussian noise"]
    assert {(round(x, 3), round(y)) for x, y in dots(ax) if np.isfinite(x)} == {(0.2, 0), (0.1, 0), (0.3, 1)}


def test_names_of_several_models_stand_beside_the_data():
    long = "a network trained with a policy that was found by a search"
    ax = plotting.plot_augmentation_variation({"none": variation(), "AIT": variation(0.5), long: variation(2)})
    ax.figure.draw_without_rendering()
    legend = ax.get_legend().get_window_extent()
    assert legend.x0 >= ax.bbox.x1 and legend.x1 <= ax.figure.bbox.x1
    marks = [tuple(map(tuple, part.get_paths()[0].vertices)) for part in ax.collections]
    assert len(set(marks)) == 3
    plt.close(ax.figure)


def test_words_below_the_axis_are_whole():
    score = InvarianceScore(0.9, 0.7, 0.95, 0.0, np.array([0.9]))
    long = "a network trained with a policy that was found by a search"
    one = pd.DataFrame({"sign_flip": [1.0]}, index=[2])
    for ax in (plotting.plot_invariance_scores({long: score}), plotting.plot_tolerated_magnitudes(one)):
        ax.figure.draw_without_rendering()
        words = ax.xaxis.label.get_window_extent()
        assert words.x0 >= 0 and words.x1 <= ax.figure.bbox.x1
        plt.close(ax.figure)


def test_lines_differ_in_their_marks_too(ax):
    for operation in (None, "frequency_shift"):
        plotting.plot_invariance_table(table(), operation, ax=ax)
        marks = [line.get_marker() for line in ax.lines if not line.get_label().startswith("_")]
        assert len(marks) == len(set(marks)) == 3
        ax.clear()


def test_scores_below_the_lowest_are_said_to_be_there(ax):
    low = table().assign(median=-7.0)
    plotting.plot_invariance_table(low, "frequency_shift", ax=ax)
    assert ax.lines[0].get_ydata().tolist() == [-0.5, -0.5]
    assert ax.get_yticks()[0] == -0.5 and ax.get_yticklabels()[0].get_text() == "≤ −0.5"


def test_an_operation_without_a_magnitude_has_a_place_for_each_stage(ax):
    found = table().query("operation == 'sign_flip'")
    found = pd.concat([found, found.assign(stage=3, median=0.25)])
    plotting.plot_invariance_table(found, "sign_flip", ax=ax)
    points = [line.get_xydata().tolist() for line in ax.lines if not line.get_label().startswith("_")]
    assert points == [[[0.0, 0.5]], [[1.0, 0.25]]]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["all", "N3"]
    quartiles = ax.collections[0]
    box = quartiles.get_datalim(ax.transData)
    assert (box.y0, box.y1) == pytest.approx((0.4, 0.6))
    assert quartiles.get_linewidth()[0] > 0  # an area of one point has no width
