"""Arrays behind the plots of maps, correlations and free energies, read from result files. No plotting here."""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass

import mrcfile
import numpy as np
from numpy.typing import NDArray

from ..convert import ConversionError

Floats = NDArray[np.floating]
_NOT_CURVES = ("shell", "frequency_per_angst", "resolution_angst")


@dataclass(frozen=True)
class Curves:
    """Correlations over frequency.

    Parameters
    ----------
    frequency
        (S,) 1/Å.
    values
        Name -> (S,).
    """

    frequency: Floats
    values: dict[str, Floats]


@dataclass(frozen=True)
class Energy:
    """Free energy along one or two axes.

    Parameters
    ----------
    grid
        One array of places per axis.
    energy, std
        kT, in the shape of the grid; NaN where there are too few particles.
    minima
        (K, d) places of the basins.
    path
        (k, d) path of least free energy; empty where there is none.
    """

    grid: tuple[Floats, ...]
    energy: Floats
    std: Floats
    minima: Floats
    path: Floats


def read_curves(path: str | os.PathLike[str]) -> Curves:
    """Curves of a table that ``cflex`` wrote; raises `ConversionError` where it is missing or something else."""
    try:
        with open(path, encoding="utf-8") as handle:
            rows = list(csv.DictReader(handle))
        frequency = np.array([float(row["frequency_per_angst"]) for row in rows])
        names = [name for name in rows[0] if name not in _NOT_CURVES]
        return Curves(frequency, {name: np.array([float(row[name]) for row in rows]) for name in names})
    except (OSError, KeyError, ValueError, IndexError, TypeError) as error:
        raise ConversionError(f"{path}: cannot be read as correlations ({error}); run it again") from error


def read_energy(path: str | os.PathLike[str]) -> Energy:
    """Free energy in landscape.npz; raises `ConversionError` where it is missing or something else."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            grid = tuple(stored[name] for name in ("grid_1", "grid_2") if name in stored.files)
            way = stored["path_points"] if "path_points" in stored.files else np.zeros((0, len(grid)))
            return Energy(grid, stored["energy"], stored["std"], stored["basin_minima"], way)
    except (OSError, ValueError, KeyError) as error:
        raise ConversionError(f"{path}: has no free energy ({error}); the particles may be too few") from error


def central_slices(path: str | os.PathLike[str]) -> tuple[list[Floats], float]:
    """Slices through the centre of a map, perpendicular to z, y and x, and its pixel size in Å."""
    try:
        with mrcfile.mmap(path, mode="r", permissive=True) as opened:
            middle = [size // 2 for size in opened.data.shape]
            slices = [np.array(np.take(opened.data, middle[axis], axis=axis)) for axis in range(3)]
            return slices, float(opened.voxel_size.x)
    except (OSError, ValueError) as error:
        raise ConversionError(f"{path}: cannot be read as a map ({error})") from error
