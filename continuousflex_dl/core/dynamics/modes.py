"""Normal modes as the rest of the package uses them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..errors import InputError
from ..progress import Progress, silent
from ..structure.atoms import Structure
from . import measures
from .elastic_network import compute_modes
from .network import N_RIGID

SIGMA_ATOM_ANGST = 1.0
SIGMA_RESIDUE_ANGST = 3.0  # one node per residue


@dataclass(frozen=True, eq=False)
class NormalModes:
    """Non-rigid normal modes of a structure of N (pseudo)atoms.

    Amplitude q of a mode moves the structure by ``q * vector`` in Å, an RMSD of ``|q| / sqrt(N)``.

    Attributes
    ----------
    indices
        (M,) mode numbers, 1-based; 7 is the first non-rigid one.
    eigenvalues
        (M,) for unit springs and masses.
    vectors
        (M, N, 3), unit norm over all 3N, orthogonal.
    coordinates
        (N, 3) Å, as in the structure file.
    collectivity, score
        (M,), see `measures`.
    weights
        (N,) projection weight of each (pseudo)atom.
    sigma
        Gaussian width in Å of one (pseudo)atom in projections.
    source
        File that they came from, for messages.
    """

    indices: np.ndarray
    eigenvalues: np.ndarray
    vectors: np.ndarray
    coordinates: np.ndarray
    collectivity: np.ndarray
    score: np.ndarray
    weights: np.ndarray
    sigma: float
    source: str = "the modes file"

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def n_atoms(self) -> int:
        """Number of (pseudo)atoms."""
        return len(self.coordinates)

    @property
    def centred(self) -> np.ndarray:
        """Coordinates (N, 3) in Å about their unweighted mean, the point that projects to pixel ``box // 2``."""
        return self.coordinates - self.coordinates.mean(axis=0)

    @property
    def rmsd_per_amplitude(self) -> float:
        """RMSD in Å of one unit of amplitude."""
        return measures.rmsd_per_amplitude(self.n_atoms)

    def select(self, mode_numbers: Sequence[int]) -> NormalModes:
        """Modes of these numbers, in this order.

        Raises
        ------
        InputError
            Names the modes that are missing and those that are there.
        """
        where = {int(number): position for position, number in enumerate(self.indices)}
        missing = [number for number in mode_numbers if number not in where]
        if missing:
            raise InputError(
                f"mode {', '.join(map(str, missing))} is not in {self.source}, found {describe_numbers(self.indices)}"
                "; choose among these or compute more modes (cflex nma --n-modes)"
            )
        positions = [where[number] for number in mode_numbers]
        return replace(
            self,
            **{
                name: getattr(self, name)[positions]
                for name in ("indices", "eigenvalues", "vectors", "collectivity", "score")
            },
        )

    def displace(self, amplitudes: np.ndarray) -> np.ndarray:
        """Coordinates (..., N, 3) in Å, in the frame of `coordinates`, for amplitudes (..., M) in Å."""
        amplitudes = np.asarray(amplitudes, dtype=np.float64)
        if amplitudes.shape[-1:] != (len(self),):
            raise ValueError(f"amplitudes have shape {amplitudes.shape}, expected (..., {len(self)})")
        return self.coordinates + np.tensordot(amplitudes, self.vectors, axes=(-1, 0))


def normal_modes(
    structure: Structure,
    blocks: np.ndarray | None,
    cutoff: float,
    n_modes: int = 20,
    sigma: float | None = None,
    progress: Progress = silent,
) -> NormalModes:
    """Compute modes 7 to `n_modes` of a structure.

    Parameters
    ----------
    structure
        N nodes, see `structure.atoms.representation`.
    blocks, cutoff, progress
        See `elastic_network.compute_modes`; the cutoff is in Å.
    n_modes
        Modes to compute, the six rigid-body ones counted; those take part in the ranking of `score` and are not kept.
    sigma
        Gaussian width in Å; by default that of the pseudoatoms, 1.0 for atoms, 3.0 for one node per residue.
    """
    values, vectors, _ = compute_modes(structure.coordinates, blocks, cutoff, n_modes, progress)
    collective = measures.collectivity(vectors)
    scores = measures.score(collective)
    return NormalModes(
        indices=np.arange(N_RIGID + 1, n_modes + 1),
        eigenvalues=values[N_RIGID:],
        vectors=vectors[N_RIGID:],
        coordinates=structure.coordinates,
        collectivity=collective[N_RIGID:],
        score=scores[N_RIGID:],
        weights=structure.weights,
        sigma=default_sigma(structure) if sigma is None else sigma,
    )


def default_sigma(structure: Structure) -> float:
    """Gaussian width in Å for the projection of a structure's nodes."""
    if structure.sigma is not None:
        return structure.sigma
    one_per_residue = structure.n_residues == structure.n_atoms and bool(
        np.isin(structure.atom_name, ("CA", "P")).all()
    )
    return SIGMA_RESIDUE_ANGST if one_per_residue else SIGMA_ATOM_ANGST


def describe_numbers(numbers: np.ndarray) -> str:
    """Mode numbers as people write them: ``7-20, 23``."""
    parts: list[list[int]] = []
    for number in sorted(int(number) for number in numbers):
        if parts and number == parts[-1][1] + 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in parts) or "none"
