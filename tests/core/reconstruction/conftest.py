"""Images of a few Gaussian atoms, computed atom by atom in Fourier space: no slice of any volume is taken."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from continuousflex_dl.core.imaging.ctf import CtfBatch, ctf
from continuousflex_dl.core.imaging.fourier import Disc, disc_to_image, shift_phase
from continuousflex_dl.core.imaging.gaussian import form_factor, project
from continuousflex_dl.core.imaging.rotations import euler_from_rotation, random_rotations
from continuousflex_dl.core.io.particle_table import CtfParameters, ParticleTable

PIXEL, SIGMA = 1.5, 1.2


class Images:
    """Stands in for an image stack."""

    def __init__(self, pixels):
        self.pixels, self.box = pixels, pixels.shape[-1]

    def read(self, rows):
        return self.pixels[np.asarray(rows)]


@dataclass(frozen=True)
class Set:
    """Particles of a known map."""

    table: ParticleTable
    images: Images
    truth: torch.Tensor

    def with_poses(self, euler, shift):
        return replace(self, table=self.table.with_poses(euler, shift))


def band_limited(atoms, weights, box):
    """Map of the atoms with the frequencies that images of this box hold, summed term by term."""
    k = torch.fft.fftfreq(box) * box
    x, y, z = (
        torch.polar(torch.ones(len(atoms), box), -2 * np.pi / box * atoms[:, i, None] / PIXEL * k) for i in range(3)
    )
    transform = torch.einsum("n,nz,ny,nx->zyx", weights.to(x.dtype), z, y, x)
    distance = torch.sqrt(k[:, None, None] ** 2 + k[:, None] ** 2 + k**2)
    gauss = torch.exp(-2 * np.pi**2 * (SIGMA / (box * PIXEL)) ** 2 * distance**2) * (distance <= (box - 1) // 2)
    return torch.fft.fftshift(torch.fft.ifftn(transform * gauss).real)


@pytest.fixture(scope="session")
def make_set():
    def make(box=32, count=400, *, with_ctf=False, flipped=False, shift_angst=0.0, noise=0.0, atoms=None, seed=0):
        generator = torch.Generator().manual_seed(seed)
        if atoms is None:
            atoms = torch.randn(60, 3, generator=generator) * (0.09 * box * PIXEL)
        weights = torch.linspace(1, 2, len(atoms))
        rotation = random_rotations(count, generator).float()
        origin = (2 * torch.rand(count, 2, generator=generator) - 1) * shift_angst
        disc = Disc.make(box, (box - 1) // 2)
        points = (atoms @ rotation.transpose(-1, -2)) / PIXEL
        coefficients = project(points[..., 0], points[..., 1], weights, disc) * form_factor(disc, SIGMA, PIXEL)
        coefficients = coefficients * shift_phase(disc, -origin / PIXEL)
        parameters, zero = None, torch.ones(count, 1)
        if with_ctf:
            defocus = (8000 + 12000 * torch.rand(count, generator=generator)).double().numpy()
            full = lambda value: np.full(count, value)  # noqa: E731
            parameters = CtfParameters(
                full(300.0), full(2.7), full(0.1), defocus + 300, defocus - 300, full(25.0), full(0.0)
            )
            transfer = ctf(CtfBatch.from_arrays(parameters), disc.frequency(PIXEL))
            coefficients = coefficients * (transfer.abs() if flipped else transfer)
            zero = zero * 0.1
        mean = weights.sum() * zero[:, :, None] / box**2
        pixels = disc_to_image(coefficients, disc) + mean
        pixels = pixels + noise * torch.randn(pixels.shape, generator=generator)
        names = [f"{i + 1:06d}@none.mrcs" for i in range(count)]
        table = ParticleTable.create(names, PIXEL, folder=".", box=box, ctf=parameters, phase_flipped=flipped)
        table = table.with_poses(euler_from_rotation(rotation), origin.numpy())
        return Set(table, Images(pixels.numpy()), band_limited(atoms, weights, box))

    return make
