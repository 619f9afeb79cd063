"""Reading a structure: which atoms are kept, how residues and chains are told apart."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import gemmi
import numpy as np

from ..errors import InputError
from .atoms import Structure, dense_index, is_amino_acid_name, is_nucleotide_name
from .table import AtomTable, read_table

_UNKNOWN_WEIGHT = 6.0  # an unknown element projects like carbon


def read_structure(
    path: str | os.PathLike[str], model: int = 1, *, keep_all: bool = False
) -> tuple[Structure, list[str]]:
    """Read the heavy atoms (or the pseudoatoms) of a PDB or mmCIF file, ``.gz`` too.

    Hydrogens, waters and ions of a single atom are dropped; ligands, modified residues and nucleic acids are kept. Of
    alternative places the one with the highest occupancy is kept. Residues and chains are told apart in file order.

    Parameters
    ----------
    path
        Structure file. A PDB file with ``REMARK fixedGaussian`` holds pseudoatoms: all its records are kept, with the
        weight from the B-factor column (or what ``REMARK intensityColumn`` names).
    model
        Which model of a file with several, 1-based in file order.
    keep_all
        Keep hydrogens, waters and ions, for modes that another program computed with them.

    Returns
    -------
    tuple
        The structure, and notes on what was chosen or dropped (one sentence each).

    Raises
    ------
    InputError
        If the file is missing, is not a structure, holds no atom to keep, or a coordinate is not finite.
    """
    file = Path(path)
    table = read_table(file)
    rows, n_models = model_rows(file, table, model)
    notes = [f"{file.name}: holds {n_models} models, model {model} is taken (--model chooses)"] if n_models > 1 else []
    structure, dropped = structure_of(file, table, rows, keep_all)
    return structure, notes + dropped


def read_models(path: str | os.PathLike[str]) -> tuple[list[Structure], list[str]]:
    """Read every model of a structure file, each as `read_structure` does; the notes are those of the first model."""
    file = Path(path)
    table = read_table(file)
    _, n_models = model_rows(file, table, 1)
    read = [structure_of(file, table, model_rows(file, table, number)[0]) for number in range(1, n_models + 1)]
    return [structure for structure, _ in read], read[0][1]


def model_rows(path: Path, table: AtomTable, model: int) -> tuple[np.ndarray, int]:
    """Rows of the `model`-th model, and how many models there are."""
    ordinal = dense_index(table.model)
    n_models = int(ordinal[-1]) + 1
    if not 1 <= model <= n_models:
        raise InputError(f"{path}: model {model} asked for, found {n_models}; give --model between 1 and {n_models}")
    return np.flatnonzero(ordinal == model - 1), n_models


def structure_of(path: Path, table: AtomTable, rows: np.ndarray, keep_all: bool = False) -> tuple[Structure, list[str]]:
    """Interpret the rows (n,) of one model; returns the structure and notes."""
    if table.sigma is not None:
        return _pseudoatoms(path, table, rows)
    notes: list[str] = []
    element = _elements(table, rows)
    residue = _residues(table, rows)
    heavy = ~np.isin(element, ("H", "D")) | keep_all
    if not heavy.all():
        notes.append(f"{path.name}: {np.count_nonzero(~heavy)} hydrogens dropped")
    rows, element, residue = rows[heavy], element[heavy], residue[heavy]
    if not keep_all:
        solvent, waters, ions = _solvent(table, rows, element, residue)
        if waters:
            notes.append(f"{path.name}: {waters} waters dropped")
        if ions:
            listed = ", ".join(f"{count} {name}" for name, count in sorted(ions.items()))
            notes.append(f"{path.name}: {sum(ions.values())} ions of a single atom dropped ({listed})")
        rows, element, residue = rows[~solvent], element[~solvent], residue[~solvent]
    chosen, n_alternatives = _alternatives(table, rows, residue)
    if n_alternatives:
        notes.append(
            f"{path.name}: {n_alternatives} atoms at alternative places dropped, the highest occupancy is kept"
        )
    rows, element, residue = rows[chosen], element[chosen], residue[chosen]
    if not len(rows):
        raise InputError(f"{path}: no atom is left without hydrogens, waters and ions; expected a macromolecule")
    number = np.array([gemmi.Element(str(name)).atomic_number for name in np.unique(element)])
    weights = number[np.unique(element, return_inverse=True)[1]].astype(np.float64)
    unknown = np.count_nonzero(weights == 0)
    if unknown:
        notes.append(f"{path.name}: {unknown} atoms of unknown element are weighted like carbon")
        weights[weights == 0] = _UNKNOWN_WEIGHT
    return _assemble(table, rows, element, residue, weights, None), notes


def _pseudoatoms(path: Path, table: AtomTable, rows: np.ndarray) -> tuple[Structure, list[str]]:
    weights = (table.occupancy if table.weight_column == "occupancy" else table.b_factor)[rows]
    if not (weights > 0).any():
        raise InputError(
            f"{path}: every pseudoatom has weight zero in the {table.weight_column} column, expected positive densities"
        )
    element = np.full(len(rows), "X")
    structure = _assemble(table, rows, element, np.arange(len(rows)), weights, table.sigma)
    note = f"{path.name}: {len(rows)} pseudoatoms, Gaussian width {table.sigma:g} Å, weights from {table.weight_column}"
    return structure, [note]


def _assemble(
    table: AtomTable,
    rows: np.ndarray,
    element: np.ndarray,
    residue: np.ndarray,
    weights: np.ndarray,
    sigma: float | None,
) -> Structure:
    residue = dense_index(residue)
    chain_index = dense_index(table.chain_part[rows])
    number = table.residue_number[rows]
    step = np.diff(number)
    broken = np.zeros(len(rows), dtype=bool)
    broken[1:] = (np.diff(residue) > 0) & ((step < 0) | (step > 1))
    broken[1:] |= np.diff(chain_index) > 0
    return Structure(
        coordinates=np.ascontiguousarray(table.coordinates[rows]),
        element=element,
        atom_name=table.atom_name[rows],
        residue_name=table.residue_name[rows],
        residue_number=number,
        insertion_code=table.insertion_code[rows],
        chain=table.chain[rows],
        residue_index=residue,
        chain_index=chain_index,
        segment_index=np.cumsum(broken),
        b_factor=table.b_factor[rows],
        occupancy=table.occupancy[rows],
        weights=weights.astype(np.float64),
        hetero=table.hetero[rows],
        sigma=sigma,
    )


def _residues(table: AtomTable, rows: np.ndarray) -> np.ndarray:
    """Residue of each row (n,) in file order, numbered from 0.

    A residue ends where chain part, number or insertion code change, where the name changes (unless both are
    alternatives of each other), and where an atom name comes a second time.
    """
    labels = np.empty(len(rows), dtype=np.int64)
    current = -1
    previous: tuple[int, int, str] | None = None
    name, alternative = "", ""
    seen: set[tuple[str, str, str]] = set()
    columns = (
        table.chain_part,
        table.residue_number,
        table.insertion_code,
        table.residue_name,
        table.altloc,
        table.atom_name,
    )
    values = [column[rows].tolist() for column in columns]
    for position, (part, number, code, residue_name, altloc, atom_name) in enumerate(zip(*values, strict=True)):
        key = (part, number, code)
        atom = (residue_name, atom_name, altloc)
        renamed = residue_name != name and not (altloc and alternative)
        if key != previous or renamed or atom in seen:
            current += 1
            previous = key
            seen = set()
        name, alternative = residue_name, altloc
        seen.add(atom)
        labels[position] = current
    return labels


def _elements(table: AtomTable, rows: np.ndarray) -> np.ndarray:
    """Element of each row (n,); from the atom name where the file does not say."""
    cache: dict[tuple[str, str, str, bool], str] = {}
    columns = (table.element, table.padded_name, table.residue_name, table.hetero)
    elements = []
    for key in zip(*(column[rows].tolist() for column in columns), strict=True):
        if key not in cache:
            cache[key] = _element(*key)
        elements.append(cache[key])
    return np.array(elements)


def _element(symbol: str, padded_name: str, residue_name: str, hetero: bool) -> str:
    if symbol and gemmi.Element(symbol).atomic_number:
        return gemmi.Element(symbol).name
    letters = "".join(letter for letter in padded_name if letter.isalpha()).upper()
    if not letters:
        return "X"
    biological = is_amino_acid_name(residue_name) or is_nucleotide_name(residue_name)
    if biological or not hetero:
        two = "Se" if residue_name in ("MSE", "SEC") and letters.startswith("SE") else ""
        return two or (letters[0] if letters[0] in "HCNOPSF" else _by_alignment(padded_name, letters))
    return _by_alignment(padded_name, letters)


def _by_alignment(padded_name: str, letters: str) -> str:
    """PDB names put a two-letter element in the first column, a one-letter element in the second."""
    two = letters[:2].capitalize()
    if padded_name[:1].isalpha() and len(letters) >= 2 and gemmi.Element(two).atomic_number:
        return two
    return letters[0] if gemmi.Element(letters[0]).atomic_number else "X"


def _solvent(
    table: AtomTable, rows: np.ndarray, element: np.ndarray, residue: np.ndarray
) -> tuple[np.ndarray, int, Counter[str]]:
    """Which rows (n,) are water or single-atom ions, with the number of waters and the ions by name."""
    names = table.residue_name[rows]
    unique = np.unique(names)
    water_names = [name for name in unique if gemmi.find_tabulated_residue(str(name)).is_water()]
    water_names += [name for name in unique if name in ("TIP3", "TIP", "TP3", "SPC", "WAT", "TIP4")]
    polymer_names = [name for name in unique if is_amino_acid_name(str(name)) or is_nucleotide_name(str(name))]
    is_water = np.isin(names, water_names)
    _, inverse, sizes = np.unique(residue, return_inverse=True, return_counts=True)
    alone = sizes[inverse] == 1
    is_trace = np.isin(element, ("C", "P")) & np.isin(table.atom_name[rows], ("CA", "P", "C", "CB"))
    is_ion = alone & ~is_water & ~np.isin(names, polymer_names) & ~is_trace
    waters = len(np.unique(residue[is_water]))
    return is_water | is_ion, waters, Counter(str(name) for name in names[is_ion])


def _alternatives(table: AtomTable, rows: np.ndarray, residue: np.ndarray) -> tuple[np.ndarray, int]:
    """Mask (n,) of the rows to keep, one per atom of a residue, and the number of rows dropped."""
    keep = np.ones(len(rows), dtype=bool)
    altloc = table.altloc[rows]
    if not (altloc != "").any():
        return keep, 0
    labels = np.unique(residue[altloc != ""])
    for start, end in zip(np.searchsorted(residue, labels), np.searchsorted(residue, labels, "right"), strict=True):
        members = np.arange(start, end)
        names = table.residue_name[rows[members]]
        occupancy = table.occupancy[rows[members]]
        if len(set(names)) > 1:  # two residue types at one place: keep the one that is there more often
            best_name = max(dict.fromkeys(names), key=lambda name: occupancy[names == name].mean())
            keep[members[names != best_name]] = False
            members = members[names == best_name]
        best: dict[str, int] = {}
        for member in members:
            name = str(table.atom_name[rows[member]])
            rival = best.get(name)
            if rival is None or table.occupancy[rows[member]] > table.occupancy[rows[rival]]:
                best[name] = int(member)
        chosen = set(best.values())
        keep[[member for member in members if member not in chosen]] = False
    return keep, int(np.count_nonzero(~keep))


def weight_of_names(atom_names: list[str]) -> np.ndarray:
    """Projection weights (N,): atomic numbers guessed from the atom names of a macromolecule."""
    numbers = [gemmi.Element(_element("", f" {name}", "ALA", False)).atomic_number for name in atom_names]
    return np.array([number or _UNKNOWN_WEIGHT for number in numbers], dtype=np.float64)
