"""Motions that a particle hardly makes, where the modes file has no stiff modes to spare."""

from __future__ import annotations

from itertools import combinations_with_replacement

import numpy as np

from ..dynamics.rigid_motion import node_motions

_DEGREE = 3  # of the polynomials: on simulated images of the right model their errors are as predicted (1.01)


def cubic_fields(coordinates: np.ndarray, vectors: np.ndarray, count: int) -> np.ndarray:
    """Smooth displacement fields of a wavelength of about the size of the molecule.

    Their components are polynomials of third degree in the coordinates, orthogonal over the atoms to those of lower
    degree, which slow collective motions are made of.

    Parameters
    ----------
    coordinates
        (N, 3) Å.
    vectors
        (M, N, 3) modes that the fields shall have nothing of.
    count
        How many are wanted.

    Returns
    -------
    (P, N, 3), orthonormal over all 3N, without rigid motion; P is `count`, or less where there are too few atoms.
    """
    points = np.asarray(coordinates, dtype=np.float64)
    points = points - points.mean(axis=0)
    points = points / max(np.sqrt((points**2).mean()), 1e-12)
    powers = [c for degree in range(_DEGREE + 1) for c in combinations_with_replacement(range(3), degree)]
    polynomials = np.stack([points[:, list(c)].prod(axis=1) for c in powers], axis=1)
    lower = sum(len(c) < _DEGREE for c in powers)
    cubic = np.linalg.qr(polynomials)[0][:, lower:]
    modes = np.reshape(vectors, (len(vectors), points.size)).astype(np.float64)
    held = np.concatenate([node_motions(points).reshape(points.size, -1), modes.T], axis=1)
    count = min(count, 3 * cubic.shape[1], max(0, points.size - held.shape[1]))
    # always the same fields of the same structure
    mixture = np.random.default_rng(0).normal(size=(cubic.shape[1], 3, count))
    fields = np.einsum("nk,kcp->ncp", cubic, mixture).reshape(points.size, count)
    basis = np.linalg.qr(held)[0]
    for _ in range(2):  # once more for what rounding leaves
        fields = fields - basis @ (basis.T @ fields)
    return np.ascontiguousarray(np.linalg.qr(fields)[0].T).reshape(count, *points.shape)
