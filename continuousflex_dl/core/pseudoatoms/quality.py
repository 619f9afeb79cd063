"""How well a sum of Gaussians stands for its map: Fourier shell correlation around the molecule."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from ..reconstruction.fsc import ShellCorrelation, shell_correlation

_EXTEND_PX, _EDGE_PX = 2.0, 4.0


def map_model_correlation(
    values: NDArray[np.floating], model: NDArray[np.floating], inside: NDArray[np.bool_], pixel_size: float
) -> ShellCorrelation:
    """Correlate a map with its model shell by shell, both inside a soft mask around a region.

    Parameters
    ----------
    values, model
        (nz, ny, nx); a box that is not a cube is padded with zeros.
    inside
        (nz, ny, nx) the region.
    pixel_size
        Å.
    """
    distance = ndimage.distance_transform_edt(~inside)
    mask = 0.5 + 0.5 * np.cos(np.pi * np.clip((distance - _EXTEND_PX) / _EDGE_PX, 0, 1))
    box = max(values.shape)
    padding = [(0, box - size) for size in values.shape]
    cubes = [torch.from_numpy(np.pad((volume * mask).astype(np.float32), padding)) for volume in (values, model)]
    return shell_correlation(cubes[0], cubes[1], pixel_size)
