"""Basins of a free-energy surface: minima, how deep they are, where they meet, how many particles they hold."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .free_energy import FreeEnergy

Floats = NDArray[np.float64]
_SIGNIFICANCE = 4.0


@dataclass(frozen=True, eq=False)
class Basins:
    """K basins, deepest first.

    Attributes
    ----------
    minima
        (K, d) places.
    energy, energy_std
        (K,) kT.
    barrier, barrier_std
        (K,) height in kT of the lowest way into a deeper basin; NaN for the deepest, infinite where no way leads
        through particles. With few particles on the way it is too low by about its error: the lowest of many is partly
        chance.
    saddles
        (K, d) where that way is highest; NaN where there is none.
    population, population_std
        (K,) share of the particles, and its bootstrap error.
    label
        Shape of the grid: basin of each cell, -1 where there are too few particles.
    """

    minima: Floats
    energy: Floats
    energy_std: Floats
    barrier: Floats
    barrier_std: Floats
    saddles: Floats
    population: Floats
    population_std: Floats
    label: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.energy)


def find_basins(surface: FreeEnergy, least_depth: float = 1.0) -> Basins:
    """Flood the surface from below.

    Two basins are one where the shallower is less than `least_depth` (kT) deep, or less than four times the error of
    its depth: a surface has many places, and the deepest ripple among them is a rare one.
    """
    energy = np.pad(surface.energy, 1, constant_values=np.nan)  # a rim, so that every cell has all neighbours
    std = np.pad(np.nan_to_num(surface.std), 1).reshape(-1)
    flood = _Flood(energy.reshape(-1), std, _neighbours(energy.shape), least_depth)
    roots, saddles = flood.run()
    number_of = {root: number for number, root in enumerate(roots)}
    label = np.full(energy.size, -1, dtype=np.int64)
    label[flood.order] = [number_of.get(flood.group_of(cell), -1) for cell in flood.order]
    inside = (slice(1, -1),) * energy.ndim
    label = label.reshape(energy.shape)[inside]
    start, cell_size = np.array([axis[0] for axis in surface.grid]), surface.cell

    def place(cell: int | None) -> Floats:
        if cell is None:
            return np.full(energy.ndim, np.nan)
        return start + (np.array(np.unravel_index(cell, energy.shape)) - 1) * cell_size

    def value(array: Floats, root: int, without: float) -> float:
        return float(array[saddles[root]]) if root in saddles else float("nan") if root == roots[0] else without

    flat = energy.reshape(-1)
    population, error = _populations(surface, label, len(roots))
    return Basins(
        minima=np.array([place(root) for root in roots]),
        energy=np.array([flat[root] for root in roots]),
        energy_std=np.array([std[root] for root in roots]),
        barrier=np.array([value(flat, root, float("inf")) for root in roots]),
        barrier_std=np.array([value(std, root, float("nan")) for root in roots]),
        saddles=np.array([place(saddles.get(root)) for root in roots]),
        population=population,
        population_std=error,
        label=label,
    )


def _neighbours(shape: tuple[int, ...]) -> list[int]:
    """Offsets in the flat array to all cells that touch a cell."""
    strides = [int(np.prod(shape[axis + 1 :])) for axis in range(len(shape))]
    steps = np.stack(np.meshgrid(*[[-1, 0, 1]] * len(shape), indexing="ij"), axis=-1).reshape(-1, len(shape))
    return [int(step @ strides) for step in steps if step.any()]


class _Flood:
    """Cells in the order of their energy, joined to the basins of the neighbours that are already under water."""

    def __init__(self, energy: Floats, std: Floats, neighbours: list[int], least_depth: float) -> None:
        self.energy, self.std, self.neighbours, self.least = energy, std, neighbours, least_depth
        order = np.argsort(energy, kind="stable")
        self.order: list[int] = order[np.isfinite(energy[order])].tolist()
        self.lake: dict[int, int] = {}  # everything that the water connects
        self.group: dict[int, int] = {}  # the same, but deep basins stay apart
        self.deepest: dict[int, int] = {}  # minimum of each lake

    def run(self) -> tuple[list[int], dict[int, int]]:
        """Minima of the basins that count, deepest first, and the cell at which they overflow into a deeper one."""
        saddles: dict[int, int] = {}
        highest: dict[int, int] = {}
        for cell in self.order:
            wet = [cell + offset for offset in self.neighbours if cell + offset in self.lake]
            if not wet:
                self.lake[cell] = self.group[cell] = self.deepest[cell] = highest[cell] = cell
                continue
            nearest = min(wet, key=lambda other: (self.energy[other], other))
            lakes = {_root(self.lake, other): other for other in wet}
            ranked = sorted(lakes, key=lambda lake: (self.energy[self.deepest[lake]], lake))
            into = ranked[0]
            for lake in ranked[1:]:
                minimum = self.deepest[lake]
                if self._is_deep(minimum, cell):
                    saddles[minimum] = cell
                else:
                    self.group[minimum] = _root(self.group, lakes[into])
                self.lake[lake] = into
            self.lake[cell] = into
            self.group[cell] = _root(self.group, nearest)
            highest[into] = cell
        # lakes that never met are islands of particles; small ones are stray particles
        apart = [self.deepest[lake] for lake in highest if self.lake[lake] == lake]
        islands = [root for root in apart if self._is_deep(root, highest[_root(self.lake, root)])]
        roots = {*self.order[:1], *saddles, *islands}
        return sorted(roots, key=lambda root: (self.energy[root], root)), saddles

    def _is_deep(self, minimum: int, rim: int) -> bool:
        depth = self.energy[rim] - self.energy[minimum]
        error = float(np.hypot(self.std[rim], self.std[minimum]))
        return bool(depth >= max(self.least, _SIGNIFICANCE * error))

    def group_of(self, cell: int) -> int:
        """Minimum of the basin of a cell."""
        return _root(self.group, cell)


def _root(parent: dict[int, int], item: int) -> int:
    while parent[item] != item:
        parent[item] = parent[parent[item]]
        item = parent[item]
    return item


def _populations(surface: FreeEnergy, label: NDArray[np.int64], count: int) -> tuple[Floats, Floats]:
    known = label >= 0
    volume = float(surface.cell.prod())

    def shares(density: Floats) -> Floats:
        held = np.bincount(label[known], weights=density[known], minlength=count)
        return held / max(held.sum() * volume, 1e-300) * volume

    if not len(surface.replicas):
        return shares(surface.density), np.full(count, np.nan)
    again = [shares(np.exp(-sample.astype(np.float64))) for sample in surface.replicas]
    return shares(surface.density), np.std(again, axis=0, ddof=1)
