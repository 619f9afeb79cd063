"""The structure data model: one array per property, all of them over the atoms in file order."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass, fields, replace
from typing import Literal

import gemmi
import numpy as np

from ..errors import InputError

log = logging.getLogger(__name__)

Representation = Literal["all-atom", "ca-p"]
_HISTIDINES_AND_CO = frozenset({"HSD", "HSE", "HSP", "HID", "HIE", "HIP", "CYX", "CYM", "ASH", "GLH", "LYN"})
_NUCLEOTIDES = frozenset({"ADE", "GUA", "CYT", "THY", "URA", "RA", "RG", "RC", "RU"})


@dataclass(frozen=True, eq=False)
class Structure:
    """Atoms or pseudoatoms as a structure of arrays, in file order.

    Attributes
    ----------
    coordinates
        (N, 3) float64, Å.
    element
        (N,) element symbols (``"C"``); ``"X"`` where unknown.
    atom_name, residue_name, chain, insertion_code
        (N,) text as in the file (author numbering); the insertion code is ``""`` where there is none.
    residue_number
        (N,) author residue numbers.
    residue_index
        (N,) 0-based residue in file order. Residues of equal chain and number stay apart.
    chain_index
        (N,) 0-based chain in file order; a TER record starts a new one even when the label stays.
    segment_index
        (N,) 0-based stretch of unbroken numbering within one chain; no rigid block crosses its ends.
    b_factor, occupancy
        (N,) as in the file.
    weights
        (N,) projection weight: atomic number of an atom, density weight of a pseudoatom.
    hetero
        (N,) True for HETATM records.
    sigma
        Gaussian width of a pseudoatom in Å; None for atoms.
    """

    coordinates: np.ndarray
    element: np.ndarray
    atom_name: np.ndarray
    residue_name: np.ndarray
    residue_number: np.ndarray
    insertion_code: np.ndarray
    chain: np.ndarray
    residue_index: np.ndarray
    chain_index: np.ndarray
    segment_index: np.ndarray
    b_factor: np.ndarray
    occupancy: np.ndarray
    weights: np.ndarray
    hetero: np.ndarray
    sigma: float | None = None

    def __post_init__(self) -> None:
        n_atoms = len(self.coordinates)
        if self.coordinates.shape != (n_atoms, 3):
            raise ValueError(f"coordinates have shape {self.coordinates.shape}, expected (N, 3)")
        for field in fields(self):
            values = getattr(self, field.name)
            if isinstance(values, np.ndarray) and len(values) != n_atoms:
                raise ValueError(f"{field.name} has {len(values)} entries for {n_atoms} atoms")

    def __len__(self) -> int:
        return len(self.coordinates)

    @property
    def n_atoms(self) -> int:
        """Number of (pseudo)atoms."""
        return len(self.coordinates)

    @property
    def n_residues(self) -> int:
        """Number of residues, counted in file order."""
        return int(self.residue_index[-1]) + 1 if len(self) else 0

    @property
    def is_pseudoatomic(self) -> bool:
        """Whether these are Gaussians fitted to a map rather than atoms."""
        return self.sigma is not None

    def take(self, selection: np.ndarray) -> Structure:
        """Keep the atoms of a mask (N,) or of an ascending index array.

        Residues are renumbered without holes; chains and segments keep their index, so breaks stay where they were.
        """
        kept = {
            field.name: getattr(self, field.name)[selection]
            for field in fields(self)
            if isinstance(getattr(self, field.name), np.ndarray)
        }
        kept["residue_index"] = dense_index(kept["residue_index"])
        return replace(self, **kept)

    def with_coordinates(self, coordinates: np.ndarray) -> Structure:
        """Return the same atoms at other places; coordinates (N, 3) in Å."""
        return replace(self, coordinates=np.asarray(coordinates, dtype=np.float64))


def dense_index(labels: np.ndarray) -> np.ndarray:
    """Turn labels (N,) into 0-based numbers that grow by one wherever the label changes."""
    labels = np.asarray(labels)
    if not len(labels):
        return np.zeros(0, dtype=np.int64)
    return np.concatenate(([0], np.cumsum(labels[1:] != labels[:-1]))).astype(np.int64)


def nameless(coordinates: np.ndarray, weights: np.ndarray) -> Structure:
    """Make a structure of points (N, 3) in Å of which nothing is known but their weights (N,): one GLY CA each."""
    count = len(coordinates)
    return Structure(
        coordinates=np.asarray(coordinates, dtype=np.float64),
        element=np.full(count, "C"),
        atom_name=np.full(count, "CA"),
        residue_name=np.full(count, "GLY"),
        residue_number=np.arange(1, count + 1),
        insertion_code=np.full(count, ""),
        chain=np.full(count, "A"),
        residue_index=np.arange(count),
        chain_index=np.zeros(count, dtype=np.int64),
        segment_index=np.zeros(count, dtype=np.int64),
        b_factor=np.zeros(count),
        occupancy=np.ones(count),
        weights=np.asarray(weights, dtype=np.float64),
        hetero=np.zeros(count, dtype=bool),
    )


def is_amino_acid_name(residue_name: str) -> bool:
    """Whether a residue name is that of an amino acid, modified ones and force-field dialects included."""
    return residue_name in _HISTIDINES_AND_CO or gemmi.find_tabulated_residue(residue_name).is_amino_acid()


def is_nucleotide_name(residue_name: str) -> bool:
    """Whether a residue name is that of a nucleotide."""
    return residue_name in _NUCLEOTIDES or gemmi.find_tabulated_residue(residue_name).is_nucleic_acid()


def representation(structure: Structure, kind: Representation = "all-atom") -> Structure:
    """Choose the nodes that stand for a structure.

    Parameters
    ----------
    structure
        All heavy atoms, or pseudoatoms (returned as they are).
    kind
        ``"all-atom"``, or ``"ca-p"``: the CA of each amino acid and the P of each nucleotide, with the summed atomic
        numbers of its residue as weight. What has neither (ligands, a 5' end without phosphate) is left out and said.

    Raises
    ------
    InputError
        If no residue has a CA or P atom.
    """
    if kind == "all-atom" or structure.is_pseudoatomic:
        return structure
    node = _is_backbone_node(structure)
    if not node.any():
        raise InputError(
            f"representation ca-p: found no amino acid with a CA and no nucleotide with a P among "
            f"{structure.n_residues} residues, expected at least one; use --representation all-atom"
        )
    residue_weight = np.bincount(structure.residue_index, weights=structure.weights, minlength=structure.n_residues)
    without = np.setdiff1d(structure.residue_index, structure.residue_index[node])
    if len(without):
        first_atoms = np.searchsorted(structure.residue_index, without)
        names = Counter(str(name) for name in structure.residue_name[first_atoms])
        listed = ", ".join(f"{count} {name}" for name, count in names.most_common(8))
        log.info("ca-p: %d residues have no CA or P and are left out (%s)", len(without), listed)
    nodes = structure.take(node)
    return replace(nodes, weights=residue_weight[structure.residue_index[node]])


def _is_backbone_node(structure: Structure) -> np.ndarray:
    """Mark one atom per residue (N,): CA of amino acids, P of nucleotides."""
    named_ca = (structure.atom_name == "CA") & (structure.element == "C")
    named_p = (structure.atom_name == "P") & (structure.element == "P")
    backbone = _residues_with(structure, ("N", "C"))
    sugar = _residues_with(structure, ("C1'",)) | _residues_with(structure, ("C1*",))
    amino = {name for name in np.unique(structure.residue_name[named_ca]) if is_amino_acid_name(str(name))}
    nucleic = {name for name in np.unique(structure.residue_name[named_p]) if is_nucleotide_name(str(name))}
    is_amino = np.isin(structure.residue_name, list(amino)) | backbone[structure.residue_index]
    is_nucleic = np.isin(structure.residue_name, list(nucleic)) | sugar[structure.residue_index]
    node = (named_ca & is_amino) | (named_p & is_nucleic & ~(is_amino & backbone[structure.residue_index]))
    first = np.zeros(len(structure), dtype=bool)  # one node per residue, also for one with a CA and a phosphate
    indices = np.flatnonzero(node)
    _, where = np.unique(structure.residue_index[indices], return_index=True)
    first[indices[where]] = True
    return first


def _residues_with(structure: Structure, names: tuple[str, ...]) -> np.ndarray:
    """Which residues (n_residues,) contain all of these atoms."""
    present = np.ones(structure.n_residues, dtype=bool)
    for name in names:
        has = np.zeros(structure.n_residues, dtype=bool)
        has[structure.residue_index[structure.atom_name == name]] = True
        present &= has
    return present
