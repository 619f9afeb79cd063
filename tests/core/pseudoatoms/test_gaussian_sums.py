"""The closed forms of a sum of Gaussians are what adding it up voxel by voxel gives."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from continuousflex_dl.core.pseudoatoms.field import Field
from continuousflex_dl.core.pseudoatoms.gaussians import convolve, near_pairs, overlap_volume, pair_overlaps, render

SHAPE = (31, 34, 29)


def random_atoms(count, seed=0, margin=9.0):
    rng = np.random.default_rng(seed)
    places = rng.uniform(margin, np.array(SHAPE) - 1 - margin, size=(count, 3))
    return places, rng.uniform(0.2, 1.0, size=count)


def by_hand(places, heights, sigma, shape=SHAPE):
    grid = np.stack(np.meshgrid(*(np.arange(size) for size in shape), indexing="ij"), axis=-1)
    square = ((grid[None] - places[:, None, None, None]) ** 2).sum(axis=-1)
    return np.tensordot(heights, np.exp(-square / (2 * sigma**2)), axes=1)


@pytest.mark.parametrize("sigma", [0.7, 1.0, 2.2])
def test_rendered_is_the_sum(sigma):
    places, heights = random_atoms(30)
    np.testing.assert_allclose(render(places, heights, sigma, SHAPE), by_hand(places, heights, sigma), atol=2e-3)


def test_atoms_at_the_faces_are_cut_not_wrapped():
    places = np.array([[0.0, 0.2, 0.0], [30.0, 33.0, 28.0], [15.0, -0.3, 28.3], [-3.0, 10, 10]])
    found = render(places, np.ones(4), 1.0, SHAPE)
    np.testing.assert_allclose(found, by_hand(places[:3], np.ones(3), 1.0), atol=2e-3)


@pytest.mark.parametrize("sigma", [1.0, 1.6])
def test_overlaps_are_those_on_the_grid(sigma):
    places, heights = random_atoms(25, seed=1)
    volume = by_hand(places, heights, sigma)
    singles = [by_hand(place[None], np.ones(1), sigma) for place in places]
    expected = np.array([(single * volume).sum() for single in singles])
    found, _ = pair_overlaps(places, heights, sigma, near_pairs(places, sigma))
    np.testing.assert_allclose(found, expected, rtol=2e-3)
    assert overlap_volume(sigma) == pytest.approx((singles[0] ** 2).sum(), rel=1e-3)
    field = Field.through(convolve(volume, sigma))
    np.testing.assert_allclose(field.at(places)[0], expected, rtol=1e-2)


def test_gradients_are_those_of_the_values():
    places, heights = random_atoms(20, seed=2)
    field = Field.through(convolve(by_hand(places, heights, 1.2), 1.2))
    elsewhere = places + np.random.default_rng(3).normal(size=places.shape)
    pairs = near_pairs(elsewhere, 1.2)
    step = 1e-5
    _, slope = field.at(elsewhere)
    for axis in range(3):
        shift = np.eye(3)[axis] * step
        numeric = (field.at(elsewhere + shift)[0] - field.at(elsewhere - shift)[0]) / (2 * step)
        np.testing.assert_allclose(slope[:, axis], numeric, atol=1e-6)
    _, pair_slope = pair_overlaps(elsewhere, heights, 1.2, pairs)
    for atom in range(5):
        for axis in range(3):
            moved = [elsewhere.copy(), elsewhere.copy()]
            moved[0][atom, axis] += step
            moved[1][atom, axis] -= step
            up, down = (pair_overlaps(place, heights, 1.2, pairs)[0][atom] for place in moved)
            assert pair_slope[atom, axis] == pytest.approx((up - down) / (2 * step), abs=1e-5)


@settings(max_examples=25)
@given(st.tuples(*(st.floats(0.5, size - 1.5) for size in SHAPE)))
def test_spline_goes_through_a_smooth_function(place):
    z, y, x = np.meshgrid(*(np.arange(size) for size in SHAPE), indexing="ij")

    def smooth(a, b, c):
        near = (a - 15) ** 2 + (b - 17) ** 2 + (c - 14) ** 2
        return np.exp(-near / 40)

    value, _ = Field.through(smooth(z, y, x)).at(np.array([place]))
    assert value[0] == pytest.approx(smooth(*place), abs=2e-3)


def test_field_is_flat_far_outside():
    field = Field.through(np.ones(SHAPE))
    value, slope = field.at(np.array([[-50.0, 10, 10], [10, 500.0, 10]]))
    assert np.isfinite(value).all()
    assert np.isfinite(slope).all()
