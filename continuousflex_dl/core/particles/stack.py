"""The images of a particle table, read when they are asked for."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from continuousflex_dl.core.errors import InputError, NonFiniteError
from continuousflex_dl.core.io import mrc, xmipp
from continuousflex_dl.core.io.open_files import OpenFiles
from continuousflex_dl.core.io.particle_table import ParticleTable


class ImageStack:
    """Square images of one box size, from any number of files.

    Of MRC stacks only the images asked for are read; other formats go through Xmipp's bindings, image by image. Several
    threads may read at once, and the object can be sent to worker processes.

    Parameters
    ----------
    table
        The particles.

    Raises
    ------
    InputError
        Where a file is missing, too short, of an unsupported type, not square, or of another box than the others.
    MissingDependencyError
        For formats other than MRC without Xmipp's bindings.
    """

    def __init__(self, table: ParticleTable) -> None:
        self.table = table
        self._files = OpenFiles()  # re-opening a file for every image costs 30 % of a training epoch
        self._headers: dict[int, mrc.MrcHeader] = {}
        self._signs = table.sign
        self.box = self._check()

    def __len__(self) -> int:
        return len(self.table)

    def read(self, indices: ArrayLike) -> NDArray[np.float32]:
        """Read images.

        Parameters
        ----------
        indices
            (k,) particle indices, 0-based, in any order.

        Returns
        -------
        (k, box, box) float32, image[y, x], white particles.

        Raises
        ------
        NonFiniteError
            Where an image holds NaN or infinity.
        """
        wanted = np.atleast_1d(np.asarray(indices, dtype=np.int64))
        locations = self.table.locations
        stacks, sections = locations.stack_number[wanted], locations.stack_index[wanted]
        images = np.empty((len(wanted), self.box, self.box), dtype=np.float32)
        for number in np.unique(stacks).tolist():
            places = np.flatnonzero(stacks == number)
            if number in self._headers:
                images[places] = self._headers[number].read(sections[places], self._files(locations.stacks[number]))
            else:
                for place in places.tolist():
                    images[place] = self._read_with_xmipp(int(wanted[place]))
        images *= self._signs[wanted, None, None].astype(np.float32)
        finite = np.isfinite(images).all(axis=(1, 2))
        if not finite.all():
            row = int(wanted[np.argmin(finite)])
            raise NonFiniteError(
                f"{self._where(row)}: image {locations.stack_index[row] + 1} of {self.table.stack_path[row]} "
                "holds NaN or infinite pixels, expected finite ones; remove the particle from the file"
            )
        return images

    def _check(self) -> int:
        locations, box, first = self.table.locations, 0, ""
        last = locations.last_rows()
        for number, path in enumerate(locations.stacks):
            row = int(last[number])
            if row < 0:  # a subset may use none of a stack
                continue
            ny, nx = self._check_mrc(number, row) if mrc.is_mrc(path) else self._read_with_xmipp(row).shape[-2:]
            if nx != ny:
                raise InputError(f"{path}: found images of {nx} x {ny} px, expected square ones; crop or pad them")
            if box and nx != box:
                raise InputError(
                    f"{path}: found a box of {nx} px, but {first} has {box} px; "
                    "scale all images to one box, or give the particles of one box at a time"
                )
            box, first = nx, first or path
        return box

    def _check_mrc(self, number: int, row: int) -> tuple[int, int]:
        locations = self.table.locations
        self._headers[number] = header = mrc.read_header(locations.stacks[number])
        header.require_section(int(locations.stack_index[row]), self._where(row))
        unnumbered = (locations.stack_number == number) & ~locations.numbered if not locations.numbered.all() else None
        if header.sections > 1 and unnumbered is not None and unnumbered.any():
            raise InputError(
                f"{self._where(int(np.argmax(unnumbered)))}: {header.path} holds {header.sections} images, "
                "expected one; "
                "name an image as N@file"
            )
        return header.ny, header.nx

    def _read_with_xmipp(self, row: int) -> NDArray[np.float32]:
        locations, path = self.table.locations, self.table.stack_path[row]
        return xmipp.read_image(f"{locations.stack_index[row] + 1}@{path}" if locations.numbered[row] else path)

    def _where(self, row: int) -> str:
        return self.table.particles.where(row, "rlnImageName")
