import mne
import numpy as np
import pytest

from eegaug.staging.channels import match_channels


def test_says_why_each_channel_was_taken():
    available = ["EOG", "EEG C3-A2", "c4", "F3", "M2", "Fz"]
    picks, table = match_channels(available, ["C3", "C4", "F3-M2", "Fz"])
    assert [tuple(pick) for pick in picks] == [(1, None), (2, None), (3, 4), (5, None)]
    assert table["recording"].tolist() == ["EEG C3-A2", "c4", "F3 − M2", "Fz"]
    assert table["how"].tolist() == [
        "same electrode, with its reference",
        "same name, spelled otherwise",
        "difference of two channels",
        "same name",
    ]


def test_a_missing_channel_is_named_and_so_is_what_there_is():
    with pytest.raises(ValueError, match=r"needs C3, O1, O2: channels 'O1', 'O2' are missing; there are 'C3', 'EMG'"):
        match_channels(["C3", "EMG"], ["C3", "O1", "O2"])


def test_two_channels_of_one_electrode_are_not_guessed():
    with pytest.raises(ValueError, match=r"'C3' could be any of"):
        match_channels(["C3-A2", "C3-LER"], ["C3"])


class TestAsTold:
    def test_in_the_models_order(self):
        picks, table = match_channels(["X1", "X2"], ["C3", "C4"], ["X2", "X1"])
        assert [pick.plus for pick in picks] == [1, 0] and set(table["how"]) == {"as told"}

    def test_some_of_them(self):
        picks, table = match_channels(["X1", "C4", "X2"], ["C3", "C4"], {"C3": "X1-X2"})
        assert tuple(picks[0]) == (0, 2) and table["how"].tolist() == ["as told", "same name"]

    @pytest.mark.parametrize(
        ("channels", "message"),
        [
            (["X1"], "1 names .X1.; the model has 2"),
            ({"Cz": "X1"}, "'Cz', which is none of the model's"),
            (["X1", "X9"], "'X9' is missing"),
        ],
    )
    def test_refuses(self, channels, message):
        with pytest.raises(ValueError, match=message):
            match_channels(["X1", "X2"], ["C3", "C4"], channels)

    def test_one_string_is_no_list(self):
        with pytest.raises(TypeError, match="one string"):
            match_channels(["C3"], ["C3"], "C3")


class TestByPlace:
    @pytest.fixture
    def places(self):
        """Channels of a cap that numbers its electrodes."""
        info = mne.create_info(["C3", "C4", "Oz"], 100, "eeg")
        built_in = mne.channels.get_builtin_montages()
        info.set_montage("colin27_1005" if "colin27_1005" in built_in else "standard_1005")
        found = [ch["loc"][:3] for ch in info["chs"]]
        return {"E1": found[2], "E2": found[1] + [0.0, 0.012, 0.0], "E3": found[0], "E4": found[0] + [0, 0.01, 0]}

    def test_the_nearest_channel_serves(self, places):
        picks, table = match_channels(list(places), ["C3", "C4"], places=places)
        assert [pick.plus for pick in picks] == [2, 1]
        assert table["how"].tolist() == ["0.0 cm from C3's place", "1.2 cm from C4's place"]

    def test_names_come_first(self, places):
        picks, _ = match_channels(["C3", "E3"], ["C3"], places={"E3": places["E3"], "C3": np.array([0, 0, 0.1])})
        assert picks[0].plus == 0

    def test_what_is_far_away_does_not_serve(self, places):
        with pytest.raises(ValueError, match="'F3' is missing"):
            match_channels(list(places), ["F3"], places=places)

    def test_a_derivation_has_no_place(self, places):
        with pytest.raises(ValueError, match="'C3-M2' is missing"):
            match_channels(list(places), ["C3-M2"], places=places)
