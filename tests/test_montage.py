import warnings

import mne
import numpy as np
import pytest

from eegaug.montage import bipolar_channels, electrode_name, electrode_positions, symmetry_permutation

# MNE's name of it since 1.13, and before.
TEMPLATE = "colin27_1020" if "colin27_1020" in mne.channels.get_builtin_montages() else "standard_1020"


@pytest.mark.parametrize(
    ("label", "electrode"),
    [
        ("EEG Fpz-Cz", "Fpz"),
        ("EEG Pz-Oz", "Pz"),
        ("EEG C3-A2", "C3"),
        ("C3-CLE", "C3"),
        ("EEG F4-LER", "F4"),
        ("EEG C3-M2", "C3"),
        ("F3:M2", "F3"),
        ("eeg fp1", "Fp1"),
        ("CZ", "Cz"),
        ("Fc5.", "FC5"),
        ("EEG O1 - Ref", "O1"),
        ("T3", "T7"),
        ("EEG T6-CLE", "P8"),
        ("AFF1h", "AFF1h"),
        ("C3A2", "C3"),
        ("EEG CzM1", "Cz"),
        ("EEG (O2-A1)", "O2"),
        ("A2", "A2"),
    ],
)
def test_electrode_name(label, electrode):
    assert electrode_name(label) == electrode


@pytest.mark.parametrize("label", ["EOG horizontal", "EMG submental", "E17", "", "C33", "Resp oro-nasal"])
def test_no_electrode(label):
    with pytest.raises(ValueError, match=f"channel '{label}' is not in the 10-05 montage.*positions="):
        electrode_name(label)


def test_name_must_be_text():
    with pytest.raises(TypeError, match="channel names must be str, got 3"):
        electrode_name(3)


class TestPositions:
    def test_unit_vectors_of_the_template_montage(self):
        names = ["C3", "EEG Fpz-Cz", "O2-M1"]
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = electrode_positions(names)
        assert found.dtype == np.float64 and found.shape == (3, 3)
        np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1)
        template = mne.channels.make_standard_montage(TEMPLATE).get_positions()["ch_pos"]
        for name, place in zip(["C3", "Fpz", "O2"], found, strict=True):
            np.testing.assert_allclose(place, template[name] / np.linalg.norm(template[name]))

    def test_axes(self):
        left, right, front, back, top = electrode_positions(["T7", "T8", "Fpz", "Oz", "Cz"])
        assert left[0] < -0.9 and right[0] > 0.9 and front[1] > 0.9 and back[1] < -0.9 and top[2] > 0.9

    def test_own_positions(self):
        own = {"left thing": (-2.0, 0.0, 0.0), "C4": (0.0, 0.0, 5.0)}
        found = electrode_positions(["left thing", "EEG C4-A1", "Cz"], own)
        np.testing.assert_allclose(found[:2], [[-1, 0, 0], [0, 0, 1]])
        np.testing.assert_allclose(found[2], electrode_positions(["Cz"])[0])
        np.testing.assert_allclose(
            electrode_positions(["x", "y"], np.array([[3, 0, 4], [0, 2, 0]])), [[0.6, 0, 0.8], [0, 1, 0]]
        )

    def test_montage_of_mne(self):
        montage = mne.channels.make_standard_montage("biosemi16")
        found = electrode_positions(montage.ch_names, montage.get_positions()["ch_pos"])
        assert found.shape == (16, 3)

    def test_refusals(self):
        with pytest.raises(ValueError, match=r"channel 'E17' is not in the 10-05 montage"):
            electrode_positions(["C3", "E17"])
        with pytest.raises(ValueError, match=r"shape \(2, 3\) .* got \(3, 2\)"):
            electrode_positions(["C3", "C4"], np.zeros((3, 2)))
        with pytest.raises(ValueError, match=r"position of channel 'C4' must be finite and not zero"):
            electrode_positions(["C3", "C4"], {"C4": (np.nan, 0, 1)})
        with pytest.raises(ValueError, match=r"position of channel 'C3' must be finite and not zero"):
            electrode_positions(["C3"], np.zeros((1, 3)))


class TestSymmetry:
    @pytest.mark.parametrize(
        ("names", "permutation"),
        [
            (["C3", "C4", "F3", "F4", "O1", "O2"], [1, 0, 3, 2, 5, 4]),
            (["Fz", "Cz"], [0, 1]),
            (["EEG Fpz-Cz", "EEG Pz-Oz"], [0, 1]),
            (["C3-A2", "C4-A1"], [1, 0]),
            (["C3-A2", "C4-A2"], [1, 0]),
            (["EEG C3-LER", "EEG Fz-LER", "EEG C4-LER"], [2, 1, 0]),
            (["C3", "F4"], [0, 1]),
            (["T3", "T8", "P7", "T6"], [1, 0, 3, 2]),
            (["C3", "EOG left", "EMG1", "C4"], [3, 1, 2, 0]),
            (["E1", "E2"], [0, 1]),
            # A double banana: two derivations start at each electrode, the whole name tells which belong together.
            (["Fp1-F7", "Fp1-F3", "Fp2-F8", "Fp2-F4"], [2, 3, 0, 1]),
            # Two candidates and nothing to tell them apart: nobody moves.
            (["C3-A2", "C3-Cz", "C4-Ref"], [0, 1, 2]),
            (["AFF1h", "AFF2h", "Fp1", "Fp2", "PO10", "PO9"], [1, 0, 3, 2, 5, 4]),
            (["A1", "M2", "A2", "M1"], [2, 3, 0, 1]),
            (["C3-Fz", "C4-Fz"], [1, 0]),
            # Chains across the head: what starts at the mirrored electrode and leads elsewhere is no partner.
            (["T3-C3", "T4-A2", "C3-Cz", "C4-T4"], [0, 1, 2, 3]),
            (["T7-FT9", "FT9-FT10", "FT10-T8"], [0, 1, 2]),
            (["C3-Cz", "C4"], [0, 1]),
            (["T7-P7", "T8-P8-0"], [1, 0]),
            # Not the 10-20 system's: BioSemi's cap of 128, contacts of depth electrodes.
            (["A1", "A2", "B1", "C3", "C4"], [0, 1, 2, 3, 4]),
            (["A1", "A2", "A3", "C1", "C2"], [0, 1, 2, 3, 4]),
        ],
    )
    def test_permutation(self, names, permutation):
        assert symmetry_permutation(names).tolist() == permutation

    def test_every_electrode_has_the_partner_that_mirrors_it(self):
        positions = mne.channels.make_standard_montage(TEMPLATE).get_positions()["ch_pos"]
        names = [name for name in positions if name not in ("T3", "T4", "T5", "T6")]
        permutation = symmetry_permutation(names)
        np.testing.assert_array_equal(permutation[permutation], np.arange(len(names)))
        at = electrode_positions(names)
        assert np.abs(at * [-1, 1, 1] - at[permutation]).max() < 0.06  # the template head is not quite symmetric
        assert {names[i] for i in np.flatnonzero(permutation == np.arange(len(names)))} == {
            name for name in names if name.endswith("z")
        }


@pytest.mark.parametrize(
    ("channel", "key"), [("EEG T3-M2", "T3"), ("T7", "T3"), ("C3", "c3"), ("EEG Fpz-Cz", "FPZ"), ("C3", "C3")]
)
def test_own_positions_are_found_however_they_are_spelled(channel, key):
    assert electrode_positions([channel], {key: (0, 1, 0)}).tolist() == [[0, 1, 0]]


@pytest.mark.parametrize(
    ("names", "bipolar"),
    [
        (["EEG C3-REF", "C4-A1", "Cz", "ROC-M1"], []),
        (["C3-Cz", "C4-Cz", "O1-Cz", "EMG1-EMG2"], []),
        (["Fp1-F7", "F7-T3", "Cz"], ["Fp1-F7", "F7-T3"]),
        (["EEG Fpz-Cz", "EEG Pz-Oz"], ["EEG Fpz-Cz", "EEG Pz-Oz"]),
    ],
)
def test_bipolar_channels(names, bipolar):
    assert bipolar_channels(names) == bipolar
