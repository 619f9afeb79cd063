"""Files that finished blocks of work are appended to.

Every process writes files of its own, so that nobody waits for a lock, and a million particles do not become thousands
of small files. A record is a head (magic, block, length, two checksums) and the arrays of one block. What a kill leaves
at the end of a file is no whole record and is passed over; later writers begin a new file.
"""

from __future__ import annotations

import json
import os
import struct
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]

SUFFIX = ".blocks"
_MAGIC = b"CFLEXBK1"
_HEAD = struct.Struct("<8sQQI")  # magic, block, bytes of the arrays, their checksum
_CHECK = struct.Struct("<I")  # checksum of the head
_HEAD_BYTES = _HEAD.size + _CHECK.size
_ALIGN = 16
_SYNC_S = 5.0  # at most this much work is lost when the computer, not only the program, dies


@dataclass(frozen=True)
class Record:
    """A whole record of a file.

    Parameters
    ----------
    block
        Number of the block.
    begin, length
        Where its arrays are in the file, bytes.
    """

    block: int
    begin: int
    length: int

    @property
    def head(self) -> int:
        """First byte of the record."""
        return self.begin - _HEAD_BYTES

    @property
    def end(self) -> int:
        """First byte after the record."""
        return self.begin + self.length


class BlockFile:
    """One file that this process appends to.

    Parameters
    ----------
    folder
        Where the file is made, under a name that no file has yet.
    owner
        Number of the process among those of a run; part of the name.
    suffix
        How the name ends.
    """

    def __init__(self, folder: Path, owner: int, suffix: str = SUFFIX) -> None:
        self.path, self._descriptor = _new_file(folder, owner, suffix)
        self._end = 0
        self._synced = time.monotonic()

    def append(self, block: int, arrays: Arrays) -> Record:
        """Add a block; after an error (a full disk) the file ends where it ended before."""
        data = encode(arrays)
        head = _HEAD.pack(_MAGIC, block, len(data), zlib.crc32(data))
        begin, left = self._end, memoryview(head + _CHECK.pack(zlib.crc32(head)) + data)
        try:
            while left:
                left = left[os.pwrite(self._descriptor, left, self._end) :]
                self._end = begin + _HEAD_BYTES + len(data) - len(left)
        except BaseException:
            self._end = begin
            os.ftruncate(self._descriptor, begin)
            raise
        if time.monotonic() - self._synced > _SYNC_S:
            self.sync()
        return Record(block, begin + _HEAD_BYTES, len(data))

    def sync(self) -> None:
        """Have everything on the disk."""
        os.fsync(self._descriptor)
        self._synced = time.monotonic()

    def close(self) -> None:
        """Sync and close."""
        if self._descriptor >= 0:
            self.sync()
            os.close(self._descriptor)
            self._descriptor = -1


def records(path: Path, begin: int = 0, *, skip_damaged: bool) -> Iterator[Record]:
    """Whole records of a file from byte `begin` on, each with the right checksum.

    Parameters
    ----------
    path
        The file; another process may be appending to it.
    begin
        Where a record begins.
    skip_damaged
        Pass over a record whose arrays are damaged. Otherwise stop there: on a network file system the arrays of a
        record that is just being written may arrive after its head.
    """
    with open(path, "rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        while begin + _HEAD_BYTES <= size:
            stream.seek(begin)
            head = stream.read(_HEAD_BYTES)
            if len(head) < _HEAD_BYTES or _CHECK.unpack(head[_HEAD.size :])[0] != zlib.crc32(head[: _HEAD.size]):
                return
            magic, block, length, checksum = _HEAD.unpack(head[: _HEAD.size])
            record = Record(block, begin + _HEAD_BYTES, length)
            if magic != _MAGIC or record.end > size:
                return
            if zlib.crc32(stream.read(length)) == checksum:
                yield record
            elif not skip_damaged:
                return
            begin = record.end


def encode(arrays: Arrays) -> bytes:
    """Bytes of named arrays of numbers or text: a description in JSON, then each array as it is in memory."""
    whole = {name: np.asarray(array) for name, array in arrays.items()}  # ascontiguousarray would make (1,) of ()
    for name, array in whole.items():
        if array.dtype.hasobject:
            raise TypeError(f"{name}: an array of Python objects cannot be kept")
    about = json.dumps({name: [array.dtype.str, array.shape] for name, array in whole.items()}).encode()
    pieces = [_CHECK.pack(len(about)) + about, *(array.tobytes() for array in whole.values())]
    return b"".join(piece + bytes(-len(piece) % _ALIGN) for piece in pieces)


def decode(data: bytearray) -> Arrays:
    """The inverse of `encode`; the arrays share the memory of `data`."""
    at = _CHECK.size + _CHECK.unpack_from(data)[0]
    arrays: Arrays = {}
    for name, (kind, shape) in json.loads(data[_CHECK.size : at]).items():
        at += -at % _ALIGN
        dtype, count = np.dtype(kind), int(np.prod(shape, dtype=np.int64))
        arrays[name] = np.frombuffer(data, dtype, count, at).reshape(shape) if count else np.empty(shape, dtype)
        at += count * dtype.itemsize
    return arrays


def _new_file(folder: Path, owner: int, suffix: str) -> tuple[Path, int]:
    number = 0
    while True:
        path = folder / f"{owner:05d}-{number:03d}{suffix}"
        try:
            return path, os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        except FileExistsError:
            number += 1
