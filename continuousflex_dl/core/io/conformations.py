"""Conformations per particle: ``conformations.h5`` with the datasets ``coordinates`` and ``latent``."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from .atomic import atomic_path

CONFORMATIONS_NAME = "conformations.h5"


def write_conformations(
    path: str | os.PathLike[str],
    parts: Iterable[tuple[NDArray[Any], NDArray[Any]]],
    count: int,
    atom_index: NDArray[np.int64],
) -> None:
    """Write the structures of particles, a part at a time; the file holds no date and appears complete or not at all.

    Parameters
    ----------
    path
        The file.
    parts
        Coordinates (b, N, 3) in Å in the frame of the reference, and latents (b, d), of successive particles.
    count
        Particles in all.
    atom_index
        (N,) 0-based heavy atom of the reference that each coordinate belongs to.
    """
    import h5py

    with atomic_path(path) as temporary, h5py.File(temporary, "w", track_order=False) as file:
        file["atom_index"] = np.asarray(atom_index, dtype=np.int64)
        first = 0
        for coordinates, latent in parts:
            if not first:
                shape = coordinates.shape[1:]
                file.create_dataset("coordinates", (count, *shape), "f4", chunks=(1, *shape))
                file.create_dataset("latent", (count, latent.shape[1]), "f4")
            last = first + len(latent)
            file["coordinates"][first:last] = coordinates
            file["latent"][first:last] = latent
            first = last


def read_labels(path: str | os.PathLike[str], count: int, atoms: int, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """Known structures of particles.

    Parameters
    ----------
    path
        HDF5 with a dataset ``coordinates`` (n, N, 3), Å; N are the nodes or all heavy atoms of the reference, or
        ``atom_index`` says which of these.
    count
        Particles expected.
    atoms
        Heavy atoms of the reference.
    rows
        (N,) which of them the nodes are.

    Returns
    -------
    (count, N, 3) of the nodes.

    Raises
    ------
    InputError
        If the file is missing, or does not belong to the particles or to the reference.
    """
    import h5py

    file = Path(path)
    if not file.is_file():
        raise InputError(f"{file}: no such file; --supervised takes an HDF5 file with the structures of the particles")
    try:
        with h5py.File(file, "r") as stored:
            if "coordinates" not in stored or stored["coordinates"].ndim != 3:
                raise InputError(
                    f"{file}: found datasets {', '.join(stored) or 'none'}, "
                    "expected 'coordinates' (particles, atoms, 3)"
                )
            data = stored["coordinates"]
            if len(data) != count:
                raise InputError(
                    f"{file}: found the structures of {len(data)} particles, expected {count} as in the particle file; "
                    "give the file that belongs to it"
                )
            index = np.arange(data.shape[1]) if "atom_index" not in stored else stored["atom_index"][()]
            if "atom_index" not in stored and data.shape[1] == len(rows):
                index = rows
            if len(index) != data.shape[1] or len(index) > atoms or not np.isin(rows, index).all():
                raise InputError(
                    f"{file}: found structures of {data.shape[1]} atoms, expected the {len(rows)} nodes or the {atoms} "
                    "heavy atoms of the reference; give the reference that they belong to"
                )
            place = np.full(atoms, -1)
            place[index] = np.arange(len(index))
            labels = np.asarray(data[:, np.sort(place[rows])], dtype=np.float32)
    except OSError as error:
        raise InputError(f"{file}: is not a readable HDF5 file ({error}); give one with 'coordinates'") from None
    finite = np.isfinite(labels).all(axis=(1, 2))
    if not finite.all():
        raise InputError(
            f"{file}: row {int(np.argmin(finite)) + 1} of 'coordinates' is not finite; remove the particle from both "
            "files"
        )
    return labels
