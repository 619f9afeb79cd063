"""The space of a set of flexible particles, as the directory that ``cflex group`` and ``cflex animate`` read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.io.atomic import atomic_path
from ..core.io.particles import read_particles, write_star
from ..options.files import PARTICLES_FILE
from .images import ConversionError

_PER_PARTICLE = ("coordinates", "converged", "scores", "set_index", "distance", "groups")
_BESIDE = ("modes.npz", "reference.cif")
_WHOLE = "landscape.npz"  # of all particles: not that of a subset


def space_folder_of(particles: Any, attribute: str) -> str | None:
    """Directory of the space that a set is in; None where it is in none, or the directory is gone."""
    info = particles.getFlexInfo() if hasattr(particles, "getFlexInfo") else None
    stored = getattr(info, attribute, None)
    folder = None if stored is None else stored.get()
    return folder if folder and os.path.isfile(os.path.join(folder, "space.npz")) else None


def write_space_folder(particles: Any, source: str | os.PathLike[str], target: str | os.PathLike[str]) -> int:
    """Write the part of a space that the particles of a set (or subset) make up.

    Parameters
    ----------
    particles
        Set whose items carry ``_cflexSpaceRow``, their row in the space from 1.
    source
        Directory of the whole space.
    target
        Directory to write.

    Returns
    -------
    Number of particles.

    Raises
    ------
    ConversionError
        If an item is not from the space.
    """
    rows = []
    for item in particles.iterItems():
        stored = getattr(item, "_cflexSpaceRow", None)
        if stored is None or stored.get() is None:
            raise ConversionError(
                f"particle {item.getObjId()} does not say where in the space it is; take the output of 'conformational "
                "space', or a subset of it"
            )
        rows.append(int(stored.get()) - 1)
    chosen = np.array(rows, dtype=np.int64)
    old, new = Path(source), Path(target)
    new.mkdir(parents=True, exist_ok=True)
    with np.load(old / "space.npz", allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    total = len(arrays["coordinates"])
    if not len(chosen) or chosen.min() < 0 or chosen.max() >= total:
        raise ConversionError(f"{old / 'space.npz'}: has {total} particles, not those of the set; make it again")
    whole = len(chosen) == total and bool((chosen == np.arange(total)).all())
    for name in _PER_PARTICLE:
        if name in arrays and len(arrays[name]) == total:
            arrays[name] = arrays[name][chosen]
    if "conformations" in arrays:
        names = [_relative(old / name, new) for name in arrays["conformations"]]
        arrays["conformations"] = np.array(names if whole else [], dtype=str)
    with atomic_path(new / "space.npz") as temporary:
        np.savez(temporary, **arrays)
    write_star(new / PARTICLES_FILE, read_particles(old / PARTICLES_FILE, check_images=False).take(chosen))
    for name in (*_BESIDE, *([_WHOLE] if whole else [])):
        if (old / name).is_file() and not os.path.lexists(new / name):
            os.symlink(_relative(old / name, new), new / name)
    return len(chosen)


def read_groups(star_path: str | os.PathLike[str]) -> NDArray[np.int64]:
    """Group of each particle (n,) of a result of ``cflex group``, from 1; 0 for particles in none."""
    values = read_particles(star_path, check_images=False).numbers("cflexGroup")
    if values is None:
        raise ConversionError(f"{star_path}: has no column _cflexGroup; run the command again")
    return values.astype(np.int64)


def _relative(path: Path, folder: Path) -> str:
    return os.path.relpath(os.path.realpath(path), os.path.realpath(folder))
