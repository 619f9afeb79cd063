"""What is measured on normal modes: collectivity, score, overlap."""

from __future__ import annotations

import numpy as np


def collectivity(vectors: np.ndarray) -> np.ndarray:
    """Fraction of the nodes that take part in each mode.

    ``exp(-sum_i a_i ln a_i) / N`` with ``a_i = |u_i|^2 / sum |u|^2`` (Brüschweiler 1995; Tama & Sanejouand 2001):
    1 where all N nodes move alike, 1/N where one moves.

    Parameters
    ----------
    vectors
        (M, N, 3).

    Returns
    -------
    numpy.ndarray
        (M,) in (0, 1].
    """
    share = (vectors**2).sum(axis=2)
    share = share / share.sum(axis=1, keepdims=True)
    logarithm = np.log(share, out=np.zeros_like(share), where=share > 0)
    return np.exp(-(share * logarithm).sum(axis=1)) / vectors.shape[1]


def score(collectivities: np.ndarray) -> np.ndarray:
    """Score of each mode, lower is better: ``(m + rank(m)) / (2 L)``.

    `m` is the 1-based mode number and `rank` the 1-based place by decreasing collectivity among all L modes, the
    rigid-body ones included (as ContinuousFlex ranks them); equal collectivities (to 1e-9) keep the order of the modes.

    Parameters
    ----------
    collectivities
        (L,) of modes 1 to L.

    Returns
    -------
    numpy.ndarray
        (L,) in (0, 1].
    """
    count = len(collectivities)
    order = np.argsort(-np.round(collectivities, 9), kind="stable")
    rank = np.empty(count)
    rank[order] = np.arange(1, count + 1)
    return (np.arange(1, count + 1) + rank) / (2 * count)


def overlap(vectors: np.ndarray, displacement: np.ndarray) -> np.ndarray:
    """Overlap (M,) in [0, 1] of modes (M, N, 3) with a displacement (N, 3): the absolute cosine between them."""
    flat = vectors.reshape(len(vectors), -1)
    along = displacement.ravel()
    return np.abs(flat @ along) / (np.linalg.norm(flat, axis=1) * np.linalg.norm(along))


def cumulative_overlap(vectors: np.ndarray, displacement: np.ndarray) -> np.ndarray:
    """Root of the summed squared overlaps (M,) over the first 1 ... M modes (orthogonal ones reach at most 1)."""
    return np.sqrt(np.cumsum(overlap(vectors, displacement) ** 2))


def rmsd_per_amplitude(n_atoms: int) -> float:
    """RMSD in Å of one unit of amplitude along a unit-norm mode: ``1 / sqrt(N)``."""
    return float(1 / np.sqrt(n_atoms))
