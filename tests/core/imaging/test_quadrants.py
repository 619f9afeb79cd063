"""The quadrant layout holds the same coefficients as the disc, zero outside it."""

import numpy as np
import pytest
import torch

from continuousflex_dl.core.imaging.fourier import Disc
from continuousflex_dl.core.imaging.gaussian import harmonics, project
from continuousflex_dl.core.imaging.quadrants import Quadrants


@pytest.mark.parametrize(("box", "radius"), [(32, 9), (41, 20), (48, 5)])
def test_products_of_harmonics_fold_into_the_coefficients_of_the_disc(box, radius):
    generator = torch.Generator().manual_seed(box)
    x, y = (torch.randn(60, generator=generator) * 4 for _ in range(2))
    weights = torch.rand(60, generator=generator)
    disc, quadrants = Disc.make(box, radius), Quadrants(box, radius)
    expected = project(x, y, weights, disc)
    sums = (harmonics(y, radius, box) * weights) @ harmonics(x, radius, box).T
    cc, cs, sc, ss = quadrants.parts(sums)
    real, imaginary = (torch.empty(2, radius + 1, radius + 1) for _ in range(2))
    quadrants.fold(cc, -ss, real)
    quadrants.fold(-cs, -sc, imaginary)
    inside = quadrants.spread(torch.ones(len(disc)), disc)
    for part, wanted in ((real, expected.real), (imaginary, expected.imag)):
        torch.testing.assert_close(part * inside, quadrants.spread(wanted, disc), atol=1e-4, rtol=1e-4)
    assert int(inside.sum()) == len(disc)


def test_sums_of_squares_are_kept():
    disc = Disc.make(40, 12)
    values = torch.randn(3, len(disc), generator=torch.Generator().manual_seed(1))
    spread = Quadrants(40, 12).spread(values, disc)
    np.testing.assert_allclose((spread**2).sum((1, 2, 3)), (values**2).sum(1), rtol=1e-5)
