"""Where the particles of a conformational space are dense, for display."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def spread_subset(n: int, limit: int) -> NDArray[np.int64]:
    """At most `limit` indices of n, evenly spread: the same choice every time, without a random generator."""
    return np.arange(n) if n <= limit else np.linspace(0, n - 1, limit).round().astype(np.int64)


def point_density(points: ArrayLike, at: ArrayLike | None = None, limit: int = 3000) -> NDArray[np.float64] | None:
    """Kernel density of points.

    Parameters
    ----------
    points
        (n, d).
    at
        (k, d) where the density is wanted; at the points themselves by default.
    limit
        Points that make up the density, at most (evenly chosen), which bounds the cost.

    Returns
    -------
    (k,) density; None where the points are too few or lie on a line, so that it does not exist.
    """
    from scipy.stats import gaussian_kde

    data = np.asarray(points, dtype=np.float64)
    if len(data) <= data.shape[1] + 1:
        return None
    try:
        kernel = gaussian_kde(data[spread_subset(len(data), limit)].T)
        values = kernel(np.asarray(data if at is None else at, dtype=np.float64).T)
    except np.linalg.LinAlgError:
        return None
    return values if np.isfinite(values).all() else None
