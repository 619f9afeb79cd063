"""Xmipp metadata (.xmd) of particles. Angles are RELION's; shifts are pixels with the sign of rlnOrigin."""

from __future__ import annotations

import os

import numpy as np

from ..errors import InputError
from ..io.atomic import atomic_path
from ..io.particle_table import ParticleTable
from ..io.star import Text, decimals, shortest
from .paths import image_names

_CTF = {
    "ctfVoltage": "voltage_kv",
    "ctfSphericalAberration": "cs_mm",
    "ctfQ0": "amplitude_contrast",
    "ctfDefocusU": "defocus_u_angst",
    "ctfDefocusV": "defocus_v_angst",
    "ctfDefocusAngle": "defocus_angle_deg",
}


def write_xmipp(path: str | os.PathLike[str], table: ParticleTable, project: str | None = None) -> None:
    """Write image, pose, CTF, pixel size and, where there are some, mode amplitudes and score.

    Parameters
    ----------
    path
        .xmd file.
    table
        Particles.
    project
        Folder in which Xmipp or Scipion runs; None: absolute paths.

    Raises
    ------
    InputError
        If a path holds a blank, which Xmipp cannot read, or there is a phase plate.
    """
    count = len(table)
    names = image_names(table, project)
    if (np.char.find(names, b" ") >= 0).any():
        row = int(np.argmax(np.char.find(names, b" ") >= 0))
        raise InputError(
            f"{table.source}: image {names[row].decode('utf-8', 'replace')}: Xmipp reads no path with blanks; rename "
            "the folder, or link to it"
        )
    columns: dict[str, Text] = {
        "itemId": shortest(np.arange(1, count + 1)),
        "image": names,
        "enabled": np.full(count, b"1"),
        "samplingRate": shortest(table.pixel_size),
    }
    if table.euler_deg is not None:
        shift = np.zeros((count, 2)) if table.shift_angst is None else table.shift_angst / table.pixel_size[:, None]
        pose = np.concatenate([table.euler_deg, shift], axis=1)
        labels = ("angleRot", "angleTilt", "anglePsi", "shiftX", "shiftY")
        columns |= {label: decimals(pose[:, number]) for number, label in enumerate(labels)}
        columns["flip"] = np.full(count, b"0")
    if table.ctf is not None:
        if np.any(table.ctf.phase_shift_deg != 0):
            raise InputError(f"{table.source}: has phase shifts of a phase plate, which Xmipp's metadata do not hold")
        columns |= {label: decimals(getattr(table.ctf, name)) for label, name in _CTF.items()}
    if table.amplitudes:
        values = np.stack([table.amplitudes[mode] for mode in sorted(table.amplitudes)], axis=1)
        texts = [" ".join(f"{value:.6f}" for value in row) for row in values]
        columns["nmaDisplacements"] = np.array([f"' {text} '".encode() for text in texts])
    if table.score is not None:
        columns["cost"] = decimals(1.0 - np.nan_to_num(table.score))  # ContinuousFlex: 0 is perfect
    with atomic_path(path) as temporary, open(temporary, "wb") as stream:
        stream.write(b"# XMIPP_STAR_1 * \n# \ndata_noname\nloop_\n")
        stream.write("".join(f" _{label}\n" for label in columns).encode())
        rows = zip(*(column.tolist() for column in columns.values()), strict=True)
        stream.writelines(b" " + b" ".join(row) + b" \n" for row in rows)
