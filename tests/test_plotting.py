"""Pictures: size, what is drawn, and the numbers behind it."""

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

matplotlib.use("Agg")

from pictures import rendered

from eegaug import plotting
from eegaug.comparison.methods import _BUILT_IN, get_method
from eegaug.comparison.search_methods import SEARCHES
from eegaug.plotting.colours import method_styles
from eegaug.plotting.comparison import score_bands


@pytest.fixture
def ax():
    return Figure(figsize=(5, 4), layout="constrained").subplots()


def curves(scores, seconds=1.0, method="none", fold=0):
    """Curve of one run whose validation and test scores are the same."""
    n = len(scores)
    return pd.DataFrame(
        {
            "method": method,
            "fold": fold,
            "seed": 0,
            "fraction": 1.0,
            "epoch": np.arange(1, n + 1),
            "train_seconds": seconds * np.arange(1, n + 1),
            "passes": 10 * np.arange(1, n + 1),
            "valid_balanced_accuracy": scores,
            "test_balanced_accuracy": scores,
        }
    )


class TestBestSoFar:
    def test_takes_the_test_score_where_validation_was_best(self):
        found = plotting.best_so_far([0.2, 0.5, 0.4, 0.5, 0.6], [0.1, 0.2, 0.9, 0.8, 0.3])
        assert found.tolist() == [0.1, 0.2, 0.2, 0.2, 0.3]

    def test_a_missing_validation_score_is_never_best(self):
        assert plotting.best_so_far([np.nan, 0.1], [0.5, 0.4]).tolist() == [0.5, 0.4]

    def test_refuses_lists_of_different_length(self):
        with pytest.raises(ValueError, match="one length"):
            plotting.best_so_far([0.1, 0.2], [0.1])


class TestComparison:
    def test_bands_are_median_and_quartiles_over_runs(self):
        runs = [curves([0.1, value], fold=fold) for fold, value in enumerate([0.2, 0.4, 0.8])]
        end = score_bands(pd.concat(runs)).iloc[-1]
        assert (end["median"], end["n_runs"]) == (0.4, 3)
        assert end["low"] == pytest.approx(0.3) and end["high"] == pytest.approx(0.6)

    def test_a_run_that_ended_keeps_its_last_value(self):
        table = pd.concat([curves([0.3, 0.5]), curves([0.2] * 4, fold=1)])
        band = score_bands(table, n_points=5)
        assert band["median"].iloc[-1] == pytest.approx(0.35)
        assert band["x"].iloc[-1] == 4.0 and not band["ended"].iloc[-1]

    def test_curve_begins_when_all_runs_have_an_epoch(self):
        table = pd.concat([curves([0.3, 0.5], seconds=1), curves([0.2, 0.3], seconds=3, fold=1)])
        assert score_bands(table)["x"].min() == 3.0

    def test_points_of_a_search_are_taken_in_the_order_of_what_they_are_drawn_against(self):
        # The second training with a policy took so little time that it was there before the first.
        table = curves([0.5, 0.3, 0.6]).assign(train_seconds=[3.0, 2.0, 4.0], passes=[10, 30, 20])
        band = score_bands(table, n_points=3)
        assert band.set_index("x").loc[[2.0, 3.0, 4.0], "median"].tolist() == [0.3, 0.5, 0.6]
        band = score_bands(table, "passes", n_points=3)
        assert band.set_index("x").loc[[10, 20, 30], "median"].tolist() == [0.5, 0.6, 0.6]

    def test_axis_and_legend(self, ax, tmp_path):
        table = pd.concat([curves([0.3, 0.5], 100.0), curves([0.2, 0.6], 200.0, "augnet")])
        assert plotting.plot_comparison(table, ax=ax) is ax
        assert ax.get_xlabel() == "training time (min)"
        assert [text.get_text() for text in ax.get_legend().get_texts()] == ["no augmentation", "AugNet"]
        assert rendered(ax, tmp_path) == (400, 500)

    @pytest.mark.parametrize("n_methods", [2, 4, 8])
    def test_names_stand_below_and_within_the_picture(self, n_methods):
        names = ["none", "augnet-single", "augnet-change", "fixed", "adda", "faster-autoaugment", "random", "dna"]
        table = pd.concat([curves([0.2, 0.5, 0.2], method=name) for name in names[:n_methods]])
        ax = plotting.plot_comparison(table)
        figure = ax.figure
        figure.draw_without_rendering()
        legend = ax.get_legend().get_window_extent()
        assert len(ax.get_legend().get_texts()) == n_methods
        assert legend.y1 <= ax.xaxis.label.get_window_extent().y0 + 1
        assert legend.x0 >= 0 and legend.y0 >= 0 and legend.x1 <= figure.bbox.x1
        assert ax.bbox.width > 0.75 * figure.bbox.width and ax.bbox.height > 0.5 * figure.bbox.height
        plt.close(figure)

    def test_the_legend_has_the_marks_that_stand_at_the_ends_of_the_curves(self, ax):
        plotting.plot_comparison(pd.concat([curves([0.3, 0.5]), curves([0.2, 0.6], 2.0, "augnet")]), ax=ax)
        assert [handle.get_marker() for handle in ax.get_legend().legend_handles] == ["s", "o"]

    def test_two_methods_of_ones_own_have_two_colours(self, ax):
        names = ["a method of mine", "a method of mien"]
        table = pd.concat([curves([0.3, 0.5], method=name) for name in names])
        plotting.plot_comparison(table, ax=ax)
        assert len({handle.get_color() for handle in ax.get_legend().legend_handles}) == 2
        scores = plotting.plot_scores(table, ax=ax.figure.add_subplot())
        assert len({tuple(part.get_facecolor()[0]) for part in scores.collections if len(part.get_facecolor())}) == 2

    def test_quartiles_of_what_was_reached_last_can_be_seen(self, ax):
        plotting.plot_comparison(pd.concat([curves([s], fold=f) for f, s in enumerate([0.2, 0.4, 0.8])]), ax=ax)
        strokes = [part for part in ax.collections if isinstance(part, LineCollection)]
        assert [stroke.get_segments()[0].tolist() for stroke in strokes] == [
            [[1.0, pytest.approx(0.3)], [1.0, pytest.approx(0.6)]]
        ]

    def test_there_is_no_part_of_an_epoch(self, ax):
        plotting.plot_comparison(curves([0.3]), x="epoch", ax=ax)
        assert [float(tick).is_integer() for tick in ax.get_xticks()] == [True] * len(ax.get_xticks())

    def test_against_passes(self, ax):
        plotting.plot_comparison(curves([0.3, 0.5]), x="passes", ax=ax)
        assert ax.get_xlabel() == "forward-backward passes"

    def test_refuses_an_unknown_axis_and_an_empty_table(self):
        with pytest.raises(ValueError, match="train_seconds"):
            plotting.plot_comparison(curves([0.1]), x="steps")
        with pytest.raises(ValueError, match="no run"):
            plotting.plot_comparison(curves([]))
        nothing = pd.DataFrame(columns=["method", "fold", "fraction", "test_balanced_accuracy"])
        with pytest.raises(ValueError, match="no run has finished"):
            plotting.plot_scores(nothing)

    def test_refuses_runs_with_training_sets_of_several_sizes(self):
        table = pd.concat([curves([0.3, 0.5]), curves([0.6, 0.7]).assign(fraction=0.25)])
        for draw in (plotting.plot_comparison, plotting.plot_scores):
            with pytest.raises(
                ValueError, match=r"several fractions, 1.0, 0.25: .*table\[table\['fraction'\] == 0.25\]"
            ):
                draw(table)

    def test_the_last_mark_is_whole_at_the_end_of_the_axis_and_not_beyond(self, ax):
        plotting.plot_comparison(pd.concat([curves([0.3, 0.5]), curves([0.3], seconds=1000.0, method="augnet")]), ax=ax)
        first, last = (line for line in ax.lines if line.get_marker() != "None")
        ax.figure.canvas.draw()
        mark = first.get_window_extent()
        assert mark.x0 < ax.bbox.x0 and first.get_clip_box().contains(mark.x0, mark.y0)
        ax.set_xlim(0, 5)  # of 17 min
        assert last.get_tightbbox() is None  # of which a picture that is cut to what there is would be made wide

    def test_scores_average_the_seeds_of_a_fold(self, ax, tmp_path):
        table = pd.DataFrame(
            {
                "method": ["none", "none", "augnet"],
                "fold": [0, 0, 0],
                "fraction": 1.0,
                "test_balanced_accuracy": [0.2, 0.4, 0.6],
            }
        )
        plotting.plot_scores(table, ax=ax)
        points = [
            collection.get_offsets()[0].tolist() for collection in ax.collections if len(collection.get_offsets())
        ]
        assert [0.0, pytest.approx(0.3)] in points and [1.0, 0.6] in points
        assert rendered(ax, tmp_path) == (400, 500)

    def test_scores_of_one_fold_are_joined(self, ax):
        rows = [("none", 0, 0.5), ("augnet", 0, 0.6), ("augnet", 2, 0.35), ("none", 1, 0.6), ("augnet", 1, 0.7)]
        table = pd.DataFrame(rows, columns=["method", "fold", "test_balanced_accuracy"]).assign(fraction=1.0)
        plotting.plot_scores(table, ax=ax)
        joined = np.array([line.get_ydata() for line in ax.lines])
        np.testing.assert_array_equal(joined, [[0.5, 0.6], [0.6, 0.7], [np.nan, 0.35]])

    @pytest.mark.filterwarnings("error::UserWarning")
    def test_long_names_leave_room_for_the_scores(self):
        long = "a very long name of a method that goes on and on and on, with options"
        table = pd.DataFrame({"method": [long, "none"], "fold": 0, "fraction": 1.0, "test_balanced_accuracy": 0.5})
        ax = plotting.plot_scores(table)
        ax.figure.canvas.draw()
        first, second = (label.get_window_extent() for label in ax.get_xticklabels())
        assert ax.get_xticklabels()[0].get_text().splitlines() == [
            "a very long name of a method that",
            "goes on and on and on, with",
            "options",
        ]
        assert first.x0 >= 0 and first.y0 >= 0 and second.y1 <= ax.bbox.y0
        assert ax.bbox.width > 0.5 * ax.figure.bbox.width and ax.bbox.height > 0.5 * ax.figure.bbox.height
        plt.close(ax.figure)

    @pytest.mark.filterwarnings("error::RuntimeWarning")
    def test_scores_of_many_methods_fit_a_page_and_their_names_stand_apart(self):
        table = pd.concat([curves([0.4], method=name) for name in list(_BUILT_IN)[:4] + list(SEARCHES)])
        ax = plotting.plot_scores(table)
        figure, n = ax.figure, table["method"].nunique()
        figure.draw_without_rendering()
        apart = (ax.transData.transform((1, 0)) - ax.transData.transform((0, 0)))[0]
        assert n >= 10 and figure.get_figwidth() < 0.65 * n + 1.5
        assert apart / 2 > 8 * figure.dpi / 72  # names are slanted by 30°
        plt.close(figure)

    def test_scores_that_a_method_does_not_have(self, ax):
        kappa = {"method": ["none", "augnet"], "fold": 0, "fraction": 1.0, "test_kappa": [0.5, np.nan]}
        plotting.plot_scores(pd.DataFrame(kappa), metric="test_kappa", ax=ax)
        assert [label.get_text() for label in ax.get_xticklabels()] == ["no augmentation", "AugNet"]


class TestSleep:
    def test_confusion_shows_shares_and_counts(self, ax, tmp_path):
        confusion = np.zeros((5, 5), int)
        confusion[0, :2] = 3, 1
        plotting.plot_confusion(confusion, ax=ax)
        assert ax.texts[0].get_text() == "75 %\n3"
        assert ax.texts[-1].get_text() == "–"
        assert rendered(ax, tmp_path) == (400, 500)
        with pytest.raises(ValueError, match="square"):
            plotting.plot_confusion([[1, 2]])

    def test_confusion_finds_stages_by_their_names(self, ax):
        scored, predicted = ["W", "W", "N1", "N2", "N3", "R"], ["W", "R", "N1", "N2", "N3", "R"]
        table = pd.crosstab(pd.Series(scored), pd.Series(predicted))
        assert list(table) == ["N1", "N2", "N3", "R", "W"]
        plotting.plot_confusion(table, ax=ax)
        texts = [text.get_text() for text in ax.texts]
        assert (texts[0], texts[4], texts[24]) == ("50 %\n1", "50 %\n1", "100 %\n1")

    def test_confusion_of_means(self, ax):
        plotting.plot_confusion([[800.0, 200.0], [1 / 3, 123456789.0]], ["W", "N1"], ax=ax)
        assert [text.get_text() for text in ax.texts] == ["80 %\n800", "20 %\n200", "0 %\n0.3", "100 %\n123456789"]

    def test_hypnogram_marks_where_two_scorings_differ(self, ax, tmp_path):
        plotting.plot_hypnogram([0, 2, 2, -1, 4], [0, 2, 3, 1, 4], ax=ax)
        assert [label.get_text() for label in ax.get_yticklabels()] == ["W", "REM", "N1", "N2", "N3", "differs\n(25 %)"]
        # One window of four with a stage differs: the third, drawn in the colour of N3.
        (marked,) = [c for c in ax.collections if len(c.get_segments()) and c.get_segments()[0][0, 1] == -5]
        assert marked.get_segments()[0][:, 0] == pytest.approx([2 / 120, 3 / 120])
        assert matplotlib.colors.to_hex(marked.get_color()[0]).upper() == plotting.STAGE_COLOURS["N3"].upper()
        assert rendered(ax, tmp_path) == (400, 500)

    @pytest.mark.parametrize(("predicted", "share"), [([0, 1, 2, -1, -1, 2], "25 %"), ([-1] * 6, "–")])
    def test_windows_without_a_prediction_do_not_differ(self, ax, predicted, share):
        scored = [0, 1, 2, 3, 3, 4]
        shown = plotting.plot_hypnogram(scored, predicted, ax=ax).get_yticklabels()[-1].get_text()
        assert shown == f"differs\n({share})"
        strips = plotting.plot_agreement(scored, predicted, ax=Figure().subplots())
        assert strips.get_yticklabels()[-1].get_text() == f"differ ({share})"

    def test_hypnogram_refuses_scorings_of_different_length(self):
        with pytest.raises(ValueError, match="4"):
            plotting.plot_hypnogram([0, 1, 2], [0, 1, 2, 3])


class TestColours:
    def test_a_method_has_one_style(self):
        assert plotting.method_style("augnet") == plotting.method_style("augnet")
        assert plotting.method_style("mine").colour == plotting.method_style("mine").colour
        assert plotting.method_style("none", "nothing").label == "nothing"

    def test_no_two_methods_are_drawn_alike(self):
        of_training = ("ait", "ait-control", "ait-augnet", "multi-ait", "dml", "augerino")
        methods = {name: get_method(name) for name in (*_BUILT_IN, *SEARCHES, *of_training)}
        styles = {name: plotting.method_style(name) for name in methods}
        assert {name: style.label for name, style in styles.items()} == {n: m.label for n, m in methods.items()}
        for part in ("line", "marker"):
            assert len({(style.colour, str(getattr(style, part))) for style in styles.values()}) == len(methods)
        others = [plotting.method_style(name) for name in ("mine", "mien")]  # of one colour
        assert others[0].colour == others[1].colour and others[0].marker != others[1].marker

    def test_methods_of_ones_own_differ_in_colour_line_and_mark(self):
        names = ["a method of mine", "a method of mien", "a method of eimn", "a method of neim"]  # of one colour
        assert len({plotting.method_style(name).colour for name in names}) == 1
        for n, parts in ((4, ("colour", "line", "marker")), (30, ())):
            names += [f"other {k}" for k in range(n - len(names))]
            styles = method_styles(names, {names[0]: "mine"})
            assert list(styles) == names and styles[names[0]].label == "mine"
            assert styles[names[0]] == plotting.method_style(names[0], "mine")
            for part in parts:
                assert len({getattr(style, part) for style in styles.values()}) == n
            assert len({tuple(style[1:]) for style in styles.values()}) == n
        assert method_styles(["none", "augnet"]) == {name: plotting.method_style(name) for name in ("none", "augnet")}

    @pytest.mark.parametrize("vision", ["full", "protan", "deutan"])
    def test_stages_and_methods_can_be_told_apart(self, vision):
        # Machado, Oliveira and Fernandes (2009), severity 1.
        seen = {
            "full": np.eye(3),
            "protan": [[0.1523, 1.0526, -0.2049], [0.1145, 0.7863, 0.0992], [-0.0039, -0.0481, 1.0520]],
            "deutan": [[0.3673, 0.8606, -0.2280], [0.2801, 0.6725, 0.0474], [-0.0118, 0.0429, 0.9689]],
        }[vision]
        methods = [plotting.method_style(name).colour for name in ("none", "fixed", "augnet")]
        for colours in (plotting.STAGE_COLOURS.values(), methods, plotting.FAMILY_COLOURS.values()):
            rgb = np.array([matplotlib.colors.to_rgb(colour) for colour in colours])
            light = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4) @ np.transpose(seen)
            rgb = np.clip(light, 0, 1) ** (1 / 2.2)
            distance = np.linalg.norm(rgb[:, None] - rgb[None], axis=-1) + np.eye(len(rgb))
            assert distance.min() > 0.25
