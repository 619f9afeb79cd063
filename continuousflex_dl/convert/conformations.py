"""Latents and coordinates of flexible particles, as the HDF5 file that ``cflex space`` reads and methods write."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from ..core.io.atomic import atomic_path
from ..core.io.particles import read_particles
from .images import ConversionError


def latent_of(item: Any) -> list[float]:
    """Latent of a flexible particle (``zFlex``); empty where it has none."""
    stored = getattr(item, "_zFlex", None)
    return [] if stored is None else [float(value) for value in stored]


def read_latents(path: str | os.PathLike[str]) -> np.ndarray:
    """Read the latents (n, d) of ``conformations.h5``; raises `ConversionError` where there are none."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            return np.asarray(file["latent"][()], dtype=np.float64)
    except (OSError, KeyError) as error:
        raise ConversionError(
            f"{path}: cannot be read ({error}), expected the latents of particles; run it again"
        ) from None


def read_scores(star_path: str | os.PathLike[str]) -> np.ndarray:
    """Read the scores (n,) of a result; raises `ConversionError` where it has none."""
    score = read_particles(star_path, check_images=False).score if os.path.isfile(star_path) else None
    if score is None:
        raise ConversionError(f"{star_path}: there are no scores; run the command again")
    return score


def write_latents(particles: Any, path: str | os.PathLike[str]) -> int:
    """Write the latents of a set as dataset ``latent`` (n, d), in the order of `write_particles`.

    Returns
    -------
    Number of particles.

    Raises
    ------
    ConversionError
        If an item has no latent, or one of another length.
    """
    import h5py

    rows: list[list[float]] = []
    for item in particles.iterItems():
        values = latent_of(item)
        if not values or (rows and len(values) != len(rows[0])):
            expected = f"{len(rows[0])} numbers as the others" if rows else "at least one number"
            raise ConversionError(
                f"particle {item.getObjId()} has a latent of {len(values)} numbers, expected {expected}; take flexible "
                "particles of one method"
            )
        rows.append(values)
    if not rows:
        raise ConversionError("the particle set is empty")
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(target) as temporary, h5py.File(temporary, "w", track_order=False) as file:
        file["latent"] = np.array(rows)
    return len(rows)
