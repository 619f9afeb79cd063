"""Pose of a particle: Scipion's 4x4 matrix of a projection alignment and RELION's angles and origin.

Let ``E = euler_matrix(-rot, -tilt, -psi, "szyz")``, whose rotation part is the RELION/Xmipp matrix R, with the
translation ``-origin / pixel size``. Scipion stores the inverse of ``E``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pwem.convert.transformations import euler_from_matrix, euler_matrix


def matrix_from_pose(
    rot: float, tilt: float, psi: float, origin_x_angst: float, origin_y_angst: float, pixel_size: float
) -> NDArray[np.float64]:
    """Scipion's matrix of a pose.

    Parameters
    ----------
    rot, tilt, psi
        Euler angles, ZYZ, degrees.
    origin_x_angst, origin_y_angst
        In-plane origin in Å (``rlnOriginXAngst``).
    pixel_size
        Å; Scipion keeps shifts in pixels.

    Returns
    -------
    Matrix for `pwem.objects.Transform`, shape (4, 4).
    """
    matrix = euler_matrix(*-np.deg2rad([rot, tilt, psi]), "szyz")
    matrix[:3, 3] = -np.array([origin_x_angst, origin_y_angst, 0.0]) / pixel_size
    return np.linalg.inv(matrix)


def pose_from_matrix(matrix: NDArray[np.float64], pixel_size: float) -> tuple[float, float, float, float, float]:
    """Angles rot, tilt, psi (degrees, tilt in [0, 180]) and origin x, y (Å) of Scipion's matrix (4, 4)."""
    inverse = np.linalg.inv(np.asarray(matrix, dtype=float))
    rot, tilt, psi = -np.rad2deg(euler_from_matrix(inverse, axes="szyz"))
    if tilt < 0:  # the same rotation in RELION's range
        rot, tilt, psi = rot + 180.0, -tilt, psi + 180.0
    origin = -inverse[:2, 3] * pixel_size
    return _wrap(rot), float(tilt), _wrap(psi), float(origin[0]), float(origin[1])


def _wrap(angle: float) -> float:
    """Bring an angle in degrees into (-180, 180]."""
    wrapped = float(angle) % 360.0
    return wrapped - 360.0 if wrapped > 180.0 else wrapped
