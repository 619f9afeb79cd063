"""Blocks of work shared among the processes of a run: block b belongs to process b modulo their number."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np

from ..core.io.block_files import Arrays
from ..core.io.blocks import BlockStore
from ..core.progress import Progress
from .run import Run
from .stopping import asked_to_stop, stop_as_asked

_PAUSE_S = 0.3


def run_blocks(run: Run, store: BlockStore, work: Callable[[int, int], Arrays], progress: Progress) -> None:
    """Do the blocks of this process; the one that leads then waits for the others and does what lost ones have left.

    Parameters
    ----------
    run
        The run and its processes.
    store
        Where the blocks are kept; complete at the end in the process that leads.
    work
        See `BlockStore.run`.
    progress
        Told of the items that all processes have finished.

    Raises
    ------
    LostProcessError
        In another process, if the one that leads is lost: its work would be in vain.
    """
    from ..core.devices import one_core_each  # torch is slow to import

    # an exception out of the handler of a signal may come while a lock is taken, which then is never released
    with one_core_each(), asked_to_stop() as asked:

        def check() -> None:
            if asked:
                stop_as_asked(asked)

        if run.crew is None:
            store.run(work, threads=run.threads, progress=progress, check=check)
        else:
            shares = _Shares(run, store, work, progress, check)
            shares.do(range(run.place.rank, len(store), run.place.size))
            if run.place.leads:
                shares.finish()
        check()


class _Shares:
    """The share of one process, and the count of what all have done."""

    def __init__(
        self,
        run: Run,
        store: BlockStore,
        work: Callable[[int, int], Arrays],
        progress: Progress,
        check: Callable[[], None],
    ) -> None:
        if run.crew is None:
            raise ValueError("a process on its own has no share")
        self._run, self._crew, self._store, self._work, self._progress = run, run.crew, store, work, progress
        self._check = check
        self._before = store.total - store.items(store.missing())
        self._own = 0  # items finished by this process

    def do(self, blocks: Sequence[int]) -> None:
        """Do those of the blocks that are not done."""
        open_blocks = self._store.missing(blocks)
        begun = self._own

        def report(done: int, _total: int) -> None:
            self._own = begun + done
            self._crew.tell(done=self._own)
            self._show()

        self._store.run(self._work, threads=self._run.threads, progress=report, blocks=open_blocks, check=self._both)

    def _both(self) -> None:
        self._check()
        self._crew.check()

    def finish(self) -> None:
        """Wait until every other process has ended or is lost, and do what is missing of their blocks."""
        owner = np.arange(len(self._store)) % self._run.place.size
        over: set[int] = set()
        while len(over) < self._run.place.size - 1:
            time.sleep(_PAUSE_S)
            self._check()
            self._show()
            new = {rank: (sign, reason) for rank, sign, reason in self._crew.others() if reason and rank not in over}
            if not new:
                continue
            over |= set(new)
            self._store.refresh()
            left = self._store.missing(np.flatnonzero(np.isin(owner, list(new))).tolist())
            for rank, (sign, reason) in new.items():
                if reason != "ended":
                    who = f"process {rank}" if sign is None else str(sign)
                    self._run.say(f"{who} {reason}; what it has left is done here")
            self.do(left)

    def _show(self) -> None:
        if self._run.place.leads:
            done = self._before + self._own + self._crew.done_by_others()
            self._progress(min(done, self._store.total), self._store.total)
