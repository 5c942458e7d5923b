import subprocess
import sys

import pytest
import torch

from eegaug.augnet.fused import fused_sum
from eegaug.augnet.layers import AugmentationLayer, TrainingDraw
from eegaug.operations import FAMILIES, Operation, get_operation, list_operations, register_operation
from eegaug.operations import registry as registry_module
from eegaug.operations.frequency import FrequencyShift
from eegaug.operations.sensors import ChannelsDropout

NAMES = [
    "time_reverse",
    "time_masking",
    "gaussian_noise",
    "ft_surrogate",
    "frequency_shift",
    "bandstop_filter",
    "sign_flip",
    "channels_symmetry",
    "channels_shuffle",
    "channels_dropout",
    "sensors_rotation_x",
    "sensors_rotation_y",
    "sensors_rotation_z",
]


@pytest.fixture
def own_registry(monkeypatch):
    monkeypatch.setattr(registry_module, "_registry", dict(registry_module._registry))


def test_names_and_groups():
    assert list_operations() == NAMES
    assert list_operations("time-frequency") == NAMES[:6] and list_operations("sensors") == NAMES[6:]
    assert FAMILIES["all"] == tuple(NAMES)
    with pytest.raises(
        ValueError, match=r"unknown group 'spatial'; the groups are \['time-frequency', 'sensors', 'all'\]"
    ):
        list_operations("spatial")


def test_shown_with_what_was_set():
    assert repr(get_operation("frequency_shift", sfreq=100)) == "FrequencyShift(sfreq=100.0, max_strength=5.0)"
    padded = get_operation("frequency_shift", sfreq=100, parity=True)
    assert repr(padded) == "FrequencyShift(padded=True, sfreq=100.0, max_strength=5.0, parity=True)"


def test_units_and_ranges():
    table = {}
    for name in NAMES:
        op = get_operation(name, sfreq=100, ch_names=["C3", "C4", "F3", "F4"])
        assert op.name == name and op.family in ("time", "frequency", "sensors")
        table[name] = (op.has_magnitude, round(op.max_strength, 4), op.unit)
    assert table == {
        "time_reverse": (False, 1.0, "probability"),
        "time_masking": (True, 200.0, "samples"),
        "gaussian_noise": (True, 0.2, "SD"),
        "ft_surrogate": (True, 6.2832, "rad"),
        "frequency_shift": (True, 5.0, "Hz"),
        "bandstop_filter": (True, 2.0, "Hz"),
        "sign_flip": (False, 1.0, "probability"),
        "channels_symmetry": (False, 1.0, "probability"),
        "channels_shuffle": (True, 1.0, "probability"),
        "channels_dropout": (True, 1.0, "probability"),
        "sensors_rotation_x": (True, 30.0, "degrees"),
        "sensors_rotation_y": (True, 30.0, "degrees"),
        "sensors_rotation_z": (True, 30.0, "degrees"),
    }


def test_refusals():
    with pytest.raises(ValueError, match="unknown operation 'frequency'; known are"):
        get_operation("frequency")
    with pytest.raises(TypeError, match="sign_flip has no option 'strength'; its options are"):
        get_operation("sign_flip", strength=3)
    with pytest.raises(TypeError, match="a name, an Operation or a subclass"):
        get_operation(3)
    with pytest.raises(ValueError, match="max_strength must be a positive number of SD, got 0"):
        get_operation("gaussian_noise", max_strength=0)
    for name in ("channels_dropout", "channels_shuffle"):
        with pytest.raises(ValueError, match=f"{name}: max_strength is the largest probability, at most 1, got 1.5"):
            get_operation(name, max_strength=1.5)


def test_instances_pass_through():
    op = get_operation("gaussian_noise", max_strength=0.5)
    assert get_operation(op, sfreq=3, ch_names=["C3"], positions=None, warn=False) is op
    with pytest.raises(TypeError, match="'max_strenght' comes with a gaussian_noise that is built already"):
        get_operation(op, sfreq=50, max_strenght=3)
    assert get_operation(type(op), max_strength=0.5) == op


class Scaling(Operation):
    """A user's own operation."""

    name, family, unit, default_max_strength = "scaling", "time", "log gain", 1.0
    sentence = "scales windows by up to exp(±{strength:g})"

    def __init__(self, *, per_channel=False, **settings):
        super().__init__(**settings)
        self.per_channel = per_channel

    def noise_shapes(self, n, n_channels, n_times):
        return {"u": (n, n_channels if self.per_channel else 1)}

    def transform(self, X, magnitude, noise):
        return X * torch.exp((2 * noise["u"] - 1) * (magnitude * self.max_strength)[:, None])[:, :, None]


def test_own_operation(own_registry):
    assert register_operation(Scaling) is Scaling
    assert list_operations()[-1] == "scaling" and "scaling" not in FAMILIES["all"]
    op = get_operation("scaling", sfreq=100, ch_names=["C3", "C4"], per_channel=True)
    assert op.get_config()["per_channel"] is True and get_operation(**op.get_config()) == op
    X = torch.ones(3, 2, 5)
    noise = {"u": torch.tensor([[1.0, 0.5], [0.5, 0.0], [1.0, 1.0]])}
    gain = torch.tensor([[0.5, 0.0], [0.0, -0.5], [0.5, 0.5]]).exp()
    torch.testing.assert_close(op.apply(X, 0.5, noise), gain[:, :, None].expand(3, 2, 5))
    assert op(torch.ones(2, 4, 2, 7), 0.3).shape == (2, 4, 2, 7)
    assert op.describe(0.5) == "scales windows by up to exp(±0.5)"
    assert register_operation(Scaling) is Scaling  # defined again in a notebook, it replaces itself


def test_linear_form_is_not_inherited_by_another_transform():
    class Louder(type(get_operation("gaussian_noise"))):
        def transform(self, X, magnitude, noise):
            return X * (1 + magnitude[:, None, None])

    class Same(type(get_operation("gaussian_noise"))):
        default_max_strength = 0.4

    assert get_operation("gaussian_noise").linear_form == "noise" == Same().linear_form
    assert Louder().linear_form is None
    assert get_operation("sign_flip").linear_form == "mixing"
    assert get_operation("frequency_shift", sfreq=100).linear_form == "modulation"
    assert get_operation("frequency_shift", sfreq=100, padded=True).linear_form is None


def test_bad_registrations(own_registry):
    class Impostor(Scaling):
        name = "sign_flip"

    with pytest.raises(ValueError, match="already an operation named 'sign_flip': SignFlip"):
        register_operation(Impostor)
    with pytest.raises(TypeError, match="a subclass of Operation that has a name"):
        register_operation(int)

    class Nameless(Operation):
        pass

    with pytest.raises(TypeError, match="Nameless has no name"):
        Nameless()


def test_void_operations_warn_once_in_a_process():
    code = (
        "from eegaug.operations import get_operation\n"
        "for _ in range(3): get_operation('channels_symmetry', ch_names=['Fpz', 'Pz'])\n"
        "get_operation('channels_symmetry', ch_names=['Fpz', 'Cz'])"
    )
    run = subprocess.run([sys.executable, "-W", "always", "-c", code], capture_output=True, text=True, check=True)
    assert run.stderr.count("channels_symmetry means nothing on this montage") == 2


class Fade:
    """What an operation does, in a mixin."""

    def transform(self, X, magnitude, noise):
        return X * (1 - magnitude)[:, None, None]


class Faded(Fade, FrequencyShift):
    """Not in the linear form of the operation that it inherits from."""

    name = "faded"


class Inverted(ChannelsDropout):
    """With a matrix of its own."""

    name = "inverted_dropout"

    def mixing_matrix(self, magnitude, noise, n_channels):
        return super().mixing_matrix(magnitude, noise, n_channels) / (1 - magnitude)[:, None, None]


@pytest.mark.parametrize("op", [Faded(sfreq=100), Inverted()], ids=lambda op: op.name)
def test_a_subclass_does_the_same_whether_or_not_it_is_differentiated(op):
    X = torch.randn(3, 4, 60)
    noise = op.draw(3, 4, 60, generator=torch.Generator().manual_seed(0))
    plain = op.apply(X, 0.5, noise)
    layer = AugmentationLayer([op], initial_strength=0.5)
    for found in (
        op.apply(X, torch.tensor(0.5, requires_grad=True), noise),
        layer.sum_of(X, layer.weights.unbind(), layer.strengths.unbind(), {0: TrainingDraw(noise, None)}),
        fused_sum(layer, X, {0: TrainingDraw(noise, None)}),
    ):
        torch.testing.assert_close(found, plain, rtol=1e-5, atol=1e-5)


def test_an_instance_has_to_be_for_the_signal():
    shift = get_operation("frequency_shift", sfreq=200)
    with pytest.raises(ValueError, match=r"frequency_shift was built for 200 Hz, the signal has 100 Hz"):
        get_operation(shift, sfreq=100)
    assert get_operation(shift) is shift
    turn = get_operation("sensors_rotation_x", ch_names=["C3", "C4", "O1", "O2"])
    assert get_operation(turn, ch_names=["EEG C3", "C4-A1", "O1", "O2"]) is turn
    with pytest.raises(ValueError, match=r"built for other channels \(C3, C4, O1, O2\): channel order"):
        get_operation(turn, ch_names=["C4", "C3", "O1", "O2"])
    flip = get_operation("sign_flip", sfreq=200, ch_names=["C3"])
    assert get_operation(flip, sfreq=100, ch_names=["O1", "O2"]) is flip
    with pytest.raises(ValueError, match="built for 200 Hz"):
        AugmentationLayer([shift], sfreq=100)
