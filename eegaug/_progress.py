"""How work tells how far it is: a moving bar on a terminal, now and then a line in a log file."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TextIO, TypeVar

from eegaug._durations import duration

__all__ = ["StepBar", "track"]

T = TypeVar("T")


class StepBar:
    """Steps of one piece of work, told on standard error one by one, with what each has come to.

    Parameters
    ----------
    unit : str
        What a step is.
    total, done : int
        How many there will be, and how many were done before.
    name : str
        Of the work; what the steps come to stands in its place where it has none.
    every_s : float
        Seconds between lines where there is no terminal.
    """

    def __init__(self, unit: str, total: int, done: int, name: str = "", every_s: float = 10.0):
        self.unit, self.name, self.every_s = unit, name, every_s
        self._last, self._bar = 0.0, None
        if sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(
                total=total, initial=done, unit=unit, desc=name or None, file=sys.stderr, dynamic_ncols=True
            )

    def update(self, step: int, total: int, text: str) -> None:
        """Move it on by one step, of which there may be more or fewer in all than were planned."""
        if self._bar is not None:
            self._bar.total = total
            self._bar.update()
            (self._bar.set_postfix_str if self.name else self._bar.set_description_str)(text)
        elif time.monotonic() - self._last >= self.every_s or step == total:
            self._last = time.monotonic()
            print(f"{self.name and self.name + ': '}{self.unit} {step}/{total}: {text}", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Leave it as it is."""
        if self._bar is not None:
            self._bar.close()


def track(
    items: Iterable[T],
    total: int,
    what: str,
    *,
    unit: str = "it",
    done: int = 0,
    verbose: bool | None = None,
    stream: TextIO | None = None,
    every_s: float = 30.0,
) -> Iterator[T]:
    """Hand items on and tell how many have come.

    Parameters
    ----------
    items : iterable
    total : int
        How many there will be, with those that are done already.
    what : str
        What is done, such as "Recordings".
    unit : str
        What an item is, for the bar.
    done : int
        How many were done before; they do not come.
    verbose : bool, optional
        True: a bar on a terminal, lines elsewhere. None: the bar on a terminal, nothing elsewhere. False: nothing.
    stream : file, optional
        Default: standard error.
    every_s : float
        Seconds between lines.

    Yields
    ------
    object
        The items.

    Examples
    --------
    >>> import sys
    >>> for _ in track("ab", 2, "Letters", verbose=True, stream=sys.stdout, every_s=0):
    ...     pass  # doctest: +ELLIPSIS
    Letters: 1 of 2, about ... left
    Letters: all 2 after ...
    """
    stream = sys.stderr if stream is None else stream
    terminal = stream.isatty()
    if done >= total or verbose is False or (verbose is None and not terminal):
        yield from items
    elif terminal:
        from tqdm import tqdm

        yield from tqdm(items, total=total, initial=done, desc=what, unit=unit, file=stream, dynamic_ncols=True)
    else:
        yield from _with_lines(items, total, done, what, stream, every_s)


def _with_lines(items: Iterable[T], total: int, done: int, what: str, stream: TextIO, every_s: float) -> Iterator[T]:
    begin = last = time.monotonic()
    for new, item in enumerate(items, start=1):
        now, left = time.monotonic(), total - done - new
        if left and now - last >= every_s:
            last, left = now, (now - begin) / new * left
            print(f"{what}: {done + new} of {total}, about {duration(left)} left", file=stream, flush=True)
        yield item
    print(f"{what}: all {total} after {duration(time.monotonic() - begin)}", file=stream, flush=True)
