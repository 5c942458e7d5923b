import pytest

from eegaug.data.channels import eeg_channels, pick_channels, short_name

SLEEP_EDF = ["EEG Fpz-Cz", "EEG Pz-Oz", "EOG horizontal", "Resp oro-nasal", "EMG submental"]
MASS = ["EEG C3-CLE", "EEG C4-CLE", "EEG A2-CLE", "EEG T3-CLE", "EOG Left Horiz", "EMG Chin1"]


def names(available, requested):
    """What was picked, as names of the file."""
    return [tuple(available[i] for i in pick if i is not None) for pick in pick_channels(available, requested)]


@pytest.mark.parametrize(
    ("available", "requested", "found"),
    [
        (SLEEP_EDF, ["Pz-Oz", "Fpz-Cz"], [("EEG Pz-Oz",), ("EEG Fpz-Cz",)]),
        (SLEEP_EDF, ["eeg pz-oz", "EMG submental"], [("EEG Pz-Oz",), ("EMG submental",)]),
        (SLEEP_EDF, ["Fpz"], [("EEG Fpz-Cz",)]),
        (MASS, ["C4", "C3", "T7"], [("EEG C4-CLE",), ("EEG C3-CLE",), ("EEG T3-CLE",)]),
        (MASS, ["C3-A2"], [("EEG C3-CLE", "EEG A2-CLE")]),
        (["C3", "C3-M2", "M2", "O1"], ["C3", "C3-A2", "O1-M2"], [("C3",), ("C3-M2",), ("O1", "M2")]),
        (["c3", "C3"], ["C3"], [("C3",)]),
        (["C3 - A2"], ["C3-M2"], [("C3 - A2",)]),
        (["C3A2", "c4m1", "LEFTEYE"], ["C3-M2", "C4"], [("C3A2",), ("c4m1",)]),
    ],
)
def test_pick(available, requested, found):
    assert names(available, requested) == found


@pytest.mark.parametrize(
    ("available", "requested", "message"),
    [
        (SLEEP_EDF, ["C3", "Pz-Oz", "O9"], "channels 'C3', 'O9' are missing; there are 'EEG Fpz-Cz'"),
        (["C3-A2", "C3-Fpz"], ["C3"], r"'C3' could be any of \['C3-A2', 'C3-Fpz'\]"),
        (["EEG", "EEG"], ["EEG"], "could be any of"),
        (["Fpz"], ["Fpz-Cz"], "'Fpz-Cz' is missing"),  # another derivation is another signal
        (["C3-CLE", "A2-LER"], ["C3-A2"], "missing"),  # no common reference
        ([f"X{i}" for i in range(60)], ["C3"], "'X23' and 36 more"),
    ],
)
def test_missing_or_ambiguous_channels_are_named(available, requested, message):
    with pytest.raises(ValueError, match=message):
        pick_channels(available, requested)


def test_one_channel_is_not_taken_for_two():
    with pytest.raises(ValueError, match="channels 'C3' and 'C4' would both be 'EEG'"):
        pick_channels(["EEG", "EOG"], ["C3", "C4"], {"C3": ["EEG"], "C4": ["EEG"]})


def test_eeg_by_default():
    assert eeg_channels(SLEEP_EDF) == SLEEP_EDF[:2]
    assert eeg_channels(MASS) == ["EEG C3-CLE", "EEG C4-CLE", "EEG T3-CLE"]
    assert eeg_channels(["C3", "C3-M2", "M1", "ECG", "C3-M2 (Imp)", "F"]) == ["C3-M2"]
    assert eeg_channels(["EEG (derivation not stated)", "EMG"]) == ["EEG (derivation not stated)"]
    assert eeg_channels(["Resp", "Temp rectal"]) == []
    assert short_name("EEG Pz-Oz") == "Pz-Oz" and short_name("EEG 1") == "EEG 1"


def test_names_with_underscores_and_numbers():
    assert names(["EEG_C3_M2", "O1_A2"], ["C3", "O1-M2"]) == [("EEG_C3_M2",), ("O1_A2",)]
    assert eeg_channels(["EOG_L", "C3_M2", "C4_M1", "EMG_1"]) == ["C3_M2", "C4_M1"]
    assert eeg_channels(["EKG", "EEG1", "EEG(sec)", "EEGs"]) == ["EEG1", "EEG(sec)"]


SHHS = ["SaO2", "H.R.", "EEG(sec)", "ECG", "EOG(L)", "EOG(R)", "EEG", "THOR RES", "NEW AIR", "OX stat"]


@pytest.mark.parametrize("name", ["EEG(sec)", "EEG (sec)", "EEG(SEC)", "EEG sec", "EEG2", "EEG 2"])
def test_the_second_eeg_of_shhs_has_several_names(name):
    channels = [name if label == "EEG(sec)" else label for label in SHHS]
    for wanted in ("EEG(sec)", "EEG2"):
        assert names(channels, ["EEG", wanted]) == [("EEG",), (name,)]
    assert eeg_channels(channels) == [name, "EEG"]
    with pytest.raises(ValueError, match="'EEG3' is missing"):
        pick_channels(channels, ["EEG3"])


def test_channels_of_mesa_that_say_whether_electrodes_are_off_are_no_eeg():
    channels = [
        "EKG",
        "EOG-L",
        "EEG1",
        "EEG2",
        "EEG3",
        "Pos",
        "EKG_Off",
        "EOG-L_Off",
        "EEG1_Off",
        "EEG2_Off",
        "EEG3_Off",
    ]
    assert eeg_channels(channels) == ["EEG1", "EEG2", "EEG3"]
    assert names(channels, ["EEG1_Off"]) == [("EEG1_Off",)]


def test_a_reference_may_be_written_in_several_ways():
    assert names(["C3:M2", "C3/M1"], ["C3-M2", "C3-A1"]) == [("C3:M2",), ("C3/M1",)]
    for name in ("C3:A1", "C3/A1", "C3\u2013A1"):
        with pytest.raises(ValueError, match="C3"):
            pick_channels([name], ["C3-A2"])
    with pytest.raises(ValueError, match="C3"):
        pick_channels(["C3:M1", "M2"], ["C3-M2"])  # no difference of a difference
