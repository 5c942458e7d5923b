"""Pictures of what AugNet learned: what is drawn, in which units, and how it moved."""

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

matplotlib.use("Agg")

from pictures import rendered

from eegaug import plotting
from eegaug.operations import list_operations


@pytest.fixture
def ax():
    return Figure(figsize=(5, 4), layout="constrained").subplots()


def learned():
    return pd.DataFrame(
        {
            "layer": [0, 0, 1],
            "operation": ["frequency_shift", "time_masking", "sign_flip"],
            "weight": [0.999, 0.001, 1.0],
            "magnitude": [0.1, 0.5, 0.8],
            "strength": [0.5, 100.0, 0.4],
            "unit": ["Hz", "samples", "probability"],
        }
    )


def twice():
    """A layer that has an operation twice, with ranges of 1 and 5 Hz, and one that has it once."""
    return pd.DataFrame(
        {
            "layer": [0, 0, 0, 1],
            "operation": ["frequency_shift", "frequency_shift", "sign_flip", "frequency_shift"],
            "weight": [0.3, 0.5, 0.2, 1.0],
            "magnitude": [0.2, 0.6, 0.4, 0.1],
            "strength": [0.2, 3.0, 0.2, 0.6],
            "unit": ["Hz", "Hz", "probability", "Hz"],
        }
    )


class TestInvariances:
    def test_strength_in_physical_units_and_weight(self, ax, tmp_path):
        assert plotting.plot_invariances(learned(), ax=ax) is ax
        written = [text.get_text() for text in ax.texts]
        for text in ("0.50 Hz", "p 0.40", "1.00", "layer 1", "layer 2"):
            assert text in written
        # Time masking has no weight, so that its strength has no effect.
        assert "100 samples" not in written and "–" in written
        assert rendered(ax, tmp_path) == (400, 500)

    def test_planted_strength_of_an_operation_that_ended_at_nothing(self, ax):
        table = pd.DataFrame(
            {
                "layer": [0, 1, 1],
                "operation": ["frequency_shift", "frequency_shift", "gaussian_noise"],
                "weight": [1.0, 0.5, 0.5],
                "magnitude": [0.0, 0.4, 0.0],
                "strength": [0.0, 2.0, 0.0],
                "unit": ["Hz", "Hz", "SD"],
            }
        )

        def marks(truth):
            drawn = plotting.plot_invariances(table, truth=truth, ax=Figure().subplots())
            diamonds = [
                c.get_offsets()[0, 0] for c in drawn.collections if len(c.get_facecolor()) and c.get_zorder() == 4
            ]
            return diamonds, "planted in the data" in [text.get_text() for text in drawn.get_legend().get_texts()]

        assert marks({"frequency_shift": 1.0}) == ([pytest.approx(0.2)] * 2, True)
        assert marks({"gaussian_noise": 0.1}) == ([], False)  # where full strength would be is not known

    def test_planted_strength_stands_where_it_is_on_the_axis(self, ax):
        plotting.plot_invariances(learned(), truth={"frequency_shift": 2.5, "sign_flip": 0.5}, ax=ax)
        diamonds = [c.get_offsets()[0] for c in ax.collections if c.get_zorder() == 4]
        # Full strength of the shift is 5 Hz; a sign flip of probability 0.5 is the strongest there is.
        assert [float(x) for x, _ in diamonds] == [pytest.approx(0.5), 1.0]

    def test_several_runs_are_summed_up_over_those_in_which_an_operation_plays_a_part(self, ax):
        weights = [0.9, 0.8, 0.001]
        runs = pd.concat(
            [
                learned().assign(fold=f, magnitude=m, weight=w)
                for f, (m, w) in enumerate(zip([0.2, 0.4, 0.9], weights, strict=True))
            ]
        )
        plotting.plot_invariances(runs, ax=ax)
        assert len(ax.get_yticklabels()) == 3
        dot = next(c for c in ax.collections if c.get_zorder() == 3)
        assert float(dot.get_offsets()[0][0]) == pytest.approx(0.3)
        assert "0.57" in [text.get_text() for text in ax.texts]

    def test_an_operation_twice_in_a_layer_keeps_two_rows(self, ax):
        plotting.plot_invariances(twice(), ax=ax)
        assert [label.get_text() for label in ax.get_yticklabels()] == [
            *("frequency shift (1)", "frequency shift (2)", "sign flip", "frequency shift")
        ]
        written = [text.get_text() for text in ax.texts]
        shown = [text for text in written if text[:1].isdigit()]
        assert shown == ["0.20 Hz", "0.30", "3.00 Hz", "0.50", "0.20", "0.60 Hz", "1.00"]
        dots = [c for c in ax.collections if c.get_zorder() == 3]
        assert [float(dot.get_offsets()[0][0]) for dot in dots] == [0.2, 0.6, 0.4, 0.1]

    @pytest.mark.parametrize("told_by", ["column", "index", "outer index", "nothing"])
    def test_runs_are_not_taken_for_operations_that_come_twice(self, ax, told_by):
        tables = [twice(), twice().assign(magnitude=0.8)]
        if told_by == "column":
            runs = pd.concat([t.assign(fold=f, note=None) for f, t in enumerate(tables)], ignore_index=True)
        elif told_by == "nothing":
            runs = pd.concat([learned(), learned().assign(magnitude=0.8)], ignore_index=True)
        else:
            runs = pd.concat(tables, keys=["a", "b"] if told_by == "outer index" else None)
        plotting.plot_invariances(runs, ax=ax)
        names = [label.get_text() for label in ax.get_yticklabels()]
        dots = [float(c.get_offsets()[0][0]) for c in ax.collections if c.get_zorder() == 3]
        if told_by == "nothing":
            assert names == ["frequency shift", "time masking", "sign flip"]
        else:
            assert names[:2] == ["frequency shift (1)", "frequency shift (2)"] and len(names) == 4
            assert dots == pytest.approx([0.5, 0.7, 0.6, 0.45])

    def test_takes_an_estimator(self, ax):
        estimator = type("Fitted", (), {"invariances_": learned()})()
        plotting.plot_invariances(estimator, ax=ax)
        assert ax.get_yticklabels()[0].get_text() == "frequency shift"

    @pytest.mark.parametrize(("column", "values"), [("method", ["augnet", "augnet-change"]), ("fraction", [0.25, 1.0])])
    def test_refuses_runs_that_are_not_alike(self, column, values):
        table = pd.concat([learned().assign(**{column: value}) for value in values])
        for draw, more in ((plotting.plot_invariances, {}), (plotting.plot_invariances_history, {"epoch": 1})):
            with pytest.raises(ValueError, match=f"several {column}s, {values[0]}, {values[1]}: draw those of one"):
                draw(table.assign(**more))

    def test_refuses_what_has_not_learned_anything(self):
        with pytest.raises(TypeError, match="list has no invariances_"):
            plotting.plot_invariances([1, 2])
        with pytest.raises(ValueError, match="unit"):
            plotting.plot_invariances(learned().drop(columns="unit"))

    def test_history_of_a_layer(self, ax, tmp_path):
        history = pd.concat([learned().assign(epoch=epoch, magnitude=epoch / 10) for epoch in (1, 2, 3)])
        plotting.plot_invariances_history(history, quantity="magnitude", layer=0, ax=ax)
        assert [line.get_ydata().tolist() for line in ax.lines] == [[0.1, 0.2, 0.3]] * 2
        assert rendered(ax, tmp_path) == (400, 500)
        with pytest.raises(ValueError, match="between 0 and 1"):
            plotting.plot_invariances_history(history, layer=2)
        with pytest.raises(ValueError, match="weight"):
            plotting.plot_invariances_history(history, quantity="strength")
        for draw in (plotting.plot_invariances_history, plotting.invariances_history_figure):
            with pytest.raises(ValueError, match=r"has no row: has the network been trained for an epoch\?"):
                draw(history.iloc[:0])

    def test_history_figure_has_a_column_for_each_layer(self):
        history = pd.concat([learned().assign(epoch=epoch) for epoch in (1, 2)])
        figure = plotting.invariances_history_figure(history)
        assert [ax.get_ylabel() for ax in figure.axes] == ["weight", "weight", "magnitude", "magnitude"]

    def test_history_has_a_line_for_each_time_that_a_layer_has_an_operation(self):
        history = pd.concat([twice().assign(epoch=epoch) for epoch in (1, 2)], ignore_index=True)
        ax = plotting.invariances_history_figure(history).axes[0]
        assert [line.get_ydata().tolist() for line in ax.lines] == [[0.3, 0.3], [0.5, 0.5], [0.2, 0.2]]
        assert [t.get_text() for t in ax.texts] == ["sign flip", "frequency shift (1)", "frequency shift (2)"]

    @pytest.mark.filterwarnings("error")
    @pytest.mark.parametrize("n_epochs", [1, 2, 3, 60])
    def test_history_of_few_epochs_can_be_seen(self, tmp_path, n_epochs):
        history = pd.concat([learned().assign(epoch=epoch) for epoch in range(1, n_epochs + 1)])
        figure = plotting.invariances_history_figure(history)
        rendered(figure.axes[0], tmp_path)
        for ax in figure.axes:
            low, high = ax.get_xlim()
            ticks = [tick for tick in ax.get_xticks() if low <= tick <= high]
            assert ticks and all(tick == round(tick) for tick in ticks)
            assert {line.get_marker() for line in ax.lines} == {"o" if n_epochs < 10 else "None"}
        if n_epochs == 1:
            assert (low, high) == (0.5, 1.5) and ticks == [1]

    def test_a_training_that_has_diverged(self, tmp_path):
        table = learned()
        table.loc[table["layer"] == 0, ["weight", "magnitude", "strength"]] = np.nan
        ax = plotting.plot_invariances(table, truth={"time_masking": 50}, ax=Figure(layout="constrained").subplots())
        texts = [text.get_text() for text in ax.texts]
        assert (texts.count("–"), texts.count("nan"), texts.count("p 0.40")) == (2, 2, 1)
        rendered(ax, tmp_path)
        epochs = pd.concat([learned().assign(epoch=epoch) for epoch in (1, 2, 3)])
        epochs.loc[epochs["epoch"] > 1, ["weight", "magnitude"]] = np.nan
        ax = plotting.plot_invariances_history(epochs, ax=Figure(layout="constrained").subplots())
        assert sorted((text.get_text(), text.xy) for text in ax.texts) == [
            ("frequency shift", (1.0, 0.999)),
            ("time masking", (1.0, 0.001)),
        ]
        rendered(ax, tmp_path)

    @pytest.mark.parametrize(
        ("strength", "unit", "text"),
        [
            (0.003, "SD", "0.003 SD"),
            (0.00002, "V", "2e-05 V"),
            (0.3, "degrees", "0.3°"),
            (0.0, "Hz", "0.00 Hz"),
            (0.05, "Hz", "0.05 Hz"),
            (0.002, "probability", "p 0.002"),
            (120.4, "samples", "120 samples"),
        ],
    )
    def test_no_strength_is_rounded_to_nothing(self, ax, strength, unit, text):
        table = learned().iloc[:1].assign(strength=strength, unit=unit)
        plotting.plot_invariances(table, ax=ax)
        assert text in [one.get_text() for one in ax.texts]

    def test_long_names_and_units_keep_off_the_data(self):
        table = learned().assign(strength=123456.0, unit="microvolts per square metre")
        ax = plotting.plot_invariances(table.replace("frequency_shift", "an_operation_of_my_own_with_a_long_name"))
        figure = ax.figure
        figure.draw_without_rendering()
        numbers = [text.get_window_extent() for text in ax.texts if "microvolts" in text.get_text()]
        assert len(numbers) == 2 and all(box.x0 > ax.bbox.x1 and box.x1 < figure.bbox.x1 for box in numbers)
        assert ax.bbox.width > 250
        plt.close(figure)

    def test_history_has_no_two_lines_alike(self, ax):
        operations = list_operations()
        table = pd.DataFrame({"epoch": 1, "layer": 0, "operation": operations, "weight": 1 / 13, "magnitude": 0.5})
        plotting.plot_invariances_history(pd.concat([table, table.assign(epoch=2)]), ax=ax)
        looks = {(line.get_color(), str(line._unscaled_dash_pattern)) for line in ax.lines}
        assert len(looks) == len(ax.lines) == len(operations) == 13

    def test_labels_are_kept_apart(self):
        from eegaug.plotting.invariances import _apart

        heights = _apart([0.0, 0.01, 0.02, 0.9, 1.0])
        assert np.diff(heights).min() >= 0.085 - 1e-12
        assert heights[0] >= 0 and heights[-1] <= 1
