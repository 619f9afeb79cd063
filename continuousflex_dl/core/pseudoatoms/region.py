"""Which voxels of a map are molecule: above the noise and in one piece, or inside a mask."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..errors import InputError

NOISE_SIGMAS = 3.0
_BORDER = 0.05  # of the box on every side
_LEAST_BORDER_PX = 2
_LEAST_VOXELS = 8
_TO_SIGMA = 1.4826  # from a median absolute deviation


@dataclass(frozen=True, eq=False)
class Region:
    """Voxels that count, and how they were chosen.

    Attributes
    ----------
    inside
        (nz, ny, nx) bool.
    threshold
        Densities above it count.
    noise
        Standard deviation of the noise; None where it was not needed.
    n_above
        Voxels above the threshold before the largest connected part was taken.
    """

    inside: NDArray[np.bool_]
    threshold: float
    noise: float | None
    n_above: int

    @property
    def n_voxels(self) -> int:
        """Number of voxels that count."""
        return int(np.count_nonzero(self.inside))


def noise_of(values: NDArray[np.floating]) -> tuple[float, float]:
    """Level and standard deviation of the noise of a map (nz, ny, nx).

    Robust ones (median, and median absolute deviation) of the voxels near the faces of the box. Where these are all
    the same, a mask was applied to the map: then the lower voxels are taken as one half of the noise around this value.
    """
    border = np.ones(values.shape, dtype=bool)
    width = [max(_LEAST_BORDER_PX, round(_BORDER * size)) for size in values.shape]
    border[tuple(slice(w, -w) for w in width)] = False
    outside = values[border].astype(np.float64)
    level = float(np.median(outside))
    sigma = _TO_SIGMA * float(np.median(np.abs(outside - level)))
    if sigma > 0:
        return level, sigma
    negative = values[values < level].astype(np.float64) - level
    return level, _TO_SIGMA * float(np.median(-negative)) if len(negative) else 0.0


def find_region(
    values: NDArray[np.floating], threshold: float | None = None, mask: NDArray[np.bool_] | None = None
) -> Region:
    """Choose the voxels of a map that are molecule.

    Parameters
    ----------
    values
        (nz, ny, nx).
    threshold
        Density; None takes three standard deviations of the noise above its level, or 0 where a mask is given.
    mask
        (nz, ny, nx); without one, only the largest connected part above the threshold counts.

    Raises
    ------
    InputError
        If nothing is left.
    """
    noise = None
    if threshold is None and mask is None:
        level, noise = noise_of(values)
        threshold = level + NOISE_SIGMAS * noise
    limit = 0.0 if threshold is None else threshold
    above = values > limit
    n_above = int(np.count_nonzero(above))
    if mask is not None:
        inside = above & mask
    else:
        parts, count = ndimage.label(above)
        sizes = np.bincount(parts.ravel(), minlength=2)
        sizes[0] = 0
        inside = parts == sizes.argmax() if count else above
    region = Region(inside, float(limit), noise, n_above)
    if region.n_voxels < _LEAST_VOXELS:
        where = "in the mask" if mask is not None else "in one piece"
        raise InputError(
            f"{region.n_voxels} voxels above {limit:.4g} {where}, expected a molecule (densities are "
            f"{values.min():.4g} to {values.max():.4g}); give another --threshold or --mask"
        )
    return region
