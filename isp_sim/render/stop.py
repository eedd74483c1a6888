"""Stopping a run by a signal: what is being made is finished, what is done is kept."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)

Asked = Callable[[], bool]
"""Whether a worker is to stop."""


class Stopped(RuntimeError):
    """A run that was asked to stop, and has.

    Attributes
    ----------
    number
        The signal's.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        super().__init__("stopped; the same command goes on where it stopped")


class Stop:
    """Whether a signal asked the run to stop."""

    number: int | None = None

    def __call__(self) -> bool:
        return self.number is not None


@contextmanager
def on_signals() -> Iterator[Stop]:
    """Take SIGINT and SIGTERM as a wish to stop; the second of them interrupts at once.

    Outside the main thread, where Python handles no signals, nothing changes.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def ask(number: int, frame: FrameType | None) -> None:
        if stop():
            raise KeyboardInterrupt
        stop.number = number

    before = {number: signal.signal(number, ask) for number in SIGNALS}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
