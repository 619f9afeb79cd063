"""NMD, the normal-mode format of ProDy and NMWiz: one line per property, one per mode."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..io.atomic import atomic_path
from ..structure.atoms import Structure
from ..structure.reader import weight_of_names
from .modes import SIGMA_ATOM_ANGST, SIGMA_RESIDUE_ANGST, NormalModes


def write_nmd(path: Path, modes: NormalModes, structure: Structure) -> None:
    """Write modes; the scale of a mode is ``1 / sqrt(eigenvalue)``, its number is kept."""
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8") as stream:
        stream.writelines(f"{line}\n" for line in _lines(path, modes, structure))


def _lines(path: Path, modes: NormalModes, structure: Structure) -> Iterator[str]:
    yield "name " + ("".join(c if c.isalnum() or c == "_" else "_" for c in path.stem) or "modes")
    yield "atomnames " + " ".join(structure.atom_name.tolist())
    yield "resnames " + " ".join(structure.residue_name.tolist())
    yield "resids " + " ".join(map(str, structure.residue_number.tolist()))
    if (structure.chain != "").all():
        yield "chainids " + " ".join(structure.chain.tolist())
    yield "bfactors " + " ".join(f"{value:.2f}" for value in structure.b_factor.tolist())
    yield "coordinates " + " ".join(f"{value:.4f}" for value in modes.coordinates.ravel().tolist())
    for number, eigenvalue, vector in zip(modes.indices, modes.eigenvalues, modes.vectors, strict=True):
        scale = 1 / np.sqrt(eigenvalue) if eigenvalue > 0 else 1.0
        yield f"mode {number} {scale:.9g} " + " ".join(f"{value:.8g}" for value in vector.ravel().tolist())


def read_nmd(path: Path) -> dict[str, np.ndarray]:
    """Read the arrays of an NMD file.

    Numbers below 7 are ProDy's, which count from the first non-rigid mode; they are moved up by six.

    Raises
    ------
    InputError
        If a line cannot be read or the coordinates or modes are missing.
    """
    coordinates: np.ndarray | None = None
    names: list[str] = []
    modes: list[tuple[int, np.ndarray]] = []
    with open(path, encoding="utf-8", errors="replace") as stream:
        for line_number, line in enumerate(stream, start=1):
            label, _, data = line.strip().partition(" ")
            if label == "coordinates":
                coordinates = _floats(path, line_number, label, data)
            elif label == "mode":
                modes.append((line_number, _floats(path, line_number, label, data)))
            elif label == "atomnames":
                names = data.split()
    if coordinates is None or not modes or len(coordinates) % 3:
        raise InputError(
            f"{path}: found {len(modes)} modes and {0 if coordinates is None else len(coordinates)} coordinates, "
            "expected an NMD file with a coordinates line of 3N numbers and mode lines"
        )
    size = len(coordinates)
    numbers, eigenvalues, vectors = [], [], []
    for position, (line_number, row) in enumerate(modes):
        extra = len(row) - size
        if not 0 <= extra <= 2:
            raise InputError(
                f"{path}: line {line_number}: mode has {len(row)} numbers, expected {size} for {size // 3} atoms (with "
                "its number and scale before them); the file mixes modes of different structures"
            )
        head = row[:extra].tolist()
        number = int(head.pop(0)) if head and (extra == 2 or head[0] % 1 == 0) else position + 1
        scale = head[0] if head else 0.0
        numbers.append(number)
        eigenvalues.append(1 / scale**2 if scale > 0 else 0.0)
        vectors.append(row[extra:].reshape(-1, 3))
    indices = np.array(numbers)
    if indices.min() < 7:
        indices = indices + 6
    values = {
        "indices": indices,
        "eigenvalues": np.array(eigenvalues),
        "vectors": np.array(vectors),
        "coordinates": coordinates.reshape(-1, 3),
    }
    if len(names) == size // 3:
        trace = set(names) <= {"CA", "P"}
        values["weights"] = np.ones(len(names)) if trace else weight_of_names(names)
        values["sigma"] = np.float64(SIGMA_RESIDUE_ANGST if trace else SIGMA_ATOM_ANGST)
    return values


def _floats(path: Path, line_number: int, label: str, data: str) -> np.ndarray:
    try:
        return np.array(data.split(), dtype=np.float64)
    except ValueError as error:
        raise InputError(f"{path}: line {line_number}: {label}: {error}; expected numbers") from None
