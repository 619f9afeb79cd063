"""CTF parameters for simulated particles: one setting for all, or rows drawn from a table of real ones."""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..io.particle_table import CtfParameters

_CRYODRGN_COLUMNS = 9  # box, pixel size, defocus U, V, angle, kV, Cs, amplitude contrast, phase shift


def constant_ctf(count: int, *, voltage: float, cs: float, amplitude_contrast: float, defocus: float) -> CtfParameters:
    """The same CTF for `count` particles: kV, mm, fraction, Å of underfocus."""
    full = lambda value: np.full(count, float(value))  # noqa: E731
    return CtfParameters(
        full(voltage), full(cs), full(amplitude_contrast), full(defocus), full(defocus), full(0), full(0)
    )


def read_ctf_table(path: str | os.PathLike[str]) -> CtfParameters:
    """CTF rows of a particle file (STAR, .cs) or of an npz with a (n, 9) cryoDRGN table.

    Raises
    ------
    InputError
        If the file has no CTF rows.
    """
    name = os.fspath(path)
    if not os.path.exists(name):
        raise InputError(
            f"{name}: no such file; --ctf-table takes a STAR file with CTF columns or an npz with a cryoDRGN CTF table"
        )
    if name.endswith(".npz"):
        return _from_cryodrgn(name)
    from ..io.particles import read_particles

    found = read_particles(name, pixel_size=1.0, check_images=False).ctf
    if found is None:
        raise InputError(f"{name}: has no CTF columns; expected rlnDefocusU and the other CTF columns of RELION")
    return found


def _from_cryodrgn(name: str) -> CtfParameters:
    try:
        with np.load(name, allow_pickle=False) as archive:
            tables = [archive[key] for key in archive.files]
    except (ValueError, OSError) as error:
        raise InputError(f"{name}: cannot be read as npz ({error})") from None
    for table in tables:
        if table.ndim == 2 and table.shape[1] == _CRYODRGN_COLUMNS and len(table):
            rows: NDArray[np.float64] = table.astype(np.float64)
            if not np.isfinite(rows).all():
                raise InputError(
                    f"{name}: row {int(np.argmin(np.isfinite(rows).all(1)))} of the CTF table is not finite"
                )
            _, _, defocus_u, defocus_v, angle, voltage, cs, contrast, phase = rows.T
            return CtfParameters(voltage, cs, contrast, defocus_u, defocus_v, angle, phase)
    raise InputError(
        f"{name}: holds no table with {_CRYODRGN_COLUMNS} columns "
        "(box, pixel size, defocus U, V, angle, kV, Cs, amplitude contrast, phase shift)"
    )
