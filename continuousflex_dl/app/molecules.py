"""Structures and maps as the molecule view of the page reads them."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..core.errors import InputError
from ..core.space.paths import resample
from ..core.space.ways import main_path
from ..core.structure.atoms import Structure
from ..core.structure.writer import write_structure

if TYPE_CHECKING:
    from .dataset import Dataset

Floats = NDArray[np.float64]
MOST_FRAMES, MOST_ATOMS = 200, 60_000
_ATOMS_OF_A_PATH = 150_000
# what ribbons are drawn from; everything else only slows the page down
_BACKBONE = ("N", "CA", "C", "O", "P", "O5'", "C5'", "C4'", "C3'", "O3'", "C2'", "O2'", "C1'", "O4'")
_MAP_BOX, _MAP_REACH = 64, 3.0


def shown_atoms(structure: Structure) -> NDArray[np.int64]:
    """Atoms that are sent to the page: the backbone, or all where there is none; at most 60,000, evenly chosen."""
    rows = np.flatnonzero(np.isin(structure.atom_name, _BACKBONE) & ~structure.hetero)
    if structure.is_pseudoatomic or len(rows) < 3:
        rows = np.arange(len(structure))
    return rows[np.linspace(0, len(rows) - 1, min(len(rows), MOST_ATOMS)).round().astype(np.int64)]


def most_frames(structure: Structure) -> int:
    """Frames of a path that the page can take at once; large structures get fewer."""
    return max(6, _ATOMS_OF_A_PATH // len(shown_atoms(structure)))


def molecule_text(structure: Structure, frames: Floats) -> str:
    """Structures (N, 3) or (F, N, 3) in Å as mmCIF, one model each; only the atoms that are shown."""
    rows = shown_atoms(structure)
    models = frames[None] if frames.ndim == 2 else frames
    with tempfile.TemporaryDirectory(prefix="cflex-view-") as folder:
        file = Path(folder) / "structure.cif"
        write_structure(file, structure.take(rows), models[:, rows])
        return file.read_text(encoding="utf-8")


def path_points(data: Dataset, way: str, count: int, corners: list | None = None) -> tuple[Floats, Floats | None]:
    """Places (count, d) of a path through the space, and the free energy along it (kT) where it is known.

    Parameters
    ----------
    data
        A space.
    way
        ``axis1`` ..., ``minimum`` for the path of least free energy, or ``path`` for the corners given.
    count
        Frames.
    corners
        (k, c) in the first c axes.

    Raises
    ------
    InputError
        If there is no such way.
    """
    space = data.need_space
    if not 2 <= count <= MOST_FRAMES:
        raise InputError(f"frames: found {count}, expected 2 to {MOST_FRAMES}")
    if way == "minimum":
        if data.landscape is None:
            raise InputError("this space has no free energy; make it again with cflex space")
        points, found, _ = main_path(space, data.landscape, None, None, count)
        return points, found.energy
    if way == "path":
        try:
            drawn = np.asarray(corners, dtype=np.float64)
        except (TypeError, ValueError):
            drawn = np.zeros((0, 0))
        if drawn.ndim != 2 or len(drawn) < 2 or not 1 <= drawn.shape[1] <= space.n_components:
            raise InputError("a path has at least two points, with at most one number for each axis of the space")
        if not np.isfinite(drawn).all():
            raise InputError("a point of the path is not finite")
        points = resample(space.completed(drawn), count)
    elif way.startswith("axis") and way[4:].isdigit():
        points = space.path_along(int(way[4:]), count)
    else:
        raise InputError(f"way: found {way!r}, expected axis1 ..., minimum or path")
    return points, None


def model_density(data: Dataset, coordinates: Floats) -> bytes:
    """Map of a structure (N, 3) as an MRC file, coarse enough to follow a slider: at most 64 voxels a side."""
    import torch

    from ..core.dynamics.modes import default_sigma
    from ..core.reconstruction.map_files import centred_origin, write_map
    from ..core.reconstruction.model_map import model_map

    structure, modes = data.atoms, data.normal_modes
    if structure is None:
        raise InputError(f"{data.path}: there is no structure to make a map of")
    centre = structure.coordinates.mean(axis=0)
    weights = structure.weights if modes is None else modes.weights
    reach = 2 * float(np.abs(structure.coordinates - centre).max()) * 1.25
    sigma = max(default_sigma(structure) if modes is None else modes.sigma, _MAP_REACH)
    pixel_size = max(sigma / 1.5, (reach + 4 * sigma) / _MAP_BOX)
    box = min(_MAP_BOX, 2 * int(np.ceil((reach + 4 * sigma) / pixel_size / 2)))
    made = model_map(torch.as_tensor(coordinates - centre), torch.as_tensor(weights), sigma, box, pixel_size)
    with tempfile.TemporaryDirectory(prefix="cflex-view-") as folder:
        file = Path(folder) / "map.mrc"
        write_map(file, made.numpy(), pixel_size, centred_origin(box, pixel_size, centre))
        return file.read_bytes()
