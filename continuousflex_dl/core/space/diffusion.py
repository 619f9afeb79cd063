"""Diffusion map: coordinates in which Euclidean distance is the ease of getting from one conformation to another."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .density import spread_subset

Floats = NDArray[np.float64]


class DiffusionMap:
    """Diffusion map with the density divided out (Coifman & Lafon, Appl. Comput. Harmon. Anal. 21, 5, 2006).

    The map is computed on landmarks and extended to all other points by Nystroem's formula.

    Parameters
    ----------
    n_components
        Coordinates to keep.
    neighbours
        The width of the kernel at a point is its distance to this many-th neighbour.
    landmarks
        Points that make up the map, at most.

    Attributes
    ----------
    eigenvalues_
        (d,) of the diffusion operator, in (0, 1); the trivial 1 is left out.
    """

    def __init__(self, n_components: int = 2, neighbours: int = 30, landmarks: int = 3000) -> None:
        self.n_components = n_components
        self.neighbours = neighbours
        self.landmarks = landmarks

    def fit(self, values: ArrayLike) -> DiffusionMap:
        """Find the coordinates of values (n, p), n at least 5."""
        from scipy.spatial import cKDTree
        from scipy.spatial.distance import cdist

        data = np.asarray(values, dtype=np.float64)
        points = data[spread_subset(len(data), self.landmarks)]
        count = len(points)
        self._points = points
        self._tree = cKDTree(points)
        self._near = min(self.neighbours, count - 1)
        distance = self._tree.query(points, k=[self._near + 1])[0][:, 0]
        floor = np.median(distance[distance > 0]) * 1e-3 if (distance > 0).any() else 1.0
        self._width = np.maximum(distance, floor)
        kernel = np.exp(-(cdist(points, points) ** 2) / np.outer(self._width, self._width))
        self._density = kernel.sum(axis=1)
        kernel /= np.outer(self._density, self._density)
        self._degree = kernel.sum(axis=1)
        root = np.sqrt(self._degree)
        symmetric = kernel / np.outer(root, root)
        from scipy.linalg import eigh

        last = count - 1
        first = max(0, last - self.n_components)
        eigenvalues, vectors = eigh(symmetric, subset_by_index=[first, last])
        order = np.argsort(eigenvalues)[::-1][1:]  # the first one is constant
        self.eigenvalues_: Floats = np.clip(eigenvalues[order], 1e-12, 1.0)
        found = vectors[:, order] / root[:, None]
        found /= np.sqrt((found**2).mean(axis=0))
        sign = np.sign(found[np.abs(found).argmax(axis=0), np.arange(found.shape[1])])
        self._vectors = found * sign
        return self

    def transform(self, values: ArrayLike, at_once: int = 20_000) -> Floats:
        """Coordinates (k, d) of values (k, p), each of unit variance over the landmarks."""
        data = np.asarray(values, dtype=np.float64)
        used = min(4 * self._near, len(self._points))
        out = np.empty((len(data), self._vectors.shape[1]))
        for start in range(0, len(data), at_once):
            block = data[start : start + at_once]
            distance, index = self._tree.query(block, k=[*range(1, used + 1)])
            own = np.maximum(distance[:, min(self._near, used - 1)], 1e-12)
            kernel = np.exp(-(distance**2) / (own[:, None] * self._width[index]))
            kernel /= self._density[index]
            kernel /= np.maximum(kernel.sum(axis=1, keepdims=True), 1e-300)
            mean = np.einsum("kn,knd->kd", kernel, self._vectors[index])
            out[start : start + at_once] = mean / self.eigenvalues_
        return out
