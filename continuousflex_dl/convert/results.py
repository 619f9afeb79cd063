"""Result files of ``cflex`` that Scipion protocols and viewers look into."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .images import ConversionError


@dataclass(frozen=True)
class ModesFile:
    """What ``modes.npz`` holds.

    Parameters
    ----------
    indices
        Mode numbers (M,), 7 = first non-rigid.
    eigenvalues
        (M,).
    vectors
        (M, N, 3), unit norm over 3N.
    coordinates
        (N, 3) Å.
    collectivity
        (M,) in [0, 1].
    score
        (M,), small = collective and of low frequency.
    """

    indices: NDArray[np.int64]
    eigenvalues: NDArray[np.float64]
    vectors: NDArray[np.float64]
    coordinates: NDArray[np.float64]
    collectivity: NDArray[np.float64]
    score: NDArray[np.float64]


@dataclass(frozen=True)
class Space:
    """What ``space.npz`` holds.

    Parameters
    ----------
    coordinates
        (n, d), in the order of the particles.
    mean
        Of what was reduced (p,).
    components
        Axes (d, p).
    modes
        Mode numbers (p,); empty where something else was reduced.
    distance
        Mahalanobis distance (n,); empty in old files.
    groups
        Group of each particle (n,), 0 for none; empty without groups.
    """

    coordinates: NDArray[np.float64]
    mean: NDArray[np.float64]
    components: NDArray[np.float64]
    modes: NDArray[np.int64]
    distance: NDArray[np.float64]
    groups: NDArray[np.int64]


def read_modes_file(path: str | os.PathLike[str]) -> ModesFile:
    """Read ``modes.npz``; raises `ConversionError` where it is missing or something else."""
    arrays = _arrays(path, ("indices", "eigenvalues", "vectors", "coordinates", "collectivity", "score"))
    return ModesFile(**arrays)


def read_space(path: str | os.PathLike[str]) -> Space:
    """Read ``space.npz``; raises `ConversionError` where it is missing or something else."""
    arrays = _arrays(path, ("coordinates", "mean", "components", "modes"))
    arrays["coordinates"] = arrays["coordinates"].reshape(len(arrays["coordinates"]), -1)
    return Space(**arrays, **_arrays(path, (), optional=("distance", "groups")))


def _arrays(path: str | os.PathLike[str], names: tuple[str, ...], optional: tuple[str, ...] = ()) -> dict[str, NDArray]:
    try:
        with np.load(path, allow_pickle=False) as stored:
            found = {name: np.asarray(stored[name]) for name in names}
            found |= {name: np.asarray(stored[name]) if name in stored.files else np.zeros(0) for name in optional}
            return found
    except (OSError, ValueError, KeyError) as error:
        raise ConversionError(
            f"{path}: cannot be read ({error}); expected the arrays {', '.join(names)}; run it again"
        ) from error
