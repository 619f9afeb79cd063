"""Groups of particles: clusters that algorithms find, and slices along a path."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import InputError
from .density import spread_subset
from .paths import position_along

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]
ClusterMethod = Literal["kmeans", "gmm", "hdbscan"]

_FIT = {"kmeans": 200_000, "gmm": 50_000, "hdbscan": 20_000}  # particles that clusters are found on, at most
_JUDGED = 5_000
_MOST = 10


def find_clusters(points: ArrayLike, method: ClusterMethod, count: int | None = None, seed: int = 0) -> Labels:
    """Group particles by where they are.

    Clusters are found on an evenly spread part of very many particles; all others join the nearest one.

    Parameters
    ----------
    points
        (n, d); every axis counts as it is.
    method
        ``kmeans``, ``gmm`` (mixture of Gaussians) or ``hdbscan`` (regions of high density; the rest is in no group).
    count
        Number of groups; None: the one with the best silhouette (k-means) or Bayesian information criterion (mixture).
        HDBSCAN finds it by itself.
    seed
        Of the starts.

    Returns
    -------
    (n,) group from 1, in the order of the groups' means along the first axis; 0 for particles in none.

    Raises
    ------
    InputError
        If there are fewer particles than groups, or a number is given to HDBSCAN.
    """
    data = np.asarray(points, dtype=np.float64)
    if count is not None and len(data) < count:
        raise InputError(f"groups: found {len(data)} particles, expected at least {count}; ask for fewer groups")
    some = spread_subset(len(data), _FIT[method])
    if method == "hdbscan":
        if count is not None:
            raise InputError(
                "groups: hdbscan finds the number of groups by itself; leave it out, or take kmeans or gmm"
            )
        labels = _hdbscan(data, some)
    elif method == "kmeans":
        labels = _kmeans(data, some, count, seed)
    else:
        labels = _gmm(data, some, count, seed)
    return ordered(labels, data[:, 0])


def ordered(labels: ArrayLike, value: ArrayLike) -> Labels:
    """Renumber groups from 1 by their mean of a value (n,); negative labels become 0, empty groups vanish."""
    old, value = np.asarray(labels), np.asarray(value, dtype=np.float64)
    found = np.unique(old[old >= 0])
    means = [float(value[old == label].mean()) for label in found]
    new = np.zeros(len(old), dtype=np.int64)
    for number, place in enumerate(np.argsort(means, kind="stable"), start=1):
        new[old == found[place]] = number
    return new


def slices_along(
    points: ArrayLike, path: ArrayLike, count: int, *, equal_sizes: bool = True, reach: float | None = None
) -> Labels:
    """Cut particles into slices along a path.

    Parameters
    ----------
    points
        (n, d).
    path
        (k, d) corners.
    count
        Slices.
    equal_sizes
        As many particles in each, instead of equal lengths of the path.
    reach
        Particles farther from the path than this are in no slice.

    Returns
    -------
    (n,) slice from 1 along the path; 0 for particles in none.

    Raises
    ------
    InputError
        If fewer particles than slices are left.
    """
    where, distance = position_along(points, path)
    near = np.ones(len(where), dtype=bool) if reach is None else distance <= reach
    if near.sum() < count:
        raise InputError(
            f"slices: found {int(near.sum())} particles near the path, expected at least {count}; ask for fewer "
            "slices, or take in more particles"
        )
    labels = np.zeros(len(where), dtype=np.int64)
    if equal_sizes:
        rank = np.argsort(np.argsort(where[near], kind="stable"), kind="stable")
        labels[near] = rank * count // int(near.sum()) + 1
    else:
        corners = np.asarray(path, dtype=np.float64)
        length = float(np.linalg.norm(np.diff(corners, axis=0), axis=1).sum())
        labels[near] = np.minimum((where[near] / length * count).astype(np.int64), count - 1) + 1
    return labels


def _kmeans(data: Floats, some: NDArray[np.int64], count: int | None, seed: int) -> Labels:
    from sklearn.cluster import KMeans
    from sklearn.metrics import silhouette_score

    judged = data[spread_subset(len(data), _JUDGED)]

    def fit(k: int, on: Floats) -> KMeans:
        return KMeans(k, n_init=10 if len(on) < 50_000 else 3, random_state=seed).fit(on)

    if count is None:
        most = min(_MOST, len(judged) - 1)
        if most < 2:
            return np.zeros(len(data), dtype=np.int64)
        count = max(range(2, most + 1), key=lambda k: float(silhouette_score(judged, fit(k, judged).labels_)))
    return fit(count, data[some]).predict(data).astype(np.int64)


def _gmm(data: Floats, some: NDArray[np.int64], count: int | None, seed: int) -> Labels:
    from sklearn.mixture import GaussianMixture

    judged = data[spread_subset(len(data), _JUDGED)]

    def fit(k: int, on: Floats) -> GaussianMixture:
        return GaussianMixture(k, n_init=3, random_state=seed, reg_covar=1e-6 * float(on.var())).fit(on)

    if count is None:
        most = max(1, min(_MOST, len(judged) // (2 * data.shape[1] + 2)))
        count = min(range(1, most + 1), key=lambda k: float(fit(k, judged).bic(judged)))
    return fit(count, data[some]).predict(data).astype(np.int64)


def _hdbscan(data: Floats, some: NDArray[np.int64]) -> Labels:
    from scipy.spatial import cKDTree
    from sklearn.cluster import HDBSCAN

    fitted = data[some]
    least = max(5, round(0.02 * len(fitted)))
    labels = HDBSCAN(min_cluster_size=least, min_samples=min(least, 25), copy=True).fit(fitted).labels_.astype(np.int64)
    if len(some) == len(data):
        return labels
    _, nearest = cKDTree(fitted).query(data)
    return labels[nearest]
