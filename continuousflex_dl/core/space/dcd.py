"""Trajectories in the DCD format of CHARMM and NAMD, which all molecular viewers read."""

from __future__ import annotations

import os
import struct

import numpy as np
from numpy.typing import ArrayLike

from ..io.atomic import atomic_path

_TITLE = b"structures of a conformational space (continuousflex_dl)"
_CHARMM_VERSION = 24


def write_dcd(path: str | os.PathLike[str], frames: ArrayLike) -> None:
    """Write frames (F, N, 3) in Å, complete or not at all; without unit cell and without date.

    The file holds coordinates only: open it together with a structure of the same atoms.
    """
    array = np.asarray(frames, dtype="<f4")
    count, atoms = array.shape[:2]
    header = [0] * 20
    header[0] = count
    header[1], header[2] = 1, 1  # number of the first frame, steps between frames
    header[19] = _CHARMM_VERSION
    words = bytearray(struct.pack("<20i", *header))
    struct.pack_into("<f", words, 9 * 4, 1.0)  # time between frames has no meaning here, but 0 upsets some readers
    title = _TITLE.ljust(80)
    with atomic_path(path) as temporary, open(temporary, "wb") as stream:
        stream.write(_record(b"CORD" + bytes(words)))
        stream.write(_record(struct.pack("<i", 1) + title))
        stream.write(_record(struct.pack("<i", atoms)))
        for frame in array:
            for axis in range(3):
                stream.write(_record(np.ascontiguousarray(frame[:, axis]).tobytes()))


def _record(content: bytes) -> bytes:
    """A Fortran record: its length before and after it."""
    length = struct.pack("<i", len(content))
    return length + content + length
