"""Sums of equal Gaussians: on a grid, and the overlaps that a least-squares fit needs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

REACH = 4.0  # widths at which a Gaussian is cut off
_PAIR_REACH = 6.5  # the product of two reaches further
_VALUES_AT_ONCE = 1 << 24


def overlap_volume(sigma: float) -> float:
    """Integral of the square of a Gaussian of height 1, voxels."""
    return float((np.pi * sigma**2) ** 1.5)


def render(
    places: NDArray[np.float64], heights: NDArray[np.float64], sigma: float, shape: tuple[int, ...]
) -> NDArray[np.float32]:
    """Sum of Gaussians on a grid.

    Parameters
    ----------
    places
        (n, 3) in voxels (z, y, x) from the first one.
    heights
        (n,).
    sigma
        Width in voxels.
    shape
        (nz, ny, nx).
    """
    half = int(np.ceil(REACH * sigma))
    padded = tuple(size + 2 * half for size in shape)
    offsets = np.arange(-half, half + 1)
    volume = np.zeros(int(np.prod(padded)))
    inside = ((places > -0.5) & (places < np.array(shape) - 0.5)).all(axis=1)
    step = max(1, _VALUES_AT_ONCE // len(offsets) ** 3)
    for first in range(0, len(places), step):
        block = np.flatnonzero(inside[first : first + step]) + first
        centre = np.rint(places[block])
        distance = offsets - (places[block] - centre)[:, :, None]  # (k, 3, w)
        z, y, x = np.exp(-(distance**2) / (2 * sigma**2)).transpose(1, 0, 2)
        plane = y[:, :, None] * x[:, None, :]
        values = (heights[block, None] * z)[:, :, None, None] * plane[:, None]
        corner = centre.astype(np.int64) + half
        iz, iy, ix = ((corner[:, axis, None] + offsets) for axis in range(3))
        index = (iz[:, :, None, None] * padded[1] + iy[:, None, :, None]) * padded[2] + ix[:, None, None, :]
        volume += np.bincount(index.ravel(), values.ravel(), minlength=len(volume))
    cut = tuple(slice(half, half + size) for size in shape)
    return volume.reshape(padded)[cut].astype(np.float32)


def convolve(values: NDArray[np.floating], sigma: float) -> NDArray[np.float64]:
    """Overlap of a map (nz, ny, nx) with a Gaussian of height 1 at every voxel; zero outside the map."""
    smooth = ndimage.gaussian_filter(np.asarray(values, dtype=np.float64), sigma, mode="constant", truncate=REACH + 1)
    return smooth * (2 * np.pi * sigma**2) ** 1.5


def near_pairs(places: NDArray[np.float64], sigma: float, reach: float = _PAIR_REACH) -> NDArray[np.int64]:
    """Pairs (P, 2) of Gaussians nearer than `reach` widths: that overlap, and will after small moves."""
    return cKDTree(places).query_pairs(reach * sigma, output_type="ndarray")


def pair_overlaps(
    places: NDArray[np.float64], heights: NDArray[np.float64], sigma: float, pairs: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Overlap (n,) of every Gaussian of height 1 with the sum of all, and the gradient (n, 3) by its place."""
    n = len(places)
    first, second = pairs[:, 0], pairs[:, 1]
    apart = places[first] - places[second]
    volume = overlap_volume(sigma)
    common = volume * np.exp(-np.einsum("pi,pi->p", apart, apart) / (4 * sigma**2))
    on_first, on_second = common * heights[second], common * heights[first]
    total = volume * heights + np.bincount(first, on_first, n) + np.bincount(second, on_second, n)
    gradient = np.stack(
        [
            np.bincount(second, on_second * apart[:, axis], n) - np.bincount(first, on_first * apart[:, axis], n)
            for axis in range(3)
        ],
        axis=1,
    )
    return total, gradient / (2 * sigma**2)
