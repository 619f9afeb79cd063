"""What is drawn of many particles: counts of all of them, and a subset that is as dense where they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
BINS_X, BINS_Y = 180, 140
MARKED = 4000  # particles of a selection that are marked, at most
_MARGIN, _TAIL_PERCENT = 0.04, 0.02
_SEED = 0


@dataclass(frozen=True)
class Scene:
    """Two or three columns in a window.

    Attributes
    ----------
    rows
        (k,) particles that are drawn, 0-based.
    inside
        Number of particles in the window.
    counts
        (ny, nx) particles per cell of the window, all of them.
    window
        x0, x1, y0, y1.
    """

    rows: NDArray[np.int64]
    inside: int
    counts: NDArray[np.float32]
    window: tuple[float, float, float, float]


def fair_order(count: int) -> NDArray[np.int32]:
    """A random order of the particles, the same every time; its begin is a fair sample of them."""
    return np.random.default_rng(_SEED).permutation(count).astype(np.int32)


def window_of(x: Floats, y: Floats) -> tuple[float, float, float, float]:
    """Window that shows the particles, but for the farthest two in ten thousand on each side."""
    edges: list[float] = []
    for values in (x, y):
        some = values[:: max(1, len(values) // 200_000)]
        some = some[np.isfinite(some)]
        low, high = np.percentile(some, [_TAIL_PERCENT, 100 - _TAIL_PERCENT]) if len(some) else (0.0, 1.0)
        room = max((high - low) * _MARGIN, 1e-9 + 1e-6 * abs(high))
        edges += [float(low - room), float(high + room)]
    return edges[0], edges[1], edges[2], edges[3]


def make_scene(x: Floats, y: Floats, limit: int, window: Sequence[float] | None, order: NDArray[np.integer]) -> Scene:
    """Count particles in a window, and choose those that are drawn.

    Parameters
    ----------
    x, y
        (n,).
    limit
        Points, at most.
    window
        x0, x1, y0, y1; by default all particles.
    order
        (n,) a random order. Its first ones are drawn, so that every particle has the same chance: the subset is as
        dense as the particles are.
    """
    if window is None:
        box = window_of(x, y)
        # beyond the window is at most what its margins leave out; it is drawn when the user moves there
        rows = order[:limit]
    else:
        box = (float(window[0]), float(window[1]), float(window[2]), float(window[3]))
    inside = (x >= box[0]) & (x <= box[1]) & (y >= box[2]) & (y <= box[3])
    number = int(np.count_nonzero(inside))
    if window is not None:
        rows = order[inside[order]][:limit] if number else order[:0]
    cells = _cells(x, y, inside, box)
    counts = np.bincount(cells, minlength=BINS_X * BINS_Y).reshape(BINS_Y, BINS_X).astype(np.float32)
    return Scene(np.sort(rows), number, counts, box)


def _cells(
    x: Floats, y: Floats, inside: NDArray[np.bool_], box: tuple[float, float, float, float]
) -> NDArray[np.int64]:
    columns = ((x[inside] - box[0]) * (BINS_X / max(box[1] - box[0], 1e-300))).astype(np.int64)
    lines = ((y[inside] - box[2]) * (BINS_Y / max(box[3] - box[2], 1e-300))).astype(np.int64)
    return np.minimum(lines, BINS_Y - 1) * BINS_X + np.minimum(columns, BINS_X - 1)


def density_at(x: Floats, y: Floats, scene: Scene) -> Floats:
    """Particles per cell around points (k,), from the counts, smoothed over neighbouring cells."""
    from scipy.ndimage import gaussian_filter, map_coordinates

    number = max(scene.inside, 1)
    width = float(np.clip(12.0 / number ** (1 / 6) * 0.9, 1.0, 8.0))  # few particles need a wider kernel
    smooth = gaussian_filter(scene.counts.astype(np.float64), width)
    x0, x1, y0, y1 = scene.window
    places = [(y - y0) / max(y1 - y0, 1e-300) * BINS_Y - 0.5, (x - x0) / max(x1 - x0, 1e-300) * BINS_X - 0.5]
    return map_coordinates(smooth, places, order=1, mode="nearest")


def histogram(values: Floats, chosen: NDArray[np.bool_] | None, bins: int = 60, *, whole: bool = False) -> dict:
    """Counts of all finite values, and of the chosen ones, in equal bins (or one per whole number)."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return {"edges": [0.0, 1.0], "all": [0], "chosen": [0]}
    low, high = float(finite.min()), float(finite.max())
    if whole and high - low < 200:
        edges = np.arange(np.floor(low), np.ceil(high) + 2) - 0.5
    else:
        edges = np.linspace(low, high if high > low else low + 1.0, bins + 1)
    everything = np.histogram(finite, edges)[0]
    picked = np.zeros_like(everything) if chosen is None else np.histogram(values[chosen], edges)[0]
    return {"edges": edges.tolist(), "all": everything.tolist(), "chosen": picked.tolist()}
