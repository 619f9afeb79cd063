"""Density of particles and its free energy on a grid, with error bars.

Particles are counted on a fine grid and the counts smoothed, so that a million particles cost no more than a thousand.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import InputError

Floats = NDArray[np.float64]
BINS = {1: 512, 2: 192, 3: 64}
_WIDTHS = np.geomspace(0.08, 1.6, 24)  # tried, in units of the normal-reference width
_LEAST_PARTICLES = 4.0  # within the kernel, for a value that is worth showing
_TRUNCATE = 6.0


@dataclass(frozen=True, eq=False)
class FreeEnergy:
    """Free energy of one to three coordinates on a grid.

    Attributes
    ----------
    grid
        d arrays: centres of the cells along each axis, evenly spaced.
    density
        Particles per unit of volume over all particles, shape of the grid; it sums to 1.
    energy
        -ln density in kT, 0 at the lowest value; NaN where there are too few particles.
    std
        One-sigma error of `energy` from resampling the particles, kT; NaN without resampling.
    bandwidth
        (d,) standard deviation of the smoothing.
    count
        Particles.
    replicas
        (B, ...) energies of the resampled particles, on the same zero; empty without resampling.
    """

    grid: tuple[Floats, ...]
    density: Floats
    energy: Floats
    std: Floats
    bandwidth: Floats
    count: int
    replicas: NDArray[np.float32]

    @property
    def cell(self) -> Floats:
        """(d,) size of a cell."""
        return np.array([axis[1] - axis[0] for axis in self.grid])

    def at(self, points: ArrayLike, values: Floats | None = None) -> Floats:
        """Energy (or other values on the grid) at points (k, d), linear between cells; NaN outside."""
        from scipy.ndimage import map_coordinates

        places = np.atleast_2d(np.asarray(points, dtype=np.float64))
        start = np.array([axis[0] for axis in self.grid])
        index = ((places - start) / self.cell).T
        return map_coordinates(self.energy if values is None else values, index, order=1, cval=np.nan)


def free_energy(
    points: ArrayLike,
    *,
    bins: int | None = None,
    bandwidth: ArrayLike | None = None,
    replicas: int = 100,
    seed: int = 0,
) -> FreeEnergy:
    """Estimate density and free energy of particles.

    The width of the Gaussian kernel maximises the likelihood of every particle under the density of the others.
    Smoothing raises valleys and lowers barriers by a curvature term of second order in the width; this is taken off by
    comparing the logarithms at two widths. Errors are the standard deviation over bootstrap samples of the particles.

    Parameters
    ----------
    points
        (n, d) with d from 1 to 3.
    bins
        Cells along each axis; by default 512, 192 or 64 for one to three axes.
    bandwidth
        (d,) or one width for all axes, instead of the one that is found.
    replicas
        Bootstrap samples; 0 for no errors.
    seed
        Of the samples.

    Raises
    ------
    InputError
        If there are fewer than 10 particles, more than 3 axes, or an axis without any spread.
    """
    data = np.asarray(points, dtype=np.float64)
    count, dimensions = data.shape
    if not 1 <= dimensions <= 3:
        raise InputError(f"free energy: found {dimensions} axes, expected 1 to 3; choose fewer")
    if count < 10:
        raise InputError(f"free energy: found {count} particles, expected at least 10")
    spread = _spread(data)
    if (spread <= 0).any():
        raise InputError(f"free energy: the particles do not spread along axis {int(np.argmin(spread)) + 1}")
    reference = spread * count ** (-1 / (dimensions + 4))
    cells = BINS[dimensions] if bins is None else bins
    grid, counts = _count(data, reference, cells)
    cell = np.array([axis[1] - axis[0] for axis in grid])
    if bandwidth is None:
        widths = [factor * reference for factor in _WIDTHS]
        widths = [width for width in widths if (width >= 0.8 * cell).all()] or [np.maximum(reference, cell)]
        chosen = max(widths, key=lambda width: _likelihood(counts, width / cell, count))
    else:
        chosen = np.broadcast_to(np.asarray(bandwidth, dtype=np.float64), (dimensions,)).copy()
    width = chosen / cell
    volume = float(cell.prod())
    smooth = _smooth(counts, width)
    enough = smooth * float(np.prod(np.sqrt(4 * np.pi) * width)) >= _LEAST_PARTICLES
    if not enough.any():
        raise InputError(f"free energy: {count} particles are too few to tell where they are dense")
    energy = np.where(enough, _energy(counts, width, count * volume), np.nan)
    zero = float(np.nanmin(energy))
    generator = np.random.default_rng(seed)
    # drawing n particles with replacement is drawing counts from a multinomial law
    share = counts.reshape(-1) / count
    filled = np.flatnonzero(share)
    samples = np.full((replicas, *counts.shape), np.nan, dtype=np.float32)
    for sample in samples:
        drawn = np.zeros(counts.size)
        drawn[filled] = generator.multinomial(count, share[filled])
        again = _energy(drawn.reshape(counts.shape), width, count * volume) - zero
        sample[enough] = again[enough]
    with np.errstate(invalid="ignore"):
        std = samples.astype(np.float64).std(axis=0, ddof=1) if replicas > 1 else np.full(counts.shape, np.nan)
    return FreeEnergy(grid, smooth / (count * volume), energy - zero, std, chosen, count, samples)


def _spread(data: Floats) -> Floats:
    """Standard deviation along each axis, or the robust one where outliers make it larger."""
    low, high = np.percentile(data, [16, 84], axis=0)
    robust = (high - low) / 2
    plain = data.std(axis=0)
    return np.where(robust > 0, np.minimum(plain, 1.5 * robust), plain)


def _count(data: Floats, reference: Floats, cells: int) -> tuple[tuple[Floats, ...], Floats]:
    """Grid over the bulk with room for the kernel, and the particles in each cell; a few far ones are left out."""
    low, high = np.percentile(data, [0.05, 99.95], axis=0)
    margin = np.maximum(3.5 * reference, 0.08 * (high - low))
    low, high = np.maximum(low, data.min(axis=0)) - margin, np.minimum(high, data.max(axis=0)) + margin
    edges = [np.linspace(a, b, cells + 1) for a, b in zip(low, high, strict=True)]
    counts, _ = np.histogramdd(data, bins=edges)
    return tuple((edge[1:] + edge[:-1]) / 2 for edge in edges), counts


def _smooth(counts: Floats, width: Floats) -> Floats:
    from scipy.ndimage import gaussian_filter

    return np.maximum(gaussian_filter(counts, width, mode="constant", truncate=_TRUNCATE), 0)


def _energy(counts: Floats, width: Floats, scale: float) -> Floats:
    """-ln density without the term of second order in the width."""
    tiny = 1e-300
    narrow = np.log(np.maximum(_smooth(counts, width) / scale, tiny))
    wide = np.log(np.maximum(_smooth(counts, np.sqrt(2) * width) / scale, tiny))
    return wide - 2 * narrow


def _likelihood(counts: Floats, width: Floats, count: int) -> float:
    """Log-likelihood of every particle under the density of all others."""
    single = np.zeros(counts.shape)
    middle = tuple(size // 2 for size in counts.shape)
    single[middle] = 1.0
    own = float(_smooth(single, width)[middle])
    others = np.maximum(_smooth(counts, width) - own, 1e-3 * own)  # a lonely particle must not decide alone
    return float((counts * np.log(others / (count - 1))).sum())
