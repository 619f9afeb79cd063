"""Maps on disk: MRC in and out, with pixel size and place in space."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import mrcfile
import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import InputError, NonFiniteError
from ..io.atomic import atomic_path

_ISOTROPY = 0.01


@dataclass(frozen=True, eq=False)
class Map:
    """A map and where it is.

    Attributes
    ----------
    values
        (nz, ny, nx) float32, [z, y, x].
    pixel_size
        Å; 0 where the file does not say.
    origin
        x, y, z of the first voxel in Å.
    """

    values: NDArray[np.float32]
    pixel_size: float
    origin: tuple[float, float, float]


def centred_origin(box: int, pixel_size: float, centre: ArrayLike = (0.0, 0.0, 0.0)) -> tuple[float, float, float]:
    """Origin in Å of a map whose voxel box // 2 is at `centre` (x, y, z in Å)."""
    x, y, z = (float(value) - (box // 2) * pixel_size for value in np.asarray(centre, dtype=np.float64))
    return x, y, z


def read_map(path: str | os.PathLike[str], pixel_size: float | None = None) -> Map:
    """Read an MRC map in whatever order its axes are stored.

    Parameters
    ----------
    path
        The file.
    pixel_size
        Å; overrides that of the header.

    Raises
    ------
    InputError
        If the file is missing, no three-dimensional MRC map, or its voxels are not cubes.
    NonFiniteError
        If it holds NaN or infinity.
    """
    file = Path(path)
    if not file.is_file():
        raise InputError(f"{file}: no such file; give an MRC map")
    try:
        with mrcfile.open(file, mode="r", permissive=True) as opened:
            data, header = opened.data, opened.header
            if data is None or data.ndim != 3 or np.iscomplexobj(data):
                shape = "no data" if data is None else f"{data.dtype} of shape {data.shape}"
                raise InputError(f"{file}: found {shape}, expected a real three-dimensional map")
            order = [int(header.mapc), int(header.mapr), int(header.maps)]
            order = order if sorted(order) == [1, 2, 3] else [1, 2, 3]
            # axis a (1 = x) of the file is array axis 2 - order.index(a)
            values = np.transpose(np.asarray(data, dtype=np.float32), [2 - order.index(axis) for axis in (3, 2, 1)])
            sizes = [float(getattr(opened.voxel_size, axis)) for axis in "xyz"]
            start = [int(header[name]) for name in ("nxstart", "nystart", "nzstart")]
            start = [start[order.index(axis)] for axis in (1, 2, 3)]  # these follow the stored order
            origin = [float(getattr(header.origin, axis)) for axis in "xyz"]
    except (ValueError, OSError, EOFError) as error:
        raise InputError(f"{file}: cannot be read as an MRC map ({error}); give a .mrc or .map file") from None
    if not np.isfinite(values).all():
        raise NonFiniteError(f"{file}: holds NaN or infinite voxels, expected finite ones; make the map again")
    if pixel_size is not None:
        sizes = [pixel_size] * 3
    if max(sizes) > 0 and (max(sizes) - min(sizes)) > _ISOTROPY * max(sizes):
        shown = " x ".join(f"{size:.4g}" for size in sizes)
        raise InputError(f"{file}: found voxels of {shown} Å, expected cubes; resample the map, or give --pixel-size")
    if not any(origin) and any(start):
        origin = [number * size for number, size in zip(start, sizes, strict=True)]
    x, y, z = origin
    return Map(np.array(values, order="C"), float(np.mean(sizes)), (x, y, z))


def read_cube(path: str | os.PathLike[str], pixel_size: float | None = None) -> Map:
    """Read a map that must be a cube of known pixel size; raises like `read_map`."""
    found = read_map(path, pixel_size)
    if len(set(found.values.shape)) != 1:
        nz, ny, nx = found.values.shape
        raise InputError(f"{path}: found a map of {nx} x {ny} x {nz} voxels, expected a cube; crop or pad it")
    if not found.pixel_size > 0:
        raise InputError(f"{path}: its header has no pixel size; give --pixel-size")
    return found


def write_map(
    path: str | os.PathLike[str],
    values: ArrayLike,
    pixel_size: float,
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> None:
    """Write a map (nz, ny, nx) as float32 MRC, complete or not at all; the same map gives the same bytes.

    Parameters
    ----------
    path
        .mrc file.
    values
        [z, y, x].
    pixel_size
        Å.
    origin
        x, y, z of the first voxel in Å.
    """
    array = np.ascontiguousarray(np.asarray(values), dtype=np.float32)
    with atomic_path(path) as temporary, mrcfile.new(temporary, overwrite=True) as opened:
        opened.set_data(array)
        opened.set_volume()
        opened.voxel_size = pixel_size
        for axis, place in zip("xyz", origin, strict=True):
            setattr(opened.header.origin, axis, place)
        opened.header.label[:] = b""  # mrcfile writes the time here
        opened.header.label[0] = b"continuousflex_dl"
        opened.header.nlabl = 1
