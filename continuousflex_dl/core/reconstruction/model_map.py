"""Map of a structure: Gaussian atoms on a grid."""

from __future__ import annotations

import math

import torch
from torch import Tensor

_VALUES_AT_ONCE = 1 << 26


def model_map(coordinates: Tensor, weights: Tensor, sigma_angst: float, box: int, pixel_size: float) -> Tensor:
    """Sum of Gaussians of one width, integrated over cubic voxels.

    Parameters
    ----------
    coordinates
        (N, 3) x, y, z in Å from the centre of the box, voxel box // 2.
    weights
        (N,) mass of each atom.
    sigma_angst
        Width.
    box, pixel_size
        px and Å.

    Returns
    -------
    (box, box, box), [z, y, x]; it sums to the sum of the weights as far as the atoms are in the box.
    """
    edges = (torch.arange(box + 1, dtype=torch.float64, device=coordinates.device) - box // 2 - 0.5) * pixel_size
    volume = torch.zeros(box * box, box, dtype=torch.float32, device=coordinates.device)
    step = max(1, _VALUES_AT_ONCE // box**2)
    for first in range(0, len(coordinates), step):
        block = coordinates[first : first + step].double()
        below = torch.erf((edges - block[..., None]) / (math.sqrt(2.0) * sigma_angst))  # (k, 3, box + 1)
        x, y, z = (0.5 * (below[..., 1:] - below[..., :-1])).float().unbind(1)
        weighted = weights[first : first + step, None].float() * x
        planes = (z[:, :, None] * y[:, None, :]).flatten(1)  # (k, box * box)
        volume += planes.T @ weighted
    return volume.unflatten(0, (box, box))
