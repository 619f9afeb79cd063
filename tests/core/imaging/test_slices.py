"""Projection of volumes: against projections that RELION itself wrote, with controls that must fail."""

import mrcfile
import numpy as np
import pytest
import torch

from continuousflex_dl.core.imaging.fourier import Disc, disc_to_image
from continuousflex_dl.core.imaging.gaussian import form_factor, project
from continuousflex_dl.core.imaging.rotations import random_rotations, rotation_from_euler
from continuousflex_dl.core.imaging.slices import SliceProjector
from continuousflex_dl.core.io.particles import read_particles


def correlations(a, b):
    return np.array([np.corrcoef(x.ravel(), y.ravel())[0, 1] for x, y in zip(a, b, strict=True)])


@pytest.fixture(scope="module")
def oracle(shared_data):
    folder = shared_data / "particles/relion_oracle"
    volume = torch.as_tensor(np.load(folder / "clean70SRibosome_vol.npy"), dtype=torch.float32)
    projector = SliceProjector(volume)

    def load(name):
        table = read_particles(folder / f"{name}.star", pixel_size=1.0)
        # ASPIRE documents one pixel of offset between these files and the volume, for odd boxes
        images = np.roll(mrcfile.read(folder / f"{name}.mrcs"), (-1, -1), axis=(1, 2))
        shift = np.zeros((len(table), 2)) if table.shift_angst is None else table.shift_angst
        return images, rotation_from_euler(table.euler_deg).float(), torch.as_tensor(shift, dtype=torch.float32)

    return projector, load


@pytest.mark.parametrize("name", ["rln_proj_65", "rln_proj_65_centered", "rln_proj_65_shifted"])
def test_same_as_relion(oracle, name):
    projector, load = oracle
    images, rotation, origin = load(name)
    assert correlations(projector.project(rotation, -origin).numpy(), images).min() >= 0.999


@pytest.mark.parametrize("name", ["rln_proj_65", "rln_proj_65_centered", "rln_proj_65_shifted"])
def test_the_transposed_rotation_fails(oracle, name):
    projector, load = oracle
    images, rotation, origin = load(name)
    assert correlations(projector.project(rotation.mT, -origin).numpy(), images).max() < 0.9


def test_the_opposite_shift_fails(oracle):
    projector, load = oracle
    images, rotation, origin = load("rln_proj_65_shifted")
    assert correlations(projector.project(rotation, origin).numpy(), images).max() < 0.2


@pytest.mark.parametrize("box", [40, 41])
def test_a_volume_of_atoms_projects_like_the_atoms(box):
    generator = torch.Generator().manual_seed(5)
    atoms = torch.randn(30, 3, generator=generator) * 4
    axis = torch.arange(box) - box // 2
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    grid = torch.stack([x, y, z], -1).float()
    volume = sum(torch.exp(-((grid - atom) ** 2).sum(-1) / (2 * 2.0**2)) for atom in atoms)
    rotation = random_rotations(3, generator).float()
    from_volume = SliceProjector(volume).project(rotation)
    disc = Disc.make(box, 18)
    points = atoms @ rotation.transpose(-1, -2)
    from_atoms = disc_to_image(
        project(points[..., 0], points[..., 1], torch.ones(30), disc) * form_factor(disc, 2.0, 1.0), disc
    )
    assert correlations(from_volume.numpy(), from_atoms.numpy()).min() > 0.9995


def test_only_cubes():
    with pytest.raises(ValueError, match="cubic"):
        SliceProjector(torch.zeros(4, 4, 5))
