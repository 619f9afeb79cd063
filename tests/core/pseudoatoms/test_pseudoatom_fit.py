"""Gaussians that made a map are found again; real maps are approximated to the target."""

import numpy as np
import pytest
from scipy.spatial import cKDTree

from continuousflex_dl.core.pseudoatoms.fit import density_range, fit_pseudoatoms, is_stray
from continuousflex_dl.core.pseudoatoms.gaussians import render
from continuousflex_dl.core.pseudoatoms.quality import map_model_correlation
from continuousflex_dl.core.pseudoatoms.region import find_region
from continuousflex_dl.core.pseudoatoms.structure import as_structure, other_hand
from continuousflex_dl.core.reconstruction.map_files import Map, read_map

SHAPE = (37, 30, 42)  # odd and even sides, no cube


@pytest.fixture(scope="module")
def truth():
    """60 Gaussians, no two nearer than two widths and a half, in one piece."""
    rng = np.random.default_rng(2)
    places = [np.array([18.0, 15.0, 20.0])]
    while len(places) < 60:
        step = rng.normal(size=3)
        place = places[rng.integers(len(places))] + 2.7 * step / np.linalg.norm(step)
        inside = (place > 6).all() and (place < np.array(SHAPE) - 7).all()
        if inside and min(np.linalg.norm(place - other) for other in places) > 2.5:
            places.append(place)
    return np.array(places), rng.uniform(0.5, 1.5, size=60)


@pytest.fixture(scope="module")
def density(truth):
    return render(*truth, 1.0, SHAPE)


@pytest.fixture(scope="module")
def found(density):
    return fit_pseudoatoms(density, find_region(density, threshold=0.05), 1.0, 0.5)


def test_gaussians_that_made_a_map_are_found_again(truth, found):
    places, heights = truth
    distance, partner = cKDTree(found.places).query(places)
    assert np.median(distance) < 0.1
    assert np.mean(distance < 0.5) > 0.9
    close = distance < 0.2
    np.testing.assert_allclose(found.heights[partner[close]], heights[close], rtol=0.25)
    assert len(found) < 1.3 * len(places)


def test_error_is_what_the_model_leaves(density, found):
    region = find_region(density, threshold=0.05)
    left = np.abs(density - found.model)[region.inside].mean()
    expected = 100 * left / density_range(density[region.inside])
    assert found.error == pytest.approx(expected, rel=1e-3)
    assert found.error <= 0.5
    np.testing.assert_allclose(render(found.places, found.heights, 1.0, SHAPE), found.model, atol=1e-5)
    assert (np.diff(found.heights) <= 0).all()
    assert (found.heights > 0).all()


def test_a_lower_target_takes_more_of_them(density):
    region = find_region(density, threshold=0.05)
    coarse, fine = (fit_pseudoatoms(density, region, 1.0, target) for target in (10.0, 3.0))
    assert len(coarse) < len(fine)
    assert coarse.error > fine.error


def test_wider_ones_are_fewer_and_say_when_they_cannot(density):
    region = find_region(density, threshold=0.05)
    wide = fit_pseudoatoms(density, region, 2.0, 1.0)
    assert len(wide) < 30
    assert wide.error > 1.0


def test_same_map_gives_the_same_bits(density):
    region = find_region(density, threshold=0.05)
    first, again = (fit_pseudoatoms(density, region, 1.0, 5.0) for _ in range(2))
    assert (first.places == again.places).all()
    assert (first.heights == again.heights).all()


def test_scale_of_the_densities_does_not_matter(density):
    one = fit_pseudoatoms(density, find_region(density, threshold=0.05), 1.0, 5.0)
    factor = np.float32(2.0**-13)
    tiny = fit_pseudoatoms(density * factor, find_region(density * factor, threshold=0.05 * 2.0**-13), 1.0, 5.0)
    np.testing.assert_allclose(tiny.places, one.places, atol=1e-3)
    np.testing.assert_allclose(tiny.heights, one.heights * factor, rtol=1e-3)


def test_structure_is_in_the_frame_of_the_map(density, found):
    source = Map(density, 2.5, (-40.0, 12.0, 7.0))
    structure = as_structure(found, source)
    z, y, x = found.places[0]
    np.testing.assert_allclose(structure.coordinates[0], [-40 + 2.5 * x, 12 + 2.5 * y, 7 + 2.5 * z])
    assert structure.sigma == 2.5
    assert structure.weights.max() == 1
    assert structure.is_pseudoatomic


@pytest.mark.parametrize("size", [29, 30])
def test_other_hand_is_a_mirror_about_the_central_voxel(size):
    rng = np.random.default_rng(0)
    places, heights = rng.uniform(6, 22, size=(20, 3)), rng.uniform(0.5, 1, size=20)
    source = Map(render(places, heights, 1.0, (29, 29, size)), 3.0, (5.0, -10.0, 0.0))
    mirrored = other_hand(source)
    centre = 5.0 + (size // 2) * 3.0
    there = fit_pseudoatoms(source.values, find_region(source.values, 0.02), 1.0, 2.0)
    here = fit_pseudoatoms(mirrored.values, find_region(mirrored.values, 0.02), 1.0, 2.0)
    one, other = as_structure(there, source).coordinates, as_structure(here, mirrored).coordinates
    distance, _ = cKDTree(one * [-1, 1, 1] + [2 * centre, 0, 0]).query(other)
    assert np.median(distance) < 0.3
    assert cKDTree(one).query(other)[0].max() > 3
    again = other_hand(mirrored)
    np.testing.assert_array_equal(again.values, source.values)
    assert again.origin == source.origin


def test_correlation_of_a_box_that_is_no_cube(density, found):
    region = find_region(density, threshold=0.05)
    curve = map_model_correlation(density, found.model, region.inside, 2.0)
    assert curve.box == 42
    assert curve.correlation[:12].min() > 0.99


@pytest.mark.parametrize(
    ("name", "pixel_size", "most", "resolution"),
    [("clean70SRibosome_vol_65p.mrc", 5.0, 700, 5.0), ("emd_5168.map", None, 2300, 4.5)],
)
def test_real_maps_to_five_per_cent(shared_data, name, pixel_size, most, resolution):
    source = read_map(shared_data / "maps" / name, pixel_size)
    region = find_region(source.values)
    found = fit_pseudoatoms(source.values, region, 1.0, 5.0)
    assert found.error <= 5.0
    assert len(found) < most
    curve = map_model_correlation(source.values, found.model, region.inside, source.pixel_size)
    assert curve.resolution(0.5) < resolution * source.pixel_size
    neighbours = cKDTree(found.places).query(found.places, k=4)[0]
    assert neighbours[:, 1].min() > 1.0  # no two at one place: a spring between them would have no direction
    assert neighbours[:, 3].max() < 6.5  # none adrift: nothing would hold it in an elastic network


def test_strays_have_less_than_three_others_in_reach():
    lump = np.random.default_rng(0).uniform(0, 4, size=(10, 3))
    places = np.vstack([lump, [[20.0, 20, 20], [21.0, 20, 20]]])
    assert is_stray(places, 1.0).tolist() == [False] * 10 + [True] * 2
    assert is_stray(np.array([[2.0, 2, 2], [12.0, 2, 2]]), 1.0, lump).tolist() == [False, True]
    assert not is_stray(lump[:3], 1.0).any()
