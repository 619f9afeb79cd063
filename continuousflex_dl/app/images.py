"""Pictures of single particles, and of what the model says that they look like."""

from __future__ import annotations

import io
import threading
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..core.errors import InputError

if TYPE_CHECKING:
    from ..core.particles.stack import ImageStack
    from .dataset import Dataset

SHOWN_PX, _CLIP_SIGMA = 96, 3.0


class ParticlePictures:
    """PNG pictures of the particles of a space.

    Parameters
    ----------
    data
        The space; its particle file is read when the first picture is asked for.
    """

    def __init__(self, data: Dataset) -> None:
        self._data = data
        self._lock = threading.Lock()  # torch and the open stacks are used by one request at a time

    def image(self, row: int) -> bytes:
        """The particle itself, binned to about 96 px.

        Raises
        ------
        InputError
            If there is no such particle, or its image cannot be read.
        """
        self._check(row)
        with self._lock:
            return _png(_binned(self._stack(row).read([0])[0]))

    def projection(self, row: int) -> bytes:
        """What the model looks like with the particle's amplitudes, pose and CTF, without noise.

        Raises
        ------
        InputError
            If the particle has no pose, or there is nothing to make structures from.
        """
        self._check(row)
        with self._lock:
            return _png(_binned(self._projected(row)))

    def _stack(self, row: int) -> ImageStack:
        from ..core.io.image_files import locate_images
        from ..core.io.particle_table import ParticleTable
        from ..core.particles.stack import ImageStack

        table = self._data.columns.take(np.array([row]))
        located = locate_images(table.particles, table.source.parent, self._data.datadir, must_exist=True)
        return ImageStack(ParticleTable(table.source, table.particles, table.optics, located))

    def _projected(self, row: int) -> NDArray[np.float32]:
        from ..core.simulation.particles import Microscope, simulate_block

        decoder = self._data.need_decoder
        stack = self._stack(row)
        table = stack.table
        if table.euler_deg is None:
            raise InputError(f"{table.source}: has no orientations, so that the model cannot be projected")
        coordinates = decoder.mean_of(np.array([row]))
        if decoder.modes is not None and all(mode in table.amplitudes for mode in decoder.modes.indices.tolist()):
            amplitudes = [table.amplitudes[mode][0] for mode in decoder.modes.indices.tolist()]
            coordinates = decoder.of_features(np.array([amplitudes]))[0]
        shift = np.zeros((1, 2)) if table.shift_angst is None else table.shift_angst
        microscope = Microscope(
            box=stack.box,
            pixel_size=float(table.pixel_size[0]),
            sigma=decoder.sigma,
            snr=None,
            phase_flip=bool(table.phase_flipped[0]),
        )
        centred = (coordinates - decoder.centre)[None]
        ctf = None if table.ctf is None else table.ctf.take([0])  # a copy: torch wants arrays that can be written
        return simulate_block(centred, decoder.weights, table.euler_deg, shift, ctf, microscope, seed=0)[0]

    def _check(self, row: int) -> None:
        if not 0 <= row < self._data.count:
            raise InputError(f"particle {row + 1}: there are {self._data.count}")


def _binned(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean over square blocks, so that the picture is about as large as it is shown."""
    size = max(1, image.shape[0] // SHOWN_PX)
    side = image.shape[0] // size * size
    blocks = image[:side, :side].reshape(side // size, size, side // size, size)
    return blocks.mean(axis=(1, 3))


def _png(image: NDArray[np.float32]) -> bytes:
    from PIL import Image

    mean, spread = float(image.mean()), float(image.std())
    scaled = (image - mean) / (2 * _CLIP_SIGMA * spread) + 0.5 if spread > 0 else np.full_like(image, 0.5)
    stream = io.BytesIO()
    Image.fromarray((np.clip(scaled, 0, 1) * 255).astype(np.uint8)).save(stream, format="PNG")
    return stream.getvalue()
