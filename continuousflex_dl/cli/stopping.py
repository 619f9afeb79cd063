"""Stopping a long training at the next good moment, and what must be the same when it goes on."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from ..options.base import CommonOptions

# what a resumed run may have otherwise
_FREE = {
    "output", "threads", "resume", "overwrite", "verbose", "debug", "device", "epochs", "max_minutes", "patience"
}  # fmt: skip


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


def in_common(options: CommonOptions, *files: str) -> dict[str, Any]:
    """What a resumed training must have in common with the one before: its options, and the sizes of these files."""
    given = options.model_dump(mode="json")
    sizes = {f"size of {file}": Path(file).stat().st_size for file in files}
    return {name: value for name, value in given.items() if name not in _FREE} | sizes
