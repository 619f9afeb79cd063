"""Normal modes of ContinuousFlex: modes.xmd (Xmipp text metadata) naming one vec.N file (N x 3 numbers) per mode."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..structure.atoms import Structure
from ..structure.reader import read_structure
from .modes import default_sigma

_STRUCTURE_NAMES = ("atoms.pdb", "pseudoatoms.pdb")
_ADVICE = "give the structure that the modes were computed from with --structure"


def read_xmipp_modes(path: Path, structure_path: str | os.PathLike[str] | None) -> dict[str, np.ndarray]:
    """Read the non-rigid modes of a modes.xmd and the structure beside it (or the given one).

    Raises
    ------
    InputError
        If a column, a vector file or the structure is missing, or they do not belong together.
    """
    rows = read_xmd_rows(path)
    if not rows or "nmaModefile" not in rows[0]:
        found = ", ".join(rows[0]) if rows else "no row"
        raise InputError(f"{path}: found {found}, expected a column nmaModefile with one row per mode")
    modes = []
    for position, row in enumerate(rows):
        number = _order(path, row, position)
        if number > 6:
            modes.append((number, row, _read_vector(path, row["nmaModefile"])))
    if not modes:
        raise InputError(f"{path}: found {len(rows)} modes, all rigid (1-6), expected modes from 7 on")
    sizes = {len(vector) for _, _, vector in modes}
    if len(sizes) > 1:
        raise InputError(f"{path}: its vector files have {sorted(sizes)} rows, expected one number of atoms")
    structure = _structure(path, structure_path, sizes.pop())
    values = {
        "indices": np.array([number for number, _, _ in modes]),
        "vectors": np.array([vector for _, _, vector in modes]),
        "coordinates": structure.coordinates,
        "weights": structure.weights,
        "sigma": np.float64(default_sigma(structure)),
    }
    for name, label in (("eigenvalues", "nmaEigenval"), ("collectivity", "nmaCollectivity"), ("score", "nmaScore")):
        if label in modes[0][1]:
            values[name] = np.array([_number(path, label, row[label]) for _, row, _ in modes])
    return values


def read_xmd_rows(path: Path) -> list[dict[str, str]]:
    """Rows of the first loop of an Xmipp text metadata file, as label (without underscore) -> text."""
    labels: list[str] = []
    rows: list[dict[str, str]] = []
    in_loop = False
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        if text.startswith("data_"):
            if rows:
                break
        elif text == "loop_":
            in_loop, labels = True, []
        elif in_loop and text.startswith("_"):
            labels.append(text.split()[0][1:])
        elif labels:
            words = shlex.split(text)
            if len(words) != len(labels):
                raise InputError(
                    f"{path}: line {number}: found {len(words)} values, expected {len(labels)} ({', '.join(labels)})"
                )
            rows.append(dict(zip(labels, words, strict=True)))
    return rows


def _order(path: Path, row: dict[str, str], position: int) -> int:
    """1-based mode number: the order column, else the number in vec.N, else the row."""
    for label in ("order", "order_"):
        if label in row:
            return int(_number(path, label, row[label]))
    ending = row["nmaModefile"].rpartition(".")[2]
    return int(ending) if ending.isdigit() else position + 1


def _read_vector(path: Path, name: str) -> np.ndarray:
    parts = Path(name).parts
    folders = [path.parent, path.parent / "modes", path.parent / "extra", path.parent.parent]
    candidates = [Path(name)]
    candidates += [folder.joinpath(*parts[start:]) for start in range(len(parts)) for folder in folders]
    file = next((candidate for candidate in candidates if candidate.is_file()), None)
    if file is None:
        raise InputError(
            f"{path}: vector file {name} is not found in {path.parent} nor its modes folder; copy it there"
        )
    try:
        vector = np.loadtxt(file, ndmin=2)
    except ValueError as error:
        raise InputError(f"{file}: {error}; expected three numbers per atom") from None
    if vector.ndim != 2 or vector.shape[1] != 3:
        raise InputError(f"{file}: has {vector.shape[-1]} columns, expected three numbers per atom")
    return vector


def _structure(path: Path, structure_path: str | os.PathLike[str] | None, n_atoms: int) -> Structure:
    file = Path(structure_path) if structure_path is not None else structure_beside(path)
    structure, _ = read_structure(file)
    if len(structure) != n_atoms and not structure.is_pseudoatomic:
        structure, _ = read_structure(file, keep_all=True)
    if len(structure) != n_atoms:
        raise InputError(f"{path}: its vectors have {n_atoms} rows, but {file} has {len(structure)} atoms; {_ADVICE}")
    return structure


def structure_beside(path: Path) -> Path:
    """Find the structure file in the folders around a modes file.

    Raises
    ------
    InputError
        If there is none, or more than one candidate.
    """
    for folder in (path.parent, path.parent.parent, path.parent / "extra"):
        for name in _STRUCTURE_NAMES:
            if (folder / name).is_file():
                return folder / name
    others = sorted(path.parent.glob("*.pdb"))
    if len(others) == 1:
        return others[0]
    found = f"{len(others)} .pdb files" if others else "no structure"
    raise InputError(f"{path}: found {found} beside it, expected atoms.pdb or pseudoatoms.pdb; {_ADVICE}")


def _number(path: Path, label: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InputError(f"{path}: column {label} has {text!r}, expected a number") from None
