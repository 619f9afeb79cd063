"""A smooth map between two descriptions of the same particles, fitted where it is asked for."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .density import spread_subset

Floats = NDArray[np.float64]
_RIDGE = 1e-3
_AT_ONCE = 20_000


class LocalMap:
    """Local linear regression: from positions x to values y, by the nearest particles.

    Parameters
    ----------
    x
        (n, a) positions.
    y
        (n, b) values of the same particles; not needed for `weights`.
    neighbours
        Particles that take part in one regression; by default 8 (a + 1), at least 30.
    """

    def __init__(self, x: ArrayLike, y: ArrayLike | None = None, neighbours: int | None = None) -> None:
        from scipy.spatial import cKDTree

        self.x = np.asarray(x, dtype=np.float64)
        self.y = np.zeros((len(self.x), 0)) if y is None else np.asarray(y, dtype=np.float64)
        if len(self.x) != len(self.y) or not len(self.x):
            raise ValueError(f"{len(self.x)} positions for {len(self.y)} values")
        wanted = max(30, 8 * (self.x.shape[1] + 1)) if neighbours is None else neighbours
        self.neighbours = min(wanted, len(self.x))
        self._tree = cKDTree(self.x)

    def __call__(self, positions: ArrayLike) -> Floats:
        """Values (k, b) at positions (k, a)."""
        return self._predict(np.atleast_2d(np.asarray(positions, dtype=np.float64)), skip=0)

    def error(self, limit: int = 2000) -> Floats:
        """Errors (k, b) at up to `limit` particles, each predicted from its neighbours without itself."""
        some = spread_subset(len(self.x), limit)
        if len(self.x) < 3:
            return np.zeros((len(some), self.y.shape[1]))
        return self._predict(self.x[some], skip=1) - self.y[some]

    def weights(self, positions: ArrayLike, skip: int = 0) -> tuple[NDArray[np.int64], Floats]:
        """Particles (k, m) that make up the value at each position (k, a), and their weights (k, m), which sum to 1.

        `skip` nearest particles are left out.
        """
        at = np.atleast_2d(np.asarray(positions, dtype=np.float64))
        count = min(self.neighbours + skip, len(self.x))
        distance, index = self._tree.query(at, k=[*range(1, count + 1)])
        distance, index = distance[:, skip:], index[:, skip:]
        share = distance / np.maximum(distance[:, -1:], 1e-12)
        weight = (1 - np.minimum(share, 1) ** 3) ** 3 + 1e-3  # tricube, as in LOESS
        weight /= weight.sum(axis=1, keepdims=True)
        x = self.x[index]
        centre = np.einsum("kn,kna->ka", weight, x)
        away = x - centre[:, None]
        gram = np.einsum("kn,kna,knb->kab", weight, away, away)
        spread = np.trace(gram, axis1=1, axis2=2)
        gram += (_RIDGE * spread / gram.shape[1] + 1e-30)[:, None, None] * np.eye(gram.shape[1])
        # a place far outside the particles must not be carried off along the slope
        step = at - centre
        length = np.linalg.norm(step, axis=1)
        step *= np.minimum(1.0, 3 * np.sqrt(spread) / np.maximum(length, 1e-12))[:, None]
        lever = np.linalg.solve(gram, step[:, :, None])[:, :, 0]
        return index, weight * (1 + np.einsum("ka,kna->kn", lever, away))

    def _predict(self, at: Floats, skip: int) -> Floats:
        out = np.empty((len(at), self.y.shape[1]))
        for first in range(0, len(at), _AT_ONCE):
            index, weight = self.weights(at[first : first + _AT_ONCE], skip)
            out[first : first + _AT_ONCE] = np.einsum("kn,knb->kb", weight, self.y[index])
        return out
