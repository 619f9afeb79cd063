"""Sparse Hessians of elastic networks: over node displacements, or projected on rigid blocks.

The projected one (rotation-translation blocks; Durand et al. 1994, Tama et al. 2000) is summed spring by spring: the
large matrix over atoms is never made. A spring along the unit vector u through x is stretched by a rigid motion (t, w)
at the rate ``u . t + (x x u) . w``, the product with the coordinates of its line.
"""

from __future__ import annotations

import numpy as np

from .block_matrix import BlockMatrix
from .rigid_motion import RigidGroups
from .springs import Springs


def node_hessian(springs: Springs, coordinates: np.ndarray) -> BlockMatrix:
    """Hessian of unit springs over the displacements of the nodes (N, 3), blocks ``-u u^T``."""
    blocks = -springs.direction[:, :, None] * springs.direction[:, None, :]
    n = springs.n_nodes
    diagonal = np.empty((n, 3, 3))
    for a in range(3):
        for b in range(a, 3):
            values = blocks[:, a, b]
            total = np.bincount(springs.first, values, n) + np.bincount(springs.second, values, n)
            diagonal[:, a, b] = diagonal[:, b, a] = -total
    return BlockMatrix.make(springs.first, springs.second, blocks, diagonal, coordinates)


def rigid_block_hessian(springs: Springs, coordinates: np.ndarray, blocks: RigidGroups) -> BlockMatrix:
    """Hessian projected on the rigid motions of blocks, masses 1.

    Parameters
    ----------
    springs
        Between N nodes; those within a block do nothing.
    coordinates
        (N, 3) Å.
    blocks
        Of the nodes.
    """
    group = blocks.group
    apart = np.flatnonzero(group[springs.first] != group[springs.second])
    ends = group[springs.first[apart]], group[springs.second[apart]]
    low, high = np.minimum(*ends), np.maximum(*ends)
    order = np.argsort(low * len(blocks) + high, kind="stable")
    springs, low, high = springs.take(apart[order]), low[order], high[order]
    starts = np.flatnonzero(np.append(True, (np.diff(low) > 0) | (np.diff(high) > 0))) if len(low) else low
    first, second = low[starts], high[starts]  # pairs of blocks, (E,)
    lever = coordinates[springs.first] - blocks.centres[low]
    lines = np.hstack([springs.direction, np.cross(lever, springs.direction)])  # (P, 6), about the first block's centre
    stiffness = np.empty((len(first), 6, 6))
    for a in range(6):
        for b in range(a, 6):
            stiffness[:, a, b] = stiffness[:, b, a] = np.add.reduceat(lines[:, a] * lines[:, b], starts)
    one = blocks.to_motion[first]
    other = _seen_from(blocks.to_motion[second], blocks.centres[first] - blocks.centres[second])
    diagonal = np.zeros((len(blocks), 6, 6))
    np.add.at(diagonal, first, _between(one, stiffness, one))
    np.add.at(diagonal, second, _between(other, stiffness, other))
    return BlockMatrix.make(first, second, -_between(one, stiffness, other), diagonal, blocks.centres)


def _seen_from(motions: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """Rigid motions (E, 6, k) about a centre, about another one that is (E, 3) away: t + w x offset."""
    moved = motions.copy()
    moved[:, :3] += np.cross(motions[:, 3:], offset[:, :, None], axis=1)
    return moved


def _between(left: np.ndarray, matrix: np.ndarray, right: np.ndarray) -> np.ndarray:
    """``left^T matrix right`` for stacks of matrices."""
    return np.matmul(left.transpose(0, 2, 1), np.matmul(matrix, right))
