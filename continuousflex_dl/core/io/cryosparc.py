"""cryoSPARC .cs files, as the columns of a RELION table.

A .cs file is a NumPy structured array. Conventions (Punjani et al., Nature Methods 14, 290, 2017; cryoDRGN and pyem
read them alike): ``alignments3D/pose`` is a rotation vector (axis times angle, radians) of the matrix that takes the
image to the reference, so RELION's matrix is its transpose; ``alignments3D/shift`` is in pixels of
``alignments3D/psize_A`` and has the sign of rlnOrigin; angles of the CTF are in radians.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from continuousflex_dl.core.conventions import euler_from_matrix
from continuousflex_dl.core.errors import InputError
from continuousflex_dl.core.io.particle_table import EULER_LABELS, IMAGE_SIGN, ORIGIN_LABELS
from continuousflex_dl.core.io.star import decimals, shortest
from continuousflex_dl.core.io.text_table import Text, TextTable

_ABERRATIONS = {
    "ctf/tilt_A": "beam tilt",
    "ctf/trefoil_A": "trefoil",
    "ctf/tetra_A": "tetrafoil",
    "ctf/anisomag": "anisotropic magnification",
    "ctf/shift_A": "a CTF shift",
}
_GROUPS = ("blob", "ctf", "alignments3D")


def read_cs_columns(path: Path) -> tuple[TextTable, None]:
    """Read a .cs file and, for the groups of fields that it lacks, its passthrough file.

    Returns
    -------
    Particles with RELION's labels (optics values per particle), and None in the place of an optics table.

    Raises
    ------
    InputError
        For a file that is no .cs file of particles, or aberrations that are not supported.
    """
    data = _with_passthrough(path, _load(path))
    if "blob/path" not in data or "blob/idx" not in data:
        raise InputError(
            f"{path}: found no field blob/path, expected particles with images; put its passthrough file beside it"
        )
    names: Text = np.char.lstrip(data["blob/path"].astype(np.bytes_), b"> ")  # '>' stands for the project folder
    columns: dict[str, Text] = {
        "rlnImageName": np.char.add(
            np.char.mod("%06d@", data["blob/idx"].astype(np.int64) + 1).astype(np.bytes_), names
        )
    }
    if "blob/psize_A" in data:
        columns["rlnImagePixelSize"] = shortest(data["blob/psize_A"])
    if "blob/shape" in data:
        columns["rlnImageSize"] = shortest(data["blob/shape"][:, -1])
    if "blob/sign" in data:
        columns[IMAGE_SIGN] = np.where(data["blob/sign"] < 0, b"-1", b"1")
    columns |= _ctf(path, data) | _poses(path, data)
    if "uid" in data:
        columns["cflexCryosparcUid"] = shortest(data["uid"])
    return TextTable(path, "particles", columns), None


def rotation_from_vector(vector: NDArray) -> NDArray[np.float64]:
    """Rotation matrices (n, 3, 3) of rotation vectors (n, 3) in radians (Rodrigues' formula)."""
    vector = np.asarray(vector, dtype=np.float64)
    angle = np.linalg.norm(vector, axis=-1)[:, None, None]
    x, y, z = (vector / np.where(angle[:, :, 0] > 0, angle[:, :, 0], 1.0)).T
    zero = np.zeros_like(x)
    cross = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=-1).reshape(-1, 3, 3)
    return np.eye(3) + np.sin(angle) * cross + (1.0 - np.cos(angle)) * (cross @ cross)


def _load(path: Path) -> dict[str, NDArray]:
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise InputError(
            f"{path}: is no cryoSPARC .cs file ({' '.join(str(error).split())[:80]}); give a .cs file of particles"
        ) from None
    if not isinstance(array, np.ndarray) or array.dtype.names is None or array.ndim != 1:
        raise InputError(f"{path}: found an array without fields, expected a cryoSPARC .cs file of particles")
    return {name: array[name] for name in array.dtype.names}


def _with_passthrough(path: Path, data: dict[str, NDArray]) -> dict[str, NDArray]:
    """Add the groups of fields that only the companion file ``*passthrough_particles*.cs`` has, joined by uid."""
    absent = [group for group in _GROUPS if not any(name.startswith(f"{group}/") for name in data)]
    job = re.split(r"_(?:\d+_)?particles|_passthrough", path.stem)[0]
    companions = [
        p for p in sorted(path.parent.glob("*passthrough_particles*.cs")) if p != path and p.name.startswith(job)
    ]
    if not absent or "uid" not in data:
        return data
    for companion in companions:
        other = _load(companion)
        extra = [name for name in other if name.split("/")[0] in absent]
        if not extra or "uid" not in other:
            continue
        order = np.argsort(other["uid"])
        place = order[np.minimum(np.searchsorted(other["uid"], data["uid"], sorter=order), len(order) - 1)]
        missing = other["uid"][place] != data["uid"]
        if missing.any():
            row = int(np.argmax(missing))
            raise InputError(
                f"{companion}: has no row with uid {data['uid'][row]} of {path} row {row + 1}; give the "
                "passthrough file of the same job"
            )
        data = data | {name: other[name][place] for name in extra}
        absent = [group for group in absent if not any(name.startswith(f"{group}/") for name in extra)]
    return data


def _ctf(path: Path, data: dict[str, NDArray]) -> dict[str, Text]:
    if "ctf/df1_A" not in data:
        return {}
    for field, what in _ABERRATIONS.items():
        values = data.get(field)
        if values is None or not np.any(values):
            continue
        bad = np.any(values.reshape(len(values), -1) != 0, axis=1)
        row = int(np.argmax(bad))
        raise InputError(
            f"{path}: row {row + 1}, {field}: found {values[row].tolist()}: {what} is not supported; export "
            "particles without it"
        )
    fields = ("ctf/df2_A", "ctf/df_angle_rad", "ctf/accel_kv", "ctf/cs_mm", "ctf/amp_contrast")
    if lacking := [field for field in fields if field not in data]:
        raise InputError(f"{path}: has ctf/df1_A but no {lacking[0]}; export the particles with their CTF")
    degrees = {
        "rlnDefocusAngle": data["ctf/df_angle_rad"],
        "rlnPhaseShift": data.get("ctf/phase_shift_rad", np.zeros(len(data["ctf/df1_A"]))),
    }
    return {
        "rlnDefocusU": shortest(data["ctf/df1_A"]),
        "rlnDefocusV": shortest(data["ctf/df2_A"]),
        **{
            label: shortest(np.rad2deg(value.astype(np.float64)).astype(np.float32)) for label, value in degrees.items()
        },
        "rlnVoltage": shortest(data["ctf/accel_kv"]),
        "rlnSphericalAberration": shortest(data["ctf/cs_mm"]),
        "rlnAmplitudeContrast": shortest(data["ctf/amp_contrast"]),
    }


def _poses(path: Path, data: dict[str, NDArray]) -> dict[str, Text]:
    pose, shift = data.get("alignments3D/pose"), data.get("alignments3D/shift")
    if pose is None or shift is None:
        return {}
    pixel = data.get("alignments3D/psize_A", data.get("blob/psize_A"))
    if pixel is None:
        raise InputError(f"{path}: has alignments3D/shift but no alignments3D/psize_A; export the particles again")
    euler = euler_from_matrix(np.swapaxes(rotation_from_vector(pose), -1, -2))
    angst = shift.astype(np.float64) * pixel.astype(np.float64)[:, None]
    columns = {label: decimals(euler[:, i]) for i, label in enumerate(EULER_LABELS)}
    columns |= {label: decimals(angst[:, i]) for i, label in enumerate(ORIGIN_LABELS)}
    if "alignments3D/split" in data:
        columns["rlnRandomSubset"] = shortest(
            data["alignments3D/split"].astype(np.int64) + 1
        )  # half sets count from 1 in RELION
    return columns
