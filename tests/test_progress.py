"""Progress: a bar on a terminal, lines in a log file."""

import io

import pytest

from eegaug._progress import track


class Terminal(io.StringIO):
    def isatty(self):
        return True


def told(stream, verbose, every_s=0.0, n=3):
    assert list(
        track(iter(range(n)), n, "Recordings", unit="night", verbose=verbose, stream=stream, every_s=every_s)
    ) == (list(range(n)))
    return stream.getvalue()


def test_lines_in_a_log_file():
    lines = told(io.StringIO(), True).splitlines()
    assert [line.split(",")[0].split(" after")[0] for line in lines] == [
        "Recordings: 1 of 3",
        "Recordings: 2 of 3",
        "Recordings: all 3",
    ]
    assert "about" in lines[0] and "left" in lines[0]


def test_one_line_of_what_is_soon_done():
    assert told(io.StringIO(), True, every_s=60).startswith("Recordings: all 3 after 0.0 s")


@pytest.mark.parametrize(("stream", "verbose"), [(io.StringIO(), None), (io.StringIO(), False), (Terminal(), False)])
def test_silence(stream, verbose):
    assert told(stream, verbose) == ""


@pytest.mark.parametrize("verbose", [True, None])
def test_a_bar_on_a_terminal(verbose):
    text = told(Terminal(), verbose)
    assert "\r" in text and "3/3" in text and "night" in text


def test_what_was_done_before_counts():
    stream = io.StringIO()
    assert list(track("ab", 5, "Runs", done=3, verbose=True, stream=stream, every_s=0)) == ["a", "b"]
    lines = stream.getvalue().splitlines()
    assert lines[0].startswith("Runs: 4 of 5, about") and lines[1].startswith("Runs: all 5 after")


def test_no_items():
    assert told(Terminal(), True, n=0) == ""
