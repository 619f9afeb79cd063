"""Probe fields have nothing of the motions that particles make."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from continuousflex_dl.core.hemnma.probes import cubic_fields


def test_fields_are_orthonormal_and_free_of_modes_and_rigid_motion(model):
    points, vectors, _ = model
    fields = cubic_fields(points + 50.0, vectors, 4).reshape(4, -1)
    np.testing.assert_allclose(fields @ fields.T, np.eye(4), atol=1e-10)
    np.testing.assert_allclose(fields @ vectors.reshape(len(vectors), -1).T, 0, atol=1e-10)
    shape = fields.reshape(4, -1, 3)
    np.testing.assert_allclose(shape.sum(axis=1), 0, atol=1e-9)
    np.testing.assert_allclose(np.cross(points, shape).sum(axis=1), 0, atol=1e-8)


def test_no_affine_motion_is_in_them(model):
    points, vectors, _ = model
    fields = cubic_fields(points, vectors, 4)
    affine = np.einsum("nc,pnd->pcd", points, fields)  # of every component with every coordinate
    # what is taken out for the modes brings a little of it back
    assert np.abs(affine).max() < 0.15 * np.linalg.norm(points)


def test_fields_are_smooth(model):
    """Neighbours move alike: the field differs less between nearest atoms than between any two."""
    points, vectors, _ = model
    fields = cubic_fields(points, vectors, 4)
    distance = np.linalg.norm(points[:, None] - points, axis=2) + 1e6 * np.eye(len(points))
    nearest = distance.argmin(axis=1)
    apart = np.linalg.norm(fields - fields[:, nearest], axis=2)
    assert np.median(apart) < 0.6 * np.median(np.linalg.norm(fields[:, :, None] - fields[:, None], axis=3))


def test_the_same_for_the_same_structure_in_any_place(model):
    points, vectors, _ = model
    np.testing.assert_allclose(cubic_fields(points, vectors, 4), cubic_fields(points - 1000.0, vectors, 4), atol=1e-6)


@given(atoms=st.integers(1, 25), modes=st.integers(0, 3), seed=st.integers(0, 99))
def test_few_atoms_give_fewer_fields(atoms, modes, seed):
    generator = np.random.default_rng(seed)
    fields = cubic_fields(generator.normal(size=(atoms, 3)) * 20, generator.normal(size=(modes, atoms, 3)), 4)
    assert fields.shape[1:] == (atoms, 3)
    assert len(fields) == 4 if atoms >= 20 else len(fields) <= 4
    assert np.isfinite(fields).all()


@pytest.mark.parametrize("flat", [1, 2])
def test_atoms_on_a_line_or_in_a_plane(flat):
    points = np.random.default_rng(1).normal(size=(60, 3)) * 20
    points[:, flat:] = 0
    fields = cubic_fields(points, np.zeros((0, 60, 3)), 4)
    assert np.isfinite(fields).all()
