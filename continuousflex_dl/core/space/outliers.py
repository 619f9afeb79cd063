"""Particles far from all others."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

_ROUNDS = 20


def mahalanobis(values: ArrayLike, used: ArrayLike | None = None, limit: float | None = None) -> NDArray[np.float64]:
    """Distances from the mean in units of the spread along each direction.

    Parameters
    ----------
    values
        (n, p).
    used
        (n,) bool: particles that mean and covariance are made of; all by default.
    limit
        Particles farther than this leave the estimate, which is then repeated until none changes sides: a few wild ones
        would otherwise hide each other.

    Returns
    -------
    (n,); directions without any spread do not count.
    """
    data = np.asarray(values, dtype=np.float64)
    taken = np.ones(len(data), dtype=bool) if used is None else np.asarray(used, dtype=bool)
    inside = taken.copy()
    distance = np.zeros(len(data))
    for _ in range(_ROUNDS):
        if inside.sum() < 2:
            break
        mean = data[inside].mean(axis=0)
        covariance = np.atleast_2d(np.cov(data[inside], rowvar=False))
        eigenvalues, vectors = np.linalg.eigh(covariance)
        kept = eigenvalues > 1e-10 * max(float(eigenvalues[-1]), 1e-300)
        if not kept.any():
            break
        white = (data - mean) @ (vectors[:, kept] / np.sqrt(eigenvalues[kept]))
        distance = np.sqrt((white**2).sum(axis=1))
        now = taken if limit is None else taken & (distance <= limit)
        if limit is None or (now == inside).all():
            break
        inside = now
    return distance
