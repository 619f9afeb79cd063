"""Writing structures as mmCIF or PDB, with one or several models."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import gemmi
import numpy as np

from ..errors import InputError
from ..io.atomic import atomic_path
from .atoms import Structure

_COLUMNS = (
    "group_PDB", "id", "type_symbol", "label_atom_id", "label_alt_id", "label_comp_id", "label_asym_id",
    "label_entity_id", "label_seq_id", "pdbx_PDB_ins_code", "Cartn_x", "Cartn_y", "Cartn_z", "occupancy",
    "B_iso_or_equiv", "auth_seq_id", "auth_comp_id", "auth_asym_id", "auth_atom_id", "pdbx_PDB_model_num",
)  # fmt: skip


def write_structure(path: str | os.PathLike[str], structure: Structure, frames: np.ndarray | None = None) -> None:
    """Write a structure, complete or not at all; mmCIF for ``.cif`` and ``.mmcif``, PDB for ``.pdb`` and ``.ent``.

    Parameters
    ----------
    path
        Output file.
    structure
        What the atoms are. For pseudoatoms the weight goes to the B-factor column and the width into the file.
    frames
        Coordinates in Å, (N, 3) or one model each (F, N, 3); those of `structure` by default.

    Raises
    ------
    InputError
        If the suffix is unknown, a coordinate is not finite, or the structure does not fit the PDB format.
    """
    file = Path(path)
    models = np.asarray(structure.coordinates if frames is None else frames, dtype=np.float64)
    models = models[None] if models.ndim == 2 else models  # (F, N, 3)
    if models.shape[1:] != (len(structure), 3):
        raise ValueError(f"frames have shape {models.shape}, expected (F, {len(structure)}, 3)")
    if not np.isfinite(models).all():
        frame = int(np.argwhere(~np.isfinite(models))[0, 0])
        raise InputError(f"{file}: model {frame + 1} has a coordinate that is not finite; it is not written")
    suffix = file.suffix.lower()
    if suffix in (".cif", ".mmcif"):
        lines = _mmcif_lines(file.stem, structure, models)
    elif suffix in (".pdb", ".ent"):
        lines = _pdb_lines(file, structure, models)
    else:
        raise InputError(f"{file}: cannot write {suffix or 'a file without suffix'}, expected .cif or .pdb")
    with atomic_path(file) as temporary, open(temporary, "w", encoding="utf-8") as stream:
        stream.writelines(lines)


def _mmcif_lines(name: str, structure: Structure, models: np.ndarray) -> Iterator[str]:
    yield f"data_{''.join(c if c.isalnum() or c in '-_.' else '_' for c in name) or 'structure'}\n#\n"
    if structure.sigma is not None:
        yield f"_cflex_pseudoatoms.sigma {structure.sigma:.9g}\n_cflex_pseudoatoms.weights_column B_iso_or_equiv\n#\n"
    yield "loop_\n" + "".join(f"_atom_site.{column}\n" for column in _COLUMNS)
    weights = structure.weights if structure.is_pseudoatomic else structure.b_factor
    decimals = ".7g" if structure.is_pseudoatomic else ".2f"
    first_residue = _first_of_chain(structure)
    heads, tails = [], []
    for i in range(len(structure)):
        atom, residue = _quote(structure.atom_name[i]), _quote(structure.residue_name[i])
        group = "HETATM" if structure.hetero[i] else "ATOM"
        sequence = "." if structure.hetero[i] else structure.residue_index[i] - first_residue[i] + 1
        code = structure.insertion_code[i] or "?"
        label = _chain_label(int(structure.chain_index[i]))
        heads.append((group, f"{structure.element[i]} {atom} . {residue} {label} 1 {sequence} {code}"))
        tails.append(
            f"{structure.occupancy[i]:.2f} {weights[i]:{decimals}} {structure.residue_number[i]} {residue} "
            f"{_quote(structure.chain[i])} {atom}"
        )
    serial = 0
    for number, coordinates in enumerate(models, start=1):
        for (group, head), tail, (x, y, z) in zip(heads, tails, coordinates.tolist(), strict=True):
            serial += 1
            yield f"{group} {serial} {head} {x:.4f} {y:.4f} {z:.4f} {tail} {number}\n"
    yield "#\n"


def _pdb_lines(path: Path, structure: Structure, models: np.ndarray) -> Iterator[str]:
    _check_pdb(path, structure, models)
    if structure.sigma is not None:
        yield f"REMARK fixedGaussian {structure.sigma:.6f}\nREMARK intensityColumn Bfactor\n"
    last_of_chain = np.append(np.diff(structure.chain_index) > 0, True)
    column = structure.weights if structure.is_pseudoatomic else structure.b_factor
    several = len(models) > 1
    for number, coordinates in enumerate(models, start=1):
        if several:
            yield f"MODEL     {number:4d}\n"
        for i, (x, y, z) in enumerate(coordinates.tolist()):
            record = "HETATM" if structure.hetero[i] else "ATOM  "
            symbol, name = str(structure.element[i]), str(structure.atom_name[i])
            padded = f" {name:<3}" if len(symbol) == 1 and len(name) < 4 else f"{name:<4}"
            yield (
                f"{record}{i + 1:5d} {padded} {structure.residue_name[i]:>3}{structure.chain[i]:>2}"
                f"{structure.residue_number[i]:4d}{structure.insertion_code[i] or ' '}   {x:8.3f}{y:8.3f}{z:8.3f}"
                f"{structure.occupancy[i]:6.2f}{min(float(column[i]), 999.99):6.2f}          {symbol.upper():>2}\n"
            )
            if last_of_chain[i]:
                yield "TER\n"
        if several:
            yield "ENDMDL\n"
    yield "END\n"


def _check_pdb(path: Path, structure: Structure, models: np.ndarray) -> None:
    widths = {
        name: max(map(len, getattr(structure, name)), default=0) for name in ("chain", "residue_name", "atom_name")
    }
    problem = ""
    if len(structure) > 99_999:
        problem = f"{len(structure)} atoms, the format holds 99,999"
    elif widths["chain"] > 2 or widths["residue_name"] > 3 or widths["atom_name"] > 4:
        problem = f"names of {widths} letters, the format holds 2 for chains, 3 for residues and 4 for atoms"
    elif structure.residue_number.max(initial=0) > 9999 or structure.residue_number.min(initial=0) < -999:
        problem = "residue numbers outside -999 to 9999"
    elif models.size and (models.max() >= 9999.9995 or models.min() <= -999.9995):
        problem = "coordinates outside -999.999 to 9999.999 Å"
    if problem:
        raise InputError(f"{path}: the structure does not fit the PDB format ({problem}); write mmCIF (.cif)")


def _first_of_chain(structure: Structure) -> np.ndarray:
    """Residue index (N,) at which the chain of each atom begins."""
    _, first, inverse = np.unique(structure.chain_index, return_index=True, return_inverse=True)
    return structure.residue_index[first][inverse]


def _chain_label(index: int) -> str:
    """Label chains A, B, ... Z, AA, AB ... in file order, also where author labels repeat."""
    label = ""
    index += 1
    while index:
        index, letter = divmod(index - 1, 26)
        label = chr(ord("A") + letter) + label
    return label


def _quote(text: str) -> str:
    return gemmi.cif.quote(str(text)) if text else "?"
