"""The springs of an elastic network: which nodes they join and in which direction they act."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree


@dataclass(frozen=True, eq=False)
class Springs:
    """Unit springs between nodes, in ascending order of their ends.

    Attributes
    ----------
    first, second
        (P,) the ends, first < second.
    direction
        (P, 3) unit vector from first to second.
    n_nodes
        Number of nodes.
    """

    first: np.ndarray
    second: np.ndarray
    direction: np.ndarray
    n_nodes: int

    def __len__(self) -> int:
        return len(self.first)

    def take(self, selection: np.ndarray) -> Springs:
        """Keep the springs of a mask or of an index array."""
        return Springs(self.first[selection], self.second[selection], self.direction[selection], self.n_nodes)


def find_springs(coordinates: np.ndarray, cutoff: float) -> Springs:
    """Join all nodes (N, 3) that are nearer than a cutoff in Å."""
    n_nodes = len(coordinates)
    pairs = cKDTree(coordinates).query_pairs(cutoff, output_type="ndarray")
    order = np.argsort(pairs[:, 0] * n_nodes + pairs[:, 1])
    first, second = pairs[order, 0], pairs[order, 1]
    direction = coordinates[second] - coordinates[first]
    direction /= np.sqrt(np.einsum("pi,pi->p", direction, direction))[:, None]
    return Springs(first, second, direction, n_nodes)


def count_springs(coordinates: np.ndarray, cutoff: float) -> int:
    """Count the springs without making them."""
    tree = cKDTree(coordinates)
    return (int(tree.count_neighbors(tree, cutoff)) - len(coordinates)) // 2
