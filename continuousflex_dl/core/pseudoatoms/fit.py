"""Placing Gaussians so that their sum is a map.

Gaussians are added where the residual calls for them most, then all places and heights are optimised together, and so
on until the error is small enough (the aim of Nogales-Cadenas et al. 2013; Jin et al. 2014). Because all have one
width, the squared difference between map and sum needs no grid: it is made of the overlaps of the map with a Gaussian,
which is one smooth function of space, and of the overlaps of pairs of Gaussians, which are Gaussians.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.optimize import minimize
from scipy.spatial import cKDTree

from ..progress import Progress, silent
from .field import Field
from .gaussians import convolve, near_pairs, overlap_volume, pair_overlaps, render
from .region import Region

_FIRST = 0.005  # Gaussians at first, of the voxels of the region
_GROWTH = 0.25  # most in one round, of those there are
_SMALLEST = 0.4  # height below which one is dropped, of the target error, but at most
_SMALLEST_MOST = 0.02  # of the range of densities
_ROUNDS = 200
_STEPS, _LAST_STEPS = 20, 60  # of the optimiser in a round
_MOST_MOVE = 0.5  # widths in one round
_STALLED = 0.002  # relative gain of a round below which more Gaussians do not help
_PATIENCE = 4
_STRAY = 6.0  # widths; with less than three others so near, one is adrift: nothing holds it in an elastic network
_LATE = 2.0  # times the target error, from where on strays are left out
_SHELL = 2.0  # widths around the region in which density below the threshold is fitted as well


@dataclass(frozen=True, eq=False)
class Pseudoatoms:
    """Gaussians that approximate a map.

    Attributes
    ----------
    places
        (n, 3) z, y, x in voxels from the first one.
    heights
        (n,) densities at the centres, strongest first.
    sigma
        Width in voxels.
    model
        (nz, ny, nx) their sum.
    error
        Mean absolute difference over the region, per cent of the range of its densities (1st to 99th percentile).
    history
        Number and error after every round.
    """

    places: NDArray[np.float64]
    heights: NDArray[np.float64]
    sigma: float
    model: NDArray[np.float32]
    error: float
    history: tuple[tuple[int, float], ...]

    def __len__(self) -> int:
        return len(self.places)


@dataclass(frozen=True, eq=False)
class _Task:
    """What is fitted and how it is judged, on the part of the map around the region."""

    values: NDArray[np.float32]
    inside: NDArray[np.bool_]
    allowed: NDArray[np.bool_]
    target: NDArray[np.float32]
    overlap: Field
    scale: float
    sigma: float
    least_height: float

    @classmethod
    def make(cls, values: NDArray[np.float32], region: Region, sigma: float, target_error: float) -> _Task:
        inside = region.inside
        reach = max(1, round(_SHELL * sigma))
        allowed = ndimage.binary_dilation(inside, iterations=reach)
        faint = np.clip(values, 0, max(region.threshold, 0.0)) * allowed
        target = np.where(inside, values, faint).astype(np.float32)
        overlap, scale = Field.through(convolve(target, sigma)), density_range(values[inside])
        least = scale * min(_SMALLEST * target_error / 100, _SMALLEST_MOST)
        return cls(values, inside, allowed, target, overlap, scale, sigma, least)

    def error(self, model: NDArray[np.float32]) -> float:
        return 100 * float(np.abs(self.values - model)[self.inside].mean()) / self.scale

    def render(self, places: NDArray[np.float64], heights: NDArray[np.float64]) -> NDArray[np.float32]:
        return render(places, heights, self.sigma, self.values.shape)

    def candidates(self, model: NDArray[np.float32], count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Places (k, 3) where one more Gaussian helps most, and its best height (k,) if it were alone."""
        wanted = convolve(self.target - model, self.sigma) / overlap_volume(self.sigma)
        peak = (wanted == ndimage.maximum_filter(wanted, size=3)) & (wanted > self.least_height) & self.allowed
        places = np.argwhere(peak)
        heights = wanted[peak]
        strongest = np.argsort(-heights, kind="stable")[:count]
        return places[strongest].astype(np.float64), heights[strongest]


def is_stray(places: NDArray[np.float64], sigma: float, others: NDArray[np.float64] | None = None) -> NDArray[np.bool_]:
    """Which Gaussians (n,) have less than three others in reach; among themselves, or among others (m, 3)."""
    known, first = (places, 1) if others is None else (others, 0)
    if len(places) == 0 or len(known) < 3 + first:
        return np.zeros(len(places), dtype=bool)
    distance, _ = cKDTree(known).query(places, k=3 + first)
    return distance[:, -1] > _STRAY * sigma


def _held(places: NDArray[np.float64], sigma: float, others: NDArray[np.float64] | None = None) -> NDArray[np.bool_]:
    """Which Gaussians are no strays; all, where most would be: they are still too few to touch each other."""
    stray = is_stray(places, sigma, others)
    return ~stray if not len(stray) or stray.mean() < 0.5 else np.ones(len(places), dtype=bool)


def density_range(values: NDArray[np.floating]) -> float:
    """Range of densities (n,) from the 1st to the 99th percentile; their largest where all are the same."""
    low, high = np.percentile(values, [1, 99])
    return float(high - low) if high - low > 1e-6 * abs(high) else float(np.abs(values).max())


def fit_pseudoatoms(
    values: NDArray[np.float32], region: Region, sigma: float, target_error: float, progress: Progress = silent
) -> Pseudoatoms:
    """Approximate a map by Gaussians.

    Parameters
    ----------
    values
        (nz, ny, nx).
    region
        The voxels that count.
    sigma
        Width of a Gaussian in voxels.
    target_error
        Per cent, see `Pseudoatoms.error`.
    progress
        Receives finished and total steps, in hundredths of the way down to the target.

    Returns
    -------
    Pseudoatoms
        Their error is above the target where Gaussians of this width cannot come closer.
    """
    window = _window(region.inside, round(_SHELL * sigma) + 1)
    cropped = Region(region.inside[window], region.threshold, region.noise, region.n_above)
    task = _Task.make(np.ascontiguousarray(values[window]), cropped, sigma, target_error)
    places, heights, model = np.empty((0, 3)), np.empty(0), np.zeros_like(task.values)
    history: list[tuple[int, float]] = []
    error, count, stalled = task.error(model), max(8, round(_FIRST * region.n_voxels)), 0
    first_error = error
    for _ in range(_ROUNDS):
        new_places, new_heights = task.candidates(model, count)
        if error < _LATE * target_error:
            near = _held(new_places, sigma, places)
            new_places, new_heights = new_places[near], new_heights[near]
        if not len(new_places) or len(places) >= region.n_voxels:
            break
        places, heights = np.concatenate([places, new_places]), np.concatenate([heights, new_heights])
        places, heights = _optimise(task, places, heights, _STEPS)
        kept = heights > task.least_height
        if error < _LATE * target_error:
            kept &= _held(places, sigma)
        places, heights = places[kept], heights[kept]
        model = task.render(places, heights)
        previous, error = error, task.error(model)
        history.append((len(places), error))
        progress(_hundredths(error, first_error, target_error), 100)
        if error <= target_error:
            break
        stalled = stalled + 1 if previous - error < _STALLED * previous else 0
        if stalled == _PATIENCE:
            break
        count = max(8, int(len(places) * min(_GROWTH, 0.5 * (error / target_error - 1) + 0.02)))
    places, heights = _thin_out(task, places, heights, target_error)
    error = task.error(task.render(places, heights))
    progress(100, 100)
    order = np.argsort(-heights, kind="stable")
    whole = np.zeros(values.shape, dtype=np.float32)
    corner = np.array([side.start for side in window])
    whole[:] = render(places + corner, heights, sigma, values.shape)
    return Pseudoatoms((places + corner)[order], heights[order], sigma, whole, error, (*history, (len(places), error)))


def _thin_out(
    task: _Task, places: NDArray[np.float64], heights: NDArray[np.float64], target_error: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Optimise once more, and leave out the weakest Gaussians as long as the error stays below the target."""
    error = task.error(task.render(places, heights))
    better = _optimise(task, places, heights, _LAST_STEPS)
    if task.error(task.render(*better)) <= max(error, target_error):  # least squares are not least absolute differences
        places, heights = better
    if task.error(task.render(places, heights)) > target_error:
        return places, heights
    share = 0.1
    while share > 0.01 and len(places) > 8:
        strongest = np.sort(np.argsort(-heights, kind="stable")[: int(len(places) * (1 - share))])
        strongest = strongest[_held(places[strongest], task.sigma)]
        fewer = _optimise(task, places[strongest], heights[strongest], _LAST_STEPS)
        if task.error(task.render(*fewer)) <= target_error:
            places, heights = fewer
        else:
            share /= 2
    return places, heights


def _optimise(
    task: _Task, places: NDArray[np.float64], heights: NDArray[np.float64], steps: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Places and heights of least squared difference to the target, near the given ones; heights stay positive.

    The variables are scaled so that each alone has about the same curvature.
    """
    n, sigma, scale = len(places), task.sigma, task.scale
    pairs = near_pairs(places, sigma)
    volume = overlap_volume(sigma)
    start = heights / scale
    unit = np.sqrt(2) * sigma / np.maximum(start, 0.05)  # of a move

    def cost(variables: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        moved = places + variables[: 3 * n].reshape(n, 3) * unit[:, None]
        height = variables[3 * n :]
        wanted, wanted_slope = task.overlap.at(moved)
        there, there_slope = pair_overlaps(moved, height, sigma, pairs)
        slope = height[:, None] * (there_slope - wanted_slope / scale) * unit[:, None]
        gradient = np.concatenate([slope.ravel(), there - wanted / scale])
        return float(height @ (0.5 * there - wanted / scale)) / volume, gradient / volume

    reach = np.repeat(_MOST_MOVE * sigma / unit, 3)
    low, high = np.concatenate([-reach, np.zeros(n)]), np.concatenate([reach, np.full(n, np.inf)])
    found = minimize(
        cost,
        np.concatenate([np.zeros(3 * n), start]),
        jac=True,
        method="L-BFGS-B",
        bounds=np.stack([low, high], axis=1),
        options={"maxiter": steps, "maxfun": 2 * steps},
    ).x
    return places + found[: 3 * n].reshape(n, 3) * unit[:, None], found[3 * n :] * scale


def _window(inside: NDArray[np.bool_], margin: int) -> tuple[slice, slice, slice]:
    """The smallest box around a region, with a margin in voxels."""
    sides = []
    for axis in range(3):
        there = np.flatnonzero(inside.any(axis=tuple(other for other in range(3) if other != axis)))
        sides.append(slice(max(0, int(there[0]) - margin), min(inside.shape[axis], int(there[-1]) + margin + 1)))
    z, y, x = sides
    return z, y, x


def _hundredths(error: float, first: float, target: float) -> int:
    """How far an error has come from the first one down to the target."""
    if error <= target or first <= target:
        return 99
    return int(np.clip(100 * np.log(first / error) / np.log(first / target), 0, 99))
