"""A conformational space and its file, space.npz."""

from __future__ import annotations

import os
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import InputError
from ..io.atomic import atomic_path

SPACE_NAME = "space.npz"
_KEYS = ("coordinates", "mean", "components", "explained_variance_ratio", "modes", "method", "converged")
LOW_PERCENTILE, HIGH_PERCENTILE = 2.0, 98.0  # ends of a motion: the range of the particles without outliers

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Space:
    """Particles in a few dimensions, and the linear map between these and mode amplitudes.

    Attributes
    ----------
    coordinates
        (n, d) position of each particle; in Å of amplitude for PCA.
    mean
        (M,) mean amplitudes, Å.
    components
        (d, M) axes in amplitude space.
    explained_variance_ratio
        (d,) fraction of the variance along each axis.
    modes
        (M,) mode numbers of the amplitudes.
    method
        ``pca``.
    converged
        (n,) bool: alignment converged; all True where this is not known.
    """

    coordinates: Floats
    mean: Floats
    components: Floats
    explained_variance_ratio: Floats
    modes: NDArray[np.int64]
    method: str
    converged: NDArray[np.bool_]

    @property
    def n_components(self) -> int:
        """Number of dimensions d."""
        return len(self.components)

    def transform(self, amplitudes: ArrayLike) -> Floats:
        """Coordinates (k, d) of amplitudes (k, M)."""
        return (np.asarray(amplitudes, dtype=np.float64) - self.mean) @ self.components.T

    def inverse_transform(self, coordinates: ArrayLike) -> Floats:
        """Amplitudes (k, M) in Å at coordinates (k, d)."""
        return np.asarray(coordinates, dtype=np.float64) @ self.components + self.mean

    def path_along(self, axis: int, n_points: int) -> Floats:
        """Points along one axis through the mean, over the range that the particles populate.

        Parameters
        ----------
        axis
            1-based.
        n_points
            Points from the 2nd to the 98th percentile of the converged particles.

        Returns
        -------
        (n_points, d) coordinates.

        Raises
        ------
        InputError
            If there is no such axis.
        """
        if not 1 <= axis <= self.n_components:
            raise InputError(f"axis: found {axis}, expected 1 to {self.n_components}; this space has no more")
        used = self.coordinates[self.converged] if self.converged.sum() > 1 else self.coordinates
        first, last = (float(np.percentile(used[:, axis - 1], share)) for share in (LOW_PERCENTILE, HIGH_PERCENTILE))
        path = np.zeros((n_points, self.n_components))
        path[:, axis - 1] = np.linspace(first, last, n_points)
        return path

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write ``space.npz``; the same space gives the same bytes."""
        arrays = {name: np.asarray(getattr(self, name)) for name in _KEYS}
        with atomic_path(path) as temporary:
            np.savez(temporary, **arrays)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Space:
        """Read ``space.npz``, or the one in a directory.

        Raises
        ------
        InputError
            If it is missing, damaged, or its arrays do not fit together.
        """
        file = Path(path) / SPACE_NAME if Path(path).is_dir() else Path(path)
        if not file.is_file():
            raise InputError(f"{file}: no such file, expected a conformational space; make it with cflex space")
        try:
            with np.load(file, allow_pickle=False) as archive:
                values = {name: archive[name] for name in _KEYS}
        except (KeyError, ValueError, EOFError, OSError, zipfile.BadZipFile) as error:
            raise InputError(f"{file}: is not a conformational space ({error}); make it with cflex space") from None
        n, d, m = len(values["coordinates"]), len(values["components"]), len(values["modes"])
        expected = {
            "coordinates": (n, d),
            "mean": (m,),
            "components": (d, m),
            "explained_variance_ratio": (d,),
            "modes": (m,),
            "method": (),
            "converged": (n,),
        }
        for name, shape in expected.items():
            if values[name].shape != shape:
                raise InputError(
                    f"{file}: {name} has shape {values[name].shape}, expected {shape}; make it again with cflex space"
                )
        return cls(
            coordinates=values["coordinates"].astype(np.float64),
            mean=values["mean"].astype(np.float64),
            components=values["components"].astype(np.float64),
            explained_variance_ratio=values["explained_variance_ratio"].astype(np.float64),
            modes=values["modes"].astype(np.int64),
            method=str(values["method"]),
            converged=values["converged"].astype(bool),
        )
