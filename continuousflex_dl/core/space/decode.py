"""From places in a conformational space to structures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import InputError
from ..structure.atoms import Structure
from .features import Features
from .local_map import LocalMap
from .result import Space

if TYPE_CHECKING:
    from ..dynamics.modes import NormalModes

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Decoder:
    """Structures of a space.

    Attributes
    ----------
    space
        The space.
    structure
        What its N atoms are.
    modes
        Of amplitudes, in the order of the space; else None.
    stored
        Coordinates (n, N, 3) of the particles, rows of which are read; needed for latents only.
    """

    space: Space
    structure: Structure
    modes: NormalModes | None = None
    stored: Features | None = None

    @property
    def sigma(self) -> float:
        """Gaussian width of an atom in maps, Å."""
        from ..dynamics.modes import default_sigma

        return default_sigma(self.structure) if self.modes is None else self.modes.sigma

    @property
    def weights(self) -> Floats:
        """(N,) mass of the atoms in maps."""
        return self.structure.weights if self.modes is None else self.modes.weights

    @property
    def centre(self) -> Floats:
        """(3,) point in Å that projects to the centre of the images: the mean of the reference's atoms."""
        return self.structure.coordinates.mean(axis=0)

    def at(self, places: ArrayLike) -> Floats:
        """Structures (k, N, 3) in Å at places (k, d) of the space."""
        places = np.atleast_2d(np.asarray(places, dtype=np.float64))
        if self.space.on == "latent":
            return self._from_nearest(places)
        return self.of_features(self.space.inverse_transform(places))

    def of_features(self, features: ArrayLike) -> Floats:
        """Structures (k, N, 3) in Å of amplitudes or coordinates (k, p)."""
        values = np.atleast_2d(np.asarray(features, dtype=np.float64))
        if self.modes is not None:
            return self.modes.displace(values)
        if self.space.on == "coordinates":
            return values.reshape(len(values), -1, 3)
        raise InputError("latents have no structures of their own; give places in the space")

    def mean_of(self, rows: ArrayLike) -> Floats:
        """Mean structure (N, 3) in Å of some particles, by 0-based index or mask."""
        chosen = np.asarray(rows)
        chosen = np.flatnonzero(chosen) if chosen.dtype == bool else chosen
        if self.stored is not None:
            return self.stored.rows(chosen).mean(axis=0).reshape(-1, 3)
        scores = self.space.coordinates if self.space.is_linear else self.space.scores
        mean = np.asarray(scores[chosen], dtype=np.float64).mean(axis=0)
        return self.of_features(mean @ self.space.components + self.space.mean)[0]

    def _from_nearest(self, places: Floats) -> Floats:
        if self.stored is None:
            raise InputError(
                "this is a space of latents, and there are no coordinates of the particles to take structures from; "
                "make it with --conformations naming a file that has both"
            )
        used = np.flatnonzero(self.space.converged)
        used = used if len(used) > 1 else np.arange(len(self.space.coordinates))
        index, weights = LocalMap(self.space.coordinates[used]).weights(places)
        frames = [weight @ self.stored.rows(used[row]) for row, weight in zip(index, weights, strict=True)]
        return np.array(frames).reshape(len(places), -1, 3)


def check_atoms(path: Path | str, structure: Structure, space: Space, stored: Any = None) -> None:
    """Refuse a structure that does not have the atoms of the coordinates.

    Raises
    ------
    InputError
        If the numbers differ.
    """
    count = len(space.mean) // 3 if stored is None else stored.width // 3
    if len(structure) != count:
        raise InputError(
            f"{path}: has {len(structure)} atoms, the coordinates of the particles {count}; give the structure that "
            "they belong to with --structure"
        )
