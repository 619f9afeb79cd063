"""Image files of a particle set: named relative to a STAR file, converted to MRC where they have another format."""

from __future__ import annotations

import os
from pathlib import Path

import mrcfile
import numpy as np
from numpy.typing import NDArray

MRC_SUFFIXES = (".mrcs", ".mrc")


class ConversionError(ValueError):
    """A Scipion object cannot be written as plain files; the message says what to do."""


class ImageNames:
    """Gives the STAR name of one image after the other.

    Parameters
    ----------
    star_folder
        Folder of the STAR file; names are relative to it.
    pixel_size
        Å, for the header of converted stacks.

    Notes
    -----
    Stacks in MRC format stay where they are. Any other format is read through pwem and written, once per file, as
    ``converted/stack_<n>.mrcs`` in the STAR's folder.
    """

    def __init__(self, star_folder: str | os.PathLike[str], pixel_size: float) -> None:
        self._folder = Path(os.path.realpath(star_folder))
        self._pixel_size = pixel_size
        self._names: dict[str, tuple[str, bool]] = {}

    def name(self, location: tuple[int, str]) -> str:
        """STAR name of the image at pwem's ``(index, file)``; index 0 says that the file holds one image."""
        index, file_name = location
        if not file_name:
            raise ConversionError("an image has no file name; import the particles again")
        if file_name not in self._names:
            self._names[file_name] = self._resolve(file_name)
        name, stacked = self._names[file_name]
        return f"{max(int(index or 0), 1):06d}@{name}" if index or stacked else name

    def _resolve(self, file_name: str) -> tuple[str, bool]:
        path = os.path.abspath(file_name)
        if not os.path.exists(path):
            raise ConversionError(f"{file_name}: no such image file; the particles' images were moved or deleted")
        if Path(path).suffix.lower() in MRC_SUFFIXES:
            # '..' climbs from the real folder of the STAR, so the folder of the images has to be the real one as well
            real = os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
            return os.path.relpath(real, self._folder), False
        return self._convert(path), True

    def _convert(self, path: str) -> str:
        relative = f"converted/stack_{sum(stacked for _, stacked in self._names.values()) + 1:04d}.mrcs"
        target = self._folder / relative
        target.parent.mkdir(parents=True, exist_ok=True)
        images = read_stack(path)
        partial = target.with_name("." + target.name)
        with mrcfile.new(partial, overwrite=True) as stack:
            stack.set_data(images)
            stack.set_image_stack()
            stack.voxel_size = self._pixel_size
        os.replace(partial, target)
        return relative


def read_stack(path: str) -> NDArray[np.float32]:
    """Read all images of a file that is not MRC, shape (n, ny, nx), through pwem's readers.

    Raises
    ------
    ConversionError
        If no reader takes the file.
    """
    from pwem.emlib.image.image_readers import ImageReadersRegistry

    try:
        _, _, _, count = ImageReadersRegistry.getReader(path).getDimensions(path)
        names = [f"{index}@{path}" for index in range(1, int(count) + 1)] if count > 1 else [path]
        images = [np.asarray(ImageReadersRegistry.open(name).getImage(), dtype=np.float32) for name in names]
        return np.stack([image.reshape(image.shape[-2:]) for image in images])
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise ConversionError(f"{path}: the images cannot be read ({reason}); convert the stack to .mrcs") from error
