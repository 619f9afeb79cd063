"""Picture of particles in two or three columns, in the colours of the web viewer."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from matplotlib import colormaps, rc_context
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import to_rgba_array
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray

from ...core.space.scene import Scene
from .drawing import new_figure, styled

Floats = NDArray[np.float64]
# of the web viewer: ink, selected, and Okabe and Ito's colours of groups, grey for particles in none
INK, SELECTED = "#1b1f24", "#d55e00"
GROUPS = ("#b0b0b0", "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442", "#000000")
WIDTH, HEIGHT = 6.6, 5.2
_VECTORS = 3000  # more points are a picture in SVG and PDF too: files of megabytes are of no use
_NAMED = 12  # groups in the legend


@dataclass(frozen=True, eq=False)
class View:
    """What is drawn.

    Attributes
    ----------
    titles
        Of the two or three axes, with units.
    points
        (k, 2) or (k, 3) particles that are drawn as points.
    scene
        Counts of all particles in the window, and the window.
    colours
        (k,) what the colour of a point says: a column, or the local density.
    colour_title
        Of the column, with its unit; empty for the density.
    whole
        The column holds numbers of groups.
    palette
        Colour map.
    selected
        (s, 2) or (s, 3) particles that are marked.
    linked
        The same of those that are selected in another space.
    outline, path, basins, at
        (c, 2) corners; (p, 2) or (p, 3) places; (b, 2) numbered basins; one place. Empty ones are not drawn.
    eye
        Elevation and azimuth in degrees, in three dimensions.
    """

    titles: tuple[str, ...]
    points: Floats
    scene: Scene
    colours: Floats
    colour_title: str = ""
    whole: bool = False
    palette: str = "viridis"
    selected: Floats = field(default_factory=lambda: np.zeros((0, 2)))
    linked: Floats = field(default_factory=lambda: np.zeros((0, 2)))
    outline: Floats = field(default_factory=lambda: np.zeros((0, 2)))
    path: Floats = field(default_factory=lambda: np.zeros((0, 2)))
    basins: Floats = field(default_factory=lambda: np.zeros((0, 2)))
    at: Floats = field(default_factory=lambda: np.zeros((0, 2)))
    eye: tuple[float, float] = (35.0, 45.0)

    @property
    def is_flat(self) -> bool:
        """Whether there are two axes."""
        return len(self.titles) == 2

    @property
    def is_sample(self) -> bool:
        """Whether not all particles in the window are drawn as points."""
        return len(self.points) < self.scene.inside


@styled
def draw(view: View) -> Figure:
    """Draw a view."""
    if view.is_flat:
        figure, (axes,) = new_figure(WIDTH, HEIGHT)
        axes.set(xlim=view.scene.window[:2], ylim=view.scene.window[2:])
    else:
        figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
        axes = figure.add_subplot(projection="3d", computed_zorder=False)
        axes.view_init(*view.eye)  # type: ignore[attr-defined]
        axes.set_box_aspect((1, 1, 1), zoom=0.85)  # type: ignore[attr-defined]
    for setter, title in zip(("set_xlabel", "set_ylabel", "set_zlabel"), view.titles, strict=False):
        getattr(axes, setter)(title)
    axes.grid(True, color="#e7ebef", linewidth=0.6)
    axes.set_axisbelow(True)
    if view.is_flat and view.is_sample:
        _counts(figure, axes, view)
    _particles(figure, axes, view)
    _marks(axes, view)
    return figure


def _counts(figure: Figure, axes: Axes, view: View) -> None:
    counts = view.scene.counts.astype(np.float64)
    shown = np.ma.masked_equal(np.log10(1 + counts), 0)
    plain = not view.colour_title
    drawn = axes.imshow(
        shown, extent=view.scene.window, origin="lower", aspect="auto", interpolation="bilinear",
        cmap=view.palette if plain else "Greys", alpha=1.0 if plain else 0.35, zorder=0.6,
    )  # fmt: skip
    if plain:
        ticks = [10**k for k in range(7) if 10**k <= max(counts.max(), 1)]
        bar = figure.colorbar(drawn, ax=axes, label="particles per cell", shrink=0.9, pad=0.02)
        bar.set_ticks([float(np.log10(1 + tick)) for tick in ticks], labels=[f"{tick:,}" for tick in ticks])
        bar.outline.set_visible(False)  # type: ignore[operator]


def _particles(figure: Figure, axes: Axes, view: View) -> None:
    count = len(view.points)
    diameter = float(np.clip(60 / np.sqrt(max(count, 1)) + 1.6, 1.8, 6)) * (0.6 if view.is_flat else 0.55)
    look: dict = {
        "s": diameter**2,
        "linewidths": 0,
        "alpha": 0.55 if view.is_sample and not view.colour_title else 0.85,
        "rasterized": count > _VECTORS,
    }
    if not view.is_flat:
        look["depthshade"] = False
    columns = view.points.T
    if view.whole:
        numbers = np.where(np.isfinite(view.colours), np.abs(np.rint(view.colours)), 0).astype(np.int64)
        axes.scatter(*columns, c=to_rgba_array(GROUPS)[numbers % len(GROUPS)], **look)
        there = np.unique(numbers)
        for number in there[:_NAMED].tolist():
            nothing = [[np.nan]] * len(columns)
            axes.scatter(*nothing, color=GROUPS[number % len(GROUPS)], s=24, label=f"{number}")
        if len(there) <= _NAMED:
            figure.legend(title=view.colour_title, loc="outside right upper")
        return
    shades = colormaps[view.palette].with_extremes(bad="#b0b0b0")
    drawn = axes.scatter(*columns, c=view.colours, cmap=shades, plotnonfinite=True, **look)
    if view.colour_title or not (view.is_flat and view.is_sample):
        solid = ScalarMappable(drawn.norm, drawn.cmap)  # the points are not, and would make the bar pale
        bar = figure.colorbar(solid, ax=axes, shrink=0.9, pad=0.02 if view.is_flat else 0.12)
        bar.set_label(view.colour_title or "local density")
        bar.outline.set_visible(False)  # type: ignore[operator]
        if not view.colour_title:
            bar.set_ticks([])
        elif len(view.colours) and np.nanmax(np.abs(view.colours)) >= 1e4:
            bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))


def _marks(axes: Axes, view: View) -> None:
    """Selection, outline, path, basins and place, over the points."""
    flat = view.is_flat
    size = (2.4 if len(view.points) > _VECTORS else 4.0) ** 2
    if len(view.selected):
        look = {"rasterized": len(view.selected) > _VECTORS, "linewidths": 0, "label": "selected", "zorder": 3}
        if not flat:
            look["depthshade"] = False
        axes.scatter(*view.selected.T, color=SELECTED, s=size, **look)
    if len(view.linked):
        raster = len(view.linked) > _VECTORS
        for colour, width in (("white", 2.8), (INK, 1.0)) if flat else ((INK, 1.0),):
            axes.scatter(*view.linked.T, marker="x", color=colour, linewidths=width, s=1.6 * size, rasterized=raster,
                         zorder=3.5)  # fmt: skip
    if len(view.outline) and flat:
        axes.plot(*np.vstack([view.outline, view.outline[:1]]).T, color=SELECTED, linewidth=1.4, zorder=4)
    if len(view.path):
        stroke = [withStroke(linewidth=3.4, foreground="white")] if flat else []
        axes.plot(*view.path.T, color=INK, linewidth=1.5, path_effects=stroke, zorder=5)
    halo = [withStroke(linewidth=2.4, foreground="white")]
    for number, (x, y) in enumerate(view.basins, start=1):
        axes.text(x, y, f"▾{number}", color=INK, weight="bold", ha="center", va="center", path_effects=halo,
                  clip_on=True, zorder=6)  # fmt: skip
    if len(view.at):
        axes.plot(*view.at[:1].T, "o", color="white", markersize=7, markeredgecolor=INK, markeredgewidth=2, zorder=7)


def save(figure: Figure, path: Path, kind: str, dpi: int) -> None:
    """Write a figure as ``svg``, ``pdf`` or ``png``; the same figure gives the same bytes."""
    none = {"svg": ("Date",), "pdf": ("CreationDate",), "png": ("Software",)}[kind]
    with rc_context({"svg.hashsalt": "cflex"}):
        figure.savefig(path, format=kind, dpi=dpi, metadata=dict.fromkeys(none))
