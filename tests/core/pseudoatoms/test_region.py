"""What counts as molecule: noise, threshold, the largest part, masks."""

import numpy as np
import pytest

from continuousflex_dl.core.errors import InputError
from continuousflex_dl.core.pseudoatoms.region import find_region, noise_of


@pytest.fixture
def noisy():
    """A large and a small ball in noise of standard deviation 0.1 about 0.05."""
    z, y, x = np.meshgrid(*(np.arange(size) for size in (40, 48, 44)), indexing="ij")
    values = np.random.default_rng(0).normal(0.05, 0.1, size=z.shape)
    values[(z - 20) ** 2 + (y - 20) ** 2 + (x - 20) ** 2 < 9**2] += 1.5
    values[(z - 20) ** 2 + (y - 38) ** 2 + (x - 30) ** 2 < 4**2] += 1.5
    return values.astype(np.float32)


def test_noise_is_measured_beside_the_molecule(noisy):
    level, sigma = noise_of(noisy)
    assert level == pytest.approx(0.05, abs=0.01)
    assert sigma == pytest.approx(0.1, rel=0.05)


def test_largest_part_above_three_sigma(noisy):
    region = find_region(noisy)
    assert region.threshold == pytest.approx(0.35, rel=0.1)
    assert region.n_voxels == pytest.approx(4 / 3 * np.pi * 9**3, rel=0.05)
    assert region.inside[20, 20, 20]
    assert not region.inside[20, 38, 30]
    assert region.n_above > region.n_voxels + 200


def test_threshold_is_taken_as_given(noisy):
    region = find_region(noisy, threshold=1.6)
    assert region.noise is None
    assert (noisy[region.inside] > 1.6).all()


def test_mask_keeps_all_parts_with_positive_density(noisy):
    mask = np.zeros(noisy.shape, dtype=bool)
    mask[10:31, 10:44, 10:36] = True
    region = find_region(noisy, mask=mask)
    assert region.inside[20, 38, 30]
    assert region.threshold == 0
    assert (region.inside <= mask).all()
    assert (noisy[region.inside] > 0).all()
    assert find_region(noisy, threshold=1.0, mask=mask).n_voxels < region.n_voxels


def test_map_that_was_masked_has_the_noise_of_its_inside():
    rng = np.random.default_rng(1)
    values = np.zeros((40, 40, 40), dtype=np.float32)
    values[8:32, 8:32, 8:32] = rng.normal(0, 0.1, size=(24, 24, 24))
    values[14:26, 14:26, 14:26] += 2
    level, sigma = noise_of(values)
    assert level == 0
    assert sigma == pytest.approx(0.1, rel=0.1)
    assert find_region(values).n_voxels == pytest.approx(12**3, rel=0.02)


@pytest.mark.parametrize(("threshold", "mask"), [(9.0, None), (None, np.zeros((40, 48, 44), dtype=bool))])
def test_nothing_left_is_an_error(noisy, threshold, mask):
    with pytest.raises(InputError, match="expected a molecule"):
        find_region(noisy, threshold, mask)
