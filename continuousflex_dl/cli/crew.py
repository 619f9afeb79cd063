"""The processes of one run, and what they know of each other.

Each gives a sign of life into the output directory every few seconds (see `signs`). Nothing else connects them, so that
any launcher will do, and a process that dies takes nobody with it. Process 0 leads: it prepares the output directory,
measures what all need, and writes the result; the others do their share of the blocks.
"""

from __future__ import annotations

import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ..core.distributed import SWITCH, Place
from ..core.errors import InputError
from .signs import Sign, SignBoard

FOLDER = ".cflex-workers"
PATIENCE = "CFLEX_PATIENCE"  # environment variable: seconds without a sign after which a process is lost
_PATIENCE_S = 120.0  # network file systems may show a file a minute late
_BEAT_S = 2.0
_STUCK = 20  # times the patience: a process that lives but finishes nothing; what it does later is no harm


class LostProcessError(Exception):
    """The leader of a run failed, or gives no sign any more."""


class Crew:
    """One process among those of its run: the one that makes this object.

    Parameters
    ----------
    place
        Which one it is.
    output
        Output directory of the run.
    """

    def __init__(self, place: Place, output: Path) -> None:
        self.place, self.output, self.patience = place, output, _patience()
        self._board = SignBoard(output / FOLDER, Sign.of_this_process(place.rank, place.job), self.patience)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._over = False

    # Beginning and end

    def lead(self) -> None:
        """Begin as the leader; signs of earlier runs are removed."""
        shutil.rmtree(self._board.folder, ignore_errors=True)
        self._board.folder.mkdir()
        self._begin(self._board.own.token)

    def join(self, refuse: Callable[[], None], resume: bool = False) -> None:
        """Wait for the leader of this run, and begin; or find that the run is over already.

        Parameters
        ----------
        refuse
            Raises where the leader must have refused the output directory.
        resume
            A run record means that there is nothing left to do.

        Raises
        ------
        LostProcessError
            If there is no leader.
        InputError
            If another run is going on in the output directory, or `refuse` says so.
        """
        said = False
        while True:
            self._board.look(0)
            leader, waited = self._board.sign(0), time.monotonic() - self._board.since
            if leader is not None and not leader.over and self._board.lives(0):
                if leader.job != self.place.job:
                    raise InputError(f"{self.output}: another cflex is working in it; give another --output")
                self._begin(leader.token)
                return
            if waited > self.patience / 6 and leader is not None and leader.job == self.place.job != "":
                self._raise_failure(leader)  # earlier it may be that of another try, and about to be removed
            if waited > self.patience / 4:
                refuse()
            if resume and waited > 1 and (self.output / "run.json").exists():
                self._over = True
                return
            if waited > 5 and not said:
                said = True
                print(
                    f"cflex: {self.place} waits for process 0 to open {self.output} "
                    f"({SWITCH}=none for processes that have nothing to do with each other)",
                    file=sys.stderr, flush=True,
                )  # fmt: skip
            if waited > 10 * self.patience:
                raise LostProcessError(f"no sign of process 0 in {self.output} for {waited:.0f} s; see its messages")
            time.sleep(0.1)

    def close(self, stage: str, message: str = "", **figures: Any) -> None:
        """End: ``ended``, or ``failed`` with a message. A leader that ended removes the signs of all."""
        if self._thread is None:
            return
        self._stop.set()
        self._thread.join()
        self._thread = None
        if self.place.leads and stage == "ended":
            shutil.rmtree(self._board.folder, ignore_errors=True)
        else:
            self.announce(stage=stage, message=message[:500], figures=figures)

    # While it works

    def tell(self, **news: Any) -> None:
        """Change what the next sign says, for example how many particles are `done`."""
        self._board.change(**news)

    def announce(self, **news: Any) -> None:
        """Change the sign and give it at once."""
        self._board.change(**news)
        self._board.write()

    def wait_until_ready(self) -> bool:
        """Wait for the leader to be ready; False where the run ended without the others.

        Raises
        ------
        LostProcessError
            If the leader failed or is lost.
        """
        while not self._over:
            self.check()
            leader = self._board.sign(0)
            if leader is not None and leader.stage == "ready":
                return True
            time.sleep(0.1)
        return False

    def check(self) -> None:
        """Raise LostProcessError where the leader failed, is lost, or has gone."""
        leader = self._board.sign(0)
        if self.place.leads or self._over or leader is None:
            return
        self._raise_failure(leader)
        if not self._board.folder.exists():  # the leader removes it at the end, and whoever removes the output
            self._over = (self.output / "run.json").exists()
            if not self._over:
                raise LostProcessError(f"{self.output} was removed")
        elif reason := self._board.lost(0):
            self._board.look(0)  # its last words may be newer than what was read before
            self._raise_failure(self._board.sign(0) or leader)
            raise LostProcessError(f"{leader} {reason}; --resume continues")

    def others(self) -> Iterator[tuple[int, Sign | None, str]]:
        """Every other process: rank, last sign if there was one, and why it will do no more (empty if it will)."""
        for rank in range(self.place.size):
            if rank != self.place.rank:
                sign, lost = self._board.sign(rank), self._board.lost(rank)
                if lost and not (sign is not None and sign.over):
                    self._board.look(rank)  # its last words may be newer than what was read before
                    sign = self._board.sign(rank)
                if sign is None or not sign.over:
                    yield rank, sign, lost or self._board.stuck(rank, _STUCK * self.patience)
                else:
                    yield rank, sign, "ended" if sign.stage == "ended" else f"failed: {sign.message}"

    def done_by_others(self) -> int:
        """Particles that the other processes have finished."""
        return sum(sign.done for _, sign, _ in self.others() if sign is not None)

    def _begin(self, crew: str) -> None:
        self._board.change(crew=crew)
        self._board.since = time.monotonic()
        self._board.write(new=True)
        self._thread = threading.Thread(target=self._beat, name="cflex-beat", daemon=True)
        self._thread.start()

    def _beat(self) -> None:
        watched = [rank for rank in range(self.place.size) if rank != self.place.rank] if self.place.leads else [0]
        pause = min(_BEAT_S + 0.01 * len(watched), self.patience / 8)
        while not self._stop.wait(pause):
            self._board.write()
            for rank in watched:
                self._board.look(rank)

    def _raise_failure(self, leader: Sign) -> None:
        if leader.stage == "failed":
            raise LostProcessError(f"{leader} failed: {leader.message}")


def _patience() -> float:
    text = os.environ.get(PATIENCE, "")
    try:
        seconds = float(text) if text else _PATIENCE_S
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 1e6:
        raise InputError(f"{PATIENCE}={text}: expected a number of seconds; correct or unset it")
    return seconds
