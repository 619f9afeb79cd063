"""Projection of atoms: against the plain sum, and against images made in real space."""

import math

import torch

from continuousflex_dl.core.imaging.fourier import Disc, disc_to_image, image_to_disc
from continuousflex_dl.core.imaging.gaussian import form_factor, project
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
