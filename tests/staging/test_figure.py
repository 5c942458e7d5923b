"""What is on a night's pictures."""

import datetime

import matplotlib

matplotlib.use("Agg")

import pytest

import eegaug
from eegaug.staging.figure import page_figure
from eegaug.staging.page import heading


@pytest.fixture
def night(recording, model):
    return eegaug.stage(recording, model, reference=recording.with_name("anna-Hypnogram.edf"))


def rendered(figure, tmp_path):
    figure.savefig(tmp_path / "a.png", dpi=80)
    image = matplotlib.image.imread(tmp_path / "a.png")
    assert image[..., :3].std() > 0.02
    return image.shape[1], image.shape[0]


def test_panels_share_one_time_axis(night, tmp_path):
    figure = night.plot()
    width, height = rendered(figure, tmp_path)
    assert width == 592 and height > width / 2
    panels = figure.axes[:5]
    assert len({ax.get_xlim() for ax in panels}) == 1
    assert [ax.get_ylabel().split("\n")[-1] for ax in panels[2:]] == ["probability", "frequency (Hz)", "confidence"]
    assert panels[3].get_ylabel().startswith("EEG C3-A2")
    edges = {round(ax.get_position().x0, 6) for ax in panels}
    assert len(edges) == 1


def test_without_reference_there_is_no_strip(recording, model):
    assert len(eegaug.stage(recording, model).plot().axes) == 4


def test_time_of_day(night):
    night.prepared.start = datetime.datetime(2025, 3, 1, 23, 58, 30)
    ax = night.plot().axes[4]
    ax.figure.canvas.draw()
    labels = [text.get_text() for text in ax.get_xticklabels()]
    assert "00:00" in labels and ax.get_xlabel() == "time of day"


def test_long_names_are_shortened_in_the_middle(night, tmp_path):
    name = "sub-0123_ses-02_" + 10 * "a-description-" + "task-sleep_run-01_eeg"
    figure = page_figure(night, [name, "a line"])
    rendered(figure, tmp_path)
    (title,) = (text for text in figure.findobj(matplotlib.text.Text) if text.get_text().startswith("sub-0123_ses-02_"))
    assert title.get_text().endswith("task-sleep_run-01_eeg") and "…" in title.get_text()
    assert title.get_window_extent().x1 < figure.bbox.x1
    night.channels.loc[0, "recording"] = "EEG C3-A2 of the left hemisphere, referenced to the right mastoid"
    ax = next(ax for ax in night.plot().axes if "frequency" in ax.get_ylabel())
    ax.figure.draw_without_rendering()
    label = ax.yaxis.label.get_window_extent()
    assert "EEG C3" in ax.get_ylabel() and label.height < 1.1 * ax.bbox.height


def test_a_dollar_is_a_dollar(night, tmp_path):
    night.channels.loc[0, "recording"] = "C3$_$A2"
    rendered(page_figure(night, ["night $_$", "channels: C3$_$A2"]), tmp_path)


def test_page_has_statistics_and_least_certain_epochs(night, tmp_path):
    figure = page_figure(night, heading(night))
    width, height = rendered(figure, tmp_path)
    assert height > 1.2 * width
    words = [text.get_text() for ax in figure.findobj(matplotlib.axes.Axes) for text in ax.texts]
    assert "TST" in words and f"{night.statistics['TST']:.1f}" in words
    first = night.least_certain(1).iloc[0]
    assert str(first["epoch"]) in words and f"{first['stage']} {first['confidence']:.2f}" in words
    titles = [ax.get_title(loc="left") for ax in figure.findobj(matplotlib.axes.Axes)]
    assert any(title.startswith("kappa") for title in titles)
