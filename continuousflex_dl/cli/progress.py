"""Progress on stderr: a bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from typing import Any


class ProgressBar:
    """tqdm bar on a terminal.

    Parameters
    ----------
    label
        What is going on.
    unit
        What is counted.
    """

    def __init__(self, label: str, unit: str) -> None:
        self._label, self._unit = label, unit
        self._bar: Any = None

    def __call__(self, done: int, total: int) -> None:
        """Show how many of how many are done."""
        from tqdm import tqdm

        if self._bar is None:
            self._bar = tqdm(total=total, desc=self._label, unit=self._unit, file=sys.stderr)
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        """Leave the bar as it is."""
        if self._bar is not None:
            self._bar.close()


class ProgressLines:
    """A plain line now and then, for log files; parameters as those of `ProgressBar`."""

    def __init__(self, label: str, unit: str) -> None:
        self._label, self._unit = label, unit
        self._last = self._start = time.monotonic()
        self._ended = False

    def __call__(self, done: int, total: int) -> None:
        """Show how many of how many are done, if there was no line lately."""
        now = time.monotonic()
        if self._ended or (done < total and now - self._last < 10):
            return
        self._last, self._ended = now, done >= total
        left = (now - self._start) * (total - done) / max(done, 1)
        print(
            f"cflex: {self._label}: {done}/{total} {self._unit}, {now - self._start:.0f} s, {left:.0f} s left",
            file=sys.stderr,
            flush=True,
        )

    def close(self) -> None:
        """Nothing to close."""
