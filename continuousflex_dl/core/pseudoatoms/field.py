"""A map as a smooth function of space: cubic B-splines, with the exact gradient."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

_MARGIN = 3  # voxels of zeros around the map, so that places near its edge need no care


@dataclass(frozen=True, eq=False)
class Field:
    """Cubic spline through the voxels of a map; zero outside.

    Attributes
    ----------
    coefficients
        (nz + 2 m, ny + 2 m, nx + 2 m) spline coefficients, m voxels of margin.
    """

    coefficients: NDArray[np.float64]

    @classmethod
    def through(cls, values: NDArray[np.floating]) -> Field:
        """Spline through values (nz, ny, nx)."""
        padded = np.pad(np.asarray(values, dtype=np.float64), _MARGIN)
        return cls(ndimage.spline_filter(padded, order=3, mode="constant"))

    def at(self, places: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Values (n,) and gradients (n, 3) at places (n, 3) in voxels (z, y, x) from the first one."""
        limit = np.array(self.coefficients.shape) - 3.0
        shifted = np.clip(places + _MARGIN, 1.0, limit)
        base = np.floor(shifted).astype(np.int64)
        weights, slopes = _cubic(np.subtract(shifted, base))  # (n, 3, 4)
        offsets = np.arange(-1, 3)
        z, y, x = ((base[:, axis, None] + offsets) for axis in range(3))  # (n, 4)
        near = self.coefficients[z[:, :, None, None], y[:, None, :, None], x[:, None, None, :]]  # (n, 4, 4, 4)
        along_x = np.einsum("nzyx,nx->nzy", near, weights[:, 2])
        plane = np.einsum("nzy,ny->nz", along_x, weights[:, 1])
        gradient = np.stack(
            [
                np.einsum("nz,nz->n", plane, slopes[:, 0]),
                np.einsum("nzy,nz,ny->n", along_x, weights[:, 0], slopes[:, 1]),
                np.einsum("nzyx,nz,ny,nx->n", near, weights[:, 0], weights[:, 1], slopes[:, 2], optimize=True),
            ],
            axis=1,
        )
        return np.einsum("nz,nz->n", plane, weights[:, 0]), gradient


def _cubic(t: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weights and their slopes (..., 4) of the four coefficients around a place t in [0, 1) between the middle two."""
    u = 1 - t
    weights = np.stack([u**3, 4 - 6 * t**2 + 3 * t**3, 4 - 6 * u**2 + 3 * u**3, t**3], axis=-1) / 6
    slopes = np.stack([-(u**2), 3 * t**2 - 4 * t, 4 * u - 3 * u**2, t**2], axis=-1) / 2
    return weights, slopes
