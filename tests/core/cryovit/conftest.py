"""Adenylate kinase as a reference, and a few images of it."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from continuousflex_dl.core.cryovit.images import ParticleImages
from continuousflex_dl.core.cryovit.reference import FlexibleReference
from continuousflex_dl.core.io.mrc import write_stack
from continuousflex_dl.core.io.particle_table import ParticleTable
from continuousflex_dl.core.particles.stack import ImageStack
from continuousflex_dl.core.simulation.ctf_rows import constant_ctf
from continuousflex_dl.core.simulation.particles import Microscope, draw_poses, simulate_block
from continuousflex_dl.core.structure.atoms import Structure
from continuousflex_dl.core.structure.reader import read_structure

BOX, PIXEL = 32, 2.6


@pytest.fixture(scope="session")
def heavy(pytestconfig) -> Structure:
    return read_structure(pytestconfig.rootpath / "examples" / "adk_4ake_A.pdb")[0]


@pytest.fixture(scope="session")
def reference(heavy) -> FlexibleReference:
    return FlexibleReference.of(heavy)


@dataclass(frozen=True)
class Set:
    """A particle file of the undeformed structure."""

    table: ParticleTable
    stack: ImageStack


@pytest.fixture(scope="session")
def particles(reference, tmp_path_factory) -> Set:
    folder = tmp_path_factory.mktemp("cryovit")
    count = 6
    euler, shift = draw_poses(count, 3.0, seed=3)
    ctf = constant_ctf(count, voltage=200, cs=2.0, amplitude_contrast=0.1, defocus=8000)
    atoms = np.repeat(reference.atoms[None], count, axis=0)
    images = simulate_block(atoms, reference.weights, euler, shift, ctf, Microscope(BOX, PIXEL, 1.0, 50.0), seed=5)
    with write_stack(folder / "p.mrcs", count, BOX, PIXEL) as writer:
        writer.append(images)
    names = [f"{number + 1:06d}@p.mrcs" for number in range(count)]
    table = ParticleTable.create(names, PIXEL, folder=folder, box=BOX, ctf=ctf).with_poses(euler, shift)
    return Set(table, ImageStack(table))


@pytest.fixture(scope="session")
def images(particles, reference) -> ParticleImages:
    return ParticleImages(particles.table, particles.stack, resolution=6.0, particle_radius=reference.radius)


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)
