"""Normal modes on disk: our modes.npz, NMD, and the modes.xmd with vec.N files of ContinuousFlex."""

from __future__ import annotations

import logging
import os
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..dynamics import measures
from ..dynamics.modes import NormalModes, default_sigma
from ..dynamics.network import N_RIGID
from ..dynamics.nmd import read_nmd, write_nmd
from ..dynamics.xmipp_modes import read_xmipp_modes, structure_beside
from ..errors import InputError, NonFiniteError
from ..structure.atoms import Structure, nameless, representation
from ..structure.reader import read_structure
from ..structure.writer import write_structure
from .atomic import atomic_path

log = logging.getLogger(__name__)

MODES_NAME, NMD_NAME, REFERENCE_NAME = "modes.npz", "modes.nmd", "reference.cif"
_KEYS = ("indices", "eigenvalues", "vectors", "coordinates", "collectivity", "score", "weights", "sigma")
_NEEDED = ("indices", "vectors", "coordinates")
_NORM_TOLERANCE = 1e-3
_ROUNDING = 1e-9
_ORTHOGONAL_TOLERANCE = 0.02
_SAME_COORDINATES_ANGST = 0.05


def write_modes(path: str | os.PathLike[str], modes: NormalModes, structure: Structure | None = None) -> list[Path]:
    """Write modes, each file complete or not at all.

    Parameters
    ----------
    path
        A ``.npz`` or ``.nmd`` file; or an existing directory, which gets modes.npz, modes.nmd and reference.cif.
    modes
        What to write.
    structure
        Its atoms; needed for all but ``.npz``.

    Returns
    -------
    list of pathlib.Path
        The files written.
    """
    target = Path(path)
    if target.suffix == ".npz":
        arrays = {name: np.asarray(getattr(modes, name)) for name in _KEYS}
        with atomic_path(target) as temporary:
            np.savez(temporary, **arrays)
        return [target]
    if structure is None:
        raise ValueError("a structure is needed to write NMD or mmCIF")
    if target.suffix == ".nmd":
        write_nmd(target, modes, structure)
        return [target]
    written = write_modes(target / MODES_NAME, modes) + write_modes(target / NMD_NAME, modes, structure)
    write_structure(target / REFERENCE_NAME, structure, modes.coordinates)
    return [*written, target / REFERENCE_NAME]


def read_modes(path: str | os.PathLike[str], structure_path: str | os.PathLike[str] | None = None) -> NormalModes:
    """Read modes from modes.npz, a ``.nmd`` file, or a ContinuousFlex / Xmipp modes.xmd with its vec.N files.

    Parameters
    ----------
    path
        The file, or a directory with modes.npz (as `cflex nma` writes).
    structure_path
        Structure of the modes. Needed beside modes.xmd unless atoms.pdb or pseudoatoms.pdb lies there; with the other
        formats it is compared with the coordinates in the file.

    Returns
    -------
    NormalModes
        Non-rigid modes only, normalised to unit length over 3N; notes go to the log.

    Raises
    ------
    InputError
        If the file is missing, damaged or incomplete, or belongs to another structure.
    NonFiniteError
        If it holds NaN or infinity.
    """
    file = Path(path)
    if file.is_dir():
        file = file / MODES_NAME
    if not file.exists():
        raise InputError(f"{file}: no such file; expected normal modes (.npz, .nmd or .xmd), made by cflex nma")
    suffix = file.suffix.lower()
    if suffix == ".npz":
        values = _read_npz(file)
    elif suffix == ".nmd":
        values = read_nmd(file)
    elif suffix in (".xmd", ".star"):
        values = read_xmipp_modes(file, structure_path)
    else:
        raise InputError(f"{file}: is not a modes file by its suffix, expected .npz, .nmd or .xmd")
    return replace(_assemble(file, values, structure_path), source=str(file))


def read_reference(path: str | os.PathLike[str], modes: NormalModes) -> Structure:
    """Read the atoms that modes move: reference.cif beside the modes file, or the structure beside modes.xmd.

    Where a modes file has neither, nameless atoms stand in (one GLY CA each), and the log says so.

    Raises
    ------
    InputError
        If the structure found is not that of `modes`.
    """
    file = Path(path)
    source = file.parent / REFERENCE_NAME
    if not source.is_file():
        try:
            source = structure_beside(file)
        except InputError:
            log.warning("%s: no %s beside it, the atoms are written without their names", file, REFERENCE_NAME)
            return nameless(modes.coordinates, modes.weights)
    return _matching_structure(file, modes.coordinates, source)


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            values = {name: archive[name] for name in _KEYS if name in archive.files}
            found = ", ".join(archive.files) or "nothing"
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: cannot be read as modes.npz ({error}); compute the modes again: cflex nma") from None
    values = {name: value for name, value in values.items() if isinstance(value, np.ndarray)}  # else: not an array file
    missing = [name for name in _NEEDED if name not in values]
    if missing:
        raise InputError(
            f"{path}: has no {', '.join(missing)}, found {found}; expected a modes.npz as cflex nma writes it"
        )
    return values


def _assemble(path: Path, values: dict[str, np.ndarray], structure_path: str | os.PathLike[str] | None) -> NormalModes:
    """Check arrays that came from a file, complete them, and normalise the vectors."""
    for name in _KEYS:
        if name in values and not np.issubdtype(values[name].dtype, np.number):
            raise InputError(f"{path}: {name} holds {values[name].dtype}, expected numbers; compute the modes again")
    indices = np.atleast_1d(values["indices"]).astype(np.int64)
    vectors = np.asarray(values["vectors"], dtype=np.float64)
    coordinates = np.asarray(values["coordinates"], dtype=np.float64)
    n_modes, n_atoms = len(indices), len(coordinates)
    expected = {
        "vectors": (n_modes, n_atoms, 3), "coordinates": (n_atoms, 3), "indices": (n_modes,),
        "eigenvalues": (n_modes,), "collectivity": (n_modes,), "score": (n_modes,), "weights": (n_atoms,),
        "sigma": (),
    }  # fmt: skip
    for name, shape in expected.items():
        if name in values and values[name].shape != shape:
            raise InputError(
                f"{path}: {name} has shape {values[name].shape}, expected {shape} for {n_modes} modes of {n_atoms} "
                "atoms; the file mixes modes of different structures"
            )
        if name in values and not np.isfinite(values[name]).all():
            where = np.argwhere(~np.isfinite(np.atleast_1d(values[name])))[0].tolist()
            raise NonFiniteError(f"{path}: {name} is not finite at {where}; compute the modes again: cflex nma")
    kept = indices > N_RIGID
    if not kept.any() or len(set(indices.tolist())) != n_modes:
        raise InputError(
            f"{path}: found mode numbers {indices.tolist()}, expected different ones from 7 on (1-6 are rigid)"
        )
    vectors = _normalised(path, indices[kept], vectors[kept])
    structure = None if structure_path is None else _matching_structure(path, coordinates, structure_path)
    weights = values.get("weights")
    if weights is None:
        weights = np.ones(n_atoms) if structure is None else structure.weights
        log.info(
            "%s: has no weights, %s", path.name, "taken as equal" if structure is None else "taken from the structure"
        )
    sigma = values.get("sigma")
    if sigma is None:
        sigma = np.float64(1.0 if structure is None else default_sigma(structure))
    collective = values["collectivity"][kept] if "collectivity" in values else measures.collectivity(vectors)
    return NormalModes(
        indices=indices[kept],
        eigenvalues=_column(values, "eigenvalues", kept),
        vectors=vectors,
        coordinates=coordinates,
        collectivity=np.asarray(collective, dtype=np.float64),
        score=_column(values, "score", kept),
        weights=np.asarray(weights, dtype=np.float64),
        sigma=float(sigma),
    )


def _column(values: dict[str, np.ndarray], name: str, kept: np.ndarray) -> np.ndarray:
    return np.asarray(values.get(name, np.zeros(len(kept))), dtype=np.float64)[kept]


def _normalised(path: Path, indices: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Bring vectors (M, N, 3) to unit length; says where they were not, and refuses what cannot be modes."""
    norms = np.linalg.norm(vectors, axis=(1, 2))
    if (norms < 1e-9).any():
        raise InputError(f"{path}: the vector of mode {indices[norms.argmin()]} is zero, expected unit length")
    off = np.abs(norms - 1) > _NORM_TOLERANCE
    if off.any():
        log.info(
            "%s: %d of %d vectors had not unit length (mode %d: %.4g) and are normalised; amplitudes are in Å of unit "
            "vectors", path.name, np.count_nonzero(off), len(off), indices[off][0], norms[off][0],
        )  # fmt: skip
    norms = np.where(np.abs(norms - 1) > _ROUNDING, norms, 1.0)  # unit vectors stay as they are, bit by bit
    vectors = vectors / norms[:, None, None]
    flat = vectors.reshape(len(vectors), -1)
    product = np.abs(flat @ flat.T - np.eye(len(flat)))
    if product.max() > _ORTHOGONAL_TOLERANCE:
        first, second = np.unravel_index(product.argmax(), product.shape)
        log.warning(
            "%s: modes %d and %d are not orthogonal (overlap %.3f); RMSD figures from amplitudes will be off",
            path.name, indices[first], indices[second], product.max(),
        )  # fmt: skip
    return vectors


def _matching_structure(path: Path, coordinates: np.ndarray, structure_path: str | os.PathLike[str]) -> Structure:
    """Read the structure that a user gave for modes of coordinates (N, 3) and check that it is theirs."""
    candidates = list(_candidates(structure_path))
    for structure in candidates:
        if len(structure) == len(coordinates):
            difference = float(np.abs(structure.coordinates - coordinates).max())
            if difference > _SAME_COORDINATES_ANGST:
                raise InputError(
                    f"{path}: its coordinates differ from {structure_path} by up to {difference:.2f} Å, expected the "
                    "same structure in the same frame; give the structure that the modes were computed from"
                )
            return structure
    counts = " or ".join(str(len(structure)) for structure in candidates)
    raise InputError(
        f"{path}: modes of {len(coordinates)} atoms, but {structure_path} has {counts}; give the structure that the "
        "modes were computed from"
    )


def _candidates(structure_path: str | os.PathLike[str]) -> Iterator[Structure]:
    """Give what modes may have been computed on: heavy atoms, one node per residue, or every record."""
    heavy, _ = read_structure(structure_path)
    yield heavy
    if not heavy.is_pseudoatomic:
        with suppress(InputError):
            yield representation(heavy, "ca-p")
        everything, _ = read_structure(structure_path, keep_all=True)
        if len(everything) != len(heavy):
            yield everything
