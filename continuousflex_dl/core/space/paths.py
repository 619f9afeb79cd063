"""Paths through a conformational space: polylines, and the path of least free energy between two places."""

from __future__ import annotations

import os
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import InputError
from ..io.atomic import atomic_text
from .free_energy import FreeEnergy

Floats = NDArray[np.float64]
_ROUNDS, _STEP_CELLS, _SETTLED = 4000, 0.1, 1e-4


def resample(points: ArrayLike, count: int) -> Floats:
    """Places at equal distances along a polyline (k, d), ends included: (count, d)."""
    corners = np.asarray(points, dtype=np.float64)
    length = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(corners, axis=0), axis=1))])
    keep = np.concatenate([[True], np.diff(length) > 0])
    if keep.sum() < 2:
        return np.repeat(corners[:1], count, axis=0)
    wanted = np.linspace(0, length[-1], count)
    return np.stack([np.interp(wanted, length[keep], column) for column in corners[keep].T], axis=1)


def position_along(points: ArrayLike, path: ArrayLike) -> tuple[Floats, Floats]:
    """Where points are along a polyline.

    Parameters
    ----------
    points
        (n, d).
    path
        (k, d), at least two different corners.

    Returns
    -------
    Arc length (n,) of the nearest place on the path, and the distance (n,) to it.
    """
    data, corners = np.asarray(points, dtype=np.float64), np.asarray(path, dtype=np.float64)
    best = np.full(len(data), np.inf)
    where = np.zeros(len(data))
    start = 0.0
    for a, b in pairwise(corners):
        along = b - a
        length = float(np.linalg.norm(along))
        if length == 0:
            continue
        share = np.clip((data - a) @ along / length**2, 0, 1)
        square = ((data - a - share[:, None] * along) ** 2).sum(axis=1)
        nearer = square < best
        best[nearer] = square[nearer]
        where[nearer] = start + share[nearer] * length
        start += length
    return where, np.sqrt(best)


@dataclass(frozen=True, eq=False)
class EnergyPath:
    """A path and the free energy along it.

    Attributes
    ----------
    points
        (k, d) at equal distances.
    energy, std
        (k,) kT, on the zero of the surface; NaN where it leaves the particles.
    """

    points: Floats
    energy: Floats
    std: Floats

    @property
    def top(self) -> int:
        """Index of the highest point."""
        return int(np.nanargmax(self.energy))


def minimum_energy_path(surface: FreeEnergy, start: ArrayLike, end: ArrayLike, count: int = 50) -> EnergyPath:
    """Path of least free energy between two places.

    The way that passes most easily over the grid (Dijkstra with the exponential of the energy as cost per length) is
    brought to the bottom of its valley by the simplified string method (E, Ren & Vanden-Eijnden, J. Chem. Phys. 126,
    164103, 2007). The ends stay where they are.

    Parameters
    ----------
    surface
        Free energy.
    start, end
        (d,) places within the particles.
    count
        Points of the path.

    Raises
    ------
    InputError
        If an end is outside the particles, or no way leads through them.
    """
    ends = [np.asarray(place, dtype=np.float64) for place in (start, end)]
    dimensions = len(surface.grid)
    for name, place in zip(("start", "end"), ends, strict=True):
        if place.shape != (dimensions,):
            raise InputError(f"{name} of the path: found {place.size} numbers, expected {dimensions}")
    heights = filled(surface.energy)
    corners = _easiest(surface, heights, *ends)
    points = _string(surface, heights, resample(corners, max(count, 30)))
    points = resample(points, count)
    return EnergyPath(points, surface.at(points), surface.at(points, surface.std))


def filled(energy: Floats) -> Floats:
    """Continue the surface upwards where there are too few particles: 1 kT per cell from the nearest known one."""
    from scipy.ndimage import distance_transform_edt

    unknown = ~np.isfinite(energy)
    if not unknown.any():
        return energy
    distance, nearest = distance_transform_edt(unknown, return_indices=True)
    return energy[tuple(nearest)] + distance


def _easiest(surface: FreeEnergy, filled: Floats, start: Floats, end: Floats) -> Floats:
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import dijkstra

    shape, cell = np.array(filled.shape), surface.cell
    origin = np.array([axis[0] for axis in surface.grid])
    cells = [np.rint((place - origin) / cell).astype(int) for place in (start, end)]
    for name, place, index in zip(("start", "end"), (start, end), cells, strict=True):
        if (index < 0).any() or (index >= shape).any() or not np.isfinite(surface.energy[tuple(index)]):
            shown = ", ".join(f"{value:.4g}" for value in place)
            raise InputError(f"{name} of the path ({shown}): there are no particles around it; choose another place")
    number = np.arange(filled.size).reshape(filled.shape)
    resistance = np.exp(np.minimum(filled - np.nanmin(filled), 50.0))
    rows, columns, costs = [], [], []
    steps = np.stack(np.meshgrid(*[[-1, 0, 1]] * len(shape), indexing="ij"), axis=-1).reshape(-1, len(shape))
    for step in steps:
        if not step.any():
            continue
        here = tuple(slice(max(0, -s), size - max(0, s)) for s, size in zip(step, shape, strict=True))
        there = tuple(slice(max(0, s), size - max(0, -s)) for s, size in zip(step, shape, strict=True))
        length = float(np.linalg.norm(step * cell))
        rows.append(number[here].ravel())
        columns.append(number[there].ravel())
        costs.append(((resistance[here] + resistance[there]) / 2 * length).ravel())
    graph = coo_matrix(
        (np.concatenate(costs), (np.concatenate(rows), np.concatenate(columns))), shape=(filled.size, filled.size)
    ).tocsr()
    first, last = (int(np.ravel_multi_index(tuple(index), tuple(shape))) for index in cells)
    _, before = dijkstra(graph, indices=first, return_predecessors=True)
    chain = [last]
    while chain[-1] != first:
        chain.append(int(before[chain[-1]]))
    inner = origin + np.stack(np.unravel_index(chain[::-1], tuple(shape)), axis=1) * cell
    return np.concatenate([start[None], inner[1:-1], end[None]])


def _string(surface: FreeEnergy, filled: Floats, points: Floats) -> Floats:
    """Slide the inner points downhill and keep them at equal distances, until they rest. In units of cells."""
    from scipy.ndimage import map_coordinates, spline_filter

    cell = surface.cell
    origin = np.array([axis[0] for axis in surface.grid])
    coefficients = spline_filter(np.minimum(filled, np.nanmax(surface.energy) + 5.0), order=3)
    places = (points - origin) / cell
    # slopes by coordinate are slopes by cell over the size of a cell; valleys are those of the coordinates
    metric = (cell.min() / cell) ** 2
    for _ in range(_ROUNDS):
        slope = np.empty_like(places)
        for axis in range(places.shape[1]):
            step = np.zeros(places.shape[1])
            step[axis] = 0.5
            ahead, behind = (
                map_coordinates(coefficients, (places + sign * step).T, order=3, prefilter=False, mode="nearest")
                for sign in (1, -1)
            )
            slope[:, axis] = (ahead - behind) * metric[axis]
        move = -slope
        longest = float(np.linalg.norm(move, axis=1).max())
        move *= min(2.0, _STEP_CELLS / max(longest, 1e-12))
        move[[0, -1]] = 0
        before = places
        places = resample((places + move) * cell, len(places)) / cell
        if float(np.abs(places - before).max()) < _SETTLED:
            break
    return origin + places * cell


def read_path(path: str | os.PathLike[str], dimensions: int) -> Floats:
    """Read the corners of a path: one point per line, numbers separated by commas or blanks; ``#`` begins a comment.

    A first line of names is skipped.

    Raises
    ------
    InputError
        If a line does not hold `dimensions` numbers, or there are fewer than two points.
    """
    file = Path(path)
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: cannot be read ({error}); give a text file with one point per line") from None
    points: list[list[float]] = []
    for number, line in enumerate(lines, start=1):
        words = line.partition("#")[0].replace(",", " ").split()
        if not words:
            continue
        try:
            values = [float(word) for word in words]
        except ValueError:
            if not points and number == next(i for i, text in enumerate(lines, 1) if text.strip()):
                continue
            raise InputError(f"{file}: line {number}: found {line.strip()[:40]!r}, expected numbers") from None
        if len(values) != dimensions or not np.isfinite(values).all():
            raise InputError(
                f"{file}: line {number}: found {len(values)} numbers, expected {dimensions} finite ones, as the space "
                "has axes"
            )
        points.append(values)
    if len(points) < 2:
        raise InputError(f"{file}: found {len(points)} points, expected at least 2")
    return np.array(points)


def write_path(path: str | os.PathLike[str], points: ArrayLike, names: tuple[str, ...] = ()) -> None:
    """Write points (k, d) one per line, after a line of column names where given; `read_path` reads it."""
    rows = [",".join(names)] if names else []
    rows += [",".join(f"{value:.6g}" for value in point) for point in np.asarray(points)]
    atomic_text(path, "\n".join(rows) + "\n")
