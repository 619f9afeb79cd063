"""Pictures of a backbone trace, and beside it of where in the conformational space it is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ...core.space.density import spread_subset
from ...core.structure.atoms import Structure
from ..report.drawing import DARK, MAPS, ORANGE, SOFT, focus, styled
from ..report.trace import motion

_DPI = 100
_SEGMENTS = 4000  # drawn at most; fewer residues are drawn smoother
_SHOWN = 30_000
_RAMP = np.array([[120, 130, 143], [0, 114, 178], [10, 52, 110]]) / 255  # still to moving
_LEAST_PICTURES = 40
_RIM_ANGST = 3.0  # less than between two strands, more than along a bend

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SpaceView:
    """What is drawn beside the structure.

    Attributes
    ----------
    particles
        (n, 2) in the first two axes of the space.
    path
        (F, 2) where the frames are.
    labels
        Of the two axes.
    """

    particles: Floats
    path: Floats
    labels: tuple[str, str]


class Scene:
    """Draws frames (F, N, 3) in Å of a structure, seen so that the motion lies in the plane of the picture.

    Parameters
    ----------
    structure
        What the atoms are.
    frames
        Coordinates.
    space
        What is drawn beside it; None for the structure alone.
    height
        Of the pictures, px; they are as wide, or twice as wide with a space. Rounded to even numbers.
    """

    def __init__(self, structure: Structure, frames: Floats, space: SpaceView | None = None, height: int = 720) -> None:
        light = motion(structure, frames)
        self._points = np.array(light["frames"], dtype=np.float64).reshape(len(frames), -1, 3) * light["unit"]
        self._starts = np.array(light["starts"], dtype=np.int64)
        self._moved = np.array(light["moved"])
        self._rmsd = np.sqrt(((frames - frames[0]) ** 2).sum(axis=2).mean(axis=1))
        self._space = space
        self._height = 2 * (height // 2)
        self._reach = float(np.abs(self._points[..., :2]).max()) * 1.06 + 1.0
        self._depth = float(np.abs(self._points[..., 2]).max()) + 1e-9
        self._parts = max(1, min(6, _SEGMENTS // max(1, self._points.shape[1])))
        self._prepare()

    def pictures(self, there_and_back: bool = True) -> Iterator[NDArray[np.uint8]]:
        """Pictures (height, width, 3) of the motion, with enough steps in between to look smooth."""
        last = len(self._points) - 1
        steps = max(len(self._points), _LEAST_PICTURES)
        # slow at the ends, as things that turn round are
        times = (0.5 - 0.5 * np.cos(np.linspace(0, np.pi, steps))) * last
        times = np.concatenate([times, times[-2:0:-1]]) if there_and_back else np.linspace(0, last, steps)
        for time in times:
            yield self.picture(float(time))

    @styled
    def picture(self, time: float) -> NDArray[np.uint8]:
        """One picture at a time between 0 and F - 1."""
        low = min(int(time), max(len(self._points) - 2, 0))
        high, share = min(low + 1, len(self._points) - 1), time - low
        self._draw_trace((1 - share) * self._points[low] + share * self._points[high])
        rmsd = (1 - share) * self._rmsd[low] + share * self._rmsd[high]
        self._text.set_text(f"RMSD {rmsd:.1f} Å from the first structure")
        if self._space is not None and self._dot is not None:
            place = (1 - share) * self._space.path[low] + share * self._space.path[high]
            self._dot.set_data([place[0]], [place[1]])
        self._canvas.draw()
        return np.asarray(self._canvas.buffer_rgba())[..., :3].copy()

    @styled
    def _prepare(self) -> None:
        size = self._height / _DPI
        wide = 1 if self._space is None else 2
        figure = Figure(figsize=(size * wide, size), dpi=_DPI, layout="none")
        self._canvas = FigureCanvasAgg(figure)
        axis = figure.add_axes((0, 0, 1 / wide, 1))
        axis.set(xlim=(-self._reach, self._reach), ylim=(-self._reach, self._reach), aspect="equal")
        axis.axis("off")
        self._lines = LineCollection([], capstyle="round")
        axis.add_collection(self._lines)
        self._dots = axis.scatter([], [])
        self._scale = size / 7.2
        self._text = axis.text(
            0.03, 0.965, "", transform=axis.transAxes, va="top", fontsize=13 * self._scale, color=DARK
        )
        length = 20.0 if self._reach > 25 else 5.0
        left, bottom = -0.94 * self._reach, -0.94 * self._reach
        axis.plot([left, left + length], [bottom, bottom], color=DARK, linewidth=2 * self._scale)
        axis.text(left, bottom + 0.02 * self._reach, f"{length:g} Å", fontsize=11 * self._scale, color=DARK)
        self._dot = None
        if self._space is not None:
            beside = figure.add_axes((0.5 + 0.07, 0.13, 0.40, 0.76))
            self._draw_space(beside, self._space)
            self._dot = beside.plot([], [], "o", color=ORANGE, markersize=11 * self._scale, markeredgecolor="white")[0]

    def _draw_space(self, axis: Axes, space: SpaceView) -> None:
        some = space.particles[spread_subset(len(space.particles), _SHOWN)]
        focus(axis, np.concatenate([some, space.path]))
        ends = (*axis.get_xlim(), *axis.get_ylim())
        axis.hexbin(*some.T, gridsize=60, extent=ends, bins="log", mincnt=1, cmap=MAPS, linewidths=0.1)
        axis.plot(*space.path.T, color=ORANGE, linewidth=1.6 * self._scale)
        axis.set(xlim=ends[:2], ylim=ends[2:])
        axis.set_xlabel(space.labels[0], fontsize=11 * self._scale)
        axis.set_ylabel(space.labels[1], fontsize=11 * self._scale)
        axis.tick_params(labelsize=9 * self._scale)
        axis.set_title("particles", fontsize=12 * self._scale, color=SOFT, fontweight="normal")

    def _draw_trace(self, points: Floats) -> None:
        most = max(float(self._moved.max()), 1e-9)
        if not len(self._starts):
            near = 0.5 + 0.5 * points[:, 2] / self._depth
            order = np.argsort(points[:, 2])
            self._dots.set_offsets(points[order, :2])
            self._dots.set_sizes((10 + 40 * near[order]) * self._scale**2)
            self._dots.set_facecolor(_shade(self._moved[order] / most, near[order]))
            return
        ends, moved = [], []
        for first, last in zip(self._starts, [*self._starts[1:], len(points)], strict=True):
            curve = _smooth(points[first:last], self._parts)
            ends.append(np.stack([curve[:-1], curve[1:]], axis=1))
            along = np.linspace(0, last - first - 1, len(curve) - 1) if last > first else np.zeros(0)
            moved.append(np.interp(along, np.arange(last - first), self._moved[first:last]))
        segments, value = np.concatenate(ends), np.concatenate(moved) / most
        height = segments[:, :, 2].mean(axis=1)
        near = np.clip(0.5 + 0.5 * height / self._depth, 0, 1)
        width = (2.2 + 4.2 * near) * self._scale
        colours = _shade(value, near)
        # a white line a bit behind every piece separates it from what it crosses, and not from its neighbours
        order = np.argsort(np.concatenate([height - _RIM_ANGST, height]), kind="stable")
        self._lines.set_segments(list(np.concatenate([segments, segments])[order, :, :2]))
        self._lines.set_linewidths(np.concatenate([width + 2.6 * self._scale, width])[order])
        self._lines.set_colors(np.concatenate([np.ones_like(colours), colours])[order])


def _shade(value: Floats, near: Floats) -> Floats:
    """Colours (k, 3): grey to blue by how much a part moves (0 to 1), paler the farther away."""
    place = np.clip(value, 0, 1) * 2
    low = np.minimum(place.astype(int), 1)
    share = (place - low)[:, None]
    colour = (1 - share) * _RAMP[low] + share * _RAMP[low + 1]
    fade = 0.55 * (1 - near)[:, None]
    return colour + fade * (1 - colour)


def _smooth(points: Floats, parts: int) -> Floats:
    """Catmull-Rom spline through points (k, 3), in `parts` pieces each."""
    if parts == 1 or len(points) < 3:
        return points
    padded = np.concatenate([2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]])
    t = (np.arange(parts) / parts)[:, None]
    before, start, end, after = (padded[i : len(points) - 1 + i, None] for i in range(4))
    curve = 0.5 * (
        2 * start
        + (end - before) * t
        + (2 * before - 5 * start + 4 * end - after) * t**2
        + (3 * start - before - 3 * end + after) * t**3
    )
    return np.concatenate([curve.reshape(-1, 3), points[-1:]])
