"""The projector against the independent one that simulates images, and its gradients."""

import roma
import torch

from continuousflex_dl.core.cryovit.projector import Projector
from continuousflex_dl.core.imaging.fourier import Disc, image_to_disc
from continuousflex_dl.core.imaging.quadrants import Quadrants
from continuousflex_dl.core.imaging.rotations import random_rotations
from continuousflex_dl.core.simulation.images import project_atoms

BOX, PIXEL, RADIUS = 48, 2.0, 12


def _coefficients(projector, displacement, rotation, shift):
    pixel = torch.full((len(displacement),), PIXEL)
    points = projector(displacement, rotation, shift, pixel, RADIUS)
    disc, quadrants = Disc.make(BOX, RADIUS), Quadrants(BOX, RADIUS)
    square = quadrants.spread((disc.frequency(PIXEL) ** 2).sum(-1).float(), disc)
    inside = quadrants.spread(torch.ones(len(disc)), disc)
    return (points * projector.blur(square) * inside).detach()


def test_projections_agree_with_those_made_in_real_space(reference, generator):
    projector = Projector(reference, BOX, fit_mass=False)
    rotation = random_rotations(3, generator).float()
    shift = torch.tensor([[0.0, 0.0], [2.5, -1.0], [-3.0, 4.0]])
    displacement = 0.5 * torch.randn(3, 214, 3, generator=generator)
    found = _coefficients(projector, displacement, rotation, shift)
    atoms = projector.places(displacement).detach()
    images = project_atoms(atoms, projector.weights, rotation, shift, reference.sigma, BOX, PIXEL)
    disc, quadrants = Disc.make(BOX, RADIUS), Quadrants(BOX, RADIUS)
    true = image_to_disc(images, disc)
    true = torch.stack([quadrants.spread(part.contiguous(), disc) for part in (true.real, true.imag)], 1)
    for mine, theirs in zip(found.flatten(1), true.flatten(1), strict=True):
        assert torch.dot(mine, theirs) / (mine.norm() * theirs.norm()) > 0.999


def test_turning_the_structure_is_turning_the_pose(reference, generator):
    projector = Projector(reference, BOX, fit_mass=False)
    rotation = random_rotations(1, generator).float()
    turn = roma.rotvec_to_rotmat(torch.tensor([[0.2, -0.1, 0.3]]))
    nodes = torch.as_tensor(reference.nodes, dtype=torch.float32)
    still = torch.zeros(1, 214, 3)
    turned = (nodes @ turn[0].T - nodes)[None]
    one = _coefficients(projector, turned, rotation, torch.zeros(1, 2))
    other = _coefficients(projector, still, rotation @ turn, torch.zeros(1, 2))
    assert (one - other).abs().max() < 2e-3 * other.abs().max()


def test_gradients_are_exact(reference, generator):
    projector = Projector(reference, BOX, fit_mass=True).double()
    rotation = random_rotations(1, generator)
    pixel = torch.full((1,), PIXEL, dtype=torch.float64)
    weight = torch.randn(1, 2, 2, 4, 4, generator=generator, dtype=torch.float64)

    def value(displacement, shift):
        return (projector(displacement, rotation, shift, pixel, 3) * weight).sum()

    displacement = torch.randn(1, 214, 3, generator=generator, dtype=torch.float64).requires_grad_(True)
    shift = torch.zeros(1, 2, dtype=torch.float64, requires_grad=True)
    gradients = torch.autograd.grad(value(displacement, shift), [displacement, shift])
    for position, parameter in enumerate((displacement, shift)):
        direction = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        step = 1e-5
        moved = [
            [p.detach() + sign * step * direction * (number == position) if number == position else p.detach()
             for number, p in enumerate((displacement, shift))]
            for sign in (1, -1)
        ]  # fmt: skip
        numeric = (value(*moved[0]) - value(*moved[1])) / (2 * step)
        assert torch.isclose((gradients[position] * direction).sum(), numeric.detach(), rtol=1e-5)
