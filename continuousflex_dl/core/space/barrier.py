"""Height of the pass between two places, without the luck of having looked for the lowest one.

A path of least free energy crosses a ridge where it is lowest in the data at hand, which is partly chance: the height
read off there is too low. So the pass is found with one half of the particles and measured with the other.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from ..errors import InputError
from .free_energy import FreeEnergy, free_energy
from .paths import EnergyPath, filled, minimum_energy_path

_SPLITS = 4


def pass_height(
    points: ArrayLike, surface: FreeEnergy, path: EnergyPath, *, splits: int = _SPLITS, seed: int = 0
) -> tuple[float, float]:
    """Free energy of the pass above the beginning of a path.

    Parameters
    ----------
    points
        (n, d) particles that `surface` is made of.
    surface
        Their free energy; its kernel is used for the halves too.
    path
        Path of least free energy on it.
    splits
        Random divisions into halves, both of which take both parts.
    seed
        Of the divisions.

    Returns
    -------
    Height and its one-sigma error in kT; NaN where halves are too few particles.
    """
    data = np.asarray(points, dtype=np.float64)
    generator = np.random.default_rng(seed)
    ends = path.points[0], path.points[-1]
    heights = []
    for _ in range(splits):
        order = generator.permutation(len(data))
        try:
            halves = [free_energy(data[order[part::2]], bandwidth=surface.bandwidth, replicas=0) for part in (0, 1)]
        except InputError:
            continue
        for finder, judge in (halves, halves[::-1]):
            try:
                found = minimum_energy_path(finder, *ends, len(path.points))
            except InputError:
                continue
            # where the other half has too few particles the surface is continued upwards
            values = judge.at(found.points[[found.top, 0]], filled(judge.energy))
            heights.append(float(values[0] - values[1]))
    known = [height for height in heights if np.isfinite(height)]
    if not known:
        return float("nan"), float("nan")
    # of the number of particles at both places, and of where the pass is
    scatter = float(np.std(known)) / np.sqrt(2)
    error = float(np.sqrt(path.std[path.top] ** 2 + path.std[0] ** 2 + scatter**2))
    return float(np.mean(known)), error
