"""Free energy of a space with its basins and the path between the two deepest, and the file landscape.npz."""

from __future__ import annotations

import os
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..errors import InputError
from ..io.atomic import atomic_path
from .barrier import pass_height
from .basins import Basins, find_basins
from .free_energy import FreeEnergy, free_energy
from .paths import EnergyPath, minimum_energy_path

LANDSCAPE_NAME = "landscape.npz"
_SAID = 6  # basins in words; the file has all
_BASIN_ARRAYS = (
    "minima", "energy", "energy_std", "barrier", "barrier_std", "saddles", "population", "population_std", "label",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Landscape:
    """Free energy along the first one or two axes of a space.

    Attributes
    ----------
    surface
        The free energy and its errors.
    basins
        Its basins.
    path
        Of least free energy between the two deepest; None where there is but one.
    height, height_std
        Of the pass on the path above its beginning, kT; see `pass_height`. NaN without a path.
    """

    surface: FreeEnergy
    basins: Basins
    path: EnergyPath | None
    height: float = float("nan")
    height_std: float = float("nan")

    def lines(self) -> list[str]:
        """What a user reads about it."""
        axes = len(self.surface.grid)
        shown = [f"free energy along the first {'axis' if axes == 1 else f'{axes} axes'}, in kT; errors are one sigma"]
        basins = self.basins
        for number in range(min(len(basins), _SAID)):
            place = ", ".join(f"{value:.4g}" for value in basins.minima[number])
            text = (
                f"basin {number + 1} at ({place}): {basins.energy[number]:.2f}{_error(basins.energy_std[number])} kT, "
                f"{100 * basins.population[number]:.1f}{_error(100 * basins.population_std[number], 1)} % of particles"
            )
            if np.isinf(basins.barrier[number]):
                text += "; no particles on the way to deeper ones"
            elif np.isfinite(basins.barrier[number]):
                over = ", ".join(f"{value:.4g}" for value in basins.saddles[number])
                height = f"{basins.barrier[number]:.2f}{_error(basins.barrier_std[number])}"
                text += f"; the way out is over {height} kT at ({over})"
            shown.append(text)
        if np.isfinite(self.height):
            shown.append(
                f"pass between basins 1 and 2: {self.height:.2f}{_error(self.height_std)} kT above basin 1, found with "
                "one half of the particles and measured with the other"
            )
        if len(basins) > _SAID:
            shown.append(f"and {len(basins) - _SAID} more basins")
        return shown

    def figures(self) -> list[dict[str, Any]]:
        """The same for the run record."""
        basins = self.basins
        return [
            {
                "minimum": np.round(basins.minima[number], 4).tolist(),
                "energy_kt": round(float(basins.energy[number]), 4),
                "population": round(float(basins.population[number]), 5),
                "population_std": _finite(basins.population_std[number]),
                "barrier_kt": _finite(basins.barrier[number]),
                "barrier_std_kt": _finite(basins.barrier_std[number]),
                "saddle": None
                if not np.isfinite(basins.barrier[number])
                else np.round(basins.saddles[number], 4).tolist(),
            }
            for number in range(len(basins))
        ]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write ``landscape.npz``; the same landscape gives the same bytes."""
        surface = self.surface
        arrays: dict[str, Any] = {f"grid_{number + 1}": axis for number, axis in enumerate(surface.grid)}
        arrays |= {name: getattr(surface, name) for name in ("density", "energy", "std", "bandwidth", "count")}
        arrays |= {f"basin_{name}": getattr(self.basins, name) for name in _BASIN_ARRAYS}
        if self.path is not None:
            arrays |= {f"path_{name}": getattr(self.path, name) for name in ("points", "energy", "std")}
            arrays |= {"pass_height": self.height, "pass_height_std": self.height_std}
        with atomic_path(path) as temporary:
            np.savez(temporary, **arrays)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Landscape:
        """Read ``landscape.npz``, or the one in a directory; bootstrap samples are not kept in it.

        Raises
        ------
        InputError
            If it is missing or damaged.
        """
        file = Path(path) / LANDSCAPE_NAME if Path(path).is_dir() else Path(path)
        if not file.is_file():
            raise InputError(f"{file}: no such file, expected a free energy; make it with cflex space")
        try:
            with np.load(file, allow_pickle=False) as archive:
                grid = tuple(archive[f"grid_{axis}"] for axis in (1, 2, 3) if f"grid_{axis}" in archive.files)
                values = {name: archive[name] for name in ("density", "energy", "std", "bandwidth")}
                nothing = np.zeros((0, *values["energy"].shape), dtype=np.float32)
                surface = FreeEnergy(grid, count=int(archive["count"]), replicas=nothing, **values)
                basins = Basins(**{name: archive[f"basin_{name}"] for name in _BASIN_ARRAYS})
                names = ("points", "energy", "std")
                has_path = "path_points" in archive.files
                found = EnergyPath(**{name: archive[f"path_{name}"] for name in names}) if has_path else None
                height = [float(archive[name]) if has_path else np.nan for name in ("pass_height", "pass_height_std")]
        except (KeyError, ValueError, EOFError, OSError, zipfile.BadZipFile) as error:
            raise InputError(f"{file}: is not a free energy ({error}); make it again with cflex space") from None
        return cls(surface, basins, found, *height)


def make_landscape(points: ArrayLike, *, replicas: int = 100, seed: int = 0, path_points: int = 50) -> Landscape | None:
    """Free energy of particles (n, d) along their first one or two axes; None where there are too few of them."""
    data = np.asarray(points, dtype=np.float64)[:, :2]
    try:
        surface = free_energy(data, replicas=replicas, seed=seed)
    except InputError:
        return None
    basins = find_basins(surface)
    if len(basins) < 2:
        return Landscape(surface, basins, None)
    path = minimum_energy_path(surface, basins.minima[0], basins.minima[1], path_points)
    return Landscape(surface, basins, path, *pass_height(data, surface, path, seed=seed))


def _error(value: float, places: int = 2) -> str:
    return f" ± {value:.{places}f}" if np.isfinite(value) else ""


def _finite(value: float) -> float | None:
    return round(float(value), 5) if np.isfinite(value) else None
