"""MRC headers and sections, and a writer of image stacks (MRC2014; Cheng et al., J. Struct. Biol. 192, 146, 2015).

`mrcfile` reads whole maps well. Particles come in thousands of stacks, of which only the first kilobyte is read at
first, and whose headers are trusted only as far as the file is long.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from mrcfile.dtypes import HEADER_DTYPE
from numpy.typing import ArrayLike, NDArray

from continuousflex_dl.core.errors import InputError
from continuousflex_dl.core.io.atomic import atomic_path
from continuousflex_dl.core.io.open_files import OpenFile

MRC_SUFFIXES = (".mrc", ".mrcs", ".map", ".st", ".rec", ".ali", ".ccp4")
_HEADER_BYTES = 1024
_MODES = {0: "i1", 1: "i2", 2: "f4", 6: "u2", 12: "f2"}


@dataclass(frozen=True)
class MrcHeader:
    """What an MRC file holds.

    Parameters
    ----------
    path
        The file.
    nx, ny
        Size of a section, px.
    sections
        Number of sections that the header states.
    stored
        Number of whole sections that are in the file.
    dtype
        Type of a pixel, with byte order.
    offset
        Where the first pixel is, bytes.
    pixel_size
        Å, 0 where the header does not say.
    """

    path: Path
    nx: int
    ny: int
    sections: int
    stored: int
    dtype: np.dtype
    offset: int
    pixel_size: float

    def read(self, indices: ArrayLike, file: OpenFile) -> NDArray:
        """Read sections.

        A memory map would do the same, but counts what was ever read of a stack as memory of the process.

        Parameters
        ----------
        indices
            (k,) sections, 0-based, in any order.
        file
            The file, open.

        Returns
        -------
        (k, ny, nx), of the type in the file.

        Raises
        ------
        InputError
            Where the file ends too early.
        """
        wanted = np.asarray(indices, dtype=np.int64).reshape(-1)
        images = np.empty((len(wanted), self.ny, self.nx), dtype=self.dtype)
        size = self.nx * self.ny * self.dtype.itemsize
        breaks = np.flatnonzero(np.diff(wanted) != 1) + 1  # neighbours on disk are read at once
        for run in np.split(np.arange(len(wanted)), breaks) if len(wanted) else ():
            data = file.read(size * len(run), self.offset + int(wanted[run[0]]) * size)
            if len(data) < size * len(run):
                raise InputError(f"{self.path}: ends before image {wanted[run[-1]] + 1}; copy it again")
            images[run] = np.frombuffer(data, dtype=self.dtype).reshape(-1, self.ny, self.nx)
        return images

    def require_section(self, index: int, where: str) -> None:
        """Refuse a 0-based section that is not there; `where` names file, row and column of the reference to it."""
        if index >= self.sections:
            raise InputError(
                f"{where}: asks for image {index + 1}, but the header of {self.path} says {self.sections} "
                "images; give the stack that belongs to this file"
            )
        if index >= self.stored:
            raise InputError(
                f"{where}: asks for image {index + 1}, but {self.path} is cut off: {self.stored} of "
                f"{self.sections} images are there; copy it again"
            )


def is_mrc(path: str | os.PathLike[str]) -> bool:
    """Whether the name says MRC."""
    return Path(path).suffix.lower() in MRC_SUFFIXES


def read_header(path: str | os.PathLike[str]) -> MrcHeader:
    """Read the header of an MRC file.

    Raises
    ------
    InputError
        For a file that cannot be read, is no MRC file or has pixels of an unsupported type.
    """
    path = Path(path)
    try:
        with open(path, "rb") as stream:
            head = stream.read(_HEADER_BYTES)
            size = os.fstat(stream.fileno()).st_size
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); give an existing MRC file") from None
    if len(head) < _HEADER_BYTES:
        raise InputError(
            f"{path}: found {len(head)} bytes, expected an MRC header of 1024; the file is empty or cut off"
        )
    little = np.frombuffer(head, dtype=HEADER_DTYPE.newbyteorder("<"))[0]
    plausible = 0 <= int(little["mode"]) < 1 << 16 and 0 < int(little["nx"]) < 1 << 20
    order = "<" if plausible else ">"  # the machine stamp is missing in many files
    header = little if order == "<" else np.frombuffer(head, dtype=HEADER_DTYPE.newbyteorder(">"))[0]
    nx, ny, nz, mode, extended = (int(header[name]) for name in ("nx", "ny", "nz", "mode", "nsymbt"))
    if min(nx, ny, nz) < 1 or max(nx, ny) > 1 << 20 or extended < 0:
        raise InputError(
            f"{path}: found a header with size {nx} x {ny} x {nz}, expected an MRC file; it may be of "
            "another format or damaged"
        )
    if mode not in _MODES:
        raise InputError(
            f"{path}: found MRC mode {mode}, expected one of 0 (int8), 1 (int16), 2 (float32), 6 (uint16), "
            "12 (float16); convert it to float32"
        )
    dtype = np.dtype(order + _MODES[mode])
    offset = _HEADER_BYTES + extended
    cell, cells = float(header["cella"]["x"]), int(header["mx"])
    pixel_size = cell / cells if cells > 0 and np.isfinite(cell) and cell > 0 else 0.0
    return MrcHeader(path, nx, ny, nz, max(size - offset, 0) // (nx * ny * dtype.itemsize), dtype, offset, pixel_size)


class StackWriter:
    """Takes images for an MRC stack, block after block."""

    def __init__(self, stream: BinaryIO, n: int, box: int) -> None:
        self._stream = stream
        self._n = n
        self._box = box
        self._means: list[NDArray[np.float64]] = []  # per image, so that the statistics do not depend on the blocks
        self._squares: list[NDArray[np.float64]] = []
        self._low, self._high = np.inf, -np.inf
        self.written = 0

    def append(self, images: ArrayLike) -> None:
        """Write images (k, box, box), or one of (box, box), as float32."""
        block = np.ascontiguousarray(np.asarray(images), dtype="<f4")
        block = block[None] if block.ndim == 2 else block
        if block.shape[1:] != (self._box, self._box) or self.written + len(block) > self._n:
            raise ValueError(
                f"images of shape {block.shape} do not fit: {self._n - self.written} images of box "
                f"{self._box} are expected"
            )
        if not len(block):
            return
        self._stream.write(block.tobytes())
        self._means.append(block.mean(axis=(1, 2), dtype=np.float64))
        self._squares.append(np.square(block, dtype=np.float64).mean(axis=(1, 2)))
        self._low, self._high = min(self._low, float(block.min())), max(self._high, float(block.max()))
        self.written += len(block)

    def statistics(self) -> dict[str, float]:
        """Header fields dmin, dmax, dmean, rms."""
        mean = float(np.concatenate(self._means).mean())
        variance = float(np.concatenate(self._squares).mean()) - mean**2
        return {"dmin": self._low, "dmax": self._high, "dmean": mean, "rms": max(variance, 0.0) ** 0.5}


@contextmanager
def write_stack(path: str | os.PathLike[str], n: int, box: int, pixel_size: float) -> Iterator[StackWriter]:
    """Write a stack of `n` images as it is made; the file appears when all are there, or not at all.

    Parameters
    ----------
    path
        .mrcs file.
    n
        Number of images.
    box
        Size of the square images, px.
    pixel_size
        Å.

    Raises
    ------
    ValueError
        Where more, fewer or other images than announced are appended.
    """
    with atomic_path(path) as temporary, open(temporary, "wb") as stream:
        stream.write(bytes(_HEADER_BYTES))
        writer = StackWriter(stream, n, box)
        yield writer
        if writer.written != n:
            raise ValueError(f"{path}: {writer.written} images were written, {n} were announced")
        stream.seek(0)
        stream.write(_stack_header(n, box, pixel_size, writer.statistics()).tobytes())


def _stack_header(n: int, box: int, pixel_size: float, statistics: dict[str, float]) -> NDArray:
    header = np.zeros(1, dtype=HEADER_DTYPE.newbyteorder("<"))
    head = header[0]
    head["nx"] = head["ny"] = head["mx"] = head["my"] = box
    head["nz"], head["mz"], head["mode"], head["ispg"] = n, 1, 2, 0  # space group 0 and mz 1: images, not a volume
    head["cella"] = (box * pixel_size, box * pixel_size, pixel_size)
    head["cellb"] = (90.0, 90.0, 90.0)
    head["mapc"], head["mapr"], head["maps"] = 1, 2, 3
    head["nversion"], head["map"], head["machst"] = 20141, b"MAP ", (0x44, 0x44, 0, 0)
    for name, value in statistics.items():
        head[name] = value
    head["nlabl"] = 1
    head["label"][0] = b"continuousflex_dl"
    return header
