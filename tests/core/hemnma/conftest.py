"""A small flexible reference, and images of it made in real space."""

import numpy as np
import pytest
import torch

from continuousflex_dl.core.conventions import matrix_from_euler
from continuousflex_dl.core.hemnma.observation import Observation
from continuousflex_dl.core.hemnma.reference import Reference
from continuousflex_dl.core.imaging.fourier import Disc, image_to_disc
from continuousflex_dl.core.simulation.particles import Microscope, draw_poses, simulate_block

BOX, PIXEL, SIGMA = 40, 3.0, 2.5


def smooth_modes(points, count):
    """Orthonormal smooth displacement fields: bending and shearing, without rigid motion."""
    x, y, z = (points - points.mean(0)).T / 20.0
    zero = np.zeros_like(x)
    fields = [
        np.stack(f, 1) for f in ((zero, zero, x**2), (y * z, zero, zero), (zero, x * z, zero), (z**2, zero, zero))
    ]
    rigid = [np.tile(axis, (len(points), 1)) for axis in np.eye(3)]
    rigid += [np.cross(axis, points - points.mean(0)) for axis in np.eye(3)]
    basis = np.linalg.qr(np.stack([f.ravel() for f in rigid + fields], 1))[0]
    return basis[:, 6 : 6 + count].T.reshape(count, -1, 3)


@pytest.fixture(scope="session")
def model():
    """An asymmetric blob of 150 atoms with two modes: coordinates, vectors, weights."""
    generator = np.random.default_rng(4)
    points = generator.normal(size=(150, 3)) * [16, 9, 6] + np.where(generator.uniform(size=(150, 1)) < 0.3, 1, 0) * [
        10,
        14,
        -8,
    ]
    return points - points.mean(0), smooth_modes(points, 2), generator.uniform(4, 9, size=150)


@pytest.fixture(scope="session")
def reference(model):
    return Reference.from_arrays(*model, SIGMA)


class Scene:
    """Simulated particles with their truth."""

    def __init__(self, model, count, snr, seed, amplitude=30.0, max_shift_px=3.0):
        points, vectors, weights = model
        generator = np.random.default_rng(seed)
        self.amplitudes = generator.uniform(-amplitude, amplitude, size=(count, len(vectors)))
        self.euler_deg, self.shift_angst = draw_poses(count, max_shift_px * PIXEL, seed)
        coordinates = points + np.tensordot(self.amplitudes, vectors, axes=1)
        microscope = Microscope(BOX, PIXEL, SIGMA, snr)
        self.images = simulate_block(coordinates, weights, self.euler_deg, self.shift_angst, None, microscope, seed)
        signal = simulate_block(
            coordinates, weights, self.euler_deg, self.shift_angst, None, Microscope(BOX, PIXEL, SIGMA, None), seed
        )
        self.noise_variance = signal.var(axis=(1, 2)).mean() / (snr or 1e4)

    def observe(self, images=None, radius=16):
        images = torch.as_tensor(self.images if images is None else np.ascontiguousarray(images))
        disc = Disc.make(BOX, radius)
        whitening = float(np.sqrt(2.0 / (self.noise_variance * BOX**2)))
        return Observation(
            disc, image_to_disc(images, disc) * whitening, torch.full((len(images), len(disc)), whitening), PIXEL
        )

    def rotation_error_deg(self, euler_deg):
        a, b = matrix_from_euler(euler_deg), matrix_from_euler(self.euler_deg)
        trace = np.einsum("nij,nij->n", a, b)
        return np.rad2deg(np.arccos(np.clip((trace - 1) / 2, -1, 1)))


@pytest.fixture(scope="session")
def scene(model):
    return lambda count=8, snr=None, seed=1, **more: Scene(model, count, snr, seed, **more)
