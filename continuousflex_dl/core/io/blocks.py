"""Work cut in fixed blocks of particle index, each saved as soon as it is done.

Whatever the number of threads, shards or restarts, a block holds the same particles and so the same result: the files
of a resumed run are those of an uninterrupted one, byte for byte.
"""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..progress import Progress, silent
from .atomic import atomic_path, atomic_text

Arrays = dict[str, NDArray[Any]]


class BlockStore:
    """A folder of finished blocks, tied to the settings that they were made with.

    Parameters
    ----------
    folder
        Where the blocks are kept; made if absent.
    total, size
        Number of items and items per block.
    fingerprint
        Everything that changes the result. A store made with another one is refused.
    """

    def __init__(self, folder: Path, total: int, size: int, fingerprint: dict[str, Any]) -> None:
        self.folder, self.total, self.size = folder, total, size
        folder.mkdir(parents=True, exist_ok=True)
        record = folder / "settings.json"
        text = json.dumps({"total": total, "size": size, **fingerprint}, sort_keys=True, indent=1)
        if record.exists():
            _check_same(record, text)
        else:
            atomic_text(record, text)

    def __len__(self) -> int:
        return -(-self.total // self.size)

    def range(self, block: int) -> tuple[int, int]:
        """First item of a block, and the first one after it."""
        return block * self.size, min(self.total, (block + 1) * self.size)

    def _path(self, block: int) -> Path:
        return self.folder / f"block_{block:07d}.npz"

    def load(self, block: int) -> Arrays | None:
        """A finished block, or None where it is not done (or was damaged, and must be done again)."""
        path = self._path(block)
        if not path.exists():
            return None
        try:
            with np.load(path, allow_pickle=False) as archive:
                return {key: archive[key] for key in archive.files}
        except (ValueError, OSError, zipfile.BadZipFile, EOFError):
            path.unlink()
            return None

    def save(self, block: int, arrays: Arrays) -> None:
        """Keep a block, complete or not at all."""
        with atomic_path(self._path(block)) as temporary:
            np.savez(temporary, **arrays)

    def run(self, work: Callable[[int, int], Arrays], *, threads: int = 1, progress: Progress = silent) -> None:
        """Call ``work(first, last)`` for every block that is not done, on several threads."""
        open_blocks = [block for block in range(len(self)) if self.load(block) is None]
        done = self.total - sum(self.range(block)[1] - self.range(block)[0] for block in open_blocks)
        progress(done, self.total)

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
                    progress(done, self.total)
                    pending.update(pool.submit(one, block) for block in islice(queue, 1))
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def collect(self) -> Arrays:
        """All blocks as one set of arrays, in the order of the items.

        Raises
        ------
        InputError
            If a block is missing.
        """
        blocks = [self.load(block) for block in range(len(self))]
        missing = [number for number, block in enumerate(blocks) if block is None]
        if missing:
            raise InputError(
                f"{self.folder}: block {missing[0]} is missing ({len(missing)} in all); run again with --resume"
            )
        present = [block for block in blocks if block is not None]
        return {key: np.concatenate([block[key] for block in present]) for key in present[0]}

    def remove(self) -> None:
        """Delete the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _check_same(record: Path, text: str) -> None:
    old, new = json.loads(record.read_text(encoding="utf-8")), json.loads(text)
    for key in sorted(set(old) | set(new)):
        if old.get(key) != new.get(key):
            raise InputError(
                f"{record.parent}: was begun with {key} {old.get(key)!r}, found {new.get(key)!r} now; "
                "--resume needs the same options and input (or start over with --overwrite)"
            )
