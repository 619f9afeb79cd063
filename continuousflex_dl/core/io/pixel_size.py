"""The pixel size of particles: what the user gives, else the particle file, else the image headers."""

from __future__ import annotations

import logging
import os

import numpy as np
from numpy.typing import NDArray

from continuousflex_dl.core.errors import InputError
from continuousflex_dl.core.io import mrc
from continuousflex_dl.core.io.particle_table import ParticleTable
from continuousflex_dl.core.io.star import shortest
from continuousflex_dl.core.io.text_table import TextTable

logger = logging.getLogger(__name__)

_CONFLICT = 0.01  # relative difference of pixel sizes that is worth a warning


def settle_pixel_size(table: ParticleTable, given: float | None, check_images: bool) -> TextTable:
    """Give data_optics the column rlnImagePixelSize.

    Parameters
    ----------
    table
        Particles whose optics may lack the column.
    given
        Å; overrides everything.
    check_images
        Read the header of every stack: refuse images that are not there, and say where a header contradicts the file.

    Returns
    -------
    The optics table.

    Raises
    ------
    InputError
        Where there is no pixel size anywhere, or an image is missing.
    """
    headers = _headers(table) if check_images else {}
    if given is not None:
        if not (np.isfinite(given) and given > 0):
            raise InputError(f"pixel size: found {given}, expected a positive number of Å; correct --pixel-size")
        size = shortest(np.full(len(table.optics), float(given)))
        return table.optics.with_columns({"rlnImagePixelSize": size})
    stated = _stated_pixel_size(table)
    if stated is None:
        first = _first_of_groups(table.optics_group, len(table.optics))
        found = np.array(
            [_header_pixel_size(table.locations.stacks[table.locations.stack_number[row]]) for row in first]
        )
        if (found[first >= 0] <= 0).any() or (first < 0).all():
            raise InputError(
                f"{table.source}: found no pixel size in the file nor in the header of "
                f"{table.locations.stacks[0]}, expected _rlnImagePixelSize; give --pixel-size"
            )
        found[first < 0] = found[first >= 0][0]
        return table.optics.with_columns({"rlnImagePixelSize": shortest(np.round(found, 6))})
    _say_conflict(table, stated[table.optics_group], headers)
    if "rlnImagePixelSize" in table.optics:
        return table.optics
    return table.optics.with_columns({"rlnImagePixelSize": shortest(np.round(stated, 9))})


def _stated_pixel_size(table: ParticleTable) -> NDArray[np.float64] | None:
    """Pixel sizes (groups,) in Å from the file; None where it says nothing."""
    particles, optics = table.particles, table.optics
    if "rlnImagePixelSize" in optics:
        return optics.numbers("rlnImagePixelSize")
    values = next((particles.numbers(label) for label in ("rlnImagePixelSize",) if label in particles), None)
    if values is None and "rlnMagnification" in particles and "rlnDetectorPixelSize" in particles:
        magnification = particles.numbers("rlnMagnification")
        if (magnification <= 0).any():
            row = int(np.argmax(magnification <= 0))
            raise InputError(
                f"{particles.where(row, 'rlnMagnification')}: found {magnification[row]:g}, expected a "
                "positive number; give --pixel-size"
            )
        values = 1e4 * particles.numbers("rlnDetectorPixelSize") / magnification  # detector pixel in µm
    if values is None and "rlnPixelSize" in particles:
        values = particles.numbers("rlnPixelSize")
    if values is None:
        return None
    first = _first_of_groups(table.optics_group, len(optics))
    per_group = values[first]
    different = np.abs(values - per_group[table.optics_group]) > 1e-6 * np.abs(values)
    if different.any():
        row = int(np.argmax(different))
        raise InputError(
            f"{particles.source}: row {row + 1}: found pixel size {values[row]:g} Å, unlike others of its "
            "optics group; give each its own group"
        )
    return per_group


def _first_of_groups(group: NDArray[np.int64], groups: int) -> NDArray[np.int64]:
    """First particle of each group, -1 for a group without particles."""
    first = np.full(groups, -1, dtype=np.int64)
    present, index = np.unique(group, return_index=True)
    first[present] = index
    return first


def _headers(table: ParticleTable) -> dict[int, mrc.MrcHeader]:
    """Headers of all MRC stacks by stack number; refuses images that are not there."""
    locations, headers = table.locations, {}
    last = locations.last_rows()
    for number, path in enumerate(locations.stacks):
        if mrc.is_mrc(path) and last[number] >= 0:
            headers[number] = header = mrc.read_header(path)
            header.require_section(
                int(locations.stack_index[last[number]]), table.particles.where(int(last[number]), "rlnImageName")
            )
    return headers


def _header_pixel_size(path: str) -> float:
    return mrc.read_header(path).pixel_size if mrc.is_mrc(path) and os.path.isfile(path) else 0.0


def _say_conflict(table: ParticleTable, used: NDArray[np.float64], headers: dict[int, mrc.MrcHeader]) -> None:
    first = _first_of_groups(table.locations.stack_number, len(table.locations.stacks))
    for number, header in headers.items():
        stated = used[first[number]]
        if header.pixel_size > 0 and abs(header.pixel_size - stated) > _CONFLICT * stated:
            logger.warning(
                "%s: pixel size %.4f Å, but the header of %s says %.4f Å; using %.4f (give --pixel-size to change it)",
                table.source, stated, header.path, header.pixel_size, stated,
            )  # fmt: skip
            return
