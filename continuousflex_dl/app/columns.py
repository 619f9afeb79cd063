"""Columns of the particles by name: those of the space at once, those of the particle file when they are read."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..core.errors import InputError
from ..core.io.image_files import ImageLocations
from ..core.io.particle_table import ParticleTable
from ..core.space.places import SPACE_COLUMN, axis_columns
from ..core.space.result import Space
from .particle_file import ParticleFile, open_particles

_TEXT = ("rlnImageName", "rlnMicrographName", "rlnOpticsGroupName")
_UNITS = (
    ("cflexModeAmplitude", "Å"), ("Angst", "Å"), ("cflexAngleStd", "°"), ("rlnAngle", "°"), ("DefocusAngle", "°"),
    ("rlnDefocus", "Å"), ("rlnPhaseShift", "°"), ("PixelSize", "Å"), ("cflexMahalanobis", "σ"),
    ("rlnVoltage", "kV"), ("rlnSphericalAberration", "mm"), ("Coordinate", "px"),
)  # fmt: skip
_WHOLE = ("cflexGroup", "cflexSet", "cflexConverged", "rlnClassNumber", "rlnOpticsGroup", "rlnRandomSubset")
_HEAD_BYTES = 1 << 16


class ParticleColumns(Mapping[str, NDArray[np.float64]]):
    """Numbers (n,) by column name.

    Parameters
    ----------
    space
        The space, whose columns need no file.
    file
        The particle file; it is read when one of its columns is first asked for, which takes ten seconds for a
        million particles. The page asks when it has drawn the first picture.
    """

    def __init__(self, space: Space, file: Path | None) -> None:
        self._values: dict[str, NDArray[np.float64]] = {
            f"{SPACE_COLUMN}{axis + 1}": values for axis, values in enumerate(space.coordinates.T)
        }
        if len(space.distance) and np.ptp(space.distance) > 0:
            self._values["cflexMahalanobis"] = space.distance
        if len(space.groups):
            self._values["cflexGroup"] = space.groups.astype(np.float64)
        if len(space.sets) > 1:
            self._values["cflexSet"] = space.set_index + 1.0
        self._count = len(space.coordinates)
        self.file = file if file is not None and file.is_file() else None
        labels = _labels(self.file) if self.file is not None else []
        self._names = [*self._values, *(name for name in labels if name not in self._values and name not in _TEXT)]
        self._lock = threading.Lock()
        self._particles: ParticleFile | None = None

    @property
    def _opened(self) -> ParticleFile:
        with self._lock:
            if self._particles is None:
                if self.file is None:
                    raise InputError("there is no particle file beside the space; make it again with cflex space")
                self._particles = open_particles(self.file, self._count)
            return self._particles

    def ready(self, name: str | None = None) -> bool:
        """Whether a column (or the particle file) can be had at once; if not, its reading has begun."""
        return (name is not None and name in self._values) or self.file is None or self._opened.ready

    def take(self, rows: NDArray[np.int64]) -> ParticleTable:
        """Some particles with all their columns.

        Raises
        ------
        InputError
            If there is no particle file, or it is not that of the space.
        """
        return self._opened.take(rows)

    def images(self) -> ImageLocations:
        """Where the images of the particles are.

        Raises
        ------
        InputError
            If there is no particle file, or it is not that of the space.
        """
        return self._opened.images()

    def __getitem__(self, name: str) -> NDArray[np.float64]:
        found = self._values.get(name)
        if found is not None:
            return found
        if name not in self._names:
            raise KeyError(name)
        values = self._opened.numbers(name)
        if values is None:
            raise KeyError(name)
        self._values[name] = values
        return values

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def unit(self, name: str, space: Space) -> str:
        """Unit of a column; empty where it has none or it is not known."""
        if name.startswith(SPACE_COLUMN):
            return space.unit
        return next((unit for part, unit in _UNITS if part in name), "")

    def label(self, name: str, space: Space) -> str:
        """What a column is called: an axis of the space by its short name, with its share of the variance."""
        names = axis_columns(space)
        if name not in names:
            return name
        axis = names.index(name)
        share = float(space.explained_variance_ratio[axis])
        return f"{space.axis_name}{axis + 1}" + (f" ({100 * share:.0f} %)" if np.isfinite(share) else "")

    @staticmethod
    def is_whole(name: str) -> bool:
        """Whether a column holds numbers of groups, not a quantity."""
        return name in _WHOLE


def _labels(file: Path) -> list[str]:
    """Names of the columns of a STAR file's last table, from its head alone; empty for other formats."""
    if file.suffix.lower() != ".star":
        return []
    with open(file, "rb") as stream:
        lines = stream.read(_HEAD_BYTES).decode("utf-8", errors="replace").splitlines()
    found: list[str] = []
    optics: list[str] = []
    for line in lines:
        word = line.split()[0] if line.split() else ""
        if word.startswith("data_"):
            optics, found = optics or found, []
        elif word.startswith("_"):
            found.append(word[1:])
    return [*found, *(name for name in optics if name not in found)]
