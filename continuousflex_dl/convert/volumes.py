"""Scipion volumes as MRC maps, and maps as Scipion volumes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import mrcfile
from pwem.objects import Transform, Volume

from .images import ConversionError, read_stack

_MRC_SUFFIXES = (".mrc", ".map", ".ccp4")


def volume_path(volume: Volume) -> str:
    """File of a volume without Scipion's ``:mrc`` at its end.

    Raises
    ------
    ConversionError
        If the file is not there.
    """
    path = str(volume.getFileName() or "").removesuffix(":mrc")
    if not path or not os.path.exists(path):
        raise ConversionError(f"The file of the volume is not there: {path or 'no name'}")
    return path


def prepare_volume(volume: Volume, target: str | os.PathLike[str]) -> str:
    """Give a volume to a command as an MRC map.

    The file itself where it is MRC and Scipion has no origin of its own for it; else a copy at `target` (.mrc), with
    the origin that Scipion has.

    Raises
    ------
    ConversionError
        If the file is missing or cannot be read.
    """
    path = volume_path(volume)
    is_mrc = Path(path).suffix.lower() in _MRC_SUFFIXES
    if is_mrc and not volume.hasOrigin():
        return path
    Path(target).parent.mkdir(parents=True, exist_ok=True)
    partial = Path(target).with_name("." + Path(target).name)
    if is_mrc:
        shutil.copyfile(path, partial)
        partial.chmod(0o644)
    else:
        with mrcfile.new(partial, overwrite=True) as opened:
            opened.set_data(read_stack(path))
            opened.set_volume()
            opened.voxel_size = float(volume.getSamplingRate())
    with mrcfile.open(partial, mode="r+", permissive=True) as opened:
        for name in ("nxstart", "nystart", "nzstart"):
            opened.header[name] = 0
        for axis, place in zip("xyz", volume.getShiftsFromOrigin(), strict=True):
            setattr(opened.header.origin, axis, place)
    os.replace(partial, target)
    return os.fspath(target)


def new_volume(path: str, pixel_size: float, origin: Sequence[float]) -> Volume:
    """Make the Scipion volume of a map, with pixel size in Å and the place of its first voxel (x, y, z) in Å."""
    volume = Volume(location=path)
    volume.setSamplingRate(pixel_size)
    transform = Transform()
    transform.setShifts(*(float(value) for value in origin))
    volume.setOrigin(transform)
    return volume
