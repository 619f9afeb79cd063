"""The reference: nodes that move (one per residue), and the atoms that follow them and make the image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from ..dynamics.elastic_network import rigid_body_modes
from ..dynamics.modes import default_sigma
from ..structure.atoms import Structure, representation

NEIGHBOURS = 6  # nodes that an atom follows
BLOB_ATOMS = 6  # of one residue; blobs of whole residues, all of one width, double the errors of structures
_LARGEST = 1 << 24  # entries of the matrix from nodes to atoms; beyond, residues are projected, each moved by its node
_SOFTENING = 1.0  # Å^2, keeps the weight of a node that coincides with the atom finite


@dataclass(frozen=True, eq=False)
class FlexibleReference:
    """What is deformed and projected. Coordinates are in Å about the point that projects to the centre of the box.

    Attributes
    ----------
    nodes
        (N, 3) CA of amino acids and P of nucleotides, or pseudoatoms.
    atoms
        (A, 3) what is projected.
    weights
        (A,) projected mass, summing to one.
    following
        (A, N) float32 displacement of the atoms by that of the nodes; None where each is moved by its node.
    chain
        (M, 2) indices of nodes that are neighbours along an unbroken chain.
    sigma
        Gaussian width of an atom to start from, Å.
    centre
        (3,) Å, what was subtracted from the coordinates of the file.
    structure
        The nodes as atoms of a structure, with the coordinates of the file.
    node_rows
        (N,) which heavy atom of the file each node is.
    """

    nodes: np.ndarray
    atoms: np.ndarray
    weights: np.ndarray
    following: np.ndarray | None
    chain: np.ndarray
    sigma: float
    centre: np.ndarray
    structure: Structure
    node_rows: np.ndarray

    @classmethod
    def of(cls, heavy: Structure, *, blobs: bool = False) -> FlexibleReference:
        """Make from the heavy atoms of a structure file, or from pseudoatoms.

        Parameters
        ----------
        heavy
            As `structure.reader.read_structure` gives it.
        blobs
            Project blobs of at most `BLOB_ATOMS` atoms of a residue instead of all atoms. Either follow the nodes
            around them, where the file has more than nodes. A structure so large that this takes too much memory is
            projected as one blob per residue, moved by its node.

        Raises
        ------
        InputError
            If there is no node.
        """
        nodes = representation(heavy, "ca-p")
        rows = np.arange(len(heavy)) if heavy.is_pseudoatomic else _rows(heavy, nodes)
        centre = heavy.coordinates.mean(axis=0)
        places = nodes.coordinates - centre
        atoms, weights = _projected(heavy, nodes, rows, blobs=blobs)
        atoms = atoms - centre
        whole = len(heavy) > 2 * len(nodes)
        return cls(
            nodes=places,
            atoms=atoms,
            weights=weights / weights.sum(),
            following=follow_neighbours(places, atoms) if whole and len(atoms) * len(nodes) <= _LARGEST else None,
            chain=chain_neighbours(nodes),
            sigma=default_sigma(heavy if len(atoms) == len(heavy) else nodes),
            centre=centre,
            structure=nodes,
            node_rows=rows,
        )

    def rigid_part(self) -> tuple[np.ndarray, np.ndarray]:
        """Find what a displacement of the nodes moves and turns as a whole, judged by all projected atoms.

        Returns
        -------
        motions
            (6, 3N) displacements of the nodes in three translations and three rotations.
        amounts
            (6, 3N); times a displacement it gives how much of each there is. ``d - motions.T @ amounts @ d`` leaves the
            atoms where superposing them on the reference would put them, to first order.
        """
        motions = rigid_body_modes(self.nodes).reshape(6, -1)
        if self.following is None:
            return motions, motions
        follow = self.following.astype(np.float64)
        moved = np.einsum("an,knc->kac", follow, motions.reshape(6, -1, 3))  # the same motions of the atoms
        solve = np.linalg.pinv(moved.reshape(6, -1).T).reshape(6, -1, 3)
        return motions, np.einsum("kac,an->knc", solve, follow).reshape(6, -1)

    @property
    def radius(self) -> float:
        """Distance in Å from the centre that holds all projected atoms."""
        return float(np.linalg.norm(self.atoms, axis=1).max())


def follow_neighbours(nodes: np.ndarray, atoms: np.ndarray) -> np.ndarray:
    """Weights (A, N) by which atoms follow the nodes around them.

    They reproduce every affine motion of the nodes exactly, rigid ones included, so a domain that turns takes its side
    chains along; among such weights those of the nearest nodes are preferred.

    Parameters
    ----------
    nodes, atoms
        (N, 3) and (A, 3) Å.
    """
    count = min(NEIGHBOURS, len(nodes))
    distance, near = cKDTree(nodes).query(atoms, k=count)
    distance, near = distance.reshape(len(atoms), count), near.reshape(len(atoms), count)
    trust = 1.0 / (distance**2 + _SOFTENING)
    # sum of weights 1, weighted place = place of the atom: four conditions, least norm
    offset = nodes[near] - atoms[:, None]  # (A, k, 3)
    conditions = np.concatenate([np.ones((len(atoms), 1, count)), offset.transpose(0, 2, 1)], axis=1)  # (A, 4, k)
    metric = conditions * trust[:, None]
    gram = metric @ conditions.transpose(0, 2, 1)
    gram += 1e-9 * np.trace(gram, axis1=1, axis2=2)[:, None, None] * np.eye(4)
    wanted = np.broadcast_to(np.eye(4)[:, :1], (len(atoms), 4, 1))
    weights = (metric.transpose(0, 2, 1) @ np.linalg.solve(gram, wanted))[..., 0]
    weights /= weights.sum(axis=1, keepdims=True)
    full = np.zeros((len(atoms), len(nodes)), dtype=np.float32)
    np.put_along_axis(full, near, weights.astype(np.float32), axis=1)
    return full


def chain_neighbours(nodes: Structure) -> np.ndarray:
    """Pairs (M, 2) of nodes that follow each other in an unbroken stretch of a chain; none for pseudoatoms."""
    if nodes.is_pseudoatomic:
        return np.zeros((0, 2), dtype=np.int64)
    joined = np.flatnonzero(nodes.segment_index[1:] == nodes.segment_index[:-1])
    return np.stack([joined, joined + 1], axis=1)


def _projected(heavy: Structure, nodes: Structure, rows: np.ndarray, *, blobs: bool) -> tuple[np.ndarray, np.ndarray]:
    """Places (A, 3) and masses (A,) of what makes the image."""
    if len(heavy) <= 2 * len(nodes):
        return nodes.coordinates, nodes.weights
    if not blobs and len(heavy) * len(nodes) <= _LARGEST:
        return heavy.coordinates, heavy.weights
    pieces = _pieces(heavy)
    if (int(pieces.max()) + 1) * len(nodes) <= _LARGEST:
        return _centres(heavy, pieces)
    places, _ = _centres(heavy, heavy.residue_index)
    return places[heavy.residue_index[rows]], nodes.weights


def _pieces(heavy: Structure) -> np.ndarray:
    """Which piece of a residue each atom belongs to (n,): even shares in the order of the file, backbone first."""
    first = np.r_[0, np.flatnonzero(np.diff(heavy.residue_index)) + 1]
    size = np.diff(np.r_[first, len(heavy)])
    count = np.ceil(size / BLOB_ATOMS).astype(np.int64)
    within = np.arange(len(heavy)) - np.repeat(first, size)
    before = np.repeat(np.cumsum(count) - count, size)
    return before + within * np.repeat(count, size) // np.repeat(size, size)


def _centres(heavy: Structure, part: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centres (P, 3) and masses (P,) of parts of a structure."""
    mass = np.bincount(part, heavy.weights)
    sums = [np.bincount(part, heavy.weights * axis) for axis in heavy.coordinates.T]
    return np.stack(sums, axis=1) / mass[:, None], mass


def _rows(heavy: Structure, nodes: Structure) -> np.ndarray:
    """Which atom each node is: the coordinates are copies, and residues keep their order."""
    rows: list[int] = []
    start = 0
    for place in nodes.coordinates:
        start = int(np.flatnonzero((heavy.coordinates[start:] == place).all(axis=1))[0]) + start
        rows.append(start)
        start += 1
    return np.array(rows, dtype=np.int64)
