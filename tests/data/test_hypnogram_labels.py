"""What labels and their onsets alone leave open, and how it is read."""

import numpy as np
import pytest

from eegaug.data.scorings.hypnogram import Hypnogram


def from_labels(labels, onset_s=None, duration_s=30.0, numbers="auto"):
    onset_s = 30.0 * np.arange(len(labels)) if onset_s is None else onset_s
    return Hypnogram.from_labels(onset_s, np.full(len(labels), duration_s), list(labels), numbers)


def test_four_is_n3_where_wakefulness_has_a_letter():
    found = from_labels("WW123442W")
    assert found.stage.tolist() == [0, 0, 1, 2, 3, 3, 3, 2, 0] and found.notes == []


@pytest.mark.parametrize(("numbers", "told"), [("auto", True), ("r&k", True), ("aasm", False)])
def test_numbers_without_a_0_are_said(numbers, told):
    """Some laboratories number W as 1 and REM as 5."""
    found = from_labels("112334551", numbers=numbers)
    assert (
        "its numbers 1 to 5 were read as N1, N2, N3, N3, REM: there is no 0 (subtract 1 if 1 is W)" in found.notes
    ) == told
    assert from_labels("0012345").notes == from_labels("WW12345").notes == []


def test_numbers_of_a_night_without_rem_are_said():
    """Sleep or not, or wakefulness, light, deep and REM, may be numbered from 0, too."""
    assert from_labels("01" * 240).notes == [
        "there is no REM: its numbers were read as stages (0 as W, 1 as N1), which they may not be"
    ]
    assert "2 as N2, 3 as N3" in from_labels("0123" * 120).notes[0]
    for labels in ("01235" * 100, "0123" * 119, ["W", "N1", "N2", "N3"] * 120):
        assert from_labels(labels).notes == []


def test_epochs_without_durations_do_not_last_through_those_that_are_left_out():
    found = from_labels("WW1222RR", [0, 30, 60, 150, 180, 210, 240, 270], duration_s=np.nan)
    assert found.duration_s.tolist() == [30] * 8
    changes = from_labels("W12R", [0, 60, 150, 240], duration_s=np.nan)
    assert changes.duration_s.tolist() == [60, 90, 90, 90]


@pytest.mark.parametrize("duration_s", [3000.0, np.nan])
def test_times_in_samples_are_refused(duration_s):
    found = from_labels("WW1122223RWW11222333RRW", 3000.0 * np.arange(23), duration_s=duration_s)
    with pytest.raises(ValueError, match="multiples of 3000 s: are its times in samples"):
        found.windows(30, 690)


def test_sides_alone_are_no_stages():
    with pytest.raises(ValueError, match="no sleep stage among its labels \\('L', 'R'\\)"):
        from_labels("RLRLR", [10, 50, 100, 200, 250], duration_s=0)
    assert from_labels("RR?R").stage.tolist() == [4, 4, -1, 4]
    assert from_labels(["R", "Lights on", "W"]).stage.tolist() == [4, 0]
