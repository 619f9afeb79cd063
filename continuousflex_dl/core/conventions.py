"""The one statement of the geometric conventions, with conversions. NumPy only.

Euler angles are ZYZ (rot, tilt, psi) in degrees, with the matrix of RELION and Xmipp,
``R = Rz(-psi) Ry(-tilt) Rz(-rot)`` in the active sense. The image of a volume is
``image(x, y) = sum_z volume(R^T (x, y, z))``, so an atom at x0 (Å, from the centre of the reference) projects to

    pixel = box // 2 + ((R x0)_xy - origin) / pixel_size

where origin is rlnOriginXAngst, rlnOriginYAngst: the shift that would bring the image to the centre. Arrays are
``image[y, x]`` and ``volume[z, y, x]``; pixel ``box // 2`` is the centre for even and odd boxes.
The convention was fixed by comparison with projections that RELION wrote (tests/core/imaging).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

FIRST_FLEXIBLE_MODE = 7  # modes 1-6 are rigid-body motions


def box_centre(box: int) -> int:
    """Pixel index of the centre of a box, along each axis."""
    return box // 2


def matrix_from_euler(euler_deg: ArrayLike) -> NDArray[np.float64]:
    """Rotation matrices of Euler angles.

    Parameters
    ----------
    euler_deg
        (..., 3) rot, tilt, psi in degrees.

    Returns
    -------
    (..., 3, 3) matrices R with ``x_image = R x_reference``.
    """
    angles = np.deg2rad(np.asarray(euler_deg, dtype=np.float64))
    (ca, cb, cg), (sa, sb, sg) = (np.moveaxis(function(angles), -1, 0) for function in (np.cos, np.sin))
    rows = [
        [cg * cb * ca - sg * sa, cg * cb * sa + sg * ca, -cg * sb],
        [-sg * cb * ca - cg * sa, -sg * cb * sa + cg * ca, sg * sb],
        [sb * ca, sb * sa, cb],
    ]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def euler_from_matrix(matrix: ArrayLike) -> NDArray[np.float64]:
    """Euler angles of rotation matrices; the inverse of `matrix_from_euler`.

    Parameters
    ----------
    matrix
        (..., 3, 3) rotation matrices.

    Returns
    -------
    (..., 3) rot, tilt, psi in degrees, rot and psi in (-180, 180], tilt in [0, 180]. Where tilt is 0 or 180 only
    the sum or difference of rot and psi is defined; they are chosen so that this is exact.
    """
    m = np.asarray(matrix, dtype=np.float64)
    rot = np.arctan2(m[..., 2, 1], m[..., 2, 0])
    # atan2 of both keeps full precision near the poles, where arccos of m22 has none
    tilt = np.arctan2(np.hypot(m[..., 2, 0], m[..., 2, 1]), m[..., 2, 2])
    # the axis (-sin rot, cos rot, 0) stays in the image plane whatever the tilt, and only psi turns it there: at the
    # poles, where rot is any angle, psi makes up for it
    cos_rot, sin_rot = np.cos(rot), np.sin(rot)
    psi = np.arctan2(cos_rot * m[..., 0, 1] - sin_rot * m[..., 0, 0], cos_rot * m[..., 1, 1] - sin_rot * m[..., 1, 0])
    return np.rad2deg(np.stack([rot, tilt, psi], axis=-1))


def projected_pixel(
    reference_angst: ArrayLike, euler_deg: ArrayLike, origin_angst: ArrayLike, pixel_size: float, box: int
) -> NDArray[np.float64]:
    """Where points of the reference appear in an image.

    Parameters
    ----------
    reference_angst
        (n, 3) points in Å from the centre of the reference.
    euler_deg
        (3,) rot, tilt, psi in degrees.
    origin_angst
        (2,) rlnOriginXAngst, rlnOriginYAngst.
    pixel_size
        Å.
    box
        px.

    Returns
    -------
    (n, 2) x, y in pixels.
    """
    rotated = np.asarray(reference_angst) @ matrix_from_euler(euler_deg).T
    return box_centre(box) + (rotated[:, :2] - np.asarray(origin_angst)) / pixel_size


def electron_wavelength(voltage_kv: ArrayLike) -> NDArray[np.float64]:
    """Relativistic wavelength of electrons in Å; voltage in kV (Reimer & Kohl, Transmission Electron Microscopy)."""
    volts = np.asarray(voltage_kv, dtype=np.float64) * 1e3
    return 12.2642596 / np.sqrt(volts * (1.0 + 0.978475598e-6 * volts))
