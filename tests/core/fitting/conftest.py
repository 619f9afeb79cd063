"""A flexible kinase of pseudoatoms, and maps of its conformations."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from continuousflex_dl.core.dynamics.modes import normal_modes
from continuousflex_dl.core.pseudoatoms.gaussians import render
from continuousflex_dl.core.reconstruction.map_files import Map
from continuousflex_dl.core.structure.atoms import representation
from continuousflex_dl.core.structure.reader import read_structure

VOXEL, WIDTH = 3.0, 3.0  # Å
EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "adk_4ake_A.pdb"


@dataclass(frozen=True)
class Scene:
    """A map of a turned, moved and deformed reference, with the truth."""

    source: Map
    coordinates: np.ndarray
    rotation: np.ndarray
    shift: np.ndarray


@pytest.fixture(scope="session")
def kinase():
    """CA atoms of adenylate kinase with modes 7 to 12."""
    structure = representation(read_structure(EXAMPLE)[0], "ca-p")
    return normal_modes(structure, None, 15.0, 12)


@pytest.fixture(scope="session")
def scene(kinase):
    def make(amplitudes, seed=0, noise=0.0, turned=True, width=WIDTH) -> Scene:
        rng = np.random.default_rng(seed)
        rotation = Rotation.random(random_state=seed).as_matrix() if turned else np.eye(3)
        shift = rng.uniform(-15, 15, 3) if turned else kinase.coordinates.mean(axis=0)
        moved = kinase.displace(np.asarray(amplitudes)) - kinase.coordinates.mean(axis=0)
        places = moved @ rotation.T + shift
        origin = places.min(axis=0) - 15.0
        shape = tuple(np.ceil((places.max(axis=0) + 15.0 - origin)[::-1] / VOXEL).astype(int))
        values = render((places - origin)[:, ::-1] / VOXEL, kinase.weights, width / VOXEL, shape)
        values += (noise * values.max() * rng.standard_normal(shape)).astype(np.float32)
        x, y, z = origin.tolist()
        return Scene(Map(values, VOXEL, (x, y, z)), places, rotation, shift)

    return make
