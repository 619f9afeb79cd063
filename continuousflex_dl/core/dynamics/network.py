"""Geometry of an elastic network: cutoffs, connection, rigidity."""

from __future__ import annotations

import math

import numpy as np
from scipy import sparse
from scipy.sparse import csgraph
from scipy.sparse.linalg import splu
from scipy.spatial import cKDTree

from ..errors import InputError

ZERO_EIGENVALUE = 1e-6  # below this (spring constant 1) a mode costs no energy
N_RIGID = 6
_SAME_PLACE_ANGST = 1e-3
_FLAT_ANGST = 1e-3
_ROUND_ANGST = 0.1  # a suggested cutoff is rounded up to this


def check_geometry(coordinates: np.ndarray) -> None:
    """Refuse what cannot have an elastic network.

    Parameters
    ----------
    coordinates
        (N, 3) Å.

    Raises
    ------
    InputError
        Fewer than three nodes, all on one line or in one plane, or two at the same place.
    """
    n_nodes = len(coordinates)
    if n_nodes < 3:
        raise InputError(f"found {n_nodes} node(s), expected at least 3 for normal modes; give a larger structure")
    spread = np.linalg.svd(coordinates - coordinates.mean(axis=0), compute_uv=False)
    if spread[1] < _FLAT_ANGST:
        raise InputError(f"all {n_nodes} nodes lie on one line, expected a structure in three dimensions")
    if spread[2] < _FLAT_ANGST and n_nodes > 3:
        raise InputError(
            f"all {n_nodes} nodes lie in one plane, so nothing resists motion out of it; expected three dimensions"
        )
    pairs = cKDTree(coordinates).query_pairs(_SAME_PLACE_ANGST, output_type="ndarray")
    if len(pairs):
        first, second = sorted(pairs[0].tolist())
        raise InputError(
            f"atoms {first + 1} and {second + 1} are at the same place (nearer than {_SAME_PLACE_ANGST} Å), so the "
            "spring between them has no direction; remove one of them"
        )


def percentile_cutoff(coordinates: np.ndarray, percentile: float) -> float:
    """Cutoff in Å: a percentile (0-100) of the distances from each node (N, 3) to its three nearest neighbours."""
    distances, _ = cKDTree(coordinates).query(coordinates, k=min(4, len(coordinates)))
    return float(np.percentile(distances[:, 1:], percentile))


def connecting_cutoff(coordinates: np.ndarray) -> float:
    """Smallest cutoff in Å at which every node (N, 3) can be reached: the longest edge of the minimum spanning tree."""
    tree = cKDTree(coordinates)
    nearest, _ = tree.query(coordinates, k=2)
    radius = float(nearest[:, 1].max()) * 1.001
    extent = float(np.linalg.norm(np.ptp(coordinates, axis=0))) or 1.0
    while True:
        graph = tree.sparse_distance_matrix(tree, radius, output_type="coo_matrix").tocsr()
        n_parts, _ = csgraph.connected_components(graph, directed=False)
        if n_parts == 1:
            return float(csgraph.minimum_spanning_tree(graph).data.max())
        if radius > extent:
            raise InputError("the coordinates are too far apart to connect; expected one structure in Å")
        radius *= 1.5


def count_parts(coordinates: np.ndarray, cutoff: float, blocks: np.ndarray | None = None) -> int:
    """Count the separate parts of the network (N, 3); atoms of one rigid block belong together."""
    tree = cKDTree(coordinates)
    pairs = tree.query_pairs(cutoff, output_type="ndarray")
    node = np.arange(len(coordinates)) if blocks is None else blocks
    n_nodes = int(node.max()) + 1
    links = sparse.coo_matrix((np.ones(len(pairs)), (node[pairs[:, 0]], node[pairs[:, 1]])), shape=(n_nodes, n_nodes))
    return int(csgraph.connected_components(links, directed=False)[0])


def stiffness(coordinates: np.ndarray, cutoff: float, blocks: np.ndarray | None = None) -> sparse.csc_matrix:
    """Sparse Hessian of unit springs over node translations, or over block translations and rotations.

    Only its nullity is meaningful for blocks: the rotations are not normalised.

    Parameters
    ----------
    coordinates
        (N, 3) Å.
    cutoff
        Å.
    blocks
        (N,) block numbers, or None.

    Returns
    -------
    scipy.sparse.csc_matrix
        (3N, 3N), or (6B, 6B) for B blocks.
    """
    pairs = cKDTree(coordinates).query_pairs(cutoff, output_type="ndarray")
    if blocks is not None:
        pairs = pairs[blocks[pairs[:, 0]] != blocks[pairs[:, 1]]]
    first, second = pairs[:, 0], pairs[:, 1]
    direction = coordinates[second] - coordinates[first]
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)  # (P, 3)
    rows = np.arange(len(pairs))
    if blocks is None:
        values = [-direction, direction]
        columns = [3 * end[:, None] + np.arange(3) for end in (first, second)]
        width = 3 * len(coordinates)
    else:
        n_blocks = int(blocks.max()) + 1
        size = np.bincount(blocks)
        centre = np.stack([np.bincount(blocks, coordinates[:, axis]) / size for axis in range(3)], axis=1)
        radius = max(float(np.sqrt(((coordinates - centre[blocks]) ** 2).sum(axis=1).mean())), 1e-3)
        values, columns = [], []
        for end, sign in ((first, -1.0), (second, 1.0)):
            arm = (coordinates[end] - centre[blocks[end]]) / radius
            values.append(sign * np.hstack([direction, np.cross(arm, direction)]))
            columns.append(6 * blocks[end][:, None] + np.arange(6))
        width = 6 * n_blocks
    data = np.hstack(values)
    index = np.hstack(columns)
    springs = sparse.csr_matrix(
        (data.ravel(), (np.repeat(rows, data.shape[1]), index.ravel())), shape=(len(pairs), width)
    )
    return (springs.T @ springs).tocsc()


def count_zero_modes(matrix: sparse.spmatrix) -> int:
    """Count the eigenvalues below `ZERO_EIGENVALUE` of a positive semidefinite matrix.

    By Sylvester's law of inertia it is the number of negative pivots of the matrix shifted by that much.
    """
    shifted = (matrix - ZERO_EIGENVALUE * sparse.identity(matrix.shape[0])).tocsc()
    factors = splu(shifted, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
    if (factors.perm_r == factors.perm_c).all():
        return int(np.count_nonzero(factors.U.diagonal() < 0))
    return int(np.count_nonzero(np.linalg.eigvalsh(matrix.toarray()) < ZERO_EIGENVALUE))


def rigid_cutoff(coordinates: np.ndarray, blocks: np.ndarray | None, above: float) -> float | None:
    """Smallest cutoff, rounded up to 0.1 Å, at which the network has exactly six zero modes.

    Springs only add stiffness, so the number of zero modes falls as the cutoff grows and bisection finds the place.

    Parameters
    ----------
    coordinates
        (N, 3) Å.
    blocks
        (N,) block numbers, or None.
    above
        Cutoff in Å that is known to be too small.

    Returns
    -------
    float or None
        None where no cutoff up to the extent of the structure is enough.
    """

    def is_rigid(steps: int) -> bool:
        return count_zero_modes(stiffness(coordinates, steps * _ROUND_ANGST, blocks)) == N_RIGID

    low = math.floor(above / _ROUND_ANGST)
    if blocks is None:
        low = max(low, math.ceil(connecting_cutoff(coordinates) / _ROUND_ANGST) - 1)
    most = math.ceil(float(np.linalg.norm(np.ptp(coordinates, axis=0))) / _ROUND_ANGST) + 1
    high = low + 1
    while not is_rigid(high):
        if high >= most:
            return None
        low, high = high, min(math.ceil(high * 1.25) + 1, most)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_rigid(middle) else (middle, high)
    return round(high * _ROUND_ANGST, 6)
