"""Pictures of a staged night: what is drawn, its size, what is refused."""

import datetime

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from eegaug import plotting
from eegaug.plotting.night import show_clock

P = np.array([[0.7, 0.1, 0.1, 0.05, 0.05], [0.1, 0.2, 0.6, 0.1, 0.0], [np.nan] * 5, [0.0, 0.0, 0.2, 0.1, 0.7]])


@pytest.fixture
def ax():
    return Figure(figsize=(3.4, 2), layout="constrained").subplots()


def size(ax, tmp_path):
    ax.figure.savefig(tmp_path / "a.png", dpi=100)
    image = matplotlib.image.imread(tmp_path / "a.png")
    assert image[..., :3].std() > 0.02
    return image.shape[:2]


class TestHypnodensity:
    def test_areas_are_stacked_in_the_order_of_a_hypnogram(self, ax, tmp_path):
        assert plotting.plot_hypnodensity(P, start_s=60, ax=ax) is ax
        areas = {area.get_label(): area for area in ax.patches}
        assert list(areas) == ["N3", "N2", "N1", "REM", "W"]
        for name, area in areas.items():
            assert to_hex(area.get_facecolor()).upper() == plotting.STAGE_COLOURS[name].upper()
        corners = areas["N2"].get_path().vertices
        first = corners[np.isclose(corners[:, 0], 60 / 3600), 1]
        assert (first.min(), first.max()) == (pytest.approx(0.05), pytest.approx(0.15))
        assert ax.get_xlim() == pytest.approx((60 / 3600, 180 / 3600)) and ax.get_ylim() == (0, 1)
        assert size(ax, tmp_path) == (200, 340)

    def test_windows_beside_a_gap_are_drawn_over_all_of_their_length(self, ax):
        nights = np.array([[1.0, 0, 0, 0, 0], [np.nan] * 5, [1.0, 0, 0, 0, 0], [0.5, 0.5, 0, 0, 0], [np.nan] * 5])
        plotting.plot_hypnodensity(nights, window_s=3600, ax=ax)
        (awake,) = (area for area in ax.patches if area.get_label() == "W")
        corners = [part[:, 0] for part in awake.get_path().to_polygons(closed_only=False)]
        assert [(part.min(), part.max()) for part in corners] == [(0.0, 1.0), (2.0, 4.0)]

    def test_columns_of_a_table_are_found_by_their_names(self, ax):
        table = pd.DataFrame(P, columns=["W", "N1", "N2", "N3", "R"])[["N1", "N2", "N3", "R", "W"]]  # YASA's order
        for one in (table, table.add_prefix("p_"), P, pd.DataFrame(P)):
            plotting.plot_hypnodensity(one, ax=ax)
            (rem,) = (area for area in ax.patches if area.get_label() == "REM")
            (awake,) = (area for area in ax.patches if area.get_label() == "W")
            np.testing.assert_allclose(rem.get_data().values - rem.get_data().baseline, P[:, 4])
            np.testing.assert_allclose(awake.get_data().values - awake.get_data().baseline, P[:, 0])
            ax.clear()

    def test_refuses_other_shapes(self):
        with pytest.raises(ValueError, match=r"\(windows, 5\)"):
            plotting.plot_hypnodensity(P[:, :4])

    @pytest.mark.parametrize("row", [[2.0, -1.0, 0.0, 0.0, 0.0], [80.0, 20.0, 0.0, 0.0, 0.0], [0.5, 0.5, np.nan, 0, 0]])
    def test_refuses_what_are_no_probabilities(self, row):
        with pytest.raises(ValueError, match=r"of a window are \[.*\]; they sum to 1, none below 0"):
            plotting.plot_hypnodensity([[np.nan] * 5, row])


class TestSpectrogram:
    def test_decibels(self, ax, tmp_path):
        power = np.outer(10.0 ** np.arange(5), np.ones(20))
        power[3] = 0.0  # flat
        plotting.plot_spectrogram(power, np.arange(20) * 0.5, ax=ax)
        drawn = ax.collections[0].get_array()
        filled = np.ma.filled(drawn, np.nan)
        assert filled.shape == (20, 5) and (filled[:, 2] == 20).all() and np.isnan(filled[:, 3]).all()
        assert size(ax, tmp_path) == (200, 340)

    def test_refuses_other_frequencies(self):
        with pytest.raises(ValueError, match="20 frequencies"):
            plotting.plot_spectrogram(np.ones((4, 19)), np.arange(20))


class TestConfidence:
    def test_both_curves(self, ax, tmp_path):
        plotting.plot_confidence([0.9, np.nan, 0.4], [0.0, np.nan, 0.3], ax=ax)
        _, confidence, disagreement = (patch.get_data().values.tolist() for patch in ax.patches)
        assert confidence[2] == 0.4 and disagreement[2] == 0.3
        assert [text.get_text() for text in ax.get_legend().get_texts()] == ["copies\ndisagree"]
        assert size(ax, tmp_path) == (200, 340)

    def test_alone(self, ax):
        plotting.plot_confidence([0.9, 0.5], ax=ax)
        assert ax.get_legend() is None

    def test_refuses_other_lengths(self):
        with pytest.raises(ValueError, match="2 windows, confidence 1"):
            plotting.plot_confidence([0.9], [0.1, 0.2])


class TestAgreement:
    def test_strips_and_differences(self, ax, tmp_path):
        plotting.plot_agreement([0, 0, 2, -1, 2], [0, 1, 2, 2, 3], window_s=3600, ax=ax)
        bars = [
            (to_hex(c.get_facecolor()[0]).upper(), [p.get_extents().bounds for p in c.get_paths()])
            for c in ax.collections
        ]
        (differ,) = [extents for colour, extents in bars if colour == "#222222"]
        assert [extent[0] for extent in differ] == [1.0, 4.0] and {extent[2] for extent in differ} == {1.0}
        awake = [e for colour, extents in bars if colour == plotting.STAGE_COLOURS["W"] for e in extents]
        assert sorted(e[2] for e in awake) == [1.0, 2.0]
        assert ax.get_yticklabels()[2].get_text() == "differ (50 %)"
        assert size(ax, tmp_path) == (200, 340)

    def test_names_do_not_overlap(self):
        ax = plotting.plot_agreement([0, 1], [0, 1], title="two scorings")
        ax.figure.draw_without_rendering()
        upper, middle, lower = (label.get_window_extent() for label in ax.get_yticklabels())
        assert not upper.overlaps(middle) and not middle.overlaps(lower)
        plt.close(ax.figure)

    def test_refuses_names(self):
        for stages in (["W", "N1"], np.array(["W", "N1"], object)):
            with pytest.raises(ValueError, match=r"scored holds .*'W'.*numbers here, 0=W .*parse_stage"):
                plotting.plot_agreement(stages, [0, 1])
            with pytest.raises(ValueError, match=r"^stages holds .*'W'"):
                plotting.plot_hypnogram(stages)
            with pytest.raises(ValueError, match=r"predicted holds .*'W'"):
                plotting.plot_hypnogram([0, 1], predicted=stages)

    def test_refuses_other_lengths(self):
        with pytest.raises(ValueError, match="one length"):
            plotting.plot_agreement([0, 1], [0])


@pytest.mark.parametrize(("hours", "expected"), [(0.5, "23:00"), (8, "01:00"), (30, "06:00")])
def test_time_of_day(ax, hours, expected):
    ax.set_xlim(0, hours)
    show_clock(ax, datetime.datetime(2025, 3, 1, 22, 41, 30))
    ax.figure.canvas.draw()
    labels = [text.get_text() for text in ax.get_xticklabels() if text.get_text()]
    assert expected in labels and 3 <= len(labels) <= 12
    place = dict(zip(labels, ax.get_xticks(), strict=False))[expected]
    moment = datetime.datetime(2025, 3, 1, 22, 41, 30) + datetime.timedelta(hours=float(place), seconds=0.5)
    assert f"{moment:%H:%M}" == expected and moment.second <= 1


def test_time_of_day_of_a_single_window(ax):
    ax.set_xlim(0, 30 / 3600)
    show_clock(ax, datetime.datetime(2025, 3, 1, 23, 59, 41))
    ax.figure.canvas.draw()
    shown = [text.get_text() for text in ax.get_xticklabels() if 0 <= text.get_position()[0] <= 30 / 3600]
    assert shown == ["23:59:50", "00:00:00", "00:00:10"]


def test_hypnogram_of_windows_without_a_stage():
    for stages in ([0.0, np.nan, 2.0], [0, -1, 2]):
        ax = plotting.plot_hypnogram(stages, ax=Figure().subplots())
        (line,) = (patch for patch in ax.patches if hasattr(patch, "get_data"))
        np.testing.assert_array_equal(line.get_data().values, [0, np.nan, -3])
    with pytest.raises(ValueError, match=r"stages holds 1.5, which is no stage: 0=W"):
        plotting.plot_hypnogram([0, 1.5])


def test_hypnogram_that_begins_later(ax):
    plotting.plot_hypnogram([0, 1, 2], start_s=1800, ax=ax)
    assert ax.get_xlim() == pytest.approx((0.5, 0.5 + 90 / 3600))
