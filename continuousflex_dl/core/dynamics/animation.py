"""Structures along a normal mode, or along an axis of a conformational space of mode amplitudes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import InputError, NonFiniteError
from .modes import NormalModes

DEFAULT_RMSD_ANGST = 2.0
_ENDS_PERCENT = (2.0, 98.0)  # the particles at the very ends are mostly failed alignments
_SPACE_KEYS = ("mean", "components", "coordinates", "modes")


def along_mode(modes: NormalModes, number: int, amplitude: float | None, n_frames: int) -> np.ndarray:
    """Sweep one mode from -amplitude to +amplitude.

    Parameters
    ----------
    modes
        Modes of N atoms.
    number
        Mode number, 7 or more.
    amplitude
        Å; None for the one whose RMSD is 2 Å.
    n_frames
        Number of structures.

    Returns
    -------
    numpy.ndarray
        Coordinates (n_frames, N, 3) in Å.
    """
    mode = modes.select([number])
    largest = DEFAULT_RMSD_ANGST / mode.rmsd_per_amplitude if amplitude is None else amplitude
    return mode.displace(np.linspace(-largest, largest, n_frames)[:, None])


@dataclass(frozen=True, eq=False)
class LinearSpace:
    """A linear space of amplitudes: ``amplitudes = mean + coordinates @ components``.

    Attributes
    ----------
    mean
        (M,) mean amplitudes, Å.
    components
        (d, M) axes.
    coordinates
        (n, d) of the particles.
    modes
        (M,) mode numbers.
    """

    mean: np.ndarray
    components: np.ndarray
    coordinates: np.ndarray
    modes: np.ndarray

    def along_axis(self, axis: int, n_frames: int) -> np.ndarray:
        """Amplitudes (n_frames, M) in Å along a 1-based axis, from the 2nd to the 98th percentile of the particles.

        Raises
        ------
        InputError
            If the space has fewer axes.
        """
        n_axes = len(self.components)
        if not 1 <= axis <= n_axes:
            raise InputError(f"axis {axis} asked for, the space has {n_axes}; give --axis between 1 and {n_axes}")
        low, high = np.percentile(self.coordinates[:, axis - 1], _ENDS_PERCENT)
        return self.mean + np.linspace(low, high, n_frames)[:, None] * self.components[axis - 1]


def read_linear_space(path: Path) -> LinearSpace:
    """Read the axes in space.npz.

    Raises
    ------
    InputError
        If the file is missing or damaged, or an array is missing, not finite or of the wrong shape.
    """
    if not path.is_file():
        raise InputError(
            f"{path}: no such file; expected the directory of `cflex space`, or a modes file (.npz, .nmd, .xmd)"
        )
    try:
        with np.load(path, allow_pickle=False) as archive:
            found = ", ".join(archive.files)
            arrays = {name: archive[name] for name in _SPACE_KEYS if name in archive.files}
    except Exception as error:  # noqa: BLE001  (numpy and zipfile raise many types for a damaged file)
        raise InputError(f"{path}: cannot be read ({error}); run cflex space again") from None
    missing = [name for name in _SPACE_KEYS if name not in arrays]
    if missing:
        raise InputError(f"{path}: has no {', '.join(missing)}, found {found}; run cflex space again")
    space = LinearSpace(**arrays)
    n_modes, n_axes = len(space.modes), len(space.components)
    shapes = space.mean.shape, space.components.shape, space.coordinates.shape[1:]
    if shapes != ((n_modes,), (n_axes, n_modes), (n_axes,)):
        raise InputError(
            f"{path}: mean, components and coordinates have shapes {shapes} for {n_modes} modes; run it again"
        )
    for name in _SPACE_KEYS[:3]:
        if not np.isfinite(arrays[name]).all():
            raise NonFiniteError(f"{path}: {name} is not finite; run cflex space again")
    return space
