"""Geometry of an elastic network: cutoffs, connection."""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.sparse import csgraph
from scipy.spatial import cKDTree

from ..errors import InputError

ZERO_EIGENVALUE = 1e-6  # below this (spring constant 1) a mode costs no energy
N_RIGID = 6
_SAME_PLACE_ANGST = 1e-3
_FLAT_ANGST = 1e-3


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
