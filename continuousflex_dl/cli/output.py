"""The output directory of a run: who may write into it, and what is left of a run that was refused."""

from __future__ import annotations

import shutil
from pathlib import Path

from ..core.errors import InputError
from ..core.io.lock import LOCK_NAME, FolderLock
from .crew import FOLDER as WORKERS_NAME

RECORD_NAME = "run.json"
CLAIM_NAME = ".cflex"  # says that the directory is ours before there is a record
_BESIDE = (LOCK_NAME, WORKERS_NAME)  # what a directory may hold and still be empty


class OutputFolder:
    """Output directory of one run.

    Parameters
    ----------
    path
        The directory; made if absent.
    overwrite
        Empty it, where cflex wrote what is in it.
    resume
        Continue with what is in it.
    """

    def __init__(self, path: Path, *, overwrite: bool = False, resume: bool = False) -> None:
        self.path, self._overwrite, self._resume = path, overwrite, resume
        self._lock: FolderLock | None = None
        self._created = False

    def refuse(self) -> None:
        """Raise InputError where the directory cannot be taken."""
        path = self.path
        if path.exists() and not path.is_dir():
            raise InputError(f"{path}: is a file, expected a directory; give another --output")
        if not self._entries():
            return
        if self._overwrite:
            if not (path / RECORD_NAME).exists() and not (path / CLAIM_NAME).exists():
                raise InputError(
                    f"{path}: was not written by cflex, so --overwrite does not empty it; "
                    "remove it yourself or give another --output"
                )
        elif not self._resume:
            raise InputError(
                f"{path}: is not empty; give --resume to continue, --overwrite to replace, or another --output"
            )

    def open(self) -> None:
        """Make, lock and empty the directory.

        Raises
        ------
        InputError
            Where it cannot be taken, or another run is working in it.
        """
        self.refuse()
        self._created = not self.path.exists()
        self.path.mkdir(parents=True, exist_ok=True)
        lock = FolderLock(self.path)
        lock.take()
        self._lock = lock
        try:
            self.refuse()  # another run may have ended in it since
            if self._overwrite:
                for entry in self._entries():
                    shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the directory; an empty one that this run made goes with it."""
        if self._lock is None:
            return
        self._lock.give_back()
        self._lock = None
        if self._created and self.path.is_dir() and not any(self.path.iterdir()):
            self.path.rmdir()

    def _entries(self) -> list[Path]:
        return [entry for entry in self.path.iterdir() if entry.name not in _BESIDE] if self.path.is_dir() else []
