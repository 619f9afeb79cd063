"""How well modes describe the way from their reference to another structure of the same molecule."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from ..structure.atoms import Structure
from ..structure.superpose import match_atoms, superpose
from .modes import NormalModes
from .rigid_motion import node_motions


@dataclass(frozen=True, eq=False)
class Transition:
    """Overlap of modes with the displacement from the reference to a target.

    Attributes
    ----------
    indices
        (M,) mode numbers.
    overlap
        (M,) absolute cosine between each mode and the displacement.
    cumulative
        (M,) share of the displacement's length that the first 1 ... M modes hold together.
    amplitudes
        (M,) Å, of all modes together, that come closest to the target.
    rmsd
        Å, after superposition, with no mode moved.
    n_matched, n_atoms
        Atoms compared, atoms of the reference.
    rule
        How atoms were matched.
    """

    indices: np.ndarray
    overlap: np.ndarray
    cumulative: np.ndarray
    amplitudes: np.ndarray
    rmsd: float
    n_matched: int
    n_atoms: int
    rule: str

    @property
    def rmsd_left(self) -> np.ndarray:
        """RMSD (M,) in Å that the first 1 ... M modes leave."""
        return self.rmsd * np.sqrt(np.maximum(1 - self.cumulative**2, 0))


def transition_to(modes: NormalModes, reference: Structure, target: Structure) -> Transition:
    """Compare modes with the displacement to a target, superposed on the reference by least squares.

    Parameters
    ----------
    modes
        Of the atoms of `reference`.
    reference
        N atoms, as the modes have them.
    target
        The same molecule; atoms are matched by name or by sequence (`structure.superpose.match_atoms`) and only those
        with a partner count.

    Raises
    ------
    InputError
        If the structures do not match or are the same.
    """
    match = match_atoms(reference, target)
    start, end = reference.coordinates[match.first], target.coordinates[match.second]
    rotation, translation, rmsd = superpose(end, start)
    if rmsd < 1e-3:
        raise InputError("the target is the reference itself (RMSD below 0.001 Å); give another conformation")
    displacement = (end @ rotation.T + translation - start).ravel()
    vectors = modes.vectors[:, match.first].reshape(len(modes), -1)  # (M, 3n)
    # the superposition took rigid motions of the matched atoms out of the displacement, so they do not count in modes
    rigid = np.linalg.qr(node_motions(start - start.mean(axis=0)).reshape(-1, 6))[0]
    vectors = vectors - (vectors @ rigid) @ rigid.T
    length = np.linalg.norm(displacement)
    overlap = np.abs(vectors @ displacement) / (np.linalg.norm(vectors, axis=1) * length)
    # parts of the vectors need not be orthogonal, so cumulative figures come from projections
    basis, triangle = np.linalg.qr(vectors.T)
    along = basis.T @ displacement
    cumulative = np.sqrt(np.cumsum(along**2)) / length
    return Transition(
        indices=modes.indices,
        overlap=overlap,
        cumulative=np.minimum(cumulative, 1.0),
        amplitudes=np.linalg.solve(triangle, along),
        rmsd=rmsd,
        n_matched=len(match.first),
        n_atoms=len(reference),
        rule=match.rule,
    )
