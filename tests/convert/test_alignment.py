"""The pose of a particle survives Scipion's matrix, in the sense that Xmipp's converter gives it."""

import numpy as np
import pytest
from pwem.convert.transformations import euler_from_matrix, euler_matrix

from continuousflex_dl.convert import matrix_from_pose, pose_from_matrix

POSES = [
    (0.0, 0.0, 0.0, 0.0, 0.0),
    (10.0, 20.0, 30.0, 1.5, -2.5),
    (-170.0, 135.0, 95.0, -7.25, 3.0),
    (123.4, 179.0, -60.0, 0.0, 11.0),
    (45.0, 1e-3, -20.0, 4.0, 0.5),
]


def relion_matrix(rot, tilt, psi):
    """RELION's rotation matrix, written out: R = Rz(psi) Ry(tilt) Rz(rot), acting on coordinates."""
    a, b, g = np.deg2rad([rot, tilt, psi])
    ca, cb, cg, sa, sb, sg = np.cos(a), np.cos(b), np.cos(g), np.sin(a), np.sin(b), np.sin(g)
    return np.array(
        [
            [cg * cb * ca - sg * sa, cg * cb * sa + sg * ca, -cg * sb],
            [-sg * cb * ca - cg * sa, -sg * cb * sa + cg * ca, sg * sb],
            [sb * ca, sb * sa, cb],
        ]
    )


def xmipp_from_matrix(matrix):
    """What Xmipp's converter reads from a matrix of a projection alignment: angles, shifts in pixels."""
    inverse = np.linalg.inv(matrix)
    return (*(-np.rad2deg(euler_from_matrix(inverse, axes="szyz"))), *(-inverse[:3, 3]))


@pytest.mark.parametrize("pose", POSES)
def test_matrix_is_the_one_of_xmipp(pose):
    pixel = 1.7
    expected = euler_matrix(*-np.deg2rad(pose[:3]), "szyz")
    expected[:3, 3] = -np.array([pose[3], pose[4], 0.0]) / pixel
    np.testing.assert_allclose(matrix_from_pose(*pose, pixel), np.linalg.inv(expected), atol=1e-12)


@pytest.mark.parametrize("pose", POSES)
def test_rotation_part_is_the_transpose_of_relions_matrix(pose):
    np.testing.assert_allclose(matrix_from_pose(*pose, 1.0)[:3, :3], relion_matrix(*pose[:3]).T, atol=1e-12)


@pytest.mark.parametrize("pose", POSES)
def test_pose_returns(pose):
    back = pose_from_matrix(matrix_from_pose(*pose, 2.2), 2.2)
    np.testing.assert_allclose(relion_matrix(*back[:3]), relion_matrix(*pose[:3]), atol=1e-9)
    np.testing.assert_allclose(back[3:], pose[3:], atol=1e-9)
    assert 0.0 <= back[1] <= 180.0


@pytest.mark.parametrize("pose", POSES)
def test_same_rotation_and_shift_as_xmipps_converter(pose):
    matrix = matrix_from_pose(*pose, 1.3)
    rot, tilt, psi, shift_x, shift_y, shift_z = xmipp_from_matrix(matrix)
    ours = pose_from_matrix(matrix, 1.3)
    np.testing.assert_allclose(relion_matrix(*ours[:3]), relion_matrix(rot, tilt, psi), atol=1e-9)
    np.testing.assert_allclose([shift_x * 1.3, shift_y * 1.3, shift_z], [ours[3], ours[4], 0.0], atol=1e-9)
