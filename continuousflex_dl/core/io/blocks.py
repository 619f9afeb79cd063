"""Work cut in fixed blocks of particle index, each saved as soon as it is done.

Whatever the number of threads, processes or restarts, a block holds the same particles and so the same result: the
files of a resumed run are those of an uninterrupted one, byte for byte.
"""

from __future__ import annotations

import json
import logging
import shutil
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from ..errors import InputError
from ..progress import Progress, silent
from .atomic import atomic_text
from .block_files import SUFFIX, Arrays, BlockFile, Record, decode, records
from .open_files import OpenFiles

logger = logging.getLogger(__name__)


class BlockStore:
    """A folder of finished blocks, tied to the settings that they were made with.

    Several processes may save blocks in one folder at the same time; each sees what the others have saved when it calls
    `refresh`. The same block saved twice is no harm: it holds the same.

    Parameters
    ----------
    folder
        Where the blocks are kept; made if absent.
    total, size
        Number of items and items per block.
    fingerprint
        Everything that changes the result. A store made with another one is refused.
    owner
        Number of this process among those of the run.
    """

    def __init__(self, folder: Path, total: int, size: int, fingerprint: dict[str, Any], owner: int = 0) -> None:
        self.folder, self.total, self.size, self._owner = folder, total, size, owner
        folder.mkdir(parents=True, exist_ok=True)
        record = folder / "settings.json"
        text = json.dumps({"total": total, "size": size, **fingerprint}, sort_keys=True, indent=1)
        if record.exists():
            _check_same(record, text)
        else:
            atomic_text(record, text)
        # a process of an earlier run that does not know yet that it is over must not write into the files of this one
        self._suffix = f"-{zlib.crc32(text.encode()):08x}{SUFFIX}"
        self._files: list[Path] = []
        self._read_to: list[int] = []  # byte of each file up to which its records are known
        self._place = np.full((len(self), 3), -1, dtype=np.int64)  # file, first byte and length of each block
        self._open = OpenFiles()
        self._own: BlockFile | None = None
        self._lock = Lock()
        self.refresh(skip_damaged=True)

    def __len__(self) -> int:
        return -(-self.total // self.size)

    def range(self, block: int) -> tuple[int, int]:
        """First item of a block, and the first one after it."""
        return block * self.size, min(self.total, (block + 1) * self.size)

    def refresh(self, *, skip_damaged: bool = False) -> None:
        """Take note of blocks that other processes have saved.

        Parameters
        ----------
        skip_damaged
            Look behind damaged blocks as well; for files that nobody is writing to.
        """
        for path in sorted(self.folder.glob("*" + self._suffix)):
            if self._own is not None and path == self._own.path:
                continue
            if path not in self._files:
                self._files.append(path)
                self._read_to.append(0)
            number = self._files.index(path)
            damaged = []
            for record in records(path, self._read_to[number], skip_damaged=skip_damaged):
                damaged += [self._read_to[number]] if record.head > self._read_to[number] else []
                self._note(number, record)
            if skip_damaged and self._read_to[number] < path.stat().st_size:
                damaged.append(self._read_to[number])
            if damaged:
                logger.warning(
                    "%s: an unfinished or damaged block at byte %d; what is missing is done again", path, damaged[0]
                )

    def missing(self, blocks: Sequence[int] | None = None) -> list[int]:
        """Those of the blocks (by default all) that nobody has saved."""
        chosen = np.arange(len(self)) if blocks is None else np.asarray(blocks, dtype=np.int64)
        return chosen[self._place[chosen, 0] < 0].tolist()

    def load(self, block: int) -> Arrays:
        """A finished block.

        Raises
        ------
        InputError
            If it is missing.
        """
        number, begin, length = self._place[block].tolist()
        if number < 0:
            raise InputError(
                f"{self.folder}: block {block} is missing ({len(self.missing())} in all); run again with --resume"
            )
        data = bytearray(self._open(self._files[number]).read(length, begin))
        if len(data) < length:
            raise OSError(f"{self._files[number]}: ends before block {block}, which was there a moment ago")
        return decode(data)

    def save(self, block: int, arrays: Arrays) -> None:
        """Keep a block, complete or not at all."""
        with self._lock:
            if self._own is None:
                self._own = BlockFile(self.folder, self._owner, self._suffix)
                self._files.append(self._own.path)
                self._read_to.append(0)
            self._note(self._files.index(self._own.path), self._own.append(block, arrays))

    def run(
        self,
        work: Callable[[int, int], Arrays],
        *,
        threads: int = 1,
        progress: Progress = silent,
        blocks: Sequence[int] | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        """Call ``work(first, last)`` for every block that is not done, on several threads.

        Parameters
        ----------
        work
            Gives the arrays of the items from `first` up to but not including `last`.
        threads
            That work side by side.
        progress
            Told of finished items, those of earlier runs included.
        blocks
            Only these; by default all.
        check
            Called twice a second; what it raises ends the work after the blocks in hand.
        """
        chosen = list(range(len(self))) if blocks is None else list(blocks)
        open_blocks = self.missing(chosen)
        total = self.items(chosen)
        done = total - self.items(open_blocks)
        progress(done, total)

        def one(block: int) -> int:
            first, last = self.range(block)
            self.save(block, work(first, last))
            return last - first

        queue = iter(open_blocks)
        pool = ThreadPoolExecutor(max_workers=max(1, threads))
        pending: set[Future[int]] = set()
        try:
            pending.update(pool.submit(one, block) for block in islice(queue, threads + 1))
            while pending:
                # a time-out lets signals through: a plain wait would hold them back until a block ends
                finished, pending = wait(pending, timeout=0.5, return_when=FIRST_COMPLETED)
                for future in finished:
                    done += future.result()
                    progress(done, total)
                    pending.update(pool.submit(one, block) for block in islice(queue, 1))
                check()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
            if self._own is not None:
                self._own.sync()

    def portions(self, items: int = 1) -> Iterator[tuple[int, int, Arrays]]:
        """Finished blocks in order, as many at a time as hold `items` items: first item, last (exclusive), arrays.

        Only one portion is in memory at a time, so that the blocks can be gone through as often as needed.

        Raises
        ------
        InputError
            If a block is missing.
        """
        step = max(1, -(-items // self.size))
        for first in range(0, len(self), step):
            numbers = range(first, min(first + step, len(self)))
            parts = [self.load(number) for number in numbers]
            arrays = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
            yield self.range(numbers[0])[0], self.range(numbers[-1])[1], arrays

    def remove(self) -> None:
        """Delete the folder."""
        if self._own is not None:
            self._own.close()
            self._own = None
        shutil.rmtree(self.folder, ignore_errors=True)

    def items(self, blocks: Sequence[int]) -> int:
        """Number of items in these blocks."""
        return sum(last - first for first, last in map(self.range, blocks))

    def _note(self, number: int, record: Record) -> None:
        self._read_to[number] = record.end
        if record.block < len(self) and self._place[record.block, 0] < 0:
            self._place[record.block] = number, record.begin, record.length


def _check_same(record: Path, text: str) -> None:
    old, new = json.loads(record.read_text(encoding="utf-8")), json.loads(text)
    for key in sorted(set(old) | set(new)):
        if old.get(key) != new.get(key):
            raise InputError(
                f"{record.parent}: was begun with {key} {old.get(key)!r}, found {new.get(key)!r} now; "
                "--resume needs the same options and input (or start over with --overwrite)"
            )
