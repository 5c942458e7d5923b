"""When lights went off and on."""

import datetime

import pytest

from eegaug.staging.lights import check_lights, lights_seconds

START = datetime.datetime(2024, 3, 5, 22, 45, 30)
LENGTH = 8 * 3600.0


@pytest.mark.parametrize(
    ("lights", "seconds"),
    [
        ((60, 900.5), (60.0, 900.5)),
        ((None, 900), (None, 900.0)),
        (("23:00", "06:30:30"), (870.0, 27900.0)),
        (("0:15", None), (5370.0, None)),
        ((None, "5:00"), (None, 22470.0)),
        (("22:30", "6:00"), (-930.0, 26070.0)),  # before the recording began
        (("23:00", "08:00"), (870.0, 33270.0)),  # after its end
        ((0, "22:45:30"), (0.0, 86400.0)),
        (("23:59:59", None), (4469.0, None)),
    ],
)
def test_seconds(lights, seconds):
    assert lights_seconds(lights, START, LENGTH) == seconds


def test_a_recording_of_a_day_and_a_night():
    found = lights_seconds(("23:00", "7:00"), datetime.datetime(2024, 3, 5, 9), 23 * 3600)
    assert found == (14 * 3600, 22 * 3600)


@pytest.mark.parametrize(
    ("lights", "words"),
    [
        ((60, 30), "off comes first"),
        (("25:00", None), "'25:00' is no time of day such as '23:05'"),
        (("11pm", None), "'11pm' is no time of day"),
        (("23:60", None), "'23:60' is no time of day"),
        (("23:00:60", None), "'23:00:60' is no time of day"),
        ((28800, None), "nothing of the recording, which is 28800 s long"),
        ((40000, None), "nothing of the recording, which is 28800 s long"),
        ((None, -5), "nothing of the recording"),
        ((5,), "two moments are due"),
    ],
)
def test_what_it_cannot_mean(lights, words):
    with pytest.raises(ValueError, match=words):
        lights_seconds(lights, START, LENGTH)


def test_a_clock_needs_a_start():
    with pytest.raises(ValueError, match="does not say when it began; give seconds"):
        lights_seconds(("23:00", None), None, LENGTH)


def test_a_start_between_two_seconds():
    start = START.replace(microsecond=250_000)
    assert lights_seconds(("23:00", None), start, LENGTH) == (869.75, None)


def test_what_no_recording_can_make_sense_of_is_refused_without_one():
    for lights in (None, (None, None), (60, "6:30")):
        check_lights(lights)
    with pytest.raises(ValueError, match="'25:00' is no time of day"):
        check_lights((60, "25:00"))
