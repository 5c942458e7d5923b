"""What an operation does, as a picture: the numbers drawn are those of the operation."""

import matplotlib

matplotlib.use("Agg")

import numpy as np
import pytest
import torch

from eegaug import plotting
from eegaug.operations import get_operation, list_operations

SFREQ, NAMES = 50.0, ["F3", "F4", "C3", "C4", "O1", "O2"]


@pytest.fixture(scope="module")
def X():
    t = np.arange(500) / SFREQ
    rng = np.random.default_rng(0)
    tone = np.sin(2 * np.pi * 8 * t) * np.linspace(0.5, 1.5, 6)[:, None]
    return (tone + 0.3 * rng.standard_normal((6, 500))).astype("float32")


def about(**more):
    return {"sfreq": SFREQ, "ch_names": NAMES, "max_hz": 20.0} | more


@pytest.mark.parametrize("name", list_operations()[:13])
def test_every_operation_has_a_figure(X, name, tmp_path):
    figure = plotting.operation_figure(name, X, **about())
    figure.savefig(tmp_path / "a.png", dpi=40)
    image = matplotlib.image.imread(tmp_path / "a.png")
    assert image.shape[1] == 288 and image[..., :3].std() > 0.02
    op = get_operation(name, sfreq=SFREQ, ch_names=NAMES)
    steps = 3 if op.has_magnitude else 1
    maps = 1 + steps if op.family == "sensors" else 0
    axes = figure.findobj(matplotlib.axes.Axes)
    assert len(axes) == 2 + maps
    assert len(axes[0].get_yticklabels()) == 1 + steps
    notes = [text.get_text() for text in figure.findobj(matplotlib.text.Text) if "potential at" in text.get_text()]
    assert len(notes) == bool(maps) and all("red positive" in note for note in notes)


def test_traces_are_the_operations_own(X):
    ax = plotting.plot_operation_signal("sign_flip", X, sfreq=SFREQ, channel=2, seconds=None)
    before, behind, after = (line.get_ydata() for line in ax.lines)
    np.testing.assert_allclose(np.diff(before), np.diff(X[2]), atol=1e-5)
    np.testing.assert_allclose(np.diff(after), -np.diff(X[2]), atol=1e-5)
    np.testing.assert_allclose(np.diff(behind), np.diff(before), atol=1e-5)


def test_magnitude_0_changes_nothing(X):
    ax = plotting.plot_operation_spectrum("frequency_shift", X, sfreq=SFREQ, magnitudes=[0.0, 1.0], max_hz=20)
    before, nothing, full = (line.get_ydata() for line in ax.lines)
    np.testing.assert_allclose(nothing, before, atol=1e-4)
    shift = abs(float(full.argmax() - before.argmax())) / 4
    assert 3 <= shift <= 5  # of 32 draws one near the full ±5 Hz


def test_strengths_in_physical_units(X):
    ax = plotting.plot_operation_signal("bandstop_filter", X, sfreq=SFREQ, magnitudes=[0.5])
    assert [text.get_text() for text in ax.get_yticklabels()] == ["before", "½: 1 Hz"]
    ax = plotting.plot_operation_signal("channels_dropout", X, sfreq=SFREQ, ch_names=NAMES, magnitudes=[0.3])
    assert ax.get_yticklabels()[1].get_text() == "p = 0.3"


def test_thousands_of_samples_have_no_exponent(X):
    masking = get_operation("time_masking", sfreq=SFREQ, max_strength=2000)
    ax = plotting.plot_operation_signal(masking, np.tile(X, 6), sfreq=SFREQ, magnitudes=[0.5, 1.0])
    assert [label.get_text() for label in ax.get_yticklabels()] == ["before", "½: 1000 samples", "1: 2000 samples"]


def test_same_seed_same_picture_and_no_global_seed_is_consumed(X):
    state = torch.random.get_rng_state()
    drawn = [
        plotting.plot_operation_signal("gaussian_noise", X, sfreq=SFREQ, random_state=seed).lines[-1].get_ydata()
        for seed in (1, 1, 2)
    ]
    assert np.array_equal(drawn[0], drawn[1]) and not np.array_equal(drawn[0], drawn[2])
    assert torch.equal(state, torch.random.get_rng_state())


def test_topomap_before_and_after(X, tmp_path):
    settings = {"sfreq": SFREQ, "ch_names": NAMES}
    before = plotting.plot_operation_topomap("sign_flip", X, magnitude=None, title="before", **settings)
    after = plotting.plot_operation_topomap("sign_flip", X, **settings)
    maps = [np.ma.filled(ax.images[0].get_array(), 0.0) for ax in (before, after)]
    np.testing.assert_allclose(maps[0], -maps[1], atol=1e-6)
    assert before.images[0].get_clim() == after.images[0].get_clim()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"X": np.zeros((2, 3, 4), "float32")}, r"shape \(2, 3, 4\)"),
        ({"X": np.full((6, 300), np.nan, "float32")}, "has the value NaN at sample 0 of channel 0"),
        ({"magnitudes": [2.0]}, "lie in"),
        ({"magnitudes": []}, "at least one"),
        ({"channel": "Cz"}, "no channel 'Cz'"),
        ({"channel": 6}, "no channel 6"),
        ({"ch_names": NAMES[:3]}, "3 names"),
    ],
)
def test_refuses(X, settings, message):
    given = {"X": X, "sfreq": SFREQ, "ch_names": NAMES} | settings
    with pytest.raises(ValueError, match=message):
        plotting.plot_operation_signal("time_reverse", **given)


def test_a_spectrum_has_a_frequency(X):
    with pytest.raises(ValueError, match=r"max_hz is 0.01; of this window the lowest frequency is 0\.\d+ Hz"):
        plotting.plot_operation_spectrum("time_reverse", X, sfreq=SFREQ, max_hz=0.01)


def test_topomap_takes_four_places(X):
    with pytest.raises(ValueError, match="four channels"):
        plotting.operation_figure("sign_flip", X[:2], sfreq=SFREQ, ch_names=NAMES[:2], topomap=True, max_hz=20)
    odd = ["a", "b", "c", "d", "e", "f"]
    with pytest.raises(ValueError, match="10-05"):
        plotting.operation_figure("sign_flip", X, sfreq=SFREQ, ch_names=odd, topomap=True, max_hz=20)
    assert len(plotting.operation_figure("sign_flip", X, sfreq=SFREQ, ch_names=odd, max_hz=20).axes) == 2


def test_two_channels_at_one_place_have_no_topography(X):
    names = ["C3-A2", "C3-M2", *NAMES[2:6]]
    with pytest.raises(ValueError, match="C3-A2 and C3-M2 are at one"):
        plotting.plot_operation_topomap("sign_flip", X, sfreq=SFREQ, ch_names=names)
    figure = plotting.operation_figure("sign_flip", X, sfreq=SFREQ, ch_names=names, max_hz=20)
    assert len(figure.axes) == 2
