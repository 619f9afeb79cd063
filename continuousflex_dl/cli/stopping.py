"""Stopping a long computation at the next good moment."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


@contextmanager
def asked_to_stop() -> Iterator[list[int]]:
    """A list that SIGTERM and the first Ctrl-C are noted in, for work that looks there and saves what it has."""
    asked: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        asked.append(number)
        signal.signal(number, before[number])  # whoever insists is obeyed at once

    before: dict[int, Any] = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def stop_as_asked(asked: list[int]) -> None:
    """End the program as the signal that was noted would have."""
    from .main import Terminated

    raise KeyboardInterrupt if signal.SIGINT in asked else Terminated
