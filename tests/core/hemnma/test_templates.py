"""The global search scores what it says it scores, and finds noise-free images."""

import numpy as np
import pytest
import torch

from continuousflex_dl.core.conventions import matrix_from_euler
from continuousflex_dl.core.hemnma.templates import Templates, search, shift_grid
from continuousflex_dl.core.imaging.fourier import Disc, shift_phase
from continuousflex_dl.core.imaging.gaussian import form_factor, project
from continuousflex_dl.core.imaging.rotations import angle_between, rotation_grid

BOX, PIXEL, RADIUS = 40, 3.0, 8
CONFORMATIONS = torch.tensor([[0.0, 0.0], [25.0, 0.0], [-25.0, 0.0], [0.0, 25.0], [0.0, -25.0]])


@pytest.fixture(scope="module")
def make(reference):
    return lambda threads=1: Templates.make(
        reference, rotation_grid(20.0), CONFORMATIONS, Disc.make(BOX, RADIUS), PIXEL, threads=threads
    )


@pytest.fixture(scope="module")
def found(make, scene):
    some = scene(count=12, snr=None, seed=5, amplitude=20.0)
    observation = some.observe(radius=RADIUS)
    return some, observation, search(make(), observation, shift_grid(4.0, 1.0), 16)


def test_threads_change_no_bit_of_the_templates(make):
    one, three = make(1), make(3)
    assert len(one.rotations) > 512, "else there is one portion of each conformation only"
    assert torch.equal(one.coefficients, three.coefficients)
    assert torch.equal(one.power, three.power)


def test_gain_is_that_of_the_likelihood_at_the_best_scale(reference, found):
    _, observation, candidates = found
    disc = observation.disc
    for image in range(3):
        for rank in (0, 7):
            shift = candidates.shift_px[image, rank]
            points = reference.deformed(candidates.amplitudes[image, rank]) @ candidates.rotation[image, rank].T / PIXEL
            model = project(points[None, :, 0], points[None, :, 1], reference.weights, disc)[0]
            model = model * form_factor(disc, reference.sigma, PIXEL) * observation.transfer[image]
            model, data = (model * shift_phase(disc, shift[None])[0]).numpy(), observation.data[image].numpy()
            scale = max(0.0, np.vdot(model, data).real / np.vdot(model, model).real)
            gain = (np.linalg.norm(data) ** 2 - np.linalg.norm(data - scale * model) ** 2) / 2
            np.testing.assert_allclose(candidates.gain[image, rank], gain, rtol=2e-3)


def test_best_comes_first(found):
    gain = found[2].gain
    assert (gain[:, :-1] >= gain[:, 1:]).all()


def test_images_without_noise_are_found(found):
    some, _, candidates = found
    truth = torch.as_tensor(matrix_from_euler(some.euler_deg)).float()
    off = torch.rad2deg(angle_between(candidates.rotation, truth[:, None].expand_as(candidates.rotation)))
    # a grid of 20 degrees leaves about ten to the nearest point
    assert (off[:, :4].amin(dim=1) < 20.0).all()
    moved = -torch.as_tensor(some.shift_angst).float() / PIXEL
    assert ((candidates.shift_px[:, 0] - moved).abs() < 1.6).all()
