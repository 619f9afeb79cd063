"""A subset of a cryoSPARC .cs file: the same fields, the particles of a table."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..conventions import matrix_from_euler
from ..errors import InputError
from ..io.atomic import atomic_path
from ..io.particle_table import ParticleTable

UID = "cflexCryosparcUid"


def write_cryosparc(
    path: str | os.PathLike[str], table: ParticleTable, original: str | os.PathLike[str], *, poses: bool = True
) -> bool:
    """Write the rows of a .cs file that belong to the particles of a table, in the table's order.

    Parameters
    ----------
    path
        .cs file.
    table
        Particles that came from a .cs file: they carry its uid (column ``_cflexCryosparcUid``).
    original
        The .cs file that they came from, or a passthrough file of the same particles.
    poses
        Put the table's poses into alignments3D, where the original has these fields.

    Returns
    -------
    Whether poses were written.

    Raises
    ------
    InputError
        If the table has no uid, or the original lacks a particle.
    """
    text = table.particles.columns[UID] if UID in table.particles else None
    if text is None:
        raise InputError(
            f"{table.source}: has no column _{UID}, which says which row of the .cs file a particle is; only particles "
            "that were read from a .cs file can go back to one"
        )
    wanted = text.astype(np.uint64)
    rows = _load(Path(original))
    order = np.argsort(rows["uid"], kind="stable")
    place = order[np.minimum(np.searchsorted(rows["uid"], wanted, sorter=order), len(order) - 1)]
    missing = rows["uid"][place] != wanted
    if missing.any():
        row = int(np.argmax(missing))
        raise InputError(
            f"{original}: has no particle with uid {wanted[row]}, row {row + 1} of {table.source}; give the .cs file "
            "that the particles came from"
        )
    subset = rows[place]
    placed = poses and _put_poses(subset, table)
    with atomic_path(path) as temporary, open(temporary, "wb") as stream:
        np.save(stream, subset, allow_pickle=False)  # to a stream: by name it would add .npy
    return placed


def _load(path: Path) -> NDArray:
    try:
        rows = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path}: cannot be read as a .cs file ({error}); give the original file") from None
    if rows.dtype.names is None or "uid" not in rows.dtype.names or not len(rows):
        raise InputError(f"{path}: found no field uid, expected a .cs file of particles")
    return rows


def _put_poses(rows: NDArray, table: ParticleTable) -> bool:
    """Rotation vectors of the transposed matrices, and shifts in pixels of alignments3D/psize_A."""
    fields = ("alignments3D/pose", "alignments3D/shift", "alignments3D/psize_A")
    names = rows.dtype.names or ()
    if table.euler_deg is None or table.shift_angst is None or any(field not in names for field in fields):
        return False
    from scipy.spatial.transform import Rotation

    matrices = np.swapaxes(matrix_from_euler(table.euler_deg), -1, -2)
    rows["alignments3D/pose"] = Rotation.from_matrix(matrices).as_rotvec()
    rows["alignments3D/shift"] = table.shift_angst / rows["alignments3D/psize_A"][:, None]
    return True
