"""Places of a conformational space that are named by some of its axes, or by other columns of the particles."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import InputError
from .decode import Decoder
from .local_map import LocalMap
from .result import Space

Floats = NDArray[np.float64]
SPACE_COLUMN = "cflexSpace"  # columns of the axes are this and their number, from 1
NEAREST, LOOKED_AT = 30, 50_000


def axis_columns(space: Space) -> list[str]:
    """Column names of the axes."""
    return [f"{SPACE_COLUMN}{axis + 1}" for axis in range(space.n_components)]


def place_with(space: Space, values: Mapping[str, float]) -> Floats:
    """Place (d,) of the space with these values on some of its axes; the others are those of the particles there.

    Raises
    ------
    InputError
        If a column is none of the space's axes.
    """
    names = axis_columns(space)
    if unknown := [name for name in values if name not in names]:
        raise InputError(f"{unknown[0]} is no axis of the space, which has {', '.join(names)}")
    given = [names.index(name) for name in values]
    place = np.zeros(space.n_components)
    place[given] = list(values.values())
    others = [axis for axis in range(space.n_components) if axis not in given]
    if others and not space.is_linear:
        used = space.used
        points = used[np.linspace(0, len(used) - 1, min(len(used), LOOKED_AT)).round().astype(np.int64)]
        place[others] = LocalMap(points[:, given], points[:, others])(place[None, given])[0]
    return place


def rows_near(columns: Mapping[str, ArrayLike], count: int, values: Mapping[str, float]) -> NDArray[np.int64]:
    """0-based particles closest to some values of columns, each measured by its spread.

    Parameters
    ----------
    columns
        Values (n,) by column name.
    count
        Number of particles n; of 50,000 at most, evenly chosen, the 30 closest are taken.
    values
        The place.

    Raises
    ------
    InputError
        If there is no such column.
    """
    rows = np.linspace(0, count - 1, min(count, LOOKED_AT)).round().astype(np.int64)
    distance = np.zeros(len(rows))
    for name, value in values.items():
        try:
            column = np.asarray(columns[name], dtype=np.float64)[rows]
        except KeyError:
            raise InputError(f"there is no column {name}; there are {', '.join(columns)}") from None
        distance += ((column - value) / max(float(np.nanstd(column)), 1e-12)) ** 2
    return rows[np.argsort(np.where(np.isfinite(distance), distance, np.inf))[: min(NEAREST, len(rows))]]


def structure_with(decoder: Decoder, columns: Mapping[str, ArrayLike], values: Mapping[str, float]) -> Floats:
    """Structure (N, 3) in Å at a place: of the space where its axes name it, else the mean of the nearest particles."""
    if all(name.startswith(SPACE_COLUMN) for name in values):
        return decoder.at(place_with(decoder.space, values))[0]
    return decoder.mean_of(rows_near(columns, len(decoder.space.coordinates), values))
