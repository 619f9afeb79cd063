"""A map as what nodes are fitted to: blurred to a width, and as a smooth function of place."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..pseudoatoms.field import Field
from ..pseudoatoms.gaussians import convolve, near_pairs, pair_overlaps
from ..reconstruction.map_files import Map

Floats = NDArray[np.float64]
_PAIR_REACH = 5.0  # widths; beyond it, two Gaussians share less than 0.2 % of what they share at one place
_MARGIN = 3.0  # widths around the box
_LEAST_SIGNAL = 0.05  # of the power of a map
_CLIP, _CLIPPINGS = 2.5, 10  # standard deviations
_MEDIAN_OF_NORMAL, _MEDIAN_OF_CLIPPED = 0.6745, 0.6646  # of the modulus of a normal variable, whole and below _CLIP
_SAMPLING = 2.5  # voxels per width that are enough


@dataclass(frozen=True, eq=False)
class Target:
    """A blurred map, ready for the correlation with Gaussians of one width.

    Attributes
    ----------
    values
        (nz, ny, nx) blurred map, perhaps on fewer voxels than the map came with.
    voxel
        Å.
    origin
        x, y, z of the first voxel, Å.
    width
        Å, of the Gaussians.
    overlap_map
        (nz, ny, nx) overlap of the map with a Gaussian at every voxel.
    field
        The same as a function of place.
    norm
        Root of the summed squares of the blurred map.
    signal
        The same without its noise.
    margin
        Voxels on every side that were added to the map.
    """

    values: NDArray[np.float64]
    voxel: float
    origin: Floats
    width: float
    overlap_map: NDArray[np.float64]
    field: Field
    norm: float
    signal: float
    margin: int

    @classmethod
    def make(cls, source: Map, width: float, own_width: float) -> Target:
        """Blur a map so that a point in it is as wide as a Gaussian.

        Parameters
        ----------
        source
            The map.
        width
            Of the Gaussians, Å.
        own_width
            Width in Å of a point in the map as it is, from its resolution.
        """
        blur = np.sqrt(max(width**2 - own_width**2, 0.0)) / source.pixel_size
        step = max(1, int(width / source.pixel_size / _SAMPLING))  # a blurred map needs fewer voxels
        # the blur reaches beyond the box, and so do the Gaussians that it is compared with
        margin = step * int(np.ceil(_MARGIN * width / source.pixel_size / step))
        values = np.pad(source.values.astype(np.float64), margin)
        if blur > 0:
            values = ndimage.gaussian_filter(values, blur, mode="constant", truncate=4.0)
        values = np.ascontiguousarray(values[::step, ::step, ::step])
        voxel, inner = source.pixel_size * step, slice(margin // step, -(margin // step))
        overlap, norm = convolve(values, width / voxel), float(np.sqrt((values**2).sum()))
        noise = _noise_power(values[inner, inner, inner])
        signal = float(np.sqrt(max(norm**2 - noise, _LEAST_SIGNAL * norm**2)))
        origin = np.array(source.origin) - margin * source.pixel_size
        return cls(values, voxel, origin, width, overlap, Field.through(overlap), norm, signal, margin // step)

    @property
    def sigma(self) -> float:
        """Width of the Gaussians in voxels."""
        return self.width / self.voxel

    def overlap(self, places: Floats) -> tuple[Floats, Floats]:
        """Overlap (n,) with a Gaussian at each place (n, 3) in Å, and its gradient (n, 3) per Å."""
        values, gradient = self.field.at((places - self.origin)[:, ::-1] / self.voxel)
        return values, gradient[:, ::-1] / self.voxel

    def self_overlap(self, places: Floats, weights: Floats, pairs: NDArray[np.int64]) -> tuple[float, Floats]:
        """Summed square of the Gaussians themselves, and its gradient (n, 3) per Å."""
        total, gradient = pair_overlaps(places / self.voxel, weights, self.sigma, pairs)
        return float(weights @ total), 2 * weights[:, None] * gradient / self.voxel

    def pairs(self, places: Floats) -> NDArray[np.int64]:
        """Pairs of Gaussians that overlap."""
        return near_pairs(places / self.voxel, self.sigma, _PAIR_REACH)


def _noise_power(values: Floats) -> float:
    """Summed square of the noise in a blurred map, were it everywhere as it is beside the molecule.

    The median of the densities, those of the molecule left out: they stand out more and more as others go.
    """
    size = np.abs(values).ravel()
    sigma = float(np.median(size)) / _MEDIAN_OF_NORMAL
    for _ in range(_CLIPPINGS):
        sigma = float(np.median(size[size <= _CLIP * sigma])) / _MEDIAN_OF_CLIPPED if sigma > 0 else 0.0
    return sigma**2 * values.size
