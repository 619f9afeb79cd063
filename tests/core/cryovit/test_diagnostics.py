"""What says that a latent knows the pose, and direct superposition."""

import numpy as np
import pytest
import roma
import torch

from continuousflex_dl.core.conventions import matrix_from_euler
from continuousflex_dl.core.cryovit.diagnostics import latent_dependence
from continuousflex_dl.core.cryovit.direct import superposition

COUNT = 400


@pytest.fixture
def euler():
    rng = np.random.default_rng(0)
    return np.degrees(np.stack([*rng.uniform(0, 6.28, (2, COUNT)), np.arccos(rng.uniform(-1, 1, COUNT))], 1))[
        :, [0, 2, 1]
    ]


def test_a_latent_of_its_own_depends_on_nothing(euler):
    rng = np.random.default_rng(1)
    found = latent_dependence(rng.normal(size=(COUNT, 5)), euler, rng.uniform(5e3, 3e4, COUNT))
    assert max(found["pose"]) < 0.3
    assert max(found["defocus"]) < 0.15


def test_a_latent_that_knows_the_pose_or_the_defocus_is_seen(euler):
    rng = np.random.default_rng(2)
    view, defocus = matrix_from_euler(euler)[:, 2], rng.uniform(5e3, 3e4, COUNT)
    latent = rng.normal(size=(COUNT, 4)) * 0.1
    latent[:, 1] += 5 * view[:, 0] * view[:, 1]
    latent[:, 2] += 3 * (defocus - defocus.mean()) / defocus.std()
    found = latent_dependence(latent, euler, defocus)
    assert max(found["pose"]) > 0.9
    assert max(found["defocus"]) > 0.9


def test_one_defocus_for_all_is_not_correlated(euler):
    assert "defocus" not in latent_dependence(np.random.default_rng(0).normal(size=(COUNT, 2)), euler, np.ones(COUNT))


def test_superposition_undoes_a_rigid_motion(generator):
    points = torch.randn(3, 20, 3, generator=generator)
    rotation = roma.rotvec_to_rotmat(torch.randn(3, 3, generator=generator))
    shift = torch.randn(3, 3, generator=generator)
    moved = points @ rotation.transpose(-1, -2) + shift[:, None]
    found, offset = superposition(points, moved)
    assert torch.allclose(found, rotation, atol=1e-4)
    assert torch.allclose(offset, shift, atol=1e-4)
    mirrored = points * torch.tensor([1.0, 1.0, -1.0])
    assert torch.linalg.det(superposition(points, mirrored)[0]).numpy() == pytest.approx(1.0, abs=1e-4)
