"""Pictures of the free energy, of groups and of particle sets."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba_array

from ...core.space.density import spread_subset
from ...core.space.landscape import Landscape
from ...core.space.result import Space
from .drawing import BLUE, DARK, GREY, MAPS, ORANGE, Picture, axis_label, finished, focus, new_figure, styled

PALETTE = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#e69f00",
    "#56b4e9",
    "#8c6d31",
    "#4d4d4d",
    "#7b3294",
    "#b2182b",
)  # fmt: skip  (Okabe-Ito first: safe for colour-blind eyes)
_HIGHEST_KT = 6.0
_SHOWN = 20_000
_NAMED = 20  # groups in the legend


@styled
def energy_picture(space: Space, landscape: Landscape) -> Picture:
    """Free energy along the first one or two axes with its errors, basins and the path between the two deepest."""
    picture = _line(space, landscape) if len(landscape.surface.grid) == 1 else _surface(space, landscape)
    return picture


def _line(space: Space, landscape: Landscape) -> Picture:
    surface, basins = landscape.surface, landscape.basins
    figure, (axis,) = new_figure(5.6, 3.6)
    x = surface.grid[0]
    axis.plot(x, surface.energy, color=BLUE, linewidth=1.6)
    for factor, alpha in ((1, 0.35), (2, 0.18)):
        low, high = surface.energy - factor * surface.std, surface.energy + factor * surface.std
        axis.fill_between(x, low, high, color=BLUE, alpha=alpha, linewidth=0, label=f"± {factor} sigma")
    axis.plot(basins.minima[:, 0], basins.energy, "o", color=ORANGE, markersize=5, label="basin")
    over = np.isfinite(basins.barrier)
    axis.plot(basins.saddles[over, 0], basins.barrier[over], "^", color=DARK, markersize=5, label="barrier")
    top = min(float(np.nanmax(surface.energy)), 2 * _HIGHEST_KT)
    axis.set(xlabel=axis_label(space, 0), ylabel="free energy (kT)", ylim=(-0.4, top + 0.5))
    axis.legend(loc="best")
    return finished(figure, "Free energy along the first axis. " + " ".join(landscape.lines()[1:]))


def _surface(space: Space, landscape: Landscape) -> Picture:
    surface = landscape.surface
    figure, (left, right) = new_figure(10.0, 4.4, columns=2)
    x, y = surface.grid
    top = float(np.clip(np.nanmax(surface.energy), 1.0, _HIGHEST_KT))
    levels = np.arange(0, top + 1e-9, 0.5 if top > 2 else 0.25)
    drawn = left.contourf(x, y, np.minimum(surface.energy, top).T, levels=levels, cmap=f"{MAPS}_r", extend="max")
    left.contour(x, y, surface.energy.T, levels=np.arange(1, top + 1e-9, 1), colors="white", linewidths=0.6)
    figure.colorbar(drawn, ax=left, label="free energy (kT)", shrink=0.85, pad=0.02)
    _mark(left, landscape)
    left.set_title("Free energy")
    most = float(np.nanpercentile(surface.std, 98)) if np.isfinite(surface.std).any() else 0.0
    if most > 0:
        shown = right.pcolormesh(
            x, y, surface.std.T, cmap="magma_r", vmin=0, vmax=most, shading="nearest", rasterized=True
        )
        figure.colorbar(shown, ax=right, label="error of the free energy (kT, one sigma)", shrink=0.85, pad=0.02)
        right.set_title("Its error")
        _mark(right, landscape, light=True)
    else:
        right.set_visible(False)
    known = np.isfinite(surface.energy)
    for axis in (left, right):
        for setter, line, others in ((axis.set_xlim, x, 1), (axis.set_ylim, y, 0)):
            inside = line[known.any(axis=others)]
            setter(inside.min(), inside.max())
        axis.set(xlabel=axis_label(space, 0, share=False), ylabel=axis_label(space, 1, share=False))
    return finished(figure, "Free energy along the first two axes, and its error. " + " ".join(landscape.lines()[1:]))


def _mark(axis: Axes, landscape: Landscape, *, light: bool = False) -> None:
    basins = landscape.basins
    if landscape.path is not None:
        points = landscape.path.points
        axis.plot(points[:, 0], points[:, 1], color=ORANGE, linewidth=1.6)
        top = points[landscape.path.top]
        axis.plot(*top, "^", color=ORANGE, markersize=6, markeredgecolor="white")
    for number, (x, y) in enumerate(basins.minima, start=1):
        box: dict[str, Any] = {
            "boxstyle": "circle,pad=0.18",
            "facecolor": "white",
            "edgecolor": GREY if light else DARK,
        }
        axis.annotate(str(number), (x, y), ha="center", va="center", fontsize=7.5, color=DARK, bbox=box)


@styled
def groups_picture(space: Space, labels: np.ndarray, names: list[str]) -> Picture:
    """Particles in the first two axes, coloured by group.

    Parameters
    ----------
    space
        Of n particles.
    labels
        (n,) group from 1; 0 for particles in none.
    names
        One per group.
    """
    figure, (axis,) = new_figure(6.4, 4.6)
    some = spread_subset(len(labels), _SHOWN)
    shown, groups = space.coordinates[some], labels[some]
    x = shown[:, 0]
    y = shown[:, 1] if space.n_components > 1 else np.random.default_rng(0).uniform(-0.3, 0.3, len(some))
    points = np.stack([x, y], axis=1)
    focus(axis, points)
    palette = to_rgba_array([GREY, *(PALETTE[number % len(PALETTE)] for number in range(len(names)))])
    size = float(np.clip(16000 / len(some), 3, 22))
    axis.scatter(x, y, c=palette[groups], s=size, linewidths=0)
    for number, name in enumerate(names[:_NAMED], start=1):
        count = int((labels == number).sum())
        axis.scatter([], [], color=palette[number], s=24, label=f"{name} ({count:,})")
    if len(names) > _NAMED:
        axis.scatter([], [], alpha=0, label=f"and {len(names) - _NAMED} more")
    if (labels == 0).any():
        axis.scatter([], [], color=GREY, s=24, label=f"none ({int((labels == 0).sum()):,})")
    axis.set_xlabel(axis_label(space, 0))
    axis.set_ylabel(axis_label(space, 1) if space.n_components > 1 else "")
    if space.n_components == 1:
        axis.set(yticks=[], ylim=(-1, 1))
    figure.legend(loc="outside right upper", markerscale=1.2)
    sizes = ", ".join(f"{name}: {int((labels == number).sum())}" for number, name in enumerate(names, start=1))
    return finished(figure, f"Particles along the first axes, coloured by group. {sizes}.")
