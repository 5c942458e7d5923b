"""Which operations a signal allows, and why it does not allow the others."""

import pytest

from eegaug.operations.possible import possible_operations

NAMES = ("frequency_shift", "channels_symmetry", "sign_flip", "sensors_rotation_x")


def test_what_means_nothing_and_what_is_lacking_are_told_apart():
    found, void, lacking = possible_operations(NAMES, ch_names=["Fpz", "mine"])
    assert [operation.name for operation in found] == ["sign_flip"]
    assert set(void) == {"channels_symmetry"} and set(lacking) == {"frequency_shift", "sensors_rotation_x"}
    assert "pass sfreq" in str(lacking["frequency_shift"]) and "mine" in str(lacking["sensors_rotation_x"])
    found, void, lacking = possible_operations(NAMES, sfreq=100, ch_names=["Fpz", "Pz"])
    assert [operation.name for operation in found] == ["frequency_shift", "sign_flip"]
    assert lacking == {} and "no channel would move" in void["channels_symmetry"]
    assert "2 of the 4 electrodes" in void["sensors_rotation_x"]


def test_without_channels_nothing_is_known_to_mean_nothing():
    found, void, lacking = possible_operations(["channels_shuffle", "sign_flip"])
    assert [operation.name for operation in found] == ["channels_shuffle", "sign_flip"] and not void and not lacking
    assert set(possible_operations(["channels_shuffle"], ch_names=["Cz"])[1]) == {"channels_shuffle"}


def test_options_go_to_the_operation_of_their_name():
    (shift, flip), _, _ = possible_operations(
        ["frequency_shift", "sign_flip"], sfreq=100, options={"frequency_shift": {"max_strength": 2.0}}
    )
    assert shift.max_strength == 2.0 and flip.name == "sign_flip"
    with pytest.raises(TypeError, match="no option 'wrong'"):
        possible_operations(["sign_flip"], options={"sign_flip": {"wrong": 1}})
