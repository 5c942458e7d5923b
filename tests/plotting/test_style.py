"""Pictures under style sheets: words that can be read, the same order, and nothing of the user's that is changed."""

import sys

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from matplotlib.lines import Line2D

matplotlib.use("Agg")

from eegaug import plotting
from eegaug.invariance import InvarianceScore
from eegaug.policy import Policy

STAGES = [0, 1, 2, 2, 3, 4]
SCORES = pd.DataFrame({"method": ["none", "augnet"], "fold": 0, "fraction": 1.0, "test_balanced_accuracy": [0.5, 0.6]})
CURVES = SCORES.assign(seed=0, epoch=1, train_seconds=1.0, passes=3, valid_balanced_accuracy=0.5)
LEARNED = pd.DataFrame(
    {
        "layer": 0,
        "operation": ["frequency_shift", "sign_flip"],
        "weight": [0.995, 0.005],
        "magnitude": [0.1, 0.9],
        "strength": [0.5, 0.45],
        "unit": ["Hz", "probability"],
    }
)
SCORE, SAME = (InvarianceScore(m, m, m, 0.0, np.array([m])) for m in (0.8, np.nan))
MATRIX = pd.DataFrame({"original": [0.8, 0.9], "sign_flip": [0.1, 0.9]}, index=["none", "AIT"])
PICTURES = {
    "scores": lambda: plotting.plot_scores(SCORES),
    "comparison": lambda: plotting.plot_comparison(CURVES),
    "invariances": lambda: plotting.plot_invariances(LEARNED, truth={"sign_flip": 0.5}),
    "confusion": lambda: plotting.plot_confusion([[8, 2], [1, 9]], ["W", "N1"]),
    "hypnogram": lambda: plotting.plot_hypnogram(STAGES, STAGES[::-1]),
    "hypnodensity": lambda: plotting.plot_hypnodensity(np.eye(5)),
    "agreement": lambda: plotting.plot_agreement(STAGES, STAGES[::-1]),
    "policy": lambda: plotting.plot_policy(Policy.fixed_sleep(sfreq=100), limit=3),
    "measures": lambda: plotting.plot_invariance_scores({"AugNet": SCORE, "constant": SAME}),
    "transfer": lambda: plotting.plot_transfer_matrix(MATRIX),
    "spectrum": lambda: plotting.plot_operation_spectrum(
        "frequency_shift", np.random.default_rng(0).standard_normal((1, 500)).astype("float32"), sfreq=100
    ),
}


def luminance(colour):
    rgb = np.array(to_rgb(colour))
    return float(np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722])


def words(ax):
    """Words beside the data, with the colour of what they stand on."""
    if legend := ax.get_legend():
        yield from ((text, legend.get_frame().get_facecolor()) for text in legend.get_texts())
    for text in [*ax.get_xticklabels(), *ax.get_yticklabels(), *ax.texts]:
        box = text.get_window_extent()
        inside = ax.axison and ax.bbox.contains(*((box.min + box.max) / 2))
        if text.get_text() and not (inside and ax.images):  # numbers on a map have the colour of their cell
            yield text, "white" if inside else plt.rcParams["figure.facecolor"]


@pytest.mark.parametrize("picture", PICTURES)
@pytest.mark.parametrize("style", ["default", "dark_background", "ggplot"])
def test_words_can_be_read(picture, style):
    with plt.style.context(style):
        before = dict(plt.rcParams)
        ax = PICTURES[picture]()
        ax.figure.draw_without_rendering()
        found = list(words(ax))
        assert dict(plt.rcParams) == before
    assert len(found) > 3
    for text, ground in found:
        low, high = sorted([luminance(text.get_color()), luminance(ground)])
        # 4.5 is what accessibility asks of small words; names of operations have the hues of their families, near 3.5.
        named = to_rgb(text.get_color()) in map(to_rgb, plotting.FAMILY_COLOURS.values())
        assert (high + 0.05) / (low + 0.05) > (3.4 if named else 4.5), text.get_text()
    plt.close(ax.figure)


@pytest.mark.parametrize("values", [np.linspace(0, 1, 25), np.linspace(-1, 1, 25)])
def test_numbers_stand_out_from_their_cells(values):
    table = pd.DataFrame(values.reshape(5, 5))
    axes = [plotting.plot_transfer_matrix(table, None if values[0] == 0 else table * 0)]
    if values[0] == 0:
        shares = np.diag([50, 60, 70, 80, 90])
        axes.append(plotting.plot_confusion(shares + np.roll(np.diag([50, 40, 30, 20, 10]), 1, axis=1)))
    for ax in axes:
        colours = ax.images[0].to_rgba(ax.images[0].get_array()).reshape(-1, 4)
        for text, cell in zip(ax.texts, colours, strict=True):
            low, high = sorted([luminance(text.get_color()), luminance(cell)])
            assert (high + 0.05) / (low + 0.05) > 3.9, text.get_text()
        plt.close(ax.figure)


@pytest.mark.parametrize("style", ["default", "dark_background", "seaborn-v0_8"])
def test_what_a_legend_shows_can_be_seen(style):
    with plt.style.context(style):
        for picture in ("invariances", "hypnodensity", "comparison", "spectrum"):
            ax = PICTURES[picture]()
            legend = ax.get_legend()
            assert legend.get_frame_on() and to_rgb(legend.get_frame().get_facecolor()) == (1.0, 1.0, 1.0)
            for handle in legend.legend_handles:
                if isinstance(handle, Line2D) and handle.get_linestyle() == "None":
                    assert handle.get_markeredgewidth() > 0  # its face is white
            assert ax.spines["bottom"].get_linewidth() > 0
            plt.close(ax.figure)


@pytest.mark.parametrize("picture", ["confusion", "transfer", "hypnodensity"])
def test_no_grid_over_maps_and_areas(picture):
    minor = {"xtick.minor.visible": True, "ytick.minor.visible": True, "axes.grid.which": "both"}
    with plt.style.context(["ggplot", minor]):
        ax = PICTURES[picture]()
        ax.figure.draw_without_rendering()
    ticks = [tick for axis in (ax.xaxis, ax.yaxis) for tick in axis.get_major_ticks()]
    if picture != "confusion":  # whose cells are kept apart by white lines
        ticks += [tick for axis in (ax.xaxis, ax.yaxis) for tick in axis.get_minor_ticks()]
    assert not any(tick.gridline.get_visible() for tick in ticks)
    plt.close(ax.figure)


@pytest.mark.parametrize("picture", ["scores", "hypnogram"])
def test_ticks_stand_where_there_is_an_axis(picture):
    with plt.style.context("classic"):
        ax = PICTURES[picture]()
        ax.figure.draw_without_rendering()
        ticks = [tick for axis in (ax.xaxis, ax.yaxis) for tick in axis.get_major_ticks()]
    assert not any(tick.tick2line.get_visible() for tick in ticks)
    plt.close(ax.figure)


def test_cells_and_areas_have_one_colour():
    with plt.style.context("classic"):
        confusion, density = PICTURES["confusion"](), PICTURES["hypnodensity"]()
    assert confusion.images[0].get_interpolation() == "nearest"
    for area in density.patches:
        assert to_rgb(area.get_facecolor()) == to_rgb(area.get_edgecolor())
        assert to_rgb(area.get_edgecolor()) == to_rgb(plotting.STAGE_COLOURS[area.get_label()])
    plt.close(confusion.figure)
    plt.close(density.figure)


@pytest.mark.parametrize("picture", ["confusion", "transfer"])
def test_the_first_row_is_above_the_others(picture):
    with plt.rc_context({"image.origin": "lower"}):
        ax = PICTURES[picture]()
    assert ax.yaxis_inverted()
    plt.close(ax.figure)


def test_a_notebook_shows_figures_that_pyplot_does_not_know(tmp_path, monkeypatch):
    backend = "matplotlib_inline.backend_inline"
    (tmp_path / "matplotlib_inline").mkdir()
    (tmp_path / "matplotlib_inline" / "__init__.py").touch()
    (tmp_path / "matplotlib_inline" / "backend_inline.py").touch()  # the real one tells IPython how to show figures
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("matplotlib_inline", backend):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.delenv("MPLBACKEND", raising=False)
    figures = plt.get_fignums()
    plotting.plot_policies({"none": Policy.identity()})
    assert backend not in sys.modules
    monkeypatch.setenv("MPLBACKEND", f"module://{backend}")
    plotting.plot_policies({"none": Policy.identity()})
    assert sys.modules[backend].__file__.startswith(str(tmp_path))
    assert plt.get_fignums() == figures
    for name in ("matplotlib_inline", backend):
        sys.modules.pop(name)
