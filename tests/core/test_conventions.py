"""Geometry conventions: what the matrices do, and that conversions are inverse to each other."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from continuousflex_dl.core.conventions import (
    electron_wavelength,
    euler_from_matrix,
    matrix_from_euler,
    projected_pixel,
)

angle = st.floats(-720, 720, allow_nan=False)


@given(angle, angle, angle)
def test_euler_to_matrix_and_back_is_the_same_rotation(rot, tilt, psi):
    matrix = matrix_from_euler([rot, tilt, psi])
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-12)
    back = euler_from_matrix(matrix)
    np.testing.assert_allclose(matrix_from_euler(back), matrix, atol=1e-9)
    assert 0 <= back[1] <= 180


@pytest.mark.parametrize("tilt", [0.0, 180.0, 1e-7, 179.9999999])
def test_poles_lose_no_rotation(tilt):
    matrix = matrix_from_euler([33.0, tilt, -71.0])
    np.testing.assert_allclose(matrix_from_euler(euler_from_matrix(matrix)), matrix, atol=1e-8)


def test_matrix_is_the_inverse_of_scipys_active_zyz():
    euler = np.array([20.0, 50.0, 110.0])
    active = Rotation.from_euler("ZYZ", euler, degrees=True).as_matrix()
    np.testing.assert_allclose(matrix_from_euler(euler), active.T, atol=1e-12)


def test_psi_turns_the_image_and_origin_moves_against_it():
    point = np.array([[10.0, 0.0, 0.0]])
    x, y = projected_pixel(point, [0, 0, 90], [0, 0], 2.0, 64)[0]
    np.testing.assert_allclose([x, y], [32.0, 32.0 - 5.0], atol=1e-9)
    moved = projected_pixel(point, [0, 0, 90], [4.0, -6.0], 2.0, 64)[0]
    np.testing.assert_allclose(moved - [x, y], [-2.0, 3.0], atol=1e-9)


def test_wavelength_of_300_kv():
    assert electron_wavelength(300.0) == pytest.approx(0.019687, rel=1e-4)
