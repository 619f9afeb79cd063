"""Projection of atoms: against the plain sum, and against images made in real space."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from continuousflex_dl.core.imaging.fourier import Disc, disc_to_image, image_to_disc
from continuousflex_dl.core.imaging.gaussian import (
    form_factor,
    harmonic_table,
    harmonics,
    interpolated_harmonics,
    nearest_harmonics,
    project,
)
from continuousflex_dl.core.simulation.images import rasterise


def cloud(seed=0, n=60, spread=6.0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, 2, generator=generator) * spread, torch.rand(n, generator=generator) + 0.2


def test_same_as_the_plain_sum_of_waves():
    points, weights = cloud()
    for box in (32, 45):
        disc = Disc.make(box, 13)
        found = project(points[:, 0], points[:, 1], weights, disc)
        angle = -2 * math.pi / box * (disc.kx[:, None] * points[:, 0] + disc.ky[:, None] * points[:, 1])
        expected = (weights * torch.polar(torch.ones_like(angle), angle)).sum(-1)
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_several_sums_at_once():
    points, weights = cloud()
    disc = Disc.make(32, 9)
    several = project(points[:, 0], points[:, 1], torch.stack([weights, weights * points[:, 0]]), disc)
    torch.testing.assert_close(several[0], project(points[:, 0], points[:, 1], weights, disc))
    torch.testing.assert_close(several[1], project(points[:, 0], points[:, 1], weights * points[:, 0], disc))


def test_agrees_with_images_made_in_real_space():
    points, weights = cloud()
    box, pixel, sigma = 64, 1.5, 2.5
    image = rasterise((points * pixel)[None], weights, sigma, box, pixel)[0]
    disc = Disc.make(box, 31)
    model = project(points[:, 0], points[:, 1], weights, disc) * form_factor(disc, sigma, pixel)
    measured = image_to_disc(image, disc)
    correlation = torch.corrcoef(
        torch.stack([disc_to_image(model, disc).flatten(), disc_to_image(measured, disc).flatten()])
    )
    assert float(correlation[0, 1]) > 0.9995  # the pixels of a detector blur a little
    assert math.isclose(float(image.sum()), float(weights.sum()), rel_tol=1e-4)


def test_axes_are_y_then_x():
    image = rasterise(torch.tensor([[[4.0, 0.0]]]), torch.ones(1), 0.6, 17, 1.0)[0]
    assert divmod(int(image.argmax()), 17) == (8, 12)
    disc = Disc.make(17, 8)
    model = disc_to_image(project(torch.tensor([4.0]), torch.tensor([0.0]), torch.ones(1), disc), disc)
    assert divmod(int(model.argmax()), 17) == (8, 12)


@given(
    box=st.integers(8, 300),
    share=st.floats(0.1, 1.0),
    positions=st.lists(st.floats(-1000.0, 1000.0, width=32), min_size=1, max_size=20),
)
def test_looked_up_harmonics_are_those_computed(box, share, positions):
    """Wherever the atom is: also outside the box, which the waves repeat, and between the last row and the first."""
    radius = max(1, int(share * ((box - 1) // 2)))
    table = harmonic_table(radius, box, torch.float32, torch.device("cpu"))
    x = torch.tensor([positions])
    exact = harmonics(x.double(), radius, box).transpose(-1, -2)
    # float32 holds a position of 1000 px to 6e-5 px
    rounding = 2 * math.pi * radius / box * 2e-4
    between, nearest = interpolated_harmonics(x, table, box), nearest_harmonics(x, table, box)
    assert float((between - exact).abs().max()) < 1e-4 + rounding
    assert float((nearest - exact).abs().max()) < 0.0125 + rounding


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_projections_from_looked_up_harmonics(dtype):
    points, weights = cloud(n=500, spread=9.0)
    box, radius = 64, 31
    exact = (harmonics(points[:, 1], radius, box) * weights) @ harmonics(points[:, 0], radius, box).T
    table = harmonic_table(radius, box, dtype, torch.device("cpu"))
    x, y = (nearest_harmonics(points[:, axis], table, box) for axis in (0, 1))
    found = ((y * weights[:, None].to(dtype)).T @ x).float()
    assert float((found - exact).norm() / exact.norm()) < 0.01
