"""Structures along a normal mode."""

from __future__ import annotations

import numpy as np

from .modes import NormalModes

DEFAULT_RMSD_ANGST = 2.0


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
