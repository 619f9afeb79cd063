"""A lock on a folder, so that two runs do not write into it at the same time."""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import socket
from pathlib import Path

from ..errors import InputError

logger = logging.getLogger(__name__)

LOCK_NAME = ".cflex-lock"
_CANNOT = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)


class FolderLock:
    """Holds a folder; the system lets go of it when the process ends, however it ends.

    Parameters
    ----------
    folder
        An existing folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._path = folder / LOCK_NAME
        self._descriptor = -1

    def take(self) -> None:
        """Take the lock.

        Raises
        ------
        InputError
            Where another process holds it; the message says which.
        """
        while True:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                holder = _holder(descriptor)
                os.close(descriptor)
                if error.errno in _CANNOT:
                    self._path.unlink(missing_ok=True)
                    logger.warning("%s: this file system has no locks; run only one cflex in it at a time", self.folder)
                    return
                if not isinstance(error, (BlockingIOError, PermissionError)):
                    raise
                raise InputError(
                    f"{self.folder}: another cflex{holder} is working in it; wait for its end, or give another --output"
                ) from None
            if _is_same(descriptor, self._path):
                break
            os.close(descriptor)  # its holder has just removed it
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps({"process": os.getpid(), "computer": socket.gethostname()}).encode(), 0)
        self._descriptor = descriptor

    def give_back(self) -> None:
        """Let go of the folder and remove what the lock left in it."""
        if self._descriptor >= 0:
            self._path.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = -1


def _holder(descriptor: int) -> str:
    try:
        said = json.loads(os.pread(descriptor, 1000, 0))
        return f" (process {said['process']} on {said['computer']})"
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _is_same(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
