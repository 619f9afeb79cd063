"""Soft motions of the reference: the normal modes of its elastic network, rigid-body motion left out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..dynamics.elastic_network import compute_modes
from ..dynamics.network import connecting_cutoff

CUTOFF = 15.0  # Å between nodes of one per residue
MOST_MODES = 600  # of a larger network only the softest are taken
_RIGID = 6


@dataclass(frozen=True, eq=False)
class ElasticBasis:
    """Motions that displacements are made of.

    Attributes
    ----------
    vectors
        (K, N, 3) displacement in Å per unit of coefficient; coefficients are of order one where the structure moves by
        `spread` along its softest mode and by as much less along others as these are stiffer. No combination moves or
        turns the structure as a whole: its superposition on the reference changes nothing.
    """

    vectors: np.ndarray

    def __len__(self) -> int:
        return len(self.vectors)


def elastic_basis(nodes: np.ndarray, spread: float, n_modes: int = MOST_MODES) -> ElasticBasis:
    """Make the basis from the elastic network of the nodes.

    Parameters
    ----------
    nodes
        (N, 3) Å.
    spread
        Expected RMSD along the softest mode, Å.
    n_modes
        At most so many.

    Raises
    ------
    DisconnectedNetworkError, InputError
        If the nodes cannot have normal modes.
    """
    wanted = min(3 * len(nodes), _RIGID + n_modes)
    values, vectors, _ = compute_modes(nodes, None, max(CUTOFF, connecting_cutoff(nodes)), wanted)
    values, vectors = values[_RIGID:], vectors[_RIGID:]
    # thermal motion goes as eigenvalue^-1/2; sqrt(N) makes a unit-norm mode an RMSD of 1 Å
    size = spread * np.sqrt(len(nodes) * values[0] / values)
    return ElasticBasis((vectors * size[:, None, None]).astype(np.float32))
