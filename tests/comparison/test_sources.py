"""What is used where nothing is said, and where results can go."""

import os
from pathlib import Path

import numpy as np
import pytest

from eegaug.comparison.sources import (
    check_result_file,
    default_for,
    get_folds,
    get_nights,
    search_options,
    usable_device,
)
from eegaug.data import NightDataset, Nights, Split


@pytest.mark.parametrize("data", ["simulated", "Simulated", Path("simulated")])
def test_simulated_nights_are_the_same_however_they_are_written(data):
    assert [default_for(name, data) for name in ("folds", "max_epochs")] == [3, 20]
    assert search_options(data, "adda")["max_steps"] == 6
    nights, source = get_nights(data, data_args={"n_subjects": 3, "n_windows": 20})
    assert (source, nights.sfreq, nights.ch_names) == ("simulated", 50.0, ["F3", "F4", "O1", "O2"])


def test_the_seed_of_the_split_says_who_is_in_which_fold():
    nights, _ = get_nights("simulated", data_args={"n_subjects": 8, "n_windows": 20})
    sizes = dict.fromkeys(("n_train", "n_valid", "n_test"))
    first, same, other = (get_folds(4, nights, sizes, seed) for seed in (0, 0, 1))
    assert first == same != other
    for folds in (first, other):
        assert sorted(name for fold in folds for name in fold.test) == sorted(set(nights.subjects))


def test_a_result_takes_the_place_of_a_file_only(tmp_path):
    """Put in the place of /dev/null by a user who may, it would be what every process of the machine writes to."""
    check_result_file(tmp_path / "new.csv", "a CSV file")
    with pytest.raises(IsADirectoryError, match="is a folder; name a CSV file"):
        check_result_file(tmp_path, "a CSV file")
    with pytest.raises(ValueError, match="is a device or a pipe, which a result would replace; name a CSV file"):
        check_result_file(Path(os.devnull), "a CSV file")


@pytest.mark.parametrize(
    ("device", "reason"),
    [
        ("tpu", "'tpu' is no device"),
        ("cuda:99", "is not there: torch sees"),
        ("xla", r"cannot be used \(.{9,150}\)"),
    ],
)
def test_devices_that_are_not_there_are_named(device, reason):
    with pytest.raises(ValueError, match=f"{reason}.*(use cpu, cuda|CUDA devices)"):
        usable_device(device)
    assert usable_device("cpu") == "cpu"


class TestCopies:
    SIDES = Split(train=["a", "b"], valid=["c"], test=["d"])

    @staticmethod
    def nights(*seeds, zero=False, stages=(0, 1, 2)):
        return Nights(
            [
                NightDataset(
                    np.random.default_rng(seed).standard_normal((3, 2, 50)) * (not zero),
                    np.roll(stages, seed),
                    ch_names=["C3", "C4"],
                    sfreq=50,
                    subject=subject,
                )
                for seed, subject in zip(seeds, "abcd", strict=True)
            ]
        )

    def test_one_recording_under_two_names_is_not_on_two_sides(self):
        with pytest.raises(ValueError, match="'b-1' and 'd-1' are one recording under two names"):
            get_folds([self.SIDES], self.nights(0, 1, 2, 1), {})
        with pytest.raises(ValueError, match="In fold 0 subjects 'a' and 'c' are on different sides"):
            get_folds(2, self.nights(0, 1, 0, 3), {"n_test": 1, "n_valid": 1})

    def test_on_one_side_or_on_none_they_may_be(self):
        assert get_folds([self.SIDES], self.nights(1, 1, 2, 3), {}) == [self.SIDES]
        without = Split(train=["a"], valid=["c"], test=["d"])
        assert get_folds([without], self.nights(0, 1, 2, 1), {}) == [without]

    def test_recordings_that_begin_with_nothing_are_no_copies(self):
        assert get_folds([self.SIDES], self.nights(1, 1, 1, 1, zero=True), {}) == [self.SIDES]
