"""Files that stay open for reading, by several threads at once."""

from __future__ import annotations

import os
from collections import OrderedDict
from threading import Lock


class OpenFile:
    """A file open for reading at any place; it is closed when nobody holds it any more."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._descriptor = os.open(path, os.O_RDONLY)

    def __del__(self) -> None:
        if hasattr(self, "_descriptor"):
            os.close(self._descriptor)

    def read(self, size: int, offset: int) -> bytes:
        """Give `size` bytes from `offset` on; fewer where the file ends before."""
        pieces = []
        while size > 0 and (piece := os.pread(self._descriptor, size, offset)):
            pieces.append(piece)
            size, offset = size - len(piece), offset + len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)


class OpenFiles:
    """The files that were read last.

    Parameters
    ----------
    most
        How many stay open.
    """

    def __init__(self, most: int = 64) -> None:
        self._most = most
        self._files: OrderedDict[str, OpenFile] = OrderedDict()
        self._lock = Lock()

    def __call__(self, path: str | os.PathLike[str]) -> OpenFile:
        """The file, open."""
        name = os.fspath(path)
        with self._lock:
            if name not in self._files:
                self._files[name] = OpenFile(name)
                if len(self._files) > self._most:  # whoever reads from it just now holds it
                    self._files.popitem(last=False)
            self._files.move_to_end(name)
            return self._files[name]

    def __getstate__(self) -> int:
        return self._most

    def __setstate__(self, most: int) -> None:
        self.__init__(most)  # type: ignore[misc]
