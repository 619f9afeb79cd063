"""A conformational space and its file, space.npz."""

from __future__ import annotations

import os
import zipfile
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import InputError, NonFiniteError
from ..io.atomic import atomic_path
from .local_map import LocalMap

SPACE_NAME = "space.npz"
LOW_PERCENTILE, HIGH_PERCENTILE = 2.0, 98.0  # ends of a motion: the range of the particles without outliers
_NEEDED = ("coordinates", "mean", "components", "explained_variance_ratio", "modes", "method", "converged")
_OPTIONAL = ("on", "scores", "inverse_error", "set_index", "sets", "distance", "groups", "conformations")

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Space:
    """Particles in a few dimensions, and the map between these and what they were made from.

    The p values of a particle (its features: mode amplitudes, atomic coordinates or a latent) are first written along
    q linear axes. For ``pca`` these axes are the space. For other methods the particles have coordinates beside them,
    and the way back goes through the nearest particles.

    Attributes
    ----------
    coordinates
        (n, d) position of each particle; for PCA in the unit of the features.
    mean
        (p,) mean features.
    components
        (q, p) linear axes, orthonormal; q = d for PCA.
    explained_variance_ratio
        (d,) share of the variance of the features that each axis adds.
    modes
        (p,) mode numbers of amplitudes, else empty.
    method
        ``pca``, ``umap`` or ``diffusion``.
    converged
        (n,) bool: alignment converged and no outlier, so that the particle had a say in the axes.
    on
        ``amplitudes``, ``coordinates`` or ``latent``.
    scores
        (n, q) features along the linear axes; empty for PCA, whose coordinates they are.
    inverse_error
        Root mean square, over particles, of the length of what is lost in going to the space and back, in the unit of
        the features.
    set_index, sets
        (n,) particle set of each particle, 0-based, and the names of the sets.
    distance
        (n,) Mahalanobis distance of each particle from the others.
    groups
        (n,) group of each particle from 1, 0 for none; empty without groups.
    conformations
        Files with the coordinates of the particles of each set, relative to the folder of this file; empty without.
    """

    coordinates: Floats
    mean: Floats
    components: Floats
    explained_variance_ratio: Floats
    modes: NDArray[np.int64]
    method: str
    converged: NDArray[np.bool_]
    on: str = "amplitudes"
    scores: NDArray[np.floating] = field(default_factory=lambda: np.zeros((0, 0), dtype=np.float32))
    inverse_error: float = float("nan")
    set_index: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    sets: tuple[str, ...] = ()
    distance: Floats = field(default_factory=lambda: np.zeros(0))
    groups: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    conformations: tuple[str, ...] = ()

    @property
    def n_components(self) -> int:
        """Number of dimensions d."""
        return self.coordinates.shape[1]

    @property
    def is_linear(self) -> bool:
        """Whether coordinates and features are linear functions of each other."""
        return self.method == "pca"

    @property
    def axis_name(self) -> str:
        """Short name of an axis, before its number."""
        return {"pca": "PC", "umap": "UMAP", "diffusion": "DC"}.get(self.method, "axis")

    @property
    def unit(self) -> str:
        """Unit of the coordinates; empty where they have none."""
        return "Å" if self.is_linear and self.on != "latent" else ""

    @property
    def used(self) -> Floats:
        """Coordinates of the particles that had a say; all where there are fewer than two."""
        return self.coordinates[self.converged] if self.converged.sum() > 1 else self.coordinates

    @cached_property
    def _backward(self) -> LocalMap:
        kept = self.converged if self.converged.sum() > 1 else np.ones(len(self.coordinates), dtype=bool)
        return LocalMap(self.coordinates[kept], self.scores[kept])

    @cached_property
    def _forward(self) -> LocalMap:
        return LocalMap(self.scores, self.coordinates)

    def transform(self, features: ArrayLike) -> Floats:
        """Coordinates (k, d) of features (k, p)."""
        scores = (np.asarray(features, dtype=np.float64) - self.mean) @ self.components.T
        return scores if self.is_linear else self._forward(scores)

    def inverse_transform(self, coordinates: ArrayLike) -> Floats:
        """Features (k, p) at coordinates (k, d)."""
        places = np.asarray(coordinates, dtype=np.float64)
        scores = places if self.is_linear else self._backward(places)
        return scores @ self.components + self.mean

    def path_along(self, axis: int, n_points: int) -> Floats:
        """Points along one axis, over the range that the particles populate: a straight line through the mean for PCA,
        else the line that the other coordinates follow.

        Parameters
        ----------
        axis
            1-based.
        n_points
            Points from the 2nd to the 98th percentile of the particles that had a say.

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
        first, last = np.percentile(self.used[:, axis - 1], [LOW_PERCENTILE, HIGH_PERCENTILE])
        along = np.linspace(first, last, n_points)
        if self.is_linear:
            path = np.zeros((n_points, self.n_components))
        else:
            path = LocalMap(self.used[:, [axis - 1]], self.used, max(30, len(self.used) // 20))(along[:, None])
        path[:, axis - 1] = along
        return path

    def completed(self, points: ArrayLike) -> Floats:
        """Places (k, d) out of their first coordinates (k, c); the others are those of the particles there."""
        given = np.asarray(points, dtype=np.float64)
        count = given.shape[1]
        if count == self.n_components:
            return given
        return np.concatenate([given, LocalMap(self.used[:, :count], self.used[:, count:])(given)], axis=1)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write ``space.npz``; the same space gives the same bytes."""
        arrays = {name: np.asarray(getattr(self, name)) for name in (*_NEEDED, *_OPTIONAL)}
        for name in ("sets", "conformations"):
            arrays[name] = np.array(getattr(self, name), dtype=str)
        with atomic_path(path) as temporary:
            np.savez(temporary, **arrays)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Space:
        """Read ``space.npz``, or the one in a directory.

        Raises
        ------
        InputError
            If it is missing, damaged, or its arrays do not fit together.
        NonFiniteError
            If a coordinate, the mean or an axis is NaN or infinite.
        """
        file = Path(path) / SPACE_NAME if Path(path).is_dir() else Path(path)
        if not file.is_file():
            raise InputError(f"{file}: no such file, expected a conformational space; make it with cflex space")
        try:
            with np.load(file, allow_pickle=False) as archive:
                values = {name: archive[name] for name in (*_NEEDED, *_OPTIONAL) if name in archive.files}
        except (KeyError, ValueError, EOFError, OSError, zipfile.BadZipFile) as error:
            raise InputError(f"{file}: is not a conformational space ({error}); make it with cflex space") from None
        if missing := [name for name in _NEEDED if name not in values]:
            raise InputError(f"{file}: has no {', '.join(missing)}; make it again with cflex space")
        _check_shapes(file, values)
        for name in ("coordinates", "mean", "components"):
            if not np.isfinite(values[name]).all():
                raise NonFiniteError(f"{file}: {name} is not finite; make it again with cflex space")
        return cls(
            coordinates=values["coordinates"].astype(np.float64),
            mean=values["mean"].astype(np.float64),
            components=values["components"].astype(np.float64),
            explained_variance_ratio=values["explained_variance_ratio"].astype(np.float64),
            modes=values["modes"].astype(np.int64),
            method=str(values["method"]),
            converged=values["converged"].astype(bool),
            on=str(values.get("on", "amplitudes")),
            scores=values.get("scores", np.zeros((0, 0), dtype=np.float32)),
            inverse_error=float(values.get("inverse_error", np.nan)),
            set_index=values.get("set_index", np.zeros(len(values["coordinates"]))).astype(np.int64),
            sets=tuple(str(name) for name in values.get("sets", ())),
            distance=values.get("distance", np.zeros(len(values["coordinates"]))).astype(np.float64),
            groups=values.get("groups", np.zeros(0)).astype(np.int64),
            conformations=tuple(str(name) for name in values.get("conformations", ())),
        )


def _check_shapes(file: Path, values: dict[str, NDArray]) -> None:
    coordinates, components = values["coordinates"], values["components"]
    if coordinates.ndim != 2 or components.ndim != 2:
        raise InputError(f"{file}: coordinates or components are no tables; make it again with cflex space")
    (n, d), (q, p) = coordinates.shape, components.shape
    linear = str(values["method"]) == "pca"
    amplitudes = str(values.get("on", "amplitudes")) == "amplitudes"
    expected = {
        "coordinates": (n, q if linear else d),
        "mean": (p,),
        "explained_variance_ratio": (d,),
        "modes": (p,) if amplitudes else (0,),
        "method": (),
        "converged": (n,),
        "scores": (0, 0) if linear else (n, q),
        "set_index": (n,),
        "distance": (n,),
        "groups": (n,) if len(values.get("groups", ())) else (0,),
    }
    for name, shape in expected.items():
        if name in values and values[name].shape != shape:
            raise InputError(
                f"{file}: {name} has shape {values[name].shape}, expected {shape}; make it again with cflex space"
            )
