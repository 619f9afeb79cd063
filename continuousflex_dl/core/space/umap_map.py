"""UMAP, which is an optional library."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import MissingDependencyError
from .density import spread_subset

Floats = NDArray[np.float64]
_EXTENSION = 10


class Umap:
    """Uniform manifold approximation (McInnes, Healy & Melville, 2018), extended by neighbours beyond the landmarks.

    Parameters
    ----------
    n_components
        Coordinates to keep.
    neighbours
        Size of the neighbourhoods.
    landmarks
        Points that are embedded, at most; all others go between their ten nearest ones.
    seed
        Of its random choices; one thread, so that the same seed gives the same map.
    """

    def __init__(self, n_components: int = 2, neighbours: int = 30, landmarks: int = 20_000, seed: int = 0) -> None:
        self.n_components = n_components
        self.neighbours = neighbours
        self.landmarks = landmarks
        self.seed = seed

    def fit(self, values: ArrayLike) -> Umap:
        """Embed values (n, p).

        Raises
        ------
        MissingDependencyError
            If the library is not installed.
        """
        try:
            import umap
        except ImportError as error:
            raise MissingDependencyError(
                f"--method umap needs the Python package umap-learn, which cannot be imported ({error}); install it "
                "with: pip install umap-learn, or take --method pca or diffusion"
            ) from None
        from scipy.spatial import cKDTree

        data = np.asarray(values, dtype=np.float64)
        self._points = data[spread_subset(len(data), self.landmarks)]
        self._tree = cKDTree(self._points)
        reducer = umap.UMAP(
            n_components=self.n_components,
            n_neighbors=min(self.neighbours, len(self._points) - 1),
            random_state=self.seed,
            n_jobs=1,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._places = np.asarray(reducer.fit_transform(self._points), dtype=np.float64)
        return self

    def transform(self, values: ArrayLike) -> Floats:
        """Coordinates (k, d) of values (k, p); those of a landmark are its own."""
        data = np.asarray(values, dtype=np.float64)
        distance, index = self._tree.query(data, k=[*range(1, min(_EXTENSION, len(self._points)) + 1)])
        same = distance[:, 0] <= 1e-9 * np.maximum(distance[:, -1], 1e-300)
        weight = 1 / np.maximum(distance, 1e-12 + 1e-9 * distance[:, -1:])
        weight /= weight.sum(axis=1, keepdims=True)
        out = np.einsum("kn,knd->kd", weight, self._places[index])
        out[same] = self._places[index[same, 0]]
        return out
