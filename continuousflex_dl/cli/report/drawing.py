"""How pictures are drawn: style, figures, and the parts that several pictures share. No global state."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import numpy as np
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ...core.space.density import point_density
from ...core.space.result import Space

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

BLUE, ORANGE = "#0072b2", "#d55e00"  # Okabe-Ito colours: safe for colour-blind eyes
GREY, SOFT, DARK = "#8a8f98", "#5b6470", "#1d2530"
MAPS = "viridis"
SCATTER_LIMIT = 5000  # more points than this are counted in hexagons
_DPI = 170
_STYLE: list[str | Path | dict[str, Any]] = [
    "default",
    {
        "font.size": 9,
        "axes.titlesize": 9.5,
        "axes.titleweight": "bold",
        "axes.labelsize": 9,
        "axes.edgecolor": "#5b6470",
        "axes.labelcolor": DARK,
        "text.color": DARK,
        "xtick.color": "#3c4450",
        "ytick.color": "#3c4450",
        "xtick.labelsize": 8,
        "ytick.labelsize": 8,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "legend.frameon": False,
        "legend.fontsize": 8,
        "figure.constrained_layout.use": True,
    },
]


def styled(draw: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Draw in the style of the report whatever a user's matplotlibrc says; the global style is left as it was."""

    @wraps(draw)
    def styled(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        with style.context(_STYLE):
            return draw(*args, **kwargs)

    return styled


@dataclass(frozen=True)
class Picture:
    """A PNG with its description for those who cannot see it.

    Attributes
    ----------
    png
        Bytes.
    alt
        What it shows, in a sentence.
    width
        Width in CSS pixels.
    markers
        (F, 2) places of the motion's frames as fractions of width and height from the top left, or None.
    """

    png: bytes
    alt: str
    width: int
    markers: list[list[float]] | None = None


def new_figure(
    width: float, height: float, *, columns: int = 1, rows: int = 1, widths: Sequence[float] | None = None
) -> tuple[Figure, list[Axes]]:
    """Figure of so many inches with a grid of axes, in reading order."""
    figure = Figure(figsize=(width, height), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False, width_ratios=widths)
    for axis in axes.flat:
        axis.tick_params(length=3)
    return figure, list(axes.flat)


def row_width(columns: int, each: float) -> float:
    """Width of a row of panels in inches; a page is 11 wide, a single panel stands a bit wider."""
    return min(11.0, each * columns) if columns > 1 else each + 1.0


def finished(figure: Figure, alt: str) -> Picture:
    """Render a figure; the same figure gives the same bytes."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=_DPI, metadata={"Software": None})
    return Picture(stream.getvalue(), alt, round(figure.get_figwidth() * 96))


def axis_label(space: Space, axis: int, *, share: bool = True) -> str:
    """Label of a 0-based axis of a space: name, unit, and share of the variance."""
    unit = f" ({space.unit})" if space.unit else ""
    text = f"{space.axis_name} {axis + 1}{unit}"
    return f"{text}, {100 * space.explained_variance_ratio[axis]:.1f} % of the variance" if share else text


def histogram(axis: Axes, values: np.ndarray, colour: str, tail: float = 0.3) -> None:
    """Histogram of the bulk; `tail` percent at either end may lie outside where they would squeeze it."""
    low, high = np.percentile(values, [tail, 100 - tail])
    margin = 0.25 * (high - low) or 1.0
    ends = max(low - margin, values.min()), min(high + margin, values.max())
    ends = ends if ends[1] > ends[0] else (ends[0] - 0.5, ends[1] + 0.5)
    axis.hist(values, bins=_bins(len(values)), range=ends, color=colour)
    outside = int(((values < ends[0]) | (values > ends[1])).sum())
    if outside:
        paper: dict[str, Any] = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1.0}
        place: dict[str, Any] = {"transform": axis.transAxes, "ha": "right", "va": "top"}
        axis.text(0.99, 0.98, f"+ {outside} outside", color=SOFT, fontsize=7.5, bbox=paper, **place)


def stacked_histogram(axis: Axes, converged: np.ndarray, others: np.ndarray) -> None:
    """Histogram of converged particles with the others on top, ends clipped to the bulk."""
    low, high = np.percentile(np.concatenate([converged, others]), [0.2, 99.8])
    margin = 0.03 * (high - low) or 0.01 * abs(high) or 1.0
    clipped = [np.clip(values, low - margin, high + margin) for values in (converged, others)]
    axis.hist(
        clipped,
        bins=_bins(len(converged) + len(others)),
        range=(low - margin, high + margin),
        stacked=True,
        color=[BLUE, GREY],
        label=["converged", "not converged"],
    )


def _bins(n: int) -> int:
    return int(np.clip(2.0 * n ** (1 / 3), 10, 60))


def cloud(axis: Axes, points: np.ndarray) -> None:
    """Two-dimensional cloud, coloured by density, focused on the bulk."""
    focus(axis, points)
    if len(points) > SCATTER_LIMIT:
        inside = points[inside_view(axis, points)]
        axis.hexbin(*inside.T, gridsize=50, bins="log", mincnt=1, cmap=MAPS, linewidths=0.1)
        return
    density = point_density(points, limit=1500)
    order = np.argsort(density) if density is not None else np.arange(len(points))
    colours = {"c": density[order], "cmap": MAPS} if density is not None else {"c": BLUE}
    axis.scatter(*points[order].T, s=dot_size(len(points)) * 0.7, linewidths=0, **colours)


def focus(axis: Axes, points: np.ndarray) -> None:
    """Set the limits to the bulk of the points: a few failed particles must not squeeze the rest into a dot."""
    low, high = np.percentile(points, [0.5, 99.5], axis=0)
    margin = 0.25 * (high - low)
    margin[margin == 0] = 1.0
    low = np.maximum(low - margin, points.min(axis=0) - 0.1 * margin)
    high = np.minimum(high + margin, points.max(axis=0) + 0.1 * margin)
    axis.set_xlim(low[0], high[0])
    axis.set_ylim(low[1], high[1])


def inside_view(axis: Axes, points: np.ndarray) -> np.ndarray:
    """Which points (n, 2) are within the limits of the axes, (n,)."""
    (left, right), (bottom, top) = axis.get_xlim(), axis.get_ylim()
    return (points[:, 0] >= left) & (points[:, 0] <= right) & (points[:, 1] >= bottom) & (points[:, 1] <= top)


def dot_size(n: int) -> float:
    """Area of a dot, points squared, for n of them."""
    return float(np.clip(16000 / n, 5, 30))
