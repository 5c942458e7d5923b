import numpy as np
import pytest

from eegaug.data import STAGES, UNSCORED, parse_stage, stages


def test_stages_are_numbered_in_the_field_s_order():
    assert STAGES == ("W", "N1", "N2", "N3", "REM")
    assert [parse_stage(name) for name in STAGES] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("label", "code"),
    [
        *[(f"Sleep stage {s}", c) for s, c in zip("W1234R?M", (0, 1, 2, 3, 3, 4, -1, -1), strict=True)],
        *[("sleep stage n3", 3), ("SLEEP STAGE REM", 4), ("Stage W", 0), ("stage_2", 2), ("Sleep_stage_N1", 1)],
        *[
            ("Movement time", -1),
            ("Wake", 0),
            ("awake", 0),
            ("rem", 4),
            ("NREM2", 2),
            ("S4", 3),
            (" N2 ", 2),
            ('"N1"', 1),
        ],
        *[("Stage 2 sleep|2", 2), ("Stage 4 sleep|4", 3), ("REM sleep|5", 4), ("Wake|0", 0), ("Unscored|9", -1)],
        *[("Stage 1 sleep", 1), ("N3 sleep", 3), ("Arousal|Arousal ()", None), ("deep sleep", None), ("sleep", None)],
        *[(0, 0), (5, 4), ("4", 3), ("2.0", 2), (-1, -1), ("-2", -1), (9, -1), ("n/a", -1), (float("nan"), -1)],
        *[("Lights off", None), ("Arousal", None), ("", None), ("Sleep stage", None), ("12", None), ("spindle", None)],
    ],
)
def test_labels(label, code):
    assert parse_stage(label) == code


def test_four_is_rem_where_five_stages_are_numbered():
    assert [parse_stage(k, "aasm") for k in range(5)] == [0, 1, 2, 3, 4]
    assert parse_stage(5, "aasm") is None
    assert parse_stage("Sleep stage 4", "aasm") == 3
    assert UNSCORED == -1


def test_unknown_convention_is_refused():
    with pytest.raises(ValueError, match="numbers='usual'"):
        parse_stage("W", "usual")


def test_a_label_is_taken_apart_once():
    before = stages._parsed.cache_info().misses
    pages = ["Sleep stage W, once", "N2, once", 2.5, "4"] * 1000
    assert [parse_stage(label) for label in pages[:4]] == [parse_stage(label) for label in pages[-4:]]
    assert [parse_stage(label) for label in pages] == [None, None, None, 3] * 1000
    assert stages._parsed.cache_info().misses - before <= 4
    # Equal for Python, and not the same words.
    assert (parse_stage(1), parse_stage(True), parse_stage(1.0)) == (1, None, 1)


@pytest.mark.parametrize("kind", ["int8", "uint8", "int64", "float32", object])
def test_stages_of_windows_may_be_numbers_of_any_kind(kind):
    codes = stages.stages_of_windows(np.array([0, 4, 2], dtype=kind))
    assert codes.dtype == np.int64 and codes.tolist() == [0, 4, 2]
    with pytest.raises(ValueError, match=r"^Night 3, window 1 has the stage 5(\.0)?; stages are the numbers 0=W"):
        stages.stages_of_windows(np.array([0, 5, 2], dtype=kind), "Night 3, ")


def test_only_minus_one_stands_for_no_stage():
    assert stages.stages_of_windows(np.array([-1, 0], dtype=np.int8)).tolist() == [-1, 0]
    with pytest.raises(ValueError, match="window 1 has the stage -2"):
        stages.stages_of_windows(np.array([-1, -2]))
