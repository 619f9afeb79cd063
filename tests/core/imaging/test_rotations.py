"""Rotations: grids cover SO(3) evenly, random ones are uniform, symmetry divides the grid."""

import math

import numpy as np
import pytest
import torch

from continuousflex_dl.core.imaging.rotations import (
    angle_between,
    asymmetric_unit,
    euler_from_rotation,
    local_rotations,
    random_rotations,
    rotation_from_euler,
    rotation_grid,
    symmetry_rotations,
    turn,
)


def nearest_deg(points, grid):
    trace = torch.einsum("pij,gij->pg", points, grid)
    return torch.rad2deg(torch.arccos(((trace.amax(1) - 1) / 2).clamp(-1, 1)))


@pytest.mark.parametrize("step", [15.0, 30.0])
def test_grid_leaves_no_rotation_further_than_a_step(step):
    grid = rotation_grid(step)
    assert len(grid) == pytest.approx(8 * math.pi**2 / math.radians(step) ** 3, rel=0.01)
    distance = nearest_deg(random_rotations(3000, torch.Generator().manual_seed(1)), grid)
    assert distance.max() < step
    assert distance.mean() < 0.6 * step


def test_random_rotations_are_uniform():
    rotations = random_rotations(20000, torch.Generator().manual_seed(0))
    # the angle of a uniform rotation has density (1 - cos) / pi: its mean is pi / 2 + 2 / pi
    mean = angle_between(rotations, torch.eye(3, dtype=torch.float64).expand_as(rotations)).mean()
    assert float(mean) == pytest.approx(math.pi / 2 + 2 / math.pi, abs=0.01)
    assert rotations.mean(0).abs().max() < 0.02


@pytest.mark.parametrize(("group", "order"), [("C1", 1), ("C4", 4), ("D3", 6), ("T", 12), ("O", 24), ("I", 60)])
def test_asymmetric_unit_holds_one_rotation_of_each_orbit(group, order):
    assert len(symmetry_rotations(group)) == order
    grid = rotation_grid(12.0)
    unit = asymmetric_unit(grid, group)
    assert len(unit) == pytest.approx(len(grid) / order, rel=0.1)
    # every rotation has an equivalent near the unit
    some = random_rotations(200, torch.Generator().manual_seed(3))
    orbit = torch.einsum("pij,gjk->pgik", some, symmetry_rotations(group))
    nearest = torch.stack([nearest_deg(orbit[:, k], unit) for k in range(order)]).amin(0)
    assert nearest.max() < 12.0


def test_turn_composes_in_the_frame_of_the_image():
    start = rotation_from_euler(np.array([[10.0, 40.0, 20.0]]))
    turned = turn(start, torch.tensor([[0.0, 0.0, math.radians(-25.0)]], dtype=torch.float64))
    np.testing.assert_allclose(euler_from_rotation(turned), [[10.0, 40.0, 45.0]], atol=1e-9)


def test_local_rotations_fill_a_ball_from_its_centre():
    vectors = local_rotations(10.0, 5.0)
    length = torch.rad2deg(vectors.norm(dim=-1))
    assert length[0] == 0
    assert length.max() <= 10.0 + 1e-9
    assert len(vectors) == 33
    assert len(local_rotations(0.0, 5.0)) == 1
