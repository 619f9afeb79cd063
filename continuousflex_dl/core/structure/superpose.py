"""Least-squares superposition, and which atoms of two structures correspond."""

from __future__ import annotations

import re
from collections.abc import Hashable
from dataclasses import dataclass

import gemmi
import numpy as np

from ..errors import InputError
from .atoms import Structure

_ENOUGH = 0.5  # of the smaller structure must match before a looser rule is tried
_NEIGHBOURS = 4  # on either side in an alignment; as many of them and the residue itself must be identical
_RESIDUES = {
    "HSD": "HIS", "HSE": "HIS", "HSP": "HIS", "HID": "HIS", "HIE": "HIS", "HIP": "HIS", "CYX": "CYS", "CYM": "CYS",
    "CSS": "CYS", "ASH": "ASP", "GLH": "GLU", "LYN": "LYS", "MSE": "MET", "ADE": "A", "GUA": "G", "CYT": "C",
    "URA": "U", "THY": "T", "DA": "A", "DG": "G", "DC": "C", "DT": "T", "RA": "A", "RG": "G", "RC": "C", "RU": "U",
}  # fmt: skip
_ATOMS = {"OT1": "O", "OT2": "OXT", "OT": "OXT", "O1P": "OP1", "O2P": "OP2"}
_ATOMS_OF = {("ILE", "CD"): "CD1", ("MET", "SE"): "SD"}


def superpose(
    mobile: np.ndarray, target: np.ndarray, weights: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, float]:
    """Find the rotation and translation that bring points onto others in the least-squares sense (Kabsch 1976).

    Parameters
    ----------
    mobile, target
        (n, 3) Å, row by row the same points.
    weights
        (n,) non-negative; equal by default.

    Returns
    -------
    rotation
        (3, 3), proper; ``mobile @ rotation.T + translation`` lies on `target`.
    translation
        (3,) Å.
    rmsd
        Weighted root mean square distance in Å after superposition.
    """
    if mobile.shape != target.shape or mobile.ndim != 2 or mobile.shape[1] != 3:
        raise ValueError(f"shapes {mobile.shape} and {target.shape}, expected twice (n, 3)")
    share = np.full(len(mobile), 1 / len(mobile)) if weights is None else weights / weights.sum()
    mobile_centre, target_centre = share @ mobile, share @ target
    left, _, right = np.linalg.svd(((mobile - mobile_centre) * share[:, None]).T @ (target - target_centre))
    handedness = np.sign(np.linalg.det(left @ right))
    rotation = (left @ np.diag([1.0, 1.0, handedness]) @ right).T
    translation = target_centre - rotation @ mobile_centre
    difference = mobile @ rotation.T + translation - target
    return rotation, translation, float(np.sqrt(share @ (difference**2).sum(axis=1)))


@dataclass(frozen=True, eq=False)
class AtomMatch:
    """Atoms that correspond in two structures.

    Attributes
    ----------
    first, second
        (n,) indices into the two structures, in the order of the first.
    rule
        How they were matched, for messages.
    unmatched_first, unmatched_second
        Atoms without a partner.
    """

    first: np.ndarray
    second: np.ndarray
    rule: str
    unmatched_first: int
    unmatched_second: int


def match_atoms(first: Structure, second: Structure) -> AtomMatch:
    """Pair the atoms of two structures.

    By chain, residue number, residue name and atom name; of repeated names the k-th in file order pairs with the k-th.
    Where that finds less than half of the smaller structure, chain names are ignored (a PSF names segments), and where
    that fails as well, residues are paired by aligning the sequences (two files may number them differently).
    Force-field dialects count as the same name (HSD and HIS, OT2 and OXT).

    Raises
    ------
    InputError
        If no rule matches at least half of the smaller structure.
    """
    rules = (
        ("chain, residue and atom name", lambda: (_names(first, True), _names(second, True))),
        ("residue and atom name (chain names differ)", lambda: (_names(first, False), _names(second, False))),
        ("aligned sequences (residue numbers differ)", lambda: _aligned_names(first, second)),
    )
    best = 0.0
    for rule, keys in rules:
        rows_first, rows_second = _pair(*keys())
        matched = len(rows_first) / max(1, min(len(first), len(second)))
        if matched >= _ENOUGH:
            missing = len(first) - len(rows_first), len(second) - len(rows_second)
            return AtomMatch(rows_first, rows_second, rule, *missing)
        best = max(best, matched)
    raise InputError(
        f"two structures of {len(first)} and {len(second)} atoms share {best:.0%} of their atoms by chain, residue and "
        "atom name or by sequence, expected at least half; give two conformations of the same molecule"
    )


def _pair(first: list[Hashable], second: list[Hashable]) -> tuple[np.ndarray, np.ndarray]:
    """Rows whose keys agree; the k-th of equal keys with the k-th."""
    rows: dict[Hashable, int] = {key: row for row, key in enumerate(_numbered(second))}
    pairs = [(row, rows[key]) for row, key in enumerate(_numbered(first)) if key in rows]
    array = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    return array[:, 0], array[:, 1]


def _numbered(keys: list[Hashable]) -> list[Hashable]:
    seen: dict[Hashable, int] = {}
    numbered = []
    for key in keys:
        seen[key] = seen.get(key, 0) + 1
        numbered.append((key, seen[key]))
    return numbered


def _residue_and_atom_names(structure: Structure) -> tuple[list[str], list[str]]:
    residues = [_RESIDUES.get(name, name) for name in structure.residue_name.tolist()]
    atoms = [_ATOMS.get(name, name).replace("*", "'") for name in structure.atom_name.tolist()]
    return residues, [_ATOMS_OF.get(key, key[1]) for key in zip(residues, atoms, strict=True)]


def _names(structure: Structure, with_chain: bool) -> list[Hashable]:
    residues, atoms = _residue_and_atom_names(structure)
    chains = structure.chain.tolist() if with_chain else [""] * len(structure)
    numbers, codes = structure.residue_number.tolist(), structure.insertion_code.tolist()
    return list(zip(chains, numbers, codes, residues, atoms, strict=True))


def _aligned_names(first: Structure, second: Structure) -> tuple[list[Hashable], list[Hashable]]:
    """Keys of position in the sequence alignment and atom name; residues that are not identical get no partner."""
    names = [_residue_and_atom_names(structure) for structure in (first, second)]
    sequences = []
    for structure, (residues, _) in zip((first, second), names, strict=True):
        starts = np.searchsorted(structure.residue_index, np.arange(structure.n_residues))
        sequences.append([residues[start] for start in starts])
    cigar = gemmi.align_string_sequences(*sequences, []).cigar_str()
    partner = _partners(cigar, sequences)
    keys_first = [
        (partner.get(residue, -1 - residue), atom)
        for residue, atom in zip(first.residue_index.tolist(), names[0][1], strict=True)
    ]
    return keys_first, list(zip(second.residue_index.tolist(), names[1][1], strict=True))


def _partners(cigar: str, sequences: list[list[str]]) -> dict[int, int]:
    """Residue of the second sequence for each identical one of the first, from an alignment like ``12M3I40M``.

    Where few neighbours are identical as well, the alignment put unrelated residues side by side; they do not count.
    """
    partner: dict[int, int] = {}
    position = [0, 0]
    for length, letter in re.findall(r"(\d+)([MID])", cigar):
        count = int(length)
        if letter == "M":
            pairs = [(position[0] + step, position[1] + step) for step in range(count)]
            same = np.array([sequences[0][i] == sequences[1][j] for i, j in pairs])
            around = np.convolve(same, np.ones(2 * _NEIGHBOURS + 1), mode="full")[_NEIGHBOURS : _NEIGHBOURS + count]
            partner.update(pairs[k] for k in np.flatnonzero(same & (around >= _NEIGHBOURS)))
        position[0] += count if letter in "MI" else 0
        position[1] += count if letter in "MD" else 0
    return partner
