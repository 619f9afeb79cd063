"""Soft motions of the reference: the normal modes of its elastic network, rigid-body motion left out."""

from __future__ import annotations

import numpy as np

from ..dynamics.elastic_network import compute_modes
from ..dynamics.network import N_RIGID, connecting_cutoff
from .reference import FlexibleReference

CUTOFF = 15.0  # Å between nodes of one per residue
MOST_MODES = 600  # of a larger network only the softest are taken,
FEW_MODES = 200  # and fewer of one that is larger still, whose modes take minutes
_LARGE = 1500  # nodes


def elastic_basis(reference: FlexibleReference, spread: float) -> np.ndarray:
    """Motions that displacements are made of.

    No combination of them moves or turns the structure as a whole: superposing its atoms on the reference changes
    nothing.

    Parameters
    ----------
    reference
        With N nodes.
    spread
        Expected RMSD along the softest mode, Å.

    Returns
    -------
    (K, N, 3) float32, see `soft_motions`.

    Raises
    ------
    DisconnectedNetworkError, InputError
        If the nodes cannot have normal modes.
    """
    motions = soft_motions(reference, spread)[N_RIGID:]
    flat = motions.reshape(len(motions), -1)
    rigid, amounts = reference.rigid_part()  # the modes have none of the nodes, but of the atoms that follow these
    return (flat - (flat @ amounts.T) @ rigid).reshape(motions.shape).astype(np.float32)


def soft_motions(reference: FlexibleReference, spread: float) -> np.ndarray:
    """The six rigid motions of the nodes and the normal modes of their network, scaled by how far they go.

    Parameters, errors
        See `elastic_basis`.

    Returns
    -------
    (6 + K, N, 3) orthogonal, displacement in Å per unit of coefficient. Coefficients are of order one where the
    structure moves by `spread` along its softest mode, and by as much less along others as these are stiffer: half the
    sum of their squares is the energy of the network in units of kT. Rigid motions, which cost nothing, are scaled as
    the softest mode.
    """
    nodes = reference.nodes
    most = MOST_MODES if len(nodes) <= _LARGE else FEW_MODES
    wanted = min(3 * len(nodes), N_RIGID + most)
    values, vectors, _ = compute_modes(nodes, None, max(CUTOFF, connecting_cutoff(nodes)), wanted)
    values = np.maximum(values, values[N_RIGID])
    # thermal motion goes as eigenvalue^-1/2; sqrt(N) makes a unit-norm mode an RMSD of 1 Å
    size = spread * np.sqrt(len(nodes) * values[0] / values)
    return np.asarray(vectors * size[:, None, None])
