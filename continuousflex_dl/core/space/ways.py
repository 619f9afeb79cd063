"""Where a density-following path begins and ends where nobody says it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .landscape import Landscape
from .paths import EnergyPath, minimum_energy_path
from .result import HIGH_PERCENTILE, LOW_PERCENTILE, Space

Floats = NDArray[np.float64]
_AROUND_PERCENT = 1.5


def natural_ends(space: Space, landscape: Landscape) -> tuple[Floats, Floats, str]:
    """Ends of the main motion, in the axes of the landscape, and what they are.

    The two deepest basins; where there is one basin only, the particles about the 2nd and the 98th percentile of the
    first axis.
    """
    if len(landscape.basins) > 1:
        return landscape.basins.minima[0], landscape.basins.minima[1], "the two deepest basins"
    points = space.used[:, : len(landscape.surface.grid)]
    ends = []
    for percent in (LOW_PERCENTILE, HIGH_PERCENTILE):
        low, high = np.percentile(points[:, 0], [percent - _AROUND_PERCENT, percent + _AROUND_PERCENT])
        around = points[(points[:, 0] >= low) & (points[:, 0] <= high)]
        ends.append(np.median(around, axis=0))
    return ends[0], ends[1], "the ends of the first axis"


def main_path(
    space: Space,
    landscape: Landscape,
    start: Floats | None = None,
    end: Floats | None = None,
    count: int = 50,
) -> tuple[Floats, EnergyPath, str]:
    """Path of least free energy in all axes of the space.

    Parameters
    ----------
    space, landscape
        The space and its free energy.
    start, end
        (d,) places; `natural_ends` where not given.
    count
        Points.

    Returns
    -------
    Places (count, d), the path in the axes of the landscape, and in words what it connects.

    Raises
    ------
    InputError
        If an end is outside the particles.
    """
    axes = len(landscape.surface.grid)
    if start is None or end is None:
        first, last, what = natural_ends(space, landscape)
    else:
        first, last, what = start[:axes], end[:axes], "the places given"
    found = minimum_energy_path(landscape.surface, first, last, count)
    return space.completed(found.points), found, what
