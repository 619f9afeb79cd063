"""Rotations in torch: conversions through roma, distances, and quasi-uniform grids on SO(3)."""

from __future__ import annotations

import math

import numpy as np
import roma
import torch
from torch import Tensor

from ..conventions import euler_from_matrix, matrix_from_euler


def rotation_from_euler(euler_deg: np.ndarray | Tensor, *, dtype: torch.dtype = torch.float64) -> Tensor:
    """Rotation matrices (..., 3, 3) of Euler angles (..., 3) rot, tilt, psi in degrees (see `core.conventions`)."""
    return torch.as_tensor(matrix_from_euler(np.asarray(euler_deg)), dtype=dtype)


def euler_from_rotation(rotation: Tensor) -> np.ndarray:
    """Euler angles (..., 3) in degrees of rotation matrices (..., 3, 3)."""
    return euler_from_matrix(rotation.detach().cpu().double().numpy())


def turn(rotation: Tensor, vector: Tensor) -> Tensor:
    """Turn rotations further by rotation vectors that are given in the frame of the image.

    Parameters
    ----------
    rotation
        (..., 3, 3).
    vector
        (..., 3) rotation vectors in radians.

    Returns
    -------
    (..., 3, 3) ``exp([vector]) @ rotation``, orthonormal to rounding.
    """
    return roma.special_gramschmidt(roma.rotvec_to_rotmat(vector) @ rotation)


def angle_between(a: Tensor, b: Tensor) -> Tensor:
    """Angle in radians of the rotation that takes one (..., 3, 3) rotation to the other."""
    return roma.rotmat_geodesic_distance(a, b)


def random_rotations(count: int, generator: torch.Generator) -> Tensor:
    """Rotations (count, 3, 3), uniform on SO(3): normalised Gaussian quaternions, float64."""
    quaternion = torch.randn(count, 4, generator=generator, dtype=torch.float64)
    return roma.unitquat_to_rotmat(quaternion / quaternion.norm(dim=-1, keepdim=True))


def rotation_grid(step_deg: float) -> Tensor:
    """Quasi-uniform grid on SO(3): super-Fibonacci spirals (Alexa, CVPR 2022).

    Parameters
    ----------
    step_deg
        Mean distance between neighbours in degrees; the number of rotations is the volume 8 pi^2 / step^3.

    Returns
    -------
    (n, 3, 3) float64; 15 degrees give 4,400 rotations.
    """
    count = max(1, round(8 * math.pi**2 / math.radians(step_deg) ** 3))
    phi, psi = math.sqrt(2.0), 1.533751168755204288118041  # the two irrational ratios of the paper
    s = torch.arange(count, dtype=torch.float64) + 0.5
    radius = torch.sqrt(s / count)
    other = torch.sqrt(1.0 - s / count)
    alpha, beta = 2 * math.pi * s / phi, 2 * math.pi * s / psi
    quaternion = torch.stack(
        [radius * torch.sin(alpha), radius * torch.cos(alpha), other * torch.sin(beta), other * torch.cos(beta)], -1
    )
    return roma.unitquat_to_rotmat(quaternion)


def symmetry_rotations(group: str) -> Tensor:
    """Rotations (g, 3, 3) of a point group: Cn and Dn about z, T, O and I in the setting of SciPy."""
    from scipy.spatial.transform import Rotation

    return torch.as_tensor(Rotation.create_group(group.upper()).as_matrix())


def asymmetric_unit(rotations: Tensor, group: str) -> Tensor:
    """Those rotations that are nearer to the identity than any of their symmetric equivalents ``R S``."""
    operations = symmetry_rotations(group).to(rotations)
    if len(operations) == 1:
        return rotations
    # the trace grows as the angle to the identity falls; equal traces (on the boundary) are kept
    trace = torch.einsum("rij,gji->rg", rotations, operations)
    own = torch.diagonal(rotations, dim1=-2, dim2=-1).sum(-1)
    return rotations[own >= trace.amax(1) - 1e-9]


def local_rotations(range_deg: float, step_deg: float) -> Tensor:
    """Rotation vectors (n, 3) in radians on a cubic lattice within a ball; the first is zero."""
    count = max(1, math.ceil(range_deg / step_deg)) if range_deg > 0 else 0
    axis = torch.arange(-count, count + 1, dtype=torch.float64) * (math.radians(range_deg) / max(count, 1))
    points = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3)
    length = points.norm(dim=-1)
    inside = length <= math.radians(range_deg) + 1e-9
    return points[inside][torch.argsort(length[inside], stable=True)]
